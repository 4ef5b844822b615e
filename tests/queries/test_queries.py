"""What `outputd.queries` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from outputd.process.threads import Threads
from outputd.queries import Queries
from outputd.queries.nodes import Nodes
from outputd.queries.question import Question
from outputd.queries.reading import Readings
from outputd.queries.recent import RECENT, Recent
from outputd.queries.session import LONG_PAGE_BYTES, NotReady, Session, TooLong
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
