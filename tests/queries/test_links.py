"""What `outputd.queries.links` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from outputd.queries import links as links_of
from outputd.queries.links import LINKS, Links
from outputd.queries.session import Session
from outputd.queries.tables import Table
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

    def test_many_links_are_not_sought_among_the_frequent_ones(self) -> None:
        """Unless they must be frequent."""
        self.bench.post(*(a_trace(*_way(way)) for way in range(1, 9) for _ in range(40)))
        self.ask(LINKS, Links(1))  # has the summary brought up to date
        for asked, looked_at in ((Links(2), 8), (Links(8), 0), (Links(8, min_count=35), 8)):
            found = self.find(LINKS, asked)
            assert isinstance(found, Table)
            self.assertEqual(found.session.value("SELECT count(*) FROM temp.often"), looked_at, asked)

    def test_each_of_many_links_has_the_nodes_that_saw_it(self) -> None:
        """Over all files, also of those that come on later pages of a long answer."""
        rng = random.Random(5)
        of_files: list[dict[tuple[str, str], set[str]]] = []
        for _ in range(2):
            self.bench.outcome(self.bench.store.rotate())
            of_files.append({})
            for node in ("b", "a", "c"):
                ways = rng.sample(range(1, 256), 200)
                self.bench.post(*(a_trace(*_way(way)) for way in ways), node=node)
                for way in ways:
                    of_files[-1].setdefault((f"10.0.0.{way}", f"10.0.1.{way}"), set()).add(node)
        for of_node, long_rows in ((None, 0), ("c", 0), (None, 10**6), ("c", 10**6)):
            self.patch(links_of, "LONG_ROWS", long_rows)
            wanted: dict[tuple[str, str], set[str]] = {}
            for seen in of_files:
                for link, nodes in seen.items():
                    if of_node is None or of_node in nodes:
                        wanted[link] = wanted.get(link, set()) | nodes
            rows = {(row["from"], row["to"]): row["nodes"] for row in self.rows(Links(1000, node=of_node))}
            self.assertEqual({link: sorted(nodes) for link, nodes in wanted.items()}, rows)

    def test_nodes_are_gathered_for_many_rows_unless_they_are_too_many(self) -> None:
        """Else they are looked up; a link that is gone by then had none."""
        self.bench.post(*(a_trace(*_way(way)) for way in range(1, 256)), node="a")
        self.ask(LINKS, Links(1))  # has the summary brought up to date
        for rows, size_bytes, nodes in ((0, 10**6, ["a"]), (256, 10**6, []), (0, 0, [])):
            self.patch(links_of, "LONG_ROWS", rows)
            self.patch(links_of, "MOST_GATHERED_BYTES", size_bytes)
            found = self.find(LINKS, Links(255))
            assert found is not None
            with closing(sqlite3.connect(self.bench.directory.summary)) as db:
                db.execute("UPDATE link SET far = '' WHERE near = '10.0.0.200'")
                db.commit()
                told = {
                    row["from"]: row["nodes"]
                    for page in found.pages("ndjson")
                    for row in map(json.loads, page.splitlines())
                }
                db.execute("UPDATE link SET far = '10.0.1.200' WHERE near = '10.0.0.200'")
                db.commit()
            self.assertEqual((told.pop("10.0.0.200"), len(told)), (nodes, 254))
            self.assertEqual(set(map(tuple, told.values())), {("a",)})

    def test_the_first_of_many_links_are_found_before_the_others(self) -> None:
        """As they are found at once: in that order, and with the same page to follow."""
        self.post_ways(range(1, 13))
        self.patch(links_of, "LONG_ROWS", 10)
        for asked, is_in_two, has_next in (
            (Links(10), True, True), (Links(12), True, True), (Links(13), True, False), (Links(9), False, True),
            (Links(10, node="b"), True, True), (Links(20, min_count=44), True, False),
            (Links(20, min_count=48), False, False),
        ):  # fmt: skip
            self.patch(links_of, "FIRST_ROWS", 10**6)
            whole = self.rows_of(self.found(asked))
            self.patch(links_of, "FIRST_ROWS", 3)
            found = self.found(asked)
            self.assertEqual(found.session.value("SELECT count(*) FROM temp.found"), 3 if is_in_two else len(whole))
            self.assertEqual((self.rows_of(found), bool(found.notes.following)), (whole, has_next), asked)

    def test_what_arrives_between_the_first_of_many_links_and_the_others_brings_none_twice(self) -> None:
        self.post_ways(range(1, 13))
        self.patch(links_of, "LONG_ROWS", 10)
        self.patch(links_of, "FIRST_ROWS", 3)
        self.patch(links_of, "ROWS_NAMED", 1)
        found = self.found(Links(10))
        pages = found.pages("ndjson")
        rows = [json.loads(next(pages))]
        for way, count in ((1, 100), (12, 1), (11, 9), (13, 1)):
            self.bench.post(*(a_trace(*_way(way)) for _ in range(count)), node="c")
        self.ask(LINKS, Links(1))
        rows += [json.loads(page) for page in pages]
        self.assertEqual([row["from"] for row in rows[:4]], [f"10.0.0.{way}" for way in (12, 11, 10, 1)])
        rest = self.rows_of(self.found(Links(10, cursor=found.notes.following["cursor"])))
        self.assertEqual(sorted(row["from"] for row in rows + rest), sorted(f"10.0.0.{way}" for way in range(1, 14)))

    def test_a_long_answer_says_what_it_will_hold(self) -> None:
        self.post_ways(range(1, 13))
        self.patch(links_of, "LONG_ROWS", 10)
        self.patch(links_of, "FIRST_ROWS", 3)
        self.assertEqual(self.found(Links(10)).held_bytes, 10 * links_of.LONG_ROW_BYTES)

    def post_ways(self, ways: range) -> None:
        """Store links of which each is seen once more often than the one before it."""
        self.bench.post(*(a_trace(*_way(way)) for way in ways for _ in range(way)), node="a")
        self.bench.post(*(a_trace(*_way(way)) for way in ways for _ in range(35)), node="b")
        self.ask(LINKS, Links(1))  # has the summary brought up to date

    def found(self, asked: Links) -> Table:
        """What is found, before it has a form; what pages have sent is remembered."""
        session = Session(self.bench.store.files, self.bench.directory.summary, sent=self.queries.sent)
        self.addCleanup(session.close)
        found = LINKS.find(session, asked, self.bench.now())
        assert isinstance(found, Table)
        return found

    def rows_of(self, found: Table) -> list[dict[str, Any]]:
        return [json.loads(line) for page in found.pages("ndjson") for line in page.splitlines()]

    def rows(self, asked: Links) -> Iterator[dict[str, Any]]:
        """The rows of the answer, page by page."""
        self.patch(links_of, "ROWS_NAMED", 50)
        self.ask(LINKS, Links(1))  # has the summary brought up to date
        found = self.find(LINKS, asked)
        assert found is not None
        for page in found.pages("ndjson"):
            yield from map(json.loads, page.splitlines())
