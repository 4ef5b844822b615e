"""The checks of /health: what each may say, for its answer and the OpenAPI document, and how it finds out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from outputd.api.disk import Disk, Seen
from outputd.archive.archive import Archive
from outputd.changes.webhook import Webhook
from outputd.client.delivery import PeerState
from outputd.ledger.ledger import Ledger
from outputd.naming.naming import Naming
from outputd.process.trouble import Failure, Kind, Trouble
from outputd.results import timestamps
from outputd.store.rotation import Rotation
from outputd.store.store import Store
from outputd.web.doors import Doors
from outputd.web.shapes import Schema, count, instant, or_null, record, text

SLOW_S = 5.0
HANGING_S = 15.0
Status = Literal["ok", "warn", "fail"]
Said = dict[str, Any]
"""What a check says, as the API prints it."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a check may say: its statuses, the figures that it always has, and those that it has at times."""

    name: str
    what: str
    statuses: tuple[Status, ...]
    always: Mapping[str, Schema]
    at_times: Mapping[str, Schema] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """Its part of the OpenAPI document."""
        optional = {"reason": text("why it is not ok, or turned off"), "since": instant("since when")}
        required = {"status": {"enum": list(self.statuses)}, **self.always}
        return record(self.what, required, {**optional, **self.at_times})


class Check(Protocol):
    """One check. Only what keeps results from being stored may fail; all else warns."""

    declared: Declared

    async def say(self) -> Said:
        """How it stands now. Waits for nothing that may hang."""


DATABASE = Declared(
    "database", "whether results are stored", ("ok", "warn", "fail"), {},
    {
        "waiting_posts": count("POSTs that wait for a commit"),
        "counted_percent": {
            **count("how much of the files the summary has counted, while it is made or catches up after a start"),
            "maximum": 99,
        },
    },
)  # fmt: skip
DISK = Declared(
    "disk", "whether there is room", ("ok", "warn", "fail"),
    {"free_bytes": or_null(count("free space of the file system; null if unknown"))},
)  # fmt: skip
ROTATION = Declared(
    "rotation", "whether files are rotated when due", ("ok", "warn"),
    {
        "age_seconds": count("age of the current file"),
        "max_age_seconds": count("age at which it is rotated"),
        "size_bytes": count("size of the current file"),
        "max_size_bytes": count("size at which it is rotated"),
        "wal_bytes": count("size of its WAL"),
        "files": count("result files that there are", least=1),
        "keep_files": count("result files that are kept", least=1),
    },
)  # fmt: skip
INPUT_SERVICE = Declared(
    "input_service", "whether hops are delivered", ("ok", "warn"),
    {
        "waiting_hops": count("addresses not delivered yet"),
        "refused_hops": count("addresses that input_service refused"),
    },
)  # fmt: skip
CONNECTIONS = Declared(
    "connections", "whether there is room for every connection", ("ok", "warn"),
    {"turned_away": count("connections on both ports that were closed or refused for lack of room")},
)  # fmt: skip
ARCHIVE = Declared(
    "archive", "whether results are shipped to the archive", ("ok", "warn"),
    {
        "lag_seconds": count("for how long, since the start, there has been a result that is not in the archive"),
        "backlog_bytes": count("size of the closed files that wait to be shipped"),
        "max_backlog_bytes": count("size above which the oldest of them is deleted unshipped"),
        "lost_batches": count("POSTs that are not in the archive and cannot be shipped any more"),
    },
)  # fmt: skip
NAMES = Declared(
    "names", "whether networks and names of addresses are known; only with --asn-db or --rdns", ("ok", "warn"),
    {"waiting_names": count("addresses whose names are to be looked up")},
)  # fmt: skip
WEBHOOK = Declared(
    "webhook", "whether changes are posted to the webhook", ("ok", "warn"),
    {
        "waiting_changes": count("changes not posted yet"),
        "dropped_changes": count("changes dropped since the start, as too many waited"),
        "refused_changes": count("changes that the webhook refused since the start"),
    },
)  # fmt: skip
DECLARED = (DATABASE, DISK, ROTATION, INPUT_SERVICE, CONNECTIONS, ARCHIVE, WEBHOOK)
"""All that there always are, in their order."""


class DatabaseCheck:
    """Whether results are stored, and how it stands with the files."""

    declared = DATABASE

    def __init__(
        self, store: Store, ledger: Ledger, disk: Disk, unreadable: Callable[[], Mapping[str, Failure]],
        summing_up: Callable[[], Failure | None], now: Callable[[], float],
        counted_share: Callable[[], float | None] = lambda: None,
        looking_for_changes: Callable[[], Failure | None] = lambda: None,
    ) -> None:  # fmt: skip
        self._looking_for_changes = looking_for_changes
        self._store = store
        self._ledger = ledger
        self._disk = disk
        self._unreadable = unreadable
        self._summing_up = summing_up
        self._counted_share = counted_share
        self._now = now

    async def say(self) -> Said:
        """See Check."""
        figures = {"waiting_posts": self._store.waiting}
        if (share := self._counted_share()) is not None:
            figures["counted_percent"] = math.floor(100 * share)
        failure = self._store.failure
        if failure is not None and failure.kind is not Kind.FULL:
            return _said("fail", failure, **figures)
        failure = self._ledger.look()
        if failure is not None:
            return _said("fail", failure, **figures)
        stalled_s = max(self._store.stalled_s, self._ledger.stalled_s)
        if stalled_s > SLOW_S:
            slow = Failure(f"the disk has not answered a write for {stalled_s:.0f} s", self._now() - stalled_s)
            return _said("fail" if stalled_s > HANGING_S else "warn", slow, **figures)
        return _warned(self._worry(await self._disk.look()), **figures)

    def _worry(self, seen: Seen) -> Failure | None:
        """What is wrong with the files although results are being stored."""
        if lost := self._store.lost:
            return Failure("; ".join(f"{name} was {reason}" for name, reason in lost.items()), self._now())
        if replaced := self._store.replaced:
            name, failure = min(replaced.items())
            return failure._replace(reason=f"{name}: {failure.reason}")
        if unreadable := self._unreadable():
            name, failure = min(unreadable.items())
            return failure._replace(reason=f"{name} cannot be read: {failure.reason}")
        if damaged := seen.damaged:
            return Failure(f"damaged and set aside: {', '.join(damaged)}", min(damaged.values()))
        for lacking, behind in (
            ("/targets, /nodes, /links and /arrivals lack the newest results", self._summing_up()),
            ("/changes lacks the newest changes", self._looking_for_changes()),
        ):
            if behind is not None and behind.kind is not Kind.FULL:  # else the check of the disk tells
                return behind._replace(reason=f"{lacking}: {behind.reason}")
        return None


class DiskCheck:
    """Whether there is room. A disk that does not answer may be busy: it warns, and what cannot be stored fails."""

    declared = DISK

    def __init__(self, store: Store, ledger: Ledger, disk: Disk, low: Trouble) -> None:
        self._store = store
        self._ledger = ledger
        self._disk = disk
        self._low = low

    async def say(self) -> Said:
        """See Check."""
        seen = await self._disk.look()
        figures = {"free_bytes": seen.free_bytes}
        for failure in (self._store.failure, self._ledger.failure):
            if failure is not None and failure.kind is Kind.FULL:
                return _said("fail", failure, **figures)
        if seen.failure is not None:
            return _said("warn" if seen.is_late else "fail", seen.failure, **figures)
        return _warned(self._lowness(seen.free_bytes or 0), **figures)

    def _lowness(self, free_bytes: int) -> Failure | None:
        least = self._store.limits.low_disk_bytes
        if free_bytes >= least:
            self._low.end()
        else:
            self._low.begin(f"less than {least >> 20} MiB are free")
        return self._low.failure


class RotationCheck:
    """Whether files are changed when due."""

    declared = ROTATION

    def __init__(self, store: Store, rotation: Rotation) -> None:
        self._store = store
        self._rotation = rotation

    async def say(self) -> Said:
        """See Check."""
        store, limits = self._store, self._store.limits
        return _warned(
            self._rotation.failure,
            age_seconds=round(store.age_s), max_age_seconds=round(limits.max_age_s),
            size_bytes=store.current.size_bytes, max_size_bytes=limits.max_size_bytes, wal_bytes=store.wal_bytes,
            files=len(store.files), keep_files=limits.keep_files,
        )  # fmt: skip


class InputServiceCheck:
    """Whether hops are delivered. Nobody is paged for a neighbour: it warns at most."""

    declared = INPUT_SERVICE

    def __init__(self, ledger: Ledger, feed: Callable[[], PeerState | None]) -> None:
        self._ledger = ledger
        self._feed = feed

    async def say(self) -> Said:
        """See Check."""
        figures = {"waiting_hops": self._ledger.backlog, "refused_hops": self._ledger.refusals}
        state = self._feed()
        if state is None:
            return _turned_off(figures)
        if state.status != "ok":
            return _warned(Failure(state.reason, state.since), **figures)
        return _warned(self._ledger.crowding.failure, **figures)


class ConnectionsCheck:
    """Whether all who come find a place. Those who do not may be nodes, or keep nodes out: it warns."""

    declared = CONNECTIONS

    def __init__(self, doors: Sequence[Doors[Any]]) -> None:
        self._doors = doors

    async def say(self) -> Said:
        """See Check."""
        failures = [each.failure for each in self._doors]
        turned_away = sum(each.turned_away.total() for each in self._doors)
        return _warned(*failures, turned_away=turned_away)


class ArchiveCheck:
    """Whether results reach the archive. They are safe here meanwhile: it warns."""

    declared = ARCHIVE

    def __init__(self, archive: Archive | None) -> None:
        self._archive = archive

    async def say(self) -> Said:
        """See Check."""
        archive = self._archive
        if archive is None:
            return _turned_off(dict.fromkeys(ARCHIVE.always, 0))
        return _warned(
            archive.failure, lag_seconds=round(archive.lag_s),
            backlog_bytes=archive.backlog_bytes, max_backlog_bytes=archive.max_backlog_bytes,
            lost_batches=archive.lost_batches,
        )  # fmt: skip


class NamesCheck:
    """Whether more is known of addresses. What is stored lacks nothing: it warns."""

    declared = NAMES

    def __init__(self, naming: Naming) -> None:
        self._naming = naming

    async def say(self) -> Said:
        """See Check."""
        parts = (self._naming.origins, self._naming.lookups)
        failures = [part.failure for part in parts if part is not None]
        waiting = 0 if self._naming.lookups is None else self._naming.lookups.waiting
        return _warned(*failures, waiting_names=waiting)


class WebhookCheck:
    """Whether changes reach the webhook. Nobody is paged for a neighbour: it warns."""

    declared = WEBHOOK

    def __init__(self, webhook: Webhook | None) -> None:
        self._webhook = webhook

    async def say(self) -> Said:
        """See Check."""
        webhook = self._webhook
        if webhook is None:
            return _turned_off(dict.fromkeys(WEBHOOK.always, 0))
        return _warned(
            webhook.failure, waiting_changes=webhook.waiting,
            dropped_changes=webhook.dropped, refused_changes=webhook.refused,
        )  # fmt: skip


def _turned_off(figures: Mapping[str, int]) -> Said:
    return {**_said("ok", **figures), "reason": "turned off"}


def _warned(*failures: Failure | None, **figures: int | None) -> Said:
    """What a check says that warns at most: the first failure that there is, or that all is well."""
    failure = next(filter(None, failures), None)
    return _said("ok" if failure is None else "warn", failure, **figures)


def _said(status: Status, failure: Failure | None = None, /, **figures: int | None) -> Said:
    said: Said = {"status": status}
    if failure is not None:
        said["reason"] = failure.reason
        said["since"] = timestamps.printed(timestamps.at(failure.since_s))
    return {**said, **figures}
