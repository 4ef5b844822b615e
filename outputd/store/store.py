"""The store: batches go into the current result file, many in one commit; the file can be changed for a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from outputd.process.company import Company
from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Kind, Trouble
from outputd.process.turns import Turns
from outputd.results import timestamps
from outputd.results.rows import Batch
from outputd.sqlite.errors import Damaged, kind_of
from outputd.sqlite.files import size_of, wal_of
from outputd.sqlite.pools import OpenPool
from outputd.store import file as resultfile
from outputd.store.current import Current
from outputd.store.directory import DataDir
from outputd.store.file import FileInfo
from outputd.store.ids import Ids, furthest
from outputd.store.inspection import fault_without
from outputd.store.inventory import bears_our_mark, take_stock
from outputd.store.limits import Limits
from outputd.store.manifest import is_closed_for_good
from outputd.store.writer import Written

_log = Logger()
_MOST_BODIES = 64
_MOST_CELLS = 300_000
_LIGHT_CELLS = 150_000  # of 2,000 results with 12 hops: what two commits of them write is mostly the same pages twice
_GATHERS_S = 0.02
_CROWD = 12  # more than company waits for
_CROWD_S = 0.3
_PROVEN_S = 1.0
_ROOM_BYTES = 4 << 20


class StoreFailed(Exception):
    """The results could not be written, none of them; the text says why."""


class Store:
    """Keeps results durably; the only writer of the directory's result files."""

    def __init__(
        self, directory: DataDir, limits: Limits, reactor: IReactorTime, open_pool: OpenPool, brief: InThread,
        long: InThread, now: Callable[[], float], observe: Callable[[Written, int], object],
    ) -> None:  # fmt: skip
        self.limits = limits
        self._directory = directory
        self._reactor = reactor
        self._open_pool = open_pool
        self._brief = brief
        self._long = long
        self.now = now
        self._observe = observe
        self._turns: Turns[Batch | None, Written] = Turns(
            reactor, self._write, _weigh, _MOST_CELLS, _MOST_BODIES, _LIGHT_CELLS
        )  # fmt: skip
        self.company = Company(_GATHERS_S, lambda: self._turns.is_busy)
        """Who posts, and whether it pays to wait for more of them before what they have sent is read."""
        self._crowd_s = -inf
        self._files: list[FileInfo] = []
        self._unfinished: set[Path] = set()
        self._current: Current | None = None
        self._next_ids = Ids()
        self._instance = ""
        self._rotating = DeferredLock()
        self._finishing = DeferredLock()
        self._committed_at: float | None = None
        self._damage = ""
        """Why the current file is to be left at once and set aside."""
        self._closing: set[Path] = set()
        self._lost: list[Current] = []
        self.trouble = Trouble(now, reactor.seconds, self._say_that_it_fails, _say_that_it_works)
        self.stored_batches = 0
        self.before_removal: Callable[[Path], Awaitable[None]] | None = None
        """Is waited for before an old file is deleted: a reader may want to hold it."""
        self.replaced: dict[str, Failure] = {}
        """Names that files of someone else have taken since the start, with what happened."""

    # -- life ----------------------------------------------------------------------------------------

    def open(self, heard: int = 0) -> None:
        """Go on with the newest file, or begin a new one. Blocking, for the start. Raises NewerFile, OSError.

        `heard` is the last batch that others have heard of: when the files end before it, later ones are missing. Then,
        and when the newest is closed for good, none goes on, and ids go on above what was heard.
        """
        stock = take_stock(self._directory)
        for path, other in stock.left_alone.items():
            _log.warn(
                "{name} has the place of {other} in the order of files, and is left alone: neither read nor deleted",
                name=path.name, other=other.name,
            )  # fmt: skip
        for path in filter(bears_our_mark, self._directory.other_databases()):
            _log.info("{name} is a copy under another name and is left alone", name=path.name)
        self._files = stock.files
        newest = self._files[-1] if self._files else None
        if newest is not None:
            self._directory.remember(newest.path)
        end = furthest(info.next_ids for info in self._files)
        lost = max(0, heard + 1 - end.batch)
        if lost:
            _log.error(
                "{lost} POSTs that were acknowledged, batches {first} to {last}, are in none of the result files here:"
                " what they held is lost, unless it is in a file that was damaged or taken away",
                lost=lost, first=end.batch, last=heard,
            )  # fmt: skip
        is_closed = newest is not None and is_closed_for_good(newest.path)
        goes_on = newest is not None and not (is_closed or lost or stock.damaged)
        damaged = stock.damaged | (self._bring_newest_up() if goes_on else {})
        self._next_ids = end.above(heard)
        named = [info.instance for info in self._files if info.instance is not None]
        self._instance = named[-1] if named else resultfile.new_instance()
        for path, reason in damaged.items():
            self._next_ids = self._next_ids.beyond(size_of(path))
            self._directory.set_aside(path, reason)
        if not goes_on or damaged:
            # each file that is missing keeps its place in the order: it may be repaired, or put back
            missing = len(damaged) + max(lost, int(is_closed))
            self._files.append(self._create(1 + (newest.sequence if newest else 0) + missing))
        elif self._files[-1].next_ids != self._next_ids:  # a crash came between its making and its use
            resultfile.begin_at(self._files[-1].path, self._next_ids)
            self._files[-1] = replace(self._files[-1], next_ids=self._next_ids)
        self._unfinished = {info.path for info in self._files[:-1]}
        self._current = Current(self._files[-1], self.limits, self._open_pool, self._reactor.seconds())

    def _bring_newest_up(self) -> dict[Path, str]:
        """Take the file that goes on being written to the newest version; if it turns out damaged, why.

        A closed file never changes: one of an older version is read as it is, and the newest of all is followed by a
        new one when it cannot be brought up.
        """
        if self._files and self._files[-1].version < resultfile.SCHEMA.version:
            newest = self._files.pop()
            try:
                self._files.append(resultfile.bring_up(newest))
            except Damaged as error:
                return {newest.path: str(error)}
            _log.info(
                "{name}: schema migrated from version {old} to {new}",
                name=newest.path.name, old=newest.version, new=resultfile.SCHEMA.version,
            )  # fmt: skip
        return {}

    async def close(self) -> None:
        """Close the current file and those closed last, without WAL where nobody else reads them."""
        async with self._rotating:
            await self._turns.settle()
            await self._rescue_lost()
            for old in self._lost:
                _log.error("{name} is lost: {reason}", name=old.info.path.name, reason=old.unsaved)
                await old.pool.close()
            await self._finish_all()
            current = self.current
            if current.is_gone() and not await self._rescue(current):
                _log.error("{name} is lost: {reason}", name=current.info.path.name, reason=current.unsaved)
            await current.pool.close()
            await self._long(resultfile.finish, current.info.path, analyse=False)

    # -- what others may know ------------------------------------------------------------------------

    @property
    def current(self) -> Current:
        """The file being written."""
        assert self._current is not None, "open comes first"
        return self._current

    @property
    def files(self) -> list[FileInfo]:
        """All result files, oldest first, the current one last."""
        return list(self._files)

    @property
    def closed(self) -> list[Path]:
        """The files that stand by themselves and change no more, oldest first."""
        not_yet = {*self._unfinished, *self._closing, *(old.info.path for old in self._lost)}
        return [info.path for info in self._files[:-1] if info.path not in not_yet]

    @property
    def instance(self) -> str:
        """The random name that the result files of this instance have in common."""
        return self._instance

    @property
    def last_batch_id(self) -> int:
        """The last batch that was committed; that before the first one while there is none."""
        return max(self.current.last_batch_id, *(info.last_batch_id for info in self._files[:-1]), 0)

    @property
    def excess(self) -> list[FileInfo]:
        """The files beyond keep_files, oldest first."""
        return self._files[: -self.limits.keep_files]

    @property
    def waiting(self) -> int:
        """Batches that no commit has taken yet."""
        return self._turns.waiting

    @property
    def has_queue(self) -> bool:
        """Whether a batch waits for the end of the commit that is under way, or many were here when the last ended."""
        is_crowded = self._reactor.seconds() - self._crowd_s < _CROWD_S
        return is_crowded or (self._turns.is_busy and self._turns.waiting > 0)

    @property
    def stalled_s(self) -> float:
        """Seconds for which nothing has been written although something waits, 0 when nothing does."""
        return self._turns.stalled_s

    @property
    def age_s(self) -> float:
        """Seconds since the current file was made, or since it was opened: the clock may have been set back."""
        return max(0.0, self.now() - self.current.created_s, self._reactor.seconds() - self.current.opened_s)

    @property
    def wal_bytes(self) -> int:
        """The WAL's size on disk; 0 when nobody may look."""
        try:
            return size_of(wal_of(self.current.info.path))
        except OSError:
            return 0

    def why_due(self) -> str | None:
        """Why the current file should be closed now, or None."""
        if self._damage or self.current.has_foreign_wal:
            return "damaged" if self._damage else "WAL written by someone else"
        if self.current.is_gone():
            return f"{_fate_of(self.current)} by someone else"
        if self.current.size_bytes >= self.limits.max_size_bytes:
            return "size"
        if self.age_s >= self.limits.max_age_s:
            return "age"
        if self.wal_bytes > self.limits.max_size_bytes // 2:
            return "WAL over half of the limit"
        return None

    @property
    def failure(self) -> Failure | None:
        """Why results cannot be stored, or None."""
        return self.trouble.failure

    # -- writing -------------------------------------------------------------------------------------

    def record(self, batch: Batch) -> Deferred[Written]:
        """Give the batch its ids and store it; fires once it is committed and on disk, or fails with StoreFailed."""
        result_id, batch_id, hop_id = self._next_ids
        batch.number(batch_id, result_id)
        self._next_ids = Ids(result_id + batch.accepted, batch_id + 1, hop_id)
        return self._turns.add(batch)

    async def prove(self) -> None:
        """Return when a commit has succeeded within the last second, or one now does. Raises StoreFailed."""
        failure = self.failure
        if failure is not None and await self._brief(self._lacks_room):
            raise StoreFailed(failure.reason)  # a proof is small: it could succeed where the next POST does not
        if failure is not None or not self._is_proven():
            await self._turns.add(None)

    def _is_proven(self) -> bool:
        """Whether there was a commit within the last second, into a file that is still where it was."""
        if self._committed_at is None or self._reactor.seconds() - self._committed_at > _PROVEN_S:
            return False
        try:
            return not self.current.is_gone()
        except OSError:  # nobody may look
            return False

    async def look_after_current(self) -> None:
        """Find out whether someone else has written over the current file or its WAL (`cp`).

        It is due as damaged if it lacks what it held. One that is whole goes on, unless its WAL was written by others.
        """
        current = self.current
        fault = await self._fault_of(current)
        if fault and current is self.current:
            self._damage = fault

    async def _fault_of(self, written: Current) -> str:
        """What someone else has done to a file by writing over it or its WAL; empty where it is whole, or gone."""
        if written.is_gone() or not written.is_touched or not await written.pool.run(written.is_still_touched):
            return ""
        try:
            fault = await self._long(fault_without, written.info, written.last_batch_id)
        except (sqlite3.Error, OSError):
            return ""  # it says nothing of what it holds; the next second asks again
        if fault is None:
            await written.pool.run(written.accept)
            return ""
        return f"someone else has written over it: {fault}"

    def _lacks_room(self) -> bool:
        try:
            return self._directory.free_bytes() < _ROOM_BYTES
        except OSError:
            return True

    async def _write(self, items: Sequence[Batch | None]) -> Written:
        current = self.current
        batches = [item for item in items if item is not None]
        try:
            written = await current.pool.run(current.write, batches)
        except Exception as error:  # every failure is the group's, and each POST of it is told
            kind = kind_of(error)
            self.trouble.begin(str(error), kind)
            if kind is Kind.DAMAGED:
                self._damage = "it cannot be written"
            if not isinstance(error, sqlite3.Error | OSError):
                _log.failure("storing {count} batches failed", count=len(batches))
            raise StoreFailed(str(error)) from error
        self.trouble.end()
        self._committed_at = self._reactor.seconds()
        if len(batches) + self._turns.waiting >= _CROWD:
            self._crowd_s = self._committed_at
        self.stored_batches += len(batches)
        current.size_bytes = written.size_bytes
        if batches:
            current.last_batch_id = batches[-1].id
        self._next_ids = self._next_ids._replace(hop=written.next_hop_id)  # SQLite counts hops as they are written
        self._observe(written, len(batches))
        return written

    def _say_that_it_fails(self, reason: str) -> None:
        _log.error("cannot store results in {file}: {reason}", file=self.current.info.path.name, reason=reason)

    # -- rotation ------------------------------------------------------------------------------------

    async def rotate(self) -> Path:
        """Begin a new file and close the current one; POSTs go on meanwhile. Returns the new file's path."""
        async with self._rotating:
            old = self.current
            info = await self._brief(self._create, old.info.sequence + 1)
            new = Current(info, self.limits, self._open_pool, self._reactor.seconds())
            try:
                await new.pool.run(new.begin, self._next_ids)  # opens it before the writers wait for it
                await self._turns.hold()
                await new.pool.run(new.begin, self._next_ids)
            except Exception:
                self._turns.release()
                await new.pool.close()
                await self._brief(self._directory.remove, info.path)
                raise
            path = old.info.path
            self._closing.add(path)
            self._current = new
            ended = replace(old.info, next_ids=self._next_ids._replace(batch=old.last_batch_id + 1))
            self._files = [*(ended if other is old.info else other for other in self._files), info]
            old.info = ended
            self._turns.release()
            try:
                await self._leave(old)
            finally:
                self._closing.discard(path)
            return info.path

    async def _leave(self, old: Current) -> None:
        """Close a file that is written no more, and see to it that what it holds is not lost."""
        damage, self._damage = self._damage, ""
        damage = damage or await self._fault_of(old)  # it may have been written over since the last look
        if not damage and old.is_gone() and not await self._rescue(old):
            return
        await self._close_pool(old)
        if damage:
            await self._set_aside(old.info.path, damage)
        elif old.info in self._files:
            self._unfinished.add(old.info.path)

    async def _close_pool(self, old: Current) -> None:
        """Close the writer's connection and leave the WAL to `finish`: a file without one changes no more."""
        try:
            wal = await self._brief(resultfile.keep_wal, old.info.path)
        except sqlite3.Error:  # gone or damaged: then there is nothing to keep
            await old.pool.close()
            return
        await old.pool.close()
        await self._brief(wal.close)

    async def _rescue(self, old: Current) -> bool:
        """Write a file again that was deleted or replaced; False while that must wait for room on the disk."""
        name, fate = old.info.path.name, _fate_of(old)
        try:
            path = await old.pool.run(old.rescue, self._directory, self.now())
        except (sqlite3.Error, OSError) as error:
            if kind_of(error) is not Kind.DAMAGED:
                old.unsaved = f"{fate} by someone else, and not yet written again: {error}"
                if old not in self._lost:
                    _log.error(
                        "{name} was {fate}, and waits to be written again: {error!s}", name=name, fate=fate, error=error
                    )
                    self._lost.append(old)
                return False
            if old.is_here:
                await self._set_aside(old.info.path, f"its WAL was deleted by someone else: {error}")
            else:
                _log.error(
                    "{name} was {fate} by someone else and is lost: {error!s}", name=name, fate=fate, error=error
                )
                self._files = [info for info in self._files if info is not old.info]
        else:
            self._rename(old, path)
            if path.name == name:
                _log.warn("{name} was deleted by someone else, in whole or in part, and is written again", name=name)
            else:
                why = f"it was replaced by someone else; what it held is in {path.name}"
                self.replaced = {**self.replaced, name: Failure(why, self.now())}
                _log.error(
                    "{name} was replaced by someone else; what it held is written to {new}, and the other file is left"
                    " alone until the next start",
                    name=name, new=path.name,
                )  # fmt: skip
        return True

    def _rename(self, old: Current, path: Path) -> None:
        renamed = replace(old.info, path=path)
        self._files = [renamed if info is old.info else info for info in self._files]
        old.info = renamed

    async def _rescue_lost(self) -> None:
        for old in list(self._lost):
            if old.info not in self._files or await self._rescue(old):  # pruned meanwhile, or written again
                self._lost.remove(old)
                await old.pool.close()
                if old.info in self._files:
                    self._unfinished.add(old.info.path)

    @property
    def lost(self) -> dict[str, str]:
        """The names of files that were deleted or replaced and wait to be written again, with the reasons."""
        return {old.info.path.name: old.unsaved for old in self._lost}

    async def _set_aside(self, path: Path, reason: str) -> None:
        """Take a damaged file out of the way, so that it stops nothing."""
        await self._brief(self._directory.set_aside, path, reason)
        self._files = [info for info in self._files if info.path != path]
        self._unfinished.discard(path)

    def _create(self, sequence: int) -> FileInfo:
        now = self.now()
        created_at = timestamps.at(now)
        self._directory.restore()
        path = resultfile.create(self._directory, sequence, self._next_ids, created_at, now, self._instance)
        version = resultfile.SCHEMA.version
        return FileInfo(path, sequence, created_at, self._next_ids.batch, self._next_ids, version, self._instance)

    def make_room(self, kept: int) -> list[str]:
        """Delete the files beyond keep_files that hold no batch above `kept`, before a start that found no room.

        Returns their names. Blocking. Raises OSError.
        """
        files = take_stock(self._directory).files
        removed = [info for info in files[: -self.limits.keep_files] if info.last_batch_id <= kept]
        for info in removed:
            self._directory.remove(info.path)
        return [info.path.name for info in removed]

    async def prune(self, kept: int) -> list[str]:
        """Delete the files beyond keep_files that hold no batch above `kept`; returns their names.

        One that cannot be deleted is tried again. Raises OSError for it when the others are gone.
        """
        removed = []
        failure: OSError | None = None
        async with self._rotating:
            for info in self.excess:
                if info.last_batch_id > kept:
                    continue
                if self.before_removal is not None:
                    await self.before_removal(info.path)
                try:
                    if await self._brief(self._remove_ours, info):
                        removed.append(info.path.name)
                except OSError as error:
                    failure = error
                    continue
                self._unfinished.discard(info.path)
                self._files = [other for other in self._files if other is not info]  # one may be set aside meanwhile
        if failure is not None:
            raise failure
        return removed

    def _remove_ours(self, info: FileInfo) -> bool:
        """Delete a file, unless somebody has put another in its place. Raises OSError."""
        if not resultfile.is_still(info):
            _log.warn("{name} is no longer a result file of ours, and is left alone", name=info.path.name)
            self._directory.give_up(info.path)
            return False
        self._directory.remove(info.path)
        return True

    async def finish(self, path: Path) -> bool:
        """Make a closed file self-contained; False while it is written or read by others."""
        async with self._finishing:
            try:
                if path in self._unfinished and await self._long(resultfile.finish, path):
                    self._unfinished.discard(path)
            except sqlite3.DatabaseError as error:
                await self._set_aside(path, str(error))
        return path != self.current.info.path and path not in self._unfinished | self._closing

    async def finish_closed(self) -> None:
        """Finish all closed files; what must wait for its last reader, or for room, is tried at the next call."""
        if self._lost:
            async with self._rotating:
                await self._rescue_lost()
        await self._finish_all()

    async def _finish_all(self) -> None:
        for path in sorted(self._unfinished):
            await self.finish(path)


def _fate_of(current: Current) -> str:
    return "replaced" if current.is_replaced else "deleted"


def _say_that_it_works(seconds: float) -> None:
    _log.info("results are stored again, after {seconds:.0f} s", seconds=seconds)


def _weigh(item: Batch | None) -> int:
    return 0 if item is None else item.cells
