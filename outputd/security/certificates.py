"""The certificate that both ports show, and those of clients."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from outputd.process.log import Logger
from outputd.process.trouble import Unusable
from outputd.security.access import NODE, Holder, is_name
from outputd.security.pem import certificates_of, key_of
from outputd.security.trust import reason_of

_log = Logger()


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """Gives each new connection the newest certificate; TLS 1.2 at least.

    With a CA for clients, a client may show a certificate of it, whose common name is then a node's.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._context: SSL.Context | None = None

    def read(self) -> SSL.Context:
        """What the files say now. Blocking. Raises Unusable.

        A certificate that has expired replaces none that is shown. At the start it is better than no service.
        """
        chain, key = certificates_of(self._certificate), key_of(self._key)
        expiry = chain[0].original.to_cryptography().not_valid_after_utc
        if expiry < datetime.now(UTC):
            expired = f"{self._certificate} has expired on {expiry:%Y-%m-%d %H:%M} UTC"
            if self._context is not None:
                raise Unusable(expired)
            _log.warn("{what}: clients will reject it", what=expired)
        options = CertificateOptions(
            privateKey=key, certificate=chain[0].original, extraCertChain=[each.original for each in chain[1:]],
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )  # fmt: skip
        try:
            context = options.getContext()
            context.check_privatekey()
        except SSL.Error as error:
            raise Unusable(f"{self._certificate} cannot be shown with {self._key}: {reason_of(error)}") from None
        if self._client_ca is not None:
            store = context.get_cert_store()
            assert store is not None
            for authority in certificates_of(self._client_ca):
                store.add_cert(authority.original)
                context.add_client_ca(authority.original)
            context.set_session_id(b"outputd")
            context.set_verify(SSL.VERIFY_PEER, lambda *seen: bool(seen[-1]))
        return context

    def take(self, context: SSL.Context) -> None:
        """Show this to whoever connects from now on."""
        self._context = context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See IOpenSSLServerConnectionCreator."""
        assert self._context is not None, "read and taken before anybody connects"
        return SSL.Connection(self._context, None)

    def around(self, site: Any, reactor: Any) -> TLSMemoryBIOFactory:
        """The site behind TLS. Its answers are written in one piece: to gather small writes would only delay them."""
        factory = TLSMemoryBIOFactory(self, False, site, reactor)
        factory.protocol = _Tls
        return factory


class _Tls(TLSMemoryBIOProtocol):
    """As Twisted's, but an error at the end keeps no frames: they kept the connection until cycles were collected."""

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)


def node_of(transport: Any) -> Holder | None:
    """The node whose certificate a client has shown, which its CA has signed."""
    peer = transport.getPeerCertificate() if isinstance(transport, TLSMemoryBIOProtocol) else None
    name = "" if peer is None else peer.get_subject().commonName or ""
    return Holder(NODE, name) if is_name(name) else None
