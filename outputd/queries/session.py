"""One question: a connection in memory to which the files are attached for as long as they are read, and no longer."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from outputd.changes import changes
from outputd.naming.naming import Naming
from outputd.process.trouble import Kind
from outputd.queries.sent import Sent
from outputd.results.addresses import is_within, network_in
from outputd.sqlite.connections import Connection, uri
from outputd.sqlite.errors import kind_of
from outputd.sqlite.files import delete_database, identity_of
from outputd.store.directory import CHANGES
from outputd.store.file import FileInfo
from outputd.summary.summary import SCHEMA

T = TypeVar("T")
_CACHE_KIB = 256  # of each of the long answers that are being read; four times as much made none faster
_LOOK_EVERY = 1_000_000
"""Steps of SQLite's machine, tens of milliseconds; an interrupt that comes before a statement's first step is lost."""

LONG_PAGE_BYTES = 256 * 1024
"""A page with more of texts is made while no other such is: while it is made it has many times its bytes."""
_LOOK_S = 0.1


class TooLong(Exception):
    """The question was not answered within its time, and its SQL was ended."""


class NotReady(Exception):
    """The answer cannot be given now, but soon."""


class Session:
    """Reads for one question. It belongs to one thread at a time; `end` may be called from any."""

    def __init__(
        self, files: Sequence[FileInfo], summary: Path, long_page: threading.Lock | None = None,
        naming: Naming | None = None, sent: Sent | None = None,
    ) -> None:  # fmt: skip
        """`long_page` is held by the one of all sessions that makes a long page."""
        self.files = files
        self.unreadable: dict[str, str] = {}
        """Damaged files that were passed over, by name, with what is wrong."""
        self.has_begun = False
        """Whether a part of the answer is with the client: who reads it can no longer be told of a damaged file."""
        self.naming = naming
        """What is known of addresses beside the results; None where nothing was asked for."""
        self.sent = Sent() if sent is None else sent
        """What the pages of lists have sent."""
        self._summary = summary
        self._long_page = long_page or threading.Lock()
        self._has_long_page = False
        self._ended: Exception | None = None
        self._db = sqlite3.connect(
            ":memory:", uri=True, isolation_level=None, check_same_thread=False, timeout=5, factory=Connection
        )
        self._db.execute("PRAGMA temp_store=FILE")
        self._db.execute("PRAGMA automatic_index=OFF")  # one over all hops of a file takes longer than any question
        self._db.execute(f"PRAGMA temp.cache_size=-{_CACHE_KIB}")
        self._db.set_progress_handler(lambda: self._ended is not None, _LOOK_EVERY)

    @property
    def scratch_bytes(self) -> int:
        """What its scratch tables take, most of it on the disk."""
        return int(self.value("PRAGMA temp.page_count")) * int(self.value("PRAGMA temp.page_size"))

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> sqlite3.Cursor:
        """Run a statement. Raises TooLong, or another reason to end, and sqlite3.Error."""
        with self._ending():
            return self._db.execute(statement, parameters or {})

    def run(self, script: str) -> None:
        """Run statements without parameters all at once: each alone costs a wait for the interpreter beside a load."""
        with self._ending():
            self._db.executescript(script)

    def choose_within(self, prefix: str) -> None:
        """Give SQL a function `within(ip)`: whether an address is in this network."""
        network = network_in(prefix)
        assert network is not None, prefix
        self.define("within", 1, is_within(network))

    def define(self, name: str, arguments: int, work: Callable[..., str | bool]) -> None:
        """Give SQL a function whose value depends on its arguments alone."""
        self._db.create_function(name, arguments, work, deterministic=True)

    def value(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first value of the first row; None when there is no row."""
        row = self.row(statement, parameters)
        return None if row is None else row[0]

    def row(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first row; None when there is none."""
        return self.execute(statement, parameters).fetchone()

    def begin_page(self, size_bytes: int) -> None:
        """Wait, if the page that is made now will be long, until no other such is made. Raises TooLong."""
        if size_bytes <= LONG_PAGE_BYTES or self._has_long_page:
            return
        while not self._long_page.acquire(timeout=_LOOK_S):
            if self._ended is not None:
                raise self._ended
        self._has_long_page = True

    def end_page(self) -> None:
        """What was being made has left the thread, or failed."""
        if self._has_long_page:
            self._has_long_page = False
            self._long_page.release()

    def over_files(self, work: Callable[[FileInfo], bool | None], files: Sequence[FileInfo] | None = None) -> None:
        """Do `work` with each file attached as `f`, in one snapshot of it, until it returns True.

        What is pruned meanwhile is passed over, and so is a damaged file while that can be told: the others answer.
        """
        for info in self.files if files is None else files:
            try:
                with self.attached(info.path, "f"):
                    if work(info):
                        return
            except sqlite3.DatabaseError as error:
                kind = kind_of(error)
                if kind is Kind.DAMAGED and not self.has_begun:
                    self.unreadable[info.path.name] = str(error)
                elif info.path.exists() or kind not in (Kind.GONE, Kind.FOREIGN):
                    raise

    def in_file(self, info: FileInfo, work: Callable[[], T]) -> T | None:
        """What `work` finds in this file alone; None where over_files passes it over."""
        found: list[T] = []
        self.over_files(lambda _: found.append(work()), [info])
        return found[0] if found else None

    @contextlib.contextmanager
    def summary(self) -> Iterator[None]:
        """The summary, attached as `s`, in one snapshot. Raises NotReady while there is none.

        A damaged one is deleted, so that it is made anew: its writer may not see the damage for what it has in memory.
        """
        identity = identity_of(self._summary)
        try:
            with self.attached(self._summary, "s"):
                if self.value("PRAGMA s.user_version") != SCHEMA.version:
                    raise NotReady("the summary of the files is being made")
                if not self.value("SELECT count(*) FROM s.whole"):
                    counted = self.value("SELECT count(*) FROM s.file")
                    raise NotReady(f"the files are being counted, {counted} of {len(self.files)} so far")
                yield
        except sqlite3.DatabaseError as error:
            kind = kind_of(error)
            if kind is Kind.DAMAGED and identity_of(self._summary) == identity:  # else it is made anew already
                with contextlib.suppress(OSError):
                    delete_database(self._summary)
            if kind in (Kind.DAMAGED, Kind.GONE):
                raise NotReady(f"the summary of the files is being made: {error}") from None
            raise

    @contextlib.contextmanager
    def changes(self) -> Iterator[None]:
        """The list of changes, attached as `c`, in one snapshot. Raises NotReady while there is none."""
        try:
            with self.attached(self._summary.with_name(CHANGES), "c"):
                if self.value("PRAGMA c.user_version") != changes.SCHEMA.version:
                    raise NotReady("the list of changes is being made")
                yield
        except sqlite3.DatabaseError as error:
            if kind_of(error) in (Kind.DAMAGED, Kind.GONE):
                raise NotReady(f"the list of changes is being made: {error}") from None
            raise

    @contextlib.contextmanager
    def attached(self, path: Path, name: str) -> Iterator[None]:
        """A database that is read under this name, in one snapshot. Raises sqlite3.Error where it cannot be read."""
        self.execute(f"ATTACH :uri AS {name}", {"uri": uri(path, "ro")})
        try:
            self.execute("BEGIN")
            yield
        finally:
            if self._db.in_transaction:
                self._db.execute("COMMIT")
            self._db.execute(f"DETACH {name}")

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        if self._ended is not None:
            raise self._ended
        try:
            yield
        except sqlite3.OperationalError:
            if self._ended is not None:
                raise self._ended from None
            raise

    def end(self, reason: Exception) -> None:
        """End what is under way, and all that is still asked."""
        self._ended = reason
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed already
            self._db.interrupt()

    def close(self) -> None:
        """Forget what was found."""
        self._db.close()
