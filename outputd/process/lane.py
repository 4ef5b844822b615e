"""A lane: a crowd of connections that has one place among all that the reactor serves, and a few turns each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure

from outputd.process.company import Company

_AT_ONCE = 4
_TURN_S = 0.01


class Lane(EPollReactor):
    """Listens like the reactor that it is part of, but has about 10 ms of each tick of that one.

    Whatever else the reactor serves waits so long, and not for all of the crowd. It is an epoll within the reactor's
    own, epoll(7), and the kernel takes turns among its sockets that are ready. It is never run; its time is the
    reactor's.

    When its company says so, who is ready is served a little later, with those who are ready by then. Until then the
    kernel keeps what they have sent: nothing of it is read.
    """

    def __init__(self, reactor: Any, company: Company) -> None:
        super().__init__()
        self._reactor = reactor
        self._company = company
        self._is_waiting = False
        self._poller = _FewAtOnce(self._poller)

    def installWaker(self) -> None:
        """See ReactorBase: nobody has to wake what does not sleep."""

    def addReader(self, reader: IReadDescriptor) -> None:
        """See IReactorFDSet."""
        super().addReader(reader)
        self._enter()

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See IReactorFDSet."""
        super().addWriter(writer)
        self._enter()

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See IReactorFDSet."""
        super().removeReader(reader)
        self._leave_if_empty()

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See IReactorFDSet."""
        super().removeWriter(writer)
        self._leave_if_empty()

    def _enter(self) -> None:
        if self._selectables and not self._is_waiting:
            self._reactor.addReader(self)

    def _leave_if_empty(self) -> None:
        if not self._selectables:
            self._reactor.removeReader(self)

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object) -> DelayedCall:
        """See IReactorTime."""
        later: DelayedCall = self._reactor.callLater(delay, callable, *args, **kwargs)
        return later

    def fileno(self) -> int:
        """See IFileDescriptor."""
        number: int = self._poller.fileno()
        return number

    def doRead(self) -> None:
        """Serve those who are ready, at once or when others have come, too."""
        wait_s = self._company.wait_s(self._reactor.seconds())
        if not wait_s:
            self._serve()
            return
        self._is_waiting = True
        self._reactor.removeReader(self)
        self._reactor.callLater(wait_s, self._serve_company)

    def _serve_company(self) -> None:
        self._is_waiting = False
        self._enter()
        came = self._company.arrivals
        if self._serve() > self._company.arrivals - came:
            self._company.disturb(self._reactor.seconds())

    def _serve(self) -> int:
        """Serve a few at a time until the time is up, or none is left; returns how many were served."""
        ends_s = self._reactor.seconds() + _TURN_S
        self.doIteration(0)
        served: int = self._poller.found
        while self._poller.found == _AT_ONCE and self._reactor.seconds() < ends_s:
            self.doIteration(0)
            served += self._poller.found
        return served

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "lane"

    def connectionLost(self, reason: Failure) -> None:
        """See IReadDescriptor: the reactor has ended, and all that is served here with it."""
        self.disconnectAll()


class _FewAtOnce:
    """A poll that tells of a few at a time, and of the others next time."""

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self.found = 0

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        most = min(most, _AT_ONCE)
        events: list[tuple[int, int]] = self._poller.poll(timeout, most) if most else []  # it may not be asked for none
        self.found = len(events)
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)
