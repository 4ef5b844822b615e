"""Whom we believe when we are the client, and why TLS failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet.ssl import (
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from outputd.process.trouble import Unusable
from outputd.security.pem import certificates_of, key_of


@implementer(IPolicyForHTTPS)
class Policy:
    """Believes the CAs of the system, or those of a file alone; shows a certificate of ours if there is one."""

    def __init__(self, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> None:
        """Blocking. Raises Unusable."""
        self._trust = platformTrust() if ca is None else trustRootFromCertificates(certificates_of(ca))
        self._ours: PrivateCertificate | None = None
        self._chain: list[crypto.X509] = []
        if certificate is not None:
            ours, *chain = certificates_of(certificate)
            pair = KeyPair(key_of(key or certificate))
            if not pair.matches(ours.getPublicKey()):
                raise Unusable(f"{key or certificate} is not the key of {certificate}")
            self._ours = PrivateCertificate.fromCertificateAndKeyPair(ours, pair)
            self._chain = [each.original for each in chain]

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See IPolicyForHTTPS."""
        more = {"extraCertChain": self._chain} if self._chain else {}
        return optionsForClientTLS(hostname.decode("ascii"), self._trust, self._ours, extraCertificateOptions=more)


_UNTRUSTED = "certificate verify failed"
"""OpenSSL's last words for a certificate of an unknown CA, and for one that has expired."""


def is_untrusted(error: BaseException) -> bool:
    """Whether it was the peer's certificate: of an unknown CA, expired, or for another name."""
    return isinstance(error, VerificationError) or (isinstance(error, SSL.Error) and reason_of(error) == _UNTRUSTED)


def reason_of(error: SSL.Error | VerificationError) -> str:
    """Why TLS failed, in OpenSSL's last words."""
    if isinstance(error, VerificationError):
        return "the certificate is for another name"
    words = error.args[0] if error.args else ()
    return str(words[-1][-1]) if words and isinstance(words, list) else "the connection was closed"
