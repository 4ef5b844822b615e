"""The files that the pages load: read and compressed once, at the start, and kept by browsers until they change."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
from dataclasses import dataclass

from outputd.web.answers import problem
from outputd.web.negotiation import is_known, takes_gzip
from outputd.web.request import CappedRequest, put_head, send

_KINDS = {
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    kind: bytes
    plain: bytes
    compressed: bytes
    etag: bytes

    @classmethod
    def of(cls, suffix: str, content: bytes) -> _Asset:
        digest = hashlib.sha256(content).hexdigest()[:20].encode()
        return cls(_KINDS[suffix], content, gzip.compress(content, 9, mtime=0), digest)


class Assets:
    """All files of the package's `static`, by name."""

    def __init__(self) -> None:
        folder = importlib.resources.files("outputd.pages").joinpath("static")
        self._assets = {
            item.name: _Asset.of(suffix, item.read_bytes())
            for item in folder.iterdir()
            if (suffix := "." + item.name.rpartition(".")[2]) in _KINDS
        }

    def send(self, request: CappedRequest, name: str) -> None:
        """Answer with a file; 304 when the browser has it, 404 when there is none of this name."""
        asset = self._assets.get(name)
        if asset is None:
            send(request, *problem(404, "there is no such file"))
            return
        compressed = takes_gzip(request.header_text(b"Accept-Encoding"))
        etag = b'"%s%s"' % (asset.etag, b"-gzip" if compressed else b"")
        headers = {
            b"ETag": etag,
            b"Cache-Control": b"no-cache",  # kept, and asked for again with its ETag
            b"Vary": b"Accept-Encoding",
            b"X-Content-Type-Options": b"nosniff",
        }
        if is_known(etag.decode(), request.header_text(b"If-None-Match")):
            put_head(request, 304, headers, None)
            request.finish()
            return
        headers[b"Content-Type"] = asset.kind
        if compressed:
            headers[b"Content-Encoding"] = b"gzip"
        send(request, 200, asset.compressed if compressed else asset.plain, headers)
