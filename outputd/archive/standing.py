"""Where the shipping stands: under which name, up to which batch, and what of that is on disk."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from outputd.archive import mark as marks
from outputd.archive.asks import Found, Span
from outputd.archive.instance import instance_of, name_in, of_history, renamed
from outputd.archive.mark import Mark, UnderWay
from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Trouble
from outputd.store.directory import DataDir
from outputd.store.file import FileInfo
from outputd.store.store import Store

_log = Logger()


class Standing:
    """The mark, in memory and in `archive.json`. `name` is what the instance is called; None leaves it as it was.

    What is stored when that changes is still shipped under the old name: a copy of the directory may ship it, too.
    """

    def __init__(
        self, store: Store, directory: DataDir, place: str, name: str | None, host_name: str, in_thread: InThread,
        clock: IReactorTime,
    ) -> None:  # fmt: skip
        self._store = store
        self._directory = directory
        self._place = place
        self._name = name
        self._host_name = host_name
        self._in_thread = in_thread
        self._written: Mark | None = None
        self._stored_before = 0
        """The last batch that was stored at the start."""
        self.mark = Mark(place=place, instance="", result_files="")
        self.is_proven = False
        """Whether all up to the mark is known to be in this archive, and nothing of ours above it."""
        self.through = 0
        """The last batch up to which all that there is is in the archive."""
        self.unwritten = Trouble(store.now, clock.seconds, _say_that_it_is_not_written)
        """Begins when the mark cannot be written: a start would have to list the archive."""

    def begin(self) -> None:
        """Believe what was written, as far as it is of this archive and of these files. Blocking."""
        kept, of = self._kept(), self._store.instance
        self._stored_before = self._store.last_batch_id
        if kept is None or kept.result_files != of:
            instance = instance_of(self._name or self._host_name, of)
            self.mark = Mark(place=self._place, instance=instance, result_files=of)
        elif kept.place == self._place and self._is_of_our_history(kept):
            self.mark = self._written = kept
            self.is_proven = kept.batch_id > 0
        else:
            instance = instance_of(name_in(kept.instance), of)
            self.mark = Mark(place=self._place, instance=instance, result_files=of)
        self.through = self.mark.batch_id

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
        is_known = bool(arrived and kept.arrived)
        return kept.last_batch_id <= self._store.last_batch_id and (not is_known or arrived == kept.arrived)

    def _called(self, instance: str) -> str:
        """An INSTANCE by the name that it is to have now."""
        return renamed(instance, self._name or name_in(instance))

    async def take_up(self, span: Span) -> None:
        """A span is about to be put. Raises OSError when a new name cannot be written down."""
        mark = replace(self.mark, under_way=UnderWay.of(span))
        if span.first_batch_id > self._stored_before:
            mark = replace(mark, instance=self._called(mark.instance))
        await self._set(mark)

    def let_go(self) -> None:
        """The span under way is to be cut anew."""
        self.mark = replace(self.mark, under_way=None)

    def doubt(self) -> None:
        """The archive has something under our name that we do not know."""
        self.let_go()
        self.is_proven = False

    async def move(self, batch_id: int, files: Sequence[FileInfo]) -> None:
        """All up to a batch of these files is in the archive, or never will be."""
        self.through = max(self.through, batch_id)
        arrived = await self._in_thread(marks.arrival_of, batch_id, files)
        await self._set(replace(self.mark, batch_id=batch_id, arrived=arrived, under_way=None))

    async def believe(self, found: Found, files: Sequence[FileInfo]) -> None:
        """Go on above what the archive has; under another name, if it is not ours alone: that is to be proven, too.

        Raises OSError when a new name cannot be written down, as two must never ship under one; and sqlite3.Error.
        """
        before, instance = self.mark, self.mark.instance
        history = await self._in_thread(marks.history_after, found.mark, files) if found.is_shared else ""
        if history:
            instance = of_history(instance, history)
        arrived = await self._in_thread(marks.arrival_of, found.mark, files)
        await self._set(replace(before, instance=instance, batch_id=found.mark, arrived=arrived, under_way=None))
        self.is_proven = not found.is_shared
        self.through = max(self.through, found.mark)

    async def _set(self, mark: Mark) -> None:
        """On a full disk it goes on in memory, but for a new name: what is lost of it is found again in the archive."""
        is_known = self._written is not None and _who(self._written) == _who(mark)
        try:
            await self._in_thread(self._write, mark)
        except OSError as error:
            if not is_known:
                raise
            self.unwritten.begin(f"{self._directory.archive.name} cannot be written: {error.strerror}")
        else:
            self.unwritten.end()
        self.mark = mark

    def _write(self, mark: Mark) -> None:
        if mark != self._written:
            marks.write(self._directory, mark)
            self._written = mark


def _who(mark: Mark) -> tuple[str, str, str]:
    return mark.place, mark.instance, mark.result_files


def _say_that_it_is_not_written(reason: str) -> None:
    _log.error("how far the archive has come is known in memory alone: {reason}", reason=reason)
