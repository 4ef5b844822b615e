"""What the reader of HiPerConTracer's results promises: one test for each trap of the page of formats."""

from __future__ import annotations

from outputd.formats.hipercontracer import HIPERCONTRACER
from outputd.formats.reader import NotOfThisFormat, Unread
from outputd.results.model import Hop, PingResult, Traceroute
from tests.formats.reading import ReadingCase

HEADER = b"#? HPCT Ping 2 HiPerConTracer/2.0.0\n"
TARGET = "192.0.2.9"
TIME_US, TIME_NS = f"{1_767_787_200_123_456:x}", f"{1_767_787_200_123_456_789:x}"


def a_ping_1(status: int = 255, rtt_us: int = 1500, time: str = TIME_US, more: str = " 0 44") -> bytes:
    """A probe as version 1 writes it; `more` came with 1.2."""
    return f"#P 192.0.2.1 {TARGET} {time} ba3f {status} {rtt_us}{more}\n".encode()


def a_ping_2(letter: str = "i", status: int = 255, rtt_ns: int = 1_234_567, dst: str = TARGET) -> bytes:
    """A probe as version 2 writes it."""
    return (
        f"#P{letter} 1000 192.0.2.1 {dst} {TIME_NS} 0 0 44 44 65a0 0 0 {status} 116666aa 11 12 13"
        f" {rtt_ns} 1200000 1100000\n"
    ).encode()


def a_route_1(*hops: str, count: int | None = None) -> bytes:
    """A round as version 1 writes it, of hops `ttl status rtt ip`."""
    count = len(hops) if count is None else count
    head = f"#T 192.0.2.1 {TARGET} {TIME_US} 0 5853 {count} 300 b4eaa1ebf510b448 0 44\n"
    return "".join([head, *(f"\t {hop}\n" for hop in hops)]).encode()


def a_route_2(*hops: tuple[int, int, int, str], letter: str = "i", turn: int = 0) -> bytes:
    """A round as version 2 writes it, of hops (ttl, status, rtt, ip)."""
    head = f"#T{letter} 1000 192.0.2.1 {TARGET} {TIME_NS} {turn} {len(hops)} 0 44 5db 0 0 200 50c8686d1c09987c\n"
    lines = [f"\t{TIME_NS} {ttl} 56 {status} 116666aa 1 2 3 {rtt} 8 9 {ip}\n" for ttl, status, rtt, ip in hops]
    return "".join([head, *lines]).encode()


class HiPerConTracerTest(ReadingCase):
    reader = HIPERCONTRACER

    def route(self, body: bytes) -> Traceroute:
        """The traceroute of the only result."""
        route = self.one(body).traceroute
        assert route is not None
        return route

    def test_a_probe_of_version_1_has_microseconds(self) -> None:
        expected = PingResult(TARGET, 1, 1, "2026-01-07T12:00:00.123456000Z", avg_rtt=1_500_000)
        for more in ("", " 0 44", " 0 44 116666aa"):
            self.assertEqual(self.one(a_ping_1(more=more)), expected)

    def test_a_probe_of_version_2_has_nanoseconds_and_the_rtt_of_the_application(self) -> None:
        expected = PingResult(TARGET, 1, 1, "2026-01-07T12:00:00.123456789Z", avg_rtt=1_234_567)
        for letter in "iut":
            self.assertEqual(self.one(HEADER + a_ping_2(letter)), expected)

    def test_the_letter_tells_the_version_and_not_the_header(self) -> None:
        self.assertEqual(self.one(a_ping_2()), self.one(HEADER + a_ping_2()))
        self.assertEqual(self.one(HEADER + a_ping_1()), self.one(a_ping_1()))

    def test_a_probe_that_was_lost_has_no_rtt(self) -> None:
        for body in (a_ping_1(200, 5_000_000), a_ping_2(status=200, rtt_ns=7_500_000_000)):
            result = self.one(body)
            self.assertEqual((result.sent, result.received, result.avg_rtt, result.error), (1, 0, None, None))

    def test_an_error_of_icmp_is_no_answer_of_the_target(self) -> None:
        result = self.one(a_ping_1(102, 40_000))
        self.assertEqual((result.sent, result.received, result.avg_rtt, result.error), (1, 0, None, "host unreachable"))

    def test_a_probe_that_could_not_be_sent_was_not(self) -> None:
        result = self.one(a_ping_2(status=211, rtt_ns=-1))
        self.assertEqual((result.sent, result.received, result.error), (0, 0, "not sent: permission denied"))

    def test_a_time_that_was_not_taken_is_none(self) -> None:
        self.assertIsNone(self.one(a_ping_2(rtt_ns=-1)).avg_rtt)

    def test_the_hops_of_version_1_have_their_status_in_hexadecimal(self) -> None:
        result = self.one(a_route_1("1 1 326 10.0.0.1", f"2 c8 2000000 {TARGET}", f"3 ff 9000 {TARGET}"))
        hops = [
            Hop(1, "10.0.0.1", 326_000, timeout=False),
            Hop(2, timeout=True),
            Hop(3, TARGET, 9_000_000, timeout=False),
        ]
        self.assertEqual(
            result,
            PingResult(
                TARGET, 1, 1, "2026-01-07T12:00:00.123456000Z", avg_rtt=9_000_000,
                traceroute=Traceroute("icmp", True, None, hops),
            ),
        )  # fmt: skip

    def test_those_of_version_2_in_decimal(self) -> None:
        result = self.one(a_route_2((1, 1, 326_001, "10.0.0.1"), (2, 255, 9_000_001, TARGET), letter="u"))
        hops = [Hop(1, "10.0.0.1", 326_001, timeout=False), Hop(2, TARGET, 9_000_001, timeout=False)]
        self.assertEqual(result.traceroute, Traceroute("udp", True, None, hops))
        self.assertEqual((result.sent, result.received, result.avg_rtt), (1, 1, 9_000_001))

    def test_a_timeout_shows_the_target_and_is_no_answer_of_it(self) -> None:
        result = self.one(a_route_2((1, 1, 5, "10.0.0.1"), (2, 200, 1_000_000_000, TARGET)))
        assert result.traceroute is not None
        self.assertEqual((result.traceroute.hops or [])[1], Hop(2, timeout=True))
        self.assertEqual((result.sent, result.received, result.traceroute.completed), (1, 0, False))

    def test_a_time_exceeded_from_the_target_is_no_arrival(self) -> None:
        self.assertFalse(self.route(a_route_1(f"1 1 326 {TARGET}")).completed)

    def test_an_error_of_icmp_is_a_reply_of_its_hop_and_the_end(self) -> None:
        route = self.route(a_route_1("1 1 326 10.0.0.1", "2 6e 900 10.0.0.2"))
        self.assertEqual((route.completed, route.error), (False, "unreachable"))
        self.assertEqual((route.hops or [])[1], Hop(2, "10.0.0.2", 900_000, timeout=False))

    def test_by_udp_a_port_where_nothing_listens_is_an_arrival(self) -> None:
        self.assertTrue(self.route(a_route_2((1, 104, 5, TARGET), letter="u")).completed)
        self.assertFalse(self.route(a_route_2((1, 104, 5, "10.0.0.1"), letter="u")).completed)
        self.assertFalse(self.route(a_route_2((1, 104, 5, TARGET), letter="i")).completed)

    def test_each_round_is_a_traceroute(self) -> None:
        body = b"".join(a_route_2((1, 1, 5, f"10.0.0.{turn}"), turn=turn) for turn in range(3))
        self.assertEqual(len(self.results(body)), 3)

    def test_a_jitter_is_told(self) -> None:
        found = self.read(b"#Ji 1000 192.0.2.1 192.0.2.9 179cb2ae 15 0 128\n" + a_ping_2())
        self.assertIsInstance(found[1], PingResult)
        assert isinstance(found[0], Unread)
        self.assertIn("#Ji is not supported", found[0].reason)

    def test_an_early_time_stays_what_it_is(self) -> None:
        self.assertEqual(self.one(a_ping_1(time="1000003")).timestamp, "1970-01-01T00:00:16.777219000Z")

    def test_a_time_that_cannot_be_is_refused(self) -> None:
        for time in ("x", "-1", "0x1", "1_0", "f" * 16, "f" * 17):
            self.assertTrue(self.refused(a_ping_1(time=time)))

    def test_a_line_without_its_end_is_cut(self) -> None:
        for body in (a_ping_1(), a_ping_2(), a_route_1("1 1 326 10.0.0.12")):
            self.assertIn("cut short", self.refused(body[:-1]))
            self.assertIn("cut short", self.refused(body[:-2]))

    def test_a_traceroute_without_all_of_its_hops_is_cut(self) -> None:
        self.assertIn("1 hops of 2", self.refused(a_route_1("1 1 326 10.0.0.1", count=2)))
        self.assertIn("without", self.refused(b"\t 1 1 326 10.0.0.1\n\t 2 1 326 10.0.0.2\n#? HPCT Ping 2 x\n"))

    def test_more_hops_than_there_are_ttls_are_refused(self) -> None:
        self.assertTrue(self.refused(a_route_1(*["1 1 326 10.0.0.1"] * 256)))
        self.assertTrue(self.refused(a_route_1("256 1 326 10.0.0.1")))

    def test_what_is_no_number_no_status_or_no_address_is_refused(self) -> None:
        for body in (
            a_ping_1(status=0), a_ping_1(status=1), a_ping_1(rtt_us=10**18), a_ping_1(rtt_us=-2),
            a_ping_2(dst="target.example"), a_ping_2("x"), a_route_1("1 1 1e3 10.0.0.1"), a_route_1("1 zz 1 10.0.0.1"),
        ):  # fmt: skip
            self.assertTrue(self.refused(body), body)

    def test_a_long_line_is_refused(self) -> None:
        self.assertIn("longer", self.refused(a_ping_1(more=" 0" * 4_000_000)))

    def test_lines_may_end_as_they_do_in_dos(self) -> None:
        body = HEADER + a_ping_2() + a_route_1("1 1 326 10.0.0.1")
        self.assertEqual(self.read(body.replace(b"\n", b"\r\n")), self.read(body))

    def test_what_has_none_of_its_lines_is_not_of_this_format(self) -> None:
        for body in (b"", b"#", b"# Ping\n", b"P 1 2 3\n", b"[]", b"\t 1 1 326 10.0.0.1\n"):
            self.assertRaises(NotOfThisFormat, self.read, body)

    def test_its_lines_are_claimed(self) -> None:
        for body in (HEADER, a_ping_1(), a_ping_2(), a_route_1(), a_route_2()):
            self.assertTrue(self.is_claimed(body))

    def test_nothing_else_is(self) -> None:
        for body in (b"", b"[]", b"#", b"#Python\n", b"#P a", b"# " + a_ping_1(), b"\n" + a_ping_1()):
            self.assertFalse(self.is_claimed(body))

    def test_hops_behind_a_blank_line_are_not_passed_over(self) -> None:
        first, second = self.read(b"\n\n#J x\n \r\n\t1 ff 1000 10.0.0.1\n\n")
        self.assertIsInstance(first, Unread)
        assert isinstance(second, Unread)
        self.assertIn("without the line of their traceroute", second.reason)
