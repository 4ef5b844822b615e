"""What `outputd.intake.latest` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.intake import latest
from outputd.intake.latest import Latest
from outputd.results import timestamps

NOW_S = 1_767_825_045.0  # 2026-01-07 22:30:45
YEAR_S = 366 * 86_400.0


class Heard(SynchronousTestCase):
    """Rule 4: the latest timestamp between 1970 and now + 1 day, judged when it is asked for."""

    def setUp(self) -> None:
        self.latest = Latest()

    def note(self, *ages_s: float, clock_is_off_s: float = 0.0) -> None:
        """A batch whose results are so old, as a service takes it in whose clock is wrong by so much."""
        times = sorted(timestamps.at(NOW_S - age_s) for age_s in ages_s)
        until = timestamps.horizon(NOW_S + clock_is_off_s)
        believed, ahead = [at for at in times if at <= until], [at for at in times if at > until]
        self.latest.note(max(believed, default=""), max(ahead, default=""))

    def assert_age(self, age_s: float, clock_is_off_s: float = 0.0) -> None:
        self.assertEqual(timestamps.at(NOW_S - age_s), self.latest.at(NOW_S + clock_is_off_s))

    def test_none_before_any(self) -> None:
        self.latest.note("", "")
        self.assertEqual("", self.latest.at(NOW_S))

    def test_the_latest_and_not_the_last(self) -> None:
        for age_s in (50.0, 10.0, 4000.0, 30.0):
            self.note(age_s)
        self.assert_age(10.0)

    def test_a_clock_that_was_ahead_and_is_set_right(self) -> None:
        """It was ten years ahead, and so were some of the nodes."""
        self.note(100.0)
        self.note(-10 * YEAR_S, 20.0, clock_is_off_s=10 * YEAR_S)
        self.note(50.0, clock_is_off_s=10 * YEAR_S)
        self.assert_age(-10 * YEAR_S, clock_is_off_s=10 * YEAR_S)
        self.assert_age(50.0)

    def test_a_clock_that_was_behind_and_is_set_right(self) -> None:
        """It took all times for far future."""
        self.note(20.0, clock_is_off_s=-10 * YEAR_S)
        self.note(30.0, clock_is_off_s=-10 * YEAR_S)
        self.assertEqual("", self.latest.at(NOW_S - 10 * YEAR_S))
        self.assert_age(20.0)

    def test_a_time_beyond_the_horizon_hides_none_of_its_hour(self) -> None:
        self.note(-86_400.0, -86_401.0)
        self.note(-86_402.0)
        self.assert_age(-86_400.0)
        self.assert_age(-86_402.0, clock_is_off_s=2.0)

    def test_hours_are_bounded_and_no_sender_takes_the_latest_away(self) -> None:
        self.patch(latest, "_MOST_HOURS", 5)
        self.note(0.0)
        for hours in range(1, 100):
            self.note(hours * 3600.0)
            self.note(-hours * YEAR_S)
        self.assert_age(0.0)
        self.assertEqual(timestamps.at(NOW_S - 99 * 3600), self.latest.at(NOW_S - 99 * 3600 - 86_400))
        self.assertEqual("", self.latest.at(NOW_S - 100 * 3600 - 86_400))
