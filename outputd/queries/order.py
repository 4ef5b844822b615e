"""The order of a list, and its pages: the next one goes on behind the last row of this one, by a cursor that holds it.

Nothing is kept between two pages. Sorted by its key, a list is the same whatever arrives: each row comes once. A row
whose value changes meanwhile can pass the cursor, in the direction of the change.
"""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec

from outputd.queries.parameters import BadQuestion, text, word
from outputd.queries.session import Session
from outputd.queries.tables import Column, Notes

PAGES = (
    "`Link` names the next page, which continues after the last row of this one. Sorted by name or address, each row"
    " comes once, whatever arrives meanwhile; sorted by another column, so does each row whose value does not change."
)
"""What is said of the pages of a list."""
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Place = tuple[str, _Number | float | str | None, list[str]]
"""A digest of what is asked and of the rest, the value that is sorted by, and the key."""
_STRANGE = "cursor must be that of a header Link, with the parameters that are there"
Direction = Annotated[
    str | None, word("Default: `asc` for names and addresses, else `desc`. Nulls are last.", "asc", "desc")
]
Cursor = Annotated[
    str | None, text("From the header `Link` of the page before; all other parameters stay as they are.")
]


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

    def notes(self, session: Session) -> Notes:
        """Where the next page goes on, if there may be one: behind the last row of temp.found."""
        asked = self._asked
        columns = ", ".join(f'"{name}"' for name in (asked.sort, *self._keys))
        last = session.row(f"SELECT {columns} FROM temp.found ORDER BY rowid DESC LIMIT 1")
        if last is None or session.value("SELECT count(*) FROM temp.found") < asked.limit:
            return Notes()
        value, *keys = last
        place = msgspec.json.encode((_digest(asked, value, keys), value, keys))
        return Notes({"cursor": urlsafe_b64encode(place).decode().rstrip("=")})


def order_of(asked: Sorted, *keys: str) -> Order:
    """The order that is asked for, of rows that have these columns as their key. Raises BadQuestion."""
    column = f'"{asked.sort}"'
    is_descending = (asked.order or ("asc" if asked.sort in keys else "desc")) == "desc"
    quoted = [f'"{key}"' for key in keys]
    by = ", ".join((f"{column} IS NULL", f"{column} {'DESC' if is_descending else 'ASC'}", *quoted))
    if asked.cursor is None:
        return Order(by, "true", {}, asked, keys)
    value, place = _read(asked, asked.cursor)
    if len(place) != len(keys):
        raise BadQuestion(_STRANGE)
    names = [f"key_{number}" for number, _ in enumerate(keys)]
    is_later = f"({', '.join(quoted)}) > ({', '.join(f':{name}' for name in names)})"
    behind = (
        f"{column} IS NULL AND {is_later}" if value is None else
        f"({column} IS NULL OR {column} {'<' if is_descending else '>'} :value OR {column} = :value AND {is_later})"
    )  # fmt: skip
    return Order(by, behind, {"value": value, **dict(zip(names, place, strict=True))}, asked, keys)


def _read(asked: Sorted, cursor: str) -> tuple[float | str | None, list[str]]:
    """The last row of the page before. Raises BadQuestion for a cursor that was made up, or is that of another list."""
    try:
        place = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        digest, value, keys = msgspec.json.decode(place, type=_Place)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise BadQuestion(_STRANGE) from None
    if digest != _digest(asked, value, keys):
        raise BadQuestion(_STRANGE)
    return value, keys


def _digest(asked: Any, value: object, keys: Sequence[str]) -> str:
    """What binds a cursor to its question: all that is asked but for the length of a page."""
    chosen = {name: said for name, said in dataclasses.asdict(asked).items() if name not in ("limit", "cursor")}
    whole = msgspec.json.encode([type(asked).__name__, chosen, value, list(keys)])
    return hashlib.blake2s(whole, digest_size=8, person=b"cursor").hexdigest()
