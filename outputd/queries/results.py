"""A stored result: the SQL that reads it, and how it is printed."""

from __future__ import annotations

from typing import Any

from outputd.queries.columns import LOSS_PERCENT as PACKET_LOSS
from outputd.results import timestamps
from outputd.store.fragments import first_hop

__all__ = ["MOST_HOPS", "PACKET_LOSS", "ROW", "TRACEROUTE", "printed"]

MOST_HOPS = 1024
"""Hops of a traceroute in a list of results; one result alone has all."""
# quote() has all digits of a float, as JSON in SQLite has not.
ROW = "p.id, p.ip, p.sent, p.received, quote(p.packet_loss), p.avg_rtt, p.timestamp, p.error"
_FLAG = "json(CASE WHEN {0} IS NULL THEN 'null' WHEN {0} THEN 'true' ELSE 'false' END)"
TRACEROUTE = f"""
(SELECT json_object('method', t.method, 'completed', {_FLAG.format("t.completed")}, 'error', t.error, 'hops', json((
  SELECT json_group_array(json_object('ttl', ttl, 'ip', ip, 'rtt', rtt, 'timeout', {_FLAG.format("timeout")}))
  FROM (
    SELECT * FROM f.traceroute_hops
    WHERE id >= {first_hop("p.id")} AND id < {first_hop("(p.id + 1)")} AND traceroute_id = p.id
    ORDER BY id LIMIT :most_hops
  )
))) FROM f.traceroute_results t WHERE t.id = p.id)
"""


def printed(
    number: int, ip: str, sent: int, received: int, loss: str, rtt: int | None, timestamp: str, error: str | None
) -> dict[str, Any]:
    """A result as the API prints it, from the values of ROW."""
    percent = float(loss)
    result = {
        "id": number, "ip": ip, "sent": sent, "received": received,
        "packet_loss": int(percent) if percent.is_integer() else percent, "avg_rtt": rtt,
        "timestamp": timestamps.printed(timestamp),
    }  # fmt: skip
    if error is not None:
        result["error"] = error
    return result
