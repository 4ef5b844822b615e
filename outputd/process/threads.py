"""Threads beside the reactor, for work that would hold it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")


class InThread(Protocol):
    """Runs blocking work beside the reactor."""

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what work(...) returns."""


class Threads:
    """An InThread of at most `most` threads, which must be stopped."""

    def __init__(self, reactor: Any, name: str, most: int) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(0, most, name)
        self._threads.start()

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See InThread."""
        return cast(T, await deferToThreadPool(self._reactor, self._threads, work, *args, **kwargs))

    def stop(self) -> None:
        """End the threads; waits for work that is under way."""
        self._threads.stop()
