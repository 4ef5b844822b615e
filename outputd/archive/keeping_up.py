"""Ships what the store has on disk to the archive: what is next, what has become of it, and when to try again."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from outputd.archive import mark as marks
from outputd.archive.asking import Asking, Undone
from outputd.archive.asks import Cut, Failed, Find, Ship, Shipped, Span, Taken
from outputd.archive.mark import Mark, UnderWay
from outputd.archive.naming import instance_of, name_in, renamed
from outputd.client.retry import backoff
from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Kind, Trouble
from outputd.results import timestamps
from outputd.store.directory import DataDir
from outputd.store.file import FileInfo, new_instance
from outputd.store.store import Store

_log = Logger()
_EVERY_S = 1.0
_GROWN_BYTES = 64 << 20
_MOST_STUMBLES = 3
_FAULTS = (Kind.DAMAGED, Kind.FOREIGN, Kind.GONE)


@dataclass(slots=True)
class Counts:
    """What was shipped since the start of the process, and what never will be."""

    objects: int = 0
    results: int = 0
    nbytes: int = 0
    failures: int = 0
    lost_batches: int = 0
    """Those whose files went, or are damaged, before they were shipped."""


class KeepingUp:
    """Ships each batch once, in order, from the files alone; nothing waits for it but the deletion of old files.

    At once what a closed file has, what makes a whole object, and what is left of a day; the rest `every_s` after it
    came. `name` is what the instance is called; None leaves it the name that it has.
    """

    def __init__(
        self, store: Store, directory: DataDir, place: str, name: str | None, host_name: str, every_s: float,
        asking: Asking, in_thread: InThread, clock: IReactorTime, chance: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._store = store
        self._directory = directory
        self._place = place
        self._name = name
        self._host_name = host_name
        self.every_s = every_s
        self._asking = asking
        self._in_thread = in_thread
        self._clock = clock
        self._chance = chance
        self._mark = Mark(place=place, instance="", result_files="")
        self._written: Mark | None = None
        self._is_proven = False
        """Whether all up to the mark is known to be in this archive, and nothing of ours above it."""
        self._through = 0
        self._looking = Every(_EVERY_S, self._look, clock)
        self._complete_s = self._open_due_s = self._again_s = 0.0
        self._failed_in_a_row = 0
        self._stumbles: dict[tuple[Path, int], int] = {}
        self._day = ""
        self._measured = (0, 0)
        self._unshipped: dict[int, tuple[str, int, int]] = {}
        self.counts = Counts()
        self.trouble = Trouble(store.now, clock.seconds, _say_that_it_fails, _say_that_it_works)
        self.unwritten = Trouble(store.now, clock.seconds, _say_that_it_is_not_written)
        """Begins when the mark cannot be written: a start would have to list the archive."""
        self.loss: Failure | None = None
        """The last batches that will never be shipped."""
        self.shared: Failure | None = None
        """That another directory ships under the name that ours had."""

    # -- life ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on at the mark. Blocking, once the store is open."""
        self._begin()
        self._looking.start()

    async def stop(self) -> None:
        """Kill what is under way, which the next start does again; return when no file is read any more."""
        self._asking.stop()
        await self._looking.stop()
        await self._asking.close()

    def _begin(self) -> None:
        kept, of = self._kept(), self._store.instance
        if kept is None or kept.result_files != of:
            self._mark = Mark(
                place=self._place, instance=instance_of(self._name or self._host_name, of), result_files=of
            )
        elif kept.place == self._place and self._is_of_our_history(kept):
            self._mark = self._written = kept
            self._is_proven = kept.batch_id > 0 and kept.instance == self._named(kept.instance)
        else:
            self._mark = replace(kept, place=self._place, batch_id=0, arrived="", under_way=None)
        self._through = self._mark.batch_id
        self._day = self._today
        self._complete_s = self._clock.seconds()
        self._open_due_s = self._complete_s + self.every_s
        first = self._store.files[0].first_batch_id
        if self._is_proven and self._through and first > self._through + 1:
            self._lose(self._through + 1, first - 1, "their files were deleted while nothing was shipped")
            self._through = first - 1
        _log.info(
            "results are shipped to {place} as {instance}, from batch {first} on",
            place=self._place, instance=self._mark.instance, first=self._through + 1,
        )  # fmt: skip

    def _named(self, instance: str) -> str:
        """What an INSTANCE has to be called now."""
        return renamed(instance, self._name or name_in(instance))

    def _kept(self) -> Mark | None:
        path = self._directory.archive
        try:
            return marks.read(path)
        except (OSError, msgspec.MsgspecError) as error:
            _log.warn(
                "{name} cannot be read, and is made anew from a listing of the archive: {error!s}",
                name=path.name, error=error,
            )  # fmt: skip
            return None

    def _is_of_our_history(self, kept: Mark) -> bool:
        """Whether the files here go on from what was shipped: a backup that was restored may not."""
        arrived = marks.arrival_of(kept.batch_id, self._store.files)
        return kept.batch_id <= self._store.last_batch_id and (not arrived or arrived == kept.arrived)

    # -- what others may know ------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """Where the archive is, without any secret."""
        return self._place

    @property
    def instance(self) -> str:
        """The name under which we ship."""
        return self._mark.instance

    @property
    def through(self) -> int:
        """The last batch up to which all that there is is in the archive."""
        return self._through

    @property
    def lag_s(self) -> float:
        """For how long there has been something, since the start, that is not in the archive."""
        is_complete = self._store.last_batch_id <= self._through
        return 0.0 if is_complete else self._clock.seconds() - self._complete_s

    # -- when ----------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Ship what is due; an error is told, and tried again after a while."""
        self._note_losses()
        now_s = self._clock.seconds()
        if self._today != self._day:
            self._day, self._open_due_s = self._today, now_s
        if self._store.last_batch_id <= self._through:
            self._complete_s, self._open_due_s = now_s, now_s + self.every_s
        elif now_s >= self._again_s and (self._is_open_due or self._has_closed or self._has_grown):
            await self._try()
        await self._asking.rest()

    @property
    def _today(self) -> str:
        return timestamps.at(self._store.now())[:10]

    @property
    def _is_open_due(self) -> bool:
        return self._clock.seconds() >= self._open_due_s

    @property
    def _closed_through(self) -> int:
        """The last batch of the closed files."""
        return max((info.last_batch_id for info in self._store.files[:-1]), default=0)

    @property
    def _has_closed(self) -> bool:
        return self._closed_through > self._through

    @property
    def _has_grown(self) -> bool:
        """Whether the current file has so much more than at the last look that it may make a whole object."""
        sequence, size_bytes = self._size_of_current()
        before_bytes = self._measured[1] if self._measured[0] == sequence else 0
        return size_bytes - before_bytes >= _GROWN_BYTES

    def _size_of_current(self) -> tuple[int, int]:
        return self._store.current.info.sequence, self._store.current.size_bytes

    async def _try(self) -> None:
        try:
            await self._ship_all(self._is_open_due)
        except Undone as error:
            await self._stumble(error.failed)
        except (OSError, sqlite3.Error) as error:
            await self._stumble(Failed(str(error)))
        except Exception as error:
            _log.failure("the archive failed unexpectedly")
            await self._stumble(Failed(str(error) or type(error).__name__))

    async def _stumble(self, failed: Failed) -> None:
        if not self._looking.running:  # by the stop
            return
        self.counts.failures += 1
        self.trouble.begin(failed.reason, failed.kind)
        self._again_s = self._clock.seconds() + backoff(self._failed_in_a_row, self._chance())
        self._failed_in_a_row += 1
        if failed.path is not None and failed.kind in _FAULTS:
            await self._give_up(failed.path, failed)

    def _recovered(self) -> None:
        self._failed_in_a_row = 0
        self._stumbles.clear()
        self.trouble.end()

    # -- what ----------------------------------------------------------------------------------------

    async def _ship_all(self, is_open_taken: bool) -> None:
        """Return when all that is due is in the archive. Raises Undone, OSError, sqlite3.Error."""
        while self._looking.running:
            self._note_losses()
            if not self._is_proven:
                await self._find()
            asked_s, last = self._clock.seconds(), self._store.last_batch_id
            size, closed_through = self._size_of_current(), self._closed_through
            files, missing = self._readable()
            span = await self._next(files, is_open_taken or bool(missing))
            if span is not None:
                await self._put(span)
                continue
            if missing:
                raise Undone(Failed(f"{missing} was deleted or replaced, and is not yet written again"))
            self._measured = size
            if is_open_taken:
                self._complete_s, self._open_due_s = asked_s, asked_s + self.every_s
            self._through = max(self._through, last if is_open_taken else closed_through)
            return

    def _readable(self) -> tuple[Sequence[FileInfo], str]:
        """The files, oldest first, and the name of that which cannot be read now: what follows it has to wait.

        Raises OSError.
        """
        files: list[FileInfo] = []
        lost, current = self._store.lost, self._store.current
        for info in self._store.files:
            if info.path.name in lost or (info is current.info and current.is_gone()):
                return files, info.path.name
            files.append(info)
        return files, ""

    async def _next(self, files: Sequence[FileInfo], is_open_taken: bool) -> Span | None:
        under_way = self._mark.under_way
        if under_way is not None and (span := under_way.span(files)) is not None:
            return span
        paths = tuple(info.path for info in files if info.last_batch_id > self._through or info is files[-1])
        return await self._asking.ask(Cut(paths, self._through, is_open_taken)) if paths else None

    async def _put(self, span: Span) -> None:
        """Ship a span. It is written down before, and the mark after it. Raises Undone."""
        if self._mark.under_way != UnderWay.of(span):
            await self._move(replace(self._mark, under_way=UnderWay.of(span)))
        answer = await self._asking.ask(Ship(span, self._mark.instance))
        if isinstance(answer, Taken):
            self._is_proven = False
            self._mark = replace(self._mark, under_way=None)
            await self._find(answer.name)
            return
        self._count(answer)
        self._recovered()
        arrived = await self._in_thread(marks.arrival_of, span.last_batch_id, self._store.files)
        await self._pass(span.last_batch_id, arrived)

    def _count(self, shipped: Shipped) -> None:
        if not shipped.was_there:
            self.counts.objects += bool(shipped.results) + bool(shipped.rejected)
            self.counts.results += shipped.results
            self.counts.nbytes += shipped.nbytes

    async def _find(self, taken: str = "") -> None:
        """See how far the archive has come under our name, and take another one when it is not ours alone.

        Raises Undone, and OSError when a new name cannot be written down: two must never ship under one.
        """
        files, missing = self._readable()
        if missing:
            raise Undone(Failed(f"{missing} was deleted or replaced, and is not yet written again"))
        before = self._mark
        found = await self._asking.ask(Find(before.instance, before.batch_id, tuple(info.path for info in files)))
        if taken and not found.is_shared and found.mark <= before.batch_id:
            raise Undone(Failed(f"{taken} is in the archive, and nobody knows what it is"))
        arrived = await self._in_thread(marks.arrival_of, found.mark, files)
        instance = instance_of(name_in(before.instance), new_instance()) if found.is_shared else before.instance
        mark = replace(before, instance=self._named(instance), batch_id=found.mark, arrived=arrived, under_way=None)
        if self._written is None or _who(self._written) != _who(mark):
            await self._in_thread(self._write, mark)
        await self._move(mark)
        self._is_proven = True
        self._through = max(self._through, found.mark)
        self._recovered()
        if found.is_shared:
            self._say_that_it_is_shared(before.instance)

    def _say_that_it_is_shared(self, before: str) -> None:
        now = self._mark.instance
        reason = (
            f"another directory has shipped under the name {before}, as a copy of this one or a restored backup does;"
            f" this one ships as {now} from now on"
        )
        self.shared = Failure(reason, self._store.now())
        _log.warn("{reason}, from batch {first} on", reason=reason, first=self._mark.batch_id + 1)

    # -- the mark ------------------------------------------------------------------------------------

    async def _pass(self, batch_id: int, arrived: str) -> None:
        self._through = max(self._through, batch_id)
        await self._move(replace(self._mark, batch_id=batch_id, arrived=arrived, under_way=None))

    async def _move(self, mark: Mark) -> None:
        """Set the mark. On a full disk it goes on in memory: what is lost of it is found again in the archive."""
        self._mark = mark
        try:
            await self._in_thread(self._write, mark)
        except OSError as error:
            self.unwritten.begin(f"{os.path.basename(self._directory.archive)} cannot be written: {error.strerror}")
        else:
            self.unwritten.end()

    def _write(self, mark: Mark) -> None:
        """In a thread. Raises OSError."""
        if mark != self._written:
            marks.write(self._directory, mark)
            self._written = mark

    # -- what is lost --------------------------------------------------------------------------------

    async def _give_up(self, path: Path, failed: Failed) -> None:
        """Leave out what could not be read of a file several times, so that it holds up nothing else."""
        info = next((info for info in self._store.files if info.path == path), None)
        under_way = self._mark.under_way
        if failed.kind is Kind.GONE or info is None:
            self._mark = replace(self._mark, under_way=None)  # it may have been renamed, or deleted: cut anew
        stumbles = self._stumbles[path, self._through] = self._stumbles.get((path, self._through), 0) + 1
        if info is None or stumbles < _MOST_STUMBLES:
            return
        if under_way is not None and under_way.file == path.name and failed.kind is Kind.DAMAGED:
            last = under_way.last_batch_id
        elif info is not self._store.current.info:
            last = info.last_batch_id
        else:
            return  # the store finds out, and leaves it
        self._lose(max(self._through + 1, info.first_batch_id), last, f"{path.name}: {failed.reason}")
        await self._pass(last, "")
        self._failed_in_a_row, self._again_s = 0, 0.0

    def _note_losses(self) -> None:
        """Tell of files that are gone before they were shipped."""
        files = self._store.files
        there = {info.sequence for info in files}
        for sequence, (name, first, last) in self._unshipped.items():
            if sequence not in there and last > self._through:
                self._lose(max(first, self._through + 1), last, f"{name} was deleted or set aside before that")
        ends = [*(info.last_batch_id for info in files[:-1]), self._store.current.last_batch_id]
        self._unshipped = {
            info.sequence: (info.path.name, info.first_batch_id, end)
            for info, end in zip(files, ends, strict=True)
            if end > self._through
        }

    def _lose(self, first: int, last: int, why: str) -> None:
        self.counts.lost_batches += last - first + 1
        reason = f"the POSTs of batches {first} to {last} will never be in the archive: {why}"
        self.loss = Failure(reason, self._store.now())
        _log.error("{reason}", reason=reason)


def _who(mark: Mark) -> tuple[str, str, str]:
    return mark.place, mark.instance, mark.result_files


def _say_that_it_fails(reason: str) -> None:
    _log.warn("results cannot be shipped to the archive, trying again: {reason}", reason=reason)


def _say_that_it_works(seconds: float) -> None:
    _log.info("results are shipped to the archive again, after {seconds:.0f} s", seconds=seconds)


def _say_that_it_is_not_written(reason: str) -> None:
    _log.error("how far the archive has come is known in memory alone: {reason}", reason=reason)
