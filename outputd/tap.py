"""The command line, and the list of parts: builds every part of the service and decides nothing."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import resource
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.python import usage
from twisted.python.failure import Failure

from outputd import __version__
from outputd.access import OPERATOR, Access, Holders
from outputd.addresses import FEED_ALL, FEED_PUBLIC, feedable
from outputd.admission import Admission
from outputd.api import MOST_BODY_BYTES, Api
from outputd.api import needs as api_needs
from outputd.clock import by_monotonic_time
from outputd.collector import Collector
from outputd.datadir import DataDir, DirectoryUnusable
from outputd.dump import Copies
from outputd.failures import Unusable
from outputd.feed import HopFeed, http_client
from outputd.health import Health
from outputd.health import needs as health_needs
from outputd.lane import Lane
from outputd.ledger import Learnt, Ledger
from outputd.log import Logger
from outputd.metrics import Metrics
from outputd.notify import READY, Notifier, Pulse
from outputd.pages import Pages, Surroundings
from outputd.pools import AdbapiPool, OpenPool, Prepare, Threads
from outputd.queries import Queries
from outputd.questions import Questions
from outputd.reload import Reload, Reloadable
from outputd.resultfile import NewerFile
from outputd.results import Parser
from outputd.rotation import Rotation
from outputd.service import CannotStart, OutputService, Stop
from outputd.stats import Stats
from outputd.store import Limits, Store
from outputd.summary import KeepingUp, Summary
from outputd.tls import Certificates, Policy, token_of
from outputd.web import Site

_log = Logger()
_MIB = 1 << 20
_MOST = 1_000_000_000
_DAY_S = 86_400.0
_SOCKETS = {"port": ("results", 0), "health-port": ("health", 1)}
_READERS = 4
_ASKERS = 4
_HEALTH_CONNECTIONS = 200
_HEALTH_BODY_BYTES = 64 * 1024
_FILES = 100  # databases, their WALs, copies, threads, the feed
_BACKLOG = 511
_DRAIN_S = 5.0
_HEALTH_DRAIN_S = 0.5
_LEDGER_EVERY_S = 1.0
_GC_EVERY = 20_000
_SWITCH_S = 0.0005
_MALLOC = ((-8, 1), (-3, 128 * 1024), (-1, 1 << 20))  # malloc.h: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


class Options(usage.Options):
    """The flags of the spec and ours; each can be set by environment, as OUTPUTD_DB_DIR, and the flag wins."""

    synopsis = "[options]"
    longdesc = "Collects the results of ping nodes into SQLite files and feeds the hops they found to input_service."
    optFlags = [  # noqa: RUF012  # as usage.Options wants it
        ["verbose", "v", "Log a line for each POST."],
        ["refeed", None, "Owe all known hops to input_service again, once."],
    ]
    optParameters = [  # noqa: RUF012
        ["port", None, "8081", "Port for results: a number, or a Twisted endpoint string."],
        ["health-port", None, "8091", "Port for health and metrics: a number, or a Twisted endpoint string."],
        ["input-url", None, "http://localhost:8080/hops", "Where hops are posted; empty turns the feed off."],
        ["db-dir", None, "./output_data", "Directory for the database files."],
        ["max-size-mb", None, "100", "Size of a database file (MiB) at which it is rotated."],
        ["rotation-days", None, "7", "Age of a database file (days) at which it is rotated."],
        ["keep-files", None, "5", "Number of database files to keep, the current one included."],
        ["feed", None, FEED_ALL, "Which hops are fed: all, or public (no special-purpose addresses)."],
        ["max-hops", None, "10000000", "Most addresses that the hop ledger keeps."],
        ["max-pending-mb", None, "64", "Memory (MiB) that POSTs may hold while they wait for the disk."],
        ["max-connections", None, "1000", "Most connections on the port for results."],
        ["tls-cert", None, "", "Certificate (PEM, with its chain) that both ports show; they speak TLS then."],
        ["tls-key", None, "", "Its private key (PEM)."],
        ["client-ca", None, "", "CA (PEM) of nodes' certificates: a node may show one instead of a token."],
        ["input-ca", None, "", "CA (PEM) of input_service's certificate, instead of those of the system."],
        ["input-token-file", None, "", "File with the token that input_service asks for."],
        ["tokens-file", None, "", "File of the tokens of nodes and operators; without it all is open to everybody."],
    ]

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._environ = os.environ if environ is None else environ

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the environment, then the flags. What cannot be right ends the process with one line that says why."""
        try:
            self._read_environment()
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"outputd: {error} (outputd --help lists the flags)") from None

    def _read_environment(self) -> None:
        for name in list(self.opts):
            variable = f"OUTPUTD_{name.replace('-', '_').upper()}"
            value = self._environ.get(variable, "")
            if not value or value.startswith("tcp://"):  # Kubernetes puts tcp://... into OUTPUTD_PORT
                continue
            self.opts[name] = _flag(variable, value) if name in ("verbose", "refeed") else value

    def opt_version(self) -> None:
        """Show version."""
        print(f"outputd {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Turn texts into numbers. Raises UsageError with what to write instead."""
        for name, kind in (
            ("max-size-mb", float), ("rotation-days", float), ("keep-files", int), ("max-hops", int),
            ("max-pending-mb", float), ("max-connections", int),
        ):  # fmt: skip
            self.opts[name] = _positive(name, self.opts[name], kind)
        if self.opts["feed"] not in (FEED_ALL, FEED_PUBLIC):
            raise usage.UsageError(f"--feed must be {FEED_ALL} or {FEED_PUBLIC}, not {self.opts['feed']!r}")
        url = self.opts["input-url"]
        if url and not _is_url(url):
            raise usage.UsageError(f"--input-url must be an http:// or https:// URL or empty, not {url!r}")
        if not self.opts["db-dir"]:
            raise usage.UsageError("--db-dir must name a directory")
        if bool(self.opts["tls-cert"]) != bool(self.opts["tls-key"]):
            raise usage.UsageError("--tls-cert and --tls-key are given together or not at all")
        if self.opts["client-ca"] and not self.opts["tls-cert"]:
            raise usage.UsageError("--client-ca needs --tls-cert and --tls-key")
        for name in ("port", "health-port"):
            text = self.opts[name]
            if self.opts["tls-cert"] and text.startswith("ssl:"):
                raise usage.UsageError(f"--{name} speaks TLS by ssl: or by --tls-cert, not by both")
            if text.isdecimal() and int(text) > 65_535:
                raise usage.UsageError(f"--{name} must be a port number up to 65535, not {text}")


def _positive(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(text)
    except ValueError:
        number = kind(0)
    if not 0 < number <= _MOST:
        whole = "whole " if kind is int else ""
        raise usage.UsageError(f"--{name} must be a {whole}number above 0 and up to {_MOST:,}, not {text!r}")
    return number


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname) and port != 0 and not re.search(r"\s", text)


def _flag(variable: str, text: str) -> int:
    if text.lower() in ("1", "true", "yes", "on"):
        return 1
    if text.lower() in ("0", "false", "no", "off"):
        return 0
    raise usage.UsageError(f"{variable} must be true or false, not {text!r}")


def most_connections(wanted: int) -> int:
    """How many connections the port for results may have, so that files and the health port never lack descriptors.

    Raises the process's own limit of open files as far as it is allowed to, and takes fewer connections if that is
    not enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _HEALTH_CONNECTIONS + _FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            fewer = max(1, allowed - _HEALTH_CONNECTIONS - _FILES)
            _log.warn(
                "at most {fewer} connections instead of {wanted}: the process may have {allowed} files open, and"
                " {needed} are needed (raise it by ulimit -n, or LimitNOFILE= of systemd)",
                fewer=fewer, wanted=wanted, allowed=allowed, needed=needed,
            )  # fmt: skip
            return fewer
    return wanted


def makeService(options: Options, reactor: Any = None) -> OutputService:  # the name twistd looks for
    """Build the service from its options."""
    own_process = reactor is None
    if reactor is None:
        from twisted.internet import reactor  # noqa: PLC0415  # the one place that touches the global reactor

        by_monotonic_time(reactor)

    def open_pool(path: Path, prepare: Prepare) -> AdbapiPool:
        return AdbapiPool(reactor, path, prepare)

    return _Parts(options, reactor, open_pool, own_process).service()


class _Parts:
    """Every part, in the order in which they know each other."""

    def __init__(self, options: Options, reactor: Any, open_pool: OpenPool, own_process: bool) -> None:
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
        self._admission = Admission(int(options["max-pending-mb"] * _MIB), reactor.seconds)
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
        api = Api(
            collector, store, rotation, Copies(directory, self._threads), self._threads, metrics.observe_request,
            reactor.seconds,
        )  # fmt: skip
        summary = Summary(directory.summary, lambda: store.files, wal_bytes=limits.wal_bytes)
        self._summary = KeepingUp(
            summary, reactor, self._stored, lambda: store.waiting > 0, now, directory.free_bytes, limits.low_disk_bytes
        )
        self._asking = Threads(reactor, "outputd-query", _ASKERS)
        self._queries = Queries(
            lambda: store.files, directory.summary, self._summary.up_to_date, self._asking, reactor, now
        )
        surroundings = Surroundings(self._results_port, not access.is_open)
        self._pages = Pages(stats, lambda: store.files, surroundings, self._threads, reactor, now)
        health = Health(
            store, ledger, rotation, stats, metrics, Questions(self._queries, self._asking, now), self._pages,
            directory, lambda: self._summary.failure,
            lambda: None if self._feed is None else self._feed.state, self._threads, reactor, now,
            lambda: self._service is not None and self._service.stopping,
        )  # fmt: skip
        connections = most_connections(options["max-connections"])
        self._results_site = Site(
            api.resource(), reactor, self._admission, MOST_BODY_BYTES, connections, access, api_needs
        )
        self._health_site = Site(
            health.resource(),
            reactor,
            Admission(_MIB, reactor.seconds),
            _HEALTH_BODY_BYTES,
            _HEALTH_CONNECTIONS,
            access,
            health_needs,
        )
        self._notifier = notifier = Notifier(os.environ if own_process else {})
        self._pulse = Pulse(notifier, reactor, self._status, lambda: store.turn_s > notifier.watchdog_s)
        self._told: tuple[float, int] = reactor.seconds(), 0
        self._trouble = ""
        self._keeping_up = LoopingCall(lambda: Deferred.fromCoroutine(self._keep_up()))
        self._keeping_up.clock = reactor

    def service(self) -> OutputService:
        """The service of these parts, with its order of starting and stopping."""
        starts = [self._read_settings, self._take, self._listen, self._open, self._begin]
        stops = [
            Stop("the word to systemd", self._tell_stopping),
            Stop("the port for results", lambda: self._close_port("port", self._results_site, _DRAIN_S)),
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
            self._reactor.callWhenRunning(_settle)
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
            except (OSError, sqlite3.Error) as error:
                removed = self._store.make_room()
                if not removed:
                    raise
                _log.warn("{error!s}; pruned before the start: {names}", error=error, names=", ".join(removed))
                self._open_files()
        except NewerFile as error:
            raise CannotStart(str(error)) from None
        except (OSError, sqlite3.Error) as error:
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
        self._keeping_up.start(_LEDGER_EVERY_S, now=False)
        if self._feed is not None:
            self._feed.startService()
        for name, port in self._ports.items():
            _log.info("--{name} listens on {address}", name=name, address=port.getHost())
        if not self._access.asks_for(OPERATOR) and not all(_is_loopback(port) for port in self._ports.values()):
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
                if not self._trouble:
                    _log.error("the hop ledger was deleted under our feet, and is made anew from the result files")
                await self._ledger.reopen(self._store.files, self._feedable, self._threads)
            await self._ledger.keep_up()
            self._trouble = ""
        except (sqlite3.Error, OSError) as error:
            if str(error) != self._trouble:
                _log.error("the hop ledger cannot be kept up and is tried again: {error!s}", error=error)
            self._trouble = str(error)
        except Exception:
            _log.failure("keeping the hop ledger failed and is tried again")

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

    async def _stop_feed(self) -> None:
        if self._feed is not None:
            await self._feed.stopService()

    async def _stop_pages(self) -> None:
        self._pages.stop()

    async def _close_store(self) -> None:
        if self._keeping_up.running:
            self._keeping_up.stop()
        await self._store.close()

    async def _stop_threads(self) -> None:
        self._threads.stop()
        self._asking.stop()
        self._parsing.stop()
        self._directory.release()


def _is_loopback(port: IListeningPort) -> bool:
    host = getattr(port.getHost(), "host", "127.0.0.1")  # a Unix socket has none
    return ip_address(host.partition("%")[0]).is_loopback


def _settle() -> None:
    """What is there at the start stays: the collector of cycles need not walk it, nor walk often.

    Memory of large bodies goes back to the system as soon as it is free.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_EVERY, 20, 50)
    with contextlib.suppress(OSError, AttributeError):  # of glibc alone
        for option, value in _MALLOC:
            ctypes.CDLL(None).mallopt(option, value)
    sys.setswitchinterval(_SWITCH_S)  # threads that parse give way soon: each read of a socket waits for it
