"""Result files for those who ask: at the reader's pace."""

from __future__ import annotations

import os

from outputd.process.threads import InThread
from outputd.store.copies import Reader
from outputd.web.request import CappedRequest
from outputd.web.streaming import Streaming

_CHUNK_BYTES = 128 * 1024  # what the kernel takes at once


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
