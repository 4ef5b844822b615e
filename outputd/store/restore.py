"""How a copy of a result file is put back into its directory: checked, whole, and beside what it replaces. Blocking."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from outputd.process.files import give_owner_of, sync
from outputd.results import timestamps
from outputd.sqlite.errors import Damaged
from outputd.sqlite.files import delete_database, make_empty, move_aside, size_of, wal_of
from outputd.store.directory import DataDir, is_result_file, manifest_of
from outputd.store.file import FileInfo, describe, finish
from outputd.store.inspection import fault_of
from outputd.store.inventory import bears_our_mark, in_order, take_stock

_REPLACED = ".replaced"


class NotRestored(Exception):
    """A copy cannot be put back; the text says why. Nothing has changed."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a copy is now, what it has replaced, and how many result files there are now."""

    path: Path
    set_aside: Path | None
    files: int


def restore(directory: DataDir, copy: Path) -> Restored:
    """Put a copy of a result file into a directory that is taken, in the place of a damaged or lesser one if need be.

    Raises NotRestored, Unusable, OSError.
    """
    made = directory.temporary("restored")
    try:
        info = _copied(copy, made)
        stock = take_stock(directory)
        there = next((each for each in stock.files if _is_same(each, info)), None)
        if there is not None and _is_whole(there.path) and there.next_ids >= info.next_ids:
            raise NotRestored(f"{there.path.name} is the same file, whole, and holds as much or more")
        others = [each for each in stock.files if each is not there]
        _, left_alone = in_order([*others, replace(info, path=copy)])
        if copy in left_alone:
            raise NotRestored(f"{left_alone[copy].name} has its place in the order of files")
        give_owner_of(directory.path, made)
        sync(made)
        path, aside = _place(directory, made, copy.name if there is None else there.path.name, info)
        return Restored(path, aside, len(others) + 1)
    finally:
        delete_database(made)


def _copied(copy: Path, made: Path) -> FileInfo:
    """Copy it aside, and see that it is ours and whole."""
    if size_of(wal_of(copy)):
        raise NotRestored(
            f"{wal_of(copy).name} beside it has the rest of it: make copies by /dump, or by sqlite3's .backup"
        )
    make_empty(made)
    shutil.copyfile(copy, made)
    if not bears_our_mark(made):
        raise NotRestored("it is no result file of outputd")
    try:
        finish(made, analyse=False)
        info, fault = describe(made), fault_of(made)
    except (Damaged, sqlite3.Error) as error:
        raise NotRestored(f"it is damaged: {error}") from None
    if fault is not None:
        raise NotRestored(f"it is damaged: {fault}")
    return info


def _place(directory: DataDir, made: Path, name: str, info: FileInfo) -> tuple[Path, Path | None]:
    """Give it its name, from which a damaged or lesser copy of it goes; where another file has that, a free one."""
    path = directory.path / name
    is_taken = path.exists() and _is_whole(path) and not _is_same(describe(path), info)
    if is_taken or not is_result_file(path):
        return directory.publish(made, timestamps.seconds(info.created_at)), None
    aside = None
    if path.exists():
        aside = move_aside(path, _REPLACED)
        manifest_of(path).unlink(missing_ok=True)
    directory.put_back(made, path)
    return path, aside


def _is_same(one: FileInfo, other: FileInfo) -> bool:
    """Whether they are copies of each other."""
    return (one.sequence, one.created_at) == (other.sequence, other.created_at)


def _is_whole(path: Path) -> bool:
    try:
        return bears_our_mark(path) and fault_of(path) is None
    except sqlite3.Error:
        return False
