"""What the head of a POST says of its body: its format, and when it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from outputd.formats.formats import BY_MEDIA_TYPE, BY_NAME
from outputd.formats.reader import Reader
from outputd.intake.foreign import NOTHING_ASKED, Asked
from outputd.results import timestamps
from outputd.results.model import OURS
from outputd.web.request import CappedRequest

_USUAL = (b"application/json", b"application/x-www-form-urlencoded")
_NAMES = ", ".join((OURS, *BY_NAME))


class BadHeader(Exception):
    """A header or parameter cannot be taken; the text says why."""


def asked_by(request: CappedRequest) -> Asked:
    """What is said of a body, mostly nothing. `?format=` wins over the Content-Type, `?at=` over X-Measured-At.

    Raises BadHeader.
    """
    media_type = request.first_header(b"Content-Type")
    measured_at = header(request, b"X-Measured-At")
    query = request.uri.partition(b"?")[2]
    if not query and measured_at is None and (media_type is None or media_type in _USUAL):
        return NOTHING_ASKED
    parameters = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    name, at = _only(parameters, "format"), _only(parameters, "at")
    at = None if at is None else at.replace(" ", "+")  # as which a plus is read that was not escaped
    if any(time is not None and timestamps.stored(time) is None for time in (at, measured_at)):
        raise BadHeader("X-Measured-At and ?at= are RFC 3339 times with a zone, as 2026-01-07T22:30:00Z")
    at = at or measured_at
    if name is not None:
        return Asked(_named(name), name == OURS, at)
    return Asked(BY_MEDIA_TYPE.get(_plain(media_type or b"")), measured_at=at)


def header(request: CappedRequest, name: bytes) -> str | None:
    """The only value of a header, None without. Raises BadHeader."""
    values = request.requestHeaders.getRawHeaders(name)
    if values is None:
        return None
    if len(values) > 1:
        raise BadHeader(f"more than one {name.decode()} header")
    return str(values[0].decode("latin-1"))


def _only(parameters: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = parameters.get(name, ())
    if len(values) > 1:
        raise BadHeader(f"more than one {name}")
    return values[0] if values else None


def _named(name: str) -> Reader | None:
    if name != OURS and name not in BY_NAME:
        raise BadHeader(f"there is no such format; there are {_NAMES}")
    return BY_NAME.get(name)


def _plain(media_type: bytes) -> str:
    return media_type.partition(b";")[0].strip().lower().decode("latin-1")
