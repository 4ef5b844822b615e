"""What `outputd.queries.cells` promises, against a recount in Python; a number is that of a rule of the contract."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from outputd.queries import cells
from outputd.queries.cells import CELLS, Cells
from outputd.results import timestamps
from tests.kit.asking import Asking
from tests.kit.makers import a_result

DAY = ("2026-01-07 00:00:00", "2026-01-08 00:00:00")
BEGIN = datetime.fromisoformat("2026-01-07T00:00:00+00:00")
Posted = list[tuple[str, dict[str, Any]]]


def recount(posted: Posted, bucket_s: int, node: str | None = None) -> dict[str, list[list[Any]]]:
    """The cells of each target: place, sent, lost, mean round-trip time."""
    found: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for sender, result in posted:
        at = datetime.fromisoformat(result["timestamp"])
        if node in (None, sender) and BEGIN <= at < BEGIN + timedelta(days=1):
            found[result["ip"]][int((at - BEGIN).total_seconds() // bucket_s)].append(result)
    return {ip: [[place, *_cell(row[place])] for place in sorted(row)] for ip, row in found.items()}


def _cell(results: list[dict[str, Any]]) -> list[Any]:
    rtts = [result["avg_rtt"] for result in results if result["received"] and result["avg_rtt"] is not None]
    lost = sum(max(0, result["sent"] - result["received"]) for result in results)
    return [sum(result["sent"] for result in results), lost, int(sum(rtts) / len(rtts) + 0.5) if rtts else None]


class TheCells(Asking):
    def fill_at_random(self) -> Posted:
        """Results of two nodes over three files, some before and after the day."""
        rng = random.Random(1)
        posted: Posted = []
        for number in range(3):
            if number:
                self.bench.outcome(self.bench.store.rotate())
            for node in ("a", "b"):
                results = []
                for _ in range(150):
                    at = BEGIN + timedelta(microseconds=rng.randrange(-(10**10), 10**11))
                    received = rng.choice((0, 3, 4, 5))
                    rtt = rng.choice((None, rng.randrange(1, 10**9))) if received else rng.choice((None, 0))
                    results.append(
                        a_result(
                            ip=f"198.18.0.{rng.randrange(9)}", received=received, avg_rtt=rtt, timestamp=at.isoformat()
                        )
                    )
                posted += [(node, result) for result in results]
                self.bench.post(*results, node=node)
        return posted

    def test_each_cell_is_what_was_measured_in_its_time(self) -> None:
        """Rule 16: over files and nodes."""
        posted = self.fill_at_random()
        for bucket_s in (900, 3600, 7000):
            for node in (None, "b"):
                answer = self.ask(CELLS, Cells(bucket=bucket_s, since=DAY[0], until=DAY[1], node=node))
                start = datetime.fromisoformat(answer["start"])
                wanted = recount(posted, bucket_s, node)
                if bucket_s != 7000:  # of which no bucket begins with the day
                    self.assertEqual(BEGIN, start)
                    self.assertEqual(wanted, {row["ip"]: row["cells"] for row in answer["targets"]})
                for row in answer["targets"]:
                    self.assertEqual(sum(cell[1] for cell in wanted[row["ip"]]), row["sent"])
                    self.assertEqual(sum(cell[2] for cell in row["cells"]), row["lost"])
                    self.assertLess(row["cells"][-1][0], answer["buckets"])

    def test_a_row_is_measured_against_its_own_median(self) -> None:
        posted = self.fill_at_random()
        for sort in ("ip", "rtt_rise_percent"):
            answer = self.ask(CELLS, Cells(bucket=3600, since=DAY[0], until=DAY[1], sort=sort))
            for row in answer["targets"]:
                rtts = sorted(cell[3] for cell in recount(posted, 3600)[row["ip"]] if cell[3] is not None)
                median = rtts[(len(rtts) + 1) // 2 - 1]
                self.assertEqual(median, row["rtt_ns"])
                self.assertLess(abs(100 * (rtts[-1] / median - 1) - row["rtt_rise_percent"]), 0.1)
                last = row["cells"][-1]
                self.assertLess(abs(min(100, 100 * last[2] / last[1]) - row["last_loss_percent"]), 0.001)
        rises = [row["rtt_rise_percent"] for row in answer["targets"]]
        self.assertEqual(sorted(rises, reverse=True), rises)

    def test_the_one_that_is_dead_comes_first(self) -> None:
        self.bench.post(*(a_result(ip=f"198.18.{n >> 8}.{n & 255}", received=0 if n == 321 else 4) for n in range(700)))
        first, *_ = self.ask(CELLS, Cells(since=DAY[0], until=DAY[1]))["targets"]
        self.assertEqual(("198.18.1.65", 100), (first["ip"], first["loss_percent"]))
        self.assertEqual((None, None, None), (first["rtt_ns"], first["rtt_rise_percent"], first["cells"][0][3]))

    def test_one_that_has_died_comes_first_by_its_last_cell(self) -> None:
        hours = [f"2026-01-07T{hour:02}:00:00Z" for hour in range(24)]
        self.bench.post(*(a_result(ip="1.1.1.1", received=0 if at >= hours[-1] else 4, timestamp=at) for at in hours))
        self.bench.post(*(a_result(ip="2.2.2.2", received=3, timestamp=at) for at in hours))
        for sort, first in (("loss_percent", "2.2.2.2"), ("last_loss_percent", "1.1.1.1")):
            rows = self.ask(CELLS, Cells(since=DAY[0], until=DAY[1], sort=sort))["targets"]
            self.assertEqual(first, rows[0]["ip"])

    def test_all_is_lost_where_nothing_was_sent(self) -> None:
        """Rule 2."""
        self.bench.post(a_result(sent=0, received=0))
        (row,) = self.ask(CELLS, Cells(since=DAY[0], until=DAY[1]))["targets"]
        self.assertEqual((0, 100, 100), (row["lost"], row["loss_percent"], row["last_loss_percent"]))

    def test_a_span_holds_its_beginning_and_not_its_end(self) -> None:
        """Rule 16: to the nanosecond."""
        times = ("2026-01-06T23:59:59.999999999Z", "2026-01-07T00:00:00Z", "2026-01-07T23:59:59.999999999Z",
                 "2026-01-08T00:00:00Z")  # fmt: skip
        self.bench.post(*(a_result(timestamp=at) for at in times))
        (row,) = self.ask(CELLS, Cells(since=DAY[0], until=DAY[1]))["targets"]
        self.assertEqual([0, 95], [cell[0] for cell in row["cells"]])
        self.assertEqual([], self.ask(CELLS, Cells(since=DAY[1], until=DAY[0]))["targets"])

    def test_any_time_can_be_asked_for(self) -> None:
        for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
            self.bench.post(a_result(timestamp=at))
        answer = self.ask(CELLS, Cells(since="0001-01-01 00:00:00", until="9999-12-31 23:59:59.9"))
        self.assertEqual(2, answer["targets"][0]["results"])
        self.assertEqual("0001-01-01T00:00:00Z", answer["start"])

    def test_a_network_or_a_part_of_an_address_chooses(self) -> None:
        self.bench.post(*(a_result(ip=ip) for ip in ("198.18.0.1", "198.18.1.1", "2001:db8::1")))
        choices: tuple[tuple[dict[str, Any], list[str]], ...] = (
            ({"prefix": "198.18.0.0/16"}, ["198.18.0.1", "198.18.1.1"]), ({"prefix": "2001:db8::/32"}, ["2001:db8::1"]),
            ({"text": "18.1"}, ["198.18.1.1"]), ({"text": "18.1", "prefix": "198.18.0.0/24"}, []),
        )  # fmt: skip
        for chosen, found in choices:
            rows = self.ask(CELLS, Cells(since=DAY[0], until=DAY[1], sort="ip", **chosen))["targets"]
            self.assertEqual(found, [row["ip"] for row in rows])

    def test_rows_and_buckets_are_bounded_together(self) -> None:
        self.patch(cells, "MOST_CELLS", 3000)
        self.bench.post(*(a_result(ip=f"198.18.0.{n}") for n in range(50)))
        for bucket, buckets, rows in ((1, 1000, 3), (900, 96, 31), (43_200, 2, 50)):
            answer = self.ask(CELLS, Cells(bucket=bucket, since=DAY[0], until=DAY[1]))
            self.assertEqual(rows, len(answer["targets"]))
            self.assertLessEqual(answer["buckets"] - buckets, 1)

    def test_pages_have_each_row_once(self) -> None:
        self.bench.post(*(a_result(ip=f"198.18.0.{n}", received=n % 5) for n in range(50)))
        for sort in ("loss_percent", "ip"):
            found, cursor = [], None
            while True:
                asked = Cells(limit=7, since=DAY[0], until=DAY[1], sort=sort, cursor=cursor)
                table = self.find(CELLS, asked)
                assert table is not None
                text = b"".join(table.pages("json"))
                found += [row["ip"] for row in json.loads(text)["targets"]]
                cursor = table.notes.following.get("cursor")
                if cursor is None:
                    break
            self.assertEqual((50, 50), (len(found), len(set(found))))

    def test_csv_and_ndjson_have_the_same_rows(self) -> None:
        self.fill_at_random()
        asked = Cells(since=DAY[0], until=DAY[1], sort="ip")
        rows = self.ask(CELLS, asked)["targets"]
        self.assertEqual(rows, [json.loads(line) for line in (self.answer(CELLS, asked, "ndjson") or "").splitlines()])
        lines = list(csv.DictReader(io.StringIO(self.answer(CELLS, asked, "csv"))))
        self.assertEqual([(row["ip"], row["cells"]) for row in rows],
                         [(line["ip"], json.loads(line["cells"])) for line in lines])  # fmt: skip

    def test_without_a_span_it_is_the_last_day(self) -> None:
        self.bench.post(a_result(timestamp=timestamps.printed(timestamps.at(self.bench.now() - 60))))
        self.assertEqual(1, len(self.ask(CELLS, Cells())["targets"]))
