"""A result file as a merge reads it: checked, never changed, and known by what is in it. Blocking."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from outputd.process.log import in_one_line
from outputd.sqlite.files import Identity, State, sight_of
from outputd.store.file import FileInfo, said_by
from outputd.store.resting import NotAtRest, check_rests, reading, understood

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
    seen: tuple[Identity, State] | None
    """Which file it is, when it was written last, and its size."""

    @property
    def is_named(self) -> bool:
        """Whether it says of which instance it is."""
        return self.info.instance is not None

    def check(self) -> None:
        """Raise NotMerged when the file is another than it was."""
        if sight_of(self.info.path) != self.seen:
            raise NotMerged(f"{in_one_line(str(self.info.path))}: it has changed meanwhile. Take a copy of it by /dump")

    def may_share_with(self, other: Source) -> bool:
        """Whether both may hold the same batch: two instances that have names never do."""
        if self.is_named and other.is_named and self.instance != other.instance:
            return False
        return max(self.batches.start, other.batches.start) < min(self.batches.stop, other.batches.stop)


def look(path: Path) -> Source | None:
    """Check a file, and see what is in it; None when that is nothing. Raises NotMerged, NewerFile, OSError."""
    try:
        with understood():
            seen = sight_of(path)
            check_rests(path)
            with reading(path) as db:
                return _source(db, said_by(db, path), seen)
    except NotAtRest as error:
        raise NotMerged(str(error)) from None


def _source(db: sqlite3.Connection, info: FileInfo, seen: tuple[Identity, State] | None) -> Source | None:
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
    return Source(info, instance, range(first[0], last[0] + 1), count, results, digest.hexdigest(), seen)
