"""Which rows of the summary are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outputd.queries.session import Session
from outputd.results import timestamps

IN_FILES = "file IN (SELECT sequence FROM s.file)"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are asked for; times in the stored form."""

    limit: int
    node: str | None = None
    ip: str | None = None
    since: str | None = None
    min_count: int = 1

    def where(self, **columns: str) -> str:
        """SQL for the choices that are made, by the column (or condition) each goes for."""
        chosen = [condition for name, condition in columns.items() if getattr(self, name) is not None]
        return f"WHERE {' AND '.join(chosen)}" if chosen else ""

    @property
    def parameters(self) -> dict[str, Any]:
        """For the statements."""
        return {
            "limit": self.limit, "node": self.node, "ip": self.ip, "since": self.since, "min_count": self.min_count,
        }  # fmt: skip


def complete_until(session: Session) -> dict[str, Any]:
    """The member that says up to which arrival the summary has the results."""
    at = session.value("SELECT received_at FROM s.file ORDER BY sequence DESC LIMIT 1")
    return {"complete_until": None if at is None else timestamps.printed(at)}
