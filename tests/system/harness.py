"""The real process under test, and a blocking client: black box, nothing of outputd is imported."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.inputservice import InputService
from tests.system.load import Load, Source
from tests.system.waiting import DEADLINE_S, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
_LAST_LINES = 8


_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ALL_PORTS = range(10_000, 65_536)
_TAKEN: list[socket.socket] = []
"""Names of ports that this process has taken: they are free again when it ends."""


def free_port() -> int:
    """A port that nobody has, outside of those that outgoing connections are given, and no other run of tests takes."""
    low, high = map(int, _OUTGOING.read_text(encoding="ascii").split()) if _OUTGOING.exists() else (32_768, 60_999)
    ports = next((some for some in (range(10_000, low), range(high + 1, 65_536)) if len(some) > 1000), _ALL_PORTS)
    while not take_port(port := random.choice(ports)):  # not seeded: several runs may go on at once
        pass
    return port


def take_port(port: int) -> bool:
    """Whether nobody has this port; then no other run of tests takes it."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0outputd-test-port-{port}")
        socket.create_server((HOST, port)).close()
    except OSError:
        name.close()
        return False
    _TAKEN.append(name)
    return True


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection((HOST, port), timeout=DEADLINE_S).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took."""

    status: int
    headers: Message
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def call(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None,
    timeout: float = DEADLINE_S,
) -> Answer:  # fmt: skip
    """One request on a connection of its own."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent: it says why
            connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
        return Answer(response.status, response.headers, content, time.monotonic() - begun)
    finally:
        connection.close()


@dataclass(frozen=True)
class Ended:
    """How a process ended after a signal."""

    code: int
    seconds: float
    last_words: str
    """The end of its log, which names what hung when a stop took too long."""


class Outputd:
    """One instance on ports of its own; it can be started again after it was stopped or killed."""

    def __init__(
        self, directory: Path, *flags: str, environment: Mapping[str, str] | None = None, cwd: Path = CHECKOUT
    ) -> None:
        self.directory = directory
        self.log_path = Path(f"{directory}.log")
        self.port, self.health_port = free_port(), free_port()
        self.flags = [
            f"--port={self.port}", f"--health-port={self.health_port}", f"--db-dir={directory}", *flags
        ]  # fmt: skip
        self.environment = dict(environment or {})
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str) -> Outputd:
        """Start it with further flags and return once it is ready."""
        self.launch(*flags)
        return self.ready()

    def launch(self, *flags: str) -> Outputd:
        """Start it with further flags and go on."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(flags), cwd=self._cwd, env=self._env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def ready(self) -> Outputd:
        """Return once it is ready."""
        wait_until(self.is_ready, f"outputd ready\n{self.log}")
        return self

    def refused(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Start it where it must not start, and return what it said."""
        return subprocess.run(
            self._command(flags), cwd=self._cwd, env=self._env(), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    def send(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and go on."""
        self.process.send_signal(number)

    def ended(self) -> Ended:
        """Wait for the end."""
        begun = time.monotonic()
        code = self.process.wait(DEADLINE_S)
        return Ended(code, time.monotonic() - begun, "\n".join(self.log.splitlines()[-_LAST_LINES:]))

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        """Ask it to end, and wait."""
        self.send(number)
        return self.ended()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the last start."""
        assert self._process is not None, "start comes first"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def cpu_s(self) -> float:
        """The CPU time that it has used, however busy the machine is otherwise."""
        user, system = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_bytes(self) -> int:
        """The memory that it has resident now."""
        return self._memory_bytes("VmRSS")

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory that it has had resident."""
        return self._memory_bytes("VmHWM")

    def _memory_bytes(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None, status
        return int(found[1]) * 1024

    @property
    def log(self) -> str:
        """All that it has written to stdout and stderr, over all starts."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def post(self, results: object, timeout: float = DEADLINE_S, **headers: str) -> Answer:
        """POST /results; headers as `x_ping_node="a"`."""
        body = results if isinstance(results, bytes) else json.dumps(results).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.post_as(body, {"Content-Type": "application/json", **names}, timeout)

    def post_as(self, body: bytes, headers: Mapping[str, str], timeout: float = DEADLINE_S) -> Answer:
        """POST /results with these headers and no other."""
        return call(self.port, "POST", "/results", body, headers, timeout)

    def rotate(self) -> Answer:
        """POST /rotate."""
        return call(self.port, "POST", "/rotate")

    def get(self, path: str, **headers: str) -> Answer:
        """GET on the health port."""
        return call(self.health_port, "GET", path, headers=headers)

    @property
    def stats(self) -> dict[str, Any]:
        """GET /stats."""
        stats: dict[str, Any] = self.get("/stats").json
        return stats

    def is_ready(self) -> bool:
        code = self.process.poll()
        if code is not None:
            raise AssertionError(f"outputd ended with {code} instead of starting:\n{self.log}")
        try:
            return self.get("/ready").status == 200
        except OSError:
            return False

    def _command(self, flags: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "outputd", *self.flags, *flags]

    def _env(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OUTPUTD_")}
        return {**inherited, "PYTHONPATH": str(CHECKOUT), **self.environment}


class SystemTest(SynchronousTestCase):
    """A test with a directory of its own; whatever it starts ends with it, and has logged no traceback."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.parent.mkdir(parents=True, exist_ok=True)

    def outputd(
        self, *flags: str, input_url: str = "", environment: Mapping[str, str] | None = None, cwd: Path = CHECKOUT
    ) -> Outputd:
        """An instance on our directory, not started yet."""
        return self.watched(
            Outputd(self.directory, f"--input-url={input_url}", *flags, environment=environment, cwd=cwd)
        )

    def watched(self, outputd: Outputd) -> Outputd:
        """The same instance, which ends with this test and must have logged no traceback."""
        self.addCleanup(self._no_traceback, outputd)
        self.addCleanup(outputd.kill)
        return outputd

    def input_service(self) -> InputService:
        """A stand-in for input_service, absent until it is opened."""
        service = InputService(free_port())
        self.addCleanup(service.close)
        self.addCleanup(lambda: self.assertEqual([], service.faults))
        return service

    def load(self, outputd: Outputd, source: Source, connections: int, keyed: bool = False, bad: int = 0) -> Load:
        """Connections that post what the source makes, from now until stopped."""
        load = Load(HOST, outputd.port, source, connections, keyed, bad)
        self.addCleanup(load.stop)
        load.start()
        return load

    def assertUndisturbed(self, load: Load) -> None:  # in unittest's spelling
        """Every post of the load was answered 200, and there were some."""
        self.assertEqual(([], []), (load.refused, load.unanswered))
        self.assertGreater(len(load.answered), 0)

    def assertStopped(self, ended: Ended) -> None:
        """It ended with status 0, which it does within 10 s (rule 23) or not at all, and left no WAL."""
        self.assertEqual(0, ended.code, ended.last_words)
        self.assertEqual([], [path.name for path in self.directory.glob("*-wal")])

    def _no_traceback(self, outputd: Outputd) -> None:
        if outputd.log_path.exists():
            self.assertNotIn("Traceback", outputd.log)
