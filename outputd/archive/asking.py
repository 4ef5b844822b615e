"""The archive's child as the reactor has it: started when there is something to ask, killed when it hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, overload

from twisted.internet.interfaces import IReactorTime

from outputd.archive.asks import HANGS_AFTER_S, Cut, Failed, Find, Found, Ship, Shipped, Span, Taken
from outputd.process.threads import InThread

_RESTS_S = 30.0
"""A child that was asked nothing for so long is ended: its memory is worth more than the second that a start takes."""


class Answers(Protocol):
    """A child: see asks.Worker."""

    def ask(self, request: Any, /) -> Any:
        """The answer. Blocking."""

    def stop(self) -> None:
        """Kill it, from any thread."""

    def close(self) -> None:
        """End it. Blocking."""


class Undone(Exception):
    """What was asked for could not be done, and may be asked again."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


class Asking:
    """Asks the child, one question at a time; `start` makes one. Blocking work is done in a thread."""

    def __init__(self, start: Callable[[], Answers], in_thread: InThread, clock: IReactorTime) -> None:
        self._start = start
        self._in_thread = in_thread
        self._clock = clock
        self._child: Answers | None = None
        self._asked_s = 0.0
        self._is_outdated = False
        self._is_stopping = False

    @overload
    async def ask(self, request: Cut) -> Span | None: ...
    @overload
    async def ask(self, request: Ship) -> Shipped | Taken: ...
    @overload
    async def ask(self, request: Find) -> Found: ...
    async def ask(self, request: Cut | Ship | Find) -> Any:
        """The answer. Raises Undone."""
        child = await self._started()
        hanging = self._clock.callLater(HANGS_AFTER_S, child.stop)
        try:
            answer = await self._in_thread(child.ask, request)
        finally:
            self._asked_s = self._clock.seconds()
            if hanging.active():
                hanging.cancel()
        if isinstance(answer, Failed):
            if answer.is_over:
                await self._end()
            raise Undone(answer)
        return answer

    async def rest(self) -> None:
        """End the child when it was asked nothing for a while; to be called once in a while, between two questions."""
        if self._is_outdated or self._clock.seconds() - self._asked_s >= _RESTS_S:
            await self._end()

    def renew(self) -> None:
        """Have the next question answered by a new child: credentials have changed."""
        self._is_outdated = True

    def stop(self) -> None:
        """Kill the child, and start none any more: the question under way is Undone."""
        self._is_stopping = True
        if self._child is not None:
            self._child.stop()

    async def close(self) -> None:
        """End the child; to be called between two questions."""
        await self._end()

    async def _started(self) -> Answers:
        if self._is_outdated:
            await self._end()
        if self._child is None and not self._is_stopping:
            try:
                self._child = await self._in_thread(self._start)
            except OSError as error:
                raise Undone(Failed(f"no process can be started: {error}")) from error
        if self._child is None or self._is_stopping:
            raise Undone(Failed("outputd is shutting down"))
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        self._is_outdated = False
        if child is not None:
            await self._in_thread(child.close)
