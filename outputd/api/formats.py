"""In which form an answer goes out: JSON, NDJSON or CSV, by suffix or Accept."""

from __future__ import annotations

from collections.abc import Mapping

from outputd.queries.tables import Format
from outputd.web.negotiation import likings

MEDIA: Mapping[Format, str] = {
    "json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8",
}  # fmt: skip


def wanted_format(suffix: str, accept: str) -> Format:
    """What the suffix of the path says, else what Accept likes best, else JSON."""
    for form in MEDIA:
        if form == suffix:
            return form
    liked = likings(accept or "*/*")
    kinds: dict[str, Format] = {"application/json": "json", "application/x-ndjson": "ndjson", "text/csv": "csv"}

    def liking(media: str) -> float:
        return liked.get(media, liked.get(f"{media.partition('/')[0]}/*", liked.get("*/*", 0.0)))

    return kinds[max(kinds, key=liking)]
