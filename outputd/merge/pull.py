"""All result files of a running instance, taken over HTTP: checked against their digests, each once. Blocking."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import ssl
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from outputd.process.files import is_still, sync
from outputd.process.log import in_one_line
from outputd.sqlite.files import make_empty
from outputd.store.directory import is_result_file

_SILENCE_S = 300.0  # the copy of a large current file is made before its first byte is sent
_PART_BYTES = 1 << 20
_MOST_LISTED_BYTES = 16 << 20
_MOST_REASON_BYTES = 64 << 10


class NotPulled(Exception):
    """Files of an instance cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Access:
    """What instances ask for: an operator's token; and whose certificates are believed, instead of the system's CAs."""

    token: str | None = None
    ca: Path | None = None


class _Listed(msgspec.Struct, frozen=True):
    file: str
    current: bool
    sha256: str | None = None


class _Listing(msgspec.Struct, frozen=True):
    files: list[_Listed]


class _Reason(msgspec.Struct, frozen=True):
    detail: str = ""


def pull(url: str, into: Path, access: Access, tell: Callable[[Path], None]) -> list[Path]:
    """Take all files of an instance, but those that are there already; all that are there then.

    They hold every result that was answered before. Files stay when the instance deletes them. `tell` hears of each
    that was taken. Raises NotPulled, OSError.
    """
    with closing(_connection(url, access)) as peer:
        place = place_of(url, into)
        place.mkdir(parents=True, exist_ok=True)
        instance = _Instance(url, peer, access)
        tell(instance.take(place))  # first the current one: if it is closed meanwhile, it is among those closed
        for listed in instance.closed():
            if listed.sha256 is None or _digest_of(place / listed.file) != listed.sha256:
                tell(instance.take(place, listed))
    return pulled(url, into)


def pulled(url: str, into: Path) -> list[Path]:
    """The files of an instance that are there."""
    return sorted(path for path in place_of(url, into).glob("*.db") if is_result_file(path))


def place_of(url: str, into: Path) -> Path:
    """The directory for the files of an instance."""
    return into / urlsplit(url).netloc.rpartition("@")[2].replace(":", "_")


def _connection(url: str, access: Access) -> http.client.HTTPConnection:
    try:
        parts = urlsplit(url)
        plain = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SILENCE_S)
        plain.host.encode("idna")  # as a name is before it is looked up
    except (ValueError, http.client.InvalidURL):
        plain = None
    if plain is None or not plain.host or parts.scheme not in ("http", "https") or parts.path.strip("/") or parts.query:
        raise NotPulled(
            f"{in_one_line(url)}: it must be the http:// or https:// URL of a port for results, without a path"
        )
    if parts.scheme == "http":
        return plain
    try:
        context = ssl.create_default_context(cafile=access.ca)
    except OSError as error:
        raise NotPulled(f"{access.ca}: {error.strerror or error}") from None
    return http.client.HTTPSConnection(plain.host, parts.port, timeout=_SILENCE_S, context=context)


class _Instance:
    """What one instance answers. A redirect is no answer: the token is for this instance alone."""

    def __init__(self, url: str, peer: http.client.HTTPConnection, access: Access) -> None:
        self._url = url.rstrip("/")
        self._peer = peer
        self._headers = {} if access.token is None else {"Authorization": f"Bearer {access.token}"}

    def closed(self) -> list[_Listed]:
        """The files that are not written any more."""
        try:
            body = self._asked("/files").read(_MOST_LISTED_BYTES)
            listed = msgspec.json.decode(body, type=_Listing).files
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            raise NotPulled(f"{self._url}/files cannot be read: {error}") from None
        for each in listed:
            self._check(each.file)
        return [each for each in listed if not each.current]

    def take(self, place: Path, listed: _Listed | None = None) -> Path:
        """Take a closed file, or a copy of the current one; it has its name when it is whole."""
        target = "/dump" if listed is None else f"/dump?file={quote(listed.file)}"
        response = self._asked(target)
        name = response.headers.get_filename("") if listed is None else listed.file
        self._check(name)
        path, aside = place / name, place / f"{name}.tmp"
        digest = hashlib.sha256()
        aside.unlink(missing_ok=True)  # what a kill has left
        make_empty(aside)
        with aside.open("wb") as file:
            while part := self._read(response):
                digest.update(part)
                file.write(part)
            if not is_still(file.fileno(), aside):
                raise NotPulled(f"another outputd-merge is taking {name} into {in_one_line(str(place))}, too")
        said = response.getheader("Repr-Digest")
        wanted = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        if said != wanted or (listed is not None and listed.sha256 not in (None, digest.hexdigest())):
            aside.unlink()
            raise NotPulled(f"{self._url}{target} did not arrive whole, or has changed: its digest is another")
        sync(aside)
        os.replace(aside, path)
        sync(place)
        return path

    def _check(self, name: str) -> None:
        """Raise NotPulled for a name that would lead elsewhere."""
        if name != Path(name).name or not is_result_file(Path(name)):
            raise NotPulled(f"{self._url} names what is no result file: {name!r}")

    def _asked(self, target: str) -> http.client.HTTPResponse:
        try:
            self._peer.request("GET", target, headers=self._headers)
            response = self._peer.getresponse()
            if response.status == http.client.OK:
                return response
            said = response.read(_MOST_REASON_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise NotPulled(f"{self._url}{target}: {error or type(error).__name__}") from None
        try:
            reason = msgspec.json.decode(said, type=_Reason).detail
        except msgspec.MsgspecError:
            reason = ""
        raise NotPulled(f"{self._url}{target} answered {response.status}{': ' * bool(reason)}{reason}")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read(_PART_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise NotPulled(f"{self._url} broke off: {error}") from None


def _digest_of(path: Path) -> str | None:
    """None of a file that is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
