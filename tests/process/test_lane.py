"""A lane: a crowd waits for the crowd, and nobody else does."""

from __future__ import annotations

import socket
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from outputd.process.lane import Lane
from tests.kit.running import REACTOR

_CROWD = 60
_WORK_S = 0.003


class LaneTests(TestCase):
    """Real sockets, with all that they have to say in their buffers before the reactor looks."""

    def setUp(self) -> None:
        self.lane = Lane(REACTOR)
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


async def _turn() -> None:
    turned: Deferred[None] = Deferred()
    REACTOR.callLater(0.05, turned.callback, None)
    await turned
