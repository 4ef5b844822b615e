"""What `outputd.queries.failures` promises, against a count in Python."""

from __future__ import annotations

import random
from typing import Any

from outputd.queries import failures as failures_of
from outputd.queries.failures import FAILURES, MOST_ERROR, Failures
from outputd.queries.recent import RECENT, Recent
from tests.kit.asking import Asking
from tests.kit.makers import a_result


class TheFailures(Asking):
    def setUp(self) -> None:
        super().setUp()
        rng = random.Random(3)

        def make(_: int) -> dict[str, Any]:
            error = {"error": f"{rng.random()}"} if rng.random() < 0.5 else {}
            at = f"2026-01-07T{rng.randrange(10, 22)}:30:00Z"
            return a_result(ip=f"192.0.2.{rng.randrange(12)}", received=rng.randrange(2), timestamp=at, **error)

        self.fill(make)

    def expected(self, **chosen: Any) -> list[dict[str, Any]]:
        """The same, from what /recent has of all failures."""
        by_target: dict[str, list[dict[str, Any]]] = {}
        for row in self.ask(RECENT, Recent(1000, failed=True, include="node", **chosen)):
            by_target.setdefault(row["ip"], []).append(row)
        return [
            {
                "ip": ip, "count": len(rows), "first_failed": min(row["timestamp"] for row in rows),
                "last_failed": max(row["timestamp"] for row in rows), "id": rows[0]["id"],
                "error": rows[0].get("error"), "nodes": sorted({row["node"] for row in rows}),
            }
            for ip, rows in by_target.items()
        ]  # fmt: skip

    def test_each_target_has_its_newest_failures_the_one_that_failed_last_first(self) -> None:
        time = "2026-01-07 15:30:00"
        for chosen in (
            {},
            {"node": "a"},
            {"since": time},
            {"until": time},
            {"node": "b", "since": time, "until": time},
        ):
            answer = self.ask(FAILURES, Failures(1000, **chosen))
            self.assertEqual({"failures": self.expected(**chosen), "complete": True}, answer, chosen)
        self.assertEqual(self.expected()[:3], self.ask(FAILURES, Failures(3))["failures"])

    def test_no_more_are_read_than_so_many_the_newest(self) -> None:
        self.patch(failures_of, "MOST_FAILURES", 20)
        rows = self.ask(RECENT, Recent(20, failed=True))
        answer = self.ask(FAILURES, Failures())
        self.assertEqual((20, False), (sum(row["count"] for row in answer["failures"]), answer["complete"]))
        self.assertEqual(rows[0]["id"], answer["failures"][0]["id"])

    def test_an_error_is_cut(self) -> None:
        """Rule 9: a node chooses how long it is."""
        self.bench.post(a_result(received=0, error="é" * 10_000))
        self.assertEqual("é" * MOST_ERROR, self.ask(FAILURES, Failures(1))["failures"][0]["error"])
