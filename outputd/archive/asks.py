"""What the service asks of the archive's child, what the child answers, and the service's handle of it.

The child alone has pyarrow and obstore. It knows no mark: what was shipped is what the service says, or what `Find`
finds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import msgspec

from outputd.process.child import Child, Ended
from outputd.process.trouble import Kind

_CHILD = "outputd.archive.child"
HANGS_AFTER_S = 900.0
"""An answer that has not come after so long never comes: what waits for the archive gives up long before."""


class Span(msgspec.Struct, frozen=True, tag=True):
    """Batches of one file that arrived on one day, all that follow one another there: what one object has."""

    path: Path
    date: str
    """2026-11-30, by our clock."""
    first_batch_id: int
    last_batch_id: int


class Open(msgspec.Struct, frozen=True, tag=True):
    """The first message: where the archive is, and what it lets in; not answered."""

    url: str
    credentials: dict[str, str]


class Cut(msgspec.Struct, frozen=True, tag=True):
    """Which batches to ship next: the first ones after the mark, of these files, oldest first. Answer: Span, or None.

    What may still grow, the last batches of the last file with less than 64 MiB, is only given when it `is_open_taken`.
    """

    paths: tuple[Path, ...]
    after: int
    is_open_taken: bool


class Ship(msgspec.Struct, frozen=True, tag=True):
    """Put these batches into the archive under the name of an instance. Answer: Shipped, Taken."""

    span: Span
    instance: str
    since: str = ""
    """When the last batch before it arrived, if that is known: what another history has beyond came no earlier."""


class Find(msgspec.Struct, frozen=True, tag=True):
    """What the archive has under the name of an instance above a mark, beside what these files hold. Answer: Found."""

    instance: str
    after: int
    paths: tuple[Path, ...]
    since: str = ""
    """When the batch at the mark arrived, if that is known."""


class Shipped(msgspec.Struct, frozen=True, tag=True):
    """It is in the archive, durably. All 0 where the batches have stored nothing."""

    results: int
    rejected: int
    nbytes: int
    """Of its objects."""
    was_there: bool
    """It had been put before: nothing was sent."""


class Taken(msgspec.Struct, frozen=True, tag=True):
    """Nothing was put: the archive has names of this instance that are not this span, at it or beyond. Ask Find."""

    name: str
    """One of them."""


class Found(msgspec.Struct, frozen=True, tag=True):
    """All batches up to the mark are in the archive; it is never below the one that was asked about."""

    mark: int
    is_shared: bool
    """Another directory has put batches under this name that are not ours: ship under another one, above the mark."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It could not be done, and may be asked again; the reason is one line without secrets."""

    reason: str
    kind: Kind = Kind.OTHER
    path: Path | None = None
    """The result file whose fault it is; None where it is the archive's."""
    is_over: bool = False
    """The child has ended: another Worker is needed."""


Request = Open | Cut | Ship | Find
Answer = Span | Shipped | Taken | Found | Failed | None


def encode(message: Request | Answer) -> bytes:
    """A message for the pipe."""
    return _ENCODER.encode(message)


def decode_request(message: bytes) -> Request:
    """What the child was asked. Raises msgspec.ValidationError."""
    return _REQUESTS.decode(message)


def decode_answer(message: bytes) -> Answer:
    """What it has answered."""
    return _ANSWERS.decode(message)


def _bytes_of(path: object) -> bytes:
    """A path may have any bytes."""
    if isinstance(path, Path):
        return os.fsencode(path)
    raise NotImplementedError


def _path_of(kind: type, data: Any) -> Path:
    return Path(os.fsdecode(data))


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_bytes_of)
_REQUESTS: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request, dec_hook=_path_of)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer, dec_hook=_path_of)


class Worker:
    """A child of this process, from the constructor to `close`; one thread asks at a time. Blocking."""

    def __init__(self, url: str, credentials: Mapping[str, str]) -> None:
        """Starts the child, which looks at the archive when it is first asked. Raises OSError."""
        self._opening = encode(Open(url, dict(credentials)))
        self._is_opened = False
        self._child = Child(_CHILD)

    @property
    def pid(self) -> int:
        """The child's number."""
        return self._child.pid

    @overload
    def ask(self, request: Cut) -> Span | Failed | None: ...
    @overload
    def ask(self, request: Ship) -> Shipped | Taken | Failed: ...
    @overload
    def ask(self, request: Find) -> Found | Failed: ...
    def ask(self, request: Request) -> Any:
        """The answer of the child; Failed that `is_over` when it has ended, as after `stop`."""
        try:
            if not self._is_opened:
                self._child.tell(self._opening)
                self._is_opened = True
            return decode_answer(self._child.ask(encode(request)))
        except Ended as ended:
            return Failed(f"the archive's process has ended ({ended.code})", is_over=True)

    def stop(self) -> None:
        """Kill the child: it may hang. Not blocking, and from any thread."""
        self._child.stop()

    def close(self) -> None:
        """End the child; whatever it had under way may or may not be in the archive."""
        self._child.close()
