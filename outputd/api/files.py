"""Result files for those who ask: what there is, and each of them at the reader's pace."""

from __future__ import annotations

import errno
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
_PART_BYTES = 120 * 1024  # from 128 KiB on, the allocator would ask the kernel for the memory of each
_TURN_BYTES = 2 << 20


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
    """Write a part of a copy to a request as fast as its client reads; a thread reads what is not in memory.

    It also reads the first of every 2 MiB, so that others are served however fast the client is.
    """
    handle = reader.copy.handle
    at = turn_ends = start
    reader.cut_off = request.cut_off

    async def part() -> bytes | None:
        nonlocal at, turn_ends
        reader.read_bytes = at - start
        size_bytes = min(_PART_BYTES, end - at)
        if not size_bytes:
            return None
        data = _in_memory(handle, size_bytes, at) if at < turn_ends else b""
        if not data:
            turn_ends = at + _TURN_BYTES
            data = await in_thread(os.pread, handle, size_bytes, at)
        if not data:
            raise OSError(errno.ESTALE, f"someone else has cut {reader.copy.name} short")
        at += len(data)
        return data

    try:
        await Streaming(request, part).run()
    finally:
        reader.end()


def _in_memory(handle: int, size_bytes: int, at: int) -> bytes:
    """What the page cache has of a part of a file, without waiting for the disk; empty when it does not begin there."""
    data = bytearray(size_bytes)
    try:
        found_bytes = os.preadv(handle, (data,), at, os.RWF_NOWAIT)
    except OSError:  # it is not there, or the file system cannot tell
        return b""
    return bytes(memoryview(data)[:found_bytes])
