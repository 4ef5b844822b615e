"""What is counted of a result, by a recount from the text of a body and in what a reader has made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from outputd.formats.reader import Unread
from outputd.results.model import PingResult


@dataclass
class Counted:
    """One result in numbers; RTTs in nanoseconds, 0 for none."""

    target: str
    sent: int
    received: int
    rtt_ns: int
    is_route: bool = False
    replies: int = 0
    timeouts: int = 0
    hop_rtt_ns: int = 0


def counted(items: Iterable[PingResult | Unread]) -> list[Counted]:
    """Each result that was read."""
    return [_counted(item) for item in items if isinstance(item, PingResult)]


def _counted(result: PingResult) -> Counted:
    route = result.traceroute
    hops = [] if route is None else route.hops or []
    silent = sum(bool(hop.timeout) for hop in hops)
    return Counted(
        result.ip, result.sent, result.received, result.avg_rtt or 0, route is not None, len(hops) - silent, silent,
        sum(hop.rtt or 0 for hop in hops),
    )  # fmt: skip
