"""Ships what the store has on disk to the archive: what is next, what has become of it, and when to try again."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from outputd.archive.asking import Asking, Undone
from outputd.archive.asks import Cut, Failed, Find, Ship, Shipped, Span, Taken
from outputd.archive.due import Due
from outputd.archive.losses import Losses
from outputd.archive.standing import Standing
from outputd.client.retry import backoff
from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.process.trouble import Failure, Kind, Trouble
from outputd.store.file import FileInfo
from outputd.store.store import Store

_log = Logger()
_EVERY_S = 1.0
_MOST_STUMBLES = {Kind.DAMAGED: 3, Kind.FOREIGN: 3, Kind.GONE: 20}
"""Over a file that cannot be read, by the reason; a disk that is away for some minutes comes back."""


@dataclass(slots=True)
class Counts:
    """What was shipped since the start of the process."""

    objects: int = 0
    results: int = 0
    nbytes: int = 0
    failures: int = 0


class KeepingUp:
    """Ships each batch once, in order, from the files alone; nothing waits for it but the deletion of old files."""

    def __init__(
        self, store: Store, standing: Standing, every_s: float, asking: Asking, clock: IReactorTime,
        chance: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._store = store
        self._standing = standing
        self._asking = asking
        self._clock = clock
        self._chance = chance
        self._due = Due(store, lambda: standing.through, every_s, clock)
        self._looking = Every(_EVERY_S, self._look, clock)
        self._again_s = 0.0
        self._failed_in_a_row = 0
        self._stumbles: dict[tuple[Path, int], int] = {}
        self.counts = Counts()
        self.losses = Losses(store, lambda: standing.through)
        self.trouble = Trouble(store.now, clock.seconds, _say_that_it_fails, _say_that_it_works)
        self.shared: Failure | None = None
        """That another directory ships under the name that ours had."""

    # -- life ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on at the mark. Blocking, once the store is open."""
        standing = self._standing
        standing.begin()
        self._due.begin()
        mark, first = standing.mark, self._store.files[0].first_batch_id
        if standing.is_proven and first > mark.batch_id + 1:
            self.losses.note(mark.batch_id + 1, first - 1, "their files were deleted while nothing was shipped")
            standing.through = first - 1
        _log.info(
            "results are shipped to {place} as {instance}, from batch {first} on",
            place=mark.place, instance=mark.instance, first=standing.through + 1,
        )  # fmt: skip
        self._looking.start()

    async def stop(self) -> None:
        """Kill what is under way, which the next start does again; return when no file is read any more."""
        self._asking.stop()
        await self._looking.stop()
        await self._asking.close()

    @property
    def lag_s(self) -> float:
        """For how long there has been something, since the start, that is not in the archive."""
        return self._due.lag_s

    # -- again and again -----------------------------------------------------------------------------

    async def _look(self) -> None:
        """Ship what is due; an error is told, and tried again after a while."""
        self.losses.look()
        if self._due.is_now and self._clock.seconds() >= self._again_s:
            await self._try()
        await self._asking.rest()

    async def _try(self) -> None:
        try:
            await self._ship_all(self._due.is_all)
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
        if failed.path is not None and failed.kind in _MOST_STUMBLES:
            await self._give_up(failed.path, failed)

    def _recovered(self) -> None:
        self._failed_in_a_row = 0
        self._stumbles.clear()
        self.trouble.end()

    async def _give_up(self, path: Path, failed: Failed) -> None:
        """Leave out what could not be read of a file several times, so that it holds up nothing else."""
        standing = self._standing
        info = next((info for info in self._store.files if info.path == path), None)
        under_way = standing.mark.under_way
        if failed.kind is Kind.GONE or info is None:
            standing.let_go()  # the file may have another name now
        stumbles = self._stumbles[path, standing.through] = self._stumbles.get((path, standing.through), 0) + 1
        if info is None or stumbles < _MOST_STUMBLES[failed.kind]:
            return
        if under_way is not None and under_way.file == path.name and failed.kind is Kind.DAMAGED:
            last = under_way.last_batch_id
        elif info is not self._store.current.info:
            last = info.last_batch_id
        else:
            return  # the store finds out, and leaves it
        self.losses.note(max(standing.through + 1, info.first_batch_id), last, failed.reason)
        await standing.move(last, self._store.files)
        self._failed_in_a_row, self._again_s = 0, 0.0

    # -- one span after the other --------------------------------------------------------------------

    async def _ship_all(self, is_all: bool) -> None:
        """Return when what is due now is in the archive; what comes meanwhile waits for its own time.

        Raises Undone, OSError, sqlite3.Error.
        """
        seen, standing = self._due.seen(), self._standing
        while self._looking.running:
            self.losses.look()
            if not standing.is_proven:
                await self._find()
            files, missing = self._readable()
            span = await self._next(files, is_all or bool(missing))
            if span is not None:
                await self._put(span, files)
            elif missing:
                raise _waits(missing)
            if span is None or (is_all and standing.through >= seen.last_batch_id):
                standing.through = max(standing.through, self._due.done(seen, is_all))
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
        """What was under way, or else what is cut next."""
        under_way, through = self._standing.mark.under_way, self._standing.through
        if under_way is not None and (span := under_way.span(files)) is not None:
            return span
        paths = tuple(info.path for info in files if info.last_batch_id > through or info is files[-1])
        return await self._asking.ask(Cut(paths, through, is_open_taken)) if paths else None

    async def _put(self, span: Span, files: Sequence[FileInfo]) -> None:
        """Ship a span. It is written down before, and the mark after it. Raises Undone, OSError."""
        await self._standing.take_up(span)
        mark = self._standing.mark
        answer = await self._asking.ask(Ship(span, mark.instance, mark.arrived))
        if isinstance(answer, Taken):
            self._standing.doubt()
            await self._find(answer.name)
            return
        self._count(answer)
        self._recovered()
        await self._standing.move(span.last_batch_id, files)

    def _count(self, shipped: Shipped) -> None:
        if not shipped.was_there:
            self.counts.objects += bool(shipped.results) + bool(shipped.rejected)
            self.counts.results += shipped.results
            self.counts.nbytes += shipped.nbytes

    async def _find(self, taken: str = "") -> None:
        """See how far the archive has come under our name, which may become another one.

        Raises Undone, sqlite3.Error, and OSError, see Standing.believe.
        """
        while True:
            files, missing = self._readable()
            if missing:
                raise _waits(missing)
            before = self._standing.mark
            paths = tuple(info.path for info in files)
            found = await self._asking.ask(Find(before.instance, before.batch_id, paths, before.arrived))
            if taken and not found.is_shared and found.mark <= before.batch_id:
                raise Undone(Failed(f"{taken} is in the archive, and nobody knows what it is"))
            await self._standing.believe(found, files)
            self._recovered()
            if self._standing.mark.instance == before.instance:
                return
            self._say_that_it_is_shared(before.instance)
            taken = ""

    def _say_that_it_is_shared(self, before: str) -> None:
        now = self._standing.mark
        reason = (
            f"another directory has shipped under the name {before}, as a copy of this one or a restored backup does;"
            f" this one ships as {now.instance} from now on"
        )
        self.shared = Failure(reason, self._store.now())
        _log.warn("{reason}, from batch {first} on", reason=reason, first=now.batch_id + 1)


def _waits(name: str) -> Undone:
    return Undone(Failed(f"{name} was deleted or replaced, and is not yet written again"))


def _say_that_it_fails(reason: str) -> None:
    _log.warn("results cannot be shipped to the archive, trying again: {reason}", reason=reason)


def _say_that_it_works(seconds: float) -> None:
    _log.info("results are shipped to the archive again, after {seconds:.0f} s", seconds=seconds)
