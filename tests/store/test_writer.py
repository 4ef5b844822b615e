from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.sqlite.connections import reading
from outputd.sqlite.files import wal_of
from outputd.sqlite.table import Table
from outputd.store.ids import Ids
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace
from tests.store.test_file import FileTest, _started


class Inserting(SynchronousTestCase):
    """Statements of many rows write just what single ones would."""

    def test_every_number_of_rows_goes_in_whole_and_in_order(self) -> None:
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            db.execute("CREATE TABLE t (a, b, c)")
            table = Table("t", "a,b,c", 100)
            for rows in [*range(70), 333]:
                flat: list[Any] = []
                for row in range(rows):
                    flat += (row, None if row % 3 == 0 else f"{row}", 0)
                kept = list(flat)
                self.assertEqual(table.insert(db, flat), rows)
                self.assertEqual(flat, kept)
                found = [value for row in db.execute("SELECT a, b, c FROM t ORDER BY rowid") for value in row]
                self.assertEqual(found, flat)
                db.execute("DELETE FROM t")

    def test_what_is_already_there_is_not_counted(self) -> None:
        """Rule 17: an address is discovered once."""
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            db.execute("CREATE TABLE t (a PRIMARY KEY) WITHOUT ROWID")
            table = Table("t", "a", 1000, "INSERT OR IGNORE")
            self.assertEqual(table.insert(db, [b"a", b"b", b"c", b"d", b"e"]), 5)
            self.assertEqual(table.insert(db, [b"a", b"e", b"f"]), 1)


class Writing(FileTest):
    def setUp(self) -> None:
        super().setUp()
        self.bench = Bench(self.path / "bench")

    def test_each_proof_writes_and_fsyncs(self) -> None:
        """Rule 21: SQLite writes nothing where a value stays as it is, and a disk that takes nothing looks well."""
        path = self.create()
        db, writer = self.writer(path)
        sizes = []
        for _ in range(5):
            writer.write(db, [])
            sizes.append(wal_of(path).stat().st_size)
        self.assertEqual(sorted(set(sizes)), sizes)

    def test_a_group_is_written_whole_or_not_at_all(self) -> None:
        """Rules 1 and 9: nothing is half taken, and the next group goes in."""
        path = self.create()
        db, writer = self.writer(path)
        good, bad, later = (self.bench.batch(a_trace({"ttl": 1})) for _ in range(3))
        for number, batch in enumerate((good, bad, later), 1):
            batch.number(number, number)
        bad.hops[1] = None  # a ttl that the schema does not take
        self.assertRaises(sqlite3.IntegrityError, writer.write, db, [good, bad])
        for table in ("ping_results", "traceroute_results", "traceroute_hops", "batches"):
            self.assertEqual(db.execute(f"SELECT count(*) FROM {table}").fetchone(), (0,), table)
        writer.write(db, [later])
        self.assertEqual(db.execute("SELECT id, first_id FROM batches").fetchall(), [(3, 3)])
        self.assertEqual(db.execute("SELECT id, traceroute_id FROM traceroute_hops").fetchall(), [(1, 3)])

    def test_the_connection_fsyncs_each_commit_to_a_wal(self) -> None:
        """Rule 1."""
        db, _ = self.writer(self.create())
        self.assertEqual(db.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        self.assertEqual(db.execute("PRAGMA synchronous").fetchone(), (2,))

    def test_the_wal_is_bounded_by_itself(self) -> None:
        """Rule 11: a checkpoint at a fraction of the size, and journal_size_limit."""
        db, _ = self.writer(self.create())
        page_size = db.execute("PRAGMA page_size").fetchone()[0]
        self.assertEqual(db.execute("PRAGMA wal_autocheckpoint").fetchone()[0] * page_size, 1 << 20)
        self.assertEqual(db.execute("PRAGMA journal_size_limit").fetchone(), (1 << 20,))

    def test_a_reader_cannot_write_and_never_checkpoints(self) -> None:
        """Rule 11."""
        with reading(self.create()) as db:
            self.assertEqual(db.execute("PRAGMA wal_autocheckpoint").fetchone(), (0,))
            self.assertRaises(sqlite3.OperationalError, db.execute, "DELETE FROM ping_results")

    def test_the_size_is_that_of_the_pages(self) -> None:
        """Rule 11: page_count * page_size, the WAL not counted."""
        db, writer = self.writer(self.create())
        batch = self.bench.batch(*[a_result(error="x" * 1000)] * 500)
        batch.number(1, 1)
        written = writer.write(db, [batch])
        pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        self.assertEqual(written.size_bytes, pages * size)
        self.assertGreater(written.size_bytes, 500_000)

    def test_a_file_with_larger_pages_goes_on_being_written_as_it_is(self) -> None:
        """Files of 0.0.1 have pages of 8 KiB."""
        path = self.create()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA page_size=8192")
            db.execute("VACUUM")
        db, writer = self.writer(path)
        batch = self.bench.batch(*[a_result(error="x" * 1000)] * 500)
        batch.number(1, 1)
        written = writer.write(db, [batch])
        self.assertEqual(db.execute("PRAGMA wal_autocheckpoint").fetchone()[0] * 8192, 1 << 20)
        self.assertEqual(written.size_bytes, db.execute("PRAGMA page_count").fetchone()[0] * 8192)

    def test_ids_of_hops_begin_where_the_file_says(self) -> None:
        """Rule 12."""
        db, writer = self.writer(self.create(2, Ids(10, 5, 100)))
        for number in (5, 6):
            batch = self.bench.batch(a_trace({"ttl": 1}, {"ttl": 2}))
            batch.number(number, number + 5)
            writer.write(db, [batch])
        self.assertEqual(
            db.execute("SELECT id, traceroute_id, ttl FROM traceroute_hops ORDER BY id").fetchall(),
            [(100, 10, 1), (101, 10, 2), (102, 11, 1), (103, 11, 2)],
        )


class RejectedItems(FileTest):
    """Rule 5: kept verbatim, and never so many that they rotate good data away."""

    def setUp(self) -> None:
        super().setUp()
        self.limit = 64 << 10
        self.bench = Bench(self.path / "bench", max_size_bytes=20 * self.limit)
        self.bad = {"ip": "x" * 5000}

    def kept(self) -> list[int]:
        return [
            length
            for (length,) in self.rows("SELECT length(raw) + length(reason) + length(field) FROM rejected_results")
        ]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with reading(self.bench.store.current.info.path) as db:
            return db.execute(query).fetchall()

    def test_an_item_is_kept_as_it_was_sent_with_its_place_and_reason(self) -> None:
        """Rule 5."""
        self.bench.keep(a_result(), {"ip": "é", "sent": -1, "extra": None})
        self.assertEqual(
            self.rows("SELECT batch_id, item_index, raw FROM rejected_results"),
            [(1, 1, '{"ip": "\\u00e9", "sent": -1, "extra": null}')],
        )
        ((field, reason),) = self.rows("SELECT field, reason FROM rejected_results")
        self.assertEqual(field, "sent")
        self.assertTrue(reason)

    def test_at_most_64_kib_of_an_item_are_kept(self) -> None:
        """Rule 5."""
        self.bench = Bench(self.path / "large")
        self.bench.keep(a_result(), {"ip": "y" * 100_000})
        self.assertEqual(self.rows("SELECT length(CAST(raw AS BLOB)) FROM rejected_results"), [(65_536,)])

    def test_a_file_keeps_a_twentieth_of_its_size_and_goes_on_taking_results(self) -> None:
        """Rule 5."""
        for _ in range(6):
            self.bench.keep(a_result(), *[self.bad] * 4)
        kept = self.kept()
        self.assertLessEqual(sum(kept), self.limit)
        self.assertGreater(sum(kept), self.limit - 6000)
        self.assertEqual(self.rows("SELECT sum(accepted), sum(rejected) FROM batches"), [(6, 24)])

    def test_the_twentieth_is_one_over_restarts(self) -> None:
        """Rule 5."""
        for _ in range(6):
            self.bench.keep(a_result(), *[self.bad] * 4)
            self.bench.stop()
            self.bench.start()
        self.assertLessEqual(sum(self.kept()), self.limit)
        self.assertGreater(sum(self.kept()), self.limit - 6000)

    def test_a_new_file_has_a_twentieth_of_its_own(self) -> None:
        """Rule 5."""
        self.bench.keep(a_result(), *[self.bad] * 20)
        full = len(self.kept())
        self.successResultOf(_started(self.bench.store.rotate()))
        self.bench.keep(a_result(), *[self.bad] * 20)
        self.assertEqual(len(self.kept()), full)

    def test_a_failed_commit_uses_none_of_it_up(self) -> None:
        """Rules 5 and 9."""
        path = self.create()
        db, writer = self.writer(path, 6000)
        for number in (1, 2):
            batch = self.bench.batch(a_result(), self.bad)
            batch.number(number, number)
            if number == 1:
                batch.pings[1] = None
                self.assertRaises(sqlite3.IntegrityError, writer.write, db, [batch])
            else:
                writer.write(db, [batch])
        self.assertEqual(db.execute("SELECT count(*) FROM rejected_results").fetchone(), (1,))
