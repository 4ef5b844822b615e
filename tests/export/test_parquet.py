"""What an export to Parquet promises: the rows of SQLite, to the nanosecond."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.export import reading
from outputd.export.asked import Asked
from outputd.export.reading import Reading
from outputd.sqlite.connections import connect
from outputd.store.file import describe
from tests.kit.bench import Bench
from tests.kit.exported import WEIRD, stored
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.old import left_by_0_0_1
from tests.system.shared import replay
from tools.dictionary import EXPORTED

try:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from outputd.export import parquet as module
    from outputd.export.parquet import SCHEMA, VERSION, ParquetEncoder
except ModuleNotFoundError:
    pa = None


def parquet_of(path: Path) -> bytes:
    """A file as Parquet."""
    encoder, parts = ParquetEncoder(), []
    with closing(connect(path, "ro")) as db:
        results = Reading(db, describe(path), Asked())
        while (page := results.page()) is not None:
            parts.append(encoder.add(page))
    return b"".join([*parts, encoder.end()])


def lines_of(data: bytes) -> Iterable[dict[str, Any]]:
    """The rows of a Parquet file, each as a line of NDJSON has it."""
    for batch in pq.ParquetFile(io.BytesIO(data)).iter_batches(2048):
        nanos = {name: batch[name].cast(pa.int64()).to_pylist() for name in ("timestamp", "received_at")}
        kept = batch.drop_columns(["timestamp", "received_at"])
        for row, measured, received in zip(kept.to_pylist(), *nanos.values(), strict=True):
            for name in ("avg_rtt", "min_rtt", "max_rtt", "stddev_rtt"):
                row[name] = row.pop(f"{name}_ns")
            for hop in (row["traceroute"] or {"hops": []})["hops"]:
                hop["rtt"] = hop.pop("rtt_ns")
            yield row | {
                "timestamp": printed(measured, row.pop("timestamp_ns")), "received_at": printed(received, 0),
            }  # fmt: skip


def columns_of(fields: Iterable[Any], within: str = "") -> Iterator[tuple[str, tuple[str, bool]]]:
    """Name, type, and whether it may be null, of each column and what is nested in it."""
    for field in fields:
        kind, name = field.type, f"{within}{field.name}"
        if pa.types.is_list(kind):
            yield name, ("list", field.nullable)
            yield from columns_of(kind.value_type, f"{name}[].")
        elif pa.types.is_struct(kind):
            yield name, ("struct", field.nullable)
            yield from columns_of(kind, f"{name}.")
        else:
            yield name, (str(kind), field.nullable)


def printed(micros: int, nanos: int) -> str:
    """A time as the API prints it, by whole numbers alone."""
    seconds, fraction = divmod(micros * 1000 + nanos, 10**9)
    days, second = divmod(seconds, 86_400)
    # the proleptic Gregorian calendar, as in Howard Hinnant's "chrono-compatible low-level date algorithms"
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month, day = (shifted + 2) % 12 + 1, day_of_year - (153 * shifted + 2) // 5 + 1
    year = year_of_era + era * 400 + (month <= 2)
    text = f"{year:04}-{month:02}-{day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{text}.{fraction:09}".rstrip("0") + "Z" if fraction else f"{text}Z"


def digest_of(lines: Iterable[dict[str, Any]]) -> str:
    """Equal for equal rows in equal order."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(json.dumps(line, sort_keys=True).encode())
    return digest.hexdigest()


class ParquetTests(SynchronousTestCase):
    def setUp(self) -> None:
        if pa is None:
            raise SkipTest("pyarrow is not installed: pip install 'outputd[parquet]'")

    def bench(self, **limits: Any) -> Bench:
        made = Bench(Path(self.mktemp()), **limits)
        self.addCleanup(made.stop)
        return made

    def test_rows_are_those_of_sqlite_however_odd_they_are(self) -> None:
        bench = self.bench()
        bench.post(*(a_result(**changes) for changes in WEIRD), node="weird")
        bench.post({"ip": "nowhere"})
        bench.post(a_trace({"ttl": 1, "ip": "10.0.0.1", "rtt": 5}), a_result())
        path = bench.store.current.info.path
        self.assertEqual(list(lines_of(parquet_of(path))), list(stored(path)))

    def test_a_file_without_results_is_a_table_without_rows(self) -> None:
        found = pq.read_table(io.BytesIO(parquet_of(self.bench().store.current.info.path)))
        self.assertEqual((found.num_rows, found.schema), (0, SCHEMA))

    def test_the_file_says_the_version_of_its_columns(self) -> None:
        file = pq.ParquetFile(io.BytesIO(parquet_of(self.bench().store.current.info.path)))
        self.assertEqual(file.metadata.metadata[b"outputd.export"], VERSION.encode())

    def test_the_reference_has_each_column_with_its_type(self) -> None:
        self.assertEqual(
            {name: (kind, is_optional) for name, (kind, is_optional, _, _) in EXPORTED.items()},
            dict(columns_of(SCHEMA)),
        )

    def test_a_row_group_is_bounded_in_rows_and_in_bytes(self) -> None:
        bench = self.bench()
        for _ in range(5):
            bench.post(*(a_trace(*many_hops(20)) for _ in range(10)))
        path = bench.store.current.info.path
        self.patch(reading, "_MOST_ROWS", 10)
        for name, most in (("_MOST_GROUP_ROWS", 10), ("_MOST_GROUP_BYTES", 1000)):
            before = getattr(module, name)
            self.patch(module, name, most)
            data = parquet_of(path)
            self.assertEqual(pq.ParquetFile(io.BytesIO(data)).num_row_groups, 5, name)
            self.assertEqual(list(lines_of(data)), list(stored(path)))
            self.patch(module, name, before)

    def test_a_result_of_many_pages_is_one_row(self) -> None:
        bench = self.bench()
        for count in (0, 5, 300, 1, 0, 2):
            bench.post(*(a_trace(*many_hops(count)) for _ in range(2)), a_result())
        path = bench.store.current.info.path
        for most in (4, 150, 299):
            self.patch(reading, "_MOST_HOPS", most)
            self.assertEqual(list(lines_of(parquet_of(path))), list(stored(path)))

    def test_what_is_written_leaves_the_encoder_before_the_end(self) -> None:
        bench = self.bench()
        bench.post(a_result())
        self.patch(module, "_MOST_GROUP_ROWS", 1)
        encoder = ParquetEncoder()
        with closing(connect(bench.store.current.info.path, "ro")) as db:
            page = Reading(db, describe(bench.store.current.info.path), Asked()).page()
        assert page is not None
        self.assertIn(b"8.8.8.8", encoder.add(page))

    def test_files_of_0_0_1_have_no_instance(self) -> None:
        left = left_by_0_0_1(Path(self.mktemp()), 1_767_825_045.0)
        self.assertEqual(list(lines_of(parquet_of(left.whole))), list(stored(left.whole, has_instance=False)))

    def test_real_results_are_the_same_to_the_last_digit(self) -> None:
        bench = self.bench()
        for number, body in enumerate(replay("medium").bodies):
            bench.post(*json.loads(body), node=f"node-{number % 7}")
        path = bench.store.current.info.path
        self.assertEqual(digest_of(lines_of(parquet_of(path))), digest_of(stored(path)))
