"""What a node measures, as it writes it, and what a body of it may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Raw, Struct

MOST_RESULTS = 131_072
"""Results in one body: more than 8 MiB of the shortest possible ones."""
MOST_RAW_BYTES = 64 * 1024
"""What is kept of one rejected item."""
MOST_REASON_CHARACTERS = 500
"""What is told of what is wrong with an item."""
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A count of packets."""
RttNs = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
"""A round-trip time in nanoseconds; -1 is absent, as RIPE Atlas writes it."""


class Hop(Struct, gc=False, frozen=True):
    """One reply, or silence, at one TTL of a traceroute."""

    ttl: Annotated[int, Meta(ge=0, le=255)]
    ip: str | None = None
    rtt: RttNs | None = None
    timeout: bool | None = None


class Traceroute(Struct, gc=False, frozen=True):
    """The path to a target, as one node saw it."""

    method: str | None = None
    completed: bool | None = None
    error: str | None = None
    hops: list[Hop] | None = None


class PingResult(Struct, gc=False, frozen=True):
    """What one node measured of one target at one time."""

    ip: str
    sent: Count
    received: Count
    timestamp: str
    packet_loss: Annotated[float, Meta(le=100)] | None = None
    avg_rtt: RttNs | None = None
    error: str | None = None
    traceroute: Traceroute | None = None
    min_rtt: RttNs | None = None
    max_rtt: RttNs | None = None
    stddev_rtt: RttNs | None = None


class Origin(Struct, frozen=True):
    """What a batch keeps of where its body came from, and `horizon`, the latest timestamp to be believed.

    Times are in the stored form.
    """

    node: str
    received_at: str
    horizon: str
    key: str | None = None


class NotResults(Struct, frozen=True):
    """A body that is no JSON array; `reason` says what it is instead."""

    reason: str


class Mixed(Struct, frozen=True):
    """A body of which some items are no results: its items, to be read one by one."""

    items: Sequence[bytes | Raw]


class TooManyResults(Struct, frozen=True):
    """A body of more than MOST_RESULTS items."""


OURS = "native"
"""The format that nodes of the spec send; and where the times of a batch are from when its items have them."""
NO_ADDRESS = "local"
"""The node of a peer that has neither name nor address, as over a Unix socket."""
