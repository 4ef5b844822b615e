"""The summary (summary.sqlite3): what the result files' own indexes cannot answer cheaply, counted file by file.

It is made from the result files alone, a few thousand results a step, by statements that run without the GIL, in one
thread of low priority. Each step sets its mark in the same transaction, so a crash costs nothing, and a file that is
missing, damaged or of another version is made again. A step reads its result file in a short transaction of its own,
so that neither checkpoints nor the closing of files wait long for it.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from outputd.datadir import delete_database, identity_of, make_empty, size_of, wal_of
from outputd.failures import FULL, GONE, Failure, is_damage
from outputd.log import Logger
from outputd.places import first_above
from outputd.pools import InThread
from outputd.resultfile import FileInfo, uri

_log = Logger()
APPLICATION_ID = 0x6F757473  # "outs"
SCHEMA_VERSION = 1
MOST_LINKS = 100_000
"""Rows of links that are kept for a result file; beyond them, or beyond MOST_PASSAGES, its later hops are left out."""
MOST_PASSAGES = 200_000
_RESULTS_A_STEP = 1000
_CACHE_KIB = 8 * 1024
_PAGE_BYTES = 4096
_WAL_BYTES = 32 << 20
_EVERY_S = 1.0
_LOOKS_EVERY_S = 0.01
_IDLE_LOOKS = 3
_STEP_ENDS_S = 3.0
_TABLES = ("target", "node", "minute", "link", "passage", "file")


def believed(result: str, batch: str) -> str:
    """SQL for when a result was measured; a time that cannot be (Go's zero time, far future) gives way to arrival."""
    at, arrived = f"{result}.timestamp", f"{batch}.received_at"
    least = "'1970-01-01'"  # whole: beside a DATETIME column '1970' is a number, and less than any text
    return f"iif({at} >= {least} AND ({at} <= {arrived} OR {at} <= datetime({arrived}, '+1 day')), {at}, {arrived})"


def is_address(ip: str) -> str:
    """SQL for whether a hop's text is an address, by its letters: other text is hardly made of these alone."""
    return f"({ip} NOT GLOB '*[^0-9.]*' OR ({ip} GLOB '*:*' AND {ip} NOT GLOB '*[^0-9a-f:]*'))"


def believable(rtt: str) -> str:
    """SQL for a round-trip time that can be: one of an hour and more would drown all others in a sum."""
    return f"iif({rtt} < 3600000000000, {rtt}, NULL)"


_SCRATCH_TABLES = ("batch", "result", "reply")
_SCRATCH = """
CREATE TEMP TABLE batch (
  id INTEGER PRIMARY KEY, node TEXT, received_at TEXT, first_id INTEGER, last_id INTEGER,
  accepted INTEGER, rejected INTEGER
);
CREATE TEMP TABLE result (
  id INTEGER PRIMARY KEY, ip TEXT, node TEXT, batch INTEGER, sent INTEGER, received INTEGER, rtt INTEGER,
  at TEXT, timestamp TEXT, arrived TEXT
);
CREATE TEMP TABLE reply (
  trace INTEGER, ttl INTEGER, ip TEXT, rtt INTEGER, PRIMARY KEY (trace, ttl, ip)
) WITHOUT ROWID;
"""
_BATCHES = """
INSERT INTO temp.batch
SELECT id, node, received_at, first_id, last_id, accepted, rejected
FROM f.batches WHERE id > :from AND id <= :to
"""
_RESULTS = f"""
INSERT INTO temp.result
SELECT p.id, p.ip, b.node, b.id, p.sent, p.received, iif(p.received > 0, p.avg_rtt, NULL), {believed("p", "b")},
  p.timestamp, b.received_at
FROM temp.batch b CROSS JOIN f.ping_results p WHERE p.id BETWEEN b.first_id AND b.last_id
"""
_UPTO = f"""
SELECT max(id), max(last_id), max(received_at) FROM (
  SELECT id, last_id, received_at, sum(accepted) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS total,
    row_number() OVER (ORDER BY id) AS place
  FROM (SELECT * FROM f.batches WHERE id > :from ORDER BY id LIMIT {_RESULTS_A_STEP})
) WHERE total <= {_RESULTS_A_STEP} OR place = 1
"""
_COUNTED = """
  results = results + excluded.results, failed = failed + excluded.failed,
  sent = CAST(0.0 + sent + excluded.sent AS INTEGER), received = CAST(0.0 + received + excluded.received AS INTEGER)
"""
_COUNTS = """
count(*), count(iif(received > 0, NULL, 1)), CAST(total(sent) AS INTEGER), CAST(total(received) AS INTEGER)
"""
_SEEN = "first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)"
_HOP_AFTER = first_above(":last", "f.traceroute_hops", "traceroute_id", ":low")
_INTO = (
    "INSERT OR IGNORE INTO name (node) SELECT node FROM temp.batch",
    f"""
INSERT INTO target
SELECT *, (SELECT rtt FROM temp.result r WHERE r.id = last_id) FROM (
  SELECT :file, ip, node, {_COUNTS}, min(at), max(at), max(iif(rtt IS NULL, NULL, id)) AS last_id
  FROM temp.result GROUP BY ip, node
) WHERE true
ON CONFLICT DO UPDATE SET {_COUNTED}, {_SEEN},
  last_rtt_ns = iif(excluded.last_id IS NULL, last_rtt_ns, excluded.last_rtt_ns),
  last_id = coalesce(excluded.last_id, last_id)
""",
    """
INSERT INTO node
SELECT :file, b.node, count(*), sum(accepted), sum(rejected), min(received_at), max(received_at),
  max(iif(accepted, id, NULL)), NULL
FROM temp.batch b WHERE true GROUP BY b.node
ON CONFLICT DO UPDATE SET batches = batches + excluded.batches, results = results + excluded.results,
  rejected = rejected + excluded.rejected, first_heard = min(first_heard, excluded.first_heard),
  last_heard = max(last_heard, excluded.last_heard), clock_id = coalesce(excluded.clock_id, clock_id)
""",
    """
UPDATE node SET clock_offset_s = (
  SELECT round((julianday(max(timestamp)) - julianday(max(arrived))) * 86400, 3)
  FROM temp.result r, temp.batch b WHERE b.id = clock_id AND r.id BETWEEN b.first_id AND b.last_id
) WHERE file = :file AND clock_id IN (SELECT id FROM temp.batch)
""",
    f"""
INSERT INTO minute
SELECT :file, node, substr(arrived, 1, 16), {_COUNTS} FROM temp.result WHERE true GROUP BY 3, 2
ON CONFLICT DO UPDATE SET {_COUNTED}
""",
)
_REPLIES = f"""
INSERT INTO temp.reply
SELECT h.traceroute_id, h.ttl, h.ip, min({believable("h.rtt")}) FROM f.traceroute_hops h
WHERE h.id > :hop_from AND h.id < :hop_to AND NOT h.timeout AND {is_address("h.ip")}
GROUP BY 1, 2, 3
"""
_NODE = "(SELECT ',' || id || ',' FROM name n WHERE n.node = found.node)"
_NODES = "nodes = nodes || iif(instr(nodes, excluded.nodes), '', substr(excluded.nodes, 2))"
_HOPS_INTO = (
    f"""
INSERT INTO link
SELECT :file, near, far, {_NODE}, count, difference_ns, differences, first_seen, last_seen FROM (
  SELECT a.ip AS near, b.ip AS far, r.node AS node, count(*) AS count, total(b.rtt - a.rtt) AS difference_ns,
    count(b.rtt - a.rtt) AS differences, min(r.at) AS first_seen, max(r.at) AS last_seen
  FROM temp.reply a CROSS JOIN temp.reply b CROSS JOIN temp.result r
  WHERE b.trace = a.trace AND b.ttl = a.ttl + 1 AND b.ip <> a.ip AND r.id = a.trace GROUP BY 1, 2, 3
) found WHERE true
ON CONFLICT DO UPDATE SET {_NODES}, count = count + excluded.count,
  difference_ns = difference_ns + excluded.difference_ns, differences = differences + excluded.differences, {_SEEN}
""",
    f"""
INSERT INTO passage
SELECT :file, hop, target, {_NODE}, count, first_seen, last_seen FROM (
  SELECT a.ip AS hop, r.ip AS target, r.node AS node, count(*) AS count, min(r.at) AS first_seen,
    max(r.at) AS last_seen
  FROM temp.reply a CROSS JOIN temp.result r WHERE r.id = a.trace GROUP BY 1, 2, 3
) found WHERE true
ON CONFLICT DO UPDATE SET {_NODES}, count = count + excluded.count, {_SEEN}
""",
)


class Summary:
    """The file, and the steps that keep it up, for one thread. `files` are the result files, the current one last."""

    def __init__(
        self, path: Path, files: Callable[[], Sequence[FileInfo]], most_links: int = MOST_LINKS,
        most_passages: int = MOST_PASSAGES, wal_bytes: int = _WAL_BYTES,
    ) -> None:  # fmt: skip
        self.path = path
        self._files = files
        self._wal_bytes = min(wal_bytes, _WAL_BYTES)
        self._most = (most_links, most_passages)
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._whole: set[FileInfo] = set()
        self._unreadable: dict[Path, tuple[int, int] | None] = {}

    def step(self) -> bool:
        """Take in some results more; whether there may be others. Raises sqlite3.Error and OSError, and can be
        called again whatever it raised."""
        try:
            return self._step(self._opened())
        except sqlite3.DatabaseError as error:
            if not is_damage(error):  # that says nothing of the file
                raise
            self._start_anew(str(error))
            return True

    def interrupt(self) -> None:
        """End the step that is under way, from another thread; nothing of it is kept."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed already
                self._db.interrupt()

    def close(self) -> None:
        """Close the file; the next step would open it again."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("SELECT 1")  # an interrupt that met no statement would end the checkpoint of the close
            self._db.close()
            self._db = None

    def leave(self) -> None:
        """Close the file without WAL, the one that a crash left and no step has met included."""
        if self._db is None and wal_of(self.path).exists():
            with contextlib.suppress(sqlite3.Error, OSError):
                self._opened()
        self.close()

    def _opened(self) -> sqlite3.Connection:
        if self._db is not None and self.is_there:
            return self._db
        self.close()
        self._whole.clear()
        with contextlib.suppress(FileExistsError):
            make_empty(self.path)
        db = sqlite3.connect(
            uri(self.path, "rw"), uri=True, isolation_level=None, check_same_thread=False, cached_statements=64
        )  # fmt: skip
        self._db = db
        self._identity = identity_of(self.path)
        db.execute("PRAGMA busy_timeout=5000")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        db.execute(f"PRAGMA wal_autocheckpoint={max(64, self._wal_bytes // _PAGE_BYTES)}")
        db.execute(f"PRAGMA journal_size_limit={2 * self._wal_bytes}")
        db.execute("PRAGMA temp_store=MEMORY")
        marks = tuple(db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if marks != (APPLICATION_ID, SCHEMA_VERSION):
            if db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                raise sqlite3.DatabaseError(f"it is of another version ({marks[1]})")
            schema = importlib.resources.files("outputd").joinpath("summary.sql").read_text()
            mark = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}"
            db.executescript(f"BEGIN; {schema}; {mark}; COMMIT;")
        db.executescript(_SCRATCH)
        return db

    @property
    def is_there(self) -> bool:
        """Whether the file is the one that the last step has written."""
        return identity_of(self.path) == self._identity

    @property
    def size_bytes(self) -> int:
        """What it takes of the disk."""
        return size_of(self.path) + size_of(wal_of(self.path))

    def remove(self) -> None:
        """Give its room back; the next step makes it anew."""
        self.close()
        delete_database(self.path)

    def _start_anew(self, reason: str) -> None:
        _log.warn("{file} is made anew from the result files: {reason}", file=self.path.name, reason=reason)
        self.remove()

    def _step(self, db: sqlite3.Connection) -> bool:
        files = list(self._files())
        self._forget(db, files)
        for info in files:
            if info in self._whole or (
                info.path in self._unreadable and self._unreadable[info.path] == identity_of(info.path)
            ):
                continue
            try:
                if self._advance(db, info):
                    return True
            except _Unreadable as error:
                if info.path.exists():
                    self._unreadable[info.path] = identity_of(info.path)
                    _log.error("{file} cannot be summed up: {error!s}", file=info.path.name, error=error)
                continue
            if info is not files[-1]:
                self._whole.add(info)
        return False

    def _forget(self, db: sqlite3.Connection, files: Sequence[FileInfo]) -> None:
        """Leave out files that are no longer there."""
        there = {(info.sequence, info.created_at) for info in files}
        for sequence, created_at in db.execute("SELECT sequence, created_at FROM file").fetchall():
            if (sequence, created_at) not in there:
                self._drop(db, sequence)

    def _drop(self, db: sqlite3.Connection, sequence: int) -> None:
        with _transaction(db):
            _delete(db, sequence)
            db.execute("DELETE FROM name WHERE node NOT IN (SELECT node FROM node)")

    def _advance(self, db: sqlite3.Connection, info: FileInfo) -> bool:
        """Take in the next results of a file; whether there were any."""
        row = db.execute("SELECT batch_id, hop_id, links, passages FROM file WHERE sequence = ?", (info.sequence,))
        mark = _Mark(*(row.fetchone() or ()))
        try:
            db.execute("ATTACH ? AS f", (uri(info.path, "ro"),))
            try:
                with _transaction(db):
                    read = self._read(db, mark)
            finally:
                db.execute("DETACH f")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not GONE.search(str(error)):
                raise
            raise _Unreadable(str(error)) from error
        if read is None:
            return False
        mark, received_at, has_hops = read
        with _transaction(db):
            if not mark.batch_id:
                _delete(db, info.sequence)
            for statement in (*_INTO, *(_HOPS_INTO if has_hops else ())):
                db.execute(statement, {"file": info.sequence})
            links, passages = (
                db.execute(f"SELECT count(*) FROM {table} WHERE file = ?", (info.sequence,)).fetchone()[0]
                for table in ("link", "passage")
            )
            last = db.execute("SELECT max(id) FROM temp.batch").fetchone()[0]
            marked = (info.sequence, info.created_at, last, received_at, mark.hop_id, links, passages)
            db.execute("INSERT OR REPLACE INTO file VALUES (?,?,?,?,?,?,?)", marked)
        return True

    def _read(self, db: sqlite3.Connection, mark: _Mark) -> tuple[_Mark, str, bool] | None:
        """Bring the next results from `f` into the scratch tables; None when there are none."""
        last = db.execute("SELECT coalesce(max(id), 0) FROM f.batches").fetchone()[0]
        if 0 < last < mark.batch_id:  # it is another file than it was
            mark = _Mark()
        to, last_id, received_at = db.execute(_UPTO, {"from": mark.batch_id}).fetchone()
        if to is None:
            return None
        for table in _SCRATCH_TABLES:
            db.execute(f"DELETE FROM temp.{table}")
        db.execute(_BATCHES, {"from": mark.batch_id, "to": to})
        db.execute(_RESULTS)
        if last_id is None or mark.links >= self._most[0] or mark.passages >= self._most[1]:
            return mark, received_at, False
        end = db.execute(f"SELECT {_HOP_AFTER}", {"last": last_id, "low": mark.hop_id + 1}).fetchone()[0]
        if end is None:
            return mark, received_at, False
        db.execute(_REPLIES, {"hop_from": mark.hop_id, "hop_to": end})
        return mark._replace(hop_id=end - 1), received_at, True


class _Mark(NamedTuple):
    """Up to where a result file is summed up, and how much that takes."""

    batch_id: int = 0
    hop_id: int = 0
    links: int = 0
    passages: int = 0


class _Unreadable(Exception):
    """A result file cannot be read; the text says why."""


def _delete(db: sqlite3.Connection, sequence: int) -> None:
    for table in _TABLES:
        db.execute(f"DELETE FROM {table} WHERE {'sequence' if table == 'file' else 'file'} = ?", (sequence,))


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")  # not IMMEDIATE, which would ask an attached file that is only read for its write lock
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


class UpToDate(Protocol):
    """Waits until the summary has what was stored before."""

    async def __call__(self, within_s: float) -> None:
        """Return when it has, or when the time is over."""


class KeepingUp:
    """The thread that keeps a summary up. `stored` changes its value when results are stored or files come and go.

    While nobody asks it works only when no POST waits (`is_busy`). A low priority instead would cost the ingest more: a
    thread that is put to sleep with the GIL in its hands keeps all others waiting.

    Results come first on the disk, too: it rests while less than `least_free_bytes` is free, and a summary that finds
    no room gives its own back, and is made anew when there is enough for all of it.
    """

    def __init__(
        self, summary: Summary, reactor: Any, stored: Callable[[], object], is_busy: Callable[[], bool],
        now: Callable[[], float], free_bytes: Callable[[], int], least_free_bytes: int,
    ) -> None:  # fmt: skip
        self._summary = summary
        self._free_bytes = free_bytes
        self._needs_bytes = self._least_free_bytes = least_free_bytes
        self._reactor = reactor
        self._stored = stored
        self._is_busy = is_busy
        self._now = now
        self._has: object = None
        self._waiting: dict[Deferred[None], int] = {}
        self._turns = 0
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="outputd-summary", daemon=True)
        self.failure: Failure | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    async def stop(self, in_thread: InThread) -> None:
        """Return when the thread has ended and all files are closed."""
        self._stopping = True
        self._wanted.set()
        if self._thread.is_alive():
            await in_thread(self._thread.join, _STEP_ENDS_S)  # an interrupt that comes late leaves a WAL
            if self._thread.is_alive():
                self._summary.interrupt()
                await in_thread(self._thread.join)
        self._tell(self._turns + 1)

    async def up_to_date(self, within_s: float) -> None:
        """See UpToDate."""
        if self._stopping or self._has == self._stored():
            return
        waiter: Deferred[None] = Deferred()
        self._waiting[waiter] = self._turns
        self._wanted.set()
        try:
            await waiter.addTimeout(within_s, self._reactor)
        except DeferredTimeout:
            pass
        finally:
            self._waiting.pop(waiter, None)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wanted.clear()
                self._turns += 1
                stored = self._stored()
                if (stored == self._has and self._summary.is_there) or self._work(stored):
                    self._reactor.callFromThread(self._tell, self._turns)
                self._wanted.wait(_EVERY_S)
        finally:
            self._summary.leave()

    def _work(self, stored: object) -> bool:
        """Take in all that there is; whether that went well."""
        try:
            while True:
                self._let_posts_pass()
                if self._stopping:
                    return False
                if self._free_bytes() < self._needs_bytes:
                    return self._fail(f"no space to spare, less than {self._needs_bytes >> 20} MiB are free")
                self._needs_bytes = self._least_free_bytes
                if not self._summary.step():
                    break
        except Exception as error:  # whatever it is, the thread goes on
            if FULL.search(str(error)):
                self._needs_bytes = self._least_free_bytes + 2 * self._summary.size_bytes
                with contextlib.suppress(OSError):
                    self._summary.remove()
            return self._fail(str(error) or type(error).__name__)
        self.failure = None
        self._has = stored
        return True

    def _fail(self, reason: str) -> bool:
        if self.failure is None and not self._stopping:
            _log.error("the summary cannot be kept up and is tried again: {reason}", reason=reason)
            self.failure = Failure(reason, self._now())
        return False

    def _let_posts_pass(self) -> None:
        """Return when no POST was seen to wait for a moment, or when somebody asks."""
        idle_looks = 0
        while idle_looks < _IDLE_LOOKS and not self._waiting and not self._stopping:
            idle_looks = 0 if self._is_busy() else idle_looks + 1
            self._wanted.clear()
            self._wanted.wait(_LOOKS_EVERY_S)

    def _tell(self, turn: int) -> None:
        """Tell those who have waited since before this turn."""
        for waiter, since in list(self._waiting.items()):
            if since < turn and not waiter.called:
                waiter.callback(None)
