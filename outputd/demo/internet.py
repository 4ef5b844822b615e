"""A small internet for the demonstration: routers, links, and what a ping and a traceroute over them show. Pure."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from statistics import pstdev
from typing import Any, Final

Result = dict[str, Any]
VANTAGE_POINTS: Final = ("ams", "fra", "nyc", "sin", "gru")
_ROUTERS = 900
_FIRST_V4 = int(IPv4Address("198.18.0.1"))  # RFC 2544: addresses for benchmarks, nobody's own
_FIRST_V6 = int(IPv6Address("2001:db8::1"))  # RFC 3849: for documentation
_MS_NS = 1_000_000
_MOST_TTL = 30
_PROBES = 4
_OUTAGE_S = 600
_OUT = 0.02
_DAY_S = 86_400
_QUIET_UNTIL_S = 14 * 3600


@dataclass(frozen=True, slots=True)
class Router:
    """A router and its habits."""

    number: int
    place: tuple[float, float]
    is_silent: bool
    """It forwards, and never answers a traceroute."""
    is_down: bool
    """It answers nothing that is for itself."""
    loss: float
    speaks_v6: bool


@dataclass
class World:
    """Routers in a plane, each linked to earlier ones, the busy ones most; made from a seed."""

    seed: int
    routers: list[Router] = field(default_factory=list)
    links: dict[int, list[int]] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    """Whose address it is."""

    _period: int = -1
    _links_out: frozenset[frozenset[int]] = frozenset()

    def __post_init__(self) -> None:
        rng = self._random = random.Random(self.seed)
        ends: list[int] = []
        for number in range(_ROUTERS):
            self.routers.append(
                Router(
                    number,
                    (rng.random(), rng.random()),
                    rng.random() < 0.07,
                    rng.random() < 0.08,
                    rng.choice((0.0, 0.0, 0.0, 0.01, 0.05, 0.3)),
                    rng.random() < 0.7,
                )
            )
            self.links[number] = []
            for other in {rng.choice(ends) for _ in range(2)} if ends else set():
                self.links[number].append(other)
                self.links[other].append(number)
                ends += [number, other]
            ends.append(number)
        for number, others in self.links.items():
            for other in others:
                for is_v6 in (False, True):
                    self.owners[self._address(number, other, is_v6)] = number
        edge = [
            number for number, others in self.links.items() if len(others) <= 2 and not self.routers[number].is_down
        ]
        self._entries = dict(zip(VANTAGE_POINTS, rng.sample(edge, len(VANTAGE_POINTS)), strict=True))
        self._hosts = rng.sample(edge, 40)
        self._gateways = [f"10.{number}.0.1" for number in range(len(VANTAGE_POINTS))]

    def knows(self, address: str) -> bool:
        """Whether an address is one of this world's."""
        return address in self.owners or address in self._gateways

    def first_targets(self, count: int) -> list[str]:
        """Addresses with which the nodes begin."""
        hosts = self._hosts[:count]
        return [self._address(host, self.links[host][0], index % 2 == 1) for index, host in enumerate(hosts)]

    def measure(self, vantage_point: str, target: str, when: float) -> Result:
        """Ping and trace a target, as of `when` (seconds since 1970)."""
        owner = self.owners.get(target)
        path = [] if owner is None else self._path(self._entries[vantage_point], owner, when)
        is_up = owner is not None and bool(path) and not self.routers[owner].is_down
        rtts = [self._rtt_ns(path, when) for _ in range(_PROBES) if is_up and not self._is_lost(path)]
        result: Result = {
            "ip": target,
            "sent": _PROBES,
            "received": len(rtts),
            "packet_loss": 100 * (_PROBES - len(rtts)) / _PROBES,
            "timestamp": datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "traceroute": self._trace(vantage_point, path, target, is_up, when),
        }
        if rtts:
            result |= {"avg_rtt": sum(rtts) // len(rtts), "min_rtt": min(rtts), "max_rtt": max(rtts)}
            result["stddev_rtt"] = int(pstdev(rtts))
        else:
            result["error"] = "request timed out"
        return result

    def _trace(self, vantage_point: str, path: list[int], target: str, is_up: bool, when: float) -> Result:
        is_own_router = is_up and len(path) == 1
        gateway = target if is_own_router else self._gateways[VANTAGE_POINTS.index(vantage_point)]
        hops: list[Result] = [{"ttl": 1, "ip": gateway, "rtt": _MS_NS // 2}]
        is_v6 = ":" in target
        before = path[0] if path else 0
        for index, number in enumerate(path[1 : len(path) if is_up else -1]):
            is_target = is_up and index == len(path) - 2
            ip = target if is_target else self._address(number, before, is_v6)
            router = self.routers[number]
            mute = router.is_silent or (is_v6 and not router.speaks_v6) or self._random.random() < 0.02
            silent = mute and not is_target
            rtt = self._rtt_ns(path[: index + 2], when)
            ttl = index + 2
            hops.append({"ttl": ttl, "timeout": True} if silent else {"ttl": ttl, "ip": ip, "rtt": rtt})
            before = number
        if not is_up:
            hops += [{"ttl": ttl, "timeout": True} for ttl in range(len(hops) + 1, min(len(hops) + 5, _MOST_TTL))]
        return {"method": self._random.choice(("icmp", "icmp", "tcp")), "completed": is_up, "hops": hops}

    def _path(self, start: int, end: int, when: float) -> list[int]:
        """One of the shortest ways over the links that are not out; which one stays the same while they do."""
        out = self._out(int(when // _OUTAGE_S))
        rng = random.Random(f"{self.seed} {start} {end}")
        before = {start: start}
        queue = deque([start])
        while queue and end not in before:
            number = queue.popleft()
            others = self.links[number][:]
            rng.shuffle(others)
            for other in others:
                if other not in before and frozenset((number, other)) not in out:
                    before[other] = number
                    queue.append(other)
        if end not in before:
            return []
        path = [end]
        while path[-1] != start:
            path.append(before[path[-1]])
        return path[::-1]

    def _out(self, period: int) -> frozenset[frozenset[int]]:
        """The links that are out for a while."""
        if period != self._period:
            rng = random.Random(f"{self.seed} {period}")
            links = (frozenset((number, other)) for number, others in self.links.items() for other in others)
            self._period, self._links_out = period, frozenset(link for link in links if rng.random() < _OUT)
        return self._links_out

    def _rtt_ns(self, path: list[int], when: float) -> int:
        """There and back: what the way is long, and some waiting in queues, in the evening (UTC) the most."""
        places = [self.routers[number].place for number in path]
        length = sum(abs(ax - bx) + abs(ay - by) for (ax, ay), (bx, by) in pairwise(places))
        busy = 0.5 + 2 * max(0.0, math.sin(math.tau * (when - _QUIET_UNTIL_S) / _DAY_S)) ** 2
        return int(_MS_NS * (0.6 + 12 * length + busy * self._random.expovariate(1)))

    def _is_lost(self, path: list[int]) -> bool:
        return any(self._random.random() < self.routers[number].loss for number in path[-2:])

    def _address(self, number: int, towards: int, is_v6: bool) -> str:
        """A router's address on the link to another one."""
        place = number * 64 + self.links[number].index(towards) % 64
        is_v6 = is_v6 and self.routers[number].speaks_v6
        return str(IPv6Address(_FIRST_V6 + place)) if is_v6 else str(IPv4Address(_FIRST_V4 + place))
