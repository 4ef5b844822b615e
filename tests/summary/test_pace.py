from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.summary.pace import FAR, MANY, REST_S, Pace


class PaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pace = Pace(0.0)

    def test_a_few_results_wait_for_more_and_not_for_ever(self) -> None:
        self.pace.count(100, 50.0)
        self.assertFalse(self.pace.is_due(101, 50.0 + REST_S - 0.1))
        self.assertTrue(self.pace.is_due(101, 50.0 + REST_S))

    def test_many_do_not_wait(self) -> None:
        self.pace.count(100, 50.0)
        self.assertFalse(self.pace.is_due(100 + MANY - 1, 50.1))
        self.assertTrue(self.pace.is_due(100 + MANY, 50.1))

    def test_nobody_is_held_up_by_a_crowd(self) -> None:
        """But beside a few POSTs, an answer has what was stored before it was asked for."""
        for per_s, in_vain in ((500, False), (5000, True)):
            pace = Pace(0.0)
            for second in range(1, 5):
                pace.look(per_s * second, float(second))
                pace.count(per_s * second, float(second))
            self.assertEqual(pace.is_in_vain(per_s * 4), in_vain)

    def test_looks_that_follow_each_other_at_once_make_no_crowd(self) -> None:
        """A body of many results, and a question right after it."""
        self.pace.look(0, 100.0)
        self.pace.look(1500, 100.01)
        self.pace.count(1500, 100.01)
        self.assertFalse(self.pace.is_in_vain(1500))

    def test_a_body_of_many_results_makes_no_crowd(self) -> None:
        """Who sends it, and asks a second later, waits until it is counted: nothing else would have it counted then."""
        self.pace.count(0, 100.0)
        self.pace.look(0, 100.0)
        self.pace.look(1500, 101.0)
        self.assertFalse(self.pace.is_due(1500, 101.0) or self.pace.is_in_vain(1500))

    def test_a_crowd_is_over_when_it_has_gone(self) -> None:
        for second in range(1, 5):
            self.pace.look(5000 * second, float(second))
        self.pace.look(20_000, 5.0)
        self.pace.count(20_000, 5.0)
        self.assertFalse(self.pace.is_in_vain(20_000))

    def test_nobody_waits_for_what_takes_longer_than_he_would(self) -> None:
        self.pace.count(100, 50.0)
        self.assertFalse(self.pace.is_in_vain(100 + FAR))
        self.assertTrue(self.pace.is_in_vain(101 + FAR))
