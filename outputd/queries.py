"""Reads over all result files of an instance, beside the writer and never in its way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from outputd import timestamps
from outputd.pools import InThread
from outputd.resultfile import FileInfo, reading

_log = Logger()
MOST_RECENT = 1000
_RECENT = "SELECT id, ip, sent, received, packet_loss, avg_rtt, timestamp, error FROM ping_results"


class Queries:
    """Answers from the files, each read in a thread, by a connection that is closed at once."""

    def __init__(self, files: Callable[[], Sequence[FileInfo]], in_thread: InThread) -> None:
        self._files = files
        self._in_thread = in_thread

    async def recent(self, limit: int, ip: str | None) -> list[dict[str, Any]]:
        """The newest results by arrival, at most `limit`, of one target or of all, as the API prints them."""
        paths = [info.path for info in reversed(self._files())]
        return await self._in_thread(_recent, paths, limit, ip)


def _recent(paths: Sequence[Path], limit: int, ip: str | None) -> list[dict[str, Any]]:
    where = "" if ip is None else " WHERE ip = ?"
    parameters = () if ip is None else (ip,)
    found: list[dict[str, Any]] = []
    for path in paths:
        if len(found) == limit:
            break
        try:
            with reading(path) as db:
                rows = db.execute(f"{_RECENT}{where} ORDER BY id DESC LIMIT ?", (*parameters, limit - len(found)))
                found += [_printed(row) for row in rows]
        except sqlite3.OperationalError:
            if path.exists():
                raise
        except sqlite3.DatabaseError as error:  # damaged: the others answer
            _log.error("{file} cannot be read: {error!s}", file=path.name, error=error)
    return found


def _printed(row: tuple[Any, ...]) -> dict[str, Any]:
    number, ip, sent, received, loss, rtt, timestamp, error = row
    printed = {
        "id": number, "ip": ip, "sent": sent, "received": received,
        "packet_loss": int(loss) if loss.is_integer() else loss, "avg_rtt": rtt,
        "timestamp": timestamps.printed(timestamp),
    }  # fmt: skip
    if error is not None:
        printed["error"] = error
    return printed
