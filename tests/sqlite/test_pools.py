"""What `outputd.sqlite.pools` promises, in real threads."""

from __future__ import annotations

import gc
import sqlite3
import weakref
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from outputd.sqlite.pools import AdbapiPool
from tests.kit.running import REACTOR
from tests.process.test_threads import Large


def begin(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (1)")


def fail(db: sqlite3.Connection, given: Large, seen: list[weakref.ref[Large]]) -> None:
    begin(db)
    seen.append(weakref.ref(given))
    raise ZeroDivisionError("as it must")


def count(db: sqlite3.Connection) -> tuple[bool, int]:
    return db.in_transaction, db.execute("SELECT count(*) FROM t").fetchone()[0]


class PoolTests(TestCase):
    """One connection in a thread of its own."""

    def setUp(self) -> None:
        path = Path(self.mktemp())
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE t (a)")
        db.close()
        self.pool = AdbapiPool(REACTOR, path, lambda _: None)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.pool.close()))

    async def test_an_exception_rolls_back_what_is_open(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            await self.pool.run(fail, Large(), [])
        self.assertEqual(await self.pool.run(count), (False, 0))

    async def test_nothing_that_was_worked_on_is_kept_by_an_exception(self) -> None:
        """A full disk must not keep what it could not take."""
        seen: list[weakref.ref[Large]] = []
        gc.disable()
        self.addCleanup(gc.enable)
        with self.assertRaises(ZeroDivisionError):
            await self.pool.run(fail, Large(), seen)
        await self.pool.run(count)  # the thread has let go, too
        self.assertEqual([each() for each in seen], [None])
