"""A directory as a kill of outputd 0.0.1 leaves it, made from frozen copies of its schemas.

It shows how 0.0.1 wrote, whatever later versions do. The newest of its files has its WAL, and so has the one before,
which was being closed; the ledger has not heard of the last POSTs, and owes hops of the older ones.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any

from tests.kit.bench import Bench
from tests.kit.makers import a_result

SCHEMAS = Path(__file__).parent / "left_by_0_0_1"
"""What 0.0.1 was released with: `results.sql`, `ledger.sql`, `summary.sql`."""
_MARK = 0x6F757470  # "outp"
_SUMMARY_MARK = 0x6F757473  # "outs"
_LOCK = "outputd.lock"


@dataclass(frozen=True, slots=True)
class Posted:
    """A POST that 0.0.1 has answered: the body as it was sent, and the answer."""

    body: bytes
    node: str
    key: str | None
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Left:
    """What the directory holds: the files, oldest first, and what must come of it."""

    whole: Path
    half_closed: Path
    current: Path
    results: list[tuple[Any, ...]]
    """id, ip, sent, received, timestamp of each, in the order of ids."""
    known_to_ledger: Posted
    unknown_to_ledger: Posted
    delivered: set[str]
    owed: set[str]


def left_by_0_0_1(directory: Path, now_s: float) -> Left:
    """Make it."""
    aside = directory.with_name(f"{directory.name}-aside")
    aside.mkdir(parents=True)
    names = [f"results_{datetime.fromtimestamp(now_s - age_s, UTC):%Y-%m-%d_%H-%M-%S}.db" for age_s in (900, 600, 300)]
    posts = [_posted(number, f"node-{number % 2}", f"key-{number}" if number % 2 else None) for number in range(6)]
    numbers = _Numbers()
    with ExitStack() as stack:
        for place, name in enumerate(names):
            db = stack.enter_context(closing(_a_database(aside / name, "results", _MARK, page_size=8192)))
            at = _at(now_s - 900 + 300 * place)
            db.execute("INSERT INTO result_file VALUES (?,?,?,?,?,NULL)", (place + 1, at, *numbers.next))
            db.execute("PRAGMA journal_mode=WAL")
            for post in posts[2 * place : 2 * place + 2]:
                _store(db, post, numbers, at)
            if not place:
                db.execute("ANALYZE")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                db.execute("PRAGMA journal_mode=DELETE")
        ledger = stack.enter_context(closing(_a_database(aside / "hops.sqlite3", "ledger", 0)))
        ledger.execute("PRAGMA journal_mode=WAL")
        _teach(ledger, posts[:4], delivered=posts[:2], now_s=now_s)
        _a_database(aside / "summary.sqlite3", "summary", _SUMMARY_MARK).close()
        (aside / _LOCK).write_text("4711\n")
        shutil.copytree(aside, directory)
    whole, half_closed, current = (directory / name for name in names)
    delivered, hops = _hops(posts[:2]), _hops(posts)
    results = [row for post in posts for row in _rows_of(post)]
    numbered = [(number, *row) for number, row in enumerate(results, 1)]
    return Left(whole, half_closed, current, numbered, posts[3], posts[5], delivered, hops - delivered)


class _Numbers:
    """The ids that come next."""

    def __init__(self) -> None:
        self._result, self._batch, self._hop = count(1), count(1), count(1)
        self.next = (1, 1, 1)

    def results(self) -> int:
        self.next = (self.next[0] + 1, *self.next[1:])
        return next(self._result)

    def batches(self) -> int:
        self.next = (self.next[0], self.next[1] + 1, self.next[2])
        return next(self._batch)

    def hops(self) -> int:
        self.next = (*self.next[:2], self.next[2] + 1)
        return next(self._hop)


def _posted(number: int, node: str, key: str | None) -> Posted:
    items: list[dict[str, Any]] = []
    for place in range(3):
        hops = [
            {"ttl": 1, "ip": "10.0.0.1", "rtt": 5000},
            {"ttl": 2, "ip": f"10.1.{number}.{place}"},
            {"ttl": 3, "timeout": True},
        ]
        items.append({
            "ip": f"192.0.2.{10 * number + place}", "sent": 4, "received": 4 - place,
            "timestamp": f"2026-01-07T22:30:{number:02d}Z", "avg_rtt": 1000 * number, "min_rtt": 900 * number,
            "traceroute": {"method": "icmp", "completed": False, "hops": hops},
        })  # fmt: skip
    errors = []
    if number == 1:
        items.append({"ip": "nowhere", "sent": 4, "received": 4, "timestamp": "2026-01-07T22:30:00Z"})
        errors = [{"index": 3, "field": "ip", "error": "not an IP address"}]
    answer: dict[str, Any] = {"status": "ok", "received": 3}
    if errors:
        answer = {"status": "partial", "received": 3, "rejected": 1, "errors": errors}
    return Posted(json.dumps(items).encode(), node, key, answer)


def _items(post: Posted) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(post.body)
    return items[:3]


def _rows_of(post: Posted) -> Iterator[tuple[Any, ...]]:
    for item in _items(post):
        yield item["ip"], item["sent"], item["received"], item["timestamp"].replace("T", " ").rstrip("Z")


def _hops(posts: Sequence[Posted]) -> set[str]:
    hops = (hop for post in posts for item in _items(post) for hop in item["traceroute"]["hops"])
    return {hop["ip"] for hop in hops if "ip" in hop}


def _store(db: sqlite3.Connection, post: Posted, numbers: _Numbers, at: str) -> None:
    ids = []
    for item, (ip, sent, received, timestamp) in zip(_items(post), _rows_of(post), strict=True):
        number = numbers.results()
        ids.append(number)
        loss = 100 * (sent - received) / sent
        row = (number, ip, sent, received, loss, item["avg_rtt"], timestamp, None, at)
        db.execute("INSERT INTO ping_results VALUES (?,?,?,?,?,?,?,?,?)", row)
        db.execute("INSERT INTO traceroute_results VALUES (?,?,'icmp',0,NULL)", (number, number))
        for hop in item["traceroute"]["hops"]:
            hop_row = (numbers.hops(), number, hop["ttl"], hop.get("ip"), hop.get("rtt"), hop.get("timeout", False))
            db.execute("INSERT INTO traceroute_hops VALUES (?,?,?,?,?,?)", hop_row)
        db.execute("INSERT INTO rtt_spread VALUES (?,?,NULL,NULL)", (number, item["min_rtt"]))
    batch, rejected = numbers.batches(), post.answer.get("errors", [])
    digest = hashlib.sha256(post.body).digest()
    batch_row = (batch, post.node, at, digest, post.key, ids[0], ids[-1], len(ids), len(rejected))
    db.execute("INSERT INTO batches VALUES (?,?,?,?,?,?,?,?,?)", batch_row)
    for error in rejected:
        reject = (batch, error["index"], error["field"], error["error"], "{}")
        db.execute("INSERT INTO rejected_results (batch_id, item_index, field, reason, raw) VALUES (?,?,?,?,?)", reject)


def upgraded_and_copied(place: Path) -> tuple[Path, Path]:
    """A file that 0.0.1 began and a service of today has gone on with, and a copy from before the upgrade."""
    left = left_by_0_0_1(place / "old", time.time())
    before = place / "before.db"
    with closing(sqlite3.connect(left.current)) as db:
        db.execute("VACUUM INTO ?", (str(before),))
    bench = Bench(left.current.parent)
    bench.post(a_result())
    bench.stop()
    return left.current, before


def _teach(db: sqlite3.Connection, posts: Sequence[Posted], delivered: Sequence[Posted], now_s: float) -> None:
    known, gone = sorted(_hops(posts)), _hops(delivered)
    db.executemany("INSERT INTO known VALUES (?)", [(ip_address(hop).packed,) for hop in known])
    db.executemany("DELETE FROM waiting WHERE address = ?", [(ip_address(hop).packed,) for hop in gone])
    for post in posts:
        if post.key is not None:
            name = hashlib.blake2b(f"{post.node}\0{post.key}".encode(), digest_size=16).digest()
            answer = json.dumps(post.answer, separators=(",", ":"))
            row = (name, hashlib.sha256(post.body).digest(), answer, now_s - 600)
            db.execute("INSERT INTO keys VALUES (?,?,?,?)", row)
    db.execute("UPDATE mark SET batch_id = ?, known = ?", (len(posts), len(known)))


def _a_database(path: Path, schema: str, mark: int, page_size: int = 4096) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA page_size={page_size}")
    marks = f"PRAGMA application_id={mark}; PRAGMA user_version=1;"
    db.executescript(f"BEGIN; {(SCHEMAS / f'{schema}.sql').read_text()}; {marks} COMMIT;")
    return db


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
