"""The order of a list, and its pages, of which each row comes once, whatever arrives between two of them.

Sorted by its key, a list goes on behind the last row of a page: the cursor holds it, and nothing is kept. Any other
value can change meanwhile, so that a row would pass the cursor: such a list goes on with what no page has sent yet.
"""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec

from outputd.queries.parameters import BadQuestion, flag, text, word
from outputd.queries.sent import new_name
from outputd.queries.session import Session
from outputd.queries.tables import Column, Notes
from outputd.web.shapes import Schema, count

PAGES = (
    "`Link` names the next page. Each row comes once, whatever arrives meanwhile: a page has the first of the rows that"
    " no page before it had."
)
"""What is said of the pages of a list."""
_Place = tuple[str, str, list[str]]
"""A digest of what is asked and of the rest, the value that is sorted by, and the key."""
_PAGE = re.compile(r"([0-9a-f]{16})([0-9a-f]{32})")
"""A digest of what is asked, and the name of a page in Sent."""
_SOME = 4096
_OF_A_PAGE = ("limit", "cursor", "total")
"""What may differ between two pages of a list."""
_STRANGE = "cursor must be that of a header Link, with the parameters that are there"
Direction = Annotated[
    str | None, word("Default: `asc` for names and addresses, else `desc`. Nulls are last.", "asc", "desc")
]
Cursor = Annotated[
    str | None, text("From the header `Link` of the page before; all other parameters stay as they are.")
]
Total = Annotated[
    bool | None, flag("true: say in JSON how many rows all pages have, as `total`. It costs another count.")
]
TOTAL: Mapping[str, Schema] = {"total": count("rows of all pages, where that was asked for")}
"""The member that says so."""


class Sorted(Protocol):
    """What is asked of a list that has an order."""

    @property
    def limit(self) -> int:
        """The most rows of a page."""

    @property
    def sort(self) -> str:
        """The column to sort by."""

    @property
    def order(self) -> str | None:
        """asc or desc; None for what is usual."""

    @property
    def cursor(self) -> str | None:
        """Where the page begins."""


def sort_by(columns: Sequence[Column], *others: str) -> Any:
    """The kind of parameter that says by which of these columns is sorted."""
    names = [column.name for column in columns if column.name not in others]
    return word("The column to sort by; equal rows are sorted by their names or addresses, as text.", *names)


@dataclass(frozen=True, slots=True)
class Order:
    """The order that is asked for, as SQL for a statement that has the columns of the answer."""

    by: str
    behind: str
    """The condition of the rows of this page and later ones."""
    parameters: Mapping[str, Any]
    _asked: Sorted
    _keys: Sequence[str]
    _before: str | None = None
    """The name of the page before this one in Sent."""

    def notes(self, session: Session) -> Notes:
        """Where the next page goes on, if there may be one: after the rows of temp.found."""
        asked = self._asked
        if session.value("SELECT count(*) FROM temp.found") < asked.limit:
            return Notes()
        if asked.sort in self._keys:
            columns = ", ".join(f'"{name}"' for name in (asked.sort, *self._keys))
            value, *keys = session.row(f"SELECT {columns} FROM temp.found ORDER BY rowid DESC LIMIT 1")
            place = msgspec.json.encode((_digest(asked, value, keys), value, keys))
            return Notes({"cursor": urlsafe_b64encode(place).decode().rstrip("=")})
        question = _digest(asked)
        return Notes({"cursor": question + session.sent.add(question, self._before, self._sent(session))})

    def promise(self, session: Session) -> tuple[Notes, Callable[[], None]]:
        """Where the next page goes on, before the rows of this one are found; and what is to be called once they are.

        The list is not sorted by its key.
        """
        question, name = _digest(self._asked), new_name()

        def keep() -> None:
            session.sent.add(question, self._before, self._sent(session), name)

        return Notes({"cursor": question + name}), keep

    def _sent(self, session: Session) -> Iterator[str]:
        """The keys of temp.found, some at a time: all of a long page at once would take many times their bytes."""
        some = f"""
            SELECT json_group_array(key) FROM (
              SELECT {_one(self._keys)} AS key FROM temp.found
              WHERE rowid > :after AND rowid <= :after + {_SOME} ORDER BY key
            )"""
        for after in range(0, session.value("SELECT count(*) FROM temp.found"), _SOME):
            yield session.value(some, {"after": after})


def order_of(session: Session, asked: Sorted, *keys: str) -> Order:
    """The order that is asked for, of rows that have these columns as their key. Raises BadQuestion and Gone."""
    column = f'"{asked.sort}"'
    is_descending = (asked.order or ("asc" if asked.sort in keys else "desc")) == "desc"
    quoted = [f'"{key}"' for key in keys]
    by = ", ".join((f"{column} IS NULL", f"{column} {'DESC' if is_descending else 'ASC'}", *quoted))
    if asked.cursor is None:
        return Order(by, "true", {}, asked, keys)
    if asked.sort not in keys:
        before = _page_before(asked, asked.cursor)
        session.execute("CREATE TEMP TABLE sent (key TEXT PRIMARY KEY) WITHOUT ROWID")
        for sent in session.sent.until(before):
            session.execute("INSERT OR IGNORE INTO temp.sent SELECT value FROM json_each(:sent)", {"sent": sent})
        return Order(by, f"{_one(keys)} NOT IN (SELECT key FROM temp.sent)", {}, asked, keys, before)
    value, place = _last_row(asked, asked.cursor)
    if len(place) != len(keys):
        raise BadQuestion(_STRANGE)
    names = [f"key_{number}" for number, _ in enumerate(keys)]
    is_later = f"({', '.join(quoted)}) > ({', '.join(f':{name}' for name in names)})"
    behind = f"({column} {'<' if is_descending else '>'} :value OR {column} = :value AND {is_later})"
    return Order(by, behind, {"value": value, **dict(zip(names, place, strict=True))}, asked, keys)


def total_of(session: Session, asked: Any, rows: str, parameters: Mapping[str, Any]) -> Mapping[str, int]:
    """How many rows this SQL has, as a member of the answer, if that is asked for."""
    return {"total": session.value(f"SELECT count(*) FROM ({rows})", parameters)} if asked.total else {}


def _one(keys: Sequence[str]) -> str:
    """SQL of a key as one text; of several columns, each is an address."""
    return " || ' ' || ".join(f'"{key}"' for key in keys)


def _page_before(asked: Sorted, cursor: str) -> str:
    """The name of the page before. Raises BadQuestion for a cursor that was made up, or is that of another list."""
    said = _PAGE.fullmatch(cursor)
    if said is None or said[1] != _digest(asked):
        raise BadQuestion(_STRANGE)
    return said[2]


def _last_row(asked: Sorted, cursor: str) -> tuple[str, list[str]]:
    """The last row of the page before, for a list sorted by its key. Raises BadQuestion, as above."""
    try:
        place = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        digest, value, keys = msgspec.json.decode(place, type=_Place)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise BadQuestion(_STRANGE) from None
    if digest != _digest(asked, value, keys):
        raise BadQuestion(_STRANGE)
    return value, keys


def _digest(asked: Any, value: object = None, keys: Sequence[str] = ()) -> str:
    """What binds a cursor to its question: all that is asked but for what is said of a page."""
    chosen = {name: said for name, said in dataclasses.asdict(asked).items() if name not in _OF_A_PAGE}
    whole = msgspec.json.encode([type(asked).__name__, chosen, value, list(keys)])
    return hashlib.blake2s(whole, digest_size=8, person=b"cursor").hexdigest()
