"""Who may do what: tokens of nodes, readers and operators, from a file that holds only their digests."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from outputd.process.log import Logger
from outputd.process.trouble import Unusable

_log = Logger()

NODE = "node"
READER = "reader"
OPERATOR = "operator"
ROLES = (NODE, READER, OPERATOR)
MOST_NAME = 64
_TOKEN_BYTES = 32  # 256 bits: nobody guesses them, so guesses need no slowing down


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose token it is, and what it is for."""

    role: str
    name: str
    digest: bytes = field(default=b"", compare=False, repr=False)
    """That of the token, of which one name may have several; none for a certificate."""


Holders = Mapping[bytes, Holder]
"""Whose each token is, by its digest."""


def new_token() -> str:
    """A token that nobody else has."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def line_of(holder: Holder, token: str) -> str:
    """The line of a tokens file that lets this token in."""
    return f"{holder.role} {holder.name} {_digest(token.encode()).hex()}"


def may(role: str, wanted: str) -> bool:
    """Whether somebody with a role may do what is for another: an operator reads, too."""
    return role == wanted or (role == OPERATOR and wanted == READER)


def is_name(text: str) -> bool:
    """Whether a holder may have this name: as X-Ping-Node, and without spaces."""
    return 0 < len(text) <= MOST_NAME and text.isascii() and text.isprintable() and " " not in text


class Access:
    """Tells whose token a request bears. Without a file all is open, but that nodes may have to show certificates."""

    def __init__(self, path: Path | None = None, by_certificate: bool = False) -> None:
        self._path = path
        self._by_certificate = by_certificate
        self._holders: Holders = {}
        self.changes = 0

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who he is."""
        return not self.asks_for(NODE)

    def asks_for(self, role: str) -> bool:
        """Whether a request must come from somebody with this role."""
        return self._path is not None or (self._by_certificate and role == NODE)

    @property
    def wanted(self) -> str:
        """What a request must bear, in words."""
        return "a token, as Bearer or as the password of Basic" if self._path is not None else "a node's certificate"

    def warn_if_open(self, only_here: bool) -> None:
        """Say what anyone who can reach the ports may do, unless that is `only_here`, this machine."""
        if not only_here and not self.asks_for(OPERATOR):
            can = "read and rotate" if self.asks_for(NODE) else "post, read and rotate"
            _log.warn("anyone who can reach these ports can {can}; --tokens-file restricts access", can=can)

    def read(self) -> Holders:
        """What the file says now. Blocking. Raises Unusable with the line and what is wrong."""
        if self._path is None:
            return {}
        try:
            text = self._path.read_text(encoding="ascii")
        except OSError as error:
            raise Unusable(f"{self._path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise Unusable(f"{self._path}: not ASCII text") from None
        return _parse(self._path, text)

    def take(self, holders: Holders) -> None:
        """Let these in from now on, and nobody else."""
        self._holders = holders
        self.changes += 1

    def knows(self, holder: Holder) -> bool:
        """Whether the token by which it came is still its own."""
        return self._holders.get(holder.digest) == holder

    def holder(self, authorization: bytes | None) -> Holder | None:
        """Whose token the Authorization header bears: as Bearer, or as the password of Basic, for browsers."""
        if authorization is None:
            return None
        scheme, _, value = authorization.partition(b" ")
        token: bytes | None = value.strip()
        if scheme.lower() == b"basic":
            token = _password(value.strip())
        elif scheme.lower() != b"bearer":
            return None
        if not token:
            return None
        digest = _digest(token)
        holder = self._holders.get(digest)
        if holder is None or not hmac.compare_digest(holder.digest, digest):
            return None
        return holder


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _password(value: bytes) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except binascii.Error:
        return None


def _parse(path: Path, text: str) -> Holders:
    holders: dict[bytes, Holder] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{path}, line {number}"
        if len(words) != 3:
            raise Unusable(f"{where}: expected a role, a name and the SHA-256 of a token")
        role, name, digest = words
        if role not in ROLES:
            raise Unusable(f"{where}: the role must be one of {', '.join(ROLES)}, not {role[:20]!r}")
        if not is_name(name):
            raise Unusable(f"{where}: a name has at most {MOST_NAME} printable characters")
        try:
            key = bytes.fromhex(digest)
        except ValueError:
            key = b""
        if len(key) != hashlib.sha256().digest_size or len(digest) != 2 * len(key):
            raise Unusable(f"{where}: the SHA-256 of a token has 64 hexadecimal digits")
        if key in holders:
            raise Unusable(f"{where}: this token is already that of {holders[key].name}")
        holders[key] = Holder(role, name, key)
    if not holders:
        raise Unusable(f"{path}: no token in it, so nobody could do anything")
    return holders
