"""Instances whose files tests merge, and what is in such files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.merge.command import MERGED, main
from outputd.merge.making import aside_of
from outputd.sqlite.connections import reading
from tests.kit.bench import Bench
from tests.kit.makers import a_result, a_trace
from tests.kit.old import left_by_0_0_1
from tests.system.harness import CHECKOUT

_TABLES = (
    "ping_results", "traceroute_results", "traceroute_hops", "batches", "rejected_results", "rtt_spread", "merged",
)  # fmt: skip
_WHOLE = """
SELECT p.ip, p.sent, p.received, p.packet_loss, p.avg_rtt, p.timestamp, p.error, p.created_at, t.method, t.completed,
  t.error, s.min_rtt, b.node, b.received_at, b.digest, b.key, b.accepted, b.rejected, (
    SELECT group_concat(ttl || ' ' || coalesce(ip, '*') || ' ' || coalesce(rtt, '-') || ' ' || timeout, '; ')
    FROM (SELECT * FROM traceroute_hops h WHERE traceroute_id = t.id ORDER BY h.id)
  )
FROM ping_results p LEFT JOIN traceroute_results t ON t.ping_result_id = p.id
LEFT JOIN rtt_spread s ON s.ping_result_id = p.id JOIN batches b ON p.id BETWEEN b.first_id AND b.last_id
"""
"""Each result with all that belongs to it, and no id."""
_REJECTED = (
    "SELECT node, digest, item_index, field, reason, raw FROM rejected_results JOIN batches b ON b.id = batch_id"
)


def whole(*paths: Path) -> Counter[Any]:
    """What databases hold, whatever the ids."""
    found: Counter[Any] = Counter()
    for path in paths:
        with reading(path) as db:
            found.update(db.execute(_WHOLE).fetchall())
            found.update(db.execute(_REJECTED).fetchall())
    return found


def digest_of(path: Path) -> str:
    """All rows of a merged file, ids included."""
    digest = hashlib.sha256()
    with reading(path) as db:
        for table in _TABLES:
            digest.update(repr(db.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()).encode())
    return digest.hexdigest()


class Posting:
    """An instance that posts of all kinds are sent to."""

    def __init__(self, path: Path, name: str) -> None:
        self.bench = Bench(path)
        self._name = name
        self._numbers = count()

    def post(self, posts: int) -> None:
        for number in (next(self._numbers) for _ in range(posts)):
            hops = [
                {"ttl": 1, "ip": "10.0.0.1", "rtt": number},
                {"ttl": 2, "ip": f"10.9.0.{number}"},
                {"ttl": 3, "timeout": True},
            ]
            self.bench.clock.advance(0.25)
            self.bench.post(
                a_trace(*hops, error=self._name), a_result(min_rtt=number), {"ip": f"nowhere of {self._name}"},
                node=self._name, key=f"key-{number}",
            )  # fmt: skip
            if not number % 3:
                self.bench.post({"ip": "all of it is bad"}, node=self._name)

    def rotate(self) -> Path:
        """The file that is closed by it."""
        path = self.bench.store.current.info.path
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish_closed())
        return path

    def dump(self, to: Path) -> Path:
        with reading(self.bench.store.current.info.path) as db:
            db.execute("VACUUM INTO ?", (str(to),))
        return to

    def stop(self) -> Path:
        """The current file, at rest."""
        self.bench.stop()
        return self.bench.store.current.info.path


def command(point: str, number: int, *arguments: Path) -> list[str]:
    """outputd-merge in a process that ends at a point, see `killed.py`."""
    return [sys.executable, "-m", "tests.merge.killed", point, str(number), *map(str, arguments)]


class MergeTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir()
        self._outs = count()

    def instance(self, name: str) -> Posting:
        return Posting(self.place / name, name)

    def merge(self, *files: Path, out: Path | None = None) -> tuple[int, str]:
        """The exit code of the command, and what it says."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            end = self.assertRaises(SystemExit, main, [str(out or self.out()), *map(str, files)])
        return int(str(end.code)), said.getvalue()

    def killed(self, point: str, number: int, *arguments: Path) -> subprocess.CompletedProcess[str]:
        """What became of it."""
        return subprocess.run(
            command(point, number, *arguments), cwd=CHECKOUT, text=True, capture_output=True, check=False, timeout=60
        )

    def out(self) -> Path:
        return self.place / f"out-{next(self._outs)}.db"

    def merged(self, *files: Path, out: Path | None = None) -> Path:
        out = out or self.out()
        code, said = self.merge(*files, out=out)
        self.assertEqual(MERGED, code, said)
        self.assertFalse(aside_of(out).exists())
        return out

    def of_three(self, times: int = 1) -> tuple[list[Path], list[Path]]:
        """Five files of three instances, one of which is 0.0.1; and copies that hold a part of them."""
        one, other = self.instance("one"), self.instance("other")
        one.post(4 * times)
        first = one.rotate()
        one.post(2 * times)
        early = one.dump(self.place / "early.db")
        one.post(3 * times)
        other.post(6 * times)
        left = left_by_0_0_1(self.place / "old", time.time())
        old = self.place / "old.db"
        with contextlib.closing(sqlite3.connect(left.current)) as db, contextlib.closing(sqlite3.connect(old)) as to:
            db.backup(to)
        return [first, one.stop(), other.stop(), left.whole, old], [early]
