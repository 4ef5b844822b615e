"""A change as the webhook gets it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from outputd.changes.change import TOPICS, Kind
from outputd.changes.outbox import Owed
from outputd.results import timestamps

What = Literal["began", "ended", "changed"]
EVENTS: Final[Mapping[Kind, What]] = {
    "route_changed": "changed", "loss_began": "began", "loss_ended": "ended", "rtt_shifted": "changed",
    "node_silent": "began", "node_back": "ended",
}  # fmt: skip
"""An incident begins and ends; a change that is neither begins nor ends anything."""
assert EVENTS.keys() == set(get_args(Kind))
_NULL: Final = msgspec.Raw(b"null")


class Event(msgspec.Struct, frozen=True):
    """One change; all but `until` is the same whenever it is posted."""

    id: str
    """That of no other change."""
    dedup_key: str
    """That of all changes of one topic, node and target: what has begun and what ends it have the same."""
    event: What
    kind: str
    node: str
    target: str | None
    """None for a change of the node."""
    since: str
    until: str | None
    """None if it still lasts when it is posted, as far as is known."""
    before: msgspec.Raw
    after: msgspec.Raw
    found_at: str
    """When the POST arrived that showed it."""


def body_of(owed: Owed) -> bytes:
    """The JSON of a change."""
    return msgspec.json.encode(
        Event(
            id=_digest(owed.kind, owed.node, owed.target, owed.since),
            dedup_key=_digest(str(TOPICS[owed.kind]), owed.node, owed.target),
            event=EVENTS[owed.kind],
            kind=owed.kind,
            node=owed.node,
            target=owed.target or None,
            since=timestamps.printed(owed.since),
            until=None if owed.until is None else timestamps.printed(owed.until),
            before=_raw(owed.before),
            after=_raw(owed.after),
            found_at=timestamps.printed(owed.found_at),
        )
    )


def _raw(json: str | None) -> msgspec.Raw:
    return _NULL if json is None else msgspec.Raw(json.encode())


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
