"""Results themselves: the newest, and one by its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from outputd.queries.session import Session
from outputd.queries.tables import Column
from outputd.results import timestamps
from outputd.store.file import FileInfo
from outputd.store.fragments import batch_of, first_hop
from outputd.store.times import within

MOST_RECENT = 1000
MOST_HOPS = 1024
"""Hops of a traceroute in a list of results; one result alone has all."""
COLUMNS = (
    Column("id"), Column("ip"), Column("sent"), Column("received"), Column("packet_loss"), Column("avg_rtt"),
    Column("timestamp", "time"), Column("error"),
)  # fmt: skip
HOP_COLUMNS = (Column("ttl"), Column("ip"), Column("rtt"), Column("timeout", "flag"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which results of /recent; times in the stored form, `before` an id that is not included."""

    limit: int = 100
    ip: str | None = None
    node: str | None = None
    failed: bool | None = None
    since: str | None = None
    until: str | None = None
    before: int | None = None
    traceroute: bool = False

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


def recent(session: Session, wanted: Wanted) -> list[dict[str, Any]]:
    """The newest results by arrival, as the API prints them."""
    found: list[dict[str, Any]] = []

    def gather(_: FileInfo) -> bool:
        parameters = {
            "limit": wanted.limit - len(found), "ip": wanted.ip, "node": wanted.node, "since": wanted.since,
            "until": wanted.until, "before": wanted.before,
        }  # fmt: skip
        where = wanted.conditions
        source = "f.ping_results p"
        order = "p.id DESC"
        if wanted.node is not None and wanted.ip is None:
            source = "f.batches b CROSS JOIN f.ping_results p"
            where += ["b.node = :node", "p.id BETWEEN b.first_id AND b.last_id"]
            order = "b.id DESC, p.id DESC"
        elif wanted.node is not None:
            where.append(f"(SELECT node FROM f.batches WHERE id = {batch_of('p.id')}) = :node")
        row = f"{_ROW}, {_TRACEROUTE if wanted.traceroute else 'NULL'}"
        chosen = f"WHERE {' AND '.join(where)}" if where else ""
        text = session.value(
            f"SELECT json_group_array(json_array({row}))"
            f" FROM (SELECT p.* FROM {source} {chosen} ORDER BY {order} LIMIT :limit) p",
            {**parameters, "most_hops": MOST_HOPS},
        )
        for *values, traceroute in msgspec.json.decode(text):
            printed = _printed(*values)
            found.append({**printed, "traceroute": traceroute} if wanted.traceroute else printed)
        return len(found) >= wanted.limit

    session.over_files(gather, session.files[::-1])
    return found


def result(session: Session, number: int) -> dict[str, Any] | None:
    """One result whole, with its traceroute, its batch and its node; None when no file has it."""
    found: dict[str, Any] | None = None

    def gather(info: FileInfo) -> bool:
        nonlocal found
        text = session.value(
            f"SELECT json_array({_ROW}, json_object({_MORE}), {_TRACEROUTE}, {_BATCH})"
            " FROM f.ping_results p LEFT JOIN f.rtt_spread s ON s.ping_result_id = p.id"
            f" LEFT JOIN f.batches b ON b.id = {batch_of('p.id')} WHERE p.id = :id",
            {"id": number, "most_hops": -1},
        )
        if text is None:
            return False
        *row, more, traceroute, batch = msgspec.json.decode(text)
        found = {**_printed(*row), **more, "traceroute": traceroute, "batch": batch, "file": info.path.name}
        return True

    session.over_files(gather, session.files[::-1])
    return found


# quote() has all digits of a float, as JSON in SQLite has not.
_ROW = "p.id, p.ip, p.sent, p.received, quote(p.packet_loss), p.avg_rtt, p.timestamp, p.error"
_MORE = """
'min_rtt', s.min_rtt, 'max_rtt', s.max_rtt, 'stddev_rtt', s.stddev_rtt, 'node', b.node,
'received_at', substr(p.created_at, 1, 10) || 'T' || substr(p.created_at, 12) || 'Z'
"""
_BATCH = "json_object('id', b.id, 'accepted', b.accepted, 'rejected', b.rejected)"
_FLAG = "json(CASE WHEN {0} IS NULL THEN 'null' WHEN {0} THEN 'true' ELSE 'false' END)"
_TRACEROUTE = f"""
(SELECT json_object('method', t.method, 'completed', {_FLAG.format("t.completed")}, 'error', t.error, 'hops', json((
  SELECT json_group_array(json_object('ttl', ttl, 'ip', ip, 'rtt', rtt, 'timeout', {_FLAG.format("timeout")}))
  FROM (
    SELECT * FROM f.traceroute_hops
    WHERE id >= {first_hop("p.id")} AND id < {first_hop("(p.id + 1)")} AND traceroute_id = p.id
    ORDER BY id LIMIT :most_hops
  )
))) FROM f.traceroute_results t WHERE t.id = p.id)
"""


def _printed(
    number: int, ip: str, sent: int, received: int, loss: str, rtt: int | None, timestamp: str, error: str | None
) -> dict[str, Any]:
    percent = float(loss)
    printed = {
        "id": number, "ip": ip, "sent": sent, "received": received,
        "packet_loss": int(percent) if percent.is_integer() else percent, "avg_rtt": rtt,
        "timestamp": timestamps.printed(timestamp),
    }  # fmt: skip
    if error is not None:
        printed["error"] = error
    return printed
