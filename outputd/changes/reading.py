"""POSTs and results after a mark, as the detector takes them, from one result file. Blocking.

Each page is read in a short transaction of its own, so that neither checkpoints nor the end of a file wait for it. It
comes as one row: sqlite3 gives the GIL up at each row, and waits for it beside whoever has it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from outputd.changes.detector import Observation, Post
from outputd.changes.thresholds import MOST_ROUTE, MOST_TTL
from outputd.sqlite.connections import transaction
from outputd.sqlite.errors import corrupt
from outputd.store.fragments import SILENCE, believable, believed, first_hop

_MOST_POSTS = 500
_MOST_RESULTS = 500
"""Of the POSTs that are taken in at once, of which there is at least one; and of a page."""


def posts_after(db: sqlite3.Connection, batch_id: int) -> list[Post]:
    """The next POSTs after a batch, as many as make a step."""
    with transaction(db, "BEGIN"):
        found = db.execute(_POSTS, {"after": batch_id, "posts": _MOST_POSTS, "results": _MOST_RESULTS}).fetchone()[0]
    return msgspec.json.decode(found, type=list[Post])


def newest_of(db: sqlite3.Connection) -> int:
    """The last batch of a file; 0 without any."""
    return int(db.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()[0])


def observations(db: sqlite3.Connection, posts: Sequence[Post]) -> Iterator[Observation]:
    """All results of these POSTs, in order. Raises sqlite3.Error, also when one of them is missing."""
    low = min((post.first_id for post in posts if post.first_id is not None), default=None)
    if low is None:
        return
    missing = sum(post.results for post in posts)
    last = max(post.last_id for post in posts if post.last_id is not None)
    while missing > 0:
        with transaction(db, "BEGIN"):
            text, high = db.execute(_RESULTS, {"low": low, "last": last}).fetchone()
            if high is None:
                raise corrupt("results of a POST are missing")
            routes = _ROUTES_OF(db.execute(_ROUTES, {"low": low, "high": high}).fetchone()[0])
        rows = _ROWS_OF(text)
        for number, target, at, sent, received, rtt_ns in rows:
            yield Observation(target, at, sent, received, rtt_ns, routes.get(number))
        missing -= len(rows)
        low = high + 1


_ROWS_OF = msgspec.json.Decoder(list[tuple[int, str, str, int, int, int | None]]).decode
_ROUTES_OF = msgspec.json.Decoder(dict[int, str | None]).decode
_POSTS = """
SELECT json_group_array(json_array(id, node, received_at, first_id, last_id)) FROM (
  SELECT *, row_number() OVER w AS place, sum(accepted) OVER w AS total
  FROM (SELECT * FROM batches WHERE id > :after ORDER BY id LIMIT :posts)
  WINDOW w AS (ORDER BY id ROWS UNBOUNDED PRECEDING)
) WHERE place = 1 OR total <= :results
"""
_RESULTS = f"""
SELECT json_group_array(json_array(
  id, ip, {believed("p", "p")}, sent, received, iif(received > 0, {believable("avg_rtt")}, NULL)
)), max(id) FROM (
  SELECT *, created_at AS received_at FROM ping_results WHERE id >= :low AND id <= :last ORDER BY id
  LIMIT {_MOST_RESULTS}
) p
"""
_SILENT = ", ".join(f"'{text}'" for text in (*SILENCE, "*", "???", ""))
_ROUTES = f"""
SELECT json_group_object(traceroute_id, route) FROM (
SELECT traceroute_id, iif(sum(length(ip)) <= {MOST_ROUTE}, group_concat(ttl || '/' || ip, ' '), NULL) AS route
FROM traceroute_hops WHERE id >= {first_hop(":low", "main")} AND id < {first_hop("(:high + 1)", "main")}
  AND NOT timeout AND ip NOT IN ({_SILENT}) AND ttl BETWEEN 1 AND {MOST_TTL} GROUP BY traceroute_id
)
"""
