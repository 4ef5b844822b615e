"""What a reader of a foreign format is, and what it makes of a body."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from outputd.results.model import PingResult

NO_TIME = ""
"""The timestamp of a result whose item carries none: the receiver puts the time of the request there."""


class NotOfThisFormat(Exception):
    """A body that is not what its sender says it is; the text tells what is wrong, for the sender to read."""


class Refused(Exception):
    """An item of which no result can be made: why, and which of its fields is at fault."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


class Unread(Struct, frozen=True, gc=False):
    """An item of which no result can be made: what is wrong with which of its fields, and the bytes of it."""

    reason: str
    raw: bytes
    field: str = ""


def unread(error: Exception, raw: bytes) -> Unread:
    """An item as that of which no result can be made, for what went wrong with it."""
    if isinstance(error, Refused):
        return Unread(error.reason, raw, error.field)
    if isinstance(error, ArithmeticError):  # of "NaN", or of 1e999999999
        return Unread("a number that cannot be reckoned with", raw)
    return Unread(str(error), raw)


def timed(result: PingResult) -> PingResult:
    """A result without times where nothing was received: some tools write 0 there."""
    if result.received:
        return result
    return replace(result, avg_rtt=None, min_rtt=None, max_rtt=None, stddev_rtt=None)


@dataclass(frozen=True, slots=True)
class Reader:
    """How one format is told and read.

    `claims` looks at the beginning of a body that nobody named, and is sure of what it claims; `signature` is the same
    in words. `read` gives the items of a body in their order, one at a time, so that no more than one is held. The ip
    of each result is an address, and its timestamp an RFC 3339 time or NO_TIME. NotOfThisFormat, at any step, is the
    end of the whole body; nothing else is raised, whatever the bytes are. `version` goes up with each change of what it
    makes of a body.
    """

    name: str
    version: int
    media_types: tuple[str, ...]
    signature: str
    claims: Callable[[bytes], bool]
    read: Callable[[bytes], Iterator[PingResult | Unread]]
