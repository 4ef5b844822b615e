"""Objects as Parquet, and the digest of their rows, which each says of itself. Blocking."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from outputd.archive.asks import Span
from outputd.archive.digest import Digest, ResultsDigest
from outputd.archive.files import encoding
from outputd.archive.rows import Rejected, Results
from outputd.export.parquet import TIME, ParquetEncoder, times

VERSION = "1"
"""Of objects; a later one has more columns, or says more of itself, and changes none."""
_MOST_GROUP_BYTES = 8 << 20
_LEVEL = 3
"""Of zstd: 6 % smaller than level 1 for a hundredth more time; 6 would take twice the time for another 4 %."""


@dataclass(frozen=True, slots=True)
class Made:
    """An object before it is put."""

    parts: list[bytes]
    digest: str

    @property
    def nbytes(self) -> int:
        """Its size."""
        return sum(map(len, self.parts))


def results_object(results: Results, span: Span, instance: str) -> Made:
    """The object of some results. Raises Unreadable."""
    encoder, digest, parts = ParquetEncoder(_LEVEL), ResultsDigest(), []
    with encoding(span.path):
        for page in results.pages(instance):
            digest.add(page)
            parts.append(encoder.add(page))
        parts.append(encoder.end(_said(span, digest.hexdigest())))
    return Made([part for part in parts if part], digest.hexdigest())


def results_digest(results: Results) -> str:
    """The digest of some results. Raises Unreadable."""
    digest = ResultsDigest()
    for page in results.pages(""):
        digest.add(page)
    return digest.hexdigest()


def rejected_object(rejected: Rejected, span: Span, instance: str) -> Made:
    """The object of what was rejected. Raises Unreadable."""
    digest, file, waiting = Digest(), io.BytesIO(), []
    with (
        encoding(span.path),
        pq.ParquetWriter(
            file, REJECTED, compression="zstd", compression_level=_LEVEL, use_dictionary=_REPEATED
        ) as writer,
    ):
        for page in rejected.pages():
            digest.add(page)
            waiting.append(_batch_of(page, instance))
            if sum(part.nbytes for part in waiting) >= _MOST_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))
        writer.add_key_value_metadata(_said(span, digest.hexdigest()))
    return Made([file.getvalue()], digest.hexdigest())


def rejected_digest(rejected: Rejected) -> str:
    """The digest of what was rejected. Raises Unreadable."""
    digest = Digest()
    for page in rejected.pages():
        digest.add(page)
    return digest.hexdigest()


def _said(span: Span, digest: str) -> dict[str, str]:
    return {
        "outputd.archive": VERSION, "outputd.first_batch": str(span.first_batch_id),
        "outputd.last_batch": str(span.last_batch_id), "outputd.rows": digest,
    }  # fmt: skip


REJECTED = pa.schema([
    pa.field("id", pa.int64(), nullable=False),
    pa.field("instance", pa.string(), nullable=False),
    pa.field("batch_id", pa.int64(), nullable=False),
    pa.field("node", pa.string(), nullable=False),
    pa.field("received_at", TIME, nullable=False),
    pa.field("item_index", pa.int64(), nullable=False),
    pa.field("field", pa.string(), nullable=False),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("raw", pa.string(), nullable=False),
])  # fmt: skip
_REPEATED = ["instance", "batch_id", "node", "received_at", "field", "reason"]


def _batch_of(page: dict[str, list[Any]], instance: str) -> pa.RecordBatch:
    columns = page | {"instance": [instance] * len(page["id"]), "received_at": times(page["received_at"])[0]}
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[field.name], field.type) for field in REJECTED], schema=REJECTED
    )
