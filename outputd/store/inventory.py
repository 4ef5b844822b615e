"""Which files of a directory are the result files of its instance, and in which order."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path

from outputd.process.trouble import Kind, Unusable
from outputd.sqlite.connections import writing
from outputd.sqlite.errors import Damaged, kind_of
from outputd.sqlite.files import journal_of, wal_of
from outputd.store.directory import DataDir, manifest_of
from outputd.store.file import SCHEMA, FileInfo, describe

_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Inventory:
    """The result files of a directory."""

    files: list[FileInfo]
    """Oldest first, by the order kept in them."""
    damaged: dict[Path, str]
    """Those that cannot be read, with the reason."""
    left_alone: dict[Path, Path]
    """Those whose place in the order another one has, with that one."""


def take_stock(directory: DataDir) -> Inventory:
    """Find them by name and mark: what lacks one is the operator's, unless it lost that. Raises NewerFile, Unusable.

    Two files of one place are copies of one another, or the order was begun anew before its end: the one that was made
    last goes on, of copies the one that has most.
    """
    found: list[FileInfo] = []
    damaged: dict[Path, str] = {}
    for path in directory.result_files():
        if not bears_our_mark(path):
            if _has_lost_its_mark(path):
                damaged[path] = "its beginning, with the mark of our files, is gone"
            continue
        try:
            _roll_back(path)
            found.append(describe(path))
        except Damaged as error:
            damaged[path] = str(error)
    files, left_alone = in_order(found)
    return Inventory(files, damaged, left_alone)


def in_order(found: Sequence[FileInfo]) -> tuple[list[FileInfo], dict[Path, Path]]:
    """The files of an instance, oldest first, and those that are left alone. Raises Unusable, with two names."""
    files: list[FileInfo] = []
    left_alone: dict[Path, Path] = {}
    # of copies that are alike the first name is that which it was made with
    ordered = sorted(reversed(found), key=lambda info: (info.sequence, info.created_at, info.next_ids))
    for _, of_one_place in groupby(ordered, attrgetter("sequence")):
        *others, chosen = of_one_place
        _refuse_others(others, chosen)
        files.append(chosen)
        left_alone |= {other.path: chosen.path for other in others}
    for older, newer in pairwise(info for info in files if info.first_batch_id < info.next_ids.batch):
        _refuse_others([older], newer)
    return files, left_alone


def bears_our_mark(path: Path) -> bool:
    """Whether the header of a file says that it is ours. Only for files that no connection of this process has open."""
    header = _header_of(path)
    return header is not None and header[:16] == _SQLITE and header[68:72] == SCHEMA.application_id.to_bytes(4)


def _has_lost_its_mark(path: Path) -> bool:
    """Whether a file under our name was ours: nothing stands where its mark was, or what we put beside it is there."""
    header = _header_of(path)
    if header is None or header[:16] == _SQLITE:
        return False
    return not any(header) or manifest_of(path).exists() or wal_of(path).exists()


def _header_of(path: Path) -> bytes | None:
    """None when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(72)
    except OSError:
        return None


def _refuse_others(others: list[FileInfo], chosen: FileInfo) -> None:
    """Raise Unusable when batches of two files that are no copies of each other have the same ids."""
    for other in others:
        if other.created_at != chosen.created_at and (
            max(other.first_batch_id, chosen.first_batch_id) < min(other.next_ids.batch, chosen.next_ids.batch)
        ):
            raise Unusable(
                f"{other.path.name} and {chosen.path.name} are of two instances, or of two histories of one: both have"
                f" a batch {max(other.first_batch_id, chosen.first_batch_id)}. Move the files of one of them to another"
                " directory"
            )


def _roll_back(path: Path) -> None:
    """Take back what a crash interrupted while the file had no WAL: who only reads cannot, and would fail."""
    if journal_of(path).exists():
        with writing(path) as db:
            try:
                db.execute("SELECT 1 FROM sqlite_schema").fetchone()
            except sqlite3.DatabaseError as error:
                if kind_of(error) is Kind.DAMAGED:
                    raise Damaged(str(error)) from None
                raise
