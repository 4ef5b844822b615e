"""What `outputd.queries` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from outputd.process.threads import Threads
from outputd.queries import Queries
from outputd.queries.nodes import Nodes
from outputd.queries.question import Question
from outputd.queries.reading import Reading, Readings, Whole
from outputd.queries.recent import RECENT, Recent
from outputd.queries.session import LONG_PAGE_BYTES, NotReady, Session, TooLong
from outputd.queries.tables import Row, Rows
from tests.kit.bench import Bench
from tests.kit.running import REACTOR, Running, eventually


def a_question(work: Callable[[Session], object]) -> Question[Nodes]:
    def find(session: Session, _: Nodes, __: float) -> None:
        work(session)

    return Question("Anything", "/anything", Nodes, find, schemas={}, whole="", row="", summary="Anything")


_FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


class Ending(TestCase):
    """Real threads, and SQL that would go on for ever."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.threads = Threads(REACTOR, "test", 2)
        self.addCleanup(self.threads.stop)

    def queries(self, limit_s: float) -> Queries:
        async def at_once(within_s: float) -> None:
            pass

        return Queries(
            lambda: self.bench.store.files, self.bench.directory.summary, at_once, self.threads,
            Readings(self.threads, REACTOR.seconds), REACTOR, self.bench.now, limit_s,
        )  # fmt: skip

    async def test_a_question_ends_with_its_time(self) -> None:
        with self.assertRaises(TooLong):
            await self.queries(0.2).ask(a_question(lambda session: session.value(_FOR_EVER)), Nodes(), "json")

    async def test_a_stop_ends_all_questions_and_returns_when_no_file_is_open(self) -> None:
        queries = self.queries(600.0)
        begun = threading.Event()
        left = threading.Event()

        def ask(session: Session) -> None:
            def work(_: object) -> None:
                begun.set()
                session.value(_FOR_EVER)

            try:
                session.over_files(work)
            finally:
                left.set()

        asked = Deferred.fromCoroutine(queries.ask(a_question(ask), Nodes(), "json"))
        await self.threads(begun.wait)
        await queries.stop()
        self.assertTrue(left.is_set())
        with self.assertRaises(NotReady):
            await asked
        with self.assertRaises(NotReady):
            await queries.ask(RECENT, Recent(), "json")

    async def test_one_long_page_is_made_at_a_time(self) -> None:
        """Rule 9: while it is made, it is in memory many times over."""
        queries = self.queries(600.0)
        asked, go = threading.Event(), threading.Event()
        at_once: list[int] = []
        making: list[Session] = []

        def ask(session: Session) -> None:
            if making:
                asked.set()
            session.begin_page(LONG_PAGE_BYTES + 1)
            making.append(session)
            at_once.append(len(making))
            asked.wait()
            go.wait()
            making.remove(session)

        both = [Deferred.fromCoroutine(queries.ask(a_question(ask), Nodes(), "json"))]
        await eventually(lambda: bool(making))
        both.append(Deferred.fromCoroutine(queries.ask(a_question(ask), Nodes(), "json")))
        await eventually(asked.is_set)
        go.set()
        for each in both:
            await each
        self.assertEqual([1, 1], at_once)

    async def test_a_question_finds_a_thread_however_many_long_answers_are_read(self) -> None:
        """What makes their pages waits for a place among two; the pool of the service has four threads."""
        threads = Threads(REACTOR, "test", 3)
        self.addCleanup(threads.stop)
        self.threads = threads
        queries = self.queries(600.0)
        go = threading.Event()
        self.addCleanup(go.set)
        readings = []
        for _ in range(5):
            reading = await queries.ask(_long_answer(go), Nodes(), "ndjson")
            assert isinstance(reading, Reading)
            await reading.page()
            readings.append(reading)
        pages = [Deferred.fromCoroutine(reading.page()) for reading in readings]
        self.assertIsInstance(await queries.ask(RECENT, Recent(), "json"), Whole)
        go.set()
        for page, reading in zip(pages, readings, strict=True):
            self.assertTrue(await page)
            await reading.end()


def _long_answer(go: threading.Event) -> Question[Nodes]:
    """Whose first page is long, and whose second one waits."""

    def read() -> Iterator[Sequence[Row]]:
        yield [{"text": "x" * (LONG_PAGE_BYTES + 1)}]
        go.wait()
        yield [{"text": "y"}]

    def find(session: Session, _: Nodes, __: float) -> Rows:
        return Rows(session, (), read)

    return Question("Anything", "/anything", Nodes, find, schemas={}, whole="", row="", summary="Anything")


class HungUp(TestCase):
    """The whole service, and more clients than it has threads for questions."""

    async def test_who_hangs_up_asks_no_more_and_keeps_no_other_waiting(self) -> None:
        it = Running(Path(self.mktemp())).start()
        self.addCleanup(it.stop)
        endless = self.patch(Session, "over_files", lambda session, *_: session.value(_FOR_EVER))
        wires = [await it.connect("health-port") for _ in range(20)]
        for wire in wires:
            wire.write(b"GET /recent HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: it.parts.queries.under_way == len(wires))
        for wire in wires:
            wire.hang_up()
        await eventually(lambda: not it.parts.queries.under_way)
        endless.restore()
        self.assertEqual((await it.ask("GET", "/results/1", port="health-port")).status, 404)
        self.assertEqual(it.parts.health_site.in_flight, 0)
