"""What `outputd.queries.series` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from outputd.queries.series import SERIES, Series
from tests.kit.asking import JANUARY, Asking, answer
from tests.kit.bench import Bench
from tests.kit.makers import a_result
from tests.kit.pools import outcome


class TheSeries(Asking):
    def test_quantiles_are_values_that_were_measured(self) -> None:
        """Nearest rank, against Python."""
        rng = random.Random(1)
        for size in (1, 2, 9, 100):
            bench = Bench(Path(self.mktemp()))
            rtts = [rng.randrange(10**9) for _ in range(size)]
            bench.post(*(a_result(avg_rtt=rtt) for rtt in rtts), a_result(received=0, avg_rtt=0), node="a")
            text = outcome(answer(bench.queries(), SERIES, Series("8.8.8.8", 3600, *JANUARY)))
            (bucket,) = json.loads(text or b"")["buckets"]
            rtts.sort()
            for rank in (10, 25, 50, 75, 90):
                self.assertEqual(bucket[f"rtt_p{rank}_ns"], rtts[math.ceil(rank * size / 100) - 1])
            self.assertEqual((bucket["rtt_min_ns"], bucket["rtt_max_ns"]), (rtts[0], rtts[-1]))
            self.assertEqual(
                (bucket["count"], bucket["failed"], bucket["start"]), (size + 1, 1, "2026-01-07T22:00:00Z")
            )

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
            buckets = self.ask(SERIES, Series("8.8.8.8", 3600, since, until))["buckets"]
            self.assertEqual(starts, [bucket["start"] for bucket in buckets])
        all_time = Series("8.8.8.8", 10_000 * 366 * 86_400, "0001-01-01 00:00:00", "9999-12-31 23:59:59")
        ages = self.ask(SERIES, all_time)["buckets"]
        self.assertEqual([(age["start"], age["count"]) for age in ages], [
            ("0001-01-01T00:00:00Z", 2), ("1970-01-01T00:00:00Z", 2),
        ])  # fmt: skip

    def test_extremes_are_those_of_the_packets_where_the_node_gave_them(self) -> None:
        self.bench.post(a_result(avg_rtt=5, min_rtt=1, max_rtt=9), a_result(avg_rtt=4))
        (bucket,) = self.ask(SERIES, Series("8.8.8.8", 3600, *JANUARY))["buckets"]
        self.assertEqual((bucket["rtt_min_ns"], bucket["rtt_p50_ns"], bucket["rtt_max_ns"]), (1, 4, 9))
