"""What a result costs when there is time: CPU and bytes written to disk at a fixed rate, what is put off included."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import load
from benchmarks.figures import Row, Spread, in_turn, table
from benchmarks.go import Peer
from benchmarks.kinds import Kind, one_by_one, real
from benchmarks.service import Server, Service
from benchmarks.session import Session

_CONNECTIONS = 16
_TIMES = 5  # of the session's seconds: CPU is counted in hundredths of a second
_QUIET_CPU_S = 0.02
_LONGEST_S = 60


class Cost(NamedTuple):
    """Of one result, and how long its POST took."""

    cpu_ms: float
    written_kib: float
    p50_ms: float
    p99_ms: float


_FIGURES = {
    "CPU a result": ("ms", "cpu_ms"),
    "written a result": ("KiB", "written_kib"),
    "p50": ("ms", "p50_ms"),
    "p99": ("ms", "p99_ms"),
}


def run(session: Session) -> str:
    """Measure, and tell it in Markdown."""
    bodies = real()
    loads = [(one_by_one(bodies), 10), (one_by_one(bodies), 100), (bodies, 10)]
    works = {name: partial(_outputd, session, loads, checkout) for name, checkout in session.checkouts.items()}
    if session.peer is not None:
        works["Go"] = partial(_go, session, loads, session.peer)
    costs: list[dict[str, list[Cost]]] = [{name: [] for name in works} for _ in loads]
    for number, turn in enumerate(in_turn(session.turns, works), start=1):
        for name, figures in turn.items():
            for (kind, rate), of_load, cost in zip(loads, costs, figures, strict=True):
                of_load[name].append(cost)
                session.say(f"light: {name}, {kind.title} at {rate} POSTs/s, turn {number} of {session.turns}: "
                            f"{cost.cpu_ms:.2f} ms of CPU and {cost.written_kib:.0f} KiB a result")  # fmt: skip
    for what, (unit, figure) in _FIGURES.items():
        for (kind, rate), of_load in zip(loads, costs, strict=True):
            values = {name: [getattr(cost, figure) for cost in turns] for name, turns in of_load.items()}
            session.rows.append(Row(f"{what}: {kind.title} at {rate} POSTs/s", unit, values))
    return table(
        ["", "POSTs/s", "", *(f"{what}, {unit}" for what, (unit, _) in _FIGURES.items())],
        [[kind.title, rate, name, *(Spread.of(figure) for figure in zip(*turns, strict=True))]
         for (kind, rate), of_load in zip(loads, costs, strict=True) for name, turns in of_load.items()],
    )  # fmt: skip


def _outputd(session: Session, loads: Sequence[tuple[Kind, int]], checkout: Path) -> list[Cost]:
    return _costs(session, loads, session.service(checkout=checkout))


def _go(session: Session, loads: Sequence[tuple[Kind, int]], program: Path) -> list[Cost]:
    return _costs(session, loads, Peer(program, session.directory()))


def _costs(session: Session, loads: Sequence[tuple[Kind, int]], server: Server) -> list[Cost]:
    with server:
        bodies = loads[-1][0]
        server.post(bodies, _CONNECTIONS, 0.0, count=len(bodies.bodies))
        return [_cost(server, kind, rate, session.seconds * _TIMES) for kind, rate in loads]


def _cost(server: Server, kind: Kind, rate: int, seconds: float) -> Cost:
    before = _at_rest(server)
    tally = server.post(kind, _CONNECTIONS, seconds, warmup=0.0, rate=rate)
    used = _at_rest(server).since(before)
    results, ranks = tally.acknowledged_total, load.percentiles(tally.latencies)
    return Cost(used.cpu_s * 1e3 / results, used.written_bytes / 1024 / results, ranks["p50"] * 1e3, ranks["p99"] * 1e3)


def _at_rest(server: Server) -> load.Usage:
    """What it has used once nothing is put off any more: who asks brings the summary up to date."""
    if isinstance(server, Service):
        server.get("/targets?limit=1")
    ends = time.monotonic() + _LONGEST_S
    used = load.Usage.of([server.pid])
    while time.monotonic() < ends:
        time.sleep(1.0)  # what a second costs is what is looked at
        before, used = used, load.Usage.of([server.pid])
        more = used.since(before)
        if more.cpu_s <= _QUIET_CPU_S and not more.written_bytes:
            break
    return used
