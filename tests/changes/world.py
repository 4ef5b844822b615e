"""A world of nodes and targets whose changes are known: what each node sends, five minutes by five minutes.

It has what must not be taken for a change: equal paths that alternate, silent hops, lost packets, an hour of noise, a
dead target, one that always loses, and nodes whose POSTs come late.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from outputd.changes.change import Change
from outputd.changes.detector import Detector, Post
from outputd.results import timestamps

BEGIN_S = 1_767_830_400.0
"""2026-01-08 00:00 UTC."""
EVERY_S = 300.0
HOUR_S = 3600.0
NODES = ("graz-1", "oslo-1", "pune-1")
TARGETS = tuple(f"198.51.100.{number}" for number in range(1, 13))
DEAD, LOSSY, NOISY = TARGETS[0], TARGETS[1], TARGETS[2]


class Observation(NamedTuple):
    """One result, as the detector takes it."""

    target: str
    at: str
    sent: int
    received: int
    rtt_us: int | None
    route: str | None


def route_of(*hops: str) -> str:
    """A route of hops that are written TTL/ADDRESS."""
    return "-".join(f"{100 + int(ttl)}{address}" for ttl, _, address in (hop.partition("/") for hop in hops))


class Known(NamedTuple):
    """A change that was made; it counts as found when it is found soon enough."""

    kind: str
    node: str
    target: str
    since_s: float


@dataclass(frozen=True)
class Event:
    """What happens between one node and one target for a time, in hours from the beginning."""

    kind: str
    node: str
    target: str
    begin: float
    end: float = 1000.0
    by: float = 0.0


def events(rng: random.Random) -> list[Event]:
    """Three routes that change, two round-trip times that shift, one loss with its end."""
    pairs = [(node, target) for node in NODES for target in TARGETS[3:]]
    chosen = rng.sample(pairs, 6)
    return [
        *(Event("route", *pair, rng.uniform(6, 40)) for pair in chosen[:3]),
        Event("rtt", *chosen[3], rng.uniform(6, 40), by=rng.choice((0.1, -0.1))),
        Event("rtt", *chosen[4], rng.uniform(6, 20), rng.uniform(24, 40), by=0.5),
        Event("loss", *chosen[5], rng.uniform(6, 20), rng.uniform(24, 40), by=0.7),
        *(Event("noise", node, NOISY, begin := rng.uniform(6, 40), begin + 1) for node in NODES),
        Event("silence", "pune-1", "", begin := rng.uniform(6, 40), begin + 3),
    ]


def known(happening: Sequence[Event]) -> list[Known]:
    """What must be found."""
    kinds = {
        "route": ("route_changed", "route_changed"), "rtt": ("rtt_shifted", "rtt_shifted"),
        "loss": ("loss_began", "loss_ended"), "silence": ("node_silent", "node_back"),
    }  # fmt: skip
    return [
        Known(kind, event.node, event.target, BEGIN_S + hour * HOUR_S)
        for event in happening if event.kind in kinds
        for kind, hour in zip(kinds[event.kind], (event.begin, event.end), strict=True) if hour < HOURS
    ]  # fmt: skip


HOURS = 48


class World:
    """What its nodes send; the same seed sends the same."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.events = events(self._rng)

    def sent(self) -> Iterator[tuple[Post, list[Observation]]]:
        """Each POST with its results, in order of arrival."""
        number = 0
        for step in range(int(HOURS * HOUR_S / EVERY_S)):
            for place, node in enumerate(NODES):
                now_s = BEGIN_S + step * EVERY_S + 20 * place + self._rng.random()
                if self._is("silence", node, "", now_s):
                    continue
                number += 1
                seen = [self._seen(node, target, now_s) for target in TARGETS]
                yield Post(number, node, timestamps.at(now_s + self._rng.choice((0.5, 0.5, 40.0)))), seen

    def _is(self, kind: str, node: str, target: str, now_s: float) -> float:
        """Whether such a thing happens now, and by how much."""
        hour = (now_s - BEGIN_S) / HOUR_S
        return next(
            (event.by or 1.0 for event in self.events
             if (event.kind, event.node, event.target) == (kind, node, target) and event.begin <= hour < event.end),
            0.0,
        )  # fmt: skip

    def _seen(self, node: str, target: str, now_s: float) -> Observation:
        rng = self._rng
        loss = 1.0 if target == DEAD else 0.3 if target == LOSSY else self._is("loss", node, target, now_s) or 0.01
        received = sum(rng.random() >= loss for _ in range(4))
        usual_ms = 10.0 + 7 * TARGETS.index(target) + 30 * NODES.index(node)
        level_ms = usual_ms * (1 + self._is("rtt", node, target, now_s))
        scatter = 0.5 if self._is("noise", node, target, now_s) else 0.01
        rtt_us = int(1e3 * max(0.2, level_ms * (1 + rng.gauss(0, scatter)) + rng.expovariate(3.0)))
        route = self._route(node, target, now_s)
        return Observation(target, timestamps.at(now_s), 4, received, rtt_us if received else None, route)

    def _route(self, node: str, target: str, now_s: float) -> str | None:
        """Eleven hops: two ways of two hops each, a crowd at one TTL, and some that do not answer."""
        rng = self._rng
        here, there = NODES.index(node), TARGETS.index(target)
        other = 1 if self._is("route", node, target, now_s) else 0
        way, late_way = rng.randrange(2), rng.randrange(2)
        hops = [
            "10.0.0.1", f"10.1.{here}.1", f"10.2.{here}.{way}", f"10.3.{here}.{way}", f"10.4.{here}.{there}",
            f"10.5.{there}.{other}", f"10.6.{there}.{rng.randrange(16)}", f"10.7.{there}.{late_way}",
            f"10.8.{there}.{late_way}", f"10.9.{there}.1", target,
        ]  # fmt: skip
        reached = len(hops) - (target == DEAD)
        answered = [f"{ttl}/{hop}" for ttl, hop in enumerate(hops[:reached], 1) if ttl != 2 and rng.random() > 0.08]
        return route_of(*answered) or None


@dataclass(frozen=True)
class Score:
    """What was found of what is known."""

    hits: int
    false: list[Change]
    missed: list[Known]

    @property
    def precision(self) -> float:
        return self.hits / (self.hits + len(self.false))

    @property
    def recall(self) -> float:
        return self.hits / (self.hits + len(self.missed))


def found_by(detector: Detector, sent: Iterator[tuple[Post, list[Observation]]]) -> list[Change]:
    """All changes, POST by POST."""
    return [change for post, seen in sent for change in detector.take(post, seen)]


def score(found: Sequence[Change], wanted: Sequence[Known], soon_s: float = 4 * HOUR_S) -> Score:
    """Each known change is found once, when it began or soon after it; all others are false."""
    left, false = list(wanted), []
    for change in found:
        since_s = timestamps.seconds(change.since)
        match = next((
            one for one in left
            if (one.kind, one.node, one.target) == (change.kind, change.node, change.target)
            and -2 * EVERY_S <= since_s - one.since_s <= soon_s
        ), None)  # fmt: skip
        if match is None:
            false.append(change)
        else:
            left.remove(match)
    return Score(len(found) - len(false), false, left)
