"""In which form an answer goes out: JSON, NDJSON or CSV, by suffix or Accept."""

from __future__ import annotations

from collections.abc import Mapping

from outputd.queries.tables import Format

MEDIA: Mapping[Format, str] = {
    "json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8",
}  # fmt: skip


def wanted_format(suffix: str, accept: str | None) -> Format:
    """What the suffix of the path says, else what Accept likes best, else JSON."""
    for form in MEDIA:
        if form == suffix:
            return form
    likings = _likings(accept or "*/*")
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
