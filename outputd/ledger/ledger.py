"""The hop ledger (hops.sqlite3): known addresses, those that input_service lacks, and used Idempotency-Keys.

It is written after the results, on its own time, and not fsynced with them: it keeps the id of the last batch it has
taken in, and a start reads the batches above that mark again from the result files. So a POST waits for one commit and
one fsync, and no crash loses a hop of an answered result. What was delivered is fsynced, so that it is not delivered
twice.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files as files_of
from itertools import islice
from pathlib import Path
from typing import Concatenate

from twisted.internet.interfaces import IReactorTime

from outputd.ledger.keys import MOST_KEYS, Keys, UsedKey
from outputd.ledger.lessons import Learnt, Lesson, keys_of, lesson_of
from outputd.ledger.shares import Shares
from outputd.process.files import check_ours, sync
from outputd.process.log import Logger
from outputd.process.threads import InThread, P, T
from outputd.process.trouble import Failure, Kind, Trouble
from outputd.process.turns import Turns
from outputd.results import timestamps
from outputd.results.addresses import packed, unpacked
from outputd.sqlite.connections import BUSY_MS, transaction, write_ahead, writing
from outputd.sqlite.errors import Damaged, kind_of
from outputd.sqlite.files import COMPANIONS, identity_of, make_empty, set_aside, wal_of
from outputd.sqlite.pools import OpenPool, Pool
from outputd.sqlite.schema import Schema
from outputd.sqlite.table import Table
from outputd.store.file import FileInfo, describe

_log = Logger()
SCHEMA = Schema(files_of("outputd.ledger") / "schema", 3)
_CACHE_KIB = 8 * 1024
_WAL_BYTES = 4000 * 4096
_KEYS_AT_ONCE = 1000
_MOST_VALUES = 500
_MOST_UNWRITTEN = 100_000
_KEYS_GATHER_S = 0.25
"""So long a key waits for others to be written with; addresses do not wait, since they are counted and fed."""
_CROWD = 12
_CROWD_GATHERS_S = 0.1
"""But in a crowd, where the last turn had so many batches, they wait so long, too."""
_RAN_EVERY_S = 60.0
"""So often it is kept how long the service has run, while nothing else is."""


class Ledger:
    """What is known, owed and used; one connection, one thread."""

    def __init__(
        self, path: Path, reactor: IReactorTime, open_pool: OpenPool, now: Callable[[], float], most_addresses: int,
        discovered: Callable[[Learnt], object],
    ) -> None:  # fmt: skip
        self._path = path
        self._now = now
        self._seconds = reactor.seconds
        self._began_s, self._ran_before_s, self._ran_kept_s = reactor.seconds(), 0.0, 0.0
        self._shares = Shares(most_addresses)
        self._discovered = discovered
        self._open_pool = open_pool
        self._pool: Pool | None = None
        everything = 2**63
        self._turns: Turns[Lesson, Learnt] = Turns(reactor, self._learn, lambda _: 0, everything, everything)
        self._untaught: list[Lesson] = []
        self._gathers_s = 0.0
        self._unwritten_addresses = 0
        self._taken_in: float | None = None
        """How much of what it lacked it has read from the result files, 0 to 1; None while it reads none."""
        self._identity: tuple[int, int] | None = None
        self._last_batch_id = self._mark = 0
        self._handed: dict[str, int] = {}
        self._statements: Table | None = None
        self.kept = 0
        """The last batch whose hops and keys, and those of all before it, are on disk here."""
        self.known = self.backlog = self.refusals = 0
        self.keys = Keys()
        self.trouble = Trouble(now, reactor.seconds, _say_that_it_fails, _say_that_it_works)
        self.crowding = Trouble(now, reactor.seconds, _say_that_it_fills_up)
        """Begins when so many addresses are known that the rest of the room is only for some."""
        self.when_owed: Callable[[], object] = lambda: None
        """Called when there are addresses that input_service lacks."""

    @property
    def failure(self) -> Failure | None:
        """Why the ledger cannot be written, or None; while it is made anew, with how far that has come."""
        failure = self.trouble.failure
        if failure is None or self._taken_in is None:
            return failure
        return failure._replace(reason=f"{failure.reason}, {self._taken_in:.0%} so far")

    def look(self) -> Failure | None:
        """Why POSTs are refused, or will be within a second: `failure`, or that the file is not where it was.

        Looks at the file, which `failure`, asked for each POST, does not.
        """
        failure = self.failure
        if failure is None:
            with contextlib.suppress(OSError):  # nobody may look
                if self.is_gone():
                    return Failure("the hop ledger was deleted and will be rebuilt", self._now(), Kind.GONE)
        return failure

    @property
    def stalled_s(self) -> float:
        """Seconds for which nothing has been written although something waits, 0 when nothing does."""
        return self._turns.stalled_s

    @property
    def ran_s(self) -> float:
        """Seconds for which the service has run, over all its starts: the clock by which keys age.

        Nobody sets it, and it stands still while the service is down.
        """
        return self._ran_before_s + self._seconds() - self._began_s

    # -- life ----------------------------------------------------------------------------------------

    def heard(self, alone: bool = False) -> int:
        """The last batch that the file has heard of, 0 without one that can be read; `kept` says what is on disk.

        `alone` does without a -shm, for which a full disk has no room; then no other program may have the file open.
        Blocking, for the start. Raises OSError, sqlite3.OperationalError.
        """
        self.kept = mark = 0
        check_ours(self._path)
        if self._path.exists():
            is_on_disk = self._sync()
            try:
                with writing(self._path) as db:
                    if alone:
                        db.execute("PRAGMA locking_mode=EXCLUSIVE")
                    SCHEMA.version_of(db)  # before a newer file is touched, or any other file for its sake
                    mark = int(db.execute("SELECT batch_id FROM mark").fetchone()[0])
                    self.kept = mark if is_on_disk else 0
            except sqlite3.DatabaseError as error:
                if kind_of(error) not in (Kind.DAMAGED, Kind.FOREIGN):
                    raise
        return mark

    def _sync(self) -> bool:
        """Bring to disk what lies in the file and its WAL, which nobody here has open; whether that could be done.

        A checkpoint would do as well, but for a full disk, where there is no room for one.
        """
        try:
            for path in filter(Path.exists, (self._path, wal_of(self._path), self._path.parent)):
                sync(path)
        except OSError:
            return False
        return True

    def open(self, files: Sequence[FileInfo], feedable: Callable[[str], bool], refeed: bool) -> None:
        """Make the file if need be and take in what the result files hold above the mark. Blocking, for the start.

        What `heard` has found on disk still is: a full disk, where no more can be written, lets files go by that.
        Raises NewerFile, OSError and sqlite3.Error.
        """
        kept = self.kept
        try:
            learnt = self._take_in(files, feedable, refeed)
        except sqlite3.DatabaseError as error:
            if kind_of(error) is not Kind.DAMAGED:  # that says nothing of what it holds
                raise
            set_aside(self._path, str(error))
            kept = 0
            learnt = self._take_in(files, feedable, refeed)
        self._tell(learnt)
        self._attach()
        self.kept = min(kept, self._mark)

    async def reopen(self, files: Sequence[FileInfo], feedable: Callable[[str], bool], in_thread: InThread) -> None:
        """Make the file anew from the result files, after it was deleted by someone else.

        Until it is there no turn begins, and `failure` keeps further POSTs away. When it cannot be made, all is as
        before.
        """
        self.trouble.begin("the hop ledger was deleted and is being rebuilt")
        await self._turns.hold()
        try:
            await in_thread(self._take_in_anew, files, feedable)
            await self.pool.close()  # before another connection has files beside the new one, which this would delete
            self._attach()
            self.trouble.end()
        except (sqlite3.Error, OSError) as error:
            self.trouble.begin(f"the hop ledger was deleted and cannot be rebuilt: {error}", kind_of(error))
            raise
        finally:
            self._turns.release()

    def _take_in_anew(self, files: Sequence[FileInfo], feedable: Callable[[str], bool]) -> None:
        for ending in COMPANIONS:  # of the file that was deleted; SQLite would take them for the new one's
            Path(f"{self._path}{ending}").unlink(missing_ok=True)
        self._take_in(list(_as_they_are(files)), feedable, False)

    def _attach(self) -> None:
        self._identity = identity_of(self._path)
        self._handed = {}  # their numbers were those of another file
        self.kept = 0
        self._pool = self._open_pool(self._path, self._prepare)

    def _take_in(self, files: Sequence[FileInfo], feedable: Callable[[str], bool], refeed: bool) -> Learnt:
        new = over_limit = 0
        check_ours(self._path)
        with contextlib.suppress(FileExistsError):
            make_empty(self._path)
        with writing(self._path) as db:
            self._prepare(db)
            last = max((info.next_ids.batch for info in files), default=1) - 1
            db.execute("UPDATE mark SET batch_id = min(batch_id, ?)", (last,))
            mark, self.known, ran_s = db.execute("SELECT batch_id, known, ran_s FROM mark").fetchone()
            self._ran_before_s = max(self._ran_before_s, ran_s)  # that of a file made anew under us begins at 0
            self._shares.read(db)
            self._mark = mark
            self._last_batch_id = max(self._last_batch_id, mark)
            keys = islice(keys_of(files, mark, self.ran_s), MOST_KEYS)
            while some := [Lesson(mark, (), key) for key in islice(keys, _KEYS_AT_ONCE)]:
                self.commit(db, some)
            for info in files:
                if info.last_batch_id > mark:
                    self._taken_in = max(0, info.first_batch_id - 1 - mark) / (last - mark)
                    _log.info(
                        "reading {file} again from batch {mark} on; {share:.0%} of what the hop ledger lacks is read",
                        file=info.path.name, mark=mark + 1, share=self._taken_in,
                    )  # fmt: skip
                    learnt = self.commit(db, [lesson_of(info, mark, feedable)])
                    new, over_limit = new + learnt.new, over_limit + learnt.over_limit
            self._taken_in = None
            if refeed:
                with transaction(db):
                    db.execute("DELETE FROM waiting")
                    db.execute("DELETE FROM refused")
                    db.execute("INSERT INTO waiting (address) SELECT address FROM known")
            self.backlog, self.refusals, self.keys.count = db.execute(
                "SELECT (SELECT count(*) FROM waiting), (SELECT count(*) FROM refused), (SELECT count(*) FROM keys)"
            ).fetchone()
        return Learnt(new, over_limit)

    def _prepare(self, db: sqlite3.Connection) -> None:
        SCHEMA.version_of(db)  # before a newer file is touched
        write_ahead(db, "NORMAL", _CACHE_KIB, checkpoint_bytes=_WAL_BYTES, keep_bytes=2 * _WAL_BYTES)
        SCHEMA.bring_up(db)
        limit = db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        self._statements = Table("known", "address", limit, "INSERT OR IGNORE")

    @property
    def pool(self) -> Pool:
        """The one thread that uses the file."""
        assert self._pool is not None, "open comes first"
        return self._pool

    async def close(self) -> None:
        """Set the mark, and close the file without WAL."""
        with contextlib.suppress(sqlite3.Error, OSError):
            await self.flush()
        await self.pool.close()

    # -- taking in -----------------------------------------------------------------------------------

    def learn(self, lesson: Lesson) -> None:
        """Take in a stored batch, on the ledger's own time; batches come in the order of their ids.

        What cannot be written is kept, and tried again with the next one.
        """
        self._last_batch_id = lesson.batch_id
        if lesson.addresses or lesson.key is not None:
            self._unwritten_addresses += len(lesson.addresses)
            if lesson.key is not None:
                self.keys.add(lesson.key)
            wait_s = self._gathers_s if lesson.addresses else _KEYS_GATHER_S
            self._turns.add(lesson, wait_s).addErrback(_told_where_it_happened)

    @property
    def is_behind(self) -> bool:
        """Whether so much is to be written that whoever brings more should wait until it has caught up."""
        return self._unwritten_addresses > _MOST_UNWRITTEN

    async def caught_up(self) -> None:
        """Return when all that was learnt is written, or that failed."""
        if self._unwritten_addresses or not self.keys.are_written:
            with contextlib.suppress(Exception):  # logged where it happens; `failure` stops further POSTs
                await self._turns.add(Lesson(self._last_batch_id))

    async def flush(self) -> None:
        """Return when all that was learnt is on disk, and `kept` says so. Raises sqlite3.Error, OSError."""
        await self._turns.add(Lesson(self._last_batch_id))
        mark = self._mark
        await self.pool.run(self._bring_to_disk)
        self._see_that_it_is_there()
        self.kept = mark

    def _bring_to_disk(self, db: sqlite3.Connection) -> None:
        """A checkpoint fsyncs WAL and file whatever was written before; a commit that changes nothing does not."""
        db.execute("PRAGMA busy_timeout=0")  # a program that reads an old state may do so for long
        try:
            busy, frames, done = db.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        finally:
            db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        if busy or frames != done:
            raise sqlite3.OperationalError(f"another program reads {self._path.name}")

    async def keep_up(self) -> None:
        """Once in a while: try again what failed, set the mark, keep how long the service has run, forget old keys."""
        if self.failure is not None or self._last_batch_id > self._mark:
            with contextlib.suppress(Exception):
                await self._turns.add(Lesson(self._last_batch_id))
        if self.failure is None:
            await self.pool.run(self._let_keys_age)

    async def _learn(self, lessons: Sequence[Lesson]) -> Learnt:
        everything = [*self._untaught, *lessons]
        self._gathers_s = _CROWD_GATHERS_S if len(lessons) >= _CROWD else 0.0
        try:
            learnt = await self.pool.run(self._write, everything)
        except Exception as error:
            self._untaught = [lesson for lesson in everything if lesson.addresses or lesson.key is not None]
            self.trouble.begin(f"the hop ledger cannot be written: {error}", kind_of(error))
            raise
        self._untaught = []
        self.trouble.end()
        for lesson in everything:
            self._unwritten_addresses -= len(lesson.addresses)
            if lesson.key is not None:
                self.keys.written(lesson.key)
        self.backlog += learnt.new
        self._tell(learnt)
        return learnt

    def _tell(self, learnt: Learnt) -> None:
        self._discovered(learnt)
        if self._shares.is_filling_up(self.known):
            self.crowding.begin(self._shares.words(self.known))
        if learnt.new:
            self.when_owed()

    def is_gone(self) -> bool:
        """Whether the file was deleted, moved or replaced by someone else."""
        return identity_of(self._path) != self._identity

    def _write(self, db: sqlite3.Connection, lessons: Sequence[Lesson]) -> Learnt:
        self._see_that_it_is_there()
        return self.commit(db, lessons)

    def _see_that_it_is_there(self) -> None:
        if self.is_gone():
            raise FileNotFoundError(f"{self._path.name} was deleted or moved away")

    def commit(self, db: sqlite3.Connection, lessons: Sequence[Lesson]) -> Learnt:
        """Write down what these batches teach, in one transaction."""
        # A turn takes all that waits, and batches come in order: none before the last of these is still to come.
        mark = max(self._mark, *(lesson.batch_id for lesson in lessons))
        offered: dict[str, set[bytes]] = {}
        for lesson in lessons:
            if lesson.addresses:
                offered.setdefault(self._shares.account(lesson.sender), set()).update(map(packed, lesson.addresses))
        keys = [lesson.key for lesson in lessons if lesson.key is not None]
        ran_s = self.ran_s
        assert self._statements is not None, "a connection is prepared before it is used"
        over_limit = 0
        found: dict[str, int] = {}
        with transaction(db):
            for account, some in offered.items():
                addresses, known = sorted(some), self.known + sum(found.values())
                if known + len(addresses) > self._shares.open_to_all:
                    unknown = _unknown(db, addresses)
                    addresses = unknown[: self._shares.room(account, known)]
                    over_limit += len(unknown) - len(addresses)
                if added := self._statements.insert(db, addresses):
                    found[account] = added
            new = sum(found.values())
            self._shares.write(db, found)
            self.keys.write(db, keys)
            db.execute("UPDATE mark SET batch_id = ?, known = known + ?, ran_s = ?", (mark, new, ran_s))
        self._mark, self._ran_kept_s = mark, ran_s
        self.known += new
        self._shares.add(found)
        self.keys.count += len(keys)
        return Learnt(new, over_limit)

    # -- keys ----------------------------------------------------------------------------------------

    async def used(self, name: bytes) -> UsedKey | None:
        """The key's first use within the last 12 hours of running, or None."""
        if (unwritten := self.keys.unwritten(name)) is not None:
            return unwritten
        return await self.pool.run(self.keys.find, name, self.ran_s)

    def _let_keys_age(self, db: sqlite3.Connection) -> None:
        ran_s = self.ran_s
        if self.keys.count and ran_s - self._ran_kept_s >= _RAN_EVERY_S:
            db.execute("UPDATE mark SET ran_s = ?", (ran_s,))
            self._ran_kept_s = ran_s
        self.keys.forget_old(db, ran_s)

    # -- the feed ------------------------------------------------------------------------------------

    async def waiting(self, most: int) -> list[str]:
        """The oldest addresses that input_service lacks."""
        rows = await self.pool.run(_waiting, most)
        self._handed = {unpacked(address): number for number, address in rows}
        return list(self._handed)

    async def delivered(self, addresses: Sequence[str]) -> None:
        """They have arrived; on disk when it returns."""
        numbers = [self._handed[address] for address in addresses if address in self._handed]
        await self.pool.run(_durably, delete_waiting, numbers)
        self.backlog -= len(numbers)

    async def refused(self, address: str, status: int) -> None:
        """input_service will not have it; it is set aside, on disk when it returns."""
        number = self._handed.get(address)
        if number is None:
            return
        row = (packed(address), status, timestamps.at(self._now()))
        await self.pool.run(_durably, _refuse, number, row)
        self.backlog -= 1
        self.refusals += 1


def _say_that_it_fails(reason: str) -> None:
    _log.error("{reason} (what it lacks is kept)", reason=reason)


def _say_that_it_works(seconds: float) -> None:
    _log.info("the hop ledger is written again, after {seconds:.0f} s", seconds=seconds)


def _say_that_it_fills_up(reason: str) -> None:
    _log.warn("{reason}", reason=reason)


def _told_where_it_happened(_: object) -> None:
    """A turn that failed: see `Ledger._learn`; `Ledger.failure` stops further POSTs."""


def _as_they_are(files: Sequence[FileInfo]) -> Iterator[FileInfo]:
    """What the files that can be read say of themselves now."""
    for info in files:
        try:
            yield describe(info.path)
        except Damaged as error:
            _log.error("{file} is damaged and skipped by the hop ledger: {e!s}", file=info.path.name, e=error)
        except sqlite3.OperationalError:
            if info.path.exists():
                raise
            _log.error("{file} is gone and skipped by the hop ledger", file=info.path.name)


def _durably(db: sqlite3.Connection, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args,
             **kwargs: P.kwargs) -> T:  # fmt: skip
    db.execute("PRAGMA synchronous=FULL")  # an fsync of the WAL makes all older commits durable too
    try:
        return work(db, *args, **kwargs)
    finally:
        db.execute("PRAGMA synchronous=NORMAL")


def _unknown(db: sqlite3.Connection, addresses: Sequence[bytes]) -> list[bytes]:
    unknown: list[bytes] = []
    for at in range(0, len(addresses), _MOST_VALUES):
        some = addresses[at : at + _MOST_VALUES]
        values = ",".join(["(?)"] * len(some))
        rows = db.execute(f"WITH asked(a) AS (VALUES {values}) SELECT a FROM asked WHERE a NOT IN known", some)
        unknown += [address for (address,) in rows]
    return unknown


def _waiting(db: sqlite3.Connection, most: int) -> list[tuple[int, bytes]]:
    return db.execute("SELECT id, address FROM waiting ORDER BY id LIMIT ?", (most,)).fetchall()


def delete_waiting(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Owe these no more."""
    marks = ",".join("?" * len(numbers))
    db.execute(f"DELETE FROM waiting WHERE id IN ({marks})", numbers)


def _refuse(db: sqlite3.Connection, number: int, row: tuple[bytes, int, str]) -> None:
    with transaction(db):
        db.execute("DELETE FROM waiting WHERE id = ?", (number,))
        db.execute("INSERT OR REPLACE INTO refused VALUES (?,?,?)", row)
