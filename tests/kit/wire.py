"""Both sides of a connection, with and without sockets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from outputd.web.answers import Answer


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return None if values is None else ", ".join(values)


class Wire(Protocol):
    """One side of a connection; keeps what arrives."""

    def __init__(self) -> None:
        self.data = b""
        self.closed: Deferred[None] = Deferred()
        self.is_closed = False
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_closed = True
        self.closed.callback(None)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def hang_up(self) -> None:
        cast(ITCPTransport, self.transport).abortConnection()

    def until(self, text: bytes) -> Deferred[None]:
        """Fires when the text has arrived."""
        found: Deferred[None] = Deferred()
        self._waiting.append((text, found))
        self._look()
        return found

    def _look(self) -> None:
        for item in [item for item in self._waiting if item[0] in self.data]:
            self._waiting.remove(item)
            item[1].callback(None)


def replied(answer: Answer) -> Reply:
    """An answer as its client would see it."""
    status, body, headers = answer
    return Reply(status, Headers({name: [value] for name, value in headers.items()}), body)


def parsed(answer: bytes) -> Reply:
    """An answer from the wire, the interim ones left out."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status = int(first.split(b" ")[1])
    if status < 200:
        return parsed(rest)
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(b":")
        headers.addRawHeader(name, value.strip())
    return Reply(status, headers, rest)


def over_the_wire(site: Any, *requests: bytes) -> tuple[Any, StringTransport]:
    """A connection to a site without sockets, to which these bytes have come; the channel and its transport."""
    channel = site.buildProtocol(IPv4Address("TCP", "192.0.2.9", 4000))
    transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.9", 4000))
    channel.makeConnection(transport)
    for request in requests:
        channel.dataReceived(request)
    return channel, transport


def get(site: Any, path: str, method: str = "GET") -> Reply:
    """The answer of a site without sockets."""
    channel, transport = over_the_wire(site, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    reply = parsed(transport.value())
    channel.connectionLost(Failure(ConnectionDone()))
    return reply
