"""What `outputd.queries.numbers` promises."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.numbers import named
from outputd.queries.session import Session


class TheNumbers(SynchronousTestCase):
    def test_lists_of_numbers_become_lists_of_names_each_once_and_in_order(self) -> None:
        """That of SQLite, which is that of their bytes."""
        session = Session([], Path(self.mktemp()))
        self.addCleanup(session.close)
        session.run("CREATE TEMP TABLE node (id INTEGER PRIMARY KEY, node)")
        session.run("""INSERT INTO temp.node VALUES (1, 'b'), (2, 'a\U0001f600"'), (3, 'Z'), (70, 'a\uffee')""")
        names = json.loads(named(session, "[[2,1,2,70],[3,1],[]]", "temp.node"))
        self.assertEqual(names, [["a\uffee", 'a\U0001f600"', "b"], ["Z", "b"], []])
        self.assertEqual(named(session, "[]", "temp.node"), "[]")
