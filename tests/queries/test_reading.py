"""What `outputd.queries.reading` promises: rule 9 for those who read slowly, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.reading import MOST_BYTES, MOST_READ, Reading, Readings
from outputd.queries.session import NotReady, Session
from outputd.queries.tables import Notes
from tests.kit.pools import inline, outcome


class ReadingsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.readings = Readings(inline, self.clock.seconds)
        self.cut: list[Reading] = []

    async def make(self) -> bytes:
        return b"page"

    def reading(self, size_bytes: int = 0, make: Callable[[], Awaitable[bytes | None]] | None = None) -> Reading:
        return Reading(Session([], Path("none")), b"first", make or self.make, self.readings, Notes(), size_bytes)

    def begin(self, size_bytes: int = 0) -> Reading:
        reading = self.reading(size_bytes)
        reading.cut_off = lambda: self.cut.append(reading)
        outcome(self.readings.begin(reading))
        return reading

    def is_closed(self, reading: Reading) -> bool:
        try:
            reading.session.value("SELECT 1")
        except Exception as error:
            return "closed" in str(error)
        return False


class Room(ReadingsTest):
    def test_who_has_been_idle_for_longest_makes_room(self) -> None:
        readings = []
        for _ in range(MOST_READ):
            readings.append(self.begin())
            self.clock.advance(1)
        self.assertEqual([b"first", b"page"], [outcome(readings[0].page()) for _ in range(2)])
        self.begin()
        self.assertEqual([readings[1]], self.cut)
        self.assertEqual((MOST_READ, True), (len(self.readings), self.is_closed(readings[1])))
        self.begin()
        self.assertEqual(readings[1:3], self.cut)

    def test_so_do_as_many_as_hold_what_it_takes(self) -> None:
        readings = [self.begin(MOST_BYTES // 8) for _ in range(7)]
        self.clock.advance(1)
        self.begin(MOST_BYTES // 2)
        self.assertEqual(4, len(self.cut))
        self.assertLessEqual(self.readings.held_bytes, MOST_BYTES)
        self.assertEqual(3, len([each for each in readings if not self.is_closed(each)]))

    def test_who_reads_stays_and_the_newcomer_is_refused(self) -> None:
        readings = [self.begin() for _ in range(MOST_READ)]
        self.clock.advance(0.9)
        refused = self.reading()
        with self.assertRaises(NotReady):
            outcome(self.readings.begin(refused))
        self.assertEqual(([], True), (self.cut, self.is_closed(refused)))
        self.assertEqual(set(readings), set(self.readings))

    def test_one_whose_page_is_being_made_is_not_idle(self) -> None:
        page: Deferred[bytes] = Deferred()

        async def make() -> bytes:
            return await page

        busy = self.reading(MOST_BYTES, make)
        outcome(self.readings.begin(busy))
        self.assertEqual(b"first", outcome(busy.page()))
        asked = Deferred.fromCoroutine(busy.page())
        self.clock.advance(100)
        self.assertRaises(NotReady, self.begin)
        page.callback(b"page")
        self.assertEqual(b"page", self.successResultOf(asked))
        self.assertRaises(NotReady, self.begin)
        self.clock.advance(1)
        self.begin()
        self.assertEqual(1, len(self.readings))

    def test_one_alone_may_hold_whatever_it_takes(self) -> None:
        self.begin(2 * MOST_BYTES)
        self.clock.advance(1)
        self.begin(2 * MOST_BYTES)
        self.assertEqual((1, 1), (len(self.cut), len(self.readings)))


class Ends(ReadingsTest):
    def test_one_that_is_over_holds_nothing(self) -> None:
        reading = self.begin(1000)
        outcome(reading.end())
        outcome(reading.end())
        self.assertEqual((0, 0, True), (len(self.readings), self.readings.held_bytes, self.is_closed(reading)))

    def test_one_that_made_room_is_read_no_more(self) -> None:
        first = self.begin(MOST_BYTES)
        self.clock.advance(1)
        self.begin(MOST_BYTES)
        with self.assertRaises(NotReady):
            outcome(first.page())
        outcome(first.end())
        self.assertEqual(1, len(self.readings))
