"""What will never be in the archive: batches whose files went, or are damaged, before they were shipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from outputd.process.log import Logger
from outputd.process.trouble import Failure
from outputd.store.store import Store

_log = Logger()


class _Unshipped(NamedTuple):
    name: str
    first_batch_id: int
    last_batch_id: int


class Losses:
    """Looks which files go; `through` is the last batch that is shipped, with all before it."""

    def __init__(self, store: Store, through: Callable[[], int]) -> None:
        self._store = store
        self._through = through
        self._unshipped: dict[int, _Unshipped] = {}
        self.batches = 0
        """How many were lost since the start."""
        self.failure: Failure | None = None
        """The last of them, and why."""

    def look(self) -> None:
        """Tell of files that have gone since the last look."""
        files, through = self._store.files, self._through()
        there = {info.sequence for info in files}
        for sequence, gone in self._unshipped.items():
            if sequence not in there and gone.last_batch_id > through:
                first = max(gone.first_batch_id, through + 1)
                self.note(first, gone.last_batch_id, f"{gone.name} was deleted or set aside before that")
        ends = [*(info.last_batch_id for info in files[:-1]), self._store.current.last_batch_id]
        self._unshipped = {
            info.sequence: _Unshipped(info.path.name, info.first_batch_id, end)
            for info, end in zip(files, ends, strict=True)
            if end > through
        }

    def note(self, first_batch_id: int, last_batch_id: int, why: str) -> None:
        """These cannot be shipped any more."""
        self.batches += last_batch_id - first_batch_id + 1
        reason = f"the POSTs of batches {first_batch_id} to {last_batch_id} will never be in the archive: {why}"
        self.failure = Failure(reason, self._store.now())
        _log.error("{reason}", reason=reason)
