"""What a database is made of, to compare one with another."""

from __future__ import annotations

import sqlite3
from typing import Any


def layout(db: sqlite3.Connection) -> list[Any]:
    """What tables, columns, indexes and triggers there are, however they came to be."""
    found: list[Any] = []
    names = db.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY type, name").fetchall()
    for kind, name, table in names:
        what = {"table": ("table_xinfo", "foreign_key_list"), "index": ("index_xinfo",)}.get(kind, ())
        found.append((kind, name, table, [db.execute(f"PRAGMA {each}({name})").fetchall() for each in what]))
    return found
