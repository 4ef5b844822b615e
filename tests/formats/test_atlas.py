"""What the reader of RIPE Atlas promises: a test a trap, on data made here."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.atlas import ATLAS
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Unread
from outputd.results.model import Hop, PingResult, Traceroute
from tests.formats.mutations import mutated
from tests.kit.properties import given, settings

PING: dict[str, Any] = {
    "type": "ping", "msm_id": 1, "prb_id": 2, "fw": 5080, "dst_addr": "192.0.2.1", "timestamp": 1_700_000_000,
    "from": "198.51.100.1", "sent": 3, "rcvd": 2, "min": 1.5, "avg": 43.869999999999997, "max": 86.24,
    "result": [{"rtt": 1.5}, {"rtt": 86.24}, {"x": "*"}],
}  # fmt: skip
ROUTE: dict[str, Any] = {
    "type": "traceroute", "msm_id": 1, "prb_id": 2, "fw": 5080, "dst_addr": "192.0.2.1", "timestamp": 1_700_000_000,
    "proto": "ICMP", "endtime": 1_700_000_009, "paris_id": 3,
}  # fmt: skip


def read(body: object) -> list[PingResult | Unread]:
    return list(ATLAS.read(body if isinstance(body, bytes) else json.dumps(body).encode()))


def ping(**fields: object) -> PingResult:
    (result,) = read({**PING, **fields})
    assert isinstance(result, PingResult), result
    return result


def route(*hops: object, **fields: object) -> PingResult:
    (result,) = read({**ROUTE, "result": hops, **fields})
    assert isinstance(result, PingResult), result
    return result


def hops_of(*hops: object) -> list[Hop]:
    traceroute = route(*hops).traceroute
    assert traceroute is not None and traceroute.hops is not None
    return traceroute.hops


def reason(item: object) -> str:
    (unread,) = read(item)
    assert isinstance(unread, Unread), unread
    return unread.reason


def hop(ttl: int, *answers: object) -> dict[str, object]:
    return {"hop": ttl, "result": answers}


def answer(ip: str = "192.0.2.1", rtt: float = 2.5, **fields: object) -> dict[str, object]:
    return {"from": ip, "rtt": rtt, "ttl": 60, "size": 28, **fields}


SILENT = {"x": "*"}


class PingTests(SynchronousTestCase):
    """A ping's own counts and times."""

    def test_its_fields_are_the_result(self) -> None:
        self.assertEqual(
            ping(),
            PingResult(
                "192.0.2.1", 3, 2, "2023-11-14T22:13:20Z", avg_rtt=43_870_000, min_rtt=1_500_000, max_rtt=86_240_000
            ),
        )

    def test_minus_one_is_no_time(self) -> None:
        result = ping(rcvd=0, min=-1, avg=-1, max=-1)
        self.assertEqual((result.avg_rtt, result.min_rtt, result.max_rtt), (None, None, None))

    def test_numbers_of_firmware_0_are_strings(self) -> None:
        old = {**PING, "fw": 0, "sent": "3", "rcvd": "3", "avg": "58.042", "dup": "0"}
        del old["result"]
        (result,) = read(old)
        assert isinstance(result, PingResult)
        self.assertEqual((result.sent, result.received, result.avg_rtt), (3, 3, 58_042_000))

    def test_the_target_of_old_firmwares_is_addr(self) -> None:
        old = {**PING, "addr": "192.0.2.9"}
        del old["dst_addr"]
        self.assertEqual([result.ip for result in read(old) if isinstance(result, PingResult)], ["192.0.2.9"])

    def test_duplicates_are_not_received(self) -> None:
        twice = {"rtt": 36.454, "dup": 1}
        self.assertEqual(ping(sent=2, rcvd=1, result=[SILENT, twice, twice, {"rtt": 27.768}]).received, 1)
        self.assertEqual(ping(sent=1, rcvd=0, result=[SILENT, twice, twice]).received, 0)

    def test_words_of_a_probe_that_look_like_its_lines_are_kept(self) -> None:
        self.assertEqual(ping(result=[{"error": "RESULT {x"}]).error, "RESULT {x")

    def test_what_a_probe_prints_is_summed_up(self) -> None:
        raw = {
            "dst_addr": "192.0.2.1",
            "proto": "ICMP",
            "result": [{"rtt": 1.0}, {"rtt": 2.0, "dup": 1}, SILENT, {"rtt": 2.0}],
        }
        self.assertEqual(
            read(b"RESULT " + json.dumps(raw).encode()), [PingResult("192.0.2.1", 3, 2, NO_TIME, avg_rtt=1_500_000)]
        )

    def test_its_error_is_told(self) -> None:
        self.assertEqual(
            ping(result=[{"error": "sendto failed: Network is unreachable"}]).error,
            "sendto failed: Network is unreachable",
        )


class TracerouteTests(SynchronousTestCase):
    """A row an answer, and nothing that was not answered."""

    def test_each_answer_and_each_silence_is_a_row(self) -> None:
        result = route(
            hop(1, answer("10.0.0.1", 2.783), answer("10.0.0.2", 2.45), SILENT),
            hop(2, answer(), answer(rtt=3.5), SILENT),
        )
        self.assertEqual(
            result,
            PingResult(
                "192.0.2.1", 3, 2, "2023-11-14T22:13:20Z", avg_rtt=3_000_000,
                traceroute=Traceroute("icmp", True, None, [
                    Hop(1, "10.0.0.1", 2_783_000, False), Hop(1, "10.0.0.2", 2_450_000, False), Hop(1, timeout=True),
                    Hop(2, "192.0.2.1", 2_500_000, False), Hop(2, "192.0.2.1", 3_500_000, False), Hop(2, timeout=True),
                ]),
            ),
        )  # fmt: skip

    def test_hop_255_is_the_last_try_and_no_length(self) -> None:
        self.assertEqual(hops_of(hop(1, SILENT), hop(255, SILENT)), [Hop(1, timeout=True), Hop(255, timeout=True)])
        self.assertEqual(route(hop(1, SILENT), hop(255, answer())).received, 1)

    def test_what_is_late_is_no_row(self) -> None:
        late = {"late": 4, "from": "10.0.0.1", "ttl": 63, "size": 68, "edst": "192.0.2.7"}
        result = route(hop(2, late, SILENT, late, SILENT), hop(255, {**late, "from": "192.0.2.1"}, SILENT))
        assert result.traceroute is not None
        self.assertEqual(result.traceroute.hops, [Hop(2, timeout=True)] * 2 + [Hop(255, timeout=True)])
        self.assertEqual((result.sent, result.received, result.traceroute.completed), (1, 0, False))

    def test_a_duplicate_is_a_row_and_no_probe(self) -> None:
        for dup in (1, True):
            result = route(hop(1, answer(), answer(rtt=9.0, dup=dup)))
            assert result.traceroute is not None
            self.assertEqual(len(result.traceroute.hops or ()), 2)
            self.assertEqual((result.sent, result.received, result.avg_rtt), (1, 1, 2_500_000))

    def test_an_icmp_error_is_an_answer_of_its_hop_and_no_arrival(self) -> None:
        for error in ("H", "N", "A", "P", "p", "h", 13):
            result = route(hop(1, answer(err=error)))
            assert result.traceroute is not None
            self.assertEqual(result.traceroute.hops, [Hop(1, "192.0.2.1", 2_500_000, False)])
            self.assertEqual((result.sent, result.received, result.traceroute.completed), (1, 0, False), error)

    def test_but_a_port_that_is_closed_to_udp_is_reached(self) -> None:
        result = route(hop(1, answer(err="p")), proto="UDP")
        assert result.traceroute is not None
        self.assertEqual((result.received, result.traceroute.completed), (1, True))

    def test_addresses_are_compared_as_addresses(self) -> None:
        result = route(hop(1, answer("2001:db8:0:0:0:0:0:1")), dst_addr="2001:db8::1")
        self.assertEqual(result.received, 1)

    def test_an_answer_without_an_address_is_nobodys(self) -> None:
        self.assertEqual(route(hop(1, {"rtt": 1.0})).received, 0)
        self.assertEqual(hops_of(hop(1, {}, {"srcaddr": "10.0.0.9", "x": "*"})), [Hop(1, timeout=True)])

    def test_the_probes_of_the_last_hop_are_those_sent(self) -> None:
        self.assertEqual(route(hop(1, SILENT, SILENT, SILENT), hop(2, SILENT, SILENT)).sent, 2)

    def test_a_hop_may_have_any_number_of_answers(self) -> None:
        self.assertEqual(len(hops_of(hop(1, *[answer()] * 10))), 10)

    def test_an_error_in_the_place_of_hops_is_told(self) -> None:
        words = "connect failed: Network is unreachable"
        result = route({"hop": 1, "error": words})
        self.assertEqual(
            result,
            PingResult(
                "192.0.2.1", 0, 0, result.timestamp, error=words, traceroute=Traceroute("icmp", False, words, [])
            ),
        )

    def test_a_probe_that_could_not_be_sent_is_none(self) -> None:
        result = route(hop(1, {"error": "sendto failed"}, SILENT))
        self.assertEqual((result.sent, result.error), (1, "sendto failed"))


class LastElementTests(SynchronousTestCase):
    def test_one_that_has_only_late_answers_does_not_undo_the_arrival_before_it(self) -> None:
        target = answer() | {"from": "192.0.2.1"}
        (result,) = read(ROUTE | {"result": [hop(1, target, SILENT), hop(255, answer(late=3))]})
        assert isinstance(result, PingResult)
        self.assertEqual((result.sent, result.received), (2, 1))


class RefusedTests(SynchronousTestCase):
    """What no result can be made of, with its reason; its neighbours are read."""

    def test_a_target_without_an_address(self) -> None:
        failed = {**ROUTE, "dst_name": "example.org", "result": [{"error": "name resolution failed: no such name"}]}
        del failed["dst_addr"]
        self.assertEqual(reason(failed), "name resolution failed: no such name")
        self.assertEqual(reason({**PING, "dst_addr": "example.org"}), "no address of a target")
        good, bad, again = read([PING, failed, PING])
        self.assertEqual(good, again)
        self.assertIsInstance(bad, Unread)

    def test_another_type(self) -> None:
        self.assertEqual(reason({**PING, "type": "dns"}), "neither a ping nor a traceroute")

    def test_numbers_that_are_none_of_ours(self) -> None:
        bad: tuple[dict[str, object], ...] = (
            {"avg": -2}, {"avg": 1e300}, {"sent": -1}, {"sent": 2**63}, {"sent": 1.5}, {"timestamp": 1e12},
            {"timestamp": -5}, {"avg": "NaN"}, {"avg": "sNaN"}, {"sent": None}, {"rcvd": None}, {"avg": [[]]},
        )  # fmt: skip
        for fields in bad:
            self.assertTrue(reason({**PING, **fields}), fields)
        for ttl in (-1, 256, None, "x"):
            self.assertTrue(reason({**ROUTE, "result": [{"hop": ttl, "result": [SILENT]}]}), ttl)
        self.assertTrue(reason(b'[{"dst_addr":"192.0.2.1","sent":1,"rcvd":1,"avg":1e999999999}]'))

    def test_one_that_is_far_too_long(self) -> None:
        self.assertEqual(reason({**PING, "dst_name": "x" * (1 << 20)}), "too long for one result")

    def test_a_line_that_is_cut(self) -> None:
        line = json.dumps(PING).encode()
        first, cut, last = read(line + b"\n" + line[:39] + b"\n" + line)
        self.assertEqual(first, last)
        assert isinstance(cut, Unread)
        self.assertEqual(cut.raw, line[:39])

    def test_a_body_that_is_nothing_of_it(self) -> None:
        for body in (b"", b"{", b"1", b"[1]", b"[[]]", b"traceroute to x", b'[{"type":"ping"'):
            with self.assertRaises(NotOfThisFormat, msg=body):
                read(body)


class BodyTests(SynchronousTestCase):
    """The shapes of a body, and what it is told by."""

    def test_all_shapes_hold_the_same(self) -> None:
        one = json.dumps(PING).encode()
        for body in (
            [PING, PING], one + b"\n" + one, one + b"\r\n\r\n" + one, {"count": 2, "results": [PING, PING]},
            b"RESULT " + one + b"\nRESULT " + one, b"\xef\xbb\xbf[" + one + b",\n" + one + b"]",
        ):  # fmt: skip
            self.assertEqual(read(body), [ping(), ping()], body)

    def test_one_alone_may_stand_on_many_lines(self) -> None:
        self.assertEqual(read(json.dumps(PING, indent=2).encode()), [ping()])

    def test_without_a_time_the_receiver_has_it(self) -> None:
        self.assertEqual(ping(timestamp=None).timestamp, NO_TIME)
        self.assertEqual(ping(timestamp=None, time=999_999_999).timestamp, "2001-09-09T01:46:39Z")

    def test_a_result_of_the_api_is_claimed(self) -> None:
        deep = {**ROUTE, "result": [hop(1, answer(icmpext={"obj": [{"mpls": [{"label": 1}]}]}))]}
        for body in (PING, [PING], deep, [deep]):
            self.assertTrue(ATLAS.claims(json.dumps(body).encode()))
        self.assertTrue(ATLAS.claims(b"RESULT { "))

    def test_nothing_else_is(self) -> None:
        native = {"ip": "192.0.2.1", "sent": 1, "received": 1, "timestamp": "2026-01-07T12:00:00Z"}
        for body in (
            {},
            [],
            [native],
            {**PING, "type": "dns"},
            {**PING, "msm_id": None},
            [[PING]],
            {"results": [PING]},
            "RESULT {",
        ):
            self.assertFalse(ATLAS.claims(json.dumps(body).encode()), body)
        for other in (b"", b"RESULT", b"{" * 1_000_000, b'{"type":"ping","msm_id":1,"prb_id":2'):
            self.assertFalse(ATLAS.claims(other))

    @settings(max_examples=300)
    @given(mutated([
        json.dumps(body, indent=indent).encode()
        for body in (PING, [PING, ROUTE | {"result": [hop(1, answer(), SILENT), hop(2, answer(late=3))]}])
        for indent in (None, 1)
    ]))  # fmt: skip
    def test_a_damaged_body_never_holds_more_than_is_in_it(self, body: bytes) -> None:
        try:
            found = read(body)
        except NotOfThisFormat:
            return
        results = [result for result in found if isinstance(result, PingResult)]
        self.assertLessEqual(len(results), body.count(b'addr"'))
        rows = sum(len(result.traceroute.hops or ()) for result in results if result.traceroute)
        self.assertLessEqual(rows, body.count(b'"rtt"') + body.count(b'"x"'))
