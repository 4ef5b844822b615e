"""Questions to the files of a bench, and their answers as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.question import A, Found, Question
from tests.kit.bench import Bench
from tests.kit.pools import outcome

JANUARY = ("2026-01-01 00:00:00", "2026-02-01 00:00:00")
"""A span that holds the time of a bench."""


def read(answer: Found) -> Any:
    """An answer in JSON."""
    assert answer is not None
    text = b"".join(answer.pages("json"))
    answer.session.close()
    return json.loads(text)


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
        """What is found."""
        return outcome(self.queries.ask(question, asked))

    def ask(self, question: Question[A], asked: A) -> Any:
        """What is answered in JSON."""
        return read(self.find(question, asked))
