"""A directory that 0.0.1 left behind goes on without loss; a number is that of a rule of the contract."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from outputd.ledger.ledger import SCHEMA as LEDGER
from outputd.sqlite.connections import reading, writing
from outputd.sqlite.files import make_empty, wal_of
from outputd.store.file import SCHEMA as RESULTS
from outputd.store.file import describe
from tests.kit.layout import layout
from tests.kit.makers import a_trace, body_of
from tests.kit.old import SCHEMAS, Left, Posted, left_by_0_0_1
from tests.kit.running import Running, eventually
from tests.kit.wire import Reply
from tests.system.files import is_self_contained
from tests.system.harness import free_port
from tests.system.inputservice import InputService

_RESULTS = "SELECT id, ip, sent, received, timestamp FROM ping_results ORDER BY id"


class Upgrade(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.left: Left = left_by_0_0_1(self.path, time.time())
        self.input_service = InputService(free_port()).open()
        self.addCleanup(self.input_service.close)

    def start(self) -> None:
        self.service = Running(self.path, f"--input-url={self.input_service.url}").start()

    async def retry(self, post: Posted, body: bytes | None = None) -> Reply:
        assert post.key is not None
        return await self.service.post(body or post.body, X_Ping_Node=post.node, Idempotency_Key=post.key)

    def test_it_is_left_as_by_a_kill(self) -> None:
        """What is shown here needs a WAL of the current file, of the one before, and of the ledger."""
        for path in (self.left.half_closed, self.left.current, self.path / "hops.sqlite3"):
            self.assertGreater(wal_of(path).stat().st_size, 0, path)
        self.assertTrue(is_self_contained(self.left.whole))

    async def test_no_result_is_lost_and_every_hop_that_was_owed_arrives_once(self) -> None:
        """Rules 1, 11, 12, 13 and 18."""
        left, before = self.left, self.left.whole.read_bytes()
        self.start()
        await eventually(lambda: self.input_service.taken.keys() >= left.owed)
        new = await self.service.post(body_of(a_trace({"ttl": 1, "ip": "10.9.9.9"})))
        self.assertEqual({"status": "ok", "received": 1}, new.json)
        await eventually(lambda: self.input_service.has("10.9.9.9"))
        await eventually(lambda: is_self_contained(left.half_closed))
        stats = (await self.service.ask("GET", "/stats", port="health-port")).json
        self.assertEqual(left.current.name, stats["current_db_file"])
        await self.service.stop()

        self.assertEqual({hop: 1 for hop in left.owed | {"10.9.9.9"}}, dict(self.input_service.taken))
        self.assertEqual([], self.input_service.faults)
        rows = self.service.rows(_RESULTS)
        self.assertEqual(left.results, rows[:-1])
        self.assertEqual(len(left.results) + 1, rows[-1][0])
        self.assertEqual([7], self.ids("batches")[-1:])
        hops = 3 * len(left.results) + 1
        self.assertEqual(list(range(1, hops + 1)), self.ids("traceroute_hops"))
        self.assertEqual([(2, 3, "ip")], self.service.rows("SELECT batch_id, item_index, field FROM rejected_results"))
        self.assertEqual(before, left.whole.read_bytes())
        files = sorted(self.path.glob("*.db"))
        self.assertEqual([left.whole, left.half_closed, left.current], files)
        self.assertTrue(all(map(is_self_contained, files)))
        with reading(left.current) as db:
            self.assertTrue(RESULTS.is_newest(db))
        self.assertEqual([None, 32], [info.instance and len(info.instance) for info in map(describe, files[1:])])
        with reading(self.path / "hops.sqlite3") as db:
            self.assertTrue(LEDGER.is_newest(db))

    def ids(self, table: str) -> list[int]:
        return [number for (number,) in self.service.rows(f"SELECT id FROM {table} ORDER BY id")]

    async def test_a_retry_is_stored_once_whether_the_ledger_had_heard_of_its_key_or_not(self) -> None:
        """Rule 6."""
        self.start()
        for post in (self.left.known_to_ledger, self.left.unknown_to_ledger):
            again = await self.retry(post)
            self.assertEqual((200, {**post.answer, "duplicate": True}), (again.status, again.json))
            self.assertEqual(422, (await self.retry(post, b"[]")).status)
        await self.service.stop()
        self.assertEqual(self.left.results, self.service.rows(_RESULTS))

    async def test_the_questions_count_what_is_in_all_of_its_files(self) -> None:
        """Its summary is made anew; files of both versions are asked."""
        self.start()

        async def asked(path: str) -> Any:
            return (await self.service.ask("GET", path, port="health-port")).json

        await self.service.parts.summary.up_to_date(30.0)
        nodes = {row["node"]: row["results"] for row in (await asked("/nodes"))["nodes"]}
        self.assertEqual({"node-0": 9, "node-1": 9}, nodes)
        self.assertEqual(18, len(await asked("/recent?limit=100")))
        hop = await asked("/hops/10.0.0.1")
        self.assertEqual("10.0.0.1", hop["ip"], json.dumps(hop))
        await self.service.stop()


class Frozen(TestCase):
    """The first version of each schema is what 0.0.1 was released with, and the steps begin there."""

    def test_ours_are_reached_from_those_of_0_0_1(self) -> None:
        """Rule 13."""
        place = Path(self.mktemp())
        place.mkdir()
        for name, schema in (("results", RESULTS), ("ledger", LEDGER)):
            old, new = place / f"{name}.db", place / f"{name}-new.db"
            make_empty(old)
            make_empty(new)
            with writing(old) as db, writing(new) as anew:
                db.executescript((SCHEMAS / f"{name}.sql").read_text())
                db.executescript(f"PRAGMA user_version=1; PRAGMA application_id={schema.application_id};")
                schema.bring_up(db)
                schema.bring_up(anew)
                self.assertEqual(layout(anew), layout(db))
                self.assertTrue(schema.is_newest(db))

    def test_what_was_released_is_not_changed(self) -> None:
        for name, schema in (("results", RESULTS), ("ledger", LEDGER)):
            self.assertEqual((SCHEMAS / f"{name}.sql").read_text(), schema.directory.joinpath("1.sql").read_text())
