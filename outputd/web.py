"""What both sites share: bounded requests, a site that drains, JSON answers and RFC 9457 problems."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import Any, Concatenate, cast
from urllib.parse import unquote_to_bytes

import msgspec
from klein import Klein
from klein.resource import KleinResource
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from outputd.access import Access, Holder
from outputd.admission import Admission
from outputd.log import Logger
from outputd.tls import node_of

_log = Logger()
_SILENT_S = 60
_IDLE_S = 1.0
_WHOLE_BODY_S = 300
_SWEEP_S = 5.0
_SEND_BUFFER_BYTES = 128 * 1024
_BYTES_ACKED_AT = 120  # tcpi_bytes_acked in struct tcp_info, linux/tcp.h


class CappedRequest(server.Request):
    """A request whose body is kept in memory within the site's limits; beyond them it is read and thrown away.

    `refusal` is the status that such a body gets, 0 for a good one; `form` is what a suffix of the path asks for.
    Whoever takes the body keeps the request under way, and its memory held, until it calls `end`: what is being stored
    is stored even when the client hangs up.
    """

    channel: Channel
    site: Site
    content: BytesIO
    refusal = 0
    form = ""
    gone = False
    under_way = False
    holder: Holder | None = None
    _held = 0
    _received = 0
    _taken = False

    def gotLength(self, length: int | None) -> None:
        """The headers are in; room for the body, if its length is known, is reserved before it is read."""
        site = self.site = self.channel.site
        self.content = BytesIO()
        if not site.access.is_open:
            self.identify()
            if self.holder is None:
                self.refusal = 401  # whoever sends it, nothing of the body is kept
                return
        if not length:
            return
        if length > site.most_body_bytes:
            self.refusal = 413
        elif not site.admission.has_room_for_body(length):
            self.refusal = 503
        else:
            self._hold(length)

    def identify(self) -> None:
        """Find out, by what is known now, from whom it comes."""
        self.holder = self.site.access.holder(self.first_header(b"Authorization")) or self.channel.certified

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body while there is room."""
        if self.refusal:
            return
        self._received += len(data)
        more = self._received - self._held
        if self._received > self.site.most_body_bytes:
            self.refusal = 413
        elif more > 0 and not self.site.admission.has_room(more):
            self.refusal = 503
        else:
            if more > 0:
                self._hold(more)
            self.content.write(data)
            return
        self.content = BytesIO()
        self._let_go()

    def loosen(self) -> None:
        """Hold only what has come in: a slow sender must not keep room from others."""
        spare = self._held - self._received
        if spare > 0:
            self.site.admission.let_go(spare)
            self._held = self._received

    def process(self) -> None:
        """All is in: answer."""
        site = self.site
        self.under_way = True
        self.channel.served += 1
        site.in_flight += 1
        if site.draining:
            self.close_after()
        self.responseHeaders.setRawHeaders(b"Date", (_date(int(time.time())),))
        if self.path.startswith((b"http://", b"https://")):  # the absolute form, which every server must take
            self.path = b"/" + self.path.partition(b"://")[2].partition(b"/")[2]
        self.prepath = []
        self.postpath = [unquote_to_bytes(part) for part in self.path[1:].split(b"/")]
        refusal = site.refusal(self)
        if refusal is not None:
            send(self, *refusal)
            return
        try:
            self.render(site.resource)
        except Exception:
            self.processingFailed(Failure())

    def first_header(self, name: bytes) -> bytes | None:
        """The first value of a header, or None."""
        values = self.requestHeaders.getRawHeaders(name)
        return None if values is None else values[0]

    def processingFailed(self, reason: Failure) -> Failure:
        """A bug: it is logged, and answered without a word about it."""
        _log.failure("a request failed", failure=reason)
        if not self.startedWriting and not self.gone:
            send(self, *problem(500, "an error in outputd; its log tells more"))
        return reason

    def getRequestHostname(self) -> bytes:
        """One name, whatever the Host header says: no route depends on it, and Klein fails on some."""
        return b"outputd"

    def close_after(self) -> None:
        """Close the connection after the answer."""
        self.channel.persistent = False
        self.setHeader(b"Connection", b"close")

    def take_body(self) -> bytes:
        """The whole body, as sent; the taker calls `end`."""
        body: bytes = self.content.getvalue()
        self.content = BytesIO()
        self._taken = True
        return body

    def end(self) -> None:
        """The work for this request is over, and its memory free."""
        self._let_go()
        if self.under_way:
            self.under_way = False
            self.site.request_ended()

    def finish(self) -> None:
        """The answer is written."""
        super().finish()
        if not self._taken:
            self.end()

    def connectionLost(self, reason: Failure) -> None:
        """The other side is gone."""
        self.gone = True
        super().connectionLost(reason)
        if not self._taken:
            self.end()

    def _hold(self, size_bytes: int) -> None:
        self.site.admission.hold(size_bytes)
        self._held += size_bytes

    def _let_go(self) -> None:
        if self._held:
            self.site.admission.let_go(self._held)
            self._held = 0


_UNASKED = Holder("", "")


class Channel(http.HTTPChannel):
    """One connection; what the sweep remembers of it.

    An answer leaves in one piece and at once, where the socket takes it: by twisted.web's own way it would be thirty
    small writes, and wait until all other answers of the same commit are made.
    """

    site: Site
    served = 0
    receiving: object = None
    receiving_since = 0.0
    heard_s = 0.0
    acked = -1
    acked_since = 0.0
    _head = b""
    _host: IAddress | None = None
    _peer: IAddress | None = None
    _certified: Holder | None = _UNASKED
    _send_now: Callable[[bytes], int | Exception] | None = None

    def connectionMade(self) -> None:
        """Keep the send buffer small, so that what the other side has acknowledged shows its progress."""
        super().connectionMade()
        self.site.channels.add(self)
        self.heard_s = self.site.seconds()
        handle = _socket_of(self)
        if handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if isinstance(self.transport, FileDescriptor):  # and no wrapper, which would let it pass by, TLS above all
            self._send_now = self.transport.writeSomeData

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See HTTPChannel."""
        super().connectionLost(reason)
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
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        """See HTTPChannel, which lets the transport send "100 Continue": what follows must not overtake it."""
        super().allHeadersReceived()
        if self.requests[-1].requestHeaders.hasHeader(b"Expect"):
            self._send_now = None

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Keep the head until the first of the body comes, or the end."""
        lines = [b"%s %s %s" % (version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            lines += [b"%s: %s" % (name, value) for value in values]
        self._head = b"\r\n".join(lines) + b"\r\n\r\n"

    def write(self, data: bytes) -> None:
        """See HTTPChannel."""
        if self._head:
            data, self._head = self._head + data, b""
        if self._send_now is not None:
            sent = self._send_now(data)
            if sent == len(data):
                return
            self._send_now = None  # from now on there may be something that must not be overtaken
            if isinstance(sent, int):
                data = data[sent:]
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See HTTPChannel."""
        self.write(b"".join(data))

    def requestDone(self, request: CappedRequest) -> None:
        """See HTTPChannel."""
        if self._head:
            self.write(b"")
        super().requestDone(request)

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
        cast(ITCPTransport, self.transport).write(
            b"HTTP/1.1 400 Bad Request\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (head, len(body), body)
        )
        self.loseConnection()

    def loseConnection(self) -> None:
        """See HTTPChannel; TLS would wait for the other side's farewell, and one that sleeps would hold up a stop."""
        super().loseConnection()
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            cast(ITCPTransport, self.transport.transport).loseConnection()

    def abort(self) -> None:
        """End the connection now, whatever is unsent."""
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()

    def is_stuck(self, now_s: float) -> bool:
        """Whether nothing has come in for long, a request takes too long, or an answer lies unread too long."""
        acked = _unread_progress(self)
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


class OneTooMany(Protocol):
    """A connection that ends as it begins. None in its place would do for TCP, but TLS would wrap it, and stumble."""

    def connectionMade(self) -> None:
        """See Protocol."""
        cast(ITCPTransport, self.transport).loseConnection()


_SAFE_METHODS = (b"GET", b"HEAD", b"OPTIONS", b"TRACE")
_CHALLENGE = {b"WWW-Authenticate": b'Basic realm="outputd", charset="UTF-8", Bearer realm="outputd"'}


def _is_from_another_site(request: CappedRequest) -> bool:
    """Whether a browser says that a page which is not ours has sent this (Fetch Metadata; RFC 6454)."""
    site = request.first_header(b"Sec-Fetch-Site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    origin = request.first_header(b"Origin")
    return origin is not None and origin.partition(b"://")[2] != request.first_header(b"Host")


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    text: bytes = datetimeToString(second)
    return text


def _socket_of(channel: Channel) -> socket.socket | None:
    transport = channel.transport
    if isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    get_handle = getattr(transport, "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    return handle if isinstance(handle, socket.socket) else None


def _has_more(channel: Channel) -> bool:
    """Whether something has come in that was not read yet."""
    handle = _socket_of(channel)
    try:
        return handle is not None and fcntl.ioctl(handle, termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0"
    except (OSError, ValueError):  # it is closed
        return False


def _unread_progress(channel: Channel) -> int:
    """Bytes that the other side has acknowledged while more wait for it; -1 when nothing waits or nobody can tell."""
    handle = _socket_of(channel)
    if handle is None or handle.family not in (socket.AF_INET, socket.AF_INET6):
        return -1
    try:
        (unread,) = struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, b"\0\0\0\0"))
        if not unread:
            return -1
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED_AT + 8)
        acked: int = struct.unpack_from("Q", info, _BYTES_ACKED_AT)[0]
        return acked
    except (OSError, struct.error):
        return -1


Needs = Callable[[bytes, bytes], str | None]
"""The role that a request of this method and path needs, None for nobody's."""


class Site(server.Site):
    """A site of bounded requests that knows what is in flight and can be drained."""

    protocol = Channel  # type: ignore[assignment]  # the declared type is that of the default, which also speaks h2
    requestFactory = CappedRequest
    draining = False
    in_flight = 0

    def __init__(
        self, resource: KleinResource, reactor: IReactorTime, admission: Admission, most_body_bytes: int,
        most_connections: int, access: Access, needs: Needs,
    ) -> None:  # fmt: skip
        super().__init__(resource, parsePOSTFormSubmission=False, timeout=None, reactor=reactor)  # see is_stuck
        self.admission = admission
        self.most_body_bytes = most_body_bytes
        self.most_connections = most_connections
        self.access = access
        self._needs = needs
        self.channels: set[Channel] = set()
        self.seconds = reactor.seconds
        self._clock = reactor
        self._drained: Deferred[None] | None = None
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = reactor

    def startFactory(self) -> None:
        """Begin to drop connections that make no progress. No access log: it costs as much as the answer."""
        self._sweeping.start(_SWEEP_S, now=False)

    def acceptableProtocols(self) -> list[bytes]:
        """The one that the channel speaks: twisted.web would offer HTTP/2 to TLS clients where its parts are there."""
        return [b"http/1.1"]

    def stopFactory(self) -> None:
        """See startFactory; the sweep goes on while there are connections."""

    def buildProtocol(self, addr: IAddress | None) -> Channel | OneTooMany:  # type: ignore[override]  # as above
        """A channel. When there are too many, the one that has been idle longest makes room.

        If none has been idle for a second, the new one is closed.
        """
        if len(self.channels) >= self.most_connections:
            before_s = self.seconds() - _IDLE_S
            idle = [channel for channel in self.channels if not channel.requests and channel.heard_s <= before_s]
            if not idle:
                return OneTooMany()
            longest = min(idle, key=lambda channel: channel.heard_s)
            self.channels.discard(longest)
            longest.abort()
        channel: Channel = super().buildProtocol(addr)
        return channel

    def refusal(self, request: CappedRequest) -> Answer | None:
        """The answer to a request that may not be answered otherwise: from whom it comes, and what for."""
        if request.method not in _SAFE_METHODS and _is_from_another_site(request):
            return problem(403, "a page of another site may not ask for this")
        role = self._needs(request.method, b"/" + b"/".join(request.postpath or ()))
        if role is None or not self.access.asks_for(role):
            return None
        if request.holder is not None and request.holder.role == role:
            return None
        if request.holder is None:
            return problem(401, f"needed: {self.access.wanted}", _CHALLENGE)
        return problem(403, f"this is for {role}s, and the token of {request.holder.name} is a {request.holder.role}'s")

    def judge_again(self) -> None:
        """Cut off who is being sent something and may not have it any more: a stream of events would never end."""
        for channel in list(self.channels):
            request = channel.requests[0] if channel.requests else None
            if request is not None and request.startedWriting:
                request.identify()
                if self.refusal(request) is not None:
                    channel.abort()

    async def drain(self, deadline_s: float) -> None:
        """Answer what is in flight, end idle connections, and after the deadline all connections."""
        self.draining = True
        for channel in list(self.channels):
            if channel.requests:
                channel.persistent = False
            elif not _has_more(channel):  # what has come in and was not read yet is in flight, too
                channel.loseConnection()
        if self._is_busy():
            self._drained = Deferred()
            late = self._clock.callLater(deadline_s, self._drained.callback, None)
            await self._drained
            if late.active():
                late.cancel()
        for channel in list(self.channels):
            channel.abort()
        if self._sweeping.running:
            self._sweeping.stop()

    def request_ended(self) -> None:
        """A request was answered, or its client has gone and its work is done."""
        self.in_flight -= 1
        self._tell_drained()

    def channel_closed(self, channel: Channel) -> None:
        """A connection has ended, and with it all that it had to send."""
        self.channels.discard(channel)
        self._tell_drained()

    def _tell_drained(self) -> None:
        if self._drained is not None and not self._drained.called and not self._is_busy():
            self._drained.callback(None)

    def _is_busy(self) -> bool:
        return self.in_flight > 0 or bool(self.channels)

    def _sweep(self) -> None:
        now = self.seconds()
        for channel in list(self.channels):
            if channel.is_stuck(now):
                channel.abort()


# -- answers ---------------------------------------------------------------------------------------

Answer = tuple[int, bytes, Mapping[bytes, bytes]]
"""Status, body and headers."""


def as_json(value: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return status, msgspec.json.encode(value), JSON


def problem(
    status: int, detail: str, headers: Mapping[bytes, bytes] | None = None, retry_after_s: int | None = None,
    **members: object,
) -> Answer:  # fmt: skip
    """An RFC 9457 problem with further members."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    more = {} if retry_after_s is None else {b"Retry-After": b"%d" % retry_after_s}
    return status, msgspec.json.encode(body), {**_PROBLEM, **(headers or {}), **more}


SAFE = {b"X-Content-Type-Options": b"nosniff", b"Cache-Control": b"no-store"}
JSON = {b"Content-Type": b"application/json", **SAFE}
_PROBLEM = {b"Content-Type": b"application/problem+json", **SAFE}


def send(request: CappedRequest, status: int, body: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Write an answer, unless the client has gone."""
    if request.gone:
        return
    put(request, (status, body, headers))
    request.write(body)
    request.finish()


Handler = Callable[Concatenate[CappedRequest, ...], None]
"""Sends the answer itself, at once or later."""


def answered(request: CappedRequest, work: Coroutine[Any, Any, Answer | None]) -> None:
    """Send what `work` returns, None when it has sent the answer itself.

    The work goes on when the client hangs up; the request is under way until it ends.
    """

    def done(outcome: Answer | Failure | None) -> None:
        try:
            if isinstance(outcome, Failure):
                request.processingFailed(outcome)
            elif outcome is not None:
                send(request, *outcome)
        finally:
            request.end()

    Deferred.fromCoroutine(work).addBoth(done)


def route(app: Klein, path: str, method: str, handler: Handler) -> None:
    """Give a route to a handler, which gets the path's `<parts>` by their names.

    Klein would cancel the handler's own Deferred when the client hangs up.
    """

    def endpoint(request: CappedRequest, **parts: str) -> Deferred[None]:
        finished: Deferred[None] = Deferred()
        request.notifyFinish().addBoth(lambda _: finished.callback(None))
        handler(request, **parts)
        return finished

    app.route(path, methods=[method], endpoint=f"{method} {path}")(endpoint)


class Resource(KleinResource):
    """A Klein application as the root of a site; what Klein cannot route is a problem, never HTML."""

    def render(self, request: IRequest) -> Any:
        """See KleinResource."""
        assert isinstance(request, CappedRequest)
        try:
            method, path = request.method.decode("ascii"), b"/".join(request.postpath or ()).decode()
        except UnicodeDecodeError:
            send(request, *problem(400, "the method is not ASCII, or the path not UTF-8"))
            return server.NOT_DONE_YET
        if method != method.upper():  # Klein would take it for the same in capitals
            allowed = self._app.url_map.bind("outputd").allowed_methods(f"/{path}")
            send(request, *(_no_such_method(allowed) if allowed else problem(404, _NO_PATH)))
            return server.NOT_DONE_YET
        return super().render(request)


_NO_PATH = "there is nothing at this path"


def _no_such_method(allowed: Iterable[str]) -> Answer:
    return problem(405, "this path does not know this method", {b"Allow": ", ".join(sorted(allowed)).encode()})


def with_problems(app: Klein) -> None:
    """Make every error of a Klein application a problem."""

    def routed(request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, HTTPException)
        if methods := getattr(error, "valid_methods", None):
            return put(request, _no_such_method(methods))
        status = error.code or 500
        if status < 400 or status == 404:  # the former is a redirect to another spelling of the path
            return put(request, problem(404, _NO_PATH))
        return put(request, problem(status, error.description or ""))

    def failed(request: IRequest, failure: Failure) -> bytes:
        _log.failure("a request failed", failure=failure)
        return put(request, problem(500, "an error in outputd; its log tells more"))

    app.handle_errors(HTTPException)(routed)
    app.handle_errors(failed)


def put(request: IRequest, answer: Answer) -> bytes:
    """Set status and headers, and return the body for Klein to write."""
    status, body, headers = answer
    put_head(request, status, headers, len(body))
    return body


def put_head(request: IRequest, status: int, headers: Mapping[bytes, bytes], length: int | None) -> None:
    """Set status and headers of an answer whose body of this many bytes, if that is known, comes by itself."""
    request.setResponseCode(status)
    put_header = request.responseHeaders.setRawHeaders
    for name, value in headers.items():
        put_header(name, (value,))
    if length is not None:
        put_header(b"Content-Length", (b"%d" % length,))
