"""What the checks of /health promise; a number is that of a rule of the contract."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.api import openapi
from outputd.api.checks import DECLARED
from outputd.api.disk import PATIENCE_S
from outputd.client.delivery import PeerState
from outputd.intake.admission import Admission
from outputd.process.trouble import Failure, Kind
from outputd.security.access import Access
from outputd.store.directory import DataDir
from outputd.web.routes import Routes
from outputd.web.site import Site
from tests.kit.bench import EPOCH, Bench
from tests.kit.document import Document
from tests.kit.makers import a_result, a_trace
from tests.kit.pools import FULL, P, T, sqlite_error
from tests.kit.wire import Reply, over_the_wire, parsed

NOW = "2026-01-07T22:30:45Z"
DOCUMENT = Document(json.loads(openapi.text()))


class Directory(DataDir):
    """A directory on a disk that has as much room as it is told, or an error."""

    free: int | OSError = 1 << 40

    def free_bytes(self) -> int:
        if isinstance(self.free, OSError):
            raise self.free
        return self.free


class Archived:
    """What the check asks of an archive."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.lag_s = 0.0
        self.backlog_bytes = 0
        self.max_backlog_bytes = 10 << 20
        self.lost_batches = 0


class Hooked:
    """What the check asks of a webhook."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.waiting = self.dropped = self.refused = 0


class ChecksTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = bench = Bench(Path(self.mktemp()))
        self.directory = Directory(bench.path)
        self.hangs: Deferred[None] | None = None
        self.looks = 0
        self.state: PeerState | None = PeerState("ok", "", EPOCH, None)
        self.unreadable: dict[str, Failure] = {}
        bench.in_thread = self.in_thread
        self.counted_share: float | None = None
        self.archive = Archived()
        self.webhook = Hooked()
        health = bench.health(
            self.directory, lambda: self.unreadable, feed=lambda: self.state, counted_share=lambda: self.counted_share,
            archive=self.archive, webhook=self.webhook,
        )  # fmt: skip
        room = Admission(1 << 20, bench.clock.seconds)
        self.site = Site(Routes(health.routes()), bench.clock, room, 64 << 10, 200, Access())

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.looks += 1
        if self.hangs is not None:
            await self.hangs
        return work(*args, **kwargs)

    def ask(self, path: str = "/health") -> Callable[[], Reply | None]:
        """What is answered, once it is."""
        _, transport = over_the_wire(self.site, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.bench.clock.advance(0)
        return lambda: parsed(transport.value()) if transport.value() else None

    def health(self) -> Any:
        """The checks, as /health has them; the answer is held against the document."""
        reply = self.ask()()
        assert reply is not None, "it waits"
        headers = {name.decode(): values[-1].decode() for name, values in reply.headers.getAllRawHeaders()}
        self.assertEqual([], DOCUMENT.faults("GET", "/health", reply.status, headers, reply.body))
        return reply.json["checks"]


class Declarations(ChecksTest):
    def test_each_check_says_what_the_document_allows_and_all_of_it(self) -> None:
        """Rule 20."""
        seen: set[tuple[str, str]] = set()

        def look() -> None:
            seen.update((name, check["status"]) for name, check in self.health().items())

        look()
        for kind in (Kind.OTHER, Kind.FULL):
            self.bench.store.trouble.begin("no more", kind)
            look()
        self.bench.store.trouble.end()
        self.unreadable["results_2026-01-07_22-30-45.db"] = Failure("malformed", EPOCH)
        self.directory.free = 1 << 20
        self.fail_to_rotate()
        self.bench.doors.make_room([], 1000, "")
        self.state = PeerState("outage", "no", EPOCH, None)
        self.archive.failure = Failure("no", EPOCH)
        self.webhook.failure = Failure("no", EPOCH)
        look()
        self.state = None
        look()
        allowed = {(check.name, status) for check in DECLARED for status in check.statuses}
        self.assertEqual(allowed, seen)

    def test_an_archive_that_cannot_be_reached_is_a_warning_with_what_waits(self) -> None:
        """Rule 20."""
        self.archive.failure = Failure("connection refused", EPOCH)
        self.archive.lag_s, self.archive.backlog_bytes, self.archive.lost_batches = 61.4, 5 << 20, 3
        self.assertEqual(
            {
                "status": "warn", "reason": "connection refused", "since": NOW, "lag_seconds": 61,
                "backlog_bytes": 5 << 20, "max_backlog_bytes": 10 << 20, "lost_batches": 3,
            },
            self.health()["archive"],
        )  # fmt: skip

    def test_a_webhook_that_takes_nothing_is_a_warning_with_what_waits_and_what_is_lost(self) -> None:
        """Rule 20."""
        self.webhook.failure = Failure("it answers 503", EPOCH)
        self.webhook.waiting, self.webhook.dropped, self.webhook.refused = 10_000, 2, 1
        self.assertEqual(
            {
                "status": "warn", "reason": "it answers 503", "since": NOW, "waiting_changes": 10_000,
                "dropped_changes": 2, "refused_changes": 1,
            },
            self.health()["webhook"],
        )  # fmt: skip

    def test_how_far_the_summary_has_come_is_a_figure_while_it_is_made(self) -> None:
        self.assertNotIn("counted_percent", self.health()["database"])
        self.counted_share = 0.427
        self.assertEqual(("ok", 42), tuple(self.health()["database"][name] for name in ("status", "counted_percent")))

    def test_who_is_turned_away_is_a_warning_for_a_minute(self) -> None:
        """Rule 8: it may be a node."""
        self.bench.clock.advance(10)
        self.bench.doors.make_room([], 1000, "")
        self.bench.clock.advance(30)
        reason = "the port for results refuses connections: all 1000 places are taken"
        told = {"status": "warn", "reason": reason, "since": "2026-01-07T22:30:55Z", "turned_away": 1}
        self.assertEqual(told, self.health()["connections"])
        self.bench.clock.advance(31)
        self.assertEqual({"status": "ok", "turned_away": 1}, self.health()["connections"])

    def test_only_the_database_and_the_disk_can_fail(self) -> None:
        """Rule 20."""
        self.assertEqual(["database", "disk"], [check.name for check in DECLARED if "fail" in check.statuses])

    def fail_to_rotate(self) -> None:
        self.bench.pools.failing["store"] = sqlite3.OperationalError("disk I/O error")
        self.bench.clock.advance(7 * 86_400)
        self.bench.outcome(self.bench.rotation.ask())


class TakenAway(ChecksTest):
    """Rule 20: what somebody has done to a file is said as it is."""

    def rotate(self) -> dict[str, Any]:
        self.bench.outcome(self.bench.store.rotate())
        database: dict[str, Any] = self.health()["database"]
        return database

    def test_a_file_that_was_replaced_is_named_with_the_one_that_has_what_it_held(self) -> None:
        self.bench.keep(a_result())
        old = self.bench.store.current.info.path
        other = old.with_suffix(".new")
        other.write_bytes(b"another file")
        os.replace(other, old)
        database, rescued = self.rotate(), self.bench.store.files[0].path
        reason = f"{old.name}: it was replaced by someone else; what it held is in {rescued.name}"
        self.assertEqual({"status": "warn", "reason": reason, "since": NOW, "waiting_posts": 0}, database)

    def test_one_that_cannot_be_written_again_says_why(self) -> None:
        """It is not always the room."""
        self.bench.keep(a_result())
        old = self.bench.store.current.info.path
        old.unlink()
        temporary = DataDir.temporary
        nowhere = Path("/proc/sys/kernel/rescued")
        self.patch(DataDir, "temporary", lambda it, kind: nowhere if kind == "rescued" else temporary(it, kind))
        database = self.rotate()
        self.assertEqual("warn", database["status"])
        self.assertIn(f"{old.name} was deleted by someone else, and not yet written again: ", database["reason"])
        self.assertIn(str(nowhere), database["reason"])


class Reasons(ChecksTest):
    """Rule 20: what a failure is follows from its number; its words are for people."""

    def statuses(self, error: Exception) -> list[str]:
        """What the database and the disk say after a POST that met this error."""
        self.bench.pools.failing["store"] = error
        self.bench.posting(a_result())
        checks = self.health()
        return [checks[name]["status"] for name in ("database", "disk")]

    def test_a_path_that_speaks_of_a_full_disk_fills_none(self) -> None:
        path = "/mnt/quota/full-backup/results_2026-01-07_22-30-45.db"
        self.assertEqual(["fail", "ok"], self.statuses(OSError(errno.EIO, os.strerror(errno.EIO), path)))

    def test_a_full_disk_is_the_disk_s_whoever_tells_of_it(self) -> None:
        for error in (OSError(errno.ENOSPC, "!"), OSError(errno.EDQUOT, "!"), sqlite_error("!", FULL[1])):
            self.assertEqual(["ok", "fail"], self.statuses(error))


class Hanging(ChecksTest):
    """Rule 20: a disk that does not answer a write looks like no failure, and is one all the same."""

    def database(self, seconds: float) -> Any:
        self.bench.clock.advance(seconds)
        return self.health()["database"]

    def test_a_commit_that_takes_long_warns_and_then_fails(self) -> None:
        self.bench.pools.gates["store"] = gate = Deferred[None]()
        self.bench.posting(a_result())
        self.assertEqual("ok", self.database(4)["status"])
        slow = self.database(2)
        self.assertEqual(("warn", NOW), (slow["status"], slow["since"]))
        self.assertEqual("warn", self.database(8.9)["status"])
        hanging = self.database(1)
        self.assertEqual("fail", hanging["status"])
        self.assertIn("has not answered a write for 16 s", hanging["reason"])
        gate.callback(None)
        self.assertEqual("ok", self.database(0)["status"])

    def test_so_does_the_ledger_s(self) -> None:
        self.bench.pools.gates["ledger"] = gate = Deferred[None]()
        self.bench.posting(a_trace({"ttl": 1, "ip": "10.0.0.1"}))
        self.bench.clock.advance(5)
        answer = self.ask()
        self.bench.clock.advance(3)  # it waits for the ledger, so that every count is up to date, but not for long
        reply = answer()
        assert reply is not None, "it waits"
        self.assertEqual("warn", reply.json["checks"]["database"]["status"])
        gate.callback(None)


class Disks(ChecksTest):
    def test_a_disk_that_does_not_answer_is_a_warning_in_time(self) -> None:
        """Rule 20: with the reason, and since when."""
        self.hangs = Deferred()
        answer = self.ask()
        self.bench.clock.advance(PATIENCE_S - 0.1)
        self.assertIsNone(answer())
        self.bench.clock.advance(0.1)
        reply = answer()
        assert reply is not None
        self.assertEqual((200, "healthy"), (reply.status, reply.json["status"]))
        self.assertEqual(
            {
                "status": "warn", "reason": f"{self.bench.path}: the disk has not answered for 2 s", "since": NOW,
                "free_bytes": None,
            },
            reply.json["checks"]["disk"],
        )  # fmt: skip

    def test_who_asks_it_again_waits_no_more_and_takes_no_other_thread(self) -> None:
        self.hangs = Deferred()
        self.ask()
        self.bench.clock.advance(PATIENCE_S)
        for path in ("/health", "/metrics", "/health"):
            self.assertIsNotNone(self.ask(path)(), path)
        self.assertEqual("2026-01-07T22:30:45Z", self.health()["disk"]["since"])
        self.assertEqual(1, self.looks)

    def test_those_who_ask_at_once_share_a_look(self) -> None:
        self.hangs = Deferred()
        answers = [self.ask(), self.ask(), self.ask("/metrics")]
        self.hangs.callback(None)
        self.assertEqual([200, 200, 200], [reply.status if (reply := answer()) else None for answer in answers])

    def test_it_is_well_again_once_it_answers(self) -> None:
        self.hangs = Deferred()
        self.ask()
        self.bench.clock.advance(PATIENCE_S)
        self.hangs.callback(None)
        self.hangs = None
        self.assertEqual({"status": "ok", "free_bytes": 1 << 40}, self.health()["disk"])

    def test_a_directory_without_permissions_fails_and_breaks_nothing(self) -> None:
        self.directory.free = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        reason = f"{self.bench.path}: Permission denied"
        for _ in range(3):
            self.assertEqual(
                {"status": "fail", "reason": reason, "since": NOW, "free_bytes": None}, self.health()["disk"]
            )
            self.bench.clock.advance(60)
        self.directory.free = 1 << 40
        self.assertEqual("ok", self.health()["disk"]["status"])

    def test_a_file_in_the_place_of_the_directory_is_no_error_of_ours(self) -> None:
        """Neither a WAL nor a damaged file can be looked for below it."""
        self.bench.path.rename(self.bench.path.with_suffix(".away"))
        self.bench.path.touch()
        self.directory.free = NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        checks = self.health()
        self.assertEqual(("fail", 0), (checks["disk"]["status"], checks["rotation"]["wal_bytes"]))

    def test_metrics_without_an_answer_lack_this_figure_alone(self) -> None:
        self.hangs = Deferred()
        answer = self.ask("/metrics")
        self.bench.clock.advance(PATIENCE_S)
        reply = answer()
        assert reply is not None
        (text,) = re.findall(rb"(?m)^output_service_disk_free_bytes (\S+)$", reply.body)
        self.assertTrue(math.isnan(float(text)))
