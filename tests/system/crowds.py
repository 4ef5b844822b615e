"""Crowds that mean harm: what they send, how they read, and how they were answered.

Each is `crowd(door, size)`, runs in a process of its own, and returns what it met.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import multiprocessing
import os
import socket
import ssl
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

HOST = "127.0.0.1"
MOST_BODY_BYTES = 8 << 20
_SPAWN = multiprocessing.get_context("spawn")
_HALF_A_HEAD = b"POST /results HTTP/1.1\r\n"
_HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
_OPENERS = 4
_SIP_BYTES = 1024
_G: dict[str, Any] = {
    "ip": "192.0.2.10", "sent": 4, "received": 4, "avg_rtt": 15000000, "timestamp": "2026-03-01T12:00:00Z"
}  # fmt: skip


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

    def post(self, body: bytes, *lines: str) -> bytes:
        """A whole POST of results."""
        return self.head("POST", "/results", *lines, length=len(body)) + body


@lru_cache
def _context(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


@dataclass(frozen=True)
class Size:
    """How large a crowd is, where it has a choice."""

    requests: int = 1000
    clients: int = 24
    seconds: float = 20.0
    share: float = 1.0
    """Of the connections that the crowds without an end hold."""

    def connections(self, most: int) -> int:
        """So many of them."""
        return max(2, int(most * self.share))


@dataclass
class Met:
    """How the requests of a crowd ended: the seconds to the answer, by its status; 0 is none."""

    seconds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        """One more."""
        self.seconds.setdefault(status, []).append(seconds)

    @property
    def refused_s(self) -> list[float]:
        """How long each refusal took."""
        return sorted(itertools.chain.from_iterable(took for status, took in self.seconds.items() if status >= 400))


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


def apart(crowd: Callable[[Door, Size], Met], door: Door, size: Size, tick: Callable[[], object]) -> Met:
    """What the crowd has met, in a process of its own; `tick` is called all the while."""
    with ProcessPoolExecutor(1, _SPAWN) as process:
        work = process.submit(_at_leisure, crowd, door, size)
        while not work.done():
            tick()
        met = work.result()
    assert isinstance(met, Met)
    return met


def _at_leisure(crowd: Callable[..., object], *arguments: object) -> object:
    os.nice(19)
    return crowd(*arguments)


# -- requests that come one after the other ----------------------------------------------------------


def ask(door: Door, request: bytes, timeout_s: float = 60.0) -> tuple[int, float]:
    """The status of a request on a connection of its own, 0 for none, and the seconds that it took."""
    begun_s, answer = time.monotonic(), b""
    with contextlib.suppress(OSError), door.connect(timeout_s) as connection:
        with contextlib.suppress(OSError):  # it was answered before all was sent
            connection.sendall(request)
        while len(answer) < 12:
            more = connection.recv(65536)
            if not more:
                break
            answer += more
    return _status_of(answer), time.monotonic() - begun_s


def _status_of(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") and len(answer) >= 12 else 0


def _posts(door: Door, size: Size, body: bytes, *lines: str) -> Met:
    """The same body, again and again, from all clients."""
    request, met = door.post(body, *lines), Met()
    with ThreadPoolExecutor(size.clients) as threads:
        for status, seconds in threads.map(lambda _: ask(door, request), range(size.requests)):
            met.add(status, seconds)
    return met


def _filled(first: bytes, again: bytes, last: bytes, size_bytes: int = MOST_BODY_BYTES) -> bytes:
    count = (size_bytes - len(first) - len(last)) // len(again)
    return first + again * count + last


def bad_json(door: Door, size: Size) -> Met:
    """Results, and at the end a brace too many."""
    return _posts(door, size, _filled(b"[", json.dumps(_G).encode() + b",", b"{}}]"))


def deep_json(door: Door, size: Size) -> Met:
    """Arrays in arrays."""
    return _posts(door, size, b"[" * MOST_BODY_BYTES)


def bad_utf8(door: Door, size: Size) -> Met:
    """A text that is none."""
    return _posts(door, size, _filled(b'["', b"\xff", b'"]'))


def bad_coding(door: Door, size: Size) -> Met:
    """A gzip whose checksum is wrong."""
    whole = gzip.compress(_filled(b"", os.urandom(1 << 16), b"", MOST_BODY_BYTES - 4096), compresslevel=0)
    return _posts(door, size, whole[:-8] + bytes(8), "Content-Encoding: gzip")


def bomb(door: Door, size: Size) -> Met:
    """500 KB that decode to 512 MiB."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * (1 << 20)
    return _posts(door, size, b"".join([*(packer.compress(block) for _ in range(512)), packer.flush()]),
                  "Content-Encoding: gzip")  # fmt: skip


def too_much(door: Door, size: Size) -> Met:
    """Bodies that may be taken, and more than fit at once."""
    return _posts(door, size, _filled(b"[", b" ", b"]"))


def hang_up(door: Door, size: Size) -> Met:
    """All but the last byte, and gone."""
    request = door.post(_filled(b"[", b" ", b"]"))[:-1]

    def one(_: int) -> float:
        begun_s = time.monotonic()
        with contextlib.suppress(OSError), door.connect() as connection:
            connection.sendall(request)
        return time.monotonic() - begun_s

    met = Met()
    with ThreadPoolExecutor(size.clients) as threads:
        for seconds in threads.map(one, range(size.requests)):
            met.add(0, seconds)
    return met


def many_items(door: Door, size: Size) -> Met:
    """131,070 items that are no results, in 298 bytes."""
    return _posts(door, size, gzip.compress(_filled(b"[", b"1,", b"1]", 2 * 131_070)), "Content-Encoding: gzip")


def new_addresses(door: Door, size: Size) -> Met:
    """140,000 addresses that nobody has seen, others in each body."""
    met, number = Met(), itertools.count()

    def one(_: int) -> tuple[int, float]:
        first = next(number) * 140_000
        hops = [{"ttl": 1, "ip": str(_address(first + each))} for each in range(140_000)]
        body = json.dumps([{**_G, "traceroute": _trace(hops)}], separators=(",", ":")).encode()
        return ask(door, door.post(body))

    with ThreadPoolExecutor(min(4, size.clients)) as threads:
        for status, seconds in threads.map(one, range(max(2, size.requests // 10))):
            met.add(status, seconds)
    return met


def _address(number: int) -> str:
    return f"{11 + (number >> 24) % 90}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _trace(hops: Sequence[object]) -> dict[str, object]:
    return {"method": "icmp", "completed": True, "hops": hops}


def wide_text(door: Door, size: Size) -> Met:
    """One text of 8 MB that has one character of four bytes."""
    text = json.dumps([{**_G, "error": "\N{GRINNING FACE}" + "x" * (MOST_BODY_BYTES - 200)}], ensure_ascii=False)
    return _posts(door, size, text.encode())


def empty_hops(door: Door, size: Size) -> Met:
    """838,000 hops that say nothing."""
    frame = json.dumps([{**_G, "traceroute": _trace([])}]).encode()
    first, _, last = frame.partition(b"[]")
    return _posts(door, size, _filled(first + b"[", b'{"ttl":1},', b'{"ttl":1}]' + last))


def _pairs(door: Door, size: Size, wide: int) -> Met:
    hops = [{"ttl": ttl, "ip": _address((ttl << 20) + each)} for ttl in (1, 2) for each in range(wide)]
    return _posts(door, size, json.dumps([{**_G, "traceroute": _trace(hops)}], separators=(",", ":")).encode())


pairs_320 = partial(_pairs, wide=320)
pairs_3000 = partial(_pairs, wide=3000)


# -- connections that are held -----------------------------------------------------------------------


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


def heads(door: Door, size: Size) -> Met:
    """half_heads, for a while; they are never answered."""
    with meanwhile(half_heads, door, size.connections(1000)):
        time.sleep(size.seconds)
    return Met()


def _sit(door: Door, size: Size, requests: Iterable[bytes], sip_bytes: int = _SIP_BYTES) -> Met:
    """A connection for each request, which reads so many bytes a second until the time is over."""
    met, ends_s = Met(), time.monotonic() + size.seconds
    sitting = []
    for request in requests:
        with contextlib.suppress(OSError):
            sitting.append(_Sitting(door, request, met))
    while time.monotonic() < ends_s:
        begun_s = time.monotonic()
        for each in sitting:
            each.go_on(sip_bytes)
        time.sleep(max(0.0, 1.0 - (time.monotonic() - begun_s)))
    for each in sitting:
        each.leave()
    return met


class _Sitting:
    """One that sends its request as far as it goes, and sips at the answer."""

    def __init__(self, door: Door, request: bytes, met: Met) -> None:
        self._met = met
        self._unsent = memoryview(request)
        self._begun_s = time.monotonic()
        self._connection: socket.socket | None = door.connect()
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._connection.setblocking(False)
        self._is_answered = False
        self._send()

    def _send(self) -> None:
        while self._connection is not None and self._unsent:
            try:
                self._unsent = self._unsent[self._connection.send(self._unsent[: 1 << 16]) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            except OSError:
                self._unsent = self._unsent[:0]

    def go_on(self, sip_bytes: int) -> None:
        """Send what is left, and read a little."""
        self._send()
        if self._connection is None or not sip_bytes:
            return
        try:
            said = self._connection.recv(sip_bytes)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            said = b""
        if not self._is_answered:
            self._is_answered = True
            self._met.add(_status_of(said), time.monotonic() - self._begun_s)
        if not said:
            self.leave()

    def leave(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def unread_ready(door: Door, size: Size) -> Met:
    """Fifty that pipeline questions and read no answer."""
    return _sit(door, size, [door.head("GET", "/ready") * 20_000] * size.connections(50), 0)


def unread_document(door: Door, size: Size) -> Met:
    """The same, where an answer is large."""
    return _sit(door, size, [door.head("GET", "/openapi.json") * 20_000] * size.connections(50), 0)


def recent_texts(door: Door, size: Size) -> Met:
    """Forty slow readers of long texts."""
    return _sit(door, size, [door.head("GET", "/recent?limit=1000")] * size.connections(40))


def recent_hops(door: Door, size: Size) -> Met:
    """Forty slow readers of a million hops."""
    return _sit(door, size, [door.head("GET", "/recent?limit=1000&include=traceroute")] * size.connections(40))


def tables(door: Door, size: Size) -> Met:
    """A hundred and eighty slow readers of a table."""
    return _sit(door, size, [door.head("GET", "/links.csv")] * size.connections(180))


def bodies_with_dumps(door: Door, size: Size) -> Met:
    """Questions with bodies that nobody asked for, whose answers are read slowly."""
    long, short = b" " * MOST_BODY_BYTES, b" " * (1 << 16)
    requests = [door.head("GET", "/dump", length=len(body)) + body for body in (long, short)]
    return _sit(door, size, [requests[0]] * 4 + [requests[1]] * size.connections(520))


def slow_dumps(door: Door, size: Size) -> Met:
    """Thirty slow readers of the current file."""
    return _sit(door, size, [door.head("GET", "/dump")] * size.connections(30))


def digests(door: Door, size: Size) -> Met:
    """Nine hundred questions for the digest of a closed file."""
    path = f"/dump?file={_closed_file(door)}"
    met = Met()
    with ThreadPoolExecutor(size.clients) as threads:
        asked = threads.map(lambda _: ask(door, door.head("HEAD", path)), range(size.connections(900)))
        for status, seconds in asked:
            met.add(status, seconds)
    return met


def _closed_file(door: Door) -> str:
    """The name of what was the current file, which is written no more."""
    said = {}
    for method, path in (("HEAD", "/dump"), ("POST", "/rotate")):
        with door.connect() as connection:
            connection.sendall(door.head(method, path, "Connection: close"))
            said[method] = b"".join(iter(partial(connection.recv, 65536), b""))
    return said["HEAD"].partition(b'filename="')[2].partition(b'"')[0].decode()


def listeners(door: Door, size: Size) -> Met:
    """Three thousand who come for the events and go."""
    request, met, ends_s = door.head("GET", "/events"), Met(), time.monotonic() + size.seconds
    with ThreadPoolExecutor(size.clients) as threads:
        for status, seconds in threads.map(lambda _: ask(door, request, 5.0), range(size.connections(3000))):
            met.add(status, seconds)
            if time.monotonic() > ends_s:
                break
    return met


# -- what was stored before --------------------------------------------------------------------------


def long_texts(door: Door) -> None:
    """84 results with errors of 1 MiB."""
    body = json.dumps([{**_G, "error": "x" * (1 << 20)}] * 7).encode()
    for _ in range(12):
        assert ask(door, door.post(body))[0] == 200


def long_routes(door: Door) -> None:
    """1,000 results of 1,024 hops."""
    for first in range(0, 1000, 100):
        hops = [{"ttl": each % 256, "ip": _address(first * 1024 + each), "rtt": 1_000_000} for each in range(1024)]
        body = json.dumps([{**_G, "traceroute": _trace(hops)}] * 100, separators=(",", ":")).encode()
        assert ask(door, door.post(body))[0] == 200


def a_little(door: Door) -> None:
    """One result."""
    assert ask(door, door.post(json.dumps([_G]).encode()))[0] == 200


class Kind(NamedTuple):
    """A crowd by its group and name, the port that it comes to, whose token it shows, and what is stored before."""

    group: str
    name: str
    crowd: Callable[[Door, Size], Met]
    port: str = "results"
    role: str = "node"
    before: Callable[[Door], None] = a_little

    @property
    def fills_memory(self) -> bool:
        """Whether it may have other bodies put off for a moment, as rule 9 has it."""
        return self.group in ("bodies", "taken")


KINDS = (
    Kind("bodies", "bad JSON", bad_json),
    Kind("bodies", "deep JSON", deep_json),
    Kind("bodies", "bad UTF-8", bad_utf8),
    Kind("bodies", "bad coding", bad_coding),
    Kind("bodies", "gzip bomb", bomb),
    Kind("bodies", "hang-up", hang_up),
    Kind("bodies", "overload", too_much),
    Kind("bodies", "no token", too_much, role=""),
    Kind("taken", "131,070 items", many_items),
    Kind("taken", "new addresses", new_addresses),
    Kind("taken", "wide text", wide_text),
    Kind("taken", "empty hops", empty_hops),
    Kind("reads", "long texts", recent_texts, "health", "operator", long_texts),
    Kind("reads", "many hops", recent_hops, "health", "operator", long_routes),
    Kind("reads", "tables", tables, "health", "operator", long_routes),
    Kind("pairs", "2 x 320", pairs_320),
    Kind("pairs", "2 x 3,000", pairs_3000),
    Kind("heads", "results", heads, role=""),
    Kind("heads", "health", heads, "health", ""),
    Kind("unread", "results", unread_ready, role=""),
    Kind("unread", "health", unread_document, "health", "operator"),
    Kind("held", "dumps with bodies", bodies_with_dumps, role="operator"),
    Kind("held", "slow dumps", slow_dumps, role="operator", before=long_texts),
    Kind("held", "digests", digests, role="operator", before=long_texts),
    Kind("held", "listeners", listeners, "health", "operator"),
)
