"""Long answers that are being read: each holds what is not sent yet for as long as it is read, so they are few."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from outputd.process.threads import InThread
from outputd.queries.session import NotReady, Session
from outputd.queries.tables import Notes

MOST_READ = 32
"""Long answers that are read at a time; each has a connection to SQLite with its cache, and a page on its way."""
MOST_BYTES = 256 << 20
"""What they hold in all, most of it on the disk: the longest answers of /links and /targets have about 20 MiB each."""
_OWN_BYTES = 2 << 20
_IDLE_S = 1.0  # who reads at all, however slowly, takes the next page sooner


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that was short enough to be made at once."""

    body: bytes
    notes: Notes


class Reading:
    """A long answer, for one who reads it page by page and calls `end`.

    `cut_off` is called when it has to make room for another.
    """

    def __init__(
        self, session: Session, first: bytes, make: Callable[[], Awaitable[bytes | None]], readings: Readings,
        notes: Notes, held_bytes: int,
    ) -> None:  # fmt: skip
        self.session = session
        self.notes = notes
        self.size_bytes = _OWN_BYTES + held_bytes
        self.cut_off: Callable[[], object] = lambda: None
        self.idle_since_s: float | None = readings.seconds()
        """Since when its reader has not asked for the next page; None while that is made."""
        self._first = first
        self._make = make
        self._readings = readings

    async def page(self) -> bytes | None:
        """The next page; None after the last. Raises NotReady, TooLong and sqlite3.Error."""
        if self not in self._readings:
            raise NotReady("it has made room for another answer")
        first, self._first = self._first, b""
        if first:
            return first
        self.idle_since_s = None
        try:
            return await self._make()
        finally:
            self.idle_since_s = self._readings.seconds()

    async def end(self) -> None:
        """It is read, or not wanted any more."""
        await self._readings.end(self)


class Readings:
    """All long answers that are being read. Who has been idle for longest makes room for a new one."""

    def __init__(self, in_thread: InThread, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self._in_thread = in_thread
        self._all: set[Reading] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Reading]:
        return iter(self._all)

    def __contains__(self, reading: Reading) -> bool:
        return reading in self._all

    @property
    def held_bytes(self) -> int:
        """What they hold, in memory and on the disk."""
        return sum(reading.size_bytes for reading in self._all)

    async def begin(self, reading: Reading) -> None:
        """Let one more be read, once there is room; alone it may hold as much as it likes. Raises NotReady."""
        leaving = self._leaving(reading.size_bytes)
        if leaving is None:
            await self._close(reading)
            raise NotReady("many long answers are being read already")
        self._all.difference_update(leaving)
        self._all.add(reading)
        try:
            for each in leaving:
                each.cut_off()
                await self._close(each)
        except BaseException:
            await self.end(reading)
            raise

    async def end(self, reading: Reading) -> None:
        """Let it go; once it is enough."""
        if reading in self._all:
            self._all.remove(reading)
            await self._close(reading)

    def _leaving(self, size_bytes: int) -> list[Reading] | None:
        """Who has to go for so much more, the longest idle first; None when those who are idle are not enough."""
        now = self.seconds()
        idle = [each for each in self._all if each.idle_since_s is not None and now - each.idle_since_s >= _IDLE_S]
        idle.sort(key=lambda each: each.idle_since_s or 0.0, reverse=True)
        places, room_bytes = MOST_READ - len(self._all), MOST_BYTES - self.held_bytes
        leaving: list[Reading] = []
        while len(leaving) < len(self._all) and (places < 1 or room_bytes < size_bytes):
            if not idle:
                return None
            leaving.append(idle.pop())
            places, room_bytes = places + 1, room_bytes + leaving[-1].size_bytes
        return leaving

    async def _close(self, reading: Reading) -> None:
        await self._in_thread(reading.session.close)
