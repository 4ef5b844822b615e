"""What files say that hold a certificate, a key or a token."""

from __future__ import annotations

from pathlib import Path

from OpenSSL import crypto
from twisted.internet.ssl import Certificate

from outputd.process.trouble import Unusable

_BEGIN = b"-----BEGIN CERTIFICATE-----"


def token_of(path: Path) -> str:
    """The token that is all a file holds. Blocking. Raises Unusable."""
    words = _bytes(path).split()
    if len(words) != 1 or not words[0].isascii():
        raise Unusable(f"{path}: expected a token and nothing else")
    return words[0].decode()


class TokenFile:
    """A file that holds our token for somebody else, read again when it changes; without a file there is none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.token = ""

    def read(self) -> str:
        """What the file says now. Blocking. Raises Unusable."""
        return "" if self._path is None else token_of(self._path)

    def take(self, token: str) -> None:
        """Show this token from now on."""
        self.token = token


def certificates_of(path: Path) -> list[Certificate]:
    """The certificates in a PEM file, at least one. Blocking. Raises Unusable."""
    parts = _bytes(path).split(_BEGIN)[1:]
    try:
        found = [Certificate.loadPEM(_BEGIN + part) for part in parts]
    except crypto.Error:
        found = []
    if not found:
        raise Unusable(f"{path}: no certificate in PEM")
    return found


def key_of(path: Path) -> crypto.PKey:
    """The private key in a PEM file. Blocking. Raises Unusable."""
    try:
        return crypto.load_privatekey(crypto.FILETYPE_PEM, _bytes(path), b"")  # without b"" a terminal is asked
    except crypto.Error:
        raise Unusable(f"{path}: no private key in PEM without a passphrase") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
