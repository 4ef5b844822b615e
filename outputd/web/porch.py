"""The porch of a port: who has a place there and has not said yet what for."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

_HEARD_AT_ONCE = 32  # about what a turn of the lane may take, should all of them be whole requests


class Stranger(Protocol):
    """A connection without a token that was never answered, and whose head is not there; also TLS that only begins."""

    network: str

    @property
    def waits_for_us(self) -> bool:
        """Whether it has sent something that was not read yet."""

    def hear(self) -> None:
        """Take in what it has sent and was not read yet."""


S = TypeVar("S", bound=Stranger)


class Porch(Generic[S]):
    """The strangers of one port, by their networks; each is told here when it becomes one and when it is none."""

    def __init__(self) -> None:
        self._networks: dict[str, OrderedDict[S, bool]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, stranger: S) -> None:
        """It is the last to go of its network."""
        self._networks.setdefault(stranger.network, OrderedDict())[stranger] = False
        self._count += 1

    def leave(self, stranger: S) -> None:
        """It has said what it wants, or has gone."""
        company = self._networks[stranger.network]
        del company[stranger]
        self._count -= 1
        if not company:
            del self._networks[stranger.network]

    def first(self) -> S | None:
        """Who has to go first: the oldest of the network that has most; None when there is none.

        Nobody goes unheard: a request may be there that was not read yet. Who is in the midst of one, a handshake of
        TLS above all, is then the last of its network, once; only some are heard at a time.
        """
        stranger = None
        for _ in range(_HEARD_AT_ONCE):
            if not self._networks:
                return None
            company = max(self._networks.values(), key=len)
            stranger, had_its_turn = next(iter(company.items()))
            if not stranger.waits_for_us:
                break
            stranger.hear()
            if stranger not in company:
                stranger = None
            elif had_its_turn:
                break
            else:
                company[stranger] = True
                company.move_to_end(stranger)
        return stranger
