"""The Idempotency-Keys that were used: those that the ledger's file remembers, and those on their way into it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

import msgspec

KEYS_LIVE_S = 12 * 3600
"""For so long a key is remembered, by the time that the service runs."""
MOST_KEYS = 1_000_000
_USE = """
INSERT INTO keys VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET digest = excluded.digest, answer = excluded.answer,
  ran_s = excluded.ran_s WHERE excluded.ran_s > ran_s
"""


class UsedKey(msgspec.Struct, frozen=True):
    """An Idempotency-Key that has stored something: which body, what was answered, and how long the service had run."""

    name: bytes
    digest: bytes
    answer: bytes
    ran_s: float


def key_name(scope: str, key: str) -> bytes:
    """The name under which the key of a scope (a node's name or "") is kept."""
    return hashlib.blake2b(f"{scope}\0{key}".encode(), digest_size=16).digest()


class Keys:
    """What is remembered of keys. Whatever takes a connection runs in the ledger's one thread."""

    def __init__(self) -> None:
        self.count = 0
        """How many the file has, once the transaction under way is committed."""
        self._unwritten: dict[bytes, UsedKey] = {}

    @property
    def are_written(self) -> bool:
        """Whether none is on its way."""
        return not self._unwritten

    def unwritten(self, name: bytes) -> UsedKey | None:
        """The key of this name, if it is still on its way."""
        return self._unwritten.get(name)

    def add(self, key: UsedKey) -> None:
        """A key was used, and will be written."""
        self._unwritten[key.name] = key

    def written(self, key: UsedKey) -> None:
        """A key is in the file, unless it was used again meanwhile."""
        if self._unwritten.get(key.name) is key:
            del self._unwritten[key.name]

    @staticmethod
    def write(db: sqlite3.Connection, keys: Sequence[UsedKey]) -> None:
        """Write them down, in the transaction under way; who has committed it counts them."""
        for key in keys:
            db.execute(_USE, (key.name, key.digest, key.answer.decode(), key.ran_s))

    def find(self, db: sqlite3.Connection, name: bytes, ran_s: float) -> UsedKey | None:
        """The use that the file remembers after the service has run so long; one that is too old is forgotten."""
        row = db.execute("SELECT digest, answer, ran_s FROM keys WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        digest, answer, used_s = row
        if used_s > ran_s - KEYS_LIVE_S:
            return UsedKey(name, digest, answer.encode(), used_s)
        self.count -= db.execute("DELETE FROM keys WHERE name = ?", (name,)).rowcount
        return None

    def forget_old(self, db: sqlite3.Connection, ran_s: float) -> None:
        """Keep those of the last 12 hours that the service has run, and of these the newest million."""
        self.count -= db.execute("DELETE FROM keys WHERE ran_s <= ?", (ran_s - KEYS_LIVE_S,)).rowcount
        if self.count > MOST_KEYS:
            self.count -= db.execute(
                "DELETE FROM keys WHERE name IN (SELECT name FROM keys ORDER BY ran_s LIMIT ?)",
                (self.count - MOST_KEYS,),
            ).rowcount
