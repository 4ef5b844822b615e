"""A stored result: the SQL that reads it, and how it is printed."""

from __future__ import annotations

from typing import Any

import msgspec

from outputd.queries.columns import LOSS_PERCENT as PACKET_LOSS
from outputd.results import timestamps

__all__ = [
    "HOP",
    "HOP_BYTES",
    "MOST_HOPS",
    "PACKET_LOSS",
    "ROW",
    "SIZE",
    "TRACEROUTE",
    "TRACEROUTE_SIZE",
    "Row",
    "printed",
]

MOST_HOPS = 1024
"""Hops of a traceroute in a list of results; one result alone has all."""
# quote() has all digits of a float, as JSON in SQLite has not.
ROW = "p.id, p.ip, p.sent, p.received, quote(p.packet_loss), p.avg_rtt, p.timestamp, p.error"
SIZE = "160 + coalesce(length(CAST(p.error AS BLOB)), 0)"
"""SQL: the bytes of ROW when it is printed, about."""
TRACEROUTE_SIZE = "coalesce(length(CAST(t.method AS BLOB)), 0) + coalesce(length(CAST(t.error AS BLOB)), 0)"
"""SQL: those of the texts of TRACEROUTE."""
HOP_BYTES = 64
"""Those of a hop, about."""
_FLAG = "json(CASE WHEN {0} IS NULL THEN 'null' WHEN {0} THEN 'true' ELSE 'false' END)"
TRACEROUTE = f"'method', t.method, 'completed', {_FLAG.format('t.completed')}, 'error', t.error"
"""SQL: the members of a traceroute, but its hops."""
HOP = f"json_object('ttl', ttl, 'ip', ip, 'rtt', rtt, 'timeout', {_FLAG.format('timeout')})"
"""SQL: a hop as it is printed."""
Row = tuple[int, str, int, int, str, int | None, str, msgspec.Raw]
"""The values of ROW in JSON. A text of megabytes stays as it is: as str it may take four times as much."""


def printed(
    number: int, ip: str, sent: int, received: int, loss: str, rtt: int | None, timestamp: str, error: msgspec.Raw
) -> dict[str, Any]:
    """A result as the API prints it, from a Row."""
    percent = float(loss)
    result = {
        "id": number, "ip": ip, "sent": sent, "received": received,
        "packet_loss": int(percent) if percent.is_integer() else percent, "avg_rtt": rtt,
        "timestamp": timestamps.printed(timestamp),
    }  # fmt: skip
    if bytes(error) != b"null":
        result["error"] = error
    return result
