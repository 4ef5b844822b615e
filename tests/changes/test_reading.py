"""What is read of a result file: each result with its own route, however its traceroute was written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.changes import reading as reading_of
from outputd.changes.reading import observations, posts_after
from outputd.sqlite.connections import reading
from tests.changes.world import route_of
from tests.kit.bench import Bench
from tests.kit.makers import a_result, many_hops

Hops = list[dict[str, Any]]
PLAIN: Hops = [{"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "timeout": True}, {"ttl": 3, "ip": "2001:db8::a"}]
AS_READ = route_of("1/10.0.0.1", "3/2001:db8::a")


def answered(route: str) -> str:
    return "-".join(hop for hop in route.split("-") if len(hop) > 3)


def every(page: Iterable[object]) -> Iterable[bool]:
    return [True for _ in page]


class ReadingTests(SynchronousTestCase):
    def read(self, *traces: Hops | None) -> Sequence[str | None]:
        """The routes as they are read of one POST, without what stands for silence."""
        bench = Bench(Path(self.mktemp()))
        bench.post(*(
            a_result(traceroute=None if hops is None else {"method": "icmp", "hops": hops}) for hops in traces
        ))  # fmt: skip
        with reading(bench.store.files[-1].path) as db:
            seen = list(observations(db, posts_after(db, 0), every))
        self.assertEqual(len(seen), len(traces))
        return [None if route is None else answered(route) for *_, route in seen]

    def test_each_result_has_its_own_route_or_none(self) -> None:
        silent: Hops = [{"ttl": 1, "timeout": True}, {"ttl": 2, "timeout": True}]
        self.assertEqual(self.read(PLAIN, None, silent, [], PLAIN), [AS_READ, None, None, None, AS_READ])

    def test_one_that_begins_late_or_twice_or_nowhere_is_not_mixed_with_its_neighbours(self) -> None:
        odd: Sequence[Hops] = (
            [{"ttl": 2, "ip": "10.0.0.2"}, {"ttl": 3, "ip": "10.0.0.3"}],
            [{"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 1, "ip": "10.0.0.9"}],
            [{"ttl": 2, "ip": "10.0.0.2"}, {"ttl": 1, "ip": "10.0.0.1"}],
            [{"ttl": 1}, {"ttl": 2, "ip": "10.0.0.2"}],
        )
        routes = [
            route_of("2/10.0.0.2", "3/10.0.0.3"), route_of("1/10.0.0.1", "1/10.0.0.9"),
            route_of("2/10.0.0.2", "1/10.0.0.1"), route_of("2/10.0.0.2"),
        ]  # fmt: skip
        for hops, route in zip(odd, routes, strict=True):
            self.assertEqual(self.read(PLAIN, hops, PLAIN), [AS_READ, route, AS_READ])

    def test_what_is_no_address_is_a_silent_hop(self) -> None:
        """Names, what tools write for silence, and what a hostile node writes to look like the hops of others."""
        for text in ("_gateway", "*", "???", "0.0.0.0", "::", "10.0.0.9-10210.0.0.9", "-101", "a b", "1/2\n3/4"):
            hops: Hops = [PLAIN[0], {"ttl": 2, "ip": text}, PLAIN[2]]
            self.assertEqual(self.read(PLAIN, hops, PLAIN), [AS_READ] * 3, text)

    def test_of_results_whose_routes_are_not_wanted_they_are_not_read(self) -> None:
        odd: Hops = [{"ttl": 2, "ip": "10.0.0.2"}]
        bench = Bench(Path(self.mktemp()))
        for node, traces in (("a", (PLAIN, None, odd, PLAIN)), ("b", (PLAIN, odd))):
            bench.post(*(
                a_result(traceroute=None if hops is None else {"method": "icmp", "hops": hops}) for hops in traces
            ), node=node)  # fmt: skip
        self.patch(reading_of, "_NEAR_RESULTS", 1)
        told: list[tuple[str, str, str]] = []
        odd_route = route_of("2/10.0.0.2")
        every_route = [AS_READ, None, odd_route, AS_READ, AS_READ, odd_route]
        for wanted in ([], [0], [1], [2], [5], [0, 3], [2, 4], [3, 5], [0, 1, 5], range(6)):

            def wants(page: Iterable[tuple[str, str, str]], wanted: Sequence[int] = wanted) -> Iterable[bool]:
                told[:] = page
                return [place in wanted for place, _ in enumerate(told)]

            with reading(bench.store.files[-1].path) as db:
                routes = [route for *_, route in observations(db, posts_after(db, 0), wants)]
            found = [None if route is None else answered(route) for route in routes]
            self.assertEqual(found, [route if place in wanted else None for place, route in enumerate(every_route)])
        self.assertEqual([node for *_, node in told], ["a"] * 4 + ["b"] * 2)

    def test_hops_of_no_ttl_are_left_out_and_a_page_of_many_is_read_in_parts(self) -> None:
        self.assertEqual(self.read([*PLAIN, {"ttl": 255, "ip": "10.9.9.9"}]), [AS_READ])
        routes = self.read(PLAIN, many_hops(5000), PLAIN, *[PLAIN * 30] * 50, PLAIN)
        self.assertEqual([routes[0], routes[2], routes[-1]], [AS_READ] * 3)
        self.assertEqual(len(routes), 54)
