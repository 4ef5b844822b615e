"""What the reader of `trip -m json` promises: one test for each trap of the page of formats."""

from __future__ import annotations

from typing import Any

from outputd.formats.reader import NO_TIME
from outputd.formats.trippy import TRIPPY
from outputd.results.model import Hop, PingResult, Traceroute
from tests.formats.reading import ReadingCase

WHEN = "2026-01-07T22:30:00.123456789Z"


def a_hop(ttl: int, *addresses: str, **changes: Any) -> dict[str, Any]:
    """A hop as 0.13 prints it."""
    answered = bool(addresses)
    times = dict.fromkeys(("last", "avg", "best", "worst", "stddev"), "62.67" if answered else "0.00")
    hosts = [{"ip": address, "hostname": "Failed: no record"} for address in addresses]
    counts = {"loss_pct": "66.67" if answered else "100.00", "sent": 3, "recv": int(answered)}
    return {"ttl": ttl, "hosts": hosts, "extensions": [], **counts, **times, "nat": None, "tos": 0, **changes}


def a_report(*hops: object, **info: Any) -> dict[str, Any]:
    """A report of these hops."""
    target = {"ip": "192.0.2.9", "hostname": "target.example"}
    return {"info": {"target": target, "start_timestamp": WHEN, "end_timestamp": WHEN, **info}, "hops": list(hops)}


class TrippyTest(ReadingCase):
    reader = TRIPPY

    def test_the_last_hop_is_the_ping_of_the_target_and_its_times_are_texts(self) -> None:
        result = self.one(a_report(a_hop(1), a_hop(2, "192.0.2.9", worst="178.16")))
        trace = Traceroute(None, True, None, [Hop(1, timeout=True), Hop(2, "192.0.2.9", 62_670_000)])
        expected = PingResult(
            "192.0.2.9", 3, 1, WHEN, None, 62_670_000, None, trace,
            min_rtt=62_670_000, max_rtt=178_160_000, stddev_rtt=62_670_000,
        )  # fmt: skip
        self.assertEqual(result, expected)

    def test_a_report_before_0_13_carries_no_time(self) -> None:
        report = a_report(a_hop(1, "192.0.2.9"))
        del report["info"]["start_timestamp"], report["info"]["end_timestamp"], report["hops"][0]["extensions"]
        self.assertEqual(self.one(report).timestamp, NO_TIME)

    def test_a_path_that_ends_before_the_target_is_not_completed(self) -> None:
        for last in (a_hop(2), a_hop(2, "10.0.0.2")):
            result = self.one(a_report(a_hop(1, "10.0.0.1"), last))
            assert result.traceroute is not None
            self.assertEqual((result.sent, result.received, result.avg_rtt), (3, 0, None))
            self.assertFalse(result.traceroute.completed)

    def test_hosts_that_share_a_ttl_have_a_row_each_and_no_time_of_their_own(self) -> None:
        result = self.one(a_report(a_hop(1, "10.0.0.1", "10.0.0.2"), a_hop(2, "192.0.2.9")))
        assert result.traceroute is not None and result.traceroute.hops is not None
        self.assertEqual(result.traceroute.hops[:2], [Hop(1, "10.0.0.1"), Hop(1, "10.0.0.2")])

    def test_a_target_that_shares_its_ttl_is_refused_since_its_answers_cannot_be_told(self) -> None:
        self.assertIn("hops[-1]", self.refused(a_report(a_hop(1, "10.0.0.1", "192.0.2.9"))))

    def test_a_hop_alone_names_no_target_and_is_refused(self) -> None:
        self.assertIn("info", self.refused(a_hop(1, "192.0.2.9")))

    def test_what_is_no_address_no_time_or_no_ttl_is_refused(self) -> None:
        self.refused(a_report(a_hop(1, "192.0.2.9"), target={"ip": "target.example"}))
        self.refused(a_report(a_hop(1, "192.0.2.9"), start_timestamp="yesterday"))
        self.refused(a_report(a_hop(256, "192.0.2.9")))
        self.refused(a_report())

    def test_a_report_is_claimed_and_a_result_of_ours_is_not(self) -> None:
        self.assertTrue(self.is_claimed(a_report()))
        for text in (b"", b"[]", b'{"info": 1}', b'[{"ip": "192.0.2.9"}]'):
            self.assertFalse(self.is_claimed(text))
