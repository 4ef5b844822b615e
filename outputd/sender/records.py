"""Cuts a file of scamper's warts into bodies that stand alone, the same ones at each reading. Blocking.

Lists, cycles, and addresses that have records of their own are told once in a file: each body repeats those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from outputd.formats.warts import HEADER, MAGIC, TOLD_ONCE, WITHOUT_RESULT
from outputd.sender.body import CUT_BYTES, CUT_RESULTS, Body
from outputd.sender.source import MOST_BODY_BYTES, Broken

_MOST_REPEATED_BYTES = 2 << 20


def record_bodies(stream: BinaryIO, position: Callable[[], int]) -> Iterator[Body]:
    """Full bodies, and what is left at the end, also where the end is not a good one. Raises Broken after them."""
    number = sent = results = 0
    repeated, batch = bytearray(), bytearray()

    def body() -> Body:
        return Body(number, f"results {sent} to {sent + results - 1}", bytes(batch), position(), results)

    broken: Broken | None = None
    records = _records(stream)
    while True:
        try:
            kind, record = next(records, (None, b""))
            if kind in TOLD_ONCE:
                repeated += record
                if len(repeated) > _MOST_REPEATED_BYTES:
                    raise Broken("its addresses take over 2 MiB, and each body would repeat them: send it as JSON")
        except Broken as error:
            broken, kind = error, None
        is_full = results == CUT_RESULTS or len(batch) + len(record) > CUT_BYTES
        if results and (kind is None or (is_full and kind not in WITHOUT_RESULT)):
            yield body()
            number, sent, results = number + 1, sent + results, 0
            batch = bytearray(repeated)
        if kind is None:
            break
        batch += record
        results += kind not in WITHOUT_RESULT
    if broken is not None:
        raise broken


def _records(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The kind of each record, and all of it."""
    at = 0
    while header := stream.read(HEADER.size):
        magic, kind, length = HEADER.unpack(header.ljust(HEADER.size, b"\0"))
        if magic != MAGIC:
            raise Broken(f"no record of warts begins at byte {at}")
        if length > MOST_BODY_BYTES - _MOST_REPEATED_BYTES - HEADER.size:
            raise Broken(f"the record at byte {at} is longer than any that can be sent")
        record = header + stream.read(length)
        if len(record) < HEADER.size + length:
            raise Broken(f"it ends within the record at byte {at}")
        yield kind, record
        at += len(record)
