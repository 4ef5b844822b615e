"""The JSON values that a body consists of: one, those of an array, or one a line; found one at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from outputd.formats.counts import MOST_ITEM_BYTES
from outputd.formats.reader import NotOfThisFormat, Refused, Unread, unread
from outputd.results.model import MOST_RESULTS, PingResult
from outputd.results.structure import ARRAY_BEGIN, OBJECT, STRUCTURE

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"\S[^\n]*+")
_BEGIN_BYTES = 256 * 1024
_OBJECT_BEGIN = re.compile(rb"\s*+(\[\s*+)?+\{")
_check = msgspec.json.Decoder(msgspec.Raw).decode


def documents(body: bytes) -> Iterator[bytes]:
    """The values of a body: the elements of an array, one value alone, else the lines that are not empty.

    Lines are given as they are, and may be no JSON. NotOfThisFormat where the body is none and has no line that is.
    """
    body = without_mark(body)
    if _is_json(body):
        yield from elements(body) if ARRAY_BEGIN.match(body) else (body,)
        return
    if not any(_is_json(line) for line in islice(lines(body), MOST_RESULTS)):
        raise NotOfThisFormat("neither JSON nor lines of JSON")
    yield from lines(body)


def elements(array: bytes) -> Iterator[bytes]:
    """The elements of an array that is known to be JSON."""
    begin = ARRAY_BEGIN.match(array)
    assert begin is not None, "it is an array"
    start, depth = begin.end(), 1
    for token in STRUCTURE.finditer(array, start):
        at, end = token.span()
        sign = array[at:end] if end - at == 1 else b"value"
        if sign in b"[{":
            depth += 1
        elif sign in b"]}":
            depth -= 1
        if depth == 0 or (depth == 1 and sign == b","):
            element = array[start:at].strip()
            if element:
                yield element
            start = end


def lines(body: bytes) -> Iterator[bytes]:
    """The lines of a body that are not empty, without the white space around them."""
    for line in _LINE.finditer(body):
        yield line[0].rstrip()


def without_mark(body: bytes) -> bytes:
    """A body without the byte order mark that some editors put before UTF-8."""
    return body.removeprefix(_BYTE_ORDER_MARK)


def first_object(body: bytes) -> bytes:
    """The object that a body begins with, alone or first in an array; empty with anything else, or a long one."""
    begin = len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0
    start = _OBJECT_BEGIN.match(body, begin, begin + _BEGIN_BYTES)
    found = None if start is None else OBJECT.match(body, start.end() - 1, start.end() + _BEGIN_BYTES)
    return b"" if found is None else found[0]


def read_each(
    items: Iterable[bytes], results_of: Callable[[bytes], Iterable[PingResult]], longest: str
) -> Iterator[PingResult | Unread]:
    """The results of each item, or why there are none; one of over MOST_ITEM_BYTES is longer than any `longest`."""
    for item in items:
        try:
            if len(item) > MOST_ITEM_BYTES:
                raise Refused(f"longer than any {longest}")
            yield from results_of(item)
        except (Refused, ValueError, ArithmeticError, RecursionError) as error:
            yield unread(error, item)


def _is_json(text: bytes) -> bool:
    try:
        _check(text)
    except (ValueError, RecursionError):
        return False
    return True
