"""How far the archive has come, and under which name: `archive.json`, which the next start believes. Blocking."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from outputd.archive.asks import Span
from outputd.archive.names import INSTANCE
from outputd.process.files import open_ours
from outputd.sqlite.connections import reading
from outputd.store.directory import DataDir
from outputd.store.file import FileInfo

_MOST_BYTES = 64 * 1024
_Batch = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Date = Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\d\Z")]
_Instance = Annotated[str, Meta(pattern=rf"\A{INSTANCE}\Z")]


class UnderWay(msgspec.Struct, frozen=True):
    """A span that may or may not have been put: it is put again, as it was cut."""

    file: str
    date: _Date
    first_batch_id: _Batch
    last_batch_id: _Batch

    @classmethod
    def of(cls, span: Span) -> UnderWay:
        """A span as it is written down."""
        return cls(span.path.name, span.date, span.first_batch_id, span.last_batch_id)

    def span(self, files: Sequence[FileInfo]) -> Span | None:
        """What it is of these files; None when none of them has its name any more."""
        paths = (info.path for info in files if info.path.name == self.file)
        path = next(paths, None)
        return None if path is None else Span(path, self.date, self.first_batch_id, self.last_batch_id)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """All up to a batch is in the archive. What is lost of it is found again by listing the archive."""

    place: str
    """Where the archive is."""
    instance: _Instance
    """Under which name we ship."""
    result_files: str
    """The random name that the result files have in common."""
    batch_id: _Batch = 0
    """The last batch that was shipped."""
    arrived: str = ""
    """When that batch arrived: another history of the same files has another one; empty where it is not known."""
    under_way: UnderWay | None = None

    @property
    def last_batch_id(self) -> int:
        """The last batch that it knows."""
        return self.batch_id if self.under_way is None else self.under_way.last_batch_id


def read(path: Path) -> Mark | None:
    """What was written; None where there is none. Raises OSError, and msgspec.MsgspecError for what is none of ours."""
    try:
        with open(open_ours(path, os.O_RDONLY), "rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=Mark)
    except FileNotFoundError:
        return None


def write(directory: DataDir, mark: Mark) -> None:
    """Keep it, durably. Raises OSError."""
    directory.overwrite(directory.archive, msgspec.json.format(msgspec.json.encode(mark)) + b"\n")


def history_after(batch_id: int, files: Sequence[FileInfo]) -> str:
    """What tells the first batch above one from that of any other history; empty without any. Raises sqlite3.Error."""
    for info in files:
        with reading(info.path) as db:
            row = db.execute(
                "SELECT id, node, received_at, hex(digest) FROM batches WHERE id > ? ORDER BY id LIMIT 1", (batch_id,)
            ).fetchone()
        if row is not None:
            return repr(row)
    return ""


def arrival_of(batch_id: int, files: Sequence[FileInfo]) -> str:
    """When a batch arrived, as its file has it; empty when none of these files has it, or none can be read."""
    for info in files:
        if info.first_batch_id <= batch_id <= info.last_batch_id or info is files[-1]:
            try:
                with reading(info.path) as db:
                    row = db.execute("SELECT received_at FROM batches WHERE id = ?", (batch_id,)).fetchone()
            except sqlite3.Error:
                continue
            if row is not None:
                return str(row[0])
    return ""
