"""What `outputd.queries.rejected` promises, against what was sent."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from outputd.queries.rejected import REJECTED, Rejected
from outputd.queries.tables import PAGE_BYTES
from tests.kit.asking import Asking
from tests.kit.makers import a_result


class TheRejected(Asking):
    def fill_with_bad_items(self) -> list[tuple[str, int, Any]]:
        """Store good and bad items in three files; node, index and raw of each bad one, the newest first."""
        sent = []
        for number in range(3):
            if number:
                self.bench.outcome(self.bench.store.rotate())
            for node in ("a", "b"):
                items: list[Any] = [a_result(), {"ip": number}, a_result(sent=-1), number, a_result()]
                self.bench.post(*items, node=node)
                sent += [(node, index, items[index]) for index in (1, 2, 3)]
        return sent[::-1]

    def rows(self, asked: Rejected) -> list[Any]:
        rows: list[Any] = self.ask(REJECTED, asked)
        return rows

    def test_each_is_there_with_who_sent_what_and_why_it_was_rejected(self) -> None:
        sent = self.fill_with_bad_items()
        rows = self.rows(Rejected())
        self.assertEqual(sent, [(row["node"], row["index"], json.loads(row["raw"])) for row in rows])
        self.assertEqual({"2026-01-07T22:30:45Z"}, {row["received_at"] for row in rows})
        self.assertEqual(["", "sent", "ip"], [row["field"] for row in rows[:3]])
        self.assertTrue(all(row["reason"] for row in rows))
        self.assertEqual([row for row in rows if row["node"] == "a"], self.rows(Rejected(node="a")))

    def test_pages_have_each_once_while_others_arrive(self) -> None:
        sent = self.fill_with_bad_items()
        found: list[Any] = []
        asked = Rejected(4)
        while True:
            found += self.rows(asked)
            answer = self.find(REJECTED, asked)
            assert answer is not None
            if not answer.notes.following:
                break
            batch, _, index = answer.notes.following["before"].partition("-")
            asked = dataclasses.replace(asked, before=(int(batch), int(index)))
            self.bench.post({"ip": "late"}, a_result(), node="c")
        self.assertEqual(sent, [(row["node"], row["index"], json.loads(row["raw"])) for row in found])

    def test_long_ones_are_read_as_they_are_sent(self) -> None:
        """Rule 9: nodes choose how long they are."""
        for _ in range(20):
            self.bench.post({"ip": "x" * 60_000}, a_result())
        self.ask(REJECTED, Rejected(1))
        found = self.find(REJECTED, Rejected())
        assert found is not None
        pages = list(found.pages("ndjson"))
        self.assertEqual(20, sum(page.count(b"\n") for page in pages))
        self.assertLess(max(map(len, pages)), 2 * PAGE_BYTES)
