"""The rows of the lists once more, counted in Python from the bodies that were sent: nothing of outputd, and no SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from tests.system.addresses import canonical
from tests.system.counts import utc
from tests.system.load import Result

HOUR_NS = 3_600_000_000_000
_SILENCE = ("0.0.0.0", "::")
Row = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """A body that was sent by a node: results, and items that are none."""

    node: str
    items: Sequence[Any]

    @property
    def results(self) -> list[Result]:
        """Those of its items that are results."""
        return [item for item in self.items if canonical(item.get("ip"))]


@dataclass
class _Link:
    count: int = 0
    differences: list[int] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    nodes: set[str] = field(default_factory=set)


def targets(bodies: Sequence[Sent], node: str | None = None) -> list[Row]:
    """The rows of /targets, in no order."""
    of: dict[str, list[tuple[str, Result]]] = defaultdict(list)
    for body, result in _results(bodies):
        of[canonical(result["ip"]) or ""].append((body.node, result))
    rows = []
    for ip, measured in of.items():
        chosen = [result for sender, result in measured if node in (None, sender)]
        if not chosen:
            continue
        sent, received = (sum(result[name] for result in chosen) for name in ("sent", "received"))
        lost = sum(max(0, result["sent"] - result["received"]) for result in chosen)
        rtts = [result["avg_rtt"] for result in chosen if result["received"] and result.get("avg_rtt") is not None]
        times = [_instant(result) for result in chosen]
        rows.append({
            "ip": ip, "results": len(chosen), "failed": sum(not result["received"] for result in chosen), "sent": sent,
            "received": received, "lost": lost, "loss_percent": round(100 * lost / sent, 3) if sent else 100,
            "last_rtt_ns": rtts[-1] if rtts else None, "first_seen": f"{min(times)}Z", "last_seen": f"{max(times)}Z",
            "nodes": sorted({sender for sender, _ in measured}),
        })  # fmt: skip
    return rows


def nodes(bodies: Sequence[Sent]) -> list[Row]:
    """What the rows of /nodes say of counts, in no order."""
    rows: dict[str, Row] = {}
    for body in bodies:
        row = rows.setdefault(body.node, {"node": body.node, "batches": 0, "results": 0, "rejected": 0})
        row["batches"] += 1
        row["results"] += len(body.results)
        row["rejected"] += len(body.items) - len(body.results)
    return list(rows.values())


def links(bodies: Sequence[Sent]) -> list[Row]:
    """The rows of /links, in no order."""
    found: dict[tuple[str, str], _Link] = defaultdict(_Link)
    for body, result in _results(bodies):
        replies = _replies((result.get("traceroute") or {}).get("hops") or ())
        for ttl, here in replies.items():
            for (near, near_rtt), (far, far_rtt) in product(here.items(), replies.get(ttl + 1, {}).items()):
                if near == far:
                    continue
                link = found[near, far]
                link.count += 1
                link.times.append(_instant(result))
                link.nodes.add(body.node)
                if near_rtt is not None and far_rtt is not None:
                    link.differences.append(far_rtt - near_rtt)
    return [
        {
            "from": near, "to": far, "count": link.count,
            "rtt_difference_ns": sum(link.differences) / len(link.differences) if link.differences else None,
            "first_seen": f"{min(link.times)}Z", "last_seen": f"{max(link.times)}Z", "nodes": sorted(link.nodes),
        }
        for (near, far), link in found.items()
    ]  # fmt: skip


def failures(bodies: Sequence[Sent], most: int) -> list[Row]:
    """The rows of /failures of so many of the newest, the newest first, for bodies that were sent one by one."""
    failed = [(body.node, number, result) for number, (body, result) in enumerate(_results(bodies), 1)
              if not result["received"]][-most:]  # fmt: skip
    rows: dict[str, Row] = {}
    for node, number, result in reversed(failed):
        ip, at = canonical(result["ip"]) or "", f"{_instant(result)}Z"
        row = rows.setdefault(ip, {
            "ip": ip, "count": 0, "first_failed": at, "last_failed": at, "id": number,
            "error": (result.get("error") or "")[:255] or None, "nodes": [],
        })  # fmt: skip
        row["count"] += 1
        row["first_failed"] = f"{min(row['first_failed'][:-1], at[:-1])}Z"
        row["last_failed"] = f"{max(row['last_failed'][:-1], at[:-1])}Z"
        row["nodes"] = sorted({*row["nodes"], node})
    return list(rows.values())


def rejected(bodies: Sequence[Sent]) -> list[Row]:
    """What the rows of /rejected say of what was sent, the newest first, for bodies that were sent one by one."""
    return [
        {"batch": batch, "index": index, "node": body.node, "raw": item}
        for batch, body in enumerate(bodies, 1) for index, item in enumerate(body.items) if item not in body.results
    ][::-1]  # fmt: skip


def _results(bodies: Sequence[Sent]) -> Iterable[tuple[Sent, Result]]:
    return ((body, result) for body in bodies for result in body.results)


def _instant(result: Result) -> str:
    """As text whose order is that of time."""
    return utc(result["timestamp"])[:-1]


def _replies(hops: Iterable[Result]) -> Mapping[int, dict[str, int | None]]:
    """The addresses that replied at each TTL, with the shortest round-trip time that can be."""
    replies: dict[int, dict[str, int | None]] = defaultdict(dict)
    for hop in hops:
        ip = canonical(hop.get("ip"))
        if hop.get("timeout") or ip is None or ip in _SILENCE:
            continue
        rtt = hop.get("rtt")
        rtts = [each for each in (replies[hop["ttl"]].get(ip), rtt) if each is not None and each < HOUR_NS]
        replies[hop["ttl"]][ip] = min(rtts, default=None)
    return dict(replies)
