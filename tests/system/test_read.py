"""docs/how-to/read.md: what its recipes compute, with each library, on results of a running service."""

from __future__ import annotations

import csv
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.harness import SystemTest
from tests.system.markdown import blocks, installed, run

PAGE = "docs/how-to/read.md"
READERS = os.environ.get("OUTPUTD_READERS") or sys.executable
"""A Python that has the libraries."""
_END = "----"
_CSV = f"""
import csv, sys
for table in ({{}}):
    print("{_END}")
    csv.writer(sys.stdout).writerows(table)
"""
_PANDAS = (
    "loss.reset_index().itertuples(index=False), median_ms.reset_index().itertuples(index=False),"
    " [['' if pd.isna(time) else str(time)] for time in results['{}']]"
)
_POLARS = "loss.rows(), median_ms.rows(), results.select(pl.col('{}').dt.to_string('%F %T%.f')).rows()"
_DUCKDB = "loss.fetchall(), median_ms.fetchall(), {}.fetchall()"
_DUCKDB_OFFLINE = """
import duckdb, duckdb_extension_sqlite_scanner, pathlib
(extension,) = pathlib.Path(duckdb_extension_sqlite_scanner.__file__).parent.rglob("*.duckdb_extension")
duckdb.execute(f"LOAD '{extension}'")
"""
_R_CSV = f"""
for (table in list(loss, median_ms, results["timestamp"])) {{
  cat("{_END}\\n")
  write.table(table, sep = ",", row.names = FALSE, col.names = FALSE)
}}
"""


def _item(ip: str, received: int, timestamp: str, *hops: dict[str, Any], **more: Any) -> dict[str, Any]:
    item = {"ip": ip, "sent": 4, "received": received, "timestamp": timestamp, **more}
    return item | {"traceroute": {"method": "icmp", "hops": hops}} if hops else item


def _hop(ttl: int, ip: str | None = None, rtt: int | None = None, **more: Any) -> dict[str, Any]:
    return {"ttl": ttl, "ip": ip, "rtt": rtt, **more}


ITEMS = [
    _item("192.0.2.1", 4, "2026-01-07T22:30:00.123456789Z", _hop(1, "10.0.0.1", 1000), _hop(2, timeout=True)),
    _item("192.0.2.1", 3, "2026-01-07T22:59:59.999999999Z", _hop(1, "10.0.0.1", 5001), _hop(1, "10.0.0.2", 7)),
    _item("192.0.2.1", 5, "2026-01-07T23:00:00Z", _hop(1, "10.0.0.1", 3_000_000_007), avg_rtt=3_000_000_000),
    _item("2001:db8::1", 0, "2026-01-07T23:30:00.1+01:00", _hop(3, "10.0.0.9", timeout=True), avg_rtt=0),
    _item("2001:db8::1", 4, "1969-12-31T23:59:59.5Z", _hop(1, "10.0.0.1")),
    _item("2001:db8::1", 1, "0001-01-01T00:00:00Z", error="a clock without a battery"),
    _item("2001:db8::1", 2, "9999-12-31T23:59:59.999999999Z"),
]
"""What traps there are: duplicates, silent hops, several hops of one TTL, RTTs over 2^31, years that ns cannot hold."""
TIMES = [
    "2026-01-07 22:30:00.123456789", "2026-01-07 22:59:59.999999999", "2026-01-07 23:00:00", "2026-01-07 22:30:00.1",
    "1969-12-31 23:59:59.5", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999999",
]  # fmt: skip
"""As they are stored."""
_IN_US = [time[:26] for time in TIMES]
_IN_NS = [time if time[:4] not in ("0001", "9999") else "" for time in TIMES]


def _losses(times: Sequence[str]) -> set[tuple[str, str, int, int, float]]:
    """Target, hour, packets, lost, percent; of results that have a time."""
    sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for item, time in zip(ITEMS, times, strict=True):
        if time:
            sums[item["ip"], time[:13]][0] += item["sent"]
            sums[item["ip"], time[:13]][1] += max(0, item["sent"] - item["received"])
    return {(*where, sent, lost, round(100 * lost / sent, 6)) for where, (sent, lost) in sums.items()}


def _medians() -> set[tuple[str, int, str, float]]:
    """Target, TTL, hop, milliseconds."""
    rtts = defaultdict(list)
    for item in ITEMS:
        for hop in item.get("traceroute", {}).get("hops", ()):
            if hop["rtt"] is not None and not hop.get("timeout"):
                rtts[item["ip"], hop["ttl"], hop["ip"]].append(hop["rtt"])
    return {(*where, round(statistics.median(found) / 1e6, 6)) for where, found in rtts.items()}


def _as_stored(time: str) -> str:
    """Without the zone, which is UTC, and without zeros at the end of a fraction."""
    second, _, fraction = time.removesuffix("+00:00").partition(".")
    return f"{second}.{fraction.rstrip('0')}" if fraction else second


class Recipes(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        if shutil.which("curl") is None:
            raise SkipTest("the page's first command needs curl")
        if find_spec("pyarrow") is None:
            raise SkipTest("the page's first commands need pyarrow: pip install 'outputd[parquet]'")
        it = self.outputd().start()
        it.post(ITEMS)
        self.here = Path(self.mktemp()).absolute()
        environment = installed(self.here / "bin", export="outputd.export.command")
        for block in blocks(PAGE):
            if block.language == "bash" and not block.untested:
                text = block.text.replace("localhost:8081", f"localhost:{it.port}")
                run(text, self.here, environment)
        it.stop()

    def recipes(self, heading: str, language: str = "python") -> list[str]:
        """The blocks of a section."""
        found = [block.text for block in blocks(PAGE) if (block.heading, block.language) == (heading, language)]
        self.assertTrue(found, heading)
        return found

    def python(self, recipes: Sequence[str], tables: str, *modules: str) -> list[list[list[str]]]:
        """The tables that recipes have made."""
        for module in modules:
            if self.fails(READERS, f"import {module}"):
                raise SkipTest(f"{READERS} has no {module}; OUTPUTD_READERS may name another Python")
        return self.tables(READERS, "\n".join([*recipes, _CSV.format(tables)]))

    def fails(self, program: str, code: str) -> bool:
        return subprocess.run([program, "-"], input=code.encode(), capture_output=True, check=False).returncode != 0

    def tables(self, program: str, code: str) -> list[list[list[str]]]:
        done = subprocess.run(
            [program, "-"], input=code, cwd=self.here, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return [list(csv.reader(part.split("\n")[1:-1])) for part in done.stdout.split(_END)[1:]]

    def assertTold(
        self, tables: Sequence[Iterable[Sequence[str]]], times: Sequence[str], counted: Sequence[str] = ()
    ) -> None:
        """That these are losses, medians and times; an empty time is one that the library cannot hold.

        `counted` are those of the losses, if they are others.
        """
        loss, medians, found = tables
        self.assertEqual(
            _losses(counted or times),
            {(ip, hour[:13], int(sent), int(lost), round(float(share), 6)) for ip, hour, sent, lost, share in loss},
        )
        self.assertEqual(_medians(), {(ip, int(ttl), hop, round(float(ms), 6)) for ip, ttl, hop, ms in medians})
        self.assertEqual(list(times), [_as_stored(time) for (time,) in found])

    def test_pandas(self) -> None:
        tables = self.python(self.recipes("pandas"), _PANDAS.format("timestamp"), "pandas")
        self.assertTold(tables, _IN_NS)

    @long("tests.system.test_read.Recipes.test_duckdb_and_parquet")
    def test_pandas_and_parquet(self) -> None:
        """Its times are microseconds, so that all are counted, and the sums have nanoseconds."""
        load, times = self.recipes("pandas and Parquet")
        recipes = [load, *self.recipes("pandas")[1:], times]
        self.assertTold(self.python(recipes, _PANDAS.format("time"), "pandas", "pyarrow"), _IN_NS, TIMES)

    @long("tests.system.test_read.Recipes.test_pandas")
    def test_polars(self) -> None:
        self.assertTold(self.python(self.recipes("Polars"), _POLARS.format("timestamp"), "polars"), _IN_US)

    @long("tests.system.test_read.Recipes.test_duckdb_and_parquet")
    def test_polars_and_parquet(self) -> None:
        load, times = self.recipes("Polars and Parquet")
        recipes = [load, *self.recipes("Polars")[1:], times]
        self.assertTold(self.python(recipes, _POLARS.format("time"), "polars"), _IN_NS, TIMES)

    def test_duckdb(self) -> None:
        times = "duckdb.sql('SELECT timestamp::VARCHAR FROM outputd.ping_results ORDER BY id')"
        recipes = [_DUCKDB_OFFLINE, *self.recipes("DuckDB")]
        tables = self.python(recipes, _DUCKDB.format(times), "duckdb", "duckdb_extension_sqlite_scanner")
        self.assertTold(tables, _IN_US)

    def test_duckdb_and_parquet(self) -> None:
        times = "duckdb.sql('SELECT time::VARCHAR FROM times')"
        tables = self.python(self.recipes("DuckDB and Parquet"), _DUCKDB.format(times), "duckdb")
        self.assertTold(tables, _IN_NS, TIMES)

    @long("tests.system.test_read.Recipes.test_pandas")
    def test_r(self) -> None:
        rscript = shutil.which("Rscript")
        if rscript is None or self.fails(rscript, "library(RSQLite)"):
            raise SkipTest("R with RSQLite is not here; Debian has it as r-cran-rsqlite")
        self.assertTold(self.tables(rscript, "\n".join([*self.recipes("R", "r"), _R_CSV])), TIMES)
