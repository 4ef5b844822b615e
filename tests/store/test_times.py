"""What `outputd.store.times` promises, over the edges of the calendar, against whole nanoseconds in Python."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.store.times import a_day_after, bucket_of, minute_bound, second_of, seconds_between, within
from tests.kit.properties import example, given, settings

EDGES = [
    "0001-01-01 00:00:00", "0001-01-01 00:00:00.000000001", "1582-10-04 23:59:59.9999", "1900-02-28 23:59:59.9996",
    "1969-12-31 23:59:59.9996", "1969-12-31 23:59:59.999999999", "1970-01-01 00:00:00",
    "1970-01-01 00:00:00.000000001", "2024-02-28 23:59:59.9996", "2024-02-29 00:00:00", "2024-02-29 12:59:59.9996",
    "2024-02-29 12:59:59.999999999", "2024-02-29 13:00:00", "2024-02-29 13:00:00.5", "2024-02-29 13:00:00.55",
    "2024-03-01 00:00:00", "2100-02-28 23:59:59.9996", "9999-12-31 00:00:00", "9999-12-31 23:59:59.999999999",
]  # fmt: skip
LENGTHS_S = (1, 60, 3600, 86_400, 604_800, 366 * 86_400, 10_000 * 366 * 86_400)
_1970 = datetime(1970, 1, 1)
_LEAST_S = int((datetime.min - _1970).total_seconds())
DAY_NS = 86_400 * 10**9


def ns(text: str) -> int:
    """Nanoseconds since 1970."""
    since = datetime.fromisoformat(text[:19]) - _1970
    return (since.days * 86_400 + since.seconds) * 10**9 + int(text[20:].ljust(9, "0"))


def stored(moment: datetime, fraction_ns: int) -> str:
    """A stored time."""
    return f"{moment.isoformat(' ', 'seconds')}.{fraction_ns:09}".rstrip("0").rstrip(".")


MOMENTS = st.sampled_from(EDGES) | st.builds(
    stored, st.datetimes().map(lambda moment: moment.replace(microsecond=0)), st.integers(0, 10**9 - 1)
)


class Times(SynchronousTestCase):
    """Rule 16."""

    def setUp(self) -> None:
        self.db = sqlite3.connect(":memory:")
        self.addCleanup(self.db.close)

    def value(self, expression: str, **parameters: object) -> Any:
        return self.db.execute(f"SELECT {expression}", parameters).fetchone()[0]

    def test_a_second_and_a_bucket_hold_their_beginning_and_not_their_end(self) -> None:
        for text in EDGES:
            second = ns(text) // 10**9
            self.assertEqual(self.value(second_of(":at"), at=text), second, text)
            for length in LENGTHS_S:
                begin = max(second // length * length, _LEAST_S)
                found = self.value(bucket_of(":second", ":length"), second=second, length=length)
                self.assertEqual(ns(found) // 10**9, begin, (text, length))

    def test_of_spans_that_adjoin_each_time_is_in_one(self) -> None:
        with closing(sqlite3.connect(":memory:")) as db:
            db.execute("CREATE TABLE seen (at DATETIME NOT NULL)")
            db.executemany("INSERT INTO seen VALUES (?)", [(text,) for text in EDGES])
            for since, until in [(None, EDGES[0]), *pairwise(EDGES), (EDGES[-1], None)]:
                where = " AND ".join(within("at", since, until))
                found = db.execute(f"SELECT at FROM seen WHERE {where}", {"since": since, "until": until}).fetchall()
                self.assertEqual(found, [] if since is None else [(since,)])

    @settings(max_examples=300, deadline=None)
    @given(MOMENTS, MOMENTS)
    @example("2024-02-29 13:00:00", "2024-02-29 13:00:00.5")
    def test_two_times_compare_as_their_nanoseconds(self, one: str, other: str) -> None:
        self.assertEqual(one < other, ns(one) < ns(other))
        seconds = self.value(seconds_between(":one", ":other"), one=one, other=other)
        self.assertLess(abs(seconds - (ns(other) - ns(one)) / 10**9), 0.0006)

    @settings(max_examples=300, deadline=None)
    @given(MOMENTS, st.integers(-2, 2))
    def test_a_day_is_24_hours_to_the_nanosecond(self, text: str, by_ns: int) -> None:
        second, fraction = divmod(ns(text) + DAY_NS + by_ns, 10**9)
        later = self.value(a_day_after(":at"), at=text)
        try:
            moment = _1970 + timedelta(seconds=second)
        except OverflowError:  # beyond the year 9999 there is no time to compare it with
            self.assertGreater(later, EDGES[-1])
        else:
            self.assertEqual(stored(moment, fraction) <= later, by_ns <= 0)

    def test_a_minute_is_in_the_span_that_holds_its_beginning(self) -> None:
        minute = "2026-01-07 22:30"
        for bound, is_before in (
            ("2026-01-07 22:30:00", False), ("2026-01-07 22:30:00.000000001", True), ("2026-01-07 22:30:59", True),
            ("2026-01-07 22:31:00", True), ("2026-01-07 22:29:59.999999999", False), ("2026-01-07 22:00:00", False),
        ):  # fmt: skip
            self.assertEqual(minute < minute_bound(bound), is_before, bound)
