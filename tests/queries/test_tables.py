"""What `outputd.queries.tables` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.columns import NODES as LISTED
from outputd.queries.nodes import NODES, Nodes
from outputd.queries.recent import RECENT, Recent
from outputd.queries.session import Session
from outputd.queries.tables import PAGE_BYTES, Column, Rows, Table
from outputd.web.shapes import text
from tests.kit.asking import Asking
from tests.kit.makers import a_result


class Forms(Asking):
    def test_hostile_text_comes_back_as_it_was_in_every_form(self) -> None:
        node, error = '=1+1,"a"', 'a "b",\r\n<script>\x00\u2028é'
        self.bench.post(a_result(error=error), node=node)
        (row,) = self.ask(RECENT, Recent())
        self.assertEqual(row["error"], error)
        self.assertEqual(self.ask(NODES, Nodes(10))["nodes"][0]["node"], node)
        (_, line) = csv.reader((self.answer(NODES, Nodes(10), "csv") or "").splitlines())
        self.assertEqual(line[0], f"'{node}")

    def test_no_cell_is_one_that_a_spreadsheet_would_run(self) -> None:
        """A text from a node gets an apostrophe; what only looks so, and numbers, are left as they are."""
        begun = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1")
        left = ("a=1", "'=1", " x", "a;=1", "")
        for error in (*begun, *left):
            self.bench.post(a_result(error=error))
        for node in ("=1+1", "+1", "-1", "@SUM(A1)", "a=1", "a;=1", "7"):
            self.bench.clock.advance(-5)
            self.bench.post(a_result(timestamp="2026-01-07T22:30:00Z", error="x"), node=node)
        rows = self.csv(self.answer(RECENT, Recent(failed=False), "csv"))
        errors = [row["error"] for row in reversed(rows)]
        self.assertEqual(errors[: len(begun) + len(left)], [*(f"'{text}" for text in begun), *left])
        nodes = self.csv(self.answer(NODES, Nodes(10), "csv"))
        self.assertEqual(
            {row["node"] for row in nodes}, {"192.0.2.9", "'=1+1", "'+1", "'-1", "'@SUM(A1)", "a=1", "a;=1", "7"}
        )
        offsets = {row["clock_offset_s"] for row in nodes}
        self.assertTrue(any(offset.startswith("-") for offset in offsets), offsets)

    def csv(self, text: str | None) -> list[dict[str, str]]:
        assert text is not None
        self.assertNotIn(";=1,", text.replace('"a;=1"', ""))  # cut at a semicolon it would begin a cell
        return list(csv.DictReader(io.StringIO(text, newline="")))


class Pages(SynchronousTestCase):
    def test_a_page_ends_where_its_rows_are_wide(self) -> None:
        """Rule 9: nodes choose how wide a row is."""
        session = Session([], Path("none"))
        self.addCleanup(session.close)
        session.run(f"""
            CREATE TEMP TABLE answer (name, nodes);
            INSERT INTO temp.answer WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
            SELECT i, iif(i > 1000, json_array(printf('%.*c', {PAGE_BYTES // 4}, 'x')), '[]') FROM n;
            """)
        table = Table(session, "rows", (Column("name", text("a name")), LISTED))
        for form in ("json", "ndjson", "csv"):
            pages = list(table.pages(form))
            self.assertLess(max(map(len, pages)), 2 * PAGE_BYTES)
        rows = json.loads(b"".join(table.pages("json")))["rows"]
        self.assertEqual(list(range(1, 1201)), [row["name"] for row in rows])


class Waiting(SynchronousTestCase):
    def test_what_is_sent_of_a_document_is_not_kept_for_the_rest(self) -> None:
        """Rule 9: it may be a text of megabytes, and its reader may be slow."""
        session = Session([], Path("none"))
        self.addCleanup(session.close)
        for form in ("json", "ndjson", "csv"):
            opening = b'{"error":"%s","hops":[' % (b"e" * 1000)
            rows = Rows(
                session, [], lambda: iter([[{"ttl": 1}], [{"ttl": 2}]]), (opening, b"]}"), lambda _: {"error": "e"}
            )
            pages = rows.pages(form)
            for _ in range(2):
                next(pages)
            self.assertEqual(2, sys.getrefcount(opening), "the name here, and the argument")
            self.assertTrue(list(pages))
