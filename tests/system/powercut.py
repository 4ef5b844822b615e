"""What a disk holds after a power cut: what was fsynced, and of the rest nothing, or whatever chance has written."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar

from tests.system.recorder import Call, Kind

_SECTOR_BYTES = 512

T = TypeVar("T")


class Rest(Enum):
    """What becomes of that which was not fsynced."""

    NOTHING = "nothing of it"
    BEGINNING = "what came first"
    SOME = "some of it, in any order"
    ALL = "all of it"


@dataclass(slots=True)
class Content:
    """What is in a file: what is on the disk, and what only the kernel has, in order."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)

    def sync(self) -> None:
        """All of it is on the disk."""
        for call in self.pending:
            _apply(self.durable, call)
        self.pending.clear()

    def whole(self) -> bytes:
        """What a reader sees."""
        seen = self.durable[:]
        for call in self.pending:
            _apply(seen, call)
        return bytes(seen)

    def after_cut(self, rest: Rest, chance: random.Random) -> bytes:
        """What is left; a write may be torn between sectors."""
        left = self.durable[:]
        kept = _kept(self.pending, rest, chance)
        for call in kept:
            is_torn = rest in (Rest.SOME, Rest.BEGINNING) and call is kept[-1] and chance.random() < 0.5
            _apply(left, call, chance.randrange(0, len(call.data) + 1, _SECTOR_BYTES) if is_torn else None)
        return bytes(left)


Names = dict[str, Content | None]
"""Every path of a disk with its content; None for a directory."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of names, which is on the disk when its directory is."""

    directory: str
    apply: Callable[[Names], None]


class Disk:
    """Takes the calls of a process, one after the other; the power may fail after any of them."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._durable: Names = {self._root: None}
        self._pending: list[_Change] = []
        self.names: Names = {self._root: None}
        """What the process sees."""
        self._contents: dict[int, Content] = {}
        self._directories: dict[int, str] = {root.stat().st_ino: self._root}

    def take(self, call: Call) -> None:
        """One call more."""
        match call.kind:
            case Kind.CREATE:
                content = self._contents[call.inode] = Content()
                self._directories.pop(call.inode, None)  # its number is given again
                self._change(call.name, lambda names: names.__setitem__(call.name, content))
            case Kind.MKDIR:
                self._directories[call.inode] = call.name
                self._change(call.name, lambda names: names.__setitem__(call.name, None))
            case Kind.WRITE | Kind.TRUNCATE:
                self._contents[call.inode].pending.append(call)
            case Kind.UNLINK:
                self._change(call.name, lambda names: names.pop(call.name, None))
            case Kind.LINK | Kind.RENAME:
                self._give_name(call)
            case Kind.SYNC if call.inode in self._directories:
                self._sync_names(self._directories[call.inode])
            case Kind.SYNC:
                self._contents[call.inode].sync()

    def _give_name(self, call: Call) -> None:
        new = bytes(call.data).decode()
        content = self.names[call.name]

        def give(names: Names) -> None:
            names[new] = content
            if call.kind is Kind.RENAME:
                names.pop(call.name, None)

        self._change(new, give)

    def _change(self, name: str, apply: Callable[[Names], object]) -> None:
        change = _Change(str(Path(name).parent), lambda names: (apply(names), None)[1])
        change.apply(self.names)
        self._pending.append(change)

    def _sync_names(self, directory: str) -> None:
        for change in self._pending:
            if change.directory == directory:
                change.apply(self._durable)
        self._pending = [change for change in self._pending if change.directory != directory]

    def cut(self, into: Path, rest: Rest, chance: random.Random) -> None:
        """Make what is left of the root's content in another directory."""
        names = dict(self._durable)
        for change in _kept(self._pending, rest, chance):
            change.apply(names)
        left: dict[int, bytes] = {}  # a file may have two names
        for name in sorted(names):
            content, path = names[name], into / name.removeprefix(self._root).lstrip("/")
            if name != self._root and not path.parent.is_dir():
                continue  # its directory is not on the disk
            if content is None:
                path.mkdir(parents=name == self._root, exist_ok=True)
            elif not name.endswith("-shm"):
                if id(content) not in left:
                    left[id(content)] = content.after_cut(rest, chance)
                path.write_bytes(left[id(content)])


def _kept(pending: Sequence[T], rest: Rest, chance: random.Random) -> Sequence[T]:
    match rest:
        case Rest.NOTHING:
            return ()
        case Rest.ALL:
            return pending
        case Rest.BEGINNING:
            return pending[: chance.randint(0, len(pending))]
    share = chance.random()
    return [one for one in pending if chance.random() < share]


def _apply(content: bytearray, call: Call, most: int | None = None) -> None:
    if call.kind is Kind.TRUNCATE:
        del content[call.at :]
        content.extend(bytes(call.at - len(content)))
        return
    data = call.data if most is None else call.data[:most]
    content.extend(bytes(max(0, call.at - len(content))))
    content[call.at : call.at + len(data)] = data
