"""What `outputd-merge` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from itertools import permutations
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from outputd.merge.command import INTERRUPTED, INVALID, MERGED, NOT_MERGED
from outputd.merge.making import aside_of, make
from outputd.merge.plan import plan
from outputd.merge.source import NotMerged, look
from outputd.sqlite.connections import reading, transaction, writing
from outputd.sqlite.files import wal_of
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace
from tests.kit.old import left_by_0_0_1, upgraded_and_copied
from tests.merge.instances import MergeTest, command, digest_of, whole
from tests.system.disk import CannotMount, Disk
from tests.system.harness import CHECKOUT


class Merging(MergeTest):
    def test_every_result_of_every_instance_is_there_once(self) -> None:
        files, copies = self.of_three()
        out = self.merged(*files, *copies, *files)
        self.assertEqual(whole(*files), whole(out))
        self.assertGreater(whole(out).total(), 30)

    def test_neither_order_nor_copies_change_a_row_or_an_id(self) -> None:
        (first, second, third, *others), copies = self.of_three()
        wanted = digest_of(self.merged(first, second, third, *others))
        for ordered in permutations((first, second, third)):
            self.assertEqual(wanted, digest_of(self.merged(*others, *ordered)))
            self.assertEqual(wanted, digest_of(self.merged(*copies, *ordered, *others, *ordered, *others)))

    def test_ids_stay_where_they_do_not_collide_and_a_table_keeps_those_that_do(self) -> None:
        """Rule 12 within each instance."""
        files, _ = self.of_three()
        out = self.merged(*files)
        with reading(out) as db:
            names = db.execute(
                "SELECT instance, old_id + p.id - m.first_id, p.ip, error FROM ping_results p"
                " JOIN merged m ON p.id BETWEEN m.first_id AND m.last_id"
            ).fetchall()
            hops = db.execute(
                "SELECT instance, old_hop_id + h.id - m.first_hop_id, ttl, ip FROM traceroute_hops h"
                " JOIN merged m ON h.id BETWEEN m.first_hop_id AND m.last_hop_id"
            ).fetchall()
            batches = db.execute(
                "SELECT instance, old_batch_id + b.id - m.first_batch_id, node, b.digest FROM batches b"
                " JOIN merged m ON b.id BETWEEN m.first_batch_id AND m.last_batch_id"
            ).fetchall()
            instances = db.execute("SELECT DISTINCT instance FROM merged ORDER BY instance").fetchall()
            kept = {name for (name,) in db.execute("SELECT instance FROM merged WHERE first_id = old_id")}
        told: dict[str, set[Any]] = {"names": set(), "hops": set(), "batches": set()}
        for path in files:
            with reading(path) as db:
                told["names"].update(db.execute("SELECT id, ip, error FROM ping_results"))
                told["hops"].update(db.execute("SELECT id, ttl, ip FROM traceroute_hops"))
                told["batches"].update(db.execute("SELECT id, node, digest FROM batches"))
        for what, rows in (("names", names), ("hops", hops), ("batches", batches)):
            self.assertEqual(len(rows), len(set(rows)))
            self.assertEqual(told[what], {row[1:] for row in rows})
        self.assertEqual(4, len(instances), "each file of 0.0.1 stands for itself")
        self.assertTrue(kept)

    def test_files_that_do_not_collide_keep_all_their_ids(self) -> None:
        it = self.instance("one")
        it.post(2)
        first = it.rotate()
        it.post(2)
        second = it.stop()
        rows = "SELECT * FROM traceroute_hops"
        found: list[Any] = []
        for path in (first, second):
            with reading(path) as db:
                found += db.execute(rows).fetchall()
        with reading(self.merged(second, first)) as db:
            self.assertEqual(found, db.execute(rows).fetchall())
            self.assertEqual([], db.execute("SELECT * FROM merged WHERE first_id != old_id").fetchall())

    def test_it_has_the_tables_of_the_specification_and_no_mark(self) -> None:
        """Rules 7 and 13: no service takes it for its own."""
        files, _ = self.of_three()
        with reading(self.merged(*files)) as db, reading(files[0]) as file:
            self.assertEqual(
                (0, 0), (*db.execute("PRAGMA application_id").fetchone(), *db.execute("PRAGMA user_version").fetchone())
            )
            self.assertEqual(("delete",), db.execute("PRAGMA journal_mode").fetchone())
            self.assertEqual([], db.execute("PRAGMA foreign_key_check").fetchall())
            self.assertEqual([("ok",)], db.execute("PRAGMA integrity_check").fetchall())
            query = "SELECT name, sql FROM sqlite_schema WHERE tbl_name NOT IN ('result_file', 'merged')"
            ours = dict(file.execute(query).fetchall())
            theirs = dict(db.execute(query).fetchall())
            del theirs["hops_of"]
            self.assertEqual(set(ours), set(theirs))
            for name in ("ping_results", "traceroute_results", "traceroute_hops"):
                self.assertEqual(ours[name], theirs[name])

    def test_bodies_of_other_formats_come_with_their_batches(self) -> None:
        """Those of files that have such; the batches of 0.0.1 are native."""
        item = {"type": "ping", "msm_id": 1, "prb_id": 1, "dst_addr": "192.0.2.1", "sent": 1, "rcvd": 1, "avg": 1.5}
        files = [left_by_0_0_1(self.place / "old", time.time()).whole]
        for name in ("one", "two"):
            it = self.instance(name)
            it.bench.post(item, node=name)
            files.append(it.stop())
        with reading(self.merged(*files)) as db:
            rows = db.execute(
                "SELECT node, b.format, time_from, r.format, version, received_at IS NOT NULL, length(body) > 9"
                " FROM batches b LEFT JOIN raw_bodies r ON r.batch_id = b.id WHERE b.format != 'native' ORDER BY node"
            ).fetchall()
            self.assertEqual([(name, "atlas", "arrival", "atlas", 1, 1, 1) for name in ("one", "two")], rows)
            natives = db.execute("SELECT DISTINCT format, time_from FROM batches WHERE node LIKE 'node-%'").fetchall()
            self.assertEqual([("native", "native")], natives)

    def test_files_are_not_changed(self) -> None:
        files, copies = self.of_three()
        before = {path: path.read_bytes() for path in self.place.rglob("*") if path.is_file()}
        out = self.merged(*files, *copies)
        after = {path: path.read_bytes() for path in self.place.rglob("*") if path.is_file() and path != out}
        self.assertEqual(before, after)

    def test_it_is_given_its_name_on_a_file_system_without_hard_links_too(self) -> None:
        def link(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        it = self.instance("one")
        it.post(1)
        path = it.stop()
        self.patch(os, "link", link)
        self.assertEqual(whole(path), whole(self.merged(path)))


class Copies(MergeTest):
    def test_a_copy_by_0_0_1_of_a_file_that_was_upgraded_since_brings_nothing(self) -> None:
        current, before = upgraded_and_copied(self.place)
        self.assertEqual(whole(current), whole(self.merged(before, current)))

    def test_two_histories_of_one_instance_are_both_there(self) -> None:
        """As of a directory that was copied, and of which both copies went on."""
        it = self.instance("one")
        it.post(2)
        it.stop()
        shutil.copytree(it.bench.path, self.place / "twin")
        files = []
        for path, posts in ((it.bench.path, 3), (self.place / "twin", 5)):
            bench = Bench(path)
            for number in range(posts):
                bench.post(a_result(error=f"{path.name} {number}"), a_trace({"ttl": 1, "ip": "10.0.0.1"}))
            bench.stop()
            files.append(bench.store.current.info.path)
        mine, theirs = map(whole, files)
        out = self.merged(*files)
        self.assertEqual(mine | theirs, whole(out))
        self.assertEqual(digest_of(out), digest_of(self.merged(*reversed(files))))

    def test_instances_that_were_sent_the_same_at_the_same_time_are_not_taken_for_one(self) -> None:
        files = []
        for name in ("one", "other"):
            it = self.instance(name)
            it.bench.post(a_result())
            files.append(it.stop())
        self.assertEqual(2, whole(self.merged(*files)).total())

    def test_ids_with_gaps_that_others_have_filled(self) -> None:
        chance = random.Random(7)
        files = []
        for number in range(4):
            it = self.instance(f"gaps-{number}")
            it.post(12)
            path = it.stop()
            with writing(path) as db:
                for gone in chance.sample(range(1, 16), 7):
                    (first, last) = db.execute("SELECT first_id, last_id FROM batches WHERE id = ?", (gone,)).fetchone()
                    results = f"BETWEEN {first or 0} AND {last or 0}"
                    db.execute(f"DELETE FROM traceroute_hops WHERE traceroute_id {results}")
                    db.execute(f"DELETE FROM traceroute_results WHERE id {results}")
                    db.execute(f"DELETE FROM rtt_spread WHERE ping_result_id {results}")
                    db.execute(f"DELETE FROM ping_results WHERE id {results}")
                    db.execute("DELETE FROM rejected_results WHERE batch_id = ?", (gone,))
                    db.execute("DELETE FROM batches WHERE id = ?", (gone,))
            files.append(path)
        out = self.merged(*files)
        self.assertEqual(whole(*files), whole(out))
        self.assertEqual(digest_of(out), digest_of(self.merged(*reversed(files))))


class Refusing(MergeTest):
    def refused(self, *files: Path) -> str:
        out = self.out()
        code, said = self.merge(*files, out=out)
        self.assertEqual((NOT_MERGED, 1), (code, said.count("\n")), said)
        self.assertFalse(out.exists() or aside_of(out).exists())
        return said

    def test_a_file_that_a_service_writes_with_the_command_that_takes_it(self) -> None:
        it = self.instance("one")
        it.bench.directory.take()
        self.addCleanup(it.bench.directory.release)
        it.post(1)
        path = it.bench.store.current.info.path
        said = self.refused(path)
        self.assertIn(f"{path}: a running outputd writes it", said)
        self.assertIn("curl -fsS http://localhost:8081/dump -o current.db", said)

    def test_such_a_file_by_a_link_from_elsewhere(self) -> None:
        it = self.instance("one")
        it.bench.directory.take()
        self.addCleanup(it.bench.directory.release)
        it.post(1)
        (link := self.place / "link.db").symlink_to(it.bench.store.current.info.path)
        self.assertIn(f"{link}: a running outputd writes it", self.refused(link))

    def test_a_file_that_has_changed_since_it_was_looked_at(self) -> None:
        """As by a service that is started on it."""
        it = self.instance("one")
        it.post(3)
        path, out = it.stop(), self.out()
        source = look(path)
        assert source is not None, "it has batches"
        steps = plan([source])
        with writing(path) as db:
            db.execute("UPDATE result_file SET probed_at = '2026-01-07 22:30:00'")
        error = self.assertRaises(NotMerged, make, out, steps, lambda *_: None)
        self.assertIn(f"{path}: it has changed meanwhile", str(error))
        self.assertEqual(MERGED, self.merge(path, out=out)[0])
        self.assertEqual(whole(path), whole(out))

    def test_a_file_of_which_a_part_is_in_its_wal(self) -> None:
        left = left_by_0_0_1(self.place / "old", time.time())
        self.assertTrue(wal_of(left.current).exists())
        self.assertIn("a part of it is in the -wal", self.refused(left.whole, left.current))

    def test_what_is_no_result_file_is_not_there_or_is_damaged(self) -> None:
        it = self.instance("one")
        it.post(20)
        path = it.stop()
        (other := self.place / "other.db").write_bytes(b"x" * 5000)
        self.assertIn(f"{other}: it is no result file of outputd", self.refused(path, other))
        self.assertIn("No such file", self.refused(path, self.place / "none.db"))
        (damaged := self.place / "damaged.db").write_bytes(path.read_bytes()[:9000] + bytes(5000))
        self.assertIn(f"{damaged}: it cannot be read", self.refused(damaged))
        damaged.write_bytes(path.read_bytes().replace(b"CREATE TABLE result_file", b"CREATE TABL\xff result_file"))
        self.assertIn(f"{damaged}: it cannot be read", self.refused(path, damaged))
        self.assertIn("no results in these files", self.refused(self.instance("empty").stop()))

    def test_results_without_a_batch_are_not_left_out_without_a_word(self) -> None:
        it = self.instance("one")
        it.post(3)
        path = it.stop()
        with writing(path) as db:
            db.execute("DELETE FROM rejected_results")
            db.execute("DELETE FROM batches WHERE id = 3")
        self.assertIn("2 of its results belong to no batch", self.refused(path))

    def test_an_output_that_exists(self) -> None:
        it = self.instance("one")
        it.post(1)
        path = it.stop()
        before = path.read_bytes()
        code, said = self.merge(path, out=path)
        self.assertEqual((INVALID, before), (code, path.read_bytes()))
        self.assertIn("exists already", said)

    def test_what_was_begun_of_other_files(self) -> None:
        it = self.instance("one")
        it.post(1)
        path, out = it.stop(), self.out()
        for begun in (b"a text of somebody", self.merged(path).read_bytes()):
            aside_of(out).write_bytes(begun)
            another = self.instance(f"another-{len(begun)}")
            another.post(1)
            code, said = self.merge(another.stop(), out=out)
            self.assertEqual((NOT_MERGED, begun), (code, aside_of(out).read_bytes()), said)
            self.assertFalse(out.exists())

    def test_what_lies_in_its_place_and_leads_elsewhere(self) -> None:
        it = self.instance("one")
        it.post(1)
        path, out = it.stop(), self.out()
        (elsewhere := self.place / "elsewhere").touch()
        aside_of(out).symlink_to(elsewhere)
        code, said = self.merge(path, out=out)
        self.assertEqual((NOT_MERGED, b""), (code, elsewhere.read_bytes()))
        self.assertIn(f"{aside_of(out)}: it is a link", said)

    def test_one_that_another_command_is_making(self) -> None:
        it = self.instance("one")
        it.post(1)
        path, out = it.stop(), self.out()
        self.merged(path).rename(aside_of(out))
        with writing(aside_of(out)) as db, transaction(db, "BEGIN EXCLUSIVE"):
            code, said = self.merge(path, out=out)
        self.assertEqual(NOT_MERGED, code)
        self.assertIn(f"{aside_of(out)} is being made by another outputd-merge", said)


class Resuming(MergeTest):
    def test_after_ten_kills_it_is_as_if_there_was_none(self) -> None:
        """Each within a write, the last of them while the indexes are made."""
        files, _ = self.of_three()
        wanted = self.merged(*files)
        size_bytes, out = wanted.stat().st_size, self.out()
        self.assertGreater(size_bytes, 12 * 4096)
        for part in range(10):
            limit = size_bytes * (part + 1) // 11 - 100
            done = self.killed("write", limit, out, *files)
            self.assertEqual(-signal.SIGXFSZ, done.returncode, done.stderr)
            self.assertFalse(out.exists())
        code, said = self.merge(*files, out=out)
        self.assertEqual(MERGED, code, said)
        self.assertEqual(digest_of(wanted), digest_of(out))
        self.assertEqual(whole(*files), whole(out))

    def test_ctrl_c_ends_a_long_statement(self) -> None:
        files, _ = self.of_three()
        wanted, out = digest_of(self.merged(*files)), self.out()
        child = subprocess.Popen(
            command("endless", 0, out, *files), cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        assert child.stdout is not None, "it is a pipe"
        self.assertEqual("endless\n", child.stdout.readline())
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
        self.assertEqual(INTERRUPTED, child.returncode, said)
        self.assertTrue(said.endswith("outputd-merge: interrupted; the same command resumes\n"), said)
        self.assertEqual(wanted, digest_of(self.merged(*files, out=out)))

    def test_a_full_disk_is_one_line_and_when_there_is_room_it_goes_on(self) -> None:
        files, _ = self.of_three()
        try:
            disk = Disk(self.place / "disk", 1).mount()
        except CannotMount as why:
            raise SkipTest(str(why)) from None
        self.addCleanup(disk.unmount)
        disk.fill(left_bytes=64 * 1024)
        out = disk.path / "out.db"
        code, said = self.merge(*files, out=out)
        self.assertEqual(NOT_MERGED, code)
        self.assertEqual(
            [f"outputd-merge: no room for {out}.tmp on the disk; once there is, the same command resumes"],
            [line for line in said.splitlines() if " of 5: " not in line],
        )
        disk.make_room()
        self.assertEqual(MERGED, self.merge(*files, out=out)[0])
        self.assertEqual(digest_of(self.merged(*files)), digest_of(out))

    def test_one_that_was_whole_but_had_no_name_yet_is_given_it(self) -> None:
        files, _ = self.of_three()
        wanted = self.merged(*files)
        digest, out = digest_of(wanted), self.out()
        wanted.rename(aside_of(out))
        self.assertEqual(MERGED, self.merge(*files, out=out)[0])
        self.assertEqual(digest, digest_of(out))
