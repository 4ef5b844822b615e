"""The command line: options in, service out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.python import usage

from outputd import __version__
from outputd.archive.choice import Choice
from outputd.archive.instance import RULE, is_name
from outputd.archive.place import place_of
from outputd.client.urls import is_bare_url, is_url
from outputd.naming.resolver import server_of
from outputd.parts import Parts
from outputd.process.order import OutputService
from outputd.process.reload import by_hangup
from outputd.process.time import by_monotonic_time
from outputd.process.trouble import Unusable
from outputd.process.tuning import settle, share_one_heap
from outputd.results.hop_policy import FEED_ALL, FEED_PUBLIC
from outputd.security.proxies import Proxies
from outputd.settings import Settings
from outputd.sqlite.pools import AdbapiPool
from outputd.store.limits import Limits

_MOST = 1_000_000_000
_MIB = 1 << 20
_DAY_S = 86_400.0


class Options(usage.Options):
    """The flags of the spec and ours; each can be set by environment, as OUTPUTD_DB_DIR, and the flag wins."""

    longdesc = (
        "Stores results of ping and traceroute nodes in SQLite files and posts the hops they find to input_service."
        " Each option can be set in the environment, as OUTPUTD_DB_DIR; the option takes precedence."
    )
    optFlags = [  # noqa: RUF012  # as usage.Options wants it
        ["verbose", "v", "Log a line for each POST."],
        [
            "rdns",
            None,
            "Look up the DNS names of addresses that are shown, in the background.",
        ],
        ["refeed", None, "Queue every known hop for delivery to input_service again, once."],
    ]
    optParameters = [  # noqa: RUF012  # as above
        ["port", None, "8081", "Port for results: a number or a Twisted endpoint string."],
        ["health-port", None, "8091", "Port for pages, queries, health, metrics: a number or a Twisted endpoint."],
        ["input-url", None, "http://localhost:8080/hops", "URL that hops are posted to; empty turns the hop feed off."],
        ["db-dir", None, "./output_data", "Directory of the database files; one process per directory."],
        ["max-size-mb", None, "100", "Size (MiB) at which the current file is rotated."],
        ["rotation-days", None, "7", "Age (days, fractions allowed) at which the current file is rotated."],
        ["keep-files", None, "5", "Number of result files to keep, including the current one."],
        [
            "raw-percent",
            None,
            "20",
            "Percent of a result file for the bodies of other formats, kept as they were sent; 0 keeps none.",
        ],
        ["feed", None, FEED_ALL, "Which hops are fed: all, or public (no special-purpose addresses)."],
        ["max-hops", None, "10000000", "Maximum number of addresses in the hop ledger."],
        ["max-pending-mb", None, "64", "Maximum memory (MiB) of POSTs waiting for the disk; above it they get 503."],
        ["max-connections", None, "1000", "Maximum number of connections on the port for results."],
        ["archive", None, "", "URL of an archive that results are shipped to: s3://, gs://, az:// or file:///."],
        ["archive-every", None, "10", "Minutes after which new results are shipped, if less than an object's worth."],
        ["archive-credentials", None, "", "File of KEY=VALUE lines with the credentials for --archive."],
        [
            "archive-max-backlog-mb",
            None,
            "",
            "Size (MiB) of closed files that wait to be shipped, above which the oldest is deleted unshipped;"
            " default: 20 times --max-size-mb.",
        ],
        ["instance", None, "", "Name of this instance in the archive; default: after the host."],
        ["tls-cert", None, "", "Certificate with its chain (PEM): both ports then speak TLS 1.2 or later."],
        ["tls-key", None, "", "Private key of --tls-cert (PEM)."],
        ["client-ca", None, "", "CA (PEM) of client certificates: a node may use one instead of a token."],
        ["input-ca", None, "", "CA (PEM) of input_service's certificate; default: the system's CAs."],
        ["input-token-file", None, "", "File with the token that is sent to input_service."],
        ["webhook", None, "", "URL that changes of routes, loss, round-trip times and nodes are posted to."],
        ["webhook-ca", None, "", "CA (PEM) of the webhook's certificate; default: the system's CAs."],
        ["webhook-token-file", None, "", "File with the token that is sent to the webhook."],
        ["tokens-file", None, "", "File with the tokens and their roles; without it, anyone has access."],
        [
            "trusted-proxies",
            None,
            "",
            "Addresses or networks of proxies (unix: on a unix socket) whose Forwarded or X-Forwarded-For is believed.",
        ],
        [
            "asn-db",
            None,
            "",
            "File with the networks (AS) of addresses: MMDB, or the table of iptoasn.com.",
        ],
        [
            "rdns-resolver",
            None,
            "",
            "DNS server (address or address:port) for --rdns; default: /etc/resolv.conf.",
        ],
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
            self.opts[name] = _flag(variable, value) if name in ("verbose", "rdns", "refeed") else value

    def getSynopsis(self) -> str:
        """How the command is called; `twistd outputd` takes the same options."""
        return "Usage: outputd [options]"

    def opt_version(self) -> None:
        """Show version."""
        print(f"outputd {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *words: str) -> None:
        """Take no words beside the flags. Raises UsageError that names the first of them."""
        if words:
            raise usage.UsageError(
                f"unexpected argument {words[0]!r}: outputd takes flags only, values as in --port=8081"
            )

    def postOptions(self) -> None:
        """Turn texts into numbers. Raises UsageError with what to write instead."""
        for name, kind in (
            ("max-size-mb", float), ("rotation-days", float), ("keep-files", int), ("max-hops", int),
            ("max-pending-mb", float), ("max-connections", int), ("archive-every", float),
        ):  # fmt: skip
            self.opts[name] = _positive(name, self.opts[name], kind)
        self.opts["raw-percent"] = _percent("raw-percent", self.opts["raw-percent"])
        self._check_archive()
        self._check_webhook()
        if self.opts["feed"] not in (FEED_ALL, FEED_PUBLIC):
            raise usage.UsageError(f"--feed must be {FEED_ALL} or {FEED_PUBLIC}, not {self.opts['feed']!r}")
        url = self.opts["input-url"]
        if url and not is_url(url):
            raise usage.UsageError(f"--input-url must be an http:// or https:// URL or empty, not {url!r}")
        if not self.opts["db-dir"]:
            raise usage.UsageError("--db-dir must name a directory")
        if bool(self.opts["tls-cert"]) != bool(self.opts["tls-key"]):
            raise usage.UsageError("--tls-cert and --tls-key are given together or not at all")
        if self.opts["client-ca"] and not self.opts["tls-cert"]:
            raise usage.UsageError("--client-ca needs --tls-cert and --tls-key")
        try:
            Proxies.of(self.opts["trusted-proxies"])
        except ValueError as error:
            raise usage.UsageError(
                f"--trusted-proxies is a list of addresses, networks and the word unix: {error}"
            ) from None
        self._check_resolver()
        for name in ("port", "health-port"):
            text = self.opts[name]
            if self.opts["tls-cert"] and text.startswith("ssl:"):
                raise usage.UsageError(f"--{name} speaks TLS by ssl: or by --tls-cert, not by both")
            if text.isdecimal() and int(text) > 65_535:
                raise usage.UsageError(f"--{name} must be a port number up to 65535, not {text}")

    def _check_resolver(self) -> None:
        if not self.opts["rdns-resolver"]:
            return
        if not self.opts["rdns"]:
            raise usage.UsageError("--rdns-resolver needs --rdns")
        try:
            server_of(self.opts["rdns-resolver"])
        except ValueError as error:
            raise usage.UsageError(f"--rdns-resolver: {error}") from None

    def _check_archive(self) -> None:
        backlog = "archive-max-backlog-mb"
        self.opts[backlog] = (
            _positive(backlog, self.opts[backlog], float) if self.opts[backlog] else 20 * self.opts["max-size-mb"]
        )
        name = self.opts["instance"]
        if name and not is_name(name):
            raise usage.UsageError(f"--instance must be {RULE}, not {name!r}")
        if not self.opts["archive"]:
            if self.opts["archive-credentials"]:
                raise usage.UsageError("--archive-credentials needs --archive")
            return
        try:
            place_of(self.opts["archive"])
        except Unusable as error:
            raise usage.UsageError(f"--archive: {error}") from None

    def _check_webhook(self) -> None:
        url = self.opts["webhook"]
        if url and not is_bare_url(url):  # what it has may be a secret: it is not repeated
            raise usage.UsageError(
                "--webhook must be an http:// or https:// URL in ASCII without credentials (see --webhook-token-file)"
            )
        for name in ("webhook-ca", "webhook-token-file"):
            if self.opts[name] and not url:
                raise usage.UsageError(f"--{name} needs --webhook")

    def settings(self) -> Settings:
        """What was chosen, as values."""
        chosen = self.opts
        limits = Limits(
            int(chosen["max-size-mb"] * _MIB), chosen["rotation-days"] * _DAY_S, chosen["keep-files"],
            chosen["raw-percent"],
        )  # fmt: skip
        return Settings(
            port=chosen["port"],
            health_port=chosen["health-port"],
            input_url=chosen["input-url"],
            directory=Path(chosen["db-dir"]),
            limits=limits,
            feed=chosen["feed"],
            max_hops=chosen["max-hops"],
            max_pending_bytes=int(chosen["max-pending-mb"] * _MIB),
            max_connections=chosen["max-connections"],
            verbose=bool(chosen["verbose"]),
            refeed=bool(chosen["refeed"]),
            archive=_archive(chosen) if chosen["archive"] else None,
            tls_cert=_path(chosen["tls-cert"]),
            tls_key=_path(chosen["tls-key"]),
            client_ca=_path(chosen["client-ca"]),
            input_ca=_path(chosen["input-ca"]),
            input_token_file=_path(chosen["input-token-file"]),
            webhook=chosen["webhook"],
            webhook_ca=_path(chosen["webhook-ca"]),
            webhook_token_file=_path(chosen["webhook-token-file"]),
            tokens_file=_path(chosen["tokens-file"]),
            trusted_proxies=Proxies.of(chosen["trusted-proxies"]),
            asn_db=_path(chosen["asn-db"]),
            rdns=bool(chosen["rdns"]),
            rdns_resolver=server_of(chosen["rdns-resolver"]) if chosen["rdns-resolver"] else None,
        )


def _archive(chosen: Mapping[str, Any]) -> Choice:
    return Choice(
        place=place_of(chosen["archive"]),
        every_s=60 * chosen["archive-every"],
        credentials=_path(chosen["archive-credentials"]),
        max_backlog_bytes=int(chosen["archive-max-backlog-mb"] * _MIB),
        name=chosen["instance"] or None,
    )


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _positive(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(text)
    except ValueError:
        number = kind(0)
    if not 0 < number <= _MOST:
        whole = "whole " if kind is int else ""
        raise usage.UsageError(f"--{name} must be a {whole}number above 0 and up to {_MOST:,}, not {text!r}")
    return number


def _percent(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise usage.UsageError(f"--{name} must be a number from 0 to 100, not {text!r}")
    return number


def _flag(variable: str, text: str) -> int:
    if text.lower() in ("1", "true", "yes", "on"):
        return 1
    if text.lower() in ("0", "false", "no", "off"):
        return 0
    raise usage.UsageError(f"{variable} must be true or false, not {text!r}")


def makeService(options: Options) -> OutputService:  # the name twistd looks for
    """Build the service of this process from its options. What cannot be used ends the process with one line."""
    from twisted.internet import reactor  # noqa: PLC0415  # the one place that touches the global reactor

    share_one_heap()
    by_monotonic_time(reactor)
    try:
        parts = Parts.build(options.settings(), reactor, partial(AdbapiPool, reactor), os.environ)
    except Unusable as error:
        raise SystemExit(f"outputd: {error}") from None
    service = OutputService(reactor, parts.starts(), parts.stops(), parts.stopping)
    # At once: systemd may ask for it as soon as we are ready, and it ends a process that has no handler.
    by_hangup(parts.reload, parts.notifier, reactor)
    reactor.callWhenRunning(settle)
    reactor.callWhenRunning(reactor.callLater, 0, service.end_by_signals)
    return service
