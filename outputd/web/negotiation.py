"""What a client would rather have, by the headers of RFC 9110, 12.5 and 13.1. Pure."""

from __future__ import annotations

import re

_QUALITY = re.compile(r"q=((?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?))")


def likings(header: str) -> dict[str, float]:
    """Each thing that a list of preferences names, in lower case, and how much it is liked: 0 (not at all) to 1.

    A quality that cannot be read counts as 0; empty elements are none.
    """
    found = {}
    for element in header.lower().split(","):
        thing, *parameters = (part.strip() for part in element.split(";"))
        quality = next((parameter for parameter in parameters if parameter.startswith("q=")), "q=1")
        if thing:
            readable = _QUALITY.fullmatch(quality)
            found[thing] = float(readable[1]) if readable else 0.0
    return found


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an answer may be compressed with gzip: that, or anything, is named, and not liked less than the plain."""
    liked = likings(accept_encoding)
    gzip = liked.get("gzip", liked.get("x-gzip", liked.get("*", 0.0)))
    return gzip > 0 and gzip >= liked.get("identity", 0.0)


def takes_plain(accept_encoding: str) -> bool:
    """Whether an answer may be sent as it is: only who says so takes none."""
    liked = likings(accept_encoding)
    return liked.get("identity", liked.get("*", 1.0)) > 0


def is_known(etag: str, if_none_match: str) -> bool:
    """Whether the client has this very thing, by weak comparison: `*` is anything."""
    known = (part.strip() for part in if_none_match.split(","))
    return any(part == "*" or part.removeprefix("W/") == etag for part in known)
