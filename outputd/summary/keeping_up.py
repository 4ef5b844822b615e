"""The thread that keeps up what is made from the result files, and waits for nobody but for a POST."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Kind, Trouble
from outputd.sqlite.errors import kind_of
from outputd.summary.pace import REST_S, Pace

_log = Logger()
_EVERY_S = 1.0
_LOOKS_EVERY_S = 0.01
_BUSY_LOOKS_EVERY_S = 0.1
_IDLE_LOOKS = 3
_STEP_ENDS_S = 3.0
_LATE_S = 60.0
_TOLD_EVERY_S = 10.0
_AGAIN_S = 10.0


class UpToDate(Protocol):
    """Waits until the summary has what was stored before."""

    async def __call__(self, within_s: float) -> None:
        """Return when it has, or when the time is over."""


class Kept(Protocol):
    """A database that is made from the result files, some results a step."""

    def step(self) -> bool:
        """Take in some results more; whether there are others. Raises sqlite3.Error and OSError."""

    def interrupt(self) -> None:
        """End the step that is under way, from another thread; nothing of it is kept."""

    def leave(self) -> None:
        """Close its file."""

    def remove(self) -> None:
        """Give its room on the disk back, as far as nothing is lost by that."""

    @property
    def is_there(self) -> bool:
        """Whether its file is the one that the last step has written."""

    @property
    def counted_share(self) -> float:
        """How much of all files is taken in, 0 to 1."""

    @property
    def size_bytes(self) -> int:
        """What it takes of the disk."""


class KeepingUp:
    """The thread that keeps a summary up. `stored` changes its value when results are stored or files come and go,
    `results` counts those that were stored.

    While nobody asks it counts seldom and much at once, and only when no POST waits (`is_busy`). A low priority instead
    would cost the ingest more: a thread that is put to sleep with the GIL in its hands keeps all others waiting.

    Results come first on the disk, too: it rests while less than `least_free_bytes` is free, and a summary that finds
    no room gives its own back, and is made anew when there is enough for all of it.
    """

    def __init__(
        self, summary: Kept, reactor: Any, stored: Callable[[], object], results: Callable[[], int],
        is_busy: Callable[[], bool], now: Callable[[], float], free_bytes: Callable[[], int], least_free_bytes: int,
        rest_s: float = REST_S, thread: str = "outputd-summary",
    ) -> None:  # fmt: skip
        self._name = thread.removeprefix("outputd-")
        self._summary = summary
        self._free_bytes = free_bytes
        self._needs_bytes = self._least_free_bytes = least_free_bytes
        self._reactor = reactor
        self._stored = stored
        self._results = results
        self._is_busy = is_busy
        self._pace = Pace(reactor.seconds(), rest_s)
        self._has: object = None
        self._waiting: dict[Deferred[None], int] = {}
        self._pressed_s = -inf
        self._turns = 0
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=thread, daemon=True)
        self._trouble = Trouble(now, reactor.seconds, self._say_that_it_fails, self._say_that_it_works)
        self._now = now
        self._begun_s = self._told_s = 0.0
        self._has_told = False

    @property
    def failure(self) -> Failure | None:
        """Why the summary is not kept up, or that it is far behind; None when it is neither."""
        if self._trouble.failure is not None:
            return self._trouble.failure
        behind_s = self._reactor.seconds() - self._pace.counted_s
        if behind_s <= _LATE_S or self._has == self._stored():
            return None
        why = "while POSTs wait for the disk" if self._is_busy() else "by traceroutes that take long"
        share = self.counted_share
        counted = "" if share is None else f"; {share:.0%} is counted"
        return Failure(f"counting is {behind_s:.0f} s behind, {why}{counted}", self._now() - behind_s)

    @property
    def counted_share(self) -> float | None:
        """How much is counted, between 0 and 1, while the summary is made or catches up after a start; else None."""
        share = self._summary.counted_share
        return share if 0 < share < 1 and self._has is None else None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    async def stop(self, in_thread: InThread) -> None:
        """Return when the thread has ended and all files are closed."""
        self._stopping = True
        self._wanted.set()
        if self._thread.is_alive():
            await in_thread(self._thread.join, _STEP_ENDS_S)  # an interrupt that comes late leaves a WAL
            if self._thread.is_alive():
                self._summary.interrupt()
                await in_thread(self._thread.join)
        self._tell(self._turns + 1)

    async def for_an_answer(self, within_s: float) -> None:
        """See UpToDate; but where that would be in vain, only the first answer in a while waits. After it, what is due
        is counted beside POSTs as if others waited, too.
        """
        now_s, before_s = self._reactor.seconds(), self._pressed_s
        is_in_vain = self.counted_share is not None or self._pace.is_in_vain(self._results())
        if is_in_vain:
            self._pressed_s = now_s
        if not is_in_vain or now_s - before_s > _AGAIN_S:
            await self.up_to_date(within_s)

    async def up_to_date(self, within_s: float) -> None:
        """See UpToDate."""
        if self._stopping or self._has == self._stored():
            return
        waiter: Deferred[None] = Deferred()
        self._waiting[waiter] = self._turns
        self._wanted.set()
        try:
            await waiter.addTimeout(within_s, self._reactor)
        except DeferredTimeout:
            pass
        finally:
            self._waiting.pop(waiter, None)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wanted.clear()
                self._turns += 1
                begun_s, results, stored = self._reactor.seconds(), self._results(), self._stored()
                self._pace.look(results, begun_s)
                if not self._summary.is_there:
                    self._has = None  # before the new one is there: nobody takes it for a whole one
                if stored == self._has or (self._is_due(results, begun_s) and self._work(stored)):
                    self._pace.count(results, begun_s)
                    self._reactor.callFromThread(self._tell, self._turns)
                self._wanted.wait(_EVERY_S)
        finally:
            self._summary.leave()

    def _is_due(self, results: int, now_s: float) -> bool:
        """Whether not to wait for more; what is not whole, or has failed, waits for nothing."""
        has_to = bool(self._waiting) or self._has is None or self._trouble.failure is not None
        return has_to or self._pace.is_due(results, now_s)

    @property
    def _is_asked(self) -> bool:
        """Whether somebody waits, or would if it were of use."""
        return bool(self._waiting) or self._reactor.seconds() - self._pressed_s < _EVERY_S

    def _work(self, stored: object) -> bool:
        """Take in all that there is; whether that went well."""
        self._begun_s = self._told_s = self._reactor.seconds()
        self._has_told = False
        try:
            while True:
                self._let_posts_pass()
                if self._stopping:
                    return False
                if self._free_bytes() < self._needs_bytes:
                    needs = f"no space to spare, less than {self._needs_bytes >> 20} MiB are free"
                    return self._fail(needs, Kind.FULL)
                self._needs_bytes = self._least_free_bytes
                if not self._summary.step():
                    break
                self._tell_how_far()
        except Exception as error:  # whatever it is, the thread goes on
            kind = kind_of(error)
            if kind is Kind.FULL:
                self._needs_bytes = self._least_free_bytes + 2 * self._summary.size_bytes
                with contextlib.suppress(OSError):
                    self._summary.remove()
            return self._fail(str(error) or type(error).__name__, kind)
        self._trouble.end()
        self._has = stored
        if self._has_told:
            _log.info("all results are counted, after {seconds:.0f} s", seconds=self._reactor.seconds() - self._begun_s)
        return True

    def _tell_how_far(self) -> None:
        """Every ten seconds, while the summary is made or catches up after a start."""
        share, now_s = self.counted_share, self._reactor.seconds()
        if share is not None and now_s - self._told_s >= _TOLD_EVERY_S:
            self._told_s, self._has_told = now_s, True
            _log.info("counting the results for the {name}: {share:.0%} so far", name=self._name, share=share)

    def _say_that_it_fails(self, reason: str) -> None:
        _log.error("the {name} cannot be updated, trying again: {reason}", name=self._name, reason=reason)

    def _say_that_it_works(self, seconds: float) -> None:
        _log.info("the {name} is updated again, after {seconds:.0f} s", name=self._name, seconds=seconds)

    def _fail(self, reason: str, kind: Kind) -> bool:
        if not self._stopping:
            self._trouble.begin(reason, kind)
        return False

    def _let_posts_pass(self) -> None:
        """Return when no POST was seen to wait for a moment, or when somebody asks."""
        idle_looks = 0
        while idle_looks < _IDLE_LOOKS and not self._is_asked and not self._stopping:
            idle_looks = 0 if self._is_busy() else idle_looks + 1
            self._wanted.clear()
            self._wanted.wait(_LOOKS_EVERY_S if idle_looks else _BUSY_LOOKS_EVERY_S)

    def _tell(self, turn: int) -> None:
        """Tell those who have waited since before this turn."""
        for waiter, since in list(self._waiting.items()):
            if since < turn and not waiter.called:
                waiter.callback(None)
