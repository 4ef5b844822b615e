"""What may be asked of an export, and the forms in which it goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

from outputd.export.apart import Apart
from outputd.export.asked import Asked
from outputd.export.ndjson import NdjsonEncoder
from outputd.export.page import Encoder
from outputd.queries.parameters import AnyTarget, Failed, Node, Since, Until, time
from outputd.queries.results import PACKET_LOSS
from outputd.web import shapes
from outputd.web.shapes import Schema, count, instant, or_null, record, ref, text


@dataclass(frozen=True, slots=True)
class Wanted(Asked):
    """Which results are asked for, as a query string says it."""

    since: Since = None
    until: Until = None
    arrived_since: Annotated[str | None, time("Only what arrived at this time or later.")] = None
    arrived_until: Annotated[str | None, time("Only what arrived before this time.")] = None
    ip: AnyTarget = None
    node: Node = None
    failed: Failed = None


class Encoding(Encoder, Protocol):
    """An encoder that may hold more than memory. Blocking. Raises Lost."""

    apart_s: float
    """Seconds of CPU that other processes have used for it so far."""

    def stop(self) -> None:
        """Have whoever waits for it wait no more, whatever it does. Not blocking, and from any thread."""

    def close(self) -> None:
        """Whether it has ended or not, nothing more is wanted of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """A form of an export; `name` is that of its operation, as of a Question, `title` is for people."""

    name: str
    title: str
    suffix: str
    media: str
    encoder: Callable[[], Encoding]
    """Begins one, in a thread."""
    library: str = ""
    """What has to be there for it."""
    asked: type[Wanted] = Wanted

    @property
    def path(self) -> str:
        """Its route."""
        return f"/export.{self.suffix}"


EXPORTS = (
    Export("ExportNdjson", "NDJSON", "ndjson", "application/x-ndjson", NdjsonEncoder),
    Export("ExportParquet", "Parquet", "parquet", "application/vnd.apache.parquet", Apart, "pyarrow"),
)
"""All of them."""

EXPORTED: Mapping[str, Schema] = {
    "ExportedResult": record(
        "A line of an export: all that is stored of a result.",
        {
            "id": count("names this result in all files of the instance", least=1),
            "instance": or_null(text("the random name of the instance; null in a file of outputd 0.0.1")),
            "batch_id": count("the POST it came in", least=1),
            "node": text("the node that measured"),
            "received_at": instant("when it arrived"),
            "ip": shapes.address("the target"),
            "sent": count("packets sent"),
            "received": count("packets received"),
            "packet_loss": PACKET_LOSS,
            "avg_rtt": or_null(count("mean round-trip time, nanoseconds")),
            "min_rtt": or_null(count("shortest round-trip time, nanoseconds")),
            "max_rtt": or_null(count("longest round-trip time, nanoseconds")),
            "stddev_rtt": or_null(count("standard deviation of the round-trip times, nanoseconds")),
            "timestamp": instant("when it was measured"),
            "error": or_null(text("why it failed, if the node said so")),
            "traceroute": {"anyOf": [ref("StoredTraceroute"), {"type": "null"}]},
        },
    )
}
"""What a line of NDJSON has, by the name of its schema."""
