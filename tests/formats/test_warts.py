"""What the reader of warts promises: a test a trap, on records made here."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from shutil import which

from msgspec.structs import replace
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.formats.reader import NotOfThisFormat, Unread
from outputd.formats.scamper import SCAMPER
from outputd.formats.warts import WARTS
from outputd.results.addresses import canonical
from outputd.results.model import Hop, PingResult, Traceroute
from tests.formats.data import foreign
from tests.formats.mutations import mutated
from tests.formats.reading import ReadingCase
from tests.formats.warts_writer import PING, address, fields, hop, known, ping, record, reply, told, trace
from tests.kit.properties import given, settings

LIST = record(1, struct.pack(">II", 1, 0) + b"default\0\0")
CYCLE = record(2, struct.pack(">IIII", 1, 1, 0, 1_700_000_000) + b"\0")
ROUTE = trace(hop(1, address("10.0.0.1"), 500), hop(3, told(1), 20_123, (0, 0)))


def as_json(warts: bytes) -> bytes:
    """What scamper's own program makes of warts; without it the test is skipped."""
    program = which("sc_warts2json")
    if program is None:
        raise SkipTest("sc_warts2json is not installed (Debian: scamper)")
    return subprocess.run([program], input=warts, capture_output=True, check=True, timeout=60).stdout


class DataTests(SynchronousTestCase):
    """Every file of warts in ../shared/data/raw/scamper."""

    def test_each_is_what_scamper_itself_says_of_it(self) -> None:
        """Results are equal, and so is their order; what is not read is named by its number there."""
        found = 0
        for name, body in foreign("scamper").items():
            if name.endswith(".warts"):
                self.assertTrue(WARTS.claims(body), name)
                results, said = _without_deviation(WARTS.read(body)), _without_deviation(SCAMPER.read(as_json(body)))
                self.assertEqual(results, said, name)
                found += len(results)
        self.assertEqual(found, 1010)


def _without_deviation(items: Iterable[PingResult | Unread]) -> list[PingResult]:
    """The results, with addresses in one spelling, and without what only the program's own statistics have."""
    return [_in_one_spelling(item) for item in items if isinstance(item, PingResult)]


def _in_one_spelling(result: PingResult) -> PingResult:
    route = result.traceroute
    hops = [replace(hop, ip=hop.ip and canonical(hop.ip)) for hop in (route and route.hops) or ()]
    return replace(result, stddev_rtt=None, traceroute=route and replace(route, hops=hops))


class WartsTest(ReadingCase):
    reader = WARTS

    def test_a_trace_is_what_scamper_measured(self) -> None:
        rows = [
            Hop(1, "10.0.0.1", 500_000, timeout=False), Hop(2, timeout=True),
            Hop(3, "192.0.2.9", 20_123_000, timeout=False),
        ]  # fmt: skip
        expected = PingResult(
            "192.0.2.9", 1, 1, "2023-11-14T22:13:20.250000000Z", avg_rtt=20_123_000,
            traceroute=Traceroute("icmp-echo-paris", True, None, rows),
        )  # fmt: skip
        self.assertEqual(self.one(LIST + CYCLE + ROUTE), expected)

    def test_a_ping_counts_each_probe_once(self) -> None:
        result = self.one(ping(reply(0, 1500), reply(1, 2500), reply(1, 99_000), reply(2, 1, (3, 1))))
        self.assertEqual((result.ip, result.sent, result.received, result.avg_rtt), ("192.0.2.9", 4, 2, 2_000_000))
        self.assertEqual([self.one(ping(_6=reason)).error for reason in (b"\1", b"\2")], [None, "ERROR"])

    def test_both_are_what_scamper_itself_says_of_them(self) -> None:
        """So that the records of this test are records."""
        body = LIST + CYCLE + ROUTE + ping(reply(0, 1500), reply(1, 2500), reply(1, 99_000))
        self.assertEqual(_without_deviation(WARTS.read(body)), _without_deviation(SCAMPER.read(as_json(body))))

    def test_addresses_that_records_of_their_own_tell_are_found(self) -> None:
        old = fields({2: b"\1", 6: struct.pack(">I", 7), 1: struct.pack(">I", 2)})
        self.assertEqual(self.hops(known(1, "10.0.0.8") + known(2, "10.0.0.9") + trace(old))[0].ip, "10.0.0.9")
        self.assertIn("address", self.refused(known(1, "10.0.0.8") + trace(old)))

    def test_all_that_a_probe_may_say_is_stepped_over(self) -> None:
        there = reply(
            0, 1500, _13=b"\2" + address("10.0.0.1") + told(1), _14=b"\1\1" + bytes(4) + address("10.0.0.2"),
            _16=bytes(8), _17=bytes(12), _20=b"\1eth0\0", _21=b"\5\0",
        )  # fmt: skip
        again = reply(1, 2500, _20=b"\1")
        data = {"_8": b"\0\3", "_9": b"abc", "_24": b"\1" + address("10.0.0.3"), "_32": address("10.0.0.4")}
        self.assertEqual(self.one(ping(there, again, **data, _34=b"no\0")).received, 2)
        labels = hop(1, address("10.0.0.1"), 500, _17=b"\0\6" + bytes(6), _19=bytes(8), _20=b"router.example\0")
        self.assertEqual(self.hops(trace(labels, hop(3, told(1), 1, (0, 0))))[0].ip, "10.0.0.1")

    def test_fields_of_a_later_scamper_are_stepped_over(self) -> None:
        later = trace(hop(1, address("10.0.0.1"), 500, _30=b"later"), hop(3, told(1), 1, (0, 0)), _40=b"later")
        self.assertEqual([row.ip for row in self.hops(later)], ["10.0.0.1", None, "192.0.2.9"])

    def test_other_measurements_are_told_and_their_neighbours_read(self) -> None:
        others = [record(kind, b"whatever") for kind in (8, 9, 0x20)]
        found = self.read(LIST + others[0] + ROUTE + others[1] + others[2] + ROUTE)
        self.assertEqual([isinstance(item, PingResult) for item in found], [False, True, False, False, True])
        self.assertIn("tracelb", str(found[0]))

    def test_a_damaged_record_costs_itself(self) -> None:
        for damaged in (record(PING, b""), record(PING, b"\x10"), record(PING, b"\0"), record(PING, b"\0\0\5")):
            found = self.read(ROUTE + damaged + ROUTE)
            self.assertEqual([isinstance(item, PingResult) for item in found], [True, False, True], damaged)

    def test_what_follows_on_a_record_without_an_end_is_told_once(self) -> None:
        for damage in (ROUTE[:-1], ROUTE[:5], b"\0" * 100):
            kept, refused = self.read(ROUTE + damage)
            self.assertIsInstance(kept, PingResult)
            self.assertEqual(getattr(refused, "raw", None), damage)

    def test_flags_without_end_take_no_time(self) -> None:
        self.assertIn("fields", self.refused(record(PING, b"\xff" * (400 << 10))))

    def test_a_record_longer_than_any_is_refused(self) -> None:
        long = hop(1, address("10.0.0.1"), 500, _20=b"a-router-with-a-long-name.example\0")
        (item,) = self.read(trace(*[long] * 30_000))
        self.assertIn("longer", getattr(item, "reason", ""))

    def test_replies_for_which_a_record_has_no_room_are_not_made(self) -> None:
        for kind, content in ((6, fields({27: address("192.0.2.9")})), (PING, fields({21: address("192.0.2.9")}))):
            self.assertIn("fewer", self.refused(record(kind, content + struct.pack(">H", 60_000) + b"\0" * 60_000)))

    def test_what_is_no_warts_is_no_body(self) -> None:
        for body in (b"", b"[]", b"\x12", b"\x12\x04\0\6"):
            self.assertFalse(self.is_claimed(body))
            with self.assertRaises(NotOfThisFormat):
                self.read(body)
        self.assertTrue(self.is_claimed(LIST))

    @settings(max_examples=300, deadline=None)
    @given(mutated([LIST + CYCLE + ROUTE + ping(reply(0, 1500), reply(1, 2500))]))
    def test_a_damaged_body_is_read_or_refused(self, body: bytes) -> None:
        try:
            found = list(WARTS.read(body))
        except NotOfThisFormat:
            return
        self.assertLessEqual(sum(isinstance(item, PingResult) for item in found), body.count(b"\x12\x05"))
