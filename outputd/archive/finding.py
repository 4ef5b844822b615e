"""Up to which batch the archive has what our files hold, when the mark does not say. Blocking.

Spans are put in order, so all up to the newest one that is alike is in the archive. What is not alike was put by
another directory under our name: a clone, or what this one was before a backup of it was restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from outputd.archive.asks import Found, Span
from outputd.archive.files import Unreadable, page_of
from outputd.archive.listing import day_before, names_of
from outputd.archive.names import REJECTED, RESULTS, Name
from outputd.archive.objects import Objects
from outputd.archive.shipping import Shipment
from outputd.export.parquet import TIME, times
from outputd.process.trouble import Kind

_MOST_ROWS = 8192
_Row = tuple[Any, ...]
"""Of a result or an item: its batch, and what tells it from any other."""


class _Held(NamedTuple):
    """One of our files, and its batches above the mark, 0 where it has none."""

    path: Path
    newest: int
    """The last batch that was stored when its last one was."""
    since: str
    """When the first of them has arrived; without any, the last time that it knows."""
    first_batch_id: int
    last_batch_id: int


class _Range(NamedTuple):
    """Batches that are in the archive under our name, with their objects by kind."""

    first_batch_id: int
    last_batch_id: int
    date: str
    names: dict[str, Name]


def find(objects: Objects, instance: str, after: int, paths: Sequence[Path], since: str = "") -> Found:
    """See asks.Find. A `rejected` object that a crash has kept from following its results is put.

    Raises ArchiveFailed, Unreadable.
    """
    ours = [held for path in paths if (held := _held(path, after)) is not None]
    newest = max((held.newest for held in ours), default=after)
    above = [held for held in ours if held.last_batch_id]
    first = min((held.since for held in above), default=None) or max((held.since for held in ours), default=None)
    first = first and min(first, since or first)
    ranges = _ranges(names_of(objects, instance, first and day_before(first[:10]), after))
    is_shared = any(later.first_batch_id <= earlier.last_batch_id for earlier, later in pairwise(ranges))
    for there in reversed(ranges):
        is_shared |= there.last_batch_id > newest
        mine = [held for held in above if _overlap(held, there)]
        if not mine:  # pruned, or lost with its file
            continue
        try:
            if _is_whole(objects, instance, there, mine):
                return Found(max(after, there.last_batch_id), is_shared)
            alike, differs = _alike(objects, there, mine)
        except Unreadable as error:
            if error.kind is not Kind.DAMAGED:
                raise
            alike, differs = min(there.last_batch_id, mine[-1].last_batch_id), False  # who can tell? it has our name
        is_shared |= differs
        if alike is not None:
            return Found(max(after, alike), is_shared)
    return Found(after, is_shared)


def _held(path: Path, after: int) -> _Held | None:
    """What is in a file; None where it is damaged, and nothing of it can be shipped either."""
    try:
        with page_of(path) as db:
            return _Held(path, *db.execute(_HELD, {"after": after}).fetchone())
    except Unreadable as error:
        if error.kind is not Kind.DAMAGED:
            raise
        return None


def _ranges(names: Sequence[Name]) -> list[_Range]:
    found: dict[tuple[int, int, str], dict[str, Name]] = {}
    for name in names:
        found.setdefault((*name.ids, name.date), {})[name.kind] = name
    return [_Range(*what, by_kind) for what, by_kind in sorted(found.items(), key=lambda item: item[0])]


def _overlap(held: _Held, there: _Range) -> bool:
    return held.first_batch_id <= there.last_batch_id and there.first_batch_id <= held.last_batch_id


def _is_whole(objects: Objects, instance: str, there: _Range, mine: Sequence[_Held]) -> bool:
    """Whether a range is one that we have put, or put in part: then the rest of it is put."""
    held = mine[0]
    if len(mine) > 1 or there.first_batch_id < held.first_batch_id or there.last_batch_id > held.last_batch_id:
        return False
    span = Span(held.path, there.date, there.first_batch_id, there.last_batch_id)
    shipment = Shipment(objects, span, instance)
    if not set(there.names.values()) <= set(shipment.names) or shipment.names[0].kind not in there.names:
        return False
    if not all(shipment.is_same(name) for name in there.names.values()):
        return False
    return all(shipment.put(name) for name in shipment.names if name.kind not in there.names)


def _alike(objects: Objects, there: _Range, mine: Sequence[_Held]) -> tuple[int | None, bool]:
    """The last batch up to which a range has what we have, None without any; and whether there is anything else."""
    low = max(there.first_batch_id, mine[0].first_batch_id)
    high = min(there.last_batch_id, mine[-1].last_batch_id)
    kind, differs = RESULTS, False
    if RESULTS not in there.names:  # what has put it had nothing but rejected items there
        kind = REJECTED
        first = next(_our_rows(mine, RESULTS, low, high), None)
        if first is not None:
            high, differs = first[0] - 1, True
    theirs = _rows_there(objects.read(str(there.names[kind])), kind, low, high)
    alike, is_same = _same_rows(_our_rows(mine, kind, low, high), theirs)
    return alike, differs or not is_same


def _same_rows(ours: Iterator[_Row], theirs: Iterator[_Row]) -> tuple[int | None, bool]:
    """The last batch with rows that are the same, with all before it, None without any; and whether all are."""
    done: int | None = None
    current: int | None = None
    for our_row, their_row in zip_longest(ours, theirs):
        if our_row != their_row:
            broken = min(row[0] for row in (our_row, their_row) if row is not None)
            return (done if current == broken else current), False
        if our_row[0] != current:
            done, current = current, our_row[0]
    return current, True


def _rows_there(data: bytes, kind: str, low: int, high: int) -> Iterator[_Row]:
    """The rows of an object with batches from one to another; none where it is none of ours."""
    columns = ["batch_id", "id", "node", "received_at", *_COLUMNS[kind]]
    try:
        table = pq.read_table(pa.BufferReader(data), columns=columns)
        for name in ("received_at", "timestamp"):
            if name in table.column_names:
                at = table.column_names.index(name)
                table = table.set_column(at, name, table[name].cast(TIME).cast(pa.int64()))
        table = table.sort_by([("batch_id", "ascending"), ("id", "ascending")])
        batches = table["batch_id"]
    except (pa.ArrowException, KeyError, OSError):
        return
    if batches.type != pa.int64() or batches.null_count:
        return
    for batch in table.to_batches(_MOST_ROWS):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if low <= row[0] <= high:
                yield row


def _our_rows(mine: Sequence[_Held], kind: str, low: int, high: int) -> Iterator[_Row]:
    for held in mine:
        above = 0
        first = max(low, held.first_batch_id)
        while True:
            with page_of(held.path) as db:
                where = {"first": first, "last": high, "above": above, "most": _MOST_ROWS}
                rows = db.execute(_ROWS[kind], where).fetchall()
                if not rows:
                    break
                columns = [list(column) for column in zip(*rows, strict=True)]
                columns[3] = _micros(columns[3])
                if kind == RESULTS:
                    columns[5:] = [_micros(columns[5])]
            yield from zip(*columns, strict=True)
            first, above = rows[-1][0], rows[-1][1]


def _micros(texts: Sequence[str]) -> list[int]:
    found: list[int] = times(texts)[0].cast(pa.int64()).to_pylist()
    return found


_COLUMNS = {RESULTS: ["ip", "timestamp"], REJECTED: ["item_index", "raw"]}
_HELD = """
SELECT max(f.first_batch_id - 1, coalesce(b.newest, 0)), coalesce(b.earliest, b.latest, f.created_at),
  coalesce(b.first, 0), coalesce(b.last, 0)
FROM result_file f, (
  SELECT max(id) AS newest, max(received_at) AS latest, min(received_at) FILTER (WHERE id > :after) AS earliest,
    min(id) FILTER (WHERE id > :after) AS first, max(id) FILTER (WHERE id > :after) AS last FROM batches
) b
"""
_ROWS = {
    RESULTS: """
SELECT b.id, p.id, b.node, b.received_at, p.ip, p.timestamp
FROM batches b CROSS JOIN ping_results p ON p.id BETWEEN max(b.first_id, :above + 1) AND b.last_id
WHERE b.id BETWEEN :first AND :last ORDER BY b.id, p.id LIMIT :most
""",
    REJECTED: """
SELECT b.id, r.id, b.node, b.received_at, r.item_index, r.raw
FROM rejected_results r CROSS JOIN batches b ON b.id = r.batch_id
WHERE b.id BETWEEN :first AND :last AND r.id > :above ORDER BY r.id LIMIT :most
""",
}
