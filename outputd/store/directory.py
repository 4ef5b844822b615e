"""The directory of one instance: its lock, the names of its files, and what they weigh. Files, no SQL."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from outputd.process.files import NO_LINKS, give_owner_of, open_ours, sync
from outputd.process.log import Logger, in_one_line
from outputd.process.trouble import Unusable
from outputd.sqlite.files import DAMAGED, delete_database, journal_of, make_empty, set_aside, set_mode, wal_of

_log = Logger()
LEDGER = "hops.sqlite3"
SUMMARY = "summary.sqlite3"
CHANGES = "changes.sqlite3"
NAMES = "names.sqlite3"
ARCHIVE = "archive.json"
LOCK = "outputd.lock"
_TEMPORARY = ".tmp"
_NAME = "results_%Y-%m-%d_%H-%M-%S.db"
_RESULT_FILE = re.compile(r"results_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.db", re.ASCII)
_DIRECTORY_MODE = 0o750
_MOST_SPANS = 1000  # a rotation an hour fills them in 41 days, and a storm of rotations is one
_REMEMBERED_S = 86_400  # clocks are set back by less, and no storm of rotations is that far ahead of its own


class DirectoryUnusable(Unusable):
    """The directory cannot be used; the text says why and what to do."""


@dataclass(slots=True)
class DataDir:
    """The files of one instance; `take` makes it ours alone."""

    path: Path
    _lock: int | None = field(default=None, init=False)
    _given: tuple[range, ...] = field(default=(), init=False)
    """Seconds whose names we gave: who saw one, or holds a file deleted by someone else, means no other by it."""
    _giving: threading.Lock = field(default_factory=threading.Lock, init=False)

    def take(self) -> None:
        """Make the directory if need be, lock it for this process and clear what a crash left half made."""
        try:
            for missing in [path for path in (self.path, *self.path.parents) if not path.exists()][::-1]:
                missing.mkdir(_DIRECTORY_MODE, exist_ok=True)
                made = os.open(missing, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    set_mode(made, _DIRECTORY_MODE)
                finally:
                    os.close(made)
                with contextlib.suppress(PermissionError):  # one that we may not read
                    sync(missing.parent)
            with contextlib.suppress(FileExistsError):
                make_empty(self.path / LOCK)
                give_owner_of(self.path, self.path / LOCK)
            lock = open_ours(self.path / LOCK, os.O_RDWR)
        except OSError as error:
            named = f" ({in_one_line(str(error.filename))})" if error.filename is not None else ""
            raise DirectoryUnusable(f"cannot write to {self.name}: {error.strerror}{named}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise DirectoryUnusable(f"{self.name} is in use by another outputd, process {holder}") from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock
        for left in self.path.glob(f".*{_TEMPORARY}*"):
            left.unlink(missing_ok=True)
        self._remove_orphans()
        self._check_links()

    def _remove_orphans(self) -> None:
        """A kill in the middle of a deletion may leave what a reader had just made: a WAL that holds nothing."""
        for companion in self.path.glob("results_*.db-*"):
            file, _, ending = companion.name.rpartition("-")
            if not (self.path / file).exists() and (ending == "shm" or not companion.stat().st_size):
                companion.unlink(missing_ok=True)

    def _check_links(self) -> None:
        """A file is given its name by a second link, which overwrites nothing."""
        first, second = self.temporary("first"), self.temporary("second")
        try:
            make_empty(first)
            os.link(first, second)
        except OSError as error:
            if error.errno in NO_LINKS:
                self.release()
                raise DirectoryUnusable(
                    f"{self.name} is on a file system without hard links, which outputd needs: choose another --db-dir"
                ) from None
        finally:
            second.unlink(missing_ok=True)
            first.unlink(missing_ok=True)

    def restore(self) -> None:
        """Make the directory again, and take it, when it was removed by someone else. Raises OSError."""
        if self.path.is_dir():
            return
        lost, self._lock = self._lock, None
        try:
            self.take()
        except DirectoryUnusable as error:
            raise FileNotFoundError(str(error)) from None
        finally:
            if self._lock is None:
                self._lock = lost
            elif lost is not None:
                os.close(lost)
        _log.error("{path} was removed by someone else and is created again", path=str(self.path))

    def release(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def name(self) -> str:
        """Its path as it is told: what is no text in it is escaped."""
        return in_one_line(str(self.path))

    @property
    def ledger(self) -> Path:
        """Where the hop ledger is."""
        return self.path / LEDGER

    @property
    def summary(self) -> Path:
        """Where the summary of the result files is."""
        return self.path / SUMMARY

    @property
    def changes(self) -> Path:
        """Where the list of changes is."""
        return self.path / CHANGES

    @property
    def names(self) -> Path:
        """Where the names of addresses are."""
        return self.path / NAMES

    @property
    def archive(self) -> Path:
        """Where it stands how far the archive has come."""
        return self.path / ARCHIVE

    def result_files(self) -> list[Path]:
        """The files that have the name of one; whether they bear our mark is for their reader to tell."""
        return [path for path in self._databases() if is_result_file(path)]

    def other_databases(self) -> list[Path]:
        """Databases of the operator: copies under other names, say."""
        return [path for path in self._databases() if not is_result_file(path)]

    def _databases(self) -> list[Path]:
        return sorted(path for path in self.path.glob("*.db") if path.is_file() and not path.is_symlink())

    def temporary(self, kind: str) -> Path:
        """A name for a file to be made and renamed or removed; cleared at the next start if a crash leaves it."""
        return self.path / f".{kind}-{os.urandom(8).hex()}{_TEMPORARY}"

    def publish(self, made: Path, now_s: float) -> Path:
        """Give a finished file the name of this second, or the next free one, durably and never over another file."""
        for second, path in self._names(now_s):
            if wal_of(path).exists() or journal_of(path).exists():  # of a file that was deleted by someone else
                continue
            if Path(f"{path}{DAMAGED}").exists():  # it may be repaired and put back
                continue
            with contextlib.suppress(FileExistsError):
                self.put_back(made, path)
                self._give(range(second, second + 1))
                return path
        raise AssertionError("unreachable: names never run out")

    def remove(self, path: Path) -> None:
        """Delete a result file for good, its manifest first: a file without one is only given another."""
        manifest_of(path).unlink(missing_ok=True)
        delete_database(path)
        self.sync()

    def remember(self, path: Path) -> None:
        """Give no name that is up to a day before that of the newest file: a file that was pruned may have had it."""
        try:
            named = int(datetime.strptime(path.name, _NAME).replace(tzinfo=UTC).timestamp())
        except ValueError:  # the calendar has no such day
            return
        self._give(range(named - _REMEMBERED_S, named + 1))

    def give_up(self, path: Path) -> None:
        """Leave a name of ours to somebody else's file; our manifest, which says that it is ours, goes."""
        with contextlib.suppress(OSError):
            manifest_of(path).unlink()

    def overwrite(self, path: Path, text: bytes) -> None:
        """Have a file of ours, which may not be there yet, hold this text, durably; or still what it held.

        Raises OSError.
        """
        made = self.temporary(path.stem)
        try:
            make_empty(made)
            made.write_bytes(text)
            sync(made)
            os.replace(made, path)
            self.sync()
        finally:
            made.unlink(missing_ok=True)

    def set_aside(self, path: Path, reason: str) -> None:
        """Take a damaged result file out of the way; its manifest goes, since the file may come back repaired."""
        manifest_of(path).unlink(missing_ok=True)
        set_aside(path, reason)

    def put_back(self, made: Path, path: Path) -> None:
        """Give a finished file this very name, durably. Raises FileExistsError."""
        os.link(made, path)
        made.unlink()
        self.sync()

    def damaged(self) -> dict[str, float]:
        """The damaged files that lie here, with the times when they were set aside, in seconds since 1970."""
        return {path.name: path.stat().st_ctime for path in sorted(self.path.glob(f"*{DAMAGED}"))}

    def sync(self) -> None:
        """Make the names durable."""
        sync(self.path)

    def free_bytes(self) -> int:
        """Room left on its disk for us. Raises OSError when the directory is gone."""
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def _names(self, now_s: float) -> Iterator[tuple[int, Path]]:
        second = math.floor(now_s)
        while True:
            if span := next((span for span in self._given if second in span), None):
                second = span.stop
                continue
            yield second, self.path / f"{datetime.fromtimestamp(second, UTC):{_NAME}}"
            second += 1

    def _give(self, span: range) -> None:
        with self._giving:
            *others, last = self._given or (span[:0],)
            both = [range(last.start, span.stop)] if last.stop == span.start else [last, span]
            self._given = (*others, *both)[-_MOST_SPANS:]


def is_result_file(path: Path) -> bool:
    """Whether a file has the name of one; whether it bears our mark is for its reader to tell."""
    return _RESULT_FILE.fullmatch(path.name) is not None


def manifest_of(path: Path) -> Path:
    """The name of the manifest of a result file."""
    return path.with_suffix(".json")
