"""Who has found how many of the known addresses, so that one sender cannot take the room of all others."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

MOST_SENDERS = 10_000
"""Senders that are told apart; further ones share one account."""
_OTHERS = ""
_LATE = 10
"""One part in so many of all room is kept for those who have used less than their share."""


class Shares:
    """The accounts of all senders, kept in the ledger's own transactions."""

    def __init__(self, most_addresses: int) -> None:
        self._most_addresses = most_addresses
        self._found: dict[str, int] = {}

    @property
    def open_to_all(self) -> int:
        """Addresses up to which nobody is asked how many are his."""
        return self._most_addresses - self._most_addresses // _LATE

    def read(self, db: sqlite3.Connection) -> None:
        """Take the accounts from a database."""
        self._found = dict(db.execute("SELECT sender, found FROM finder"))

    def account(self, sender: str) -> str:
        """The name of a sender's account."""
        return sender if sender in self._found or len(self._found) < MOST_SENDERS else _OTHERS

    def room(self, account: str, known: int) -> int:
        """How many more addresses of this account may be kept while so many are known in all."""
        share = self._most_addresses // max(1, len(self._found | {account: 0}))
        own = min(self._most_addresses - known, share - self._found.get(account, 0))
        return max(0, self.open_to_all - known, own)

    def is_filling_up(self, known: int) -> bool:
        """Whether the rest of the room is only for those who have used less than their share."""
        return known >= self.open_to_all

    def words(self, known: int) -> str:
        """What an operator should know of it."""
        return (
            f"{known:,} addresses of at most {self._most_addresses:,} (--max-hops) are known: new ones are kept for"
            " those alone who have found less than their share"
        )

    def write(self, db: sqlite3.Connection, new: Mapping[str, int]) -> None:
        """Write what a transaction has added to the accounts."""
        for account, found in new.items():
            db.execute(
                "INSERT INTO finder VALUES (?, ?) ON CONFLICT DO UPDATE SET found = found + excluded.found",
                (account, found),
            )

    def add(self, new: Mapping[str, int]) -> None:
        """The transaction is committed: count what it has added."""
        for account, found in new.items():
            self._found[account] = self._found.get(account, 0) + found
