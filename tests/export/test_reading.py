"""What the reading of a file for an export promises, seen through the lines of NDJSON that it becomes."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.export import reading as module
from outputd.export.asked import Asked
from outputd.export.ndjson import NdjsonEncoder
from outputd.export.page import Page
from outputd.export.reading import Reading
from outputd.process.trouble import Kind
from outputd.sqlite.connections import connect, writing
from outputd.sqlite.errors import DatabaseFailed, kind_of
from outputd.store.file import describe
from tests.kit.bench import Bench
from tests.kit.exported import WEIRD, stored
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.old import left_by_0_0_1


def lines_of(path: Path, asked: Asked | None = None, above_id: int = 0) -> list[dict[str, Any]]:
    """What an export of a file has."""
    return read(path, asked or Asked(), above_id)[0]


def read(path: Path, asked: Asked, above_id: int = 0) -> tuple[list[dict[str, Any]], list[Page]]:
    """The lines of an export, and the pages of which they are made."""
    encoder, made, pages = NdjsonEncoder(), b"", []
    with closing(connect(path, "ro")) as db:
        reading = Reading(db, describe(path), asked, above_id)
        while (page := reading.page()) is not None:
            assert not db.in_transaction
            made += encoder.add(page)
            pages.append(page)
    return [json.loads(line) for line in (made + encoder.end()).splitlines()], pages


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.stop)

    @property
    def path(self) -> Path:
        return self.bench.store.current.info.path

    def test_a_file_without_results_has_no_lines(self) -> None:
        self.assertEqual(lines_of(self.path), [])

    def test_each_result_is_a_line_with_all_that_is_stored_of_it(self) -> None:
        self.bench.post(*(a_result(**changes) for changes in WEIRD), node="weird")
        self.bench.post(a_trace({"ttl": 1, "ip": "10.0.0.1", "rtt": 5}))
        self.bench.post({"ip": "nowhere"})  # a batch without results
        self.bench.post(a_result(error="no route", received=0))
        self.assertEqual(lines_of(self.path), list(stored(self.path)))
        self.assertEqual(len(lines_of(self.path)), len(WEIRD) + 2)

    def test_filters_are_those_of_questions_and_of_arrival(self) -> None:
        for number in range(30):
            self.bench.clock.advance(1)
            results = [
                a_trace(*many_hops(number % 4)) | {
                    "received": part % 2 * 3, "ip": f"192.0.2.{part % 4}",
                    "timestamp": f"2026-01-07T22:30:{(number * 7 + part) % 60:02}.5Z",
                } for part in range(number % 5)
            ]  # fmt: skip
            self.bench.post(*results, {"ip": "nowhere"}, node=f"node-{number % 3}")
        since, until = "2026-01-07 22:30:20.5", "2026-01-07 22:30:40.5"
        arrived, gone = "2026-01-07 22:30:50", "2026-01-07 22:31:05"
        measured = f"p.timestamp >= '{since}' AND p.timestamp < '{until}'"
        came = f"b.received_at >= '{arrived}' AND b.received_at < '{gone}'"
        for asked, where in (
            (Asked(since=since, until=until), measured),
            (Asked(arrived_since=arrived, arrived_until=gone), came),
            (Asked(ip="192.0.2.1"), "p.ip = '192.0.2.1'"),
            (Asked(node="node-1"), "b.node = 'node-1'"),
            (Asked(failed=True), "p.received = 0"),
            (Asked(failed=False), "p.received > 0"),
            (Asked(ip="192.0.2.1", node="node-2", failed=False, until=until, arrived_since=arrived),
             f"p.ip = '192.0.2.1' AND b.node = 'node-2' AND p.received > 0 AND p.timestamp < '{until}'"
             f" AND b.received_at >= '{arrived}'"),
            (Asked(ip="192.0.2.9"), "false"),
        ):  # fmt: skip
            wanted = list(stored(self.path, where))
            for rows in (1, 3, 2048):
                self.patch(module, "_MOST_ROWS", rows)
                self.assertEqual(lines_of(self.path, asked), wanted, (asked, rows))
            self.assertEqual(bool(wanted), where != "false")

    def test_a_page_ends_where_rows_hops_or_texts_are_many_and_none_is_lost(self) -> None:
        for count in (0, 5, 300, 1, 0, 2):
            self.bench.post(
                *(a_trace(*many_hops(count)) for _ in range(3)), a_result(error="é" * count), a_result(),
                a_trace(error="x" * 2 * count),
            )  # fmt: skip
        wanted = list(stored(self.path))
        for name, most in (("_MOST_HOPS", 4), ("_MOST_HOPS", 299), ("_MOST_TEXT_BYTES", 500), ("_MOST_ROWS", 2)):
            self.patch(module, name, most)
            lines, pages = read(self.path, Asked())
            self.assertEqual(lines, wanted)
            self.assertLess(max(map(len, pages)), len(wanted), name)
            self.assertLessEqual(name != "_MOST_HOPS" or max(len(page.hop_ttl) for page in pages), most)

    def test_a_filter_that_chooses_nothing_looks_at_so_many_results_a_page(self) -> None:
        self.bench.post(*(a_result() for _ in range(10)))
        self.bench.post(a_result(received=0))
        self.patch(module, "_MOST_LOOKED_AT", 4)
        _, pages = read(self.path, Asked(failed=True))
        self.assertEqual([len(page) for page in pages], [0, 0, 1])

    def test_results_behind_many_batches_without_any_are_read(self) -> None:
        """As of a broken node, whose every POST is refused whole and recorded."""
        for _ in range(2):
            self.bench.post(a_result(), {"ip": "nowhere"})
        self.bench.stop()
        with writing(self.path) as db:
            db.execute("UPDATE batches SET id = 5000 WHERE id = 2")
            db.execute(
                "WITH RECURSIVE refused(id) AS (SELECT 2 UNION ALL SELECT id + 1 FROM refused WHERE id < 4999)"
                " INSERT INTO batches (id, node, received_at, digest, key, accepted, rejected)"
                " SELECT refused.id, node, received_at, digest, key, 0, 1"
                " FROM refused, batches WHERE batches.id = 1"
            )
        self.assertEqual([line["id"] for line in lines_of(self.path)], [1, 2])

    def test_what_arrives_after_the_first_page_is_not_in_it(self) -> None:
        self.bench.post(a_result(), a_result())
        self.patch(module, "_MOST_ROWS", 1)
        with closing(connect(self.path, "ro")) as db:
            reading = Reading(db, describe(self.path), Asked())
            reading.page()
            self.bench.post(a_result())
            rest = 0
            while (page := reading.page()) is not None:
                rest += len(page)
        self.assertEqual(rest, 1)

    def test_results_that_were_read_from_another_copy_are_passed_over(self) -> None:
        self.bench.post(a_result(), a_result())
        self.bench.post(a_result())
        self.assertEqual([line["id"] for line in lines_of(self.path, above_id=1)], [2, 3])

    def test_a_value_of_another_type_is_damage(self) -> None:
        for statement in (
            "UPDATE traceroute_hops SET rtt = 'soon'", "UPDATE ping_results SET ip = x'00'",
            "UPDATE ping_results SET error = CAST(x'ff' AS TEXT)",
        ):  # fmt: skip
            bench = Bench(Path(self.mktemp()))
            bench.post(a_trace(*many_hops(1)))
            bench.stop()
            path = bench.store.current.info.path
            with writing(path) as db:
                db.execute(statement)
            error = self.assertRaises(DatabaseFailed, lines_of, path)
            self.assertEqual(kind_of(error), Kind.FOREIGN if "x'00'" in statement else Kind.DAMAGED, statement)

    def test_a_file_of_0_0_1_has_all_but_an_instance(self) -> None:
        left = left_by_0_0_1(Path(self.mktemp()), 1_767_825_045.0)
        lines = lines_of(left.whole)
        self.assertEqual(lines, list(stored(left.whole, has_instance=False)))
        self.assertTrue(lines)
        self.assertEqual({line["instance"] for line in lines}, {None})
