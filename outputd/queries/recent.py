"""The newest results by arrival, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from outputd.queries.parameters import AnyTarget, Failed, Node, Since, Until, limit, whole, words
from outputd.queries.places import Pages, Place
from outputd.queries.question import Question
from outputd.queries.results import (
    HOP,
    MOST_HOPS,
    PACKET_LOSS,
    ROW,
    SIZE,
    TRACEROUTE,
    TRACEROUTE_SIZE,
    Row,
    printed,
)
from outputd.queries.session import Session
from outputd.queries.tables import Column, Notes, Rows, row_of
from outputd.store.file import FileInfo
from outputd.store.fragments import batch_of, first_hop
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
_NODE = Column("node", text("with include=node: which node measured"), is_optional=True)
_TRACED = Column("traceroute", {
    "description": "with include=traceroute", "anyOf": [ref("StoredTraceroute"), {"type": "null"}]
}, is_optional=True)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recent:
    """Which results are asked for."""

    limit: Annotated[int, limit(MOST_RECENT)] = DEFAULT_RECENT
    ip: AnyTarget = None
    node: Node = None
    failed: Failed = None
    since: Since = None
    until: Until = None
    before: Annotated[int | None, whole("Only results with smaller ids: the next page.")] = None
    include: Annotated[
        str | None, words(f"Also the traceroute, of at most {MOST_HOPS} hops, or the node.", "traceroute", "node")
    ] = None

    def includes(self, what: str) -> bool:
        """Whether this is asked for, too."""
        return what in (self.include or "").split(",")

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
    pages = Pages(session, lambda places: _read(session, places, asked))
    wanted, last = asked.limit, 0

    def gather(info: FileInfo) -> bool:
        nonlocal wanted, last
        parameters = {
            "limit": wanted, "ip": asked.ip, "node": asked.node, "since": asked.since, "until": asked.until,
            "before": asked.before,
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
        chosen = f"WHERE {' AND '.join(where)}" if where else ""
        text = session.value(
            f"SELECT json_group_array(json_array(p.id, {SIZE}{_TRACED_SIZE if asked.includes('traceroute') else ''}))"
            f" FROM (SELECT p.id, p.error FROM {source} {chosen} ORDER BY {order} LIMIT :limit) p",
            parameters,
        )
        places = msgspec.json.decode(text, type=list[Place])
        pages.add(info, places)
        if places:
            last = places[-1].id
        wanted -= len(places)
        return not wanted

    session.over_files(gather, session.files[::-1])
    following = {} if wanted else {"limit": str(asked.limit), "before": str(last)}
    columns = (*COLUMNS, _NODE) if asked.includes("node") else COLUMNS
    return Rows(session, columns, pages.read, notes=Notes(following))


def _read(session: Session, places: Sequence[Place], asked: Recent) -> list[dict[str, Any]]:
    """The results at these places of the file that is attached."""
    session.begin_page(sum(place.size_bytes for place in places))
    beside = {what: sql if asked.includes(what) else "NULL" for what, sql in _BESIDE.items()}
    text = session.value(
        _READ.format(**beside), {"places": msgspec.json.encode(places).decode(), "most_hops": MOST_HOPS}
    )  # fmt: skip
    found = msgspec.json.decode(text, type=list[tuple[Row, msgspec.Raw, msgspec.Raw]])
    return [
        printed(*row) | {name: value for name, value in (("node", node), ("traceroute", trace)) if asked.includes(name)}
        for row, node, trace in found
    ]


_TRACED_SIZE = f"""
+ coalesce((SELECT {TRACEROUTE_SIZE} FROM f.traceroute_results t WHERE t.id = p.id), 0)
, iif(EXISTS (SELECT 1 FROM f.traceroute_results WHERE id = p.id), {first_hop("p.id")}, NULL)
, iif(EXISTS (SELECT 1 FROM f.traceroute_results WHERE id = p.id), {first_hop("(p.id + 1)")}, NULL)
"""
_READ = f"""
SELECT CAST(json_group_array(json_array(json_array({ROW}), {{node}}, {{traceroute}})) AS BLOB)
FROM json_each(:places) c CROSS JOIN f.ping_results p WHERE p.id = c.value ->> 0
"""
_BESIDE = {
    "node": f"(SELECT node FROM f.batches WHERE id = {batch_of('p.id')})",
    "traceroute": f"""(
  SELECT json_object({TRACEROUTE}, 'hops', json((
    SELECT json_group_array({HOP}) FROM (
      SELECT * FROM f.traceroute_hops
      WHERE id >= c.value ->> 2 AND id < c.value ->> 3 AND traceroute_id = p.id ORDER BY id LIMIT :most_hops
    )
  ))) FROM f.traceroute_results t WHERE t.id = p.id
)""",
}


RECENT = Question(
    "Recent",
    "/recent",
    Recent,
    recent,
    schemas={
        "RecentResult": row_of("A stored result.", (*COLUMNS, _NODE, _TRACED)),
        "RecentResults": {"type": "array", "items": ref("RecentResult"), "maxItems": MOST_RECENT},
    },
    whole="RecentResults",
    row="RecentResult",
    summary="The newest results",
    description="Of all files, newest first by arrival.",
    is_paged=True,
)
