"""When a result file is due to be closed, and how many are kept."""

from __future__ import annotations

from dataclasses import dataclass

_NOTICED_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file is due to be closed, and how many are kept."""

    max_size_bytes: int
    max_age_s: float
    keep_files: int
    raw_percent: float = 20.0
    """What the bodies of other formats may take of a file; 0 keeps none."""

    @property
    def wal_bytes(self) -> int:
        """Where the WAL is checkpointed, a third of the file: seldom, and well before half, which ends the file."""
        return self.max_size_bytes // 3

    @property
    def low_disk_bytes(self) -> int:
        """With less room than two files the disk may soon be full."""
        return 2 * self.max_size_bytes

    @property
    def spare_disk_bytes(self) -> int:
        """What a copy for /dump must leave to results: a WAL, and what comes in while it is noticed."""
        return self.wal_bytes + _NOTICED_BYTES

    @property
    def rejected_bytes(self) -> int:
        """What rejected items may take of a file, a twentieth."""
        return self.max_size_bytes // 20

    @property
    def raw_bytes(self) -> int:
        """The same for the bodies of other formats."""
        return int(self.max_size_bytes * self.raw_percent / 100)
