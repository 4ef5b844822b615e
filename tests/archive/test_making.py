"""What objects promise: all rows of a span, sorted, and a digest of them that depends on nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.archive.asks import Span
from outputd.archive.cutting import cut
from outputd.archive.digest import Digest
from outputd.archive.files import Unreadable
from outputd.sqlite.connections import connect
from tests.export.test_parquet import lines_of
from tests.kit.bench import Bench
from tests.kit.exported import WEIRD, stored
from tests.kit.makers import a_result, a_trace, many_hops, rows_of
from tests.kit.old import left_by_0_0_1
from tests.system.shared import replay
from tools.dictionary import REJECTED

try:
    import pyarrow.parquet as pq

    from outputd.archive import making, rows
    from outputd.archive.making import Made, rejected_digest, rejected_object, results_digest, results_object
    from outputd.archive.rows import Rejected, Results
    from outputd.export import parquet
except ModuleNotFoundError:
    pq = None


def digest_by_the_reference(rows: Iterable[dict[str, Any]]) -> str:
    """What docs/reference/archive.md says, by the standard library alone."""
    columns: dict[str, list[Any]] = {}
    for row in rows:
        trace = row["traceroute"] or {"method": None, "completed": None, "error": None, "hops": []}
        plain = {name: value for name, value in row.items() if name not in ("instance", "traceroute")}
        plain |= {name: plain[name].replace("T", " ").removesuffix("Z") for name in ("timestamp", "received_at")}
        plain |= {"is_traced": int(row["traceroute"] is not None), "hops": len(trace["hops"])}
        plain |= {"method": trace["method"], "completed": trace["completed"], "traceroute_error": trace["error"]}
        hops = [{f"hop_{name}": value for name, value in hop.items()} for hop in trace["hops"]]
        for each in (plain, *hops):
            for name, value in each.items():
                columns.setdefault(name, []).append(int(value) if isinstance(value, bool) else value)
    losses = columns.pop("packet_loss")
    found = {name: "".join(f"{json.dumps(value, ensure_ascii=False)}," for value in columns[name]) for name in columns}
    values = {name: text.encode() for name, text in found.items()}
    values["packet_loss"] = b"".join(struct.pack("<d", loss) for loss in losses)
    lines = "".join(f"{name} {hashlib.sha256(values[name]).hexdigest()}\n" for name in sorted(values))
    return hashlib.sha256(lines.encode()).hexdigest()


class DigestTests(SynchronousTestCase):
    def test_it_is_what_its_description_says(self) -> None:
        digest = Digest()
        text = 'é\x00\x1f\u2028"\\/\n'
        digest.add({"b": [text, None]})
        digest.add_floats("a", [0.1 + 0.2])
        digest.add({"b": [-(2**63)]})
        values = json.dumps(text, ensure_ascii=False) + ",null,-9223372036854775808,"
        columns = {"a": struct.pack("<d", 0.1 + 0.2), "b": values.encode()}
        lines = "".join(f"{name} {hashlib.sha256(value).hexdigest()}\n" for name, value in columns.items())
        self.assertEqual(hashlib.sha256(lines.encode()).hexdigest(), digest.hexdigest())


class MakingTests(SynchronousTestCase):
    def setUp(self) -> None:
        if pq is None:
            raise SkipTest("pyarrow is not installed: pip install 'outputd[archive]'")
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.stop)

    def span(self, after: int = 0) -> Span:
        found = cut([info.path for info in self.bench.store.files], after, True)
        assert found is not None
        return found

    def made(self, span: Span | None = None) -> Made:
        span = span or self.span()
        return results_object(Results(span), span, "tokyo")

    def rejected(self) -> Made:
        return rejected_object(Rejected(self.span()), self.span(), "tokyo")

    def table(self, made: Made) -> Any:
        return pq.ParquetFile(io.BytesIO(b"".join(made.parts)))

    def check(self, path: Path, where: str = "true", span: Span | None = None, **said: bool) -> None:
        """Make an object of what is stored, and compare row by row."""
        expected = sorted(
            ({**row, "instance": "tokyo"} for row in stored(path, where, **said)),
            key=lambda row: (row["ip"], row["timestamp"][:-1], row["id"]),
        )
        self.assertEqual(expected, list(lines_of(b"".join(self.made(span).parts))))

    def variety(self) -> None:
        self.bench.post(*(a_result(**changes) for changes in WEIRD), node="weird")
        self.bench.post({"ip": "nowhere"}, node="wrong")
        for count in (0, 1, 5, 40, 3):
            self.bench.post(
                a_trace(*many_hops(count)), a_result(ip=f"10.0.0.{count}"), a_result(timestamp="2020-01-01T00:00:00Z")
            )

    def test_rows_are_those_of_sqlite_by_target_time_and_id_however_odd_they_are(self) -> None:
        self.variety()
        self.check(self.span().path)

    def test_a_span_is_all_of_its_batches_and_no_other(self) -> None:
        self.variety()
        span = Span(self.span().path, "2026-01-07", 3, 5)
        self.check(span.path, "b.id BETWEEN 3 AND 5", span)

    def test_real_results_are_the_same_to_the_last_digit(self) -> None:
        for number, body in enumerate(replay("small").bodies):
            self.bench.post(*json.loads(body), node=f"node-{number % 7}")
        self.check(self.span().path)

    def test_neither_pages_nor_the_encoding_change_the_digest(self) -> None:
        self.variety()
        digest = self.made().digest
        for name, most in (("_MOST_ROWS", 1), ("_MOST_KEYS", 2), ("_MOST_HOPS", 4), ("_MOST_TEXT_BYTES", 100)):
            self.patch(rows, name, most)
            self.assertEqual(digest, self.made().digest, name)
            self.check(self.span().path)
        self.patch(parquet, "_MOST_GROUP_ROWS", 2)
        self.assertEqual(digest, self.made().digest)
        self.assertEqual(digest, results_digest(Results(self.span())))
        self.bench.outcome(self.bench.rotation.rotate("told to"))
        self.bench.outcome(self.bench.store.finish_closed())
        self.assertEqual(digest, self.made().digest)

    def test_whoever_has_the_object_can_compute_the_digest(self) -> None:
        self.variety()
        made = self.made()
        self.assertEqual(made.digest, digest_by_the_reference(lines_of(b"".join(made.parts))))

    def test_any_other_row_is_another_digest(self) -> None:
        self.variety()
        digest = self.made().digest
        path = self.span().path
        for change in (
            "UPDATE ping_results SET packet_loss = 0.3 WHERE id = 3",
            "UPDATE ping_results SET error = NULL WHERE error = ''",
            "UPDATE traceroute_hops SET traceroute_id = 14 WHERE id = (SELECT min(id) FROM traceroute_hops"
            " WHERE traceroute_id = 17)",
            "UPDATE batches SET node = 'weirD' WHERE id = 1",
            "DELETE FROM rtt_spread",
        ):
            with closing(connect(path)) as db:
                self.assertTrue(db.execute(change).rowcount, change)
            other = self.made().digest
            self.assertNotEqual(digest, other, change)
            digest = other

    def test_an_object_says_what_it_is(self) -> None:
        self.variety()
        for made in (self.made(), self.rejected()):
            said = self.table(made).metadata.metadata
            expected = {
                b"outputd.archive": making.VERSION.encode(), b"outputd.first_batch": b"1", b"outputd.last_batch": b"7",
                b"outputd.rows": made.digest.encode(),
            }  # fmt: skip
            self.assertLessEqual(expected.items(), said.items())

    def test_a_result_of_thousands_of_hops_is_one_row(self) -> None:
        self.bench.post(a_trace(*many_hops(4096)), a_trace(*many_hops(40_000)), a_result())
        self.check(self.span().path)

    def test_rejected_items_are_those_of_sqlite(self) -> None:
        self.bench.post(*({"ip": f"{number}" * 100} for number in range(150)), a_result(), node="one")
        self.bench.post(a_result())
        self.bench.post("ü\x00", node="other")
        made = self.rejected()
        found = self.table(made).read().drop_columns(["instance", "received_at"])
        query = (
            "SELECT r.id, batch_id, node, item_index, field, reason, raw FROM rejected_results r JOIN batches b"
            " ON b.id = batch_id ORDER BY r.id"
        )
        self.assertEqual(rows_of(self.bench.path, query), [tuple(row.values()) for row in found.to_pylist()])
        self.assertEqual(151, found.num_rows)
        self.patch(rows, "_MOST_REJECTED", 1)
        self.patch(making, "_MOST_GROUP_BYTES", 1)
        self.assertEqual(made.digest, self.rejected().digest)
        self.assertEqual(made.digest, rejected_digest(Rejected(self.span())))

    def test_the_reference_has_each_column_of_rejected_items_with_its_type(self) -> None:
        told = {name: kind for name, (kind, _) in REJECTED.items()}
        self.assertEqual(told, {field.name: str(field.type) for field in making.REJECTED})

    def test_a_span_knows_whether_it_has_results_or_rejected_items(self) -> None:
        self.bench.post("none")
        self.bench.post(a_result())
        path = self.span().path
        first, second = (Span(path, "2026-01-07", batch, batch) for batch in (1, 2))
        self.assertEqual([1, 0], [len(Rejected(span)) for span in (first, second)])
        self.assertEqual([0, 1], [len(Results(span)) for span in (first, second)])

    def test_files_of_0_0_1_can_be_shipped_too(self) -> None:
        left = left_by_0_0_1(Path(self.mktemp()), 1_767_825_045.0)
        span = cut([left.whole], 0, True)
        assert span is not None
        self.check(left.whole, f"b.id BETWEEN {span.first_batch_id} AND {span.last_batch_id}", span, has_instance=False)

    def test_a_file_that_is_damaged_or_replaced_while_it_is_read_is_named(self) -> None:
        self.bench.post(a_result(), a_result(), a_trace(*many_hops(3)))
        span = self.span()
        for damage in (
            "UPDATE ping_results SET timestamp = 'soon' WHERE id = 1",
            "DELETE FROM ping_results WHERE id = 2",
        ):
            results = Results(span)
            with closing(connect(span.path)) as db:
                db.execute(damage)
            self.assertEqual(span.path, self.assertRaises(Unreadable, results_object, results, span, "tokyo").path)
            with closing(connect(span.path)) as db:
                db.execute("UPDATE ping_results SET timestamp = '2026-01-07 22:30:00'")
        results = Results(span)
        aside = span.path.with_name("aside")
        aside.write_bytes(span.path.read_bytes())
        kept = span.path.rename(span.path.with_name("kept"))
        aside.rename(span.path)
        self.assertRaises(Unreadable, results_object, results, span, "tokyo")
        span.path.unlink()
        self.assertRaises(Unreadable, results_object, results, span, "tokyo")
        self.assertRaises(Unreadable, Results, span)
        kept.rename(span.path)
