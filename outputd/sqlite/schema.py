"""The schema of one kind of database: its newest version, and the steps that lead there from older ones.

A directory has `2.sql`, the whole of a new database of version 2, and `2-from-1.sql`, the step that one of version 1
takes. What was released is never changed: the next version is a new file beside it.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from outputd.sqlite.connections import pragma
from outputd.sqlite.errors import NewerFile


@dataclass(frozen=True, slots=True)
class Schema:
    """Where the scripts are, which version is the newest, and the mark that our databases bear; 0 is none."""

    directory: Traversable
    version: int
    application_id: int = 0

    def is_newest(self, db: sqlite3.Connection) -> bool:
        """Whether a database bears our mark and is of the newest version."""
        marks = pragma(db, "application_id"), pragma(db, "user_version")
        return marks == (self.application_id, self.version)

    def version_of(self, db: sqlite3.Connection) -> int:
        """The version of a database, 0 of an empty one. Raises NewerFile."""
        found = pragma(db, "user_version")
        if found > self.version:
            path = db.execute("SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'").fetchone()[0]
            raise NewerFile(
                f"{os.fsdecode(path)} has schema version {found}, this outputd knows {self.version}: upgrade it"
            )
        return found

    def bring_up(self, db: sqlite3.Connection) -> None:
        """Make an empty database, or take an older one to the newest version, on disk when it returns.

        Each step is done whole or not at all, whatever ends it. Raises NewerFile, sqlite3.Error.
        """
        found = self.version_of(db)
        if found == self.version:
            return
        scripts = [(self.version, f"{self.version}.sql")]
        if found:
            scripts = [(version, f"{version}-from-{version - 1}.sql") for version in range(found + 1, self.version + 1)]
        synchronous = pragma(db, "synchronous")
        db.execute("PRAGMA synchronous=FULL")
        try:
            for version, name in scripts:
                self._run(db, name, version)
        finally:
            db.execute(f"PRAGMA synchronous={synchronous}")

    def _run(self, db: sqlite3.Connection, name: str, version: int) -> None:
        """Run a script and set the marks in one transaction; executescript would commit one that was begun before."""
        script = self.directory.joinpath(name).read_text(encoding="utf-8")
        marks = f"PRAGMA application_id={self.application_id}; PRAGMA user_version={version}"
        try:
            db.executescript(f"BEGIN IMMEDIATE;\n{script};\n{marks}; COMMIT;")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
