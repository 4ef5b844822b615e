"""Load generator for `POST /results`. One process, standard library only (Linux, Python 3.11+).

Closed loop (the default): every connection sends its next POST as soon as the last one is answered.
Open loop (`--rate`): POSTs are due at fixed moments and latency counts from the moment a POST was
due, so that a server which stalls cannot hide the POSTs that it kept from being sent.

Requests are made before the clock starts and go out over non-blocking keep-alive sockets, so the
client costs little beside the server that it measures. See README.md for examples.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import gzip
import json
import os
import random
import re
import select
import socket
import sys
import time
import urllib.parse
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

# -- bodies ---------------------------------------------------------------------------------------


class Body(NamedTuple):
    """One POST body and what it holds."""

    data: bytes
    results: int
    hops: int
    node: str = ""
    """Who sends it; without a name it is the peer's address."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What generated bodies look like; the same shape always gives the same bodies."""

    results: int = 100
    hops: int = 12
    traceroute_share: float = 1.0
    timeout_share: float = 0.1
    new_share: float = 0.01
    seed: int = 1

    def __str__(self) -> str:
        return (
            f"{self.results} results x {self.hops} hops, traceroute {self.traceroute_share:.0%}, "
            f"timeouts {self.timeout_share:.0%}, new addresses {self.new_share:.0%}, seed {self.seed}"
        )


# Both markers keep their length when a later round of the same bodies is made fresh (see `freshen`).
_FIRST_DAY = datetime.date(2020, 1, 1)
_DAY = b'"timestamp":"%sT'
_NEW = b'"ip":"%d.'
_NEW_OCTETS = range(128, 168)  # first octets that only new addresses have


def generate(shape: Shape, max_bytes: int = 16 << 20, most: int = 8192) -> list[Body]:
    """Make bodies until they fill max_bytes or are `most`; every result has a timestamp of its own."""
    rng = random.Random(shape.seed)
    known = [f"{rng.randint(11, 99)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
             for _ in range(20_000)]  # fmt: skip
    serial = 0
    bodies: list[Body] = []
    filled = 0

    def hop(ttl: int, target: str) -> str:
        nonlocal serial
        if ttl == shape.hops:
            ip = target
        elif rng.random() < shape.timeout_share:
            return f'{{"ttl":{ttl},"timeout":true}}'
        elif rng.random() < shape.new_share:
            serial += 1
            ip = f"{_NEW_OCTETS[0]}.{serial >> 16 & 255}.{serial >> 8 & 255}.{serial & 255}"
        else:  # the first hops are few, the later ones many, as seen from a few vantage points
            ip = known[int(rng.random() * min(len(known), 16 << ttl))]
        return f'{{"ttl":{ttl},"ip":"{ip}","rtt":{int(rng.random() * ttl * 8e6) + 200_000}}}'

    while filled < max_bytes and len(bodies) < most:
        items: list[str] = []
        hops = 0
        for _ in range(shape.results):
            target = known[int(rng.random() * 2000)]
            received = 0 if rng.random() < 0.05 else 4
            tail = "" if received else ',"error":"timeout"'
            if shape.hops and rng.random() < shape.traceroute_share:
                path = ",".join(hop(ttl, target) for ttl in range(1, shape.hops + 1))
                hops += shape.hops
                tail += f',"traceroute":{{"method":"icmp","completed":true,"hops":[{path}]}}'
            items.append(
                f'{{"ip":"{target}","sent":4,"received":{received},"packet_loss":{0 if received else 100},'
                f'"avg_rtt":{int(rng.random() * 9e7) if received else 0},'
                f'"timestamp":"{moment(len(bodies) * shape.results + len(items))}"{tail}}}'
            )
        bodies.append(Body(f"[{','.join(items)}]".encode(), shape.results, hops))
        filled += len(bodies[-1].data)
    return bodies


def moment(serial: int) -> str:
    """The timestamp of the result of this number, 7 ms after that of the one before."""
    seconds, fraction = divmod(serial * 7_000_003, 1_000_000_000)
    return f"{_FIRST_DAY}T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:09}Z"


def freshen(data: bytes, cycle: int) -> bytes:
    """Give a generated body new timestamps and new hop addresses for its cycle-th use."""
    for old, new in _swaps(cycle):
        data = data.replace(old, new)
    return data


@functools.cache
def _swaps(cycle: int) -> tuple[tuple[bytes, bytes], ...]:
    day = _FIRST_DAY + datetime.timedelta(days=cycle)
    first = _NEW_OCTETS[0]
    return (
        (_DAY % str(_FIRST_DAY).encode(), _DAY % str(day).encode()),
        (_NEW % first, _NEW % (first + cycle % len(_NEW_OCTETS))),
    )


def read_file(path: Path) -> list[Body]:
    """Read a file with one POST body (a JSON array of results) a line, gzip or plain."""
    text = path.read_bytes()
    lines = (gzip.decompress(text) if path.suffix == ".gz" else text).splitlines()
    return [counted(line) for line in lines if line.strip()]


def counted(data: bytes) -> Body:
    """A body of results, with what is in it."""
    items = json.loads(data)
    hops = sum(len((item.get("traceroute") or {}).get("hops") or []) for item in items)
    return Body(data, len(items), hops)


@dataclass
class Source:
    """Hands out whole requests, over and over; a generated body never goes out twice the same."""

    requests: Sequence[Body]
    fresh: bool = False
    before: int = 0
    keys: str | None = None

    def take(self) -> Body:
        """The next request: its bytes and what they hold."""
        cycle, index = divmod(self.before, len(self.requests))
        self.before += 1
        request = self.requests[index]
        if self.fresh and cycle:
            request = request._replace(data=self._of_another(index + cycle, request, freshen(request.data, cycle)))
        if self.keys is not None:
            line, _, rest = request.data.partition(b"\r\n")
            key = f"\r\nIdempotency-Key: {self.keys}-{self.before}\r\n".encode()
            request = request._replace(data=line + key + rest)
        return request

    def _of_another(self, index: int, request: Body, data: bytes) -> bytes:
        """A request as another node sends it, where nodes have names."""
        another = self.requests[index % len(self.requests)].node
        return data.replace(request.node.encode(), another.encode(), 1) if request.node else data


def requests(url: str, bodies: Iterable[Body], headers: Sequence[str] = (), gzipped: bool = False) -> list[Body]:
    """Turn bodies into whole HTTP/1.1 requests."""
    parts = urllib.parse.urlsplit(url)
    lines = [f"POST {parts.path or '/results'}{'?' + parts.query if parts.query else ''} HTTP/1.1",
             f"Host: {parts.netloc}", "Content-Type: application/json", *headers]  # fmt: skip
    if gzipped:
        lines.append("Content-Encoding: gzip")
        bodies = [body._replace(data=gzip.compress(body.data, 6)) for body in bodies]
    head = "\r\n".join(lines).encode()
    return [body._replace(data=b"%s%s\r\nContent-Length: %d\r\n\r\n%s" % (
        head, f"\r\nX-Ping-Node: {body.node}".encode() if body.node else b"", len(body.data), body.data,
    )) for body in bodies]  # fmt: skip


# -- what the processes use ------------------------------------------------------------------------

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """CPU, memory and disk writes of some processes and their children, read from /proc."""

    cpu_s: float = 0.0
    threads: dict[str, float] = field(default_factory=dict)
    peak_rss_bytes: int = 0
    written_bytes: int = 0

    @classmethod
    def of(cls, pids: Iterable[int]) -> Usage:
        """What they have used since they started; a process that has ended counts nothing."""
        usage, waiting = cls(), list(pids)
        while waiting:
            proc = Path("/proc") / str(waiting.pop())
            try:
                usage.cpu_s += _cpu(proc / "stat")
                usage.peak_rss_bytes += number_of(proc / "status", "VmHWM:") * 1024
                usage.written_bytes += number_of(proc / "io", "write_bytes:")
                for task in (proc / "task").iterdir():
                    usage.threads[task.name] = _cpu(task / "stat")
                    waiting += map(int, (task / "children").read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue
        return usage

    def since(self, before: Usage) -> Usage:
        """What was used between two readings; the memory peak is that of the whole life."""
        threads = {tid: cpu - before.threads.get(tid, 0.0) for tid, cpu in self.threads.items()}
        return Usage(self.cpu_s - before.cpu_s, threads, self.peak_rss_bytes,
                     self.written_bytes - before.written_bytes)  # fmt: skip


def _cpu(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def number_of(path: Path, name: str) -> int:
    """The number behind a name in a file of /proc, 0 without it."""
    return next((int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(name)), 0)


def _machine() -> tuple[float, float]:
    """Seconds that all cores together were idle, and in all."""
    ticks = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (ticks[3] + ticks[4]) / _TICKS, sum(ticks) / _TICKS


# -- the wire --------------------------------------------------------------------------------------

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_RECEIVED = re.compile(rb'"received": *(\d+)')
_DUPLICATE = re.compile(rb'"duplicate": *true')


class Answer(NamedTuple):
    """One answer: when its POST was due, sent and answered (seconds), and what came back."""

    due: float
    sent: float
    done: float
    status: int
    request: Body
    body: bytes


class Connection:
    """A keep-alive connection with at most one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.unsent = memoryview(b"")
        self.received = b""
        self.request: Body | None = None
        self.due = self.sent = 0.0
        self.closing = False

    def push(self) -> bool:
        """Send what the socket takes; true when all is sent."""
        with contextlib.suppress(BlockingIOError):
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        return not self.unsent

    def pull(self) -> Answer | None:
        """Read what has come; the answer once it is whole."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError(0, "closed by the server")
        self.received += data
        split = self.received.find(b"\r\n\r\n") + 4
        if split < 4 or self.request is None:
            return None
        head = self.received[:split].lower()
        length = _LENGTH.search(head)
        if length:
            whole = len(self.received) - split >= int(length[1])
        else:  # chunked: nothing can follow the last chunk, as requests are not pipelined
            whole = self.received.endswith(b"0\r\n\r\n") or b"chunked" not in head
        if not whole:
            return None
        self.closing = b"\r\nconnection: close" in head
        answer = Answer(self.due, self.sent, time.perf_counter(), int(head[9:12]), self.request, self.received[split:])
        self.request, self.received = None, b""
        return answer


class Pool:
    """Connections to one server; one that breaks is opened again."""

    def __init__(self, address: tuple[str, int], size: int) -> None:
        self.address = address
        self.epoll = select.epoll()
        self.all: dict[int, Connection] = {}
        self.idle: deque[Connection] = deque()
        self.failures: Counter[str] = Counter()
        for _ in range(size):
            self._open()

    def send(self, request: Body, due: float, now: float) -> None:
        """Send on an idle connection."""
        connection = self.idle.popleft()
        connection.request, connection.due, connection.sent = request, due, now
        connection.unsent = memoryview(request.data)
        try:
            if not connection.push():
                self.epoll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            self._fail(connection, error)

    def answers(self, wait: float, sharp: bool) -> Iterator[Answer]:
        """What comes in within `wait` seconds (epoll counts in milliseconds; sharp: in microseconds)."""
        if sharp:
            select.select([self.epoll], [], [], wait)
            wait = 0.0
        for number, event in self.epoll.poll(wait):
            connection = self.all[number]
            try:
                if event & select.EPOLLOUT and connection.push():
                    self.epoll.modify(connection.socket, select.EPOLLIN)
                answer = connection.pull() if event & ~select.EPOLLOUT else None
            except OSError as error:
                self._fail(connection, error)
                continue
            if answer is not None:
                if connection.closing:
                    self._replace(connection)
                else:
                    self.idle.append(connection)
                yield answer

    def waiting(self) -> list[float]:
        """When the requests that have no answer yet were due."""
        return [connection.due for connection in self.all.values() if connection.request is not None]

    def close(self) -> None:
        """Close all connections."""
        for connection in self.all.values():
            connection.socket.close()
        self.epoll.close()

    def _open(self) -> None:
        connection = Connection(self.address)
        self.all[connection.socket.fileno()] = connection
        self.epoll.register(connection.socket, select.EPOLLIN)
        self.idle.append(connection)

    def _fail(self, connection: Connection, error: OSError) -> None:
        if connection.request is None:  # an idle connection may be closed by the server
            self.idle.remove(connection)
        else:
            self.failures[error.strerror or type(error).__name__] += 1
        self._replace(connection)

    def _replace(self, connection: Connection) -> None:
        del self.all[connection.socket.fileno()]
        connection.socket.close()
        try:
            self._open()
        except OSError as error:
            self.failures[f"connect: {error.strerror or type(error).__name__}"] += 1


# -- the run ---------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of a run."""

    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    results: int = 0
    hops: int = 0
    sent_bytes: int = 0
    duplicates: int = 0
    partial: int = 0
    unanswered: int = 0
    acknowledged_total: int = 0
    latencies: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    client_cpu_s: float = 0.0
    server: Usage = field(default_factory=Usage)
    machine_idle: float = 0.0

    def add(self, answer: Answer, in_window: bool, timed: bool) -> None:
        """Count an answer, for the throughput if in_window, for status and latency if timed."""
        good = 200 <= answer.status < 300
        said = _RECEIVED.search(answer.body) if good else None
        stored = int(said[1]) if said else answer.request.results if good else 0
        duplicate = good and _DUPLICATE.search(answer.body) is not None
        new = 0 if duplicate else stored
        self.acknowledged_total += new
        if in_window:
            self.answered += 1
            self.results += new
            self.hops += answer.request.hops if new else 0
            self.sent_bytes += len(answer.request.data)
            self.duplicates += duplicate
            self.partial += good and stored != answer.request.results
        if timed:
            self.statuses[str(answer.status)] += 1
            self.latencies.append(answer.done - answer.due)
            self.late.append(answer.sent - answer.due)


class Reading(NamedTuple):
    """What everyone had used at one moment."""

    at: float
    server: Usage
    client_cpu_s: float
    machine: tuple[float, float]

    @classmethod
    def now(cls, pids: Sequence[int]) -> Reading:
        """Take it."""
        return cls(time.perf_counter(), Usage.of(pids), time.process_time(), _machine())


def run(
    address: tuple[str, int],
    source: Source,
    *,
    connections: int = 16,
    seconds: float = 10.0,
    warmup: float = 1.0,
    rate: float | None = None,
    count: int | None = None,
    pids: Sequence[int] = (),
    grace: float = 30.0,
) -> Tally:
    """Send the source's requests and tally the answers.

    Measures for `seconds` after `warmup`, or from the first POST to the last answer when `count` is
    given. What is still under way at the end is waited for: it adds to `acknowledged_total` and, at a
    fixed rate, to the latencies, but not to the throughput. A server silent for `grace` seconds ends
    the run. Raises OSError when the server cannot be reached at the start.
    """
    tally, clock = Tally(), time.perf_counter
    pool = Pool(address, connections)
    start = due = progress = clock()
    begin = start if count else start + warmup
    end = float("inf") if count else begin + seconds
    total = count or (int((end - start) * rate) if rate else None)
    opened: Reading | None = None
    closed: Reading | None = None
    sent = 0
    while True:
        now = clock()
        if opened is None and now >= begin:
            opened = Reading.now(pids)
        if closed is None and now >= end:
            closed = Reading.now(pids)
        while pool.idle and due <= now and (now < end if total is None else sent < total):
            pool.send(source.take(), due if rate else now, now)
            sent += 1
            now = clock()
            if rate:
                due = start + sent / rate
        more = now < end if total is None else sent < total
        if (not more and len(pool.idle) == len(pool.all)) or not pool.all or now - progress > grace:
            break
        wait = min(0.01, max(due - now, 0.0)) if rate and more and pool.idle else 0.01
        for answer in pool.answers(wait, sharp=rate is not None):
            progress = answer.done
            in_window = opened is not None and closed is None
            tally.add(answer, in_window, begin <= answer.due < end if rate else in_window)

    overdue = pool.waiting()
    if rate and total:  # what was due and never sent has waited too
        overdue += [start + number / rate for number in range(sent, total)]
        tally.latencies += [clock() - moment for moment in overdue if moment >= begin]
    tally.unanswered = len(overdue)
    tally.statuses += pool.failures
    pool.close()
    closed = closed or Reading.now(pids)
    opened = opened or closed
    tally.seconds = closed.at - opened.at
    tally.server = closed.server.since(opened.server)
    tally.client_cpu_s = closed.client_cpu_s - opened.client_cpu_s
    idle, every = (after - before for before, after in zip(opened.machine, closed.machine, strict=True))
    tally.machine_idle = idle / every if every else 0.0
    return tally


# -- the report ------------------------------------------------------------------------------------


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """p50, p90, p99, p99.9 and max (nearest rank); empty without values."""
    ranked = sorted(values)
    if not ranked:
        return {}
    ranks = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: ranked[min(len(ranked) - 1, int(len(ranked) * share))] for name, share in ranks.items()}


def summary(tally: Tally) -> dict[str, object]:
    """The figures of a run, by name, ready for JSON; latencies in milliseconds."""
    seconds = tally.seconds or 1.0
    figures: dict[str, object] = {
        "seconds": round(tally.seconds, 3),
        "results_per_s": round(tally.results / seconds, 1),
        "posts_per_s": round(tally.answered / seconds, 1),
        "hop_rows_per_s": round(tally.hops / seconds, 1),
        "sent_mb_per_s": round(tally.sent_bytes / seconds / 1e6, 2),
        "statuses": dict(tally.statuses),
        "unanswered": tally.unanswered,
        "partial": tally.partial,
        "duplicates": tally.duplicates,
        "acknowledged_total": tally.acknowledged_total,
        "latency_ms": {name: round(value * 1e3, 3) for name, value in percentiles(tally.latencies).items()},
        "sent_late_ms": {name: round(value * 1e3, 3) for name, value in percentiles(tally.late).items()},
        "client_cpu_share": round(tally.client_cpu_s / seconds, 3),
        "machine_idle_share": round(tally.machine_idle, 3),
    }
    if tally.server.peak_rss_bytes:
        figures["server"] = {
            "cpu_s": round(tally.server.cpu_s, 2),
            "cpu_share": round(tally.server.cpu_s / seconds, 3),
            "busiest_thread_share": round(max(tally.server.threads.values(), default=0.0) / seconds, 3),
            "cpu_us_per_result": round(tally.server.cpu_s * 1e6 / (tally.results or 1), 2),
            "peak_rss_mib": round(tally.server.peak_rss_bytes / 2**20, 1),
            "written_mb_per_s": round(tally.server.written_bytes / seconds / 1e6, 2),
        }
    return figures


def table(title: str, tally: Tally, rate: float | None) -> str:
    """The figures for people."""
    figures, seconds = summary(tally), tally.seconds or 1.0

    def line(name: str, text: str) -> str:
        return f"  {name:<13} {text}"

    def times(values: Iterable[float]) -> str:
        return "   ".join(f"{name} {value * 1e3:.2f}" for name, value in percentiles(values).items()) or "-"

    statuses = ", ".join(f"{status}: {n}" for status, n in sorted(tally.statuses.items())) or "none"
    lines = [
        title,
        line("results/s", f"{figures['results_per_s']:,}"),
        line("POSTs/s", f"{figures['posts_per_s']:,}   ({figures['sent_mb_per_s']} MB/s)"),
        line("hop rows/s", f"{figures['hop_rows_per_s']:,}"),
        line(
            "answers", f"{statuses}; unanswered {tally.unanswered}, partial {tally.partial}, twice {tally.duplicates}"
        ),
        line("latency ms", times(tally.latencies)),
    ]
    if rate:
        lines.append(line("sent late ms", f"{times(tally.late)}   (waited for a free connection)"))
    if tally.server.peak_rss_bytes:
        server = tally.server
        busiest = max(server.threads.values(), default=0.0)
        lines.append(line("server", f"CPU {server.cpu_s:.2f} s ({server.cpu_s / seconds:.0%} of a core, busiest thread "
                                    f"{busiest / seconds:.0%}), peak RSS {server.peak_rss_bytes / 2**20:.0f} MiB, "
                                    f"disk writes {server.written_bytes / seconds / 1e6:.1f} MB/s"))  # fmt: skip
    share = tally.client_cpu_s / seconds
    lines.append(line("client", f"CPU {tally.client_cpu_s:.2f} s ({share:.0%} of a core)"
                                f"{'   THE CLIENT IS NEAR ITS LIMIT' if share > 0.85 else ''}"))  # fmt: skip
    lines.append(line("machine", f"{tally.machine_idle:.0%} idle over all cores, {seconds:.1f} s measured"))
    return "\n".join(lines)


def add_body_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which bodies to use."""
    usual = Shape()
    group = parser.add_argument_group("bodies")
    group.add_argument("--file", type=Path, help="replay this .jsonl or .jsonl.gz file, one POST body a line")
    group.add_argument("--results", type=int, default=usual.results, help="results a body (default %(default)s)")
    group.add_argument("--hops", type=int, default=usual.hops, help="hops a traceroute (default %(default)s)")
    group.add_argument("--traceroute", type=float, default=usual.traceroute_share, metavar="SHARE",
                       help="share of results with a traceroute (default %(default)s)")  # fmt: skip
    group.add_argument("--timeouts", type=float, default=usual.timeout_share, metavar="SHARE",
                       help="share of hops that timed out (default %(default)s)")  # fmt: skip
    group.add_argument("--new-hops", type=float, default=usual.new_share, metavar="SHARE",
                       help="share of hops with an address never sent before (default %(default)s)")  # fmt: skip
    group.add_argument("--seed", type=int, default=usual.seed, help="same seed, same bodies (default %(default)s)")


def bodies_of(options: argparse.Namespace) -> tuple[list[Body], str]:
    """The bodies that the options ask for, and their description."""
    if options.file:
        return read_file(options.file), f"{options.file.name}, replayed"
    shape = Shape(options.results, options.hops, options.traceroute, options.timeouts, options.new_hops, options.seed)
    return generate(shape), str(shape)


def address_of(url: str) -> tuple[str, int]:
    """Host and port of an http URL."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise SystemExit(f"{url}: give an http:// URL")
    return parts.hostname, parts.port or 80


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 1 when an answer was not expected or did not come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="such as http://127.0.0.1:8081/results")
    parser.add_argument("-c", "--connections", type=int, default=16, help="default %(default)s")
    parser.add_argument("-s", "--seconds", type=float, default=10.0, help="measured time (default %(default)s)")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before it (default %(default)s)")
    parser.add_argument("--rate", type=float, help="open loop: POSTs due per second")
    parser.add_argument("--count", type=int, help="send exactly this many POSTs, without warm-up")
    parser.add_argument("--pid", type=int, action="append", default=[], help="server process to measure (repeatable)")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="repeatable")
    parser.add_argument("--keys", action="store_true", help="give each POST an Idempotency-Key of its own")
    parser.add_argument("--gzip", action="store_true", help="compress the bodies (they then repeat unchanged)")
    parser.add_argument("--expect", default="200", help="statuses that are right, by commas (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    add_body_options(parser)
    options = parser.parse_args(argv)

    bodies, description = bodies_of(options)
    source = Source(
        requests(options.url, bodies, options.header, options.gzip),
        fresh=not options.file and not options.gzip,
        keys=f"load-{os.getpid()}-{time.time_ns()}" if options.keys else None,
    )
    loop = f"open loop at {options.rate:g} POSTs/s" if options.rate else "closed loop"
    title = f"{options.url}: {loop}, {options.connections} connections; {description}"
    try:
        tally = run(
            address_of(options.url), source, connections=options.connections, seconds=options.seconds,
            warmup=options.warmup, rate=options.rate, count=options.count, pids=options.pid,
        )  # fmt: skip
    except OSError as error:
        raise SystemExit(f"cannot reach the server: {error}") from error
    if options.json:
        shown = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        print(json.dumps({"title": title, "options": shown, **summary(tally)}))
    else:
        print(table(title, tally, options.rate))
    unexpected = sum(n for status, n in tally.statuses.items() if status not in options.expect.split(","))
    return 1 if unexpected or tally.unanswered or not tally.answered else 0


if __name__ == "__main__":
    sys.exit(main())
