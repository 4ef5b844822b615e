"""What outputd answers to a POST of results, as far as it can be believed."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from outputd.client.words import told

Count = Annotated[int, msgspec.Meta(ge=0)]


class Reply(msgspec.Struct, frozen=True):
    """What an answer says, a problem included; only 2xx answers have a status in words."""

    status: str | int
    received: Count = 0
    rejected: Count = 0
    duplicate: bool = False
    errors: list[dict[str, Any]] = []
    detail: str = ""

    @property
    def is_success(self) -> bool:
        """Whether this is what outputd says where it stored something, or there was nothing to store."""
        return self.status in ("ok", "partial")


def reply_of(status: int, content: bytes, items: int) -> Reply:
    """What the answer to so many items says; where it cannot be outputd's, it is but a text."""
    try:
        reply = msgspec.json.decode(content, type=Reply)
    except (msgspec.DecodeError, RecursionError):
        reply = None
    if reply is None or reply.received + reply.rejected > items:
        return Reply(status, detail=told(content.decode(errors="replace")))
    return reply
