"""The counters of one run of the process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from outputd.changes.change import KINDS
from outputd.formats.formats import BY_NAME
from outputd.intake.latest import Latest
from outputd.ledger.lessons import Learnt
from outputd.results.model import OURS
from outputd.results.rows import Batch


@dataclass(slots=True)
class Stats:
    """What has been stored, rejected, refused and found since the start of the process."""

    results: int = 0
    successful: int = 0
    hops_discovered: int = 0
    hops_over_limit: int = 0
    hops_sent: int = 0
    duplicate_posts: int = 0
    offered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    refused_posts: int = 0
    foreign_bodies: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(BY_NAME, 0)))
    """Those of other formats that stored or rejected items, by format."""
    foreign_rejected: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(BY_NAME, 0)))
    """Their items that were rejected, by format."""
    changes: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(KINDS, 0)))
    """Changes found, by kind."""
    latest: Latest = field(default_factory=Latest)

    @property
    def failed(self) -> int:
        """Results without any reply."""
        return self.results - self.successful

    def count(self, batch: Batch) -> None:
        """Count a batch that is stored."""
        self.results += batch.accepted
        self.successful += batch.successful
        self.latest.note(batch.latest, batch.ahead)
        if batch.rejected_by_field:
            self.rejected.update(batch.rejected_by_field)
        if batch.format != OURS:
            self.foreign_bodies[batch.format] += 1
            self.foreign_rejected[batch.format] += len(batch.rejected)

    def count_learnt(self, learnt: Learnt) -> None:
        """Count the addresses that the ledger has learnt, or had no room for."""
        self.hops_discovered += learnt.new
        self.hops_over_limit += learnt.over_limit

    def count_sent(self, hops: int) -> None:
        """Count hops that input_service has taken."""
        self.hops_sent += hops
