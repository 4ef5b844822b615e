"""One result file: made, written, read and finished. Plain functions for the threads of the pools.

Inserting goes by statements of many rows, one a table where they fit, since SQLite runs without the GIL only inside one
statement: a statement a row lets a busy reactor thread slow the writer down a hundredfold.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from outputd.datadir import DataDir, journal_of, make_empty
from outputd.results import Batch, Rejected

APPLICATION_ID = 0x6F757470  # "outp"
SCHEMA_VERSION = 1
_MOST_ROWS = 256
_PAGE_BYTES = 8192
_CACHE_KIB = 16 * 1024

# sqlite3 asks Python for an adapter of each None, at ten times the price of an int, until one is registered.
sqlite3.register_adapter(type(None), cast(Callable[[None], None], {}.get))


class NewerFile(Exception):
    """A file under our mark was written by a newer outputd."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a result file says of itself; ids in the order result, batch, hop."""

    path: Path
    sequence: int
    created_at: str
    next_ids: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Written:
    """What a turn of the writer did: seconds in all and in the commit, the size of the file afterwards."""

    seconds: float
    commit_seconds: float
    size_bytes: int
    next_hop_id: int


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


class Damaged(Exception):
    """A file under our mark cannot be read; the text says why."""


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
            version = _pragma(db, "user_version")
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
        if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
            # locked, or not to be opened: that says nothing of what it holds
            raise sqlite3.OperationalError(f"{path.name}: {error}") from error
        raise Damaged(str(error)) from None
    result, batch, hop = (max(begin, (end or 0) + 1) for begin, end in zip(first, last, strict=True))
    return FileInfo(path, sequence, created_at, (result, batch, hop))


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


def create(directory: DataDir, sequence: int, next_ids: tuple[int, int, int], created_at: str, now_s: float) -> Path:
    """Make an empty result file aside and give it its name when it is whole and on disk."""
    made = directory.temporary("new")
    schema = importlib.resources.files("outputd").joinpath("schema.sql").read_text()
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


class Table:
    """Inserts rows from one flat list by one statement, or few, of sizes that stay compiled.

    Between two sizes the rest is filled with rows whose first column is NULL, which the statement passes over: each
    statement asks for the GIL several times, and a busy reactor thread makes it wait each time. The first column of
    a real row is never NULL.
    """

    def __init__(self, name: str, columns: str, most_variables: int, verb: str = "INSERT OR ROLLBACK") -> None:
        self._width = columns.count(",") + 1
        self._into = f"{verb} INTO {name} ({columns})"
        self._filler = [None, *[0] * (self._width - 1)]
        self._most_rows = min(_MOST_ROWS, 1 << (most_variables // self._width).bit_length() - 1)
        self._statements: dict[int, str] = {}

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


class Writer:
    """Writes batches into one file over the one connection that may; used in one thread at a time."""

    def __init__(self, db: sqlite3.Connection, most_rejected_bytes: int) -> None:
        variables = db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        self._pings = Table(
            "ping_results", "id,ip,sent,received,packet_loss,avg_rtt,timestamp,error,created_at", variables
        )
        self._traceroutes = Table("traceroute_results", "id,ping_result_id,method,completed,error", variables)
        self._hops = Table("traceroute_hops", "traceroute_id,ttl,ip,rtt,timeout", variables)
        self._first_hop = Table("traceroute_hops", "id,traceroute_id,ttl,ip,rtt,timeout", variables)
        last_hop_id = db.execute("SELECT max(id) FROM traceroute_hops").fetchone()[0]
        self._next_hop_id = None if last_hop_id is None else last_hop_id + 1
        self._spreads = Table("rtt_spread", "ping_result_id,min_rtt,max_rtt,stddev_rtt", variables)
        self._batches = Table("batches", "id,node,received_at,digest,key,first_id,last_id,accepted,rejected", variables)
        self._rejects = Table("rejected_results", "batch_id,item_index,field,reason,raw", variables)
        self._rejected_bytes = db.execute(
            "SELECT coalesce(sum(octets), 0) FROM (SELECT length(CAST(raw AS BLOB)) + length(CAST(reason AS BLOB))"
            " + length(field) AS octets FROM rejected_results)"
        ).fetchone()[0]
        self._most_rejected_bytes = most_rejected_bytes
        self._page_size = _pragma(db, "page_size")

    def write(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> Written:
        """Commit the batches in one transaction, on disk when it returns; all of them or none.

        Without a batch it proves that the file can be written.
        """
        started = time.perf_counter()
        pings, traceroutes, hops, spreads, rows = (_joined(batches, name) for name in _PARTS)
        rejects, octets = self._keep(batches)
        with transaction(db):
            self._pings.insert(db, pings)
            self._traceroutes.insert(db, traceroutes)
            next_hop_id = self._next_hop_id
            if next_hop_id is None:  # the first is given its id, those of the others follow it by themselves
                next_hop_id = db.execute("SELECT first_hop_id FROM result_file").fetchone()[0]
                self._first_hop.insert(db, [next_hop_id, *hops[: Batch.HOP_COLUMNS]] if hops else [])
                self._hops.insert(db, hops[Batch.HOP_COLUMNS :])
            else:
                self._hops.insert(db, hops)
            self._spreads.insert(db, spreads)
            self._batches.insert(db, rows)
            self._rejects.insert(db, rejects)
            if not batches:
                db.execute("UPDATE result_file SET probed_at = datetime('now')")
            inserted = time.perf_counter()
        committed = time.perf_counter()
        self._rejected_bytes += octets
        next_hop_id += sum(batch.hop_rows for batch in batches)
        if hops:
            self._next_hop_id = next_hop_id
        size = _pragma(db, "page_count") * self._page_size
        return Written(committed - started, committed - inserted, size, next_hop_id)

    def _keep(self, batches: Sequence[Batch]) -> tuple[list[Any], int]:
        rows: list[Any] = []
        octets = 0
        for batch in batches:
            for reject in batch.rejected:
                size = len(reject.raw) + len(reject.reason.encode()) + len(reject.field)
                if self._rejected_bytes + octets + size <= self._most_rejected_bytes:
                    octets += size
                    rows += (batch.id, reject.index, reject.field, reject.reason, _text(reject))
        return rows, octets


_PARTS = ("pings", "traceroutes", "hops", "spreads", "row")


def _joined(batches: Sequence[Batch], name: str) -> list[Any]:
    parts = [getattr(batch, name) for batch in batches]
    if len(parts) == 1:
        only: list[Any] = parts[0]
        return only
    joined: list[Any] = []
    for part in parts:
        joined += part
    return joined


def _text(reject: Rejected) -> str:
    return reject.raw.decode(errors="replace")  # a cut may have split a character


def prepare(db: sqlite3.Connection, wal_limit_bytes: int) -> None:
    """Make a connection the writer's: WAL, an fsync at each commit, checkpoints at wal_limit_bytes."""
    db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"PRAGMA wal_autocheckpoint={max(64, wal_limit_bytes // _pragma(db, 'page_size'))}")
    db.execute(f"PRAGMA journal_size_limit={wal_limit_bytes}")
    db.execute("PRAGMA busy_timeout=5000")


def begin(db: sqlite3.Connection, next_ids: tuple[int, int, int]) -> None:
    """Keep in a new file that older files end before these ids: it must hold when the older ones are gone."""
    db.execute("UPDATE result_file SET first_id=?, first_batch_id=?, first_hop_id=?", next_ids)


def begin_at(path: Path, next_ids: tuple[int, int, int]) -> None:
    """See begin, for a file that no connection has open."""
    with contextlib.closing(sqlite3.connect(uri(path, "rw"), uri=True, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=FULL")
        begin(db, next_ids)


def rescue(db: sqlite3.Connection, directory: DataDir, path: Path, over: bool) -> None:
    """Write what only this connection still has, since the file or its WAL was deleted, under the file's name again.

    `over` says that the file of this name is the connection's own, without its WAL, and to be replaced.
    """
    made = directory.temporary("rescued")
    try:
        make_empty(made)
        db.execute("VACUUM INTO ?", (str(made),))
        if over:
            os.replace(made, path)
            directory.sync()
        else:
            if not path.exists():  # its WAL is left, with pages that a new file of this name would take for its own
                directory.remove(path)
            directory.put_back(made, path)
    finally:
        made.unlink(missing_ok=True)


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


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
