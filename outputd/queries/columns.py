"""Columns that several questions answer with, and the member that says how far the counts go."""

from __future__ import annotations

from outputd.queries.tables import Column
from outputd.web.shapes import Schema, count, instant, or_null

LOSS_PERCENT: Schema = {"type": "number", "minimum": 0, "maximum": 100, "description": "percent of the packets"}
COUNTS = (
    Column("failed", count("results without any reply")),
    Column("sent", count("packets sent")),
    Column("received", count("packets received, duplicates among them")),
    Column("lost", count("packets lost, result by result: duplicates of one do not make up for losses of another")),
    Column("loss_percent", LOSS_PERCENT),
)
MEASURED = (Column("results", count("results", least=1)), *COUNTS)
NODES = Column("nodes", {"type": "array", "items": {"type": "string"}, "description": "the node that measured it"})
RTT_DIFFERENCE = Column("rtt_difference_ns", or_null({
    "type": "integer", "description": "mean of the farther round-trip time less the nearer one, nanoseconds",
}))  # fmt: skip
COMPLETE_UNTIL = or_null(instant("the arrival up to which all results are counted here; null before any"))
