"""What `outputd.sender.pace` promises."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.sender.pace import LEAST_BYTES, MOST_PATIENCE_S, PATIENCE_S, Pace
from outputd.sender.source import MOST_BODY_BYTES

MIB = 1 << 20


class PaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pace = Pace(4)

    def state(self) -> tuple[int, int]:
        return self.pace.connections, self.pace.body_bytes

    def test_all_at_first(self) -> None:
        self.assertEqual((4, MOST_BODY_BYTES), self.state())
        self.assertFalse(self.pace.is_reduced)

    def test_a_time_out_halves_both_and_ends_at_the_least(self) -> None:
        self.pace.timed_out(2 * MIB)
        self.assertEqual((2, MIB), self.state())
        self.assertTrue(self.pace.is_reduced)
        for _ in range(9):
            self.pace.timed_out(self.pace.body_bytes)
        self.assertEqual((1, LEAST_BYTES), self.state())

    def test_a_small_body_makes_no_larger_limit(self) -> None:
        self.pace.timed_out(2 * MIB)
        self.pace.timed_out(8 * MIB)
        self.assertEqual((1, MIB), self.state())

    def test_so_does_an_answer_that_took_a_minute(self) -> None:
        self.pace.answered(2 * MIB, 61)
        self.assertEqual((2, MIB), self.state())
        self.assertEqual(PATIENCE_S, self.pace.patience_s)

    def test_it_waits_longer_each_time_and_not_for_ever(self) -> None:
        """Beyond the five minutes that outputd gives a body."""
        for _ in range(5):
            self.pace.timed_out(MIB)
        self.assertEqual(MOST_PATIENCE_S, self.pace.patience_s)

    def test_quick_answers_bring_it_back(self) -> None:
        self.pace.timed_out(2 * MIB)
        for seconds in (1, 1, 1, 20, 1, 1, 1):
            self.pace.answered(MIB, seconds)
        self.assertEqual((2, MIB), self.state())
        for _ in range(4 * 4):
            self.pace.answered(MIB, 1)
        self.assertEqual((4, MOST_BODY_BYTES), self.state())

    def test_words(self) -> None:
        self.pace.timed_out(2 * MIB)
        self.assertEqual("2 POSTs at a time, of 1,024 KiB at most", self.pace.words)
