"""What `outputd.queries.trace` promises, against a recount in Python."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from outputd.queries.trace import MOST_ADDRESSES, TRACE, Trace
from tests.kit.asking import Asking
from tests.kit.makers import a_trace

Hop = dict[str, Any]


class TheWay(Asking):
    def rows(self, asked: Trace) -> list[Any]:
        rows: list[Any] = self.ask(TRACE, asked)["hops"]
        return rows

    def test_each_ttl_is_as_python_counts_it_for_each_node_and_each_route(self) -> None:
        """The true TTL, several probes at one, gaps, silence, and addresses that alternate."""
        rng = random.Random(11)
        made: dict[str, list[list[Hop]]] = {"a": [], "b": []}

        def hops() -> list[Hop]:
            some = []
            for ttl in sorted(rng.sample([1, 2, 3, 40, 255], rng.randrange(6))):
                for _ in range(rng.randrange(1, 4)):
                    silent = {"timeout": True} if rng.random() < 0.3 else {}
                    ip = rng.choice([f"10.0.{ttl}.1", f"10.0.{ttl}.2", "0.0.0.0", "_gateway"])
                    some.append({"ttl": ttl, "ip": ip, "rtt": rng.choice([rng.randrange(99), 4 * 10**12]), **silent})
            return some

        for number in range(3):
            if number:
                self.bench.outcome(self.bench.store.rotate())
            for node, traces in made.items():
                new = [hops() for _ in range(40)]
                self.bench.post(*(a_trace(*each) for each in new), a_trace({"ttl": 1}) | {"ip": "9.9.9.9"}, node=node)
                made[node] = traces + new
        rows = self.rows(Trace("8.8.8.8"))
        for node, traces in made.items():
            whole = [_without_names(row) for row in rows if row["node"] == node and row["route"] is None]
            self.assertEqual(_counted(traces), whole)
            self.assertEqual(
                [row for row in rows if row["node"] == node][: len(whole)],
                self.rows(Trace("8.8.8.8", node))[: len(whole)],
            )
        routes: dict[tuple[str, str], list[list[Hop]]] = {}
        for node, traces in made.items():
            for each in traces:
                routes.setdefault((node, repr(_route(each))), []).append(each)
        expected = Counter((node, repr(_counted(traces))) for (node, _), traces in routes.items() if _counted(traces))
        found: dict[tuple[str, str], list[Any]] = {}
        for row in rows:
            if row["route"] is not None:
                found.setdefault((row["node"], row["route"]), []).append(_without_names(row))
        told = Counter((node, repr(route)) for (node, _), route in found.items())
        self.assertEqual(Counter(), told - expected)
        self.assertGreater(told.total(), 50)
        counts = [route[0]["traceroutes"] for route in found.values()]
        self.assertEqual(sorted(counts, reverse=True), counts, "the most usual first")

    def test_a_route_keeps_its_name_whatever_else_is_there(self) -> None:
        one, other = ([{"ttl": 1, "ip": ip}, {"ttl": 9, "ip": "8.8.8.8"}] for ip in ("10.0.0.1", "10.0.0.2"))
        self.bench.post(a_trace(*one), node="a")
        (name,) = {row["route"] for row in self.rows(Trace("8.8.8.8"))} - {None}
        self.bench.post(*[a_trace(*other)] * 3, node="a")
        self.bench.outcome(self.bench.store.rotate())
        self.bench.post(a_trace(*one, {"ttl": 12, "timeout": True}), node="a")
        rows = [row for row in self.rows(Trace("8.8.8.8")) if row["route"] == name]
        self.assertEqual([1, 9, 12], [row["ttl"] for row in rows])
        self.assertEqual({2}, {row["traceroutes"] for row in rows})

    def test_addresses_that_are_listed_are_bounded_and_counted(self) -> None:
        """Rule 9: a node chooses how many there are."""
        self.bench.post(a_trace(*({"ttl": 1, "ip": f"10.0.0.{number}"} for number in range(1, 200))), node="a")
        row, *_ = self.rows(Trace("8.8.8.8"))
        self.assertEqual((MOST_ADDRESSES, 199, 199), (len(row["addresses"]), row["address_count"], row["replies"]))

    def test_the_span_chooses_what_was_measured_in_it(self) -> None:
        for minute in (10, 20, 30):
            self.bench.post(a_trace({"ttl": minute, "ip": "10.0.0.1"}) | {"timestamp": f"2026-01-07T22:{minute}:00Z"})
        rows = self.rows(Trace("8.8.8.8", None, "2026-01-07 22:20:00", "2026-01-07 22:30:00"))
        self.assertEqual({20}, {row["ttl"] for row in rows})


def _replied(hop: Hop) -> bool:
    return not hop.get("timeout") and hop["ip"] != "0.0.0.0"


def _route(hops: list[Hop]) -> list[tuple[int, str]]:
    ttls = sorted({hop["ttl"] for hop in hops if _replied(hop)})
    return [(ttl, min(hop["ip"] for hop in hops if hop["ttl"] == ttl and _replied(hop))) for ttl in ttls]


def _without_names(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("node", "route")}


def _counted(traces: list[list[Hop]]) -> list[dict[str, Any]]:
    rows = []
    for ttl in sorted({hop["ttl"] for hops in traces for hop in hops}):
        probes = [hop for hops in traces for hop in hops if hop["ttl"] == ttl]
        gaps = sum(1 for hops in traces if hops and hops[-1]["ttl"] > ttl and ttl not in {hop["ttl"] for hop in hops})
        replies = [hop for hop in probes if _replied(hop)]
        addresses = sorted(Counter(hop["ip"] for hop in replies).items(), key=lambda each: (-each[1], each[0]))
        rtts = sorted(hop["rtt"] for hop in replies if hop["rtt"] < 3600 * 10**9)
        sent = len(probes) + gaps
        rows.append({
            "traceroutes": len(traces), "ttl": ttl,
            "addresses": [
                {"ip": ip, "count": n, "share_percent": round(100 * n / len(replies), 3)} for ip, n in addresses
            ],
            "address_count": len(addresses), "sent": sent, "replies": len(replies),
            "loss_percent": round(100 * (sent - len(replies)) / sent, 3),
            "rtt_min_ns": rtts[0] if rtts else None, "rtt_p50_ns": rtts[(len(rtts) - 1) // 2] if rtts else None,
            "rtt_max_ns": rtts[-1] if rtts else None,
        })  # fmt: skip
    return rows
