"""The merged file while it is made: aside, a transaction for each file, and on again after a kill. Blocking."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from outputd.merge.plan import Run, Span, Step
from outputd.merge.source import BATCH_COLUMNS, NotMerged
from outputd.process.files import check_ours, publish
from outputd.sqlite.connections import transaction, writing
from outputd.sqlite.files import make_empty
from outputd.store.file import KNOWS_FORMATS, SCHEMA
from outputd.store.resting import attach

_CACHE_KIB = 4 * 1024  # indexes are sorted in it; one larger than the processor's cache takes twice as long
_INSTRUCTIONS = 1_000_000
"""Of SQLite's virtual machine, between two looks whether Ctrl-C was pressed: some hundredths of a second."""
_MERGED = """
-- Where rows come from: a row for each run of batches, with its ids here, and what the first one was in its instance.
CREATE TABLE merged (
  instance TEXT NOT NULL,             -- its random name; else creation, first id and first digest of the file
  source TEXT NOT NULL,               -- SHA-256 of the batches of the file
  first_batch_id INTEGER NOT NULL,
  last_batch_id INTEGER NOT NULL,
  old_batch_id INTEGER NOT NULL,
  first_id INTEGER,
  last_id INTEGER,
  old_id INTEGER,
  first_hop_id INTEGER,
  last_hop_id INTEGER,
  old_hop_id INTEGER
);
"""
_COPIES = (
    "INSERT INTO main.ping_results SELECT id + :id, ip, sent, received, packet_loss, avg_rtt, timestamp, error,"
    " created_at FROM part.ping_results WHERE id BETWEEN :first_id AND :last_id ORDER BY id",
    "INSERT INTO main.traceroute_results SELECT id + :id, ping_result_id + :id, method, completed, error"
    " FROM part.traceroute_results WHERE id BETWEEN :first_id AND :last_id ORDER BY id",
    "INSERT INTO main.traceroute_hops SELECT id + :hop, traceroute_id + :id, ttl, ip, rtt, timeout"
    " FROM part.traceroute_hops WHERE id BETWEEN :first_hop AND :last_hop"
    " AND traceroute_id BETWEEN :first_id AND :last_id ORDER BY id",
    "INSERT INTO main.rtt_spread SELECT ping_result_id + :id, min_rtt, max_rtt, stddev_rtt FROM part.rtt_spread"
    " WHERE ping_result_id BETWEEN :first_id AND :last_id ORDER BY ping_result_id",
    "INSERT INTO main.rejected_results (batch_id, item_index, field, reason, raw)"
    " SELECT batch_id + :batch, item_index, field, reason, raw FROM part.rejected_results"
    " WHERE batch_id BETWEEN :first_batch AND :last_batch ORDER BY id",
)
_BATCHES = (
    f"INSERT INTO main.batches ({BATCH_COLUMNS}{{more}})"
    " SELECT id + :batch, node, received_at, digest, key, first_id + :id, last_id + :id, accepted, rejected{more}"
    " FROM part.batches WHERE id BETWEEN :first_batch AND :last_batch ORDER BY id"
)
_RAW_BODIES = (
    "INSERT INTO main.raw_bodies SELECT batch_id + :batch, format, version, body FROM part.raw_bodies"
    " WHERE batch_id BETWEEN :first_batch AND :last_batch ORDER BY batch_id"
)


def aside_of(out: Path) -> Path:
    """The name of a merged file until it is whole."""
    return Path(f"{out}.tmp")


def make(out: Path, steps: Sequence[Step], tell: Callable[[int, Step], None]) -> None:
    """Make a file as it was planned, or go on where a kill has ended that; whole and on disk when it returns.

    `tell` hears of each file that was taken, with its number.

    Raises NotMerged, OSError, sqlite3.Error: SQLITE_INTERRUPT, too, when Ctrl-C ends a statement.
    """
    aside = aside_of(out)
    with contextlib.suppress(FileExistsError):
        make_empty(aside)
    check_ours(aside)
    with writing(aside, busy_ms=0) as db:
        db.set_progress_handler(_see_signals, _INSTRUCTIONS)
        db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA main.locking_mode=EXCLUSIVE")
        indexes = _begin(db, aside)
        done = db.execute("SELECT * FROM merged ORDER BY rowid").fetchall()
        if done != [row for step in steps for row in _rows(step)][: len(done)]:
            raise _not_of_these(aside)
        taken = 0
        for number, step in enumerate(steps, 1):
            taken += len(step.runs)
            if taken > len(done):
                _take(db, step)
            tell(number, step)
        for index in indexes:
            db.execute(index)
        _check(db)
        with transaction(db):
            db.execute("PRAGMA analysis_limit=1000")
            db.execute("ANALYZE")
    publish(aside, out)


def _see_signals() -> None:
    """A KeyboardInterrupt is raised within this; SQLite then ends the statement."""


def _begin(db: sqlite3.Connection, aside: Path) -> list[str]:
    """Make the tables, unless they are there; the indexes, which are made last."""
    with transaction(db, "BEGIN EXCLUSIVE"):
        there = {table for (table,) in db.execute("SELECT name FROM sqlite_schema")}
        tables, indexes = _layout()
        if not there:
            for statement in (*tables, _MERGED):
                db.execute(statement)
        elif "merged" not in there:
            raise _not_of_these(aside)
    return indexes


def _not_of_these(aside: Path) -> NotMerged:
    return NotMerged(f"{aside.name} is there, and was not made of these files: move it away, or delete it")


def _layout() -> tuple[list[str], list[str]]:
    """The tables of a result file that hold what was measured, and their indexes."""
    script = SCHEMA.directory.joinpath(f"{SCHEMA.version}.sql").read_text(encoding="utf-8")
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.executescript(script)
        made = db.execute("SELECT type, sql FROM sqlite_schema WHERE tbl_name != 'result_file' AND sql IS NOT NULL")
        statements = [(kind, sql) for kind, sql in made]
    indexes = [sql for kind, sql in statements if kind == "index"]
    indexes.append("CREATE INDEX hops_of ON traceroute_hops(traceroute_id)")
    return (
        [sql for kind, sql in statements if kind == "table"],
        [sql.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS") for sql in indexes],
    )


def _take(db: sqlite3.Connection, step: Step) -> None:
    attach(db, step.source.info.path, "part")
    try:
        with transaction(db):
            copies = _copies(step.source.info.version)
            for run in step.runs:
                _copy(db, run, copies)
            step.source.check()  # a service may have been started on it
            db.executemany("INSERT INTO merged VALUES (?,?,?,?,?,?,?,?,?,?,?)", _rows(step))
    finally:
        db.execute("DETACH part")


def _copies(version: int) -> list[str]:
    """The statements that copy what a file of this version has; batches before what belongs to them."""
    if version < KNOWS_FORMATS:
        return [_BATCHES.format(more=""), *_COPIES]
    return [_BATCHES.format(more=", format, time_from"), *_COPIES, _RAW_BODIES]


def _copy(db: sqlite3.Connection, run: Run, copies: Sequence[str]) -> None:
    values = {
        f"{what}{name}": value
        for name, span in zip(("batch", "id", "hop"), run, strict=True)
        for what, value in (("", span.offset), ("first_", span.first), ("last_", span.last))
    }
    for statement in copies:
        db.execute(statement, values)


def _rows(step: Step) -> list[tuple[object, ...]]:
    """Its rows of `merged`."""
    source = step.source
    return [(source.instance, source.digest, *(value for span in run for value in _place(span))) for run in step.runs]


def _place(span: Span) -> Iterator[int | None]:
    """Its ids in the merged file, and what the first one was; NULL where there are none."""
    if span.last < span.first:
        yield from (None, None, None)
    else:
        yield from (span.becomes, span.last + span.offset, span.first)


def _check(db: sqlite3.Connection) -> None:
    """Raise NotMerged when a row belongs to none."""
    lost = db.execute('SELECT "table" FROM pragma_foreign_key_check LIMIT 1').fetchone()
    if lost is not None:
        raise NotMerged(f"a row of {lost[0]} belongs to no other: one of the files is damaged")
