"""Databases as files: made, told apart, set aside and deleted, together with what SQLite puts beside them."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from itertools import count
from pathlib import Path

from outputd.process.log import Logger

_log = Logger()
_FILE_MODE = 0o640
DAMAGED = ".damaged"
COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database."""


def make_empty(path: Path) -> None:
    """Make an empty file for its owner, whose group may read it, whatever the umask. Raises FileExistsError.

    What SQLite puts beside a database (-wal, -shm, -journal) takes the mode of the database.
    """
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
    try:
        set_mode(handle, _FILE_MODE)
    finally:
        os.close(handle)


def set_mode(place: Path | int, mode: int) -> None:
    """Set the mode of a file where the file system knows modes."""
    with contextlib.suppress(PermissionError):  # not every file system knows modes
        os.chmod(place, mode)


def delete_database(path: Path) -> None:
    """Delete a database, its companions first: a WAL left alone would be taken for that of a new file.

    And once more after it: who opens it meanwhile makes them anew.
    """
    for ending in (*COMPANIONS, "", *COMPANIONS):
        Path(f"{path}{ending}").unlink(missing_ok=True)


@lru_cache(maxsize=64)
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


Identity = tuple[int, int]
"""Device and inode."""
State = tuple[int, int]
"""When a file was written last, and its size."""


def sight_of(path: Path) -> tuple[Identity, State] | None:
    """Both at one look; None when there is no such file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (found.st_dev, found.st_ino), (found.st_mtime_ns, found.st_size)


def identity_of(path: Path) -> Identity | None:
    """What tells a file from another one of the same name; None when there is none."""
    seen = sight_of(path)
    return seen and seen[0]


def state_of(path: Path) -> State | None:
    """When a file was written last, and its size; None when there is none, or nobody can tell."""
    try:
        seen = sight_of(path)
    except OSError:
        return None
    return seen and seen[1]


_kept: dict[Path, Identity | None] = {}


def keep_to(path: Path) -> None:
    """Until `let_go`, connections are only opened to the file that has this name now, of which one is open.

    SQLite would take the -wal and -shm of the file that is open for those of another one that was put in its place: it
    would mix both, and cut off the -shm under the first, which ends the process (SIGBUS).
    """
    _kept[path.absolute()] = identity_of(path)


def let_go(path: Path) -> None:
    """The file of this name has no companions any more: whatever has the name may be opened."""
    _kept.pop(path.absolute(), None)


def is_replaced(path: Path) -> bool:
    """Whether another file has the name of one that is kept to."""
    kept = _kept.get(path.absolute())
    return kept is not None and identity_of(path) not in (kept, None)


def move_aside(path: Path, ending: str) -> Path:
    """Give a database, with its companions, a name of its own that ends so; returns it."""
    let_go(path)
    aside = next(
        name for number in count() if not (name := Path(f"{path}{f'.{number}' * bool(number)}{ending}")).exists()
    )
    for companion in (*COMPANIONS, ""):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{companion}", f"{aside}{companion}")
    return aside


def set_aside(path: Path, reason: str) -> None:
    """Take a damaged file out of the way, with its companions, under a name of its own; the log tells it."""
    aside = move_aside(path, DAMAGED)
    _log.error("{file} is damaged and set aside as {aside}: {reason}", file=path.name, aside=aside.name, reason=reason)
