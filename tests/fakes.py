"""What several tests share: databases without threads, results to send, and the whole service on a free port."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from outputd.resultfile import ours, reading, uri
from outputd.tap import Options, makeService

P = ParamSpec("P")
T = TypeVar("T")
REACTOR: Any = reactor

# -- results ---------------------------------------------------------------------------------------


def a_result(**changes: Any) -> dict[str, Any]:
    """The least that is a result, with other or further fields."""
    return {"ip": "8.8.8.8", "sent": 4, "received": 4, "timestamp": "2026-01-07T22:30:00Z", **changes}


def a_trace(*hops: Any, **changes: Any) -> dict[str, Any]:
    """A result with a traceroute of these hops."""
    return a_result(traceroute={"method": "icmp", "completed": True, "hops": list(hops), **changes})


def body_of(*items: Any) -> bytes:
    """A body as a node sends it."""
    return json.dumps(items).encode()


# -- parts without threads -------------------------------------------------------------------------


async def inline(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """An InThread in the caller's own thread."""
    return work(*args, **kwargs)


class InlinePool:
    """A Pool on a real file, in the caller's own thread; `failing` makes it raise, `gate` makes it wait."""

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], object], owner: InlinePools) -> None:
        self._db = sqlite3.connect(uri(path, "rw"), uri=True, isolation_level=None)
        self._owner = owner
        self._name = path.name
        prepare(self._db)

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        gate = self._owner.gates.get(self._kind)
        if gate is not None:
            await gate
        failure = self._owner.failing.get(self._kind)
        if failure is not None:
            raise failure
        return work(self._db, *args, **kwargs)

    async def close(self) -> None:
        self._db.close()

    @property
    def _kind(self) -> str:
        return "ledger" if self._name.endswith(".sqlite3") else "store"


class InlinePools:
    """An OpenPool; what is in `failing` and `gates` goes for the pools of the "store" or of the "ledger"."""

    def __init__(self) -> None:
        self.failing: dict[str, Exception] = {}
        self.gates: dict[str, Deferred[None]] = {}

    def __call__(self, path: Path, prepare: Callable[[sqlite3.Connection], object]) -> InlinePool:
        return InlinePool(path, prepare, self)


# -- files -----------------------------------------------------------------------------------------


def rows_of(directory: Path, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a query finds in every file `results_*.db` of a directory, by file name."""
    found: list[tuple[Any, ...]] = []
    for path in sorted(directory.glob("results_*.db")):
        with reading(path) as db:
            found += db.execute(query, parameters).fetchall()
    return found


# -- the whole service -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return None if values is None else ", ".join(values)


class Wire(Protocol):
    """One side of a connection; keeps what arrives."""

    def __init__(self) -> None:
        self.data = b""
        self.closed: Deferred[None] = Deferred()
        self.is_closed = False
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_closed = True
        self.closed.callback(None)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def hang_up(self) -> None:
        cast(ITCPTransport, self.transport).abortConnection()

    def until(self, text: bytes) -> Deferred[None]:
        """Fires when the text has arrived."""
        found: Deferred[None] = Deferred()
        self._waiting.append((text, found))
        self._look()
        return found

    def _look(self) -> None:
        for item in [item for item in self._waiting if item[0] in self.data]:
            self._waiting.remove(item)
            item[1].callback(None)


class Running:
    """The whole service in this process: real ports, threads and files."""

    def __init__(self, directory: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        options = Options(environ or {})
        options.parseOptions(
            [
                "--port=tcp:0:interface=127.0.0.1",
                "--health-port=tcp:0:interface=127.0.0.1",
                "--input-url=",
                f"--db-dir={directory}",
                *flags,
            ]
        )
        self.directory = directory
        self.service = makeService(options, REACTOR)
        self.parts: Any = cast(Any, self.service)._starts[0].__self__
        self.client = HTTPClient(Agent(REACTOR, pool=HTTPConnectionPool(REACTOR, persistent=False)))
        self._wires: list[Wire] = []

    def start(self) -> Running:
        self.service.privilegedStartService()
        self.service.startService()
        return self

    async def stop(self) -> None:
        for wire in self._wires:
            if not wire.is_closed:
                wire.hang_up()
                await wire.closed
        await self.service.stopService()
        while self.site.channels:  # their connectionLost is on its way
            await deferLater(REACTOR, 0.001)

    @property
    def site(self) -> Any:
        return self.parts._results_site

    @property
    def admission(self) -> Any:
        return self.parts._admission

    def port(self, name: str = "port") -> int:
        return int(self.parts._ports[name].getHost().port)

    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str | Sequence[str]] | None = None,
        port: str = "port",
    ) -> Reply:  # fmt: skip
        raw = {name: [value] if isinstance(value, str) else list(value) for name, value in (headers or {}).items()}
        response = await self.client.request(
            method, f"http://127.0.0.1:{self.port(port)}{path}", data=body, headers=Headers(raw)
        )
        return Reply(response.code, response.headers, await treq.content(response))

    async def post(self, body: bytes, **headers: str | Sequence[str]) -> Reply:
        """POST /results; X_Ping_Node="a" is a header."""
        return await self.ask(
            "POST", "/results", body, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    async def connect(self) -> Wire:
        """A bare connection to the result port."""
        wire = await connectProtocol(TCP4ClientEndpoint(REACTOR, "127.0.0.1", self.port()), Wire())
        self._wires.append(wire)
        return wire

    async def say(self, request: bytes) -> bytes:
        """What comes back to these bytes until the other side closes."""
        wire = await self.connect()
        wire.write(request)
        await wire.closed
        return wire.data

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return rows_of(self.directory, query, *parameters)


def parsed(answer: bytes) -> Reply:
    """An answer from the wire, the interim ones left out."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status = int(first.split(b" ")[1])
    if status < 200:
        return parsed(rest)
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(b":")
        headers.addRawHeader(name, value.strip())
    return Reply(status, headers, rest)


async def eventually(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Return when the condition holds; fail after the deadline."""
    end = REACTOR.seconds() + seconds
    while not condition():
        if REACTOR.seconds() > end:
            raise AssertionError("waited in vain")
        await deferLater(REACTOR, 0.002)


__all__ = [
    "REACTOR", "InlinePool", "InlinePools", "Reply", "Running", "Wire", "a_result", "a_trace", "body_of", "eventually",
    "inline", "os", "ours", "parsed", "rows_of",
]  # fmt: skip
