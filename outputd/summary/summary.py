"""The summary (summary.sqlite3): what the result files' own indexes cannot answer cheaply, counted file by file.

It is made from the result files alone, a few thousand results a step, by statements that run without the GIL, in one
thread of low priority. Each step sets its mark in the same transaction, so a crash costs nothing, and a file that is
missing, damaged or of another version is made again. A step reads its result file in a short transaction of its own,
so that neither checkpoints nor the closing of files wait long for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from importlib.resources import files as files_of
from pathlib import Path
from typing import NamedTuple

import msgspec

from outputd.process.log import Logger
from outputd.process.trouble import Kind
from outputd.sqlite.connections import pragma, transaction, uri
from outputd.sqlite.derived import Derived, Outdated
from outputd.sqlite.errors import kind_of
from outputd.sqlite.files import identity_of, size_of, wal_of
from outputd.sqlite.schema import Schema
from outputd.store.file import FileInfo
from outputd.summary import bounds
from outputd.summary.bounds import MOST_LINKS, MOST_PASSAGES, make_room, narrow, turn_away
from outputd.summary.senders import Senders
from outputd.summary.statements import (
    BATCHES,
    FIRST_ARRIVAL,
    HOP_AFTER,
    INTO,
    LINKS,
    LINKS_INTO,
    NODES,
    ORIGINS,
    PASSAGES,
    PASSAGES_INTO,
    REPLIES,
    RESULTS,
    SCRATCH,
    SCRATCH_TABLES,
    STRANGERS,
    STRETCH,
    UPTO,
    WITHIN_HOPS,
)

_log = Logger()
SCHEMA = Schema(files_of("outputd.summary") / "schema", 6, application_id=0x6F757473)  # "outs"
_CACHE_KIB = 8 * 1024
_WAL_BYTES = 8 << 20
_MOST_WALS = 8
"""By so much the WAL may grow while somebody reads; no question of ours takes long enough."""
_BEGIN = "BEGIN"
"""Not IMMEDIATE, which would ask an attached file that is only read for its write lock."""
_TABLES = ("target", "node", "minute", "link", "passage", "file")


class Summary(Derived):
    """The file, and the steps that keep it up, for one thread. `files` are the result files, the current one last."""

    def __init__(
        self, path: Path, files: Callable[[], Sequence[FileInfo]], senders: Senders | None = None,
        most_links: int = MOST_LINKS, most_passages: int = MOST_PASSAGES, wal_bytes: int = _WAL_BYTES,
    ) -> None:  # fmt: skip
        super().__init__(path, _CACHE_KIB, min(wal_bytes, _WAL_BYTES))
        self._files = files
        self._senders = senders or Senders()
        self._most_links, self._most_passages = most_links, most_passages
        self._is_whole = self._is_at_end = False
        self.counted_share = 0.0
        """How much of the batches of all files is counted, 0 to 1: 1 once everything was counted since the opening."""
        self._whole: set[FileInfo] = set()
        self._unreadable: dict[Path, tuple[int, int] | None] = {}

    def step(self) -> bool:
        """Take in some results more; whether there are others, but for those that have come meanwhile.

        Raises sqlite3.Error and OSError, and can be called again whatever it raised.
        """
        try:
            return self._step(self.opened())
        except sqlite3.DatabaseError as error:
            if kind_of(error) is not Kind.DAMAGED:  # that says nothing of the file
                raise
            self._start_anew(str(error))
            return True

    def _prepare(self, db: sqlite3.Connection) -> None:
        """See Derived."""
        self._is_whole = False
        self.counted_share = 0.0
        self._whole.clear()
        if not SCHEMA.is_newest(db):
            if db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                _log.info(
                    "{file} is rebuilt from the result files: it is of version {found}, and {wanted} is wanted",
                    file=self.path.name, found=pragma(db, "user_version"), wanted=SCHEMA.version,
                )  # fmt: skip
                raise Outdated
            SCHEMA.bring_up(db)
        db.execute("PRAGMA temp_store=MEMORY")
        db.executescript(SCRATCH + bounds.SCRATCH)

    def _start_anew(self, reason: str) -> None:
        _log.warn("{file} is rebuilt from the result files: {reason}", file=self.path.name, reason=reason)
        self.remove()

    def _step(self, db: sqlite3.Connection) -> bool:
        self._empty_wal(db)
        files = list(self._files())
        self._forget(db, files)
        for info in files:
            if info in self._whole or (
                info.path in self._unreadable and self._unreadable[info.path] == identity_of(info.path)
            ):
                continue
            try:
                if self._advance(db, info):
                    if info is files[-1] and self._is_at_end:  # while POSTs keep coming there is no step without any
                        self._note_whole(db)
                        return False
                    if not self._is_whole:
                        self.counted_share = _share(db, files)
                    return True
            except _Unreadable as error:
                if info.path.exists():
                    self._unreadable[info.path] = identity_of(info.path)
                    _log.error("{file} cannot be counted for the summary: {error!s}", file=info.path.name, error=error)
                continue
            if info is not files[-1]:
                self._whole.add(info)
        self._note_whole(db)
        return False

    def _empty_wal(self, db: sqlite3.Connection) -> None:
        """Wait for readers when the WAL has grown: as long as there is always one, no checkpoint lets it begin anew."""
        if size_of(wal_of(self.path)) <= 2 * self._wal_bytes:
            return
        is_read = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_read and size_of(wal_of(self.path)) > _MOST_WALS * self._wal_bytes:
            raise sqlite3.OperationalError(f"another process reads {self.path.name}, whose WAL cannot be emptied")

    def _note_whole(self, db: sqlite3.Connection) -> None:
        """Keep that every file was counted once."""
        if not self._is_whole:
            with transaction(db, _BEGIN):
                db.execute("INSERT INTO whole SELECT max(received_at) FROM file WHERE NOT EXISTS (SELECT 1 FROM whole)")
            self._is_whole = True
        self.counted_share = 1.0

    def _forget(self, db: sqlite3.Connection, files: Sequence[FileInfo]) -> None:
        """Leave out files that are no longer there."""
        there = {(info.sequence, info.created_at) for info in files}
        for sequence, created_at in db.execute("SELECT sequence, created_at FROM file").fetchall():
            if (sequence, created_at) not in there:
                self._drop(db, sequence)

    def _drop(self, db: sqlite3.Connection, sequence: int) -> None:
        with transaction(db, _BEGIN):
            _delete(db, sequence)
            db.execute("DELETE FROM name WHERE node NOT IN (SELECT node FROM node)")
            db.execute("DELETE FROM stretch WHERE number NOT IN (SELECT stretch FROM node)")

    def _advance(self, db: sqlite3.Connection, info: FileInfo) -> bool:
        """Take in the next results of a file; whether there were any."""
        row = db.execute(f"SELECT {', '.join(_Mark._fields)} FROM file WHERE sequence = ?", (info.sequence,)).fetchone()
        mark = _Mark(*(row or ()))
        try:
            db.execute("ATTACH ? AS f", (uri(info.path, "ro"),))
            try:
                with transaction(db, _BEGIN):
                    read = self._read(db, mark)
            finally:
                db.execute("DETACH f")
        except sqlite3.DatabaseError as error:
            kind = kind_of(error)
            if kind in (Kind.DAMAGED, Kind.FOREIGN) or (kind is Kind.GONE and not info.path.exists()):
                raise _Unreadable(str(error)) from error
            raise
        if read is None:
            return False
        mark, to, received_at = read
        with transaction(db, _BEGIN):
            narrowed = _work_out(db)
            if not mark.batch_id:
                _delete(db, info.sequence)
            stretch = _stretch(db, info, received_at)
            for statement in INTO:
                db.execute(statement, {"file": info.sequence, "stretch": stretch})
            links, unlinked = _bring_in(db, "link", LINKS_INTO, info.sequence, mark.links, self._most_links)
            passages, unpassed = _bring_in(
                db, "passage", PASSAGES_INTO, info.sequence, mark.passages, self._most_passages
            )
            left_out = mark.left_out + narrowed + unlinked + unpassed
            marked = (info.sequence, info.created_at, to, received_at, mark.hop_id, links, passages, left_out)
            db.execute("INSERT OR REPLACE INTO file VALUES (?,?,?,?,?,?,?,?)", marked)
        self._empty_wal(db)
        return True

    def _read(self, db: sqlite3.Connection, mark: _Mark) -> tuple[_Mark, int, str] | None:
        """Bring the next results from `f` into the scratch tables; None when there are none.

        Returns the mark they follow, with their hops counted in, the last batch and its arrival.
        """
        last = db.execute("SELECT coalesce(max(id), 0) FROM f.batches").fetchone()[0]
        if 0 < last < mark.batch_id:  # it is another file than it was
            mark = _Mark()
        upto = db.execute(WITHIN_HOPS, {"from": mark.batch_id, "hop": mark.hop_id}).fetchone()[0] or last
        to, last_id, received_at = db.execute(UPTO, {"from": mark.batch_id, "upto": upto}).fetchone()
        if to is None:
            return None
        self._is_at_end = to == last
        for table in SCRATCH_TABLES:
            db.execute(f"DELETE FROM temp.{table}")
        db.execute(BATCHES, {"from": mark.batch_id, "to": to})
        nodes = msgspec.json.decode(db.execute(NODES).fetchone()[0])
        origins = [(number, self._senders.number_of(number, node)) for number, node in nodes]
        db.execute(ORIGINS, {"origins": msgspec.json.encode(origins).decode()})
        db.execute(RESULTS)
        if last_id is None:
            return mark, to, received_at
        end = db.execute(f"SELECT {HOP_AFTER}", {"last": last_id, "low": mark.hop_id + 1}).fetchone()[0]
        if end is None:
            return mark, to, received_at
        db.execute(REPLIES, {"hop_from": mark.hop_id, "hop_to": end})
        return mark._replace(hop_id=end - 1), to, received_at


class _Mark(NamedTuple):
    """Up to where a result file is summed up, how much that takes at most, and how much of it was left out."""

    batch_id: int = 0
    hop_id: int = 0
    links: int = 0
    passages: int = 0
    left_out: int = 0


class _Unreadable(Exception):
    """A result file cannot be read; the text says why."""


def _work_out(db: sqlite3.Connection) -> int:
    """Make links and passages of the replies that were read; how many replies were too many for that.

    The result file is let go before: what is read keeps its WAL from beginning anew, and one that grows has it rotated.
    """
    db.execute(STRANGERS)
    narrowed = narrow(db)
    db.execute(LINKS)
    db.execute(PASSAGES)
    return narrowed


def _bring_in(
    db: sqlite3.Connection, table: str, statement: str, file: int, at_most: int, most_rows: int
) -> tuple[int, int]:
    """Bring in what was found for a table that has so many rows of a file at most; how many then, and how many not."""
    at_most, turned_away = turn_away(db, table, file, at_most, most_rows)
    at_most += db.execute(statement, {"file": file}).rowcount
    at_most, taken_out = make_room(db, table, file, at_most, most_rows)
    return at_most, turned_away + taken_out


def _stretch(db: sqlite3.Connection, info: FileInfo, latest: str) -> int:
    """The stretch of arrivals to which the batches of this step belong; 0 when those of a newer file came before."""
    if db.execute("SELECT 1 FROM file WHERE sequence > ?", (info.sequence,)).fetchone():
        return 0
    first = db.execute(FIRST_ARRIVAL).fetchone()[0]
    number, is_over = db.execute(STRETCH, {"first": first}).fetchone() or (0, True)
    if is_over:
        number += 1
        db.execute("INSERT INTO stretch VALUES (?,?,?)", (number, first, first))
    db.execute("UPDATE stretch SET latest = max(latest, ?) WHERE number = ?", (latest, number))
    return int(number)


def _share(db: sqlite3.Connection, files: Sequence[FileInfo]) -> float:
    """Below 1, since batches arrive meanwhile."""
    first = {info.sequence: info.first_batch_id for info in files}
    marks = db.execute("SELECT sequence, batch_id FROM file").fetchall()
    counted = sum(batch_id - first[sequence] + 1 for sequence, batch_id in marks if sequence in first)
    there = files[-1].next_ids.batch - files[0].first_batch_id
    return min(0.99, counted / there) if there > 0 else 0.99


def _delete(db: sqlite3.Connection, sequence: int) -> None:
    for table in _TABLES:
        db.execute(f"DELETE FROM {table} WHERE {'sequence' if table == 'file' else 'file'} = ?", (sequence,))
