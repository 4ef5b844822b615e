"""`outputd-export` beside DuckDB's own way from SQLite to Parquet, and the ingest beside an export."""

from __future__ import annotations

import contextlib
import http.client
import importlib.resources
import importlib.util
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.cost import Cost, cost_of
from benchmarks.figures import Spread, alternating, in_turn, ratios, table
from benchmarks.full import filled
from benchmarks.kinds import CHECKOUT, Kind
from benchmarks.service import HOST, Service, Wrong, meanwhile
from benchmarks.session import Session

_FILES = 3
_PARQUET, _NDJSON, _DUCKDB = "outputd-export, Parquet", "outputd-export, NDJSON", "DuckDB, Parquet"
_EXTENSION = "duckdb_extension_sqlite_scanner"
_FORMS = ("ndjson", "parquet")
_WARMUP_S = 2.0  # an export knows of a crowd after half a second
_QUERY = """
SELECT p.id, f.instance, b.id AS batch_id, b.node, b.received_at::TIMESTAMP AS received_at, p.ip, p.sent, p.received,
  p.packet_loss, p.avg_rtt, s.min_rtt, s.max_rtt, s.stddev_rtt, p.timestamp, p.error, t.method, t.completed,
  t.error AS traceroute_error, h.hops
FROM db.ping_results p CROSS JOIN db.result_file f
ASOF JOIN db.batches b ON p.id >= b.first_id
LEFT JOIN db.rtt_spread s ON s.ping_result_id = p.id LEFT JOIN db.traceroute_results t ON t.id = p.id
LEFT JOIN (
  SELECT traceroute_id, list({'ttl': ttl, 'ip': ip, 'rtt_ns': rtt, 'timeout': timeout} ORDER BY id) AS hops
  FROM db.traceroute_hops GROUP BY traceroute_id
) h ON h.traceroute_id = t.id
ORDER BY p.id
"""


def run(session: Session) -> str:
    """Measure, and tell it in Markdown. Raises Wrong when a result is missing."""
    directory = filled(session, session.home / "export", _FILES)
    return "\n\n".join([_of_files(session, sorted(directory.glob("*.db"))), _ingest(session, directory)])


def _of_files(session: Session, files: Sequence[Path]) -> str:
    path = max(files, key=lambda path: path.stat().st_size)
    with contextlib.closing(sqlite3.connect(path)) as db:
        results, hops = (db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                         for name in ("ping_results", "traceroute_hops"))  # fmt: skip
    works: dict[str, Callable[[Path], None]] = {_PARQUET: partial(_export, path), _NDJSON: partial(_export, path)}
    if importlib.util.find_spec(_EXTENSION) is None:
        session.say("export: without DuckDB; it needs pip install duckdb duckdb-extension-sqlite-scanner")
    else:
        works[_DUCKDB] = partial(_duckdb, path)
    outs = {name: session.home / f"out.{'ndjson' if name == _NDJSON else 'parquet'}" for name in works}
    sizes = dict.fromkeys(works, 0)
    turns = []

    def cost(name: str) -> Cost:
        found = cost_of(partial(works[name], outs[name]))
        if name == _NDJSON and (lines := _lines(outs[name])) != results:
            raise Wrong(f"{results} results are in the file and {lines} in its export")
        sizes[name] = outs[name].stat().st_size
        outs[name].unlink()
        return found

    for costs in in_turn(session.turns, {name: partial(cost, name) for name in works}):
        turns.append(costs)
        told = ", ".join(f"{name} {found.wall_s:.1f} s" for name, found in costs.items())
        session.say(f"export: turn {len(turns)} of {session.turns}: {told}")
    return "\n\n".join([
        f"### A file of {path.stat().st_size / 2**20:.0f} MiB, {results:,} results with {hops:,} hops",
        table(["", "s", "CPU, s", "CPU of that", "peak, MiB", "MiB made", "bytes a result"], [
            [
                name, Spread.of(turn[name].wall_s for turn in turns), Spread.of(turn[name].cpu_s for turn in turns),
                ratios((turn[_PARQUET].cpu_s, turn[name].cpu_s) for turn in turns),
                Spread.of(turn[name].peak_mib for turn in turns), f"{sizes[name] / 2**20:.1f}",
                f"{sizes[name] / results:.0f}",
            ]
            for name in works
        ]),
    ])  # fmt: skip


def _export(path: Path, out: Path) -> None:
    command = [sys.executable, "-m", "outputd.export.command", str(path), "--to", str(out)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)


def _duckdb(path: Path, out: Path) -> None:
    """In a process of its own, as the others are."""
    (extension,) = importlib.resources.files(_EXTENSION).joinpath("extensions").glob("*/*")  # type: ignore[attr-defined]  # it is a Path
    statements = [
        f"LOAD '{extension}'",
        f"ATTACH '{path}' AS db (TYPE sqlite, READ_ONLY)",
        f"COPY ({_QUERY}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)",
    ]
    script = f"import duckdb\ndb = duckdb.connect()\nfor statement in {statements!r}:\n    db.execute(statement)"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _ingest(session: Session, directory: Path) -> str:
    """The ingest's best rate and its CPU a result beside an export, as shares of those without."""
    rows = []
    with session.service(directory, "--keep-files=1000") as service:
        for kind in session.kinds:
            for form in _FORMS:
                beside, alone = (
                    partial(_posted_beside, session, service, kind, form),
                    partial(_posted, session, service, kind),
                )
                turns = list(alternating(session.turns, beside, alone))
                rate = ratios((mine[0], other[0]) for mine, other in turns)
                cpu = ratios((mine[1], other[1]) for mine, other in turns)
                session.say(f"export: {kind.title}, ingest beside {form}: {rate}")
                rows.append([f"{kind.title}, /export.{form}", rate, cpu])
        service.check()
    return "\n\n".join([
        "### The ingest beside an export: shares of that without",
        table(["", "rate", "CPU a result"], rows),
    ])  # fmt: skip


def _posted(session: Session, service: Service, kind: Kind) -> tuple[float, float]:
    """Results a second, and CPU seconds a result."""
    tally = service.post(kind, kind.connections, session.seconds, warmup=_WARMUP_S)
    return tally.results / tally.seconds, tally.server.cpu_s / tally.results


def _posted_beside(session: Session, service: Service, kind: Kind, form: str) -> tuple[float, float]:
    with meanwhile(partial(_read_exports, service.health_port, form)):
        return _posted(session, service, kind)


def _read_exports(port: int, form: str) -> None:
    """One export after the other, read as fast as it comes."""
    while True:
        connection = http.client.HTTPConnection(HOST, port, timeout=60.0)
        connection.request("GET", f"/export.{form}")
        response = connection.getresponse()
        if response.status != 200:
            raise Wrong(f"GET /export.{form}: {response.status}")
        while response.read1(1 << 20):
            pass
        connection.close()
