"""What outputd-send keeps beside a file: the journal of what was answered, and what was refused. Blocking.

The journal is a head and a line for each answered body since. A line is written at once, so that no kill costs one, and
fsynced about once a second; what a power cut takes is sent again with the same keys. Now and then all is rewritten as a
new head.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from outputd.process.files import is_still, open_ours, sync

VERSION: Final = 2
"""Since 2 a body may be sent in pieces."""
MOST_LINES: Final = 20_000


class CannotResume(Exception):
    """The journal is not of this sending; the text says what to do."""


class Totals(msgspec.Struct):
    """Counts over all runs."""

    bodies: int = 0
    """Bodies that were answered, refused ones included."""
    stored: int = 0
    """Results of this file that the service has stored."""
    duplicates: int = 0
    """POSTs that had been stored before, by a run whose journal lacks the answer."""
    rejected: int = 0
    """Items that the service would not store."""
    refused: int = 0
    """POSTs of which nothing was stored."""


class Settled(msgspec.Struct, frozen=True, array_like=True):
    """What became of a body, or of a piece of it; one line of the journal."""

    number: int
    stored: int = 0
    rejected: int = 0
    duplicate: int = 0
    refused: int = 0
    until: int = 0
    """Items of the body that are settled while others are not; 0 with `begun` 0: the body is settled."""
    begun: int = 0
    """Where the piece ends that is sent next."""


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A body that is sent in pieces: so many of its items are settled, and the next piece ends there (0: nowhere)."""

    number: int
    until: int = 0
    begun: int = 0


class Head(msgspec.Struct, kw_only=True):
    """What is being sent where, and how far that has come."""

    outputd_send: int = VERSION
    file: str
    digest: str
    """Of the file as it was when it was first sent, and of the way in which it is cut into bodies; part of the keys."""
    size: int = 0
    content: str = ""
    """Size and SHA-256 of the file as it is now."""
    layout: str = ""
    url: str
    node: str
    salt: str = ""
    """Random where the file is sent once more; part of the keys."""
    next: int = 0
    """All bodies below are settled."""
    done: list[int] = msgspec.field(default_factory=list)
    """Those above that are settled as well."""
    cut: list[Cut] = msgspec.field(default_factory=list)
    """Those of which pieces are settled, or were begun."""
    totals: Totals = msgspec.field(default_factory=Totals)
    in_doubt: bool = False
    """Whether bodies may have arrived whose answer is not here."""
    whole: bool = False


class Journal:
    """The journal of one file, locked against a second process."""

    def __init__(
        self, path: Path, head: Head, again: bool = False, beginning: Callable[[int], str] = lambda size: ""
    ) -> None:
        """Go on with what is at `path`, or begin. Raises CannotResume and OSError.

        `beginning` gives the SHA-256 of the file's first bytes: a file to which lines were added is still the same.
        """
        self._path = path
        self._beginning = beginning
        self.added_bytes = 0
        self._done: set[int] = set()
        self._cut: dict[int, Cut] = {}
        self.head = head
        held = self._taken(path)
        try:
            if held is not None and not again:
                self._resume(head, held.read())
            self.was_in_doubt_since = os.fstat(held.fileno()).st_mtime if held and self.head.in_doubt else None
            self.head.in_doubt = not self.head.whole
            self.file = self._begun()
            """Open, and locked for as long as it is."""
        finally:
            if held is not None:
                held.close()

    @property
    def totals(self) -> Totals:
        """What was counted so far."""
        return self.head.totals

    @property
    def is_blank(self) -> bool:
        """Whether it tells of nothing: no body was answered or begun, none may have arrived, and there are some."""
        return not (self.totals.bodies or self._cut or self.head.in_doubt or self.head.whole)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and (number < self.head.next or number in self._done)

    def cut(self, number: int) -> Cut:
        """How far a body has come that is sent in pieces."""
        return self._cut.get(number, Cut(number))

    def begin_piece(self, number: int, until: int) -> None:
        """Write down, durably, where the next piece of a body ends: in doubt it must be sent again as it was."""
        self.settle(Settled(number, until=self.cut(number).until, begun=until))
        self.sync()

    def settle(self, settled: Settled) -> None:
        """Write down what became of a body. A kill after this returns costs nothing, a power cut after `sync`."""
        self.file.write(msgspec.json.encode(settled) + b"\n")
        self._count(settled)
        self._lines += 1
        if self._lines >= MOST_LINES:
            self._rewrite()

    def sync(self) -> None:
        """Make all of it durable."""
        os.fsync(self.file.fileno())

    def close(self, in_doubt: bool, whole: bool) -> None:
        """Write the last head; the journal stays, and says whether all was sent."""
        self.head.whole = whole
        self.head.in_doubt = not whole and (in_doubt or self.was_in_doubt_since is not None)
        self._rewrite()
        self.file.close()

    def _resume(self, wanted: Head, content: bytes) -> None:
        lines = content.split(b"\n")[:-1]  # what follows the last newline was cut off by a crash
        try:
            head = msgspec.json.decode(lines[0] if lines else b"", type=Head)
            settled = [msgspec.json.decode(line, type=Settled) for line in lines[1:]]
        except msgspec.DecodeError:
            raise CannotResume(f"{self._path} is no journal of outputd-send, or damaged") from None
        name, anew = self._path, "--again sends the whole file as a new one, and so does --state=DIR"
        if not 1 <= head.outputd_send <= VERSION:
            raise CannotResume(f"{name} is of another version of outputd-send; {anew}")
        if (head.url, head.node) != (wanted.url, wanted.node):
            node = f" as node {head.node}" if head.node else ""
            raise CannotResume(f"{name} tells of sending to {head.url}{node}; {anew}")
        if not _is_as_it_was(head, wanted):
            if head.layout != wanted.layout or self._beginning(head.size) != head.content:
                raise CannotResume(
                    f"{wanted.file} is not the file that {name} tells of, nor that one with lines added. Send what is"
                    " new as a file of its own: --again and --state=DIR would store once more what was stored"
                )
            self.added_bytes = wanted.size - head.size
            head.whole = False
        head.size, head.content, head.layout = wanted.size, wanted.content, wanted.layout
        head.outputd_send = VERSION
        self.head = head
        self._done = set(head.done)
        self._cut = {cut.number: cut for cut in head.cut}
        for one in settled:
            self._count(one)

    def _count(self, settled: Settled) -> None:
        head, totals = self.head, self.head.totals
        totals.stored += settled.stored
        totals.duplicates += settled.duplicate
        totals.rejected += settled.rejected
        totals.refused += settled.refused
        if settled.until or settled.begun:
            self._cut[settled.number] = Cut(settled.number, settled.until, settled.begun)
            return
        self._cut.pop(settled.number, None)
        totals.bodies += 1
        self._done.add(settled.number)
        while head.next in self._done:
            self._done.remove(head.next)
            head.next += 1

    def _rewrite(self) -> None:
        old, self.file = self.file, self._begun()
        old.close()

    def _begun(self) -> FileIO:
        """A new file in the place of the old one; a crash leaves either."""
        new = Path(f"{self._path}.new")
        if (left := self._taken(new)) is not None:  # by a crash
            new.unlink(missing_ok=True)
            left.close()
        file = self._locked(new, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.head.done, self.head.cut = sorted(self._done), list(self._cut.values())
        file.write(msgspec.json.encode(self.head) + b"\n")
        os.fsync(file.fileno())
        os.replace(new, self._path)
        sync(self._path.parent)
        self._lines = 0
        return file

    def _taken(self, path: Path) -> FileIO | None:
        """The file of this name, locked; None when there is none."""
        try:
            return self._locked(path, os.O_RDONLY)
        except FileNotFoundError:
            return None

    def _locked(self, path: Path, flags: int) -> FileIO:
        try:
            file = FileIO(open_ours(path, flags), "r" if flags == os.O_RDONLY else "r+")
        except FileExistsError:
            raise self._is_taken() from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise self._is_taken() from None
        if not is_still(file.fileno(), path):  # another one has put a new file in its place meanwhile
            file.close()
            raise self._is_taken()
        return file

    def _is_taken(self) -> CannotResume:
        return CannotResume(f"another outputd-send is at work with {self._path}")


def _is_as_it_was(head: Head, wanted: Head) -> bool:
    """Whether a file is the one that a journal tells of; an older journal knows its first content alone."""
    return head.content == wanted.content if head.layout == wanted.layout == "lines" else head.digest == wanted.digest


class Refused:
    """A file with a JSON object for each body that was refused, or of which items were; made when there is one.

    `key` is the body's Idempotency-Key: what a killed run has written already is not written twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: set[str] = set()
        self._file: FileIO | None = None

    def open(self) -> None:
        """Learn what is there, and take a torn last line away. Raises CannotResume and OSError."""
        try:
            handle = open_ours(self.path, os.O_RDWR)
        except FileNotFoundError:
            return
        whole = 0
        with os.fdopen(handle, "rb+") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                try:
                    self._keys.add(json.loads(line)["key"])
                except (ValueError, TypeError, KeyError):
                    raise CannotResume(
                        f"{self.path} is not what outputd-send writes; --refused=FILE names another"
                    ) from None
            file.truncate(whole)

    def write(self, key: str, record: dict[str, object]) -> None:
        """Add an object."""
        if key in self._keys:
            return
        if self._file is None:
            self._file = FileIO(open_ours(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a")
            sync(self.path.parent)
        self._file.write(msgspec.json.encode({"key": key, **record}) + b"\n")
        self._keys.add(key)

    def sync(self) -> None:
        """Make all of it durable."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Nothing more is refused."""
        if self._file is not None:
            self.sync()
            self._file.close()
