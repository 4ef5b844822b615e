"""The rows that a body becomes: flat lists in the column order of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from msgspec import Struct

from outputd.results.model import OURS

_BYTES_A_CELL = 24  # its place in a row and in the writer's, and a number or what a text has beside its characters
_BYTES_A_REJECT = 256  # the object, and what the writer makes of it; its field and reason are shared
_BYTES_AN_ADDRESS = 256  # of a hop that may be new: its text, its place here and in the ledger's transaction


class Rejected(Struct, frozen=True, gc=False):
    """An item that is no result: where it stood, what is wrong with it, and its text (at most MOST_RAW_BYTES)."""

    index: int
    field: str
    reason: str
    raw: bytes


class RawBody(Struct, frozen=True, gc=False):
    """A body of another format in zstd, and the version of the reader that has read it."""

    version: int
    body: bytes


@dataclass(slots=True)
class Batch:
    """The rows of one POST, flat and in the column order of the tables, with room for the ids to come."""

    received_at: str
    pings: list[Any] = field(default_factory=list)
    traceroutes: list[Any] = field(default_factory=list)
    hops: list[Any] = field(default_factory=list)
    spreads: list[Any] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    rejected_by_field: Mapping[str, int] = field(default_factory=dict)
    accepted: int = 0
    successful: int = 0
    latest: str = ""
    ahead: str = ""
    new_hops: dict[str, str] = field(default_factory=dict)
    node: str = ""
    digest: bytes = b""
    key: str | None = None
    text_bytes: int = 0
    format: str = OURS
    time_from: str = OURS
    raw: RawBody | None = None
    id: int = 0
    first_id: int = 0

    PING_COLUMNS: ClassVar = 9
    TRACEROUTE_COLUMNS: ClassVar = 5
    HOP_COLUMNS: ClassVar = 5
    SPREAD_COLUMNS: ClassVar = 4

    def number(self, batch_id: int, first_id: int) -> None:
        """Give the batch and its results their ids; a traceroute has the id of its result."""
        self.id, self.first_id = batch_id, first_id
        self.pings[:: self.PING_COLUMNS] = range(first_id, first_id + self.accepted)
        ids = [first_id + place for place in self.traceroutes[1 :: self.TRACEROUTE_COLUMNS]]
        self.traceroutes[:: self.TRACEROUTE_COLUMNS] = self.traceroutes[1 :: self.TRACEROUTE_COLUMNS] = ids
        self.hops[:: self.HOP_COLUMNS] = [first_id + place for place in self.hops[:: self.HOP_COLUMNS]]
        if self.spreads:
            self.spreads[:: self.SPREAD_COLUMNS] = [first_id + place for place in self.spreads[:: self.SPREAD_COLUMNS]]

    @property
    def row(self) -> list[Any]:
        """Its row of the table `batches`."""
        key, first, last = (self.key, self.first_id, self.last_id) if self.accepted else (None, None, None)
        return [
            self.id, self.node, self.received_at, self.digest, key, first, last, self.accepted, len(self.rejected),
            self.format, self.time_from,
        ]  # fmt: skip

    @property
    def hop_rows(self) -> int:
        """How many rows of traceroute_hops it has."""
        return len(self.hops) // self.HOP_COLUMNS

    @property
    def last_id(self) -> int:
        """The id of its last result."""
        return self.first_id + self.accepted - 1

    @property
    def memory_bytes(self) -> int:
        """About how much memory it holds, and what the writer and the ledger make of it."""
        return (
            self.text_bytes + sum(len(reject.raw) for reject in self.rejected) + self.cells * _BYTES_A_CELL
            + len(self.rejected) * _BYTES_A_REJECT + len(self.new_hops) * _BYTES_AN_ADDRESS
            + (0 if self.raw is None else 2 * len(self.raw.body))
        )  # fmt: skip

    def forget_rows(self) -> None:
        """They are stored: keep nothing but what was rejected or is new."""
        self.pings, self.traceroutes, self.hops, self.spreads, self.raw = [], [], [], [], None

    @property
    def cells(self) -> int:
        """How many values it holds, a measure of its memory and of the work to store it."""
        return len(self.pings) + len(self.traceroutes) + len(self.hops) + len(self.spreads)
