"""Rows into a table by statements of many rows.

SQLite runs without the GIL only inside one statement: a statement a row lets a busy reactor thread slow the writer down
a hundredfold."""

from __future__ import annotations

import sqlite3
from typing import Any

_MOST_ROWS = 256


class Table:
    """Inserts rows from one flat list by one statement, or few, of sizes that stay compiled.

    Between two sizes the rest is filled with rows whose first column is NULL, which the statement passes over: each
    statement asks for the GIL several times, and a busy reactor thread makes it wait each time. The first column of
    a real row is never NULL.
    """

    def __init__(self, name: str, columns: str, most_variables: int, verb: str = "INSERT OR ROLLBACK") -> None:
        self.name = name
        self._width = columns.count(",") + 1
        self._into = f"{verb} INTO {name} ({columns})"
        self._filler = [None, *[0] * (self._width - 1)]
        self._most_rows = min(_MOST_ROWS, 1 << (most_variables // self._width).bit_length() - 1)
        self._statements: dict[int, str] = {}

    def let_go(self, db: sqlite3.Connection) -> None:
        """Have each statement keep nothing of what it has inserted: SQLite has its values until it gets others."""
        for size, statement in self._statements.items():
            db.execute(statement, self._filler * size)

    def insert(self, db: sqlite3.Connection, flat: list[Any]) -> int:
        """Insert all rows, in order; returns how many went in."""
        inserted, step = 0, self._most_rows * self._width
        for at in range(0, len(flat), step):
            part = flat if len(flat) <= step else flat[at : at + step]
            rows = len(part) // self._width
            size = _size_class(rows)
            filler = self._filler * (size - rows)
            inserted += db.execute(self._statement(size), part + filler if filler else part).rowcount
        return inserted

    def _statement(self, rows: int) -> str:
        statement = self._statements.get(rows)
        if statement is None:
            places = ",".join([f"({','.join('?' * self._width)})"] * rows)
            statement = f"{self._into} SELECT * FROM (VALUES {places}) WHERE column1 IS NOT NULL"
            self._statements[rows] = statement
        return statement


def _size_class(rows: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: powers of two, and the middles between them."""
    power = 1 << (rows - 1).bit_length()
    middle = power - (power >> 2)
    return middle if rows <= middle else power
