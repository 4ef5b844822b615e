"""A change: what became different for a node, or for a target as a node sees it, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Kind = Literal["route_changed", "loss_began", "loss_ended", "rtt_shifted", "node_silent", "node_back"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOPICS: Mapping[Kind, int] = {
    "route_changed": 1, "loss_began": 2, "loss_ended": 2, "rtt_shifted": 3, "node_silent": 4, "node_back": 4,
}  # fmt: skip
"""A change lasts until the next one of its topic, of the same node and target."""
Value = float | int | list[str | None] | None


class News(NamedTuple):
    """What a watch over one thing has found: since when, what was before, what is now."""

    kind: Kind
    since: str
    before: Value
    after: Value


class Change(NamedTuple):
    """One change. Kind, node, target and since tell it from all others, whenever and however often it is found."""

    kind: Kind
    node: str
    target: str
    """Empty for a change of the node itself."""
    since: str
    before: Value
    after: Value
