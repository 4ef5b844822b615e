"""Starts the real service in fresh directories, measures it and prints the tables of BENCHMARKS.md in Markdown.

`saturated`, `light`, `latency` and `reads` are what `make bench` runs. The other parts take longer or more disk:
`growth` (10 million hop rows, 10 million known addresses, all-new addresses, a feed backlog), `idle` (start-up, memory,
CPU, idle connections), `merge` (outputd-merge beside copying rows by hand), `export` (outputd-export beside DuckDB, and
the ingest beside an export), `archive` (the ingest with an archive, and how fast results get there). Progress goes to
stderr, tables to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import archive, export, growth, idle, latency, light, merge, reads, saturated, smoke
from benchmarks.figures import Spread, overview
from benchmarks.kinds import CHECKOUT
from benchmarks.service import Wrong
from benchmarks.session import Session

PARTS: dict[str, Callable[[Session], str]] = {
    "saturated": saturated.run,
    "light": light.run,
    "latency": latency.run,
    "reads": reads.run,
    "growth": growth.run,
    "idle": idle.run,
    "merge": merge.run,
    "export": export.run,
    "archive": archive.run,
}
_USUAL = ("saturated", "light", "latency", "reads")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 1 when a count was wrong, never because of a time."""
    usual = Session(Path())
    parser = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: {' '.join(_USUAL)})")
    parser.add_argument("--smoke", action="store_true", help="only see within 20 s that counts are right")
    parser.add_argument("--turns", type=int, default=usual.turns, help="default %(default)s")
    parser.add_argument("-s", "--seconds", type=float, default=usual.seconds,
                        help="measured time of one run, latencies longer (default %(default)s)")  # fmt: skip
    parser.add_argument(
        "--dir", type=Path, default=Path("/var/tmp"), help="on the disk to measure; default %(default)s"
    )
    parser.add_argument("--quiet", action="store_true", help="latency: without rotations and dumps")
    parser.add_argument("--no-feed", action="store_true", help="saturated, latency: the feed turned off")
    parser.add_argument("--fleet", action="store_true", help="reads: on 300 nodes, 5,000 targets and 130,000 links")
    parser.add_argument("--beside", metavar="COMMIT", default="", help="saturated, light: that commit, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows of the first table there")
    parser.add_argument("--size-mb", type=int, default=usual.size_mb, help="a full file (default %(default)s)")
    parser.add_argument("--hop-rows", type=int, default=usual.hop_rows, help="growth (default %(default)s)")
    parser.add_argument("--addresses", type=int, default=usual.addresses, help="growth: known (default %(default)s)")
    parser.add_argument("--waiting", type=int, default=usual.waiting, help="growth: backlog (default %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help=f"growth: some of {', '.join(growth.PARTS)}")  # fmt: skip
    options = parser.parse_args(argv)
    unknown = [name for name in options.parts if name not in PARTS] + [x for x in options.only if x not in growth.PARTS]
    if unknown or options.turns < 1:
        parser.error(f"no such part: {' '.join(unknown)}" if unknown else "at least one turn")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that what was started ends too
    with tempfile.TemporaryDirectory(prefix="outputd-bench-", dir=options.dir) as home:
        session = Session(
            Path(home), options.turns, options.seconds, size_mb=options.size_mb, hop_rows=options.hop_rows,
            addresses=options.addresses, waiting=options.waiting, quiet=options.quiet, feed=not options.no_feed,
            fleet=options.fleet, beside=options.beside, only=options.only,
        )  # fmt: skip
        try:
            if options.smoke:
                print(smoke.run(session))
                return 0
            where = machine(session)
            told = [f"## {name.capitalize()}\n\n{PARTS[name](session)}" for name in options.parts or _USUAL]
            print("\n\n".join([where, *([overview(session.rows)] if session.rows else []), *told]), flush=True)
            if options.json:
                rows = [{"title": row.title, "unit": row.unit, **row.values} for row in session.rows]
                options.json.write_text(json.dumps({"machine": where, "rows": rows}, indent=1) + "\n", encoding="utf-8")
        except Wrong as error:
            print(f"WRONG: {error}", file=sys.stderr)
            return 1
        session.say("done")
    return 0


def machine(session: Session) -> str:
    """Where it was measured, in a few lines."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    kept = subprocess.run(["df", "--output=fstype", str(session.home)], capture_output=True, text=True, check=False)
    kind = (kept.stdout.split() or ["?"])[-1]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True,
                            check=False)  # fmt: skip
    return "\n".join([
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, outputd {commit.stdout.strip() or 'without git'}, "
        f"{session.turns} turns of {session.seconds:g} s",
        f"- {os.cpu_count()} cores, {model}; load average at the start {os.getloadavg()[0]:.1f}",
        f"- {session.home.parent} on {kind}; 8 KiB appended and fsynced: {_fsync_ms(session.home)} ms",
        f"- Linux {platform.release()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
    ])  # fmt: skip


def _fsync_ms(home: Path) -> Spread:
    times = []
    with (home / "fsync").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(8192))
            began = time.perf_counter()
            os.fsync(file)
            times.append((time.perf_counter() - began) * 1e3)
    return Spread.of(times)


if __name__ == "__main__":
    sys.exit(main())
