"""Result files for those who ask: what there is, and each of them at the reader's pace."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from outputd.process.threads import InThread
from outputd.results import timestamps
from outputd.store.copies import Reader
from outputd.store.current import Current
from outputd.store.file import FileInfo
from outputd.store.manifests import Manifests
from outputd.web.request import CappedRequest
from outputd.web.streaming import Streaming

_SAID = (
    "sha256", "results", "rejected", "traceroutes", "hops", "first_measured", "last_measured", "first_arrived",
    "last_arrived",
)  # fmt: skip
_CHUNK_BYTES = 128 * 1024  # what the kernel takes at once


def described(files: Sequence[FileInfo], current: Current, manifests: Manifests) -> list[dict[str, Any]]:
    """What is known of each result file, oldest first; null is what its manifest does not say, or not yet. Blocking."""
    found = []
    for info in files:
        try:
            size_bytes, manifest = manifests.look(info.path)
        except OSError:  # deleted, or a disk that cannot be read
            continue
        is_current = info.path == current.info.path
        found.append(
            {
                "file": info.path.name,
                "current": is_current,
                "created": timestamps.printed(info.created_at),
                "size_bytes": current.size_bytes if is_current else size_bytes,
                **{name: getattr(manifest, name, None) for name in _SAID},
            }
        )
    return found


async def send_part(request: CappedRequest, reader: Reader, start: int, end: int, in_thread: InThread) -> None:
    """Write a part of a copy to a request as fast as its client reads, reading the disk in a thread."""
    at = start
    reader.cut_off = request.cut_off

    async def part() -> bytes | None:
        nonlocal at
        reader.read_bytes = at - start
        chunk = await in_thread(os.pread, reader.copy.handle, min(_CHUNK_BYTES, end - at), at) if at < end else b""
        at += len(chunk)
        return chunk or None

    try:
        await Streaming(request, part).run()
    finally:
        reader.end()
