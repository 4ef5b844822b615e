"""docs/how-to/ask-archive.md: what its recipes find in an archive on a real object store."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import obstore
from obstore.store import S3Store
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.kit.archived import archive
from tests.kit.bench import Bench
from tests.kit.depth import long
from tests.kit.object_store import BUCKET, KEY, REGION, SECRET, ObjectStore
from tests.kit.sql_engines import READERS, needs
from tests.system.harness import CHECKOUT, HOST
from tests.system.markdown import blocks
from tests.system.test_read import ITEMS

PAGE = "docs/how-to/ask-archive.md"
DAY_S = 86_400
_END = "----"
_SERIES = [["2026-01-07T00:00:00Z", "vienna", "9"]]
_EXTENSION = """
import duckdb, importlib.resources, os, pathlib
(extension,) = importlib.resources.files("duckdb_extension_httpfs").joinpath("extensions").glob("*/*")
place = pathlib.Path.home() / f".duckdb/extensions/v{duckdb.__version__}/linux_amd64"
place.mkdir(parents=True)
(place / extension.name).symlink_to(extension)
"""
"""DuckDB looks there for what it has fetched before."""
_QUIET = 'db.execute("SET enable_progress_bar = false")'
"""Else it is printed among the tables."""
_CSV = f"""
import csv, sys
print("{_END}")
csv.writer(sys.stdout).writerows({{}})
"""


@long(
    "tests.archive.test_sql.SmallArchives.test_duckdb", "tests.archive.test_sql.SmallArchives.test_clickhouse"
)  # fmt: skip
class Recipes(SynchronousTestCase):
    """The same results arrive on three days of two months; the recipes ask for the second day."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.store = ObjectStore(self.here / "store")
        self.addCleanup(self.store.kill)
        bench = Bench(self.here / "results")
        for days in (1, 24, 0):
            bench.post(*ITEMS, node="vienna")
            bench.clock.advance(days * DAY_S)
        bench.stop()
        self.archive = self.here / "archive"
        archive([info.path for info in bench.store.files], self.archive, "vienna.0a1b2c3d")

    def stored(self) -> None:
        """Put the archive into the store."""
        self.store.start()
        client = S3Store(
            BUCKET, endpoint=self.store.endpoint(), region=REGION, access_key_id=KEY, secret_access_key=SECRET,
            client_options={"allow_http": True},
        )  # fmt: skip
        for path in self.archive.rglob("*.parquet"):
            obstore.put(client, f"prefix/{path.relative_to(self.archive)}", path.read_bytes())

    def recipes(self, heading: str, language: str = "python") -> list[str]:
        """The blocks of a section, about the store of this test."""
        found = [block for block in blocks(PAGE) if (block.heading, block.language) == (heading, language)]
        texts = [block.text for block in found if not block.untested]
        self.assertTrue(texts, heading)
        return [self.here_is(text) for text in texts]

    def here_is(self, text: str) -> str:
        """It does not speak TLS, and its bucket, keys and port are others than those on the page."""
        names = {
            "bucket/": f"{BUCKET}/", "'KEY'": f"'{KEY}'", "'SECRET'": f"'{SECRET}'", '"KEY"': f'"{KEY}"',
            '"SECRET"': f'"{SECRET}"', "https://": "http://", "s3.example.net": f"{HOST}:{self.store.port}",
            "URL_STYLE 'path'": "URL_STYLE 'path', USE_SSL false",
            '"aws_region"': '"aws_allow_http": "true", "aws_region"',
        }  # fmt: skip
        for there, here in names.items():
            text = text.replace(there, here)
        return text

    def tables(self, code: str) -> list[list[list[str]]]:
        """What is printed behind each line that ends a table."""
        environment = {**os.environ, "HOME": str(self.here), "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(
            [READERS, "-"], input=code, env=environment, cwd=self.here, capture_output=True, text=True, timeout=280,
            check=False,
        )  # fmt: skip
        self.assertEqual(0, done.returncode, done.stderr[-3000:])
        return [list(csv.reader(part.split("\n")[1:-1])) for part in done.stdout.split(_END)[1:]]

    def assertLosses(self, rows: list[list[str]]) -> None:
        sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for item in ITEMS:
            sums[item["ip"]][0] += item["sent"]
            sums[item["ip"]][1] += max(0, item["sent"] - item["received"])
        self.assertEqual([[ip, "2026-01-08", *map(str, sums[ip])] for ip in sorted(sums)], rows)

    def test_duckdb(self) -> None:
        """Also what it has compacted."""
        needs("duckdb", "duckdb_extension_httpfs")
        self.stored()
        opening, question, loss = self.recipes("DuckDB")
        compacting = self.recipes("Compact a month")
        asked = [_EXTENSION, opening, _QUIET, question, loss, _CSV.format("series"), _CSV.format("loss")]
        series, before, after = self.tables("\n".join([*asked, *compacting, loss, _CSV.format("loss")]))
        self.assertEqual(_SERIES, [row[:3] for row in series])
        self.assertLosses(before)
        self.assertEqual(before, after)

    def test_clickhouse(self) -> None:
        """Also from a table of its own."""
        needs("chdb")
        self.stored()
        opening, question, loss = self.recipes("ClickHouse")
        (kept,) = self.recipes("Into a table of its own", "sql")
        csv_of = _CSV.format("csv.reader({}.splitlines())")
        code = [
            opening,
            question,
            loss,
            csv_of.format("series"),
            csv_of.format("loss"),
            f'db.query("""{kept}""")',
            loss,
        ]
        series, before, after = self.tables("\n".join([*code, csv_of.format("loss")]))
        self.assertEqual(_SERIES, [row[:3] for row in series])
        self.assertLosses(before)
        self.assertEqual(before, after)

    def test_spark(self) -> None:
        """From a directory: what Spark needs for S3 is no package of Python's."""
        needs("pyspark")
        if shutil.which("java") is None:
            raise SkipTest("Spark needs Java 17")
        (loss,) = self.recipes("Spark")
        (rows,) = self.tables(loss.replace(f"s3a://{BUCKET}/prefix", f"file://{self.archive}") + _CSV.format("loss"))
        self.assertLosses(rows)

    def test_polars(self) -> None:
        needs("polars")
        self.stored()
        (loss,) = self.recipes("Polars")
        (rows,) = self.tables(loss + _CSV.format("loss.rows()"))
        self.assertLosses(rows)

    def test_pandas(self) -> None:
        needs("pandas", "pyarrow")
        self.stored()
        (loss,) = self.recipes("pandas")
        (rows,) = self.tables(loss + _CSV.format("loss.reset_index().itertuples(index=False)"))
        self.assertLosses(rows)
