"""What a page of another site may have a browser ask for, by Fetch Metadata and RFC 6454.

A browser sends along what it has cached, a password too, whoever's page it is that has it ask.
"""

from __future__ import annotations

from typing import Protocol

SAFE_METHODS = (b"GET", b"HEAD", b"OPTIONS", b"TRACE")


class Asked(Protocol):
    """What is looked at of a request."""

    method: bytes

    def first_header(self, name: bytes) -> bytes | None:
        """The first value of a header, or None."""


def may_ask(request: Asked, is_everybodys: bool, is_dear: bool) -> bool:
    """Whether this may be asked for from where it is asked.

    A page of another site may lead its reader to a page, but load nothing and change nothing. What is dear is had from
    another site not even so, but by a click on a page of the same host: our other port is one.
    """
    where = request.first_header(b"Sec-Fetch-Site")
    if request.method not in SAFE_METHODS:
        return where in (b"same-origin", b"none") if where is not None else not _has_foreign_origin(request)
    if where is None:
        return is_everybodys or not _has_foreign_origin(request)
    if is_everybodys or where in (b"same-origin", b"none"):
        return True
    if request.first_header(b"Sec-Fetch-Mode") != b"navigate" or request.first_header(b"Sec-Fetch-Dest") != b"document":
        return False
    return not is_dear or (where == b"same-site" and request.first_header(b"Sec-Fetch-User") == b"?1")


def _has_foreign_origin(request: Asked) -> bool:
    origin = request.first_header(b"Origin")
    return origin is not None and origin.partition(b"://")[2] != request.first_header(b"Host")
