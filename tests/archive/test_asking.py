"""What `outputd.archive.asking` promises."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from outputd.archive.asking import Asking, Undone
from outputd.archive.asks import HANGS_AFTER_S, Cut, Failed
from tests.kit.pools import outcome

CUT = Cut((), 0, False)


class Child:
    """One that answers None, or that it has ended once it is killed."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def ask(self, request: Any, /) -> Any:
        return Failed("the archive's process has ended (-9)", is_over=True) if "stop" in self.said else None

    def stop(self) -> None:
        self.said.append("stop")

    def close(self) -> None:
        self.said.append("close")


class AskingTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.children: list[Child] = []
        self.hangs: Deferred[None] | None = None
        self.asking = Asking(self.start, self.in_thread, self.clock)

    def start(self) -> Child:
        self.children.append(Child())
        return self.children[-1]

    async def in_thread(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        if self.hangs is not None and args:
            await self.hangs
        return work(*args, **kwargs)

    def begin(self) -> list[Any]:
        outcomes: list[Any] = []
        Deferred.fromCoroutine(self.asking.ask(CUT)).addBoth(outcomes.append)
        return outcomes

    def test_one_child_answers_all_until_it_rests(self) -> None:
        for _ in range(3):
            self.assertIsNone(outcome(self.asking.ask(CUT)))
            self.clock.advance(29)
            outcome(self.asking.rest())
        self.assertEqual([[]], [child.said for child in self.children])
        self.clock.advance(1)
        outcome(self.asking.rest())
        self.assertEqual([["close"]], [child.said for child in self.children])

    def test_one_that_hangs_is_killed_and_the_next_question_has_another(self) -> None:
        self.hangs = Deferred()
        outcomes = self.begin()
        self.clock.advance(HANGS_AFTER_S - 1)
        self.assertEqual([], self.children[0].said)
        self.clock.advance(1)
        self.assertEqual(["stop"], self.children[0].said)
        hanging, self.hangs = self.hangs, None
        hanging.callback(None)
        assert isinstance(outcomes[0], Failure)
        self.assertIsInstance(outcomes[0].value, Undone)
        self.assertEqual(["stop", "close"], self.children[0].said)
        self.assertIsNone(outcome(self.asking.ask(CUT)))
        self.assertEqual(2, len(self.children))

    def test_other_credentials_are_those_of_another_child(self) -> None:
        outcome(self.asking.ask(CUT))
        self.asking.renew()
        outcome(self.asking.ask(CUT))
        outcome(self.asking.ask(CUT))
        self.assertEqual([["close"], []], [child.said for child in self.children])

    def test_a_machine_without_room_for_a_process_is_undone(self) -> None:
        def none() -> Child:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        self.asking = Asking(none, self.in_thread, self.clock)
        error = self.assertRaises(Undone, outcome, self.asking.ask(CUT))
        self.assertIn("Resource temporarily unavailable", str(error))

    def test_a_stop_kills_the_child_and_starts_no_other(self) -> None:
        self.hangs = Deferred()
        outcomes = self.begin()
        self.asking.stop()
        self.assertEqual(["stop"], self.children[0].said)
        hanging, self.hangs = self.hangs, None
        hanging.callback(None)
        self.assertEqual(1, len(outcomes))
        self.assertRaises(Undone, outcome, self.asking.ask(CUT))
        self.assertEqual(1, len(self.children))
