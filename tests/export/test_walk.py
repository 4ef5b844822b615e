"""What `outputd.export.walk` promises where a file is pruned in the middle of a page; the rest is seen by HTTP."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.export import reading
from outputd.export.asked import Asked
from outputd.export.ndjson import NdjsonEncoder
from outputd.export.walk import Lost, Walk
from outputd.sqlite import connections
from outputd.sqlite.files import delete_database, wal_of
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace, many_hops


class WalkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(reading, "_MOST_ROWS", 10)
        self.patch(reading, "_MOST_HOPS", 16)
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.stop)
        self.bench.post(*(a_result() for _ in range(15)), a_trace(*many_hops(50)), *(a_result() for _ in range(15)))
        self.file = self.bench.store.current.info.path
        self.bench.outcome(self.bench.store.rotate())
        self.walk = Walk(self.bench.store.files, Asked(), lambda: True)
        self.addCleanup(self.walk.close)
        self.walk.begin()

    def lines(self) -> bytes:
        """All that it has."""
        encoder, made = NdjsonEncoder(), b""
        while (page := self.walk.page()) is not None:
            made += encoder.add(page)
        return made + encoder.end()

    def test_a_page_in_which_its_file_is_pruned_is_read_again_and_comes_once(self) -> None:
        """Its WAL may have been deleted before it was read: then a part of it was missing without a word."""
        expected = self.lines()
        self.assertEqual(31, len(expected.splitlines()))
        for page in range(1, 8):
            self.setUp()
            self.prune_beside(page)
            found = self.lines()
            self.assertEqual(without_names(expected), without_names(found), page)
            self.assertFalse(self.file.exists())

    def prune_beside(self, page: int) -> None:
        """Have the file pruned as this page of it is read, its WAL before that is opened."""
        real, count = connections.reading, 0

        @contextlib.contextmanager
        def reading(path: Path) -> Iterator[sqlite3.Connection]:
            nonlocal count
            count += 1
            if count == page:
                self.assertTrue(self.walk.keep(self.file))
                wal_of(self.file).unlink()
            try:
                with real(path) as db:
                    yield db
            finally:
                if count == page:
                    delete_database(self.file)

        self.patch(connections, "reading", reading)

    def test_one_that_was_deleted_by_someone_else_is_no_end(self) -> None:
        delete_database(self.file)
        self.assertRaises(Lost, self.walk.page)


def without_names(lines: bytes) -> list[bytes]:
    """The same of each instance."""
    return [re.sub(rb'"instance":"[0-9a-f]+"', b"", line) for line in lines.splitlines()]
