"""SQL of the summary that its questions share."""

from __future__ import annotations

from typing import Any

from outputd.queries.session import Session
from outputd.results import timestamps

IN_FILES = "file IN (SELECT sequence FROM s.file)"
NUMBERS_OF = "json_each('[' || trim({nodes}, ',') || ']') j"
"""SQL of a join: the numbers (j.value) of a list of nodes."""
NODES_OF = f"{NUMBERS_OF} CROSS JOIN s.name n ON n.id = j.value"
"""SQL of a join: the nodes (s.name n) of a list of their numbers."""


def where(asked: object, **conditions: str) -> str:
    """SQL for the choices that are made: the condition of each field of what is asked, where it is not None."""
    chosen = [condition for name, condition in conditions.items() if getattr(asked, name) is not None]
    return f"WHERE {' AND '.join(chosen)}" if chosen else ""


def complete_until(session: Session) -> dict[str, Any]:
    """The member that says up to which arrival the summary has the results."""
    at = session.value("SELECT received_at FROM s.file ORDER BY sequence DESC LIMIT 1")
    return {"complete_until": None if at is None else timestamps.printed(at)}
