"""What `ticks.js` promises, by node, in zones whose clocks are odd; without node these tests are skipped and say so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.pages.test_pages import STATIC

HOUR_S, DAY_S = 3600, 86_400
_SCRIPT = """
import(`data:text/javascript,${encodeURIComponent(process.argv[1])}`).then(({ timeTicks }) => {
  console.log(JSON.stringify(JSON.parse(process.argv[2]).map((asked) => timeTicks(...asked))));
});
"""


class TimeTicks(SynchronousTestCase):
    """Ticks of a span that begins at a local time of a zone: seconds since 1970, with their labels."""

    def ticks(self, zone: str, since: str, span_s: float, about: int = 8) -> list[tuple[datetime, str]]:
        node = shutil.which("node")
        if node is None:
            raise SkipTest("node is not installed (Debian: nodejs)")
        begin = datetime.fromisoformat(since).replace(tzinfo=ZoneInfo(zone)).timestamp()
        asked: list[list[Any]] = [[begin * 1000, (begin + span_s) * 1000, about]]
        source = (STATIC / "ticks.js").read_text()
        said = subprocess.run(
            [node, "-e", _SCRIPT, source, json.dumps(asked)], check=True, capture_output=True, timeout=60,
            env={**os.environ, "TZ": zone, "LC_ALL": "en_GB.UTF-8"},
        ).stdout  # fmt: skip
        (found,) = json.loads(said)
        self.assertTrue(found)
        return [(datetime.fromtimestamp(tick["at"] / 1000, ZoneInfo(zone)), tick["label"]) for tick in found]

    def test_each_day_has_one_tick_at_its_beginning_whatever_is_done_to_the_clock(self) -> None:
        """In a week with a change of summer time "Oct 25" stood twice, and later days bore the name before."""
        for zone, since in (
            ("Europe/Berlin", "2026-10-20 10:00"), ("Europe/Berlin", "2026-03-26 10:00"), ("UTC", "2024-02-27 10:00"),
            ("America/New_York", "2026-10-29 23:59"), ("Australia/Lord_Howe", "2026-04-02 10:00"),
            ("Asia/Kathmandu", "2026-10-20 10:00"),
        ):  # fmt: skip
            found = self.ticks(zone, since, 7 * DAY_S)
            first = datetime.fromisoformat(since) + timedelta(days=1)
            days = [(first + timedelta(days=n)).date() for n in range(7)]
            self.assertEqual([at.date() for at, _ in found], days, zone)
            self.assertEqual({(at.hour, at.minute) for at, _ in found}, {(0, 0)}, zone)
            for (_, label), day in zip(found, days, strict=True):
                self.assertIn(str(day.day), label)

    def test_a_day_that_has_no_midnight_begins_when_it_begins(self) -> None:
        found = self.ticks("America/Havana", "2026-03-05 10:00", 7 * DAY_S)
        self.assertEqual(
            [(at.day, at.hour) for at, _ in found], [(6, 0), (7, 0), (8, 1), *((n, 0) for n in range(9, 13))]
        )

    def test_a_day_that_a_zone_leaves_out_has_none(self) -> None:
        found = self.ticks("Pacific/Apia", "2011-12-28 10:00", 5 * DAY_S, 6)
        self.assertEqual([at.day for at, _ in found], [29, 31, 1, 2, 3])

    def test_hours_are_round_before_and_after_a_change_of_the_clock(self) -> None:
        for since in ("2026-10-24 22:30", "2026-03-28 22:30"):
            for hours in (1, 2, 3, 6):
                found = self.ticks("Europe/Berlin", since, 8 * hours * HOUR_S)
                self.assertEqual({(at.hour % hours, at.minute) for at, _ in found}, {(0, 0)}, (since, hours))
                self.assertEqual([at for at, _ in found], sorted(at for at, _ in found))
                steps = {later.timestamp() - at.timestamp() for (at, _), (later, _) in pairwise(found)}
                self.assertLessEqual(steps, {(hours + more) * HOUR_S for more in (-1, 0, 1)}, (since, hours))
        self.assertEqual(
            [at.minute for at, _ in self.ticks("Asia/Kathmandu", "2026-10-20 10:03", 70 * 60)],
            [10, 20, 30, 40, 50, 0, 10],
        )

    def test_over_a_year_no_month_stands_twice_or_is_left_out(self) -> None:
        found = self.ticks("Europe/Berlin", "2025-10-20 10:00", 370 * DAY_S, 14)
        self.assertEqual([(at.month, at.day) for at, _ in found], [(n, 1) for n in (11, 12, *range(1, 11))])
        labels = [label for _, label in found]
        self.assertEqual(len(set(labels)), len(labels))
        found = self.ticks("Europe/Berlin", "2001-10-20 10:00", 25 * 366 * DAY_S, 8)
        self.assertEqual({(at.year % 5, at.month) for at, _ in found}, {(0, 1)})
