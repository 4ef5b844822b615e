"""The rows of a span in the order of an object, read page by page: only what sorts them is in memory. Blocking."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outputd.archive.asks import Span
from outputd.archive.files import Still, page_of
from outputd.export.page import Page
from outputd.export.parquet import times
from outputd.export.reading import HopSpan, read_hops, read_results
from outputd.export.statements import octets
from outputd.sqlite.errors import corrupt
from outputd.store.fragments import first_above, first_hop

_MOST_KEYS = 4096
_MOST_ROWS = 2048
_MOST_HOPS = 16_384
_MOST_TEXT_BYTES = 2 << 20
_MOST_REJECTED = 64
"""In a page; a text has 64 KiB at most."""


class Results:
    """The results of a span, by target, time and id."""

    def __init__(self, span: Span) -> None:
        """Reads what sorts them. Raises Unreadable, as `pages` does."""
        self._path = span.path
        self._still = Still(span.path)
        self._batches, self._texts = array("q"), array("q")
        self._ids, self._hops, self._hop_ends = array("q"), array("q"), array("q")
        parts: list[pa.RecordBatch] = []
        first_batch, low = span.first_batch_id, 0
        while True:
            with page_of(span.path) as db:
                where = {"low": low, "first_batch": first_batch, "last_batch": span.last_batch_id, "rows": _MOST_KEYS}
                rows = db.execute(_KEYS, where).fetchall()
                if not rows:
                    break
                parts.append(self._add(rows, _hop_spans(db, rows[0][0], rows[-1][0])))
            low, first_batch = rows[-1][0] + 1, rows[-1][1]
        self._still.check()
        self._order = _order_of(parts, self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def pages(self, instance: str) -> Iterator[Page]:
        """All of them under the name of an instance."""
        begin = 0
        while begin < len(self):
            chosen = self._order[begin : begin + _MOST_ROWS].to_pylist()
            chosen = chosen[: self._within(chosen)]
            yield from self._pages_of(instance, chosen)
            begin += len(chosen)
        self._still.check()

    def _add(self, rows: Sequence[tuple[Any, ...]], hops: dict[int, HopSpan]) -> pa.RecordBatch:
        ids, batches, ips, timestamps, texts = zip(*rows, strict=True)
        self._ids.extend(ids)
        self._batches.extend(batches)
        self._texts.extend(texts)
        spans = [hops.get(number, (0, 0)) for number in ids]
        self._hops.extend(begin for begin, _ in spans)
        self._hop_ends.extend(end for _, end in spans)
        micros, nanos = times(timestamps)
        return pa.RecordBatch.from_arrays([pa.array(ips, pa.string()), micros, nanos], ["ip", "micros", "nanos"])

    def _within(self, chosen: Sequence[int]) -> int:
        """How many of them a page has room for, at least one."""
        hops = accumulate(self._hop_ends[at] - self._hops[at] for at in chosen)
        texts = accumulate(self._texts[at] for at in chosen)
        return max(1, sum(h <= _MOST_HOPS and t <= _MOST_TEXT_BYTES for h, t in zip(hops, texts, strict=True)))

    def _pages_of(self, instance: str, chosen: Sequence[int]) -> Iterator[Page]:
        """One page, or of a result that has more hops than a page the first one and those that continue it."""
        page = Page(instance)
        spans = [(self._hops[at], self._hop_ends[at]) for at in chosen]
        parts = _parted(spans[0]) if len(spans) == 1 else []
        with page_of(self._path) as db:
            read_results(db, page, [(self._ids[at], self._batches[at]) for at in chosen])
            if page.id != [self._ids[at] for at in chosen]:
                raise corrupt("results that were there are missing")
            page.is_open = bool(parts[1:])
            _read_hops(db, page, page.id, parts[:1] or spans)
        yield page
        for number, part in enumerate(parts[1:], 2):
            further = Page(instance, continues=True, is_open=number < len(parts))
            with page_of(self._path) as db:
                _read_hops(db, further, page.id, [part])
            further.hop_ends = []
            yield further


def _order_of(parts: Sequence[pa.RecordBatch], ids: array[int]) -> pa.Array:
    """Where each row is among those that were read."""
    if not parts:
        return pa.array([], pa.uint64())
    numbers = pa.Array.from_buffers(pa.int64(), len(ids), [None, pa.py_buffer(ids)])
    table = pa.Table.from_batches(parts).append_column("id", numbers)
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in ("ip", "micros", "nanos", "id")])


def _hop_spans(db: sqlite3.Connection, low: int, high: int) -> dict[int, HopSpan]:
    return {owner: (begin, end) for owner, begin, end in db.execute(_HOPS, {"low": low, "high": high})}


def _parted(span: HopSpan) -> list[HopSpan]:
    begin, end = span
    return [(at, min(at + _MOST_HOPS, end)) for at in range(begin, end, _MOST_HOPS)]


def _read_hops(db: sqlite3.Connection, page: Page, ids: Sequence[int], spans: Sequence[HopSpan]) -> None:
    """Have a page say the hops of its results, each of which has one span."""
    page.hop_ends = list(accumulate(end - begin for begin, end in spans))
    owners = read_hops(db, page, [span for span in spans if span[0] < span[1]])
    if owners != [number for number, (begin, end) in zip(ids, spans, strict=False) for _ in range(begin, end)]:
        raise corrupt("hops of a result do not stand together")


class Rejected:
    """The items of a span that were rejected, in order of arrival."""

    COLUMNS = ("id", "batch_id", "node", "received_at", "item_index", "field", "reason", "raw")

    def __init__(self, span: Span) -> None:
        """Looks whether there are any. Raises Unreadable, as `pages` does."""
        self._span = span
        self._still = Still(span.path)
        with page_of(span.path) as db:
            ends = {"first": span.first_batch_id, "last": span.last_batch_id}
            first_id, self._end_id = db.execute(_REJECTED_ENDS, ends).fetchone()
            self._first_id = first_id or 0
            where = {"low": self._first_id, "end": self._end_id}
            self._count = db.execute(_REJECTED_COUNT, where).fetchone()[0]

    def __len__(self) -> int:
        return int(self._count)

    def pages(self) -> Iterator[dict[str, list[Any]]]:
        """All of them, as columns."""
        low = self._first_id
        while True:
            with page_of(self._span.path) as db:
                where = {"low": low, "end": self._end_id, "most": _MOST_REJECTED}
                rows = db.execute(_REJECTED, where).fetchall()
            if not rows:
                break
            yield dict(zip(self.COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
            low = rows[-1][0] + 1
        self._still.check()


_KEYS = f"""
SELECT p.id, b.id, p.ip, p.timestamp, {octets("p.error")} + {octets("t.error")} + {octets("t.method")}
FROM batches b CROSS JOIN ping_results p ON p.id BETWEEN max(b.first_id, :low) AND b.last_id
LEFT JOIN traceroute_results t ON t.id = p.id
WHERE b.id BETWEEN :first_batch AND :last_batch ORDER BY b.id, p.id LIMIT :rows
"""
_HOPS = f"""
SELECT traceroute_id, min(id), max(id) + 1 FROM traceroute_hops
WHERE id >= {first_hop(":low", "main")} AND id < {first_hop("(:high + 1)", "main")} GROUP BY traceroute_id
"""
_REJECTED_ENDS = f"""
SELECT {first_above("(:first - 1)", "main.rejected_results", "batch_id")},
  {first_above(":last", "main.rejected_results", "batch_id")}
"""
_REJECTED_COUNT = "SELECT count(*) FROM rejected_results WHERE id >= :low AND id < :end"
_REJECTED = """
SELECT r.id, r.batch_id, b.node, b.received_at, r.item_index, r.field, r.reason, r.raw
FROM rejected_results r CROSS JOIN batches b ON b.id = r.batch_id WHERE r.id >= :low AND r.id < :end
ORDER BY r.id LIMIT :most
"""
