"""`python -m outputd.demo`: plays the neighbours of outputd, so that the loop can be watched.

It is input_service, whose /hops takes what outputd has found, and nodes that measure those hops and post the results.
They are invented, so they go only to a service that it starts itself (--with-service), or to an empty one (--url).
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater, react
from twisted.web.server import Site

from outputd.client.agent import http_client
from outputd.client.urls import is_url
from outputd.demo.child import Child
from outputd.demo.guard import health_url_of, why_not
from outputd.demo.internet import World
from outputd.demo.neighbours import Board, Demo
from outputd.process.loops import Every


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser("python -m outputd.demo", description=__doc__)
    add = parser.add_argument
    add("--with-service", action="store_true", help="run outputd too, with its files in a temporary directory")
    add("--url", default="", help="instead: where an empty service takes results (http://localhost:8081/results)")
    add("--health-url", default="", help="with --url: the health port of that service (port 8091 of its host)")
    add("--hops-port", type=int, help="port of /hops, on this machine only (8080, with --with-service any)")
    add("--every", type=float, default=1.0, metavar="SECONDS", help="time between two posts (%(default)s)")
    add("--seed", type=int, default=1, help="another world (%(default)s)")
    add("--port", type=int, default=8081, help="with --with-service: its port for results (%(default)s)")
    add("--health-port", type=int, default=8091, help="with --with-service: its health port (%(default)s)")
    options = parser.parse_args(arguments)
    if options.with_service == bool(options.url):
        parser.error("either --with-service must be given, or --url of a service that has no results")
    if options.url and not is_url(options.url):
        parser.error(f"--url must be an http:// or https:// URL, not {options.url!r}")
    if not 0 < options.every < 3600:
        parser.error("--every must be a number of seconds above 0")
    if options.with_service:
        options.url = f"http://127.0.0.1:{options.port}/results"  # localhost may be another service's, on ::1
    if options.hops_port is None:
        options.hops_port = 0 if options.with_service else 8080
    options.health_url = (options.health_url or health_url_of(options.url)).rstrip("/")
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
    if not options.with_service and (refusal := await why_not(http, options.url, options.health_url)):
        raise SystemExit(f"outputd.demo: {refusal}")
    demo = Demo(World(options.seed), http, options.url, board, time.time)
    try:
        endpoint = serverFromString(reactor, f"tcp:{options.hops_port}:interface=127.0.0.1")
        port = await endpoint.listen(Site(demo.app().resource()))
    except CannotListenError as error:
        raise SystemExit(f"outputd.demo: cannot listen on --hops-port: {error.socketError}") from None
    hops_url = f"http://127.0.0.1:{port.getHost().port}/hops"
    child: Child | None = None
    if options.with_service:
        directory = Path(tempfile.mkdtemp(prefix="outputd-demo-"))
        board.line("outputd", f"files in {directory}, deleted at the end")
        child = Child(reactor, directory, stop)
        if await child.start(options.port, options.health_port, hops_url):
            board.line("outputd", f"look at http://localhost:{options.health_port}/")
        else:
            stop("outputd did not start in time")
    else:
        board.line("demo", f"posting to {options.url}; hops are awaited at {hops_url}")
    posting = Every(options.every, demo.post, reactor)
    if not stopped.called:
        posting.start()
    reason = await stopped
    posting.stop()  # a service that hangs must not keep the demonstration
    if child is not None:
        await child.stop()
        shutil.rmtree(directory, ignore_errors=True)
    await port.stopListening()
    counts = demo.counts
    board.line("demo", reason or f"{counts['results']:,} results stored, {counts['hops']:,} hops came back")
    raise SystemExit(1 if reason else 0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until Ctrl-C."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, options)))


if __name__ == "__main__":
    main()
