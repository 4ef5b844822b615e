"""All result files of an instance as one export reads them: each page over a connection that is closed after it.

So a reader, however slow, holds up neither a checkpoint nor the end of a file that is closed. What is pruned meanwhile
is kept open until it is read.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import TypeVar

from outputd.export.asked import Asked
from outputd.export.page import Page
from outputd.export.reading import Reading
from outputd.process.trouble import Kind
from outputd.sqlite import connections
from outputd.sqlite.errors import kind_of
from outputd.sqlite.files import Identity, identity_of
from outputd.store.file import FileInfo, keep_wal

T = TypeVar("T")
MOST_KEPT = 64
"""Pruned files that one export keeps: each has descriptors, and takes room on the disk."""


class Lost(Exception):
    """The rest of an export cannot be had; the text says why."""

    damaged = ""
    """The name of the file in which there is damage, if that is the cause."""


class Walk:
    """Reads what is asked for of these files, oldest first, up to what they hold at `begin`. Blocking.

    It belongs to one thread at a time, but for `keep`, which may come from any.
    """

    def __init__(self, files: Sequence[FileInfo], asked: Asked, has_room: Callable[[], bool]) -> None:
        """`has_room` says whether the disk can bear files that were pruned and are not gone."""
        self.missing: list[str] = []
        """The names of files that were not there any more at `begin`."""
        self._files = deque(files)
        self._asked = asked
        self._has_room = has_room
        self._known: dict[Path, Identity | None] = {}
        self._last_id = 0
        self._reading: Reading | None = None
        self._kept: dict[Path, sqlite3.Connection] = {}
        self._keeping = threading.Lock()
        self._is_closed = False

    def begin(self) -> None:
        """Settle what is read: the files that are there, up to the newest result. Raises Lost, OSError."""
        for info in list(self._files):
            self._known[info.path] = identity_of(info.path)
            if self._known[info.path] is None and info.path not in self._kept and info is not self._files[-1]:
                self._files.remove(info)
                self.missing.append(info.path.name)
        if self._files:
            newest = "SELECT max(id) FROM ping_results"
            self._last_id = self._in(self._files[-1], lambda db: db.execute(newest).fetchone()[0]) or 0

    def page(self) -> Page | None:
        """The next results, perhaps none of those that were looked at; None after the last. Raises Lost."""
        if self._kept and not self._is_roomy():
            raise Lost("the disk is nearly full, and pruned files have to go")
        while self._files:
            page, reading = self._in(self._files[0], self._page)
            if page is not None:
                self._reading = reading
                return page
            self._leave()
        return None

    def spoilt(self) -> Lost:
        """What to raise when the page that was read last holds what outputd never stores."""
        name = self._files[0].path.name
        lost = Lost(f"{name} holds what outputd never stores")
        lost.damaged = name
        return lost

    def keep(self, path: Path) -> bool:
        """Hold a file that is about to be deleted until it is read; False when that cannot be."""
        with self._keeping:
            if self._is_closed or path in self._kept or all(info.path != path for info in tuple(self._files)):
                return True
            if len(self._kept) == MOST_KEPT or not self._is_roomy():
                return False
            try:
                self._kept[path] = keep_wal(path)
            except sqlite3.Error:
                return False
            return True

    def close(self) -> None:
        """Hold nothing any more."""
        with self._keeping:
            self._is_closed = True
            kept, self._kept = self._kept, {}
        for db in kept.values():
            db.close()

    def _is_roomy(self) -> bool:
        try:
            return self._has_room()
        except OSError:  # the directory itself is gone
            return False

    def _page(self, db: sqlite3.Connection) -> tuple[Page | None, Reading]:
        """The next page of a file, and how its reading goes on; until that is taken, the page can be read again."""
        if self._reading is not None:
            reading = copy(self._reading)
            reading.db = db
        else:
            last_id = self._last_id if len(self._files) == 1 else None  # only the newest may have grown
            reading = Reading(db, self._files[0], self._asked, last_id=last_id)
        return reading.page(), reading

    def _leave(self) -> None:
        self._reading = None
        with self._keeping:
            db = self._kept.pop(self._files.popleft().path, None)
        if db is not None:
            db.close()

    def _in(self, info: FileInfo, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` finds in a file, which was deleted by nobody but the store, and replaced by nobody."""
        path = info.path
        try:
            if path not in self._kept:
                try:
                    with connections.reading(path) as db:
                        found = work(db)
                    if path not in self._kept:  # else its WAL may have been deleted before it was read
                        if identity_of(path) != self._known[path]:
                            raise Lost(f"{path.name} was deleted or replaced by someone else")
                        return found
                except sqlite3.Error:
                    if path not in self._kept:
                        raise
            return work(self._kept[path])
        except (sqlite3.Error, OSError) as error:
            lost = Lost(f"{path.name} cannot be read: {error}")
            lost.damaged = path.name if kind_of(error) is Kind.DAMAGED else ""
            raise lost from error
