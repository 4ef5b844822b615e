"""Bodies that become far more than their bytes, from many clients at once: memory stays within its bound (rule 9)."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Final

from tests.kit.depth import long
from tests.system.harness import Outputd, SystemTest

_MIB: Final = 1 << 20
_MOST_BYTES: Final = 8 * _MIB
_PROMISED_BYTES: Final = (64 + 150) * _MIB
_CLIENTS: Final = 24
_HEAP_BYTES: Final = 64 * _MIB
_PATIENCE_S: Final = 600.0  # each of the worst takes seconds, and waits for others
_RESULT: Final = b'{"ip":"192.0.2.1","sent":4,"received":4,"timestamp":"2026-01-07T22:30:00Z"'
_EMOJI: Final = b"\xf0\x9f\x98\x80"
_GZIP: Final = {"Content-Encoding": "gzip"}


def _items(*items: bytes) -> bytes:
    return b"[%s]" % b",".join(items)


def _trace(hops: Sequence[bytes]) -> bytes:
    return _items(_RESULT + b',"traceroute":{"hops":[%s]}}' % b",".join(hops))


def _error(text: bytes) -> bytes:
    return _items(_RESULT + b',"error":"%s"}' % text)


def _new_addresses() -> Iterator[bytes]:
    """Bodies of 200,000 addresses that no other has."""
    for body in count():
        yield _trace([b'{"ttl":1,"ip":"11.%d.%d.%d"}' % (body + (n >> 16), n >> 8 & 255, n & 255)
                      for n in range(200_000)])  # fmt: skip


def _heaps_of_threads(pid: int) -> Iterator[str]:
    """Those of glibc: each has 64 MiB of addresses of its own, and uses them from their beginning."""
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        begin, end = (int(address, 16) for address in line.split()[0].split("-"))
        if "---p" in line and end % _HEAP_BYTES == 0 and begin % _HEAP_BYTES and end - begin < _HEAP_BYTES:
            yield line


KINDS: Final[Mapping[str, Callable[[], bytes]]] = {
    "numbers": lambda: _items(*[b"1"] * 131_070),
    "no addresses": lambda: _items(*[_RESULT.replace(b"192.0.2.1", b"x") + b"}"] * 100_000),
    "one emoji": lambda: _error(b"a" * (_MOST_BYTES - 1000) + _EMOJI),
    "one emoji in what is rejected": lambda: _items(b'"%s"' % (b"a" * (_MOST_BYTES - 1000) + _EMOJI)),
    "emoji": lambda: _error(_EMOJI * ((_MOST_BYTES - 1000) // 4)),
    "half pairs": lambda: _items(b"1", b'"%s"' % (rb"\ud800" * 1_300_000)),
    "empty hops": lambda: _trace([b'{"ttl":1}'] * 838_000),
    "silent hops": lambda: _trace([b'{"ttl":1,"timeout":true}'] * 330_000),
    "short results": lambda: _items(*[_RESULT + b"}"] * 100_000),
    "many spreads": lambda: _items(*[_RESULT + b',"min_rtt":1}'] * 90_000),
}
QUICK: Final = ("numbers", "one emoji", "half pairs")


class BodiesTest(SystemTest):
    """One service, and what it makes of bodies."""

    def by_many(self, outputd: Outputd, bodies: Sequence[bytes], posts: int, coding: Mapping[str, str]) -> Counter[int]:
        """The answers to so many POSTs of these bodies from 24 clients."""
        with ThreadPoolExecutor(_CLIENTS) as clients:
            return Counter(clients.map(
                lambda n: outputd.post_as(bodies[n % len(bodies)], coding, timeout=_PATIENCE_S).status, range(posts)
            ))  # fmt: skip

    def assert_bounded(self, outputd: Outputd, kind: str, body: bytes) -> None:
        """Alone it is taken, in any coding; from 24 clients it is taken or 503, and memory is what was promised."""
        zipped = gzip.compress(body, 1)
        for data, coding in ((body, {}), (zipped, _GZIP)):
            taken = outputd.post_as(data, coding, timeout=_PATIENCE_S).status
            self.assertIn(taken, (200, 422), kind)
            answers = self.by_many(outputd, [data], 4 * _CLIENTS, coding)
            self.assertLessEqual(answers.keys(), {taken, 503}, kind)
            self.assertLess(outputd.peak_rss_bytes, _PROMISED_BYTES, kind)


class Bodies(BodiesTest):
    """Rules 8 and 9."""

    def test_what_becomes_most_of_its_bytes_stays_within_the_bound(self) -> None:
        """Rule 9: bad items, the widest characters, and what has to be mended."""
        outputd = self.outputd().start()
        for kind in QUICK:
            self.assert_bounded(outputd, kind, KINDS[kind]())
        self.assertStopped(outputd.stop())

    @long("tests.system.test_bodies.Bodies.test_what_becomes_most_of_its_bytes_stays_within_the_bound")
    def test_whatever_a_body_becomes_memory_stays_within_the_bound(self) -> None:
        """Rule 9: one kind after another on the same service."""
        outputd = self.outputd().start()
        for kind, make in KINDS.items():
            self.assert_bounded(outputd, kind, make())
        self.assertStopped(outputd.stop())

    @long(
        "tests.system.test_bodies.Bodies.test_what_becomes_most_of_its_bytes_stays_within_the_bound",
        "tests.intake.test_collector.Failures.test_new_addresses_are_held_too",
    )
    def test_addresses_that_are_all_new_stay_within_the_bound(self) -> None:
        """Rule 9: for the ledger, and for what is remembered of them."""
        outputd = self.outputd().start()
        bodies = [body for body, _ in zip(_new_addresses(), range(8), strict=False)]
        self.assertEqual(200, outputd.post_as(next(_new_addresses()), {}, timeout=_PATIENCE_S).status)
        answers = self.by_many(outputd, bodies, 4 * _CLIENTS, {})
        self.assertLessEqual(answers.keys(), {200, 503})
        self.assertLess(outputd.peak_rss_bytes, _PROMISED_BYTES)
        self.assertStopped(outputd.stop())

    def test_all_threads_share_one_heap(self) -> None:
        """Rule 9: with a heap for each thread, what one has freed is not there for the others."""
        outputd = self.outputd().start()
        self.assertEqual(200, outputd.post([]).status)
        self.assertEqual([], list(_heaps_of_threads(outputd.pid)))

    def test_long_texts_stay_in_no_statement(self) -> None:
        """Rule 9: SQLite keeps what a statement has inserted, and there is a statement for each of many sizes."""
        outputd = self.outputd().start()
        memory = []
        for rows in (1, 2, 3, 4, 6, 8, 12, 16):
            body = _items(*[_RESULT + b',"error":"%s"}' % (b"x" * (7 * _MIB // rows))] * rows)
            self.assertEqual(200, outputd.post_as(body, {}).status)
            memory.append(outputd.rss_bytes)
        self.assertLess(memory[-1] - memory[0], 16 * _MIB, memory)
