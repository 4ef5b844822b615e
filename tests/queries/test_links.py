"""What `outputd.queries.links` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from outputd.queries import links as links_of
from outputd.queries.links import LINKS, Links
from tests.kit.asking import Asking
from tests.summary.test_summary import wild


class TheLinks(Asking):
    def test_the_frequent_links_are_found_the_short_way_as_the_long_way(self) -> None:
        self.fill(wild)
        long = self.ask(LINKS, Links(3))
        self.patch(links_of, "MANY_ROWS", 0)
        self.assertEqual(self.ask(LINKS, Links(3)), long)
        self.assertEqual(len(long["links"]), 3)

    def test_links_that_are_seldom_are_found_the_short_way_too(self) -> None:
        """Where no file has a link often, or there are fewer than are asked for."""
        self.fill(wild)
        limits = (3, 1000)
        long = [self.ask(LINKS, Links(limit)) for limit in limits]
        self.patch(links_of, "MANY_ROWS", 0)
        for often in ((10**6, 3), (10**6, 10**6)):
            self.patch(links_of, "OFTEN", often)
            self.assertEqual(long, [self.ask(LINKS, Links(limit)) for limit in limits])
