"""What `outputd.results.weight` promises, against what bodies take; a number is that of a rule of the contract."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from outputd.results.hop_policy import FEED_ALL, feedable
from outputd.results.model import Mixed, Origin
from outputd.results.parse import Parser
from outputd.results.rows import Batch
from outputd.results.weight import items_bytes, most_bytes, text_bytes

ORIGIN = Origin("node", "2026-01-08 00:00:00", "2026-01-09 00:00:00")
G = b'{"ip":"192.0.2.10","sent":4,"received":4,"avg_rtt":15000000,"timestamp":"2026-01-07T12:00:00Z"}'
_ABOUT: Final = 1.35  # for what the allocator rounds up, and lists that grow
_SMALL: Final = 128 * 1024  # dictionaries and lists of no size that a client chooses
EMOJI = "😀".encode()


def array(*items: bytes) -> bytes:
    return b"[" + b",".join(items) + b"]"


def trace(*hops: bytes) -> bytes:
    return array(G[:-1] + b',"traceroute":{"hops":' + array(*hops) + b"}}")


def error(text: bytes) -> bytes:
    return array(G[:-1] + b',"error":"' + text + b'"}')


KINDS: Final[Mapping[str, Callable[[], bytes]]] = {
    "numbers": lambda: array(*[b"1"] * 20_000),
    "empty objects": lambda: array(*[b"{}"] * 20_000),
    "objects that lack much": lambda: array(*[b'{"ip":"x"}'] * 20_000),
    "no addresses": lambda: array(*[b'{"ip":"%d","sent":1,"received":1,"timestamp":""}' % n for n in range(20_000)]),
    "the shortest results": lambda: array(
        *[b'{"ip":"::","sent":0,"received":0,"timestamp":"2026-01-07T22:30:00Z"}'] * 10_000
    ),
    "usual results": lambda: array(*[G] * 10_000),
    "empty hops": lambda: trace(*[b'{"ttl":1}'] * 60_000),
    "new addresses": lambda: trace(*[b'{"ttl":1,"ip":"11.%d.%d.1"}' % divmod(n, 250) for n in range(20_000)]),
    "new addresses in capitals": lambda: trace(*[b'{"ttl":1,"ip":"ABCD::%X"}' % n for n in range(20_000)]),
    "a long text": lambda: error(b"a" * 1_000_000),
    "a text in Latin": lambda: error(b"a" * 1_000_000 + "é".encode()),
    "a text in Greek": lambda: error(b"a" * 1_000_000 + "λ".encode()),
    "one emoji": lambda: error(b"a" * 1_000_000 + EMOJI),
    "one emoji that is escaped": lambda: error(b"a" * 1_000_000 + rb"\ud83d\ude00"),
    "one escape": lambda: error(b"a" * 1_000_000 + rb"\u03b1"),
    "an emoji in what is rejected": lambda: array(b'"' + b"a" * 1_000_000 + EMOJI + b'"'),
    "half pairs": lambda: array(b"1", b'"' + rb"\ud800" * 200_000 + b'"'),
    "results with half pairs": lambda: array(*[G[:-1] + rb',"error":"\ud800"}'] * 5_000),
}
"""Ways in which a body becomes more than its bytes."""


class Weights(SynchronousTestCase):
    """Rule 9: what is held is what a body takes."""

    @contextmanager
    def takes(self, most: int, kind: str) -> Iterator[None]:
        """What is done within takes no more than that."""
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield
        self.assertLess(tracemalloc.get_traced_memory()[1] - before, most * _ABOUT + _SMALL, kind)

    def test_no_body_takes_more_than_is_held_for_it(self) -> None:
        """Rule 9: while it is read, and as rows."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for kind, make in KINDS.items():
            body, parser = make(), Parser(feedable(FEED_ALL))
            before = tracemalloc.get_traced_memory()[0]
            with self.takes(most_bytes(body), kind):
                batch = parser.parse(body, ORIGIN)
            if isinstance(batch, Mixed):
                with self.takes(most_bytes(body) + items_bytes(len(batch.items)), kind):
                    batch = parser.sift(batch, body, ORIGIN)
            assert isinstance(batch, Batch), batch
            after = tracemalloc.get_traced_memory()[0]
            self.assertLess(after - before, batch.memory_bytes * _ABOUT + _SMALL, kind)

    def test_what_real_nodes_send_is_not_overrated(self) -> None:
        """Rule 9: else few of them would have room at a time."""
        hop = b'{"ttl": %d, "ip": "10.0.0.%d", "rtt": 5000000}'
        body = array(*[trace(*[hop % (n, n) for n in range(12)])[1:-1]] * 100)
        self.assertLess(most_bytes(body), 8 * len(body))

    def test_a_text_is_as_wide_as_its_widest_character(self) -> None:
        """Rule 9: four bytes each for one emoji, and what it is made of and turned into."""
        for text, factor in ((rb"a\n", 1), ("é".encode(), 4), (rb"\u00e9", 4), (EMOJI, 6), (rb"\uD83D\uDE00", 6)):
            self.assertEqual(text_bytes(text), factor * len(text), text)
