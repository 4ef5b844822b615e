"""Nodes that fall silent, by the clock of arrivals: it stands still while nobody is heard."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from outputd.changes.change import Change
from outputd.changes.thresholds import (
    GAP_HALVES_S,
    KEPT_S,
    LEARN_POSTS,
    LEARN_S,
    LOOK_EVERY_S,
    MEAN_GAPS,
    MOST_SENDERS,
    PAUSE_GAPS,
    PAUSE_LEAST_S,
    SILENT_GAPS,
    SILENT_LEAST_S,
)
from outputd.results import timestamps


class Node(msgspec.Struct, array_like=True, gc=False):
    """A node, as it was heard."""

    heard_at: str
    """When its last POST arrived, by the clock on the wall."""
    heard_s: float
    """The same, as all of the following, by the clock of arrivals."""
    first_s: float
    posts: int = 1
    gap_s: float = 0.0
    """The longest between two POSTs, which counts less and less."""
    is_silent: bool = False


class Silence(msgspec.Struct, array_like=True, gc=False):
    """Who was heard, the one who was not heard for longest first.

    The clock of arrivals goes no further at once than is usual between two POSTs of any node: a time in which none
    arrived says nothing of a node, and a clock that was set neither.
    """

    clock_s: float = 0.0
    arrived_s: float = 0.0
    gaps: int = 0
    mean_gap_s: float = 0.0
    looked_s: float = 0.0
    nodes: dict[str, Node] = {}

    def hear(self, name: str, arrived: str) -> Iterator[Change]:
        """A POST of a node has arrived."""
        self._go_on(timestamps.seconds(arrived))
        node = self.nodes.pop(name, None)
        if node is None:
            if not self._has_room():
                return
            node = Node(arrived, self.clock_s, self.clock_s)
        else:
            if node.is_silent:
                yield Change("node_back", name, "", arrived, None, None)
            self._note(node, arrived)
        self.nodes[name] = node
        if self.clock_s - self.looked_s >= LOOK_EVERY_S:
            self.looked_s = self.clock_s
            yield from self._look()

    def _go_on(self, arrived_s: float) -> None:
        gap_s = max(0.0, arrived_s - self.arrived_s) if self.arrived_s else 0.0
        self.arrived_s = arrived_s
        self.clock_s += min(gap_s, max(PAUSE_LEAST_S, PAUSE_GAPS * self.mean_gap_s))
        self.gaps = min(MEAN_GAPS, self.gaps + 1)
        self.mean_gap_s += (gap_s - self.mean_gap_s) / self.gaps

    def _note(self, node: Node, arrived: str) -> None:
        """It was heard again; for how long a node was silent is not what is usual of it."""
        gap_s = self.clock_s - node.heard_s
        if not node.is_silent:
            node.gap_s = max(gap_s, node.gap_s * 0.5 ** (gap_s / GAP_HALVES_S))
        node.posts += 1
        node.heard_at, node.heard_s, node.is_silent = arrived, self.clock_s, False

    def _look(self) -> Iterator[Change]:
        for name, node in self.nodes.items():
            quiet_s = self.clock_s - node.heard_s
            if quiet_s < SILENT_LEAST_S:
                return
            is_known = node.posts >= LEARN_POSTS and node.heard_s - node.first_s >= LEARN_S
            if is_known and not node.is_silent and quiet_s >= SILENT_GAPS * node.gap_s:
                node.is_silent = True
                yield Change("node_silent", name, "", node.heard_at, None, None)

    def _has_room(self) -> bool:
        """Whether there is a place for one more, at the cost of one who was not heard for long."""
        if len(self.nodes) < MOST_SENDERS:
            return True
        oldest = next(iter(self.nodes))
        if self.clock_s - self.nodes[oldest].heard_s < KEPT_S:
            return False
        del self.nodes[oldest]
        return True
