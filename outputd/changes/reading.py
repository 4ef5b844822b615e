"""POSTs and results after a mark, as the detector takes them, from one result file. Blocking.

Each page is read in a short transaction of its own, so that neither checkpoints nor the end of a file wait for it. It
comes as one row, a text for each column: sqlite3 gives the GIL up at each row, and waits for it beside whoever has it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, compress, repeat
from typing import Any, TypeAlias

import msgspec

from outputd.changes.detector import Post, Seen
from outputd.changes.thresholds import MOST_ROUTE, MOST_TTL
from outputd.sqlite.connections import transaction
from outputd.sqlite.errors import corrupt
from outputd.store.fragments import SILENCE, believable, believed, first_hop

Wants: TypeAlias = Callable[[Iterable[tuple[str, str, str]]], Iterable[bool]]
"""Whether the route is wanted of each of these results: target, when, node."""
_MOST_POSTS = 500
_MOST_RESULTS = 2000
"""Of the POSTs that are taken in at once, of which there is at least one; and of a page."""
_MOST_HOPS = 4096
"""Of a page; the first ones of a traceroute that has more."""
_NEAR_RESULTS = 16
"""To seek the hops of a result takes as long as to read those of so many."""


def posts_after(db: sqlite3.Connection, batch_id: int) -> list[Post]:
    """The next POSTs after a batch, as many as make a step."""
    with transaction(db, "BEGIN"):
        found = _POSTS_OF(db.execute(_POSTS, {"after": batch_id, "most": _MOST_POSTS}).fetchone()[0])
    reached = sum(results <= _MOST_RESULTS for results in accumulate(post.results for post in found))
    return found[: max(1, reached)]


def newest_of(db: sqlite3.Connection) -> int:
    """The last batch of a file; 0 without any."""
    return int(db.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()[0])


def observations(db: sqlite3.Connection, posts: Sequence[Post], wants: Wants) -> Iterator[Seen]:
    """All results of these POSTs, in order. Raises sqlite3.Error, also when one of them is missing.

    Routes that are not wanted may be left out: most of what there is to read are hops.
    """
    nodes = chain.from_iterable(repeat(post.node, post.results) for post in posts)
    low = min((post.first_id for post in posts if post.first_id is not None), default=None)
    if low is None:
        return
    missing = sum(post.results for post in posts)
    last = max(post.last_id for post in posts if post.last_id is not None)
    while missing > 0:
        with transaction(db, "BEGIN"):
            hop, low, beyond = db.execute(_PAGE, {"low": low, "last": last}).fetchone()
            if low is None:
                raise corrupt("results of a POST are missing")
            high = max(low, min(low + _MOST_RESULTS - 1, beyond - 1, last))
            page = {"low": low, "high": high, "hop": hop}
            columns = db.execute(_RESULTS, page).fetchone()
            numbers = _NUMBERS_OF(columns[0])
            targets, times = map(_TEXTS_OF, columns[1:3])
            wanted = list(compress(numbers, wants(zip(targets, times, nodes, strict=False))))
            routes = _routes(db, page, wanted) if wanted else {}
        sent, received, rtts = map(_FIGURES_OF, columns[3:])
        yield from zip(targets, times, sent, received, rtts, map(routes.get, numbers), strict=True)
        missing -= len(numbers)
        low = high + 1


def _runs(wanted: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where these numbers of results go, with what is between those that are near each other."""
    begin = end = wanted[0]
    for number in wanted:
        if number - end > _NEAR_RESULTS:
            yield begin, end
            begin = number
        end = number
    yield begin, end


def _routes(db: sqlite3.Connection, page: Mapping[str, Any], wanted: Sequence[int]) -> Mapping[int, str | None]:
    """The routes of these results of a page, by the number of their result in it, and of some others."""
    runs = msgspec.json.encode(list(_runs(wanted))).decode()
    ranges = db.execute(_RANGES, {"low": page["low"], "runs": runs}).fetchone()[0]
    page = {**page, "ranges": ranges}
    text, owners, total = db.execute(_HOPS, page).fetchone()
    if text is None:
        return {}
    plain = _plain_routes(text, _NUMBERS_OF(owners), total)
    return _ROUTES_OF(db.execute(_ODD_HOPS, page).fetchone()[0]) if plain is None else plain


def _plain_routes(text: str, owners: Sequence[int], total: int) -> dict[int, str] | None:
    """Those of a page whose traceroutes all begin with TTL 1, have it once, and name addresses alone; else None.

    To group the hops in SQL costs twice what to read them does. The total tells whether each stands with its own.
    """
    lines, ended = text.split("-101"), f"{text}-"
    routes = dict(zip(owners, lines, strict=False))
    is_plain = (
        len(routes) == len(owners) == len(lines)
        and sum(owner * (hops.count("-") + 1) for owner, hops in routes.items()) == total
        and not text.encode().translate(None, b"0123456789abcdef.:-")
        and not any(silent in ended for silent in _SILENT_HOPS)
    )
    if not is_plain:
        return None
    return {owner: f"101{hops}" for owner, hops in routes.items() if "." in hops or ":" in hops}


_NUMBERS_OF = msgspec.json.Decoder(list[int]).decode
_TEXTS_OF = msgspec.json.Decoder(list[str]).decode
_FIGURES_OF = msgspec.json.Decoder(list[Any]).decode
_ROUTES_OF = msgspec.json.Decoder(dict[int, str | None]).decode
_POSTS_OF = msgspec.json.Decoder(list[Post]).decode
_SILENT_HOPS = tuple(f"{text}-" for text in SILENCE)
_POSTS = """
SELECT json_group_array(json_array(id, node, received_at, first_id, last_id))
FROM (SELECT * FROM batches WHERE id > :after ORDER BY id LIMIT :most)
"""
_PAGE = f"""
SELECT hop, (SELECT min(id) FROM ping_results WHERE id >= :low AND id <= :last),
  coalesce((SELECT traceroute_id FROM traceroute_hops WHERE id >= hop + {_MOST_HOPS} ORDER BY id LIMIT 1), :last + 1)
FROM (SELECT {first_hop(":low", "main")} AS hop)
"""
_RANGES = f"""
SELECT json_group_array(json_array(
  {first_hop("(:low + (value ->> 0))", "main")}, {first_hop("(:low + (value ->> 1) + 1)", "main")}
)) FROM json_each(:runs)
"""
_RESULTS = f"""
SELECT json_group_array(id - :low), json_group_array(ip), json_group_array({believed("p", "p")}),
  json_group_array(sent), json_group_array(received),
  json_group_array(iif(received > 0, {believable("avg_rtt")} / 1000, NULL))
FROM (SELECT *, created_at AS received_at FROM ping_results WHERE id >= :low AND id <= :high) p
"""
_CHOSEN_HOPS = f"""json_each(:ranges) r CROSS JOIN traceroute_hops h
WHERE h.id >= r.value ->> 0 AND h.id < min(r.value ->> 1, :hop + {_MOST_HOPS})"""
_HOPS = f"""
SELECT group_concat(iif(timeout OR ttl > {MOST_TTL}, '', ip), -100 - ttl),
  json_group_array(traceroute_id - :low) FILTER (WHERE ttl = 1), sum(traceroute_id - :low)
FROM {_CHOSEN_HOPS}
"""
"""See routes for how a route is written. Rows come in the order of their ids: nothing sorts them."""
_SILENT = ", ".join(f"'{text}'" for text in SILENCE)
_ODD_HOPS = f"""
SELECT json_group_object(traceroute_id - :low, route) FROM (
SELECT traceroute_id, iif(sum(length(ip)) <= {MOST_ROUTE}, group_concat((100 + ttl) || ip, '-'), NULL) AS route
FROM {_CHOSEN_HOPS}
  AND NOT timeout AND ttl <= {MOST_TTL} AND ip > '' AND ip NOT GLOB '*[^0-9a-f.:]*' AND ip NOT IN ({_SILENT})
GROUP BY traceroute_id
)
"""
