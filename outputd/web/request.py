"""A request whose body is bounded, and how it is answered."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString
from twisted.web.iweb import IRequest

from outputd.process.log import Logger
from outputd.security.access import Access, Holder
from outputd.web.answers import Answer, problem
from outputd.web.routes import Found, Miss, Routes

_log = Logger()


class Room(Protocol):
    """What a request needs to know of the memory that there is for bodies."""

    def has_room_for_body(self, size_bytes: int) -> bool:
        """Whether a body of this size may come in."""

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much more may be held."""

    def hold(self, size_bytes: int) -> None:
        """Hold more memory."""

    def let_go(self, size_bytes: int) -> None:
        """Hold less."""

    def turn_away(self) -> Answer:
        """The answer to a request for whose body there is no room."""


class Line(Protocol):
    """What a request needs of its connection."""

    site: Place
    served: int
    persistent: bool

    @property
    def certified(self) -> Holder | None:
        """The node whose certificate the client has shown."""

    def abort(self) -> None:
        """End the connection now, whatever is unsent."""


class Place(Protocol):
    """What a request needs of its site."""

    admission: Room
    access: Access
    most_body_bytes: int
    resource: Routes
    in_flight: int
    draining: bool

    def refusal(self, request: CappedRequest) -> Answer | None:
        """The answer to a request that may not be answered otherwise."""

    def request_ended(self) -> None:
        """A request was answered, or its client has gone and its work is done."""


class CappedRequest(server.Request):
    """A request whose body is kept in memory within the site's limits; beyond them it is read and thrown away.

    `refusal` is the status that such a body gets, 0 for a good one; `found` is what its path and method lead to.
    Whoever takes the body keeps the request under way, and its memory held, until it calls `end`: what is being stored
    is stored even when the client hangs up.
    """

    channel: Line  # type: ignore[assignment]  # what is left of HTTPChannel: the rest is for Twisted itself
    site: Place  # type: ignore[assignment]  # as above
    content: BytesIO
    refusal = 0
    found: Found | Miss
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
        self.found = site.resource.find(self.method, self.path)
        refusal = site.refusal(self)
        if refusal is not None:
            send(self, *refusal)
            return
        try:
            self.render(site.resource)
        except Exception:
            self.processingFailed(Failure())

    def header_text(self, name: bytes) -> str:
        """All values of a header as the one list that they are (RFC 9110, 5.3); empty without any.

        A byte beyond ASCII is one character: what a client writes there is never an error of ours.
        """
        return b", ".join(self.requestHeaders.getRawHeaders(name) or ()).decode("latin-1")

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

    def cut_off(self) -> None:
        """End the connection now, in the middle of the answer."""
        if not self.gone:
            self.channel.abort()

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


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    text: bytes = datetimeToString(second)
    return text


def send(request: CappedRequest, status: int, body: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Write an answer, unless the client has gone."""
    if request.gone:
        return
    put_head(request, status, headers, len(body))
    request.write(body)
    request.finish()


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
    for name, value in headers.items():
        put_header(name, (value,))
    if length is not None:
        put_header(b"Content-Length", (b"%d" % length,))
