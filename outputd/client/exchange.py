"""One exchange: what is asked of a client, and what becomes of the answer's body."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

from hyperlink import URL
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse


class Poster(Protocol):
    """What a post needs of a treq HTTPClient; `http_client` makes one whose answers are bounded."""

    def post(
        self, url: str | URL, /, *, data: Any, headers: Headers, allow_redirects: bool, unbuffered: bool
    ) -> Awaitable[IResponse]:
        """Post `data` and fire with the answer when its headers are there."""


async def posted(http: Poster, url: str | URL, data: Any, headers: Headers) -> IResponse:
    """The answer to a post, once its headers are there."""
    # Not redirected: treq would turn the POST into a GET. Not buffered: it would keep the body.
    return await http.post(url, data=data, headers=headers, allow_redirects=False, unbuffered=True)


async def content_of(response: IResponse) -> bytes:
    """The whole body. Raises what it broke off with."""
    body = _Body(keep=True)
    response.deliverBody(body)
    return await body.ended


async def drained(response: IResponse) -> None:
    """Return when the body has ended in any way; when cancelled, drop the connection."""
    body = _Body(keep=False)
    with suppress(Exception):
        response.deliverBody(body)
        await body.ended


class _Body(TwistedProtocol):
    """Takes a body, and keeps it if need be; to cancel `ended` drops the connection."""

    def __init__(self, keep: bool) -> None:
        self.ended: Deferred[bytes] = Deferred(self._drop)
        self._keep = keep
        self._parts: list[bytes] = []

    def _drop(self, _: Deferred[bytes]) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """See IProtocol."""
        if self._keep:
            self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, whole or not."""
        if self.ended.called:
            return
        if not self._keep or reason.check(ResponseDone, PotentialDataLoss):
            self.ended.callback(b"".join(self._parts))
        else:
            self.ended.errback(reason)
