"""Answers in JSON, NDJSON and CSV, made by SQLite a page at a time: a row never becomes a Python object."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from outputd.queries.session import Session
from outputd.web.shapes import Schema, record

Format = Literal["json", "ndjson", "csv"]
_ROWS_A_PAGE = 500
_RUN = ("=", "+", "-", "@", "\t", "\n", "\r")
_PARTED = re.compile('[,;"\t\n\r]').search


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer: its name, what its values mean, and whether an object may do without it."""

    name: str
    schema: Schema
    is_optional: bool = False

    @property
    def kind(self) -> Literal["value", "time", "flag", "json"]:
        """How its value is printed."""
        match self.schema.get("anyOf", [self.schema])[0]:
            case {"format": "date-time"}:
                return "time"
            case {"type": "boolean"}:
                return "flag"
            case {"type": "array"}:
                return "json"
            case _:
                return "value"

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


@dataclass(slots=True)
class Table:
    """The rows of temp.answer, in the order of their rowids, under a name; `before` and `after` are further members."""

    session: Session
    name: str
    columns: Sequence[Column]
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    document: bytes | None = None
    """The whole answer in JSON, where it is not one list."""

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
        statement = (
            f"SELECT group_concat(line, :between), max(number) FROM (SELECT {row} AS line, rowid AS number"
            f" FROM temp.answer WHERE rowid > :after ORDER BY rowid LIMIT {_ROWS_A_PAGE})"
        )
        after = 0
        while True:
            text, last = self.session.execute(statement, {"after": after, "between": between}).fetchone()
            if last is None:
                return
            yield text.encode()
            after = last


@dataclass(slots=True)
class Rows:
    """A short list of objects, as it is; in CSV its columns alone."""

    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[Column]
    document: Any = None
    """The whole answer in JSON, where it is not the list."""
    following: Mapping[str, str] = field(default_factory=dict)
    """The parameters that the next page has beside those of this one; none when this is the last."""

    def pages(self, format: Format) -> Iterator[bytes]:
        """The answer, in one part."""
        if format == "json":
            yield _json(self.rows if self.document is None else self.document)
        elif format == "ndjson":
            whole = self.rows if self.document is None else [self.document]
            yield b"".join(_json(row) + b"\n" for row in whole)
        else:
            lines = [[column.name for column in self.columns]]
            lines += [[_field(row.get(column.name)) for column in self.columns] for row in self.rows]
            yield "".join(f"{','.join(line)}\r\n" for line in lines).encode()


def _field(value: object) -> str:
    """A field of RFC 4180. A text that a spreadsheet would run begins with an apostrophe: nodes write texts.

    Quoted is also what has a separator by which a spreadsheet of another country would cut it.
    """
    if not isinstance(value, str):
        return "" if value is None else _json(value).decode()
    text = f"'{value}" if value.startswith(_RUN) else value
    return '"{}"'.format(text.replace('"', '""')) if _PARTED(text) else text


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
