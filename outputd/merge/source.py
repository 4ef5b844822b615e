"""A result file as a merge reads it: checked, never changed, and known by what is in it. Blocking."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outputd.sqlite.connections import connect, uri
from outputd.sqlite.files import journal_of, size_of, wal_of
from outputd.store.directory import LOCK
from outputd.store.file import FileInfo, said_by
from outputd.store.inventory import bears_our_mark

BATCH_COLUMNS = "id, node, received_at, digest, key, first_id, last_id, accepted, rejected"


class NotMerged(Exception):
    """Files cannot be merged; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """A result file that holds batches."""

    info: FileInfo
    instance: str
    """Its random name; of a file without one its creation, its first id and the digest of its first batch."""
    batches: range
    """From the first id to the last, with gaps perhaps."""
    count: int
    """Its batches."""
    results: int
    digest: str
    """SHA-256 of what it says of its batches."""

    @property
    def is_named(self) -> bool:
        """Whether it says of which instance it is."""
        return self.info.instance is not None

    def may_share_with(self, other: Source) -> bool:
        """Whether both may hold the same batch: two instances that have names never do."""
        if self.is_named and other.is_named and self.instance != other.instance:
            return False
        return max(self.batches.start, other.batches.start) < min(self.batches.stop, other.batches.stop)


def look(path: Path) -> Source | None:
    """Check a file, and see what is in it; None when that is nothing. Raises NotMerged, NewerFile, OSError."""
    _check_rests(path)
    try:
        with reading(path) as db:
            return _source(db, said_by(db, path))
    except TypeError:  # None is no row
        raise NotMerged("it does not say what it is") from None
    except sqlite3.DatabaseError as error:
        raise NotMerged(f"it cannot be read: {error}") from None


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that neither changes a file at rest nor locks it, closed at the end."""
    with contextlib.closing(connect(path, AT_REST)) as db:
        yield db


AT_REST = "ro&immutable=1"
"""The mode of such a connection."""


def attach(db: sqlite3.Connection, path: Path, name: str) -> None:
    """Attach a file at rest to a connection."""
    db.execute(f"ATTACH ? AS {name}", (uri(path, AT_REST),))


def _check_rests(path: Path) -> None:
    """Raise NotMerged unless it is a result file of ours that is whole without a WAL."""
    path.stat()  # of one that is not there it says so
    if not bears_our_mark(path):
        raise NotMerged("it is no result file of outputd")
    if wal_of(path).exists() and _is_in_use(path.parent):
        raise NotMerged(
            "a running outputd writes it, or has just closed it. Take the current file by: curl -fsS"
            " http://localhost:8081/dump -o current.db"
        )
    if size_of(wal_of(path)) or size_of(journal_of(path)):
        raise NotMerged(
            "a part of it is in the -wal or -journal beside it. Start and stop outputd on its directory, or copy it by:"
            " sqlite3 FILE '.backup copy.db'"
        )


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


def _source(db: sqlite3.Connection, info: FileInfo) -> Source | None:
    digest, first, last, count, accepted = hashlib.sha256(), None, None, 0, 0
    for row in db.execute(f"SELECT {BATCH_COLUMNS} FROM batches ORDER BY id"):
        digest.update(repr(row).encode())
        first, last, count, accepted = first or row, row, count + 1, accepted + row[7]
    (results,) = db.execute("SELECT count(*) FROM ping_results").fetchone()
    if results > accepted:
        raise NotMerged(f"{results - accepted} of its results belong to no batch")
    if first is None or last is None:
        return None
    (first_id,) = db.execute("SELECT first_id FROM result_file").fetchone()
    instance = info.instance or f"{info.created_at} {first_id} {first[3].hex()}"
    return Source(info, instance, range(first[0], last[0] + 1), count, results, digest.hexdigest())
