"""An HTTP client whose connections are bounded, and whose answers are as they came."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import WrappingFactory
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from outputd.client.bounds import POST, BoundedConnection, Bounds

_IDLE_S: Final = 20
"""A connection that is kept is used again within this time: outputd ends idle ones after 60 s."""


def http_client(
    reactor: Any, policy: IPolicyForHTTPS | None = None, *, bounds: Bounds = POST, keep: int = 0
) -> HTTPClient:
    """A client of bounded connections, of which it keeps at most `keep` for further requests.

    Names are looked up by getaddrinfo in a thread of the reactor's pool, so a slow resolver holds up nothing but the
    request; giving up the request does not end that thread, which stays busy until the resolver gives up (about 20 s).
    `reactor` is the real one: it connects, keeps time and resolves names. `policy` says whose certificates are
    believed: without it, those of the system's CAs.
    """
    pool = HTTPConnectionPool(reactor, persistent=keep > 0)
    pool.maxPersistentPerHost = keep
    pool.cachedConnectionTimeout = _IDLE_S
    pool.retryAutomatically = False
    endpoints = _Endpoints(reactor, policy or BrowserLikePolicyForHTTPS(), bounds)
    return HTTPClient(_PlainAgent(Agent.usingEndpointFactory(reactor, endpoints, pool)))


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

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, bounds: Bounds) -> None:
        self._reactor = reactor
        self._tls = policy
        self._bounds = bounds

    def endpointForURI(self, uri: URI) -> _BoundedEndpoint:
        """See IAgentEndpointFactory."""
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, uri.host, uri.port, timeout=self._bounds.connect_s
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        elif uri.scheme != b"http":
            raise SchemeNotSupported(f"neither http nor https: {uri.scheme!r}")
        return _BoundedEndpoint(endpoint, partial(BoundedConnection, self._bounds, self._reactor))


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint, bounded: Any) -> None:
        self._endpoint = endpoint
        self._bounded = bounded

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""

        def wrapped(connection: Any) -> IProtocol:
            protocol: IProtocol = connection.wrappedProtocol
            return protocol

        factory: Any = protocolFactory
        factory.noisy = False  # or it logs two lines for each post
        bounding: WrappingFactory[BoundedConnection] = WrappingFactory(protocolFactory)
        bounding.protocol = self._bounded
        bounding.noisy = False
        return self._endpoint.connect(bounding).addCallback(wrapped)
