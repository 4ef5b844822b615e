"""Results to send, bodies of them, and rows to compare them with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from outputd.results.model import Mixed, NotResults, Origin, TooManyResults
from outputd.results.parse import Parser
from outputd.results.rows import Batch
from outputd.sqlite.connections import reading


def a_result(**changes: Any) -> dict[str, Any]:
    """The least that is a result, with other or further fields."""
    return {"ip": "8.8.8.8", "sent": 4, "received": 4, "timestamp": "2026-01-07T22:30:00Z", **changes}


def a_trace(*hops: Any, **changes: Any) -> dict[str, Any]:
    """A result with a traceroute of these hops."""
    return a_result(traceroute={"method": "icmp", "completed": True, "hops": list(hops), **changes})


def read_by(parser: Parser, body: bytes, origin: Origin) -> Batch | NotResults | TooManyResults:
    """What a parser makes of a body, item by item where need be."""
    batch = parser.parse(body, origin)
    return parser.sift(batch, body, origin) if isinstance(batch, Mixed) else batch


def body_of(*items: Any) -> bytes:
    """A body as a node sends it."""
    return json.dumps(items).encode()


def rows_of(directory: Path, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a query finds in every file `results_*.db` of a directory, by file name."""
    found: list[tuple[Any, ...]] = []
    for path in sorted(directory.glob("results_*.db")):
        with reading(path) as db:
            found += db.execute(query, parameters).fetchall()
    return found


def many_hops(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Hops with distinct addresses of 10.0.0.0/8."""
    numbers = range(first, first + count)
    return [{"ttl": n % 256, "ip": f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"} for n in numbers]
