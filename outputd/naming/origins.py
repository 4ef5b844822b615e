"""The file of --asn-db, of whichever kind, read at the start and again on SIGHUP."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from outputd.naming.mmdb import Mmdb
from outputd.naming.origin import Origin, Source
from outputd.naming.ranges import Ranges
from outputd.process.log import Logger
from outputd.process.trouble import Failure, Trouble, Unusable
from outputd.results.addresses import packed

_log = Logger()
_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 64
KNOWN = (
    "expected a MaxMind DB with numbers of networks (GeoLite2-ASN, or one of IPinfo or DB-IP) or the table of"
    " iptoasn.com (ip2asn-combined.tsv), either as it is or compressed by gzip"
)


class Origins:
    """Which network an address belongs to, by the newest file that could be read."""

    def __init__(self, path: Path, now: Callable[[], float], seconds: Callable[[], float]) -> None:
        self._path = path
        self._trouble = Trouble(now, seconds)
        self._source: Source | None = None

    @property
    def failure(self) -> Failure | None:
        """Why the file that is there now is not in use, or is of no use."""
        return self._trouble.failure

    def read(self) -> Source:
        """What the file says now. Blocking, for seconds. Raises Unusable."""
        try:
            with open(self._path, "rb") as raw:
                is_packed = raw.peek(len(_GZIP)).startswith(_GZIP)
                with cast("IO[bytes]", gzip.open(raw)) if is_packed else raw as file:
                    return _source_of(file)
        except OSError as error:
            wrong = error.strerror or str(error)
        except (Unusable, EOFError, zlib.error) as error:
            wrong = str(error)
        self._trouble.begin(f"--asn-db {self._path}: {wrong}")
        raise Unusable(f"--asn-db {self._path}: {wrong}; {KNOWN}")

    def take(self, source: Source) -> None:
        """Go by this from now on."""
        self._source = source
        self._trouble.end()

    def of(self, ip: str) -> Origin | None:
        """The network of an address; None where none is known, and for a text that is none. From any thread."""
        source = self._source
        assert source is not None, "read at the start"
        try:
            address = packed(ip)
        except (OSError, ValueError):
            return None
        try:
            return source.of(address)
        except ValueError as error:
            if self._trouble.begin(f"--asn-db {self._path}: a part of it is damaged: {error}"):
                _log.warn("{file} is damaged: {reason}", file=str(self._path), reason=error)
            return None


def _source_of(file: IO[bytes]) -> Source:
    """By its first bytes: a line of a table begins with an address and a tab, and no tree of MaxMind's does."""
    head = cast("gzip.GzipFile", file).peek(_HEAD_BYTES)[:_HEAD_BYTES]
    first, tab, _ = head.partition(b"\t")
    try:
        packed(first.decode())
    except (OSError, ValueError):
        return Mmdb(file)
    return Ranges(file) if tab else Mmdb(file)
