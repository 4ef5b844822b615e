"""What several tests share: databases without threads, results to send, and the whole service on a free port."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import treq
import trustme
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from zope.interface import provider

from outputd import timestamps
from outputd.addresses import feedable
from outputd.admission import Admission
from outputd.collector import Answer as CollectorAnswer
from outputd.collector import Collector, Sender
from outputd.datadir import DataDir
from outputd.ledger import Learnt, Ledger
from outputd.pages import Pages, Surroundings
from outputd.pools import InThread
from outputd.queries import Queries
from outputd.questions import Questions
from outputd.resultfile import Written, ours, reading, uri
from outputd.results import Batch, Parser
from outputd.rotation import Rotation
from outputd.stats import Stats
from outputd.store import Limits, Store
from outputd.summary import Summary
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


def write_certificate(place: Path, name: str, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """The chain and the key of a certificate, in two files."""
    chain, key = place / f"{name}.pem", place / f"{name}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return chain, key


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
        self, method: str, path: str, body: bytes | None = None,
        headers: Mapping[str, str | Sequence[str]] | None = None, port: str = "port",
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

    async def connect(self, port: str = "port") -> Wire:
        """A bare connection, to the result port if no other is asked for."""
        wire: Wire = await connectProtocol(TCP4ClientEndpoint(REACTOR, "127.0.0.1", self.port(port)), Wire())
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


# -- the parts that store, in the test's own thread ------------------------------------------------

EPOCH = 1_767_825_045.0
"""2026-01-07 22:30:45 UTC, when every Clock here begins."""


def outcome(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that need not wait returns; what it raises is raised."""
    outcomes: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcomes.append)
    assert outcomes, "it waits"
    if isinstance(outcomes[0], Failure):
        outcomes[0].raiseException()
    return cast(T, outcomes[0])


class Bench:
    """Store, ledger and collector of one directory on a Clock, without threads; `start` as often as you like."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        self.path = directory
        self.directory = DataDir(directory)
        self.clock = Clock()
        self.pools = InlinePools()
        self.in_thread: InThread = inline
        self.most_hops = changes.pop("most_hops", 10_000_000)
        self.mode = changes.pop("mode", "all")
        self.limits = Limits(**{"max_size_bytes": 100 << 20, "max_age_s": 7 * 86_400.0, "keep_files": 5, **changes})
        self.start()

    def now(self) -> float:
        return EPOCH + self.clock.seconds()

    def start(self, refeed: bool = False) -> Bench:
        """A new process on the same directory."""
        self.stats = Stats()
        self.commits: list[tuple[Written, int]] = []
        self.feedable = feedable(self.mode)
        self.parser = Parser(self.feedable)
        self.directory.path.mkdir(parents=True, exist_ok=True)
        self.store = Store(
            self.directory, self.limits, self.clock, self.pools, self.in_thread, self.now,
            lambda written, posts: self.commits.append((written, posts)),
        )  # fmt: skip
        self.ledger = Ledger(
            self.directory.ledger, self.clock, self.pools, self.now, self.most_hops, self._discovered
        )  # fmt: skip
        self.rotation = Rotation(self.store, self.clock, self.ledger.flush)
        self.collector = Collector(
            self.store, self.ledger, self.parser, self.stats, Admission(64 << 20, self.clock.seconds), self.in_thread,
            self.now,
        )  # fmt: skip
        self.store.open()
        self.ledger.open(self.store.files, self.feedable, refeed)
        return self

    def queries(self) -> Queries:
        """Questions to the files, for which the summary is brought up to date each time."""
        summary = Summary(self.directory.summary, lambda: self.store.files)

        async def up_to_date(within_s: float) -> None:
            while summary.step():
                pass
            summary.close()

        return Queries(
            lambda: self.store.files, self.directory.summary, up_to_date, self.in_thread, self.clock, self.now
        )

    def questions(self) -> Questions:
        """The routes that ask them."""
        return Questions(self.queries(), self.in_thread, self.now)

    def pages(self) -> Pages:
        """The routes of what a person looks at."""
        surroundings = Surroundings(lambda: 8081, False)
        return Pages(self.stats, lambda: self.store.files, surroundings, self.in_thread, self.clock, self.now)

    def stop(self) -> None:
        """The end of a process, in order."""
        self.outcome(self.store.close())
        self.outcome(self.ledger.close())

    def outcome(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns that waits for no more than turns of the store and the ledger."""
        outcomes: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(outcomes.append)
        for _ in range(5):
            self.clock.advance(0)
        assert outcomes, "it waits"
        if isinstance(outcomes[0], Failure):
            outcomes[0].raiseException()
        return cast(T, outcomes[0])

    def crashed(self, into: Path) -> Bench:
        """What a kill -9 now would leave, started again in another directory."""
        shutil.copytree(self.path, into)
        left = Bench.__new__(Bench)
        left.__dict__.update(self.__dict__)
        left.path, left.directory, left.pools = into, DataDir(into), InlinePools()
        left.in_thread = inline
        return left.start()

    def batch(self, *items: Any) -> Batch:
        """Results as the parser leaves them."""
        batch = self.parser.parse(body_of(*items), timestamps.at(self.now()), timestamps.at(self.now() + 86_400))
        batch.node, batch.digest = "node", hashlib.sha256(body_of(*items)).digest()
        return batch

    def record(self, *items: Any) -> list[Any]:
        """Give results to the store; the list has the outcome once there is one."""
        outcomes: list[Any] = []
        self.store.record(self.batch(*items)).addBoth(outcomes.append)
        return outcomes

    def keep(self, *items: Any) -> None:
        """Store results, the ledger left out."""
        outcomes = self.record(*items)
        self.clock.advance(0)
        assert len(outcomes) == 1, "it waits"
        if isinstance(outcomes[0], Failure):
            outcomes[0].raiseException()

    def posting(self, *items: Any, node: str = "", key: str | None = None) -> list[Any]:
        """The whole way of a POST; the list has the answer once there is one."""
        outcomes: list[Any] = []
        sender = Sender(node or "192.0.2.9", node, key)
        Deferred.fromCoroutine(self.collector.collect(body_of(*items), sender)).addBoth(outcomes.append)
        for _ in range(3):  # the store's turn, the ledger's turn
            self.clock.advance(0)
        return outcomes

    def post(self, *items: Any, node: str = "", key: str | None = None) -> CollectorAnswer:
        """The answer to a POST."""
        outcomes = self.posting(*items, node=node, key=key)
        assert len(outcomes) == 1, "it waits"
        if isinstance(outcomes[0], Failure):
            outcomes[0].raiseException()
        return cast(CollectorAnswer, outcomes[0])

    def pool(self) -> Any:
        """The pool of the current file."""
        return self.store.current.pool

    def fill_the_disk(self, pool: Any) -> None:
        """From now on this database answers "database or disk is full", as SQLite does without room."""
        outcome(pool.run(_no_more_pages))

    def free_the_disk(self, pool: Any) -> None:
        outcome(pool.run(lambda db: db.execute("PRAGMA max_page_count=1073741823").fetchone()))

    def _discovered(self, learnt: Learnt) -> None:
        self.stats.hops_discovered += learnt.new
        self.stats.hops_over_limit += learnt.over_limit


def _no_more_pages(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0]}").fetchone()


def many_hops(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Hops with distinct addresses of 10.0.0.0/8."""
    numbers = range(first, first + count)
    return [{"ttl": n % 256, "ip": f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"} for n in numbers]


def over_the_wire(site: Any, *requests: bytes) -> tuple[Any, StringTransport]:
    """A connection to a site without sockets, to which these bytes have come; the channel and its transport."""
    channel = site.buildProtocol(IPv4Address("TCP", "192.0.2.9", 4000))
    transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.9", 4000))
    channel.makeConnection(transport)
    for request in requests:
        channel.dataReceived(request)
    return channel, transport


def get(site: Any, path: str, method: str = "GET") -> Reply:
    """The answer of a site without sockets."""
    channel, transport = over_the_wire(site, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    reply = parsed(transport.value())
    channel.connectionLost(Failure(ConnectionDone()))
    return reply


__all__ = [
    "REACTOR", "InlinePool", "InlinePools", "Reply", "Running", "Wire", "a_result", "a_trace", "body_of", "eventually",
    "inline", "os", "ours", "parsed", "rows_of",
]  # fmt: skip


@contextlib.contextmanager
def said() -> Iterator[list[str]]:
    """The texts that are logged meanwhile."""
    texts: list[str] = []

    @provider(ILogObserver)
    def observer(event: LogEvent) -> None:
        if event.get("log_format") or event.get("log_text"):
            texts.append(formatEvent(event))

    globalLogPublisher.addObserver(observer)
    try:
        yield texts
    finally:
        globalLogPublisher.removeObserver(observer)
