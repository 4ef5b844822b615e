"""One result, with all that is stored of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import msgspec

from outputd.queries.parameters import result_id
from outputd.queries.question import Question
from outputd.queries.results import HOP, PACKET_LOSS, ROW, SIZE, TRACEROUTE, TRACEROUTE_SIZE, Row, printed
from outputd.queries.session import NotReady, Session
from outputd.queries.tables import Column, Rows, row_of
from outputd.store.file import FileInfo
from outputd.store.fragments import batch_of, first_hop
from outputd.web import shapes
from outputd.web.shapes import FILE_NAME, count, flag, instant, listed, or_null, record, ref, text

COLUMNS = (
    Column("ttl", {"type": "integer", "minimum": 0, "maximum": 255, "description": "time to live of the probe"}),
    Column("ip", or_null(text("address that replied; no address if the node gave none"))),
    Column("rtt", or_null(count("round-trip time, nanoseconds"))),
    Column("timeout", flag("nobody answered")),
)


@dataclass(frozen=True, slots=True)
class Result:
    """Which result is asked for."""

    id: Annotated[int, result_id("Its id.")]


def result(session: Session, asked: Result, _: float) -> Rows | None:
    """One result whole, with its traceroute, its batch and its node; None when no file has it.

    In CSV a row a hop, the first of which has the result, too: a long text must not stand in the row of each hop.
    """
    found: _Found | None = None
    file: FileInfo | None = None

    def gather(info: FileInfo) -> bool:
        nonlocal found, file
        size_bytes = session.value(_SIZE, {"id": asked.id})
        if size_bytes is None:
            return False
        session.begin_page(size_bytes)
        text = session.value(
            f"SELECT CAST(json_array(json_array({ROW}), {_MORE}, {_TRACEROUTE}, {_BATCH}, {_HOPS}) AS BLOB)"
            " FROM f.ping_results p LEFT JOIN f.rtt_spread s ON s.ping_result_id = p.id"
            f" LEFT JOIN f.batches b ON b.id = {batch_of('p.id')} WHERE p.id = :id",
            {"id": asked.id},
        )
        found, file = msgspec.json.decode(text, type=_Found), info
        return True

    session.over_files(gather, session.files[::-1])
    if found is None or file is None:
        return None
    row, more, traceroute, batch, (first, end) = found
    has_hops = bytes(traceroute) != b"null"
    before = msgspec.json.encode({**printed(*row), **more, "traceroute": traceroute})[:-1]
    after = b',"batch":%s,"file":%s}' % (bytes(batch), msgspec.json.encode(file.path.name))

    def read() -> Iterator[list[dict[str, Any]]]:
        at = first if has_hops else None
        while at is not None:
            parameters = {"id": asked.id, "at": at, "end": end}
            page = session.in_file(file, partial(session.row, _PAGE, parameters))
            if page is None:
                raise NotReady(f"{file.path.name} is there no more")
            text, last = page
            yield msgspec.json.decode(text)
            at = None if last is None else last + 1

    if has_hops:
        before, after = before[:-1] + b',"hops":[', b"]}" + after
    return Rows(session, COLUMNS, read, (before, after), _beside_hops)


def _beside_hops(document: bytes) -> dict[str, msgspec.Raw | None]:
    """A result in CSV, beside a hop: `ip` is that of the hop, so its own is `target`."""
    said = msgspec.json.decode(document, type=_Members)
    number, target, error, file = (said.pop(name, None) for name in ("id", "ip", "error", "file"))
    parts = {
        f"{part}_{name}": value
        for part, absent in (("traceroute", _NO_TRACEROUTE), ("batch", {}))
        for name, value in (msgspec.json.decode(said.pop(part), type=_Members | None) or absent).items()
        if name != "hops"
    }
    return {"id": number, "target": target, **said, "error": error, **parts, "file": file}


_Members = dict[str, msgspec.Raw]
_NO_TRACEROUTE = dict.fromkeys(("method", "completed", "error"))
_Found = tuple[Row, dict[str, msgspec.Raw], msgspec.Raw, msgspec.Raw, tuple[int | None, int | None]]
_MORE = """json_object(
'min_rtt', s.min_rtt, 'max_rtt', s.max_rtt, 'stddev_rtt', s.stddev_rtt, 'node', b.node,
'received_at', substr(p.created_at, 1, 10) || 'T' || substr(p.created_at, 12) || 'Z'
)"""
_TRACEROUTE = f"(SELECT json_object({TRACEROUTE}) FROM f.traceroute_results t WHERE t.id = p.id)"
_SIZE = f"""
SELECT {SIZE} + coalesce((SELECT {TRACEROUTE_SIZE} FROM f.traceroute_results t WHERE t.id = p.id), 0)
FROM f.ping_results p WHERE p.id = :id
"""
_BATCH = "json_object('id', b.id, 'accepted', b.accepted, 'rejected', b.rejected)"
_HOPS = f"json_array({first_hop('p.id')}, {first_hop('(p.id + 1)')})"
_PAGE = f"""
SELECT CAST(json_group_array({HOP}) AS BLOB), max(id) FROM (
  SELECT * FROM f.traceroute_hops WHERE id >= :at AND id < :end AND traceroute_id = :id ORDER BY id LIMIT 500
)
"""


RESULT = Question(
    "Result",
    "/results/<id>",
    Result,
    result,
    schemas={
        "StoredTraceroute": record(
            "A traceroute as it is stored.",
            {
                "method": or_null(text("icmp, tcp or another")),
                "completed": or_null(flag("whether the target was reached")),
                "error": or_null(text("why it failed")),
                "hops": listed("StoredHop", "in the order in which the node wrote them"),
            },
        ),
        "StoredHop": row_of("One reply, or silence.", COLUMNS),
        "WholeResult": record(
            "All that is stored of one result.",
            {
                "id": count("names this result in all files of the instance", least=1),
                "ip": shapes.address("the target"),
                "sent": count("packets sent"),
                "received": count("packets received"),
                "packet_loss": PACKET_LOSS,
                "avg_rtt": or_null(count("mean round-trip time, nanoseconds")),
                "timestamp": instant("when it was measured"),
                "min_rtt": or_null(count("shortest round-trip time, nanoseconds")),
                "max_rtt": or_null(count("longest round-trip time, nanoseconds")),
                "stddev_rtt": or_null(count("standard deviation of the round-trip times, nanoseconds")),
                "node": or_null(text("the node that measured")),
                "received_at": instant("when it arrived"),
                "traceroute": {"anyOf": [ref("StoredTraceroute"), {"type": "null"}]},
                "batch": record(
                    "The POST it came in.",
                    {
                        "id": or_null(count("its number", least=1)),
                        "accepted": or_null(count("results of it that were stored")),
                        "rejected": or_null(count("items of it that were not")),
                    },
                ),
                "file": {**FILE_NAME, "description": "the file that has it"},
            },
            {"error": text("why it failed, if the node said so")},
        ),
    },
    whole="WholeResult",
    row="WholeResult",
    summary="One result whole",
    description="In CSV a row per hop of its traceroute; the first row also has the result.",
    misses="No file has a result of this id.",
    is_dear=False,
)
