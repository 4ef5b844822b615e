"""The certificate that both ports show, and those of clients."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreContext, X509StoreContextError
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

    With CAs for clients, a client may show a certificate of one, whose common name is then a node's. It is checked at
    the handshake, and again when one of these CAs has gone.
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
            authorities = certificates_of(self._client_ca)
            context.set_app_data(frozenset(authority.dump() for authority in authorities))
            for authority in authorities:
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

    def vouch_for(self, peer: X509, connection: SSL.Connection) -> bool:
        """Whether the CAs of now have signed what a client has shown at its handshake."""
        assert self._context is not None, "there is a connection"
        if connection.get_context().get_app_data() <= self._context.get_app_data():
            return True
        store = self._context.get_cert_store()
        assert store is not None
        try:
            X509StoreContext(store, peer, connection.get_peer_cert_chain()).verify_certificate()
        except X509StoreContextError:
            return False
        return True

    def around(self, site: Any, reactor: Any) -> TLSMemoryBIOFactory:
        """The site behind TLS. Its answers are written in one piece: to gather small writes would only delay them."""
        factory = TLSMemoryBIOFactory(self, False, site, reactor)
        factory.protocol = partial(_Tls, self)  # type: ignore[assignment]  # declared as a class; it is only called
        return factory


class _Tls(TLSMemoryBIOProtocol):
    """As Twisted's, but an error at the end keeps no frames, which kept the connection, and none follows."""

    def __init__(self, certificates: Certificates, factory: TLSMemoryBIOFactory, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self.certificates = certificates

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)

    def _flushSendBIO(self) -> None:
        if self._tlsConnection is not None:  # else what was just received has had the connection cut off
            super()._flushSendBIO()


def node_of(transport: Any) -> Holder | None:
    """The node whose certificate a client has shown, which a CA of now has signed."""
    if not isinstance(transport, _Tls):
        return None
    connection = transport.getHandle()
    peer = connection.get_peer_certificate()
    if peer is None or not transport.certificates.vouch_for(peer, connection):
        return None
    name = peer.get_subject().commonName or ""
    return Holder(NODE, name) if is_name(name) else None
