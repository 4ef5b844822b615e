"""In which form an answer goes out: JSON, NDJSON or CSV, by suffix or Accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.web.iweb import IRequest

from outputd.queries.tables import Format
from outputd.web.request import CappedRequest
from outputd.web.routes import Resource

MEDIA: Mapping[Format, str] = {
    "json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8",
}  # fmt: skip


class WithForms(Resource):
    """A site on which `/targets.csv` is `/targets` in CSV."""

    def render(self, request: IRequest) -> Any:
        """See KleinResource."""
        assert isinstance(request, CappedRequest)
        path = request.postpath or []
        if path and path[0].partition(b".")[0] in _ROOTS:
            stem, dot, suffix = path[-1].rpartition(b".")
            if dot and suffix in (b"json", b"ndjson", b"csv"):
                path[-1] = stem
                request.form = suffix.decode()
        return super().render(request)


_ROOTS = (b"recent", b"results", b"targets", b"nodes", b"arrivals", b"links", b"hops", b"paths", b"series")


def wanted_format(request: CappedRequest) -> Format:
    """What the suffix says, else what Accept likes best, else JSON."""
    if request.form:
        return request.form  # type: ignore[return-value]  # one of them, as set above
    likings = _likings(request.getHeader("Accept") or "*/*")
    kinds: dict[str, Format] = {"application/json": "json", "application/x-ndjson": "ndjson", "text/csv": "csv"}

    def liking(media: str) -> float:
        return likings.get(media, likings.get(f"{media.partition('/')[0]}/*", likings.get("*/*", 0.0)))

    return kinds[max(kinds, key=liking)]


def _likings(accept: str) -> dict[str, float]:
    likings = {}
    for part in accept.lower().split(","):
        media, *rest = part.split(";")
        quality = next((text.strip()[2:] for text in rest if text.strip().startswith("q=")), "1")
        try:
            likings[media.strip()] = float(quality)
        except ValueError:
            likings[media.strip()] = 0.0
    return likings
