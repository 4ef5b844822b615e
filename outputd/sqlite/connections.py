"""Connections as this house uses them: by URI, in one transaction, never making a file."""

from __future__ import annotations

import contextlib
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

VERSION = sqlite3.sqlite_version
"""SQLite's."""

# sqlite3 asks Python for an adapter of each None, at ten times the price of an int, until one is registered.
sqlite3.register_adapter(type(None), cast(Callable[[None], None], {}.get))


def uri(path: Path, mode: str) -> str:
    """The SQLite URI of a file; mode `rw` never makes one."""
    return f"file:{urllib.parse.quote(str(path.absolute()))}?mode={mode}"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection that never checkpoints, closed at the end."""
    db = sqlite3.connect(uri(path, "ro"), uri=True, isolation_level=None, timeout=5, check_same_thread=False)
    try:
        db.execute("PRAGMA wal_autocheckpoint=0")
        yield db
    finally:
        db.close()


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done within, or roll all of it back."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def pragma(db: sqlite3.Connection, name: str) -> int:
    """The value of a PRAGMA that is a whole number."""
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
