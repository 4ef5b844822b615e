"""What --health-port says of the service itself: is it well, what has it done."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from outputd import __version__
from outputd.api import openapi
from outputd.api.metrics import CONTENT_TYPE, Metrics
from outputd.api.questions import Questions
from outputd.intake.counters import Stats
from outputd.ledger.feed import FeedState
from outputd.ledger.ledger import Ledger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Trouble
from outputd.results import timestamps
from outputd.security.access import OPERATOR
from outputd.sqlite.errors import FULL
from outputd.store.directory import DataDir
from outputd.store.rotation import Rotation
from outputd.store.store import Store, StoreFailed
from outputd.web.answers import JSON, SAFE, Answer, as_json, problem
from outputd.web.request import CappedRequest, answered
from outputd.web.routes import Route

_PROOF_S = 2.0
_LEARNT_S = 2.0
_HEALTHY = "healthy"
Check = dict[str, Any]


class Health:
    """The state of the service, and its routes."""

    def __init__(
        self, store: Store, ledger: Ledger, rotation: Rotation, stats: Stats, metrics: Metrics, questions: Questions,
        directory: DataDir, summing_up: Callable[[], Failure | None],
        feed: Callable[[], FeedState | None], in_thread: InThread, clock: IReactorTime, now: Callable[[], float],
        stopping: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._store = store
        self._ledger = ledger
        self._rotation = rotation
        self._stats = stats
        self._metrics = metrics
        self._questions = questions
        self._directory = directory
        self._summing_up = summing_up
        self._feed = feed
        self._in_thread = in_thread
        self._clock = clock
        self._now = now
        self._stopping = stopping
        self._started = clock.seconds()
        self._disk_low = Trouble(now, clock.seconds)

    def routes(self) -> list[Route]:
        """The routes. Everybody may ask whether it is well."""
        return [
            _get("/health", None, self._health),
            _get("/ready", None, self._ready),
            _get("/metrics", OPERATOR, self._text),
            _get("/stats", OPERATOR, self._counts),
            _get("/openapi.json", OPERATOR, self._openapi),
        ]

    async def report(self) -> dict[str, Any]:
        """How it stands with the service."""
        await self._learnt()
        checks = await self._checks()
        well = all(checks[name]["status"] != "fail" for name in ("database", "disk"))
        return {
            "status": _HEALTHY if well else "unhealthy",
            "version": __version__,
            "uptime": go_duration(self._clock.seconds() - self._started),
            "stats": self._figures(),
            "checks": checks,
        }

    async def _health(self, request: CappedRequest) -> Answer:
        report = await self.report()
        return as_json(report, 200 if report["status"] == _HEALTHY else 503)

    async def _ready(self, request: CappedRequest) -> Answer:
        if self._stopping():
            return problem(503, "outputd is shutting down")
        if self._ledger.failure is not None:
            return problem(503, self._ledger.failure.reason)
        try:
            await Deferred.fromCoroutine(self._store.prove()).addTimeout(_PROOF_S, self._clock)
        except StoreFailed as error:
            return problem(503, f"results cannot be stored: {error}")
        except (DeferredTimeout, CancelledError):
            return problem(503, f"the writer has not answered for {_PROOF_S:g} s")
        return as_json({"status": "ready"})

    async def _text(self, request: CappedRequest) -> Answer:
        await self._learnt()
        self._metrics.observe_disk(await self._free_bytes())
        return 200, self._metrics.text(), {b"Content-Type": CONTENT_TYPE, **SAFE}

    async def _free_bytes(self) -> float:
        """Room on the disk; not a number when the directory is gone or its disk does not answer in time."""
        try:
            free = Deferred.fromCoroutine(self._in_thread(self._directory.free_bytes))
            return float(await free.addTimeout(_LEARNT_S, self._clock))
        except (OSError, DeferredTimeout, CancelledError):
            return math.nan

    async def _counts(self, request: CappedRequest) -> Answer:
        await self._learnt()
        return as_json(self._figures())

    async def _learnt(self) -> None:
        """Return when the hops of all answered results are counted, unless the ledger is slow."""
        with contextlib.suppress(DeferredTimeout, CancelledError):
            await Deferred.fromCoroutine(self._ledger.caught_up()).addTimeout(_LEARNT_S, self._clock)

    async def _openapi(self, request: CappedRequest) -> Answer:
        return 200, openapi.text(), JSON

    def _figures(self) -> dict[str, Any]:
        stats, current = self._stats, self._store.current
        return {
            "total_results": stats.results,
            "successful_pings": stats.successful,
            "failed_pings": stats.failed,
            "hops_discovered": stats.hops_discovered,
            "hops_sent": stats.hops_sent,
            "last_result_time": timestamps.printed(stats.latest) if stats.latest else None,
            "current_db_file": current.info.path.name,
            "current_db_size": current.size_bytes,
            "last_rotation": timestamps.printed(current.info.created_at),
        }

    async def _checks(self) -> dict[str, Check]:
        return {
            "database": self._database(),
            "disk": await self._disk(),
            "rotation": self._rotations(),
            "input_service": self._input_service(),
        }

    def _database(self) -> Check:
        figures = {"waiting_posts": self._store.waiting}
        failure = self._store.failure
        if failure is not None and not FULL.search(failure.reason):
            return _check("fail", failure, **figures)
        if self._ledger.failure is not None:
            return _check("fail", self._ledger.failure, **figures)
        worry = self._worry()
        return _check("ok" if worry is None else "warn", worry, **figures)

    def _worry(self) -> Failure | None:
        """What is wrong with the files although results are being stored."""
        if lost := self._store.lost:
            return Failure(f"deleted under our feet, and no room yet to write it again: {', '.join(lost)}", self._now())
        if unreadable := self._questions.unreadable:
            name, failure = min(unreadable.items())
            return failure._replace(reason=f"{name} cannot be read: {failure.reason}")
        if damaged := self._directory.damaged():
            return Failure(f"damaged and set aside: {', '.join(damaged)}", min(damaged.values()))
        behind = self._summing_up()
        if behind is not None and not FULL.search(behind.reason):  # else the check of the disk tells
            return behind._replace(
                reason=f"/targets, /nodes, /links and /arrivals lack the newest results: {behind.reason}"
            )
        return None

    async def _disk(self) -> Check:
        try:
            free = await self._in_thread(self._directory.free_bytes)
        except OSError as error:
            return _check("fail", Failure(f"{self._directory.path}: {error.strerror}", self._now()))
        for failure in (self._store.failure, self._ledger.failure):
            if failure is not None and FULL.search(failure.reason):
                return _check("fail", failure, free_bytes=free)
        low = self._store.limits.low_disk_bytes
        if free >= low:
            self._disk_low.end()
            return _check("ok", free_bytes=free)
        self._disk_low.begin(f"less than {low >> 20} MiB are free")
        return _check("warn", self._disk_low.failure, free_bytes=free)

    def _rotations(self) -> Check:
        store, limits = self._store, self._store.limits
        figures = {
            "age_seconds": round(store.age_s), "max_age_seconds": round(limits.max_age_s),
            "size_bytes": store.current.size_bytes, "max_size_bytes": limits.max_size_bytes,
            "wal_bytes": store.wal_bytes, "files": len(store.files), "keep_files": limits.keep_files,
        }  # fmt: skip
        failure = self._rotation.failure
        return _check("ok" if failure is None else "warn", failure, **figures)

    def _input_service(self) -> Check:
        figures = {"waiting_hops": self._ledger.backlog, "refused_hops": self._ledger.refusals}
        state = self._feed()
        if state is None:
            return {**_check("ok", **figures), "reason": "turned off"}
        if state.status == "ok":
            return _check("ok", **figures)
        return _check("warn", Failure(state.reason, state.since), **figures)


def _get(path: str, role: str | None, work: Callable[[CappedRequest], Coroutine[Any, Any, Answer]]) -> Route:
    def handler(request: CappedRequest) -> None:
        answered(request, work(request))

    return Route("GET", path, role, handler)


def _check(status: str, failure: Failure | None = None, /, **figures: object) -> Check:
    check: Check = {"status": status}
    if failure is not None:
        check["reason"] = failure.reason
        check["since"] = timestamps.printed(timestamps.at(failure.since_s))
    return {**check, **figures}


def go_duration(seconds: float) -> str:
    """A time span as Go prints a Duration, in whole seconds: `2h15m30s`."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
