"""An archive as outputd ships it, made of result files at rest."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from outputd.export.asked import Asked
from outputd.export.parquet import ParquetEncoder
from outputd.export.source import in_order, look
from outputd.export.work import Work
from outputd.process.screen import Screen
from outputd.sqlite.connections import reading

_REJECTED = pa.schema([
    pa.field("id", pa.int64(), nullable=False),
    pa.field("instance", pa.string(), nullable=False),
    pa.field("batch_id", pa.int64(), nullable=False),
    pa.field("node", pa.string(), nullable=False),
    pa.field("received_at", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("item_index", pa.int64(), nullable=False),
    pa.field("field", pa.string(), nullable=False),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("raw", pa.string(), nullable=False),
])  # fmt: skip
_REJECTS = """
SELECT r.id, b.id, b.node, b.received_at, r.item_index, r.field, r.reason, CAST(r.raw AS TEXT)
FROM rejected_results r JOIN batches b ON b.id = r.batch_id ORDER BY r.id
"""


def archive(files: Sequence[Path], place: Path, instance: str) -> None:
    """Put what closed result files of one instance hold under a place: an object for each file and day."""
    for path in files:
        encoder = ParquetEncoder()
        made = io.BytesIO()
        with (work := Work(in_order([look(path)]), Asked(), Screen(io.StringIO()), lambda: 0.0)):
            for page in work.pages():
                made.write(encoder.add(page))
        made.write(encoder.end())
        table = pq.read_table(made)
        named = pa.array([instance] * len(table), pa.string())
        _ship(table.set_column(1, table.schema.field("instance"), named), place / "results", instance)
        with reading(path) as db:
            _ship(_rejected(db, instance), place / "rejected", instance)


def _rejected(db: sqlite3.Connection, instance: str) -> pa.Table:
    rows = [
        (number, instance, batch, node, datetime.fromisoformat(f"{received_at}+00:00"), *rest)
        for number, batch, node, received_at, *rest in db.execute(_REJECTS)
    ]
    return pa.Table.from_pylist([dict(zip(_REJECTED.names, row, strict=True)) for row in rows], _REJECTED)


def _ship(table: pa.Table, place: Path, instance: str) -> None:
    days = pc.strftime(table["received_at"], "%Y-%m-%d")
    order = ["ip", "timestamp", "timestamp_ns", "id"] if "ip" in table.schema.names else ["id"]
    for day in sorted(set(days.to_pylist())):
        of_day = table.filter(pc.equal(days, day)).sort_by([(name, "ascending") for name in order])
        (place / f"date={day}").mkdir(parents=True, exist_ok=True)
        first, last = (bound.as_py() for bound in pc.min_max(of_day["batch_id"]).values())
        pq.write_table(of_day, place / f"date={day}" / f"{instance}-{first:019}-{last:019}.parquet", compression="zstd")
