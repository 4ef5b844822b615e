"""What an exchange with a peer may take, however the peer behaves."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

_LOOKS = 8
_UNSENT_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one answer and its connection may take."""

    answer_bytes: int = 64 * 1024
    """Of status line, headers and body; interim answers count, too."""
    connect_s: float = 5.0
    silence_s: float = 120.0
    """Without a byte from the peer, and without one that it has acknowledged."""
    in_all_s: float | None = None
    """From the connection's beginning to its end."""
    send_buffer_bytes: int | None = None
    """Of the kernel, so that what it takes is not far ahead of what the peer has acknowledged."""


EXCHANGE_S: Final = 10.0
"""For a small post: from the look-up of the name to the end of the answer's body."""
POST: Final = Bounds(in_all_s=EXCHANGE_S)
"""For a small post on a connection of its own."""


class TooLong(Exception):
    """The peer said more than an answer may have; the text says how much that is."""


class TooSlow(Exception):
    """The peer was silent for too long, or took too long in all; the text says for how long."""


class BoundedConnection(ProtocolWrapper):
    """Dropped once its bounds are passed; whoever waits for an answer is given the reason."""

    def __init__(
        self, bounds: Bounds, clock: IReactorTime, factory: WrappingFactory[BoundedConnection], wrapped: IProtocol
    ) -> None:
        ProtocolWrapper.__init__(self, factory, wrapped)
        self._bounds = bounds
        self._clock = clock
        self._bytes_left = bounds.answer_bytes
        self._moved = 0
        self._seen = (-1, -1)
        self._seen_s = clock.seconds()
        self._reason: Exception | None = None
        self._end: IDelayedCall | None = None
        self._next_look: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """See IProtocol."""
        handle = _socket_of(self.transport)
        if handle is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):  # so that what was handed over is on its way
            with contextlib.suppress(OSError):
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        if handle is not None and self._bounds.send_buffer_bytes is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._bounds.send_buffer_bytes)
        if (most_s := self._bounds.in_all_s) is not None:
            self._end = self._clock.callLater(most_s, self._drop, TooSlow(f"no answer within {most_s:.0f} s"))
        self._look()
        ProtocolWrapper.connectionMade(self)

    def write(self, data: bytes) -> None:
        """See ITransport. An answer follows what was written: its bytes are counted from here on."""
        self._wrote(len(data))
        ProtocolWrapper.write(self, data)

    def writeSequence(self, data: Any) -> None:
        """See ITransport."""
        self._wrote(sum(map(len, data)))
        ProtocolWrapper.writeSequence(self, data)

    def dataReceived(self, data: bytes) -> None:
        """Pass it on, so that a status line is seen whatever follows it, and count it."""
        self._moved += len(data)
        ProtocolWrapper.dataReceived(self, data)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self._drop(TooLong(f"the answer is longer than {self._bounds.answer_bytes >> 10} KiB"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See IProtocol."""
        for timer in (self._end, self._next_look):
            if timer is not None and timer.active():
                timer.cancel()
        ProtocolWrapper.connectionLost(self, reason if self._reason is None else Failure(self._reason))

    def _wrote(self, count: int) -> None:
        self._moved += count
        self._bytes_left = self._bounds.answer_bytes

    def _drop(self, reason: Exception) -> None:
        self._reason = self._reason or reason
        self.abortConnection()  # the transport's, which comes later

    def _look(self) -> None:
        seen, now_s = (self._moved, _queued(self.transport)), self._clock.seconds()
        if seen != self._seen:
            self._seen, self._seen_s = seen, now_s
        elif now_s - self._seen_s >= self._bounds.silence_s:
            self._drop(TooSlow(f"no progress for {self._bounds.silence_s:.0f} s"))
            return
        self._next_look = self._clock.callLater(self._bounds.silence_s / _LOOKS, self._look)


def _socket_of(transport: Any) -> socket.socket | None:
    """The TCP socket below a transport, TLS or not; None when there is none."""
    while isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    return handle if isinstance(handle, socket.socket) and handle.family in (socket.AF_INET, socket.AF_INET6) else None


def _queued(transport: Any) -> int:
    """Bytes that the peer has not acknowledged yet, 0 when nobody can tell."""
    handle = _socket_of(transport)
    if handle is None:
        return 0
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, b"\0\0\0\0"))
    except OSError:
        return 0
    return int(queued)
