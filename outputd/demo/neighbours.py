"""The neighbours of outputd that the demonstration plays: input_service, and nodes that post."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TextIO

from klein import Klein
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest

from outputd.client.exchange import Poster, content_of, posted
from outputd.client.reply import Reply, reply_of
from outputd.client.urls import as_treq_takes_it
from outputd.client.words import in_words
from outputd.demo.internet import VANTAGE_POINTS, Result, World
from outputd.process.trouble import Trouble

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
        if not all(self._world.knows(hop) for hop in hops):
            request.setResponseCode(503)  # and not 400: what we refuse for good is never delivered to anyone
            self._board.line("/hops", "hops that are not of this world: left to who sent them", colour=_RED)
            return b'{"error":"this is a demonstration, and these are no hops of its world"}'
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
