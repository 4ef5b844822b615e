"""What `outputd.queries.result` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from outputd.queries.result import RESULT, Result
from tests.kit.asking import Asking
from tests.kit.makers import a_result, a_trace, many_hops


class OneResult(Asking):
    def test_one_result_whole(self) -> None:
        self.bench.post(a_result(), {"ip": 1}, node="a")
        self.bench.outcome(self.bench.store.rotate())
        self.bench.post(a_trace(*many_hops(2), ip="1.1.1.1") | {"min_rtt": 5}, node="b")
        found = self.ask(RESULT, Result(2))
        self.assertEqual((found["node"], found["min_rtt"], len(found["traceroute"]["hops"])), ("b", 5, 2))
        found = self.ask(RESULT, Result(1))
        self.assertEqual((found["node"], found["batch"]), ("a", {"id": 1, "accepted": 1, "rejected": 1}))
        self.assertIsNone(self.find(RESULT, Result(3)))
