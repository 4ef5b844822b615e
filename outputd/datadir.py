"""The directory of one instance: its lock, the names of its files, and what they weigh. Files, no SQL."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from outputd.log import Logger

_log = Logger()
LEDGER = "hops.sqlite3"
SUMMARY = "summary.sqlite3"
_LOCK = "outputd.lock"
_TEMPORARY = ".tmp"
_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750
DAMAGED = ".damaged"
COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database."""


class DirectoryUnusable(Exception):
    """The directory cannot be used; the text says why and what to do."""


@dataclass(slots=True)
class DataDir:
    """The files of one instance; `take` makes it ours alone."""

    path: Path
    _lock: int | None = field(default=None, init=False)

    def take(self) -> None:
        """Make the directory if need be, lock it for this process and clear what a crash left half made."""
        try:
            for missing in [path for path in (self.path, *self.path.parents) if not path.exists()][::-1]:
                missing.mkdir(_DIRECTORY_MODE, exist_ok=True)
                _set_mode(missing, _DIRECTORY_MODE)
            with contextlib.suppress(FileExistsError):
                make_empty(self.path / _LOCK)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DirectoryUnusable(f"cannot write to {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise DirectoryUnusable(f"{self.path} is in use by another outputd, process {holder}") from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock
        for left in self.path.glob(f".*{_TEMPORARY}*"):
            left.unlink(missing_ok=True)

    def restore(self) -> None:
        """Make the directory again, and take it, when it was removed under our feet. Raises OSError."""
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
        _log.error("{path} was removed under our feet and is made again", path=str(self.path))

    def release(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def ledger(self) -> Path:
        """Where the hop ledger is."""
        return self.path / LEDGER

    @property
    def summary(self) -> Path:
        """Where the summary of the result files is."""
        return self.path / SUMMARY

    def databases(self) -> list[Path]:
        """Every file that may be a result file, by name; whether it bears our mark is for its reader to tell."""
        return sorted(path for path in self.path.glob("*.db") if path.is_file())

    def temporary(self, kind: str) -> Path:
        """A name for a file to be made and renamed or removed; cleared at the next start if a crash leaves it."""
        return self.path / f".{kind}-{os.urandom(8).hex()}{_TEMPORARY}"

    def publish(self, made: Path, now_s: float) -> Path:
        """Give a finished file the name of this second, or the next free one, durably and never over another file."""
        for path in self._names(now_s):
            if wal_of(path).exists() or journal_of(path).exists():  # of a file that was deleted under our feet
                continue
            with contextlib.suppress(FileExistsError):
                self.put_back(made, path)
                return path
        raise AssertionError("unreachable: names never run out")

    def remove(self, path: Path) -> None:
        """Delete a result file for good."""
        delete_database(path)
        self.sync()

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
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def free_bytes(self) -> int:
        """Room left on its disk for us. Raises OSError when the directory is gone."""
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def _names(self, now_s: float) -> Iterator[Path]:
        moment = datetime.fromtimestamp(now_s, UTC)
        while True:
            yield self.path / f"results_{moment:%Y-%m-%d_%H-%M-%S}.db"
            moment += timedelta(seconds=1)


def make_empty(path: Path) -> None:
    """Make an empty file for its owner, whose group may read it, whatever the umask. Raises FileExistsError.

    What SQLite puts beside a database (-wal, -shm, -journal) takes the mode of the database.
    """
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
    try:
        _set_mode(handle, _FILE_MODE)
    finally:
        os.close(handle)


def _set_mode(place: Path | int, mode: int) -> None:
    with contextlib.suppress(PermissionError):  # not every file system knows modes
        os.chmod(place, mode)


def delete_database(path: Path) -> None:
    """Delete a database, its companions first: a WAL left alone would be taken for that of a new file."""
    for ending in (*COMPANIONS, ""):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def wal_of(path: Path) -> Path:
    """The write-ahead log beside a database."""
    return Path(f"{path}-wal")


def journal_of(path: Path) -> Path:
    """The rollback journal beside a database."""
    return Path(f"{path}-journal")


def size_of(path: Path) -> int:
    """Bytes, by its directory entry alone: opening a live SQLite file here would drop SQLite's own locks on it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def identity_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None when there is none."""
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino


def set_aside(path: Path, reason: str) -> None:
    """Take a damaged file out of the way, with its companions, under a name of its own; the log tells it."""
    aside = next(
        name for number in count() if not (name := Path(f"{path}{f'.{number}' * bool(number)}{DAMAGED}")).exists()
    )
    for companion in (*COMPANIONS, ""):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{companion}", f"{aside}{companion}")
    _log.error("{file} is damaged and set aside as {aside}: {reason}", file=path.name, aside=aside.name, reason=reason)
