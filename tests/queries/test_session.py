"""What one question promises of the files that it reads."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.session import NotReady, Session
from outputd.sqlite.files import COMPANIONS
from outputd.summary.summary import Summary
from tests.kit.bench import Bench
from tests.kit.makers import a_result
from tests.kit.pools import MALFORMED, sqlite_error


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
