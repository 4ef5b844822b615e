"""What `outputd.export.pace` promises."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.export.pace import Pace


class PaceTests(SynchronousTestCase):
    def test_where_nothing_comes_in_it_never_rests(self) -> None:
        pace = Pace(5000, 7.0, 10.0)
        self.assertEqual([0.0, 0.0], [pace.rest_s(0.1, 5000, 7.1, now_s) for now_s in (10.1, 20.0)])

    def test_beside_a_crowd_the_process_works_16_times_as_long_meanwhile_but_no_rest_is_long(self) -> None:
        pace = Pace(0, 0.0, 0.0)
        self.assertEqual([1.6, 5.0], [pace.rest_s(worked_s, 10_000, 1.0, 1.0) for worked_s in (0.1, 50.0)])
        self.assertEqual(3.2, pace.rest_s(0.1, 20_000, 1.5, 2.0))  # it has half of a CPU
        self.assertEqual(0.8, pace.rest_s(0.1, 30_000, 3.5, 3.0))  # two

    def test_beside_few_it_rests_less(self) -> None:
        self.assertAlmostEqual(0.16, Pace(0, 0.0, 0.0).rest_s(0.1, 20, 1.0, 1.0))

    def test_a_crowd_that_has_gone_is_forgotten(self) -> None:
        pace = Pace(0, 0.0, 0.0)
        self.assertEqual(1.6, pace.rest_s(0.1, 10_000, 1.0, 1.0))
        self.assertEqual(1.6, pace.rest_s(0.1, 10_000, 1.0, 1.1))  # too soon to tell
        self.assertEqual(0.0, pace.rest_s(0.1, 10_000, 1.1, 2.0))
