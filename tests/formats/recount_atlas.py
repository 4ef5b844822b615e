"""What is in a body of RIPE Atlas, counted from its text alone, for comparison with what the reader makes of it."""

from __future__ import annotations

import json
from fractions import Fraction
from ipaddress import ip_address
from typing import Any

from tests.formats.recount import Counted


def recount(body: bytes) -> list[Counted]:
    """One for each result with a target."""
    return [count for item in _items(body.decode()) if (count := _counted(item)) is not None]


def _items(text: str) -> list[Any]:
    try:
        whole = json.loads(text, parse_float=Fraction)
    except ValueError:
        rows = [line.removeprefix("RESULT ") for line in text.splitlines() if line.strip()]
        return [json.loads(row, parse_float=Fraction) for row in rows]
    if isinstance(whole, dict) and isinstance(whole.get("results"), list):
        return list(whole["results"])
    return whole if isinstance(whole, list) else [whole]


def _counted(item: dict[str, Any]) -> Counted | None:
    target = item.get("dst_addr") or item.get("addr")
    if not target:
        return None
    found = item.get("result", [])
    if any("hop" in element for element in found):
        return _counted_route(target, item, found)
    if "sent" in item:
        sent, received, average = int(item["sent"]), int(item["rcvd"]), Fraction(item["avg"])
    else:
        times = [Fraction(answer["rtt"]) for answer in found if "rtt" in answer]
        sent, received, average = len(found), len(times), Fraction(sum(times), len(times) or 1)
        average = average if times else Fraction(-1)
    rtt_ns = 0 if average == -1 else round(average * 10**6)
    return Counted(str(ip_address(target)), sent, received, rtt_ns)


def _counted_route(target: str, item: dict[str, Any], found: list[dict[str, Any]]) -> Counted:
    counted = Counted(str(ip_address(target)), 0, 0, 0, is_route=True)
    last: list[dict[str, Any]] = []
    for element in found:
        last = element.get("result", last)
        for answer in element.get("result", []):
            if "x" in answer:
                counted.timeouts += 1
            elif "late" not in answer:
                counted.replies += 1
                counted.hop_rtt_ns += round(Fraction(answer["rtt"]) * 10**6)
    probes = [answer for answer in last if not {"late", "dup"} & set(answer)]
    arrived = [
        answer for answer in probes if "err" not in answer and answer.get("from") and _is(answer["from"], target)
    ]
    counted.sent, counted.received = len(probes), len(arrived)
    times = [Fraction(answer["rtt"]) for answer in arrived]
    counted.rtt_ns = round(sum(times) / len(times) * 10**6) if times else 0
    return counted


def _is(one: str, other: str) -> bool:
    return ip_address(one) == ip_address(other)
