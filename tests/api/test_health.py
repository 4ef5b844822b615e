"""What the site of --health-port promises; a number is that of a rule of the contract."""

from __future__ import annotations

import math
import re
import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd import __version__
from outputd.api.health import go_duration
from outputd.client.delivery import PeerState
from outputd.intake.admission import Admission
from outputd.ledger.keeping_up import Upkeep
from outputd.process.trouble import Failure, Kind
from outputd.security.access import Access
from outputd.store.directory import DataDir
from outputd.web.routes import Routes
from outputd.web.site import Site
from tests.kit.bench import EPOCH, Bench
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.wire import Reply, get, over_the_wire, parsed

NOW = "2026-01-07T22:30:45Z"


class Directory(DataDir):
    """A directory on a disk whose room is told."""

    free: int | None = 1 << 40

    def free_bytes(self) -> int:
        return super().free_bytes() if self.free is None else self.free


class HealthTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.disk = Directory(self.bench.path)
        self.state: PeerState | None = PeerState("ok", "", EPOCH, None)
        self.summing_up: Failure | None = None
        self.looking_for_changes: Failure | None = None
        self.stopping = False
        bench = self.bench
        questions = bench.questions()
        health = bench.health(
            self.disk, lambda: questions.unreadable, lambda: self.summing_up, lambda: self.state,
            lambda: self.stopping, looking_for_changes=lambda: self.looking_for_changes,
        )  # fmt: skip
        self.site = Site(
            Routes([*health.routes(), *questions.routes()]), bench.clock, Admission(1 << 20, bench.clock.seconds),
            64 << 10, 200, Access(),
        )  # fmt: skip

    def get(self, path: str) -> Reply:
        """An answer, after the store's turn should it want one."""
        _, transport = over_the_wire(self.site, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.bench.clock.advance(0)
        return parsed(transport.value())

    def health(self) -> Any:
        return self.get("/health").json

    def break_down(self, what: str, error: str) -> None:
        self.bench.pools.failing[what] = sqlite3.OperationalError(error)
        self.bench.posting(a_trace(*many_hops(1)))
        self.flushLoggedErrors()


class Figures(HealthTest):
    def test_as_in_the_spec(self) -> None:
        """Rule 20."""
        health = self.health()
        self.assertEqual(list(health), ["status", "version", "uptime", "stats", "checks"])
        self.assertEqual((health["status"], health["version"], health["uptime"]), ("healthy", __version__, "0s"))
        size = self.bench.store.current.size_bytes
        self.assertEqual(
            list(health["stats"].items()),
            [
                ("total_results", 0), ("successful_pings", 0), ("failed_pings", 0), ("hops_discovered", 0),
                ("hops_sent", 0), ("last_result_time", None), ("current_db_file", "results_2026-01-07_22-30-45.db"),
                ("current_db_size", size), ("last_rotation", NOW),
            ],
        )  # fmt: skip
        self.assertGreater(size, 0)

    def test_counts_are_up_to_date_before_the_post_is_answered(self) -> None:
        """Rule 20."""
        self.bench.post(a_result(), a_result(received=0), a_trace(*many_hops(3)), {"ip": 1})
        stats = self.health()["stats"]
        counts = [stats[name] for name in ("total_results", "successful_pings", "failed_pings", "hops_discovered")]
        self.assertEqual(counts, [3, 2, 1, 3])
        self.assertEqual(stats["last_result_time"], "2026-01-07T22:30:00Z")

    def test_whoever_asks_waits_until_the_hops_of_all_answered_posts_are_counted(self) -> None:
        """Rule 20: the ledger writes after the answer."""
        for path in ("/health", "/stats", "/metrics"):
            gate = self.bench.pools.gates["ledger"] = Deferred[None]()
            self.bench.posting(a_trace(*many_hops(2, first=2 * self.bench.stats.hops_discovered)))
            before = self.bench.stats.hops_discovered
            _, transport = over_the_wire(self.site, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            self.bench.clock.advance(1)
            self.assertEqual((transport.value(), self.bench.stats.hops_discovered), (b"", before))
            gate.callback(None)
            self.bench.clock.advance(0)
            self.assertEqual(parsed(transport.value()).status, 200)
            self.assertEqual(self.bench.stats.hops_discovered, before + 2)

    def test_a_ledger_that_hangs_keeps_no_answer_back(self) -> None:
        """Rule 20: for 2 s at most."""
        self.bench.pools.gates["ledger"] = Deferred[None]()
        self.bench.posting(a_trace(*many_hops(2)))
        _, transport = over_the_wire(self.site, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.bench.clock.advance(2)
        self.assertEqual(parsed(transport.value()).status, 200)

    def test_counts_are_since_the_start_of_the_process(self) -> None:
        """Rule 20."""
        self.bench.post(a_result())
        self.bench.stop()
        self.bench.start()
        self.assertEqual(self.bench.stats.results, 0)

    def test_a_time_that_cannot_be_is_never_the_last(self) -> None:
        """Rule 4: between 1970 and a day from now."""
        for time in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-01-09T00:00:00Z", "9999-12-31T23:59:59Z"):
            self.bench.post(a_result(timestamp=time))
        self.assertIsNone(self.health()["stats"]["last_result_time"])
        self.bench.post(a_result(timestamp="2026-01-08T22:30:00Z"), a_result(timestamp="2026-01-01T00:00:00Z"))
        self.assertEqual(self.health()["stats"]["last_result_time"], "2026-01-08T22:30:00Z")

    def test_the_last_rotation_is_the_current_file_s_creation(self) -> None:
        """Rule 20."""
        self.bench.clock.advance(3600)
        self.bench.outcome(self.bench.rotation.rotate("asked for"))
        stats = self.health()["stats"]
        self.assertEqual(stats["last_rotation"], "2026-01-07T23:30:45Z")
        self.assertEqual(stats["current_db_file"], "results_2026-01-07_23-30-45.db")

    def test_stats_are_those_of_health(self) -> None:
        """Rule 20: the spec's /stats."""
        self.bench.post(a_result())
        self.assertEqual(self.get("/stats").json, self.health()["stats"])

    def test_uptime_is_go_s_duration_text(self) -> None:
        """Rule 20."""
        for seconds, text in {
            0: "0s", 0.9: "0s", 1: "1s", 59.99: "59s", 60: "1m0s", 61: "1m1s", 3599: "59m59s", 3600: "1h0m0s",
            8130: "2h15m30s", 86_400: "24h0m0s", 360_000: "100h0m0s", -1: "0s",
        }.items():  # fmt: skip
            self.assertEqual(go_duration(seconds), text)
        self.bench.clock.advance(8130)
        self.assertEqual(self.health()["uptime"], "2h15m30s")


class Checks(HealthTest):
    def test_all_of_them_ok(self) -> None:
        """Rule 20."""
        checks = self.health()["checks"]
        self.assertEqual(
            {name: check["status"] for name, check in checks.items()},
            dict.fromkeys(("database", "disk", "rotation", "input_service", "connections", "archive", "webhook"), "ok"),
        )

    def test_a_store_that_fails_is_unhealthy_with_reason_and_since_when(self) -> None:
        """Rule 20: results are not being stored."""
        self.break_down("store", "disk I/O error")
        self.bench.clock.advance(60)
        reply = self.get("/health")
        self.assertEqual((reply.status, reply.json["status"]), (503, "unhealthy"))
        check = reply.json["checks"]["database"]
        self.assertEqual((check["status"], check["reason"], check["since"]), ("fail", "disk I/O error", NOW))
        self.assertEqual(reply.json["checks"]["disk"]["status"], "ok")
        self.assertEqual(list(reply.json), ["status", "version", "uptime", "stats", "checks"])

    def test_a_full_disk_is_the_disk_s(self) -> None:
        """Rule 20."""
        self.bench.fill_the_disk(self.bench.pool())
        self.bench.posting(*[a_result(error="x" * 500)] * 500)
        self.bench.clock.advance(5)
        reply = self.get("/health")
        self.assertEqual((reply.status, reply.json["status"]), (503, "unhealthy"))
        check = reply.json["checks"]["disk"]
        self.assertEqual((check["status"], check["since"], check["free_bytes"]), ("fail", NOW, 1 << 40))
        self.assertIn("full", check["reason"])

    def test_it_is_healthy_again_once_results_are_stored(self) -> None:
        """Rule 20."""
        self.break_down("store", "disk I/O error")
        self.bench.pools.failing.clear()
        self.assertEqual(self.bench.post(a_result()).status, 200)
        self.assertEqual(self.get("/health").status, 200)

    def test_a_ledger_that_fails_is_the_database_s(self) -> None:
        """Rule 20: POSTs are refused meanwhile."""
        self.break_down("ledger", "disk I/O error")
        self.bench.clock.advance(60)
        reply = self.get("/health")
        self.assertEqual((reply.status, reply.json["status"]), (503, "unhealthy"))
        check = reply.json["checks"]["database"]
        self.assertEqual(check["status"], "fail")
        self.assertIn("disk I/O error", check["reason"])
        self.assertEqual(check.get("since"), NOW, "since when")

    def test_a_summary_that_falls_behind_is_a_warning(self) -> None:
        """Rule 20: results are stored all the same."""
        self.summing_up = Failure("attempt to write a readonly database", EPOCH)
        health = self.health()
        check = health["checks"]["database"]
        self.assertEqual((health["status"], check["status"], check["since"]), ("healthy", "warn", NOW))
        self.assertIn("attempt to write a readonly database", check["reason"])

    def test_a_list_of_changes_that_falls_behind_is_a_warning(self) -> None:
        self.looking_for_changes = Failure("attempt to write a readonly database", EPOCH)
        check = self.health()["checks"]["database"]
        self.assertEqual((check["status"], check["since"]), ("warn", NOW))
        self.assertIn("/changes lacks", check["reason"])

    def test_a_summary_without_room_is_the_disk_s_matter(self) -> None:
        """Rule 20: one cause, one check."""
        self.summing_up = Failure("less than 200 MiB are free", EPOCH, Kind.FULL)
        self.assertEqual(self.health()["checks"]["database"]["status"], "ok")

    def test_little_room_is_a_warning(self) -> None:
        """Rule 20."""
        self.disk.__class__.free, before = 150 << 20, self.disk.free
        self.addCleanup(setattr, self.disk.__class__, "free", before)
        reply = self.get("/health")
        self.assertEqual((reply.status, reply.json["status"]), (200, "healthy"))
        check = reply.json["checks"]["disk"]
        self.assertEqual((check["status"], check["free_bytes"]), ("warn", 150 << 20))
        self.assertTrue(check["reason"])

    def test_a_dead_input_service_is_a_warning_and_never_more(self) -> None:
        """Rule 20: nobody is paged for a neighbour."""
        self.bench.post(a_trace(*many_hops(3)))
        self.state = PeerState("outage", "ConnectionRefusedError: no", EPOCH - 3600, EPOCH + 30)
        self.bench.clock.advance(86_400)
        reply = self.get("/health")
        self.assertEqual((reply.status, reply.json["status"]), (200, "healthy"))
        check = reply.json["checks"]["input_service"]
        self.assertEqual(check["status"], "warn")
        self.assertEqual(check["reason"], "ConnectionRefusedError: no")
        self.assertEqual(check["since"], "2026-01-07T21:30:45Z")
        self.assertEqual((check["waiting_hops"], check["refused_hops"]), (3, 0))

    def test_a_feed_that_is_turned_off_is_no_warning(self) -> None:
        """Rules 18 and 20."""
        self.state = None
        self.assertEqual(self.health()["checks"]["input_service"]["status"], "ok")

    def test_a_rotation_that_fails_is_a_warning_with_reason_and_since_when(self) -> None:
        """Rule 20: results are being stored all the same."""

        async def no_thread(work: Any, *args: Any, **kwargs: Any) -> Any:
            raise OSError(28, "No space left on device")

        self.bench.store_thread = no_thread
        self.bench.clock.advance(7 * 86_400)
        self.bench.outcome(self.bench.rotation.ask())
        self.bench.clock.advance(60)
        self.bench.outcome(self.bench.rotation.ask())
        self.flushLoggedErrors(OSError)
        reply = self.get("/health")
        self.assertEqual((reply.status, reply.json["status"]), (200, "healthy"))
        check = reply.json["checks"]["rotation"]
        self.assertEqual(check["status"], "warn")
        self.assertIn("No space left", check["reason"])
        self.assertEqual(check.get("since"), "2026-01-14T22:30:45Z", "since when")

    def test_figures_of_the_rotation(self) -> None:
        """Rule 20."""
        self.bench.clock.advance(100)
        check = self.health()["checks"]["rotation"]
        self.assertEqual(
            (check["age_seconds"], check["max_age_seconds"], check["files"], check["keep_files"]), (100, 604_800, 1, 5)
        )
        self.assertEqual(
            (check["size_bytes"], check["max_size_bytes"]), (self.bench.store.current.size_bytes, 100 << 20)
        )


class Ready(HealthTest):
    """Rule 21: 200 while results can be committed."""

    def test_after_a_commit_of_the_last_second(self) -> None:
        """Rule 21."""
        self.bench.post(a_result())
        self.assertEqual(get(self.site, "/ready").status, 200)

    def test_else_a_write_is_tried(self) -> None:
        """Rule 21."""
        self.bench.clock.advance(100)
        self.assertEqual(self.get("/ready").status, 200)
        self.assertEqual([posts for _, posts in self.bench.commits], [0])

    def test_not_while_nothing_can_be_committed(self) -> None:
        """Rule 21: with a reason."""
        self.bench.pools.failing["store"] = sqlite3.OperationalError("database or disk is full")
        reply = self.get("/ready")
        self.assertEqual((reply.status, reply.header("Content-Type")), (503, "application/problem+json"))
        self.assertIn("full", reply.json["detail"])

    def test_not_while_the_ledger_fails(self) -> None:
        """Rule 21: POSTs would be refused."""
        self.break_down("ledger", "disk I/O error")
        self.assertEqual(self.get("/ready").status, 503)

    def test_not_between_the_end_of_a_deleted_ledger_and_its_return(self) -> None:
        """Rules 20 and 21: once it is ready again, no look that is still to come has POSTs refused."""
        bench = self.bench
        upkeep = Upkeep(
            bench.ledger, lambda: bench.store.files, bench.feedable, bench.in_thread, bench.clock, bench.now
        )  # fmt: skip
        upkeep.start()
        bench.post(a_result())
        bench.directory.ledger.unlink()
        reply, check = self.get("/ready"), self.health()["checks"]["database"]
        self.assertEqual((reply.status, check["status"], check["reason"]), (503, "fail", reply.json["detail"]))
        self.assertIn("hop ledger was deleted", check["reason"])
        bench.clock.advance(1)  # the look that has it made anew
        self.assertEqual(self.get("/ready").status, 200)
        for _ in range(3):
            self.assertEqual(bench.post(a_trace(*many_hops(1))).status, 200)
            bench.clock.advance(1)
        self.assertEqual(self.health()["status"], "healthy")

    def test_not_while_the_writer_hangs(self) -> None:
        """Rule 21: a probe does not wait for ever."""
        self.bench.pools.gates["store"] = gate = Deferred[None]()
        _, transport = over_the_wire(self.site, b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        self.bench.clock.advance(0)
        self.assertEqual(transport.value(), b"")
        self.bench.clock.advance(2)
        self.assertEqual(parsed(transport.value()).status, 503)
        gate.callback(None)
        self.assertEqual(self.get("/ready").status, 200)

    def test_not_from_the_first_moment_of_a_shutdown(self) -> None:
        """Rule 21."""
        self.bench.post(a_result())
        self.stopping = True
        self.assertEqual(self.get("/ready").status, 503)

    def test_a_dead_input_service_changes_nothing(self) -> None:
        """Rules 20 and 21."""
        self.state = PeerState("outage", "no", EPOCH, None)
        self.assertEqual(self.get("/ready").status, 200)


class RecentOverHTTP(HealthTest):
    """Rule 16."""

    def ids(self, query: str) -> list[int]:
        return [found["id"] for found in self.get(f"/recent{query}").json]

    def test_a_hundred_by_default_and_a_thousand_at_most(self) -> None:
        """Rule 16: over 1000 is 1000."""
        self.bench.keep(*[a_result()] * 1200)
        for query, count in {
            "": 100, "?limit=7": 7, "?limit=1000": 1000, "?limit=1001": 1000, "?limit=99999999999999999999999": 1000,
            "?limit=0000000000000000000000000005": 5,
        }.items():  # fmt: skip
            self.assertEqual(self.ids(query), list(range(1200, 1200 - count, -1)), query)

    def test_a_limit_that_is_none_is_a_problem(self) -> None:
        """Rules 10 and 16."""
        for text in ("0", "-1", "1.5", "x", "", "+5", "1e3", "%201", "%D9%A1", "00"):
            reply = self.get(f"/recent?limit={text}")
            self.assertEqual((reply.status, reply.header("Content-Type")), (400, "application/problem+json"), text)

    def test_any_spelling_finds_an_address(self) -> None:
        """Rules 3 and 16."""
        self.bench.keep(a_result(), a_result(ip="2001:db8::a"))
        self.assertEqual(self.ids("?ip=8.8.8.8"), [1])
        self.assertEqual(self.ids("?ip=::ffff:8.8.8.8"), [1])
        self.assertEqual(self.ids("?ip=2001:0DB8:0:0::A&limit=5"), [2])

    def test_an_ip_that_is_none_is_a_problem(self) -> None:
        """Rules 10 and 16."""
        for text in ("x", "", "8.8.8", "8.8.8.8.", "fe80::1%25eth0", "8.8.8.8%00", "%ff"):
            self.assertEqual(self.get(f"/recent?ip={text}").status, 400, text)

    def test_head_and_other_methods(self) -> None:
        """Rule 10."""
        head = get(self.site, "/recent", "HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(get(self.site, "/recent", "POST").header("Allow"), "GET, HEAD")

    def test_metrics_are_text(self) -> None:
        """Rule 22."""
        reply = self.get("/metrics")
        self.assertEqual(
            (reply.status, reply.header("Content-Type")), (200, "text/plain; version=0.0.4; charset=utf-8")
        )


class Room(HealthTest):
    def value(self) -> float:
        (text,) = re.findall(rb"(?m)^output_service_disk_free_bytes (\S+)$", self.get("/metrics").body)
        return float(text)

    def test_metrics_tell_the_room_on_the_disk(self) -> None:
        self.disk.free = 123 << 20
        self.assertEqual(self.value(), 123 << 20)

    def test_a_directory_that_has_gone_costs_metrics_this_figure_alone(self) -> None:
        self.disk.free, self.disk.path = None, self.bench.path / "gone"
        self.assertTrue(math.isnan(self.value()))
