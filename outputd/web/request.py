"""A request whose body is bounded, and how it is answered."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString, parse_qs
from twisted.web.iweb import IRequest

from outputd.process.log import Logger
from outputd.results.addresses import canonical
from outputd.results.model import NO_ADDRESS
from outputd.security.access import Access, Holder
from outputd.security.proxies import Proxies
from outputd.web.answers import Answer, problem
from outputd.web.routes import Found, Miss, Routes

_log = Logger()


class Memory(Protocol):
    """What a request holds of the memory that there is."""

    size_bytes: int

    def admit(self, size_bytes: int) -> bool:
        """Hold the memory of a body before it comes in; False, and nothing held, without room."""

    def grow(self, more_bytes: int) -> bool:
        """Hold so much more; False, and no more held, without room."""

    def become(self, size_bytes: int) -> bool:
        """Hold this in all; False, and no more held than before, without room for more."""

    def shrink(self, size_bytes: int) -> None:
        """Hold this and no more."""

    def let_go(self) -> None:
        """Hold nothing any more."""


class Room(Protocol):
    """What a request needs to know of the memory that there is for bodies."""

    def reserve(self) -> Memory:
        """What one request holds, nothing yet."""

    def turn_away(self) -> Answer:
        """The answer to a request for whose body there is no room."""


class Line(Protocol):
    """What a request needs of its connection."""

    site: Place
    served: int
    persistent: bool
    answered_s: float | None

    @property
    def certified(self) -> Holder | None:
        """The node whose certificate the client has shown."""

    @property
    def first_line(self) -> tuple[bytes, bytes, bytes]:
        """Method, target and version of the request that is coming in."""

    def write(self, data: bytes) -> None:
        """Send this after all that was sent before."""

    def abort(self) -> None:
        """End the connection now, whatever is unsent."""


class BodyRefused(Exception):
    """No more of this body is taken."""


class Place(Protocol):
    """What a request needs of its site."""

    admission: Room
    access: Access
    proxies: Proxies
    most_body_bytes: int
    resource: Routes
    in_flight: int
    draining: bool

    def shown(self, request: CappedRequest, refusal: Answer) -> Answer:
        """What is sent to who has asked, to say that it is refused."""

    def refusal(self, request: CappedRequest) -> Answer | None:
        """The answer to a request that may not be answered otherwise."""

    def request_ended(self) -> None:
        """A request was answered, or its client has gone and its work is done."""


class CappedRequest(server.Request):
    """A request that is judged by its headers, and again when its work begins; its body is kept within limits.

    `refused` is the answer to one that is not taken, None for a good one; `found` is what its path and method lead to.
    Whoever takes the body keeps the request under way, and its memory held, until it calls `end`: what is being stored
    is stored even when the client hangs up.
    """

    channel: Line  # type: ignore[assignment]  # what is left of HTTPChannel: the rest is for Twisted itself
    site: Place  # type: ignore[assignment]  # as above
    content: BytesIO
    refused: Answer | None = None
    found: Found | Miss | None = None
    coding = b""
    gone = False
    under_way = False
    holder: Holder | None = None
    said: Any = None  # what its route has read of the headers
    _tokens_known = 0
    _memory: Memory | None = None
    received_bytes = 0
    _is_body_wanted = True
    _taken = False

    def gotLength(self, length: int | None) -> None:
        """The headers are in: judge it, and reserve room for a body of known length before it is read."""
        site = self.site = self.channel.site
        self.content = BytesIO()
        self._memory = site.admission.reserve()
        self.method, self.uri, self.clientproto = self.channel.first_line
        self.found = site.resource.find(self.method, self.uri)
        self.refused = self._judge_host() or self.judge() or self._judge_body(length)

    def _judge_host(self) -> Answer | None:
        """RFC 9112, 3.2: two readers may understand a request differently that names no host, or two."""
        hosts = self.requestHeaders.getRawHeaders(b"Host")
        if hosts is None and self.clientproto != b"HTTP/1.1":
            return None
        if hosts is None or len(hosts) > 1:
            return problem(400, "a request has one Host header")
        return None

    def judge(self) -> Answer | None:
        """What is answered to it, by what is known now of who sends it, None for a good one."""
        site = self.site
        if not site.access.is_open:
            self.holder = site.access.holder(self.first_header(b"Authorization")) or self.channel.certified
            self._tokens_known = site.access.changes
        return site.refusal(self)

    def _judge_body(self, length: int | None) -> Answer | None:
        assert isinstance(self.found, Found), "a miss has its answer"
        route = self.found.route
        if route.codings and (codings := self.requestHeaders.getRawHeaders(b"Content-Encoding")):
            named = (coding.strip() for coding in b",".join(codings).lower().split(b","))
            self.coding = b",".join(coding for coding in named if coding)  # an empty element says nothing
            if self.coding and self.coding not in route.codings:
                return problem(415, "the only content coding is gzip", {b"Accept-Encoding": b"gzip"})
        if length is not None and length > self.site.most_body_bytes:
            return self._too_long()
        if route.judge_head is not None and (refusal := route.judge_head(self)) is not None:
            return refusal
        if length == 0:
            return None
        self._is_body_wanted = route.takes_body
        if not self._is_body_wanted:
            return None
        return None if self.memory.admit(length or 1) else self.site.admission.turn_away()

    def _too_long(self) -> Answer:
        return problem(413, f"a body may have {_size(self.site.most_body_bytes)} at most")

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body while there is room; of one that is of no use, nothing. Raises BodyRefused."""
        self.received_bytes += len(data)
        more = self.received_bytes - self.memory.size_bytes
        if self.received_bytes > self.site.most_body_bytes:
            self.refused = self._too_long()
        elif not self._is_body_wanted:
            return
        elif more > 0 and not self.memory.grow(more):
            self.refused = self.site.admission.turn_away()
        else:
            self.content.write(data)
            return
        raise BodyRefused

    def loosen(self) -> None:
        """Hold only what has come in: a slow sender must not keep room from others."""
        if self._memory is not None:
            self._memory.shrink(self.received_bytes)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All is in. No form is read here, which would be most of what twisted.web does."""
        self.path, _, query = self.uri.partition(b"?")
        self.args = parse_qs(query, keep_blank_values=True) if query else {}
        self.process()

    def process(self) -> None:
        """Answer it, if it still may be asked for."""
        self._begin()
        if self.refused is None and self._tokens_known != self.site.access.changes:
            self.refused = self.judge()
        if self.refused is not None:
            send(self, *self.site.shown(self, self.refused))
            return
        try:
            self.site.resource.render(self)
        except Exception:
            self.processingFailed(Failure())

    def turn_away(self, answer: Answer) -> None:
        """Answer before all is in, and close."""
        self._begin()
        self.close_after()
        send(self, *answer)

    def withdraw(self, answer: Answer) -> None:
        """Answer this instead of what is being made; whoever makes it finds the client gone."""
        self._end_producer()
        self.close_after()
        send(self, *answer)
        self.gone = True

    def _end_producer(self) -> None:
        if self.producer is not None:
            self.unregisterProducer()

    def _begin(self) -> None:
        site = self.site
        self.under_way = True
        self.channel.served += 1
        site.in_flight += 1
        if site.draining:
            self.close_after()

    def answer(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """Send a whole answer in one piece. By twisted.web's way each line would go through a table first.

        Of the head of another answer, which was put before this one took its place, nothing is sent.
        """
        self.setResponseCode(status)
        self.startedWriting = 1
        first = b"%s %d %s\r\nDate: %s\r\n" % (self.clientproto, status, self.code_message, _date(int(time.time())))
        connection = ((b"Connection", value) for value in self.responseHeaders.getRawHeaders(b"Connection", ()))
        lines = _lines((*connection, *headers.items()))
        sent = body if self.method != b"HEAD" else b""
        self.channel.write(b"%s%sContent-Length: %d\r\n\r\n%s" % (first, lines, len(body), sent))
        self.finish()

    def header_text(self, name: bytes) -> str:
        """All values of a header as the one list that they are (RFC 9110, 5.3); empty without any.

        A byte beyond ASCII is one character: what a client writes there is never an error of ours.
        """
        return b", ".join(self.requestHeaders.getRawHeaders(name) or ()).decode("latin-1")

    @property
    def origin_host(self) -> str:
        """The address that it comes from, in canonical text: the peer's, or what trusted proxies say of it."""
        peer = self.getClientAddress()
        host = _host(peer.host) if isinstance(peer, IPv4Address | IPv6Address) else NO_ADDRESS
        if not self.site.proxies:
            return host
        return self.site.proxies.origin(host, self.header_text(b"Forwarded"), self.header_text(b"X-Forwarded-For"))

    def first_header(self, name: bytes) -> bytes | None:
        """The first value of a header, or None."""
        values = self.requestHeaders.getRawHeaders(name)
        return None if values is None else values[0]

    def processingFailed(self, reason: Failure) -> Failure:
        """A bug: it is logged, and answered without a word about it."""
        _log.failure("a request failed", failure=reason)
        if not self.startedWriting and not self.gone:
            self._end_producer()
            send(self, *problem(500, "internal error; the log has details"))
        return reason

    def getRequestHostname(self) -> bytes:
        """One name, whatever the Host header says: no route depends on it, and Klein fails on some."""
        return b"outputd"

    def close_after(self) -> None:
        """Close the connection after the answer."""
        self.channel.persistent = False
        self.setHeader(b"Connection", b"close")

    def cut_off(self) -> None:
        """End the connection now, in the middle of the answer; after its end it is too late."""
        if not (self.gone or self.finished):
            self.channel.abort()

    @property
    def memory(self) -> Memory:
        """What it holds: whoever makes more of its body asks for more here."""
        assert self._memory is not None, "the headers come first"
        return self._memory

    def take_body(self) -> bytes:
        """The whole body, as sent, or empty where it is of no use; the taker calls `end`."""
        body: bytes = self.content.getvalue()
        self.content = BytesIO()
        self._taken = True
        return body

    def drop_body(self) -> None:
        """Keep nothing of what has come in."""
        self.content = BytesIO()
        if self._memory is not None:
            self._memory.let_go()

    def end(self) -> None:
        """The work for this request is over, and its memory free."""
        if self._memory is not None:
            self._memory.let_go()
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
        self.producer = None  # which keeps us, and what is unsent
        if not self._taken:
            self.end()


def _size(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes >> 10} KiB"


@lru_cache(maxsize=4096)
def _host(text: str) -> str:
    return canonical(text) or text


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    text: bytes = datetimeToString(second)
    return text


@lru_cache(maxsize=256)
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Headers as they are written: each is one line, whatever is in its value."""
    return b"".join([b"%s: %s\r\n" % (name, b" ".join(value.splitlines())) for name, value in headers])


def send(request: CappedRequest, status: int, body: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Write an answer, unless the client has gone."""
    if not request.gone:
        request.answer(status, headers, body)


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


def put_head(request: IRequest, status: int, headers: Mapping[bytes, bytes], length: int | None) -> None:
    """Set status and headers of an answer whose body of this many bytes, if that is known, comes by itself."""
    request.setResponseCode(status)
    put_header = request.responseHeaders.setRawHeaders
    put_header(b"Date", (_date(int(time.time())),))
    for name, value in headers.items():
        put_header(name, (value,))
    if length is not None:
        put_header(b"Content-Length", (b"%d" % length,))
