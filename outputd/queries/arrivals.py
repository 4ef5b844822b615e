"""Arrivals: what came in, by the time of its arrival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from outputd.queries.choice import complete_until
from outputd.queries.columns import COMPLETE_UNTIL, MEASURED
from outputd.queries.parameters import Node, time, whole
from outputd.queries.question import Question
from outputd.queries.session import Session
from outputd.queries.spans import DAY_S, MOST_BUCKETS, span_of
from outputd.queries.tables import Column, Notes, Table, row_of
from outputd.store.fragments import LOSS
from outputd.store.times import bucket_of, minute_bound, second_of, within
from outputd.web.shapes import count, instant, listed, record

COLUMNS = (Column("start", instant("its beginning")), *MEASURED)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Which time of arrival is asked for, and how it is cut into buckets."""

    bucket: Annotated[
        int, whole(f"Seconds, made whole minutes; made longer where there would be over {MOST_BUCKETS}.")
    ] = 60
    since: Annotated[str | None, time("The beginning, by arrival; absent: a day before the end.")] = None
    until: Annotated[str | None, time("The end, not included; absent: now.")] = None
    node: Node = None


def arrivals(session: Session, asked: Arrivals, now_s: float) -> Table:
    """What arrived, a bucket of whole minutes after the other; one without results has no row.

    A minute counts whole where its beginning is in the span, so that adjacent spans have each minute once.
    """
    span = span_of(asked.since, asked.until, now_s, usual_s=DAY_S)
    bucket_s = span.bucket_s(asked.bucket, unit_s=60)
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT *, {LOSS} AS loss_percent FROM (
              SELECT {bucket_of(second_of("minute"), ":bucket")} AS start, sum(results) AS results,
                sum(failed) AS failed, CAST(total(sent) AS INTEGER) AS sent,
                CAST(total(received) AS INTEGER) AS received, CAST(total(lost) AS INTEGER) AS lost
              FROM s.file f CROSS JOIN s.minute m
              WHERE m.file = f.sequence AND {" AND ".join(within("m.minute", *span))}
                AND (:node IS NULL OR m.node = :node)
              GROUP BY 1 ORDER BY 1
            )
            """,
            {
                "bucket": bucket_s,
                "since": minute_bound(span.since),
                "until": minute_bound(span.until),
                "node": asked.node,
            },
        )
        before = {"bucket_s": bucket_s, **span.printed}
        notes = Notes(bucket_s=bucket_s)
        return Table(session, "buckets", COLUMNS, before, complete_until(session), notes=notes)


ARRIVALS = Question(
    "Arrivals",
    "/arrivals",
    Arrivals,
    arrivals,
    schemas={
        "Arrival": row_of("What arrived in one bucket of time.", COLUMNS),
        "Arrivals": record(
            "Results by time of arrival.",
            {
                "bucket_s": {**count("length of a bucket, seconds", least=60), "multipleOf": 60},
                "since": instant("the beginning"),
                "until": instant("the end, which is not included"),
                "buckets": listed("Arrival", "those that have results, by time"),
                "complete_until": COMPLETE_UNTIL,
            },
        ),
    },
    whole="Arrivals",
    row="Arrival",
    summary="What arrived over time",
    description="By time of arrival. A bucket without results is left out.",
    is_from_summary=True,
)
