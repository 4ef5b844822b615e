"""Results as Parquet. Needs pyarrow, which only those import who write Parquet: it takes a second and 60 MiB."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # asked for once; its own one keeps 40 MiB more

import pyarrow as pa  # it reads the variable
import pyarrow.compute as pc
import pyarrow.parquet as pq

from outputd.export.page import Page

VERSION = "1"
"""Of the columns; a later one has more of them, and changes none."""
_MOST_GROUP_BYTES = 8 << 20
_MOST_GROUP_ROWS = 131_072
"""A row group is written behind the page with which it has one of these; until then it is in memory."""

TIME = pa.timestamp("us", "UTC")
_HOP = pa.struct([
    pa.field("ttl", pa.uint8(), nullable=False),
    pa.field("ip", pa.string()),
    pa.field("rtt_ns", pa.int64()),
    pa.field("timeout", pa.bool_(), nullable=False),
])  # fmt: skip
_TRACEROUTE = pa.struct([
    pa.field("method", pa.string()),
    pa.field("completed", pa.bool_()),
    pa.field("error", pa.string()),
    pa.field("hops", pa.list_(pa.field("element", _HOP, nullable=False)), nullable=False),
])  # fmt: skip
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("instance", pa.string()),
        pa.field("batch_id", pa.int64(), nullable=False),
        pa.field("node", pa.string(), nullable=False),
        pa.field("received_at", TIME, nullable=False),
        pa.field("ip", pa.string(), nullable=False),
        pa.field("sent", pa.int64(), nullable=False),
        pa.field("received", pa.int64(), nullable=False),
        pa.field("packet_loss", pa.float64(), nullable=False),
        pa.field("avg_rtt_ns", pa.int64()),
        pa.field("min_rtt_ns", pa.int64()),
        pa.field("max_rtt_ns", pa.int64()),
        pa.field("stddev_rtt_ns", pa.int64()),
        pa.field("timestamp", TIME, nullable=False),
        pa.field("timestamp_ns", pa.int16(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("traceroute", _TRACEROUTE),
    ],
    {"outputd.export": VERSION},
)
_REPEATED = [
    "instance", "batch_id", "node", "received_at", "ip", "error", "traceroute.method", "traceroute.error",
    "traceroute.hops.list.element.ip",
]  # fmt: skip
"""Columns whose values come often, and are written once in a dictionary."""


class ParquetEncoder:
    """Results as one Parquet file, whose bytes come a row group at a time."""

    def __init__(self, level: int = 1) -> None:
        """`level` is that of zstd: higher ones take more time and less room."""
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(
            self._sink, SCHEMA, compression="zstd", compression_level=level, use_dictionary=_REPEATED
        )
        self._pages: list[pa.RecordBatch] = []
        self._open: Page | None = None
        self._hops: list[pa.Array] = []

    def add(self, page: Page) -> bytes:
        """The bytes that are ready with these results, often none."""
        self._hops.append(_hops(page))
        if page.is_open:
            self._open = self._open or page
            return b""
        results, self._open = self._open or page, None
        hops, self._hops = pa.concat_arrays(self._hops), []
        if results:
            self._pages.append(_record_batch(results, hops))
            if (
                sum(page.nbytes for page in self._pages) >= _MOST_GROUP_BYTES
                or sum(page.num_rows for page in self._pages) >= _MOST_GROUP_ROWS
            ):
                self._write_group()
        return self._sink.taken()

    def end(self, said: Mapping[str, str] | None = None) -> bytes:
        """The rest of the file, which says this of itself, too."""
        self._write_group()
        if said:
            self._writer.add_key_value_metadata(said)
        self._writer.close()
        return self._sink.taken()

    def _write_group(self) -> None:
        pages, self._pages = self._pages, []
        if pages:
            table = pa.Table.from_batches(pages)
            self._writer.write_table(table, row_group_size=table.num_rows)


class _Sink:
    """What the writer of Parquet takes for a file; holds what was written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        return len(self._parts[-1])

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _record_batch(page: Page, hops: pa.Array) -> pa.RecordBatch:
    timestamp, timestamp_ns = times(page.timestamp)
    columns = {
        "id": page.id, "instance": [page.instance] * len(page), "batch_id": page.batch_id, "node": page.node,
        "received_at": times(page.received_at)[0], "ip": page.ip, "sent": page.sent, "received": page.received,
        "packet_loss": page.packet_loss, "avg_rtt_ns": page.avg_rtt, "min_rtt_ns": page.min_rtt,
        "max_rtt_ns": page.max_rtt, "stddev_rtt_ns": page.stddev_rtt, "timestamp": timestamp,
        "timestamp_ns": timestamp_ns, "error": page.error, "traceroute": _traceroutes(page, hops),
    }  # fmt: skip
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, SCHEMA.field(name).type)
        for name, values in columns.items()
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def times(texts: Sequence[str]) -> tuple[pa.Array, pa.Array]:
    """Microseconds since 1970, rounded down, and the nanoseconds above them, of times in the stored form."""
    text = pa.array(texts, pa.string())
    second = pc.utf8_slice_codeunits(text, 0, 19).cast(pa.timestamp("us")).cast(pa.int64())
    fraction = pc.utf8_rpad(pc.utf8_slice_codeunits(text, 20, 29), 9, "0").cast(pa.int64())
    micros = pc.divide(fraction, 1000)
    nanos = pc.subtract(fraction, pc.multiply(micros, 1000))
    return pc.add(second, micros).cast(TIME), nanos.cast(pa.int16())


def _hops(page: Page) -> pa.Array:
    return pa.StructArray.from_arrays(
        [
            pa.array(page.hop_ttl, pa.uint8()), pa.array(page.hop_ip, pa.string()), pa.array(page.hop_rtt, pa.int64()),
            _flags(page.hop_timeout),
        ],
        fields=list(_HOP),
    )  # fmt: skip


def _traceroutes(page: Page, hops: pa.Array) -> pa.Array:
    """Those of a page; all hops behind those of its other results are of the last one."""
    offsets = pa.array([0, *page.hop_ends[:-1], len(hops)], pa.int32())
    return pa.StructArray.from_arrays(
        [
            pa.array(page.method, pa.string()), _flags(page.completed), pa.array(page.traceroute_error, pa.string()),
            pa.ListArray.from_arrays(offsets, hops, type=_TRACEROUTE.field("hops").type),
        ],
        fields=list(_TRACEROUTE), mask=pc.invert(_flags(page.is_traced)),
    )  # fmt: skip


def _flags(values: Sequence[int | None]) -> pa.Array:
    return pa.array(values, pa.int8()).cast(pa.bool_())
