"""What `outputd.queries.nodes` promises of clocks; a number is that of a rule of the contract."""

from __future__ import annotations

from typing import Any

from outputd.queries.nodes import NODES, Nodes
from outputd.results import timestamps
from outputd.summary.summary import Summary
from tests.kit.asking import Asking
from tests.kit.makers import a_result

YEAR_S = 366 * 86_400.0


class SetClock(Asking):
    """Rule 4: what lies in the future of now does not win, and what was true is told again."""

    def nodes(self) -> dict[str, Any]:
        """The answer; that of a summary made from the files at once is the same."""
        answer: dict[str, Any] = self.ask(NODES, Nodes(100))
        self.bench.directory.summary.unlink()
        self.assertEqual(answer, self.ask(NODES, Nodes(100)))
        return {row["node"]: row for row in answer["nodes"]}

    def post(self, *nodes: str) -> str:
        for node in nodes:
            self.assertEqual(200, self.bench.post(a_result(), a_result(), node=node).status)
        return timestamps.printed(timestamps.at(self.bench.now()))

    def set_clock(self, off_s: float, after_s: float = 0.0) -> None:
        self.bench.clock.advance(after_s)
        self.bench.clock_is_off_s = off_s

    def is_heard(self) -> dict[str, bool]:
        return {node: row["results_per_s"] > 0 for node, row in self.nodes().items()}

    def last_heard(self) -> dict[str, str | None]:
        return {node: row["last_heard"] for node, row in self.nodes().items()}

    def test_ten_years_ahead_and_then_right(self) -> None:
        """Until somebody is heard by the right clock, all that is known is what was before it went wrong."""
        before = self.post("a", "b")
        self.set_clock(10 * YEAR_S, 60)
        wrong = self.post("a", "c")
        self.assertEqual({"a": wrong, "b": before, "c": wrong}, self.last_heard())
        self.set_clock(0, 60)
        self.assertEqual({"a": before, "b": before, "c": None}, self.last_heard())
        self.assertEqual({"a": True, "b": True, "c": False}, self.is_heard())
        self.bench.clock.advance(5)
        right = self.post("d")
        for _ in range(2):
            self.assertEqual({"a": right, "b": before, "c": right, "d": right}, self.last_heard())
            self.bench.clock.advance(3600)
        again = self.post("c")
        self.assertEqual(again, self.last_heard()["c"])
        self.assertEqual({"a": False, "b": False, "c": True, "d": False}, self.is_heard())

    def test_what_was_ahead_by_less_than_it_is_silent_for(self) -> None:
        """The time that was wrong comes, and finds the node as silent as before."""
        self.post("b")
        self.set_clock(7200)
        self.post("a")
        self.set_clock(0, 30)
        right = self.post("b")
        for after_s in (3000, 3000, 7230 - 6060):
            self.bench.clock.advance(after_s)
            self.post("b")
        self.assertEqual(right, self.last_heard()["a"])
        self.assertEqual({"a": False, "b": True}, self.is_heard())

    def test_a_clock_that_was_behind(self) -> None:
        """It takes nothing from what was heard before."""
        before = self.post("a")
        self.set_clock(-10 * YEAR_S, 60)
        self.post("b")
        self.set_clock(0, 60)
        right = self.post("c")
        self.assertEqual([before, right], [self.last_heard()[node] for node in ("a", "c")])

    def test_a_file_that_can_be_read_late_is_no_clock_that_was_set(self) -> None:
        before = self.post("a")
        older = self.bench.store.current.info
        self.bench.outcome(self.bench.store.rotate())
        self.bench.clock.advance(600)
        after = self.post("b")
        files = self.bench.store.files
        summary = Summary(self.bench.directory.summary, lambda: [info for info in files if info != older])
        late = Summary(self.bench.directory.summary, lambda: files)
        for each in (summary, late):
            while each.step():
                pass
            each.close()
        self.assertEqual({"a": before, "b": after}, self.last_heard())

    def test_a_clock_that_is_slewed_is_not_set(self) -> None:
        """Nor does the order of two POSTs that came at once matter."""
        self.post("a")
        self.set_clock(-30)
        self.post("a")
        self.assertGreater(self.nodes()["a"]["results_per_s"] * 330, 3.9)
        self.assertEqual(timestamps.printed(timestamps.at(self.bench.now())), self.last_heard()["a"])
