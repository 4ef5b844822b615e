from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.process.trouble import Failure, Kind, Trouble


class TestTrouble(SynchronousTestCase):
    """What fails is told once, and once more when it is over."""

    def setUp(self) -> None:
        self.now, self.seconds = 1000.0, 5.0
        self.told: list[str | float] = []
        self.trouble = Trouble(lambda: self.now, lambda: self.seconds, self.told.append, self.told.append)

    def test_it_is_told_once_and_its_newest_reason_is_kept_with_the_time_of_the_first(self) -> None:
        self.assertTrue(self.trouble.begin("no room", Kind.FULL))
        self.now = 1001.0
        self.assertFalse(self.trouble.begin("no disk", Kind.GONE))
        self.assertEqual(self.told, ["no room"])
        self.assertEqual(self.trouble.failure, Failure("no disk", 1000.0, Kind.GONE))

    def test_its_end_says_how_long_it_lasted_by_a_clock_that_nobody_sets(self) -> None:
        self.trouble.begin("no room")
        self.now, self.seconds = 0.0, 12.0
        self.trouble.end()
        self.assertEqual((self.told, self.trouble.failure), (["no room", 7.0], None))

    def test_the_end_of_none_is_not_told(self) -> None:
        self.trouble.end()
        self.assertEqual(self.told, [])

    def test_a_second_one_is_told_anew(self) -> None:
        self.trouble.begin("no room")
        self.trouble.end()
        self.trouble.begin("no room")
        self.assertEqual(self.told, ["no room", 0.0, "no room"])
