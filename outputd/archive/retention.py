"""How long files are kept for the archive: until they are shipped, unless too many wait."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from outputd.sqlite.files import size_of, wal_of
from outputd.store.file import FileInfo


class Retention:
    """Which closed files wait to be shipped. When they weigh more than the limit, the oldest are given up."""

    def __init__(
        self, files: Callable[[], Sequence[FileInfo]], through: Callable[[], int], most_bytes: int
    ) -> None:  # fmt: skip
        """`through` is the last batch that is shipped, with all before it."""
        self._files = files
        self._through = through
        self.most_bytes = most_bytes

    @property
    def backlog_bytes(self) -> int:
        """What the closed files weigh that wait."""
        return sum(_size_of(info) for info in self._waiting())

    @property
    def let_go(self) -> int:
        """The last batch for which no file is kept: it is shipped, or given up."""
        let_go, waiting = self._through(), self._waiting()
        left_bytes = sum(_size_of(info) for info in waiting)
        for info in waiting:
            if left_bytes <= self.most_bytes:
                break
            left_bytes -= _size_of(info)
            let_go = info.last_batch_id
        return let_go

    def _waiting(self) -> list[FileInfo]:
        through = self._through()
        return [info for info in self._files()[:-1] if info.last_batch_id > through]


def _size_of(info: FileInfo) -> int:
    with contextlib.suppress(OSError):  # nobody may look
        return size_of(info.path) + size_of(wal_of(info.path))  # one that is not finished yet
    return 0
