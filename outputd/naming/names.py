"""Names that were looked up (names.sqlite3), each with the time from which it is looked up again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from importlib.resources import files as files_of
from pathlib import Path
from typing import NamedTuple

from outputd.process.trouble import Kind
from outputd.sqlite.connections import transaction
from outputd.sqlite.derived import Derived, Outdated
from outputd.sqlite.errors import NewerFile, kind_of
from outputd.sqlite.files import set_aside
from outputd.sqlite.schema import Schema

SCHEMA = Schema(files_of("outputd.naming") / "schema", 1, application_id=0x6F75746E)  # "outn"
MOST_NAMES = 200_000
"""Addresses that are kept, the newest asked: about 20 MiB."""
_SPARE_SHARE = 0.1
_CACHE_KIB = 256
_WAL_BYTES = 1 << 20


class Looked(NamedTuple):
    """What has come of one question to the DNS."""

    ip: str
    name: str | None
    asked_at_s: int
    again_at_s: int
    is_answered: bool
    """Whether it says that the address has this name or none; else the name that it had stays."""


class Names(Derived):
    """The file, for one thread; questions read it by connections of their own."""

    def __init__(self, path: Path, has_room: Callable[[], bool], most_names: int = MOST_NAMES) -> None:
        """Nothing is kept while the disk has no room to spare."""
        super().__init__(path, _CACHE_KIB, _WAL_BYTES)
        self._has_room = has_room
        self._most_names = most_names
        self._count = 0

    def keep(self, looked: Sequence[Looked]) -> None:
        """Write down what was found. Raises sqlite3.Error and OSError; a damaged file is set aside."""
        if not self._has_room():
            return
        try:
            self._keep(self.opened(), looked)
        except sqlite3.DatabaseError as error:
            if kind_of(error) is not Kind.DAMAGED:
                raise
            self.close()
            set_aside(self.path, str(error))
            self._keep(self.opened(), looked)

    def _prepare(self, db: sqlite3.Connection) -> None:
        """See Derived."""
        try:
            SCHEMA.bring_up(db)
        except NewerFile as error:
            raise Outdated(str(error)) from None
        self._count = db.execute("SELECT count(*) FROM name").fetchone()[0]

    def _keep(self, db: sqlite3.Connection, looked: Sequence[Looked]) -> None:
        with transaction(db):
            for each in looked:
                db.execute(_INTO, each)
            self._count += len(looked)  # at most so many: some were there
            if self._count > self._most_names:
                db.execute(_PRUNE, (self._most_names, int(_SPARE_SHARE * self._most_names)))
                self._count = db.execute("SELECT count(*) FROM name").fetchone()[0]


_INTO = """
INSERT INTO name VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET
  name = iif(?5, excluded.name, name), asked_at = excluded.asked_at, again_at = excluded.again_at
"""
_PRUNE = """
DELETE FROM name WHERE ip IN (
  SELECT ip FROM name ORDER BY asked_at LIMIT max(0, (SELECT count(*) FROM name) - ?1 + ?2)
)
"""
