"""What `outputd-export` promises."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.export import command, making, reading
from outputd.export import work as working
from outputd.export.command import EXPORTED, INTERRUPTED, INVALID, NOT_EXPORTED, main
from outputd.process.files import publish
from outputd.sqlite.connections import writing
from outputd.store.resting import reading as reading_at_rest
from tests.kit.bench import Bench
from tests.kit.exported import stored
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.old import upgraded_and_copied
from tests.system.disk import CannotMount, Disk


class ExportTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir()
        self.out = self.place / "out.ndjson"

    def file(self, name: str = "one", posts: int = 3) -> Path:
        """A closed file of an instance."""
        bench = Bench(self.place / name)
        for number in range(posts):
            bench.clock.advance(1)
            bench.post(a_trace(*many_hops(number)), a_result(error=f"{name} {number}"), node=name)
        bench.stop()
        return bench.store.current.info.path

    def export(self, *arguments: object, to: Path | None = None) -> tuple[int, str, str]:
        """The exit code, and what is printed as the result and as the progress."""
        printed, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
            ended = self.assertRaises(SystemExit, main, [*map(str, arguments), "--to", str(to or self.out)])
        return int(str(ended.code)), printed.getvalue(), told.getvalue()

    def lines(self, path: Path | None = None) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (path or self.out).read_bytes().splitlines()]

    def refused(self, *arguments: object, code: int = NOT_EXPORTED) -> str:
        """What is said of an export of which nothing is left."""
        before = sorted(path.name for path in self.place.iterdir())
        ended, printed, told = self.export(*arguments)
        self.assertEqual((code, "", 1), (ended, printed, told.count("\n")), told)
        self.assertEqual(before, sorted(path.name for path in self.place.iterdir()))
        return told


class Exporting(ExportTest):
    def test_all_results_of_a_file(self) -> None:
        path = self.file()
        before = path.read_bytes()
        code, printed, told = self.export(path)
        self.assertEqual((EXPORTED, f"{self.out}: 6 results of 1 files, 0.0 MB\n", ""), (code, printed, told))
        self.assertEqual(list(stored(path)), self.lines())
        self.assertEqual(before, path.read_bytes())

    def test_options_choose(self) -> None:
        path = self.file()
        options = "--since 2026-01-01T00:00:00Z --until 2027-01-01T00:00:00Z --arrived-since 2026-01-07T22:30:46.5Z"
        options += " --arrived-until 2026-01-07T22:30:47.5Z --ip ::ffff:8.8.8.8 --node one --failed false"
        self.assertEqual(EXPORTED, self.export(path, *options.split())[0])
        self.assertEqual(list(stored(path, "b.id = 2")), self.lines())

    def test_compressed_lines_are_the_same(self) -> None:
        path, out = self.file(), self.place / "out.ndjson.gz"
        self.assertEqual(EXPORTED, self.export(path, to=out)[0])
        self.assertEqual(
            list(stored(path)), [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
        )

    def test_no_results_are_a_file_without_any(self) -> None:
        self.assertEqual(EXPORTED, self.export(self.file(posts=0))[0])
        self.assertEqual(b"", self.out.read_bytes())

    def test_parts_are_whole_and_together_have_all(self) -> None:
        path = self.file(posts=8)
        self.patch(reading, "_MOST_ROWS", 4)
        self.patch(command, "_MIB", 1500)
        code, printed, _ = self.export(path, "--split-mb", 1)
        parts = sorted(self.place.glob("out-*"))
        self.assertEqual([f"out-{number:05}.ndjson" for number in range(1, len(parts) + 1)], [p.name for p in parts])
        self.assertGreater(len(parts), 1)
        self.assertEqual(list(stored(path)), [line for part in parts for line in self.lines(part)])
        self.assertTrue(all(self.lines(part) for part in parts))
        self.assertEqual(
            (EXPORTED, f"{parts[0]} to {parts[-1].name}: 16 results"), (code, printed.partition(" of ")[0])
        )

    def test_progress_is_said(self) -> None:
        path = self.file()
        self.patch(working, "_PLAIN_EVERY_S", 0.0)
        self.assertEqual(f"{path}: 100%  6 results\n", self.export(path)[2])


class Order(ExportTest):
    def rotated(self) -> list[Path]:
        """Three files of one instance, the last of which is a copy that was taken before more arrived."""
        bench = Bench(self.place / "many")
        for number in range(3):
            bench.clock.advance(60)
            bench.post(a_trace(*many_hops(2)), a_result(error=f"many {number}"))
            if number < 2:
                bench.outcome(bench.rotation.rotate("asked for"))
        files = [info.path for info in bench.store.files]
        copy = self.place / "copy.db"
        with contextlib.closing(sqlite3.connect(files[-1])) as db:
            db.execute("VACUUM INTO ?", (str(copy),))
        bench.post(a_result(error="later"))
        bench.stop()
        return [*files, copy]

    def test_files_in_any_order_are_exported_in_order_of_arrival_and_each_result_once(self) -> None:
        *files, copy = self.rotated()
        wanted = [line for file in files for line in stored(file)]
        for number, given in enumerate((files[::-1], [copy, *files], [*files, copy, *files], [files[2], copy, *files])):
            out = self.place / f"{number}.ndjson"
            self.assertEqual(EXPORTED, self.export(*given, to=out)[0])
            self.assertEqual(wanted, self.lines(out))

    def test_instances_follow_one_another_the_oldest_first(self) -> None:
        older, newer = self.file("older"), self.file("newer")
        with writing(newer) as db:
            db.execute("UPDATE result_file SET created_at = '2026-02-01 00:00:00'")
        self.export(newer, older)
        self.assertEqual([*stored(older), *stored(newer)], self.lines())

    def test_a_file_of_0_0_1_and_its_copy_after_the_upgrade_are_one(self) -> None:
        current, before = upgraded_and_copied(self.place)
        self.export(current, before)
        ids = [line["id"] for line in self.lines()]
        self.assertEqual(sorted(set(ids)), ids)
        self.assertEqual([line["id"] for line in stored(current)], ids)


class Refusing(ExportTest):
    def test_a_file_that_a_service_writes_with_the_command_that_takes_it(self) -> None:
        bench = Bench(self.place / "one")
        bench.directory.take()
        self.addCleanup(bench.directory.release)
        self.addCleanup(bench.stop)
        bench.post(a_result())
        path = bench.store.current.info.path
        said = self.refused(path)
        self.assertIn(f"{path}: a running outputd writes it", said)
        self.assertIn("curl -fsS http://localhost:8081/dump -o current.db", said)

    def test_what_is_no_result_file_is_not_there_or_is_damaged(self) -> None:
        path = self.file(posts=40)
        (other := self.place / "other.db").write_bytes(b"x" * 5000)
        self.assertIn(f"{other}: it is no result file of outputd", self.refused(path, other))
        os.mkfifo(pipe := self.place / "pipe.db")
        self.assertIn(f"{pipe}: it is no result file of outputd", self.refused(path, pipe))
        self.assertIn("No such file", self.refused(path, self.place / "none.db"))
        data, chance = path.read_bytes(), random.Random(7)
        for at in range(4096, len(data), 4096):
            (damaged := self.place / "damaged.db").write_bytes(data[:at] + chance.randbytes(4096) + data[at + 4096 :])
            code, _, said = self.export(path, damaged)
            if code == EXPORTED:  # a page that no export needs, such as that of an index
                self.out.unlink()
                continue
            self.assertIn(f"{damaged}: it ", said)
            self.assertEqual((NOT_EXPORTED, 1), (code, said.count("\n")), said)
            self.assertEqual([], [path.name for path in self.place.iterdir() if "out" in path.name])

    def test_results_without_a_batch_are_not_left_out_without_a_word(self) -> None:
        path = self.file()
        with writing(path) as db:
            db.execute("DELETE FROM batches WHERE id = 3")
        self.assertIn("2 of its results belong to no batch", self.refused(path))

    def test_two_histories_of_one_instance(self) -> None:
        """As of a directory that was copied, and of which both copies went on."""
        path = self.file("one", posts=2)
        shutil.copytree(path.parent, self.place / "twin")
        files = []
        for directory, posts in ((path.parent, 3), (self.place / "twin", 5)):
            bench = Bench(directory)
            bench.clock.advance(len(directory.name))
            for number in range(posts):
                bench.post(a_result(error=f"{directory.name} {number}"))
            bench.stop()
            files.append(bench.store.current.info.path)
        for given in (files, files[::-1], [*files, *files]):
            self.assertIn("under the same ids: export each alone", self.refused(*given))

    def test_a_file_that_changes_meanwhile(self) -> None:
        path = self.file()

        @contextlib.contextmanager
        def reading_late(file: Path) -> Iterator[sqlite3.Connection]:
            with reading_at_rest(file) as db:
                yield db
            os.utime(file)

        self.patch(working, "reading", reading_late)
        self.assertIn(f"{path}: it has changed meanwhile", self.refused(path))

    def test_an_output_that_exists_or_parts_of_another_export(self) -> None:
        path = self.file()
        self.out.write_text("mine")
        self.assertIn(f"{self.out} exists already", self.refused(path, code=INVALID))
        self.assertEqual("mine", self.out.read_text())
        (part := self.place / "out-00007.ndjson").write_text("mine")
        self.assertIn(f"{part} exists already", self.refused(path, "--split-mb", 1, code=INVALID))

    def test_an_output_that_comes_into_being_meanwhile(self) -> None:
        path = self.file()

        def publish_late(made: Path, out: Path) -> None:
            out.write_text("another's")
            publish(made, out)

        self.patch(making, "publish", publish_late)
        code, _, said = self.export(path)
        self.assertEqual((NOT_EXPORTED, f"outputd-export: {self.out} exists already\n"), (code, said))
        self.assertEqual("another's", self.out.read_text())

    def test_a_part_that_comes_into_being_meanwhile(self) -> None:
        """Those that have their names by then go, too."""
        path = self.file(posts=8)
        self.patch(reading, "_MOST_ROWS", 4)
        self.patch(command, "_MIB", 1500)
        second = self.place / "out-00002.ndjson"

        def publish_late(made: Path, out: Path) -> None:
            if out == second:
                out.write_text("another's")
            publish(made, out)

        self.patch(making, "publish", publish_late)
        self.assertEqual(NOT_EXPORTED, self.export(path, "--split-mb", 1)[0])
        self.assertEqual([second], list(self.place.glob("*out*")))

    def test_invalid_arguments(self) -> None:
        path = self.file(posts=0)
        for arguments, said in (
            (["--since", "yesterday"], "not an RFC 3339 time"), (["--ip", "nowhere"], "not an IPv4 or IPv6 address"),
            (["--split-mb", "0"], "at least 1"), (["--to", "out.csv"], "must end in .parquet, .ndjson or .ndjson.gz"),
        ):  # fmt: skip
            told = io.StringIO()
            with contextlib.redirect_stderr(told):
                ended = self.assertRaises(SystemExit, main, [str(path), "--to", str(self.out), *arguments])
            self.assertEqual(INVALID, ended.code)
            self.assertIn(said, told.getvalue())

    def test_parquet_without_pyarrow_names_what_is_missing(self) -> None:
        with patch.dict(sys.modules, {"pyarrow": None}):
            sys.modules.pop("outputd.export.parquet", None)
            code, _, said = self.export(self.file(), to=self.place / "out.parquet")
        self.assertEqual(
            (NOT_EXPORTED, "outputd-export: Parquet needs pyarrow: pip install 'outputd[parquet]'\n"), (code, said)
        )


class Ending(ExportTest):
    def test_an_interrupt_leaves_nothing(self) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        path = self.file()
        self.patch(making, "publish", interrupt)
        self.assertIn("interrupted", self.refused(path, code=INTERRUPTED))

    def test_a_kill_at_any_write_leaves_no_output(self) -> None:
        path = self.file(posts=20)
        self.export(path)
        size_bytes = self.out.stat().st_size
        self.out.unlink()
        for limit in (0, size_bytes // 2, size_bytes - 1):
            done = subprocess.run(
                [sys.executable, "-m", "tests.export.killed", str(limit), str(path), "--to", str(self.out)],
                cwd=Path(__file__).parents[2], check=False, capture_output=True,
            )  # fmt: skip
            self.assertEqual(-signal.SIGXFSZ, done.returncode, done.stderr)
            self.assertFalse(self.out.exists())
        self.assertEqual(EXPORTED, self.export(path)[0])
        self.assertEqual(list(stored(path)), self.lines())

    def test_a_full_disk_is_one_line_and_leaves_nothing(self) -> None:
        try:
            disk = Disk(self.place / "disk", 1).mount()
        except CannotMount as why:
            raise SkipTest(str(why)) from None
        self.addCleanup(disk.unmount)
        path, out = self.file(posts=60), disk.path / "out.ndjson"
        disk.fill(left_bytes=16 * 1024)
        code, printed, said = self.export(path, to=out)
        self.assertEqual((NOT_EXPORTED, ""), (code, printed))
        self.assertEqual(f"outputd-export: no room on the disk for {out}; nothing was exported\n", said)
        self.assertFalse([path for path in disk.path.iterdir() if "out" in path.name])
