"""Connections as this house uses them: by URI, never making a file, one transaction at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

from outputd.sqlite.errors import corrupt
from outputd.sqlite.files import is_replaced

VERSION = sqlite3.sqlite_version
"""SQLite's."""
BUSY_MS = 5000
"""So long a connection waits for a lock."""
_LEAST_CHECKPOINT_PAGES = 64
_MALFORMED = "malformed database schema"

# sqlite3 asks Python for an adapter of each None, at ten times the price of an int, until one is registered.
sqlite3.register_adapter(type(None), cast(Callable[[None], None], {}.get))


def uri(path: Path, mode: str) -> str:
    """The SQLite URI of a file, of whichever bytes its name is; mode `rw` never makes one.

    Raises OperationalError where another file was put there.
    """
    if is_replaced(path):
        error = sqlite3.OperationalError(f"{path.name} was replaced by another file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error
    return f"file:{urllib.parse.quote(os.fsencode(path.absolute()))}?mode={mode}"


class Connection(sqlite3.Connection):
    """One that raises SQLite's errors for a damaged file, also where the message cannot be decoded."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As sqlite3 has it."""
        try:
            return super().execute(sql, parameters)
        except UnicodeDecodeError:
            raise corrupt(_MALFORMED) from None

    def executescript(self, sql: str, /) -> sqlite3.Cursor:
        """As sqlite3 has it."""
        try:
            return super().executescript(sql)
        except UnicodeDecodeError:
            raise corrupt(_MALFORMED) from None


def connect(path: Path, mode: str = "rw", busy_ms: int = BUSY_MS) -> sqlite3.Connection:
    """A connection to a file that is there, for one thread at a time; a statement outside a transaction is one."""
    return sqlite3.connect(
        uri(path, mode), uri=True, isolation_level=None, check_same_thread=False, timeout=busy_ms / 1000,
        factory=Connection,
    )  # fmt: skip


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection that never checkpoints, closed at the end."""
    with contextlib.closing(connect(path, "ro")) as db:
        db.execute("PRAGMA wal_autocheckpoint=0")
        yield db


@contextlib.contextmanager
def writing(path: Path, busy_ms: int = BUSY_MS) -> Iterator[sqlite3.Connection]:
    """A connection to a file that no other connection of ours writes, closed at the end."""
    with contextlib.closing(connect(path, busy_ms=busy_ms)) as db:
        yield db


def write_ahead(
    db: sqlite3.Connection, synchronous: Literal["FULL", "NORMAL"], cache_kib: int, checkpoint_bytes: int,
    keep_bytes: int,
) -> None:  # fmt: skip
    """Make a connection the writer of its file by a WAL: FULL fsyncs each commit, NORMAL each checkpoint alone.

    A checkpoint comes when the WAL has `checkpoint_bytes`, and cuts it back to `keep_bytes` at most.
    """
    db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    db.execute(f"PRAGMA cache_size=-{cache_kib}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={synchronous}")
    pages = max(_LEAST_CHECKPOINT_PAGES, checkpoint_bytes // pragma(db, "page_size"))
    db.execute(f"PRAGMA wal_autocheckpoint={pages}")
    db.execute(f"PRAGMA journal_size_limit={keep_bytes}")


@contextlib.contextmanager
def transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit what is done within, or roll all of it back."""
    db.execute(begin)
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
