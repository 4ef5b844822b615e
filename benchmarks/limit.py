"""The physical limit of storing the same bodies: one thread, no HTTP.

Parses bodies (msgspec if it is installed, else json) and writes their rows into the spec's three
tables with its three indexes: WAL, synchronous=FULL, `--group` bodies a transaction, many-row INSERT
statements, ids assigned here. What a server reaches beyond this it owes to a second core; what it
stays below is the price of HTTP, of checks, and of waiting.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import load

SCHEMA = (Path(__file__).parent / "peer" / "schema.sql").read_text(encoding="utf-8")
"""That of the peer in Go: both store the same rows, and no more."""


class Hop(NamedTuple):
    """One hop of a traceroute."""

    ttl: int
    ip: str | None
    rtt: int | None
    timeout: bool | None


def make_parser() -> tuple[str, Callable[[bytes], Sequence[Any]]]:
    """The fastest parser at hand, and its name; results have the fields of the spec as attributes."""
    try:
        import msgspec  # noqa: PLC0415  # optional, and json must serve without it
    except ImportError:
        return "json", lambda data: [_Loose(item) for item in json.loads(data)]
    hop = msgspec.defstruct(
        "Hop", [("ttl", int), ("ip", str | None, None), ("rtt", int | None, None), ("timeout", bool | None, None)],
        gc=False,
    )  # fmt: skip
    traceroute = msgspec.defstruct(
        "Traceroute",
        [("method", str | None, None), ("completed", bool | None, None), ("error", str | None, None),
         ("hops", list[hop] | None, None)],  # type: ignore[valid-type]  # a class made at run time
        gc=False,
    )  # fmt: skip
    result = msgspec.defstruct(
        "Result",
        [("ip", str), ("sent", int), ("received", int), ("timestamp", str), ("packet_loss", float | None, None),
         ("avg_rtt", int | None, None), ("error", str | None, None), ("traceroute", traceroute | None, None)],
        gc=False,
    )  # fmt: skip
    return f"msgspec {msgspec.__version__}", msgspec.json.Decoder(list[result]).decode  # type: ignore[valid-type]  # as above


class _Loose:
    """A parsed JSON object whose keys are attributes, absent ones None."""

    traceroute: _Loose | None
    hops: list[Hop]

    def __init__(self, item: dict[str, Any]) -> None:
        self.__dict__.update(item)
        if traceroute := item.get("traceroute"):
            self.traceroute = _Loose(traceroute)
            self.traceroute.hops = [
                Hop(hop["ttl"], hop.get("ip"), hop.get("rtt"), hop.get("timeout"))
                for hop in traceroute.get("hops") or ()
            ]

    def __getattr__(self, name: str) -> Any:
        return None


class Table:
    """Inserts rows from one flat list by statements of few fixed sizes, so that each is compiled once."""

    def __init__(self, name: str, columns: str, rows: int) -> None:
        self.width = columns.count(",") + 1
        place = f"({','.join('?' * self.width)})"
        sizes = sorted({rows, *(size for size in (1, 8, 64) if size < rows)}, reverse=True)
        self.statements = [
            (size, f"INSERT INTO {name} ({columns}) VALUES {','.join([place] * size)}") for size in sizes
        ]

    def insert(self, db: sqlite3.Connection, flat: list[Any]) -> None:
        """Insert all of flat's rows, in order."""
        at, end = 0, len(flat)
        for size, statement in self.statements:
            step = size * self.width
            while end - at >= step:
                db.execute(statement, flat[at : at + step])
                at += step


@dataclass
class Spent:
    """Seconds by what they were spent on, and the bodies written in them."""

    parse: float = 0.0
    rows: float = 0.0
    insert: float = 0.0
    commit: float = 0.0
    all: float = 0.0
    posts: int = 0


class Writer:
    """Writes parsed results into one new SQLite file."""

    def __init__(self, path: Path, rows: int, page_size: int, cache_mib: int, checkpoint_pages: int) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute(f"PRAGMA page_size={page_size}")
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute(f"PRAGMA cache_size=-{cache_mib * 1024}")
        self.db.execute(f"PRAGMA wal_autocheckpoint={checkpoint_pages}")
        self.db.executescript(SCHEMA)
        self.pings = Table("ping_results", "id,ip,sent,received,packet_loss,avg_rtt,timestamp,error", rows)
        self.traceroutes = Table("traceroute_results", "id,ping_result_id,method,completed,error", rows)
        self.hops = Table("traceroute_hops", "traceroute_id,ttl,ip,rtt,timeout", rows)
        self.ping_id = self.traceroute_id = 0

    def write(self, batches: list[Sequence[Any]], spent: Spent) -> None:
        """Commit the batches in one transaction."""
        started = time.perf_counter()
        pings: list[Any] = []
        traceroutes: list[Any] = []
        hops: list[Any] = []
        for result in itertools.chain.from_iterable(batches):
            self.ping_id += 1
            pings += (self.ping_id, result.ip, result.sent, result.received, result.packet_loss, result.avg_rtt,
                      result.timestamp, result.error)  # fmt: skip
            traceroute = result.traceroute
            if traceroute is not None:
                self.traceroute_id += 1
                number = self.traceroute_id
                traceroutes += number, self.ping_id, traceroute.method, traceroute.completed, traceroute.error
                for hop in traceroute.hops or ():
                    hops += number, hop.ttl, hop.ip or None, hop.rtt, hop.timeout or False
        made = time.perf_counter()
        self.db.execute("BEGIN IMMEDIATE")
        self.pings.insert(self.db, pings)
        self.traceroutes.insert(self.db, traceroutes)
        self.hops.insert(self.db, hops)
        inserted = time.perf_counter()
        self.db.execute("COMMIT")
        spent.rows += made - started
        spent.insert += inserted - made
        spent.commit += time.perf_counter() - inserted

    def count(self, table: str) -> int:
        """The rows of a table."""
        return int(self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def take(bodies: Sequence[load.Body], fresh: bool) -> Iterator[bytes]:
    """The bodies over and over; generated ones are made fresh for each round."""
    source = load.Source(bodies, fresh=fresh)
    while True:
        yield source.take().data


@dataclass(frozen=True, slots=True)
class Settings:
    """How the file is written."""

    seconds: float = 5.0
    warmup: float = 0.0
    group: int = 16
    rows: int = 512
    page_size: int = 4096
    cache_mib: int = 64
    checkpoint_pages: int = 16000
    directory: Path | None = None


def run(bodies: Sequence[load.Body], fresh: bool, settings: Settings) -> dict[str, Any]:
    """Write for the time that is set, and tell the figures by name."""
    parser_name, parse = make_parser()
    source = take(bodies, fresh)
    with tempfile.TemporaryDirectory(dir=settings.directory, prefix="limit-") as home:
        path = Path(home) / "results.db"
        writer = Writer(path, settings.rows, settings.page_size, settings.cache_mib, settings.checkpoint_pages)

        def write_for(seconds: float) -> Spent:
            spent, start = Spent(), time.perf_counter()
            while (now := time.perf_counter()) - start < seconds:
                batches = [parse(next(source)) for _ in range(settings.group)]
                spent.parse += time.perf_counter() - now
                writer.write(batches, spent)
                spent.posts += settings.group
            spent.all = time.perf_counter() - start
            return spent

        write_for(settings.warmup)
        results, hops, cpu = writer.ping_id, writer.count("traceroute_hops"), time.process_time()
        spent = write_for(settings.seconds)
        cpu = time.process_time() - cpu
        results, hops = writer.ping_id - results, writer.count("traceroute_hops") - hops
        assert writer.count("ping_results") == writer.ping_id, "what was written is not in the file"
        writer.db.close()
        size = path.stat().st_size
    return {
        "seconds": round(spent.all, 3),
        "results_per_s": round(results / spent.all, 1),
        "posts_per_s": round(spent.posts / spent.all, 1),
        "hop_rows_per_s": round(hops / spent.all, 1),
        "shares": {name: round(getattr(spent, name) / spent.all, 3) for name in ("parse", "rows", "insert", "commit")},
        "us_per_result": round(spent.all * 1e6 / results, 1),
        "cpu_us_per_result": round(cpu * 1e6 / results, 1),
        "file_mib": round(size / 2**20, 1),
        "parser": parser_name,
        "sqlite": sqlite3.sqlite_version,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    usual = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-s", "--seconds", type=float, default=usual.seconds, help="default %(default)s")
    parser.add_argument("--warmup", type=float, default=usual.warmup, help="seconds before it (default %(default)s)")
    parser.add_argument("--group", type=int, default=usual.group, help="bodies a transaction (default %(default)s)")
    parser.add_argument("--rows", type=int, default=usual.rows, help="rows a statement (default %(default)s)")
    parser.add_argument("--page-size", type=int, default=usual.page_size, help="bytes (default %(default)s)")
    parser.add_argument("--cache-mib", type=int, default=usual.cache_mib, help="page cache (default %(default)s)")
    parser.add_argument("--checkpoint-pages", type=int, default=usual.checkpoint_pages,
                        help="WAL pages (default %(default)s)")  # fmt: skip
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary directory)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    load.add_body_options(parser)
    options = parser.parse_args(argv)

    bodies, description = load.bodies_of(options)
    settings = Settings(options.seconds, options.warmup, options.group, options.rows, options.page_size,
                        options.cache_mib, options.checkpoint_pages, options.dir)  # fmt: skip
    figures = run(bodies, not options.file, settings)
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"{description}; {options.group} bodies a transaction")
        for name, value in figures.items():
            print(f"  {name:<18} {f'{value:,}' if isinstance(value, float) else value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
