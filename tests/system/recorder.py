"""What a process does to its files, recorded call by call by `recorder.c`; and calls that fail or hang when told to."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_SOURCE = Path(__file__).with_name("recorder.c")
_HEAD = struct.Struct("IIIIQQ")


class CannotRecord(Exception):
    """Calls cannot be recorded here; the text says why."""


class Kind(IntEnum):
    """A call, by what it does."""

    CREATE, WRITE, TRUNCATE, LINK, RENAME, UNLINK, MKDIR, SYNC = range(1, 9)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that succeeded; `end` is where the journal ends with it."""

    kind: Kind
    name: str
    """The path, or the old one."""
    inode: int
    at: int
    """The offset of a write, the size after a truncate."""
    data: memoryview
    """What was written, or the new path."""
    end: int


class Recorder:
    """Records what processes with its `environment` do below `root`; its own files are beside that."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._library = Path(f"{root}.recorder.so")
        self._journal = Path(f"{root}.recorded")
        self._faults = Path(f"{root}.faults")

    def build(self) -> Recorder:
        """Compile the shim. Raises CannotRecord."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise CannotRecord("recording calls needs a C compiler")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(_SOURCE), "-ldl", "-lpthread"]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            raise CannotRecord(f"this libc lacks what recording calls needs: {built.stderr.strip()[:200]}")
        return self

    @property
    def environment(self) -> Mapping[str, str]:
        """For the process."""
        return {
            "LD_PRELOAD": str(self._library),
            "RECORDER_ROOT": str(self.root),
            "RECORDER_JOURNAL": str(self._journal),
            "RECORDER_FAULTS": str(self._faults),
        }

    @property
    def position(self) -> int:
        """Where the journal ends now: what somebody knows now was done before this."""
        return self._journal.stat().st_size

    def fault(self, *lines: str) -> None:
        """From now on these faults, see `recorder.c`, and no others."""
        aside = self._faults.with_suffix(".new")
        aside.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        aside.replace(self._faults)

    def calls(self) -> Iterator[Call]:
        """All that was recorded, in its order."""
        with self._journal.open("rb") as file:
            journal = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        at = 0
        while at + _HEAD.size <= len(journal):
            kind, name_bytes, data_bytes, _, inode, where = _HEAD.unpack_from(journal, at)
            name = at + _HEAD.size
            data = name + name_bytes
            at = data + data_bytes
            yield Call(Kind(kind), bytes(journal[name:data]).decode(), inode, where, journal[data:at], at)
