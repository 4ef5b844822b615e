"""What --health-port says of the service itself: is it well, what has it done."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from outputd import __version__
from outputd.api import openapi
from outputd.api.checks import Check
from outputd.api.disk import Disk
from outputd.api.endpoints import HEALTH, METRICS, OPENAPI, READY, STATS
from outputd.api.metrics import CONTENT_TYPE, Metrics
from outputd.intake.counters import Stats
from outputd.ledger.ledger import Ledger
from outputd.results import timestamps
from outputd.store.store import Store, StoreFailed
from outputd.web.answers import JSON, SAFE, Answer, as_json, problem
from outputd.web.compression import GZIPPED, compressed, gzip_from_bytes
from outputd.web.request import CappedRequest, answered
from outputd.web.routes import Endpoint, Route

_PROOF_S = 2.0
_LEARNT_S = 2.0
_HEALTHY = "healthy"


class Health:
    """The state of the service, and its routes."""

    def __init__(
        self, store: Store, ledger: Ledger, stats: Stats, metrics: Metrics, checks: Sequence[Check], disk: Disk,
        clock: IReactorTime, now: Callable[[], float], stopping: Callable[[], bool],
        labels: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """`labels` are what is known of addresses beside the results."""
        self._store = store
        self._ledger = ledger
        self._stats = stats
        self._metrics = metrics
        self._checks = checks
        self._disk = disk
        self._clock = clock
        self._now = now
        self._stopping = stopping
        self._labels = labels
        self._started = clock.seconds()

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            _route(HEALTH, self._health),
            _route(READY, self._ready),
            _route(METRICS, self._text),
            _route(STATS, self._counts),
            _route(OPENAPI, self._openapi),
        ]

    async def report(self) -> dict[str, Any]:
        """The state of the service."""
        await self._learnt()
        checks = {check.declared.name: await check.say() for check in self._checks}
        well = all(said["status"] != "fail" for said in checks.values())
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
        failure = self._ledger.look()
        if failure is not None:
            return problem(503, failure.reason)
        try:
            await Deferred.fromCoroutine(self._store.prove()).addTimeout(_PROOF_S, self._clock)
        except StoreFailed as error:
            return problem(503, f"results cannot be stored: {error}")
        except (DeferredTimeout, CancelledError):
            return problem(503, f"the writer has not answered for {_PROOF_S:g} s")
        return as_json({"status": "ready"})

    async def _text(self, request: CappedRequest) -> Answer:
        await self._learnt()
        free_bytes = (await self._disk.look()).free_bytes
        self._metrics.observe_disk(math.nan if free_bytes is None else free_bytes)
        answer = 200, self._metrics.text(), {b"Content-Type": CONTENT_TYPE, **SAFE}
        return compressed(answer, request.header_text(b"Accept-Encoding"))

    async def _counts(self, request: CappedRequest) -> Answer:
        await self._learnt()
        return as_json(self._figures())

    async def _learnt(self) -> None:
        """Return when the hops of all answered results are counted, unless the ledger is slow."""
        with contextlib.suppress(DeferredTimeout, CancelledError):
            await Deferred.fromCoroutine(self._ledger.caught_up()).addTimeout(_LEARNT_S, self._clock)

    async def _openapi(self, request: CappedRequest) -> Answer:
        takes_plain = len(openapi.text(self._labels)) < gzip_from_bytes(request.header_text(b"Accept-Encoding"))
        body = openapi.text(self._labels) if takes_plain else openapi.compressed(self._labels)
        coding = {} if takes_plain else GZIPPED
        return 200, body, {**JSON, b"Vary": b"Accept-Encoding", **coding}

    def _figures(self) -> dict[str, Any]:
        stats, current = self._stats, self._store.current
        latest = stats.latest.at(self._now())
        return {
            "total_results": stats.results,
            "successful_pings": stats.successful,
            "failed_pings": stats.failed,
            "hops_discovered": stats.hops_discovered,
            "hops_sent": stats.hops_sent,
            "last_result_time": timestamps.printed(latest) if latest else None,
            "current_db_file": current.info.path.name,
            "current_db_size": current.size_bytes,
            "last_rotation": timestamps.printed(current.info.created_at),
        }


def _route(endpoint: Endpoint, work: Callable[[CappedRequest], Coroutine[Any, Any, Answer]]) -> Route:
    def handler(request: CappedRequest) -> None:
        answered(request, work(request))

    return endpoint.answered_by(handler)


def go_duration(seconds: float) -> str:
    """A time span as Go prints a Duration, in whole seconds: `2h15m30s`."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
