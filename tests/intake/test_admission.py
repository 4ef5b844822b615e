"""What `outputd.admission` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.admission import Admission
from tests.kit.properties import given, settings

MIB = 1 << 20


class Room(SynchronousTestCase):
    """Rule 9: what waits is bounded by the memory it holds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.admission = Admission(64 * MIB, self.clock.seconds)

    def test_there_is_room_up_to_the_limit_and_not_beyond(self) -> None:
        """Rule 9: the limit itself may be held."""
        self.assertTrue(self.admission.has_room(64 * MIB))
        self.assertFalse(self.admission.has_room(64 * MIB + 1))
        self.admission.change(63 * MIB)
        self.assertTrue(self.admission.has_room(MIB))
        self.assertFalse(self.admission.has_room(MIB + 1))

    def test_large_bodies_leave_half_to_the_rows_of_those_that_are_in(self) -> None:
        """Rule 9: what was read and parsed is not refused then; a small body may have all."""
        self.admission.change(31 * MIB)
        self.assertTrue(self.admission.has_room_for_body(MIB))
        self.assertFalse(self.admission.has_room_for_body(MIB + 1))
        self.admission.change(32 * MIB)
        self.assertTrue(self.admission.has_room_for_body(1000))
        self.assertFalse(self.admission.has_room_for_body(100_000))

    def test_a_very_large_body_leaves_what_it_usually_becomes(self) -> None:
        """Rule 9: two of 8 MiB come in, and the first of them finds room for its rows."""
        self.admission.change(8 * MIB)
        self.assertTrue(self.admission.has_room_for_body(8 * MIB))
        self.admission.change(8 * MIB)
        self.assertFalse(self.admission.has_room_for_body(8 * MIB + 1))
        self.assertTrue(self.admission.has_room_for_body(4 * MIB))

    def test_what_is_let_go_is_room_again(self) -> None:
        """Rule 9: by a part, or all of it at the end."""
        memory = self.admission.reserve()
        self.assertTrue(memory.admit(64 * MIB))
        memory.shrink(63 * MIB)
        self.assertTrue(self.admission.has_room(MIB))
        self.assertEqual(self.admission.held_bytes, 63 * MIB)
        for _ in range(2):
            memory.let_go()
            self.assertEqual((self.admission.held_bytes, memory.size_bytes), (0, 0))

    def test_what_finds_no_room_holds_what_it_held(self) -> None:
        """Rule 9: a refusal takes nothing."""
        first, second = self.admission.reserve(), self.admission.reserve()
        self.assertTrue(first.admit(30 * MIB) and second.admit(MIB))
        self.assertFalse(second.grow(34 * MIB) or self.admission.reserve().admit(2 * MIB))
        self.assertEqual((first.size_bytes, second.size_bytes, self.admission.held_bytes), (30 * MIB, MIB, 31 * MIB))
        self.assertTrue(second.grow(33 * MIB))

    def test_one_alone_grows_beyond_the_limit(self) -> None:
        """Rule 9: what is taken from one sender on an idle service is not refused to it for ever."""
        memory = self.admission.reserve()
        self.assertTrue(memory.admit(60 * MIB) and memory.grow(20 * MIB))
        self.assertFalse(self.admission.reserve().admit(9 * MIB))

    def test_beside_little_one_grows_beyond_the_limit(self) -> None:
        """Rule 9: a stranger's single byte must not keep it out, nor the small bodies of a busy service."""
        for others_bytes, may in ((1, True), (8 * MIB, True), (8 * MIB + 1, False)):
            others, memory = self.admission.reserve(), self.admission.reserve()
            others.admit(others_bytes)
            self.assertTrue(memory.admit(8 * MIB))
            self.assertIs(may, memory.grow(60 * MIB), others_bytes)
            others.let_go()
            memory.let_go()

    def test_a_body_beyond_the_limit_comes_in_beside_little(self) -> None:
        """Rule 9: where the limit is lower than what a body may have."""
        admission = Admission(MIB, self.clock.seconds)
        trickling, memory = admission.reserve(), admission.reserve()
        self.assertTrue(trickling.admit(1) and memory.admit(8 * MIB) and memory.grow(60 * MIB))

    def test_only_one_is_beyond_the_limit(self) -> None:
        """Rule 9: until it ends; then the next may."""
        first, second = self.admission.reserve(), self.admission.reserve()
        self.assertTrue(first.admit(4 * MIB) and second.admit(4 * MIB))
        self.assertTrue(first.grow(80 * MIB))
        self.assertFalse(second.grow(80 * MIB))
        first.let_go()
        self.assertTrue(second.grow(80 * MIB))
        self.assertFalse(first.admit(9 * MIB))

    def test_small_ones_come_in_beside_it(self) -> None:
        """Rule 9: an eighth of the limit is theirs, all together, and it may grow on."""
        giant = self.admission.reserve()
        self.assertTrue(giant.admit(8 * MIB) and giant.grow(80 * MIB))
        small = [self.admission.reserve() for _ in range(201)]
        came_in = [each.admit(40 * 1024) and each.grow(MIB // 25 - 40 * 1024) for each in small]
        self.assertEqual([True] * 200 + [False], came_in)
        self.assertTrue(giant.grow(MIB))
        giant.shrink(8 * MIB)
        self.assertTrue(small[-1].grow(20 * MIB), "all is as before")


class RetryAfter(SynchronousTestCase):
    """Rule 9: computed from the measured drain rate."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.admission = Admission(64 * MIB, self.clock.seconds)

    def drain(self, bytes_a_second: int, seconds: int) -> None:
        for _ in range(seconds):
            self.admission.drained(bytes_a_second)
            self.clock.advance(1)
            self.admission.retry_after_s()

    def test_it_is_what_is_held_over_the_rate(self) -> None:
        """Rule 9: 60 MiB at 4 MiB/s are 15 s."""
        self.admission.change(60 * MIB)
        self.drain(4 * MIB, 120)
        self.assertIn(self.admission.retry_after_s(), (15, 16))

    def test_it_follows_a_disk_that_becomes_slow(self) -> None:
        """Rule 9: an old rate is forgotten."""
        self.admission.change(60 * MIB)
        self.drain(60 * MIB, 60)
        self.assertIn(self.admission.retry_after_s(), (1, 2))
        self.drain(3 * MIB, 60)
        self.assertIn(self.admission.retry_after_s(), (20, 21))

    def test_it_is_at_least_a_second(self) -> None:
        """Rule 9: also before anything was measured, and when nothing is held."""
        self.assertEqual(self.admission.retry_after_s(), 1)
        self.drain(MIB, 10)
        self.assertEqual(self.admission.retry_after_s(), 1)

    def test_before_anything_was_stored_it_is_the_time_that_this_has_taken(self) -> None:
        """Rule 9: an overload right after the start is not sent away for a minute."""
        self.admission.change(64 * MIB)
        self.clock.advance(2)
        self.assertIn(self.admission.retry_after_s(), (2, 3))

    def test_it_is_at_most_a_minute(self) -> None:
        """Rule 9: a stuck disk is asked again."""
        self.admission.change(64 * MIB)
        self.drain(1, 60)
        self.assertEqual(self.admission.retry_after_s(), 60)

    def test_quiet_hours_are_not_taken_for_a_slow_disk(self) -> None:
        """Rule 9: nothing to drain says nothing of the rate; a burst after a quiet night is told a short wait."""
        self.admission.change(60 * MIB)
        self.drain(60 * MIB, 60)
        self.admission.change(-60 * MIB)
        self.clock.advance(600)
        self.admission.change(64 * MIB)
        self.assertLess(self.admission.retry_after_s(), 10)

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(st.floats(0, 40_000), st.integers(0, 64 * MIB), st.integers(0, 64 * MIB), st.booleans()),
            max_size=8,
        )
    )
    def test_it_is_a_whole_number_of_1_to_60_whatever_happened(self, steps: list[tuple[float, int, int, bool]]) -> None:
        """Rule 9: never an error instead of an answer."""
        self.setUp()
        for elapsed, held, drained, asks in steps:
            self.admission.change(held)
            self.admission.drained(drained)
            self.clock.advance(elapsed)
            if asks:
                self.assertIn(self.admission.retry_after_s(), range(1, 61))
        self.assertIn(self.admission.retry_after_s(), range(1, 61))

    def test_it_is_told_after_a_very_long_quiet(self) -> None:
        """Rule 9: when the rate has faded to almost nothing."""
        for quiet_s in (5000, 5200, 5300, 5360, 5400, 40_000):
            self.setUp()
            self.admission.change(64 * MIB)
            self.drain(MIB, 5)
            self.clock.advance(quiet_s)
            self.assertIn(self.admission.retry_after_s(), range(1, 61), quiet_s)
