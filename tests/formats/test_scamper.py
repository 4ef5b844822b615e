"""What the reader of scamper's JSON promises: one test for each trap of the page of formats."""

from __future__ import annotations

import json
from typing import Any

from outputd.formats.reader import NO_TIME, NotOfThisFormat, Unread
from outputd.formats.scamper import SCAMPER
from outputd.results.model import Hop, PingResult, Traceroute
from tests.formats.reading import ReadingCase

TARGET = "192.0.2.9"
START = {"sec": 1_767_787_200, "usec": 123_456, "ftime": "2026-01-07 13:00:00"}
CYCLE_START = {"type": "cycle-start", "list_name": "default", "id": 0, "hostname": "node", "start_time": 1_767_787_200}
CYCLE_STOP = {"type": "cycle-stop", "list_name": "default", "id": 0, "hostname": "node", "stop_time": 1_767_787_201}
METADATA = {"UUID": "node_1767787200_1", "TracerouteCallerVersion": "1", "CachedResult": False, "CachedUUID": ""}


def a_reply(ttl: int, addr: str, rtt: object = 1.5, **changes: object) -> dict[str, object]:
    """A hop as it is printed: a router's answer, or the target's to an echo."""
    icmp_type = 0 if addr == TARGET else 11
    reply = {
        "addr": addr,
        "name": "",
        "probe_ttl": ttl,
        "probe_id": 1,
        "rtt": rtt,
        "icmp_type": icmp_type,
        "icmp_code": 0,
    }
    return {**reply, **changes}


def a_trace(*hops: object, **changes: object) -> dict[str, Any]:
    """A trace that says of itself that it is completed."""
    trace = {
        "type": "trace", "version": "0.1", "method": "icmp-echo-paris", "src": "192.0.2.1", "dst": TARGET,
        "stop_reason": "COMPLETED", "start": START, "hop_count": len(hops), "attempts": 2, "firsthop": 1,
        "hops": list(hops),
    }  # fmt: skip
    return {**trace, **changes}


def an_answer(seq: int, rtt: object = 0.5, **changes: object) -> dict[str, object]:
    """The answer to one probe of a ping."""
    return {"from": TARGET, "seq": seq, "rtt": rtt, "icmp_type": 0, "icmp_code": 0, **changes}


def a_ping(*responses: object, **changes: object) -> dict[str, Any]:
    """A ping of three probes."""
    ping = {
        "type": "ping", "version": "0.4", "method": "icmp-echo", "src": "192.0.2.1", "dst": TARGET, "start": START,
        "ping_sent": 3, "responses": list(responses),
    }  # fmt: skip
    return {**ping, **changes}


def some_lines(*items: object) -> bytes:
    """These objects, one a line."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


class ScamperTest(ReadingCase):
    reader = SCAMPER

    def route(self, body: object) -> Traceroute:
        """The traceroute of the only result."""
        route = self.one(body).traceroute
        assert route is not None
        return route

    def test_a_trace_is_a_result_with_its_hops(self) -> None:
        hops = [Hop(1, "10.0.0.1", 70_000, timeout=False), Hop(2, TARGET, 1_500_000, timeout=False)]
        self.assertEqual(
            self.one(a_trace(a_reply(1, "10.0.0.1", 0.07), a_reply(2, TARGET))),
            PingResult(
                TARGET, 1, 1, "2026-01-07T12:00:00.123456000Z", avg_rtt=1_500_000,
                traceroute=Traceroute("icmp-echo-paris", True, None, hops),
            ),
        )  # fmt: skip

    def test_a_ping_is_a_result(self) -> None:
        said = {"replies": 2, "loss": 0.33, "min": 0.5, "max": 0.7, "avg": 0.6, "stddev": 0.1}
        self.assertEqual(
            self.one(a_ping(an_answer(0), an_answer(2, 0.701), statistics=said)),
            PingResult(
                TARGET, 3, 2, "2026-01-07T12:00:00.123456000Z", avg_rtt=600_500, min_rtt=500_000, max_rtt=701_000,
                stddev_rtt=100_000,
            ),
        )  # fmt: skip

    def test_what_is_said_of_a_cycle_is_passed_over(self) -> None:
        body = some_lines(CYCLE_START, a_ping(), a_trace(a_reply(1, TARGET)), CYCLE_STOP)
        self.assertEqual(len(self.results(body)), 2)
        self.assertEqual(self.results(some_lines(CYCLE_START, CYCLE_STOP)), [])

    def test_what_m_lab_puts_around_a_trace_is_taken_off(self) -> None:
        trace = a_trace(a_reply(1, TARGET))
        expected = self.one(trace)
        self.assertEqual(self.one(some_lines(METADATA, CYCLE_START, trace, CYCLE_STOP)), expected)
        wrapped = {"Metadata": METADATA, "CycleStart": CYCLE_START, "Trace": trace, "CycleStop": CYCLE_STOP}
        self.assertEqual(self.one(wrapped), expected)

    def test_a_tracelb_has_no_path_and_is_told(self) -> None:
        found = self.read(some_lines({"type": "tracelb", "dst": TARGET, "nodes": []}, a_ping()))
        self.assertIsInstance(found[1], PingResult)
        assert isinstance(found[0], Unread)
        self.assertIn("tracelb is not supported", found[0].reason)

    def test_a_silent_ttl_is_a_timeout(self) -> None:
        body = a_trace(a_reply(3, "10.0.0.3"), firsthop=2, hop_count=4)
        silent = [(hop.ttl, hop.timeout) for hop in self.hops(body)]
        self.assertEqual(silent, [(2, True), (3, False), (4, True)])

    def test_ttls_that_cannot_be_are_not_filled(self) -> None:
        self.assertEqual(len(self.hops(a_trace(hop_count=2**63 - 1))), 255)
        self.assertEqual(self.hops(a_trace(hop_count=5, firsthop=2**63 - 1)), [])

    def test_a_silent_probe_that_is_listed_is_a_timeout_of_its_own(self) -> None:
        silent = [{"probe_ttl": 1, "probe_id": number, "tx": START} for number in (1, 2, 3)]
        result = self.one(
            a_trace(a_reply(2, "10.0.0.2", probe_id=2), no_hops=[*silent, silent[0] | {"probe_ttl": 2}], hop_count=2)
        )
        assert result.traceroute is not None
        self.assertEqual([hop.ttl for hop in result.traceroute.hops or ()], [1, 1, 1, 2, 2])
        self.assertEqual((result.sent, result.received), (2, 0))

    def test_it_is_completed_only_with_an_answer_of_the_target(self) -> None:
        self.assertFalse(self.route(a_trace(a_reply(1, "10.0.0.1"))).completed)
        self.assertFalse(self.route(a_trace(a_reply(1, TARGET), stop_reason="GAPLIMIT")).completed)
        for refusal in ({"icmp_type": 3, "icmp_code": 1}, {"icmp_type": 3, "icmp_code": 13}, {"icmp_type": 11}):
            self.assertFalse(self.route(a_trace(a_reply(1, TARGET, **refusal))).completed)

    def test_by_udp_a_port_where_nothing_listens_is_an_arrival(self) -> None:
        for target, unreachable in ((TARGET, (3, 3)), ("2001:db8::9", (1, 4))):
            reply = a_reply(1, target, icmp_type=unreachable[0], icmp_code=unreachable[1])
            self.assertTrue(self.route(a_trace(reply, dst=target, method="udp-paris")).completed)
            self.assertFalse(self.route(a_trace(reply, dst=target)).completed)

    def test_by_tcp_any_answer_of_the_target_is_an_arrival(self) -> None:
        reply = {"addr": TARGET, "probe_ttl": 1, "probe_id": 1, "rtt": 1.5, "tcp_flags": 20}
        self.assertTrue(self.route(a_trace(reply, method="tcp-ack")).completed)

    def test_why_it_ended_before_is_its_error(self) -> None:
        result = self.one(a_trace(hop_count=5, stop_reason="GAPLIMIT"))
        assert result.traceroute is not None
        self.assertEqual((result.error, result.traceroute.error), ("GAPLIMIT", "GAPLIMIT"))
        self.assertEqual((result.sent, result.received), (2, 0))

    def test_mapped_addresses_are_compared_as_addresses(self) -> None:
        result = self.one(a_trace(a_reply(1, TARGET), dst=f"::ffff:{TARGET}"))
        self.assertEqual((result.ip, result.received), (TARGET, 1))

    def test_without_a_start_the_first_probe_tells_the_time(self) -> None:
        never = {"sec": 0, "usec": 0, "ftime": "1970-01-01 00:00:00"}
        later, first = {"sec": 1_767_787_202, "usec": 0}, {"sec": 1_767_787_201, "usec": 5}
        body = a_trace(a_reply(1, "10.0.0.1", tx=later), a_reply(2, TARGET, tx=first), start=never)
        self.assertEqual(self.one(body).timestamp, "2026-01-07T12:00:01.000005000Z")
        self.assertEqual(self.one(a_trace(start=never)).timestamp, NO_TIME)

    def test_an_answer_without_an_address_stays_an_answer(self) -> None:
        self.assertEqual(self.hops(a_trace(a_reply(1, "*"))), [Hop(1, "*", 1_500_000, timeout=False)])

    def test_each_reply_is_a_row(self) -> None:
        body = a_trace(
            a_reply(1, "10.0.0.1"),
            a_reply(1, "10.0.0.2", probe_id=2),
            a_reply(2, TARGET),
            a_reply(2, TARGET, 2.5, probe_id=3),
        )
        self.assertEqual([hop.ttl for hop in self.hops(body | {"hop_count": 2})], [1, 1, 2, 2])
        result = self.one(body | {"hop_count": 2})
        self.assertEqual((result.sent, result.received, result.avg_rtt), (3, 2, 2_000_000))

    def test_a_last_hop_that_is_repeated_is_received_once(self) -> None:
        result = self.one(a_trace(a_reply(1, TARGET), a_reply(1, TARGET, 9.5), hop_count=1))
        self.assertEqual((result.sent, result.received, result.avg_rtt), (1, 1, 1_500_000))

    def test_an_answer_that_comes_twice_is_received_once(self) -> None:
        result = self.one(a_ping(an_answer(0), an_answer(0, 9.5), an_answer(1)))
        self.assertEqual((result.sent, result.received, result.avg_rtt, result.max_rtt), (3, 2, 500_000, 500_000))

    def test_an_error_of_a_router_is_no_answer(self) -> None:
        result = self.one(a_ping(an_answer(0), an_answer(1, icmp_type=3, icmp_code=1, **{"from": "10.0.0.1"})))
        self.assertEqual(result.received, 1)

    def test_a_ping_that_nothing_answers_has_no_times(self) -> None:
        result = self.one(a_ping(statistics={"replies": 0, "loss": 1}))
        self.assertEqual((result.received, result.avg_rtt, result.min_rtt, result.stddev_rtt), (0, None, None, None))

    def test_times_are_those_of_the_text_to_the_nanosecond(self) -> None:
        body = json.dumps(a_ping(an_answer(0))).replace("0.5,", "43.869999999999997,")
        self.assertEqual(self.one(body.encode()).avg_rtt, 43_870_000)
        for huge in ("1e999999999", "-1", "9" * 400):
            self.assertTrue(self.refused(json.dumps(a_ping(an_answer(0))).replace("0.5,", f"{huge},").encode()))

    def test_a_target_that_is_no_address_is_refused(self) -> None:
        self.assertIn("address", self.refused(a_ping(dst="target.example")))

    def test_a_broken_line_does_not_spoil_its_neighbours(self) -> None:
        broken = json.dumps(a_trace()).replace("[]", "").encode() + b"\n"
        found = self.read(some_lines(a_ping()) + broken + some_lines(a_ping()))
        self.assertEqual([type(item) for item in found], [PingResult, Unread, PingResult])

    def test_what_is_no_json_is_not_of_this_format(self) -> None:
        for body in (b"", b"trace", b"\x12\x05\0\1", b"[1, 2]", b'"trace"'):
            if body:
                self.assertRaises(NotOfThisFormat, self.read, body)

    def test_one_object_that_is_too_long_is_refused(self) -> None:
        for item in (a_ping(name="x" * (1 << 20)), {"Trace": a_ping(name="x" * (1 << 20))}):
            self.assertIn("1 MiB", self.refused(item))

    def test_its_objects_are_claimed(self) -> None:
        for body in (
            some_lines(CYCLE_START, a_ping()), some_lines(a_ping()), a_trace(), [a_trace()],
            some_lines(METADATA, CYCLE_START), some_lines({"UUID": "x"}, a_trace()),
            {"Metadata": METADATA, "Trace": a_trace()},
        ):  # fmt: skip
            self.assertTrue(self.is_claimed(body), body)

    def test_nothing_else_is(self) -> None:
        native = {"ip": TARGET, "sent": 1, "received": 1, "timestamp": "2026-01-07T12:00:00Z"}
        atlas = {"type": "ping", "msm_id": 1, "prb_id": 2, "dst_addr": TARGET}
        others: list[object] = [b"", b"{", {}, [], METADATA, {"type": "trace"}, {"Trace": 1}, {"type": []}]
        for body in (*others, [native], atlas):
            self.assertFalse(self.is_claimed(body), body)
