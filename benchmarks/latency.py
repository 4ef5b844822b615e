"""Latency in open loop while the service rotates every second and dumps go on, beside one body alone."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field

from benchmarks import load
from benchmarks.figures import Row, Spread, table
from benchmarks.kinds import Kind
from benchmarks.service import dumping, input_service, meanwhile, rotating
from benchmarks.session import Session

SHARES = (0.25, 0.50, 0.80)
_RANKS = ("p50", "p99", "p99.9")
_CONNECTIONS = 64  # enough that a POST seldom waits for one
_TIMES = 2.2  # of the session's seconds: rare latencies want more POSTs
_PAUSE_S = 1.0
_ALONE_S = 1.0
_ENOUGH = 1000  # POSTs, without which p99.9 is the slowest


@dataclass(slots=True)
class Cell:
    """One kind at one share of the best rate; a figure a turn, latencies as multiples of one body alone."""

    multiples: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _RANKS})
    ms: list[float] = field(default_factory=list)
    posts: list[int] = field(default_factory=list)
    refused: int = 0


@dataclass(slots=True)
class Base:
    """What a kind's latencies are compared with, a figure a turn."""

    alone_ms: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)


def run(session: Session) -> str:
    """Measure, and tell it in Markdown."""
    cells = {(kind.title, share): Cell() for kind in session.kinds for share in SHARES}
    bases = {kind.title: Base() for kind in session.kinds}
    for turn in range(1, session.turns + 1):
        for kind in session.kinds if turn % 2 else session.kinds[::-1]:
            _turn(session, kind, bases[kind.title], {share: cells[kind.title, share] for share in SHARES}, turn)
    for kind in session.kinds:
        values = cells[kind.title, 0.50].multiples["p99"]
        session.rows.append(Row(f"p99 at half of the best rate: {kind.title}", "x one alone", {"outputd": values}))
    return _report(session, cells, bases)


def _turn(session: Session, kind: Kind, base: Base, cells: dict[float, Cell], turn: int) -> None:
    directory = session.directory()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(input_service()) if session.feed else ""
        service = stack.enter_context(session.service(directory, input_url=url))
        tally = service.post(kind, kind.connections, session.seconds, warmup=session.warmup)
        best = max(1, tally.answered) / tally.seconds
        base.best.append(best)
        for share in SHARES if turn % 2 else SHARES[::-1]:
            alone = load.percentiles(service.post(kind, 1, _ALONE_S).latencies)["p50"]  # a fuller file takes longer
            base.alone_ms.append(alone * 1e3)
            works = () if session.quiet else (rotating(service), dumping(service, _PAUSE_S))
            with meanwhile(*works):
                tally = service.post(
                    kind, _CONNECTIONS, session.seconds * _TIMES, warmup=session.warmup, rate=best * share
                )
            ranks = load.percentiles(tally.latencies)
            cell = cells[share]
            for name in _RANKS:
                cell.multiples[name].append(ranks[name] / alone)
            cell.ms.append(ranks["p99.9"] * 1e3)
            cell.posts.append(len(tally.latencies))
            cell.refused += tally.unanswered + sum(n for status, n in tally.statuses.items() if status != "200")
            session.say(
                f"latency: {kind.title}, turn {turn} of {session.turns}, {share:.0%} of {best:,.0f} POSTs/s: "
                f"{', '.join(f'{name} {ranks[name] * 1e3:.1f} ms' for name in _RANKS)}; alone {alone * 1e3:.1f} ms"
            )
        service.check()
    shutil.rmtree(directory)


def _report(session: Session, cells: dict[tuple[str, float], Cell], bases: dict[str, Base]) -> str:
    rows = []
    for (title, share), cell in cells.items():
        few = "" if min(cell.posts) >= _ENOUGH else " (slowest)"
        rows.append([
            title, f"{share:.0%}", *(Spread.of(cell.multiples[name]) for name in _RANKS), f"{Spread.of(cell.ms)}{few}",
            f"{min(cell.posts):,}", cell.refused,
        ])  # fmt: skip
    what = "without rotations and dumps" if session.quiet else "while it rotates every second and dumps go on"
    base = [
        [title, f"{Spread.of(base.alone_ms)}", Spread.of(base.best).text(0)] for title, base in bases.items()
    ]  # fmt: skip
    return "\n\n".join([
        f"### Latency {what}: multiple of one body alone",
        table(["body", "of the best rate", *_RANKS, "p99.9 in ms", "POSTs a turn", "not 200"], rows),
        f"Where a turn had fewer than {_ENOUGH:,} POSTs, p99.9 is its slowest.",
        "### What they are compared with",
        table(["body", "alone: p50 of one connection, ms", "best rate, POSTs/s"], base),
    ])  # fmt: skip
