"""A lane: a crowd waits for the crowd, and nobody else does."""

from __future__ import annotations

import socket
import time
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from outputd.process.company import Company
from outputd.process.lane import Lane
from tests.kit.running import REACTOR

_CROWD = 60
_WORK_S = 0.003


class LaneTests(TestCase):
    """Real sockets, with all that they have to say in their buffers before the reactor looks."""

    def setUp(self) -> None:
        self.lane = Lane(REACTOR, Company(0.0, lambda: False))
        self.heard: list[bytes] = []
        self.all_heard: Deferred[None] = Deferred()

    def listen(self, on: Any, work_s: float) -> int:
        """A port that takes so long for each message, and answers."""
        test = self

        class Hearing(Protocol):
            def dataReceived(self, data: bytes) -> None:
                time.sleep(work_s)
                test.heard.append(data)
                assert self.transport is not None
                self.transport.write(data)
                self.transport.loseConnection()
                if len(test.heard) == _CROWD + 1:
                    test.all_heard.callback(None)

        port = on.listenTCP(0, Factory.forProtocol(Hearing), backlog=200, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def connect(self, port: int, text: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.addCleanup(connection.close)
        connection.sendall(text)
        return connection

    async def test_who_is_not_in_it_does_not_wait_for_the_crowd(self) -> None:
        """One connection beside the lane is heard when a few of its crowd are, though it came last."""
        crowded, other = self.listen(self.lane, _WORK_S), self.listen(REACTOR, 0.0)
        crowd = [self.connect(crowded, b"crowd") for _ in range(_CROWD)]
        one = self.connect(other, b"one")
        await self.all_heard
        self.assertLess(self.heard.index(b"one"), _CROWD // 2)
        await _turn()
        for connection, text in [(one, b"one"), *((each, b"crowd") for each in crowd)]:
            self.assertEqual(text, connection.recv(100))

    async def test_as_many_as_it_serves_at_once_may_be_the_last(self) -> None:
        """When the port is closed and they end, none is left, and nothing is wrong with that: trial finds no error."""
        port = self.lane.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        number = port.getHost().port
        last = [self.connect(number, b"") for _ in range(4)]
        await _turn()
        await port.stopListening()
        self.assertEqual(4, len(self.lane.getReaders()))
        for connection in last:
            connection.close()
        await _turn()
        self.assertEqual([], self.lane.getReaders())

    async def test_its_time_is_that_of_the_reactor(self) -> None:
        """What a transport calls later is called."""
        called: Deferred[str] = Deferred()
        self.lane.callLater(0, called.callback, "called")
        self.assertEqual("called", await called)


class Outer(Clock):
    """As much of the reactor as a lane needs; it looks when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[object] = []

    def addReader(self, reader: object) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def look(self) -> None:
        for reader in list(self.readers):
            cast(IReadDescriptor, reader).doRead()


class Decided(Company):
    """Has everybody wait so long."""

    says_s = 0.0
    is_disturbed = False

    def wait_s(self, now_s: float) -> float:
        return self.says_s

    def disturb(self, now_s: float) -> None:
        self.is_disturbed = True


class Gathering(SynchronousTestCase):
    """Where it is said that who comes should wait, those who come meanwhile are served in the same look."""

    def setUp(self) -> None:
        self.outer = Outer()
        self.company = Decided(1.0, lambda: False)
        self.lane = Lane(self.outer, self.company)
        self.addCleanup(self.lane.disconnectAll)
        self.heard: list[bytes] = []
        test = self

        class Hearing(Protocol):
            def dataReceived(self, data: bytes) -> None:
                test.heard.append(data)
                if data == b"POST":
                    test.company.came(0.0, None)

        port = self.lane.listenTCP(0, Factory.forProtocol(Hearing), interface="127.0.0.1")
        self.number: int = port.getHost().port
        self.connections = [self.connect() for _ in range(3)]
        while len(self.lane.getReaders()) < 4:
            self.outer.look()

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.number), timeout=60)
        self.addCleanup(connection.close)
        return connection

    def test_they_are_heard_together_when_the_time_is_over(self) -> None:
        self.company.says_s = 5.0
        for connection in self.connections[:2]:
            connection.sendall(b"POST")
            self.outer.look()
        self.outer.advance(4.9)
        self.assertEqual(([], []), (self.heard, self.outer.readers))
        self.connections[2].sendall(b"POST")
        self.outer.advance(0.1)
        self.assertEqual(([b"POST"] * 3, [self.lane]), (self.heard, self.outer.readers))
        self.assertFalse(self.company.is_disturbed)
        self.connections[2].sendall(b"POST")
        self.outer.look()
        self.assertEqual(3, len(self.heard))
        self.outer.advance(5)
        self.assertEqual(4, len(self.heard))

    def test_who_has_no_time_is_heard_at_once(self) -> None:
        self.connections[0].sendall(b"POST")
        self.outer.look()
        self.assertEqual([b"POST"], self.heard)

    def test_of_others_who_have_waited_the_company_is_told(self) -> None:
        """A client that only connects, a body in parts, a reader of an answer: each would wait again and again."""
        self.company.says_s = 5.0
        self.connections[0].sendall(b"POST")
        self.outer.look()
        self.connect()
        self.outer.advance(5)
        self.assertEqual(([b"POST"], True), (self.heard, self.company.is_disturbed))

    def test_who_enters_or_leaves_meanwhile_changes_nothing(self) -> None:
        self.company.says_s = 5.0
        self.connections[0].sendall(b"POST")
        self.outer.look()
        readers = self.lane.getReaders()
        for reader in readers:
            self.lane.removeReader(reader)
        self.lane.addReader(readers[-1])
        self.lane.addWriter(readers[-1])
        self.assertEqual([], self.outer.readers)
        self.lane.removeReader(readers[-1])
        self.lane.removeWriter(readers[-1])
        self.outer.advance(5)
        self.assertEqual([], self.outer.readers)
        for reader in readers:
            self.lane.addReader(reader)
        self.outer.look()
        self.outer.advance(5)
        self.assertEqual([b"POST"], self.heard)


async def _turn() -> None:
    turned: Deferred[None] = Deferred()
    REACTOR.callLater(0.05, turned.callback, None)
    await turned
