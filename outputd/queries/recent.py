"""The newest results by arrival, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from outputd.queries.parameters import Node, Since, Until, address, flag, limit, whole, word
from outputd.queries.question import Question
from outputd.queries.results import MOST_HOPS, PACKET_LOSS, ROW, TRACEROUTE, printed
from outputd.queries.session import Session
from outputd.queries.tables import Column, Rows, row_of
from outputd.store.file import FileInfo
from outputd.store.fragments import batch_of
from outputd.store.times import within
from outputd.web import shapes
from outputd.web.shapes import count, instant, ref, text

MOST_RECENT = 1000
DEFAULT_RECENT = 100
COLUMNS = (
    Column("id", count("names this result in all files of the instance", least=1)),
    Column("ip", shapes.address("the target")),
    Column("sent", count("packets sent")),
    Column("received", count("packets received")),
    Column("packet_loss", {**PACKET_LOSS, "description": "percent"}),
    Column("avg_rtt", {"type": ["integer", "null"], "minimum": 0, "description": "mean round-trip time, nanoseconds"}),
    Column("timestamp", instant("when it was measured")),
    Column("error", text("why it failed, if the node said so"), is_optional=True),
)
_TRACED = Column("traceroute", {
    "description": "with include=traceroute", "anyOf": [ref("StoredTraceroute"), {"type": "null"}]
}, is_optional=True)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recent:
    """Which results are asked for."""

    limit: Annotated[int, limit(MOST_RECENT)] = DEFAULT_RECENT
    ip: Annotated[str | None, address("Only results of this target, in any spelling.")] = None
    node: Node = None
    failed: Annotated[bool | None, flag("true: only those without any reply; false: only those with one.")] = None
    since: Since = None
    until: Until = None
    before: Annotated[int | None, whole("Only results with smaller ids: the next page.")] = None
    include: Annotated[str | None, word(f"Also the traceroute, of at most {MOST_HOPS} hops.", "traceroute")] = None

    @property
    def conditions(self) -> list[str]:
        """SQL of what a result must be."""
        timestamp = f"{'+' if self.ip is not None else ''}p.timestamp"  # the index on the target is the better one
        chosen = {
            "p.ip = :ip": self.ip is not None,
            "p.received = 0": self.failed is True,
            "p.received > 0": self.failed is False,
            "p.id < :before": self.before is not None,
        }
        return [
            *(condition for condition, is_chosen in chosen.items() if is_chosen),
            *within(timestamp, self.since, self.until),
        ]


def recent(session: Session, asked: Recent, _: float) -> Rows:
    """The newest results by arrival."""
    found: list[dict[str, Any]] = []

    def gather(_: FileInfo) -> bool:
        parameters = {
            "limit": asked.limit - len(found), "ip": asked.ip, "node": asked.node, "since": asked.since,
            "until": asked.until, "before": asked.before,
        }  # fmt: skip
        where = asked.conditions
        source = "f.ping_results p"
        order = "p.id DESC"
        if asked.node is not None and asked.ip is None:
            source = "f.batches b CROSS JOIN f.ping_results p"
            where += ["b.node = :node", "p.id BETWEEN b.first_id AND b.last_id"]
            order = "b.id DESC, p.id DESC"
        elif asked.node is not None:
            where.append(f"(SELECT node FROM f.batches WHERE id = {batch_of('p.id')}) = :node")
        row = f"{ROW}, {TRACEROUTE if asked.include else 'NULL'}"
        chosen = f"WHERE {' AND '.join(where)}" if where else ""
        text = session.value(
            f"SELECT json_group_array(json_array({row}))"
            f" FROM (SELECT p.* FROM {source} {chosen} ORDER BY {order} LIMIT :limit) p",
            {**parameters, "most_hops": MOST_HOPS},
        )
        for *values, traceroute in msgspec.json.decode(text):
            result = printed(*values)
            found.append({**result, "traceroute": traceroute} if asked.include else result)
        return len(found) >= asked.limit

    session.over_files(gather, session.files[::-1])
    if len(found) < asked.limit:
        return Rows(found, COLUMNS)
    return Rows(found, COLUMNS, following={"limit": str(asked.limit), "before": str(found[-1]["id"])})


RECENT = Question(
    "Recent",
    "/recent",
    Recent,
    recent,
    schemas={
        "RecentResult": row_of("A stored result.", (*COLUMNS, _TRACED)),
        "RecentResults": {"type": "array", "items": ref("RecentResult"), "maxItems": MOST_RECENT},
    },
    whole="RecentResults",
    row="RecentResult",
    summary="The newest results",
    description="Of all files, newest first by arrival.",
    is_paged=True,
)
