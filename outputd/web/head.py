"""The head of a usual POST, whose lines are known from the one before; what is not usual is left to twisted.web.

Nodes send the same few lines again and again. This is no second opinion on HTTP: what is read here is what twisted.web
would read, and what twisted.web would refuse is never read here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from twisted.web.http_headers import Headers

_MOST_HEAD_BYTES = 2048
_MOST_LINE_BYTES = 256
_MOST_LINES_CACHED = 2048
_FIRST_LINE = re.compile(rb"(POST) (/[A-Za-z0-9/._-]*) (HTTP/1\.1)").fullmatch
_FIELD = re.compile(rb"([A-Za-z0-9-]+): ([!-~](?:[ -~]*[!-~])?)").fullmatch  # no space around it, nor a line in it
_LENGTH = re.compile(rb"[1-9][0-9]{0,7}").fullmatch
_Field = tuple[bytes, tuple[bytes]]


class Head(NamedTuple):
    """The head of a request: method, target and version, its headers, how long its body is and where it begins."""

    first_line: tuple[bytes, bytes, bytes]
    headers: Headers
    body_bytes: int
    end: int


def usual_head(data: bytes) -> Head | None:
    """The head with which these bytes begin, if it is a usual one: each line strictly spelled, no header twice."""
    end = data.find(b"\r\n\r\n", 0, _MOST_HEAD_BYTES)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    first_line = _first_line(first)
    if first_line is None:
        return None
    fields: dict[bytes, tuple[bytes]] = {}
    for line in lines:
        field = read_field(line) if line[:13].lower() == b"authorization" else known_field(line)
        if field is None or field[0] in fields:
            return None
        fields[field[0]] = field[1]
    length = fields.get(b"Content-Length")
    if length is None or b"Transfer-Encoding" in fields or not _LENGTH(length[0]):
        return None
    return Head(first_line, _Read(fields), int(length[0]), end + 4)


class _Read(Headers):
    """Headers as they were read: their names are spelled as Headers spells them, and nobody changes them."""

    __slots__ = ()

    def __init__(self, fields: dict[bytes, tuple[bytes]]) -> None:
        self._rawHeaders = fields  # type: ignore[assignment]  # lists there, since they may be changed


@lru_cache(maxsize=64)
def _first_line(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    match = _FIRST_LINE(line) if len(line) <= _MOST_LINE_BYTES else None
    return None if match is None else (match[1], match[2], match[3])


def read_field(line: bytes) -> _Field | None:
    """The name of a header, spelled as Headers spells it, and its value; None for a line that is not usual."""
    match = _FIELD(line) if len(line) <= _MOST_LINE_BYTES else None
    if match is None:
        return None
    ((name, _),) = Headers({match[1]: [match[2]]}).getAllRawHeaders()
    return name, (match[2],)


known_field = lru_cache(maxsize=_MOST_LINES_CACHED)(read_field)
"""The same of lines that are known from before. It keeps them: never ask it for one that bears a token."""
