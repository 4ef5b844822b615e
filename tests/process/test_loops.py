from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from outputd.process.loops import Every
from tests.kit.logs import said


class TestEvery(SynchronousTestCase):
    """Work is done again and again, one at a time, until a stop that waits for it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: list[float] = []
        self.under_way: list[Deferred[None]] = []

    async def slow(self) -> None:
        """Work that ends when the test lets it."""
        self.begun.append(self.clock.seconds())
        self.under_way.append(Deferred())
        await self.under_way[-1]

    def end(self) -> None:
        """Let the work end."""
        self.under_way[-1].callback(None)

    def quick(self) -> None:
        """Work that ends at once."""
        self.begun.append(self.clock.seconds())

    def test_the_first_time_is_now_or_after_an_interval(self) -> None:
        Every(2, self.quick, self.clock).start()
        self.assertEqual(self.begun, [0.0])
        Every(2, self.quick, self.clock).start(now=False)
        self.assertEqual(self.begun, [0.0])
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.begun, [0.0, 2.0, 2.0, 4.0, 4.0])

    def test_work_that_takes_longer_skips_what_it_missed(self) -> None:
        Every(1, self.slow, self.clock).start()
        self.clock.pump([1.0, 1.0, 0.5])
        self.assertEqual(self.begun, [0.0])
        self.end()
        self.clock.pump([0.25, 0.25])
        self.assertEqual(self.begun, [0.0, 3.0])

    def test_a_stop_waits_for_what_is_under_way_and_nothing_follows(self) -> None:
        loop = Every(1, self.slow, self.clock)
        loop.start()
        stopped = loop.stop()
        self.assertNoResult(stopped)
        self.end()
        self.successResultOf(stopped)
        self.clock.advance(5)
        self.assertEqual((self.begun, self.clock.getDelayedCalls()), ([0.0], []))

    def test_a_stop_between_two_times_is_at_once(self) -> None:
        loop = Every(1, self.quick, self.clock)
        loop.start()
        self.successResultOf(loop.stop())
        self.successResultOf(loop.stop())
        self.clock.advance(5)
        self.assertEqual(self.begun, [0.0])

    def test_started_again_while_it_stops_it_is_still_one_at_a_time(self) -> None:
        loop = Every(1, self.slow, self.clock)
        loop.start()
        stopped = loop.stop()
        loop.start()
        self.clock.advance(0.5)
        self.assertEqual(self.begun, [0.0])
        self.end()
        self.successResultOf(stopped)
        self.clock.advance(0.5)
        self.assertEqual(self.begun, [0.0, 1.0])

    def test_work_that_fails_is_logged_and_done_again(self) -> None:
        def failing() -> None:
            self.quick()
            raise ValueError("no")

        with said() as log:
            Every(1, failing, self.clock).start()
            self.clock.advance(1)
        self.assertEqual(self.begun, [0.0, 1.0])
        self.assertEqual(sum("trying again" in line for line in log), 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
