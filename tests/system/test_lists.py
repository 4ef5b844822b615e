"""The lists on real results: all rows in all orders as an independent count has them, and each once under load."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urljoin

from tests.kit.depth import long
from tests.system import recount
from tests.system.harness import SystemTest
from tests.system.recount import Row, Sent
from tests.system.shared import replay
from tests.system.waiting import wait_until

_LISTS = {
    "targets": (("ip",), 100),
    "nodes": (("node",), 5),
    "links": (("from", "to"), 4000),
}
"""The key of each, and the rows of a page."""
_SET = "large" if os.environ.get("OUTPUTD_LARGE") else "medium"


def _bodies() -> list[Sent]:
    """Real results, each body from one of 23 nodes; to every 20th something is added that is no result."""
    rng = random.Random(21)
    bodies = []
    for number, body in enumerate(replay(_SET).bodies):
        items = json.loads(body)
        if number % 20 == 7:
            items.insert(rng.randrange(len(items) + 1), {"ip": f"nowhere-{number}"})
        bodies.append(Sent(f"node-{hashlib.sha256(body).digest()[0] % 23}", items))
    return bodies


@long("tests.queries.test_order.Lists.test_all_rows_come_in_each_order_whole_and_page_by_page",
      "tests.queries.test_order.Lists.test_each_row_comes_once_in_each_order_while_results_arrive")  # fmt: skip
class ListsTest(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.bodies = _bodies()
        self.service = self.outputd("--max-size-mb=1000", "--keep-files=100").start()

    def test_they_are_what_an_independent_count_has(self) -> None:
        self.post_in_files(self.bodies)
        counted = {"targets": recount.targets(self.bodies), "nodes": recount.nodes(self.bodies),
                   "links": recount.links(self.bodies)}  # fmt: skip
        for name, rows in counted.items():
            self.assert_counted(name, rows)
            self.assert_ordered(name)
        self.assert_filtered(counted)
        failures = self.service.get("/failures?limit=1000").json
        wanted = recount.failures(self.bodies, 10_000)
        self.assertEqual(wanted[:1000], failures["failures"])
        self.assertEqual(
            sum(row["count"] for row in recount.failures(self.bodies, 10**9)) < 10_000, failures["complete"]
        )
        self.assertEqual(recount.rejected(self.bodies), [
            {"batch": row["batch"], "index": row["index"], "node": row["node"], "raw": json.loads(row["raw"])}
            for page in self.pages("/rejected?limit=7") for row in page
        ])  # fmt: skip

    def test_each_row_comes_once_in_each_order_while_results_arrive(self) -> None:
        half = len(self.bodies) // 2
        self.post_in_files(self.bodies[:half])
        for name in _LISTS:  # wait until all of that is counted
            self.rows(name)
        ended = threading.Event()
        with ThreadPoolExecutor(1) as poster:
            posting = poster.submit(self.post_until, ended, self.bodies[half:])
            try:
                for name, (keys, limit) in _LISTS.items():
                    for column in self.columns(name):
                        for order in ("asc", "desc"):
                            self.assert_each_once(name, keys, f"sort={column}&order={order}&limit={limit}")
            finally:
                ended.set()
            self.assertGreater(posting.result(), 100, "bodies arrived meanwhile")

    def assert_each_once(self, name: str, keys: Sequence[str], asked: str) -> None:
        before = {_key(row, keys) for row in self.rows(name)}
        pages = list(self.pages(f"/{name}?{asked}", name))
        found = [_key(row, keys) for page in pages for row in page]
        self.assertGreater(len(pages), 3)
        self.assertEqual(len(found), len(set(found)), (name, asked))
        self.assertLessEqual(before, set(found), (name, asked))

    def assert_counted(self, name: str, counted: Sequence[Row]) -> None:
        """A list has these rows and no other; a mean may differ by its rounding."""
        keys = _LISTS[name][0]
        wanted = {_key(row, keys): row for row in counted}
        rows = self.rows(name)
        self.assertEqual(wanted.keys(), {_key(row, keys) for row in rows})
        for row in rows:
            for column, value in wanted[_key(row, keys)].items():
                if column == "rtt_difference_ns" and value is not None:
                    self.assertLessEqual(abs(row[column] - value), 0.5, row)
                else:
                    self.assertEqual(value, row[column], (column, row))

    def assert_ordered(self, name: str) -> None:
        """Whole and page by page, a list is in each order that Python puts it in."""
        keys, limit = _LISTS[name]
        everything = self.rows(name)
        for column in self.columns(name):
            if column == "results_per_s":  # it changes with the time
                continue
            for order in ("asc", "desc"):
                rows = sorted(everything, key=lambda row: _key(row, keys))
                said = [row for row in rows if row[column] is not None]
                said.sort(key=lambda row: _text_of_time(row[column]), reverse=order == "desc")
                wanted = [_without_rate(row) for row in said + [row for row in rows if row[column] is None]]
                asked = f"/{name}?sort={column}&order={order}"
                for most in (100_000, limit):
                    got = [_without_rate(row) for page in self.pages(f"{asked}&limit={most}", name) for row in page]
                    self.assertEqual(wanted, got, (name, column, order, most))

    def assert_filtered(self, counted: dict[str, list[Row]]) -> None:
        time, network = counted["targets"][len(counted["targets"]) // 2]["last_seen"], ip_network("104.0.0.0/8")
        target = max(counted["targets"], key=lambda row: row["results"])["ip"]
        of_node = recount.targets(self.bodies, "node-7")

        def inside(ip: str) -> bool:
            return ip_address(ip) in network

        chosen: list[tuple[str, Sequence[Row], Callable[[Row], bool]]] = [
            (f"/targets?last_seen_before={time}", counted["targets"], lambda row: row["last_seen"][:-1] < time[:-1]),
            (f"/targets?since={time}", counted["targets"], lambda row: row["last_seen"][:-1] >= time[:-1]),
            ("/targets?prefix=104.0.0.0/8", counted["targets"], lambda row: inside(row["ip"])),
            ("/targets?loss_over=20", counted["targets"], lambda row: row["loss_percent"] > 20),
            (f"/targets?ip={target}", counted["targets"], lambda row: row["ip"] == target),
            ("/targets?node=node-7", of_node, lambda row: True),
            ("/targets?node=node-7&loss_over=50", of_node, lambda row: row["loss_percent"] > 50),
            ("/links?min_count=5", counted["links"], lambda row: row["count"] >= 5),
            ("/links?prefix=104.0.0.0/8", counted["links"], lambda row: inside(row["from"]) or inside(row["to"])),
            (f"/links?ip={target}", counted["links"], lambda row: target in (row["from"], row["to"])),
            (f"/links?last_seen_before={time}", counted["links"], lambda row: row["last_seen"][:-1] < time[:-1]),
            (f"/links?since={time}", counted["links"], lambda row: row["last_seen"][:-1] >= time[:-1]),
            ("/links?node=node-7", counted["links"], lambda row: "node-7" in row["nodes"]),
        ]
        for asked, rows, is_chosen in chosen:
            name = re.split(r"[/?]", asked)[1]
            keys = _LISTS[name][0]
            wanted = sorted(_key(row, keys) for row in rows if is_chosen(row))
            for most in (100_000, 100):
                got = [_key(row, keys) for page in self.pages(f"{asked}&limit={most}", name) for row in page]
                self.assertEqual(wanted, sorted(got), (asked, most))

    def post_in_files(self, bodies: Sequence[Sent]) -> None:
        """Post them one by one into three files, and wait until all is counted."""
        for number, body in enumerate(bodies):
            self.post(body)
            if number in (len(bodies) // 3, 2 * len(bodies) // 3):
                self.assertEqual(200, self.service.rotate().status)
        results = sum(len(body.results) for body in bodies)
        wait_until(lambda: sum(row["results"] for row in self.rows("nodes")) == results, "all is counted", 120)

    def post(self, body: Sent) -> None:
        answer = self.service.post(body.items, x_ping_node=body.node)
        self.assertIn(answer.status, (200, 422), answer.body)

    def post_until(self, ended: threading.Event, bodies: Sequence[Sent]) -> int:
        posted = 0
        while not ended.is_set():
            self.post(bodies[posted % len(bodies)])
            posted += 1
        return posted

    def columns(self, name: str) -> list[str]:
        """By what a list can be sorted."""
        parameters = self.service.get("/openapi.json").json["paths"][f"/{name}"]["get"]["parameters"]
        (sort,) = (each["schema"]["enum"] for each in parameters if each["name"] == "sort")
        columns: list[str] = sort
        return columns

    def rows(self, name: str) -> list[Row]:
        """All rows of a list."""
        answer = self.service.get(f"/{name}?limit=100000").json
        self.assertTrue(answer.get("complete", True))
        rows: list[Row] = answer[name]
        return rows

    def pages(self, asked: str, name: str | None = None) -> Iterator[list[Row]]:
        """The rows of each page, from link to link."""
        following: str | None = asked
        while following is not None:
            answer = self.service.get(following)
            self.assertEqual(200, answer.status, answer.body)
            yield answer.json if name is None else answer.json[name]
            said = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
            following = None if said is None else urljoin(following, said[1])


def _key(row: Row, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(row[key] for key in keys)


def _text_of_time(value: Any) -> Any:
    """A time without its Z, which text would put behind the digits of a fraction."""
    return value[:-1] if isinstance(value, str) and value.endswith("Z") else value


def _without_rate(row: Row) -> Row:
    return {column: value for column, value in row.items() if column != "results_per_s"}
