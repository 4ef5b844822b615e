"""The newest traceroutes to a target, as many of them as there is room for."""

from __future__ import annotations

from collections.abc import Callable

from outputd.queries.session import Session
from outputd.store.fragments import first_hop
from outputd.store.times import within

MOST_TRACEROUTES = 5000
"""Traceroutes that are read for one answer, the newest."""
MOST_BYTES = 8 << 20
"""Bytes of hops that are read for one answer, about; 5000 traceroutes of 30 long IPv6 addresses have 7 MiB."""
_HOP_BYTES = 8
HOPS = f"f.traceroute_hops h WHERE h.id >= {first_hop('p.id')} AND h.id < {first_hop('(p.id + 1)')}"
"""SQL of the hops (h) of a traceroute whose id is p.id."""


def over_newest(
    session: Session, ip: str, since: str | None, until: str | None, take_in: Callable[[], None]
) -> bool:  # fmt: skip
    """Do `take_in` with each file attached as `f`, the newest first, and its traceroutes to read in temp.chosen.

    Returns whether these were all.
    """
    where = " AND ".join(["p.ip = :ip", "t.id = p.id", *within("+p.timestamp", since, until)])
    room, room_bytes, complete = MOST_TRACEROUTES, MOST_BYTES, True
    session.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY, octets, before)")

    def gather(_: object) -> bool:
        nonlocal room, room_bytes, complete
        session.execute("DELETE FROM temp.chosen")
        session.execute(
            f"INSERT INTO temp.chosen {_CHOSEN} WHERE {where} {_NEWEST}",
            {"ip": ip, "since": since, "until": until, "room": room},
        )
        rows, fitting, size_bytes = session.row(_FITTING, {"room": room_bytes})
        session.execute("DELETE FROM temp.chosen WHERE before >= :room", {"room": room_bytes})
        take_in()
        complete = fitting == rows < room
        room, room_bytes = room - fitting, room_bytes - size_bytes
        return not complete

    session.over_files(gather, session.files[::-1])
    return complete


# The newest traceroutes of a file: the bytes of the hops of each, and of all that are newer.
_CHOSEN = f"""
SELECT id, octets, sum(octets) OVER (ORDER BY id DESC) - octets FROM (
  SELECT p.id, (SELECT coalesce(sum(coalesce(length(CAST(h.ip AS BLOB)), 0) + {_HOP_BYTES}), 0) FROM {HOPS}) AS octets
  FROM f.ping_results p CROSS JOIN f.traceroute_results t
"""
_NEWEST = "ORDER BY p.id DESC LIMIT :room)"
_FITTING = """
SELECT count(*), count(iif(before < :room, 1, NULL)), coalesce(sum(iif(before < :room, octets, 0)), 0) FROM temp.chosen
"""
