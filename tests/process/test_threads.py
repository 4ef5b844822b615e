"""What `outputd.process.threads` promises, in real threads."""

from __future__ import annotations

import gc
import threading
import weakref

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from outputd.process.threads import Share, Threads
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


class ShareTests(TestCase):
    """Some of the threads that others use, too."""

    def setUp(self) -> None:
        self.threads = Threads(REACTOR, "test", 3)
        self.addCleanup(self.threads.stop)
        self.share = Share(self.threads, 2)

    async def test_others_find_a_thread_however_much_work_waits(self) -> None:
        go = threading.Event()
        begun: list[int] = []

        def work(number: int) -> int:
            begun.append(number)
            go.wait()
            return number

        waiting = [Deferred.fromCoroutine(self.share(work, number)) for number in range(5)]
        self.assertEqual(await self.threads(divmod, 7, 2), (3, 1))
        self.assertLessEqual(len(begun), 2)
        go.set()
        self.assertEqual([await each for each in waiting], [0, 1, 2, 3, 4])

    async def test_work_that_fails_or_is_no_longer_wanted_gives_its_place_back(self) -> None:
        go = threading.Event()
        waiting = [Deferred.fromCoroutine(self.share(go.wait)) for _ in range(5)]
        for each in waiting[2:]:
            each.cancel()
            await self.assertFailure(each, CancelledError)
        go.set()
        for each in waiting[:2]:
            await each
        for _ in range(3):
            with self.assertRaises(ZeroDivisionError):
                await self.share(fail, Large(), [])
        self.assertEqual(await self.share(divmod, 7, 2), (3, 1))
