"""Routes: who replied at which TTL of a traceroute, in one spelling, and the name of that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from outputd.queries.session import Session
from outputd.queries.traceroutes import HOPS
from outputd.store.fragments import SILENCE

SAID = f"iif(h.timeout OR h.ip IN {SILENCE}, NULL, h.ip)"
"""SQL of who replied, by a hop (h) of a traceroute; NULL for silence."""


def replies_of(hops: str, said: str) -> str:
    """SQL of a route: a list in JSON of [TTL, the smallest text that replied], by the hops (h) and who replied.

    Silence is left out of it: how far a traceroute went on without a reply makes no other route.
    """
    return f"""
(SELECT json_group_array(json_array(ttl, said)) FROM (
  SELECT h.ttl, min({said}) AS said FROM {hops} GROUP BY h.ttl HAVING said IS NOT NULL
))
"""


REPLIES = replies_of(HOPS, SAID)
"""SQL of the route of a traceroute whose id is p.id."""
WHAT_IS_ONE = (
    "Traceroutes of a node have the same route when the same addresses replied at the same TTLs; its name stays the"
    " same as long as a file holds one of them."
)
"""What is said of routes."""
MOST_GAP = 30
"""Silent TTLs in a row that are listed: the last hop of RIPE Atlas has TTL 255."""
_Replies = msgspec.json.Decoder(list[tuple[int, str]])


def define_names(session: Session) -> None:
    """Give SQL a function `named(node, replies)`: the name of a route of a node."""
    session.define("named", 2, _named)


def define_hops(session: Session) -> None:
    """Give SQL `hops_of(replies)` and `ttls_of(replies)`: lists in JSON, with the silent TTLs between the replies."""
    session.define("hops_of", 1, lambda replies: _json([ip for _, ip in _with_silence(replies)]))
    session.define("ttls_of", 1, lambda replies: _json([ttl for ttl, _ in _with_silence(replies)]))


def _with_silence(replies: str) -> Iterator[tuple[int, str | None]]:
    last = 0
    for ttl, ip in _Replies.decode(replies):
        for silent in range(last + 1, min(ttl, last + 1 + MOST_GAP)):
            yield silent, None
        yield ttl, ip
        last = ttl


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()


def _named(node: str, replies: str) -> str:
    """The same in the SQL for archives: it may depend on nothing but the route, and not on how JSON is written.

    The length of each text stands before it, since a node chooses the texts: no two routes are spelled alike.
    """
    hops = (f"{ttl} {len(ip.encode())} {ip}\n" for ttl, ip in _Replies.decode(replies))
    return hashlib.sha256(f"{node}\n{''.join(hops)}".encode()).hexdigest()[:12]
