"""One result file: made, described and finished. Plain functions for the threads of the pools."""

from __future__ import annotations

import contextlib
import importlib.resources
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from outputd.process.trouble import Kind
from outputd.sqlite.connections import pragma, reading, uri
from outputd.sqlite.errors import Damaged, NewerFile, kind_of
from outputd.sqlite.files import journal_of, make_empty
from outputd.store.directory import DataDir
from outputd.store.ids import Ids

APPLICATION_ID = 0x6F757470  # "outp"
SCHEMA_VERSION = 1
_PAGE_BYTES = 8192


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a result file says of itself."""

    path: Path
    sequence: int
    created_at: str
    next_ids: Ids


def bears_our_mark(path: Path) -> bool:
    """Whether the header of a file says that it is ours. Only for files that no connection of this process has open."""
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return header[:16] == b"SQLite format 3\0" and header[68:72] == APPLICATION_ID.to_bytes(4)


def describe(path: Path) -> FileInfo:
    """What a file under our mark says of itself. Raises NewerFile, Damaged."""
    try:
        with reading(path) as db:
            version = pragma(db, "user_version")
            if version > SCHEMA_VERSION:
                raise NewerFile(f"{path} has schema version {version}, this outputd knows {SCHEMA_VERSION}: upgrade it")
            sequence, created_at, *first = db.execute(
                "SELECT sequence, created_at, first_id, first_batch_id, first_hop_id FROM result_file"
            ).fetchone()
            last = db.execute(
                "SELECT (SELECT max(id) FROM ping_results), (SELECT max(id) FROM batches),"
                " (SELECT max(id) FROM traceroute_hops)"
            ).fetchone()
    except (sqlite3.DatabaseError, TypeError) as error:
        if isinstance(error, sqlite3.OperationalError) and kind_of(error) is not Kind.FOREIGN:
            # locked, or not to be opened: that says nothing of what it holds
            raise sqlite3.OperationalError(f"{path.name}: {error}") from error
        raise Damaged(str(error)) from None
    ids = Ids(*(max(begin, (end or 0) + 1) for begin, end in zip(first, last, strict=True)))
    return FileInfo(path, sequence, created_at, ids)


def ours(directory: DataDir) -> tuple[list[FileInfo], dict[Path, str]]:
    """The result files of a directory, oldest first by the order kept in them, and the damaged ones with the reason."""
    found: list[FileInfo] = []
    damaged: dict[Path, str] = {}
    for path in filter(bears_our_mark, directory.databases()):
        try:
            _roll_back(path)
            found.append(describe(path))
        except Damaged as error:
            damaged[path] = str(error)
    return sorted(found, key=lambda info: (info.sequence, info.path.name)), damaged


def _roll_back(path: Path) -> None:
    """Take back what a crash interrupted while the file had no WAL: who only reads cannot, and would fail."""
    if journal_of(path).exists():
        with contextlib.closing(sqlite3.connect(uri(path, "rw"), uri=True, isolation_level=None)) as db:
            try:
                db.execute("SELECT 1 FROM sqlite_schema").fetchone()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                raise Damaged(str(error)) from None


def create(directory: DataDir, sequence: int, next_ids: Ids, created_at: str, now_s: float) -> Path:
    """Make an empty result file aside and give it its name when it is whole and on disk."""
    made = directory.temporary("new")
    schema = importlib.resources.files("outputd.store").joinpath("schema/1.sql").read_text()
    try:
        make_empty(made)
        with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as db:
            db.executescript(
                f"PRAGMA page_size={_PAGE_BYTES}; PRAGMA application_id={APPLICATION_ID};"
                f"PRAGMA user_version={SCHEMA_VERSION};"
                f"PRAGMA synchronous=FULL; BEGIN; {schema}; COMMIT;"
            )
            db.execute("INSERT INTO result_file VALUES (?,?,?,?,?,NULL)", (sequence, created_at, *next_ids))
        return directory.publish(made, now_s)
    finally:
        made.unlink(missing_ok=True)


def begin(db: sqlite3.Connection, next_ids: Ids) -> None:
    """Keep in a new file that older files end before these ids: it must hold when the older ones are gone."""
    db.execute("UPDATE result_file SET first_id=?, first_batch_id=?, first_hop_id=?", next_ids)


def begin_at(path: Path, next_ids: Ids) -> None:
    """See begin, for a file that no connection has open."""
    with contextlib.closing(sqlite3.connect(uri(path, "rw"), uri=True, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=FULL")
        begin(db, next_ids)


def finish(path: Path, analyse: bool = True) -> bool:
    """Make a file that nobody writes one self-contained file without WAL, analysed if it is closed for good.

    False while somebody still reads it.
    """
    try:
        with contextlib.closing(sqlite3.connect(uri(path, "rw"), uri=True, isolation_level=None, timeout=0)) as db:
            if db.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
                return True
            db.execute("PRAGMA wal_autocheckpoint=0")
            if analyse and not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchone():
                db.execute("PRAGMA analysis_limit=1000")
                db.execute("ANALYZE")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return bool(db.execute("PRAGMA journal_mode=DELETE").fetchone()[0] == "delete")
    except sqlite3.OperationalError:
        return not path.exists()  # pruned meanwhile, or still read
