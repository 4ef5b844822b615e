from __future__ import annotations

import json
from typing import Any

from outputd.changes.changes import Changes as Found
from outputd.queries.changes import CHANGES, Changes
from outputd.queries.session import NotReady
from outputd.results import timestamps
from tests.kit.asking import Asking
from tests.kit.makers import a_result

HOPS = [{"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 3, "ip": "8.8.8.8"}]
OTHERS = [{"ttl": 1, "ip": "10.0.0.2"}, {"ttl": 3, "ip": "8.8.8.8"}]


class ChangesTests(Asking):
    def post(self, received: int, hops: Any, times: int) -> None:
        for _ in range(times):
            self.bench.clock.advance(60)
            at = timestamps.printed(timestamps.at(self.bench.now()))
            trace = {"method": "icmp", "completed": True, "hops": hops}
            self.bench.post(a_result(received=received, timestamp=at, traceroute=trace), node="graz-1")

    def look(self) -> None:
        changes = Found(self.bench.directory.changes, lambda: self.bench.store.files)
        while changes.step():
            pass
        changes.leave()

    def setUp(self) -> None:
        super().setUp()
        self.post(4, HOPS, 30)
        self.post(4, OTHERS, 14)
        self.post(0, OTHERS, 4)
        self.post(4, OTHERS, 4)

    def kinds(self, **asked: Any) -> list[str]:
        return [change["kind"] for change in self.ask(CHANGES, Changes(**asked))["changes"]]

    def test_each_says_what_was_and_what_came_the_newest_first(self) -> None:
        self.look()
        now_s = self.bench.now()
        began, ended, changed = (timestamps.printed(timestamps.at(now_s - 60 * ago)) for ago in (7, 3, 12))
        same = {"node": "graz-1", "target": "8.8.8.8"}
        self.assertEqual(
            self.ask(CHANGES, Changes()),
            {
                "changes": [
                    {"kind": "loss_ended", **same, "since": ended, "until": None, "before": 100.0, "after": 0.0},
                    {"kind": "loss_began", **same, "since": began, "until": ended, "before": 0.0, "after": 100.0},
                    {
                        "kind": "route_changed", **same, "since": changed, "until": None,
                        "before": ["10.0.0.1", None, "8.8.8.8"], "after": ["10.0.0.2", None, "8.8.8.8"],
                    },
                ],
                "complete_until": timestamps.printed(timestamps.at(now_s)),
            },
        )  # fmt: skip

    def test_each_parameter_chooses(self) -> None:
        self.look()
        began = timestamps.at(self.bench.now() - 60 * 7)
        self.assertEqual(self.kinds(kind="route_changed"), ["route_changed"])
        self.assertEqual(self.kinds(since=began), ["loss_ended", "loss_began"])
        self.assertEqual(self.kinds(until=began), ["route_changed"])
        self.assertEqual(self.kinds(limit=1), ["loss_ended"])
        self.assertEqual(self.kinds(lasting=True), ["loss_ended", "route_changed"])
        self.assertEqual(self.kinds(lasting=False), ["loss_began"])
        self.assertEqual(self.ask(CHANGES, Changes(limit=1, lasting=True, total=True))["total"], 2)
        self.assertEqual((self.kinds(node="b"), self.kinds(ip="8.8.4.4")), ([], []))
        self.assertEqual(len(self.kinds(node="graz-1", ip="8.8.8.8")), 3)

    def test_in_csv_a_route_is_json(self) -> None:
        self.look()
        lines = (self.answer(CHANGES, Changes(kind="route_changed"), "csv") or "").splitlines()
        self.assertEqual(lines[0], "kind,node,target,since,until,before,after")
        self.assertIn('"[""10.0.0.1"",null,""8.8.8.8""]"', lines[1])
        row = json.loads(self.answer(CHANGES, Changes(kind="loss_began"), "ndjson") or "")
        self.assertEqual(row["after"], 100.0)

    def test_before_the_first_look_it_is_not_ready(self) -> None:
        with self.assertRaises(NotReady):
            self.find(CHANGES, Changes())
