"""The list of changes (changes.sqlite3), and what the detector needs to go on with it.

It is made from the result files alone, some POSTs a step, each with its mark in one transaction. What the detector
remembers is kept seldom, with a mark of its own, since it is large: after a crash it goes on from there, and what it
finds a second time is the same change, which is kept once.

One thread makes it, step by step; between two transactions of a step others may use its connection (`run`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files as files_of
from itertools import islice
from pathlib import Path
from typing import Concatenate, NamedTuple

import msgspec

from outputd.changes.change import TOPICS, Change, Value
from outputd.changes.detector import Detector, Post, Seen
from outputd.changes.outbox import Outbox
from outputd.changes.reading import newest_of, observations, posts_after
from outputd.process.log import Logger
from outputd.process.threads import P, T
from outputd.process.trouble import Kind
from outputd.sqlite.connections import reading, transaction
from outputd.sqlite.derived import Derived
from outputd.sqlite.errors import kind_of
from outputd.sqlite.files import Identity, identity_of, set_aside
from outputd.sqlite.schema import Schema
from outputd.store.file import FileInfo

_log = Logger()
SCHEMA = Schema(files_of("outputd.changes") / "schema", 2, application_id=0x6F757463)  # "outc"
_CACHE_KIB = 256
_WAL_BYTES = 1 << 20
_MOST_CHANGES = 20_000
_REMEMBER_RESULTS = 200_000
"""After so many the memory of the detector is kept, which is up to 20 MB: a crash has as many looked at again."""
_RESULTS_A_CHANGE = 4 * _REMEMBER_RESULTS // _MOST_CHANGES
"""A change counts as so many: none that is found once more may have been pruned."""


class NotOpen(Exception):
    """The list cannot be used now: no step has opened it, or its file has gone."""


class Changes(Derived):
    """The file, and the steps that keep it up, for one thread. `files` are the result files, the current one last;
    `tell` is called with the kinds of those that are new, in that thread, and not again where the list is made anew.
    `outbox` knows what a webhook is owed.
    """

    def __init__(
        self, path: Path, files: Callable[[], Sequence[FileInfo]],
        tell: Callable[[Sequence[str]], object] = lambda kinds: None, most_changes: int = _MOST_CHANGES,
        outbox: Outbox | None = None,
    ) -> None:  # fmt: skip
        super().__init__(path, _CACHE_KIB, _WAL_BYTES)
        self.outbox = outbox or Outbox()
        self._lock = threading.RLock()
        self._last: Identity | None = None
        self._files = files
        self._tell = tell
        self._most_changes = most_changes
        self._detector = Detector()
        self._batch_id = self._since_kept = 0
        self._unreadable: dict[Path, Identity | None] = {}
        self.counted_share = 0.0
        """See Kept: 1 once everything was looked at since the opening."""

    @property
    def watched(self) -> int:
        """How many pairs of node and target are watched."""
        return self._detector.pairs

    @property
    def unwatched(self) -> int:
        """About how many are not."""
        return self._detector.unwatched

    def step(self) -> bool:
        """Look at some POSTs more; whether there are others. Raises sqlite3.Error and OSError."""
        try:
            return self._step(self.opened())
        except sqlite3.DatabaseError as error:
            if kind_of(error) is not Kind.DAMAGED:
                raise
            self.close()
            set_aside(self.path, str(error))
            return True

    def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What work(db, ...) returns, in a transaction, from any thread. Raises NotOpen, sqlite3.Error."""
        with self._lock:
            if self._db is None or not self.is_there:
                raise NotOpen("the list of changes is not open")
            with transaction(self._db):
                return work(self._db, *args, **kwargs)

    def opened(self) -> sqlite3.Connection:
        """See Derived."""
        with self._lock:
            return super().opened()

    def close(self) -> None:
        """See Derived."""
        with self._lock:
            super().close()

    def leave(self) -> None:
        """Keep what is remembered, and close the file without WAL."""
        with self._lock:
            if self._db is not None and self.is_there and self._since_kept:
                with contextlib.suppress(sqlite3.Error, OSError), transaction(self._db):
                    self._remember(self._db)
            super().leave()

    def remove(self) -> None:
        """Its room is little, and some of it known here alone: it stays. See Kept."""
        self.close()

    def _prepare(self, db: sqlite3.Connection) -> None:
        """See Derived."""
        SCHEMA.bring_up(db)
        identity = identity_of(self.path)
        self.outbox.open(db, is_another=self._last not in (None, identity))
        self._last = identity
        self.counted_share = 0.0
        self._since_kept = 0
        self._batch_id = db.execute("SELECT remembered_batch_id FROM mark").fetchone()[0]
        parts = (part for (part,) in db.execute("SELECT body FROM memory ORDER BY part"))
        try:
            self._detector = Detector.of(parts)
        except msgspec.MsgspecError as error:
            _log.warn("what was usual is learnt anew: {reason}", reason=error)
            self._detector = Detector()
        self.outbox.tell()

    def _step(self, db: sqlite3.Connection) -> bool:
        files = list(self._files())
        self._begin_anew_in_another_history(db, files)
        if self.outbox.is_beginning:
            self.run(self.outbox.begin, _newest(files[-1]))
        for info in files:
            is_last = info is files[-1]
            if not is_last and info.last_batch_id <= self._batch_id:
                continue
            if info.path in self._unreadable and self._unreadable[info.path] == identity_of(info.path):
                continue
            try:
                is_open = self._advance(db, info)
            except _Unreadable as error:
                self._pass_over(info, error)
                return True
            if is_open:
                if self.counted_share < 1:
                    self.counted_share = self._share(files)
                return True
        self.counted_share = 1.0
        return False

    def _begin_anew_in_another_history(self, db: sqlite3.Connection, files: Sequence[FileInfo]) -> None:
        """The files were exchanged for others: their POSTs have had their numbers before."""
        if self._batch_id < files[-1].next_ids.batch:
            return
        with reading(files[-1].path) as file:
            newest = newest_of(file)
        if 0 < newest < self._batch_id:
            _log.warn("the result files are others than they were: what is usual is learnt anew")
            self._detector, self._batch_id = Detector(), 0
            with self._lock, transaction(db):
                db.execute("UPDATE mark SET batch_id = 0")
                self._remember(db)
                self.outbox.begin(db, newest)

    def _advance(self, db: sqlite3.Connection, info: FileInfo) -> bool:
        """Look at the next POSTs of a file; whether there are others after them."""
        try:
            with reading(info.path) as file:
                posts = posts_after(file, self._batch_id)
                if not posts:
                    return False
                newest = newest_of(file)
                found = self._look(posts, observations(file, posts, self._detector.wants))
        except (sqlite3.DatabaseError, msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
            self.close()  # the detector has seen a part: it goes on from what it remembers
            if _is_of_the_file(error, info.path):
                raise _Unreadable(str(error)) from error
            raise
        last = posts[-1]
        try:
            with self._lock, transaction(db):
                new = self._keep(db, found)
                dropped = self.outbox.make_room(db) if new else 0
                self._batch_id = last.batch_id
                db.execute(_MARK, {"to": last.batch_id, "at": last.arrived})
                self._since_kept += sum(post.results for post in posts) + len(new) * _RESULTS_A_CHANGE
                if self._since_kept >= _REMEMBER_RESULTS:
                    self._remember(db)
        except BaseException:
            self.close()
            raise
        news = [each.change.kind for each in new if self.outbox.is_news(each.post.batch_id)]
        self.outbox.has_seen(last.batch_id)
        if new:
            self._tell(news)
            with self._lock:
                self.outbox.has_dropped(db, dropped)
        return self._batch_id < newest

    def _look(self, posts: Sequence[Post], seen: Iterator[Seen]) -> list[Found]:
        return [
            Found(post, change) for post in posts for change in self._detector.take(post, islice(seen, post.results))
        ]

    def _keep(self, db: sqlite3.Connection, found: Sequence[Found]) -> list[Found]:
        """Write down changes; returns those that were not there."""
        new = []
        for each in found:
            post, change = each
            topic, owed = TOPICS[change.kind], self.outbox.mark_of(post.batch_id)
            values = (_json(change.before), _json(change.after), post.arrived, owed)
            row = (change.kind, topic, *change[1:4], *values)
            if db.execute(_INTO, row).rowcount:
                db.execute(_END, (change.since, change.node, change.target, topic, change.kind, change.since))
                new.append(each)
        if new:
            db.execute(_PRUNE, (self._most_changes,))
        return new

    def _remember(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM memory")
        for number, part in enumerate(self._detector.parts()):
            db.execute("INSERT INTO memory VALUES (?,?)", (number, part))
        db.execute("UPDATE mark SET remembered_batch_id = ?", (self._batch_id,))
        self._since_kept = 0

    def _pass_over(self, info: FileInfo, error: Exception) -> None:
        if info.path.exists():
            self._unreadable[info.path] = identity_of(info.path)
            _log.error("{file} cannot be searched for changes: {error!s}", file=info.path.name, error=error)
        else:
            self._unreadable[info.path] = None

    def _share(self, files: Sequence[FileInfo]) -> float:
        """Below 1, since POSTs arrive meanwhile."""
        first = files[0].first_batch_id
        there = files[-1].next_ids.batch - first
        return min(0.99, max(0.01, (self._batch_id - first + 1) / there)) if there > 0 else 0.99


class Found(NamedTuple):
    """A change, and the POST that showed it."""

    post: Post
    change: Change


class _Unreadable(Exception):
    """A result file cannot be read; the text says why."""


_INTO = """
INSERT OR IGNORE INTO change (kind, topic, node, target, since, before, after, found_at, owed)
VALUES (?,?,?,?,?,?,?,?,?)
"""
_PRUNE = "DELETE FROM change WHERE id <= (SELECT max(id) FROM change) - ? AND owed IS NULL"
_MARK = "UPDATE mark SET batch_id = :to, received_at = :at WHERE batch_id < :to"
_END = """
UPDATE change SET until = max(since, ?) WHERE node = ? AND target = ? AND topic = ? AND until IS NULL
  AND NOT (kind = ? AND since = ?)
"""


def _newest(info: FileInfo) -> int:
    """The last batch of the current file; where it cannot be read, as it was when the file was opened."""
    with contextlib.suppress(sqlite3.Error), reading(info.path) as file:
        return max(newest_of(file), info.last_batch_id)
    return info.last_batch_id


def _is_of_the_file(error: Exception, path: Path) -> bool:
    """Whether the file is what is wrong: it holds what is never stored, is damaged, or gone."""
    if not isinstance(error, sqlite3.Error) or getattr(error, "sqlite_errorcode", None) is None:
        return True
    kind = kind_of(error)
    return kind in (Kind.DAMAGED, Kind.FOREIGN) or (kind is Kind.GONE and not path.exists())


def _json(value: Value) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
