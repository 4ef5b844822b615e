"""Starting with five full files, and doing nothing."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import time

from benchmarks import load
from benchmarks.figures import Spread, alternating, ratios, table
from benchmarks.full import full_directory
from benchmarks.kinds import CHECKOUT
from benchmarks.service import HOST, Service
from benchmarks.session import Session

_CONNECTIONS = 500
_SETTLE_S = 2.0
_TIMES = 8  # of the session's seconds: CPU is counted in hundredths of a second


def run(session: Session) -> str:
    """Measure, and tell it in Markdown."""
    directory = full_directory(session)

    def start() -> float:
        with session.service(directory) as service:
            return service.start_s

    pairs = list(alternating(session.turns, start, _imports))
    session.say(f"idle: starts in {Spread.of(mine for mine, _ in pairs)} s")
    memory, shares, costs = [], [], []
    for turn in range(1, session.turns + 1):
        with session.service(directory) as service:
            time.sleep(_SETTLE_S)
            shares.append(_cpu_share(service, session.seconds * _TIMES) * 100)
            memory.append(service.rss_mib)
            costs.append(_connections(service))
        session.say(f"idle: turn {turn} of {session.turns}: {memory[-1]:.0f} MiB, {shares[-1]:.2f} % of a core, "
                    f"{costs[-1]:.1f} MiB for {_CONNECTIONS} connections")  # fmt: skip
    return "\n\n".join([
        f"### Start and idle, five full files of {session.size_mb} MiB",
        table(["", "figure"], [
            ["exec to /ready, s", Spread.of(mine for mine, _ in pairs)],
            ["exec to /ready, multiple of the imports alone", ratios(pairs)],
            ["idle memory, MiB", Spread.of(memory)],
            ["idle CPU, % of a core", Spread.of(shares)],
            [f"{_CONNECTIONS} idle keep-alive connections, MiB", Spread.of(costs)],
        ]),
    ])  # fmt: skip


def _imports() -> float:
    began = time.perf_counter()
    command = [sys.executable, "-c", "import twisted.scripts.twistd, outputd.tap, twisted.internet.reactor"]
    subprocess.run(command, cwd=CHECKOUT, check=True)
    return time.perf_counter() - began


def _cpu_share(service: Service, seconds: float) -> float:
    before = load.Usage.of([service.pid]).cpu_s
    began = time.perf_counter()
    time.sleep(seconds)
    return (load.Usage.of([service.pid]).cpu_s - before) / (time.perf_counter() - began)


def _connections(service: Service) -> float:
    """MiB that connections cost which have posted once and are kept open."""
    before = service.rss_mib
    with contextlib.ExitStack() as stack:
        for _ in range(_CONNECTIONS):
            connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection(HOST, service.port)))
            connection.request("POST", "/results", b"[]")
            connection.getresponse().read()
        time.sleep(_SETTLE_S)
        return service.rss_mib - before
