"""A line to an HTTP service on loopback that fails in the ways in which lines fail, as it is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

from tests.system.harness import HOST, free_port

_CHUNK_BYTES = 16 * 1024
_LOOK_S = 0.02


class Way(Enum):
    """What becomes of a request."""

    PASS = auto()
    CUT = auto()
    """Its connection ends before anything is passed on."""
    SILENCE = auto()
    """Nothing is passed on, and nothing comes back, until another way is set."""
    HOLD = auto()
    """It arrives, and its answer comes once another way is set."""
    LOSE = auto()
    """It arrives, and its connection ends in the place of the answer."""


def passing(method: str) -> Way:
    """The way of a good line."""
    return Way.PASS


class Relay:
    """Listens on a port of its own from `open` to `close`; `way` says by its method what becomes of a request."""

    def __init__(self, behind: int) -> None:
        self.port = free_port()
        self.way: Callable[[str], Way] = passing
        self.bytes_a_s = float("inf")
        """How much each connection carries to the service."""
        self.held = 0
        """Answers that wait now for another way."""
        self._behind = behind
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._connections: set[_Connection] = set()

    def open(self) -> Relay:
        """Take connections."""
        listener = self._listener = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self

    def close(self) -> None:
        """Refuse connections, and end those that are there."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
            self._listener.close()
            self._listener = None
        for connection in list(self._connections):
            connection.end()

    def count(self, held: int) -> None:
        """An answer begins to wait, or no longer does."""
        with self._lock:
            self.held += held

    def forget(self, connection: _Connection) -> None:
        """It has ended."""
        self._connections.discard(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                service = socket.create_connection((HOST, self._behind))
            except OSError:
                client.close()
                continue
            connection = _Connection(self, client, service)
            self._connections.add(connection)
            connection.start()
            if self._listener is not listener:
                connection.end()  # it was closed meanwhile, and has not seen this one


class _Connection:
    """One connection: a request begins with the first bytes that come after an answer."""

    def __init__(self, relay: Relay, client: socket.socket, service: socket.socket) -> None:
        self._relay, self._client, self._service = relay, client, service
        self._method = ""
        self._is_answered = True
        self._has_ended = threading.Event()

    def start(self) -> None:
        """Carry both ways."""
        for work in (self._ask, self._answer):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    def end(self) -> None:
        """End both sides at once, as a reset."""
        self._has_ended.set()
        for side in (self._client, self._service):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        self._relay.forget(self)

    def _guarded(self, work: Callable[[], None]) -> None:
        with suppress(OSError):
            work()
        self.end()

    def _ask(self) -> None:
        while data := self._client.recv(_CHUNK_BYTES):
            if self._is_answered:
                self._is_answered = False
                self._method = data[:8].partition(b" ")[0].decode("latin-1")
                if self._way is Way.CUT:
                    return
                self._wait_while(Way.SILENCE)
            self._service.sendall(data)
            self._has_ended.wait(len(data) / self._relay.bytes_a_s)

    def _answer(self) -> None:
        while data := self._service.recv(_CHUNK_BYTES):
            if not self._is_answered:
                if self._way is Way.LOSE:
                    return
                if self._way is Way.HOLD:
                    self._relay.count(1)
                    self._wait_while(Way.HOLD)
                    self._relay.count(-1)
                self._is_answered = True
            self._client.sendall(data)

    @property
    def _way(self) -> Way:
        return self._relay.way(self._method)

    def _wait_while(self, way: Way) -> None:
        while self._way is way and not self._has_ended.is_set():
            time.sleep(_LOOK_S)
