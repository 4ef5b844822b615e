"""Whether a POST costs the same after many rows, with many known addresses, when all are new, and while many wait."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import load
from benchmarks.figures import Spread, alternating, ratios, table
from benchmarks.kinds import Kind, all_new, usual
from benchmarks.service import Service, input_service
from benchmarks.session import Session
from outputd.ledger.ledger import SCHEMA

_CONNECTIONS = 16
_SLICES = 10
_LEDGER = "hops.sqlite3"
_UNBOUNDED = "--max-hops=100000000"


def run(session: Session) -> str:
    """Measure, and tell it in Markdown."""
    wanted = session.only or list(PARTS)
    return "\n\n".join(part(session) for name, part in PARTS.items() if name in wanted)


def _post(session: Session, service: Service, kind: Kind) -> tuple[float, float]:
    """Results a second and CPU a result (us), into a new file."""
    service.rotate()
    tally = service.post(kind, _CONNECTIONS, session.seconds, warmup=session.warmup)
    return tally.results / tally.seconds, _cpu_us(tally)


def _cpu_us(tally: load.Tally) -> float:
    return tally.server.cpu_s * 1e6 / max(1, tally.results)


def _compare(session: Session, what: str, mine: Callable[[], tuple[float, float]],
             other: Callable[[], tuple[float, float]]) -> tuple[Spread, Spread]:  # fmt: skip
    """Rate and CPU a result of one as a share of the other's."""
    rates, costs = [], []
    for turn, ((rate, cpu), (rate_other, cpu_other)) in enumerate(alternating(session.turns, mine, other), start=1):
        rates.append((rate, rate_other))
        costs.append((cpu, cpu_other))
        session.say(f"{what}, turn {turn} of {session.turns}: {rate:,.0f} beside {rate_other:,.0f} results/s")
    return ratios(rates), ratios(costs)


def rows(session: Session) -> str:
    """Rate and CPU a result as rows grow, then an old instance beside a new one."""
    kind = usual()
    hops = sum(body.hops for body in kind.bodies) / len(kind.bodies)
    posts = max(_CONNECTIONS, round(session.hop_rows / hops / _SLICES))
    slices = []
    with session.service() as old, session.service() as new:
        for number in range(1, _SLICES + 1):
            tally = old.post(kind, _CONNECTIONS, 0.0, count=posts)
            slices.append((tally.results / tally.seconds, _cpu_us(tally)))
            session.say(f"growth: {number} of {_SLICES} parts of {session.hop_rows:,} hop rows: "
                        f"{slices[-1][0]:,.0f} results/s")  # fmt: skip
        rate, cpu = _compare(
            session, "growth: old beside new",
            lambda: _post(session, old, kind), lambda: _post(session, new, kind),
        )  # fmt: skip
        old.check()
        files, peak = _files_begun(old), old.peak_mib
    first = slices[0]
    return "\n\n".join([
        f"### {session.hop_rows:,} hop rows over {files} files of {session.size_mb} MiB",
        table(["hop rows", "rate / first part", "CPU a result / first part"], [
            [f"{(number + 1) * session.hop_rows // _SLICES:,}", f"{rate_ / first[0]:.2f}", f"{cpu_ / first[1]:.2f}"]
            for number, (rate_, cpu_) in enumerate(slices)
        ]),
        f"Beside a new instance, turn and turn about: rate {rate}, CPU a result {cpu}; peak memory {peak:.0f} MiB.",
    ])  # fmt: skip


def _files_begun(service: Service) -> int:
    """How many files it has begun in its life, those that are pruned included."""
    with contextlib.closing(sqlite3.connect(f"file:{service.files()[-1]}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT sequence FROM result_file").fetchone()[0])


def known(session: Session) -> str:
    """A ledger of many known addresses beside an empty one."""
    kind = usual()
    ledger = prefilled(session, session.addresses, waiting=False)
    rows_ = []
    for title, flags in (("beyond them new ones are kept", (_UNBOUNDED,)),
                         ("the ledger is full", (f"--max-hops={session.addresses}",))):  # fmt: skip
        directory = directory_with(session, ledger)
        starts = []
        for _ in range(session.turns):
            with session.service(directory, *flags) as service:
                starts.append(service.start_s)
        with session.service(directory, *flags) as big, session.service() as empty:
            rate, cpu = _compare(
                session, f"growth: {session.addresses:,} known",
                partial(_post, session, big, kind), partial(_post, session, empty, kind),
            )  # fmt: skip
            big.check()
            rows_.append([title, rate, cpu, f"{big.peak_mib:.0f}", f"{empty.peak_mib:.0f}", Spread.of(starts)])
        shutil.rmtree(directory)
    return "\n\n".join([
        f"### {session.addresses:,} known addresses, beside an empty ledger",
        table(["", "rate", "CPU a result", "peak memory, MiB", "(empty ledger)", "start to /ready, s"], rows_),
    ])  # fmt: skip


def new(session: Session) -> str:
    """Bodies of addresses that were never seen beside the usual ones."""
    kind, new_kind = usual(), all_new()
    with session.service(None, _UNBOUNDED) as first, session.service(None, _UNBOUNDED) as second:
        rate, cpu = _compare(
            session, "growth: all-new addresses",
            lambda: _post(session, first, new_kind), lambda: _post(session, second, kind),
        )  # fmt: skip
        count = int(first.get("/stats")["hops_discovered"])
    return "\n\n".join([
        "### All-new addresses, beside the usual bodies (1 % new)",
        table(["", "rate", "CPU a result"], [[f"{count:,} discovered", rate, cpu]]),
    ])  # fmt: skip


def feed(session: Session) -> str:
    """A long backlog that is being posted to input_service beside none."""
    kind = usual()
    ledger = prefilled(session, session.waiting, waiting=True)
    left: list[int] = []

    def measured(directory: Path) -> tuple[float, float]:
        with input_service() as url, session.service(directory, input_url=url) as service:
            before = service.backlog
            figures = _post(session, service, kind)
            if before > session.waiting // 2:
                left.append(service.backlog)
                session.say(f"growth: backlog {before:,} at the start, {left[-1]:,} at the end")
        shutil.rmtree(directory)
        return figures

    rate, cpu = _compare(
        session, f"growth: {session.waiting:,} wait",
        lambda: measured(directory_with(session, ledger)), lambda: measured(session.directory()),
    )  # fmt: skip
    return "\n\n".join([
        f"### {session.waiting:,} addresses wait for input_service, beside none",
        table(["", "rate", "CPU a result"], [[f"{min(left, default=0):,} left at the end", rate, cpu]]),
        "input_service runs on the same cores; while addresses are left, the feed worked all the time.",
    ])  # fmt: skip


PARTS: dict[str, Callable[[Session], str]] = {"rows": rows, "known": known, "new": new, "feed": feed}


def prefilled(session: Session, count: int, waiting: bool) -> Path:
    """A ledger that knows so many addresses, evenly spread, made aside."""
    path = session.home / f"ledger-{count}-{waiting}"
    session.say(f"growth: making a ledger of {count:,} addresses")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=OFF")
        db.execute("PRAGMA synchronous=OFF")
        SCHEMA.bring_up(db)
        trigger = db.execute("SELECT sql FROM sqlite_schema WHERE name='known_waits'").fetchone()[0]
        db.execute("DROP TRIGGER known_waits")
        db.execute("BEGIN")
        db.executemany("INSERT INTO known VALUES (?)", ((address,) for address in _addresses(count)))
        db.execute("UPDATE mark SET known = ?", (count,))
        if waiting:
            db.execute("INSERT INTO waiting (address) SELECT address FROM known")
        db.execute("COMMIT")
        db.execute(trigger)
    return path


def _addresses(count: int) -> Iterator[bytes]:
    """Rising IPv4 addresses, public for the most part, one at random in each of so many equal ranges."""
    rng = random.Random(7)
    first, last = 0x01000000, 0xDF000000
    step = (last - first) // count
    for number in range(count):
        yield (first + number * step + int(rng.random() * step)).to_bytes(4)


def directory_with(session: Session, ledger: Path) -> Path:
    """A fresh directory of a service that has this ledger."""
    directory = session.directory()
    directory.mkdir()
    shutil.copyfile(ledger, directory / _LEDGER)
    return directory
