"""Which batches are shipped next, as one object: of one file and one day, and of 64 MiB at most. Blocking.

Where it ends depends on what is stored and on the mark alone, so that after a crash it ends there again.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from outputd.archive.asks import Span
from outputd.archive.files import Unreadable, page_of
from outputd.export.statements import octets
from outputd.process.trouble import Kind
from outputd.store.fragments import first_above, first_hop

_MOST_BYTES = 64 << 20
"""Of the rows in one object; one batch may have more."""
_RESULT_BYTES, _HOP_BYTES, _REJECTED_BYTES = 128, 24, 64
"""What a row takes beside its texts."""
_MOST_BATCHES = 1024
_MOST_ITEMS = 16_384
"""Of the batches that are weighed at once, of which there is at least one."""
_is_date = re.compile(r"\d{4}-\d\d-\d\d").fullmatch


class _Batch(NamedTuple):
    id: int
    date: str
    first_id: int | None
    last_id: int | None
    rejected: int
    items: int


def cut(paths: Sequence[Path], after: int, is_open_taken: bool) -> Span | None:
    """The first batches after a mark, of these files, oldest first; None where there are none. Raises Unreadable.

    Those that may still become more, the last ones of the last file, are only taken when it `is_open_taken`.
    """
    for number, path in enumerate(paths, 1):
        span, is_open = _first_of(path, after)
        if span is not None:
            return None if is_open and number == len(paths) and not is_open_taken else span
    return None


def _first_of(path: Path, after: int) -> tuple[Span | None, bool]:
    """The first batches of a file, and whether they are its last ones."""
    span: Span | None = None
    room_bytes = _MOST_BYTES
    while room_bytes > 0:
        batches, size_bytes = _next_of(path, span, after, room_bytes)
        if batches is None:
            return span, True
        if not batches or (size_bytes > room_bytes and span is not None):
            break
        first = span or Span(path, batches[0].date, batches[0].id, batches[0].id)
        span = Span(path, first.date, first.first_batch_id, batches[-1].id)
        room_bytes -= size_bytes
    return span, False


def _next_of(path: Path, span: Span | None, after: int, room_bytes: int) -> tuple[list[_Batch] | None, int]:
    """The next batches of a file that are of the day of a span, and their weight; None where there are no more at all.

    Those that are too damaged to be weighed make a span of their own, and few others are given up with them.
    """
    with page_of(path) as db:
        found = _next_batches(db, span.last_batch_id if span else after)
    if not found:
        return None, 0
    batches = found[: _of_day(found, span.date if span else found[0].date)]
    few = len(batches) // 8
    while True:
        try:
            with page_of(path) as db:
                return _within(db, batches, room_bytes)
        except Unreadable as error:
            if error.kind is not Kind.DAMAGED:
                raise
        if len(batches) <= max(1, few):
            return batches, _MOST_BYTES + 1
        batches = batches[: len(batches) // 2]


def _within(db: sqlite3.Connection, batches: list[_Batch], room_bytes: int) -> tuple[list[_Batch], int]:
    """The first of them that have room, or the very first alone, and their weight."""
    while (size_bytes := _weight(db, batches)) > room_bytes and len(batches) > 1:
        batches = batches[: len(batches) // 2]
    return batches, size_bytes


def _of_day(found: Sequence[_Batch], date: str) -> int:
    """How many of the first of them have arrived on a day."""
    return next((number for number, batch in enumerate(found) if batch.date != date), len(found))


def _next_batches(db: sqlite3.Connection, above: int) -> list[_Batch]:
    found = [_Batch(*row) for row in db.execute(_BATCHES, {"above": above, "most": _MOST_BATCHES})]
    if not all(_is_date(batch.date) for batch in found):
        raise ValueError("a batch has arrived on a day that is none")
    reached = sum(items <= _MOST_ITEMS for items in accumulate(batch.items for batch in found))
    return found[: max(1, reached)]


def _weight(db: sqlite3.Connection, batches: Sequence[_Batch]) -> int:
    """About the bytes that the rows of these batches take in memory."""
    size_bytes = 0
    low = min((batch.first_id for batch in batches if batch.first_id is not None), default=None)
    if low is not None:
        high = max(batch.last_id for batch in batches if batch.last_id is not None)
        size_bytes += int(db.execute(_RESULT_WEIGHT, {"low": low, "high": high}).fetchone()[0])
    if any(batch.rejected for batch in batches):
        ends = {"first": batches[0].id, "last": batches[-1].id}
        size_bytes += int(db.execute(_REJECTED_WEIGHT, ends).fetchone()[0])
    return size_bytes


_BATCHES = """
SELECT id, substr(received_at, 1, 10), first_id, last_id, rejected, coalesce(last_id - first_id + 1, 0) + rejected
FROM batches WHERE id > :above ORDER BY id LIMIT :most
"""
_RESULT_WEIGHT = f"""
SELECT (SELECT total({_RESULT_BYTES} + {octets("error")}) FROM ping_results WHERE id BETWEEN :low AND :high)
  + (SELECT total({octets("method")} + {octets("error")}) FROM traceroute_results WHERE id BETWEEN :low AND :high)
  + {_HOP_BYTES} * (SELECT count(*) FROM traceroute_hops
    WHERE id >= {first_hop(":low", "main")} AND id < {first_hop("(:high + 1)", "main")})
"""
_REJECTED_WEIGHT = f"""
SELECT total({_REJECTED_BYTES} + {octets("field")} + {octets("reason")} + {octets("raw")}) FROM rejected_results
WHERE id >= {first_above("(:first - 1)", "main.rejected_results", "batch_id")}
  AND id < {first_above(":last", "main.rejected_results", "batch_id")}
"""
