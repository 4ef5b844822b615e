"""What reading a body takes beside it: that of one item, whose length is bounded, whatever it is made of."""

from __future__ import annotations

import tracemalloc
from collections import deque

from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.counts import MOST_ITEM_BYTES
from outputd.formats.formats import BY_NAME

MOST_BYTES = 64 << 20
_HEAD_BYTES = 200


def lines_of(head: bytes, unit: bytes, tail: bytes) -> bytes:
    """A body of two of the longest items that are decoded, with as many of a unit as have room."""
    item = head + unit * ((MOST_ITEM_BYTES - _HEAD_BYTES) // len(unit)) + tail
    return item + b"\n" + item


MTR = b'{"report":{"mtr":{"dst":"192.0.2.1","tests":1},"hubs":['
GLOBALPING = b'{"result":{"resolvedAddress":"192.0.2.1","hops":['
TRACE = b'{"test":{"type":"trace","spec":{"dest":"192.0.2.1"}},"result":{"succeeded":true,"paths":['
TRIPPY = b'{"info":{"target":{"ip":"192.0.2.1"}},"hops":[{"ttl":1,"sent":1,"recv":1,"avg":1,"best":1,"worst":1,'
BODIES = (
    ("mtr", lines_of(MTR, b'{"count":1},', b'{"count":1}]}}')),
    ("globalping", lines_of(GLOBALPING, b"{},", b"{}]}}")),
    ("globalping", lines_of(GLOBALPING + b'{"rtt":[', b"1,", b"1]}]}}")),
    ("perfsonar", lines_of(TRACE + b"[", b"{},", b"{}]]}}")),
    ("perfsonar", lines_of(TRACE, b"[{}],", b"[]]}}")),
    ("trippy", lines_of(TRIPPY + b'"stddev":1,"hosts":[', b'{"ip":"1"},', b'{"ip":"1"}]}]}')),
)


class MemoryTest(SynchronousTestCase):
    def test_one_item_is_held_at_a_time_and_none_is_longer_than_it_may_be(self) -> None:
        for name, body in BODIES:
            self.assertLess(peak_bytes(name, body), MOST_BYTES, f"{name}: {body[:60]!r}")


def peak_bytes(name: str, body: bytes) -> int:
    """The most that a reader takes at once."""
    tracemalloc.start()
    try:
        deque(BY_NAME[name].read(body), maxlen=0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
