"""What `outputd.sqlite.errors` promises, with errors as the system and SQLite really raise them."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.process.trouble import Kind
from outputd.sqlite.connections import reading, uri
from outputd.sqlite.errors import kind_of
from tests.system.disk import CannotMount, Disk


def _read(path: Path) -> None:
    with reading(path) as db:
        db.execute("SELECT * FROM some").fetchall()


class Kinds(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "quota" / "full-backup" / "no space"
        self.path.mkdir(parents=True)

    def kind(self, work: Callable[[], object]) -> Kind:
        """The kind of what this raises."""
        try:
            work()
        except (OSError, sqlite3.Error) as error:
            return kind_of(error)
        raise self.failureException("it raises nothing")

    def a_database(self) -> Path:
        path = self.path / "full.db"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("CREATE TABLE some (what)")
        return path

    def test_the_names_in_a_path_decide_nothing(self) -> None:
        """`--db-dir=/mnt/quota/full-backup` is a directory like any other."""

        def attach() -> None:
            with contextlib.closing(sqlite3.connect(":memory:", uri=True)) as db:
                db.execute("ATTACH ? AS f", (uri(self.path / "none", "ro"),))

        self.assertEqual(Kind.GONE, self.kind(attach))
        self.assertEqual(Kind.GONE, self.kind(lambda: os.statvfs(self.path / "none")))
        self.assertEqual(Kind.OTHER, self.kind(lambda: os.open(self.path, os.O_WRONLY)))
        for number in (errno.EACCES, errno.EIO, errno.EROFS):
            self.assertEqual(Kind.OTHER, kind_of(OSError(number, os.strerror(number), str(self.path))))

    def test_a_schema_whose_damage_is_no_text(self) -> None:
        """sqlite3 cannot decode what SQLite says of it, and would raise no error of SQLite."""
        path = self.a_database()
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE some", b"CREATE TABL\xff some"))
        self.assertEqual(Kind.DAMAGED, self.kind(lambda: _read(path)))

        def script() -> None:
            with reading(path) as db:
                db.executescript("SELECT * FROM some")

        self.assertEqual(Kind.DAMAGED, self.kind(script))

    def test_a_disk_that_has_no_room_for_a_file(self) -> None:
        def write() -> None:
            with Path("/dev/full").open("wb", buffering=0) as file:
                file.write(b"x")

        self.assertEqual(Kind.FULL, self.kind(write))
        self.assertEqual(Kind.FULL, kind_of(OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))))

    def test_a_database_that_may_not_grow(self) -> None:
        path = self.a_database()

        def grow() -> None:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("PRAGMA max_page_count=2")
                db.execute("INSERT INTO some VALUES (zeroblob(100000))")

        self.assertEqual(Kind.FULL, self.kind(grow))

    def test_a_full_disk_while_a_wal_is_written_and_when_it_is_opened(self) -> None:
        """The -shm cannot be made there, which SQLite tells as an I/O error."""
        disk = Disk(self.path / "disk", 1)
        try:
            disk.mount()
        except CannotMount as error:
            raise SkipTest(str(error)) from None
        self.addCleanup(disk.unmount)
        path = disk.path / "some.db"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("CREATE TABLE some (what)")
            disk.fill()
            self.assertEqual(Kind.FULL, self.kind(lambda: db.execute("INSERT INTO some VALUES (zeroblob(100000))")))
            disk.make_room()
        disk.fill()
        self.assertEqual(Kind.FULL, self.kind(lambda: _read(path)))

    def test_a_file_that_is_damaged_or_was_never_a_database(self) -> None:
        path = self.a_database()
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 3000)
        self.assertEqual(Kind.DAMAGED, self.kind(lambda: _read(path)))
        path.write_bytes(b"no database" * 1000)
        self.assertEqual(Kind.DAMAGED, self.kind(lambda: _read(path)))

    def test_a_file_that_is_not_there(self) -> None:
        self.assertEqual(Kind.GONE, self.kind(lambda: _read(self.path / "none")))

    def test_a_database_without_our_tables(self) -> None:
        (self.path / "empty.db").touch()
        self.assertEqual(Kind.FOREIGN, self.kind(lambda: _read(self.path / "empty.db")))

    def test_one_that_is_locked_is_none_of_these(self) -> None:
        path = self.a_database()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            with contextlib.closing(sqlite3.connect(path, timeout=0)) as db:
                self.assertEqual(Kind.OTHER, self.kind(lambda: db.execute("SELECT * FROM some")))

    def test_one_raised_from_another_is_of_its_kind(self) -> None:
        """A name may be put before a reason without losing what it is."""

        def named() -> None:
            try:
                _read(self.path / "none")
            except sqlite3.OperationalError as error:
                raise sqlite3.OperationalError(f"none: {error}") from error

        self.assertEqual(Kind.GONE, self.kind(named))
        self.assertEqual(Kind.OTHER, kind_of(ValueError("database or disk is full")))
