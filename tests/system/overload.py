"""Rude clients: far too many posts, idle connections, and senders that take their time.

`python -m tests.system.overload` runs it at full size against an instance of its own and prints the figures.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.system.files import all_faults, stored_targets
from tests.system.harness import HOST, Outputd
from tests.system.load import Post, Source
from tests.system.waiting import wait_until

_BODIES_A_SIZE = 6
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
                connection = socket.create_connection((HOST, self._port), timeout=5)
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
class Overload:
    """So many connections that post without a pause and come again at once when they are refused."""

    outputd: Outputd
    connections: int
    seconds: float
    sizes: Sequence[int]
    answered: Counter[int] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    """Answers that are neither 200 nor 503, and connections that were cut off."""
    retry_after_s: Counter[int] = field(default_factory=Counter)
    without_retry_after: list[bytes] = field(default_factory=list)
    stored: Counter[str] = field(default_factory=Counter)
    """How often each target was in a body that was answered 200."""
    results: int = 0
    health_s: list[float] = field(default_factory=list)

    @property
    def slowest_health_s(self) -> float:
        """The longest that /health or /metrics took."""
        return max(self.health_s)

    @property
    def health_p99_s(self) -> float:
        """What 99 of 100 took at most."""
        return sorted(self.health_s)[int(len(self.health_s) * 0.99)]

    def run(self) -> None:
        """Return when every connection has had its last answer."""
        source = Source(self.connections)
        bodies = [source.post(size) for size in self.sizes for _ in range(_BODIES_A_SIZE)]
        threads = [
            threading.Thread(target=self._post_on, args=(bodies, n), daemon=True) for n in range(self.connections)
        ]
        ends = time.monotonic() + self.seconds
        self._ends = ends
        for thread in threads:
            thread.start()
        while time.monotonic() < ends:
            for path in ("/health", "/metrics"):
                self.health_s.append(self.outputd.get(path).seconds)
            time.sleep(0.1)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a connection hangs"

    def _post_on(self, bodies: Sequence[Post], number: int) -> None:
        chance = random.Random(number)
        connection = http.client.HTTPConnection(HOST, self.outputd.port, timeout=60)
        while time.monotonic() < self._ends:
            post = chance.choice(bodies)
            try:
                connection.request("POST", "/results", post.body)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.others[type(error).__name__] += 1
                connection.close()
                continue
            self._count(post, response, content)
            if response.status == 503:
                time.sleep(0.02)
        connection.close()

    def _count(self, post: Post, response: http.client.HTTPResponse, content: bytes) -> None:
        self.answered[response.status] += 1
        if response.status == 200:
            assert json.loads(content)["received"] == len(post.targets)
            self.stored.update(post.targets)
            self.results += len(post.targets)
        elif response.status == 503:
            wait = response.headers["Retry-After"]
            if wait is None or not 1 <= int(wait) <= 60:
                self.without_retry_after.append(content)
            else:
                self.retry_after_s[int(wait)] += 1
        else:
            self.others[str(response.status)] += 1


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
            "--max-connections=4000",
        ).start()  # fmt: skip
        sizes = (1, 100, 1000)
        print("alone: as many connections as it takes well, 15 s", file=sys.stderr, flush=True)
        best = Overload(outputd, 16, 15.0, sizes)
        best.run()
        print(f"overload: {asked.connections} connections, {asked.seconds:g} s", file=sys.stderr, flush=True)
        with Crowd(outputd.port, asked.idle, asked.slow):
            overload = Overload(outputd, asked.connections, asked.seconds, sizes)
            overload.run()
        peak = outputd.peak_rss_bytes / _MIB
        wait_until(lambda: outputd.get("/ready").status == 200, "it is ready")
        ended = outputd.stop()
        wrong = all_faults(outputd.directory)
        lost = (best.stored + overload.stored) - stored_targets(outputd.directory)
    share = (overload.results / overload.seconds) / (best.results / best.seconds)
    print(f"answers          {dict(overload.answered)}, others {dict(overload.others)}")
    print(f"Retry-After, s   {dict(sorted(overload.retry_after_s.items()))}")
    print(f"results/s        {overload.results / overload.seconds:,.0f}, {share:.2f} of what 16 connections had")
    print(
        f"health, metrics  p99 {overload.health_p99_s * 1e3:.0f} ms, slowest {overload.slowest_health_s * 1e3:.0f} ms"
    )
    print(f"peak memory      {peak:.0f} MiB, allowed {asked.pending_mb + 150}")
    print(f"stored           {sum(overload.stored.values()):,} answered, {sum(lost.values())} missing, faults {wrong}")
    broken = lost or wrong or overload.others or overload.without_retry_after or ended.code
    return int(bool(broken or peak > asked.pending_mb + 150))


if __name__ == "__main__":
    sys.exit(main())
