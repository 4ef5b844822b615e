"""When something is to be shipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime

from outputd.results import timestamps
from outputd.store.store import Store

_GROWN_BYTES = 128 << 20
"""A file takes up to twice what its rows take, of which an object has 64 MiB: a child would be started in vain."""


class Seen(NamedTuple):
    """What there was when it was asked what to ship next."""

    at_s: float
    last_batch_id: int
    last_closed: int
    """The last batch of the closed files."""
    size: tuple[int, int]
    """Which file was written, and its size."""


class Due:
    """At once what closed files have, what may make a whole object, and the rest of a day; else all, `every_s` after
    the first of it came. `through` is the last batch that is shipped, with all before it."""

    def __init__(self, store: Store, through: Callable[[], int], every_s: float, clock: IReactorTime) -> None:
        self._store = store
        self._through = through
        self._every_s = every_s
        self._seconds = clock.seconds
        self._complete_s = self._all_due_s = 0.0
        self._day = ""
        self._size = (0, 0)

    def begin(self) -> None:
        """Once the store is open."""
        self._day = self._today
        self._rest(self._seconds())

    @property
    def lag_s(self) -> float:
        """For how long there has been something, since the start, that is not in the archive."""
        return 0.0 if self._is_complete else self._seconds() - self._complete_s

    @property
    def is_now(self) -> bool:
        """Whether there is something to be shipped; to be asked each second."""
        if self._today != self._day:
            self._day, self._all_due_s = self._today, self._seconds()
        if self._is_complete:
            self._rest(self._seconds())
            return False
        seen = self.seen()
        return self.is_all or seen.last_closed > self._through() or self._grown_bytes(seen) >= _GROWN_BYTES

    @property
    def is_all(self) -> bool:
        """Whether that is all there is, and not only what makes whole objects."""
        return self._seconds() >= self._all_due_s

    def seen(self) -> Seen:
        """What there is now."""
        files, current = self._store.files, self._store.current
        last_closed = max((info.last_batch_id for info in files[:-1]), default=0)
        size = current.info.sequence, current.size_bytes
        return Seen(self._seconds(), self._store.last_batch_id, last_closed, size)

    def done(self, seen: Seen, was_all: bool) -> int:
        """Of what was seen, all that was due is shipped; the last batch of that."""
        self._size = seen.size
        if was_all:
            self._rest(seen.at_s)
        return seen.last_batch_id if was_all else seen.last_closed

    @property
    def _is_complete(self) -> bool:
        return self._store.last_batch_id <= self._through()

    def _grown_bytes(self, seen: Seen) -> int:
        sequence, size_bytes = seen.size
        return size_bytes - (self._size[1] if self._size[0] == sequence else 0)

    def _rest(self, at_s: float) -> None:
        self._complete_s, self._all_due_s = at_s, at_s + self._every_s

    @property
    def _today(self) -> str:
        return timestamps.at(self._store.now())[:10]
