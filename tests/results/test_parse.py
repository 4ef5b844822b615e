"""What `outputd.results` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from typing import Any, ClassVar

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.results.hop_policy import FEED_ALL, feedable
from outputd.results.model import MOST_RAW_BYTES, MOST_RESULTS, NotResults, Origin, TooManyResults
from outputd.results.parse import Parser
from outputd.results.rows import Batch
from tests.kit.makers import a_result, a_trace, body_of, read_by
from tests.kit.properties import given, settings

NOW = "2026-01-08 00:00:00"
HORIZON = "2026-01-09 00:00:00"
ORIGIN = Origin("node", NOW, HORIZON)
MOST = 2**63 - 1
PING = ("id", "ip", "sent", "received", "packet_loss", "avg_rtt", "timestamp", "error", "created_at")
PARSE_ALONE = """
import re, sys
from outputd.results.model import Origin
from outputd.results.parse import Parser
body = b'[1,[' + b'0,' * 140_000 + b'0],"' + eval(sys.argv[1])
Parser(lambda _: True).parse(body, Origin('', '', ''))
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""
"""A process of its own, so that a body which freezes it is noticed; prints its peak memory in MiB."""


def read(body: bytes) -> Batch | NotResults | TooManyResults:
    return read_by(Parser(feedable(FEED_ALL)), body, ORIGIN)


def parse(body: bytes, parser: Parser | None = None) -> Batch:
    batch = read_by(parser or Parser(feedable(FEED_ALL)), body, ORIGIN)
    assert isinstance(batch, Batch), batch
    return batch


def rows(flat: list[Any], columns: int) -> list[tuple[Any, ...]]:
    return [tuple(flat[place : place + columns]) for place in range(0, len(flat), columns)]


def pings(batch: Batch) -> list[dict[str, Any]]:
    return [dict(zip(PING, row, strict=True)) for row in rows(batch.pings, Batch.PING_COLUMNS)]


def hops(batch: Batch) -> list[tuple[Any, ...]]:
    """(ttl, ip, rtt, timeout) of each."""
    return [row[1:] for row in rows(batch.hops, Batch.HOP_COLUMNS)]


class ResultsTest(SynchronousTestCase):
    """Bodies and the rows they become."""

    def taken(self, **changes: Any) -> dict[str, Any]:
        """The row of a result with these fields."""
        batch = parse(body_of(a_result(**changes)))
        self.assertEqual((batch.accepted, batch.rejected), (1, []), changes)
        return pings(batch)[0]

    def hops_of(self, *items: Any) -> list[tuple[Any, ...]]:
        batch = parse(body_of(a_trace(*items)))
        self.assertEqual((batch.accepted, batch.rejected), (1, []), items)
        return hops(batch)

    def assert_rejected(self, item: Any, field: str) -> None:
        batch = parse(body_of(item))
        self.assertEqual(batch.accepted, 0, item)
        self.assertEqual([bad.field for bad in batch.rejected], [field], item)
        self.assertTrue(batch.rejected[0].reason)


class Fields(ResultsTest):
    """Rule 2: what is required, what is optional, and what numbers are."""

    def test_the_least_result_is_a_row_with_nulls(self) -> None:
        """Rule 2: ip, sent, received and timestamp are enough."""
        self.assertEqual(
            self.taken(),
            {
                "id": None, "ip": "8.8.8.8", "sent": 4, "received": 4, "packet_loss": 0.0, "avg_rtt": None,
                "timestamp": "2026-01-07 22:30:00", "error": None, "created_at": NOW,
            },
        )  # fmt: skip

    def test_a_required_field_cannot_be_absent_or_null(self) -> None:
        """Rule 2: null means absent."""
        for name in ("ip", "sent", "received", "timestamp"):
            item = a_result()
            del item[name]
            self.assert_rejected(item, name)
            self.assert_rejected(a_result(**{name: None}), name)
        self.assert_rejected(a_trace({"ip": "10.0.0.1"}), "traceroute.hops[0].ttl")
        self.assert_rejected(a_trace({"ttl": None}), "traceroute.hops[0].ttl")

    def test_null_is_absent_in_every_optional_field(self) -> None:
        """Rule 2."""
        names = ("packet_loss", "avg_rtt", "error", "traceroute", "min_rtt", "max_rtt", "stddev_rtt")
        batch = parse(body_of(a_result(**dict.fromkeys(names))))
        self.assertEqual(pings(batch), pings(parse(body_of(a_result()))))
        self.assertEqual((batch.traceroutes, batch.hops, batch.spreads), ([], [], []))
        nulls = parse(body_of(a_result(traceroute=dict.fromkeys(("method", "completed", "error", "hops")))))
        self.assertEqual(rows(nulls.traceroutes, Batch.TRACEROUTE_COLUMNS), [(None, 0, None, None, None)])
        self.assertEqual(self.hops_of({"ttl": 1, "ip": None, "rtt": None, "timeout": None}), [(1, None, None, 0)])

    def test_every_optional_field_is_kept(self) -> None:
        """Rule 2."""
        row = self.taken(packet_loss=12.5, avg_rtt=15_000_000, error="sendto: no route")
        self.assertEqual((row["packet_loss"], row["avg_rtt"], row["error"]), (12.5, 15_000_000, "sendto: no route"))
        batch = parse(
            body_of(a_trace({"ttl": 3, "ip": "10.0.0.1", "rtt": 7, "timeout": True}, error="cut", completed=False))
        )
        self.assertEqual(rows(batch.traceroutes, Batch.TRACEROUTE_COLUMNS), [(None, 0, "icmp", 0, "cut")])
        self.assertEqual(hops(batch), [(3, "10.0.0.1", 7, 1)])

    def test_unknown_fields_are_ignored_everywhere(self) -> None:
        """Rule 2: our own columns too."""
        batch = parse(
            body_of(
                a_result(
                    id=7, created_at="x", IP="9.9.9.9", nested={"a": [1, {}]},
                    traceroute={"hops": [{"ttl": 1, "asn": 3}], "x": 1},
                )
            )
        )  # fmt: skip
        self.assertEqual((batch.accepted, pings(batch)[0]["ip"], pings(batch)[0]["id"]), (1, "8.8.8.8", None))

    def test_minus_one_is_absent_in_any_rtt(self) -> None:
        """Rule 2: as RIPE Atlas writes it."""
        self.assertIsNone(self.taken(avg_rtt=-1)["avg_rtt"])
        self.assertEqual(self.hops_of({"ttl": 1, "rtt": -1}), [(1, None, None, 0)])
        batch = parse(body_of(a_result(min_rtt=1, max_rtt=-1, stddev_rtt=-1), a_result(min_rtt=-1, max_rtt=-1)))
        self.assertEqual(rows(batch.spreads, Batch.SPREAD_COLUMNS), [(0, 1, None, None)])

    def test_integers_are_0_to_2_63_minus_1(self) -> None:
        """Rule 2: both bounds are taken, both neighbours are not."""
        for name in ("sent", "received", "avg_rtt", "min_rtt", "max_rtt", "stddev_rtt"):
            for good in (0, MOST):
                self.taken(**{name: good})
            for bad in (-2, MOST + 1, 2**64, -(2**63), 10**30):
                self.assert_rejected(a_result(**{name: bad}), name)
        for name in ("sent", "received"):
            self.assert_rejected(a_result(**{name: -1}), name)
        row = self.taken(sent=MOST, received=MOST, avg_rtt=MOST)
        self.assertEqual((row["sent"], row["received"], row["avg_rtt"]), (MOST, MOST, MOST))
        self.assertEqual(self.hops_of({"ttl": 1, "rtt": MOST}), [(1, None, MOST, 0)])
        for bad in (-2, MOST + 1):
            self.assert_rejected(a_trace({"ttl": 1, "rtt": bad}), "traceroute.hops[0].rtt")

    def test_an_integer_is_written_as_one(self) -> None:
        """Rule 2: 4.0 is none, nor 4e0, a text or true."""
        for text in ("4.0", "4e0", '"4"', "true", "[4]", "{}"):
            for name in ("sent", "received", "avg_rtt", "stddev_rtt"):
                body = f"[{json.dumps(a_result(**{name: 0.125}))}]".replace("0.125", text).encode()
                self.assertEqual([bad.field for bad in parse(body).rejected], [name], body)
            body = body_of(a_trace({"ttl": 0.125})).replace(b"0.125", text.encode())
            self.assertEqual([bad.field for bad in parse(body).rejected], ["traceroute.hops[0].ttl"], body)

    def test_a_number_of_thousands_of_digits_is_rejected_at_once(self) -> None:
        """Rule 2: never an error of ours, never a slow one."""
        body = body_of(a_result(avg_rtt=0.125)).replace(b"0.125", b"9" * 1_000_000)
        self.assertEqual([bad.field for bad in parse(body).rejected], ["avg_rtt"])

    def test_other_types_are_rejected_by_name(self) -> None:
        """Rule 2."""
        for name, bad in {
            "ip": 8, "timestamp": 1767825000, "packet_loss": "0%", "error": 1, "traceroute": [], "sent": "4",
        }.items():  # fmt: skip
            self.assert_rejected(a_result(**{name: bad}), name)
        for name, bad in {"method": 1, "completed": 1, "error": True, "hops": {}}.items():
            self.assert_rejected(a_result(traceroute={name: bad}), f"traceroute.{name}")
        for name, bad in {"ip": 8, "timeout": 0, "rtt": "1"}.items():
            self.assert_rejected(a_trace({"ttl": 1, name: bad}), f"traceroute.hops[0].{name}")
        for bad in (None, 1, "x", [], True):
            self.assert_rejected(bad, "")
            self.assert_rejected(a_trace({"ttl": 1}, bad), "traceroute.hops[1]")

    def test_a_ttl_is_0_to_255(self) -> None:
        """Rule 2: 255 is common."""
        self.assertEqual([hop[0] for hop in self.hops_of({"ttl": 0}, {"ttl": 255})], [0, 255])
        for bad in (-1, 256, MOST):
            self.assert_rejected(a_trace({"ttl": bad}), "traceroute.hops[0].ttl")

    def test_hops_keep_their_order_gaps_and_repetitions(self) -> None:
        """Rule 2: order, gaps, several hops with one ttl and one ip on many hops are all real."""
        ttls = (9, 1, 1, 255, 255, 4, 1)
        found = self.hops_of(*({"ttl": ttl, "ip": "10.0.0.1"} for ttl in ttls))
        self.assertEqual(found, [(ttl, "10.0.0.1", None, 0) for ttl in ttls])

    def test_an_rtt_of_0_is_an_rtt(self) -> None:
        """Rule 2: in a result and in a hop."""
        self.assertEqual(0, self.taken(avg_rtt=0)["avg_rtt"])
        self.assertEqual([(1, "10.0.0.1", 0, 0)], self.hops_of({"ttl": 1, "ip": "10.0.0.1", "rtt": 0}))

    def test_an_empty_traceroute_is_a_row_without_hops(self) -> None:
        """Rule 2: every field of it is optional."""
        empty: tuple[dict[str, Any], ...] = ({}, {"hops": []})
        for traceroute in empty:
            batch = parse(body_of(a_result(traceroute=traceroute)))
            self.assertEqual(rows(batch.traceroutes, Batch.TRACEROUTE_COLUMNS), [(None, 0, None, None, None)])
            self.assertEqual(batch.hops, [])

    def test_a_spread_has_a_row_only_where_a_result_says_so(self) -> None:
        """Rule 7: `rtt_spread` beside the spec's tables."""
        batch = parse(body_of(a_result(), a_result(min_rtt=1, max_rtt=3, stddev_rtt=0), a_result(max_rtt=5)))
        self.assertEqual(rows(batch.spreads, Batch.SPREAD_COLUMNS), [(1, 1, 3, 0), (2, None, 5, None)])

    def test_texts_are_kept_as_they_are(self) -> None:
        """Rule 2: errors and methods are data."""
        for text in ("", "a\0b", "<script>", "line\nline", "\U0001f600\u202e", "x" * 100_000):
            self.assertEqual(self.taken(error=text)["error"], text)
            batch = parse(body_of(a_trace(method=text)))
            self.assertEqual(batch.traceroutes[2], text)


class Loss(ResultsTest):
    """Rule 2: packet loss."""

    def test_it_is_kept_as_given(self) -> None:
        """Rule 2: percent, 0-100, also where it contradicts the counts."""
        for loss in (0, 0.0, 33.333333, 99.9, 100, 1e-300):
            self.assertEqual(self.taken(sent=4, received=2, packet_loss=loss)["packet_loss"], loss)

    def test_it_is_computed_where_absent(self) -> None:
        """Rule 2: 100 * (sent - received) / sent, never under 0, and 100 where sent is 0."""
        for sent, received, loss in ((4, 4, 0), (4, 1, 75), (4, 0, 100), (3, 2, 100 / 3), (4, 6, 0), (0, 0, 100)):
            self.assertAlmostEqual(self.taken(sent=sent, received=received)["packet_loss"], loss)
        self.assertEqual(self.taken(sent=0, received=3)["packet_loss"], 100)
        self.assertEqual(self.taken(sent=1, received=MOST)["packet_loss"], 0)
        self.assertEqual(self.taken(sent=MOST, received=0)["packet_loss"], 100)

    def test_a_negative_one_is_0_where_more_was_received_than_sent(self) -> None:
        """Rule 2: duplicates; elsewhere it is no percentage."""
        row = self.taken(sent=4, received=5, packet_loss=-25)
        self.assertEqual((row["packet_loss"], row["received"]), (0, 5))
        for received in (0, 4):
            self.assert_rejected(a_result(sent=4, received=received, packet_loss=-25), "packet_loss")

    def test_what_is_no_percentage_is_rejected(self) -> None:
        """Rule 2: 0-100."""
        for loss in (100.0001, 150, 10**400):
            self.assert_rejected(a_result(packet_loss=loss), "packet_loss")
        for text in (b"1e400", b"-1e400"):
            body = body_of(a_result(packet_loss=0.125)).replace(b"0.125", text)
            self.assertEqual([bad.field for bad in parse(body).rejected], ["packet_loss"])

    def test_nan_and_infinity_are_no_json(self) -> None:
        """Rule 5: the body is 400."""
        for loss in (float("nan"), float("inf"), float("-inf")):
            self.assertIsInstance(read(body_of(a_result(packet_loss=loss))), NotResults)

    def test_more_received_than_sent_is_kept(self) -> None:
        """Rule 2: it happens."""
        row = self.taken(sent=4, received=6, packet_loss=0)
        self.assertEqual((row["sent"], row["received"]), (4, 6))

    def test_successful_means_received_over_0_and_nothing_else(self) -> None:
        """Rule 2: no matter what loss and error say."""
        batch = parse(
            body_of(
                a_result(received=1, packet_loss=100, error="lost"), a_result(received=0, packet_loss=0),
                a_result(sent=0, received=0), a_result(sent=0, received=1),
            )
        )  # fmt: skip
        self.assertEqual((batch.accepted, batch.successful), (4, 2))


class Addresses(ResultsTest):
    """Rule 3: addresses of targets and of hops."""

    spellings: ClassVar = {
        "8.8.8.8": "8.8.8.8",
        "::ffff:8.8.8.8": "8.8.8.8",
        "::FFFF:808:808": "8.8.8.8",
        "0:0:0:0:0:ffff:8.8.8.8": "8.8.8.8",
        "2001:DB8::A": "2001:db8::a",
        "2001:0db8:0000:0000:0000:0000:0000:000a": "2001:db8::a",
        "2001:db8:0:0:0::a": "2001:db8::a",
        "::": "::",
    }
    none = (
        "", " ", "8.8.8", "8.8.8.999", "08.8.8.8", "8.8.8.8 ", " 8.8.8.8", "8.8.8.8\0", "8.8.8.8\n", "0x8.8.8.8",
        "134744072", "example.org", "_gateway", "???", "*", "fe80::1%eth0", "fe80::1%1", "[::1]", "8.8.8.8/32",
        "8.8.8.8:80", "\uff18.8.8.8", "::ffff:8.8.8", "1::2::3", "2001:db8::g", "'; DROP TABLE ping_results; --",
    )  # fmt: skip

    def test_a_target_is_kept_in_canonical_text(self) -> None:
        """Rule 3: IPv4-mapped ones as IPv4."""
        for text, canonical in self.spellings.items():
            self.assertEqual(self.taken(ip=text)["ip"], canonical)

    def test_a_target_that_is_no_address_or_has_a_zone_is_rejected(self) -> None:
        """Rule 3."""
        for text in self.none:
            self.assert_rejected(a_result(ip=text), "ip")

    def test_a_hop_is_kept_in_canonical_text(self) -> None:
        """Rule 3: here too."""
        for text, canonical in self.spellings.items():
            self.assertEqual(self.hops_of({"ttl": 1, "ip": text}), [(1, canonical, None, 0)])

    def test_a_hop_that_is_no_address_costs_nothing_and_is_never_fed(self) -> None:
        """Rule 3: its text is kept in the row."""
        for text in self.none:
            batch = parse(body_of(a_trace({"ttl": 1, "ip": text}, {"ttl": 2, "ip": "10.0.0.2"})))
            self.assertEqual(hops(batch), [(1, text or None, None, 0), (2, "10.0.0.2", None, 0)])
            self.assertEqual(list(batch.new_hops.values()), ["10.0.0.2"])

    def test_a_hops_text_is_cut_to_255_characters(self) -> None:
        """Rule 3: characters, not bytes."""
        for text in ("x" * 255, "x" * 256, "\U0001f600" * 300, "x" * 100_000):
            self.assertEqual(self.hops_of({"ttl": 1, "ip": text}), [(1, text[:255], None, 0)])

    def test_an_absent_or_empty_hop_ip_is_null(self) -> None:
        """Rule 3."""
        items = ({"ttl": 1}, {"ttl": 2, "ip": None}, {"ttl": 3, "ip": ""})
        self.assertEqual(self.hops_of(*items), [(ttl, None, None, 0) for ttl in (1, 2, 3)])

    def test_one_spelling_used_as_target_and_as_hop_is_the_same_everywhere(self) -> None:
        """Rule 3: whatever the caches hold."""
        parser = Parser(feedable(FEED_ALL))
        for _ in range(3):
            batch = parse(body_of(a_result(ip="::ffff:8.8.4.4"), a_trace({"ttl": 1, "ip": "::ffff:8.8.4.4"})), parser)
            self.assertEqual((pings(batch)[0]["ip"], hops(batch)[0][1]), ("8.8.4.4", "8.8.4.4"))
            parser.now_known(batch.new_hops)

    def test_hops_to_feed_are_unmapped_feedable_and_answered(self) -> None:
        """Rule 17: timeout wins over ip; the target's own hop is one too; never-fed ones and texts are none."""
        batch = parse(
            body_of(
                a_trace(
                    {"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "ip": "10.0.0.2", "timeout": True},
                    {"ttl": 3, "ip": "127.0.0.1"}, {"ttl": 4, "ip": "::ffff:127.0.0.1"},
                    {"ttl": 5, "ip": "::ffff:1.2.3.4"}, {"ttl": 6, "ip": "_gateway"}, {"ttl": 7, "ip": "8.8.8.8"},
                )
            )
        )  # fmt: skip
        self.assertEqual(set(batch.new_hops.values()), {"10.0.0.1", "1.2.3.4", "8.8.8.8"})

    def test_a_hop_that_timed_out_once_is_offered_when_it_answers(self) -> None:
        """Rule 17: a timeout makes nothing known."""
        parser = Parser(feedable(FEED_ALL))
        silent = parse(body_of(a_trace({"ttl": 1, "ip": "10.0.0.1", "timeout": True})), parser)
        parser.now_known(silent.new_hops)
        heard = parse(body_of(a_trace({"ttl": 1, "ip": "10.0.0.1"})), parser)
        self.assertEqual((silent.new_hops, list(heard.new_hops.values())), ({}, ["10.0.0.1"]))

    def test_a_known_hop_is_not_offered_again_and_still_stored(self) -> None:
        parser = Parser(feedable(FEED_ALL))
        body = body_of(a_trace({"ttl": 1, "ip": "2001:DB8::1"}))
        parser.now_known(parse(body, parser).new_hops)
        again = parse(body, parser)
        self.assertEqual((again.new_hops, hops(again)), ({}, [(1, "2001:db8::1", None, 0)]))


class Times(ResultsTest):
    """Rule 4: timestamps of results."""

    def test_a_timestamp_has_the_stored_form(self) -> None:
        """Rule 4."""
        row = self.taken(timestamp="2026-01-08t00:30:00.120000000+02:00")
        self.assertEqual(row["timestamp"], "2026-01-07 22:30:00.12")

    def test_a_bad_timestamp_rejects_the_item(self) -> None:
        """Rule 4: no zone, a leap second, a year out of 1-9999."""
        for text in ("", "2026-01-07T22:30:00", "2016-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "yesterday"):
            self.assert_rejected(a_result(timestamp=text), "timestamp")

    def latest(self, *moments: str) -> str:
        batch = parse(body_of(*(a_result(timestamp=moment) for moment in moments)))
        self.assertEqual(batch.accepted, len(moments))
        return batch.latest

    def test_the_latest_time_is_between_1970_and_a_day_from_now(self) -> None:
        """Rule 4: Go's zero time and the far future are stored and never become it."""
        self.assertEqual(self.latest("2026-01-07T10:00:00Z", "2026-01-07T12:00:00Z", "2026-01-07T11:00:00Z"),
                         "2026-01-07 12:00:00")  # fmt: skip
        self.assertEqual(self.latest("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"), "")
        self.assertEqual(self.latest("1969-12-31T23:59:59.9Z"), "")
        self.assertEqual(self.latest("1970-01-01T00:00:00Z"), "1970-01-01 00:00:00")
        self.assertEqual(self.latest("2026-01-09T00:00:00Z"), HORIZON)
        self.assertEqual(self.latest("2026-01-09T00:00:00.000000001Z", "2026-01-07T00:00:00Z"), "2026-01-07 00:00:00")
        self.assertEqual(self.latest("9999-12-31T23:59:59Z", "2026-01-07T00:00:00.5+01:00"), "2026-01-06 23:00:00.5")

    def test_the_latest_time_beyond_it_is_told_apart(self) -> None:
        """Rule 4: the clock may be wrong, and be set right."""
        moments = ("2026-01-09T00:00:00.1Z", "2026-01-07T00:00:00Z", "2036-01-01T00:00:00Z", "2026-01-10T00:00:00Z")
        batch = parse(body_of(*(a_result(timestamp=moment) for moment in moments)))
        self.assertEqual((batch.latest, batch.ahead), ("2026-01-07 00:00:00", "2036-01-01 00:00:00"))
        batch = parse(body_of(a_result(timestamp=moments[1])))
        self.assertEqual((batch.latest, batch.ahead), ("2026-01-07 00:00:00", ""))

    def test_a_rejected_item_never_sets_the_latest_time(self) -> None:
        """Rule 4."""
        batch = parse(body_of(a_result(), a_result(ip="x", timestamp="2026-01-08T01:00:00Z")))
        self.assertEqual(batch.latest, "2026-01-07 22:30:00")


class Neighbours(ResultsTest):
    """Rule 5: a bad item never costs its neighbours."""

    bad: tuple[Any, ...] = (
        1, None, {}, [], a_result(ip="x"), a_result(timestamp="x"), a_result(sent=-1), a_result(packet_loss=-1),
        a_trace({"ttl": 256}), a_trace({"ttl": 1}, {"ttl": 2}, {}), a_result(error="\ud800"),
        a_result(other="a\udfff\\"),
    )  # fmt: skip

    def test_what_is_no_array_is_no_results(self) -> None:
        """Rule 5: not JSON, or not an array: 400."""
        for body in (
            b"", b" ", b"null", b"1", b'"x"', b"{}", body_of(a_result())[1:-1], b'{"results":[]}', b"[", b"[1", b"[1,]",
            b"[]x", b"[][]", b"[]\n[]", b"\xef\xbb\xbf[]", "[]".encode("utf-16"), b"[]\0", b"[1]\0", b'["\xff"]',
            b'[{"x":"\xff"}]', b"[NaN]", b"[01]", b"['x']", b"[//\n]", b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000,
            body_of(a_result()).replace(b'"ip"', b'"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"ip"'),
            body_of(a_result(), 1).replace(b'"ip"', b'"x":"\xff","ip"'), body_of(a_result(error="\x01")).replace(
                b"\\u0001", b"\x01"),
        ):  # fmt: skip
            self.assertIsInstance(read(body), NotResults)

    def test_the_reason_says_what_the_body_is(self) -> None:
        """Rule 5: and never a word of a traceback."""
        for body, word in {b"{}": "object", b"[1": "trunc", b"": "trunc", b'["\xff"]': "UTF-8"}.items():
            refused = read(body)
            assert isinstance(refused, NotResults)
            self.assertIn(word, refused.reason)

    def test_a_lone_surrogate_costs_its_item_alone_which_is_kept_as_sent(self) -> None:
        """Rule 5: Python writes it; a pair and what only looks like one are text."""
        bad = [a_result(error=text) for text in ("\udc00", "\ud800\ud800 x", "\ud800\\u0041", "\\\ud800")]
        good = [a_result(error=text) for text in ("\U0001f600", "\\ud800", "\\\\ud800", "\ufffd")]
        body = json.dumps([*bad, *good], indent=1).encode()
        batch = parse(body)
        self.assertEqual([item["error"] for item in good], [row["error"] for row in pings(batch)])
        self.assertEqual(bad, [json.loads(reject.raw) for reject in batch.rejected])
        self.assertEqual({("", True)}, {(reject.field, "surrogate" in reject.reason) for reject in batch.rejected})

    def test_a_surrogate_beside_broken_json_is_no_json(self) -> None:
        for body in (rb'["\ud800",]', rb'["\ud800"', rb'["\ud800\x"]', rb'["\ud80"]', b'["\\ud800\xff"]'):
            self.assertIsInstance(read(body), NotResults)

    def test_an_empty_array_is_an_empty_batch(self) -> None:
        """Rule 5: `[]` is ok, 0."""
        for body in (b"[]", b" [ ]\n"):
            batch = parse(body)
            self.assertEqual((batch.accepted, batch.rejected, batch.cells), (0, [], 0))

    def test_the_good_ones_are_kept_in_order_beside_any_bad_one(self) -> None:
        """Rule 5: wherever it stands."""
        for bad in self.bad:
            for place in range(3):
                items: list[Any] = [a_result(ip=f"10.0.0.{number}") for number in range(2)]
                items.insert(place, bad)
                batch = parse(body_of(*items))
                self.assertEqual([row["ip"] for row in pings(batch)], ["10.0.0.0", "10.0.0.1"])
                self.assertEqual([reject.index for reject in batch.rejected], [place])

    def test_a_field_is_named_by_its_path(self) -> None:
        """Rule 5: `traceroute.hops[2].ttl`."""
        batch = parse(body_of(*self.bad))
        self.assertEqual(
            [(reject.index, reject.field) for reject in batch.rejected],
            [
                (0, ""), (1, ""), (2, "ip"), (3, ""), (4, "ip"), (5, "timestamp"), (6, "sent"), (7, "packet_loss"),
                (8, "traceroute.hops[0].ttl"), (9, "traceroute.hops[2].ttl"), (10, ""), (11, ""),
            ],
        )  # fmt: skip

    def test_a_rejected_item_is_kept_verbatim(self) -> None:
        """Rule 5: as it was written, at most 64 KiB of it."""
        texts = ['{"ip" : "x",\t"sent": 1e2}', '"\u00fc\\u00fc"', "null", "[ 1 ]"]
        batch = parse(f" [{json.dumps(a_result())} , {' ,'.join(texts)} ]".encode())
        self.assertEqual([bad.raw.decode() for bad in batch.rejected], texts)
        good_types = json.dumps(a_result(ip="x"), indent=1)
        self.assertEqual(parse(f"[ {good_types} ]".encode()).rejected[0].raw.decode(), good_types)
        for item in ("x" * 100_000, a_result(ip="x" * 100_000)):
            (bad,) = parse(body_of(item)).rejected
            self.assertEqual(bad.raw, json.dumps(item).encode()[:MOST_RAW_BYTES])

    def test_a_reason_is_short_whatever_was_sent(self) -> None:
        """Rule 5: a reason is no place for a body."""
        for bad in parse(
            body_of({"ip": "x" * 100_000}, a_result(ip="y" * 100_000), a_trace({"ttl": 10**300}))
        ).rejected:
            self.assertLessEqual(len(bad.reason) + len(bad.field), 600)

    def test_reasons_that_are_the_same_are_one_object(self) -> None:
        """Rule 9: a body may have 131,000 rejected items."""
        for bad in (b"1", b'{"ip":"x"}', json.dumps(a_result(ip="x")).encode(), b'{"ip":"::1","sent":-1}'):
            first, second = parse(b"[%s,%s]" % (bad, bad)).rejected
            self.assertIs(first.reason, second.reason)
            self.assertIs(first.field, second.field)

    def test_rejects_are_counted_by_field_and_a_thousand_hops_are_one(self) -> None:
        """Rule 22."""
        hops = [a_trace(*[{"ttl": 1}] * n, {"ttl": 256}) for n in range(3)]
        self.assertEqual(parse(body_of(*hops, 1)).rejected_by_field, {"traceroute.hops.ttl": 3, "item": 1})

    def test_what_is_remembered_of_addresses_is_bounded(self) -> None:
        """Rule 9: one body may bring more than are kept."""
        parser = Parser(feedable(FEED_ALL))
        targets = body_of(*[a_result(ip=f"2001:db8:{n:x}::1") for n in range(MOST_RESULTS // 2)])
        hops = {f"2001:db8:{n >> 16:x}:{n & 65535:x}::1": "::1" for n in range(3 * MOST_RESULTS)}
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(2):
            parse(targets, parser)
        parser.now_known(hops)
        self.assertLess(tracemalloc.get_traced_memory()[0], 16 << 20)

    def test_the_place_where_a_body_is_no_utf8_is_told(self) -> None:
        """Rule 5: in a body of any length, and where a step of the check ends within a character."""
        text = "é" * 70_000
        for start in (0, 1):
            body = b'["%s%s' % (b"a" * start, text.encode()) + bytes([255]) + b'"]'
            found = read(body)
            assert isinstance(found, NotResults), found
            self.assertIn(f"not UTF-8 (byte {len(body) - 3})", found.reason)
            self.assertEqual(len(parse(body.replace(bytes([255]), b"")).rejected), 1)

    def test_more_items_than_any_results_of_8_mib_are_too_many(self) -> None:
        """Rule 8: memory is bounded whatever is sent."""
        self.assertIsInstance(read(b"[" + b"1," * MOST_RESULTS + b"1]"), TooManyResults)

    def test_items_are_counted_whatever_they_hold(self) -> None:
        """Rule 8: commas in texts and within items count for nothing, however deep."""
        some = [
            [1, 2],
            "a,b",
            {"c": [1, {"d": [2, [3, [4, [5, [6, [7, 8]]]]]]}]},
            '"\\"',
            a_trace({"ttl": 1}, {"ttl": 2}),
        ]
        many = body_of(*some * (MOST_RESULTS // 5 - 1))
        self.assertEqual(len(parse(many).rejected), 4 * (MOST_RESULTS // 5 - 1))
        self.assertIsInstance(read(body_of(*some * (MOST_RESULTS // 5 + 1))), TooManyResults)
        self.assertIsInstance(read(b'{"a": [%s1]}' % (b"1," * MOST_RESULTS)), NotResults)

    def test_counting_items_takes_time_by_the_length_and_little_memory(self) -> None:
        """Rule 8: 7 KB of gzip froze the process, as it looked for the end of a string from each of its places."""
        for tail in ('b"\\\\\\"" * 3_700_000', 'b"a" * 7_500_000 + b"\\"]"'):
            ended = subprocess.run(
                [sys.executable, "-c", PARSE_ALONE, tail], capture_output=True, timeout=120, check=True, text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
            self.assertLess(int(ended.stdout), 200)
        self.assertEqual(len(parse(b"[" + b"1," * 5000 + b"1]").rejected), 5001)
        shortest = b'{"ip":"::","sent":0,"received":0,"timestamp":"2026-01-07T22:30:00Z"}'
        self.assertGreater(MOST_RESULTS, (8 << 20) / len(shortest + b","))

    def test_ids_are_consecutive_and_joined(self) -> None:
        """Rule 7: a batch's results have consecutive ids, and hops find their result."""
        batch = parse(body_of(a_result(), 1, a_trace({"ttl": 1}, {"ttl": 2}), a_result(min_rtt=1), a_trace({"ttl": 3})))
        batch.number(batch_id=7, first_id=100)
        self.assertEqual([row["id"] for row in pings(batch)], [100, 101, 102, 103])
        self.assertEqual([row[:2] for row in rows(batch.traceroutes, 5)], [(101, 101), (103, 103)])
        self.assertEqual([row[:2] for row in rows(batch.hops, 5)], [(101, 1), (101, 2), (103, 3)])
        self.assertEqual([row[0] for row in rows(batch.spreads, 4)], [102])
        self.assertEqual((batch.first_id, batch.last_id, batch.hop_rows), (100, 103, 3))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_ints = st.integers(-3, 300) | st.sampled_from([0, -1, MOST, MOST + 1]) | _json
_ips = st.ip_addresses().map(str) | st.sampled_from(["::ffff:8.8.8.8", "_gateway", "", "fe80::1%e"]) | _json
_times = (
    st.datetimes().map(lambda moment: moment.isoformat() + "Z")
    | st.sampled_from(["2026-01-07T22:30:00+01:00", "0001-01-01T00:00:00Z", "2016-12-31T23:59:60Z"])
    | _json
)
_some_text = st.none() | st.text(max_size=5) | _json
_hop = st.fixed_dictionaries(
    {"ttl": st.integers(0, 255) | _ints}, optional={"ip": _ips, "rtt": _ints, "timeout": st.booleans() | _json}
)
_trace = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "method": _some_text, "completed": st.booleans() | _json, "error": _some_text,
        "hops": st.lists(_hop | _json, max_size=3) | _json,
    },
)  # fmt: skip
_good = st.fixed_dictionaries(
    {
        "ip": st.ip_addresses().map(str), "sent": st.integers(0, 9), "received": st.integers(0, 9),
        "timestamp": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    },
    optional={
        "packet_loss": st.floats(0, 100), "avg_rtt": st.integers(-1, MOST), "min_rtt": st.integers(-1, 5),
        "error": st.text(max_size=9), "traceroute": st.fixed_dictionaries({}, optional={
            "hops": st.lists(st.fixed_dictionaries({"ttl": st.integers(0, 255)}, optional={
                "ip": st.ip_addresses().map(str) | st.text(max_size=5), "rtt": st.integers(-1, MOST),
                "timeout": st.booleans(),
            }), max_size=4)}),
    },
)  # fmt: skip
_any_item = st.fixed_dictionaries(
    {"ip": _ips, "sent": _ints, "received": _ints, "timestamp": _times},
    optional={
        "packet_loss": st.floats() | _json, "avg_rtt": _ints, "min_rtt": _ints, "max_rtt": _ints, "stddev_rtt": _ints,
        "error": _some_text, "traceroute": _trace | _json, "x": _json,
    },
)  # fmt: skip
_items = st.lists(_good | _any_item | _json, max_size=5)


class AnyBody(SynchronousTestCase):
    """Rule 5, for whatever comes."""

    def attempt(self, body: bytes) -> Batch | None:
        batch = read(body)
        return batch if isinstance(batch, Batch) else None

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_bytes_are_results_or_a_known_refusal(self, body: bytes) -> None:
        """Rule 5: nothing else is ever raised."""
        self.attempt(body)
        self.attempt(b"[" + body + b"]")

    @settings(deadline=None)
    @given(_items, st.data())
    def test_damaged_json_is_results_or_a_known_refusal(self, items: list[Any], data: st.DataObject) -> None:
        """Rule 5: cut, or with bytes changed, wherever it may be."""
        body = bytearray(body_of(*items))
        place = data.draw(st.integers(0, len(body) - 1))
        self.attempt(bytes(body[:place]))
        body[place : place + 1] = data.draw(st.binary(max_size=6) | st.sampled_from([b"\\", b'"', b"\\ud800", b"\xff"]))
        self.attempt(bytes(body))

    @settings(deadline=None)
    @given(_items)
    def test_every_item_is_either_stored_or_rejected(self, items: list[Any]) -> None:
        """Rule 5: none is lost, none is both."""
        batch = self.attempt(body_of(*items))
        if batch is None:
            return
        self.assertEqual(batch.accepted + len(batch.rejected), len(items))
        self.assertEqual(batch.accepted, len(batch.pings) // Batch.PING_COLUMNS)
        indexes = [bad.index for bad in batch.rejected]
        self.assertEqual(indexes, sorted(set(indexes)))

    @settings(deadline=None)
    @given(_items)
    def test_the_quick_way_and_the_way_item_by_item_agree(self, items: list[Any]) -> None:
        """Rule 5: an item alone, and the same item beside a bad one, become the same rows or the same refusal."""
        for item in items:
            alone = self.attempt(body_of(item))
            before = self.attempt(body_of({}, item))
            after = self.attempt(body_of(item, {}))
            if alone is None:
                self.assertEqual((before, after), (None, None))
                continue
            assert before is not None
            assert after is not None
            for beside in (before, after):
                for name in ("pings", "traceroutes", "hops", "spreads", "accepted", "successful", "latest", "new_hops"):
                    self.assertEqual(getattr(beside, name), getattr(alone, name))
            mine = [(bad.field, bad.reason, bad.raw) for bad in alone.rejected]
            self.assertEqual([(bad.field, bad.reason, bad.raw) for bad in before.rejected[1:]], mine)
            self.assertEqual([(bad.field, bad.reason, bad.raw) for bad in after.rejected[:-1]], mine)

    @settings(deadline=None)
    @given(st.lists(_good, min_size=1, max_size=6))
    def test_good_items_are_all_stored_as_if_each_came_alone(self, items: list[Any]) -> None:
        """Rule 5: no item touches its neighbours."""
        together = parse(body_of(*items))
        self.assertEqual((together.accepted, together.rejected), (len(items), []))
        alone = [parse(body_of(item)) for item in items]
        self.assertEqual(together.pings, [cell for batch in alone for cell in batch.pings])
        self.assertEqual(hops(together), [hop for batch in alone for hop in hops(batch)])
        self.assertEqual(together.successful, sum(batch.successful for batch in alone))
        self.assertEqual(together.latest, max(batch.latest for batch in alone))
