"""A slow line on loopback: what all its connections carry towards a service is bounded together."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet import reactor as installed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

REACTOR = cast(Any, installed)
_TICK_S = 0.05
_BUFFER_BYTES = 8 * 1024


class _Behind(Protocol):
    """The end of one connection at the service: what comes from there goes back at once."""

    transport: Any

    def __init__(self, before: _Before) -> None:
        self.before = before

    def connectionMade(self) -> None:
        """Begin."""
        self.before.behind = self

    def dataReceived(self, data: bytes) -> None:
        """Pass it back."""
        self.before.transport.write(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """End the other side, too."""
        self.before.transport.loseConnection()


class _Before(Protocol):
    """The end at the client, of which little is read ahead: what is acknowledged is what went through."""

    transport: Any
    behind: _Behind | None = None

    def __init__(self, line: SlowLine) -> None:
        self.line = line
        self.waiting = b""

    def connectionMade(self) -> None:
        """Connect to the service."""
        self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.line.ends.append(self)
        connectProtocol(TCP4ClientEndpoint(REACTOR, self.line.host, self.line.behind), _Behind(self))

    def dataReceived(self, data: bytes) -> None:
        """Keep it until the line carries it."""
        self.waiting += data
        self.transport.pauseProducing()

    def carry(self, most_bytes: int) -> int:
        """Pass so much on; how much there was."""
        if self.behind is None:
            return 0
        data, self.waiting = self.waiting[:most_bytes], self.waiting[most_bytes:]
        if data:
            self.behind.transport.write(data)
        if not self.waiting:
            self.transport.resumeProducing()
        return len(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """End the other side, too."""
        self.line.ends.remove(self)
        if self.behind is not None:
            self.behind.transport.abortConnection()


class SlowLine(Factory[_Before]):
    """Listens on a port of the loopback, and passes on to another so many bytes a second in all."""

    noisy = False

    def __init__(self, behind: int, bytes_a_s: int) -> None:
        self.host, self.behind = "127.0.0.1", behind
        self.ends: list[_Before] = []
        self._tick_bytes = int(bytes_a_s * _TICK_S)
        self._ticking = LoopingCall(self._tick)
        self._listening: Any = None

    def buildProtocol(self, addr: object) -> _Before:
        """See Factory."""
        return _Before(self)

    def open(self) -> int:
        """The port."""
        self._listening = REACTOR.listenTCP(0, self, interface=self.host)
        self._ticking.start(_TICK_S, now=False)
        return int(self._listening.getHost().port)

    async def close(self) -> None:
        """Carry nothing more."""
        self._ticking.stop()
        for end in list(self.ends):
            end.transport.abortConnection()
        await self._listening.stopListening()

    def _tick(self) -> None:
        left = self._tick_bytes
        for end in list(self.ends):
            left -= end.carry(max(1, left // max(1, len(self.ends))))
        self.ends[:] = self.ends[1:] + self.ends[:1]
