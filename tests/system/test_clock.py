"""The clock of the machine is set, back and forth, under a running service (by libfaketime)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec

from tests.kit.depth import long
from tests.system.files import all_faults, column, opened, result_files, stored_targets
from tests.system.harness import Outputd, SystemTest
from tests.system.load import Post, Source, targets
from tests.system.waiting import wait_until

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
_A_WHILE_S = 3  # rotation asks every second


class ClockTests(SystemTest):
    """Rules 11, 13 and 20."""

    def setUp(self) -> None:
        super().setUp()
        if not _LIBRARIES:
            self.skipTest("libfaketime is not here: apt-get install faketime")
        self.offset = Path(f"{self.directory}.offset")
        self.set_clock("+0")
        self.source = Source(21)
        self.posts: list[Post] = []

    def set_clock(self, offset: str) -> None:
        """Let the process believe in another time from now on; its monotonic clock goes on."""
        new = Path(f"{self.offset}.new")
        new.write_text(f"{offset}\n", encoding="ascii")
        new.replace(self.offset)

    def outputd_with_clock(self, *flags: str) -> Outputd:
        """An instance whose clock we set."""
        return self.outputd(*flags, environment={
            "LD_PRELOAD": str(_LIBRARIES[0]), "FAKETIME_TIMESTAMP_FILE": str(self.offset), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        })  # fmt: skip

    def let_rotation_ask(self, outputd: Outputd) -> None:
        """Return when it must have asked, by the clock that nobody sets: that it does nothing cannot be waited for."""
        before = _uptime_s(outputd)
        wait_until(lambda: _uptime_s(outputd) >= before + _A_WHILE_S, "it has run for a while")

    def post(self, outputd: Outputd) -> None:
        post = self.source.post()
        self.assertEqual(200, outputd.post(post.body).status)
        self.posts.append(post)

    def test_back_an_hour_and_forward_a_year_and_back(self) -> None:
        """No storm of rotations, no negative uptime, names that are unique, ids in order, and nothing pruned."""
        outputd = self.outputd_with_clock("--keep-files=5").start()
        for offset, files in (("+0", 1), ("-3600", 1), ("+31536000", 2), ("-3600", 2), ("+0", 2)):
            self.set_clock(offset)
            self.post(outputd)
            self.let_rotation_ask(outputd)
            wait_until(partial(self._has_files, files), "a year is over the age limit, once")
            self.post(outputd)
            self.assertEqual(files, len(result_files(self.directory)))
            health = outputd.get("/health").json
            self.assertGreaterEqual(health["checks"]["rotation"]["age_seconds"], 0)
            self.assertEqual(200, outputd.get("/ready").status)
            (age,) = re.findall(r"(?m)^output_service_file_age_seconds (.*)$", self._metrics(outputd))
            self.assertGreaterEqual(float(age), 0)
        for _ in range(2):
            self.assertEqual(200, outputd.rotate().status)
            self.post(outputd)
        self.assertStopped(outputd.stop())
        self._check(4)
        outputd.start()
        self.post(outputd)
        self.assertStopped(outputd.stop())
        self._check(4)

    @long("tests.system.test_clock.ClockTests.test_back_an_hour_and_forward_a_year_and_back")
    def test_behind_and_then_stepped_forward(self) -> None:
        """Rule 6: what a node sends again at once is stored once, before a restart and after it."""
        self.set_clock("-86400")
        outputd = self.outputd_with_clock().start()
        post = self.source.post()
        self.posts.append(post)
        self.assertEqual(200, outputd.post(post.body, idempotency_key="k").status)
        self.set_clock("+0")
        self.assertTrue(outputd.post(post.body, idempotency_key="k").json["duplicate"])
        self.assertStopped(outputd.stop())
        self.set_clock("+86400")
        outputd.start()
        self.assertTrue(outputd.post(post.body, idempotency_key="k").json["duplicate"])
        self.assertStopped(outputd.stop())
        self.assertEqual(targets(self.posts), stored_targets(self.directory))

    @long("tests.system.test_clock.ClockTests.test_back_an_hour_and_forward_a_year_and_back")
    def test_ahead_and_then_set_right(self) -> None:
        """Rule 4: last_result_time is judged by the clock of today."""
        self.set_clock("+3652d")
        outputd = self.outputd_with_clock().start()
        for days in (3652, 0):
            written = f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
            body = msgspec.json.encode([{"ip": "192.0.2.1", "sent": 1, "received": 1, "timestamp": written}])
            self.assertEqual(200, outputd.post(body).status)
        self.assertGreater(outputd.get("/stats").json["last_result_time"], written)
        self.set_clock("+0")
        self.assertEqual(written, outputd.get("/stats").json["last_result_time"])
        self.assertStopped(outputd.stop())

    def test_set_back_before_a_restart(self) -> None:
        """It goes on with the newest file, whatever the names say."""
        self.set_clock("+86400")
        outputd = self.outputd_with_clock().start()
        self.post(outputd)
        self.assertEqual(200, outputd.rotate().status)
        self.post(outputd)
        outputd.kill()
        self.set_clock("+0")
        outputd.start()
        self.post(outputd)
        self.assertEqual(200, outputd.rotate().status)
        self.post(outputd)
        self.assertStopped(outputd.stop())
        self._check(3)

    def _has_files(self, count: int) -> bool:
        return len(result_files(self.directory)) >= count

    def _metrics(self, outputd: Outputd) -> str:
        return outputd.get("/metrics").body.decode()

    def _check(self, files: int) -> None:
        self.assertEqual([], all_faults(self.directory))
        self.assertEqual(targets(self.posts), stored_targets(self.directory))
        found = []
        for path in result_files(self.directory):
            with opened(path) as db:
                (sequence,) = column(db, "SELECT sequence FROM result_file")
                found.append((sequence, column(db, "SELECT id FROM ping_results ORDER BY rowid")))
        found.sort()
        self.assertEqual(files, len({sequence for sequence, _ in found}))
        ids = [number for _, numbers in found for number in numbers]
        self.assertTrue(all(before < after for before, after in pairwise(ids)))


def _uptime_s(outputd: Outputd) -> int:
    found = re.fullmatch(r"(?:(\d+)m)?(\d+)s", outputd.get("/health").json["uptime"])
    assert found is not None, "no uptime of less than an hour"
    return 60 * int(found[1] or 0) + int(found[2])
