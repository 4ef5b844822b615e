"""What the reader of pScheduler's archives promises: one test for each trap of the page of formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outputd.formats.perfsonar import PERFSONAR
from outputd.formats.reader import NO_TIME
from outputd.results.model import Hop, PingResult, Traceroute
from tests.formats.reading import ReadingCase

WHEN = "2026-01-07T17:30:00-05:00"
RTT = {
    "succeeded": True, "schema": 1, "sent": 5, "received": 4, "lost": 0, "loss": 0.1234, "duplicates": 0,
    "min": "PT0.000008S", "mean": "PT0.00001S", "max": "PT0.000012S", "stddev": "PT0.000002S",
    "roundtrips": [{"seq": 1, "ip": "192.0.2.9", "rtt": "PT0.000012S"}, {"error": "host-unreachable"}, {}],
}  # fmt: skip


def a_trace(*paths: Sequence[object], **changes: Any) -> dict[str, Any]:
    """The result of a trace along these paths."""
    return {"succeeded": True, "schema": 1, "paths": list(paths), **changes}


def a_run(result: object, kind: str = "trace", /, **spec: Any) -> dict[str, Any]:
    """A run as the archiver `http` posts it."""
    test = {"type": kind, "spec": {"dest": "192.0.2.9", "schema": 1, **spec}}
    head = {"id": "58404bb5-8a72-459a-b118-12e879d9dc99", "schedule": {"start": WHEN, "duration": "PT8S"}, "test": test}
    return {**head, "tool": {"name": "traceroute", "version": "1.0"}, "participants": ["node"], "result": result}


class PerfsonarTest(ReadingCase):
    reader = PERFSONAR

    def test_a_trace_has_one_reply_a_hop_and_an_empty_object_is_silence(self) -> None:
        path = [{"ip": "10.0.0.1", "rtt": "PT0.0028S"}, {}, {"ip": "192.0.2.9", "rtt": "PT0.067437S", "mtu": 9000}]
        hops = [Hop(1, "10.0.0.1", 2_800_000), Hop(2, timeout=True), Hop(3, "192.0.2.9", 67_437_000)]
        expected = PingResult("192.0.2.9", 1, 1, WHEN, None, 67_437_000, None, Traceroute(None, True, None, hops))
        self.assertEqual(self.one(a_run(a_trace(path))), expected)

    def test_each_path_is_a_traceroute(self) -> None:
        path = [{"ip": "192.0.2.9", "rtt": "PT0.0028S"}]
        self.assertEqual(self.read(a_run(a_trace(path, path))), self.read(a_run(a_trace(path))) * 2)

    def test_times_of_0_where_nothing_was_received_are_none(self) -> None:
        zeros = dict.fromkeys(("min", "mean", "max", "stddev"), "PT0S")
        result = self.one(a_run({**RTT, "received": 0, **zeros}, "rtt"))
        self.assertEqual((result.sent, result.received, result.avg_rtt, result.stddev_rtt), (5, 0, None, None))

    def test_a_hop_may_have_no_address_or_no_time(self) -> None:
        path = [{"hostname": "router.example", "rtt": "PT0.001S"}, {"ip": "10.0.0.2"}]
        traceroute = self.one(a_run(a_trace(path))).traceroute
        assert traceroute is not None
        self.assertEqual(traceroute.hops, [Hop(1, "router.example", 1_000_000), Hop(2, "10.0.0.2")])

    def test_an_error_of_the_target_is_no_arrival(self) -> None:
        error = "communication-administratively-prohibited"
        result = self.one(a_run(a_trace([{"ip": "192.0.2.9", "rtt": "PT0.001S", "error": error}])))
        assert result.traceroute is not None
        self.assertEqual((result.received, result.traceroute.completed, result.traceroute.error), (0, False, error))

    def test_the_first_ttl_and_the_method_are_those_of_the_test(self) -> None:
        body = a_run(a_trace([{}, {"ip": "192.0.2.9"}]), **dict[str, Any]({"first-ttl": 3, "probe-type": "udp"}))
        trace = Traceroute("udp", True, None, [Hop(3, timeout=True), Hop(4, "192.0.2.9")])
        self.assertEqual(self.one(body).traceroute, trace)

    def test_a_ping_is_what_its_counts_say_whatever_its_loss(self) -> None:
        expected = PingResult("192.0.2.9", 5, 4, WHEN, None, 10_000, min_rtt=8_000, max_rtt=12_000, stddev_rtt=2_000)
        self.assertEqual(self.one(a_run(RTT, "rtt")), expected)

    def test_a_ping_of_a_name_is_of_the_address_from_which_all_answers_came(self) -> None:
        self.assertEqual(self.one(a_run(RTT, "rtt", dest="target.example")).ip, "192.0.2.9")
        for trips in (
            [],
            [{"ip": "192.0.2.9"}, {"ip": "192.0.2.8"}],
            [{"ip": "10.0.0.1", "error": "host-unreachable"}],
        ):
            self.assertIn("name", self.refused(a_run({**RTT, "roundtrips": trips}, "rtt", dest="target.example")))

    def test_a_trace_to_a_name_is_refused(self) -> None:
        self.assertIn("name", self.refused(a_run(a_trace([{"ip": "192.0.2.9"}]), dest="target.example")))

    def test_a_run_that_failed_is_refused_with_its_error(self) -> None:
        failed = {"succeeded": False, "error": "No output from ping", "diags": "Exited 2"}
        self.assertEqual(self.refused(a_run(failed, "rtt")), "result.error: No output from ping")

    def test_latency_is_one_way_and_refused(self) -> None:
        for kind in ("latency", "latencybg", "throughput"):
            self.assertIn("test.type", self.refused(a_run({"succeeded": True, "histogram-latency": {"2.72": 4}}, kind)))

    def test_a_result_alone_names_no_target_and_is_refused(self) -> None:
        for body in (a_trace([{"ip": "192.0.2.9"}]), {"result": RTT}):
            self.assertIn("test: required", self.refused(body))

    def test_the_time_of_the_run_comes_before_that_of_the_schedule(self) -> None:
        body = {**a_run(RTT, "rtt"), "run": {"start-time": "2026-01-07T22:30:01Z"}}
        self.assertEqual(self.one(body).timestamp, "2026-01-07T22:30:01Z")
        body = a_run(RTT, "rtt")
        del body["schedule"]
        self.assertEqual(self.one(body).timestamp, NO_TIME)

    def test_durations_are_read_strictly(self) -> None:
        for text, ns in {"PT0S": 0, "P0D": 0, "PT1M0.5S": 60_500_000_000, "P1DT1H": 90_000 * 10**9}.items():
            self.assertEqual(self.one(a_run({**RTT, "mean": text}, "rtt")).avg_rtt, ns)
        for text in (
            "",
            "P",
            "PT",
            "0.1S",
            "P1Y",
            "-PT1S",
            "PT1",
            "PT.5S",
            "PT1e9S",
            f"P{'9' * 9}W" * 2,
            "P999999999W",
        ):
            self.assertIn(
                "a duration" if text != "P999999999W" else "time", self.refused(a_run({**RTT, "mean": text}, "rtt"))
            )

    def test_no_path_no_hop_and_too_many_are_refused(self) -> None:
        for result in (a_trace(), a_trace([]), a_trace([{}] * 256), a_trace(*[[{}]] * 257)):
            self.assertIn("paths", self.refused(a_run(result)))

    def test_a_type_of_probe_that_would_stand_in_every_path_is_short(self) -> None:
        self.assertIn("probe-type", self.refused(a_run(a_trace([{}]), **{"probe-type": "A" * 65})))

    def test_what_is_archived_is_claimed_and_a_result_of_ours_is_not(self) -> None:
        self.assertTrue(self.is_claimed(a_run(RTT, "rtt")))
        for text in (b"", b"[]", b'{"id": "58404bb5"}', b'{"succeeded": true, "paths": []}', b'[{"ip": "192.0.2.9"}]'):
            self.assertFalse(self.is_claimed(text))
