"""What `outputd.queries.spans` promises."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.spans import DAY_S, MOST_BUCKET_S, MOST_BUCKETS, Span, nice, span_of
from tests.kit.bench import EPOCH

NOW = "2026-01-07 22:30:45"
DAY = Span("2026-01-06 22:30:45", NOW)
ALL_TIME = Span("0001-01-01 00:00:00", "9999-12-31 23:59:59")


class Spans(SynchronousTestCase):
    def test_it_ends_now_and_lasts_the_usual_time_unless_it_is_said(self) -> None:
        noon = "2026-01-01 12:00:00"
        self.assertEqual(DAY, span_of(None, None, EPOCH, DAY_S))
        self.assertEqual(Span(noon, NOW), span_of(noon, None, EPOCH, DAY_S))
        self.assertEqual(Span("2025-12-31 12:00:00", noon), span_of(None, noon, EPOCH, DAY_S))
        self.assertEqual("0001-01-01 00:00:00", span_of(None, "0001-01-01 00:00:01", EPOCH, DAY_S).since)

    def test_one_that_ends_before_it_begins_lasts_no_time(self) -> None:
        self.assertEqual(0.0, Span(NOW, DAY.since).lasts_s)

    def test_its_buckets_are_as_long_as_is_asked_or_as_a_person_would_choose(self) -> None:
        self.assertEqual((90, 600), (DAY.bucket_s(90), DAY.bucket_s(None)))
        self.assertEqual([60, 120, 120], [DAY.bucket_s(asked, unit_s=60) for asked in (1, 61, 120)])

    def test_there_are_never_too_many(self) -> None:
        for span in (DAY, ALL_TIME):
            for unit_s in (1, 60):
                bucket_s = span.bucket_s(1, unit_s)
                self.assertLessEqual(span.lasts_s / bucket_s, MOST_BUCKETS)
                self.assertEqual(0, bucket_s % unit_s)

    def test_none_is_longer_than_all_time(self) -> None:
        self.assertEqual(MOST_BUCKET_S, DAY.bucket_s(2**63 - 1))

    def test_what_a_person_would_choose(self) -> None:
        self.assertEqual([1, 1, 2, 60, 43_200, DAY_S, 2 * DAY_S], [
            nice(seconds) for seconds in (0, 1, 1.1, 31, 43_200, 43_201, DAY_S + 1)
        ])  # fmt: skip
