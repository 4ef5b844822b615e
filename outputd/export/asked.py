"""Which results an export is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outputd.store.times import within


@dataclass(frozen=True, slots=True)
class Asked:
    """Bounds and filters; None is any. A span holds its beginning and not its end, in the stored form of times."""

    since: str | None = None
    """When it was measured."""
    until: str | None = None
    arrived_since: str | None = None
    """When it arrived."""
    arrived_until: str | None = None
    ip: str | None = None
    """The target, in canonical form."""
    node: str | None = None
    failed: bool | None = None

    @property
    def conditions(self) -> list[str]:
        """SQL of what a result `p` of the batch `b` must be."""
        chosen = {
            "p.ip = :ip": self.ip is not None,
            "p.received = 0": self.failed is True,
            "p.received > 0": self.failed is False,
            "b.node = :node": self.node is not None,
            "b.received_at >= :arrived_since": self.arrived_since is not None,
            "b.received_at < :arrived_until": self.arrived_until is not None,
        }
        asked = [condition for condition, is_chosen in chosen.items() if is_chosen]
        return [*asked, *within("+p.timestamp", self.since, self.until)]

    @property
    def parameters(self) -> dict[str, Any]:
        """What the conditions name."""
        return {
            "since": self.since, "until": self.until, "arrived_since": self.arrived_since,
            "arrived_until": self.arrived_until, "ip": self.ip, "node": self.node,
        }  # fmt: skip
