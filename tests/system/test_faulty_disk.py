"""A disk that fails or hangs in the middle of its work: what the service says, and what it keeps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.kit.makers import a_result
from tests.system.files import stored_targets
from tests.system.harness import Outputd, SystemTest
from tests.system.load import Source
from tests.system.recorder import CannotRecord, Recorder
from tests.system.waiting import wait_until


class FaultyDisk(SystemTest):
    """A service whose calls fail and hang when told to."""

    def setUp(self) -> None:
        super().setUp()
        root = self.directory / "disk"
        root.mkdir(parents=True)
        try:
            self.disk = Recorder(root).build()
        except CannotRecord as error:
            raise SkipTest(str(error)) from None
        self.data = root / "data"

    def outputd(self, *flags: str, **_: Any) -> Outputd:
        flags = ("--input-url=", *flags)
        return self.watched(Outputd(self.data, *flags, environment=self.disk.environment))

    def database(self, outputd: Outputd) -> dict[str, Any]:
        check: dict[str, Any] = outputd.get("/health").json["checks"]["database"]
        return check


class Failing(FaultyDisk):
    """Rules 1, 9, 20 and 21."""

    def test_while_every_fsync_fails_it_is_never_ready(self) -> None:
        """Rule 21: each proof is one, however soon it follows another."""
        outputd = self.outputd().start()
        self.disk.fault("fsync results_ 5")
        self.assertEqual({503}, {outputd.post([a_result()]).status for _ in range(3)})
        for _ in range(20):
            ready = outputd.get("/ready")
            self.assertEqual(503, ready.status)
            self.assertIn("disk I/O error", ready.json["detail"])
        self.assertEqual("fail", self.database(outputd)["status"])
        self.disk.fault()
        wait_until(lambda: outputd.get("/ready").status == 200, "it is ready again")
        self.assertEqual(200, outputd.post([a_result(ip="192.0.2.7")]).status)
        self.assertStopped(outputd.stop())
        self.assertEqual({"192.0.2.7"}, stored_targets(self.data).keys())

    def test_meanwhile_large_bodies_take_no_more_memory_than_ever(self) -> None:
        """Rule 9: what could not be stored is let go."""
        outputd = self.outputd("--max-pending-mb=64").start()
        body = Source(12).post(18_000).body
        self.assertGreater(len(body), 4 << 20)
        self.disk.fault("fsync results_ 5")
        with ThreadPoolExecutor(16) as clients:
            answers = list(clients.map(lambda _: outputd.post(body).status, range(60)))
        self.assertEqual({503}, set(answers))
        self.assertLess(outputd.peak_rss_bytes, (64 + 150) << 20)
        self.disk.fault()
        wait_until(lambda: outputd.get("/ready").status == 200, "it is ready again")
        self.assertStopped(outputd.stop())


class Hanging(FaultyDisk):
    @long(
        "tests.api.test_checks.Hanging.test_a_commit_that_takes_long_warns_and_then_fails",
    )
    def test_a_hung_fsync_is_told(self) -> None:
        """Rules 20 and 21: /ready at once, /health by a warning, then by a failure."""
        outputd = self.outputd().start()
        self.disk.fault("fsync results_ hang")
        self.assertRaises(TimeoutError, outputd.post, [a_result()], timeout=0.5)
        wait_until(lambda: outputd.get("/ready").status == 503, "it is not ready")
        wait_until(lambda: self.database(outputd)["status"] == "warn", "a warning")
        wait_until(lambda: self.database(outputd)["status"] == "fail", "a failure")
        self.assertIn("has not answered", self.database(outputd)["reason"])
        self.disk.fault()
        wait_until(lambda: outputd.get("/health").status == 200, "it is well again")
        self.assertEqual(200, outputd.post([a_result()]).status)
        self.assertStopped(outputd.stop())
