"""The way into a connection: whether what the other side sends is read."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Inlet:
    """Has a transport read, or not. One that reads is not told to: each request would cost a look at the reactor's."""

    def __init__(self, transport: IPushProducer) -> None:
        self._transport = transport
        self._is_open = True

    def pauseProducing(self) -> None:
        """Read nothing more for now."""
        self._is_open = False
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        if not self._is_open:
            self._is_open = True
            self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """See IPushProducer."""
        self._transport.stopProducing()
