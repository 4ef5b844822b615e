"""The counts of an `.expected.json` twice: by walking over the bodies, and by asking the tables."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tests.system.addresses import canonical
from tests.system.files import column
from tests.system.load import Result

_JOINED = "ping_results AS ping JOIN traceroute_results AS trace ON trace.ping_result_id = ping.id"

QUERIES = {
    "bodies": "SELECT count(*) FROM batches",
    "most_results_in_one_body": "SELECT max(accepted) FROM batches",
    "results": "SELECT count(*) FROM ping_results",
    "successful": "SELECT count(*) FROM ping_results WHERE received > 0",
    "failed": "SELECT count(*) FROM ping_results WHERE received = 0",
    "with_error_text": "SELECT count(*) FROM ping_results WHERE error != ''",
    "sum_sent": "SELECT sum(sent) FROM ping_results",
    "sum_received": "SELECT sum(received) FROM ping_results",
    "sum_avg_rtt_ns": "SELECT coalesce(sum(avg_rtt), 0) FROM ping_results",
    "partial_loss": "SELECT count(*) FROM ping_results WHERE received > 0 AND received < sent",
    "distinct_targets": "SELECT count(DISTINCT ip) FROM ping_results",
    "distinct_ipv6_targets": "SELECT count(DISTINCT ip) FROM ping_results WHERE ip LIKE '%:%'",
    "traceroutes": "SELECT count(*) FROM traceroute_results",
    "traceroutes_completed": "SELECT count(*) FROM traceroute_results WHERE completed",
    "traceroutes_with_error": "SELECT count(*) FROM traceroute_results WHERE error != ''",
    "failed_ping_but_completed_traceroute": f"SELECT count(*) FROM {_JOINED} WHERE received = 0 AND completed",
    "good_ping_but_incomplete_traceroute": f"SELECT count(*) FROM {_JOINED} WHERE received > 0 AND completed IS NOT 1",
    "most_hop_rows_in_one_traceroute": "SELECT max(rows) FROM"
    " (SELECT count(*) AS rows FROM traceroute_hops GROUP BY traceroute_id)",
    "hop_rows": "SELECT count(*) FROM traceroute_hops",
    "largest_ttl": "SELECT max(ttl) FROM traceroute_hops",
    "hop_rows_zero_rtt": "SELECT count(*) FROM traceroute_hops WHERE rtt = 0 AND NOT timeout",
    "timeout_hop_rows": "SELECT count(*) FROM traceroute_hops WHERE timeout",
}
"""The counts of an `.expected.json` that are one number and mean the same in the tables."""

_WITHOUT_HOPS = """
    SELECT count(*) FROM traceroute_results WHERE id NOT IN (SELECT traceroute_id FROM traceroute_hops)
"""


def of_tables(db: sqlite3.Connection) -> dict[str, Any]:
    """What the tables answer."""
    counts: dict[str, Any] = {name: column(db, sql)[0] for name, sql in QUERIES.items()}
    counts["traceroutes_without_hops"] = column(db, _WITHOUT_HOPS)[0]
    counts["methods"] = dict(db.execute("SELECT method, count(*) FROM traceroute_results GROUP BY method"))
    first, last = db.execute("SELECT min(timestamp), max(timestamp) FROM ping_results").fetchone()
    counts["min_timestamp"], counts["max_timestamp"] = (f"{text.replace(' ', 'T')}Z" for text in (first, last))
    counts["top20_targets"] = top20(Counter(column(db, "SELECT ip FROM ping_results")))
    counts["hops"] = set(column(db, "SELECT DISTINCT ip FROM traceroute_hops WHERE ip IS NOT NULL"))
    return counts


def of_results(bodies: Sequence[Sequence[Result]]) -> dict[str, Any]:
    """What the tables should answer after these bodies, every item of which is a result."""
    results = [result for body in bodies for result in body]
    traced = [(result, result["traceroute"]) for result in results if result.get("traceroute")]
    traces = [trace for _, trace in traced]
    hops = [hop for trace in traces for hop in trace.get("hops") or ()]
    targets = Counter(canonical(result["ip"]) or "?" for result in results)
    instants = sorted((_instant(result["timestamp"]), result["timestamp"]) for result in results)
    return {
        "bodies": len(bodies),
        "most_results_in_one_body": max(len(body) for body in bodies),
        "results": len(results),
        "successful": sum(result["received"] > 0 for result in results),
        "failed": sum(result["received"] == 0 for result in results),
        "with_error_text": sum(bool(result.get("error")) for result in results),
        "sum_sent": sum(result["sent"] for result in results),
        "sum_received": sum(result["received"] for result in results),
        "sum_avg_rtt_ns": sum(result.get("avg_rtt") or 0 for result in results),
        "partial_loss": sum(0 < result["received"] < result["sent"] for result in results),
        "distinct_targets": len(targets),
        "distinct_ipv6_targets": sum(":" in target for target in targets),
        "traceroutes": len(traces),
        "traceroutes_completed": sum(bool(trace.get("completed")) for trace in traces),
        "traceroutes_with_error": sum(bool(trace.get("error")) for trace in traces),
        "failed_ping_but_completed_traceroute": sum(
            result["received"] == 0 and bool(trace.get("completed")) for result, trace in traced
        ),
        "good_ping_but_incomplete_traceroute": sum(
            result["received"] > 0 and not trace.get("completed") for result, trace in traced
        ),
        "most_hop_rows_in_one_traceroute": max(len(trace.get("hops") or ()) for trace in traces),
        "hop_rows": len(hops),
        "largest_ttl": max(hop["ttl"] for hop in hops),
        "hop_rows_zero_rtt": sum(hop.get("rtt") == 0 and not hop.get("timeout") for hop in hops),
        "timeout_hop_rows": sum(bool(hop.get("timeout")) for hop in hops),
        "traceroutes_without_hops": sum(not trace.get("hops") for trace in traces),
        "methods": dict(Counter(trace["method"] for trace in traces)),
        "min_timestamp": utc(instants[0][1]),
        "max_timestamp": utc(instants[-1][1]),
        "top20_targets": top20(targets),
        "hops": {canonical(hop["ip"]) or hop["ip"] for hop in hops if hop.get("ip")},
    }


def top20(targets: Counter[str]) -> list[list[Any]]:
    """The most frequent targets, those of one count by name."""
    return [[name, count] for name, count in sorted(targets.items(), key=lambda item: (-item[1], item[0]))[:20]]


def _instant(text: str) -> tuple[datetime, str]:
    """For comparing: the second, and the digits of the fraction."""
    seconds, fraction, zone = _parts(text)
    return datetime.fromisoformat(seconds + zone).astimezone(UTC), fraction


def utc(text: str) -> str:
    """The same instant in UTC, without trailing zeros."""
    second, fraction = _instant(text)
    return f"{second:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z"


def _parts(text: str) -> tuple[str, str, str]:
    seconds, rest = text[:19], text[19:]
    digits = rest[1:].rstrip("Zz")
    for sign in "+-":
        digits = digits.split(sign)[0]
    if not rest.startswith("."):
        return seconds, "", rest
    return seconds, digits.rstrip("0"), rest[1 + len(digits) :]
