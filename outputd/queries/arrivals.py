"""Arrivals: what came in, by the time of its arrival."""

from __future__ import annotations

from dataclasses import dataclass

from outputd.queries.choice import complete_until
from outputd.queries.session import Session
from outputd.queries.tables import Column, Table
from outputd.results import timestamps
from outputd.store.fragments import LOSS
from outputd.store.times import bucket_of, minute_bound, second_of, within

ARRIVAL_COLUMNS = (
    Column("start", "time"), Column("results"), Column("failed"), Column("sent"), Column("received"),
    Column("lost"), Column("loss_percent"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A span of arrival (in the stored form), and how many minutes are taken together."""

    minutes: int
    since: str
    until: str
    node: str | None = None


def arrivals(session: Session, asked: Arrivals) -> Table:
    """What arrived, a bucket of whole minutes after the other; one without results has no row.

    A minute counts whole where its beginning is in the span, so that adjacent spans have each minute once.
    """
    bucket_s = 60 * asked.minutes
    with session.summary():
        session.execute(
            f"""
            CREATE TEMP TABLE answer AS
            SELECT *, {LOSS} AS loss_percent FROM (
              SELECT {bucket_of(second_of("minute"), ":bucket")} AS start, sum(results) AS results,
                sum(failed) AS failed, CAST(total(sent) AS INTEGER) AS sent,
                CAST(total(received) AS INTEGER) AS received, CAST(total(lost) AS INTEGER) AS lost
              FROM s.file f CROSS JOIN s.minute m
              WHERE m.file = f.sequence AND {" AND ".join(within("m.minute", asked.since, asked.until))}
                AND (:node IS NULL OR m.node = :node)
              GROUP BY 1 ORDER BY 1
            )
            """,
            {
                "bucket": bucket_s,
                "since": minute_bound(asked.since),
                "until": minute_bound(asked.until),
                "node": asked.node,
            },
        )
        before = {
            "bucket_s": bucket_s, "since": timestamps.printed(asked.since), "until": timestamps.printed(asked.until)
        }  # fmt: skip
        return Table(session, "buckets", ARRIVAL_COLUMNS, before, complete_until(session))
