"""Real processes, started in directories of their own, and what is done to them from other processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarks import load
from benchmarks.kinds import CHECKOUT, Kind

HOST = "127.0.0.1"
_START_S = 120.0  # a ledger of millions of addresses on a slow disk
_STOP_S = 20.0
_LOOK_S = 0.2
_FORK = multiprocessing.get_context("fork")  # a child has the prepared bodies without making them again

_WITHOUT_SUMMARY = """
from outputd import __main__
from outputd.summary.keeping_up import KeepingUp
KeepingUp.start = lambda self: None
__main__.main()
"""

T = TypeVar("T")


class Wrong(Exception):
    """The service did not do what it must, however slow it may be; the text says what."""


def apart(work: Callable[[], T]) -> T:
    """What `work` returns, done in a process of its own, so that its CPU and memory are its own."""
    ours, theirs = _FORK.Pipe(duplex=False)

    def child() -> None:
        theirs.send(work())

    process = _FORK.Process(target=child, daemon=True)
    process.start()
    theirs.close()
    try:
        result: T = ours.recv()
    except EOFError:
        process.join()
        raise Wrong(f"a measuring process ended with {process.exitcode}") from None
    process.join()
    return result


@contextlib.contextmanager
def meanwhile(*works: Callable[[], object]) -> Iterator[None]:
    """Do each of the works in a process of its own until the block ends. One that ends early is an error."""
    processes = [_FORK.Process(target=work, daemon=True) for work in works]
    for process in processes:
        process.start()
    try:
        yield
        if not all(process.is_alive() for process in processes):
            raise Wrong("what should go on meanwhile has ended early")
    finally:
        for process in processes:
            process.kill()
            process.join()


def free_port() -> int:
    """A port that nobody has, below those that outgoing connections are given."""
    while True:
        port = random.randint(10_000, 32_000)  # not seeded: several runs may go on at once
        with contextlib.suppress(OSError):
            socket.create_server((HOST, port)).close()
            return port


class Server:
    """A process that takes POSTs of results. What it has acknowledged is counted."""

    name = ""

    def __init__(self, directory: Path, port: int, command: Sequence[str], cwd: Path) -> None:
        self.directory = directory
        self.port = port
        self.start_s = 0.0
        self.acknowledged = 0
        self.certain = True
        self._command = command
        self._cwd = cwd
        self._log = Path(f"{directory}.log")
        self._sent: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    # -- life ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start it and return once it is ready; `start_s` tells the seconds from exec to there."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OUTPUTD_")}
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._cwd, env=inherited, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            while not self._ready():
                if self._process.poll() is not None or time.perf_counter() - began > _START_S:
                    raise Wrong(f"{self.name} did not start:\n{self._tail()}")
                time.sleep(0.005)
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        self.start_s = time.perf_counter() - began
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop it."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None, "start comes first"
        self._process.send_signal(number)
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return -1

    def _ready(self) -> bool:
        try:
            socket.create_connection((HOST, self.port)).close()
        except OSError:
            return False
        return True

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "start comes first"
        return self._process.pid

    @property
    def rss_mib(self) -> float:
        """Memory that is resident now."""
        return load.number_of(Path(f"/proc/{self.pid}/status"), "VmRSS:") / 1024

    @property
    def peak_mib(self) -> float:
        """The most memory that was ever resident."""
        return load.Usage.of([self.pid]).peak_rss_bytes / 2**20

    # -- load ----------------------------------------------------------------------------------------

    def post(
        self, kind: Kind, connections: int, seconds: float, *, warmup: float = 0.5, rate: float | None = None,
        count: int | None = None,
    ) -> load.Tally:  # fmt: skip
        """Send bodies of a kind, going on where the last call ended; in a closed loop every answer must be 200."""
        url = f"http://{HOST}:{self.port}/results"
        bodies = kind.bodies  # made before the fork, once

        def work() -> tuple[load.Tally, int]:
            before = self._sent.get(kind.title, 0)
            source = load.Source(load.requests(url, bodies), kind.fresh, before)
            tally = load.run(
                (HOST, self.port), source, connections=connections, seconds=seconds, warmup=warmup, rate=rate,
                count=count, pids=[self.pid],
            )  # fmt: skip
            return tally, source.before

        tally, self._sent[kind.title] = apart(work)
        self.acknowledged += tally.acknowledged_total
        good = set(tally.statuses) <= {"200"} and not tally.unanswered
        self.certain &= good
        stored = tally.acknowledged_total and not (tally.partial or tally.duplicates)
        if not stored or (rate is None and not good):  # an open loop may ask too much
            raise Wrong(f"{kind.title}: answers {dict(tally.statuses)}, {tally.unanswered} unanswered, "
                        f"{tally.partial} partial, {tally.duplicates} duplicates\n{self._tail()}")  # fmt: skip
        return tally

    def reserve(self, kind: Kind, posts: int) -> int:
        """The number of the next body of a kind for a load that is not counted here, and leave so many out."""
        self.certain = False
        before = self._sent.get(kind.title, 0)
        self._sent[kind.title] = before + posts
        return before


class Service(Server):
    """One instance of outputd, whose counts and files can be compared with what it has acknowledged."""

    name = "outputd"

    def __init__(
        self, directory: Path, *flags: str, input_url: str = "", summary: bool = True, checkout: Path = CHECKOUT
    ) -> None:
        self.health_port = free_port()
        port = free_port()
        program = ["-m", "outputd"] if summary else ["-c", _WITHOUT_SUMMARY]
        command = [
            sys.executable, *program, f"--port={port}", f"--health-port={self.health_port}",
            f"--db-dir={directory}", f"--input-url={input_url}", *flags,
        ]  # fmt: skip
        super().__init__(directory, port, command, checkout)

    def __exit__(self, *exception: object) -> None:
        """Stop it. Raises Wrong when it does not end well."""
        status = self._end(signal.SIGTERM)
        if exception[0] is None and (status or b"Traceback" in self._log.read_bytes()):
            raise Wrong(f"outputd ended with {status}:\n{self._tail()}")

    def _ready(self) -> bool:
        try:
            return call(self.health_port, "GET", "/ready")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> Any:
        """GET on the health port, as JSON."""
        return json.loads(call(self.health_port, "GET", path)[1])

    @property
    def backlog(self) -> int:
        """Hops that wait for input_service."""
        return int(self.get("/health")["checks"]["input_service"]["waiting_hops"])

    def rotate(self) -> None:
        """POST /rotate."""
        status, body = call(self.port, "POST", "/rotate")
        if status != 200:
            raise Wrong(f"POST /rotate: {status} {body[:200]!r}")

    def dump(self, name: str = "") -> int:
        """GET /dump of a file, without a name the current one, read as fast as it comes; the number of bytes."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60.0)
        try:
            connection.request("GET", f"/dump?file={name}" if name else "/dump")
            response = connection.getresponse()
            if response.status != 200:
                raise Wrong(f"GET /dump: {response.status} {response.read(200)!r}")
            part = bytearray(1 << 20)
            size = sum(iter(lambda: response.readinto(part), 0))
        finally:
            connection.close()
        if size != int(response.headers["Content-Length"]):
            raise Wrong(f"GET /dump: {size} bytes of {response.headers['Content-Length']}")
        return size

    def files(self) -> list[Path]:
        """Its result files."""
        return sorted(self.directory.glob("*.db"))

    def wal_bytes(self) -> int:
        """The biggest WAL beside a result file."""
        sizes = [0]
        for path in self.directory.glob("*.db-wal"):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return max(sizes)

    def settle(self) -> None:
        """Return when its summary has all results: after a crowd it counts while somebody asks."""
        [newest] = self.get("/recent?limit=1")
        arrival = self.get(f"/results/{newest['id']}")["received_at"]
        while (self.get("/links?limit=1")["complete_until"] or "") < arrival:
            time.sleep(_LOOK_S)  # each question has the summary hurry: asked at once again it would be what is measured

    def check(self) -> None:
        """Compare what it has counted with what it has acknowledged. Raises Wrong."""
        counted = int(self.get("/stats")["total_results"])
        if counted < self.acknowledged or (self.certain and counted > self.acknowledged):
            raise Wrong(f"{self.acknowledged} results were acknowledged and {counted} counted")

    def check_files(self) -> int:
        """Compare the rows of its files with what it has acknowledged, once it is stopped, all files being kept."""
        stored = 0
        identities: set[int] = set()
        for path in self.files():
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                rows = [number for (number,) in db.execute("SELECT id FROM ping_results")]
            stored += len(rows)
            identities.update(rows)
        if stored != len(identities):
            raise Wrong(f"{stored} results are in the files, with {len(identities)} ids")
        if stored < self.acknowledged or (self.certain and stored > self.acknowledged):
            raise Wrong(f"{self.acknowledged} results were acknowledged and {stored} are in the files")
        return stored


def call(port: int, method: str, path: str, timeout: float = 60.0) -> tuple[int, bytes]:
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def rotating(service: Service, every_s: float = 1.0) -> Callable[[], None]:
    """Work for `meanwhile`: rotate every second."""

    def work() -> None:
        due = time.monotonic()
        while True:
            service.rotate()
            due = max(due + every_s, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    return work


def dumping(service: Service, pause_s: float = 0.0) -> Callable[[], None]:
    """Work for `meanwhile`: one dump after the other, with a pause between."""

    def work() -> None:
        while True:
            service.dump()
            time.sleep(pause_s)

    return work


@contextlib.contextmanager
def input_service() -> Iterator[str]:
    """A stand-in that takes every hop and costs as little as can be; its URL. It has a process of its own."""
    listener = socket.create_server((HOST, 0))

    def take(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            while line := stream.readline():
                length = 0
                while line.strip():
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                    line = stream.readline()
                stream.read(length)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def work() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=take, args=(connection,), daemon=True).start()

    with listener, meanwhile(work):
        yield f"http://{HOST}:{listener.getsockname()[1]}/hops"
