"""The engines that read an archive, each in a process: what they answer to the SQL of outputd/archive/sql."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

READERS = os.environ.get("OUTPUTD_READERS") or sys.executable
"""A Python that has the libraries."""
SQL = files("outputd.archive") / "sql"
_MOST_S = 300
_FROM_STDIN = """
import json, sys
views, asked = json.load(sys.stdin)
"""
_DUCKDB = f"""
import duckdb
{_FROM_STDIN}
db = duckdb.connect()
db.execute("SET enable_progress_bar = false")  # it is printed among the answers
db.execute(views)
def ask(question, parameters):
    found = db.execute(question, parameters)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]
json.dump([ask(*each) for each in asked], sys.stdout)
"""
_CLICKHOUSE = f"""
import chdb.session
{_FROM_STDIN}
session = chdb.session.Session()
session.query(views)
def ask(question, parameters):
    return [json.loads(line) for line in str(session.query(question, "JSONEachRow", params=parameters)).splitlines()]
json.dump([ask(*each) for each in asked], sys.stdout)
"""
_FROM_S3 = re.compile(r"s3\(archive, filename = '([^']+)', format = ('\w+')(?:, structure = )?")
Asked = tuple[str, Mapping[str, Any]]
"""The name of a question and its parameters; None is any."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One of them; it `needs` its module."""

    name: str
    """That of the folder of its SQL."""
    module: str
    code: str

    def answers(self, place: Path, asked: Sequence[Asked]) -> list[list[dict[str, Any]]]:
        """The rows that an archive in a directory answers with."""
        questions = [(self._sql(name), self._written(parameters)) for name, parameters in asked]
        said = json.dumps([self._views(place), questions])
        done = subprocess.run(
            [READERS, "-c", self.code], input=said, capture_output=True, text=True, timeout=_MOST_S, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: list[list[dict[str, Any]]] = json.loads(done.stdout)
        return found

    def _sql(self, name: str) -> str:
        return (SQL / self.name / f"{name}.sql").read_text(encoding="utf-8")

    def _views(self, place: Path) -> str:
        if self is DUCKDB:
            return f"SET VARIABLE archive = '{place}';{self._sql('views')}"
        return _FROM_S3.sub(
            lambda match: f"file('{place}/{match[1]}', {match[2]}{', ' if 'structure' in match[0] else ''}",
            self._sql("views"),
        )

    def _written(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        if self is DUCKDB:
            return parameters
        written = {None: "\\N", True: "true", False: "false"}
        return {
            name: written[value] if value is None or isinstance(value, bool) else str(value)
            for name, value in parameters.items()
        }


DUCKDB = Engine("duckdb", "duckdb", _DUCKDB)
CLICKHOUSE = Engine("clickhouse", "chdb", _CLICKHOUSE)


def needs(*modules: str) -> None:
    """Skip the test where a library is not installed."""
    for module in modules:
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        if subprocess.run([READERS, "-c", code], check=False).returncode:
            raise SkipTest(f"{READERS} has no {module}; OUTPUTD_READERS may name another Python")
