"""Crowds that mean harm, each in a process of its own: what they send, and how they were answered."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

HOST = "127.0.0.1"
_SPAWN = multiprocessing.get_context("spawn")
_HALF_A_HEAD = b"POST /results HTTP/1.1\r\n"
_HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
_OPENERS = 4


@dataclass(frozen=True)
class Door:
    """Where a client goes in, from which address, and as whom."""

    port: int
    source: str = HOST
    ca: str = ""
    """The file of the CA, for TLS."""
    token: str = ""

    def open(self, timeout_s: float = 10.0) -> socket.socket:
        """A connection, before TLS."""
        return socket.create_connection((HOST, self.port), timeout_s, (self.source, 0))

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        """A connection that a request can be sent on."""
        if not self.ca:
            return self.open(timeout_s)
        context = _context(self.ca)
        with contextlib.ExitStack() as opened:
            wrapped = context.wrap_socket(opened.enter_context(self.open(timeout_s)), server_hostname="localhost")
            opened.pop_all()
        return wrapped

    def head(self, method: str, path: str, *lines: str, length: int = 0) -> bytes:
        """That of a request with a body of this length."""
        said = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *lines]
        if self.token:
            said.append(f"Authorization: Bearer {self.token}")
        return "".join(f"{line}\r\n" for line in (*said, "")).encode()


@lru_cache
def _context(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


@contextlib.contextmanager
def meanwhile(crowd: Callable[..., object], *arguments: object) -> Iterator[None]:
    """The crowd is at work in a process of its own, which leaves the service its processors, until the block ends."""
    process = _SPAWN.Process(target=_at_leisure, args=(crowd, *arguments), daemon=True)
    process.start()
    try:
        yield
        assert process.is_alive(), "the crowd has left early"
    finally:
        process.kill()
        process.join()


def _at_leisure(crowd: Callable[..., object], *arguments: object) -> None:
    os.nice(19)
    crowd(*arguments)


def half_heads(door: Door, connections: int) -> None:
    """Without end: more connections than that, the oldest closed for new ones, each with half of what it has to say."""
    half = _HALF_A_HELLO if door.ca else _HALF_A_HEAD

    def go_on(_: int) -> None:
        held: deque[socket.socket] = deque()
        while True:
            with contextlib.suppress(OSError):
                held.append(door.open())
                held[-1].sendall(half)
            if len(held) > 2 * connections // _OPENERS:  # those that were turned out among them
                held.popleft().close()

    with ThreadPoolExecutor(_OPENERS) as threads:
        list(threads.map(go_on, range(_OPENERS)))


def answered_in_s(door: Door, request: bytes, timeout_s: float = 5.0) -> float | None:
    """How long a request on a connection of its own took; None when it was not answered 200."""
    begun_s = time.monotonic()
    try:
        with door.connect(timeout_s) as connection:
            connection.sendall(request)
            answer = connection.recv(65536)
    except OSError:
        return None
    return time.monotonic() - begun_s if answer.startswith(b"HTTP/1.1 200 ") else None
