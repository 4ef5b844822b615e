"""What `outputd-export` promises of a database that `outputd-merge` made."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from outputd.export import reading as module
from outputd.export.command import EXPORTED, NOT_EXPORTED
from outputd.export.command import main as export
from outputd.merge.making import aside_of
from outputd.sqlite.connections import reading, writing
from tests.merge.instances import MergeTest

if find_spec("pyarrow") is not None:
    import pyarrow.parquet as pq

Lines = list[dict[str, Any]]


class ExportOfMergedTest(MergeTest):
    def export(self, *arguments: object, ending: str = ".ndjson") -> tuple[int, str, Path]:
        """The exit code, what is said of a failure, and the file."""
        out, said = self.out().with_suffix(ending), io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            ended = self.assertRaises(SystemExit, export, [*map(str, arguments), "--to", str(out)])
        return int(str(ended.code)), said.getvalue(), out

    def lines(self, *arguments: object) -> Lines:
        code, said, out = self.export(*arguments)
        self.assertEqual((EXPORTED, ""), (code, said))
        return [json.loads(line) for line in out.read_bytes().splitlines()]

    def refused(self, *arguments: object) -> str:
        code, said, out = self.export(*arguments)
        self.assertEqual((NOT_EXPORTED, 1), (code, said.count("\n")), said)
        self.assertFalse(out.exists())
        return said

    def crossing(self) -> list[Path]:
        """Two instances: the ids of results rise where those of batches and of hops fall."""
        files = []
        for name in ("one", "other"):
            it = self.instance(name)
            it.post(9)
            files.append(it.stop())
        with writing(files[0]) as db:
            db.execute("UPDATE rejected_results SET batch_id = batch_id + 1000")
            db.execute("UPDATE batches SET id = id + 1000")
            db.execute("UPDATE traceroute_hops SET id = id + 3000")
        with writing(files[1]) as db:
            db.execute("UPDATE traceroute_hops SET traceroute_id = traceroute_id + 500")
            db.execute("UPDATE traceroute_results SET id = id + 500, ping_result_id = ping_result_id + 500")
            db.execute("UPDATE rtt_spread SET ping_result_id = ping_result_id + 500")
            db.execute("UPDATE ping_results SET id = id + 500")
            db.execute("UPDATE batches SET first_id = first_id + 500, last_id = last_id + 500")
        return files


def without_ids(lines: Iterable[dict[str, Any]]) -> Lines:
    """Each line but its ids, in an order of its own; a file of 0.0.1 names no instance, `merged` gives it a name."""
    found = [{**line, "id": None, "batch_id": None} for line in lines]
    for line in found:
        if " " in (line["instance"] or ""):
            line["instance"] = None
    return sorted(found, key=lambda line: json.dumps(line, sort_keys=True))


def digest_of(lines: Lines) -> str:
    return hashlib.sha256("\n".join(json.dumps(line, sort_keys=True) for line in lines).encode()).hexdigest()


class Exporting(ExportOfMergedTest):
    def test_it_has_the_rows_of_the_files_that_were_merged_but_for_ids(self) -> None:
        files, copies = self.of_three()
        merged = self.lines(self.merged(*files, *copies))
        wanted = without_ids(self.lines(*files))
        self.assertEqual(wanted, without_ids(merged))
        self.assertEqual(digest_of(wanted), digest_of(without_ids(merged)))
        self.assertGreater(len({line["instance"] for line in merged}), 2)

    def test_ids_are_those_of_the_merged_database_in_rising_order_and_merged_tells_the_instance(self) -> None:
        files, _ = self.of_three()
        out = self.merged(*files)
        with reading(out) as db:
            wanted = db.execute(
                "SELECT p.id, b.id, instance FROM ping_results p JOIN merged m ON p.id BETWEEN m.first_id AND m.last_id"
                " JOIN batches b ON p.id BETWEEN b.first_id AND b.last_id ORDER BY p.id"
            ).fetchall()
        self.assertEqual(wanted, [(line["id"], line["batch_id"], line["instance"]) for line in self.lines(out)])

    def test_results_have_their_own_batch_and_hops_where_ids_of_instances_cross(self) -> None:
        files = self.crossing()
        out = self.merged(*files)
        with reading(out) as db:
            for table, begin in (("batches", "first_batch_id"), ("hops", "first_hop_id")):
                found = [first for (first,) in db.execute(f"SELECT {begin} FROM merged ORDER BY first_id")]
                self.assertNotEqual(sorted(found), found, f"{table} do not cross")
        for rows, hops in ((2048, 16_384), (4, 5), (1, 1)):
            self.patch(module, "_MOST_ROWS", rows)
            self.patch(module, "_MOST_HOPS", hops)
            self.assertEqual(without_ids(self.lines(*files)), without_ids(self.lines(out)))

    def test_options_choose(self) -> None:
        files = self.crossing()
        out = self.merged(*files)
        self.patch(module, "_MOST_ROWS", 3)
        for options in ("--node other", "--failed false", "--ip 8.8.8.8", "--ip 8.8.8.8 --node one", "--failed true"):
            wanted = without_ids(self.lines(*files, *options.split()))
            self.assertEqual(wanted, without_ids(self.lines(out, *options.split())), options)

    def test_parquet_has_the_same(self) -> None:
        if find_spec("pyarrow") is None:
            raise SkipTest("pyarrow is not installed")
        files, _ = self.of_three()
        out = self.merged(*files)
        code, said, made = self.export(out, ending=".parquet")
        self.assertEqual((EXPORTED, ""), (code, said))
        table = pq.read_table(made)
        lines = self.lines(out)
        for name in ("id", "instance", "batch_id", "ip", "error"):
            self.assertEqual([line[name] for line in lines], table[name].to_pylist())

    def test_the_database_is_not_changed(self) -> None:
        files, _ = self.of_three()
        out = self.merged(*files)
        before = out.read_bytes()
        self.lines(out)
        self.assertEqual(before, out.read_bytes())


class Refusing(ExportOfMergedTest):
    def test_one_that_is_half_made_until_the_same_command_has_made_it(self) -> None:
        files, _ = self.of_three()
        out = self.out()
        wanted = self.merged(*files)
        for part in (3, 9):
            self.killed("write", wanted.stat().st_size * part // 11 - 100, out, *files)
            self.assertIn(f"{aside_of(out)}: it is not complete: run outputd-merge again", self.refused(aside_of(out)))
        self.assertEqual(self.lines(wanted), self.lines(self.merged(*files, out=out)))

    def test_one_beside_other_files(self) -> None:
        files, _ = self.of_three()
        out = self.merged(*files)
        for given in ((out, files[0]), (files[0], out), (out, out)):
            self.assertIn(f"{out}: a merged database is exported alone", self.refused(*given))

    def test_one_of_which_rows_were_lost(self) -> None:
        files, _ = self.of_three()
        for statement in ("DELETE FROM merged WHERE rowid = 1", "DELETE FROM batches WHERE id = 1"):
            out = self.merged(*files)
            with writing(out) as db:
                db.execute("PRAGMA foreign_keys=OFF")
                db.execute(statement)
            self.assertIn("of its results belong to no batch, or to no instance", self.refused(out), statement)

    def test_one_that_is_damaged(self) -> None:
        files, _ = self.of_three(times=3)
        out = self.merged(*files)
        data = out.read_bytes()
        refused = 0
        for at in range(0, len(data), 4096):
            (damaged := self.place / "damaged.db").write_bytes(data[:at] + b"\xff" * 4096 + data[at + 4096 :])
            code, said, made = self.export(damaged)
            if code == EXPORTED:  # a page that no export needs, such as that of an index
                self.assertEqual(len(self.lines(out)), made.read_bytes().count(b"\n"))
                continue
            refused += 1
            self.assertEqual((NOT_EXPORTED, 1), (code, said.count("\n")), said)
            self.assertIn(f"{damaged}: it ", said)
            self.assertFalse(made.exists())
        self.assertGreater(refused, 5)
