"""The file that is being written, with its one writing connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from outputd.results import timestamps
from outputd.results.rows import Batch
from outputd.sqlite.files import identity_of, size_of, wal_of
from outputd.sqlite.pools import OpenPool
from outputd.store.file import FileInfo
from outputd.store.limits import Limits
from outputd.store.writer import Writer, Written, prepare


class Current:
    """The file that is being written, with its one writing connection."""

    def __init__(self, info: FileInfo, limits: Limits, open_pool: OpenPool, opened_s: float) -> None:
        self.info = info
        self.opened_s = opened_s
        self.last_batch_id = info.next_ids.batch - 1
        self.created_s = timestamps.seconds(info.created_at)
        self.size_bytes = size_of(info.path)
        self._identity = identity_of(info.path)
        self._wal_identity: tuple[int, int] | None = None
        self._limits = limits
        self._writer: Writer | None = None
        self.pool = open_pool(info.path, self._prepare)

    def is_gone(self) -> bool:
        """Whether the file or its WAL was deleted, moved or replaced by someone else."""
        if identity_of(self.info.path) != self._identity:
            return True
        return self._wal_identity is not None and identity_of(wal_of(self.info.path)) != self._wal_identity

    @property
    def has_lost_its_wal(self) -> bool:
        """Whether the file itself is still where it was, so that only its WAL can be gone."""
        return identity_of(self.info.path) == self._identity

    def _prepare(self, db: sqlite3.Connection) -> None:
        prepare(db, self._limits.wal_bytes)
        self._writer = Writer(db, self._limits.rejected_bytes)
        self._wal_identity = identity_of(wal_of(self.info.path))

    def write(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> Written:
        """In the pool's thread. Raises FileNotFoundError when the file is no longer where it was."""
        if self.is_gone():
            raise FileNotFoundError(f"{self.info.path.name} was deleted or moved away")
        assert self._writer is not None, "a connection is prepared before it is used"
        written = self._writer.write(db, batches)
        if self._wal_identity is None:
            self._wal_identity = identity_of(wal_of(self.info.path))
        return written
