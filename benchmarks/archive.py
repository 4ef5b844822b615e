"""What an archive costs the ingest, and how fast results get there: at a SeaweedFS on the same machine."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SkipTest

from benchmarks import load
from benchmarks.figures import Spread, alternating, ratios, table
from benchmarks.kinds import DATA, Kind, real, usual
from benchmarks.service import Service, Wrong, call
from benchmarks.session import Session
from tests.kit.object_store import ObjectStore

_INSTANCES = 3
_RESULTS = 130_000
_LEAST_S = 10.0  # so that an object's worth of results comes together
_EVERY, _AT_ONCE = "0.05", "0.001"
_SHIPPED_S = 300.0
_LOOK_S = 0.1


def run(session: Session) -> str:
    """Measure, and tell it in Markdown. Raises Wrong when a result is missing, or there is no SeaweedFS."""
    try:
        store = ObjectStore(session.home / "store")
    except SkipTest as reason:
        raise Wrong(f"archive: {reason}") from None
    try:
        bench = _Bench(session, store.start())
        return "\n\n".join([bench.ingest(), bench.lag(), bench.shipping()])
    finally:
        store.kill()


@dataclass
class _Shipped:
    """What became of directories of results."""

    seconds: float
    results: int
    nbytes: int
    child_mib: float
    """The most that the child of one instance has had."""
    service_mib: float
    """Likewise without the child."""


class _Bench:
    def __init__(self, session: Session, store: ObjectStore) -> None:
        self._session = session
        self._store = store
        self._prefixes = itertools.count()

    def _shipping(self, directory: Path | None = None, every: str = _EVERY) -> Service:
        """An instance that ships to an archive of its own, and keeps all files."""
        url = self._store.url(f"bench-{next(self._prefixes)}")
        return self._session.service(
            directory, f"--archive={url}", f"--archive-credentials={self._store.credentials}",
            f"--archive-every={every}", "--keep-files=1000",
        )  # fmt: skip

    # -- the ingest ----------------------------------------------------------------------------------

    def ingest(self) -> str:
        """Its best rate and its CPU a result with an archive, as shares of those without."""
        rows = []
        for kind in self._session.kinds:
            with self._shipping() as shipping, self._session.service(None, "--keep-files=1000") as alone:
                turns = list(alternating(
                    self._session.turns, partial(self._posted, shipping, kind), partial(self._posted, alone, kind)
                ))  # fmt: skip
                rate = ratios((mine[0], other[0]) for mine, other in turns)
                cpu = ratios((mine[1], other[1]) for mine, other in turns)
                drained = Spread.of(mine[2] for mine, _ in turns)
                more = f"{_peak_mib(shipping.pid) - _peak_mib(alone.pid):+.0f}"
                self._session.say(f"archive: {kind.title}, ingest: {rate}")
                rows.append([kind.title, rate, cpu, drained, more])
                if _metric(shipping, "archive_shipped_results_total") != shipping.acknowledged:
                    raise Wrong(f"{shipping.acknowledged} results were acknowledged, others are archived")
        return "\n\n".join([
            f"### The ingest with an archive, shipped to every {60 * float(_EVERY):g} s: shares of that without",
            table(["", "rate", "CPU a result, child included", "all shipped after, s", "service, MiB more"], rows),
        ])  # fmt: skip

    def _posted(self, service: Service, kind: Kind) -> tuple[float, float, float]:
        """Results a second, CPU seconds a result, and the seconds until all was shipped."""
        tally = service.post(kind, kind.connections, max(self._session.seconds, _LEAST_S), warmup=self._session.warmup)
        began = time.monotonic()
        if _metric(service, "archive_enabled"):
            _wait_until_shipped([service])
        return tally.results / tally.seconds, tally.server.cpu_s / tally.results, time.monotonic() - began

    def lag(self) -> str:
        """How far the archive is behind while an instance is full."""
        kind, seconds = usual(), max(3 * self._session.seconds, 3 * _LEAST_S)
        with self._shipping() as service:
            with _sampled(service) as samples:
                service.post(kind, kind.connections, seconds)
            began = time.monotonic()
            _wait_until_shipped([service])
            drained_s = time.monotonic() - began
        lags, backlogs = zip(*samples, strict=True)
        return "\n\n".join([
            f"### {seconds:g} s at the best rate, {kind.title}, shipped every {60 * float(_EVERY):g} s",
            table(["lag, s", "closed files that wait, MiB", "all shipped after, s"], [
                [Spread.of(lags), Spread.of(size / 2**20 for size in backlogs), f"{drained_s:.1f}"]
            ]),
        ])  # fmt: skip

    # -- what is there already -----------------------------------------------------------------------

    def shipping(self) -> str:
        """Directories that were filled before, by one instance and by three at once."""
        rows = []
        for kind in (usual(), _once()):
            directories = [self._filled(kind) for _ in range(_INSTANCES)]
            size = sum(path.stat().st_size for path in directories[0].glob("*.db"))
            ones, threes = [], []
            for _ in range(self._session.turns):
                ones.append(self._shipped(directories[:1]))
                threes.append(self._shipped(directories))
                rate = ones[-1].results / ones[-1].seconds
                self._session.say(f"archive: {kind.title}, {rate:,.0f} results/s shipped")
            one = ones[0]
            rows.append([
                kind.title, *(Spread.of(some.results / some.seconds for some in turns) for turns in (ones, threes)),
                f"{one.nbytes / one.results:.1f}", f"{size / one.results:.0f}",
                Spread.of(some.child_mib for some in ones), Spread.of(some.service_mib for some in ones),
            ])  # fmt: skip
        return "\n\n".join([
            f"### Shipping what is there, about {_RESULTS:,} results an instance, by one instance and by {_INSTANCES}",
            table(["", "results/s, one", f"{_INSTANCES} at once", "bytes a result", "in SQLite", "child's peak, MiB",
                   "service's peak, MiB"], rows),
        ])  # fmt: skip

    def _filled(self, kind: Kind) -> Path:
        """The directory of an instance that has ended; bodies of real nodes come once each, as they did."""
        directory = self._session.directory()
        with self._session.service(directory, "--keep-files=1000") as service:
            bodies = round(_RESULTS / kind.results_a_body) if kind.fresh else len(kind.bodies)
            service.post(kind, kind.connections, 0.0, count=bodies)
            service.check()
        self._session.say(f"archive: {service.acknowledged:,} results in {directory.name}")
        return directory

    def _shipped(self, directories: Sequence[Path]) -> _Shipped:
        with ExitStack() as stack:
            services = [stack.enter_context(self._shipping(directory, _AT_ONCE)) for directory in directories]
            began = time.monotonic()
            child_mib = _wait_until_shipped(services)
            seconds = time.monotonic() - began
            results, nbytes = (
                sum(int(_metric(service, f"archive_shipped_{name}_total")) for service in services)
                for name in ("results", "bytes")
            )
            return _Shipped(seconds, results, nbytes, child_mib, max(_peak_mib(one.pid) for one in services))


def _once() -> Kind:
    """All bodies of real nodes that there are, to be posted once each; else the mix."""
    path = DATA / "large.jsonl.gz"
    return Kind("real bodies (large)", 16, lambda: load.read_file(path), fresh=False) if path.exists() else real()


def _metric(service: Service, name: str) -> float:
    text = call(service.health_port, "GET", "/metrics")[1].decode()
    found = re.search(rf"^output_service_{name} (\S+)$", text, re.MULTILINE)
    if found is None:
        raise Wrong(f"there is no metric {name}")
    return float(found[1])


def _wait_until_shipped(services: Sequence[Service]) -> float:
    """Return when nothing waits for the archive; the most MiB that one of their children has had."""
    ends, child_mib = time.monotonic() + _SHIPPED_S, 0.0
    while any(_metric(service, "archive_lag_seconds") for service in services):
        child_mib = max(child_mib, *map(_child_mib, services))
        if time.monotonic() > ends:
            raise Wrong(f"not all is archived within {_SHIPPED_S:g} s")
        time.sleep(_LOOK_S)
    return child_mib


def _child_mib(service: Service) -> float:
    """The most that its child has had, 0 without one."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        tasks = Path(f"/proc/{service.pid}/task").glob("*/children")
        children = [int(pid) for path in tasks for pid in path.read_text(encoding="ascii").split()]
        return max(map(_peak_mib, children), default=0.0)
    return 0.0


def _peak_mib(pid: int) -> float:
    """The most that a process has had, without its children."""
    return load.number_of(Path(f"/proc/{pid}/status"), "VmHWM:") / 1024


@contextlib.contextmanager
def _sampled(service: Service) -> Iterator[list[tuple[float, float]]]:
    """Its lag and its backlog, over and over until the block ends."""
    samples: list[tuple[float, float]] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(5 * _LOOK_S):
            samples.append((_metric(service, "archive_lag_seconds"), _metric(service, "archive_backlog_bytes")))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
