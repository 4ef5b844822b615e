"""What `outputd.summary` promises: the counts of the files, whatever happens to them or to it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.session import NotReady, Session
from outputd.results.addresses import canonical
from outputd.store.directory import DataDir
from outputd.store.fragments import SILENCE, is_address
from outputd.store.inventory import take_stock
from outputd.summary.summary import SCHEMA, Summary
from tests.kit.bench import Bench
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace
from tests.kit.properties import example, given, settings
from tests.system.harness import CHECKOUT

TABLES = ("target", "node", "minute", "link", "passage")
RNG = random.Random(8)


def wild(number: int) -> dict[str, Any]:
    """A result as odd as real ones: hops in any order, several to a TTL, with gaps, names, silence and wrong clocks."""
    hops = [
        {
            "ttl": RNG.choice((1, 2, 3, 4, 6, 255)),
            "ip": RNG.choice(("10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "_gateway", "*", None)),
            "rtt": RNG.choice((None, -1, 1000, 2000, 2**62)),
            "timeout": RNG.random() < 0.1,
        }
        for _ in range(RNG.randrange(12))
    ]
    times = ("2026-01-07T22:30:00Z", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z")
    return {
        **a_trace(*hops), "ip": RNG.choice(("192.0.2.1", "192.0.2.2")), "avg_rtt": RNG.choice((None, number)),
        "received": RNG.choice((0, 4)), "timestamp": RNG.choice(times),
    }  # fmt: skip


class SummaryTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.summary = self.make()

    def make(self) -> Summary:
        summary = Summary(self.bench.directory.summary, lambda: self.bench.store.files)
        self.addCleanup(summary.close)
        return summary

    def catch_up(self, summary: Summary | None = None) -> int:
        """How many steps it took."""
        steps = 1
        while (summary or self.summary).step():
            steps += 1
        return steps

    def contents(self, path: Path) -> dict[str, list[tuple[Any, ...]]]:
        """All rows; sets of nodes without their order."""
        with contextlib.closing(sqlite3.connect(path)) as db:
            return {
                table: [
                    tuple(sorted(cell.split(",")) if str(cell)[:1] == "," else cell for cell in row)
                    for row in db.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
                ]
                for table in TABLES
            }

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.bench.directory.summary)) as db:
            return db.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        return self.contents(self.bench.directory.summary)

    def fill(self, files: int = 3, results: int = 200) -> None:
        for number in range(files):
            if number:
                self.bench.outcome(self.bench.store.rotate())
            for node in ("a", "b", "c"):
                self.bench.post(*(wild(place) for place in range(results)), {"ip": 1}, node=node)

    def anew(self) -> dict[str, list[tuple[Any, ...]]]:
        """What is counted when it is made from the files at once."""
        copy = Path(self.mktemp())
        copy.mkdir()
        summary = Summary(copy / "s", lambda: self.bench.store.files)
        self.catch_up(summary)
        summary.close()
        return self.contents(copy / "s")


class Counting(SummaryTest):
    def test_links_and_passages_are_those_of_the_traceroutes(self) -> None:
        """Against the same counted in Python, one result after the other."""
        self.fill()
        self.catch_up()
        links: Counter[tuple[str, str]] = Counter()
        passages: Counter[tuple[str, str]] = Counter()
        for target, hops in self.traces():
            replies: dict[int, set[str]] = defaultdict(set)
            for ttl, ip, timeout in hops:
                if ip is not None and not timeout and ip not in ("_gateway", "*"):
                    replies[ttl].add(ip)
            passages.update((ip, target) for ips in replies.values() for ip in ips)
            links.update(
                (near, far)
                for ttl, ips in replies.items()
                for near in ips
                for far in replies.get(ttl + 1, ())
                if near != far
            )
        found = Counter[tuple[str, str]]()
        for near, far, count in self.rows("link", "near, far, count"):
            found[near, far] += count
        self.assertEqual(found, links)
        self.assertGreater(len(links), 5)
        found = Counter()
        for hop, target, count in self.rows("passage", "hop, target, count"):
            found[hop, target] += count
        self.assertEqual(found, passages)

    def traces(self) -> Iterator[tuple[str, list[tuple[int, str | None, int]]]]:
        for info in self.bench.store.files:
            with contextlib.closing(sqlite3.connect(info.path)) as db:
                for number, ip in db.execute("SELECT id, ip FROM ping_results").fetchall():
                    yield (
                        ip,
                        db.execute(
                            "SELECT ttl, ip, timeout FROM traceroute_hops WHERE traceroute_id = ?", (number,)
                        ).fetchall(),
                    )

    def test_a_gap_is_no_link(self) -> None:
        self.bench.post(
            a_trace({"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "timeout": True}, {"ttl": 3, "ip": "10.0.0.3"})
        )
        self.bench.post(a_trace({"ttl": 5, "ip": "10.0.0.5"}, {"ttl": 7, "ip": "10.0.0.7"}))
        self.catch_up()
        self.assertEqual(self.rows("link"), [])
        self.assertEqual(len(self.rows("passage")), 4)

    def test_what_is_no_address_is_no_hop(self) -> None:
        """Names, and what has but the letters of an address."""
        texts = (
            "...", "1.2", "1.2.3", "1.2.3.4.5", "1..2.3", "256.1.1.1", "1.1.1.999", "1.2.3.1234", "01.2.3.4",
            ".1.2.3.4", "7", ":", ":::", "1:2:3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::",
            ":1::2", "1::2:", "fe80::1%eth0", "dead.beef", "_gateway", "*", "0.0.0.0", "::",
        )  # fmt: skip
        self.bench.post(*(a_trace({"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "ip": text}) for text in texts))
        self.catch_up()
        self.assertEqual(self.rows("link"), [])
        self.assertEqual(self.rows("passage", "hop, target, count"), [("10.0.0.1", "8.8.8.8", len(texts))])

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.ip_addresses().map(lambda ip: canonical(str(ip))), min_size=20, max_size=20))
    @example(["255.255.255.255", "0.0.0.1", "10.200.250.199", "::1", "1::", "2001:db8::ffff:0:1", "1:2:3:4:5:6:7:8"])
    def test_every_address_is_one(self, addresses: list[str]) -> None:
        with contextlib.closing(sqlite3.connect(":memory:")) as db:
            for ip in {*addresses} - {*SILENCE}:
                self.assertEqual(db.execute(f"SELECT {is_address(':ip')}", {"ip": ip}).fetchone(), (1,), ip)

    def test_the_order_in_which_a_node_writes_its_hops_does_not_matter(self) -> None:
        self.bench.post(a_trace({"ttl": 2, "ip": "10.0.0.2", "rtt": 9}, {"ttl": 1, "ip": "10.0.0.1", "rtt": 4}))
        self.catch_up()
        self.assertEqual(self.rows("link", "near, far, difference_ns"), [("10.0.0.1", "10.0.0.2", 5)])

    def test_replies_of_three_probes_are_one_link(self) -> None:
        hops = [{"ttl": ttl, "ip": f"10.0.0.{ttl}", "rtt": ttl * 10 + probe} for ttl in (1, 2) for probe in (3, 1, 2)]
        self.bench.post(a_trace(*hops))
        self.catch_up()
        self.assertEqual(self.rows("link", "near, count, difference_ns"), [("10.0.0.1", 1, 10)])

    def test_a_step_more_at_a_time_is_the_same_as_all_at_once(self) -> None:
        for _ in range(4):
            self.fill(2, 50)
            self.catch_up()
        self.assertEqual(self.everything(), self.anew())

    def test_several_steps_make_one_whole(self) -> None:
        for _ in range(3):
            self.bench.post(*[wild(1)] * 3000, node="a")
        self.assertEqual(self.catch_up(), 3)
        self.assertEqual(sum(row[0] for row in self.rows("target", "results, ip, node")), 9000)

    def test_a_step_takes_no_more_hops_than_fit_into_its_memory(self) -> None:
        """However few the results that bear them; one POST is taken whole."""
        hops = [{"ttl": ttl, "ip": f"10.0.{each >> 8}.{each & 255}"} for ttl in range(1, 21) for each in range(1024)]
        for _ in range(4):
            self.bench.post(a_trace(*hops))
        self.bench.post(a_trace(*hops * 4))
        self.bench.post(*[a_trace({"ttl": 1, "ip": "10.0.0.1"})] * 10)
        self.assertTrue(self.summary.step())
        self.assertEqual(self.batches_taken(), 3)
        self.assertEqual(self.catch_up(), 3)
        self.assertEqual(self.batches_taken(), 6)

    def test_it_is_whole_once_all_that_was_there_is_counted_though_more_comes_all_the_time(self) -> None:
        """Else a new service would answer no question as long as POSTs come faster than steps."""
        for _ in range(3):
            self.bench.post(*[wild(1)] * 2600)
        for _ in range(2):
            self.assertTrue(self.summary.step())
            self.assertFalse(self.is_whole())
        self.assertFalse(self.summary.step())  # it has found some, and there are no more now
        self.assertTrue(self.is_whole())

    def is_whole(self) -> bool:
        with contextlib.closing(sqlite3.connect(self.summary.path)) as db:
            return bool(db.execute("SELECT count(*) FROM whole").fetchone()[0])

    def batches_taken(self) -> int:
        with contextlib.closing(sqlite3.connect(self.summary.path)) as db:
            return int(db.execute("SELECT batch_id FROM file").fetchone()[0])

    def test_the_last_round_trip_time_is_that_of_the_newest_result_that_has_one(self) -> None:
        self.bench.post(a_result(avg_rtt=5), a_result(avg_rtt=7), a_result(received=0, avg_rtt=0), node="a")
        self.catch_up()
        self.bench.post(a_result(), node="a")
        self.catch_up()
        self.assertEqual(self.rows("target", "last_id, last_rtt_ns, results, failed"), [(2, 7, 4, 1)])

    def test_a_clock_is_compared_at_the_latest_post(self) -> None:
        self.bench.post(a_result(timestamp="2026-01-07T22:30:40Z"), a_result(timestamp="2026-01-07T22:30:55.25Z"))
        self.catch_up()
        self.bench.post({"ip": 1})
        self.catch_up()
        self.assertEqual(self.rows("node", "clock_offset_s, batches, results, rejected"), [(10.25, 2, 2, 1)])

    def test_a_clock_is_compared_to_the_millisecond_however_wrong_it_is(self) -> None:
        """SQLite's own dates would round 22:30:44.9996 up to the arrival, and lose digits far from it."""
        for at, offset_s in (
            ("2026-01-07T22:30:44.9994Z", -0.001), ("9999-12-31T23:59:59.999Z", 251634475754.999),
            ("0001-01-01T00:00:00.001Z", -63903421844.999),
        ):  # fmt: skip
            self.bench.post(a_result(timestamp=at), node=at)
            self.catch_up()
            self.assertIn((at, offset_s, 1), self.rows("node", "node, clock_offset_s, file"))

    def test_a_time_that_cannot_be_gives_way_to_the_arrival(self) -> None:
        """Rule 4's bounds; beyond them clocks that were never set would be the first to have seen anything."""
        for ip, at in (
            ("192.0.2.1", "0001-01-01T00:00:00Z"), ("192.0.2.2", "1969-12-31T23:59:59Z"),
            ("192.0.2.3", "9999-01-01T00:00:00Z"), ("192.0.2.4", "1970-01-01T00:00:00Z"),
        ):  # fmt: skip
            self.bench.post(a_result(ip=ip, timestamp=at))
        self.catch_up()
        arrived, earliest = "2026-01-07 22:30:45", "1970-01-01 00:00:00"
        seen = [times for _, *times in self.rows("target", "ip, first_seen, last_seen")]
        self.assertEqual(seen, [[arrived, arrived]] * 3 + [[earliest, earliest]])

    def test_counts_that_no_integer_holds_do_not_stop_it(self) -> None:
        most = 2**63 - 1
        for _ in range(2):
            self.bench.post(*[a_result(sent=most, received=most)] * 3)
        self.bench.post(*[a_result(sent=most, received=0)] * 3, a_result(sent=0, received=most))
        self.catch_up()
        self.assertEqual(self.rows("target", "sent, received, lost, results"), [(most, most, most, 10)])


class Enduring(SummaryTest):
    def test_what_is_pruned_is_left_out(self) -> None:
        self.fill(3)
        self.catch_up()
        self.bench.store.limits = type(self.bench.limits)(100 << 20, 7 * 86_400.0, 1)
        self.bench.outcome(self.bench.store.prune(2**62))
        self.catch_up()
        self.assertEqual({row[0] for row in self.rows("target", "file, ip, node")}, {3})
        self.assertEqual(self.everything(), self.anew())

    def test_a_file_that_vanishes_costs_the_others_nothing(self) -> None:
        self.fill(3)
        first = self.bench.store.files[0].path
        self.bench.directory.remove(first)
        self.catch_up()
        self.assertEqual({row[0] for row in self.rows("target", "file, ip, node")}, {2, 3})

    def test_a_damaged_file_costs_the_others_nothing_and_is_told_once(self) -> None:
        self.fill(3, 2000)
        damaged = self.bench.store.files[0].path
        self.bench.outcome(self.bench.store.finish_closed())
        with damaged.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * (damaged.stat().st_size - 8192))
        self.catch_up()
        self.catch_up()
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        self.assertEqual({row[0] for row in self.rows("target", "file, ip, node")}, {2, 3})

    def test_a_damaged_summary_is_made_anew(self) -> None:
        self.fill()
        self.catch_up()
        self.summary.close()
        whole = self.everything()
        path = self.bench.directory.summary
        for damage in (b"no database at all" * 1000, path.read_bytes()[:4096] + b"\xff" * 200_000, b""):
            self.summary.close()
            path.write_bytes(damage)
            self.catch_up()
            self.assertEqual(self.everything(), whole)

    def test_one_of_another_version_is_made_anew_as_a_matter_of_course_and_nobody_reads_it_meanwhile(self) -> None:
        self.fill(1)
        for version in (1, 99):
            self.catch_up()
            self.summary.close()
            with contextlib.closing(sqlite3.connect(self.bench.directory.summary)) as db:
                db.execute(f"PRAGMA user_version={version}")
                db.execute("ALTER TABLE target DROP COLUMN lost")
            session = Session(self.bench.store.files, self.bench.directory.summary)
            with self.assertRaises(NotReady), session.summary():
                pass
            session.close()
            with said() as texts:
                self.catch_up()
            self.assertEqual(len(texts), 1, texts)
            self.assertIn(f"it is of version {version}, and {SCHEMA.version} is wanted", texts[0])
            self.assertEqual(self.everything(), self.anew())

    def test_one_that_is_deleted_under_our_feet_is_made_anew(self) -> None:
        self.fill()
        self.catch_up()
        whole = self.everything()
        for companion in ("", "-wal", "-shm"):
            Path(f"{self.bench.directory.summary}{companion}").unlink(missing_ok=True)
        self.catch_up()
        self.assertEqual(self.everything(), whole)

    def test_another_file_in_its_place_is_not_opened_beside_its_wal(self) -> None:
        """SQLite would cut off the -shm under the connection that has it, which ends the process."""
        self.fill()
        self.summary.step()
        path = self.bench.directory.summary
        shm, other = Path(f"{path}-shm"), Path(f"{path}.other")
        size = shm.stat().st_size
        shutil.copy(path, other)
        other.replace(path)
        session = Session(self.bench.store.files, path)
        self.addCleanup(session.close)
        with self.assertRaises(NotReady), session.summary():
            session.value("SELECT count(*) FROM s.file")
        self.assertEqual(size, shm.stat().st_size)
        self.catch_up()
        self.assertEqual(self.everything(), self.anew())

    def test_it_is_not_taken_for_a_result_file_and_bears_a_mark_of_its_own(self) -> None:
        self.fill()
        self.catch_up()
        self.assertEqual(len(take_stock(DataDir(self.bench.path)).files), 3)
        with contextlib.closing(sqlite3.connect(self.bench.directory.summary)) as db:
            self.assertEqual(db.execute("PRAGMA application_id").fetchone(), (SCHEMA.application_id,))

    def test_it_leaves_the_result_files_as_they_are(self) -> None:
        """Rule 11: readers neither write nor checkpoint."""
        self.fill()
        files = {path: path.read_bytes() for path in self.bench.path.glob("*.db*") if not path.name.endswith("-shm")}
        self.catch_up()
        self.assertEqual({path: path.read_bytes() for path in files}, files)

    def test_a_closed_file_can_be_finished_between_steps(self) -> None:
        """Rule 11: nothing stays open."""
        self.fill(2)
        self.summary.step()
        self.bench.outcome(self.bench.store.finish_closed())
        self.assertFalse(Path(f"{self.bench.store.files[0].path}-wal").exists())

    def test_a_result_file_is_open_while_it_is_read_and_no_longer(self) -> None:
        """Rule 11: a snapshot keeps the WAL from beginning anew, and links take longer to work out than to read."""
        self.fill(1)
        said: list[str] = []
        self.summary.opened().set_trace_callback(said.append)
        self.catch_up()
        closed = said.index("DETACH f")
        self.assertTrue(any("found_link" in statement for statement in said[closed:]))
        self.assertEqual([statement for statement in said[:closed] if "INTO temp.found_" in statement], [])


_VICTIM = """
import sys
from pathlib import Path
from outputd.store.directory import DataDir
from outputd.store.inventory import take_stock
from outputd.summary.summary import Summary
files = take_stock(DataDir(Path(sys.argv[1]))).files
summary = Summary(Path(sys.argv[2]), lambda: files)
print("begun", flush=True)
while summary.step():
    pass
print("done", flush=True)
"""


class Planted(SummaryTest):
    def test_a_link_in_its_place_is_not_followed(self) -> None:
        """Issue 14.9: another user of a common directory planted it."""
        victim = self.bench.path / "victim"
        victim.write_bytes(b"")
        self.bench.directory.summary.symlink_to(victim)
        self.assertRaises(OSError, self.summary.step)
        self.assertEqual(b"", victim.read_bytes())


class Killed(SummaryTest):
    def test_kill_9_costs_nothing(self) -> None:
        """A process that makes a summary is killed again and again; in the end the counts are right."""
        for number in range(6):
            self.bench.post(*(wild(place) for place in range(4000)), node=f"node-{number}")
        whole = self.anew()
        copy = Path(self.mktemp()).absolute()
        copy.mkdir()
        said, kills = b"", 0
        while b"done" not in said:
            command = [sys.executable, "-c", _VICTIM, str(self.bench.path.absolute()), str(copy / "s")]
            victim = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE)
            assert victim.stdout is not None
            self.assertEqual(victim.stdout.readline(), b"begun\n")
            if kills < 5:
                time.sleep(0.05 * (kills + 1))  # somewhere within its steps, each time elsewhere
                os.kill(victim.pid, signal.SIGKILL)
                kills += 1
                victim.communicate()
            else:
                said, _ = victim.communicate()
                self.assertEqual(victim.returncode, 0)
        self.assertEqual(self.contents(copy / "s"), whole)
