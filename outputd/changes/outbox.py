"""What the webhook has yet to get: changes that are marked in their list, in the transaction that keeps them.

Owed is what POSTs show that arrived after the webhook was turned on. A list that is made anew begins with a webhook
that was just turned on: so nothing that was posted is found and posted once more, and what waited in the list that has
gone is lost. Of what was looked at before, nothing is owed either: after a crash it is found again, and was owed then.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from outputd.changes.change import Kind

MOST_OWED = 10_000


class Owed(NamedTuple):
    """A change that is to be posted; times are in the stored form, `before` and `after` are JSON."""

    kind: Kind
    node: str
    target: str
    since: str
    until: str | None
    before: str | None
    after: str | None
    found_at: str


class Outbox:
    """The outbox of one list of changes. What takes a connection belongs into a transaction of the list's."""

    def __init__(self, is_wanted: bool = False, most_owed: int = MOST_OWED) -> None:
        """Without a webhook nothing is owed, and what was owed to an earlier one is no more."""
        self._is_wanted = is_wanted
        self._most_owed = most_owed
        self._after_batch_id = 0
        self.is_beginning = False
        """Whether nobody has said yet where it begins."""
        self.waiting = 0
        self.dropped = 0
        """How many have given way to newer ones since the start."""
        self.when_owed: Callable[[], object] = lambda: None
        """Called when something waits, in the thread of the list."""

    def open(self, db: sqlite3.Connection, is_another: bool) -> None:
        """Find out what a list holds that was opened; `is_another` when it has taken the place of the one before."""
        looked_at, owed_after = db.execute("SELECT batch_id, owed_after FROM mark").fetchone()
        if is_another or not self._is_wanted:
            db.execute("UPDATE change SET owed = NULL WHERE owed = 1")
        if not self._is_wanted:
            db.execute("UPDATE mark SET owed_after = NULL WHERE owed_after IS NOT NULL")
        self.is_beginning = self._is_wanted and owed_after is None
        self._after_batch_id = max(self._after_batch_id, looked_at, owed_after or 0)
        self.waiting = _count(db)

    def begin(self, db: sqlite3.Connection, batch_id: int) -> None:
        """From now on what later batches show is owed, and nothing that this one or an earlier one shows."""
        if self._is_wanted:
            db.execute("UPDATE mark SET owed_after = ?", (batch_id,))
        self.is_beginning = False
        self._after_batch_id = batch_id

    def is_news(self, batch_id: int) -> bool:
        """Whether a change that is found in this batch was not found before, in a list that has gone."""
        return batch_id > self._after_batch_id

    def mark_of(self, batch_id: int) -> int | None:
        """What a change is marked with that is found in this batch."""
        return 1 if self._is_wanted and self.is_news(batch_id) else None

    def make_room(self, db: sqlite3.Connection) -> int:
        """Drop the oldest that are too many; returns how many."""
        return db.execute(_DROP, (self._most_owed,)).rowcount

    def has_seen(self, batch_id: int) -> None:
        """All that this batch and earlier ones show is on disk."""
        self._after_batch_id = max(self._after_batch_id, batch_id)

    def has_dropped(self, db: sqlite3.Connection, dropped: int) -> None:
        """It is on disk what was dropped, and what it was dropped for."""
        self.dropped += dropped
        self.waiting = _count(db)
        self.tell()

    def tell(self) -> None:
        """Call `when_owed` if something waits."""
        if self.waiting:
            self.when_owed()

    def first(self, db: sqlite3.Connection) -> Owed | None:
        """The oldest that waits."""
        row = db.execute(_FIRST).fetchone()
        return None if row is None else Owed(*row)

    def settle(self, db: sqlite3.Connection, owed: Owed) -> None:
        """It waits no more, taken or refused. It may be in the list no more."""
        db.execute(_SETTLE, (owed.node, owed.target, owed.kind, owed.since))
        self.waiting = _count(db)


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM change WHERE owed = 1").fetchone()[0])


_FIRST = """
SELECT kind, node, target, since, until, before, after, found_at FROM change WHERE owed = 1 ORDER BY id LIMIT 1
"""
_DROP = """
UPDATE change SET owed = NULL
WHERE owed = 1 AND id <= (SELECT id FROM change WHERE owed = 1 ORDER BY id DESC LIMIT 1 OFFSET ?)
"""
_SETTLE = "UPDATE change SET owed = NULL WHERE node = ? AND target = ? AND kind = ? AND since = ? AND owed = 1"
