"""What one question promises of the files that it reads."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.process.threads import Threads
from outputd.queries.question import A, Question
from outputd.queries.recent import RECENT, Recent
from outputd.queries.result import RESULT, Result
from outputd.queries.session import LONG_PAGE_BYTES, NotReady, Session, TooLong
from outputd.sqlite.files import COMPANIONS
from outputd.summary.summary import Summary
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.pools import MALFORMED, sqlite_error
from tests.kit.running import REACTOR


class DamagedSummary(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.bench.keep(a_result())
        self.summary = Summary(self.bench.directory.summary, lambda: self.bench.store.files)
        while self.summary.step():
            pass
        self.summary.close()
        self.session = Session(self.bench.store.files, self.summary.path)
        self.addCleanup(self.session.close)

    def ask(self) -> None:
        with self.session.summary():
            self.session.execute("SELECT * FROM s.node").fetchall()

    def test_it_is_deleted_with_all_that_lies_beside_it(self) -> None:
        """A WAL left alone would be taken for that of the new file."""
        beside = [Path(f"{self.summary.path}{ending}") for ending in COMPANIONS]
        self.summary.path.write_bytes(b"no database" * 1000)
        for path in beside:
            path.touch()
        self.assertRaises(NotReady, self.ask)
        self.assertEqual([], [path for path in (self.summary.path, *beside) if path.exists()])

    def test_one_that_was_made_anew_meanwhile_stays(self) -> None:
        made = self.summary.path.with_name("made anew")
        made.write_bytes(self.summary.path.read_bytes())

        def ask() -> None:
            with self.session.summary():
                os.replace(made, self.summary.path)
                raise sqlite_error(*MALFORMED)

        self.assertRaises(NotReady, ask)
        self.assertTrue(self.summary.path.exists())
        self.ask()


class Late(dict[str, int]):
    """Parameters that end the question when they are bound: nothing runs yet that could be interrupted."""

    def __init__(self, session: Session) -> None:
        super().__init__(last=3_000_000)
        self.session = session

    def __missing__(self, name: str) -> int:
        self.session.end(NotReady("ended"))
        return 0


class Ended(SynchronousTestCase):
    def test_a_question_that_is_ended_as_it_begins_ends(self) -> None:
        session = Session([], Path("none"))
        self.addCleanup(session.close)
        long = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n LIMIT :last) SELECT count(*) FROM n"
        with self.assertRaises(NotReady):
            session.value(long, Late(session))


class LongPages(TestCase):
    """Rule 9: a text of megabytes is in memory many times over while it is printed, so that is done one at a time."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.long_page = threading.Lock()
        self.threads = Threads(REACTOR, "test", 1)
        self.addCleanup(self.threads.stop)
        self.maker = self.session()
        self.maker.begin_page(LONG_PAGE_BYTES + 1)

    def session(self) -> Session:
        session = Session(self.bench.store.files, self.bench.directory.summary, self.long_page)
        self.addCleanup(session.close)
        return session

    async def test_who_waits_for_it_can_be_ended(self) -> None:
        session = self.session()
        session.end(TooLong("its time is over"))
        with self.assertRaises(TooLong):
            await self.threads(session.begin_page, LONG_PAGE_BYTES + 1)
        session.end_page()
        self.assertTrue(self.long_page.locked(), "that of another")

    def print(self, question: Question[A], asked: A) -> Session:
        """One whose thread has made the answer, and has not left yet."""
        session = self.session()
        found = question.find(session, asked, 0.0)
        assert found is not None, "it is there"
        self.assertTrue(list(found.pages("json")))
        return session

    async def test_a_usual_one_does_not_wait(self) -> None:
        self.bench.keep(*[a_result(error="e" * 1000)] * 100, a_trace(*many_hops(100)))
        for asked in (Recent(), Recent(include="traceroute")):
            self.print(RECENT, asked)
        self.print(RESULT, Result(1))

    async def test_a_result_with_a_long_text_makes_a_long_one(self) -> None:
        text = "e" * (LONG_PAGE_BYTES + 1)
        self.maker.end_page()
        for number, result in enumerate((a_result(error=text), a_trace(*many_hops(2), error=text)), 1):
            self.bench.keep(result)
            for print_it in (
                partial(self.print, RECENT, Recent(1, include="traceroute")),
                partial(self.print, RESULT, Result(number)),
            ):
                session = print_it()
                self.assertTrue(self.long_page.locked())
                session.end_page()
                self.assertFalse(self.long_page.locked())
