"""An archive in a directory: objects are files, each on disk before it has its name. Blocking."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from outputd.archive.objects import ArchiveFailed
from outputd.process.files import NO_LINKS, sync
from outputd.sqlite.errors import kind_of

_BEGINNING = ".outputd-"
_ENDING = ".tmp"
_LEFT_BEHIND_S = 3600.0
"""A file aside that is older was left by a crash: writing one takes seconds."""


class Directory:
    """See Objects. The directory itself must be there: what is mounted on it may not be, for now."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._is_tidy = False

    def put(self, path: str, parts: Sequence[bytes]) -> bool:
        """See Objects."""
        with self._understood():
            self._tidy_up()
            target = self._base / path
            self._check_base()
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = self._base / f"{_BEGINNING}{os.urandom(8).hex()}{_ENDING}"
            try:
                with aside.open("xb") as file:
                    file.writelines(parts)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(aside, target)
                is_new = True
            except FileExistsError:
                is_new = False  # whoever has put it may have been killed before it was on disk
            finally:
                aside.unlink(missing_ok=True)
            for folder in target.parents:
                if folder.is_relative_to(self._base):
                    sync(folder)
            return is_new

    def folders(self, folder: str) -> list[str]:
        """See Objects."""
        with self._understood():
            self._check_base()
            return sorted(entry.name for entry in _entries(self._base / folder) if entry.is_dir())

    def paths(self, folder: str, beginning: str, above: str = "") -> Iterator[str]:
        """See Objects."""
        with self._understood():
            self._check_base()
            names = sorted(entry.name for entry in _entries(self._base / folder))
        yield from (f"{folder}/{name}" for name in names if name.startswith(beginning) and name > above)

    def read(self, path: str) -> bytes:
        """See Objects."""
        with self._understood():
            return (self._base / path).read_bytes()

    def end_of(self, path: str, most_bytes: int) -> bytes:
        """See Objects."""
        with self._understood(), (self._base / path).open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, size_bytes - most_bytes))
            return file.read()

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror
            if error.errno in NO_LINKS:
                why = f"{why}; an archive needs a file system with hard links, so that nothing is overwritten"
            raise ArchiveFailed(f"the archive in {self._base}: {why}", kind_of(error)) from error

    def _check_base(self) -> None:
        if not self._base.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such directory: make it, or mount it")

    def _tidy_up(self) -> None:
        """Delete what a crash has left behind, once."""
        if self._is_tidy:
            return
        for entry in _entries(self._base):
            if entry.name.startswith(_BEGINNING) and entry.name.endswith(_ENDING):
                with contextlib.suppress(OSError):  # another one does the same
                    if time.time() - entry.stat().st_mtime > _LEFT_BEHIND_S:
                        os.unlink(entry.path)
        self._is_tidy = True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
