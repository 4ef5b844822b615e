"""The way out of a connection: what the socket takes leaves at once; the rest is counted until it has left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPullProducer
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer


class Account(Protocol):
    """Where what is unsent on all connections of a site is counted."""

    def count_unsent(self, size_bytes: int) -> None:
        """So much more is unsent, or less."""


@implementer(IPullProducer)
class Outlet:
    """What one connection has still to send; `emptied` is called when the socket has taken all of it.

    A transport that is no descriptor takes all at once.
    """

    def __init__(
        self, transport: Any, account: Account, seconds: Callable[[], float], emptied: Callable[[], object]
    ) -> None:  # fmt: skip
        self._transport = transport
        self._wire = wire_of(transport)
        # Past a wrapper nothing may be sent directly.
        self._send_now = self._wire.writeSomeData if self._wire is not None and self._wire is transport else None
        self._account = account
        self._seconds = seconds
        self._emptied = emptied
        self.unsent_bytes = 0
        self.waiting_since_s = 0.0
        self._waited_bytes = 0

    def write(self, data: bytes) -> None:
        """Send this after all that was written before."""
        if self._send_now is not None and not self.unsent_bytes:
            sent = self._send_now(data)
            if sent == len(data):
                return
            if isinstance(sent, int):  # else the transport finds out for itself that the connection is lost
                data = data[sent:]
        if self._wire is not None and data:
            self._wait(self._wire, len(data))
        self._transport.write(data)

    @property
    def moved_bytes(self) -> int:
        """A count that changes as the socket takes what waits."""
        return self._waited_bytes + (0 if self._wire is None else self._wire.offset)

    def forget(self) -> None:
        """The connection has ended, or soon will: what is unsent never leaves."""
        self._account.count_unsent(-self.unsent_bytes)
        self.unsent_bytes = 0

    def close(self) -> None:
        """The connection has ended. Nobody is called any more: the two would keep each other in a cycle."""
        self.forget()
        self._emptied = _nobody

    def _wait(self, wire: FileDescriptor, size_bytes: int) -> None:
        if not self.unsent_bytes:
            self.waiting_since_s = self._seconds()
            if wire.producer is None:
                wire.registerProducer(self, False)  # which asks for more at once, and again whenever nothing is left
        self.unsent_bytes += size_bytes
        self._waited_bytes += size_bytes
        self._account.count_unsent(size_bytes)

    def resumeProducing(self) -> None:
        """See IPullProducer: all that was written is out."""
        if self.unsent_bytes:
            assert self._wire is not None, "nothing else asks"
            self._wire.unregisterProducer()
            self.forget()
            self._emptied()

    def stopProducing(self) -> None:
        """See IPullProducer; the connection tells it, too."""


def _nobody() -> None:
    """Who is called when nobody is."""


def wire_of(transport: Any) -> FileDescriptor | None:
    """What carries the bytes of a connection, whatever is around it, as TLS is; None when it is no descriptor."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, FileDescriptor) else None
