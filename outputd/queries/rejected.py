"""Items that were no results: what was sent, by whom, and what was wrong with it; a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from outputd.queries.parameters import limit, place
from outputd.queries.parameters import text as any_text
from outputd.queries.places import Pages, Place
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.tables import Column, Notes, Rows, row_of
from outputd.results import timestamps
from outputd.store.file import FileInfo
from outputd.web.shapes import count, instant, ref, text

MOST_REJECTED = 1000
DEFAULT_REJECTED = 100
COLUMNS = (
    Column("batch", count("the POST that it came in", least=1)),
    Column("index", count("its place in the body, from 0")),
    Column("node", text("the node that sent it")),
    Column("received_at", instant("when it arrived")),
    Column("field", text("what was wrong; empty where it was the item itself")),
    Column("reason", text("why it was rejected")),
    Column("raw", text("the item as it was sent, cut to 64 KiB")),
)
_ROW = "b.id, r.item_index, b.node, b.received_at, r.field, r.reason, r.raw"
_SIZE = "200 + length(CAST(r.raw AS BLOB)) + length(CAST(r.reason AS BLOB)) + length(CAST(r.field AS BLOB))"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Which items are asked for."""

    limit: Annotated[int, limit(MOST_REJECTED)] = DEFAULT_REJECTED
    node: Annotated[str | None, any_text("Only what this node sent.")] = None
    before: Annotated[
        tuple[int, int] | None, place("Only items that arrived before this one, BATCH-INDEX: the next page.")
    ] = None


def rejected(session: Session, asked: Rejected, _: float) -> Rows:
    """The newest rejected items by arrival; of one POST, the last one first."""
    pages = Pages(session, lambda places: _read(session, places))
    wanted, last = asked.limit, ""
    conditions = [
        *(["b.node = :node"] if asked.node is not None else ()),
        *(["(r.batch_id, r.item_index) < (:batch, :index)"] if asked.before is not None else ()),
    ]
    where = " AND ".join(["b.id = r.batch_id", *conditions])
    batch, index = asked.before or (None, None)

    def gather(info: FileInfo) -> bool:
        nonlocal wanted, last
        found = session.value(
            f"SELECT json_group_array(json_array(id, size, batch, place)) FROM (SELECT r.id, {_SIZE} AS size,"
            " r.batch_id AS batch, r.item_index AS place FROM f.rejected_results r CROSS JOIN f.batches b"
            f" WHERE {where} ORDER BY r.id DESC LIMIT :limit)",
            {"node": asked.node, "batch": batch, "index": index, "limit": wanted},
        )
        items = msgspec.json.decode(found, type=list[tuple[int, int, int, int]])
        pages.add(info, [Place(number, size_bytes) for number, size_bytes, *_ in items])
        if items:
            last = "{}-{}".format(*items[-1][2:])
        wanted -= len(items)
        return not wanted

    session.over_files(gather, session.files[::-1])
    following = {} if wanted else {"before": last}
    return Rows(session, COLUMNS, pages.read, notes=Notes(following))


def _read(session: Session, places: Sequence[Place]) -> list[dict[str, Any]]:
    """The items at these places of the file that is attached."""
    found = session.value(_READ, {"ids": msgspec.json.encode([place.id for place in places]).decode()})
    names = [column.name for column in COLUMNS]
    rows = msgspec.json.decode(found, type=list[tuple[int, int, str, str, str, str, msgspec.Raw]])
    return [
        {**dict(zip(names, row, strict=True)), "received_at": timestamps.printed(row[3])} for row in rows
    ]  # fmt: skip


_READ = f"""
SELECT CAST(json_group_array(json_array({_ROW})) AS BLOB) FROM json_each(:ids) c CROSS JOIN f.rejected_results r
CROSS JOIN f.batches b WHERE r.id = c.value AND b.id = r.batch_id
"""

REJECTED = Question(
    "Rejected",
    "/rejected",
    Rejected,
    rejected,
    schemas={
        "RejectedItem": row_of("An item that was no result.", COLUMNS),
        "RejectedItems": {"type": "array", "items": ref("RejectedItem"), "maxItems": MOST_REJECTED},
    },
    whole="RejectedItems",
    row="RejectedItem",
    summary="The newest rejected items",
    description="Of all files, newest first by arrival. Items beyond 5 % of a file are counted, but not kept.",
    is_paged=True,
)
