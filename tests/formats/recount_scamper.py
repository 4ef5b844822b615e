"""What is in scamper's JSON, counted from its text alone, for comparison with what the reader makes of it."""

from __future__ import annotations

import json
from fractions import Fraction
from ipaddress import IPv6Address, ip_address
from typing import Any

from tests.formats.recount import Counted

ARRIVALS = {4: {"icmp": [(0, 0)], "udp": [(3, 3)]}, 6: {"icmp": [(129, 0)], "udp": [(1, 4)]}}


def recount(body: bytes) -> list[Counted]:
    """One for each trace and ping."""
    return [
        _ping(item) if item["type"] == "ping" else _trace(item)
        for item in _items(body.decode())
        if item.get("type") in ("ping", "trace")
    ]


def _items(text: str) -> list[dict[str, Any]]:
    items = []
    for line in text.splitlines():
        try:
            item = json.loads(line, parse_float=Fraction)
        except ValueError:
            continue  # M-Lab breaks some on purpose
        items.append(item.get("Trace", item))
    return items


def _ping(item: dict[str, Any]) -> Counted:
    times: dict[int, Fraction] = {}
    for reply in item.get("responses", ()):
        if _is_arrival(reply, item):
            times.setdefault(reply["seq"], Fraction(reply["rtt"]))
    average = round(sum(times.values()) / len(times) * 10**6) if times else 0
    return Counted(_canonical(item["dst"]), item["ping_sent"], len(times), average)


def _trace(item: dict[str, Any]) -> Counted:
    target = _canonical(item["dst"])
    hops = item.get("hops", [])
    answered = {reply["probe_ttl"] for reply in hops}
    silent = [ttl for ttl in range(item["firsthop"], item["hop_count"] + 1) if ttl not in answered]
    last = [reply for reply in hops if reply["probe_ttl"] == max(answered | set(silent))]
    arrived = [reply for reply in last if _canonical(reply["addr"]) == target and _is_arrival(reply, item)]
    times = [Fraction(reply["rtt"]) for reply in arrived]
    numbers = {reply["probe_id"] for reply in last}  # from 1; in pantrace's all are 0
    return Counted(
        target, max(numbers | {len(numbers)}) if last else item["attempts"], len(arrived),
        round(sum(times) / len(times) * 10**6) if times else 0,
        is_route=True, replies=len(hops), timeouts=len(silent),
        hop_rtt_ns=sum(round(Fraction(reply["rtt"]) * 10**6) for reply in hops),
    )  # fmt: skip


def _is_arrival(reply: dict[str, Any], item: dict[str, Any]) -> bool:
    family = ip_address(_canonical(item["dst"])).version
    return (reply["icmp_type"], reply["icmp_code"]) in ARRIVALS[family][item["method"][:4].rstrip("-")]


def _canonical(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
