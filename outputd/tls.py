"""TLS: the certificate that both ports show, clients' certificates, and whom we believe when we are the client."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    KeyPair,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from outputd.access import NODE, Holder, is_name
from outputd.failures import Unusable
from outputd.log import Logger

_log = Logger()
_BEGIN = b"-----BEGIN CERTIFICATE-----"


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
        chain, key = _certificates(self._certificate), _key(self._key)
        expiry = chain[0].original.to_cryptography().not_valid_after_utc
        if expiry < datetime.now(UTC):
            expired = f"{self._certificate} has expired on {expiry:%Y-%m-%d %H:%M} UTC"
            if self._context is not None:
                raise Unusable(expired)
            _log.warn("{what}: clients will not believe it", what=expired)
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
            for authority in _certificates(self._client_ca):
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
        """The site behind TLS."""
        return TLSMemoryBIOFactory(self, False, site, reactor)


def node_of(transport: Any) -> Holder | None:
    """The node whose certificate a client has shown, which its CA has signed."""
    peer = transport.getPeerCertificate() if isinstance(transport, TLSMemoryBIOProtocol) else None
    name = "" if peer is None else peer.get_subject().commonName or ""
    return Holder(NODE, name) if is_name(name) else None


@implementer(IPolicyForHTTPS)
class Policy:
    """Believes the CAs of the system, or those of a file alone; shows a certificate of ours if there is one."""

    def __init__(self, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> None:
        """Blocking. Raises Unusable."""
        self._trust = platformTrust() if ca is None else trustRootFromCertificates(_certificates(ca))
        self._ours: PrivateCertificate | None = None
        self._chain: list[crypto.X509] = []
        if certificate is not None:
            ours, *chain = _certificates(certificate)
            pair = KeyPair(_key(key or certificate))
            if not pair.matches(ours.getPublicKey()):
                raise Unusable(f"{key or certificate} is not the key of {certificate}")
            self._ours = PrivateCertificate.fromCertificateAndKeyPair(ours, pair)
            self._chain = [each.original for each in chain]

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See IPolicyForHTTPS."""
        more = {"extraCertChain": self._chain} if self._chain else {}
        return optionsForClientTLS(hostname.decode("ascii"), self._trust, self._ours, extraCertificateOptions=more)


def reason_of(error: SSL.Error) -> str:
    """Why TLS failed, in OpenSSL's last words."""
    words = error.args[0] if error.args else ()
    return str(words[-1][-1]) if words and isinstance(words, list) else "the connection was closed"


def token_of(path: Path) -> str:
    """The token that is all a file holds. Blocking. Raises Unusable."""
    words = _bytes(path).split()
    if len(words) != 1 or not words[0].isascii():
        raise Unusable(f"{path}: expected a token and nothing else")
    return words[0].decode()


def _certificates(path: Path) -> list[Certificate]:
    parts = _bytes(path).split(_BEGIN)[1:]
    try:
        found = [Certificate.loadPEM(_BEGIN + part) for part in parts]
    except crypto.Error:
        found = []
    if not found:
        raise Unusable(f"{path}: no certificate in PEM")
    return found


def _key(path: Path) -> crypto.PKey:
    try:
        return crypto.load_privatekey(crypto.FILETYPE_PEM, _bytes(path), b"")  # without b"" a terminal is asked
    except crypto.Error:
        raise Unusable(f"{path}: no private key in PEM without a passphrase") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
