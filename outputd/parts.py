"""The parts of one instance, in the order in which they know each other: built, started and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from outputd.api.checks import Check, DatabaseCheck, DiskCheck, InputServiceCheck, RotationCheck
from outputd.api.disk import Disk
from outputd.api.health import Health
from outputd.api.metrics import Metrics
from outputd.api.questions import Questions
from outputd.api.results import MOST_BODY_BYTES, Api
from outputd.client.agent import http_client
from outputd.intake.admission import Admission
from outputd.intake.collector import Collector
from outputd.intake.counters import Stats
from outputd.ledger.feed import HopFeed
from outputd.ledger.ledger import Ledger
from outputd.ledger.lessons import Learnt
from outputd.pages import Pages, Surroundings
from outputd.process.lane import Lane
from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.process.order import CannotStart, OutputService, Stop
from outputd.process.ports import HEALTH_CONNECTIONS, is_loopback, most_connections
from outputd.process.reload import Reload, Reloadable
from outputd.process.systemd import READY, Notifier, Pulse
from outputd.process.threads import Threads
from outputd.process.trouble import Trouble, Unusable
from outputd.process.tuning import settle
from outputd.queries import Queries
from outputd.results.hop_policy import feedable
from outputd.results.parse import Parser
from outputd.security.access import OPERATOR, Access, Holders
from outputd.security.certificates import Certificates
from outputd.security.pem import token_of
from outputd.security.trust import Policy
from outputd.sqlite.errors import DatabaseFailed, NewerFile
from outputd.sqlite.pools import OpenPool
from outputd.store.copies import Copies
from outputd.store.directory import DataDir, DirectoryUnusable
from outputd.store.limits import Limits
from outputd.store.rotation import Rotation
from outputd.store.store import Store
from outputd.summary.keeping_up import KeepingUp
from outputd.summary.summary import Summary
from outputd.web.routes import Routes
from outputd.web.site import Site

_log = Logger()
_MIB = 1 << 20
_DAY_S = 86_400.0
_SOCKETS = {"port": ("results", 0), "health-port": ("health", 1)}
_READERS = 4
_ASKERS = 4
_COPIERS = 3  # one copies, one digests, one looks at the disk
_HEALTH_BODY_BYTES = 64 * 1024
_BACKLOG = 511
_DRAIN_S = 5.0
_HEALTH_DRAIN_S = 0.5
_LEDGER_EVERY_S = 1.0


class Parts:
    """Every part, in the order in which they know each other."""

    def __init__(self, options: Mapping[str, Any], reactor: Any, open_pool: OpenPool, own_process: bool) -> None:
        now = time.time
        self._own_process = own_process
        self._options = options
        self._reactor = reactor
        self._now = now
        self._ports: dict[str, IListeningPort] = {}
        self._service: OutputService | None = None
        self._feedable = feedable(options["feed"])
        self._threads = Threads(reactor, "outputd-reader", _READERS)
        self._parsing = Threads(reactor, "outputd-parser", 1)
        self._directory = directory = DataDir(Path(options["db-dir"]))
        limits = Limits(int(options["max-size-mb"] * _MIB), options["rotation-days"] * _DAY_S, options["keep-files"])
        self._stats = stats = Stats()
        self._admission = Admission(int(options["max-pending-mb"] * _MIB), reactor.seconds, stats)
        self._metrics = metrics = Metrics(stats, self._gauges())
        self._store = store = Store(directory, limits, reactor, open_pool, self._threads, now, metrics.observe_commit)
        self._ledger = ledger = Ledger(directory.ledger, reactor, open_pool, now, options["max-hops"], self._discovered)
        self._rotation = rotation = Rotation(store, reactor, ledger.flush)
        self._access = access = Access(self._path("tokens-file"), self._path("client-ca") is not None)
        self._certificates = self._make_certificates()
        self._input_token = ""
        self._reload = Reload(self._reloadable(), self._threads)
        self._feed = self._make_feed(options["input-url"])
        collector = Collector(
            store, ledger, Parser(self._feedable), stats, self._admission, self._parsing, now,
            self._tell if options["verbose"] else None,
        )  # fmt: skip
        self._copying = Threads(reactor, "outputd-copier", _COPIERS)
        self._copies = Copies(directory, self._copying, reactor, lambda: store.stored_batches, limits.spare_disk_bytes)
        api = Api(
            collector, store, rotation, self._copies, self._threads, metrics.observe_request, reactor.seconds
        )  # fmt: skip
        summary = Summary(directory.summary, lambda: store.files, wal_bytes=limits.wal_bytes)
        self._summary = KeepingUp(
            summary, reactor, self._stored, lambda: store.waiting > 0, now, directory.free_bytes, limits.low_disk_bytes
        )
        self._asking = Threads(reactor, "outputd-query", _ASKERS)
        self._queries = Queries(
            lambda: store.files, directory.summary, self._summary.up_to_date, self._asking, reactor, now
        )
        questions = Questions(self._queries, self._asking, now)
        disk = Disk(directory, self._threads, reactor, now)
        checks: list[Check] = [
            DatabaseCheck(store, ledger, disk, lambda: self._queries.unreadable, lambda: self._summary.failure, now),
            DiskCheck(store, ledger, disk, Trouble(now, reactor.seconds)),
            RotationCheck(store, rotation),
            InputServiceCheck(ledger, lambda: None if self._feed is None else self._feed.state),
        ]
        health = Health(
            store, ledger, stats, metrics, checks, disk, reactor,
            lambda: self._service is not None and self._service.stopping,
        )  # fmt: skip
        surroundings = Surroundings(self._results_port, not access.is_open)
        self._pages = Pages(health.report, stats, lambda: store.files, surroundings, self._threads, reactor, now)
        connections = most_connections(options["max-connections"])
        self._results_site = Site(Routes(api.routes()), reactor, self._admission, MOST_BODY_BYTES, connections, access)
        self._health_site = Site(
            Routes([*health.routes(), *questions.routes(), *self._pages.routes()]),
            reactor,
            Admission(_MIB, reactor.seconds),
            _HEALTH_BODY_BYTES,
            HEALTH_CONNECTIONS,
            access,
        )
        self._notifier = notifier = Notifier(os.environ if own_process else {})
        self._pulse = Pulse(notifier, reactor, self._status, lambda: store.turn_s > notifier.watchdog_s)
        self._told: tuple[float, int] = reactor.seconds(), 0
        self._ledger_trouble = Trouble(now, reactor.seconds, _say_that_the_ledger_fails, _say_that_the_ledger_works)
        self._keeping_up = Every(_LEDGER_EVERY_S, self._keep_up, reactor)

    def service(self) -> OutputService:
        """The service of these parts, with its order of starting and stopping."""
        starts = [self._read_settings, self._take, self._listen, self._open, self._begin]
        stops = [
            Stop("the word to systemd", self._tell_stopping),
            Stop("the port for results", lambda: self._close_port("port", self._results_site, _DRAIN_S)),
            Stop("the copies", self._stop_copies),
            Stop("the rotation", self._rotation.stop),
            Stop("the feed", self._stop_feed),
            Stop("the queries", self._queries.stop),
            Stop("the summary", lambda: self._summary.stop(self._threads)),
            Stop("the store", self._close_store),
            Stop("the hop ledger", self._ledger.close),
            Stop("the pages", self._stop_pages),
            Stop("the health port", lambda: self._close_port("health-port", self._health_site, _HEALTH_DRAIN_S)),
            Stop("the threads", self._stop_threads),
        ]
        self._service = OutputService(self._reactor, starts, stops)
        if self._own_process:
            # At once: systemd may ask for it as soon as we are ready, and it ends a process that has no handler.
            signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._read_again))
            self._reactor.callWhenRunning(settle)
            self._reactor.callWhenRunning(self._reactor.callLater, 0, self._service.end_by_signals)
        return self._service

    # -- settings in files ---------------------------------------------------------------------------

    def _path(self, name: str) -> Path | None:
        return Path(self._options[name]) if self._options[name] else None

    def _make_certificates(self) -> Certificates | None:
        certificate, key = self._path("tls-cert"), self._path("tls-key")
        return Certificates(certificate, key, self._path("client-ca")) if certificate and key else None

    def _reloadable(self) -> list[Reloadable[Any]]:
        things: list[Reloadable[Any]] = []
        if self._path("tokens-file") is not None:
            things.append(Reloadable("the tokens file", self._access.read, self._take_holders))
        if self._certificates is not None:
            things.append(Reloadable("the certificate", self._certificates.read, self._certificates.take))
        if (path := self._path("input-token-file")) is not None:
            things.append(Reloadable("the token for input_service", partial(token_of, path), self._take_input_token))
        return things

    def _take_holders(self, holders: Holders) -> None:
        self._access.take(holders)
        for site in (self._results_site, self._health_site):
            site.judge_again()

    def _take_input_token(self, token: str) -> None:
        self._input_token = token

    # -- starting ------------------------------------------------------------------------------------

    def _read_again(self) -> None:
        self._notifier.reloading()
        Deferred.fromCoroutine(self._reload.again()).addBoth(lambda _: self._notifier.tell(READY))

    def _status(self) -> str:
        now, results = self._reactor.seconds(), self._stats.results
        (before, counted), self._told = self._told, (now, results)
        rate = (results - counted) / (now - before) if now > before else 0.0
        return f"{rate:,.0f} results/s, {self._ledger.backlog:,} hops wait for input_service"

    async def _tell_stopping(self) -> None:
        self._pulse.stop()

    def _read_settings(self) -> None:
        try:
            self._reload.read_first()
        except Unusable as error:
            raise CannotStart(str(error)) from None

    def _take(self) -> None:
        try:
            self._directory.take()
        except DirectoryUnusable as error:
            raise CannotStart(str(error)) from None

    def _open(self) -> None:
        try:
            try:
                self._open_files()
            except (OSError, DatabaseFailed) as error:
                removed = self._store.make_room()
                if not removed:
                    raise
                _log.warn("{error!s}; pruned before the start: {names}", error=error, names=", ".join(removed))
                self._open_files()
        except NewerFile as error:
            raise CannotStart(str(error)) from None
        except (OSError, DatabaseFailed) as error:
            raise CannotStart(f"cannot use {self._directory.path}: {error}") from None

    def _open_files(self) -> None:
        self._store.open()
        self._ledger.open(self._store.files, self._feedable, bool(self._options["refeed"]))

    def _listen(self) -> None:
        lane = Lane(self._reactor)  # a crowd there must not keep the health port waiting
        self._ports["port"] = self._listen_on("port", self._results_site, lane)
        self._ports["health-port"] = self._listen_on("health-port", self._health_site, self._reactor)

    def _listen_on(self, name: str, site: Site, reactor: Any) -> IListeningPort:
        served = site if self._certificates is None else self._certificates.around(site, self._reactor)
        text = self._options[name]
        tries = [text]
        handed = self._handed(name, reactor)
        if text.isdecimal():  # IPv4 and IPv6, or IPv4 alone where the machine has no IPv6
            tries = [f"tcp:{text}:interface=\\:\\::backlog={_BACKLOG}", f"tcp:{text}:backlog={_BACKLOG}"]
        for description in tries:
            outcome: list[Any] = []
            try:
                endpoint = handed or serverFromString(reactor, description)
                endpoint.listen(served).addBoth(outcome.append)
            except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
                raise CannotStart(f"--{name}={text}: not a port or endpoint: {error}") from None
            if outcome and not isinstance(outcome[0], Failure):
                port: IListeningPort = outcome[0]
                return port
        failure = outcome[0].value if outcome else "it does not listen at once"
        reason = failure.socketError.strerror if isinstance(failure, CannotListenError) else failure
        raise CannotStart(f"cannot listen on --{name}={text}: {reason}")

    def _handed(self, name: str, reactor: Any) -> AdoptedStreamServerEndpoint | None:
        """The socket that systemd holds for a port, so that no connection is refused while we are restarted.

        It is found by its FileDescriptorName, else by its place.
        """
        called, place = _SOCKETS[name]
        for which in (f"name={called}", f"index={place}"):
            with contextlib.suppress(KeyError, IndexError):
                handed: Any = serverFromString(reactor, f"systemd:domain=INET:{which}")
                with socket.socket(fileno=os.dup(handed.fileno)) as listening:
                    handed.addressFamily = listening.family
                endpoint: AdoptedStreamServerEndpoint = handed
                return endpoint
        return None

    def _begin(self) -> None:
        self._pulse.start()
        self._rotation.start()
        self._summary.start()
        self._keeping_up.start(now=False)
        if self._feed is not None:
            self._feed.startService()
        for name, port in self._ports.items():
            _log.info("--{name} listens on {address}", name=name, address=port.getHost())
        if not self._access.asks_for(OPERATOR) and not all(is_loopback(port) for port in self._ports.values()):
            _log.warn("whoever can reach these ports may read and rotate: --tokens-file lets in whom you name")
        _log.info("results go to {path}", path=str(self._store.current.info.path))

    def _make_feed(self, url: str) -> HopFeed | None:
        if not url:
            return None
        try:
            policy = Policy(self._path("input-ca"))
        except Unusable as error:
            raise SystemExit(f"outputd: --input-ca: {error}") from None
        return HopFeed(
            self._ledger, http_client(self._reactor, policy), url, self._reactor, self._count_sent,
            token=lambda: self._input_token, now=self._now,
        )  # fmt: skip

    def _results_port(self) -> int | None:
        number: int | None = getattr(self._ports["port"].getHost(), "port", None) if "port" in self._ports else None
        return number

    # -- running -------------------------------------------------------------------------------------

    def _discovered(self, learnt: Learnt) -> None:
        self._stats.hops_discovered += learnt.new
        self._stats.hops_over_limit += learnt.over_limit
        if learnt.new and self._feed is not None:
            self._feed.wake()

    def _count_sent(self, hops: int) -> None:
        self._stats.hops_sent += hops

    def _stored(self) -> object:
        """What changes when results are stored, or files come and go."""
        return self._stats.results, self._stats.rejected.total(), self._store.files

    def _tell(self, text: str) -> None:
        _log.info("{text}", text=text)

    async def _keep_up(self) -> None:
        try:
            if self._ledger.is_gone():
                if self._ledger_trouble.failure is None:
                    _log.error("the hop ledger was deleted under our feet, and is made anew from the result files")
                await self._ledger.reopen(self._store.files, self._feedable, self._threads)
            await self._ledger.keep_up()
        except Exception as error:
            if self._ledger_trouble.begin(str(error)) and not isinstance(error, DatabaseFailed | OSError):
                _log.failure("keeping the hop ledger up failed in a way that was not foreseen")
        else:
            self._ledger_trouble.end()

    def _gauges(self) -> Mapping[str, tuple[str, Any]]:
        return {
            "queue_posts": ("POSTs that no commit has taken yet", lambda: self._store.waiting),
            "pending_bytes": ("Memory held by POSTs", lambda: self._admission.held_bytes),
            "pending_limit_bytes": ("Most memory held by POSTs", lambda: self._admission.limit_bytes),
            "connections": ("Connections on the port for results", lambda: len(self._results_site.channels)),
            "ledger_backlog_hops": ("Hops that input_service lacks", lambda: self._ledger.backlog),
            "ledger_known_hops": ("Addresses that the ledger knows", lambda: self._ledger.known),
            "ledger_refused_hops": ("Hops that input_service refused", lambda: self._ledger.refusals),
            "idempotency_keys": ("Idempotency-Keys remembered", lambda: self._ledger.keys),
            "file_size_bytes": ("Size of the current file", lambda: self._store.current.size_bytes),
            "file_wal_bytes": ("Size of its WAL", lambda: self._store.wal_bytes),
            "file_age_seconds": ("Age of the current file", lambda: self._store.age_s),
            "files": ("Result files", lambda: len(self._store.files)),
            "connections_limit": ("Most connections on that port", lambda: self._results_site.most_connections),
            "file_size_limit_bytes": ("Size at which a file is rotated", lambda: self._store.limits.max_size_bytes),
            "file_age_limit_seconds": ("Age at which a file is rotated", lambda: self._store.limits.max_age_s),
            "files_limit": ("Result files that are kept", lambda: self._store.limits.keep_files),
            "storing": ("1 while results can be stored", self._is_storing),
            "feed_enabled": ("0 when the feed is turned off", lambda: float(self._feed is not None)),
            "feed_up": ("1 while input_service takes hops", self._feed_is_up),
        }

    def _is_storing(self) -> float:
        return float(self._store.failure is None and self._ledger.failure is None)

    def _feed_is_up(self) -> float:
        return float(self._feed is not None and self._feed.state.status == "ok")

    # -- stopping ------------------------------------------------------------------------------------

    async def _close_port(self, name: str, site: Site, drain_s: float) -> None:
        port = self._ports.pop(name, None)
        if port is not None:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped
            await site.drain(drain_s)

    async def _stop_copies(self) -> None:
        self._copies.stop()

    async def _stop_feed(self) -> None:
        if self._feed is not None:
            await self._feed.stopService()

    async def _stop_pages(self) -> None:
        self._pages.stop()

    async def _close_store(self) -> None:
        await self._keeping_up.stop()
        await self._store.close()

    async def _stop_threads(self) -> None:
        self._threads.stop()
        self._asking.stop()
        self._parsing.stop()
        self._copying.stop()
        self._directory.release()


def _say_that_the_ledger_fails(reason: str) -> None:
    _log.error("the hop ledger cannot be kept up and is tried again: {reason}", reason=reason)


def _say_that_the_ledger_works(seconds: float) -> None:
    _log.info("the hop ledger is kept up again, after {seconds:.0f} s", seconds=seconds)
