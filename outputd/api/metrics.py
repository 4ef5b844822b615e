"""/metrics: the spec's five counters to the letter, the rest under conventional names, in the text format."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric

import twisted
from outputd import __version__
from outputd.api.gauges import Gauges
from outputd.archive.archive import Archive
from outputd.archive.keeping_up import Counts
from outputd.changes.webhook import Webhook
from outputd.intake.counters import Stats
from outputd.sqlite import connections
from outputd.store.writer import Written
from outputd.web.doors import REASONS, Doors

PREFIX = "output_service_"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_POSTS = (1, 2, 4, 8, 16, 32)
_SPEC = (
    ("total_results", "Total number of results processed", lambda stats: stats.results),
    ("successful_pings", "Total successful pings", lambda stats: stats.successful),
    ("failed_pings", "Total failed pings", lambda stats: stats.failed),
    ("hops_discovered", "Total hops discovered", lambda stats: stats.hops_discovered),
    ("hops_sent", "Total hops sent to input_service", lambda stats: stats.hops_sent),
)


class Metrics:
    """What is measured, and its text; gauges are read when asked for."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Counts(stats))
        self._requests = Histogram(
            f"{PREFIX}request_duration_seconds", "Time from a whole POST /results to its answer",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._commits = Histogram(
            f"{PREFIX}commit_duration_seconds", "Time of a commit, fsync included", buckets=_SECONDS, registry=registry
        )
        self._turns = Histogram(
            f"{PREFIX}write_duration_seconds", "Time of a whole turn of the writer", buckets=_SECONDS, registry=registry
        )
        self._posts = Histogram(f"{PREFIX}commit_posts", "POSTs in a commit", buckets=_POSTS, registry=registry)
        self._disk_free = Gauge(f"{PREFIX}disk_free_bytes", "Free space on the disk of --db-dir", registry=registry)
        self._disk_free.set(math.nan)
        Info(f"{PREFIX}build", "Versions of outputd and its libraries", registry=registry).info({
            "version": __version__, "sqlite": connections.VERSION, "python": platform.python_version(),
            "twisted": twisted.__version__,
        })  # fmt: skip

    def show_doors(self, doors: Mapping[str, Doors[Any]]) -> None:
        """Have what was turned away at these doors, by port, too."""
        self._registry.register(_TurnedAway(doors))

    def show_archive(self, archive: Archive | None) -> None:
        """Have what was shipped to the archive, too, where there is one."""
        self._registry.register(_Counted(partial(_shipped, archive)))

    def show_webhook(self, webhook: Webhook | None) -> None:
        """Have what was posted to the webhook, too, where there is one."""
        self._registry.register(_Counted(partial(_posted, webhook)))

    def show(self, gauges: Gauges) -> None:
        """Have these gauges, too."""
        for name, (text, read) in gauges.items():
            Gauge(f"{PREFIX}{name}", text, registry=self._registry).set_function(read)

    def observe_request(self, seconds: float) -> None:
        """A POST was answered."""
        self._requests.observe(seconds)

    def observe_commit(self, written: Written, posts: int) -> None:
        """A turn of the writer has ended well."""
        self._commits.observe(written.commit_seconds)
        self._turns.observe(written.seconds)
        if posts:
            self._posts.observe(posts)

    def observe_disk(self, free_bytes: float) -> None:
        """So much room is left on the disk; not a number when it cannot be told."""
        self._disk_free.set(free_bytes)

    def text(self) -> bytes:
        """The exposition, format 0.0.4."""
        lines = []
        for name, text, read in _SPEC:
            full = PREFIX + name
            lines.append(f"# HELP {full} {text}\n# TYPE {full} counter\n{full} {read(self._stats)}\n\n")
        return "".join(lines).encode() + generate_latest(self._registry)


class _TurnedAway:
    """The connections that were turned away, by port and reason."""

    def __init__(self, doors: Mapping[str, Doors[Any]]) -> None:
        self._doors = doors

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            f"{PREFIX}turned_away_connections", "Connections that were closed or refused for lack of room",
            labels=["port", "reason"],
        )  # fmt: skip
        for port, doors in self._doors.items():
            for reason in REASONS:
                family.add_metric([port, reason], doors.turned_away[reason])
        yield family

    def describe(self) -> Iterable[Any]:
        """Nothing is known before it is counted."""
        return ()


class _Counted:
    """Counters that are read when they are asked for: name, text and value of each."""

    def __init__(self, counts: Callable[[], Iterable[tuple[str, str, float]]]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        for name, text, value in self._counts():
            yield CounterMetricFamily(PREFIX + name, text, value=value)

    def describe(self) -> Iterable[Any]:
        """Nothing is known before it is counted."""
        return ()


def _shipped(archive: Archive | None) -> Iterable[tuple[str, str, float]]:
    """What was shipped to the archive."""
    counts, lost = (Counts(), 0) if archive is None else (archive.counts, archive.lost_batches)
    return (
        ("archive_shipped_results", "Results shipped to the archive", counts.results),
        ("archive_shipped_bytes", "Size of the objects shipped to the archive", counts.nbytes),
        ("archive_shipped_objects", "Objects shipped to the archive", counts.objects),
        ("archive_failures", "Failed attempts to ship to the archive", counts.failures),
        ("archive_lost_batches", "POSTs that can no longer be shipped to the archive", lost),
    )


def _posted(hook: Webhook | None) -> Iterable[tuple[str, str, float]]:
    """What became of the changes that the webhook is owed."""
    posted, refused, dropped, failed = (
        (0, 0, 0, 0) if hook is None else (hook.posted, hook.refused, hook.dropped, hook.posts_failed)
    )
    return (
        ("webhook_posted_changes", "Changes that the webhook has taken", posted),
        ("webhook_refused_changes", "Changes that the webhook has refused for good", refused),
        ("webhook_dropped_changes", "Changes dropped because too many waited for the webhook", dropped),
        ("webhook_failures", "Failed attempts to post to the webhook", failed),
    )


class _Counts:
    """The counters that Stats keeps, beside the spec's."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        stats = self._stats
        rejected = CounterMetricFamily(f"{PREFIX}rejected_items", "Items rejected as invalid", labels=["reason"])
        for reason, count in sorted(stats.rejected.items()):
            rejected.add_metric([reason], count)
        yield rejected
        for name, text, label, counts in (
            ("changes", "Changes found in the results", "kind", stats.changes),
            ("foreign_bodies", "Bodies of other formats that were recorded", "format", stats.foreign_bodies),
            ("foreign_rejected_items", "Items rejected in these", "format", stats.foreign_rejected),
        ):
            family = CounterMetricFamily(PREFIX + name, text, labels=[label])
            for value, count in sorted(counts.items()):
                family.add_metric([value], count)
            yield family
        for name, text, number in (
            ("offered_items", "Items of bodies that could be read: stored, rejected or refused", stats.offered),
            ("refused_items", "Items refused because they could not be stored", stats.refused),
            ("refused_posts", "POSTs answered 503, read or not", stats.refused_posts),
            ("duplicate_posts", "POSTs recognised as duplicates by their Idempotency-Key", stats.duplicate_posts),
            ("hops_over_limit", "New addresses not kept because of --max-hops", stats.hops_over_limit),
        ):
            yield CounterMetricFamily(PREFIX + name, text, value=number)

    def describe(self) -> Iterable[Any]:
        """Nothing is known before it is counted."""
        return ()
