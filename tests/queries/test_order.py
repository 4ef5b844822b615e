"""What `outputd.queries.order` promises of the lists, against an order and a choice that are made in Python."""

from __future__ import annotations

import dataclasses
import json
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from operator import itemgetter
from typing import Any

from outputd.queries.links import LINKS, Links
from outputd.queries.nodes import NODES, Nodes
from outputd.queries.order import Sorted
from outputd.queries.parameters import BadQuestion, parameters_of, read
from outputd.queries.question import Question
from outputd.queries.sent import Gone
from outputd.queries.targets import TARGETS, Targets
from tests.kit.asking import Asking
from tests.kit.makers import a_result, a_trace

LISTS: dict[str, tuple[Question[Any], Any, tuple[str, ...]]] = {
    "targets": (TARGETS, Targets(), ("ip",)),
    "nodes": (NODES, Nodes(), ("node",)),
    "links": (LINKS, Links(), ("from", "to")),
}
"""Each list: its question, all of it, and its key."""


class Lists(Asking):
    def setUp(self) -> None:
        super().setUp()
        self.rng = random.Random(7)
        for number in range(3):
            if number:
                self.bench.outcome(self.bench.store.rotate())
            for node in self.rng.sample(["b", "ä", "a", "10", "9", "B", "=c"], 5):
                self.bench.clock.advance(self.rng.random() * 100)
                self.post(node, self.rng.randrange(25))

    def post(self, node: str, count: int) -> None:
        """Store results of some targets, with short traceroutes."""
        self.bench.post(*(self.result() for _ in range(count)), {"ip": 1}, node=node)

    def result(self) -> dict[str, Any]:
        rng = self.rng
        ip = rng.choice(
            [f"192.0.{rng.randrange(4)}.{rng.randrange(8)}", f"2001:db8:{rng.randrange(3)}::{rng.randrange(4)}"]
        )
        hops = [{"ttl": ttl, "ip": f"10.0.{ttl}.{rng.randrange(3)}", "rtt": rng.randrange(9)} for ttl in range(1, 4)]
        received = rng.randrange(6)
        rtt = rng.choice([None, rng.randrange(10**6)]) if received else None
        at = f"2026-01-07T{rng.randrange(10, 23)}:30:00Z"
        return (a_trace(*hops) if rng.random() < 0.5 else a_result()) | {
            "ip": ip, "received": received, "avg_rtt": rtt, "timestamp": at,
        }  # fmt: skip

    def rows(self, name: str, asked: Any) -> list[Any]:
        """The rows of an answer that is whole."""
        rows: list[Any] = self.ask(LISTS[name][0], asked)[name]
        return rows

    def pages(self, name: str, asked: Any, meanwhile: Callable[[], object] = lambda: None) -> Iterator[list[Any]]:
        """The rows of each page, with what happens before the next."""
        following: Any = {}
        while following is not None:
            page = self.rows(name, dataclasses.replace(asked, **following))
            found = self.find(LISTS[name][0], dataclasses.replace(asked, **following))
            following = found.notes.following if found is not None and found.notes.following else None
            yield page
            meanwhile()

    def test_all_rows_come_in_each_order_whole_and_page_by_page(self) -> None:
        for name, (question, everything, keys) in LISTS.items():
            usual = self.rows(name, everything)
            self.assertGreater(len(usual), 5)
            (sort,) = (each for each in parameters_of(question) if each.name == "sort")
            self.assertEqual(set(usual[0]) - {"nodes"}, set(sort.kind.schema["enum"]))
            for column in sort.kind.schema["enum"]:
                for order in ("asc", "desc"):
                    rows = sorted(usual, key=itemgetter(*keys))
                    nulls = [row for row in rows if row[column] is None]
                    rows = [row for row in rows if row[column] is not None]
                    rows.sort(key=itemgetter(column), reverse=order == "desc")
                    rows += nulls
                    asked = dataclasses.replace(everything, sort=column, order=order)
                    self.assertEqual(rows, self.rows(name, asked), (name, column, order))
                    pages = list(self.pages(name, dataclasses.replace(asked, limit=4)))
                    self.assertEqual(rows, [row for page in pages for row in page], (name, column, order))

    def test_each_row_comes_once_in_each_order_while_results_arrive(self) -> None:
        for name, (question, everything, keys) in LISTS.items():
            (sort,) = (each for each in parameters_of(question) if each.name == "sort")
            for column in sort.kind.schema["enum"]:
                for order in ("asc", "desc"):
                    before = {self.key(row, keys) for row in self.rows(name, everything)}
                    asked = dataclasses.replace(everything, sort=column, order=order, limit=max(3, len(before) // 4))
                    pages = self.pages(name, asked, lambda: self.post(self.rng.choice("abc"), 20))
                    found = [self.key(row, keys) for page in pages for row in page]
                    self.assertEqual(len(found), len(set(found)), (name, column, order))
                    self.assertLessEqual(before, set(found), (name, column, order))

    def test_a_row_that_passes_the_cursor_comes_once_and_a_new_one_comes_too(self) -> None:
        for number in range(6):
            self.bench.post(*[a_result(ip=f"203.0.113.{number}")] * (number + 50))
        asked = Targets(3, prefix="203.0.113.0/24")
        moved = iter(([(60, 0)], [(40, 5), (1, 9)], []))  # not sent yet, to the top; sent, to the top; new, at the end

        def move() -> None:
            for count, number in next(moved):
                self.bench.post(*[a_result(ip=f"203.0.113.{number}")] * count)

        pages = [[row["ip"][-1] for row in page] for page in self.pages("targets", asked, move)]
        self.assertEqual([["5", "4", "3"], ["0", "2", "1"], ["9"]], pages)

    def test_a_page_of_thousands_of_rows_is_remembered_whole(self) -> None:
        ips = [f"10.1.{number >> 8}.{number & 255}" for number in range(5000)]
        self.bench.post(*({"ip": ip, "sent": 1, "received": 1, "timestamp": "2026-01-07T12:00:00Z"} for ip in ips))
        asked = Targets(4900, prefix="10.1.0.0/16", sort="last_seen")
        pages = [[row["ip"] for row in page] for page in self.pages("targets", asked)]
        self.assertEqual([4900, 100], [len(page) for page in pages])
        self.assertEqual(sorted(ips), sorted(ip for page in pages for ip in page))

    def test_a_page_can_be_asked_for_again(self) -> None:
        asked = Targets(4, sort="lost")
        (second,) = self.find_cursor(TARGETS, asked)
        (third,) = self.find_cursor(TARGETS, dataclasses.replace(asked, cursor=second))
        self.rows("targets", dataclasses.replace(asked, cursor=third))
        sent = {row["ip"] for row in self.rows("targets", asked)}
        again = {row["ip"] for row in self.rows("targets", dataclasses.replace(asked, cursor=second))}
        self.assertEqual((4, set()), (len(again), sent & again))

    def test_after_a_restart_a_list_that_cannot_be_continued_says_so_and_one_sorted_by_its_key_goes_on(self) -> None:
        (cursor,) = self.find_cursor(TARGETS, Targets(4))
        (by_key,) = self.find_cursor(TARGETS, Targets(4, sort="ip"))
        self.queries = self.bench.queries()
        with self.assertRaisesRegex(Gone, "begin again, without cursor"):
            self.find(TARGETS, Targets(4, cursor=cursor))
        self.assertEqual(4, len(self.rows("targets", Targets(4, sort="ip", cursor=by_key))))

    def test_what_is_chosen_is_what_python_chooses(self) -> None:
        targets, links = self.rows("targets", Targets()), self.rows("links", Links())
        for prefix in (
            "192.0.2.0/23",
            "192.0.2.1",
            "::ffff:192.0.0.0/119",
            "2001:db8:1::/48",
            "::/0",
            "0.0.0.0/0",
            "10.0.1.0/24",
        ):
            said = read(TARGETS, {"prefix": prefix}).prefix
            assert said is not None
            network = ip_network(said)
            inside = [row for row in targets if ip_address(row["ip"]) in network]
            self.assertEqual(inside, self.rows("targets", Targets(prefix=said)), prefix)
            chosen = [row for row in links if any(ip_address(row[end]) in network for end in ("from", "to"))]
            self.assertEqual(chosen, self.rows("links", Links(prefix=said)), prefix)
        for percent in (0.0, 20.0, 100.0):
            lossy = [row for row in targets if row["loss_percent"] > percent]
            self.assertEqual(lossy, self.rows("targets", Targets(loss_over=percent)))
        time = "2026-01-07T20:30:00Z"
        for name, asked in (("targets", Targets(last_seen_before=time[:-1].replace("T", " "))),
                            ("links", Links(last_seen_before=time[:-1].replace("T", " ")))):  # fmt: skip
            early = [row for row in self.rows(name, LISTS[name][1]) if row["last_seen"] < time]
            self.assertEqual(early, self.rows(name, asked))
            self.assertTrue(early)
        nodes = self.rows("nodes", Nodes())
        heard = nodes[2]["last_heard"]
        silent = [row for row in nodes if row["last_heard"] < heard]
        self.assertEqual(silent, self.rows("nodes", Nodes(last_heard_before=heard[:-1].replace("T", " "))))

    def test_a_text_is_found_in_addresses_and_names_of_nodes(self) -> None:
        targets, nodes = self.rows("targets", Targets()), self.rows("nodes", Nodes())
        for text in ("0.2.", "db8", "", "%", "nothing"):
            self.assertEqual([row for row in targets if text in row["ip"]], self.rows("targets", Targets(text=text)))
        for text in ("b", "=", "", "_", "nothing"):
            found = [row for row in nodes if text in row["node"].lower()]
            self.assertEqual(found, self.rows("nodes", Nodes(text=text)))
        self.assertEqual(nodes[:1], self.rows("nodes", Nodes(node=nodes[0]["node"])))
        self.assertEqual("db8", read(TARGETS, {"text": "DB8"}).text)
        with self.assertRaises(BadQuestion):
            read(TARGETS, {"text": "x" * 256})

    def test_who_asks_is_told_how_many_rows_all_pages_have(self) -> None:
        asked: tuple[tuple[str, Any], ...] = (
            ("targets", Targets(2)), ("targets", Targets(2, loss_over=20.0, prefix="192.0.2.0/23", text="1")),
            ("targets", Targets(2, node="a")), ("nodes", Nodes(2)), ("nodes", Nodes(1, text="b")),
        )  # fmt: skip
        for name, few in asked:
            question, total = LISTS[name][0], len(self.rows(name, dataclasses.replace(few, limit=1000)))
            self.assertGreater(total, few.limit)
            counted = dataclasses.replace(few, total=True)
            self.assertEqual(total, self.ask(question, counted)["total"])
            (cursor,) = self.find_cursor(question, counted)
            self.assertEqual(total, self.ask(question, dataclasses.replace(counted, cursor=cursor))["total"])

    def test_a_cursor_that_was_made_up_or_is_that_of_another_list_is_refused(self) -> None:
        (cursor,) = self.find_cursor(TARGETS, Targets(3))
        (by_key,) = self.find_cursor(TARGETS, Targets(3, sort="ip"))
        for asked in (
            Targets(3, sort="ip", cursor=cursor), Targets(3, order="asc", cursor=cursor), Targets(3, cursor=by_key),
            Targets(3, prefix="192.0.2.0/24", cursor=cursor), Targets(cursor=cursor[:-4]), Targets(cursor=""),
            Targets(cursor="é"), Targets(cursor="0" * 48), Targets(3, sort="ip", order="desc", cursor=by_key),
            Targets(sort="ip", cursor=by_key[:-4]), Targets(sort="ip", cursor=""), Targets(sort="ip", cursor="é"),
            Targets(sort="ip", cursor="W10"), Targets(sort="ip", cursor=_made_up(1)),
            Targets(sort="ip", cursor=_made_up("192.0.2.1")),
        ):  # fmt: skip
            with self.assertRaises(BadQuestion):
                self.find(TARGETS, asked)
        for given, sort in ((cursor, "node"), (by_key, "results")):
            with self.assertRaises(BadQuestion):
                self.find(NODES, Nodes(sort=sort, cursor=given))
        for asked in (Targets(1000, cursor=cursor), Targets(1000, sort="ip", cursor=by_key)):
            self.assertTrue(self.find(TARGETS, asked), "another length of a page is no other list")

    def find_cursor(self, question: Question[Any], asked: Sorted) -> tuple[str]:
        self.ask(question, asked)
        found = self.find(question, asked)
        assert found is not None
        return (found.notes.following["cursor"],)

    def key(self, row: Any, keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(row[key] for key in keys)


def _made_up(value: object) -> str:
    return urlsafe_b64encode(json.dumps(["0" * 16, value, ["192.0.2.1"]]).encode()).decode().rstrip("=")
