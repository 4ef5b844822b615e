"""What `outputd.queries` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.process.threads import Threads
from outputd.queries import Queries
from outputd.queries import hops as hops_of
from outputd.queries import links as links_of
from outputd.queries.arrivals import ARRIVALS, Arrivals
from outputd.queries.hops import HOP, Hop
from outputd.queries.links import LINKS, Links
from outputd.queries.nodes import NODES, Nodes
from outputd.queries.paths import MOST_TRACEROUTES, PATHS, Paths
from outputd.queries.question import Found, Question
from outputd.queries.recent import RECENT, Recent
from outputd.queries.result import RESULT, Result
from outputd.queries.series import SERIES, Series
from outputd.queries.session import NotReady, Session, TooLong
from outputd.queries.tables import Rows, Table
from outputd.queries.targets import TARGETS, Targets
from tests.kit.bench import EPOCH, Bench
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.pools import outcome
from tests.kit.running import REACTOR, Running, eventually
from tests.summary.test_summary import wild


class TheNewest(SynchronousTestCase):
    """Rule 16: `/recent` spans all files, newest first by arrival."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.queries = self.bench.queries()

    def recent(self, limit: int = 100, ip: str | None = None) -> list[Mapping[str, Any]]:
        return self.rows(Recent(limit=limit, ip=ip))

    def rows(self, asked: Recent) -> list[Mapping[str, Any]]:
        found = outcome(self.queries.ask(RECENT, asked))
        assert isinstance(found, Rows)
        return list(found.rows)

    def rotate(self) -> None:
        self.bench.outcome(self.bench.store.rotate())

    def test_nothing_yet(self) -> None:
        """Rule 16."""
        self.assertEqual(self.recent(), [])

    def test_the_spec_s_seven_fields_in_its_order(self) -> None:
        """Rule 16."""
        self.bench.keep(a_result(packet_loss=0, avg_rtt=15_000_000))
        (found,) = self.recent()
        self.assertEqual(
            list(found.items()),
            [
                ("id", 1), ("ip", "8.8.8.8"), ("sent", 4), ("received", 4), ("packet_loss", 0),
                ("avg_rtt", 15_000_000), ("timestamp", "2026-01-07T22:30:00Z"),
            ],
        )  # fmt: skip

    def test_null_where_there_is_nothing(self) -> None:
        """Rule 16: null where NULL; -1 is absent."""
        self.bench.keep(a_result(), a_result(avg_rtt=-1))
        self.assertEqual([found["avg_rtt"] for found in self.recent()], [None, None])

    def test_an_error_only_where_there_is_one(self) -> None:
        """Rule 16: the spec's jq filter works."""
        self.bench.keep(a_result(), a_result(error="no route"), a_result(error=None), a_result(error=""))
        self.assertEqual(
            [found.get("error", "absent") for found in self.recent()], ["", "absent", "no route", "absent"]
        )

    def test_packet_loss_is_a_whole_number_where_it_is_one(self) -> None:
        """Rule 16: as in the spec's example."""
        self.bench.keep(a_result(packet_loss=25), a_result(packet_loss=33.3), a_result(received=0))
        losses = [found["packet_loss"] for found in self.recent()]
        self.assertEqual([repr(loss) for loss in losses], ["100", "33.3", "25"])

    def test_times_are_printed_with_all_their_digits(self) -> None:
        """Rule 4."""
        self.bench.keep(
            a_result(timestamp="2026-01-07t23:30:00.123456789+01:00"), a_result(timestamp="0001-01-01T00:00:00Z")
        )
        self.assertEqual(
            [found["timestamp"] for found in self.recent()], ["0001-01-01T00:00:00Z", "2026-01-07T22:30:00.123456789Z"]
        )

    def test_newest_first_by_arrival_and_not_by_a_time_that_may_be_wrong(self) -> None:
        """Rule 16."""
        for year in (2026, 9999, 1970, 2001):
            self.bench.keep(a_result(timestamp=f"{year}-01-01T00:00:00Z"))
        self.assertEqual([found["id"] for found in self.recent()], [4, 3, 2, 1])

    def test_over_all_files_in_the_order_of_ids(self) -> None:
        """Rule 16."""
        for _ in range(4):
            self.bench.keep(a_result(), a_trace(*many_hops(2)))
            self.rotate()
        self.assertEqual([found["id"] for found in self.recent()], [8, 7, 6, 5, 4, 3, 2, 1])
        self.assertEqual([found["id"] for found in self.recent(limit=3)], [8, 7, 6])
        self.assertEqual([found["id"] for found in self.recent(limit=1)], [8])

    def test_files_are_read_by_their_order_and_not_by_name(self) -> None:
        """Rules 11 and 16."""
        self.bench.keep(a_result())
        old = self.bench.store.current.info.path
        self.rotate()
        self.bench.keep(a_result())
        self.bench.stop()
        old.rename(old.with_name("results_2099-01-01_00-00-00.db"))
        self.bench.start()
        self.assertEqual([found["id"] for found in self.recent()], [2, 1])

    def test_of_one_target_alone(self) -> None:
        """Rules 3 and 16."""
        for ip in ("8.8.8.8", "::ffff:8.8.8.8", "2001:DB8::A", "1.1.1.1"):
            self.bench.keep(a_result(ip=ip))
            self.rotate()
        self.assertEqual([found["id"] for found in self.recent(ip="8.8.8.8")], [2, 1])
        self.assertEqual([found["id"] for found in self.recent(ip="2001:db8::a")], [3])
        self.assertEqual(self.recent(ip="9.9.9.9"), [])

    def test_what_was_answered_is_found_though_it_is_still_in_the_wal(self) -> None:
        """Rule 1."""
        self.bench.keep(*[a_result()] * 500)
        self.assertEqual(len(self.recent(1000)), 500)

    def test_a_file_that_is_pruned_meanwhile_costs_nothing_but_its_rows(self) -> None:
        """Rules 13 and 16."""
        for _ in range(2):
            self.bench.keep(a_result())
            self.rotate()
        self.bench.directory.remove(self.bench.store.files[0].path)
        self.assertEqual([found["id"] for found in self.recent()], [2])

    def test_asking_leaves_the_files_as_they_are(self) -> None:
        """Rule 11: readers neither write nor checkpoint."""
        self.bench.keep(*[a_result()] * 500)
        files = {path: path.read_bytes() for path in self.bench.path.iterdir() if not path.name.endswith("-shm")}
        self.recent()
        self.assertEqual({path: path.read_bytes() for path in files}, files)

    def test_a_page_after_the_other_has_each_result_once(self) -> None:
        for _ in range(3):
            self.bench.keep(*[a_result()] * 10)
            self.rotate()
        found: list[int] = []
        before = None
        while page := self.rows(Recent(limit=7, before=before)):
            found += [row["id"] for row in page]
            before = page[-1]["id"]
        self.assertEqual(found, list(range(30, 0, -1)))

    def test_by_node_by_failure_and_by_time(self) -> None:
        for node in ("a", "b"):
            self.bench.post(a_result(), a_result(received=0, timestamp="2026-01-07T23:00:00Z"), node=node)
            self.rotate()
        for asked, ids in (
            (Recent(node="a"), [2, 1]), (Recent(node="b", ip="8.8.8.8"), [4, 3]), (Recent(failed=True), [4, 2]),
            (Recent(failed=False, node="b"), [3]), (Recent(since="2026-01-07 23:00:00"), [4, 2]),
            (Recent(until="2026-01-07 23:00:00", ip="8.8.8.8"), [3, 1]), (Recent(node="c"), []),
        ):  # fmt: skip
            self.assertEqual([row["id"] for row in self.rows(asked)], ids, asked)

    def test_a_traceroute_where_it_is_asked_for(self) -> None:
        hops = [{"ttl": 1, "ip": "10.0.0.1", "rtt": 5}, {"ttl": 2, "timeout": True}]
        self.bench.keep(a_trace(*many_hops(3)), a_trace(*hops), a_result())
        rows = self.rows(Recent(include="traceroute"))
        self.assertIsNone(rows[0]["traceroute"])
        self.assertEqual(
            rows[1]["traceroute"],
            {
                "method": "icmp", "completed": True, "error": None,
                "hops": [
                    {"ttl": 1, "ip": "10.0.0.1", "rtt": 5, "timeout": False},
                    {"ttl": 2, "ip": None, "rtt": None, "timeout": True},
                ],
            },
        )  # fmt: skip
        self.assertEqual(len(rows[2]["traceroute"]["hops"]), 3)


def read(answer: Found) -> Any:
    """An answer in JSON."""
    assert answer is not None
    text = b"".join(answer.pages("json"))
    if isinstance(answer, Table):
        answer.session.close()
    return json.loads(text)


JANUARY = ("2026-01-01 00:00:00", "2026-02-01 00:00:00")


class Asking(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.queries = self.bench.queries()

    def fill(self) -> None:
        for number in range(3):
            if number:
                self.bench.outcome(self.bench.store.rotate())
            for node in ("a", "b"):
                self.bench.post(*(wild(place) for place in range(30)), node=node)

    def test_a_hop_is_told_alike_from_the_summary_and_from_the_files(self) -> None:
        self.fill()
        self.patch(hops_of, "MOST_FRESH", 1000)
        for ip in ("10.0.0.1", "2001:db8::1"):
            from_files = read(outcome(self.queries.ask(HOP, Hop(ip, 1000))))
            read(outcome(self.queries.ask(TARGETS, Targets(1))))  # brings the summary up to date
            from_summary = read(outcome(self.queries.ask(HOP, Hop(ip, 1000))))
            self.assertEqual(from_files, from_summary)
            self.assertTrue(from_files["before"] and from_files["after"] and from_files["targets"])
            self.bench.directory.summary.unlink()
        self.assertIsNone(outcome(self.queries.ask(HOP, Hop("192.0.2.200", 10))))

    def test_the_frequent_links_are_found_the_short_way_as_the_long_way(self) -> None:
        self.fill()
        long = read(outcome(self.queries.ask(LINKS, Links(3))))
        self.patch(links_of, "_MANY_ROWS", 0)
        self.assertEqual(read(outcome(self.queries.ask(LINKS, Links(3)))), long)
        self.assertEqual(len(long["links"]), 3)

    def test_links_that_are_seldom_are_found_the_short_way_too(self) -> None:
        """Where no file has a link often, or there are fewer than are asked for."""
        self.fill()
        limits = (3, 1000)
        long = [read(outcome(self.queries.ask(LINKS, Links(limit)))) for limit in limits]
        self.patch(links_of, "_MANY_ROWS", 0)
        for often in ((10**6, 3), (10**6, 10**6)):
            self.patch(links_of, "_OFTEN", often)
            self.assertEqual(long, [read(outcome(self.queries.ask(LINKS, Links(limit)))) for limit in limits])

    def test_a_hop_takes_the_newest_rows_that_the_summary_lacks(self) -> None:
        """As many as may be read at once, over all files, and says when there were more."""
        for _ in range(3):
            self.bench.post(*(a_trace({"ip": "10.0.0.1", "ttl": 1}) for _ in range(3)))
            self.bench.outcome(self.bench.store.rotate())
        for room, seen, is_whole in ((100, 9, True), (4, 4, False), (9, 9, False)):
            self.patch(hops_of, "MOST_FRESH", room)
            told = read(outcome(self.queries.ask(HOP, Hop("10.0.0.1", 10))))
            self.assertEqual((seen, is_whole), (told["seen"], told["complete"]))

    def test_quantiles_are_values_that_were_measured(self) -> None:
        """Nearest rank, against Python."""
        rng = random.Random(1)
        for size in (1, 2, 9, 100):
            bench = Bench(Path(self.mktemp()))
            rtts = [rng.randrange(10**9) for _ in range(size)]
            bench.post(*(a_result(avg_rtt=rtt) for rtt in rtts), a_result(received=0, avg_rtt=0), node="a")
            (bucket,) = read(outcome(bench.queries().ask(SERIES, Series("8.8.8.8", 3600, *JANUARY))))["buckets"]
            rtts.sort()
            for rank in (10, 25, 50, 75, 90):
                self.assertEqual(bucket[f"rtt_p{rank}_ns"], rtts[math.ceil(rank * size / 100) - 1])
            self.assertEqual((bucket["rtt_min_ns"], bucket["rtt_max_ns"]), (rtts[0], rtts[-1]))
            self.assertEqual(
                (bucket["count"], bucket["failed"], bucket["start"]), (size + 1, 1, "2026-01-07T22:00:00Z")
            )

    def test_duplicates_of_one_result_make_up_for_no_loss_of_another(self) -> None:
        """Rule 16: over results, nodes, files and buckets alike."""
        whole, none = a_result(received=8), a_result(received=0)
        self.bench.post(whole, none, node="a")
        self.bench.outcome(self.bench.store.rotate())
        self.bench.post(whole, node="a")
        self.bench.post(none, node="b")
        (target,) = read(outcome(self.queries.ask(TARGETS, Targets(10))))["targets"]
        (arrived,) = read(outcome(self.queries.ask(ARRIVALS, Arrivals(3600, *JANUARY))))["buckets"]
        counts = [(row["sent"], row["received"], row["lost"], row["loss_percent"]) for row in (target, arrived)]
        self.assertEqual(counts, [(16, 16, 8, 50.0)] * 2)
        of_a, of_b = read(outcome(self.queries.ask(SERIES, Series("8.8.8.8", 3600, *JANUARY))))["buckets"]
        self.assertEqual((of_a["lost"], of_a["loss_percent"], of_b["lost"], of_b["loss_percent"]), (4, 33.333, 4, 100))

    def test_spans_of_arrival_that_adjoin_have_each_minute_once(self) -> None:
        """Rule 16; a minute is where its beginning is."""
        for _ in range(6):
            self.bench.post(a_result())
            self.bench.clock.advance(30)
        whole = ("2026-01-07 22:30:00", "2026-01-07 22:34:00")
        for cut in ("22:31:00", "22:31:00.000000001", "22:31:59.999999999", "22:32:00", "22:33:00", "22:30:00.5"):
            spans = [(whole[0], f"2026-01-07 {cut}"), (f"2026-01-07 {cut}", whole[1])]
            starts = [self.arrived(*span) for span in spans]
            self.assertEqual([*starts[0], *starts[1]], self.arrived(*whole), cut)
        self.assertEqual(self.arrived("2026-01-07 22:30:00", "2026-01-07 22:31:00"), ["2026-01-07T22:30:00Z"])
        self.assertEqual(len(self.arrived(*whole)), 4)

    def arrived(self, since: str, until: str, minutes: int = 1) -> list[str]:
        """Where buckets with arrivals start."""
        answer = read(outcome(self.queries.ask(ARRIVALS, Arrivals(60 * minutes, since, until))))
        return [bucket["start"] for bucket in answer["buckets"]]

    def test_a_bucket_holds_its_beginning_and_not_its_end(self) -> None:
        """Rule 16: to the nanosecond, before 1970 too, and the first one there is begins with the year 1."""
        for at in (
            "2026-01-07T12:59:59.9996Z",
            "2026-01-07T13:00:00Z",
            "1969-12-31T23:30:00.9Z",
            "0001-01-01T00:00:00Z",
        ):
            self.bench.post(a_result(timestamp=at))
        for since, until, starts in (
            ("0001-01-01 00:00:00", "0001-02-01 00:00:00", ["0001-01-01T00:00:00Z"]),
            ("1969-12-01 00:00:00", "1970-02-01 00:00:00", ["1969-12-31T23:00:00Z"]),
            ("2026-01-01 00:00:00", "2026-02-01 00:00:00", ["2026-01-07T12:00:00Z", "2026-01-07T13:00:00Z"]),
        ):
            buckets = read(outcome(self.queries.ask(SERIES, Series("8.8.8.8", 3600, since, until))))["buckets"]
            self.assertEqual(starts, [bucket["start"] for bucket in buckets])
        all_time = Series("8.8.8.8", 10_000 * 366 * 86_400, "0001-01-01 00:00:00", "9999-12-31 23:59:59")
        ages = read(outcome(self.queries.ask(SERIES, all_time)))["buckets"]
        self.assertEqual([(age["start"], age["count"]) for age in ages], [
            ("0001-01-01T00:00:00Z", 2), ("1970-01-01T00:00:00Z", 2),
        ])  # fmt: skip

    def test_a_clock_of_our_own_that_is_before_1970_has_its_buckets_too(self) -> None:
        self.bench.clock.rightNow = -EPOCH - 90 * 60
        self.bench.post(a_result())
        self.assertEqual(self.arrived("1969-12-01 00:00:00", "1970-02-01 00:00:00", 60), ["1969-12-31T22:00:00Z"])

    def test_all_is_lost_where_nothing_was_sent(self) -> None:
        """Rule 2."""
        self.bench.post(a_result(sent=0, received=0))
        (target,) = read(outcome(self.queries.ask(TARGETS, Targets(10))))["targets"]
        self.assertEqual((target["lost"], target["loss_percent"]), (0, 100))

    def test_extremes_are_those_of_the_packets_where_the_node_gave_them(self) -> None:
        self.bench.post(a_result(avg_rtt=5, min_rtt=1, max_rtt=9), a_result(avg_rtt=4))
        (bucket,) = read(outcome(self.queries.ask(SERIES, Series("8.8.8.8", 3600, *JANUARY))))["buckets"]
        self.assertEqual((bucket["rtt_min_ns"], bucket["rtt_p50_ns"], bucket["rtt_max_ns"]), (1, 4, 9))

    def test_paths_are_told_apart_and_their_changes_are_in_the_timeline(self) -> None:
        one = a_trace({"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 3, "ip": "8.8.8.8"})
        other = a_trace({"ttl": 1, "ip": "10.0.0.2"}, {"ttl": 2, "timeout": True}, {"ttl": 3, "ip": "8.8.8.8"})
        for item in (one, one, other, one):
            self.bench.post(item, node="a")
            self.bench.outcome(self.bench.store.rotate())
        found = read(outcome(self.queries.ask(PATHS, Paths("8.8.8.8"))))
        self.assertEqual(
            [(path["hops"], path["count"]) for path in found["paths"]],
            [(["10.0.0.1", None, "8.8.8.8"], 3), (["10.0.0.2", None, "8.8.8.8"], 1)],
        )
        self.assertEqual([place for _, _, place in found["timeline"]], [0, 1, 0, 0])

    def test_a_text_is_no_delimiter(self) -> None:
        """Whatever a hop's text is, it is one hop, and no other."""
        for text in ("gw.example\n", "a\n7 203.0.113.7", '"],[2,"203.0.113.7"]', "\x00", " ", "9", "a,b"):
            self.bench.post(a_trace({"ttl": 1, "ip": text}, {"ttl": 2, "ip": "8.8.8.8"}), node=text.strip() or "a")
            found = read(outcome(self.queries.ask(PATHS, Paths("8.8.8.8"))))
            self.assertEqual(found["paths"][0]["hops"], [text, "8.8.8.8"])
            self.assertEqual(found["timeline"][0][2], 0)

    def test_what_is_written_for_silence_is_silence(self) -> None:
        hops = [{"ttl": ttl, "ip": ip} for ttl, ip in enumerate(("10.0.0.1", "0.0.0.0", "::", "10.0.0.4"), 1)]
        self.bench.post(a_trace(*hops))
        for _ in range(2):  # from the files, then from the summary
            self.assertIsNone(outcome(self.queries.ask(HOP, Hop("0.0.0.0", 10))))
            self.assertIsNone(outcome(self.queries.ask(HOP, Hop("::", 10))))
            (known,) = (read(outcome(self.queries.ask(HOP, Hop(ip, 10)))) for ip in ("10.0.0.1",))
            self.assertEqual((known["seen"], known["after"]), (1, []))
            self.assertEqual(read(outcome(self.queries.ask(LINKS, Links(10))))["links"], [])
        (path,) = read(outcome(self.queries.ask(PATHS, Paths("8.8.8.8"))))["paths"]
        self.assertEqual(path["hops"], ["10.0.0.1", None, None, "10.0.0.4"])

    def test_a_path_was_not_seen_at_a_time_that_cannot_be(self) -> None:
        for at in ("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"):
            self.bench.post(a_trace({"ttl": 1, "ip": "8.8.8.8"}) | {"timestamp": at})
        found = read(outcome(self.queries.ask(PATHS, Paths("8.8.8.8"))))
        ((first, last),) = ((path["first_seen"], path["last_seen"]) for path in found["paths"])
        self.assertEqual((first, last), ("2026-01-07T22:30:45Z",) * 2)
        self.assertEqual({at for at, _, _ in found["timeline"]}, {first})

    def test_paths_of_one_node_say_so_when_those_of_another_took_the_room(self) -> None:
        trace = a_trace({"ttl": 1, "ip": "8.8.8.8"})
        self.bench.post(trace, node="rare")
        for complete in (True, False):
            self.assertEqual(complete, read(outcome(self.queries.ask(PATHS, Paths("8.8.8.8", "rare"))))["complete"])
            self.bench.post(*[trace] * MOST_TRACEROUTES, node="busy")

    def test_hostile_text_comes_back_as_it_was_in_every_form(self) -> None:
        node, error = '=1+1,"a"', 'a "b",\r\n<script>\x00\u2028é'
        self.bench.post(a_result(error=error), node=node)
        (row,) = read(outcome(self.queries.ask(RECENT, Recent())))
        self.assertEqual(row["error"], error)
        table = outcome(self.queries.ask(NODES, Nodes(10)))
        self.assertEqual(read(table)["nodes"][0]["node"], node)
        table = outcome(self.queries.ask(NODES, Nodes(10)))
        assert isinstance(table, Table)
        (_, line) = csv.reader(b"".join(table.pages("csv")).decode().splitlines())
        self.assertEqual(line[0], f"'{node}")

    def test_no_cell_is_one_that_a_spreadsheet_would_run(self) -> None:
        """A text from a node gets an apostrophe; what only looks so, and numbers, are left as they are."""
        begun = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1")
        left = ("a=1", "'=1", " x", "a;=1", "")
        for error in (*begun, *left):
            self.bench.post(a_result(error=error))
        for node in ("=1+1", "+1", "-1", "@SUM(A1)", "a=1", "a;=1", "7"):
            self.bench.clock.advance(-5)
            self.bench.post(a_result(timestamp="2026-01-07T22:30:00Z", error="x"), node=node)
        rows = self.csv(outcome(self.queries.ask(RECENT, Recent(failed=False))))
        errors = [row["error"] for row in reversed(rows)]
        self.assertEqual(errors[: len(begun) + len(left)], [*(f"'{text}" for text in begun), *left])
        nodes = self.csv(outcome(self.queries.ask(NODES, Nodes(10))))
        self.assertEqual(
            {row["node"] for row in nodes}, {"192.0.2.9", "'=1+1", "'+1", "'-1", "'@SUM(A1)", "a=1", "a;=1", "7"}
        )
        offsets = {row["clock_offset_s"] for row in nodes}
        self.assertTrue(any(offset.startswith("-") for offset in offsets), offsets)

    def csv(self, answer: Found) -> list[dict[str, str]]:
        assert answer is not None
        text = b"".join(answer.pages("csv")).decode()
        self.assertNotIn(";=1,", text.replace('"a;=1"', ""))  # cut at a semicolon it would begin a cell
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def test_one_result_whole(self) -> None:
        self.bench.post(a_result(), {"ip": 1}, node="a")
        self.bench.outcome(self.bench.store.rotate())
        self.bench.post(a_trace(*many_hops(2), ip="1.1.1.1") | {"min_rtt": 5}, node="b")
        found = read(outcome(self.queries.ask(RESULT, Result(2))))
        self.assertEqual((found["node"], found["min_rtt"], len(found["traceroute"]["hops"])), ("b", 5, 2))
        found = read(outcome(self.queries.ask(RESULT, Result(1))))
        self.assertEqual((found["node"], found["batch"]), ("a", {"id": 1, "accepted": 1, "rejected": 1}))
        self.assertIsNone(outcome(self.queries.ask(RESULT, Result(3))))


class Late(dict[str, int]):
    """Parameters that end the question when they are bound: nothing runs yet that could be interrupted."""

    def __init__(self, session: Session) -> None:
        super().__init__(last=3_000_000)
        self.session = session

    def __missing__(self, name: str) -> int:
        self.session.end(NotReady("ended"))
        return 0


class Ended(SynchronousTestCase):
    def test_a_question_that_is_ended_as_it_begins_ends(self) -> None:
        session = Session([], Path("none"))
        self.addCleanup(session.close)
        long = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n LIMIT :last) SELECT count(*) FROM n"
        with self.assertRaises(NotReady):
            session.value(long, Late(session))


def a_question(work: Callable[[Session], object]) -> Question[Nodes]:
    def find(session: Session, _: Nodes, __: float) -> None:
        work(session)

    return Question("Anything", "/anything", Nodes, find, schemas={}, whole="", row="", summary="Anything")


_FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


class Ending(TestCase):
    """Real threads, and SQL that would go on for ever."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.threads = Threads(REACTOR, "test", 2)
        self.addCleanup(self.threads.stop)

    def queries(self, limit_s: float) -> Queries:
        async def at_once(within_s: float) -> None:
            pass

        return Queries(
            lambda: self.bench.store.files, self.bench.directory.summary, at_once, self.threads, REACTOR,
            self.bench.now, limit_s,
        )  # fmt: skip

    async def test_a_question_ends_with_its_time(self) -> None:
        began = time.monotonic()
        with self.assertRaises(TooLong):
            await self.queries(0.2).ask(a_question(lambda session: session.value(_FOR_EVER)), Nodes())
        self.assertLess(time.monotonic() - began, 30)

    async def test_a_stop_ends_all_questions_and_returns_when_no_file_is_open(self) -> None:
        queries = self.queries(600.0)
        begun = threading.Event()
        left = threading.Event()

        def ask(session: Session) -> None:
            def work(_: object) -> None:
                begun.set()
                session.value(_FOR_EVER)

            try:
                session.over_files(work)
            finally:
                left.set()

        asked = Deferred.fromCoroutine(queries.ask(a_question(ask), Nodes()))
        await self.threads(begun.wait)
        await queries.stop()
        self.assertTrue(left.is_set())
        with self.assertRaises(NotReady):
            await asked
        with self.assertRaises(NotReady):
            await queries.ask(RECENT, Recent())


class HungUp(TestCase):
    """The whole service, and more clients than it has threads for questions."""

    async def test_who_hangs_up_asks_no_more_and_keeps_no_other_waiting(self) -> None:
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(it.stop)
        endless = self.patch(Session, "over_files", lambda session, *_: session.value(_FOR_EVER))
        wires = [await it.connect("health-port") for _ in range(20)]
        for wire in wires:
            wire.write(b"GET /recent HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: it.parts.queries.under_way == len(wires))
        for wire in wires:
            wire.hang_up()
        await eventually(lambda: not it.parts.queries.under_way)
        endless.restore()
        self.assertEqual((await it.ask("GET", "/results/1", port="health-port")).status, 404)
        self.assertEqual(it.parts.health_site.in_flight, 0)
