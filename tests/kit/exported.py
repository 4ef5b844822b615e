"""What an export must hold, read from SQLite row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from outputd.sqlite.connections import reading

_RESULTS = """
SELECT p.id, {instance}, b.id, b.node, b.received_at, p.ip, p.sent, p.received, p.packet_loss, p.avg_rtt, s.min_rtt,
  s.max_rtt, s.stddev_rtt, p.timestamp, p.error, t.id, t.method, t.completed, t.error
FROM ping_results p JOIN batches b ON p.id BETWEEN b.first_id AND b.last_id
LEFT JOIN traceroute_results t ON t.ping_result_id = p.id LEFT JOIN rtt_spread s ON s.ping_result_id = p.id
WHERE {where} ORDER BY p.id
"""
_NAMES = (
    "id", "instance", "batch_id", "node", "received_at", "ip", "sent", "received", "packet_loss", "avg_rtt", "min_rtt",
    "max_rtt", "stddev_rtt", "timestamp", "error",
)  # fmt: skip


def stored(path: Path, where: str = "true", has_instance: bool = True) -> Iterator[dict[str, Any]]:
    """The results of a file as lines of an export, in order of arrival; `where` is about p and b."""
    instance = "(SELECT instance FROM result_file)" if has_instance else "NULL"
    with reading(path) as db:
        hops: dict[int, list[dict[str, Any]]] = {}
        for owner, ttl, ip, rtt, timeout in db.execute(
            "SELECT traceroute_id, ttl, ip, rtt, timeout FROM traceroute_hops ORDER BY id"
        ):
            hops.setdefault(owner, []).append({"ttl": ttl, "ip": ip, "rtt": rtt, "timeout": bool(timeout)})
        for *values, traced, method, completed, error in db.execute(_RESULTS.format(instance=instance, where=where)):
            row = dict(zip(_NAMES, values, strict=True))
            for time in ("received_at", "timestamp"):
                row[time] = row[time].replace(" ", "T") + "Z"
            row["traceroute"] = None if traced is None else {
                "method": method, "completed": None if completed is None else bool(completed), "error": error,
                "hops": hops.get(traced, []),
            }  # fmt: skip
            yield row


WEIRD: Sequence[dict[str, Any]] = (
    {"timestamp": "0001-01-01T00:00:00.000000001Z", "error": "a\x00b", "avg_rtt": 2**63 - 1},
    {"timestamp": "9999-12-31T23:59:59.999999999Z", "error": '"\\\n\r\t\x1f\x7f\u2028\ufffe𐍈,;=', "min_rtt": 0},
    {"timestamp": "1969-12-31T23:59:59.9999999Z", "error": "", "packet_loss": 0.1 + 0.2, "max_rtt": 2**63 - 1},
    {"timestamp": "1970-01-01T00:00:00Z", "sent": 2**63 - 1, "received": 2**63 - 1, "stddev_rtt": 7},
    {"timestamp": "1969-12-31T23:59:59.000000999Z", "packet_loss": 1e-300, "traceroute": {}},
    {"timestamp": "2026-01-07T22:30:00.5+05:45", "sent": 0, "received": 0, "traceroute": {"hops": []}},
    {"ip": "2001:DB8::A", "received": 0, "traceroute": {
        "method": "\x00tcp", "completed": False, "error": "ü" * 300, "hops": [
            {"ttl": 255, "ip": "_gateway\x00", "rtt": 2**63 - 1}, {"ttl": 0, "timeout": True}, {"ttl": 1, "ip": ""},
            {"ttl": 1, "ip": "ÿ" * 255, "rtt": -1}, {"ttl": 1, "ip": "::ffff:1.2.3.4", "rtt": 0},
        ],
    }},
)  # fmt: skip
"""Changes of a result that are hard to carry over."""
