"""What `outputd.turns` promises."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from outputd.process.turns import Turns


class Disk:
    """Work that ends when told to."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.under_way: list[Deferred[str]] = []

    async def work(self, items: Sequence[int]) -> str:
        self.turns.append(list(items))
        done: Deferred[str] = Deferred()
        self.under_way.append(done)
        return await done

    def end(self, outcome: str = "written") -> None:
        self.under_way.pop(0).callback(outcome)

    def fail(self, error: Exception) -> None:
        self.under_way.pop(0).errback(error)


def started(work: Callable[[], Coroutine[Any, Any, None]]) -> Deferred[None]:
    return Deferred.fromCoroutine(work())


class TurnsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.disk = Disk()
        self.turns = Turns(self.clock, self.disk.work, lambda item: item, 100, 4)


class GroupCommit(TurnsTest):
    """Rule 1 is paid once for all that waits."""

    def test_many_answers_leave_the_reactor_its_time(self) -> None:
        """Rule 9: when answering takes long, what the reactor has to do besides comes between."""
        told: list[str] = []

        def answer(outcome: str) -> None:
            told.append(outcome)
            self.clock.rightNow += 0.006

        for _ in range(4):
            self.turns.add(1).addCallback(answer)
        self.clock.advance(0)
        self.clock.callLater(0, told.append, "something else")
        self.disk.end("written")
        self.clock.advance(0)
        self.assertEqual(["written", "written", "something else", "written", "written"], told)

    def test_a_turn_is_told_whole_before_the_next_one_is(self) -> None:
        """Whoever learns from the answers, as the ledger does, may count on their order."""
        told: list[int] = []

        def answered(number: int) -> Callable[[str], None]:
            def answer(_: str) -> None:
                told.append(number)
                self.clock.rightNow += 0.006

            return answer

        for number in range(8):
            self.turns.add(1).addCallback(answered(number))
        self.clock.advance(0)
        self.disk.end()
        self.disk.end()
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
        self.assertEqual(list(range(8)), told)

    def test_nor_is_a_turn_overtaken_by_one_that_ends_at_once(self) -> None:
        """As a turn does whose work fails before it waits for anything."""
        told: list[int] = []

        async def work(_: Sequence[int]) -> str:
            return "done"

        turns = Turns(self.clock, work, lambda item: item, 100, 4)
        for number in range(8):
            turns.add(1).addCallback(lambda _, number: told.append(number), number)
        self.clock.advance(0)
        self.assertEqual(list(range(8)), told)

    def test_all_that_comes_in_one_tick_shares_a_turn(self) -> None:
        for item in (1, 2, 3):
            self.turns.add(item)
        self.assertEqual(self.disk.turns, [])
        self.clock.advance(0)
        self.assertEqual(self.disk.turns, [[1, 2, 3]])

    def test_every_item_has_its_turns_outcome_and_not_before_its_end(self) -> None:
        """Rule 1: nobody is answered before the commit."""
        answers = [self.turns.add(item) for item in (1, 2)]
        self.clock.advance(0)
        for answer in answers:
            self.assertNoResult(answer)
        self.disk.end("on disk")
        self.assertEqual([self.successResultOf(answer) for answer in answers], ["on disk", "on disk"])

    def test_what_comes_during_a_turn_gathers_for_the_next_which_begins_at_once(self) -> None:
        self.turns.add(1)
        self.clock.advance(0)
        late = [self.turns.add(item) for item in (2, 3)]
        self.clock.advance(10)
        self.assertEqual((self.disk.turns, self.turns.waiting), ([[1]], 2))
        self.disk.end()
        self.assertEqual((self.disk.turns, self.turns.waiting), ([[1], [2, 3]], 0))
        self.assertNoResult(late[0])

    def test_the_next_turn_begins_before_the_answers_of_the_last(self) -> None:
        """So that the writer writes while answers are sent."""
        seen: list[list[list[int]]] = []
        self.turns.add(1).addCallback(lambda _: seen.append(list(self.disk.turns)))
        self.clock.advance(0)
        self.turns.add(2)
        self.disk.end()
        self.assertEqual(seen, [[[1], [2]]])

    def test_what_is_light_is_shared_with_those_who_come_again_when_they_are_answered(self) -> None:
        """A turn for a few costs as much as one for many."""
        turns = Turns(self.clock, self.disk.work, lambda item: item, 100, 4, light=10)
        turns.add(1).addCallback(lambda _: len([turns.add(3)]))
        self.clock.advance(0)
        turns.add(2)
        self.disk.end()
        self.assertEqual(self.disk.turns, [[1]])
        self.clock.advance(0)
        self.assertEqual(self.disk.turns, [[1], [2, 3]])
        turns.add(4)
        turns.add(6)
        self.disk.end()
        self.assertEqual(self.disk.turns, [[1], [2, 3], [4, 6]])

    def test_they_come_again_with_the_reactor_s_next_look_at_the_sockets(self) -> None:
        """And not before: what is due at once is called before it looks."""
        turns = Turns(self.clock, self.disk.work, lambda item: item, 100, 4, light=10)
        turns.add(1).addCallback(lambda _: len([self.clock.callLater(0, turns.add, 3)]))
        self.clock.advance(0)
        turns.add(2)
        self.disk.end()
        self.clock.advance(0)
        self.assertEqual(self.disk.turns, [[1], [2, 3]])

    def test_a_failure_is_its_turns_alone(self) -> None:
        first = [self.turns.add(1), self.turns.add(2)]
        self.clock.advance(0)
        second = self.turns.add(3)
        self.disk.fail(OSError("full"))
        for answer in first:
            self.failureResultOf(answer, OSError)
        self.disk.end("room again")
        self.assertEqual(self.successResultOf(second), "room again")

    def test_a_turn_takes_no_more_than_its_weight_in_order(self) -> None:
        for item in (60, 40, 1, 99, 2):
            self.turns.add(item)
        self.clock.advance(0)
        self.disk.end()
        self.disk.end()
        self.assertEqual(self.disk.turns, [[60, 40], [1, 99], [2]])

    def test_an_item_over_the_weight_has_a_turn_of_its_own(self) -> None:
        for item in (1, 1000, 1):
            self.turns.add(item)
        self.clock.advance(0)
        self.disk.end()
        self.disk.end()
        self.assertEqual(self.disk.turns, [[1], [1000], [1]])

    def test_a_turn_takes_no_more_than_its_number_of_items(self) -> None:
        for item in range(6):
            self.turns.add(item)
        self.clock.advance(0)
        self.disk.end()
        self.assertEqual(self.disk.turns, [[0, 1, 2, 3], [4, 5]])

    def test_an_item_given_up_by_its_owner_harms_no_other(self) -> None:
        given_up, other = self.turns.add(1), self.turns.add(2)
        given_up.cancel()
        self.failureResultOf(given_up)
        self.clock.advance(0)
        self.disk.end()
        self.assertEqual(self.successResultOf(other), "written")

    def test_settle_returns_when_nothing_waits_and_no_turn_is_under_way(self) -> None:
        """Rule 23: what was taken in is written before the file is closed."""
        self.successResultOf(started(self.turns.settle))
        self.turns.add(1)
        settled = started(self.turns.settle)
        self.clock.advance(0)
        self.turns.add(2)
        self.disk.end()
        self.assertNoResult(settled)
        self.disk.end()
        self.successResultOf(settled)

    def test_settle_returns_after_a_failed_turn_too(self) -> None:
        answer = self.turns.add(1)
        settled = started(self.turns.settle)
        self.clock.advance(0)
        self.disk.fail(OSError("full"))
        self.failureResultOf(answer, OSError)
        self.successResultOf(settled)

    def test_hold_waits_for_the_turn_under_way_and_lets_none_begin_before_release(self) -> None:
        """Rule 11: a rotation refuses nothing and loses nothing."""
        self.turns.add(1)
        self.clock.advance(0)
        held = started(self.turns.hold)
        late = self.turns.add(2)
        self.assertNoResult(held)
        self.disk.end()
        self.successResultOf(held)
        self.clock.advance(10)
        self.assertEqual(self.disk.turns, [[1]])
        self.turns.release()
        self.clock.advance(0)
        self.disk.end("in the new file")
        self.assertEqual(self.successResultOf(late), "in the new file")

    def test_hold_returns_at_once_when_no_turn_is_under_way(self) -> None:
        self.turns.add(1)
        self.successResultOf(started(self.turns.hold))
        self.clock.advance(10)
        self.assertEqual(self.disk.turns, [])
        self.turns.release()
        self.clock.advance(0)
        self.assertEqual(self.disk.turns, [[1]])

    def test_release_with_nothing_waiting_is_harmless(self) -> None:
        self.successResultOf(started(self.turns.hold))
        self.turns.release()
        self.clock.advance(1)
        self.assertEqual(self.disk.turns, [])

    def test_settle_waits_through_a_hold(self) -> None:
        self.successResultOf(started(self.turns.hold))
        self.turns.add(1)
        settled = started(self.turns.settle)
        self.turns.release()
        self.clock.advance(0)
        self.assertNoResult(settled)
        self.disk.end()
        self.successResultOf(settled)


class Patience(TurnsTest):
    """An item may give others time to come."""

    def test_it_waits_so_long_and_no_longer(self) -> None:
        self.turns.add(1, within_s=5)
        self.clock.advance(3)
        self.turns.add(2, within_s=5)
        self.clock.advance(1.9)
        self.assertEqual(self.disk.turns, [])
        self.clock.advance(0.1)
        self.assertEqual(self.disk.turns, [[1, 2]])

    def test_one_without_any_takes_along_what_waits(self) -> None:
        self.turns.add(1, within_s=5)
        self.clock.advance(1)
        self.turns.add(2)
        self.clock.advance(0)
        self.assertEqual(self.disk.turns, [[1, 2]])
        self.disk.end()
        self.clock.advance(10)
        self.assertEqual(self.disk.turns, [[1, 2]])

    def test_what_came_during_a_turn_keeps_its_time(self) -> None:
        self.turns.add(1)
        self.clock.advance(0)
        self.turns.add(2, within_s=5)
        self.clock.advance(3)
        self.disk.end()
        self.assertEqual(self.disk.turns, [[1]])
        self.clock.advance(2)
        self.assertEqual(self.disk.turns, [[1], [2]])

    def test_and_begins_at_the_end_of_it_when_that_is_over(self) -> None:
        self.turns.add(1)
        self.clock.advance(0)
        self.turns.add(2, within_s=5)
        self.clock.advance(6)
        self.disk.end()
        self.assertEqual(self.disk.turns, [[1], [2]])

    def test_what_a_turn_has_left_for_the_next_waits_no_longer(self) -> None:
        for _ in range(5):
            self.turns.add(1, within_s=5)
        self.clock.advance(5)
        self.disk.end()
        self.assertEqual(self.disk.turns, [[1] * 4, [1]])

    def test_a_hold_ends_it_and_release_gives_it_back(self) -> None:
        self.turns.add(1, within_s=5)
        self.successResultOf(started(self.turns.hold))
        self.clock.advance(9)
        self.assertEqual(self.disk.turns, [])
        self.turns.release()
        self.clock.advance(0)
        self.assertEqual(self.disk.turns, [[1]])

    def test_settle_waits_for_it(self) -> None:
        """Rule 23: what was taken in is written before the file is closed."""
        self.turns.add(1, within_s=5)
        settled = started(self.turns.settle)
        self.clock.advance(5)
        self.assertNoResult(settled)
        self.disk.end()
        self.successResultOf(settled)


class Stalled(TurnsTest):
    """Rule 20: how long nothing has been written although something waits."""

    def test_while_a_turn_takes_long(self) -> None:
        self.clock.advance(100)
        self.turns.add(1)
        self.clock.advance(0)
        self.clock.advance(7)
        self.assertEqual(self.turns.stalled_s, 7)
        self.disk.end()
        self.assertEqual(self.turns.stalled_s, 0)

    def test_not_while_turns_end_and_others_wait(self) -> None:
        for _ in range(9):
            self.turns.add(1)
        self.clock.advance(0)
        for _ in range(2):
            self.clock.advance(4)
            self.disk.end()
            self.assertEqual(self.turns.stalled_s, 0)
        self.clock.advance(3)
        self.assertEqual(self.turns.stalled_s, 3)

    def test_while_they_are_held_and_something_waits(self) -> None:
        """A rotation that hangs keeps results from being stored, too."""
        started(self.turns.hold)
        self.clock.advance(50)
        self.assertEqual(self.turns.stalled_s, 0)
        self.turns.add(1)
        self.clock.advance(6)
        self.assertEqual(self.turns.stalled_s, 6)
