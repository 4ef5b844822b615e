"""`outputd-merge` beside copying rows by ATTACH: the files of two instances whose ids collide."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.cost import Cost, cost_of
from benchmarks.figures import Spread, in_turn, ratios, table
from benchmarks.full import filled
from benchmarks.kinds import CHECKOUT
from benchmarks.service import Wrong
from benchmarks.session import Session

_FILES = 2
"""Of each instance."""
_OURS, _BY_HAND, _INDEXES_LAST = "outputd-merge", "by hand", "by hand, indexes last"
_COPIES = {
    "ping_results": "id + :result, ip, sent, received, packet_loss, avg_rtt, timestamp, error, created_at",
    "traceroute_results": "id + :result, ping_result_id + :result, method, completed, error",
    "traceroute_hops": "id + :hop, traceroute_id + :result, ttl, ip, rtt, timeout",
    "rtt_spread": "ping_result_id + :result, min_rtt, max_rtt, stddev_rtt",
    "batches": "id + :batch, node, received_at, digest, key, first_id + :result, last_id + :result, accepted, rejected",
    "rejected_results": "NULL, batch_id + :batch, item_index, field, reason, raw",
}
_LAST = "CREATE INDEX hops_of ON traceroute_hops(traceroute_id); ANALYZE"
"""As docs/sql.md ends its recipe."""
_HIGHEST = {"result": "ping_results", "hop": "traceroute_hops", "batch": "batches"}


def run(session: Session) -> str:
    """Measure, and tell it in Markdown. Raises Wrong when the rows are not those of the files."""
    instances = [filled(session, session.home / name, _FILES) for name in ("first", "second")]
    files = [sorted(directory.glob("*.db")) for directory in instances]
    wanted = sum(_rows(path) for paths in files for path in paths)
    works = {
        _OURS: partial(_merge, [path for paths in files for path in paths]),
        _BY_HAND: partial(_attach, files, False),
        _INDEXES_LAST: partial(_attach, files, True),
    }
    turns = []
    out = session.home / "merged.db"
    for costs in in_turn(session.turns, {name: partial(_cost, work, out, wanted) for name, work in works.items()}):
        turns.append(costs)
        told = ", ".join(f"{name} {cost.wall_s:.1f} s" for name, cost in costs.items())
        session.say(f"merge: turn {len(turns)} of {session.turns}: {told}")
    size_mib = sum(path.stat().st_size for paths in files for path in paths) / 2**20
    return "\n\n".join([
        f"### {sum(map(len, files))} files of two instances, {size_mib:.0f} MiB, {wanted:,} rows",
        table(["", "s", "CPU, s", "outputd-merge is so many times as fast", "by CPU"], [
            [
                name, Spread.of(turn[name].wall_s for turn in turns), Spread.of(turn[name].cpu_s for turn in turns),
                ratios((turn[name].wall_s, turn[_OURS].wall_s) for turn in turns),
                ratios((turn[name].cpu_s, turn[_OURS].cpu_s) for turn in turns),
            ]
            for name in works
        ]),
    ])  # fmt: skip


def _cost(work: Callable[[Path], None], out: Path, wanted: int) -> Cost:
    cost = cost_of(partial(work, out))
    if (found := _rows(out)) != wanted:
        raise Wrong(f"{wanted} rows are in the files and {found} in what was made of them")
    out.unlink()
    return cost


def _merge(files: Sequence[Path], out: Path) -> None:
    command = [sys.executable, "-m", "outputd.merge.command", str(out), *map(str, files)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)


def _attach(instances: Sequence[Sequence[Path]], indexes_last: bool, out: Path) -> None:
    """As somebody does who knows of which instance each file is: a transaction for each file."""
    with contextlib.closing(sqlite3.connect(out, isolation_level=None)) as db:
        tables, indexes = _schema_of(instances[0][0])
        for statement in tables if indexes_last else [*tables, *indexes]:
            db.execute(statement)
        for paths in instances:
            above = {name: db.execute(f"SELECT ifnull(max(id), 0) FROM {of}").fetchone()[0]
                     for name, of in _HIGHEST.items()}  # fmt: skip
            for path in paths:
                db.execute("ATTACH ? AS part", (str(path),))
                db.execute("BEGIN")
                for name, columns in _COPIES.items():
                    db.execute(f"INSERT INTO {name} SELECT {columns} FROM part.{name}", above)
                db.execute("COMMIT")
                db.execute("DETACH part")
        for statement in indexes if indexes_last else ():
            db.execute(statement)
        db.executescript(_LAST)


def _schema_of(path: Path) -> tuple[list[str], list[str]]:
    """The statements that make its tables, and its indexes."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        query = "SELECT sql FROM sqlite_schema WHERE type = ? AND sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        tables, indexes = ([sql for (sql,) in db.execute(query, (kind,))] for kind in ("table", "index"))
    return tables, indexes


def _rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return sum(int(db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in _COPIES)
