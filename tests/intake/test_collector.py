"""What `outputd.collector` promises, on real files, without threads; a number is that of a rule of the contract."""

from __future__ import annotations

import gc
import gzip
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.admission import Admission, Reservation
from outputd.intake.collector import Collector, Posted, Sender
from outputd.intake.counters import Stats
from outputd.intake.foreign import NOTHING_ASKED, Asked
from outputd.ledger.keys import KEYS_LIVE_S
from outputd.ledger.ledger import Ledger
from outputd.ledger.lessons import Learnt
from outputd.results.hop_policy import FEED_ALL, feedable
from outputd.results.model import MOST_RAW_BYTES
from outputd.results.parse import Parser
from outputd.store.directory import DataDir
from outputd.store.limits import Limits
from outputd.store.store import Store
from outputd.web.answers import Answer
from tests.kit.makers import a_result, a_trace, body_of, many_hops, rows_of
from tests.kit.pools import InlinePools, P, T, inline, outcome
from tests.kit.wire import Reply, replied

MIB = 1 << 20
NOW = 1_767_825_000.0  # 2026-01-07 22:30:00
NODE = Sender("vienna")
BAD = {"ip": "nowhere"}


class Instance:
    """A collector with its store and ledger in a directory, on a Clock; may be started again in the same one."""

    def __init__(self, path: Path, clock: Clock, max_size_bytes: int = 100 * MIB) -> None:
        self.path = path
        self.clock = clock
        self.pools = InlinePools()
        self.stats = Stats()
        self.works_in_thread = 0
        self.directory = DataDir(path)
        self.directory.take()
        self.admission = Admission(64 * MIB, clock.seconds)
        self.store = Store(
            self.directory, Limits(max_size_bytes, 7e6, 5), clock, self.pools, inline, inline, self.now, lambda *_: None
        )
        self.ledger = Ledger(self.directory.ledger, clock, self.pools, self.now, 1000, self._discovered)
        self.store.open()
        self.ledger.open(self.store.files, feedable(FEED_ALL), refeed=False)
        self.collector = Collector(
            self.store, self.ledger, Parser(feedable(FEED_ALL)), self.stats, self.admission, self._in_thread, self.now
        )  # fmt: skip

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.works_in_thread += 1
        return work(*args, **kwargs)

    def now(self) -> float:
        return NOW + self.clock.seconds()

    def _discovered(self, learnt: Learnt) -> None:
        self.stats.hops_discovered += learnt.new

    def run(self) -> None:
        """Let turns that are due come."""
        for _ in range(6):
            self.clock.advance(0)

    def send(self, body: bytes, sender: Sender = NODE) -> Deferred[Reply]:
        answer = self.sending(body, sender)
        self.run()
        return answer

    def sending(
        self, body: bytes, sender: Sender = NODE, is_gzip: bool = False, asked: Asked = NOTHING_ASKED
    ) -> Deferred[Reply]:
        """What becomes of a body, as if its request held its memory until it is answered."""
        memory = self.admission.reserve()
        memory.admit(len(body))
        answer = Deferred.fromCoroutine(self.collector.collect(Posted(body, sender, memory, is_gzip, asked)))
        return answer.addBoth(self._let_go, memory).addCallback(replied)

    def _let_go(self, outcome: Answer, memory: Reservation) -> Answer:
        memory.let_go()
        return outcome

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return rows_of(self.path, query)

    def close(self) -> None:
        for stopping in (self.store.close(), self.ledger.close()):
            Deferred.fromCoroutine(stopping)
            self.run()
        self.directory.release()

    def crash(self) -> None:
        """End without a word: what is committed is there, and nothing else."""
        self.directory.release()


class CollectorTest(SynchronousTestCase):
    """An instance in an empty directory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.it = self.start()

    def start(self, **limits: int) -> Instance:
        self.it = Instance(self.path, self.clock, **limits)
        self.addCleanup(self.it.directory.release)
        return self.it

    def answer(self, body: bytes, sender: Sender = NODE) -> Reply:
        return self.successResultOf(self.it.send(body, sender))

    def ok(self, body: bytes, sender: Sender = NODE) -> Any:
        answer = self.answer(body, sender)
        self.assertEqual((answer.status, answer.header("Content-Type")), (200, "application/json"))
        return answer.json

    def refused(self, status: int, body: bytes, sender: Sender = NODE) -> dict[str, Any]:
        answer = self.answer(body, sender)
        self.assertEqual((answer.status, answer.header("Content-Type")), (status, "application/problem+json"))
        self.assertEqual(answer.header("Retry-After") is not None, status == 503)
        members: dict[str, Any] = answer.json
        self.assertTrue(members["detail"])
        return members

    def count(self, table: str) -> int:
        return sum(row[0] for row in self.it.rows(f"SELECT count(*) FROM {table}"))


class Answers(CollectorTest):
    """Rules 1 and 5: what is answered is true."""

    def test_nothing_is_answered_before_it_is_committed(self) -> None:
        """Rule 1: and then it is there to be read."""
        self.it.pools.gates["store"] = gate = Deferred[None]()
        answer = self.it.send(body_of(a_result()))
        self.assertNoResult(answer)
        self.assertEqual(self.count("ping_results"), 0)
        del self.it.pools.gates["store"]
        gate.callback(None)
        self.it.run()
        self.assertEqual(self.successResultOf(answer).json, {"status": "ok", "received": 1})
        self.assertEqual(self.count("ping_results"), 1)

    def test_all_good_is_ok_with_their_number(self) -> None:
        """Rule 5."""
        self.assertEqual(self.ok(body_of(*[a_result()] * 3)), {"status": "ok", "received": 3})

    def test_an_empty_array_is_ok_and_leaves_nothing(self) -> None:
        """Rules 5 and 7: `[]` has no row in batches."""
        self.assertEqual(self.ok(b"[]"), {"status": "ok", "received": 0})
        self.assertEqual(self.count("batches"), 0)

    def test_some_bad_is_partial_with_their_places(self) -> None:
        """Rule 5: to the letter."""
        body = body_of(a_result(), *[a_result()] * 2, a_trace({"ttl": 1}, {"ttl": 2}, {"ttl": 256}), a_result())
        answer = self.ok(body)
        (error,) = answer.pop("errors")
        self.assertEqual(answer, {"status": "partial", "received": 4, "rejected": 1})
        self.assertEqual((error["index"], error["field"]), (3, "traceroute.hops[2].ttl"))
        self.assertEqual((set(error), bool(error["error"])), ({"index", "field", "error"}, True))
        self.assertEqual(self.count("ping_results"), 4)

    def test_the_first_20_errors_are_told(self) -> None:
        """Rule 5."""
        answer = self.ok(body_of(*[BAD] * 30, a_result(), *[BAD] * 9))
        self.assertEqual((answer["received"], answer["rejected"]), (1, 39))
        self.assertEqual([error["index"] for error in answer["errors"]], list(range(20)))

    def test_all_bad_is_422_with_the_members(self) -> None:
        """Rule 5: received, rejected and errors."""
        problem = self.refused(422, body_of(*[BAD] * 25))
        self.assertEqual((problem["received"], problem["rejected"], len(problem["errors"])), (0, 25, 20))
        self.assertEqual((self.count("ping_results"), self.count("rejected_results")), (0, 25))

    def test_no_array_is_400_and_leaves_nothing(self) -> None:
        """Rules 5 and 7."""
        for body in (b"", b"{}", b"null", body_of(a_result())[:-1], body_of(a_result()) + b"x"):
            self.refused(400, body)
        self.assertEqual((self.count("ping_results"), self.count("batches"), self.count("rejected_results")), (0, 0, 0))

    def test_too_many_items_are_413_and_leave_nothing(self) -> None:
        """Rules 7 and 8."""
        self.refused(413, b"[" + b"1," * 200_000 + b"1]")
        self.assertEqual((self.count("batches"), self.count("rejected_results")), (0, 0))

    def test_counts_are_up_to_date_before_the_answer(self) -> None:
        """Rule 20."""
        seen: list[tuple[int, int, int, str]] = []
        answer = self.it.sending(body_of(a_trace({"ttl": 1, "ip": "10.0.0.1"}), a_result(received=0), BAD))
        stats = self.it.stats
        answer.addCallback(
            lambda _: seen.append((stats.results, stats.successful, stats.failed, stats.latest.at(self.it.now())))
        )
        self.it.run()
        self.assertEqual(seen, [(2, 1, 1, "2026-01-07 22:30:00")])
        self.assertEqual(stats.hops_discovered, 1)

    def test_last_result_time_never_goes_back(self) -> None:
        """Rule 4: the latest, not the last; null before any."""
        self.assertEqual(self.it.stats.latest.at(self.it.now()), "")
        for moment in ("2026-01-07T12:00:00Z", "2026-01-07T11:00:00Z", "0001-01-01T00:00:00Z", "2026-01-09T00:00:00Z"):
            self.ok(body_of(a_result(timestamp=moment)))
        self.assertEqual(self.it.stats.latest.at(self.it.now()), "2026-01-07 12:00:00")

    def test_identical_results_are_all_stored(self) -> None:
        """Rule 6: single results are never compared, nor bodies without a key."""
        for _ in range(3):
            self.assertEqual(self.ok(body_of(*[a_result()] * 2)), {"status": "ok", "received": 2})
        self.assertEqual(self.count("ping_results"), 6)

    def test_hops_of_an_answered_result_are_owed(self) -> None:
        """Rule 18: a hop of an answered result is in the ledger."""
        self.ok(body_of(a_trace({"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "ip": "10.0.0.1"}, {"ttl": 3, "ip": "::1"})))
        self.assertEqual((self.it.ledger.backlog, self.it.ledger.known), (1, 1))
        self.ok(body_of(a_trace({"ttl": 1, "ip": "10.0.0.1"})))
        self.assertEqual((self.it.ledger.backlog, self.it.stats.hops_discovered), (1, 1))


class Rows(CollectorTest):
    """Rule 7: who measured, and what was rejected."""

    def test_the_specs_tables_have_the_specs_columns(self) -> None:
        """Rules 7 and 13."""
        self.ok(body_of(a_trace({"ttl": 1, "ip": "10.0.0.1", "rtt": 5}, {"ttl": 2, "timeout": True}, error="cut")))
        for table, columns in {
            "ping_results": "id ip sent received packet_loss avg_rtt timestamp error created_at",
            "traceroute_results": "id ping_result_id method completed error",
            "traceroute_hops": "id traceroute_id ttl ip rtt timeout",
        }.items():
            found = [row[1] for row in self.it.rows(f"PRAGMA table_info({table})")]
            self.assertEqual(found, columns.split())
        self.assertEqual(
            self.it.rows("SELECT * FROM ping_results"),
            [(1, "8.8.8.8", 4, 4, 0.0, None, "2026-01-07 22:30:00", None, "2026-01-07 22:30:00")],
        )
        self.assertEqual(self.it.rows("SELECT * FROM traceroute_results"), [(1, 1, "icmp", 1, "cut")])
        self.assertEqual(
            self.it.rows("SELECT traceroute_id, ttl, ip, rtt, timeout FROM traceroute_hops ORDER BY id"),
            [(1, 1, "10.0.0.1", 5, 0), (1, 2, None, None, 1)],
        )

    def test_each_post_that_stored_or_rejected_has_a_batch(self) -> None:
        """Rule 7: with consecutive ids, NULL when none was stored."""
        bodies = (body_of(a_result(), BAD, a_result()), body_of(BAD), body_of(a_result()))
        for body, sender in zip(bodies, (NODE, Sender("graz"), Sender("linz", "linz", "a-key")), strict=True):
            self.answer(body, sender)
        digests = [sha256(body).digest() for body in bodies]
        at, ours = "2026-01-07 22:30:00", ("native", "native")
        self.assertEqual(
            self.it.rows("SELECT * FROM batches ORDER BY id"),
            [
                (1, "vienna", at, digests[0], None, 1, 2, 2, 1, *ours),
                (2, "graz", at, digests[1], None, None, None, 0, 1, *ours),
                (3, "linz", at, digests[2], "a-key", 3, 3, 1, 0, *ours),
            ],
        )

    def test_created_at_is_the_time_of_arrival(self) -> None:
        """Rule 4: all stored times have this form."""
        self.clock.advance(90.25)
        self.ok(body_of(a_result(timestamp="2020-01-01T00:00:00Z")))
        (row,) = self.it.rows("SELECT created_at, received_at FROM ping_results, batches")
        self.assertEqual(row, ("2026-01-07 22:31:30.25",) * 2)

    def test_batches_that_share_a_commit_have_ids_of_their_own(self) -> None:
        """Rule 7: consecutive within each."""
        answers = [self.it.sending(body_of(*[a_trace({"ttl": 1})] * size)) for size in (2, 1, 3)]
        self.it.run()
        self.assertEqual([self.successResultOf(answer).json["received"] for answer in answers], [2, 1, 3])
        self.assertEqual(self.it.rows("SELECT first_id, last_id FROM batches ORDER BY id"), [(1, 2), (3, 3), (4, 6)])
        self.assertEqual([row[0] for row in self.it.rows("SELECT traceroute_id FROM traceroute_hops")], [*range(1, 7)])

    def test_rejected_items_are_kept_with_their_reason(self) -> None:
        """Rules 5 and 7: verbatim."""
        bad = '{"ip" : "nowhere", "sent":1,"received":1, "timestamp":"2026-01-07T22:30:00Z"}'
        answer = self.ok(f"[{json.dumps(a_result())}, {bad}, 7 ]".encode())
        rows = self.it.rows("SELECT batch_id, item_index, field, reason, raw FROM rejected_results ORDER BY id")
        self.assertEqual([row[:3] for row in rows], [(1, 1, "ip"), (1, 2, "")])
        self.assertEqual([row[4] for row in rows], [bad, "7"])
        self.assertEqual([row[3] for row in rows], [error["error"] for error in answer["errors"]])

    def test_64_kib_of_a_rejected_item_are_kept_even_if_the_cut_splits_a_character(self) -> None:
        """Rule 5."""
        item = '["' + "\u00fc" * 50_000 + '"]'
        self.refused(422, f"[{item}]".encode())
        ((raw,),) = self.it.rows("SELECT raw FROM rejected_results")
        self.assertTrue(item.startswith(raw[:-1]))
        self.assertLessEqual(len(raw[:-1].encode()), MOST_RAW_BYTES)
        self.assertGreater(len(raw.encode()), MOST_RAW_BYTES - 4)

    def test_rejects_are_counted_by_reason(self) -> None:
        """Rules 5 and 22: the place in a list and what was sent are no label."""
        self.answer(body_of(BAD, 7, a_trace({"ttl": 1}, {"ttl": 999}), a_trace({"ttl": 999}), a_result(ip="x")))
        self.assertEqual(dict(self.it.stats.rejected), {"sent": 1, "item": 1, "traceroute.hops.ttl": 2, "ip": 1})

    def test_rejects_take_at_most_a_twentieth_of_a_file_and_are_then_only_counted(self) -> None:
        """Rule 5: a broken node must not rotate good data away; over restarts too."""
        self.it.close()
        self.start(max_size_bytes=MIB)
        for round_ in range(4):
            for _ in range(10):
                self.answer(body_of(a_result(), "x" * 4000))
            kept = self.it.rows("SELECT sum(length(CAST(raw AS BLOB)) + length(reason)) FROM rejected_results")[0][0]
            self.assertLessEqual(kept, MIB // 20)
            self.assertGreater(kept, MIB // 20 - 5000 if round_ else 30_000)
            self.it.close()
            self.start(max_size_bytes=MIB)
        self.assertEqual(self.it.rows("SELECT sum(accepted), sum(rejected) FROM batches"), [(40, 40)])

    def test_a_spread_is_kept_beside_its_result(self) -> None:
        """Rule 7: only for results that say so."""
        self.ok(body_of(a_result(), a_result(min_rtt=1, max_rtt=3, stddev_rtt=-1), a_result(min_rtt=-1)))
        self.assertEqual(self.it.rows("SELECT * FROM rtt_spread"), [(2, 1, 3, None)])


class Keys(CollectorTest):
    """Rule 6: a retry with a key is stored once."""

    def setUp(self) -> None:
        super().setUp()
        self.body = body_of(a_result(), a_result())
        self.sender = Sender("vienna", "vienna", "key-1")
        self.first: dict[str, Any] = {"status": "ok", "received": 2}

    def assert_duplicate(self, body: bytes | None = None, sender: Sender | None = None) -> None:
        answer = self.ok(body or self.body, sender or self.sender)
        self.assertEqual(answer, {**self.first, "duplicate": True})

    def test_a_used_key_is_answered_as_the_first_time_and_stores_nothing(self) -> None:
        """Rules 6 and 7: no row for a duplicate."""
        self.assertEqual(self.ok(self.body, self.sender), self.first)
        for _ in range(2):
            self.assert_duplicate()
        self.assertEqual((self.count("ping_results"), self.count("batches")), (2, 1))
        self.assertEqual((self.it.stats.results, self.it.stats.duplicate_posts), (2, 2))

    def test_a_partial_answer_is_given_again_with_its_errors(self) -> None:
        """Rule 6: the first answer."""
        body = body_of(a_result(), *[BAD] * 30)
        self.first = self.ok(body, self.sender)
        self.assertEqual(len(self.first["errors"]), 20)
        self.assert_duplicate(body)
        self.assertEqual(self.count("rejected_results"), 30)

    def test_another_body_under_a_used_key_is_422(self) -> None:
        """Rule 6: whatever that body is."""
        self.ok(self.body, self.sender)
        for body in (self.body + b" ", b"[]", b"{", body_of(BAD)):
            self.refused(422, body, self.sender)
        self.assert_duplicate()
        self.assertEqual((self.count("ping_results"), self.count("batches")), (2, 1))

    def test_a_twin_waits_for_the_first_and_gets_its_answer(self) -> None:
        """Rule 6: while the first is being written."""
        self.it.pools.gates["store"] = gate = Deferred[None]()
        first, twin, third = (self.it.send(self.body, self.sender) for _ in range(3))
        other = self.it.send(self.body, Sender("vienna", "vienna", "key-2"))
        for answer in (first, twin, third, other):
            self.assertNoResult(answer)
        del self.it.pools.gates["store"]
        gate.callback(None)
        self.it.run()
        self.assertEqual(self.successResultOf(first).json, self.first)
        for answer in (twin, third):
            self.assertEqual(self.successResultOf(answer).json, {**self.first, "duplicate": True})
        self.assertEqual(self.successResultOf(other).json, self.first)
        self.assertEqual(self.count("ping_results"), 4)

    def test_a_twin_with_another_body_is_422(self) -> None:
        """Rule 6: also while the first is being written."""
        self.it.pools.gates["store"] = gate = Deferred[None]()
        first, twin = self.it.send(self.body, self.sender), self.it.send(body_of(a_result()), self.sender)
        self.assertNoResult(twin)
        gate.callback(None)
        self.it.run()
        self.assertEqual([self.successResultOf(answer).status for answer in (first, twin)], [200, 422])

    def test_a_twin_of_a_first_that_failed_is_stored(self) -> None:
        """Rule 6: what stored nothing does not use the key up."""
        self.it.pools.gates["store"] = gate = Deferred[None]()
        first, twin = self.it.send(self.body, self.sender), self.it.send(self.body, self.sender)
        self.it.pools.failing["store"] = sqlite3.OperationalError("disk I/O error")
        del self.it.pools.gates["store"]
        gate.callback(None)
        self.assertEqual(self.successResultOf(first).status, 503)
        self.it.pools.failing.clear()
        self.it.run()
        self.assertEqual(self.successResultOf(twin).json, self.first)
        self.assertEqual(self.count("ping_results"), 2)

    def test_an_answer_that_stored_nothing_does_not_use_the_key_up(self) -> None:
        """Rule 6: 400, 413, 422 and 503."""
        self.refused(400, b"{", self.sender)
        self.refused(413, b"[" + b"1," * 200_000 + b"1]", self.sender)
        self.refused(422, body_of(BAD), self.sender)
        self.refused(422, body_of(BAD), self.sender)
        self.ok(b"[]", self.sender)
        self.it.pools.failing["store"] = sqlite3.OperationalError("disk I/O error")
        self.refused(503, self.body, self.sender)
        self.it.pools.failing.clear()
        self.assertEqual(self.ok(self.body, self.sender), self.first)
        self.assert_duplicate()

    def test_the_scope_is_the_nodes_name_or_none_and_never_the_peers_address(self) -> None:
        """Rule 6: an address changes."""
        self.ok(self.body, self.sender)
        self.assertEqual(self.ok(self.body, Sender("graz", "graz", "key-1")), self.first)
        self.assertEqual(self.ok(self.body, Sender("192.0.2.1", "", "key-1")), self.first)
        self.assert_duplicate(sender=Sender("198.51.100.9", "", "key-1"))
        self.assert_duplicate(sender=Sender("graz", "graz", "key-1"))
        self.assertEqual(self.count("ping_results"), 6)

    def test_scope_and_key_do_not_run_into_each_other(self) -> None:
        """Rule 6: `a`, `bc` is not `ab`, `c`."""
        for scope, key in (("a", "bc"), ("ab", "c"), ("", "abc"), ("a", "BC")):
            self.assertEqual(self.ok(self.body, Sender("n", scope, key)), self.first)

    def test_a_key_is_remembered_for_12_hours(self) -> None:
        """Rule 6: and free after them."""
        self.ok(self.body, self.sender)
        self.clock.advance(KEYS_LIVE_S - 1)
        self.assert_duplicate()
        self.clock.advance(2)
        self.assertEqual(self.ok(self.body, self.sender), self.first)
        self.assert_duplicate()
        self.assertEqual((KEYS_LIVE_S, self.count("ping_results")), (12 * 3600, 4))

    def test_an_expired_key_takes_another_body(self) -> None:
        """Rule 6."""
        self.ok(self.body, self.sender)
        self.clock.advance(KEYS_LIVE_S + 1)
        self.assertEqual(self.ok(body_of(a_result()), self.sender), {"status": "ok", "received": 1})

    def test_old_keys_are_forgotten_on_disk(self) -> None:
        """Rule 6: what is not remembered takes no room, and its number is told rightly."""
        self.ok(self.body, self.sender)
        self.clock.advance(KEYS_LIVE_S + 1)
        self.ok(self.body, self.sender)
        self.ok(self.body, Sender("n", "n", "k"))
        self.clock.advance(1)
        Deferred.fromCoroutine(self.it.ledger.keep_up())
        with closing(sqlite3.connect(self.path / "hops.sqlite3")) as db:
            (on_disk,) = db.execute("SELECT count(*) FROM keys").fetchone()
        self.assertEqual((on_disk, self.it.ledger.keys.count), (2, 2))

    def test_a_key_is_remembered_over_a_restart(self) -> None:
        """Rule 6."""
        self.ok(self.body, self.sender)
        self.it.close()
        self.start()
        self.assert_duplicate()
        self.refused(422, b"[]", self.sender)

    def test_keys_are_remembered_over_a_crash_before_the_ledger_was_written(self) -> None:
        """Rule 6: with a node's name and without, and with the errors of a partial answer."""
        partial = body_of(a_result(), *[BAD] * 30)
        used: Sequence[tuple[bytes, Sender]] = (
            (self.body, self.sender),
            (self.body, Sender("192.0.2.1", "", "key-1")),
            (partial, Sender("graz", "graz", "key-1")),
            (self.body, Sender("2001:db8::1", "2001:db8::1", "key-3")),
        )
        for body, sender in used:
            self.it.pools.gates["ledger"] = gate = Deferred[None]()
            answer = self.it.send(body, sender)
            del self.it.pools.gates["ledger"]
            gate.callback(None)  # `used` has been asked
            self.it.pools.gates["ledger"] = Deferred[None]()
            self.it.run()
            self.successResultOf(answer)
        self.assertEqual(self.count("batches"), 4)
        self.it.crash()
        self.start()
        for body, sender in used:
            told = self.ok(body, sender)
            self.assertEqual(told.pop("duplicate", False), True, sender)
            if body == partial:
                self.assertEqual((told["status"], len(told["errors"])), ("partial", 20))
            else:
                self.assertEqual(told, self.first)
        self.assertEqual(self.count("batches"), 4)

    def test_a_key_sent_over_a_unix_socket_is_remembered_over_such_a_crash_too(self) -> None:
        """Rule 6: the peer has no address there, and the scope is none all the same."""
        sender = Sender("local", "", "key-1")
        self.it.pools.gates["ledger"] = gate = Deferred[None]()
        self.it.send(self.body, sender)
        del self.it.pools.gates["ledger"]
        gate.callback(None)
        self.it.pools.gates["ledger"] = Deferred[None]()
        self.it.run()
        self.assertEqual(self.count("batches"), 1)
        self.it.crash()
        self.start()
        self.assert_duplicate(sender=sender)

    def test_a_key_is_remembered_over_rotation_and_retention(self) -> None:
        """Rule 6."""
        self.ok(self.body, self.sender)
        for _ in range(6):
            rotated = Deferred.fromCoroutine(self.it.store.rotate())
            self.it.run()
            self.successResultOf(rotated)
        pruned = self.successResultOf(Deferred.fromCoroutine(self.it.store.prune(2**62)))
        self.assertEqual((len(pruned), self.count("ping_results")), (2, 0))
        self.assert_duplicate()
        self.it.close()
        self.start()
        self.assert_duplicate()

    def test_no_lock_is_left_behind(self) -> None:
        """Rule 6 must not cost memory for ever."""
        before = self.locks()
        for number in range(20):
            self.ok(self.body, Sender("n", "n", f"key-{number}"))
            self.refused(400, b"", Sender("n", "n", f"other-{number}"))
        self.assertEqual(before, self.locks())

    def locks(self) -> int:
        """How many there are in this process."""
        gc.collect()
        return sum(isinstance(each, DeferredLock) for each in gc.get_objects())


class Failures(CollectorTest):
    """Rule 9: nothing is half taken; rule 1: 200 is never said of what is not on disk."""

    def test_a_store_that_fails_is_503_with_retry_after(self) -> None:
        """Rules 7 and 9: no row is left, and the next one is stored."""
        self.it.pools.failing["store"] = sqlite3.OperationalError("database or disk is full")
        answer = self.answer(body_of(a_trace({"ttl": 1, "ip": "10.0.0.1"}), BAD))
        self.assertEqual(answer.status, 503)
        self.assertIn(int(answer.header("Retry-After") or 0), range(1, 61))
        self.assertEqual((self.it.stats.results, self.it.ledger.backlog, self.it.admission.held_bytes), (0, 0, 0))
        self.it.pools.failing.clear()
        self.ok(body_of(a_result()))
        self.assertEqual([self.count(table) for table in ("ping_results", "batches", "rejected_results")], [1, 1, 0])

    def test_a_batch_is_stored_whole_or_not_at_all(self) -> None:
        """Rule 9: a failure between the tables leaves none of its rows."""
        pool = self.it.store.current.pool
        full = "CREATE TEMP TRIGGER full BEFORE INSERT ON main.batches BEGIN SELECT RAISE(FAIL, 'full'); END"
        outcome(pool.run(lambda db: db.execute(full).fetchall()))
        self.refused(503, body_of(a_trace({"ttl": 1, "ip": "10.0.0.1"})))
        outcome(pool.run(lambda db: db.execute("DROP TRIGGER full").fetchall()))
        tables = ("ping_results", "traceroute_results", "traceroute_hops", "batches")
        self.assertEqual([self.count(table) for table in tables], [0, 0, 0, 0])
        self.flushLoggedErrors()
        self.ok(body_of(a_trace({"ttl": 1, "ip": "10.0.0.1"})))
        self.assertEqual([self.count(table) for table in tables], [1, 1, 1, 1])

    def test_a_ledger_that_fails_stops_further_posts_and_takes_up_again(self) -> None:
        """Rules 6 and 18: hops and keys of an answered result are not lost."""
        sender = Sender("n", "n", "k")
        body = body_of(a_trace({"ttl": 1, "ip": "10.0.0.1"}))
        self.it.pools.gates["ledger"] = gate = Deferred[None]()
        answer = self.it.send(body, sender)
        del self.it.pools.gates["ledger"]
        gate.callback(None)
        self.it.pools.failing["ledger"] = sqlite3.OperationalError("disk I/O error")
        self.it.run()
        self.assertEqual(self.successResultOf(answer).status, 200)
        self.assertIn("ledger", self.refused(503, body_of(a_result()))["detail"])
        self.it.pools.failing.clear()
        Deferred.fromCoroutine(self.it.ledger.keep_up())
        self.it.run()
        self.assertEqual((self.it.ledger.failure, self.it.ledger.backlog), (None, 1))
        self.assertEqual(self.ok(body, sender)["duplicate"], True)
        self.flushLoggedErrors()

    def test_the_memory_of_rows_is_held_until_the_answer_and_then_free(self) -> None:
        """Rule 9: beside that of the body."""
        self.it.pools.gates["store"] = gate = Deferred[None]()
        body = body_of(*[a_result()] * 100)
        answer = self.it.send(body)
        self.assertGreater(self.it.admission.held_bytes, len(body))
        del self.it.pools.gates["store"]
        gate.callback(None)
        self.it.run()
        self.successResultOf(answer)
        self.assertEqual(self.it.admission.held_bytes, 0)

    def test_room_for_rows_is_found_before_they_are_made(self) -> None:
        """Rule 9: a body that finds none is not even parsed."""
        body = body_of(*[a_result()] * 100)
        self.it.admission.change(64 * MIB - 2 * len(body))
        self.refused(503, body)
        self.assertEqual((0, 64 * MIB - 2 * len(body)), (self.it.stats.offered, self.it.admission.held_bytes))

    def test_a_heavy_body_is_taken_beside_one_that_trickles(self) -> None:
        """Rule 9: what is taken alone is not refused for ever where a byte of another is held, in any coding."""
        body = body_of(a_trace(*[{"ttl": 1}] * 1000))
        self.it.admission.limit_bytes = 8 * len(body)
        self.it.admission.change(1)
        self.ok(body)
        zipped = self.it.sending(gzip.compress(body), is_gzip=True)
        self.it.run()
        self.assertEqual((200, 1), (self.successResultOf(zipped).status, self.it.admission.held_bytes))

    def test_rejected_items_are_held_too(self) -> None:
        """Rule 9: 131,000 of them take some 30 MiB, and their text comes on top."""
        body = b"[%s]" % b",".join([b"1"] * 1000)
        self.it.pools.gates["store"] = Deferred[None]()
        self.it.send(body)
        self.assertGreater(self.it.admission.held_bytes, len(body) + 1000 * 200)

    def test_new_addresses_are_held_too(self) -> None:
        """Rule 9: until the ledger has them."""
        body = body_of(a_trace(*many_hops(1000)))
        self.it.pools.gates["store"] = Deferred[None]()
        self.it.send(body)
        self.assertGreater(self.it.admission.held_bytes, 1000 * (5 * 24 + 256))

    def test_a_body_is_not_held_beside_its_rows(self) -> None:
        """Rule 9: it is not needed any more."""
        body = body_of(a_result(error="x" * 1_000_000))
        self.it.pools.gates["store"] = Deferred[None]()
        self.it.send(body)
        self.assertLess(self.it.admission.held_bytes, 1_100_000)

    def test_what_is_long_in_its_items_is_not_read_in_the_reactor(self) -> None:
        """Rule 9: 8 KB that decode to 131,000 items would hold up all others, and so would an emoji in a long text."""
        for body in (
            b"[%s1]" % (b"1," * 131_070), b"[%s1]" % (b"{}," * 20_000), body_of(a_trace(*[{"ttl": 1}] * 30_000)),
            b'["%s\xf0\x9f\x98\x80"]' % (b"x" * 500_000),
        ):  # fmt: skip
            before = self.it.works_in_thread
            self.answer(body)
            self.assertGreater(self.it.works_in_thread, before, body[:20])

    def test_what_is_stored_counts_for_the_drain_rate(self) -> None:
        """Rule 9: Retry-After is measured, in the memory that a body and its rows hold."""
        body, held = body_of(*[a_result()] * 1000), []
        for _ in range(20):
            self.it.pools.gates["store"] = gate = Deferred[None]()
            answer = self.it.send(body)
            held.append(self.it.admission.held_bytes)
            self.clock.advance(1)
            del self.it.pools.gates["store"]
            gate.callback(None)
            self.it.run()
            self.successResultOf(answer)
        self.it.admission.change(64 * MIB)
        self.assertEqual(self.it.admission.retry_after_s(), 60)
        self.it.admission.change(-64 * MIB)
        self.it.admission.change(10 * held[-1])
        self.assertIn(self.it.admission.retry_after_s(), range(8, 13))
