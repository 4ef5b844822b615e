"""Names of libraries that outputd leans on and that no documentation promises: an upgrade without one fails here."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from klein import Klein
from treq.client import HTTPClient
from twisted.enterprise import adbapi
from twisted.internet import reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import CannotListenError
from twisted.internet.ssl import Certificate
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python import reflect
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http, server
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers
from werkzeug.routing import MapAdapter

import outputd
from outputd.process.company import Company
from outputd.process.lane import Lane


class Leaning(NamedTuple):
    """What a module of outputd needs of a library's class or module."""

    module: str
    owner: Any
    has: tuple[str, ...] = ()
    """Attributes, of instances too; or parameters."""
    calls: tuple[str, ...] = ()
    """What outputd has put its own in the place of, and the library's module must call."""


LEANINGS = (
    Leaning("process.lane", EPollReactor, ("_selectables", "doIteration", "disconnectAll"), ("_poller.poll",)),
    Leaning("process.lane", ReactorBase, calls=("installWaker",)),
    Leaning("process.time", ReactorBase, ("seconds", "callLater"), ("seconds",)),
    Leaning("process.log", Failure, ("getTraceback",)),
    Leaning("process.log", reflect, ("safe_str",)),
    Leaning("process.ports", AdoptedStreamServerEndpoint, ("fileno", "addressFamily")),
    Leaning("process.ports", CannotListenError, ("socketError",)),
    Leaning("process.threads", ThreadPool, ("start", "stop")),
    Leaning("sqlite.pools", adbapi.ConnectionPool, ("threadpool", "threadID", "connections", "disconnect"),
            ("openfun",)),
    Leaning("web.connection", http.HTTPChannel, (
        "requests", "persistent", "registerProducer", "unregisterProducer", "_command", "_path", "_version",
        "_transferDecoder", "length", "allContentReceived",
    ), (
        "_respondToBadRequestAndDisconnect", "_send100Continue", "headerReceived", "allHeadersReceived", "writeHeaders",
        "requestDone", "loseConnection", "_networkProducer.resumeProducing", "_networkProducer.pauseProducing",
    )),
    Leaning("web.head", Headers, ("_rawHeaders", "getRawHeaders", "getAllRawHeaders")),
    Leaning("web.connection", LineReceiver, ("clearLineBuffer", "paused", "line_mode", "_buffer"),
            ("lineLengthExceeded", "rawDataReceived")),
    Leaning("web.request", http.Request, ("startedWriting", "content", "code_message", "responseHeaders"), (
        "gotLength", "handleContentChunk", "requestReceived", "process",
    )),
    Leaning("web.request", server.Request, ("render",), ("processingFailed",)),
    Leaning("web.outlet", FileDescriptor, ("writeSomeData", "producer"), ("producer.resumeProducing",)),
    Leaning("web.outlet", TLSMemoryBIOProtocol, ("transport",)),
    Leaning("web.routes", Klein, ("url_map",)),
    Leaning("web.routes", MapAdapter, ("allowed_methods", "match")),
    Leaning("client.agent", HTTPClient, ("unbuffered", "allow_redirects")),
    Leaning("client.agent", ResponseFailed, ("reasons",)),
    Leaning("client.agent", WrappingFactory, ("noisy", "protocol")),
    Leaning("client.agent", ProtocolWrapper, ("wrappedProtocol", "__getattr__")),
    Leaning("security.certificates", Certificate, ("original",)),
    Leaning("security.certificates", TLSMemoryBIOProtocol, ("_tlsConnection",),
            ("_tlsShutdownFinished", "_flushSendBIO")),
)  # fmt: skip


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(outputd.__path__, "outputd."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def source_of(thing: Any) -> str:
    """The source, empty for what has none in Python."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return ""


def has(owner: Any, name: str) -> bool:
    """Whether a class, its instances, its methods by their parameters, or a module have a name."""
    said = rf"\bself\.{name}\b|\b{name}\s*[:=]"
    return hasattr(owner, name) or re.search(said, source_of(inspect.getmodule(owner))) is not None


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_private_names(owner: type) -> set[str]:
    """What a class says of `self._x`, and the private names in its body."""
    source = inspect.cleandoc("\n" + source_of(owner))
    return set(re.findall(r"\bself\.(_[a-zA-Z]\w*)", source)) | {name for name in vars(owner) if is_private(name)}


class ForeignNames(SynchronousTestCase):
    def test_what_we_lean_on_is_there(self) -> None:
        for leaning in LEANINGS:
            for name in leaning.has:
                self.assertTrue(has(leaning.owner, name), f"{leaning.owner} lacks {name}, for outputd.{leaning.module}")

    def test_what_has_ours_in_its_place_is_still_called(self) -> None:
        for leaning in LEANINGS:
            source = source_of(inspect.getmodule(leaning.owner))
            for name in leaning.calls:
                is_called = re.search(rf"\.{re.escape(name)}\b", source) is not None
                self.assertTrue(is_called, f"{leaning.owner} calls no {name}, for outputd.{leaning.module}")

    def test_a_lane_is_an_epoll_reactor_of_its_own(self) -> None:
        lane = Lane(reactor, Company(0.0, lambda: False))
        self.assertGreater(lane.fileno(), 0)
        lane.disconnectAll()

    def test_no_private_name_is_used_or_replaced_that_is_not_in_the_list(self) -> None:
        """A name of ours that a library has, too, would be one, and change what it does."""
        listed = {part for each in LEANINGS for name in (*each.has, *each.calls) for part in name.split(".")}
        found: set[tuple[str, str]] = set()
        for module in modules():
            for owner in vars(module).values():
                if inspect.isclass(owner) and owner.__module__ == module.__name__:
                    bases = [base for base in owner.__mro__ if base.__module__.startswith(("twisted", "klein", "treq"))]
                    theirs = {name for base in bases for name in own_private_names(base)}
                    found |= {(module.__name__, name) for name in own_private_names(owner) & theirs}
        self.assertLessEqual(
            {("outputd.process.lane", "_poller"), ("outputd.web.connection", "_send100Continue")}, found
        )
        self.assertEqual({each for each in found if each[1] not in listed}, set())
