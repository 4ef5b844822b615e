"""Answers of a peer, as treq gives them."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers


class FakeResponse:
    """An answer as treq gives it; its body ends when told to, at once by default."""

    def __init__(self, code: int, headers: dict[bytes, bytes] | None = None, hangs: bool = False) -> None:
        self.code = code
        self.headers = Headers({name: [value] for name, value in (headers or {}).items()})
        self.hangs = hangs
        self.dropped = False

    def deliverBody(self, protocol: Protocol) -> None:
        self._protocol = protocol
        protocol.makeConnection(cast(Any, self))
        protocol.dataReceived(b"as you say")
        if not self.hangs:
            protocol.connectionLost(Failure(ResponseDone()))

    def loseConnection(self) -> None:
        self.dropped = True
        self._protocol.connectionLost(Failure(ResponseDone()))
