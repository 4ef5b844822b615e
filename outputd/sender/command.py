"""The command `outputd-send`: posts files of results, goes on where it was cut off, and says what was stored."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, cast

from hyperlink import URL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from outputd import __version__
from outputd.client.agent import http_client
from outputd.client.bounds import Bounds
from outputd.client.urls import as_treq_takes_it
from outputd.formats.formats import BY_NAME
from outputd.process.loops import Every
from outputd.process.screen import plain
from outputd.process.threads import InThread, Threads
from outputd.process.time import by_monotonic_time
from outputd.process.trouble import Unusable
from outputd.security.pem import token_of
from outputd.security.trust import Policy
from outputd.sender.journal import CannotResume, Journal, Refused, Totals
from outputd.sender.outbox import Delivery, head_of
from outputd.sender.pace import MOST_PATIENCE_S
from outputd.sender.progress import Screen
from outputd.sender.sender import Sender, Target, Untrusted, duration
from outputd.sender.source import Broken, Source, examine, is_of_the_system
from outputd.sender.verdict import Stopped

ALL_STORED, NOT_ALL_STORED, CANNOT_START, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 128
"""Exit codes; to INTERRUPTED the number of the signal is added."""
_KEYS_S = 12 * 3600.0
_BOUNDS = Bounds(
    connect_s=30.0,  # its packets wait behind the bodies on a slow line
    silence_s=MOST_PATIENCE_S + 60,
    send_buffer_bytes=64 * 1024,
)
_MOST_CONNECTIONS = 100
_PLAIN_EVERY_S = 10.0
_BAR_EVERY_S = 0.2
_STDIN = Path("/dev/stdin")
_DESCRIPTION = """\
Posts files of results to outputd: one JSON array, or one body of POST /results per line, plain or gzipped.
With --format, what another tool has written: a JSON array, or a file of at most 8 MiB. Warts of scamper need no flag.
If it is interrupted, the same command resumes where it stopped: FILE.sent beside each file records how far it came.
If lines were added to a file since, only those are sent. A pipe (or -) is first read to its end into a file."""
_UNTRUSTED = """\
the certificate of the service is not trusted ({reason}): name its CA with --ca FILE, use the name on the certificate \
in --url, or renew the certificate if it has expired"""
_EXIT_CODES = """\
exit codes: 0 everything was stored; 1 everything was sent, but something was refused (see FILE.refused.jsonl) or could
not be read; 2 invalid flag or file, or a certificate that is not trusted; 3 not everything was sent; 130, 143 stopped
by Ctrl-C or SIGTERM"""


class Options(argparse.Namespace):
    """The command line."""

    files: list[Path]
    url: str
    node: str
    format: str | None
    connections: int
    give_up_after: float
    state: Path | None
    refused: Path | None
    token_file: Path | None
    ca: Path | None
    cert: Path | None
    key: Path | None
    gzip: bool
    again: bool

    def state_of(self, file: Path, source: Source | None = None) -> Path:
        """Where the journal of a file is; that of a pipe is known by what came through it."""
        return self._beside(file, f"-{source.digest[:16]}.sent" if source and source.is_nameless else ".sent")

    def refused_of(self, file: Path) -> Path:
        """Where what is refused of a file goes."""
        return self.refused or self._beside(file, ".refused.jsonl")

    def _beside(self, file: Path, ending: str) -> Path:
        return (self.state or (Path() if is_of_the_system(file) else file.parent)) / f"{file.name}{ending}"


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        "outputd-send", description=_DESCRIPTION, epilog=_EXIT_CODES, formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    add = made.add_argument
    add("files", nargs="+", type=Path, metavar="FILE")
    add("--url", default="http://localhost:8081/results", help="URL to post to (%(default)s)")
    add("--node", default="", help="name of the node, sent as X-Ping-Node")
    add("--connections", type=int, default=4, metavar="N", help="number of parallel POSTs (%(default)s)")
    add("--token-file", type=Path, metavar="FILE", help="file with the node's token")
    add(
        "--ca",
        type=Path,
        metavar="FILE",
        help="CA (PEM) of the service's certificate; default: the system's CAs",
    )
    add("--cert", type=Path, metavar="FILE", help="client certificate (PEM), including its key unless --key is given")
    add("--key", type=Path, metavar="FILE", help="private key of --cert (PEM)")
    add(
        "--format",
        choices=[*BY_NAME],
        metavar="NAME",
        help=f"format of the files, if another tool has written them: {', '.join(BY_NAME)}",
    )
    add("--gzip", action="store_true", help="compress the bodies")
    add(
        "--state",
        type=Path,
        metavar="DIR",
        help="directory for FILE.sent and FILE.refused.jsonl; default: beside FILE",
    )
    add("--refused", type=Path, metavar="FILE", help="collect everything refused in this one file")
    add("--again", action="store_true", help="send the files again from the beginning, as new data")
    add("--give-up-after", type=float, default=21600, metavar="SECONDS", help="how long to retry a POST (%(default)s)")
    add("--version", action="version", version=f"outputd-send {__version__}")
    return made


def parse(arguments: Sequence[str]) -> Options:
    """The options; an invalid one ends the process with code 2 and one line that says why."""
    asked = parser()
    options = asked.parse_intermixed_args(arguments, Options())
    options.files = [_STDIN if str(file) == "-" else file for file in options.files]
    if fault := _fault(options):
        asked.exit(CANNOT_START, plain(f"outputd-send: {fault} (outputd-send --help lists the flags)") + "\n")
    return options


def _fault(options: Options) -> str:
    if not 1 <= options.connections <= _MOST_CONNECTIONS:
        return f"--connections must be 1 to {_MOST_CONNECTIONS}"
    if options.key is not None and options.cert is None:
        return "--key is the key of --cert, which is missing"
    if not options.give_up_after >= 0:
        return "--give-up-after must be a number of seconds"
    if len(options.node) > 64 or not (options.node.isascii() and options.node.isprintable()):
        return "--node must be printable ASCII of at most 64 characters"
    try:
        as_treq_takes_it(options.url)
        is_url = options.url.startswith(("http://", "https://")) and bool(URL.from_text(options.url).host)
    except ValueError:
        is_url = False
    if not is_url:
        return f"--url must be an http:// or https:// URL, not {options.url!r}"
    places = [options.state_of(file) for file in options.files]
    twice = next((place for place in places if places.count(place) > 1), None)
    return "" if twice is None else f"two files would share {twice}: send them one after the other"


def target_of(options: Options) -> Target:
    """Where to send, and with whose token. Raises Unusable."""
    token = () if options.token_file is None else (("Authorization", f"Bearer {token_of(options.token_file)}"),)
    url = options.url
    if options.format:
        url = URL.from_text(url).set("format", options.format).to_text()
    return Target(url, options.node, token, options.gzip)


class Command:
    """One run: the files, one after the other."""

    def __init__(
        self, options: Options, target: Target, reactor: Any, in_thread: InThread, http: HTTPClient, screen: Screen,
        out: TextIO,
    ) -> None:  # fmt: skip
        self._options = options
        self._reactor = reactor
        self._in_thread = in_thread
        self._screen = screen
        self._out = out
        self._target = target
        self._sender = Sender(
            http, self._target, reactor, in_thread, options.connections, options.give_up_after, screen.say
        )
        self._signal = 0
        self._is_reading = False

    def interrupt(self, number: int) -> None:
        """A signal has come: the first stops the sending, the second cuts it off."""
        if self._is_reading:  # nothing is sent yet, and a pipe may never end
            os._exit(INTERRUPTED + number)
        if self._signal:
            self._sender.abort()
        else:
            self._screen.say("stopping: POSTs under way are waited for; once more cuts them off")
            self._sender.stop("interrupted")
        self._signal = number

    async def run(self) -> int:
        """Send all files; the exit code."""
        code = ALL_STORED
        for file in self._options.files:
            try:
                code = max(code, await self._send(file))
            except (OSError, Broken, CannotResume) as error:
                text = (
                    f"{error.strerror}: {error.filename}"
                    if isinstance(error, OSError) and error.strerror
                    else str(error)
                )
                self._screen.say(f"outputd-send: {file}: {text}")
                return CANNOT_START
            except Untrusted as error:
                self._screen.say(f"outputd-send: {file}: {_UNTRUSTED.format(reason=error)}")
                return CANNOT_START
            except Stopped as error:
                self._screen.say(
                    f"{file}: not all was sent: {error}.\n"
                    "The same command, without --again, goes on from here; nothing is stored twice within 12 hours."
                )
                return INTERRUPTED + self._signal if self._signal else UNFINISHED
        return code

    async def _send(self, file: Path) -> int:
        self._is_reading = True
        try:
            source = await self._in_thread(examine, file, bool(self._options.format))
        finally:
            self._is_reading = False
        try:
            return await self._send_source(file, source)
        finally:
            source.close()

    async def _send_source(self, file: Path, source: Source) -> int:
        began = time.monotonic()
        state = self._options.state_of(file, source)
        head, again = head_of(source, self._target.url, self._target.node), self._options.again
        head.salt = os.urandom(8).hex() if again else ""
        journal = await self._in_thread(Journal, state, head, again, source.beginning)
        stored_before = journal.totals.stored
        refused = Refused(self._options.refused_of(file))
        if journal.head.whole:
            await self._in_thread(journal.close, False, True)
            self._screen.say(f"{file}: was sent before, as {state} says; --again sends it anew")
            return self._summary(file, journal.totals, refused, 0.0, 0, "")
        self._say_how_it_begins(file, journal)
        await self._in_thread(refused.open)
        delivery = Delivery(source, journal, refused, self._target.compress)
        self._screen.begin(file.name, stored_before)
        bar = Every(
            _BAR_EVERY_S if self._screen.is_terminal else _PLAIN_EVERY_S,
            lambda: self._screen.progress(journal.totals, delivery.position, source.size_bytes, self._sender.slowness),
            self._reactor,
        )
        bar.start(now=self._screen.is_terminal)
        whole = False
        try:
            await self._sender.send(delivery)
            whole = True
        finally:
            bar.stop()
            self._screen.end()
            await self._in_thread(delivery.close, self._sender.in_doubt, whole)
            if journal.is_blank or (source.is_nameless and whole):
                # It would only keep the file from another URL; and the name of a pipe's would never be met again.
                state.unlink(missing_ok=True)
            if whole or not journal.is_blank:
                code = self._summary(
                    file, journal.totals, refused, time.monotonic() - began, journal.totals.stored - stored_before,
                    delivery.broken,
                )  # fmt: skip
        return code

    def _say_how_it_begins(self, file: Path, journal: Journal) -> None:
        if not journal.totals.bodies:
            return self._screen.say(f"{file}: to {self._target.url}")
        added = f", with {journal.added_bytes:,} bytes that were added" if journal.added_bytes else ""
        self._screen.say(f"{file}: to {self._target.url}, going on after {journal.totals.bodies:,} bodies{added}")
        since = journal.was_in_doubt_since
        if since is not None and time.time() - since > _KEYS_S:
            self._screen.say(
                f"{file}: the last run was cut off more than 12 hours ago, and the service has forgotten its keys: "
                f"bodies that were under way then (at most one a connection) may be stored twice"
            )
        return None

    def _summary(self, file: Path, totals: Totals, refused: Refused, seconds: float, stored: int, broken: str) -> int:
        lines = [f"{file}: {totals.stored:,} results stored of {totals.bodies:,} bodies"]
        if totals.duplicates:
            lines.append(f"  {totals.duplicates:,} of the bodies had arrived in an earlier run already")
        if totals.rejected or totals.refused:
            kept = f", kept in {refused.path}"
            lines.append(f"  {totals.refused:,} bodies refused, {totals.rejected:,} items rejected{kept}")
        if broken:
            lines.append(f"  the rest of the file was not sent: {broken}")
        if seconds:
            rate = stored / seconds
            lines.append(f"  {stored:,} results in this run, in {duration(seconds)} ({rate:,.0f} results/s)")
        print(plain("\n".join(lines)), file=self._out, flush=True)
        return NOT_ALL_STORED if totals.rejected or totals.refused or broken else ALL_STORED


async def _run(reactor: Any, options: Options) -> None:
    by_monotonic_time(reactor)
    try:
        target, policy = target_of(options), Policy(options.ca, options.cert, options.key)
    except Unusable as error:
        print(plain(f"outputd-send: {error}"), file=sys.stderr)
        raise SystemExit(CANNOT_START) from None
    screen = Screen(sys.stderr, reactor.seconds)
    threads = Threads(reactor, "outputd-send", 1)
    http = http_client(reactor, policy, bounds=_BOUNDS, keep=options.connections)
    command = Command(options, target, reactor, threads, http, screen, sys.stdout)
    await deferLater(reactor, 0)  # now the reactor has its own handlers, and ours come after
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: reactor.callFromThread(command.interrupt, number))
    try:
        code = await command.run()
    finally:
        threads.stop()
    raise SystemExit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; ends the process."""
    for stream in (sys.stdout, sys.stderr):
        cast(TextIOWrapper, stream).reconfigure(errors="backslashreplace")  # a name may be no text in any encoding
    options = parse(sys.argv[1:] if arguments is None else arguments)
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, options)))


if __name__ == "__main__":
    main()
