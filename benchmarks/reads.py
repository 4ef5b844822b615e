"""Reading beside a load of half the best rate, with five full files; dumps, and what they cost; the WAL."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import load
from benchmarks.figures import Row, Spread, alternating, ratios, table
from benchmarks.fleet import fleet
from benchmarks.full import full_directory
from benchmarks.kinds import Kind, usual
from benchmarks.read import Route, get
from benchmarks.service import HOST, Service, Wrong, dumping, meanwhile
from benchmarks.session import Session
from outputd.results import timestamps
from outputd.store.limits import Limits

_CONNECTIONS = 16
_WAL_TIMES = 6  # of the session's seconds: it must have the time to grow
_SLOW_BYTES_S = 64 * 1024
_WEEK_S = 7 * 86_400
_APART = 100_000  # bodies left out for a load whose length is not known

Times = dict[str, list[dict[str, float]]]


def run(session: Session) -> str:
    """Measure, and tell it in Markdown."""
    kind = fleet() if session.fleet else usual()
    directory = full_directory(session, kind)
    with session.service(directory) as service:
        tally = service.post(kind, _CONNECTIONS, session.seconds, warmup=session.warmup)
        half = max(1, tally.answered) / tally.seconds / 2
        service.settle()
        session.say(f"reads: half of the best rate is {half:,.0f} POSTs/s")
        parts = [
            _long(session, service),
            _routes(session, service, kind, half),
            _dump(session, service, kind, half),
            _cost(session, service, kind),
            _wal(session, service, kind),
        ]
        service.check()
    parts.append(_summary(session, kind))
    return "\n\n".join(parts)


@contextlib.contextmanager
def _loaded(service: Service, kind: Kind, rate: float | None) -> Iterator[None]:
    """POSTs as long as the block runs, at a fixed rate or as fast as they are answered."""
    url = f"http://{HOST}:{service.port}/results"
    source = load.Source(load.requests(url, kind.bodies), kind.fresh, service.reserve(kind, _APART))
    connections = 64 if rate else _CONNECTIONS
    with meanwhile(partial(load.run, (HOST, service.port), source, connections=connections, seconds=1e6, rate=rate)):
        time.sleep(1.0)
        yield


def questions(service: Service) -> dict[str, str]:
    """Paths of all questions to the files, by title, about what the files have."""
    newest = service.get("/recent?limit=1")[0]
    target = urllib.parse.quote(newest["ip"], safe="")
    week = urllib.parse.urlencode({
        "since": timestamps.printed(timestamps.at(timestamps.seconds(newest["timestamp"].removesuffix("Z")) - _WEEK_S)),
        "until": newest["timestamp"],
    })  # fmt: skip
    link = service.get("/links?limit=1")["links"][0]
    return {
        "/recent?limit=100": "/recent?limit=100",
        "/recent?ip=, the newest target": f"/recent?limit=100&ip={target}",
        "/recent?ip=, never seen": "/recent?limit=100&ip=192.0.2.1",
        "/recent?include=traceroute": "/recent?limit=100&include=traceroute",
        "/results/ID": f"/results/{newest['id']}",
        "/hops/IP, the most frequent link's": f"/hops/{urllib.parse.quote(link['from'], safe='')}",
        "/hops/IP, the newest target's": f"/hops/{target}",
        "/series, a week": f"/series?ip={target}&{week}",
        "/cells, a week": f"/cells?{week}",
        "/paths": f"/paths?ip={target}",
        "/trace": f"/trace?ip={target}",
        "/failures": "/failures",
        "/changes": "/changes",
        "/targets": "/targets",
        "/links": "/links",
        "/nodes": "/nodes",
    }


def _long(session: Session, service: Service) -> str:
    """The longest answers, alone: seconds to the first byte of the body and to the last, and CPU of the service."""
    rows = []
    for path in ("/links?limit=100000", "/targets?limit=100000"):
        firsts, wholes, costs, size = [], [], [], 0
        for _ in range(session.turns):
            before = load.Usage.of([service.pid])
            first_s, whole_s, size = _stream(service, path)
            firsts.append(first_s)
            wholes.append(whole_s)
            costs.append(load.Usage.of([service.pid]).since(before).cpu_s)
        session.say(f"reads: {path}: {Spread.of(wholes)} s, first byte after {Spread.of(firsts)} s")
        rows.append([path, Spread.of(firsts), Spread.of(wholes), Spread.of(costs), f"{size / 2**20:.1f}"])
    return "\n\n".join(["### Long answers, alone: s", table(["GET", "first byte", "whole", "CPU", "MiB"], rows)])


def _stream(service: Service, path: str) -> tuple[float, float, int]:
    """Seconds to the first byte of a body and to its last, and its bytes."""
    connection = http.client.HTTPConnection(HOST, service.health_port, timeout=60.0)
    began = time.perf_counter()
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        size = len(response.read(1))
        first_s = time.perf_counter() - began
        while part := response.read1(1 << 20):
            size += len(part)
    finally:
        connection.close()
    if response.status != 200:
        raise Wrong(f"GET {path}: {response.status}")
    return first_s, time.perf_counter() - began, size


def _routes(session: Session, service: Service, kind: Kind, half: float) -> str:
    base = f"http://{HOST}:{service.health_port}"
    paths = {**questions(service), "/stats": "/stats", "/metrics": "/metrics"}
    loaded: Times = {name: [] for name in paths}
    alone: Times = {name: [] for name in paths}

    def ask(into: Times) -> None:
        for name, path in paths.items():
            into[name].append(get(Route(base, path, session.seconds)).times)

    def ask_loaded() -> None:
        with _loaded(service, kind, half):
            ask(loaded)

    for turn, _ in enumerate(alternating(session.turns, ask_loaded, partial(ask, alone)), start=1):
        slowest = max(times[-1]["p99"] for times in loaded.values())
        session.say(f"reads: turn {turn} of {session.turns}, worst p99 beside the load {slowest * 1e3:.1f} ms")

    def ms(times: Times, name: str, rank: str) -> Spread:
        return Spread.of(one[rank] * 1e3 for one in times[name])

    return "\n\n".join([
        f"### Reads beside half of the best rate, {len(service.files())} files of {session.size_mb} MiB: ms",
        table(
            ["GET", "p50", "p99", "p99.9", "alone: p50", "alone: p99", "p99 / alone"],
            [[name, ms(loaded, name, "p50"), ms(loaded, name, "p99"), ms(loaded, name, "p99.9"),
              ms(alone, name, "p50"), ms(alone, name, "p99"),
              ratios((x["p99"], y["p99"]) for x, y in zip(loaded[name], alone[name], strict=True))]
             for name in paths],
        ),
    ])  # fmt: skip


def _dump(session: Session, service: Service, kind: Kind, half: float) -> str:
    """Bytes a second of a download, request to last byte, as a share of cp of the same file to memory."""
    current = service.directory / service.get("/stats")["current_db_file"]
    closed = max((path for path in service.files() if path != current), key=lambda path: path.stat().st_size)
    service.dump(closed.name)  # whose digest is known from then on

    def again() -> float:
        return _speed(partial(service.dump, closed.name))

    def anew() -> float:
        service.post(kind, 1, 0.0, count=1)  # else the last copy would be sent once more
        return _speed(service.dump)

    rows = []
    for when, rate in (("alone", 0.0), ("beside half of the best rate", half)):
        with _loaded(service, kind, rate) if rate else contextlib.nullcontext():
            for title, dump, path in (("closed file, once more", again, closed), ("current file", anew, current)):
                pairs = list(alternating(session.turns, dump, partial(_speed, partial(_cp, path))))
                share = ratios(pairs)
                session.say(f"reads: download of the {title}, {when}: {share} of cp")
                rows.append([f"{title}, {when}", share, f"{path.stat().st_size / 2**20:.0f}"])
                if not rate:
                    session.rows.append(Row(f"download, {title}", "of cp", {"outputd": [a / b for a, b in pairs]}))
    return "\n\n".join(["### Downloads: share of the speed of cp to memory", table(["", "share", "MiB"], rows)])


def _speed(moved_bytes: Callable[[], int]) -> float:
    """Bytes a second of what moves some."""
    began = time.perf_counter()
    return moved_bytes() / (time.perf_counter() - began)


def _cp(path: Path) -> int:
    """Copy a file to memory by cp; the number of bytes."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as copy:
        subprocess.run(["cp", str(path), copy.name], check=True)
        return os.path.getsize(copy.name)


def _cost(session: Session, service: Service, kind: Kind) -> str:
    """The ingest's best rate while one dump follows the other, as a share of that without."""

    def rate() -> float:
        tally = service.post(kind, _CONNECTIONS, session.seconds, warmup=session.warmup)
        return tally.results / tally.seconds

    def rate_dumped(pause_s: float) -> float:
        with meanwhile(dumping(service, pause_s)):
            return rate()

    rows = []
    for title, pause_s in (("one after the other", 0.0), ("with 1 s between", 1.0)):
        share = ratios(alternating(session.turns, partial(rate_dumped, pause_s), rate))
        session.say(f"reads: ingest with dumps {title}: {share}")
        rows.append([title, share])
    return "\n\n".join(
        ["### The ingest's best rate with dumps: share of that without", table(["dumps", "share"], rows)]
    )


def _summary(session: Session, kind: Kind) -> str:
    """The ingest's best rate with the summary kept up, as a share of that without."""

    def rate(service: Service) -> float:
        tally = service.post(kind, _CONNECTIONS, session.seconds, warmup=session.warmup)
        return tally.results / tally.seconds

    with session.service() as with_it, session.service(summary=False) as without:
        share = ratios(alternating(session.turns, partial(rate, with_it), partial(rate, without)))
    session.say(f"reads: ingest with the summary: {share}")
    return "\n\n".join(
        [
            "### What the summary costs the ingest: share of the best rate without it",
            table(["", "share"], [["", share]]),
        ]
    )


def _wal(session: Session, service: Service, kind: Kind) -> str:
    """The biggest WAL while POSTs come as fast as they are answered."""
    limit = Limits(session.size_mb * 2**20, 1.0, 1).wal_bytes
    rows = []
    for title, reader in (
        ("no reader", contextlib.nullcontext()),
        ("/dump read at 64 KiB/s", _slow_dump(service)),
        ("another process keeps a snapshot", _snapshot(service)),
    ):
        most = 0
        with _loaded(service, kind, None), reader:
            ends = time.monotonic() + session.seconds * _WAL_TIMES
            while time.monotonic() < ends:
                most = max(most, service.wal_bytes())
                time.sleep(0.02)
        session.say(f"reads: the biggest WAL, {title}: {most / 2**20:.0f} MiB")
        rows.append([title, f"{most / limit:.2f}", f"{most / 2**20:.0f}"])
    return "\n\n".join([
        f"### The biggest WAL: multiple of where it is checkpointed ({limit / 2**20:.0f} MiB)",
        table(["", "multiple", "MiB"], rows),
    ])  # fmt: skip


@contextlib.contextmanager
def _slow_dump(service: Service) -> Iterator[None]:
    def read() -> None:
        while True:
            with socket.create_connection((HOST, service.port)) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
                connection.sendall(b"GET /dump HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                while connection.recv(_SLOW_BYTES_S // 16):
                    time.sleep(1 / 16)

    with meanwhile(read):
        yield


@contextlib.contextmanager
def _snapshot(service: Service) -> Iterator[None]:
    path: Path = service.directory / service.get("/stats")["current_db_file"]
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM ping_results").fetchone()
        yield
