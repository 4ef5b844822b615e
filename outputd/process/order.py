"""OutputService: the order of starting and stopping, and the deadline of the latter."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred

from outputd.process.log import Logger
from outputd.process.trouble import Unusable

_log = Logger()
STOP_S = 10.0
_LAST_S = 1.0


@dataclass(frozen=True, slots=True)
class Stop:
    """One step of stopping, with a name for the log should it hang."""

    name: str
    work: Callable[[], object]
    """May be a coroutine function, or return a Deferred."""


@dataclass(slots=True)
class Stopping:
    """Whether a stop has begun, for those who must know it from the first moment."""

    has_begun: bool = False


class OutputService(Service):
    """Starts its parts in order and stops them in order, each when the one before has stopped.

    A part that is Unusable ends the process with one line and status 1, before anything is served. Stopping takes at
    most 10 s: then the process ends with status 1, and the log says what hung.
    """

    def __init__(
        self, reactor: Any, starts: Sequence[Callable[[], object]], stops: Sequence[Stop], stopping: Stopping
    ) -> None:
        self._reactor = reactor
        self._starts = starts
        self._stops = stops
        self._step = "nothing"
        self._deadline: threading.Timer | None = None
        self._own_process = False
        self._stopping = stopping

    def privilegedStartService(self) -> None:
        """Start all, ports included, so that a taken or a privileged one is known at once."""
        try:
            for start in self._starts:
                start()
        except Unusable as error:
            _to_stderr(f"outputd: {error}")
            raise SystemExit(1) from None

    def end_by_signals(self) -> None:
        """Let SIGTERM and SIGINT, and no other, end the process with status 0: twistd would raise the signal again."""
        self._own_process = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._end))
        for number in (signal.SIGUSR1, signal.SIGUSR2):  # logrotate sends them to whoever writes a log
            if signal.getsignal(number) is signal.SIG_DFL:  # that is an end without a stop
                signal.signal(number, signal.SIG_IGN)

    def _end(self) -> None:
        if not self._stopping.has_begun:
            self._begin_stop()
            self._reactor.stop()

    def _begin_stop(self) -> None:
        self._stopping.has_begun = True
        if self._deadline is None:
            self._deadline = threading.Timer(STOP_S, self._give_up)
            self._deadline.daemon = True
            self._deadline.start()

    def stopService(self) -> Deferred[None]:
        """Stop everything in order; fires when all is closed."""
        super().stopService()
        self._begin_stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        _log.info("stopping")
        for step in self._stops:
            self._step = step.name
            try:
                await maybeDeferred(step.work)
            except Exception:
                _log.failure("{step} failed to stop cleanly", step=step.name)
        if self._deadline is not None:
            self._deadline.cancel()
        _log.info("stopped")
        if self._own_process:  # a name that is still being looked up in a thread must not keep a closed service alive
            last = threading.Timer(_LAST_S, os._exit, (0,))
            last.daemon = True
            last.start()

    def _give_up(self) -> None:  # in a thread of its own: the reactor may be what hangs
        _to_stderr(f"outputd: not stopped after {STOP_S:g} s, {self._step} hangs; ending with status 1")
        os._exit(1)


def _to_stderr(line: str) -> None:
    print(line, file=sys.__stderr__, flush=True)  # twistd has put its log in the place of sys.stderr
