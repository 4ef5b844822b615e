"""A digest of rows that depends on nothing but the rows: neither on pages, nor on a file's format or its library.

It is the SHA-256 over a line for each column, its name and the SHA-256 of its values: of numbers and texts the JSON of
each (as RFC 8785 writes it) and a comma, of floats the 8 bytes of IEEE 754, little end first.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from outputd.export.page import Page

_COLUMNS = (
    "id", "batch_id", "node", "received_at", "ip", "sent", "received", "avg_rtt", "min_rtt", "max_rtt", "stddev_rtt",
    "timestamp", "error", "is_traced", "method", "completed", "traceroute_error", "hop_ttl", "hop_ip", "hop_rtt",
    "hop_timeout",
)  # fmt: skip
"""Of a page, beside `packet_loss` and how many hops each result has."""


class Digest:
    """Of rows that are added in their order, column by column."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def add(self, columns: Mapping[str, Sequence[int | str | None]]) -> None:
        """Add rows, whose columns are the same each time."""
        for name, values in columns.items():
            if values:
                self._of(name).update(msgspec.json.encode(values)[1:-1] + b",")

    def add_floats(self, name: str, values: Sequence[float]) -> None:
        """Add the values of a column of floats."""
        self._of(name).update(struct.pack(f"<{len(values)}d", *values))

    def hexdigest(self) -> str:
        """That of all rows so far."""
        lines = (f"{name} {digest.hexdigest()}\n" for name, digest in sorted(self._columns.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _of(self, name: str) -> Any:
        return self._columns.setdefault(name, hashlib.sha256())


class ResultsDigest:
    """Of results with all that is stored of them, but for the name of their instance."""

    def __init__(self) -> None:
        self._digest = Digest()
        self._open_hops = 0

    def add(self, page: Page) -> None:
        """Add a page."""
        self._digest.add({name: getattr(page, name) for name in _COLUMNS})
        self._digest.add_floats("packet_loss", page.packet_loss)
        self._digest.add({"hops": self._closed(page)})

    def hexdigest(self) -> str:
        """See Digest."""
        return self._digest.hexdigest()

    def _closed(self, page: Page) -> list[int]:
        """How many hops those results have that end with this page: its last one may have more in the next."""
        ends = page.hop_ends if not page.continues else [len(page.hop_ttl)]
        counts = [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
        if page.continues:
            counts[0] += self._open_hops
        self._open_hops = counts.pop() if page.is_open else 0
        return counts
