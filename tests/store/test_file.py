"""What `outputd.store.file` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.results.rows import Batch, RawBody
from outputd.sqlite.connections import reading
from outputd.sqlite.errors import NewerFile
from outputd.sqlite.files import wal_of
from outputd.store import file as resultfile
from outputd.store.directory import DataDir
from outputd.store.file import create, describe, finish
from outputd.store.ids import Ids
from outputd.store.inventory import Inventory, take_stock
from outputd.store.writer import Writer, prepare
from tests.kit.bench import EPOCH, Bench
from tests.kit.makers import a_result, a_trace

FIRST = Ids()
CREATED = "2026-01-07 22:30:45"
INSTANCE = "0123456789abcdef" * 2


class FileTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.directory = DataDir(self.path)

    def create(self, sequence: int = 1, next_ids: Ids = FIRST) -> Path:
        return create(self.directory, sequence, next_ids, CREATED, EPOCH, INSTANCE)

    def change(self, path: Path, script: str) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript(script)

    def foreign(self, name: str, script: str = "") -> Path:
        path = self.path / name
        self.change(path, f"CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1); {script}")
        return path

    def columns(self, table: str) -> list[tuple[str, str]]:
        with reading(self.create()) as db:
            return [(row[1], row[2]) for row in db.execute(f"PRAGMA table_info({table})")]

    def writer(
        self, path: Path, most_rejected_bytes: int = 1 << 20, most_raw_bytes: int = 0
    ) -> tuple[sqlite3.Connection, Writer]:
        db = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(db.close)
        prepare(db, 1 << 20)
        return db, Writer(db, most_rejected_bytes, most_raw_bytes)


class Schema(FileTest):
    """Rules 7 and 13: the spec's tables have its columns in its order, and no other."""

    def test_ping_results(self) -> None:
        """Rule 13."""
        self.assertEqual(
            self.columns("ping_results"),
            [
                ("id", "INTEGER"), ("ip", "TEXT"), ("sent", "INTEGER"), ("received", "INTEGER"),
                ("packet_loss", "REAL"), ("avg_rtt", "INTEGER"), ("timestamp", "DATETIME"), ("error", "TEXT"),
                ("created_at", "DATETIME"),
            ],
        )  # fmt: skip

    def test_traceroute_results(self) -> None:
        """Rule 13."""
        self.assertEqual(
            self.columns("traceroute_results"),
            [
                ("id", "INTEGER"), ("ping_result_id", "INTEGER"), ("method", "TEXT"), ("completed", "BOOLEAN"),
                ("error", "TEXT"),
            ],
        )  # fmt: skip

    def test_traceroute_hops(self) -> None:
        """Rule 13."""
        self.assertEqual(
            self.columns("traceroute_hops"),
            [
                ("id", "INTEGER"), ("traceroute_id", "INTEGER"), ("ttl", "INTEGER"), ("ip", "TEXT"),
                ("rtt", "INTEGER"), ("timeout", "BOOLEAN"),
            ],
        )  # fmt: skip

    def test_the_tables_beside_them(self) -> None:
        """Rule 7."""
        for table, names in {
            "batches": "id node received_at digest key first_id last_id accepted rejected format time_from",
            "raw_bodies": "batch_id format version body",
            "rejected_results": "id batch_id item_index field reason raw",
            "rtt_spread": "ping_result_id min_rtt max_rtt stddev_rtt",
        }.items():
            self.assertEqual(" ".join(name for name, _ in self.columns(table)), names)

    def test_every_id_is_the_primary_key(self) -> None:
        """Rule 13."""
        with reading(self.create()) as db:
            for table in ("ping_results", "traceroute_results", "traceroute_hops", "batches", "rejected_results"):
                keys = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[5]]
                self.assertEqual(keys, ["id"], table)

    def test_what_is_always_there_is_not_null(self) -> None:
        """Rule 13."""
        with reading(self.create()) as db:
            never = {
                table: [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[3]]
                for table in ("ping_results", "traceroute_results", "traceroute_hops")
            }
        self.assertEqual(
            never,
            {
                "ping_results": ["ip", "sent", "received", "packet_loss", "timestamp", "created_at"],
                "traceroute_results": ["ping_result_id"],
                "traceroute_hops": ["traceroute_id", "ttl", "timeout"],
            },
        )

    def test_the_spec_s_indexes(self) -> None:
        """Rule 13: by ip, by timestamp, and hops by ip."""
        with reading(self.create()) as db:
            indexed = {
                (table, db.execute(f"PRAGMA index_info({name})").fetchone()[2])
                for name, table in db.execute("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index'")
            }
        wanted = {("ping_results", "ip"), ("ping_results", "timestamp"), ("traceroute_hops", "ip")}
        self.assertEqual(wanted - indexed, set())

    def test_foreign_keys_are_declared(self) -> None:
        """Rule 13."""
        with reading(self.create()) as db:
            declared = {
                (table, row[3], row[2])
                for table in ("traceroute_results", "traceroute_hops", "rejected_results", "rtt_spread", "raw_bodies")
                for row in db.execute(f"PRAGMA foreign_key_list({table})")
            }
        self.assertEqual(
            declared,
            {
                ("traceroute_results", "ping_result_id", "ping_results"),
                ("traceroute_hops", "traceroute_id", "traceroute_results"),
                ("rejected_results", "batch_id", "batches"),
                ("rtt_spread", "ping_result_id", "ping_results"),
                ("raw_bodies", "batch_id", "batches"),
            },
        )

    def test_foreign_bodies_take_no_more_than_their_share_over_restarts_too(self) -> None:
        path = self.create()
        sizes = [40, 40, 40, 20]
        for number, size in enumerate(sizes, 1):
            db, writer = self.writer(path, most_raw_bytes=100)
            batch = Batch("2026-01-07 22:30:00", node="n", digest=b"d", format="atlas", raw=RawBody(1, bytes(size)))
            batch.number(number, 1)
            writer.write(db, [batch])
            db.close()
        with reading(path) as db:
            self.assertEqual(
                [(1, 40), (2, 40), (4, 20)], db.execute("SELECT batch_id, length(body) FROM raw_bodies").fetchall()
            )
            self.assertEqual((4,), db.execute("SELECT count(*) FROM batches WHERE format = 'atlas'").fetchone())

    def test_foreign_keys_hold_in_what_is_written(self) -> None:
        """Rule 13."""
        bench = Bench(self.path)
        bench.keep(
            a_trace({"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "timeout": True}), a_result(min_rtt=1), {"ip": 1},
            a_trace({"ttl": 1, "ip": "10.0.0.2"}),
        )  # fmt: skip
        bench.stop()
        with reading(bench.store.files[0].path) as db:
            self.assertEqual(db.execute("PRAGMA foreign_key_check").fetchall(), [])
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            joined = db.execute(
                "SELECT p.id, t.id, h.ttl, h.ip, h.timeout FROM ping_results p"
                " JOIN traceroute_results t ON t.ping_result_id = p.id"
                " JOIN traceroute_hops h ON h.traceroute_id = t.id ORDER BY h.id"
            ).fetchall()
        self.assertEqual(joined, [(1, 1, 1, "10.0.0.1", 0), (1, 1, 2, None, 1), (3, 3, 1, "10.0.0.2", 0)])

    def test_a_new_file_bears_our_mark_and_version(self) -> None:
        """Rule 13."""
        with reading(self.create()) as db:
            self.assertEqual(db.execute("PRAGMA application_id").fetchone(), (resultfile.SCHEMA.application_id,))
            self.assertEqual(db.execute("PRAGMA user_version").fetchone(), (resultfile.SCHEMA.version,))


class Making(FileTest):
    def test_a_file_that_cannot_be_made_leaves_nothing(self) -> None:
        bad: Any = None
        self.assertRaises(sqlite3.IntegrityError, create, self.directory, bad, FIRST, CREATED, EPOCH, INSTANCE)
        self.assertEqual(os.listdir(self.path), [])

    def test_a_file_says_its_place_in_the_order_its_creation_and_its_next_ids(self) -> None:
        """Rules 11 and 12: what the name says is not asked."""
        path = self.create(7, Ids(100, 20, 300))
        moved = path.rename(self.path / "results_2099-01-01_00-00-00-copy.db")
        self.assertEqual(describe(moved), resultfile.FileInfo(moved, 7, CREATED, 20, Ids(100, 20, 300), 3, INSTANCE))

    def test_files_are_ordered_by_what_they_say_and_never_by_name_or_time(self) -> None:
        """Rule 11."""
        first, second, third = (self.create(sequence) for sequence in (1, 2, 3))
        first = first.rename(self.path / "results_2099-01-01_00-00-00.db")
        os.utime(first)
        third = third.rename(self.path / "results_1970-01-01_00-00-00.db")
        self.assertEqual([info.path for info in take_stock(self.directory).files], [first, second, third])

    def test_results_still_in_the_wal_count_for_the_next_ids(self) -> None:
        """Rules 1 and 12: as a kill -9 leaves a file."""
        bench = Bench(self.path)
        bench.keep(a_trace({"ttl": 1}, {"ttl": 2}), a_result())
        path = bench.store.files[0].path
        self.assertTrue(wal_of(path).exists())
        into = Path(self.mktemp())
        shutil.copytree(self.path, into)
        for name in (path.name, f"{path.name}-wal"):
            self.assertTrue((into / name).exists())
        (into / f"{path.name}-shm").unlink(missing_ok=True)  # a power cut may lose it
        info = describe(into / path.name)
        assert info is not None
        self.assertEqual(info.next_ids, (3, 2, 3))


class OtherPeoplesFiles(FileTest):
    """Rule 13: only files under our mark are ours."""

    def test_what_is_no_sqlite_file_is_not_ours(self) -> None:
        """Rule 13."""
        (self.path / "results_2026-01-01_00-00-00.db").write_text("no database, but long enough " * 200)
        (self.path / "results_2026-01-01_00-00-01.db").write_bytes(b"SQLite format 3\0")
        self.assertEqual(take_stock(self.directory), Inventory([], {}, {}))

    def test_one_of_which_the_beginning_is_gone_was_ours(self) -> None:
        """As a power cut leaves it; with text in that place only what we put beside a file tells."""
        for number, (data, beside) in enumerate([(b"", ""), (bytes(8192), ""), (b"text", "json"), (b"text", "db-wal")]):
            with self.subTest(data=data[:4], beside=beside):
                path = self.path / f"results_2026-01-01_00-00-0{number}.db"
                path.write_bytes(data)
                if beside:
                    path.with_suffix(f".{beside}").touch()
                self.assertEqual([path], list(take_stock(self.directory).damaged))
                path.unlink()

    def test_a_database_of_another_program_is_not_ours_whatever_its_version_and_name(self) -> None:
        """Rule 13."""
        self.foreign("results_2026-01-01_00-00-00.db", "PRAGMA user_version=99; PRAGMA application_id=4711;")
        self.assertEqual(take_stock(self.directory), Inventory([], {}, {}))

    def test_looking_at_a_foreign_database_in_wal_mode_leaves_it_and_its_neighbourhood_as_they_were(self) -> None:
        """Rule 13: left alone."""
        path = self.foreign("results_2026-01-01_00-00-00.db", "PRAGMA journal_mode=WAL;")
        before = (sorted(os.listdir(self.path)), path.read_bytes())
        self.assertEqual(take_stock(self.directory), Inventory([], {}, {}))
        self.assertEqual((sorted(os.listdir(self.path)), path.read_bytes()), before)

    def test_a_foreign_database_that_its_owner_has_locked_stops_nothing(self) -> None:
        """Rule 13: left alone, and so not waited for."""
        path = self.foreign("results_2026-01-01_00-00-00.db")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as owner:
            owner.execute("BEGIN EXCLUSIVE")
            self.assertEqual(take_stock(self.directory), Inventory([], {}, {}))

    def test_a_newer_version_under_our_mark_is_one_clear_line(self) -> None:
        """Rules 13 and 23."""
        path = self.create()
        self.change(path, f"PRAGMA user_version={resultfile.SCHEMA.version + 1}")
        error = str(self.assertRaises(NewerFile, take_stock, self.directory))
        self.assertIn(path.name, error)
        self.assertIn(str(resultfile.SCHEMA.version + 1), error)
        self.assertNotIn("\n", error)

    def test_a_newer_version_is_noticed_in_a_closed_file_too(self) -> None:
        """Rule 13."""
        self.change(self.create(1), f"PRAGMA user_version={resultfile.SCHEMA.version + 1}")
        self.create(2)
        self.assertRaises(NewerFile, take_stock, self.directory)


class Finishing(FileTest):
    """Rule 11: a closed file is one self-contained file, analysed."""

    def setUp(self) -> None:
        super().setUp()
        self.bench = Bench(self.path)
        self.bench.keep(*[a_trace({"ttl": 1, "ip": "10.0.0.1"})] * 20)
        self.file = self.bench.store.current.info.path

    def close(self) -> None:
        self.successResultOf(_started(self.bench.pool().close()))

    def is_wal(self) -> bool:
        return self.file.read_bytes()[18:20] != b"\1\1"

    def test_no_wal_is_left_and_none_is_asked_for(self) -> None:
        """Rule 11."""
        self.close()
        self.assertTrue(self.is_wal())
        self.assertTrue(finish(self.file))
        self.assertFalse(self.is_wal())
        self.assertEqual([p.name for p in self.path.glob(f"{self.file.name}*")], [self.file.name])

    def test_it_is_analysed(self) -> None:
        """Rule 11."""
        self.close()
        finish(self.file)
        with reading(self.file) as db:
            tables = {name for (name,) in db.execute("SELECT tbl FROM sqlite_stat1")}
        self.assertIn("ping_results", tables)

    def test_a_file_closed_for_a_restart_is_not_analysed(self) -> None:
        self.close()
        self.assertTrue(finish(self.file, analyse=False))
        with reading(self.file) as db:
            self.assertIsNone(db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchone())

    def test_it_opens_read_only_from_a_place_that_cannot_be_written(self) -> None:
        """Rule 11: as on a CD, where no -shm can be made."""
        self.close()
        finish(self.file)
        with contextlib.closing(sqlite3.connect(f"file:{self.file.absolute()}?immutable=1", uri=True)) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM ping_results").fetchone(), (20,))

    def test_it_waits_for_its_last_reader(self) -> None:
        """Rule 11."""
        self.close()
        with reading(self.file) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM ping_results").fetchone()
            self.assertFalse(finish(self.file))
            self.assertEqual(reader.execute("SELECT count(*) FROM ping_results").fetchone(), (20,))
        self.assertTrue(finish(self.file))
        self.assertFalse(self.is_wal())

    def test_finishing_twice_changes_nothing(self) -> None:
        """Rule 11: at the next start too."""
        self.close()
        finish(self.file)
        before = self.file.read_bytes()
        self.assertTrue(finish(self.file))
        self.assertEqual(self.file.read_bytes(), before)

    def test_a_file_that_was_pruned_meanwhile_is_done_with(self) -> None:
        """Rule 11."""
        self.assertTrue(finish(self.path / "gone.db"))
        self.assertFalse((self.path / "gone.db").exists())

    def test_what_a_crash_left_in_the_wal_is_taken_in(self) -> None:
        """Rules 1 and 11."""
        into = Path(self.mktemp())
        shutil.copytree(self.path, into)
        copy = into / self.file.name
        self.assertTrue(finish(copy))
        with contextlib.closing(sqlite3.connect(f"file:{copy.absolute()}?immutable=1", uri=True)) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM ping_results").fetchone(), (20,))


def _started(work: Any) -> Any:
    return Deferred.fromCoroutine(work)
