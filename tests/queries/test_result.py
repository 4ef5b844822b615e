"""What `outputd.queries.result` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import csv
import io
import json

from outputd.queries.result import RESULT, Result
from outputd.queries.session import NotReady
from outputd.queries.tables import PAGE_BYTES
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
        self.assertIsNone(self.ask(RESULT, Result(3)))

    def test_in_csv_the_first_row_has_the_result_and_each_row_a_hop(self) -> None:
        long = "x" * 100_000
        traced = a_trace(*many_hops(1200)) | {"ip": "1.1.1.1", "error": long, "min_rtt": 5}
        self.bench.post(traced, a_result(), {}, node="b")
        rows = self.csv(1)
        whole = self.ask(RESULT, Result(1))
        hops = whole["traceroute"]["hops"]
        self.assertEqual([str(hop["ip"]) for hop in hops], [row["ip"] for row in rows])
        first = {name: value for name, value in rows[0].items() if name not in ("ttl", "ip", "rtt", "timeout")}
        self.assertEqual(
            {
                "id": "1", "target": "1.1.1.1", "sent": str(whole["sent"]), "received": str(whole["received"]),
                "packet_loss": str(whole["packet_loss"]), "avg_rtt": "", "timestamp": whole["timestamp"],
                "min_rtt": "5", "max_rtt": "", "stddev_rtt": "", "node": "b", "received_at": whole["received_at"],
                "error": long, "traceroute_method": "icmp", "traceroute_completed": "true", "traceroute_error": "",
                "batch_id": "1", "batch_accepted": "2", "batch_rejected": "1", "file": whole["file"],
            }, first,
        )  # fmt: skip
        self.assertEqual({""}, {value for row in rows[1:] for name, value in row.items() if name in first})

    def test_in_csv_one_without_a_traceroute_is_a_row(self) -> None:
        self.bench.post(a_trace(*many_hops(2)), a_result(error="=1+1"), node="b")
        (row,) = self.csv(2)
        self.assertEqual(
            ("2", "'=1+1", "", ""), tuple(row[name] for name in ("id", "error", "ttl", "traceroute_method"))
        )
        self.assertEqual(list(self.csv(1)[0]), list(row))

    def csv(self, number: int) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.answer(RESULT, Result(number), "csv"), newline="")))

    def test_its_hops_are_read_a_few_at_a_time(self) -> None:
        """Rule 9: a body of 8 MiB may be one traceroute."""
        hops = many_hops(5000)
        self.bench.keep(a_trace(*hops), a_trace(*many_hops(1)))
        found = self.find(RESULT, Result(1))
        assert found is not None
        pages = list(found.pages("json"))
        self.assertLess(max(map(len, pages)), PAGE_BYTES)
        traceroute = json.loads(b"".join(pages))["traceroute"]
        self.assertEqual(hops, [{name: hop[name] for name in ("ttl", "ip")} for hop in traceroute["hops"]])

    def test_an_answer_whose_file_goes_has_no_end(self) -> None:
        self.bench.keep(a_trace(*many_hops(5000)))
        self.bench.outcome(self.bench.store.rotate())
        found = self.find(RESULT, Result(1))
        assert found is not None
        pages = found.pages("json")
        next(pages), next(pages)
        self.bench.directory.remove(self.bench.store.files[0].path)
        self.assertRaises(NotReady, list, pages)
