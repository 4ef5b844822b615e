"""What `outputd.process.systemd` promises; what systemd itself is told is a test of the whole process."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from outputd.process.systemd import Rate


class Rates(SynchronousTestCase):
    def test_a_rate_is_that_since_the_last_question(self) -> None:
        clock, count = Clock(), [0]
        rate = Rate(lambda: count[0], clock)
        clock.advance(5)
        count[0] = 50
        self.assertEqual(rate(), 10)
        clock.advance(5)
        self.assertEqual(rate(), 0)

    def test_two_questions_at_one_moment_are_no_division_by_zero(self) -> None:
        rate = Rate(lambda: 7, Clock())
        self.assertEqual((rate(), rate()), (0, 0))
