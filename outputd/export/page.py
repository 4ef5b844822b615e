"""Some results with all that is stored of them, column by column: a row becomes an object only where it must."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Page:
    """Results in order of arrival; perhaps none, while there are more. Times are in the stored form, RTTs in ns."""

    instance: str | None
    continues: bool = False
    """It has no results, but further hops of that with which the page before ends."""
    is_open: bool = False
    """The next page has further hops of its last result."""
    id: list[int] = field(default_factory=list)
    batch_id: list[int] = field(default_factory=list)
    node: list[str] = field(default_factory=list)
    received_at: list[str] = field(default_factory=list)
    ip: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    packet_loss: list[float] = field(default_factory=list)
    avg_rtt: list[int | None] = field(default_factory=list)
    timestamp: list[str] = field(default_factory=list)
    error: list[str | None] = field(default_factory=list)
    min_rtt: list[int | None] = field(default_factory=list)
    max_rtt: list[int | None] = field(default_factory=list)
    stddev_rtt: list[int | None] = field(default_factory=list)
    is_traced: list[int] = field(default_factory=list)
    """1 for a result that has a traceroute; without one the next three are None, and it has no hops."""
    method: list[str | None] = field(default_factory=list)
    completed: list[int | None] = field(default_factory=list)
    traceroute_error: list[str | None] = field(default_factory=list)
    hop_ends: list[int] = field(default_factory=list)
    """Where the hops of each result end in the lists of hops; they begin where those of the one before end."""
    hop_ttl: list[int] = field(default_factory=list)
    hop_ip: list[str | None] = field(default_factory=list)
    hop_rtt: list[int | None] = field(default_factory=list)
    hop_timeout: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.id)


NEVER_STORED = (ValueError, OverflowError)
"""What an encoder raises for a value that outputd never stores, as one in a damaged file."""


class Encoder(Protocol):
    """Makes one file of the results of all pages, in the order in which they are added."""

    def add(self, page: Page) -> bytes:
        """The bytes that are ready with these results, perhaps none. Raises NEVER_STORED."""

    def end(self) -> bytes:
        """The rest of the file."""
