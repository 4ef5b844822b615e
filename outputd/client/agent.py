"""HTTP as we ask others: bounded in bytes and in time, however they behave."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Final

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from outputd.security.trust import reason_of

EXCHANGE_S: Final = 10.0
"""From the look-up of the name to the end of the answer's body."""
CONNECT_S: Final = 5.0
MOST_ANSWER_BYTES: Final = 64 * 1024


def in_words(error: Exception) -> str:
    """An error as one short line, whatever the peer has put into it."""
    reasons = getattr(error, "reasons", None)  # of twisted.web.client's ResponseFailed and its like
    cause = reasons[0].value if reasons and isinstance(reasons[0], Failure) else error
    text = f"TLS: {reason_of(cause)}" if isinstance(cause, SSL.Error) else f"{type(cause).__name__}: {cause}"[:200]
    return "".join(character if character.isprintable() else "?" for character in text)


async def drained(response: IResponse) -> None:
    """Return when the body has ended in any way; when cancelled, drop the connection."""
    body = _Nowhere()
    with suppress(Exception):
        response.deliverBody(body)
        await body.ended


class _Nowhere(TwistedProtocol):
    """Takes a body without keeping any of it."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(self._drop)

    def _drop(self, _: Deferred[None]) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, whole or not."""
        if not self.ended.called:
            self.ended.callback(None)


def http_client(reactor: Any, policy: IPolicyForHTTPS | None = None) -> HTTPClient:
    """A client for HopFeed: a connection for each post, of which at most 64 KiB and 10 seconds of answer are taken.

    Names are looked up by getaddrinfo in a thread of the reactor's pool, so a slow resolver holds up nothing but the
    post; giving up the post does not end that thread, which stays busy until the resolver gives up (about 20 s).
    `reactor` is the real one: it connects, keeps time and resolves names. `policy` says whose certificates are
    believed: without it, those of the system's CAs.
    """
    pool = HTTPConnectionPool(reactor, persistent=False)
    return HTTPClient(
        _PlainAgent(
            Agent.usingEndpointFactory(reactor, _Endpoints(reactor, policy or BrowserLikePolicyForHTTPS()), pool)
        )
    )


@implementer(IAgent)
class _PlainAgent:
    """An agent whose answers are as they came: treq would inflate them (nested gzip has no bound) and keep cookies."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See IAgent."""
        plain = Headers() if headers is None else headers.copy()
        plain.removeHeader(b"Accept-Encoding")
        return self._agent.request(method, uri, plain, bodyProducer).addCallback(self._undressed)

    def _undressed(self, response: IResponse) -> IResponse:
        for name in (b"Content-Encoding", b"Set-Cookie", b"Set-Cookie2"):
            response.headers.removeHeader(name)
        return response


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Endpoints whose connections are bounded."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._tls = policy

    def endpointForURI(self, uri: URI) -> _BoundedEndpoint:
        """See IAgentEndpointFactory."""
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=CONNECT_S)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        elif uri.scheme != b"http":
            raise SchemeNotSupported(f"neither http nor https: {uri.scheme!r}")
        return _BoundedEndpoint(self._reactor, endpoint)


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    def __init__(self, reactor: IReactorTime, endpoint: IStreamClientEndpoint) -> None:
        self._reactor = reactor
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""

        def wrapped(connection: Any) -> IProtocol:
            protocol: IProtocol = connection.wrappedProtocol
            return protocol

        factory: Any = protocolFactory
        factory.noisy = False  # or it logs two lines for each post
        bounded: WrappingFactory[_BoundedConnection] = WrappingFactory(protocolFactory)
        bounded.protocol = partial(_BoundedConnection, self._reactor)
        bounded.noisy = False
        return self._endpoint.connect(bounded).addCallback(wrapped)


class _BoundedConnection(ProtocolWrapper):
    """Dropped once more has come in than an answer may take, and after its time, however its peer behaves."""

    def __init__(self, reactor: IReactorTime, factory: WrappingFactory[_BoundedConnection], wrapped: IProtocol) -> None:
        ProtocolWrapper.__init__(self, factory, wrapped)
        self._bytes_left = MOST_ANSWER_BYTES
        self._timer = reactor.callLater(EXCHANGE_S, self._drop)

    def _drop(self) -> None:
        self.abortConnection()  # the transport's, which comes later

    def dataReceived(self, data: bytes) -> None:
        """Pass it on, so that a status line is seen whatever follows it, and count it."""
        ProtocolWrapper.dataReceived(self, data)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See IProtocol."""
        if self._timer.active():
            self._timer.cancel()
        ProtocolWrapper.connectionLost(self, reason)
