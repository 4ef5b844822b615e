"""Cuts a file of results into bodies for POST /results, the same ones at each reading, in bounded memory. Blocking.

A file is one JSON array, which is cut into bodies of at most 1000 results, or has a body a line, and those are sent as
they are; of another format it is an array, warts, or one body. Each may be compressed with gzip.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NoReturn

import msgspec

from outputd.sender.body import CUT_BYTES, CUT_RESULTS, Body
from outputd.sender.records import record_bodies
from outputd.sender.source import CHUNK_BYTES, MOST_BODY_BYTES, Broken, Source

_SPACE = " \t\r\n"
_CUT = re.compile(r"[ \t\r\n]*[-+.0-9eE]*\Z")  # no comma yet, and the item may be a number that goes on
_SPACES = frozenset(_SPACE)


def bodies(source: Source) -> Iterator[Body]:
    """The bodies of a file. Raises OSError, and Broken after the last body that can be read."""
    with source.opened() as (stream, position):
        cut = {"lines": _lines, "array": _array, "records": record_bodies, "whole": _whole}[source.layout]
        yield from cut(stream, position)


def items_of(data: bytes) -> list[msgspec.Raw] | None:
    """The items of a JSON array, None when it is none."""
    try:
        return msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return None


def _whole(stream: BinaryIO, position: Callable[[], int]) -> Iterator[Body]:
    data = stream.read(MOST_BODY_BYTES + 1)
    if len(data) > MOST_BODY_BYTES:
        yield Body(0, "all of it", b"", position(), 0, f"it is longer than {MOST_BODY_BYTES >> 20} MiB: split it")
    elif data:
        yield Body(0, "all of it", data, position(), len(data))


def _lines(stream: BinaryIO, position: Callable[[], int]) -> Iterator[Body]:
    number = 0
    for line_number, (line, is_whole) in enumerate(_bounded_lines(stream), 1):
        where = f"line {line_number}"
        if not is_whole:
            yield Body(number, where, b"", position(), 0, f"the line is longer than {MOST_BODY_BYTES >> 20} MiB")
        elif line:
            items = items_of(line)
            yield Body(number, where, line, position(), len(line) if items is None else len(items))
        else:
            continue
        number += 1


def _bounded_lines(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Each line without the white space around it, and whether it is whole: a too long one is not kept."""
    while line := stream.readline(MOST_BODY_BYTES + 2):
        stripped = line.strip()
        is_whole = len(stripped) <= MOST_BODY_BYTES and (line.endswith(b"\n") or len(line) < MOST_BODY_BYTES + 2)
        while not line.endswith(b"\n") and (line := stream.readline(CHUNK_BYTES)):
            pass
        yield stripped if is_whole else b"", is_whole


def _array(stream: BinaryIO, position: Callable[[], int]) -> Iterator[Body]:
    """Full bodies, and what is left at the end, also where the end is not a good one."""
    number = sent = size = 0
    batch: list[bytes] = []
    broken: Broken | None = None

    def body() -> Body:
        nonlocal number, sent, size
        where = f"items {sent} to {sent + len(batch) - 1}"
        made = Body(number, where, b"[" + b",".join(batch) + b"]", position(), len(batch))
        number, sent, size = number + 1, sent + len(batch), 0
        batch.clear()
        return made

    items = Items(stream)
    while True:
        try:
            item = items.next()
        except Broken as error:
            broken, item = error, None
        if batch and (item is None or len(batch) == CUT_RESULTS or size + len(item) + 2 > CUT_BYTES):
            yield body()
        if item is None:
            break
        batch.append(item)
        size += len(item) + 1
    if broken is not None:
        raise broken


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _past_space(text: str, at: int) -> int:
    while text[at : at + 1] in _SPACES:
        at += 1
    return at


class Items:
    """The items of an array, verbatim: Python's decoder only finds where each one ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        # Bytes that are no UTF-8 come out as they went in; whether to take them is for the service to say.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._end_of = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_no_constant).raw_decode
        self._text = ""
        self._at = 0
        self._over = False
        self._items = 0

    def next(self) -> bytes | None:
        """The next item, None after the last. Raises Broken."""
        if self._over:
            return None
        if not self._items:
            if self._character() != "[":
                raise Broken("it begins with no JSON array")
            self._at += 1
        if self._character() == "]":
            self._end()
            return None
        if self._items:  # a comma: `_item` has looked
            self._at += 1
            self._character()
        self._items += 1
        return self._item()

    def _item(self) -> bytes:
        while True:
            try:
                _, end = self._end_of(self._text, self._at)
            except (ValueError, RecursionError) as error:  # not JSON, or not yet
                self._or_more(str(error).partition(": line ")[0])
                continue
            if _CUT.match(self._text, end):
                self._or_more("the array has no end")
                continue
            if self._text[_past_space(self._text, end)] not in ",]":
                raise self._broken("no comma after it")
            item = self._text[self._at : end].encode("utf-8", "surrogateescape")
            self._at = end
            return item

    def _character(self) -> str:
        """The next one that is no white space."""
        while True:
            self._at = _past_space(self._text, self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            self._or_more("the array has no end")

    def _or_more(self, fault: str) -> None:
        """Read on; when there is nothing more, or the item is too long already, that is the fault."""
        held = self._text[self._at :]
        if len(held) > MOST_BODY_BYTES:
            raise self._broken(f"no JSON, or longer than {MOST_BODY_BYTES >> 20} MiB: {fault}")
        chunk = self._stream.read(max(CHUNK_BYTES, len(held)))
        if not chunk:
            raise self._broken(fault)
        self._text, self._at = held + self._utf8.decode(chunk), 0

    def _broken(self, fault: str) -> Broken:
        return Broken(f"it cannot be read from item {max(self._items - 1, 0)} on: {fault}")

    def _end(self) -> None:
        self._over = True
        self._at += 1
        rest = self._text[self._at :].strip(_SPACE)
        while not rest and (chunk := self._stream.read(CHUNK_BYTES)):
            rest = self._utf8.decode(chunk).strip(_SPACE)
        if rest:
            raise Broken("something follows the end of the array")
