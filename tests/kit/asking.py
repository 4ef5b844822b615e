"""Questions to the files of a bench, and their answers as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries import Queries
from outputd.queries.question import A, Found, Question
from outputd.queries.reading import Whole
from outputd.queries.session import Session
from outputd.queries.tables import Format
from tests.kit.bench import Bench
from tests.kit.pools import outcome

JANUARY = ("2026-01-01 00:00:00", "2026-02-01 00:00:00")
"""A span that holds the time of a bench."""


async def answer(queries: Queries, question: Question[A], asked: A, form: Format = "json") -> bytes | None:
    """The whole answer to a question; None when there is nothing with this name."""
    found = await queries.ask(question, asked, form)
    if found is None or isinstance(found, Whole):
        return None if found is None else found.body
    pages = []
    while (page := await found.page()) is not None:
        pages.append(page)
    await found.end()
    return b"".join(pages)


class Asking(SynchronousTestCase):
    """Asks the files of a bench, for which the summary is brought up to date each time."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.queries = self.bench.queries()

    def fill(self, make: Callable[[int], Any]) -> None:
        """Store what is made of the numbers from 0 to 29, from two nodes, in each of three files."""
        for number in range(3):
            if number:
                self.bench.outcome(self.bench.store.rotate())
            for node in ("a", "b"):
                self.bench.post(*(make(place) for place in range(30)), node=node)

    def find(self, question: Question[A], asked: A) -> Found:
        """What is found, before it has a form."""
        session = Session(self.bench.store.files, self.bench.directory.summary, sent=self.queries.sent)
        self.addCleanup(session.close)
        return question.find(session, asked, self.bench.now())

    def answer(self, question: Question[A], asked: A, form: Format = "json") -> str | None:
        """What is answered."""
        text = outcome(answer(self.queries, question, asked, form))
        return None if text is None else text.decode()

    def ask(self, question: Question[A], asked: A) -> Any:
        """What is answered in JSON, as it is read; None for nothing."""
        text = self.answer(question, asked)
        return None if text is None else json.loads(text)
