"""A small disk of a test's own, which can be filled, emptied and made read-only."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path


class CannotMount(Exception):
    """A disk cannot be mounted here; the text says why."""


class Disk:
    """A tmpfs at `path`, from `mount` to `unmount`."""

    def __init__(self, path: Path, size_mib: int) -> None:
        self.path = path
        self._size_mib = size_mib
        self._filler = path / "filler"

    def mount(self) -> Disk:
        """Raises CannotMount."""
        self.path.mkdir(parents=True, exist_ok=True)
        if os.getuid():
            raise CannotMount("a disk of its own needs root, to mount a tmpfs")
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size_mib}m", "outputd-test", str(self.path)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            raise CannotMount(f"a disk of its own cannot be mounted: {mounted.stderr.strip()}")
        return self

    def unmount(self) -> None:
        """Whoever still has a file open on it keeps it alive."""
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def remount(self, mode: str) -> None:
        """Make it `ro` or `rw`; the former fails while somebody has a file open for writing."""
        subprocess.run(["mount", "-o", f"remount,{mode}", self.path], check=True)

    @property
    def free_bytes(self) -> int:
        """What is left for others than us, too."""
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def fill(self, left_bytes: int = 0) -> None:
        """Take what room there is, but for so much."""
        with suppress(OSError), self._filler.open("ab") as filler:  # others write, too
            filler.write(bytes(max(0, self.free_bytes - left_bytes)))

    def make_room(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)
