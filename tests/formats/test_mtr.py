"""What the reader of `mtr --json` promises: one test for each trap of the page of formats."""

from __future__ import annotations

import json
from typing import Any

from outputd.formats.mtr import MTR
from outputd.formats.reader import NO_TIME, NotOfThisFormat, Unread
from outputd.results.model import Hop, PingResult, Traceroute
from tests.formats.reading import ReadingCase


def a_hub(ttl: object, host: str, **changes: object) -> dict[str, object]:
    """A hub as 0.95 prints it."""
    hub: dict[str, object] = {"count": ttl, "host": host, "Loss%": 0.0, "Snt": 3, "Last": 0.2, "Avg": 0.25, "Best": 0.2}
    return {**hub, "Wrst": 0.3, "StDev": 0.05, **changes}


def a_report(*hubs: object, dst: str = "192.0.2.9", tests: object = 3) -> dict[str, Any]:
    """A report of these hubs."""
    run = {"src": "node", "dst": dst, "tos": 0, "tests": tests, "psize": "64", "bitpattern": "0x00"}
    return {"report": {"mtr": run, "hubs": list(hubs)}}


class MtrTest(ReadingCase):
    reader = MTR

    def test_the_last_hub_is_the_ping_of_the_target(self) -> None:
        result = self.one(a_report(a_hub(1, "10.0.0.1", Avg=1.5), a_hub(2, "192.0.2.9")))
        trace = Traceroute(None, True, None, [Hop(1, "10.0.0.1", 1_500_000), Hop(2, "192.0.2.9", 250_000)])
        expected = PingResult(
            "192.0.2.9", 3, 3, NO_TIME, None, 250_000, None, trace, min_rtt=200_000, max_rtt=300_000, stddev_rtt=50_000
        )
        self.assertEqual(result, expected)

    def test_times_are_those_of_the_text_to_the_nanosecond(self) -> None:
        body = json.dumps(a_report(a_hub(1, "192.0.2.9", Avg=0))).replace('"Avg": 0', '"Avg": 43.869999999999997')
        self.assertEqual(self.one(body.encode()).avg_rtt, 43_870_000)
        body = body.replace("43.869999999999997", "1.2346e5")
        self.assertEqual(self.one(body.encode()).avg_rtt, 123_460_000_000)

    def test_a_list_of_hubs_that_mtr_did_not_close_is_an_empty_one(self) -> None:
        broken = json.dumps(a_report(tests="4")).replace("[]", "[  ")
        self.assertEqual(self.one(broken.encode()).traceroute, Traceroute(None, False, None, []))
        self.assertEqual((self.one(broken.encode()).sent, self.one(broken.encode()).received), (4, 0))

    def test_a_report_that_is_cut_behind_its_hubs_has_lost_nothing(self) -> None:
        whole = json.dumps(a_report(a_hub(1, "192.0.2.9")), indent=4).encode()
        for missing in (b"}", b"}\n}", b"\n    }\n}"):
            self.assertEqual(self.read(whole[: whole.rindex(missing)]), self.read(whole))

    def test_a_report_that_is_cut_before_is_refused(self) -> None:
        whole = json.dumps(a_report(a_hub(1, "10.0.0.1"), a_hub(2, "192.0.2.9")), indent=4).encode()
        self.assertIn("truncated", self.refused(whole[: whole.rindex(b"]")]))

    def test_numbers_that_are_texts_up_to_0_93_are_numbers(self) -> None:
        self.assertEqual(
            self.read(a_report(a_hub("1", "192.0.2.9"), tests="3")), self.read(a_report(a_hub(1, "192.0.2.9")))
        )

    def test_a_hub_that_is_silent_has_no_time_and_not_one_of_0(self) -> None:
        silent = a_hub(1, "???", **{"Loss%": 100.0, "Avg": 0.0, "Best": 0.0, "Wrst": 0.0})
        result = self.one(a_report(silent, a_hub(2, "192.0.2.9")))
        assert result.traceroute is not None and result.traceroute.hops is not None
        self.assertEqual(result.traceroute.hops[0], Hop(1, timeout=True))

    def test_a_target_whose_probes_are_all_lost_has_not_answered_whatever_column_says_it(self) -> None:
        for columns in ({"Snt": 10, "Drop": 10}, {"Snt": 0, "Loss%": 0.0}, {"Rcv": 0, "Drop": 4}, {"Loss%": 100.0}):
            hub = {"count": 1, "host": "192.0.2.9", "Snt": 10, "Avg": 0.0, "Best": 0.0, "Wrst": 0.0, **columns}
            result = self.one(a_report(hub))
            assert result.traceroute is not None
            found = (result.received, result.avg_rtt, result.traceroute.completed, result.traceroute.hops)
            self.assertEqual(found, (0, None, False, [Hop(1, timeout=True)]), columns)

    def test_a_target_that_is_silent_received_nothing(self) -> None:
        result = self.one(a_report(a_hub(1, "10.0.0.1"), a_hub(2, "???", **{"Loss%": 100.0, "Avg": 0.0})))
        assert result.traceroute is not None
        self.assertEqual((result.sent, result.received, result.avg_rtt), (3, 0, None))
        self.assertFalse(result.traceroute.completed)

    def test_a_run_that_ended_before_the_target_is_not_completed(self) -> None:
        result = self.one(a_report(a_hub(1, "10.0.0.1"), a_hub(2, "10.0.0.2")))
        assert result.traceroute is not None
        self.assertEqual((result.traceroute.completed, result.received, result.avg_rtt), (False, 0, None))

    def test_a_target_that_is_a_name_is_refused(self) -> None:
        self.assertIn("name", self.refused(a_report(a_hub(1, "192.0.2.9"), dst="target.example")))

    def test_a_last_host_that_is_a_name_may_be_the_target_and_is_refused(self) -> None:
        self.assertIn("-n or -b", self.refused(a_report(a_hub(1, "one.one.one.one"), dst="1.1.1.1")))

    def test_a_name_with_its_address_is_the_address(self) -> None:
        result = self.one(a_report(a_hub(1, "_gateway"), a_hub(2, "target.example (192.0.2.9)")))
        assert result.traceroute is not None and result.traceroute.hops is not None
        self.assertEqual([hop.ip for hop in result.traceroute.hops], ["_gateway", "192.0.2.9"])
        self.assertEqual(result.received, 3)

    def test_a_target_is_found_by_any_spelling_of_its_address(self) -> None:
        self.assertEqual(self.one(a_report(a_hub(1, "2001:db8::9"), dst="2001:DB8:0::9")).received, 3)

    def test_why_a_ttl_could_not_be_probed_is_the_error_of_the_traceroute(self) -> None:
        result = self.one(a_report(a_hub(1, "(Network is unreachable)", **{"Loss%": 100.0, "Avg": 0.0})))
        self.assertEqual(result.traceroute, Traceroute(None, False, "Network is unreachable", [Hop(1, timeout=True)]))

    def test_a_rounded_loss_becomes_the_whole_number_of_answers(self) -> None:
        self.assertEqual(self.one(a_report(a_hub(1, "192.0.2.9", **{"Loss%": 66.7}))).received, 1)
        self.assertEqual(self.one(a_report(a_hub(1, "192.0.2.9", **{"Loss%": 33.3}))).received, 2)

    def test_columns_that_were_chosen_otherwise_say_the_same(self) -> None:
        hub = {"count": 1, "host": "192.0.2.9", "Rcv": 2, "Drop": 1}
        result = self.one(a_report(hub))
        self.assertEqual((result.sent, result.received, result.avg_rtt), (3, 2, None))
        result = self.one(a_report({"count": 1, "host": "192.0.2.9", "Snt": 3, "Drop": 1}))
        self.assertEqual(result.received, 2)
        self.assertIn("Loss%", self.refused(a_report({"count": 1, "host": "192.0.2.9", "Snt": 3})))
        self.assertIn("Snt", self.refused(a_report({"count": 1, "host": "192.0.2.9", "Loss%": 0})))

    def test_hubs_that_the_run_left_out_stay_out_and_a_last_one_may_come_twice(self) -> None:
        result = self.one(a_report(a_hub(1, "10.0.0.1"), a_hub(12, "192.0.2.9"), a_hub(13, "192.0.2.9")))
        assert result.traceroute is not None and result.traceroute.hops is not None
        self.assertEqual([hop.ttl for hop in result.traceroute.hops], [1, 12, 13])

    def test_several_reports_may_follow_one_another_however_they_are_written(self) -> None:
        first, second = a_report(a_hub(1, "192.0.2.9")), a_report(a_hub(1, "192.0.2.8"), dst="192.0.2.8")
        expected = [*self.read(first), *self.read(second)]
        pretty = [json.dumps(report, indent=4) for report in (first, second)]
        self.assertEqual(self.read("\n".join(pretty).encode()), expected)
        self.assertEqual(self.read([first, second]), expected)
        self.assertEqual(self.read(f"{json.dumps(first)}\n{json.dumps(second)}\n".encode()), expected)

    def test_a_broken_report_costs_none_of_its_neighbours(self) -> None:
        good = json.dumps(a_report(a_hub(1, "192.0.2.9")), indent=4)
        cut = good[: good.index("Snt")]
        one, two, three = self.read(f"{good}\n{cut}\n{good}".encode())
        assert isinstance(two, Unread)
        self.assertEqual([one, three], [*self.read(good.encode())] * 2)

    def test_numbers_that_are_none_of_a_count_a_ttl_or_a_time_are_refused(self) -> None:
        for column, value in {
            "Snt": 2.5,
            "count": 256,
            "Loss%": 101,
            "Avg": -1,
            "Best": "NaN",
            "Rcv": "1e999999999",
        }.items():
            self.assertIn(column, self.refused(a_report(a_hub(1, "192.0.2.9", **{column: value}))))

    def test_numbers_that_cannot_be_reckoned_with_cost_their_report_alone(self) -> None:
        good = a_report(a_hub(1, "192.0.2.9"))
        for column, value in (
            ("Rcv", "sNaN"),
            ("Loss%", "NaN"),
            ("Loss%", "sNaN"),
            ("Drop", "sNaN"),
            ("Drop", "1e999999"),
        ):
            broken, neighbour = self.read([a_report(a_hub(1, "192.0.2.9", **{column: value})), good])
            self.assertIsInstance(broken, Unread)
            self.assertIsInstance(neighbour, PingResult)

    def test_what_is_no_report_is_not_of_this_format(self) -> None:
        for body in (b"", b"\xff\xfe", b"Start: now\nHOST: node  Loss%", b"{"):
            self.assertRaises(NotOfThisFormat, self.read, body)

    def test_a_report_is_claimed_and_a_result_of_ours_is_not(self) -> None:
        self.assertTrue(self.is_claimed(a_report()))
        self.assertTrue(self.is_claimed([a_report()]))
        self.assertTrue(self.is_claimed(b'\n{"report": {"mtr": {"src": "a'))
        for body in (b"", b"[]", b'{"report": 1}', b'[{"ip": "192.0.2.9"}, {"report": {"mtr": {}}}]'):
            self.assertFalse(self.is_claimed(body))
