"""`python -m outputd.demo`: plays the neighbours of outputd, so that the loop can be watched.

It is input_service, whose /hops takes what outputd has found, and nodes that measure those hops and post the results.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from klein import Klein
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest
from twisted.web.server import Site

from outputd.client.agent import http_client
from outputd.client.exchange import Poster, content_of, posted
from outputd.client.reply import Reply, reply_of
from outputd.client.urls import as_treq_takes_it
from outputd.client.words import in_words
from outputd.demo.internet import VANTAGE_POINTS, Result, World
from outputd.process.loops import Every
from outputd.process.trouble import Trouble

_START_S = 15.0
_FIRST_TARGETS = 4
_A_POST = 8
_ODD_POST = 12  # one post in so many has an item that is no result
_SHOWN = 3
_GREEN, _YELLOW, _RED, _DIM = "32", "33", "31", "2"


class Board:
    """One line an event, in columns; colour on a terminal, unless NO_COLOR is set."""

    def __init__(self, out: TextIO, now: Callable[[], float] = time.time) -> None:
        self._out = out
        self._now = now
        self._colours = out.isatty() and not os.environ.get("NO_COLOR")

    def line(self, who: str, what: str, total: str = "", colour: str = "") -> None:
        """Show an event: who, what happened, and where the totals stand."""
        clock = time.strftime("%H:%M:%S", time.localtime(self._now()))
        event = f"{who:<14}{what:<66}"
        print(f"{self._in(_DIM, clock)}  {self._in(colour, event)}{total}".rstrip(), file=self._out, flush=True)

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour else text


class Demo:
    """input_service and the nodes: what one is given, the others measure."""

    def __init__(self, world: World, http: Poster, url: str, board: Board, now: Callable[[], float]) -> None:
        self._world = world
        self._http = http
        self._url = as_treq_takes_it(url)
        self._board = board
        self._now = now
        self._random = random.Random(world.seed)
        self._targets = list(dict.fromkeys(world.first_targets(_FIRST_TARGETS)))
        self._fresh = self._targets[::-1]
        self._posts = 0
        self._away = Trouble(now, time.monotonic, self._say_away, self._say_back)
        self.counts = Counter[str]()

    def app(self) -> Klein:
        """The routes of input_service."""
        app = Klein()
        app.route("/hops", methods=["POST"])(self._hops)
        return app

    def _hops(self, request: IRequest) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        try:
            hops = json.load(request.content)["hops"]
            if not all(isinstance(hop, str) for hop in hops):
                raise TypeError("a hop is no text")
        except (ValueError, TypeError, KeyError):
            request.setResponseCode(400)
            self._board.line("/hops", "something that is no hops", colour=_RED)
            return b'{"error":"this is not {\\"hops\\":[...]}"}'
        self.take(hops)
        return b'{"status":"ok"}'

    def take(self, hops: Sequence[str]) -> None:
        """Take hops as new targets."""
        known = set(self._targets)
        new = [hop for hop in dict.fromkeys(hops) if hop not in known]
        self._targets += new
        self._fresh = [*reversed(new), *self._fresh]
        self.counts["hops"] += len(hops)
        self.counts["targets"] = len(self._targets)
        more = f" and {len(hops) - _SHOWN} more" if len(hops) > _SHOWN else ""
        self._board.line(
            "/hops", f"+{len(hops):<4}{', '.join(hops[:_SHOWN])}{more}", f"{len(self._targets):>7,} targets", _GREEN
        )

    async def post(self) -> None:
        """One node posts what it has measured; nothing that can go wrong ends the demonstration."""
        node = VANTAGE_POINTS[self._posts % len(VANTAGE_POINTS)]
        self._posts += 1
        results = self.results(node)
        sent = [*results, {"ip": "no address", "sent": 4}] if self._posts % _ODD_POST == 0 else results
        headers = Headers({"Content-Type": ["application/json"], "X-Ping-Node": [node]})
        try:
            body = json.dumps(sent).encode()
            response = await posted(self._http, self._url, body, headers)
            reply = reply_of(response.code, await content_of(response), len(sent))
        except Exception as error:
            self._away.begin(in_words(error))
            return
        if response.code >= 500:
            self._away.begin(f"it answers {response.code}")
            return
        self._away.end()
        self._say_answer(node, results, response.code, reply)

    def results(self, node: str) -> list[Result]:
        """A few measurements: targets that nobody has measured yet first, then any."""
        fresh = [self._fresh.pop() for _ in range(min(_A_POST, len(self._fresh)))]
        others = self._random.sample(self._targets, min(_A_POST - len(fresh), len(self._targets)))
        return [self._world.measure(node, target, self._now()) for target in dict.fromkeys(fresh + others)]

    def _say_away(self, reason: str) -> None:
        self._board.line("nodes", f"{self._url} takes no results: {reason}", colour=_RED)

    def _say_back(self, seconds: float) -> None:
        self._board.line("nodes", f"results are taken again, after {seconds:.0f} s", colour=_GREEN)

    def _say_answer(self, node: str, results: list[Result], status: int, reply: Reply) -> None:
        lost = sum(result["received"] < result["sent"] for result in results)
        hops = sum(len(result["traceroute"]["hops"]) for result in results)
        self.counts["results"] += reply.received
        self.counts["rejected"] += reply.rejected
        what = f"{len(results):>2} results, {lost} with loss, {hops:>3} hops -> {status}, {reply.received} stored"
        if reply.rejected:
            what += f", {reply.rejected} rejected"
        colour = _RED if status != 200 else _YELLOW if reply.rejected else ""
        self._board.line(f"node {node}", what, f"{self.counts['results']:>7,} results", colour)


class Service(ProcessProtocol):
    """outputd as a child process; what it says is shown when it ends by itself."""

    def __init__(self, ended: Callable[[str], object]) -> None:
        self.gone: Deferred[None] = Deferred()
        self._ended = ended
        self._said = b""

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the end of it."""
        self._said = (self._said + data)[-2000:]

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        lines = self._said.decode(errors="replace").strip().splitlines()
        self._ended(lines[-1] if lines else "outputd has ended")
        self.gone.callback(None)

    def stop(self) -> None:
        """Ask it to end."""
        process: IProcessTransport | None = self.transport
        try:
            if process is not None:
                process.signalProcess("TERM")
        except ProcessExitedAlready:
            pass


def _service_flags(options: argparse.Namespace, directory: str) -> list[str]:
    return [
        sys.executable, "-m", "outputd", f"--port={options.port}", f"--health-port={options.health_port}",
        f"--input-url=http://127.0.0.1:{options.hops_port}/hops", f"--db-dir={directory}", "--feed=all",
    ]  # fmt: skip


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser("python -m outputd.demo", description=__doc__)
    add = parser.add_argument
    add("--url", default="", help="where results are posted (http://localhost:8081/results)")
    add("--hops-port", type=int, default=8080, help="port of /hops, on this machine only (%(default)s)")
    add("--every", type=float, default=1.0, metavar="SECONDS", help="time between two posts (%(default)s)")
    add("--seed", type=int, default=1, help="another world (%(default)s)")
    add("--with-service", action="store_true", help="run outputd too, with its files in a temporary directory")
    add("--port", type=int, default=8081, help="with --with-service: its port for results (%(default)s)")
    add("--health-port", type=int, default=8091, help="with --with-service: its health port (%(default)s)")
    options = parser.parse_args(arguments)
    options.url = options.url or f"http://localhost:{options.port}/results"
    if not 0 < options.every < 3600:
        parser.error("--every must be a number of seconds above 0")
    return options


async def _run(reactor: Any, options: argparse.Namespace) -> None:
    stopped: Deferred[str] = Deferred()

    def stop(reason: str = "") -> None:
        if not stopped.called:
            stopped.callback(reason)

    await deferLater(reactor, 0)  # now the reactor has its own handlers, and ours come after
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: reactor.callFromThread(stop))
    board = Board(sys.stdout)
    http = http_client(reactor)
    demo = Demo(World(options.seed), http, options.url, board, time.time)
    hops = serverFromString(reactor, f"tcp:{options.hops_port}:interface=127.0.0.1")
    try:
        port = await hops.listen(Site(demo.app().resource()))
    except CannotListenError as error:
        raise SystemExit(f"outputd.demo: cannot listen on --hops-port: {error.socketError}") from None
    service, directory = None, ""
    if options.with_service:
        directory = tempfile.mkdtemp(prefix="outputd-demo-")
        service = Service(stop)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OUTPUTD_")}
        reactor.spawnProcess(service, sys.executable, _service_flags(options, directory), environ)
        board.line("outputd", f"files in {directory}, deleted at the end")
        board.line("outputd", f"look at http://localhost:{options.health_port}/")
        await _up(reactor, http, options.health_port, stopped)
    else:
        board.line("demo", f"posting to {options.url}; hops are awaited at http://localhost:{options.hops_port}/hops")
    posting = Every(options.every, demo.post, reactor)
    posting.start()
    reason = await stopped
    posting.stop()  # a service that hangs must not keep the demonstration
    if service is not None:
        service.stop()
        await service.gone
        shutil.rmtree(directory, ignore_errors=True)
    await port.stopListening()
    counts = demo.counts
    board.line("demo", reason or f"{counts['results']:,} results stored, {counts['hops']:,} hops came back")
    raise SystemExit(1 if reason else 0)


async def _up(reactor: Any, http: HTTPClient, health_port: int, stopped: Deferred[str]) -> None:
    """Return when the service is ready, or the demonstration ends."""
    until = reactor.seconds() + _START_S
    while not stopped.called and reactor.seconds() < until:
        try:
            response = await http.get(f"http://127.0.0.1:{health_port}/ready", timeout=1)
            await content_of(response)
            if response.code == 200:
                return
        except Exception:  # not yet
            pass
        await deferLater(reactor, 0.1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until Ctrl-C."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, options)))


if __name__ == "__main__":
    main()
