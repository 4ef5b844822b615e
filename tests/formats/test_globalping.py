"""What the reader of Globalping's measurements promises: one test for each trap of the page of formats."""

from __future__ import annotations

import json
from typing import Any

from outputd.formats.globalping import GLOBALPING
from outputd.formats.reader import NO_TIME, Unread
from outputd.results.model import Hop, PingResult, Traceroute
from tests.formats.reading import ReadingCase

WHEN = "2026-01-07T22:30:00.039Z"
NO_ANSWER: dict[str, Any] = {"resolvedAddress": None, "resolvedHostname": None, "timings": []}


def a_ping(**changes: Any) -> dict[str, Any]:
    """What a probe says of a ping."""
    stats = {"min": 1.072, "max": 1.466, "avg": 1.224, "total": 3, "loss": 33.33, "rcv": 2, "drop": 1}
    timings = [{"ttl": 57, "rtt": 1.47}, {"ttl": 57, "rtt": 1.07}]
    result = {
        "status": "finished",
        "resolvedAddress": "192.0.2.9",
        "timings": timings,
        "stats": stats,
        "rawOutput": "PING",
    }
    return {**result, **changes}


def a_hop(address: str | None, *rtts_ms: float, **changes: Any) -> dict[str, Any]:
    """A hop of a traceroute, and with `stats` one of mtr."""
    return {"resolvedAddress": address, "timings": [{"rtt": rtt} for rtt in rtts_ms], **changes}


def a_trace(*hops: Any, **changes: Any) -> dict[str, Any]:
    """What a probe says of a traceroute."""
    return {
        "status": "finished",
        "resolvedAddress": "192.0.2.9",
        "hops": list(hops),
        "rawOutput": "traceroute to",
        **changes,
    }


def a_measurement(*results: Any, **changes: Any) -> dict[str, Any]:
    """A measurement as the API gives it."""
    head = {
        "id": "nzGzfAGL7sZfUs3c",
        "type": "ping",
        "status": "finished",
        "createdAt": WHEN,
        "target": "target.example",
    }
    return {**head, "results": [{"probe": {"city": "Auckland"}, "result": result} for result in results], **changes}


class GlobalpingTest(ReadingCase):
    reader = GLOBALPING

    def test_a_ping_is_what_its_statistics_say(self) -> None:
        expected = PingResult("192.0.2.9", 3, 2, WHEN, 33.33, 1_224_000, min_rtt=1_072_000, max_rtt=1_466_000)
        self.assertEqual(self.one(a_measurement(a_ping())), expected)

    def test_each_probe_of_a_measurement_has_a_result(self) -> None:
        self.assertEqual(len(self.read(a_measurement(a_ping(), a_ping(), a_ping()))), 3)
        self.assertEqual(self.read(a_measurement()), [])

    def test_a_probes_own_result_carries_no_time(self) -> None:
        self.assertEqual(self.one({"testId": "t", "measurementId": "m", "result": a_ping()}).timestamp, NO_TIME)

    def test_the_time_of_2022_is_in_milliseconds_since_1970(self) -> None:
        self.assertEqual(
            self.one(a_measurement(a_ping(), createdAt=1653502279205)).timestamp, "2022-05-25T18:11:19.205000000Z"
        )

    def test_times_of_0_where_nothing_was_received_are_none(self) -> None:
        stats = {"min": 0, "max": 0, "avg": 0, "total": 3, "loss": 100, "rcv": 0, "drop": 3}
        result = self.one(a_measurement(a_ping(stats=stats)))
        self.assertEqual((result.sent, result.avg_rtt, result.min_rtt, result.max_rtt), (3, None, None, None))

    def test_a_ping_that_nothing_answered_has_no_time(self) -> None:
        stats = {"min": None, "max": None, "avg": None, "total": 15, "loss": 100, "rcv": 0, "drop": 15}
        result = self.one(a_measurement(a_ping(stats=stats, timings=[])))
        self.assertEqual(result, PingResult("192.0.2.9", 15, 0, WHEN, 100.0))

    def test_the_place_of_a_hop_is_its_ttl_and_each_reply_a_row(self) -> None:
        body = a_measurement(
            a_trace(a_hop("10.0.0.1", 1.5, 1.6), NO_ANSWER, a_hop("192.0.2.9", 0.826, 0.733)), type="traceroute"
        )
        rows = [
            Hop(1, "10.0.0.1", 1_500_000), Hop(1, "10.0.0.1", 1_600_000), Hop(2, timeout=True),
            Hop(3, "192.0.2.9", 826_000), Hop(3, "192.0.2.9", 733_000),
        ]  # fmt: skip
        expected = PingResult(
            "192.0.2.9",
            2,
            2,
            WHEN,
            None,
            779_500,
            None,
            Traceroute(None, True, None, rows),
            min_rtt=733_000,
            max_rtt=826_000,
        )
        self.assertEqual(self.one(body), expected)

    def test_a_last_hop_that_is_not_the_target_received_nothing(self) -> None:
        for last in (NO_ANSWER, a_hop("10.0.0.2", 1.0, 2.0), a_hop("192.0.2.9")):
            result = self.one(a_measurement(a_trace(a_hop("10.0.0.1", 1.5, 1.6), last), type="traceroute"))
            assert result.traceroute is not None
            self.assertEqual((result.sent, result.received, result.avg_rtt), (2, 0, None))
            self.assertFalse(result.traceroute.completed)

    def test_a_hop_of_mtr_says_how_many_probes_were_sent_and_its_timings_are_finer_than_its_average(self) -> None:
        stats = {"min": 9.222, "max": 11.276, "avg": 10.3, "total": 4, "loss": 25, "rcv": 3, "drop": 1}
        result = self.one(a_measurement(a_trace(a_hop("192.0.2.9", 10.394, 9.222, 11.276, stats=stats)), type="mtr"))
        self.assertEqual((result.sent, result.received, result.avg_rtt), (4, 3, 10_297_333))

    def test_hops_of_2022_have_a_star_for_an_address_and_a_list_of_times(self) -> None:
        hops = [{"resolvedAddress": "*", "rtt": []}, {"resolvedAddress": "192.0.2.9", "rtt": [1.619, 2.465]}]
        body = {"testId": "t", "measurementId": "m", "result": {"destination": "192.0.2.9", "hops": hops}}
        self.assertEqual(
            self.hops(body), [Hop(1, timeout=True), Hop(2, "192.0.2.9", 1_619_000), Hop(2, "192.0.2.9", 2_465_000)]
        )

    def test_a_result_that_failed_is_refused_though_its_measurement_finished(self) -> None:
        failed = {
            "status": "failed",
            "resolvedAddress": None,
            "stats": {"total": None},
            "rawOutput": "Private IP ranges are not allowed.",
        }
        found = self.read(
            a_measurement(failed, a_ping(), {"status": "offline", "rawOutput": ""}, {"status": "in-progress"})
        )
        reasons = [(item.field, item.reason) for item in found if isinstance(item, Unread)]
        words = ("failed: Private IP ranges are not allowed.", "offline", "in-progress")
        self.assertEqual(reasons, [("result.status", each) for each in words])
        self.assertIsInstance(found[1], PingResult)

    def test_the_hops_of_one_that_failed_on_its_way_are_kept_with_its_words(self) -> None:
        failed = a_trace(
            a_hop("10.0.0.1", 1.5), status="failed", resolvedAddress=None, rawOutput="mtr: Permission denied"
        )
        result = self.one(a_measurement(failed, type="mtr", target="192.0.2.9"))
        trace = Traceroute(None, False, "failed: mtr: Permission denied", [Hop(1, "10.0.0.1", 1_500_000)])
        self.assertEqual((result.ip, result.received, result.traceroute), ("192.0.2.9", 0, trace))

    def test_a_target_without_an_address_is_refused(self) -> None:
        self.assertIn("resolvedAddress", self.refused(a_measurement(a_ping(resolvedAddress=None))))

    def test_other_measurements_are_refused_without_a_look_at_them(self) -> None:
        self.assertIn("type", self.refused(a_measurement({"status": "finished", "timings": {"total": 5}}, type="dns")))

    def test_the_protocol_that_was_ordered_is_the_method(self) -> None:
        body = a_measurement(a_trace(a_hop("192.0.2.9", 1)), type="traceroute", measurementOptions={"protocol": "TCP"})
        traceroute = self.one(body).traceroute
        assert traceroute is not None
        self.assertEqual(traceroute.method, "tcp")

    def test_more_hops_than_a_ttl_can_count_are_refused(self) -> None:
        self.assertIn("255", self.refused(a_measurement(a_trace(*[NO_ANSWER] * 256), type="traceroute")))
        self.assertIn("255", self.refused(a_measurement(a_trace(), type="traceroute")))

    def test_more_replies_than_a_probe_gets_are_refused(self) -> None:
        body = a_measurement(a_trace(a_hop("192.0.2.9", *[1.0] * 257)), type="traceroute")
        self.assertIn("timings", self.refused(body))

    def test_a_protocol_that_would_stand_in_every_row_is_short(self) -> None:
        order = {"type": "traceroute", "measurementOptions": {"protocol": "A" * 17}}
        self.assertIn("protocol", self.refused(a_measurement(a_trace(a_hop(None)), **order)))

    def test_the_long_name_of_a_hop_is_one_text_in_all_its_rows(self) -> None:
        trace = self.one(a_measurement(a_trace(a_hop("x" * 300, 1.0, 2.0)), type="traceroute")).traceroute
        assert trace is not None and trace.hops is not None
        first, second = trace.hops
        self.assertEqual(first.ip, "x" * 255)
        self.assertIs(first.ip, second.ip)

    def test_a_loss_that_is_no_number_costs_its_result_alone(self) -> None:
        bad = a_ping(stats={"total": 3, "rcv": 2, "loss": "NaN"})
        broken, good = self.read(a_measurement(bad, a_ping()))
        self.assertIsInstance(broken, Unread)
        self.assertIsInstance(good, PingResult)

    def test_several_measurements_may_stand_in_an_array_or_on_lines(self) -> None:
        one = a_measurement(a_ping())
        self.assertEqual(self.read([one, one]), self.read(one) * 2)
        self.assertEqual(self.read(f"{json.dumps(one)}\n{json.dumps(one)}\n".encode()), self.read(one) * 2)

    def test_what_it_gives_is_claimed_and_a_result_of_ours_is_not(self) -> None:
        for body in (a_measurement(), [a_measurement()], {"testId": "t", "measurementId": "m", "result": {}}):
            self.assertTrue(self.is_claimed(body))
        for text in (b"", b"[]", b'{"id": "a", "type": "other"}', b'{"testId": 1}', b'[{"ip": "192.0.2.9"}]'):
            self.assertFalse(self.is_claimed(text))
