"""Threads beside the reactor, for work that would hold it up."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class InThread(Protocol):
    """Runs blocking work beside the reactor."""

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what work(...) returns."""


class Job(Generic[T]):
    """Work that is done in one thread, and its outcome that is taken in another, once.

    An exception that crosses by itself stays behind in a cycle with the frames that it came through, and they keep what
    was worked on until the collector of cycles comes, which is seldom. Here it crosses as a value, with empty frames.
    """

    __slots__ = ("_error", "_value", "_work")

    def __init__(self, work: Callable[..., T]) -> None:
        self._work: Callable[..., T] | None = work
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self, *given: Any) -> bool:
        """Do it; False when it has raised something."""
        work, self._work = self._work, None
        assert work is not None, "a job is done once"
        try:
            self._value = work(*given)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            self._error = error
            return False
        finally:
            del work, given
        return True

    def outcome(self) -> T:
        """Return what the work has returned, or raise what it has raised."""
        error, value = self._error, self._value
        self._error = self._value = None
        if error is None:
            return cast(T, value)
        try:
            raise error
        finally:
            del error


class Threads:
    """An InThread of at most `most` threads, which must be stopped."""

    def __init__(self, reactor: Any, name: str, most: int) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(0, most, name)
        self._threads.start()

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See InThread."""
        job = Job(partial(work, *args, **kwargs))
        await deferToThreadPool(self._reactor, self._threads, job.run)
        return job.outcome()

    def stop(self) -> None:
        """End the threads; waits for work that is under way."""
        self._threads.stop()


class Share:
    """An InThread that takes at most `most` threads of another one at a time: others find one free beside it."""

    def __init__(self, in_thread: InThread, most: int) -> None:
        self._in_thread = in_thread
        self._places = DeferredSemaphore(most)

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See InThread."""
        await self._places.acquire()
        try:
            return await self._in_thread(work, *args, **kwargs)
        finally:
            self._places.release()
