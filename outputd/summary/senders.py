"""Who sent a batch, as far as a sender can be held to account for what it takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

from outputd.results.addresses import canonical, network_of

_MOST_NOTED = 65_536


class Senders:
    """The senders of the newest batches, by the names of their accounts: a token's, else the network of a peer.

    Of other batches only the node is known, and its name is believed where nodes bear tokens (`are_named`). Elsewhere
    it is free text, which anyone may change with each POST: all that bear one count as one sender.
    Noted in one thread, asked from another.
    """

    def __init__(self, are_named: Callable[[], bool] = lambda: False) -> None:
        self._are_named = are_named
        self._noted: dict[int, str] = {}

    def note(self, batch_id: int, account: str) -> None:
        """A batch was sent on this account."""
        self._noted[batch_id] = account
        if len(self._noted) > _MOST_NOTED:
            del self._noted[next(iter(self._noted))]

    def number_of(self, batch_id: int, node: str) -> int:
        """A number that stands for who sent a batch, the same one at each start."""
        account = self._noted.get(batch_id)
        if account is None:
            account = network_of(node) if self._are_named() or canonical(node) is not None else ""
        return _number(account)


@lru_cache(maxsize=4096)
def _number(account: str) -> int:
    return int.from_bytes(blake2b(account.encode(), digest_size=6).digest())
