"""One result file: made, described and finished. Plain functions for the threads of the pools."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass, replace
from importlib.resources import files as files_of
from pathlib import Path

from outputd.process.trouble import Kind
from outputd.sqlite.connections import connect, pragma, reading, writing
from outputd.sqlite.errors import Damaged, kind_of
from outputd.sqlite.files import is_replaced, let_go, make_empty
from outputd.sqlite.schema import Schema
from outputd.store.directory import DataDir
from outputd.store.ids import Ids

SCHEMA = Schema(files_of("outputd.store") / "schema", 3, application_id=0x6F757470)  # "outp"
_NAMES_INSTANCE = 2
KNOWS_FORMATS = 3
"""The version of the first files whose batches say of which format they were."""
_PAGE_BYTES = 4096
"""A commit of one result changes a dozen pages, each of which goes to disk whole, twice: larger ones would double that.
"""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a result file says of itself."""

    path: Path
    sequence: int
    created_at: str
    first_batch_id: int
    """The id of its first batch; without any, that which the first will have."""
    next_ids: Ids
    version: int
    instance: str | None
    """The random name of its instance, which files before version 2 lack."""

    @property
    def last_batch_id(self) -> int:
        """The id of its last batch; without any, that before the one which the first will have."""
        return self.next_ids.batch - 1


def new_instance() -> str:
    """A name that no other instance has."""
    return os.urandom(16).hex()


def describe(path: Path) -> FileInfo:
    """What a file under our mark says of itself. Raises NewerFile, Damaged."""
    try:
        with reading(path) as db:
            return said_by(db, path)
    except TypeError:  # None is no row
        raise Damaged("it does not say what it is") from None
    except sqlite3.DatabaseError as error:
        if kind_of(error) in (Kind.DAMAGED, Kind.FOREIGN):
            raise Damaged(str(error)) from None
        # locked, or not to be opened: that says nothing of what it holds
        raise sqlite3.OperationalError(f"{path.name}: {error}") from error


def said_by(db: sqlite3.Connection, path: Path) -> FileInfo:
    """What a file of this path says of itself over a connection. Raises NewerFile, TypeError, sqlite3.Error."""
    version = SCHEMA.version_of(db)
    sequence, created_at = place_of(db)
    first = db.execute("SELECT first_id, first_batch_id, first_hop_id FROM result_file").fetchone()
    last = db.execute(
        "SELECT (SELECT max(id) FROM ping_results), (SELECT max(id) FROM batches),"
        " (SELECT max(id) FROM traceroute_hops)"
    ).fetchone()
    first_batch_id = db.execute("SELECT min(id) FROM batches").fetchone()[0]
    instance = instance_of(db, version)
    ids = Ids(*(max(begin, (end or 0) + 1) for begin, end in zip(first, last, strict=True)))
    return FileInfo(path, sequence, created_at, first_batch_id or ids.batch, ids, version, instance)


def place_of(db: sqlite3.Connection) -> tuple[int, str]:
    """What tells a file and its copies from others: its sequence and its creation. Raises TypeError without."""
    sequence, created_at = db.execute("SELECT sequence, created_at FROM result_file").fetchone()
    return sequence, created_at


def instance_of(db: sqlite3.Connection, version: int) -> str | None:
    """The random name of the instance of a file of this version; None before there were any. Raises TypeError."""
    if version < _NAMES_INSTANCE:
        return None
    (instance,) = db.execute("SELECT instance FROM result_file").fetchone()
    return None if instance is None else str(instance)


def is_still(info: FileInfo) -> bool:
    """Whether what has the name of a file is that file or a copy of it, and not somebody else's."""
    if is_replaced(info.path) or (info.path.exists() and not info.path.is_file()):
        return False
    try:
        with reading(info.path) as db:
            application_id = pragma(db, "application_id")
            place = place_of(db)
    except TypeError:  # None is no row
        return False
    except sqlite3.DatabaseError as error:
        is_no_database = error.sqlite_errorcode == sqlite3.SQLITE_NOTADB
        return not is_no_database and kind_of(error) is not Kind.FOREIGN  # gone, locked or damaged it is nobody else's
    return (application_id, place) == (SCHEMA.application_id, (info.sequence, info.created_at))


def create(directory: DataDir, sequence: int, next_ids: Ids, created_at: str, now_s: float, instance: str) -> Path:
    """Make an empty result file aside and give it its name when it is whole and on disk."""
    made = directory.temporary("new")
    try:
        make_empty(made)
        with writing(made) as db:
            db.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            db.execute("PRAGMA synchronous=FULL")
            SCHEMA.bring_up(db)
            db.execute("INSERT INTO result_file VALUES (?,?,?,?,?,NULL,?)", (sequence, created_at, *next_ids, instance))
        return directory.publish(made, now_s)
    finally:
        made.unlink(missing_ok=True)


def begin(db: sqlite3.Connection, next_ids: Ids) -> None:
    """Keep in a new file that older files end before these ids: it must hold when the older ones are gone."""
    db.execute("UPDATE result_file SET first_id=?, first_batch_id=?, first_hop_id=?", next_ids)


def begin_at(path: Path, next_ids: Ids) -> None:
    """See begin, for a file that no connection has open."""
    with writing(path) as db:
        db.execute("PRAGMA synchronous=FULL")
        begin(db, next_ids)


def bring_up(info: FileInfo) -> FileInfo:
    """Take a file that goes on being written to the newest version. Raises Damaged, sqlite3.Error.

    Those that are closed never change: they are read as they are.
    """
    try:
        with writing(info.path) as db:
            SCHEMA.bring_up(db)
            instance = instance_of(db, SCHEMA.version)
    except sqlite3.DatabaseError as error:
        if kind_of(error) is Kind.DAMAGED:
            raise Damaged(str(error)) from None
        raise
    return replace(info, version=SCHEMA.version, instance=instance)


def is_analysed(path: Path) -> bool:
    """Whether a file was given its last form, in which it stays: that is done to closed ones alone."""
    try:
        with reading(path) as db:
            return _has_statistics(db)
    except sqlite3.DatabaseError as error:
        raise sqlite3.OperationalError(f"{path.name}: {error}") from error


def _has_statistics(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchone() is not None


def keep_wal(path: Path) -> sqlite3.Connection:
    """A connection for as long as whose life the WAL stays, when others close theirs: SQLite takes it for a reader."""
    db = connect(path, "ro")
    try:
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def finish(path: Path, analyse: bool = True) -> bool:
    """Make a file that nobody writes one self-contained file without WAL, analysed if it is closed for good.

    False while somebody still reads it. Its WAL stays until all is done, so that a file without one changes no more.
    """
    with contextlib.ExitStack() as last:
        try:
            with writing(path, busy_ms=0) as db:
                try:
                    _finish(db, analyse)
                except sqlite3.OperationalError:
                    last.callback(keep_wal(path).close)
                    raise
        except sqlite3.OperationalError:
            return not path.exists()  # pruned meanwhile, or still read
    let_go(path)
    return True


def _finish(db: sqlite3.Connection, analyse: bool) -> None:
    if db.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
        return
    db.execute("PRAGMA wal_autocheckpoint=0")
    if analyse and not _has_statistics(db):
        db.execute("PRAGMA analysis_limit=1000")
        db.execute("ANALYZE")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if db.execute("PRAGMA journal_mode=DELETE").fetchone()[0] != "delete":
        raise sqlite3.OperationalError("it keeps its WAL")
