"""What stored batches tell the ledger: addresses, and the keys that were used."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from outputd.results import timestamps
from outputd.results.addresses import canonical
from outputd.results.agreement import MOST_ERRORS, answer_of, item_error, key_scopes
from outputd.sqlite.connections import reading
from outputd.store.file import FileInfo

KEYS_LIVE_S = 12 * 3600


class UsedKey(msgspec.Struct, frozen=True):
    """An Idempotency-Key that has stored something: which body, and what was answered."""

    name: bytes
    digest: bytes
    answer: bytes
    used_at: float


class Lesson(msgspec.Struct, frozen=True):
    """What one stored batch tells the ledger."""

    batch_id: int
    addresses: Sequence[str] = ()
    key: UsedKey | None = None


class Learnt(msgspec.Struct, frozen=True):
    """What a turn of the ledger found: addresses never seen before, kept or beyond --max-hops."""

    new: int
    over_limit: int


def key_name(scope: str, key: str) -> bytes:
    """The name under which the key of a scope (a node's name or "") is kept."""
    return hashlib.blake2b(f"{scope}\0{key}".encode(), digest_size=16).digest()


def lessons_of(info: FileInfo, mark: int, feedable: Callable[[str], bool], keys_since: float) -> Iterator[Lesson]:
    """What the batches of a result file above the mark have to tell, the addresses with the last of them."""
    with reading(info.path) as db:
        first_result_id = None
        last_batch_id = mark
        rows = db.execute(
            "SELECT id, node, received_at, digest, key, first_id, accepted, rejected FROM batches WHERE id > ?"
            " ORDER BY id", (mark,)
        )  # fmt: skip
        for batch_id, node, received_at, digest, key, first_id, accepted, rejected in rows:
            last_batch_id = batch_id
            if first_result_id is None:
                first_result_id = first_id
            used_at = timestamps.seconds(received_at)
            if key is None or used_at <= keys_since:
                continue
            errors = _errors_of(db, batch_id) if rejected else []
            answer = answer_of(accepted, rejected, errors)
            for scope in key_scopes(node):
                yield Lesson(batch_id, (), UsedKey(key_name(scope, key), digest, answer, used_at))
        addresses: list[str] = []
        if first_result_id is not None:
            texts = db.execute(
                "SELECT DISTINCT ip FROM traceroute_hops WHERE traceroute_id >= ? AND NOT timeout AND ip IS NOT NULL",
                (first_result_id,),
            )
            addresses = [text for (text,) in texts if canonical(text) and feedable(text)]
        yield Lesson(last_batch_id, addresses)


def _errors_of(db: sqlite3.Connection, batch_id: int) -> list[Mapping[str, object]]:
    rows = db.execute(
        "SELECT item_index, field, reason FROM rejected_results WHERE batch_id = ? ORDER BY id LIMIT ?",
        (batch_id, MOST_ERRORS),
    )
    return [item_error(index, name, reason) for index, name, reason in rows]
