"""Throughput, CPU and memory at several numbers of connections, beside the limit."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import load
from benchmarks.figures import Spread, alternating, ratios, table
from benchmarks.kinds import Kind
from benchmarks.service import input_service
from benchmarks.session import Session

CONNECTIONS = (1, 8, 16, 64)
_FULL_CLIENT = 0.85


@dataclass(slots=True)
class Cell:
    """One kind at one number of connections: pairs of service and limit, turn by turn."""

    rates: list[tuple[float, float]] = field(default_factory=list)
    cpu: list[tuple[float, float]] = field(default_factory=list)
    peak_mib: float = 0.0
    busiest: float = 0.0
    client: float = 0.0


def run(session: Session, connections: Sequence[int] = CONNECTIONS) -> str:
    """Measure, and tell it in Markdown."""
    cells = {(kind.title, number): Cell() for kind in session.kinds for number in connections}
    idle: list[float] = []
    for kind in session.kinds:
        for number in connections:
            cell = cells[kind.title, number]
            pairs = alternating(
                session.turns,
                partial(_service, session, kind, number, cell, idle),
                partial(session.limit, kind, number),
            )
            for turn, (figures, limit) in enumerate(pairs, start=1):
                cell.rates.append((figures["results_per_s"], limit["results_per_s"]))
                cell.cpu.append((figures["server"]["cpu_us_per_result"], limit["cpu_us_per_result"]))
                session.say(f"throughput: {kind.title}, {number} connections, turn {turn} of {session.turns}: "
                            f"{figures['results_per_s']:,.0f} of {limit['results_per_s']:,.0f} results/s")  # fmt: skip
    return _report(session, connections, cells, idle)


def _service(session: Session, kind: Kind, connections: int, cell: Cell, idle: list[float]) -> dict[str, Any]:
    directory = session.directory()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(input_service()) if session.feed else ""
        service = session.service(directory, "--keep-files=1000", input_url=url)
        with service:
            idle.append(service.rss_mib)
            figures: dict[str, Any] = load.summary(
                service.post(kind, connections, session.seconds, warmup=session.warmup)
            )
            service.check()
        service.check_files()
    shutil.rmtree(directory)
    server = figures["server"]
    cell.peak_mib = max(cell.peak_mib, server["peak_rss_mib"])
    cell.busiest = max(cell.busiest, server["busiest_thread_share"])
    cell.client = max(cell.client, figures["client_cpu_share"])
    return figures


def _report(
    session: Session, connections: Sequence[int], cells: dict[tuple[str, int], Cell], idle: Sequence[float]
) -> str:
    titles = [kind.title for kind in session.kinds]

    def of(number: int) -> list[Cell]:
        return [cells[title, number] for title in titles]

    head = ["connections", *titles]
    usual = Spread.of(idle).median
    shares = [[n, *(ratios(cell.rates) for cell in of(n))] for n in connections]
    limits = [[n, *(Spread.of(limit for _, limit in cell.rates).text(0) for cell in of(n))] for n in connections]
    costs = [[n, *(ratios(cell.cpu) for cell in of(n))] for n in connections]
    peaks = [[n, *(f"{cell.peak_mib / usual:.2f} ({cell.peak_mib:.0f} MiB)" for cell in of(n))] for n in connections]
    busy = [[n, *(f"{cell.busiest:.0%}" for cell in of(n))] for n in connections]
    full = [f"{title} at {number}" for (title, number), cell in cells.items() if cell.client > _FULL_CLIENT]
    parts = [
        "### Throughput: share of the limit",
        table(head, shares),
        "### The limit itself: results a second, with as many bodies a transaction",
        table(head, limits),
        "### CPU a result: multiple of the limit's",
        table(head, costs),
        "### The busiest thread of the service: share of a core",
        table(head, busy),
        f"### Peak memory: multiple of the idle service's {usual:.0f} MiB",
        table(head, peaks),
    ]
    if full:
        parts.append(f"The load generator was near its own limit, so these say too little: {'; '.join(full)}.")
    return "\n\n".join(parts)
