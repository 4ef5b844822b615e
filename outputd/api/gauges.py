"""The gauges of /metrics: what is read from the parts of an instance at the moment of the question."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from outputd.api.checks import HANGING_S
from outputd.api.exports import Exports
from outputd.archive.archive import Archive
from outputd.changes.changes import Changes
from outputd.changes.webhook import Webhook
from outputd.intake.admission import Admission
from outputd.ledger.feed import HopFeed
from outputd.ledger.ledger import Ledger
from outputd.queries.reading import Readings
from outputd.store.store import Store
from outputd.web.site import Site

Gauges = Mapping[str, tuple[str, Callable[[], float]]]
"""By name: what it is, and how it is read."""


def gauges(
    store: Store, ledger: Ledger, feed: HopFeed | None, admission: Admission, site: Site, readings: Readings,
    exports: Exports, archive: Archive | None, changes: Changes, webhook: Webhook | None,
) -> Gauges:  # fmt: skip
    """The gauges; `site` is that of the port for results."""

    def is_storing() -> bool:
        return store.failure is None and ledger.failure is None and store.stalled_s <= HANGING_S

    def feed_is_up() -> bool:
        return feed is not None and feed.state.status == "ok"

    def backlog_bytes() -> float:
        return 0 if archive is None else archive.backlog_bytes

    def max_backlog_bytes() -> float:
        return 0 if archive is None else archive.max_backlog_bytes

    return {
        "queue_posts": ("POSTs that no commit has taken yet", lambda: store.waiting),
        "pending_bytes": ("Memory held by POSTs", lambda: admission.held_bytes),
        "pending_limit_bytes": ("Maximum memory held by POSTs", lambda: admission.limit_bytes),
        "connections": ("Connections on the port for results", lambda: len(site.channels)),
        "ledger_backlog_hops": ("Hops not delivered to input_service yet", lambda: ledger.backlog),
        "ledger_known_hops": ("Addresses that the ledger knows", lambda: ledger.known),
        "ledger_refused_hops": ("Hops that input_service refused", lambda: ledger.refusals),
        "idempotency_keys": ("Idempotency-Keys remembered", lambda: ledger.keys.count),
        "file_size_bytes": ("Size of the current file", lambda: store.current.size_bytes),
        "file_wal_bytes": ("Size of the current file's WAL", lambda: store.wal_bytes),
        "file_age_seconds": ("Age of the current file", lambda: store.age_s),
        "files": ("Result files", lambda: len(store.files)),
        "connections_limit": ("Maximum connections on the port for results", lambda: site.most_connections),
        "file_size_limit_bytes": ("Size at which the current file is rotated", lambda: store.limits.max_size_bytes),
        "file_age_limit_seconds": ("Age at which the current file is rotated", lambda: store.limits.max_age_s),
        "answers_read": ("Long query answers that clients are reading", lambda: len(readings)),
        "answers_held_bytes": ("Memory and temporary disk held by long query answers", lambda: readings.held_bytes),
        "exports": ("Exports that clients are reading", lambda: len(exports)),
        "changes_watched_pairs": ("Pairs of node and target that are watched for changes", lambda: changes.watched),
        "changes_unwatched_pairs": (
            "Pairs of node and target that are not, since there are too many; estimated",
            lambda: changes.unwatched,
        ),
        "files_limit": ("Result files that are kept", lambda: store.limits.keep_files),
        "storing": ("1 while results can be stored", lambda: float(is_storing())),
        "feed_enabled": ("0 if the hop feed is turned off", lambda: float(feed is not None)),
        "feed_up": ("1 while hops can be delivered to input_service", lambda: float(feed_is_up())),
        "archive_enabled": ("0 if nothing is shipped to an archive", lambda: float(archive is not None)),
        "archive_up": (
            "1 while results can be shipped to the archive",
            lambda: float(archive is not None and archive.is_up),
        ),
        "archive_lag_seconds": (
            "Time for which there has been a result that is not in the archive",
            lambda: 0.0 if archive is None else archive.lag_s,
        ),
        "archive_backlog_bytes": ("Size of the closed files that wait to be shipped", backlog_bytes),
        "archive_backlog_limit_bytes": ("Size above which the oldest of them is deleted", max_backlog_bytes),
        "webhook_enabled": ("0 if changes are posted to no webhook", lambda: float(webhook is not None)),
        "webhook_up": (
            "1 while changes can be posted to the webhook",
            lambda: float(webhook is not None and webhook.state.status == "ok"),
        ),
        "webhook_waiting_changes": (
            "Changes not posted to the webhook yet",
            lambda: 0 if webhook is None else webhook.waiting,
        ),
    }
