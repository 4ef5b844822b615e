"""Results of a fleet: 300 nodes that measure 5,000 targets over nearly 130,000 links, always the same ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from benchmarks import load
from benchmarks.kinds import Kind

NODES = 300
TARGETS = 5000
_TIERS = ((NODES, 1), (NODES, 5), *[(1500, 8)] * 8, (1500, 22))
"""For each TTL before the target's: how many addresses answer there, and to how many of the next TTL each leads."""
_SIZES = (*[addresses for addresses, _ in _TIERS], TARGETS)
LINKS = sum(addresses * ways for addresses, ways in _TIERS)
"""At most."""
_RESULTS = 60_000  # so that 24 links of 25 are in one of them
_RESULTS_A_BODY = 50
_USUAL_SHARE = 0.25


def fleet() -> Kind:
    """Bodies of all nodes in turn. Each time they go round, each is sent by another node."""
    return Kind(f"{NODES} nodes, {TARGETS:,} targets, {LINKS:,} links", 16, bodies)


def bodies() -> list[load.Body]:
    """One round of them."""
    rng = random.Random(21)
    taken: Counter[tuple[int, int]] = Counter()
    made = []
    for number, first in enumerate(range(0, _RESULTS, _RESULTS_A_BODY)):
        node = number % NODES
        items = [_result(rng, taken, node, first + place) for place in range(_RESULTS_A_BODY)]
        hops = len(items) * (len(_TIERS) + 1)
        made.append(load.Body(f"[{','.join(items)}]".encode(), len(items), hops, f"node-{node:03}.example"))
    return made


def _result(rng: random.Random, taken: Counter[tuple[int, int]], node: int, serial: int) -> str:
    places = _path(rng, taken, node)
    addresses = [f"10.{ttl}.{place >> 8}.{place & 255}" for ttl, place in enumerate(places[:-1], start=1)]
    target = f"198.18.{places[-1] >> 8}.{places[-1] & 255}"
    rtts = sorted(rng.randrange(200_000, 90_000_000) for _ in places)
    received = 0 if rng.random() < 0.02 else 4
    hops = ",".join(
        f'{{"ttl":{ttl},"ip":"{ip}","rtt":{rtt}}}'
        for ttl, (ip, rtt) in enumerate(zip([*addresses, target], rtts, strict=True), start=1)
    )
    return (
        f'{{"ip":"{target}","sent":4,"received":{received},"avg_rtt":{rtts[-1] if received else 0},'
        f'"timestamp":"{load.moment(serial)}","traceroute":{{"method":"icmp","completed":true,"hops":[{hops}]}}}}'
    )


def _path(rng: random.Random, taken: Counter[tuple[int, int]], node: int) -> Sequence[int]:
    """An address of each TTL, by its number: most ways in turn, so that all are there, the usual ones more often."""
    places = [node]
    for ttl, (_, ways) in enumerate(_TIERS):
        here = (ttl, places[-1])
        way = 0 if rng.random() < _USUAL_SHARE else taken[here] % ways
        taken[here] += 1
        places.append((places[-1] * ways + way) % _SIZES[ttl + 1])
    return places
