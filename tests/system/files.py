"""What the result files say, read as any outsider may: read-only, when the service has ended."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.system.addresses import canonical, is_feedable
from tests.system.waiting import DEADLINE_S

TABLES = ("ping_results", "traceroute_results", "traceroute_hops", "batches", "rejected_results", "rtt_spread")

_TORN = """
    SELECT id FROM batches AS batch WHERE
        accepted != (SELECT count(*) FROM ping_results AS ping WHERE ping.id BETWEEN first_id AND last_id)
        OR accepted != coalesce(last_id - first_id + 1, 0)
        OR rejected < (SELECT count(*) FROM rejected_results WHERE batch_id = batch.id)
"""
_OUT_OF_ORDER = """
    SELECT 'batch ' || id FROM (SELECT id, first_id <= max(last_id) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING
        AND 1 PRECEDING) AS is_back FROM batches WHERE accepted) WHERE is_back
    UNION ALL
    SELECT 'hop ' || id FROM (SELECT id, traceroute_id < lag(traceroute_id) OVER (ORDER BY id) AS is_back
        FROM traceroute_hops) WHERE is_back
"""
_STRAY = "SELECT (SELECT count(*) FROM ping_results) - (SELECT coalesce(sum(accepted), 0) FROM batches)"


def result_files(directory: Path) -> list[Path]:
    """The result files, by name."""
    return sorted(directory.glob("results_*.db"))


def webhook_is_on(directory: Path) -> bool:
    """Whether the list of changes of a running instance knows of the webhook."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{directory}/changes.sqlite3?mode=ro", uri=True)) as db,
    ):
        return bool(db.execute("SELECT owed_after FROM mark").fetchone() != (None,))
    return False


def is_self_contained(path: Path) -> bool:
    """Whether a file needs no WAL: neither lies beside it, nor does its header ask for one."""
    with path.open("rb") as file:
        header = file.read(20)
    return header[18:20] == b"\x01\x01" and not Path(f"{path}-wal").exists()


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection, once what a kill has left half done is taken back, as any first reader does."""
    if Path(f"{path}-journal").exists():
        with closing(sqlite3.connect(path, DEADLINE_S)) as db:
            db.execute("SELECT 1 FROM sqlite_schema").fetchone()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", DEADLINE_S, uri=True)) as db:
        yield db


@contextmanager
def merged(directory: Path) -> Iterator[sqlite3.Connection]:
    """The rows of all result files in one database, as somebody who merges them gets it."""
    with closing(sqlite3.connect("file::memory:", DEADLINE_S, isolation_level=None, uri=True)) as db:
        for number, path in enumerate(result_files(directory)):
            db.execute("ATTACH ? AS file", (f"{path.as_uri()}?mode=ro",))
            for table in TABLES:
                verb = f"INSERT INTO {table}" if number else f"CREATE TABLE {table} AS"
                db.execute(f"{verb} SELECT * FROM file.{table}")
            db.execute("DETACH file")
        yield db


def column(db: sqlite3.Connection, sql: str) -> list[Any]:
    """The first column of what a query finds."""
    return [row[0] for row in db.execute(sql)]


def faults(path: Path) -> list[str]:
    """What is wrong with a file: pages, foreign keys, batches that are not whole."""
    with opened(path) as db:
        found = [text for text in column(db, "PRAGMA integrity_check") if text != "ok"]
        found += [f"foreign key: {row}" for row in db.execute("PRAGMA foreign_key_check")]
        found += [f"batch {number} is not whole" for number in column(db, _TORN)]
        found += [f"{name} is out of order" for name in column(db, _OUT_OF_ORDER)]
        found += [f"{number} results are in no batch" for number in column(db, _STRAY) if number]
    return [f"{path.name}: {text}" for text in found]


def all_faults(directory: Path) -> list[str]:
    """What is wrong with any of the files, and ids that are in more than one."""
    found = [text for path in result_files(directory) for text in faults(path)]
    with merged(directory) as db:
        for table in ("ping_results", "traceroute_results", "traceroute_hops", "batches"):
            ids = Counter(column(db, f"SELECT id FROM {table}"))
            found += [f"{table}: id {number} is there {times} times" for number, times in ids.items() if times > 1]
    return found


def stored_targets(directory: Path) -> Counter[str]:
    """How often each target is in the files."""
    with merged(directory) as db:
        return Counter(column(db, "SELECT ip FROM ping_results"))


def feedable_rows(directory: Path) -> set[str]:
    """All that input_service must hear of these files, by rule 17."""
    with merged(directory) as db:
        texts = column(db, "SELECT DISTINCT ip FROM traceroute_hops WHERE NOT timeout AND ip IS NOT NULL")
    return {text for text in texts if canonical(text) == text and is_feedable(text)}
