"""Loops: work that is done again and again, by a clock."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from outputd.process.log import Logger

_log = Logger()


class Every:
    """Does `work` every so many seconds, never twice at a time.

    Work that fails is logged, and done again when its time comes; work that takes longer skips the times it missed.
    """

    def __init__(self, seconds: float, work: Callable[[], object], clock: IReactorTime) -> None:
        """`work` may be a coroutine function."""
        self._seconds = seconds
        self._work = work
        self._clock = clock
        self._next: IDelayedCall | None = None
        self._is_busy = False
        self._awaited: list[Deferred[None]] = []
        self.running = False

    def start(self, now: bool = True) -> None:
        """Begin, at once or after the first interval."""
        if self.running:
            return
        self.running = True
        if self._is_busy:  # stopped and started again meanwhile: its end finds out
            return
        if now:
            self._begin()
        else:
            self._next = self._clock.callLater(self._seconds, self._begin)

    def stop(self) -> Deferred[None]:
        """Begin no more; fires when the work that is under way has ended."""
        self.running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if not self._is_busy:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._awaited.append(ended)
        return ended

    def _begin(self) -> None:
        self._next, self._is_busy = None, True
        Deferred.fromCoroutine(self._do())

    async def _do(self) -> None:
        began_s = self._clock.seconds()
        try:
            await maybeDeferred(self._work)
        except Exception:
            _log.failure("a task that runs every {seconds:g} s failed, trying again", seconds=self._seconds)
        self._is_busy = False
        if self.running:
            late_s = (self._clock.seconds() - began_s) % self._seconds
            self._next = self._clock.callLater(self._seconds - late_s, self._begin)
        awaited, self._awaited = self._awaited, []
        for ended in awaited:
            ended.callback(None)
