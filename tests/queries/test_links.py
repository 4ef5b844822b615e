"""What `outputd.queries.links` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import random
from typing import Any

from outputd.queries import links as links_of
from outputd.queries.links import LINKS, Links
from tests.kit.asking import Asking
from tests.kit.makers import a_trace
from tests.summary.test_summary import wild


def _way(number: int) -> list[dict[str, Any]]:
    return [{"ttl": 1, "ip": f"10.0.0.{number}"}, {"ttl": 2, "ip": f"10.0.1.{number}"}]


class TheLinks(Asking):
    def test_the_frequent_links_are_found_the_short_way_as_the_long_way(self) -> None:
        self.fill(wild)
        long = self.ask(LINKS, Links(3))
        self.patch(links_of, "MANY_ROWS", 0)
        self.assertEqual(self.ask(LINKS, Links(3)), long)
        self.assertEqual(len(long["links"]), 3)

    def test_those_that_some_file_has_very_often_are_found_like_all_others(self) -> None:
        """However many are asked for, of whatever node; a file may lack what another one has often."""
        rng = random.Random(4)
        for number in range(3):
            self.bench.outcome(self.bench.store.rotate())
            for node in ("a", "b"):
                ways = rng.choices(range(number * 3, 12), range(12 - number * 3, 0, -1), k=200)
                self.bench.post(*(a_trace(*_way(way)) for way in ways), node=node)
        asked = [
            Links(limit, min_count=least, node=node)
            for node in (None, "a", "b", "nobody") for least in (1, 40, 100, 101) for limit in (2, 3, 5, 8, 1000)
        ]  # fmt: skip
        short = [self.ask(LINKS, links) for links in asked]
        self.patch(links_of, "OFTEN", ())
        self.assertEqual(short, [self.ask(LINKS, links) for links in asked])
        counts = [link["count"] for link in short[0]["links"]]
        self.assertGreater(min(counts), 31 * 4, "what is found by the index")

    def test_links_that_are_seldom_are_found_the_short_way_too(self) -> None:
        """Where no file has a link often, or there are fewer than are asked for."""
        self.fill(wild)
        limits = (3, 1000)
        long = [self.ask(LINKS, Links(limit)) for limit in limits]
        self.patch(links_of, "MANY_ROWS", 0)
        for often in ((10**6, 3), (10**6, 10**6)):
            self.patch(links_of, "OFTEN", often)
            self.assertEqual(long, [self.ask(LINKS, Links(limit)) for limit in limits])
