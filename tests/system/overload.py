"""Rude clients: far too many posts, idle connections, and senders that take their time.

`python -m tests.system.overload` runs it at full size against an instance of its own and prints the figures.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType

from tests.system.files import all_faults, stored_targets
from tests.system.harness import HOST, Outputd
from tests.system.load import Post, Source
from tests.system.waiting import DEADLINE_S, wait_until

_BODIES_A_SIZE = 6
_PROCESSES = 2
_WELL = 16  # connections that are no overload
_MIB = 1 << 20


class Crowd:
    """Connections that say nothing, and such as send a byte of a body each second."""

    def __init__(self, port: int, idle: int, slow: int) -> None:
        self._port = port
        self._idle, self._slow = idle, slow
        self._sockets: list[socket.socket] = []
        self._leaving = threading.Event()
        self._dripping = threading.Thread(target=self._drip, daemon=True)

    def __enter__(self) -> Crowd:
        for number in range(self._idle + self._slow):
            with suppress(OSError):
                connection = socket.create_connection((HOST, self._port), timeout=DEADLINE_S)
                self._sockets.append(connection)
                if number >= self._idle:
                    connection.sendall(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n[")
        self._dripping.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._dripping.join()
        for connection in self._sockets:
            connection.close()

    def _drip(self) -> None:
        while not self._leaving.wait(1.0):
            for connection in self._sockets[self._idle :]:
                with suppress(OSError):
                    connection.sendall(b" ")


@dataclass
class Tally:
    """What became of many posts."""

    answered: Counter[int] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    """Answers that are neither 200 nor 503, and connections that were cut off."""
    retry_after_s: list[int] = field(default_factory=list)
    without_retry_after: list[bytes] = field(default_factory=list)
    stored: Counter[str] = field(default_factory=Counter)
    """How often each target was in a body that was answered 200."""
    drained_s: float = 0.0
    """From the last post to the last answer: what was held then was on disk."""

    def add(self, other: Tally) -> None:
        """Count what another has counted."""
        for name in ("answered", "others", "stored"):
            getattr(self, name).update(getattr(other, name))
        for name in ("retry_after_s", "without_retry_after"):
            getattr(self, name).extend(getattr(other, name))
        self.drained_s = max(self.drained_s, other.drained_s)


@dataclass
class Overload:
    """So many connections that post without a pause and come again at once when they are refused.

    They are in processes of their own, so that what /health and /metrics are seen to take is what they take.
    """

    outputd: Outputd
    connections: int
    seconds: float
    sizes: Sequence[int]
    tally: Tally = field(default_factory=Tally)
    health_s: list[float] = field(default_factory=list)

    @property
    def results_a_second(self) -> float:
        """Stored, as the answers said."""
        return self.tally.stored.total() / self.seconds

    @property
    def health_p99_s(self) -> float:
        """What 99 of 100 answers of /health and /metrics took at most."""
        return sorted(self.health_s)[int(len(self.health_s) * 0.99)]

    @property
    def retry_after_share(self) -> float:
        """The Retry-After in the middle, over the time that it took in the end to write all that was held."""
        return median(self.tally.retry_after_s) / max(1.0, self.tally.drained_s)

    def run(self) -> None:
        """Return when every connection has had its last answer."""
        share = self.connections // _PROCESSES
        with ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn")) as processes:
            work = [
                processes.submit(_post, self.outputd.port, share, self.seconds, self.sizes, seed)
                for seed in range(_PROCESSES)
            ]
            while not all(each.done() for each in work):
                for path in ("/health", "/metrics"):
                    self.health_s.append(self.outputd.get(path).seconds)
                time.sleep(0.1)  # as often as a busy operator's tools, which are no load themselves
            for each in work:
                self.tally.add(each.result())


def _post(port: int, connections: int, seconds: float, sizes: Sequence[int], seed: int) -> Tally:
    """What became of the posts of one process, which leaves the service its processors: nodes have their own."""
    os.nice(19)
    source = Source(seed)
    bodies = [source.post(size) for size in sizes for _ in range(_BODIES_A_SIZE)]
    ends = time.monotonic() + seconds
    with ThreadPoolExecutor(connections) as threads:
        tallies = list(threads.map(lambda n: _post_on(port, bodies, ends, seed * connections + n), range(connections)))
    tally = Tally()
    for each in tallies:
        tally.add(each)
    return tally


def _post_on(port: int, bodies: Sequence[Post], ends: float, seed: int) -> Tally:
    """What became of the posts of one connection."""
    tally, chance = Tally(), random.Random(seed)
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    while time.monotonic() < ends:
        post = chance.choice(bodies)
        try:
            connection.request("POST", "/results", post.body)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            tally.others[type(error).__name__] += 1
            connection.close()
            continue
        tally.answered[response.status] += 1
        if response.status == 200:
            assert json.loads(content)["received"] == len(post.targets)
            tally.stored.update(post.targets)
        elif response.status == 503:
            wait = response.headers["Retry-After"]
            if wait is None or not 1 <= int(wait) <= 60:
                tally.without_retry_after.append(content)
            else:
                tally.retry_after_s.append(int(wait))
            time.sleep(0.02)  # rude, long before it was told to; without it the client would measure itself
        else:
            tally.others[str(response.status)] += 1
    tally.drained_s = time.monotonic() - ends
    connection.close()
    return tally


def main() -> int:
    """Run at full size, print what was seen; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--pending-mb", type=int, default=64)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        outputd = Outputd(
            Path(place) / "data", "--input-url=", "--keep-files=1000", f"--max-pending-mb={asked.pending_mb}",
            f"--max-connections={asked.connections + asked.idle + asked.slow + 100}",
        ).start()  # fmt: skip
        sizes = (1, 100, 1000)
        print("alone: as many connections as it takes well, 15 s", file=sys.stderr, flush=True)
        best = Overload(outputd, _WELL, 15.0, sizes)
        best.run()
        print(f"overload: {asked.connections} connections, {asked.seconds:g} s", file=sys.stderr, flush=True)
        with Crowd(outputd.port, asked.idle, asked.slow):
            overload = Overload(outputd, asked.connections, asked.seconds, sizes)
            overload.run()
        peak = outputd.peak_rss_bytes / _MIB
        wait_until(lambda: outputd.get("/ready").status == 200, "it is ready")
        ended = outputd.stop()
        wrong = all_faults(outputd.directory)
        lost = (best.tally.stored + overload.tally.stored) - stored_targets(outputd.directory)
    tally, share = overload.tally, overload.results_a_second / best.results_a_second
    print(f"answers          {dict(tally.answered)}, others {dict(tally.others)}")
    print(
        f"Retry-After      {median(tally.retry_after_s):g} s in the middle, {overload.retry_after_share:.1f} times the"
        f" {tally.drained_s:.1f} s that it took in the end to write what was held"
    )
    print(f"results/s        {overload.results_a_second:,.0f}, {share:.2f} of what {_WELL} connections had")
    print(f"health, metrics  p99 {overload.health_p99_s * 1e3:.0f} ms, slowest {max(overload.health_s) * 1e3:.0f} ms")
    print(f"peak memory      {peak:.0f} MiB, allowed {asked.pending_mb + 150}")
    print(f"stored           {tally.stored.total():,} answered, {lost.total()} missing, faults {wrong}")
    kept = {
        "answers": not (tally.others or tally.without_retry_after),
        "Retry-After": 1 / 3 <= overload.retry_after_share <= 3,
        "results/s": share >= 0.8,
        "health, metrics": overload.health_p99_s < 0.25,
        "peak memory": peak < asked.pending_mb + 150,
        "stored": not (lost or wrong),
        "end": ended.code == 0,
    }
    print(f"broken           {', '.join(name for name, is_kept in kept.items() if not is_kept) or 'nothing'}")
    return int(not all(kept.values()))


if __name__ == "__main__":
    sys.exit(main())
