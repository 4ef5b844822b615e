"""A peer on loopback that answers as it is told, and not as it should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from outputd.security.certificates import Certificates


class Conversation(Protocol):
    """A peer's end of one connection: reads the request, then does what the peer is told to do."""

    factory: Peer
    received = b""
    sent = 0

    def connectionMade(self) -> None:
        self.factory.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        if blank and len(body) == length:
            self.factory.requests.append(self.received)
            self.factory.behave(self)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.factory.open.discard(self)

    def say(self, data: bytes) -> None:
        cast(Any, self.transport).write(data)

    def pour(self, data: bytes) -> None:
        """Say the same for ever, as fast as it is read."""
        producer = Endless(self, data)
        cast(Any, self.transport).registerProducer(producer, False)


class Endless:
    """A pull producer without an end."""

    def __init__(self, conversation: Conversation, data: bytes) -> None:
        self.conversation = conversation
        self.data = data

    def resumeProducing(self) -> None:
        self.conversation.sent += len(self.data)
        self.conversation.factory.poured += len(self.data)
        self.conversation.say(self.data)

    def stopProducing(self) -> None:
        pass


class Peer(Factory[Conversation]):
    """An input_service on a port of its own; `behave` says what it does once a request is in."""

    protocol = Conversation
    noisy = False

    def __init__(self, behave: Callable[[Conversation], object]) -> None:
        self.behave = behave
        self.requests: list[bytes] = []
        self.open: set[Conversation] = set()
        self.poured = 0


def listen(peer: Peer, host: str = "127.0.0.1", tls: Certificates | None = None) -> Any:
    """Listen on a free port of the loopback."""
    factory = peer if tls is None else TLSMemoryBIOFactory(tls, False, peer)
    return cast(Any, reactor).listenTCP(0, factory, interface=host)
