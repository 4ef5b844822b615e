"""What `outputd.ledger.ledger` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.ledger import keys, ledger, lessons
from outputd.ledger.keys import UsedKey, key_name
from outputd.ledger.lessons import Lesson
from outputd.sqlite.connections import writing
from outputd.sqlite.errors import NewerFile
from outputd.sqlite.files import make_empty, wal_of
from tests.kit.bench import Bench
from tests.kit.damage import spoil_leaf
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace, many_hops, rows_of
from tests.kit.pools import inline, outcome

YEAR_S = 366 * 86_400.0


def hop(ip: str, **more: Any) -> dict[str, Any]:
    return {"ttl": 1, "ip": ip, **more}


def slow(bench: Bench) -> list[Deferred[None]]:
    """From now on each write into the ledger waits for a gate of its own; reads go past."""
    pool: Any = bench.ledger.pool
    run, gates = pool.run, []

    async def later(work: Any, *args: Any) -> Any:
        if getattr(work, "__name__", "") != "find":
            gates.append(Deferred[None]())
            await gates[-1]
        return await run(work, *args)

    pool.run = later
    return gates


class LedgerTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bench = Bench(self.path)

    def waiting(self, bench: Bench | None = None, most: int = 1000) -> list[str]:
        return outcome((bench or self.bench).ledger.waiting(most))

    def deliver(self, most: int = 1000) -> list[str]:
        hops = self.waiting(most=most)
        self.bench.outcome(self.bench.ledger.delivered(hops))
        return hops

    def restart(self, refeed: bool = False) -> None:
        self.bench.stop()
        self.bench.start(refeed)

    def crash(self) -> Bench:
        return self.bench.crashed(Path(self.mktemp()))

    def learn(self, number: int, *addresses: str, key: UsedKey | None = None) -> list[Any]:
        outcomes: list[Any] = []
        self.bench.ledger.learn(Lesson(number, addresses, key))
        Deferred.fromCoroutine(self.bench.ledger.caught_up()).addBoth(outcomes.append)
        return outcomes


def keys_on_disk(bench: Bench) -> int:
    with contextlib.closing(sqlite3.connect(bench.directory.ledger)) as db:
        return int(db.execute("SELECT count(*) FROM keys").fetchone()[0])


class Discovery(LedgerTest):
    """Rule 17: the first time this instance sees an address that may be fed."""

    def test_an_address_is_discovered_once(self) -> None:
        """Rule 17: in one post, in several, in several spellings."""
        self.bench.post(a_trace(hop("10.0.0.1"), hop("10.0.0.1"), hop("::ffff:10.0.0.1")), a_trace(hop("10.0.0.1")))
        self.bench.post(a_trace(hop("2001:DB8::A"), hop("2001:db8:0::a"), hop("10.0.0.1")))
        self.assertEqual(self.bench.stats.hops_discovered, 2)
        self.assertEqual(self.waiting(), ["10.0.0.1", "2001:db8::a"])

    def test_over_a_restart_a_rotation_and_retention(self) -> None:
        """Rules 17 and 18: the ledger outlives them."""
        self.bench.post(a_trace(hop("10.0.0.1")))
        self.deliver()
        self.bench.limits = type(self.bench.limits)(1 << 20, 3600.0, 1)
        for _ in range(2):
            self.restart()
            self.bench.outcome(self.bench.rotation.rotate("asked for"))
            self.bench.post(a_trace(hop("10.0.0.1")))
            self.assertEqual((self.bench.stats.hops_discovered, self.waiting()), (0, []))

    def test_over_a_kill(self) -> None:
        """Rules 17 and 18."""
        self.bench.post(a_trace(hop("10.0.0.1")))
        self.deliver()
        left = self.crash()
        left.post(a_trace(hop("10.0.0.1")))
        self.assertEqual((left.stats.hops_discovered, self.waiting(left)), (0, []))

    def test_what_may_not_be_fed_and_what_is_silent_is_not_discovered(self) -> None:
        """Rule 17: `timeout` wins over `ip`."""
        self.bench.post(a_trace(hop("10.0.0.1", timeout=True), hop("127.0.0.1"), hop("_gateway"), hop("fe80::1%eth0")))
        self.assertEqual((self.bench.stats.hops_discovered, self.waiting()), (0, []))
        self.bench.post(a_trace(hop("10.0.0.1")))
        self.assertEqual(self.waiting(), ["10.0.0.1"])

    def test_a_post_does_not_wait_for_it_and_whoever_asks_for_counts_does(self) -> None:
        """Rule 20: for whoever asks, every count is up to date when its POST is answered."""
        self.bench.pools.gates["ledger"] = gate = Deferred[None]()
        self.assertEqual(len(self.bench.posting(a_trace(hop("10.0.0.1")))), 1)
        caught_up = Deferred.fromCoroutine(self.bench.ledger.caught_up())
        self.bench.clock.advance(0)
        self.assertNoResult(caught_up)
        gate.callback(None)
        self.successResultOf(caught_up)
        self.assertEqual(self.bench.stats.hops_discovered, 1)

    def test_nobody_waits_when_nothing_is_unwritten(self) -> None:
        """Rule 20: `/stats` costs no transaction."""
        self.bench.post(a_trace(hop("10.0.0.1")))
        self.bench.pools.gates["ledger"] = Deferred[None]()
        self.successResultOf(Deferred.fromCoroutine(self.bench.ledger.caught_up()))

    def test_a_post_waits_while_too_much_is_unwritten(self) -> None:
        """Rule 9: memory is bounded by what may be unwritten, not by what is sent."""
        self.bench.pools.gates["ledger"] = gate = Deferred[None]()
        answers = [self.bench.posting(a_trace(*many_hops(20_000, first))) for first in range(0, 120_000, 20_000)]
        self.assertEqual([len(answer) for answer in answers], [1, 1, 1, 1, 1, 0])
        gate.callback(None)
        for _ in range(3):
            self.bench.clock.advance(0)
        self.assertEqual([len(answer) for answer in answers], [1] * 6)
        self.assertEqual(self.bench.stats.hops_discovered, 120_000)

    def test_the_oldest_wait_first(self) -> None:
        """Rule 19: what is owed longest goes first."""
        for ip in ("10.0.0.9", "10.0.0.1", "10.0.0.5"):
            self.bench.post(a_trace(hop(ip)))
        self.assertEqual(self.waiting(most=2), ["10.0.0.9", "10.0.0.1"])

    def test_both_families_come_back_in_canonical_text(self) -> None:
        """Rule 3."""
        addresses = ["10.0.0.1", "2001:db8::a", "::102:304", "fc00::1"]
        self.bench.post(a_trace(*map(hop, addresses)))
        self.assertEqual(sorted(self.waiting()), sorted(addresses))

    def test_only_public_ones_when_told_so(self) -> None:
        """Rule 17: --feed=public, what is replayed included."""
        bench = Bench(Path(self.mktemp()), mode="public")
        bench.post(a_trace(hop("10.0.0.1"), hop("8.8.4.4")))
        self.assertEqual(self.waiting(bench), ["8.8.4.4"])

    def test_in_a_crowd_addresses_gather_for_a_moment_and_after_it_they_do_not(self) -> None:
        """Rule 19: a turn for each commit of a crowd would cost as much as a third of the writer's."""

        def come(*numbers: int) -> int:
            for number in numbers:
                self.bench.sending(a_trace(hop(f"10.0.0.{number}")))
            for _ in range(3):
                self.bench.clock.advance(0)
            return self.bench.stats.hops_discovered

        self.assertEqual(come(*range(12)), 12)
        self.assertEqual(come(12), 12)
        self.bench.clock.advance(0.1)
        self.assertEqual(come(), 13)
        self.assertEqual(come(13), 14)


class AfterACrash(LedgerTest):
    """Rule 18: a hop of an answered result is in the ledger whatever crashes."""

    def slow_ledger(self) -> list[Deferred[None]]:
        """Whatever is written into the ledger waits for its gate, in the order of the list."""
        return slow(self.bench)

    def kill_before_learning(self, *items: Any, **more: Any) -> Bench:
        """The results are committed; the ledger has heard nothing of them."""
        self.slow_ledger()
        self.assertEqual(len(self.bench.posting(*items, **more)), 1)
        return self.crash()

    def test_hops_above_the_mark_are_read_again(self) -> None:
        """Rule 18."""
        self.bench.post(a_trace(hop("10.0.0.1")))
        self.deliver()
        left = self.kill_before_learning(
            a_result(), a_trace(hop("10.0.0.2"), hop("10.0.0.3", timeout=True), hop("127.0.0.1"), hop("???")),
            a_trace(hop("2001:DB8::2")), {"ip": 1},
        )  # fmt: skip
        self.assertEqual(sorted(self.waiting(left)), ["10.0.0.2", "2001:db8::2"])
        self.assertEqual(left.ledger.backlog, 2)

    def test_over_several_files(self) -> None:
        """Rule 18: rotations between the crash and the last mark."""
        for number in range(3):
            self.bench.keep(a_trace(hop(f"10.0.0.{number}")))
            self.bench.outcome(self.bench.store.rotate())
        self.bench.keep(a_trace(hop("10.0.0.3")))
        self.assertEqual(self.waiting(self.crash()), [f"10.0.0.{number}" for number in range(4)])

    def test_what_was_delivered_is_not_owed_again(self) -> None:
        """Rule 18: exactly once, short of a crash between answer and commit."""
        self.bench.keep(a_trace(hop("10.0.0.1")))
        self.bench = self.crash()
        self.assertEqual(self.deliver(), ["10.0.0.1"])
        self.assertEqual(self.waiting(self.crash()), [])

    def test_a_ledger_that_was_lost_is_made_again_from_the_files(self) -> None:
        """Rule 18: better twice than never."""
        self.bench.post(a_trace(hop("10.0.0.1")), a_trace(hop("10.0.0.2")))
        self.deliver()
        self.bench.stop()
        self.bench.directory.ledger.unlink()
        self.bench.start()
        self.assertEqual(self.waiting(), ["10.0.0.1", "10.0.0.2"])

    def test_a_ledger_ahead_of_its_files_learns_what_is_new(self) -> None:
        """Rule 18: the operator took the result files away."""
        for number in range(5):
            self.bench.post(a_trace(hop(f"10.0.0.{number}")))
        self.deliver()
        self.bench.stop()
        for path in self.path.glob("*.db"):
            path.unlink()
        self.bench.start()
        self.bench.keep(a_trace(hop("10.0.0.77")))
        self.assertEqual(self.waiting(self.crash()), ["10.0.0.77"])

    def test_a_restart_in_order_reads_nothing_again(self) -> None:
        """Rule 18: the stop sets the mark, batches without hops included."""
        self.bench.post(a_trace(hop("10.0.0.1")))
        for _ in range(3):
            self.bench.post(a_result())
        self.bench.stop()
        with contextlib.closing(sqlite3.connect(self.bench.directory.ledger)) as db:
            self.assertEqual(db.execute("SELECT batch_id FROM mark").fetchone(), (4,))

    def test_the_mark_never_passes_a_batch_that_is_still_to_be_learnt(self) -> None:
        """Rules 6 and 18: else a kill right then loses its hops, and its key."""
        gates = self.slow_ledger()
        late = a_trace(hop("10.0.0.2"))
        self.bench.posting(a_trace(hop("10.0.0.1")))
        answer = self.bench.posting(late, node="n", key="k")
        gates[0].callback(None)
        self.assertEqual((len(answer), len(gates)), (1, 2))
        left = self.crash()
        self.assertEqual(sorted(self.waiting(left)), ["10.0.0.1", "10.0.0.2"])
        self.assertTrue(left.post(late, node="n", key="k").json["duplicate"])

    def test_nor_does_a_flush_move_it_past_one(self) -> None:
        """Rules 6 and 18: retention flushes while POSTs are under way."""
        gates = self.slow_ledger()
        self.bench.posting(a_trace(hop("10.0.0.1")))
        answer = self.bench.posting(a_trace(hop("10.0.0.2")))
        flushed = Deferred.fromCoroutine(self.bench.ledger.flush())
        gates[0].callback(None)
        for gate in gates[1:]:
            if not flushed.called and gate is not gates[0]:
                gate.callback(None)
                break
        left = self.crash()
        self.assertEqual(sorted(self.waiting(left)), ["10.0.0.1", "10.0.0.2"])
        for gate in gates:
            if not gate.called:
                gate.callback(None)
        self.successResultOf(flushed)
        self.assertEqual(len(answer), 1)


class Keys(LedgerTest):
    """Rule 6: keys are remembered for 12 hours, over rotation, retention and restart."""

    def is_duplicate(self, bench: Bench, *items: Any, **more: Any) -> bool:
        return bool(bench.post(*items, **more).json.get("duplicate", False))

    def test_over_a_restart(self) -> None:
        """Rule 6."""
        self.bench.post(a_result(), node="n", key="k")
        self.restart()
        self.assertTrue(self.is_duplicate(self.bench, a_result(), node="n", key="k"))
        self.assertEqual(rows_of(self.path, "SELECT count(*) FROM ping_results"), [(1,)])

    def test_over_a_kill_right_after_the_commit_with_the_first_answer(self) -> None:
        """Rule 6: what was stored but never answered is not stored twice."""
        for node, text in (("n", "with a node"), ("", "without")):
            slow(self.bench)
            items = a_result(), {"ip": "8.8.8.8", "sent": -1}, 7, a_result(error=text)
            self.assertEqual(len(self.bench.posting(*items, node=node, key="k")), 1)
            left = self.crash()
            first = Bench(Path(self.mktemp())).post(*items, node=node, key="k")
            again = left.post(*items, node=node, key="k")
            self.assertEqual(again.json, {**first.json, "duplicate": True})
            self.assertEqual(left.post(a_result(), node=node, key="k").status, 422)
            self.bench = Bench(Path(self.mktemp()))

    def test_those_of_posts_that_discover_nothing_gather_for_a_moment(self) -> None:
        """Rule 6: meanwhile they are answered from memory, and a kill loses none."""
        for number in range(5):
            self.bench.post(a_result(), node="n", key=f"{number}")
            self.bench.clock.advance(0.04)
        self.assertEqual(keys_on_disk(self.bench), 0)
        self.assertTrue(self.is_duplicate(self.bench, a_result(), node="n", key="4"))
        self.assertTrue(self.is_duplicate(self.crash(), a_result(), node="n", key="4"))
        self.bench.clock.advance(0.05)
        self.assertEqual(keys_on_disk(self.bench), 5)
        self.bench.post(a_result(), node="n", key="5")
        self.bench.post(a_trace(hop("10.0.0.1")), node="n", key="6")
        self.assertEqual((keys_on_disk(self.bench), self.bench.stats.hops_discovered), (7, 1))

    def test_a_replayed_key_keeps_its_scope(self) -> None:
        """Rule 6: another node's key of the same name is another key."""
        slow(self.bench)
        self.assertEqual(len(self.bench.posting(a_result(), node="n", key="k")), 1)
        left = self.crash()
        self.assertFalse(self.is_duplicate(left, a_result(), node="m", key="k"))
        self.assertFalse(self.is_duplicate(left, a_result(), node="", key="k"))

    def test_for_12_hours(self) -> None:
        """Rule 6."""
        self.bench.post(a_result(), key="k")
        self.bench.clock.advance(12 * 3600 - 1)
        self.assertTrue(self.is_duplicate(self.bench, a_result(), key="k"))
        self.bench.clock.advance(1)
        self.assertFalse(self.is_duplicate(self.bench, a_result(), key="k"))

    def test_a_clock_that_is_set_ages_none(self) -> None:
        """Rule 6: behind and then stepped forward, ahead and then set back."""
        self.bench.clock_is_off_s = -10 * YEAR_S
        self.bench.post(a_result(), key="k")
        for off_s in (0.0, 10 * YEAR_S, -13 * 3600.0):
            self.bench.clock_is_off_s = off_s
            self.bench.outcome(self.bench.ledger.keep_up())
            self.assertTrue(self.is_duplicate(self.bench, a_result(), key="k"), off_s)
        self.bench.clock.advance(12 * 3600)
        self.assertFalse(self.is_duplicate(self.bench, a_result(), key="k"))

    def test_it_ages_while_the_service_runs_over_restarts_and_not_while_it_is_down(self) -> None:
        """Rule 6."""
        self.bench.post(a_result(), key="k")
        for _ in range(2):
            self.bench.clock.advance(6 * 3600 - 1)
            self.bench.stop()
            self.bench.clock.advance(24 * 3600)
            self.bench.start()
        self.assertTrue(self.is_duplicate(self.bench, a_result(), key="k"))
        self.bench.clock.advance(2)
        self.assertFalse(self.is_duplicate(self.bench, a_result(), key="k"))

    def test_a_kill_takes_a_minute_of_its_age_at_most(self) -> None:
        """Rule 6: also when nothing else was written since."""
        self.bench.post(a_result(), key="k")
        self.bench.clock.advance(12 * 3600 - 61)
        self.bench.outcome(self.bench.ledger.keep_up())
        self.bench.clock.advance(59)
        self.bench.outcome(self.bench.ledger.keep_up())
        left = self.crash()
        self.assertTrue(self.is_duplicate(left, a_result(), key="k"))
        left.clock.advance(61)
        self.assertFalse(self.is_duplicate(left, a_result(), key="k"))

    def test_nothing_is_written_each_second_for_it(self) -> None:
        """Rule 6: it costs a write a minute, and none without keys."""
        self.bench.post(a_result())
        self.bench.outcome(self.bench.ledger.keep_up())
        before = wal_of(self.bench.directory.ledger).stat().st_size
        for key, seconds in ((None, 3600), ("k", 59)):
            self.bench.post(a_result(), key=key)
            self.bench.outcome(self.bench.ledger.keep_up())
            before = wal_of(self.bench.directory.ledger).stat().st_size
            self.bench.clock.advance(seconds)
            self.bench.outcome(self.bench.ledger.keep_up())
            self.assertEqual(wal_of(self.bench.directory.ledger).stat().st_size, before)
        self.bench.clock.advance(1)
        self.bench.outcome(self.bench.ledger.keep_up())
        self.assertGreater(wal_of(self.bench.directory.ledger).stat().st_size, before)

    def test_a_ledger_that_was_lost_learns_them_from_the_files_whatever_the_clock_was(self) -> None:
        """Rule 6: of their ages it knows how many minutes brought something."""
        for number, off_s in enumerate((0.0, 10 * YEAR_S, 0.0, -10 * YEAR_S, 0.0)):
            self.bench.clock_is_off_s = off_s
            self.bench.post(a_result(), node="n", key=f"{number}")
            self.bench.outcome(self.bench.store.rotate())
        self.bench.stop()
        self.bench.directory.ledger.unlink()
        self.bench.start()
        self.assertEqual(self.bench.ledger.keys.count, 5)
        for number in range(5):
            self.assertTrue(self.is_duplicate(self.bench, a_result(), node="n", key=f"{number}"), number)

    def test_a_ledger_that_was_lost_learns_none_that_is_too_old(self) -> None:
        """Rule 6, with ten minutes for the 12 hours."""
        for module in (keys, lessons):
            self.patch(module, "KEYS_LIVE_S", 600)
        for number in range(12):
            self.bench.post(a_result(), node="n", key=f"{number}")
            self.bench.clock.advance(60)
        for lose in (self.restart, lambda: self.bench.outcome(
            self.bench.ledger.reopen(self.bench.store.files, self.bench.feedable, inline))):  # fmt: skip
            self.bench.directory.ledger.unlink()
            lose()
            self.assertEqual(self.bench.ledger.keys.count, 10)
        self.assertFalse(self.is_duplicate(self.bench, a_result(), node="n", key="0"))
        self.assertTrue(self.is_duplicate(self.bench, a_result(), node="n", key="9"))

    def test_those_of_a_ledger_of_version_2_keep_their_order_and_are_not_older_than_they_were(self) -> None:
        """Rules 6 and 13: what lies in the future counts as used now, and downtime does not count."""
        path = self.path / "old.sqlite3"
        make_empty(path)
        now_s = time.time()
        with writing(path) as db:
            db.executescript(ledger.SCHEMA.directory.joinpath("2.sql").read_text())
            for number, used_at in enumerate((now_s - 90_000, now_s - 86_400, now_s + 10 * YEAR_S)):
                db.execute("INSERT INTO keys VALUES (?, '', '', ?)", (b"%d" % number, used_at))
            db.execute("PRAGMA user_version=2")
            ledger.SCHEMA.bring_up(db)
            ages = [-ran_s for (ran_s,) in db.execute("SELECT ran_s FROM keys ORDER BY name")]
        self.assertEqual(ages[2], 0)
        self.assertLess(abs(ages[1] - 86_400), 60)
        self.assertLess(abs(ages[0] - 90_000), 60)

    def test_after_12_hours_it_is_deleted(self) -> None:
        """Rule 6: the ledger does not grow with them."""
        for number in range(3):
            self.bench.post(a_result(), key=f"{number}")
            self.bench.clock.advance(3600)
        self.bench.clock.advance(9.5 * 3600)
        self.bench.outcome(self.bench.ledger.keep_up())
        self.assertEqual(self.bench.ledger.keys.count, 2)
        with contextlib.closing(sqlite3.connect(self.bench.directory.ledger)) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM keys").fetchone(), (2,))

    def test_a_key_used_again_after_12_hours_is_one_key(self) -> None:
        """Rule 6: the count of remembered keys stays true."""
        for _ in range(3):
            self.bench.post(a_result(), key="k")
            self.bench.clock.advance(13 * 3600)
        self.assertEqual(self.bench.ledger.keys.count, 1)

    def test_the_newest_million(self) -> None:
        """Rule 6, with a smaller million."""
        for module in (keys, ledger):
            self.patch(module, "MOST_KEYS", 3)
        for number in range(5):
            self.bench.post(a_result(), key=f"{number}")
            self.bench.clock.advance(1)
            self.bench.clock_is_off_s -= 86_400  # what is newest is told by no clock that can be set
            self.restart()
        self.bench.outcome(self.bench.ledger.keep_up())
        self.assertEqual(self.bench.ledger.keys.count, 3)
        found = [self.is_duplicate(self.bench, a_result(), key=f"{number}") for number in range(5)]
        self.assertEqual(found[2:], [True] * 3)
        self.assertEqual(found[:2], [False] * 2)

    def test_names_of_keys_do_not_run_into_each_other(self) -> None:
        """Rule 6."""
        self.assertNotEqual(key_name("a", "bc"), key_name("ab", "c"))
        self.assertEqual(len(key_name("n" * 64, "k" * 255)), 16)


class Limits(LedgerTest):
    """Rule 18: --max-hops bounds the disk."""

    def test_new_ones_beyond_it_are_counted_and_not_kept(self) -> None:
        """Rule 18."""
        self.bench = Bench(Path(self.mktemp()), most_hops=3)
        self.bench.post(a_trace(*many_hops(2)))
        self.bench.post(a_trace(*many_hops(5)))
        self.assertEqual((self.bench.ledger.known, len(self.waiting())), (3, 3))
        self.assertEqual((self.bench.stats.hops_discovered, self.bench.stats.hops_over_limit), (3, 2))

    def test_known_ones_are_no_new_ones(self) -> None:
        """Rule 18."""
        self.bench = Bench(Path(self.mktemp()), most_hops=3)
        self.bench.post(a_trace(*many_hops(3)))
        for _ in range(2):
            self.restart()
            self.bench.post(a_trace(*many_hops(3)))
        self.assertEqual((self.bench.ledger.known, self.bench.stats.hops_over_limit), (3, 0))

    def test_delivery_makes_no_room(self) -> None:
        """Rule 18: it bounds what is known, not what is owed."""
        self.bench = Bench(Path(self.mktemp()), most_hops=2)
        self.bench.post(a_trace(*many_hops(2)))
        self.deliver()
        self.bench.post(a_trace(*many_hops(2, first=2)))
        self.assertEqual(self.waiting(), [])

    def test_the_replay_keeps_to_it(self) -> None:
        """Rule 18."""
        self.bench = Bench(Path(self.mktemp()), most_hops=2)
        self.bench.keep(a_trace(*many_hops(5)))
        left = self.crash()
        self.assertEqual((left.ledger.known, len(self.waiting(left))), (2, 2))

    def test_memory_does_not_grow_with_what_waits(self) -> None:
        """Rule 18: no more than asked for is handed out."""
        self.bench.post(a_trace(*many_hops(3000)))
        self.assertEqual(len(self.waiting(most=1000)), 1000)


class Owing(LedgerTest):
    def test_what_was_delivered_is_gone_for_good_and_at_once(self) -> None:
        """Rule 18: durable when it returns, a kill right after it included."""
        self.bench.post(a_trace(*many_hops(4)))
        delivered = self.deliver(most=3)
        self.assertEqual(self.bench.ledger.backlog, 1)
        left = self.crash()
        self.assertEqual(left.ledger.backlog, 1)
        self.assertEqual(set(self.waiting(left)) & set(delivered), set())

    def test_a_delivery_is_fsynced(self) -> None:
        """Rule 18: by the database itself, as it reports its own sync calls."""
        self.bench.post(a_trace(hop("10.0.0.1")))
        hops = self.waiting()
        pool: Any = self.bench.ledger.pool
        levels: list[tuple[str, int]] = []

        def watch(db: sqlite3.Connection) -> None:
            db.set_trace_callback(
                lambda statement: (
                    levels.append((statement, db.execute("PRAGMA synchronous").fetchone()[0]))
                    if statement.startswith("DELETE FROM waiting")
                    else None
                )
            )

        outcome(pool.run(watch))
        self.bench.outcome(self.bench.ledger.delivered(hops))
        self.assertEqual([level for _, level in levels], [2])

    def test_what_is_refused_is_set_aside_for_good(self) -> None:
        """Rule 19: never posted again, and counted."""
        self.bench.post(a_trace(hop("10.0.0.1"), hop("10.0.0.2")))
        self.waiting()
        self.bench.outcome(self.bench.ledger.refused("10.0.0.1", 400))
        for bench in (self.bench, self.crash()):
            self.assertEqual((self.waiting(bench), bench.ledger.refusals, bench.ledger.backlog), (["10.0.0.2"], 1, 1))
            with contextlib.closing(sqlite3.connect(bench.directory.ledger)) as db:
                self.assertEqual(
                    db.execute("SELECT hex(address), status, refused_at FROM refused").fetchall(),
                    [("0A000001", 400, "2026-01-07 22:30:45")],
                )

    def test_refeed_owes_everything_known_again_the_refused_included(self) -> None:
        """Rule 18: for an input_service that was rebuilt."""
        self.bench.post(a_trace(*many_hops(5)))
        self.deliver(most=3)
        self.waiting(most=1)
        self.bench.outcome(self.bench.ledger.refused("10.0.0.3", 422))
        self.restart(refeed=True)
        self.assertEqual((sorted(self.waiting()), self.bench.ledger.backlog), ([f"10.0.0.{n}" for n in range(5)], 5))
        self.assertEqual((self.bench.ledger.refusals, self.bench.ledger.known), (0, 5))
        self.assertEqual(self.bench.stats.hops_discovered, 0)

    def test_without_refeed_a_restart_owes_what_was_owed(self) -> None:
        """Rule 18."""
        self.bench.post(a_trace(*many_hops(5)))
        self.deliver(most=3)
        self.restart()
        self.assertEqual((self.waiting(), self.bench.ledger.backlog), (["10.0.0.3", "10.0.0.4"], 2))

    def test_a_link_in_its_place_or_beside_it_leads_to_nothing_overwritten(self) -> None:
        """Issue 14.9: another user of a common directory planted it."""
        self.bench.stop()
        victim, ledger = self.bench.path / "victim", self.bench.directory.ledger
        for ending in ("", "-wal", "-journal"):
            place = Path(f"{ledger}{ending}")
            place.unlink(missing_ok=True)
            victim.write_bytes(b"")
            place.symlink_to(victim)
            with contextlib.suppress(OSError, sqlite3.OperationalError):  # SQLite itself takes an empty -journal away
                self.bench.start()
                self.bench.post(a_trace(hop("10.0.0.1")))
                self.bench.stop()
                self.assertTrue(ending, "it was followed")
            self.assertEqual(b"", victim.read_bytes(), ending)
            place.unlink(missing_ok=True)

    def test_a_newer_ledger_stops_the_start(self) -> None:
        """Rule 13."""
        self.bench.stop()
        with contextlib.closing(sqlite3.connect(self.bench.directory.ledger)) as db:
            db.execute(f"PRAGMA user_version={ledger.SCHEMA.version + 1}")
        self.assertRaises(NewerFile, self.bench.start)

    def test_a_stop_leaves_no_wal(self) -> None:
        """Rule 23."""
        self.bench.post(a_trace(hop("10.0.0.1")))
        self.bench.stop()
        self.assertEqual([name for name in os.listdir(self.path) if name.startswith("hops.sqlite3-")], [])


class Trouble(LedgerTest):
    """A ledger that cannot be written keeps what it has to learn, tries again, and lets no further POST in."""

    def fill(self) -> None:
        self.bench.fill_the_disk(self.bench.ledger.pool)

    def free(self) -> None:
        self.bench.free_the_disk(self.bench.ledger.pool)

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.answer = self.bench.post(a_trace(*many_hops(3000)), node="n", key="k")
        self.flushLoggedErrors(sqlite3.OperationalError)

    def test_the_stored_post_is_answered_all_the_same(self) -> None:
        """Rule 1: it is on disk."""
        self.assertEqual(self.answer.json, {"status": "ok", "received": 1})
        self.assertIn("full", str(self.bench.ledger.failure))

    def test_the_next_post_is_told_to_come_again(self) -> None:
        """Rules 9 and 18: nothing is kept in memory without end."""
        again = self.bench.post(a_result())
        self.assertEqual(again.status, 503)
        self.assertEqual(rows_of(self.path, "SELECT count(*) FROM ping_results"), [(1,)])

    def test_what_failed_is_kept_and_tried_again_until_it_is_written(self) -> None:
        """Rule 18."""
        for _ in range(2):
            started = Deferred.fromCoroutine(self.bench.ledger.keep_up())
            self.bench.clock.advance(0)
            self.successResultOf(started)
            self.assertIsNotNone(self.bench.ledger.failure)
        self.free()
        started = Deferred.fromCoroutine(self.bench.ledger.keep_up())
        self.bench.clock.advance(0)
        self.successResultOf(started)
        self.assertIsNone(self.bench.ledger.failure)
        self.assertEqual((len(self.waiting(most=9999)), self.bench.stats.hops_discovered), (3000, 3000))
        self.assertEqual(self.bench.ledger.backlog, 3000)
        self.assertEqual(self.bench.post(a_result()).status, 200)

    def test_a_key_that_could_not_be_written_holds_all_the_same(self) -> None:
        """Rule 6."""
        self.assertIsNotNone(self.bench.outcome(self.bench.ledger.used(key_name("n", "k"))))

    def test_a_kill_meanwhile_loses_nothing(self) -> None:
        """Rules 6 and 18."""
        left = self.crash()
        self.assertEqual(len(self.waiting(left, 9999)), 3000)
        self.assertTrue(left.post(a_trace(*many_hops(3000)), node="n", key="k").json["duplicate"])

    def test_a_stop_meanwhile_loses_nothing(self) -> None:
        """Rules 18 and 23."""
        self.restart()
        self.assertEqual(len(self.waiting(most=9999)), 3000)

    def test_a_flush_tells_that_it_failed(self) -> None:
        """Rule 18: who deletes result files asks first."""
        self.assertRaises(sqlite3.OperationalError, self.bench.outcome, self.bench.ledger.flush())


class Gone(LedgerTest):
    """The ledger was deleted or moved away by someone else."""

    def setUp(self) -> None:
        super().setUp()
        self.bench.post(a_trace(hop("10.0.0.1")))
        self.bench.directory.ledger.unlink()
        self.bench.posting(a_trace(hop("10.0.0.2")))
        self.flushLoggedErrors(OSError)

    def test_no_hop_of_an_answered_result_is_lost(self) -> None:
        """Rule 18."""
        self.assertIsNotNone(self.bench.ledger.failure)
        self.assertEqual(self.waiting(self.crash()), ["10.0.0.1", "10.0.0.2"])

    def test_it_can_be_closed(self) -> None:
        """Rule 23: a stop is a stop."""
        self.bench.stop()
        pool: Any = self.bench.ledger.pool
        self.assertRaises(sqlite3.ProgrammingError, outcome, pool.run(lambda db: db.execute("SELECT 1")))


class MadeAnew(LedgerTest):
    """Rules 9, 18 and 20: a ledger that was deleted is made anew beside a service that goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.bench.post(a_trace(hop("10.0.0.1")))
        self.bench.directory.ledger.unlink()

    def reopen(self, in_thread: Any) -> list[Any]:
        ended: list[Any] = []
        work = self.bench.ledger.reopen(self.bench.store.files, self.bench.feedable, in_thread)
        Deferred.fromCoroutine(work).addBoth(ended.append)
        return ended

    def test_a_post_meanwhile_is_told_to_come_again_and_the_next_is_stored(self) -> None:
        """Rule 9: it must not wait for ever."""
        gate: Deferred[None] = Deferred()

        async def slow(work: Any, *args: Any, **kwargs: Any) -> Any:
            await gate
            return work(*args, **kwargs)

        ended = self.reopen(slow)
        self.assertEqual(self.bench.post(a_trace(hop("10.0.0.2"))).status, 503)
        gate.callback(None)
        self.assertEqual(ended, [None])
        self.assertEqual(self.bench.post(a_trace(hop("10.0.0.3"))).status, 200)
        self.assertEqual(sorted(self.waiting()), ["10.0.0.1", "10.0.0.3"])

    def test_one_that_fails_is_tried_again(self) -> None:
        """Rule 20: and is said to fail until then."""

        async def full(work: Any, *args: Any, **kwargs: Any) -> Any:
            raise sqlite3.OperationalError("database or disk is full")

        (failure,) = self.reopen(full)
        failure.trap(sqlite3.OperationalError)
        self.assertTrue(self.bench.ledger.is_gone())
        self.assertIn("full", str(self.bench.ledger.failure))
        self.assertEqual(self.reopen(self.bench.in_thread), [None])
        self.assertEqual(self.bench.post(a_trace(hop("10.0.0.3"))).status, 200)
        self.assertEqual(sorted(self.waiting()), ["10.0.0.1", "10.0.0.3"])

    def test_a_delivery_under_way_takes_no_other_hop_off_the_list(self) -> None:
        """Rule 18: the numbers of the old file mean other addresses in the new one."""
        self.assertEqual(self.reopen(self.bench.in_thread), [None])
        handed = self.waiting()
        self.bench.post(a_trace(hop("10.0.0.0")))
        self.bench.directory.ledger.unlink()
        self.assertEqual(self.reopen(self.bench.in_thread), [None])
        self.bench.outcome(self.bench.ledger.delivered(handed))
        self.assertIn("10.0.0.0", self.waiting())

    def test_a_damaged_one_is_set_aside_at_the_start_and_made_anew(self) -> None:
        """Rule 18: as a deleted one is."""
        self.bench.stop()
        self.bench.directory.ledger.write_bytes(b"no database" * 1000)
        self.bench.start()
        self.assertEqual(self.waiting(), ["10.0.0.1"])
        self.assertEqual(list(self.bench.directory.damaged()), ["hops.sqlite3.damaged"])


class DamagedFiles(LedgerTest):
    """Rule 18: a damaged result file costs its own rows that cannot be read, is named, and stops nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.bench.post(a_trace(*many_hops(5000)), node="n", key="first")
        self.damaged = self.bench.store.current.info.path
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish_closed())
        self.bench.post(a_trace(hop("10.9.9.9")), node="n", key="last")

    def spoil(self, text: bytes = b"10.0.9.77") -> None:
        spoil_leaf(self.damaged, text)
        self.bench.directory.ledger.unlink()

    def assert_learnt(self, log: list[str], bench: Bench) -> None:
        known = set(self.waiting(bench, 9999))
        self.assertTrue({"10.0.0.0", "10.0.19.135", "10.9.9.9"} <= known)
        self.assertNotIn("10.0.9.77", known)
        self.assertGreater(len(known), 4500)
        self.assertEqual(sum(f"{self.damaged.name} is damaged" in line for line in log), 1, log)
        self.assertEqual([path.name for path in bench.path.glob("*.damaged*")], [])
        for key, items in (("first", many_hops(5000)), ("last", [hop("10.9.9.9")])):
            self.assertTrue(bench.post(a_trace(*items), node="n", key=key).json.get("duplicate"), key)

    def test_at_a_start(self) -> None:
        """Rule 18: with a ledger that was deleted, as in a restore."""
        self.bench.stop()
        self.spoil()
        with said() as log:
            self.bench.start()
        self.assert_learnt(log, self.bench)
        with said() as log:
            self.restart()
        self.assertEqual([line for line in log if "damaged" in line], [], "it is read once")

    def test_while_running(self) -> None:
        """Rule 9: else every POST is 503."""
        self.spoil()
        with said() as log:
            self.bench.outcome(self.bench.ledger.reopen(self.bench.store.files, self.bench.feedable, inline))
        self.assert_learnt(log, self.bench)

    def test_one_of_which_nothing_can_be_read_while_running(self) -> None:
        """Rule 9."""
        self.damaged.write_bytes(b"no database" * 1000)
        self.bench.directory.ledger.unlink()
        with said() as log:
            self.bench.outcome(self.bench.ledger.reopen(self.bench.store.files, self.bench.feedable, inline))
        self.assertEqual(sum(f"{self.damaged.name} is damaged" in line for line in log), 1, log)
        self.assertEqual(self.waiting(), ["10.9.9.9"])
        self.assertEqual(self.bench.post(a_result()).status, 200)

    def test_one_that_is_gone_while_running(self) -> None:
        """Rule 9: as after the whole directory was removed."""
        self.damaged.unlink()
        self.bench.directory.ledger.unlink()
        with said() as log:
            self.bench.outcome(self.bench.ledger.reopen(self.bench.store.files, self.bench.feedable, inline))
        self.assertEqual(sum(f"{self.damaged.name} is gone" in line for line in log), 1, log)
        self.assertEqual(self.bench.post(a_result()).status, 200)

    def test_after_a_kill_with_a_damaged_newest_file(self) -> None:
        """Rule 18: what the ledger has not heard yet is read from it as far as it can be."""
        slow(self.bench)
        self.damaged = self.bench.store.current.info.path
        self.bench.posting(a_trace(*many_hops(5000, 10_000)), node="n", key="newest")
        left = self.crash()
        left.stop()
        self.bench = left
        left.directory.ledger.unlink()
        spoil_leaf(left.path / self.damaged.name, b"10.0.50.")
        with said() as log:
            left.start()
        self.assertIn("10.0.39.20", self.waiting(left, 99_999))
        self.assertEqual(sum(f"{self.damaged.name} is damaged" in line for line in log), 1, log)


class FailingDelivery(LedgerTest):
    def test_a_delivery_that_cannot_be_written_raises_and_owes_it_still(self) -> None:
        """Rule 18: the feed settles it before it posts anything else."""
        self.bench.post(a_trace(hop("10.0.0.1")))
        hops = self.waiting()
        self.bench.pools.failing["ledger"] = sqlite3.OperationalError("disk I/O error")
        self.assertRaises(sqlite3.OperationalError, self.bench.outcome, self.bench.ledger.delivered(hops))
        self.assertEqual(self.bench.ledger.backlog, 1)
        self.bench.pools.failing.clear()
        self.bench.outcome(self.bench.ledger.delivered(hops))
        self.assertEqual((self.waiting(), self.bench.ledger.backlog), ([], 0))
