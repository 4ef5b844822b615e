"""The best rate, CPU and memory, beside the limit, the peer in Go, and another commit."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Row, Spread, in_turn, table
from benchmarks.go import Peer
from benchmarks.kinds import Kind
from benchmarks.service import Server, Service, input_service
from benchmarks.session import Session

_FULL_CLIENT = 0.85


class Run(NamedTuple):
    """What one of them did in one turn; of the limit only the first two are known."""

    results_per_s: float
    cpu_us_per_result: float
    peak_mib: float = 0.0
    busiest_thread: float = 0.0
    client: float = 0.0


def run(session: Session) -> str:
    """Measure, and tell it in Markdown."""
    runs = {kind.title: _turns(session, kind) for kind in session.kinds}
    for kind in session.kinds:
        session.rows.append(_row(kind, "best rate", "results/s", runs[kind.title], lambda one: one.results_per_s))
    for kind in session.kinds:
        session.rows.append(_row(kind, "CPU a result", "us", runs[kind.title], lambda one: one.cpu_us_per_result))
    lines = [
        [f"{kind.title}, {kind.connections}", name, Spread.of(one.results_per_s for one in turns).text(0),
         Spread.of(one.cpu_us_per_result for one in turns), *_of_process(turns)]
        for kind in session.kinds for name, turns in runs[kind.title].items()
    ]  # fmt: skip
    head = ["body, connections", "", "results/s", "CPU a result, us", "busiest thread", "peak memory, MiB"]
    parts = [table(head, lines)]
    full = [title for title, turns in runs.items() if any(one.client > _FULL_CLIENT for one in turns["outputd"])]
    if full:
        parts.append(f"The load generator was near its own limit, so these say too little: {', '.join(full)}.")
    return "\n\n".join(parts)


def _turns(session: Session, kind: Kind) -> dict[str, list[Run]]:
    works: dict[str, Callable[[], Run]] = {
        name: partial(_outputd, session, kind, checkout) for name, checkout in session.checkouts.items()
    }
    works["the limit"] = partial(_limit, session, kind)
    if session.peer is not None:
        works["Go"] = partial(_go, session, kind, session.peer)
    turns: dict[str, list[Run]] = {name: [] for name in works}
    for number, figures in enumerate(in_turn(session.turns, works), start=1):
        for name, figure in figures.items():
            turns[name].append(figure)
        rates = ", ".join(f"{name} {figure.results_per_s:,.0f}" for name, figure in figures.items())
        session.say(f"saturated: {kind.title}, turn {number} of {session.turns}: {rates} results/s")
    return turns


def _outputd(session: Session, kind: Kind, checkout: Path) -> Run:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(input_service()) if session.feed else ""
        return _posted(session, kind, session.service(None, "--keep-files=1000", input_url=url, checkout=checkout))


def _go(session: Session, kind: Kind, program: Path) -> Run:
    return _posted(session, kind, Peer(program, session.directory()))


def _limit(session: Session, kind: Kind) -> Run:
    figures = session.limit(kind, kind.connections)
    return Run(figures["results_per_s"], figures["cpu_us_per_result"])


def _posted(session: Session, kind: Kind, server: Server) -> Run:
    with server:
        tally = server.post(kind, kind.connections, session.seconds, warmup=session.warmup)
        if isinstance(server, Service):
            server.check()
    if isinstance(server, Service):
        server.check_files()
    shutil.rmtree(server.directory)
    used = tally.server
    return Run(
        tally.results / tally.seconds, used.cpu_s * 1e6 / max(1, tally.results), used.peak_rss_bytes / 2**20,
        max(used.threads.values(), default=0.0) / tally.seconds, tally.client_cpu_s / tally.seconds,
    )  # fmt: skip


def _row(kind: Kind, what: str, unit: str, runs: dict[str, list[Run]], figure: Callable[[Run], float]) -> Row:
    title = f"{what}: {kind.title}, {kind.connections} connections"
    return Row(title, unit, {name: [figure(one) for one in turns] for name, turns in runs.items()})


def _of_process(turns: list[Run]) -> tuple[str, str]:
    if not any(one.peak_mib for one in turns):
        return "", ""
    return f"{max(one.busiest_thread for one in turns):.0%}", f"{max(one.peak_mib for one in turns):.0f}"
