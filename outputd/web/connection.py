"""One connection of a client: what is heard and what is told, and whether it makes progress."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Iterable
from typing import Protocol, cast

from twisted.internet.interfaces import IAddress, IConsumer, IDelayedCall, IPushProducer, IReadDescriptor, ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers

from outputd.security.access import Holder
from outputd.security.certificates import node_of
from outputd.web import request
from outputd.web.answers import Answer, problem
from outputd.web.doors import Doors
from outputd.web.elsewhere import SAFE_METHODS
from outputd.web.head import usual_head
from outputd.web.inlet import Inlet
from outputd.web.outlet import Account, Outlet, wire_of
from outputd.web.request import BodyRefused, CappedRequest

_REFUSED = 400  # this and above
_HEAD_S = 10
_SILENT_S = 60
_WHOLE_BODY_S = 300
_READ_ON_S = 5.0
_READ_ON_BYTES = 32 << 20  # many a client does not look before it has sent all
_FAIR_BYTES_A_S = 16 * 1024  # who sends a body faster keeps nobody waiting
_SLOW_S = 2.0
_SEND_BUFFER_BYTES = 128 * 1024
_BYTES_ACKED_AT = 120  # tcpi_bytes_acked in struct tcp_info, linux/tcp.h
_UNASKED = Holder("", "")


class Place(request.Place, Account, Protocol):
    """What a connection needs of its site."""

    channels: set[Channel]
    doors: Doors[Channel]
    draining: bool
    seconds: Callable[[], float]

    def channel_closed(self, channel: Channel) -> None:
        """A connection has ended, and with it all that it had to send."""


class Channel(http.HTTPChannel):
    """One connection; what the sweep remembers of it.

    A request is judged when its headers are there. One that is refused is answered then, and the connection closed; but
    a little more is read and thrown away, since unread data would make it a reset, which could overtake the answer.

    An answer leaves in one piece and at once, where the socket takes it: by twisted.web's own way it would be thirty
    small writes, and wait until all other answers of the same commit are made. The next request is not begun before it
    has left, so that nobody who does not read can have many answers made.
    """

    site: Place
    served = 0
    receiving: object = None
    receiving_since = 0.0
    heard_s = 0.0
    acked = -1
    acked_since = 0.0
    _paced = -1
    _paced_since_s = 0.0
    _paced_bytes = 0
    _head = b""
    _host: IAddress | None = None
    _peer: IAddress | None = None
    _certified: Holder | None = _UNASKED
    _outlet: Outlet
    _producer: IPushProducer | None = None
    _leaving: CappedRequest | None = None
    _ends_by_reset = False
    is_deaf = False
    network = ""
    was_answered = False
    answered_s: float | None = None
    """When the last answer had left, by the reactor's clock."""
    holder: Holder | None = None
    _is_in_head = False
    _is_on_porch = False
    _begun_s = 0.0
    _read_on_bytes: int | None = None
    _patience: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Keep the send buffer small, so that what the other side has acknowledged shows its progress."""
        super().connectionMade()
        cast(IConsumer, self.transport).unregisterProducer()  # it would be told only of what is over 64 KiB
        self._networkProducer = Inlet(self._networkProducer)
        self._outlet = Outlet(self.transport, self.site, self.site.seconds, self._emptied)
        self.site.channels.add(self)
        self.heard_s = self._begun_s = self.site.seconds()
        self._is_in_head = isinstance(self.transport, TLSMemoryBIOProtocol)  # which has begun, as far as we can tell
        handle = socket_of(self)
        if handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._enter_porch()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See HTTPChannel."""
        super().connectionLost(reason)
        self._leave_porch()
        if self._producer is not None:
            self._producer.stopProducing()
        self._outlet.close()
        self._transferDecoder = None  # which keeps us, and the request
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self.site.channel_closed(self)

    def getHost(self) -> IAddress:
        """See HTTPChannel; the transport asks the system each time."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def getPeer(self) -> IAddress:
        """See getHost."""
        if self._peer is None:
            self._peer = super().getPeer()
        return self._peer

    @property
    def certified(self) -> Holder | None:
        """The node whose certificate the client has shown."""
        if self._certified is _UNASKED:
            self._certified = node_of(self.transport)
        return self._certified

    def dataReceived(self, data: bytes) -> None:
        """See HTTPChannel."""
        self.heard_s = self.site.seconds()
        if self.is_deaf:
            self._throw_away(len(data))
            return
        if not self._take_whole(data):
            super().dataReceived(data)
            self._look_for_head()

    def _take_whole(self, data: bytes) -> bool:
        """Take a usual request that has come in one piece with its body, if this is one and nothing else is at hand."""
        if not self.line_mode or self.requests or self._buffer or not self.persistent:
            return False
        head = usual_head(data)
        if head is None or head.end + head.body_bytes != len(data):
            return False
        self._command, self._path, self._version = head.first_line
        self.length = head.body_bytes
        request = CappedRequest(self, 0)
        request.requestHeaders = head.headers
        self.requests.append(request)
        self.allHeadersReceived()
        if not self.is_deaf:
            self._take_body(request, data[head.end :])
        return True

    def _take_body(self, request: CappedRequest, body: bytes) -> None:
        try:
            request.handleContentChunk(body)
        except BodyRefused:
            assert request.refused is not None, "it says why"
            self._turn_away(request, request.refused)
        else:
            self.allContentReceived()

    def _look_for_head(self) -> None:
        if self.line_mode and not self._is_in_head and (self.requests or self._buffer):
            self._is_in_head, self._begun_s = True, self.site.seconds()
            self._enter_porch()

    def hear(self) -> None:
        """Take in what it has sent and was not read yet."""
        wire = wire_of(self.transport)
        if wire is not None:
            cast(IReadDescriptor, wire).doRead()

    def _enter_porch(self) -> None:
        """Be on the porch: there is no request, or it was refused. It is not for who is known or was answered."""
        if self.holder is None and not self.was_answered and not self._is_on_porch:
            self._is_on_porch = True
            self.site.doors.porch.enter(self)

    def _leave_porch(self) -> None:
        if self._is_on_porch:
            self._is_on_porch = False
            self.site.doors.porch.leave(self)

    @property
    def first_line(self) -> tuple[bytes, bytes, bytes]:
        """Method, target and version of the request that is coming in."""
        return self._command, self._path, self._version

    def allHeadersReceived(self) -> None:
        """See HTTPChannel."""
        super().allHeadersReceived()
        self._is_in_head = False
        request = self.requests[-1]
        self.holder = request.holder
        self._leave_porch()
        if request.refused is not None and self.length != 0:
            self._turn_away(request, request.refused)

    def rawDataReceived(self, data: bytes) -> None:
        """See HTTPChannel."""
        try:
            super().rawDataReceived(data)
        except BodyRefused:
            request = self.requests[-1]
            self._turn_away(request, request.refused)

    def judge_again(self) -> None:
        """Answer, or cut off, a request that may not go on by what is known now; what is being changed is changed."""
        self._certified = _UNASKED
        if self.holder is not None and not self.site.access.knows(self.holder) and self.holder != self.certified:
            self.holder = None
            if self._is_in_head:
                self._enter_porch()
        request = self.requests[-1] if self.requests else None
        if request is None or request.found is None:
            return
        refused = request.judge()
        if refused is None:
            return
        if request.startedWriting:
            self.abort()
        elif not request.under_way:
            self._turn_away(request, refused)
        elif request.method in SAFE_METHODS:
            request.withdraw(refused)

    def _turn_away(self, request: CappedRequest, answer: Answer) -> None:
        self._hear_no_more()
        request.turn_away(answer)

    def _hear_no_more(self) -> None:
        """Take nothing for a request any more, whatever comes."""
        self.is_deaf = True
        self._is_in_head = False
        self._enter_porch()
        for unread in self.requests:
            unread.drop_body()
        self.paused = True  # so that LineReceiver leaves what it has
        self.clearLineBuffer()

    def _throw_away(self, size_bytes: int) -> None:
        if self._read_on_bytes is not None:
            self._read_on_bytes -= size_bytes
            if self._read_on_bytes < 0:
                self.abort()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Keep the head until the first of the body comes, or the end.

        Where only the end of the connection tells the end of the body, a kill of this process must not look like it.
        """
        if version == b"HTTP/1.0" and not headers.hasHeader(b"Content-Length"):
            self._end_by_reset(True)
        lines = [b"%s %s %s" % (version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            lines += [b"%s: %s" % (name, value) for value in values]
        self._head = b"\r\n".join(lines) + b"\r\n\r\n"

    def write(self, data: bytes) -> None:
        """See HTTPChannel."""
        if self._head:
            data, self._head = self._head + data, b""
        self._outlet.write(data)
        if self._producer is not None and self._outlet.unsent_bytes:
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See HTTPChannel."""
        self.write(b"".join(data))

    def requestDone(self, request: CappedRequest) -> None:
        """See HTTPChannel; while the answer is leaving, what comes in waits, and little of it is read."""
        if self._head:
            self.write(b"")
        if self._outlet.unsent_bytes:
            self._leaving = request
        else:
            self._has_left(request)

    def _has_left(self, request: CappedRequest) -> None:
        if request.code < _REFUSED and self.site.access.is_open:  # else everybody could have it for /ready
            self.was_answered = True
        self.answered_s = self.site.seconds()
        super().requestDone(request)
        self._look_for_head()

    def _emptied(self) -> None:
        if self._producer is not None:
            self._producer.resumeProducing()
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            self._has_left(leaving)
        elif self._read_on_bytes is not None:
            self._say_no_more()

    @property
    def moved_bytes(self) -> int:
        """A count that changes as the socket takes what waits."""
        return self._outlet.moved_bytes

    @property
    def unread_since_s(self) -> float | None:
        """Since when something waits for the other side to read; None while nothing does."""
        return self._outlet.waiting_since_s if self._outlet.unsent_bytes else None

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See HTTPChannel; it is paused as soon as the socket does not take all."""
        assert streaming, "only those that can be paused"
        self._producer = producer
        if self._outlet.unsent_bytes:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """See HTTPChannel."""
        self._producer = None

    def headerReceived(self, line: bytes) -> bool:
        """See HTTPChannel; a Content-Length of thousands of digits is a ValueError there."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            self._respondToBadRequestAndDisconnect()
            return False

    def lineLengthExceeded(self, line: bytes) -> None:
        """A header line of over 16 KiB is answered, too."""
        self._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        _, body, headers = problem(400, "the request cannot be read as HTTP/1.1")
        head = b"".join(b"%s: %s\r\n" % header for header in headers.items())
        self._outlet.write(
            b"HTTP/1.1 400 Bad Request\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (head, len(body), body)
        )
        self._hear_no_more()
        self.loseConnection()

    def _send100Continue(self) -> None:
        if self.requests[-1].refused is None:
            self._outlet.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def loseConnection(self) -> None:
        """See HTTPChannel; one that may still be sending is read on for a while, but not at a stop."""
        if self.is_deaf and self._read_on_bytes is None and not self.site.draining and wire_of(self.transport):
            self._read_on_bytes = _READ_ON_BYTES
            self._patience = self.callLater(_READ_ON_S, self._lose_patience)
            if not self._outlet.unsent_bytes:
                self._say_no_more()
        else:
            self._close()

    def _say_no_more(self) -> None:
        """Tell the other side that nothing more comes."""
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            self.transport.loseConnection()
        wire = wire_of(self.transport)
        assert wire is not None, "nothing else is read on"
        wire.loseWriteConnection()

    def _lose_patience(self) -> None:
        self._patience = None
        self.abort()

    def _close(self) -> None:
        """Close it; TLS would wait for the other side's farewell, and one that sleeps would hold up a stop."""
        if self._ends_by_reset:
            self._end_by_reset(False)
        cast(ITCPTransport, self.transport).loseConnection()
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            cast(ITCPTransport, self.transport.transport).loseConnection()

    def _end_by_reset(self, does: bool) -> None:
        """Whether the other side gets a reset when the socket is closed, by whomever."""
        self._ends_by_reset = does
        handle = socket_of(self)
        if handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", does, 0))

    def end(self) -> None:
        """End the connection now; an idle one with a FIN, from which its side knows that nothing of it was lost."""
        is_idle = not (self.requests or self._is_in_head or self.is_deaf or has_more(self))
        if is_idle and unread_progress(self) < 0 and self.transport is not None:
            self._leave_porch()
            self._close()
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection now, whatever is unsent."""
        self._leave_porch()
        self._outlet.forget()
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()

    @property
    def is_known(self) -> bool:
        """Whether it has shown a token, or a certificate, that is still good."""
        return self.holder is not None

    @property
    def waits_for_us(self) -> bool:
        """Whether it has sent something that was not read yet."""
        return has_more(self)

    def kept_waiting_s(self, now_s: float) -> float:
        """Seconds that it has kept us waiting, beyond what its bytes may take; none while we work for it."""
        unread_since_s = self.unread_since_s
        if unread_since_s is not None:
            return now_s - unread_since_s
        request: CappedRequest | None = self.requests[-1] if self.requests else None
        if request is not None and request.under_way:
            return 0.0
        if self._is_in_head:
            return now_s - self._begun_s
        if request is not None:
            return now_s - self._begun_s - request.received_bytes / _FAIR_BYTES_A_S
        return now_s - self.heard_s

    def is_fresh(self, now_s: float, fresh_s: float) -> bool:
        """Whether it, or the head of its first request, began to come less than `fresh_s` ago."""
        return not self.served and now_s - self._begun_s < fresh_s

    def is_late(self, now_s: float) -> bool:
        """Whether the head of a request takes too long; that of the first over TLS begins with the connection."""
        return self._is_in_head and now_s - self._begun_s > _HEAD_S

    def loosen_if_slow(self, now_s: float) -> None:
        """Let a body that comes in too slowly for 2 s hold only what has come in, unless we do not read it."""
        request = self.requests[-1] if self.requests else None
        if request is None or request.under_way:
            return
        since_s = now_s - self._paced_since_s
        fair_bytes = self._paced_bytes + since_s * _FAIR_BYTES_A_S
        if self.served != self._paced or request.received_bytes >= fair_bytes:
            self._paced, self._paced_since_s, self._paced_bytes = self.served, now_s, request.received_bytes
        elif since_s >= _SLOW_S and not self.waits_for_us:
            request.loosen()

    def is_stuck(self, now_s: float) -> bool:
        """Whether nothing has come in for long, a request takes too long, or an answer lies unread too long."""
        acked = unread_progress(self)
        if acked != self.acked or acked < 0:
            self.acked, self.acked_since = acked, now_s
        request = self.requests[-1] if self.requests else None
        ours = acked >= 0 or (request is not None and request.under_way)
        receiving = request or self.served
        if receiving != self.receiving or ours:
            self.receiving, self.receiving_since = receiving, now_s
        elif request is not None:
            request.loosen()
        if ours:
            self.heard_s = now_s
        return (
            now_s - self.receiving_since > _WHOLE_BODY_S
            or now_s - self.heard_s > _SILENT_S
            or now_s - self.acked_since > _SILENT_S
        )


class OneTooMany(TwistedProtocol):
    """A connection that ends as it begins. None in its place would do for TCP, but TLS would wrap it, and stumble."""

    def connectionMade(self) -> None:
        """See Protocol."""
        cast(ITCPTransport, self.transport).loseConnection()


def socket_of(channel: Channel) -> socket.socket | None:
    """The socket of a connection, TLS or not; None when it has none."""
    get_handle = getattr(wire_of(channel.transport), "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    return handle if isinstance(handle, socket.socket) else None


def has_more(channel: Channel) -> bool:
    """Whether something has come in that was not read yet."""
    handle = socket_of(channel)
    try:
        return handle is not None and fcntl.ioctl(handle, termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0"
    except (OSError, ValueError):  # it is closed
        return False


def unread_progress(channel: Channel) -> int:
    """A number that changes as the other side takes what waits for it; -1 when nothing waits or nobody can tell.

    Of TCP it is the bytes that were acknowledged. A unix socket counts none: it is what lies there unread, and what it
    has taken, since it may be full whenever one looks.
    """
    handle = socket_of(channel)
    if handle is None:
        return -1
    try:
        unread: int = struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        if not unread:
            return -1
        if handle.family == socket.AF_UNIX:
            return channel.moved_bytes << 32 | unread
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED_AT + 8)
        acked: int = struct.unpack_from("Q", info, _BYTES_ACKED_AT)[0]
        return acked
    except (OSError, struct.error):
        return -1
