"""An archive as any reader sees it, beside what the senders of its results know."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pyarrow.parquet as pq
from obstore.store import S3Store
from twisted.trial.unittest import SkipTest

from tests.kit.object_store import BUCKET, KEY, REGION, SECRET, ObjectStore
from tests.system import engines
from tests.system.account import Account
from tests.system.addresses import canonical
from tests.system.load import MixedSource, Post, Result

READERS = os.environ.get("OUTPUTD_READERS") or sys.executable
_ENGINES_S = 300.0
_NAME = re.compile(r"(results|rejected)/date=(\d{4}-\d\d-\d\d)/([\w.]+)-(\d+)-(\d+)\.parquet")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# -- the words of a result -------------------------------------------------------------------------


def words(
    ip: str, counts: Sequence[int], avg_rtt_ns: int | None, time_ns: int, error: str | None, trace: Sequence[Any],
    hops: Sequence[Sequence[Any]],
) -> str:  # fmt: skip
    """What was measured in one line; what is absent is empty, and so no traceroute is one that has nothing."""
    told = ",".join(":".join(map(_word, hop)) for hop in hops)
    return "|".join([*map(_word, (ip, *counts, avg_rtt_ns, time_ns, error, *trace)), told])


def words_sent(result: Result) -> str:
    """Of a result as its sender writes it, by the rules 2 to 4 of the contract."""
    trace = result.get("traceroute") or {}
    hops = [
        (hop["ttl"], canonical(hop.get("ip")) or (hop.get("ip") or "")[:255], _rtt(hop.get("rtt")),
         bool(hop.get("timeout")))
        for hop in trace.get("hops") or ()
    ]  # fmt: skip
    return words(
        canonical(result["ip"]) or "", (result["sent"], result["received"]), _rtt(result.get("avg_rtt")),
        _nanoseconds(result["timestamp"]), result.get("error"),
        (trace.get("method"), trace.get("completed"), trace.get("error")), hops,
    )  # fmt: skip


def _words_kept(row: Result) -> str:
    trace = row["traceroute"] or {"method": None, "completed": None, "error": None, "hops": ()}
    return words(
        row["ip"], (row["sent"], row["received"]), row["avg_rtt_ns"],
        (row["timestamp"] - _EPOCH) // timedelta(microseconds=1) * 1000 + row["timestamp_ns"], row["error"],
        (trace["method"], trace["completed"], trace["error"]),
        [(hop["ttl"], hop["ip"], hop["rtt_ns"], hop["timeout"]) for hop in trace["hops"]],
    )  # fmt: skip


def _word(value: object) -> str:
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)


def _rtt(value: int | None) -> int | None:
    return None if value == -1 else value


def _nanoseconds(text: str) -> int:
    """Of an RFC 3339 time since 1970."""
    found = _TIME.fullmatch(text.upper())
    assert found is not None, text
    time = datetime.fromisoformat(f"{found[1]}{'+00:00' if found[3] == 'Z' else found[3]}")
    return (time - _EPOCH) // timedelta(seconds=1) * 10**9 + int((found[2] or "").ljust(9, "0"))


def md5(text: str) -> str:
    """As the engines make it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# -- the archive and the account -------------------------------------------------------------------


@dataclass
class Shipments(Account):
    """What became of each result in the archive; and whether what is there is what was sent."""

    _sent: dict[int, str] = field(default_factory=dict)

    def sent(self, post: Post) -> None:
        """See Account."""
        super().sent(post)
        for result in post.results:
            number = MixedSource.number_of(result["ip"])
            if number is not None and result["ip"] in post.targets:
                self._sent[number] = md5(words_sent(result))

    def archived(self, target: str, digest: str) -> None:
        """It is in the archive once more."""
        self.found(target)
        number = MixedSource.number_of(target)
        if number is not None and self._sent.get(number) != digest:
            self.faults.append(f"{target} is not what was sent")


class Archive:
    """Below a prefix of a store; what was read once must stay as it was."""

    def __init__(self, store: ObjectStore, prefix: str, account: Shipments) -> None:
        self.path = f"{BUCKET}/{prefix}"
        self.faults: list[str] = []
        self._store, self._account = store, account
        self._client = S3Store(
            BUCKET, prefix=prefix, endpoint=store.endpoint(), region=REGION, access_key_id=KEY,
            secret_access_key=SECRET, client_options={"allow_http": True},
        )  # fmt: skip
        self._read: dict[str, str] = {}
        self._rows: dict[tuple[str, int], tuple[str, str]] = {}
        self._rejected: set[str] = set()

    @property
    def objects(self) -> int:
        """How many there are."""
        return len(self._read)

    @property
    def instances(self) -> Counter[str]:
        """How many results there are under each name."""
        return Counter(instance for instance, _ in self._rows)

    @property
    def rejected(self) -> int:
        """How many rejected items there are."""
        return len(self._rejected)

    def take(self) -> None:
        """Read what has come since."""
        there = {meta["path"]: str(meta["e_tag"]) for batch in obstore.list(self._client) for meta in batch}
        for name, tag in self._read.items():
            if there.get(name) != tag:
                self.faults.append(f"{name} is no longer what it was")
        for name in sorted(there.keys() - self._read.keys()):
            self._take(name)
            self._read[name] = there[name]

    def _take(self, name: str) -> None:
        named = _NAME.fullmatch(name)
        if named is None:
            self.faults.append(f"{name} is no name of an archive's object")
            return
        kind, date, instance, first, last = named.groups()
        rows = pq.read_table(io.BytesIO(obstore.get(self._client, name).bytes())).to_pylist()
        for row in rows:
            key = (row["instance"], row["id"])
            if key[0] != instance or not int(first) <= row["batch_id"] <= int(last):
                self.faults.append(f"{name} has result {key} of batch {row['batch_id']}")
            if str(row["received_at"])[:10] != date:
                self.faults.append(f"{name} has a result of {row['received_at']}")
            if kind == "rejected":
                self._take_rejected(name, json.loads(row["raw"])["ip"])
                continue
            if key in self._rows:
                self.faults.append(f"{key} is in the archive twice, once in {name}")
            self._rows[key] = (row["ip"], md5(_words_kept(row)))
            self._account.archived(*self._rows[key])

    def _take_rejected(self, name: str, target: str) -> None:
        if target in self._rejected:
            self.faults.append(f"the item of {target} was rejected twice, once in {name}")
        self._rejected.add(target)

    def differs(self, engine: str) -> str:
        """What an engine reads otherwise than we, empty where nothing; raises SkipTest where it cannot be had."""
        command = [READERS, str(Path(engines.__file__)), engine, self._store.endpoint(), self.path, KEY, SECRET]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ENGINES_S, check=False)
        if done.returncode and "ModuleNotFoundError" in done.stderr:
            raise SkipTest(f"{READERS} has no {engine}; OUTPUTD_READERS may name another Python")
        if done.returncode:
            return f"{engine} fails: {done.stderr[-2000:]}"
        read = Counter(tuple(line.split("\t")) for line in done.stdout.splitlines())
        ours: Counter[tuple[str, ...]] = Counter(
            (instance, str(number), *row) for (instance, number), row in self._rows.items()
        )
        if read == ours:
            return ""
        return f"{engine} reads {read.total()} results, of which {(read - ours).total()} are not among our {len(ours)}"
