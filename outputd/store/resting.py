"""Result files at rest, wherever they were taken to: read as they are, neither changed nor locked. Blocking."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from outputd.sqlite.connections import connect, uri
from outputd.sqlite.files import journal_of, size_of, wal_of
from outputd.store.directory import LOCK
from outputd.store.inventory import bears_our_mark

_AT_REST = "ro&immutable=1"
_HALF_MADE = "it is not complete: run outputd-merge again, with the same files"


class NotAtRest(Exception):
    """A file is none of ours, cannot be read, or somebody writes it; the text says so, and what to do."""


def check_rests(path: Path) -> None:
    """Raise NotAtRest unless it is a result file of ours that is whole without a WAL. Raises OSError."""
    path = path.resolve(strict=True)  # a WAL is beside the file, not beside a link to it
    if not path.is_file() or not bears_our_mark(path):  # a pipe would keep us waiting
        raise NotAtRest("it is no result file of outputd")
    if wal_of(path).exists() and _is_in_use(path.parent):
        raise NotAtRest(
            "a running outputd writes it, or has just closed it. Take the current file by: curl -fsS"
            " http://localhost:8081/dump -o current.db"
        )
    if size_of(wal_of(path)) or size_of(journal_of(path)):
        raise NotAtRest(
            "a part of it is in the -wal or -journal beside it. Start and stop outputd on its directory, or copy it by:"
            " sqlite3 FILE '.backup copy.db'"
        )


def is_merged(path: Path) -> bool:
    """Whether a file is a database that outputd-merge made. Raises NotAtRest when it is not complete.

    Raises OSError, ValueError and sqlite3.Error, too.
    """
    path = path.resolve(strict=True)
    if not path.is_file() or bears_our_mark(path):
        return False
    if size_of(journal_of(path)):
        raise NotAtRest(_HALF_MADE)
    try:
        with reading(path) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            return False
        raise
    if "merged" in tables and "sqlite_stat1" not in tables:  # its statistics are made last
        raise NotAtRest(_HALF_MADE)
    return "merged" in tables


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Within it, what is read and is not what outputd writes is NotAtRest."""
    try:
        yield
    except (TypeError, ValueError):  # None is no row, and a text no number
        raise NotAtRest("it does not say what it is") from None
    except sqlite3.DatabaseError as error:
        raise NotAtRest(f"it cannot be read: {error}") from None


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file at rest, closed at the end."""
    with contextlib.closing(connect(path, _AT_REST)) as db:
        yield db


def attach(db: sqlite3.Connection, path: Path, name: str) -> None:
    """Attach a file at rest to a connection."""
    db.execute(f"ATTACH ? AS {name}", (uri(path, _AT_REST),))


def _is_in_use(directory: Path) -> bool:
    try:
        handle = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
