"""Where an archive is: a URL that says no secret, so that it may be logged. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from outputd.process.trouble import Unusable

_PARAMETERS = {"s3": ("endpoint", "region"), "gs": (), "az": ("account", "endpoint"), "file": ()}
"""What may follow the question mark, by scheme."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}").fullmatch
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}").fullmatch
_PREFIX = re.compile(r"[A-Za-z0-9._=/-]*").fullmatch
_FORMS = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///PATH"


@dataclass(frozen=True, slots=True)
class Place:
    """An archive: a prefix in a bucket of a cloud, or a directory."""

    scheme: str
    bucket: str
    """Empty for a directory."""
    prefix: str
    """Without slashes at its ends; of a directory the path."""
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """Its URL, the same for all spellings, which may be logged."""
        if self.scheme == "file":
            return f"file://{quote(self.prefix)}"
        query = urlencode(self.parameters, safe=":/")
        return f"{self.scheme}://{self.bucket}/{self.prefix}".removesuffix("/") + (f"?{query}" if query else "")


def place_of(url: str) -> Place:
    """The place that a URL means. Raises Unusable, whose text does not repeat what may be a secret."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise Unusable("an archive's URL has printable ASCII alone, and no spaces")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise Unusable(f"an archive's URL is {_FORMS}") from None
    if parts.scheme not in _PARAMETERS:
        raise Unusable(f"an archive's URL is {_FORMS}")
    if "@" in parts.netloc:
        raise Unusable("an archive's URL must not have credentials: see --archive-credentials")
    if "#" in url:
        raise Unusable("an archive's URL has no part behind a #")
    parameters = _parameters_of(parts.scheme, parts.query, "?" in url)
    if parts.scheme == "file":
        return Place("file", "", _directory_of(parts.netloc, parts.path))
    if _BUCKET(parts.netloc) is None:
        raise Unusable(f"an archive's URL is {_FORMS}: the bucket's name is missing or is none")
    prefix = parts.path.strip("/")
    if _PREFIX(prefix) is None or any(part in ("", ".", "..") for part in prefix.split("/")[: len(prefix)]):
        raise Unusable("the prefix of an archive has letters, digits, . _ = - and single slashes alone")
    return Place(parts.scheme, parts.netloc, prefix, parameters)


def _directory_of(host: str, path: str) -> str:
    directory = unquote(path)
    if host or not directory.startswith("/") or not directory.isprintable() or ".." in PurePosixPath(directory).parts:
        raise Unusable("the URL of a directory is file:// and an absolute path, as file:///srv/archive")
    return str(PurePosixPath(f"/{directory.strip('/')}"))


def _parameters_of(scheme: str, query: str, is_asked: bool) -> dict[str, str]:
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=is_asked, max_num_fields=4)
    except ValueError:
        raise Unusable("what follows the ? of an archive's URL is NAME=VALUE&NAME=VALUE") from None
    parameters = dict(given)
    known = _PARAMETERS[scheme]
    if len(parameters) < len(given) or not parameters.keys() <= set(known):
        said = f"only {' and '.join(known)}, each once" if known else "nothing"
        raise Unusable(f"what follows the ? of {scheme}:// is {said}; credentials: see --archive-credentials")
    for name, value in parameters.items():
        if not (_is_endpoint(value) if name == "endpoint" else _WORD(value)):
            raise Unusable(f"the {name} of an archive is {_WHAT[name]}")
    return parameters


_WHAT = {
    "endpoint": "http:// or https:// with a host, and no credentials, such as https://minio.example.net:9000",
    "region": "a word such as eu-central-1",
    "account": "a word of letters and digits",
}


def _is_endpoint(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    is_bare = "@" not in url.netloc and "?" not in text and "#" not in text and text.isprintable() and " " not in text
    return url.scheme in ("http", "https") and bool(url.hostname) and port != 0 and is_bare
