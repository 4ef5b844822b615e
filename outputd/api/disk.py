"""What the disk under --db-dir says, for those who must have an answer even when it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure as Bug

from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Trouble
from outputd.store.directory import DataDir

PATIENCE_S = 2.0


class Seen(NamedTuple):
    """What was seen, or why nothing was: `is_late` tells a disk that does not answer from one that says no."""

    free_bytes: int | None = None
    damaged: Mapping[str, float] = {}
    """Files that were set aside, with the times when they were, in seconds since 1970."""
    failure: Failure | None = None
    is_late: bool = False


class Disk:
    """Looks at the directory in a thread, at one time only once: a disk that hangs holds one thread and no answer."""

    def __init__(self, directory: DataDir, in_thread: InThread, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._directory = directory
        self._in_thread = in_thread
        self._clock = clock
        self._now = now
        self._began: tuple[float, float] | None = None
        """When the look that is under way began, by the clock and in seconds since 1970."""
        self._trouble = Trouble(now, clock.seconds)
        self._waiting: set[Deferred[Seen]] = set()

    async def look(self) -> Seen:
        """What there is to see, within PATIENCE_S of the beginning of a look; those who ask meanwhile share it."""
        waiting: Deferred[Seen] = Deferred()
        self._waiting.add(waiting)
        began_s, began_at_s = self._began or self._begin()
        try:
            left_s = began_s + PATIENCE_S - self._clock.seconds()
            return await waiting.addTimeout(max(0.0, left_s), self._clock)
        except DeferredTimeout:
            reason = f"{self._directory.name}: the disk has not answered for {PATIENCE_S:g} s"
            return Seen(failure=Failure(reason, began_at_s), is_late=True)
        finally:
            self._waiting.discard(waiting)

    def _begin(self) -> tuple[float, float]:
        self._began = began = self._clock.seconds(), self._now()
        Deferred.fromCoroutine(self._in_thread(self._look)).addBoth(self._tell)
        return began

    def _look(self) -> Seen | str:
        """What there is, or why it cannot be seen."""
        try:
            return Seen(self._directory.free_bytes(), self._directory.damaged())
        except OSError as error:
            return f"{self._directory.name}: {error.strerror}"

    def _tell(self, found: Seen | str | Bug) -> None:
        self._began = None
        if isinstance(found, Seen):
            self._trouble.end()
        elif isinstance(found, str):
            self._trouble.begin(found)
            found = Seen(failure=self._trouble.failure)
        waiting, self._waiting = self._waiting, set()
        for each in waiting:
            each.callback(found)
