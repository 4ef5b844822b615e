"""A body on its way to a peer, of which is known how much the connection has taken."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.client import FileBodyProducer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

_CHUNK_BYTES = 16 * 1024


@implementer(IBodyProducer)
class Upload:
    """A body that is handed over piece by piece.

    While the send buffer is small (`Bounds.send_buffer_bytes`), what is handed over is not far from what the peer has
    acknowledged; and as long as something is not handed over, nobody has all of it.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.length = len(content)
        self.sent_bytes = 0
        self.moved: Callable[[], object] = lambda: None
        """Called for each piece."""
        self._producer = FileBodyProducer(BytesIO(content), readSize=_CHUNK_BYTES)
        self._consumer: IConsumer | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all was handed over, so that all may have arrived."""
        return self.sent_bytes == self.length

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See IBodyProducer."""
        self._consumer = consumer
        counted: Any = self  # of a consumer it needs no more than `write`
        ended: Deferred[None] = self._producer.startProducing(counted)
        return ended

    def write(self, data: bytes) -> None:
        """Hand the next piece over."""
        assert self._consumer is not None, "it was started"
        self.sent_bytes += len(data)
        self.moved()
        self._consumer.write(data)

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """See IProducer."""
        self._producer.stopProducing()
