"""Answers in JSON, NDJSON and CSV, made a page at a time: how long one is, and how wide its rows are, nodes choose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Any, Literal

import msgspec

from outputd.queries.session import Session
from outputd.web.shapes import Schema, record

Format = Literal["json", "ndjson", "csv"]
Row = Mapping[str, Any]
PAGE_BYTES = 128 * 1024
"""Bytes of texts after which a page ends; one row alone may have more."""
ROWS_A_PAGE = 500
"""At most."""
_RUN = ("=", "+", "-", "@", "\t", "\n", "\r")
_PARTED = re.compile('[,;"\t\n\r]').search


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer: its name, what its values mean, and whether an object may do without it."""

    name: str
    schema: Schema
    is_optional: bool = False

    @property
    def kind(self) -> Literal["value", "number", "time", "flag", "json"]:
        """How its value is printed."""
        match self.schema.get("anyOf", [self.schema])[0]:
            case {"format": "date-time"}:
                return "time"
            case {"type": "boolean"}:
                return "flag"
            case {"type": "array"}:
                return "json"
            case {"type": "integer" | "number"}:
                return "number"
            case _:
                return "value"

    @property
    def octets(self) -> str:
        """SQL of the bytes of its value, where that may be a long text."""
        return f'coalesce(length(CAST("{self.name}" AS BLOB)), 0)' if self.kind in ("value", "json") else "0"

    @property
    def in_json(self) -> str:
        """SQL of its value for json_object."""
        match self.kind:
            case "json":
                return f'json("{self.name}")'
            case "flag":
                return f"""json(CASE WHEN "{self.name}" IS NULL THEN 'null' WHEN "{self.name}" THEN 'true'
                  ELSE 'false' END)"""
            case _:
                return self._text

    @property
    def in_csv(self) -> str:
        """SQL of its value as a field of RFC 4180; see `_field`."""
        text = f"coalesce({self._text}, '')"
        if self.kind == "flag":
            text = f"""CASE WHEN "{self.name}" IS NULL THEN '' WHEN "{self.name}" THEN 'true' ELSE 'false' END"""
        elif self.kind == "value":
            is_run = f"""typeof("{self.name}") = 'text' AND "{self.name}" GLOB '[=+@' || char(9, 10, 13) || '-]*'"""
            text = f"iif({is_run}, char(39), '') || {text}"
        if self.kind in (
            "flag",
            "number",
            "time",
        ):  # nothing in it is parted, and to look takes longer than to write it
            return text
        quoted = f"""'"' || replace({text}, '"', '""') || '"'"""
        return f"""iif({text} GLOB '*[,;"' || char(9, 10, 13) || ']*', {quoted}, {text})"""

    @property
    def _text(self) -> str:
        if self.kind == "time":
            return f"""substr("{self.name}", 1, 10) || 'T' || substr("{self.name}", 12) || 'Z'"""
        return f'"{self.name}"'


def row_of(what: str, columns: Sequence[Column]) -> Schema:
    """The schema of an object that has these columns."""
    required = {column.name: column.schema for column in columns if not column.is_optional}
    return record(what, required, {column.name: column.schema for column in columns if column.is_optional})


@dataclass(frozen=True, slots=True)
class Notes:
    """What is said of an answer beside it, so that it is known in every form."""

    following: Mapping[str, str] = field(default_factory=dict)
    """The parameters that the next page has beside those of this one; none when this is the last."""
    bucket_s: int | None = None
    """How long its buckets are, which may be longer than was asked; None where there are none."""
    is_gzipped: bool = False
    """Whether its bytes are compressed."""


@dataclass(slots=True)
class Table:
    """The rows of temp.answer, in the order of their rowids, under a name; `before` and `after` are further members.

    SQLite makes its text: a row never becomes a Python object.
    """

    session: Session
    name: str
    columns: Sequence[Column]
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    document: bytes | None = None
    """The whole answer in JSON, where it is not one list."""
    notes: Notes = field(default_factory=Notes)
    bring: Callable[[int], bool] = lambda _: False
    """Puts rows above this rowid in the place of those that are read; whether there were any more."""
    held_bytes: int = 0
    """What it will hold in scratch tables at most, when that is more than it holds before its first page."""
    source: str = "temp.answer"
    """What has the columns, by the rowids of temp.answer."""
    prepare: Callable[[int], object] = lambda _: None
    """Is called before a page is made of the rows above this rowid."""

    def pages(self, format: Format) -> Iterator[bytes]:
        """The answer in parts of bounded size; the first one takes the longest."""
        if format == "json" and self.document is not None:
            yield self.document
        elif format == "json":
            opening = b"".join(b"%s:%s," % (_json(name), _json(value)) for name, value in self.before.items())
            yield b"{%s%s:[" % (opening, _json(self.name))
            for number, page in enumerate(self._pages(self._object, ",")):
                yield b"," * bool(number) + page
            yield b"]%s}" % b"".join(b",%s:%s" % (_json(name), _json(value)) for name, value in self.after.items())
        elif format == "ndjson":
            for page in self._pages(self._object, "\n"):
                yield page + b"\n"
        else:
            yield ",".join(column.name for column in self.columns).encode() + b"\r\n"
            row = " || ',' || ".join(column.in_csv for column in self.columns)
            for page in self._pages(row, "\r\n"):
                yield page + b"\r\n"

    @property
    def _object(self) -> str:
        members = ", ".join(f"'{column.name}', {column.in_json}" for column in self.columns)
        return f"json_object({members})"

    def _pages(self, row: str, between: str) -> Iterator[bytes]:
        octets = " + ".join(column.octets for column in self.columns)
        statement = f"""
            SELECT CAST(group_concat(line, :between) AS BLOB), max(number) FROM (
              SELECT {row} AS line, rowid AS number FROM {self.source}
              WHERE rowid > :after AND rowid <= (
                SELECT max(number) FROM (
                  SELECT number, sum(octets) OVER (ORDER BY number) - octets AS before FROM (
                    SELECT rowid AS number, {octets} AS octets FROM {self.source}
                    WHERE rowid > :after ORDER BY rowid LIMIT {ROWS_A_PAGE}
                  )
                ) WHERE before < {PAGE_BYTES}
              ) ORDER BY rowid
            )"""
        after = 0
        while True:
            self.prepare(after)
            text, last = self.session.execute(statement, {"after": after, "between": between}).fetchone()
            if last is not None:
                yield text
                after = last
            elif not self.bring(after):
                return


@dataclass(slots=True)
class Rows:
    """Objects that `read` reads from the files a page at a time, when they are sent; in CSV its columns alone.

    What is in the files stays as it is, so nothing is held of what is still to come but where it stands.
    """

    session: Session
    columns: Sequence[Column]
    read: Callable[[], Iterator[Sequence[Row]]]
    document: tuple[bytes, bytes] | None = None
    """What stands before and after the objects, where the whole answer in JSON is not their list."""
    beside: Callable[[bytes], Row] = lambda _: {}
    """Makes of the document without objects what the first row of CSV has beside its columns.

    It may be as long as all that is left: nothing of it is held.
    """
    notes: Notes = field(default_factory=Notes)
    held_bytes: int = 0

    def pages(self, format: Format) -> Iterator[bytes]:
        """The answer in parts of bounded size. What is waited with, between two of them, holds none of either."""
        if format == "csv":
            names = [*(column.name for column in self.columns), *self._beside]
            pages = self.read()
            yield _line(names)
            yield _lines(names, self._with_beside(next(pages, [])))
            yield from map(partial(_lines, names), pages)
        elif format == "ndjson" and self.document is None:
            yield from map(_json_lines, self.read())
        else:
            ends = list(self.document or (b"[", b"]"))
            self.document = None  # it may be long, and so may the wait
            yield ends.pop(0)
            yield from map(_list_items, chain([b""], repeat(b",")), filter(None, self.read()))
            yield ends.pop() + b"\n" * (format == "ndjson")

    @property
    def _beside(self) -> Row:
        return {} if self.document is None else self.beside(b"".join(self.document))

    def _with_beside(self, rows: Sequence[Row]) -> Sequence[Row]:
        beside = self._beside
        self.document = None  # as above
        return [{**(rows[0] if rows else {}), **beside}, *rows[1:]] if beside else rows


def _lines(names: Sequence[str], rows: Sequence[Row]) -> bytes:
    return b"".join(_line([row.get(name) for name in names]) for row in rows)


def _json_lines(rows: Sequence[Row]) -> bytes:
    return b"".join(_json(row) + b"\n" for row in rows)


def _list_items(before: bytes, rows: Sequence[Row]) -> bytes:
    return before + _json(rows)[1:-1]


def _line(values: Sequence[object]) -> bytes:
    return f"{','.join(_field(value) for value in values)}\r\n".encode()


def _field(value: object) -> str:
    """A field of RFC 4180. A text that a spreadsheet would run begins with an apostrophe: nodes write texts.

    Quoted is also what has a separator by which a spreadsheet of another country would cut it.
    """
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    if not isinstance(value, str):
        return "" if value is None else _json(value).decode()
    text = f"'{value}" if value.startswith(_RUN) else value
    return '"{}"'.format(text.replace('"', '""')) if _PARTED(text) else text


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
