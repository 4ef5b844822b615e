"""What `outputd.store.ids` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.store.ids import Ids, furthest


class Numbers(SynchronousTestCase):
    def test_the_furthest_is_told_for_each_kind_by_itself(self) -> None:
        """Rule 12: after a clock was set back the newest file need not have the highest ids."""
        self.assertEqual(Ids(9, 7, 8), furthest([Ids(9, 2, 3), Ids(1, 7, 8)]))

    def test_they_begin_at_1(self) -> None:
        self.assertEqual(Ids(1, 1, 1), furthest([]))

    def test_an_unreadable_file_takes_more_than_it_can_have_held(self) -> None:
        """Rule 12: a row takes more than 16 bytes."""
        self.assertEqual(Ids(101, 102, 103), Ids(1, 2, 3).beyond(1600))
