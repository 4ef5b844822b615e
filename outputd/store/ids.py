"""The numbers of results, batches and hops, which go on over the files of an instance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_LEAST_ROW_BYTES = 16
_MOST_ROWS_A_BATCH = 1 << 20  # a body has at most 8 MiB, and no result or hop takes less than 8 bytes of it


class Ids(NamedTuple):
    """The id that the next result will have, the next batch and the next hop."""

    result: int = 1
    batch: int = 1
    hop: int = 1

    def beyond(self, size_bytes: int) -> Ids:
        """Ids that no row of an unreadable file of this size can have."""
        most = size_bytes // _LEAST_ROW_BYTES
        return Ids(self.result + most, self.batch + most, self.hop + most)

    def above(self, batch: int) -> Ids:
        """Ids that no row of any batch up to this one can have."""
        most = max(0, batch + 1 - self.batch) * _MOST_ROWS_A_BATCH
        return Ids(self.result + most, max(self.batch, batch + 1), self.hop + most)


def furthest(each: Iterable[Ids]) -> Ids:
    """Ids that none of these has used; the first ones where there are none."""
    found = [Ids(), *each]
    return Ids(*map(max, zip(*found, strict=True)))
