"""What `outputd.queries.recent` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from outputd.queries.recent import RECENT, Recent
from outputd.queries.results import MOST_HOPS
from outputd.queries.tables import PAGE_BYTES, Format
from tests.kit.asking import Asking
from tests.kit.makers import a_result, a_trace, many_hops


class TheNewest(Asking):
    """Rule 16: `/recent` spans all files, newest first by arrival."""

    def recent(self, limit: int = 100, ip: str | None = None) -> list[Mapping[str, Any]]:
        return self.rows(Recent(limit=limit, ip=ip))

    def rows(self, asked: Recent) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = self.ask(RECENT, asked)
        return rows

    def rotate(self) -> None:
        self.bench.outcome(self.bench.store.rotate())

    def test_the_node_is_there_for_those_who_ask_for_it(self) -> None:
        """Rule 16: more only for those who ask by `include`."""
        sent = []
        for node in ("a", "b", "=c", "b"):
            self.bench.post(*[a_trace({"ttl": 1, "ip": "10.0.0.1"})] * 3, node=node)
            sent += [node] * 3
            self.rotate()
        both = self.rows(Recent(include="traceroute,node"))
        self.assertEqual(sent[::-1], [row["node"] for row in both])
        self.assertEqual(self.rows(Recent(include="node")), [_without("traceroute", row) for row in both])
        self.assertEqual(self.rows(Recent(include="traceroute")), [_without("node", row) for row in both])
        self.assertEqual(self.rows(Recent()), [_without("node", _without("traceroute", row)) for row in both])
        first, *_ = (self.answer(RECENT, Recent(include="node"), "csv") or "").splitlines()[1:]
        self.assertEqual("b", first.rpartition(",")[2])

    def test_nothing_yet(self) -> None:
        """Rule 16."""
        self.assertEqual(self.recent(), [])

    def test_the_spec_s_seven_fields_in_its_order(self) -> None:
        """Rule 16."""
        self.bench.keep(a_result(packet_loss=0, avg_rtt=15_000_000))
        (found,) = self.recent()
        self.assertEqual(
            list(found.items()),
            [
                ("id", 1), ("ip", "8.8.8.8"), ("sent", 4), ("received", 4), ("packet_loss", 0),
                ("avg_rtt", 15_000_000), ("timestamp", "2026-01-07T22:30:00Z"),
            ],
        )  # fmt: skip

    def test_null_where_there_is_nothing(self) -> None:
        """Rule 16: null where NULL; -1 is absent."""
        self.bench.keep(a_result(), a_result(avg_rtt=-1))
        self.assertEqual([found["avg_rtt"] for found in self.recent()], [None, None])

    def test_an_error_only_where_there_is_one(self) -> None:
        """Rule 16: the spec's jq filter works."""
        self.bench.keep(a_result(), a_result(error="no route"), a_result(error=None), a_result(error=""))
        self.assertEqual(
            [found.get("error", "absent") for found in self.recent()], ["", "absent", "no route", "absent"]
        )

    def test_packet_loss_is_a_whole_number_where_it_is_one(self) -> None:
        """Rule 16: as in the spec's example."""
        self.bench.keep(a_result(packet_loss=25), a_result(packet_loss=33.3), a_result(received=0))
        losses = [found["packet_loss"] for found in self.recent()]
        self.assertEqual([repr(loss) for loss in losses], ["100", "33.3", "25"])

    def test_times_are_printed_with_all_their_digits(self) -> None:
        """Rule 4."""
        self.bench.keep(
            a_result(timestamp="2026-01-07t23:30:00.123456789+01:00"), a_result(timestamp="0001-01-01T00:00:00Z")
        )
        self.assertEqual(
            [found["timestamp"] for found in self.recent()], ["0001-01-01T00:00:00Z", "2026-01-07T22:30:00.123456789Z"]
        )

    def test_newest_first_by_arrival_and_not_by_a_time_that_may_be_wrong(self) -> None:
        """Rule 16."""
        for year in (2026, 9999, 1970, 2001):
            self.bench.keep(a_result(timestamp=f"{year}-01-01T00:00:00Z"))
        self.assertEqual([found["id"] for found in self.recent()], [4, 3, 2, 1])

    def test_over_all_files_in_the_order_of_ids(self) -> None:
        """Rule 16."""
        for _ in range(4):
            self.bench.keep(a_result(), a_trace(*many_hops(2)))
            self.rotate()
        self.assertEqual([found["id"] for found in self.recent()], [8, 7, 6, 5, 4, 3, 2, 1])
        self.assertEqual([found["id"] for found in self.recent(limit=3)], [8, 7, 6])
        self.assertEqual([found["id"] for found in self.recent(limit=1)], [8])

    def test_files_are_read_by_their_order_and_not_by_name(self) -> None:
        """Rules 11 and 16."""
        self.bench.keep(a_result())
        old = self.bench.store.current.info.path
        self.rotate()
        self.bench.keep(a_result())
        self.bench.stop()
        old.rename(old.with_name("results_2099-01-01_00-00-00.db"))
        self.bench.start()
        self.assertEqual([found["id"] for found in self.recent()], [2, 1])

    def test_of_one_target_alone(self) -> None:
        """Rules 3 and 16."""
        for ip in ("8.8.8.8", "::ffff:8.8.8.8", "2001:DB8::A", "1.1.1.1"):
            self.bench.keep(a_result(ip=ip))
            self.rotate()
        self.assertEqual([found["id"] for found in self.recent(ip="8.8.8.8")], [2, 1])
        self.assertEqual([found["id"] for found in self.recent(ip="2001:db8::a")], [3])
        self.assertEqual(self.recent(ip="9.9.9.9"), [])

    def test_what_was_answered_is_found_though_it_is_still_in_the_wal(self) -> None:
        """Rule 1."""
        self.bench.keep(*[a_result()] * 500)
        self.assertEqual(len(self.recent(1000)), 500)

    def test_a_file_that_is_pruned_meanwhile_costs_nothing_but_its_rows(self) -> None:
        """Rules 13 and 16."""
        for _ in range(2):
            self.bench.keep(a_result())
            self.rotate()
        self.bench.directory.remove(self.bench.store.files[0].path)
        self.assertEqual([found["id"] for found in self.recent()], [2])

    def test_asking_leaves_the_files_as_they_are(self) -> None:
        """Rule 11: readers neither write nor checkpoint."""
        self.bench.keep(*[a_result()] * 500)
        files = {path: path.read_bytes() for path in self.bench.path.iterdir() if not path.name.endswith("-shm")}
        self.recent()
        self.assertEqual({path: path.read_bytes() for path in files}, files)

    def test_a_page_after_the_other_has_each_result_once(self) -> None:
        for _ in range(3):
            self.bench.keep(*[a_result()] * 10)
            self.rotate()
        found: list[int] = []
        before = None
        while page := self.rows(Recent(limit=7, before=before)):
            found += [row["id"] for row in page]
            before = page[-1]["id"]
        self.assertEqual(found, list(range(30, 0, -1)))

    def test_by_node_by_failure_and_by_time(self) -> None:
        for node in ("a", "b"):
            self.bench.post(a_result(), a_result(received=0, timestamp="2026-01-07T23:00:00Z"), node=node)
            self.rotate()
        for asked, ids in (
            (Recent(node="a"), [2, 1]), (Recent(node="b", ip="8.8.8.8"), [4, 3]), (Recent(failed=True), [4, 2]),
            (Recent(failed=False, node="b"), [3]), (Recent(since="2026-01-07 23:00:00"), [4, 2]),
            (Recent(until="2026-01-07 23:00:00", ip="8.8.8.8"), [3, 1]), (Recent(node="c"), []),
        ):  # fmt: skip
            self.assertEqual([row["id"] for row in self.rows(asked)], ids, asked)

    def test_a_traceroute_where_it_is_asked_for(self) -> None:
        hops = [{"ttl": 1, "ip": "10.0.0.1", "rtt": 5}, {"ttl": 2, "timeout": True}]
        self.bench.keep(a_trace(*many_hops(3)), a_trace(*hops), a_result())
        rows = self.rows(Recent(include="traceroute"))
        self.assertIsNone(rows[0]["traceroute"])
        self.assertEqual(
            rows[1]["traceroute"],
            {
                "method": "icmp", "completed": True, "error": None,
                "hops": [
                    {"ttl": 1, "ip": "10.0.0.1", "rtt": 5, "timeout": False},
                    {"ttl": 2, "ip": None, "rtt": None, "timeout": True},
                ],
            },
        )  # fmt: skip
        self.assertEqual(len(rows[2]["traceroute"]["hops"]), 3)


class LongAnswers(Asking):
    """Rule 9: how much is read at once does not depend on how long the answer is."""

    def pages(self, asked: Recent, form: Format = "json") -> list[bytes]:
        found = self.find(RECENT, asked)
        assert found is not None
        return list(found.pages(form))

    def test_long_errors_are_read_a_few_at_a_time(self) -> None:
        for _ in range(3):
            self.bench.keep(*[a_result(error="e" * 100_000)] * 10, *[a_result()] * 10)
            self.bench.outcome(self.bench.store.rotate())
        pages = self.pages(Recent())
        self.assertLess(max(map(len, pages)), 2 * PAGE_BYTES)
        self.assertEqual([row["id"] for row in json.loads(b"".join(pages))], list(range(60, 0, -1)))
        for form in ("csv", "ndjson"):
            self.assertLess(max(map(len, self.pages(Recent(), form))), 2 * PAGE_BYTES)

    def test_so_are_long_traceroutes(self) -> None:
        self.bench.keep(*[a_trace(*many_hops(MOST_HOPS + 10))] * 5, *[a_trace(*many_hops(2))] * 5)
        pages = self.pages(Recent(include="traceroute"))
        self.assertLess(max(map(len, pages)), 2 * PAGE_BYTES)
        rows = json.loads(b"".join(pages))
        self.assertEqual([2] * 5 + [MOST_HOPS] * 5, [len(row["traceroute"]["hops"]) for row in rows])


def _without(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in row.items() if member != name}
