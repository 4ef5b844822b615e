"""Answers compressed with gzip: which, and how, at once or part by part. Pure.

No answer has a token in it, so how well one is compressed beside what others have sent tells of none.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator

from outputd.web.answers import Answer
from outputd.web.negotiation import takes_gzip, takes_plain

GZIPPED = {b"Content-Encoding": b"gzip"}
"""The header of what is compressed."""
LEAST_BYTES = 1024
"""A shorter answer leaves in one packet with its head, compressed or not."""
HELD_BYTES = 264 * 1024
"""What a stream holds until its end: zconf.h has 256 KiB, and a little."""
_LEVEL = 1  # JSON is a sixth of its size then; an eighth at level 6, in three times the time
_GZIP = 16 + zlib.MAX_WBITS


def gzip_from_bytes(accept_encoding: str) -> float:
    """From how many bytes on an answer is compressed: infinity for a client that takes no gzip, 0 for one that must."""
    if not takes_gzip(accept_encoding):
        return math.inf
    return LEAST_BYTES if takes_plain(accept_encoding) else 0


def gzipped(body: bytes) -> bytes:
    """A whole body."""
    return zlib.compress(body, _LEVEL, _GZIP)


def compressed(answer: Answer, accept_encoding: str) -> Answer:
    """A whole answer of some KiB as its client takes it; a longer one belongs into a thread."""
    status, body, headers = answer
    varying = {**headers, b"Vary": b"Accept-Encoding"}
    if len(body) < gzip_from_bytes(accept_encoding):
        return status, body, varying
    return status, gzipped(body), {**varying, **GZIPPED}


class Gzip:
    """One body, compressed part by part: each can be read as soon as it comes.

    What is cut off lacks its end, where the checksum and the length of the whole are.
    """

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_LEVEL, wbits=_GZIP)

    def part(self, data: bytes) -> bytes:
        """The next part."""
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def rest(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """All parts that are left, and the end. Between two of them it holds neither."""
        yield from map(self.part, parts)
        yield self._deflate.flush()
