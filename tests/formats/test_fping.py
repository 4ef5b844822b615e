"""What the reader of fping's output promises: one test for each trap of the page of formats."""

from __future__ import annotations

from outputd.formats.fping import FPING
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Unread
from outputd.results.model import PingResult
from tests.formats.reading import ReadingCase

PER_PROBE = (
    b"192.0.2.9 : [0], 64 bytes, 0.025 ms (0.025 avg, 0% loss)\n192.0.2.9 : [1], timed out (0.025 avg, 50% loss)\n"
)
SUMMARY = b"192.0.2.9 : xmt/rcv/%loss = 3/2/33%, min/avg/max = 0.025/0.046/0.067\n"
READ = PingResult("192.0.2.9", 3, 2, NO_TIME, avg_rtt=46_000, min_rtt=25_000, max_rtt=67_000)
STATISTICS = b"""
       1 targets
       1 alive
       0 unreachable
       0 unknown addresses

       1 timeouts (waiting for response)
       3 ICMP Echos sent
       2 ICMP Echo Replies received
       0 other ICMP received

 0.025 ms (min round trip time)
 0.046 ms (avg round trip time)
 0.067 ms (max round trip time)
        1.001 sec (elapsed real time)

"""


class FpingTest(ReadingCase):
    reader = FPING

    def test_a_summary_is_a_result(self) -> None:
        self.assertEqual(self.read(SUMMARY), [READ])

    def test_what_stands_beside_the_summary_is_not_counted_again(self) -> None:
        self.assertEqual(self.read(PER_PROBE + b"\n" + SUMMARY + STATISTICS), [READ])
        stamped = b"[1796096869.30543] " + PER_PROBE.splitlines()[0] + b"\n"
        error = b"ICMP Host Unreachable from 10.0.0.1 for ICMP Echo sent to 192.0.2.9\n"
        twice = b"192.0.2.9 : duplicate for [0], 64 bytes, 0.03 ms [<- 192.0.2.8]\n"
        self.assertEqual(self.read(stamped + error + twice + SUMMARY), [READ])

    def test_duplicates_may_make_more_replies_than_probes(self) -> None:
        for word in (b"loss", b"return"):
            line = b"127.0.0.1 : xmt/rcv/%" + word + b" = 5/6/120%, min/avg/max = 0.25/0.35/0.53\n"
            self.assertEqual((self.one(line).sent, self.one(line).received), (5, 6))

    def test_a_target_that_never_answered_has_no_times(self) -> None:
        result = self.one(b"192.0.2.9 : xmt/rcv/%loss = 3/0/100%\n")
        self.assertEqual(result, PingResult("192.0.2.9", 3, 0, NO_TIME))

    def test_times_of_0_where_nothing_was_received_are_none(self) -> None:
        result = self.one(b'{"summary":{"host":"192.0.2.9","xmt":3,"rcv":0,"rttMin":0,"rttAvg":0,"rttMax":0}}')
        self.assertEqual((result.sent, result.avg_rtt, result.min_rtt, result.max_rtt), (3, None, None, None))

    def test_a_line_longer_than_any_and_more_lines_than_any_are_refused(self) -> None:
        self.assertIn("longer", self.refused(b"192.0.2.9 :" + b" 1" * 300_000))
        with self.assertRaises(NotOfThisFormat):
            self.read(b"192.0.2.9 : 1\n" + b"x : [0], 1\n" * 600_000)

    def test_an_outage_is_passed_over(self) -> None:
        self.assertEqual(self.read(SUMMARY.replace(b"33%", b"33%, outage(ms) = 1000")), [READ])

    def test_times_of_each_probe_are_counted_and_a_dash_is_a_lost_one(self) -> None:
        result = self.one(b"192.0.2.9 : 0.05 - 0.07\n")
        expected = PingResult("192.0.2.9", 3, 2, NO_TIME, avg_rtt=60_000, min_rtt=50_000, max_rtt=70_000)
        self.assertEqual(result, expected)
        self.assertEqual(self.read(b"192.0.2.9 : - -\n"), [PingResult("192.0.2.9", 2, 0, NO_TIME)])

    def test_names_are_padded_to_the_longest_and_ipv6_has_colons(self) -> None:
        body = b"127.0.0.1   : 0.1\n::1         : 0.2\n2001:db8::1 : 0.3\n"
        self.assertEqual(
            [item.ip for item in self.read(body) if isinstance(item, PingResult)], ["127.0.0.1", "::1", "2001:db8::1"]
        )

    def test_a_name_with_its_address_is_the_address_and_one_without_is_refused(self) -> None:
        self.assertEqual(self.one(b"localhost (127.0.0.1) : 0.1 0.2\n").ip, "127.0.0.1")
        self.assertIn("-A", self.refused(b"localhost : 0.1 0.2\n"))
        (unknown, known) = self.read(b"nosuch.invalid: Name or service not known\n" + SUMMARY)
        self.assertIsInstance(unknown, Unread)
        self.assertEqual(known, READ)

    def test_intervals_are_passed_over_for_the_totals_behind_the_last(self) -> None:
        intervals = b"[03:47:45]\n192.0.2.9 : xmt/rcv/%loss = 1/1/0%\n127.0.0.1 : xmt/rcv/%loss = 1/1/0%\n"
        totals = SUMMARY + b"127.0.0.1 : xmt/rcv/%loss = 2/2/0%, min/avg/max = 0.1/0.1/0.1\n"
        found = self.read(intervals * 2 + totals)
        self.assertEqual(
            [(item.ip, item.sent) for item in found if isinstance(item, PingResult)],
            [("192.0.2.9", 3), ("127.0.0.1", 2)],
        )
        self.assertIn("summary", self.refused(intervals))

    def test_a_json_summary_is_a_result_and_its_replies_are_not_counted_again(self) -> None:
        body = (
            b'{"resp": {"host": "192.0.2.9", "seq": 0, "size": 64, "rtt": 0.025}}\n'
            b'{"timeout": {"host": "192.0.2.9", "seq": 1}}\n'
            b'{"intSum": {"time": 1733560000, "host": "192.0.2.9", "xmt": 1, "rcv": 1, "loss": 0}}\n'
            b'{"summary": {"host": "192.0.2.9", "xmt": 3, "rcv": 2, "loss": 33,'
            b' "rttMin": 0.025, "rttAvg": 0.046, "rttMax": 0.067}}\n'
            b'{"stats": {"targets": 1, "alive": 1}}\n'
        )
        self.assertEqual(self.read(body), [READ])
        silent = self.one(b'{"summary": {"host": "192.0.2.9", "xmt": 3, "rcv": 0, "loss": 100}}')
        self.assertEqual(silent, PingResult("192.0.2.9", 3, 0, NO_TIME))

    def test_json_values_are_counted_and_null_is_a_lost_one(self) -> None:
        result = self.one(b'{"vSum": {"host": "127.0.0.1", "values": [0.054, 0.062, null, 0.081]}}\n')
        self.assertEqual((result.sent, result.received, result.avg_rtt), (4, 3, 65_667))
        self.refused(b'{"vSum": {"host": "127.0.0.1", "values": [[0.054]]}}')
        self.refused(b'{"vSum": {"host": "127.0.0.1", "values": "0.054"}}')

    def test_replies_alone_are_no_result(self) -> None:
        self.assertIn("-c", self.refused(b'{"resp": {"host": "192.0.2.9", "seq": 0, "size": 64, "rtt": 0.025}}\n'))
        self.assertIn("-c", self.refused(PER_PROBE))

    def test_long_times_have_an_exponent_and_one_below_0_is_none(self) -> None:
        self.assertEqual(self.one(b"192.0.2.9 : 1.000e+06\n").avg_rtt, 10**12)
        self.assertEqual(
            self.one(b"192.0.2.9 : -0.5 0.4\n"),
            PingResult("192.0.2.9", 2, 2, NO_TIME, avg_rtt=400_000, min_rtt=400_000, max_rtt=400_000),
        )

    def test_a_line_that_is_cut_is_refused_and_its_neighbours_are_read(self) -> None:
        whole, cut = self.read(SUMMARY + SUMMARY[:-4])
        self.assertEqual(whole, READ)
        self.assertIsInstance(cut, Unread)

    def test_numbers_out_of_range_are_refused(self) -> None:
        self.refused(b"192.0.2.9 : xmt/rcv/%loss = 9999999999999999999/1/0%\n")
        self.refused(b'{"summary": {"host": "192.0.2.9", "xmt": 1, "rcv": 1, "rttAvg": 1e999999999}}')
        self.refused(b"192.0.2.9 : 1.000e+99\n")

    def test_the_json_of_a_fork_that_was_never_released_is_not_of_this_format(self) -> None:
        for body in (
            b'{"hosts": [{"host": "1.1.1.1", "xmt": "10", "rcv": "10"}]}',
            b"",
            b"[]",
            b"192.0.2.9 is alive\n",
        ):
            self.assertRaises(NotOfThisFormat, self.read, body)

    def test_its_output_is_claimed_and_a_result_of_ours_is_not(self) -> None:
        for body in (
            SUMMARY,
            PER_PROBE,
            b"\n" + SUMMARY,
            b"127.0.0.1 : 0.1 - 0.2\n",
            b'{"vSum": {"host": "::1", "values": [1]}}',
        ):
            self.assertTrue(self.is_claimed(body), body)
        for body in (
            b"",
            b"[]",
            b'[{"ip": "192.0.2.9"}]',
            b"a : b",
            b"name : 0.1",
            b'{"summary": 1}',
            b"PING 192.0.2.9 (192.0.2.9)",
        ):
            self.assertFalse(self.is_claimed(body), body)
