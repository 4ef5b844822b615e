"""Both sides of a connection, with and without sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
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


def unchunked(body: bytes) -> bytes:
    """A chunked body that is whole."""
    return b"".join(_chunks(body))


def _chunks(body: bytes) -> Iterator[bytes]:
    while True:
        match = re.match(rb"([0-9a-f]+)\r\n", body)
        assert match is not None, body[:100]
        size = int(match[1], 16)
        chunk, body = body[match.end() : match.end() + size], body[match.end() + size :]
        assert body.startswith(b"\r\n"), body[:100]
        body = body[2:]
        if not size:
            assert not body
            return
        yield chunk


def over_the_wire(site: Any, *requests: bytes, host: str = "192.0.2.9") -> tuple[Any, StringTransport]:
    """A connection to a site without sockets, to which these bytes have come; the channel and its transport."""
    peer = (IPv6Address if ":" in host else IPv4Address)("TCP", host, 4000)
    channel, transport = site.buildProtocol(peer), StringTransport(peerAddress=peer)
    channel.makeConnection(transport)
    for request in requests:
        channel.dataReceived(request)
    return channel, transport


class _NoReactor:
    """What a descriptor needs of a reactor that never asks it anything."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Narrow(FileDescriptor):
    """A transport whose socket takes `room` bytes and no more, until `read` says that the other side has read some."""

    def __init__(self, room: int = 0) -> None:
        super().__init__(_NoReactor())  # type: ignore[arg-type]  # no whole reactor, on purpose
        self.connected = 1
        self.room = room
        self.sent = b""
        self.is_reading = True
        self.is_aborted = False
        self.is_half_closed = False

    def writeSomeData(self, data: bytes) -> int:
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def read(self, size: int) -> None:
        """The other side has read, and the socket takes as much more."""
        self.room += size
        while self.room and (self.dataBuffer or self._tempDataBuffer):
            self.doWrite()

    def startReading(self) -> None:
        self.is_reading = True

    def stopReading(self) -> None:
        self.is_reading = False

    def abortConnection(self) -> None:
        self.is_aborted = True

    def _closeWriteConnection(self) -> None:
        self.is_half_closed = True

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.9", 4000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 80)


def over_a_narrow_wire(site: Any, room: int, *requests: bytes) -> tuple[Any, Narrow]:
    """As over_the_wire, where the other side reads only so much."""
    channel, transport = site.buildProtocol(IPv4Address("TCP", "192.0.2.9", 4000)), Narrow(room)
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
