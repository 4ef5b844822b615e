"""What other probes have written, where it is at hand: read from ../shared and never copied into the repository."""

from __future__ import annotations

import gzip

from tests.system.shared import needed


def foreign(tool: str) -> dict[str, bytes]:
    """The files of a tool by their names, those in gzip unpacked; without any the test is skipped."""
    files = sorted(needed(f"raw/{tool}").iterdir())
    return {file.name: _bytes(file.read_bytes()) for file in files}


def _bytes(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
