"""The parts of one instance by name, and in what order they start and stop: the list of what there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocolFactory

from outputd.api.checks import (
    ArchiveCheck,
    Check,
    ConnectionsCheck,
    DatabaseCheck,
    DiskCheck,
    InputServiceCheck,
    NamesCheck,
    RotationCheck,
    WebhookCheck,
)
from outputd.api.disk import Disk
from outputd.api.exports import MOST_AT_ONCE, Exports
from outputd.api.gauges import gauges
from outputd.api.health import Health
from outputd.api.metrics import Metrics
from outputd.api.questions import Questions
from outputd.api.results import Api
from outputd.archive.archive import Archive
from outputd.changes.changes import Changes
from outputd.changes.outbox import Outbox
from outputd.changes.webhook import Webhook
from outputd.client.agent import http_client
from outputd.client.delivery import Delivery
from outputd.intake.admission import Admission
from outputd.intake.collector import Collector
from outputd.intake.counters import Stats
from outputd.ledger.feed import HopFeed
from outputd.ledger.keeping_up import Upkeep
from outputd.ledger.ledger import Ledger
from outputd.ledger.opening import open_files
from outputd.naming.lookups import Lookups
from outputd.naming.names import Names
from outputd.naming.naming import Naming
from outputd.naming.origins import Origins
from outputd.naming.resolver import name_of, servers_of_this_machine
from outputd.pages import Pages, Surroundings
from outputd.process.lane import Lane
from outputd.process.log import Logger
from outputd.process.order import Stop, Stopping
from outputd.process.ports import HEALTH_CONNECTIONS, Handed, Port, most_connections
from outputd.process.reload import Reload, Reloadable
from outputd.process.systemd import Notifier, Pulse, Rate
from outputd.process.threads import Threads
from outputd.process.trouble import Trouble, Unusable
from outputd.queries import Queries
from outputd.queries.reading import Readings
from outputd.results.agreement import MOST_BODY_BYTES
from outputd.results.hop_policy import feedable
from outputd.results.parse import Parser
from outputd.security.access import NODE, Access
from outputd.security.certificates import Certificates
from outputd.security.pem import TokenFile
from outputd.security.trust import Policy
from outputd.settings import Settings
from outputd.sqlite.pools import OpenPool
from outputd.store.copies import Copies
from outputd.store.directory import DataDir
from outputd.store.inspection import Inspection
from outputd.store.manifests import Manifests
from outputd.store.rotation import Rotation
from outputd.store.store import Store
from outputd.summary.bounds import most_rows
from outputd.summary.keeping_up import KeepingUp
from outputd.summary.senders import Senders
from outputd.summary.summary import Summary
from outputd.web.doors import Doors
from outputd.web.routes import Routes
from outputd.web.site import Site

_log = Logger()
_BRIEF = 4
_LONG = 7  # a copy, a manifest, an inspection, a look at the disk, the end of a closed file, the ledger, --asn-db
_ASKERS = 4
_HEALTH_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Every part of one instance, in the order in which they know each other."""

    settings: Settings
    feedable: Callable[[str], bool]
    stopping: Stopping
    brief: Threads
    """For what takes milliseconds, and holds up an answer."""
    long: Threads
    """For what takes as long as a file is large."""
    parsing: Threads
    asking: Threads
    exporting: Threads
    shipping: Threads
    posting: Threads
    directory: DataDir
    stats: Stats
    admission: Admission
    metrics: Metrics
    store: Store
    ledger: Ledger
    upkeep: Upkeep
    archive: Archive | None
    """None when nothing is shipped."""
    rotation: Rotation
    feed: HopFeed | None
    """None when it is turned off."""
    manifests: Manifests
    inspection: Inspection
    copies: Copies
    summary: KeepingUp
    changes: KeepingUp
    naming: Naming | None
    """None when nothing is known of addresses."""
    webhook: Webhook | None
    """None when changes are not posted."""
    queries: Queries
    exports: Exports
    access: Access
    pages: Pages | None
    """None when they are left out."""
    results_site: Site
    health_site: Site
    results_port: Port
    health_port: Port
    reload: Reload
    notifier: Notifier
    pulse: Pulse
    results_drain_s: float = 5.0
    health_drain_s: float = 0.5

    @classmethod
    def build(
        cls, settings: Settings, reactor: Any, open_pool: OpenPool, environ: Mapping[str, str], with_pages: bool = True
    ) -> Parts:
        """Make them all; nothing runs yet but threads that wait. `environ` is systemd's. Raises Unusable."""
        now = time.time
        limits = settings.limits
        may_be_fed = feedable(settings.feed)
        stopping = Stopping()
        brief, long, parsing, asking, exporting, shipping, posting = (
            Threads(reactor, "outputd-brief", _BRIEF),
            Threads(reactor, "outputd-long", _LONG),
            Threads(reactor, "outputd-parser", 1),
            Threads(reactor, "outputd-query", _ASKERS),
            Threads(reactor, "outputd-export", MOST_AT_ONCE),
            Threads(reactor, "outputd-archive", 1),
            Threads(reactor, "outputd-webhook", 1),
        )
        directory = DataDir(settings.directory)
        stats = Stats()
        admission = Admission(settings.max_pending_bytes, reactor.seconds, stats)
        metrics = Metrics(stats)
        store = Store(directory, limits, reactor, open_pool, brief, long, now, metrics.observe_commit)
        ledger = Ledger(directory.ledger, reactor, open_pool, now, settings.max_hops, stats.count_learnt)
        upkeep = Upkeep(ledger, lambda: store.files, may_be_fed, long, reactor, now)
        archive = Archive(settings.archive, store, directory, shipping, reactor) if settings.archive else None
        rotation = Rotation(store, reactor, ledger, None if archive is None else lambda: archive.let_go)
        input_token = TokenFile(settings.input_token_file)
        feed = _feed(settings, ledger, stats, input_token, reactor) if settings.input_url else None
        senders = Senders(lambda: access.asks_for(NODE))
        collector = Collector(
            store, ledger, Parser(may_be_fed), stats, admission, parsing, now, _say if settings.verbose else None,
            senders.note, limits.raw_bytes > 0,
        )  # fmt: skip
        manifests = Manifests(directory, lambda: store.closed, long, reactor)
        inspection = Inspection(lambda: store.files, long, now)
        copies = Copies(directory, long, reactor, lambda: store.stored_batches, limits.spare_disk_bytes, manifests)
        api = Api(collector, store, rotation, copies, manifests, brief, metrics.observe_request, reactor.seconds)
        summary = KeepingUp(
            Summary(
                directory.summary, lambda: store.files, senders, *most_rows(limits.max_size_bytes), limits.wal_bytes
            ), reactor,
            lambda: (stats.results, stats.rejected.total(), store.files), lambda: stats.results,
            lambda: store.has_queue, now, directory.free_bytes, limits.low_disk_bytes,
        )  # fmt: skip
        found = Changes(
            directory.changes, lambda: store.files, stats.changes.update, outbox=Outbox(bool(settings.webhook))
        )
        webhook_token = TokenFile(settings.webhook_token_file)
        webhook = _webhook(settings, found, webhook_token, posting, reactor) if settings.webhook else None
        changes = KeepingUp(
            found, reactor,
            lambda: (stats.results, store.files), lambda: stats.results, lambda: store.has_queue, now,
            directory.free_bytes, limits.low_disk_bytes, thread="outputd-changes",
        )  # fmt: skip
        naming = _naming(settings, directory, reactor)
        readings = Readings(brief, reactor.seconds)
        queries = Queries(
            lambda: store.files, directory.summary, summary.for_an_answer, asking, readings, reactor, now,
            naming=naming,
        )  # fmt: skip
        exports = Exports(
            store, lambda: stats.results, lambda: {**inspection.found, **queries.unreadable}, exporting, brief, reactor,
            lambda: directory.free_bytes() >= limits.spare_disk_bytes,
        )  # fmt: skip
        disk = Disk(directory, brief, reactor, now)
        doors = _doors(metrics, reactor)
        checks: list[Check] = [
            DatabaseCheck(
                store,
                ledger,
                disk,
                lambda: exports.unreadable,
                lambda: summary.failure,
                now,
                lambda: summary.counted_share,
                lambda: changes.failure,
            ),
            DiskCheck(store, ledger, disk, Trouble(now, reactor.seconds)),
            RotationCheck(store, rotation),
            InputServiceCheck(ledger, lambda: None if feed is None else feed.state),
            ConnectionsCheck(tuple(doors.values())),
            ArchiveCheck(archive),
            WebhookCheck(webhook),
            *([] if naming is None else [NamesCheck(naming)]),
        ]
        health = Health(
            store, ledger, stats, metrics, checks, disk, reactor, now, lambda: stopping.has_begun,
            () if naming is None else naming.labels,
        )  # fmt: skip
        access = Access(settings.tokens_file, settings.client_ca is not None)
        certificates = _certificates(settings)
        pages = Pages(
            health.report, stats, lambda: store.files, Surroundings(
                lambda: results_port.number, lambda: health_port.number, not access.is_open
            ), brief, reactor, now,
        ) if with_pages else None  # fmt: skip
        refusals = None if pages is None else pages.refusals
        results_site = Site(
            Routes(api.routes()), reactor, admission, MOST_BODY_BYTES, most_connections(settings.max_connections),
            access, doors["results"], settings.trusted_proxies, None if refusals is None else refusals.on_results_port,
        )  # fmt: skip
        results_port = Port(
            "port", settings.port, Handed("results", 0), _behind(certificates, results_site, reactor),
            Lane(reactor, store.company),  # a crowd there must not keep the health port waiting
        )  # fmt: skip
        health_site = Site(
            Routes([
                *health.routes(), *Questions(queries).routes(), *exports.routes(),
                *([] if pages is None else pages.routes()),
            ]), reactor, admission, _HEALTH_BODY_BYTES, HEALTH_CONNECTIONS, access, doors["health"],
            show=None if refusals is None else refusals.on_health_port,
        )  # fmt: skip
        health_port = Port(
            "health-port", settings.health_port, Handed("health", 1), _behind(certificates, health_site, reactor),
            reactor,
        )  # fmt: skip
        metrics.show_archive(archive)
        metrics.show_webhook(webhook)
        metrics.show(gauges(store, ledger, feed, admission, results_site, readings, exports, archive, found, webhook))
        rate = Rate(lambda: stats.results, reactor)
        notifier = Notifier(environ)
        pulse = Pulse(
            notifier, reactor, lambda: f"{rate():,.0f} results/s, {ledger.backlog:,} hops wait for input_service",
            lambda: store.stalled_s > notifier.watchdog_s,
        )  # fmt: skip
        return cls(
            settings=settings, feedable=may_be_fed, stopping=stopping, brief=brief, long=long, parsing=parsing,
            asking=asking, exporting=exporting, shipping=shipping, posting=posting, directory=directory, stats=stats,
            admission=admission, metrics=metrics, store=store, ledger=ledger, upkeep=upkeep, archive=archive,
            rotation=rotation, feed=feed, manifests=manifests, inspection=inspection, copies=copies, summary=summary,
            changes=changes, naming=naming, webhook=webhook,
            queries=queries, exports=exports, access=access, pages=pages, results_site=results_site,
            health_site=health_site, results_port=results_port, health_port=health_port, notifier=notifier, pulse=pulse,
            reload=Reload([
                *_reloadable(
                    settings, access, (results_site, health_site), certificates, input_token, webhook_token, archive
                ),
                *_reloadable_networks(naming, long),
            ], brief),
        )  # fmt: skip

    def starts(self) -> Sequence[Callable[[], object]]:
        """What is called, in this order, to start; each may raise Unusable."""
        refeed, path = self.settings.refeed, self.directory.path
        archived = None if self.archive is None else self.archive.let_go_at_start
        return (
            self.reload.read_first,
            self.directory.take,
            self.results_port.open,
            self.health_port.open,
            lambda: open_files(self.store, self.ledger, self.feedable, refeed, path, archived),
            self.pulse.start,
            *([] if self.archive is None else [self.archive.start]),
            self.rotation.start,
            self.manifests.start,
            self.inspection.start,
            self.summary.start,
            self.changes.start,
            self.upkeep.start,
            *(each.startService for each in self._deliveries),
            self.results_port.announce,
            self.health_port.announce,
            lambda: self.access.warn_if_open(self.results_port.is_loopback and self.health_port.is_loopback),
            lambda: _log.info("results go to {path}", path=str(self.store.current.info.path)),
        )

    def stops(self) -> Sequence[Stop]:
        """What is called to stop, each when the one before has ended."""
        return (
            Stop("the word to systemd", self.pulse.stop),
            Stop("the port for results", lambda: _close(self.results_port, self.results_site, self.results_drain_s)),
            Stop("the copies", self.copies.stop),
            Stop("the manifests", self.manifests.stop),
            Stop("the inspection", self.inspection.stop),
            *([] if self.archive is None else [Stop("the archive", self.archive.stop)]),
            Stop("the rotation", self.rotation.stop),
            Stop("the posting of hops and changes", self._stop_deliveries),
            Stop("the exports", self.exports.stop),
            Stop("the queries", self.queries.stop),
            *([] if self.naming is None else [Stop("the names", self.naming.stop)]),
            Stop("the summary", lambda: self.summary.stop(self.long)),
            Stop("the changes", lambda: self.changes.stop(self.long)),
            Stop("the upkeep of the hop ledger", self.upkeep.stop),
            Stop("the store", self.store.close),
            Stop("the hop ledger", self.ledger.close),
            *([] if self.pages is None else [Stop("the pages", self.pages.stop)]),
            Stop("the health port", lambda: _close(self.health_port, self.health_site, self.health_drain_s)),
            Stop("the threads", self.free),
        )

    @property
    def _deliveries(self) -> Sequence[Delivery]:
        return [each for each in (self.feed, self.webhook) if each is not None]

    def _stop_deliveries(self) -> Deferred[Any]:
        """Side by side: each may take two seconds."""
        return gatherResults([each.stopService() for each in self._deliveries])

    def free(self) -> None:
        """End the threads and give the directory back: the last of a stop, and all that a start which failed needs."""
        for threads in (self.brief, self.long, self.asking, self.exporting, self.shipping, self.posting, self.parsing):
            threads.stop()
        if self.naming is not None:
            self.naming.threads.stop()
        self.directory.release()


def _feed(settings: Settings, ledger: Ledger, stats: Stats, token: TokenFile, reactor: Any) -> HopFeed:
    policy = _policy("input-ca", settings.input_ca)
    feed = HopFeed(
        ledger, http_client(reactor, policy), settings.input_url, reactor, stats.count_sent, token=lambda: token.token
    )
    ledger.when_owed = feed.wake
    return feed


def _doors(metrics: Metrics, reactor: Any) -> dict[str, Doors[Any]]:
    doors: dict[str, Doors[Any]] = {
        "results": Doors("the port for results", reactor.seconds),
        "health": Doors("the health port", reactor.seconds),
    }
    metrics.show_doors(doors)
    return doors


def _naming(settings: Settings, directory: DataDir, reactor: Any) -> Naming | None:
    if settings.asn_db is None and not settings.rdns:
        return None
    now, chosen = time.time, settings.rdns_resolver
    threads = Threads(reactor, "outputd-names", 1)
    names = Names(directory.names, lambda: directory.free_bytes() >= settings.limits.low_disk_bytes)
    lookups = Lookups(
        names, servers_of_this_machine if chosen is None else lambda: (chosen,), partial(name_of, reactor=reactor),
        threads, reactor, now,
    ) if settings.rdns else None  # fmt: skip
    origins = None if settings.asn_db is None else Origins(settings.asn_db, now, reactor.seconds)
    return Naming(origins, lookups, threads, directory.names, now, reactor.callFromThread)


def _webhook(settings: Settings, changes: Changes, token: TokenFile, in_thread: Threads, reactor: Any) -> Webhook:
    http = http_client(reactor, _policy("webhook-ca", settings.webhook_ca))
    webhook = Webhook(changes, in_thread, http, settings.webhook, reactor, token=lambda: token.token)
    changes.outbox.when_owed = lambda: reactor.callFromThread(webhook.wake)
    return webhook


def _policy(flag: str, ca: Path | None) -> Policy:
    try:
        return Policy(ca)
    except Unusable as error:
        raise Unusable(f"--{flag}: {error}") from None


def _certificates(settings: Settings) -> Certificates | None:
    certificate, key = settings.tls_cert, settings.tls_key
    return Certificates(certificate, key, settings.client_ca) if certificate and key else None


def _behind(certificates: Certificates | None, site: Site, reactor: Any) -> IProtocolFactory:
    return site if certificates is None else certificates.around(site, reactor)


def _reloadable(
    settings: Settings,
    access: Access,
    sites: Sequence[Site],
    certificates: Certificates | None,
    input_token: TokenFile,
    webhook_token: TokenFile,
    archive: Archive | None,
) -> list[Reloadable[Any]]:
    """What is read from files: at the start, and again on SIGHUP."""
    things: list[Reloadable[Any]] = []
    if settings.tokens_file is not None:
        things.append(Reloadable("the tokens file", access.read, partial(_let_in, access.take, sites)))
    if certificates is not None:
        things.append(Reloadable("the certificate", certificates.read, partial(_let_in, certificates.take, sites)))
    if settings.input_token_file is not None:
        things.append(Reloadable("the token for input_service", input_token.read, input_token.take))
    if settings.webhook_token_file is not None:
        things.append(Reloadable("the token for the webhook", webhook_token.read, webhook_token.take))
    if archive is not None and settings.archive is not None and settings.archive.credentials is not None:
        things.append(Reloadable("the archive's credentials", archive.read_credentials, archive.take_credentials))
    return things


def _reloadable_networks(naming: Naming | None, long: Threads) -> list[Reloadable[Any]]:
    """The file of --asn-db, which takes seconds to read."""
    origins = None if naming is None else naming.origins
    return [] if origins is None else [Reloadable("the file of --asn-db", origins.read, origins.take, long)]


def _let_in(take: Callable[[Any], None], sites: Sequence[Site], known: Any) -> None:
    """Let in who is known now, and ask again of who came before."""
    take(known)
    for site in sites:
        site.judge_again()


async def _close(port: Port, site: Site, drain_s: float) -> None:
    await port.close()
    await site.drain(drain_s)


def _say(text: str) -> None:
    _log.info("{text}", text=text)
