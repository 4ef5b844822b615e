"""What is read again on SIGHUP, without dropping a request."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredLock

from outputd.process.log import Logger
from outputd.process.systemd import READY, Notifier
from outputd.process.threads import InThread
from outputd.process.trouble import Unusable

_log = Logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reloadable(Generic[T]):
    """Something with a name that is read in a thread, and taken in the reactor's. `read` may raise Unusable."""

    name: str
    read: Callable[[], T]
    take: Callable[[T], object]
    in_thread: InThread | None = None
    """Where it is read again; None for what takes milliseconds."""


class Reload:
    """Reads everything again, one after the other; what is wrong is told in a line each, and the rest goes on."""

    def __init__(self, things: list[Reloadable[Any]], in_thread: InThread) -> None:
        self._things = things
        self._in_thread = in_thread
        self._one = DeferredLock()

    def read_first(self) -> None:
        """The first time, at the start. Blocking. Raises Unusable."""
        for thing in self._things:
            thing.take(thing.read())

    async def again(self) -> None:
        """Read everything again."""
        async with self._one:
            for thing in self._things:
                try:
                    thing.take(await (thing.in_thread or self._in_thread)(thing.read))
                except Unusable as error:
                    _log.error("{name} not reloaded, the old one stays in use: {error!s}", name=thing.name, error=error)
                except Exception:
                    _log.failure("{name} not reloaded, the old one stays in use", name=thing.name)
                else:
                    _log.info("{name} reloaded", name=thing.name)


def by_hangup(reload: Reload, notifier: Notifier, reactor: Any) -> None:
    """Let SIGHUP read everything again, and tell systemd when that begins and ends."""

    def again() -> None:
        notifier.reloading()
        Deferred.fromCoroutine(reload.again()).addBoth(lambda _: notifier.tell(READY))

    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(again))
