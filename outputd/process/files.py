"""Files in a directory where another user of this machine may have put something in the place of ours."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_HOW = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO in the place of a file would keep us waiting
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""How a file system says that it has no hard links."""


def open_ours(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file, if it is one, and to write it only if it has this name alone. Raises OSError.

    A link that was planted under the name of a file of ours would have us overwrite what it leads to.
    """
    try:
        handle = os.open(path, flags | _HOW, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):  # as BSD says it
            raise _no_file(path) from None
        raise
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise _no_file(path)
        if flags & (os.O_WRONLY | os.O_RDWR) and state.st_nlink > 1:
            raise OSError(errno.EMLINK, "it has a second name, and would be overwritten under both", str(path))
    except OSError:
        os.close(handle)
        raise
    return handle


def check_ours(path: Path) -> None:
    """Raise OSError when something that is no file has the name of one that others open by its name."""
    try:
        state = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(state.st_mode):
        raise _no_file(path)


def give_owner_of(directory: Path, made: Path) -> None:
    """Have a file that root has made in a directory belong to whom the directory belongs to: the service may not be
    root's. Raises OSError."""
    if os.geteuid() == 0:
        state = directory.stat()
        os.chown(made, state.st_uid, state.st_gid, follow_symlinks=False)


def sync(path: Path) -> None:
    """Bring what was written into a file, or the names in a directory, to disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(made: Path, path: Path) -> None:
    """Bring a file that was made aside to disk, and give it its name. Raises OSError.

    Never over another file, where the file system has hard links.
    """
    sync(made)
    try:
        os.link(made, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        made.rename(path)  # a memory stick
    else:
        made.unlink()
    sync(path.absolute().parent)


def is_still(handle: int, path: Path) -> bool:
    """Whether a name is still that of an open file."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _no_file(path: Path) -> OSError:
    return OSError(errno.ELOOP, "it is a link, a directory or a pipe, and no regular file", str(path))
