"""What `outputd.queries.tables` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import csv
import io

from outputd.queries.nodes import NODES, Nodes
from outputd.queries.question import Found
from outputd.queries.recent import RECENT, Recent
from outputd.queries.tables import Table
from tests.kit.asking import Asking, read
from tests.kit.makers import a_result


class Forms(Asking):
    def test_hostile_text_comes_back_as_it_was_in_every_form(self) -> None:
        node, error = '=1+1,"a"', 'a "b",\r\n<script>\x00\u2028é'
        self.bench.post(a_result(error=error), node=node)
        (row,) = self.ask(RECENT, Recent())
        self.assertEqual(row["error"], error)
        table = self.find(NODES, Nodes(10))
        self.assertEqual(read(table)["nodes"][0]["node"], node)
        table = self.find(NODES, Nodes(10))
        assert isinstance(table, Table)
        (_, line) = csv.reader(b"".join(table.pages("csv")).decode().splitlines())
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
        rows = self.csv(self.find(RECENT, Recent(failed=False)))
        errors = [row["error"] for row in reversed(rows)]
        self.assertEqual(errors[: len(begun) + len(left)], [*(f"'{text}" for text in begun), *left])
        nodes = self.csv(self.find(NODES, Nodes(10)))
        self.assertEqual(
            {row["node"] for row in nodes}, {"192.0.2.9", "'=1+1", "'+1", "'-1", "'@SUM(A1)", "a=1", "a;=1", "7"}
        )
        offsets = {row["clock_offset_s"] for row in nodes}
        self.assertTrue(any(offset.startswith("-") for offset in offsets), offsets)

    def csv(self, answer: Found) -> list[dict[str, str]]:
        assert answer is not None
        text = b"".join(answer.pages("csv")).decode()
        self.assertNotIn(";=1,", text.replace('"a;=1"', ""))  # cut at a semicolon it would begin a cell
        return list(csv.DictReader(io.StringIO(text, newline="")))
