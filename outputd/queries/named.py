"""Addresses by their names, as far as the DNS was asked for them."""

from __future__ import annotations

import sqlite3

from outputd.queries.session import Session


def find_named(session: Session, text: str) -> None:
    """Make temp.named: the addresses with this text, which is in lower case, in their names."""
    session.execute("CREATE TEMP TABLE named (ip)")
    naming = session.naming
    if naming is None or naming.lookups is None:
        return
    try:
        with session.attached(naming.names, "n"):
            session.execute(
                "INSERT INTO temp.named SELECT ip FROM n.name WHERE instr(lower(name), :text)", {"text": text}
            )
    except sqlite3.Error:  # not there yet, or damaged: its writer finds that out
        pass
