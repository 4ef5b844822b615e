"""More than it can write, from more connections than are polite: answers stay true, memory bounded, the rest alive.

The short form of what `make overload` runs at full size.
"""

from __future__ import annotations

import os
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress as suppressed  # trial takes a `suppress` here for its own
from itertools import count

from tests.kit.depth import long
from tests.system.files import all_faults, stored_targets
from tests.system.harness import HOST, Outputd, SystemTest, call
from tests.system.load import Source, targets
from tests.system.overload import Crowd, Overload
from tests.system.waiting import wait_until

_MIB = 1 << 20
_PENDING_MIB = 4


class OverloadTests(SystemTest):
    """Rules 1, 8 and 9."""

    @long(
        "tests.system.test_clients.ClientTests.test_overload",
        "tests.api.test_results.Overload.test_beyond_the_limit_it_is_503_with_retry_after_and_then_taken_again",
    )
    def test_ten_times_too_much_beside_idle_and_slow_ones(self) -> None:
        """Every answer is 200, or 503 with a Retry-After; each 200 is stored, and the health port answers."""
        outputd = self.outputd(
            f"--max-pending-mb={_PENDING_MIB}", "--max-connections=700", "--keep-files=1000"
        ).start()  # fmt: skip
        with Crowd(outputd.port, idle=300, slow=100):
            overload = Overload(outputd, connections=150, seconds=8.0, sizes=(1, 100, 400))
            overload.run()
        tally = overload.tally
        self.assertEqual(({}, []), (tally.others, tally.without_retry_after))
        self.assertGreater(tally.answered[200], 0)
        self.assertGreater(tally.answered[503], 0)
        self.assertLess(overload.retry_after_share, 10)
        self.assertLess(outputd.peak_rss_bytes, (_PENDING_MIB + 150) * _MIB)
        wait_until(lambda: outputd.post([]).status == 200, "it is itself again")
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))
        stored = stored_targets(self.directory)
        self.assertEqual(tally.stored, stored)

    def test_idle_connections_keep_nobody_out(self) -> None:
        """Rule 8: who has sent no request makes room."""
        outputd = self.outputd("--max-connections=50").start()
        with Crowd(outputd.port, idle=120, slow=0):
            wait_until(
                lambda: "\noutput_service_connections 50.0" in outputd.get("/metrics").body.decode(), "it is full"
            )
            load = self.load(outputd, Source(5), 20)
            load.go_on(40)
            self.assertUndisturbed(load.stop())


class Descriptors(SystemTest):
    """Rule 8: the process runs out of file descriptors."""

    @contextmanager
    def none_left(self, outputd: Outputd) -> Iterator[None]:
        """Not one more file or connection may be opened."""
        before = resource.prlimit(outputd.pid, resource.RLIMIT_NOFILE)
        used = {int(number) for number in os.listdir(f"/proc/{outputd.pid}/fd")}
        first_free = next(number for number in count() if number not in used)
        resource.prlimit(outputd.pid, resource.RLIMIT_NOFILE, (first_free, before[1]))
        try:
            yield
        finally:
            resource.prlimit(outputd.pid, resource.RLIMIT_NOFILE, before)

    def test_what_is_open_works_on_and_all_is_well_afterwards(self) -> None:
        """No crash: open connections are served, nothing answered is lost, and others are accepted again afterwards."""
        outputd = self.outputd().start()
        load = self.load(outputd, Source(6), 4)
        load.go_on(10)
        with self.none_left(outputd):
            newcomers = []
            for _ in range(20):
                with suppressed(OSError):
                    newcomers.append(socket.create_connection((HOST, outputd.port), timeout=1))
            load.go_on(30)
            self.assertIsNone(outputd.process.poll())
            for newcomer in newcomers:
                newcomer.close()
        self.assertUndisturbed(load.stop())
        wait_until(lambda: outputd.get("/ready").status == 200, "it is ready")
        post = Source(7).post()
        self.assertEqual(200, call(outputd.port, "POST", "/results", post.body).status)
        self.assertEqual(200, outputd.rotate().status)
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))
        self.assertEqual(targets([*load.answered, post]), stored_targets(self.directory))

    def _no_traceback(self, outputd: Outputd) -> None:
        """But Twisted's own, when a thread of ours takes the descriptor that it would keep in reserve."""
        said = re.sub(r"Could not reserve EMFILE recovery file descriptor\.\n(\t.*\n)+", "", outputd.log)
        self.assertNotIn("Traceback", said)

    def test_fewer_connections_are_taken_where_the_limit_is_low(self) -> None:
        """So that files and the health port never lack descriptors; one line says so."""
        outputd = _Limited(self.directory, "--input-url=", "--max-connections=2000")
        self.addCleanup(outputd.kill)
        outputd.start()
        self.assertIn("at most 100 connections instead of 2000", outputd.log)
        with Crowd(outputd.port, idle=0, slow=300):
            self.assertEqual(200, outputd.get("/health").status)
            self.assertIn("output_service_connections 100.0", outputd.get("/metrics").body.decode())
        self.assertStopped(outputd.stop())


class _Limited(Outputd):
    """An instance that may have 400 files open."""

    def _command(self, flags: tuple[str, ...]) -> list[str]:
        return ["prlimit", "--nofile=400:400", *super()._command(flags)]
