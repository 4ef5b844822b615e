"""All that an instance knows of addresses beside its results, for those who answer questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from outputd.naming.lookups import NAMED_S, Lookups
from outputd.naming.origins import Origins
from outputd.process.threads import Threads
from outputd.results.addresses import canonical

ASN = "asn"
AS_NAME = "as_name"
NAME = "name"


@dataclass(frozen=True, slots=True)
class Naming:
    """Where networks and names come from; None of either that was not asked for."""

    origins: Origins | None
    lookups: Lookups | None
    threads: Threads
    """Whose only one writes names down."""
    names: Path
    """The database of names, which need not be there."""
    now: Callable[[], float]
    in_reactor: Callable[..., object]
    """Has the reactor call something, from another thread."""

    async def stop(self) -> None:
        """Look up no more names; when it returns, their file is closed."""
        if self.lookups is not None:
            await self.lookups.stop()

    @property
    def labels(self) -> tuple[str, ...]:
        """What may be known of an address, by the names of the columns."""
        return (*((ASN, AS_NAME) if self.origins else ()), *((NAME,) if self.lookups else ()))

    def look_up(self, ips: Sequence[str]) -> None:
        """Have names of these looked up in the background, as far as they are addresses. From any thread."""
        addresses = [ip for ip in ips if canonical(ip) is not None]
        if self.lookups is not None and addresses:
            self.in_reactor(self.lookups.want, addresses)

    def is_due(self, again_at_s: int | None) -> bool:
        """Whether an address is to be looked up: never was, long ago, or by a clock that was wrong."""
        return again_at_s is None or not 0 <= again_at_s - self.now() <= NAMED_S
