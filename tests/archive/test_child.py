"""The archive's child process, as the service has it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.archive.asks import Cut, Failed, Find, Found, Ship, Shipped, Span, Worker
from outputd.archive.child import Archivist
from outputd.archive.objects import Objects
from outputd.process.trouble import Kind
from tests.kit.bench import Bench

if find_spec("pyarrow") is not None:
    from outputd.archive.directory import Directory
    from tests.archive.collector import Collector

_SERVICE = """
from outputd.archive.asks import Cut, Worker
worker = Worker("file:///nowhere", {})
worker.ask(Cut((), 0, True))
print("asked", flush=True)
input()
"""


_POOL = """
import outputd.archive.child
import outputd.archive.shipping
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""


class ChildTests(SynchronousTestCase):
    def setUp(self) -> None:
        if find_spec("pyarrow") is None:
            raise SkipTest("pyarrow is not installed: pip install 'outputd[archive]'")
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.stop)
        self.collector = Collector(self.bench, Directory(self.base))

    def worker(self, url: str | None = None) -> Worker:
        worker = Worker(url or f"file://{self.base}", {"AWS_SECRET_ACCESS_KEY": "only in the pipe"})
        self.addCleanup(worker.close)
        return worker

    def cut(self, worker: Worker) -> Span:
        span = worker.ask(Cut(self.collector.paths, 0, True))
        assert isinstance(span, Span), span
        return span

    def test_what_arrow_frees_is_free(self) -> None:
        """Arrow's own allocator would keep 30 MiB."""
        environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
        said = subprocess.run(
            [sys.executable, "-c", _POOL], env=environment, capture_output=True, text=True, check=True
        )
        self.assertEqual("system\n", said.stdout)

    def test_it_cuts_ships_and_finds(self) -> None:
        worker = self.worker()
        self.assertIsNone(worker.ask(Cut(self.collector.paths, 0, True)))
        self.collector.post(2, wrong=1)
        span = self.cut(worker)
        shipped = worker.ask(Ship(span, "tokyo"))
        assert isinstance(shipped, Shipped), shipped
        self.assertEqual((4, 2, False), (shipped.results, shipped.rejected, shipped.was_there))
        self.assertEqual(Found(2, False), worker.ask(Find("tokyo", 0, self.collector.paths)))
        self.assertEqual(Shipped(4, 2, 0, True), self.worker().ask(Ship(span, "tokyo")))

    def test_what_fails_is_told_and_the_next_is_answered(self) -> None:
        self.collector.post()
        worker = self.worker()
        span = self.cut(worker)
        self.base.rmdir()
        failed = worker.ask(Ship(span, "tokyo"))
        assert isinstance(failed, Failed), failed
        self.assertEqual((Kind.GONE, None, False), (failed.kind, failed.path, failed.is_over))
        self.base.mkdir()
        self.assertIsInstance(worker.ask(Ship(span, "tokyo")), Shipped)
        gone = span.path.with_name("gone.db")
        failed = worker.ask(Ship(Span(gone, span.date, 1, 1), "tokyo"))
        assert isinstance(failed, Failed), failed
        self.assertEqual((Kind.GONE, gone), (failed.kind, failed.path))
        failed = self.worker("https://nowhere").ask(Ship(span, "tokyo"))
        self.assertIsInstance(failed, Failed)

    def test_what_nobody_has_foreseen_is_told_with_its_place_and_without_secrets(self) -> None:
        self.patch(os, "environ", {"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI"})

        def broken() -> Objects:
            raise KeyError("wJalrXUtnFEMI")

        failed = Archivist(broken).answer(Find("tokyo", 0, ()))
        assert isinstance(failed, Failed), failed
        self.assertRegex(failed.reason, r"^KeyError in test_child.py:\d+: '...'$")

    def test_it_ends_when_it_is_stopped_though_it_hangs(self) -> None:
        worker = self.worker()
        os.kill(worker.pid, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(worker.ask, Cut((), 0, True))
            worker.stop()
            failed = asked.result()
        assert isinstance(failed, Failed), failed
        self.assertTrue(failed.is_over)
        worker.close()
        self.assertRaises(ProcessLookupError, os.kill, worker.pid, 0)

    def test_it_ends_with_the_service_that_is_killed(self) -> None:
        service = subprocess.Popen(
            [sys.executable, "-c", _SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with service:
            assert service.stdout is not None and service.stderr is not None, "both are pipes"
            self.assertEqual(b"asked\n", service.stdout.readline())
            service.kill()
            service.wait()
            ready, _, _ = select.select([service.stderr], [], [], 30)  # the child has it, too
            self.assertTrue(ready)
            self.assertEqual(b"", service.stderr.read())

    def test_its_secrets_are_not_in_the_process_list(self) -> None:
        worker = self.worker()
        worker.ask(Cut((), 0, True))
        for name in ("cmdline", "environ"):
            self.assertNotIn(b"only in the pipe", Path(f"/proc/{worker.pid}/{name}").read_bytes())
