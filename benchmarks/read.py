"""GET latencies of both ports, idle or while results arrive. Standard library only.

Asks for each route over one keep-alive connection, one request after the other, and prints the
latencies and what came back. With `--load RATE` it does so twice: alone, and while load.py posts at
that fixed rate. /dump is asked for less often, and its throughput printed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load


@dataclass(frozen=True, slots=True)
class Route:
    """A GET to measure."""

    base: str
    path: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a route did."""

    statuses: str
    requests: int
    bytes_each: int
    times: dict[str, float]

    @property
    def mb_per_s(self) -> float:
        """Throughput at the median time."""
        return self.bytes_each / self.times["p50"] / 1e6


def get(route: Route) -> Measured:
    """Ask for the route again and again for its time, at least three times."""
    parts = urllib.parse.urlsplit(route.base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    times: list[float] = []
    statuses: set[int] = set()
    size = 0
    start = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < route.seconds:
        began = time.perf_counter()
        connection.request("GET", route.path)
        response = connection.getresponse()
        size = 0
        while chunk := response.read(1 << 20):
            size += len(chunk)
        times.append(time.perf_counter() - began)
        statuses.add(response.status)
    connection.close()
    return Measured(",".join(map(str, sorted(statuses))), len(times), size, load.percentiles(times))


def an_address(health: str) -> str:
    """The target of the newest result, to ask /recent for."""
    parts = urllib.parse.urlsplit(health)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request("GET", "/recent?limit=1")
    newest = json.loads(connection.getresponse().read())
    connection.close()
    return str(newest[0]["ip"]) if newest else "192.0.2.1"


def show(title: str, measured: dict[str, Measured]) -> None:
    """Print a table."""
    print(f"{title}\n  {'GET':<34} {'status':>6} {'requests':>8} {'bytes':>12} {'p50 ms':>9} {'p90':>9} {'p99':>9} "
          f"{'p99.9':>9} {'max':>9} {'MB/s':>8}")  # fmt: skip
    for path, one in measured.items():
        figures = " ".join(f"{value * 1e3:>9.2f}" for value in one.times.values())
        print(f"  {path:<34} {one.statuses:>6} {one.requests:>8} {one.bytes_each:>12,} {figures} {one.mb_per_s:>8.1f}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 1 when a route did not answer 200 throughout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("main", help="the port for results, such as http://127.0.0.1:8081")
    parser.add_argument("health", help="the port for health, such as http://127.0.0.1:8091")
    parser.add_argument("-s", "--seconds", type=float, default=3.0, help="for each route (default %(default)s)")
    parser.add_argument("--load", type=float, metavar="RATE", help="measure again while this many POSTs/s arrive")
    parser.add_argument("--results", type=int, default=100, help="results a POST of that load (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)

    address = urllib.parse.quote(an_address(options.health), safe="")
    routes = [Route(options.health, path, options.seconds)
              for path in ("/recent?limit=100", "/recent?limit=1000", f"/recent?limit=100&ip={address}", "/stats",
                           "/health", "/ready", "/metrics")]  # fmt: skip
    routes.append(Route(options.main, "/dump", options.seconds))
    tables = {"idle": {route.path: get(route) for route in routes}}
    if options.load:
        seconds = sum(route.seconds for route in routes) * 3 + 60
        command = [sys.executable, "-m", "benchmarks.load", f"{options.main}/results", "--rate",
                   str(options.load), "--seconds", str(seconds), "--results", str(options.results)]  # fmt: skip
        poster = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
        try:
            time.sleep(2)
            tables[f"under load: {options.load:g} POSTs/s of {options.results} results"] = {
                route.path: get(route) for route in routes
            }
            if poster.poll() is not None:
                raise SystemExit("the load ended early")
        finally:
            poster.terminate()
            poster.wait()
    if options.json:
        print(json.dumps({
            title: {path: {"status": one.statuses, "requests": one.requests, "bytes": one.bytes_each,
                           "latency_ms": {name: round(value * 1e3, 3) for name, value in one.times.items()}}
                    for path, one in table.items()}
            for title, table in tables.items()
        }))  # fmt: skip
    else:
        for title, table in tables.items():
            show(title, table)
    return 0 if all(one.statuses == "200" for table in tables.values() for one in table.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
