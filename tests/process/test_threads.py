"""What `outputd.process.threads` promises, in real threads."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from outputd.process.threads import Threads
from tests.kit.running import REACTOR


class Large:
    """What a work was given, or has made."""


def fail(given: Large, seen: list[weakref.ref[Large]]) -> None:
    made = Large()
    seen += (weakref.ref(given), weakref.ref(made))
    raise ZeroDivisionError("as it must")


class ThreadsTests(TestCase):
    """Work beside the reactor."""

    def setUp(self) -> None:
        self.threads = Threads(REACTOR, "test", 1)
        self.addCleanup(self.threads.stop)

    async def test_what_a_work_returns_is_returned(self) -> None:
        self.assertEqual(await self.threads(divmod, 7, 2), (3, 1))

    async def test_what_a_work_raises_is_raised_with_the_place_where_it_was_raised(self) -> None:
        try:
            await self.threads(fail, Large(), [])
        except ZeroDivisionError as error:
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            assert place is not None
            self.assertEqual(place.tb_frame.f_code.co_name, "fail")
        else:
            self.fail("it was not raised")

    async def test_nothing_that_was_worked_on_is_kept_by_an_exception(self) -> None:
        """Not even until cycles are collected: that is seldom, and bodies are large."""
        seen: list[weakref.ref[Large]] = []
        gc.disable()
        self.addCleanup(gc.enable)
        with self.assertRaises(ZeroDivisionError):
            await self.threads(fail, Large(), seen)
        turn: Deferred[None] = Deferred()
        REACTOR.callLater(0, turn.callback, None)  # the thread has let go, too
        await turn
        self.assertEqual([each() for each in seen], [None, None])
