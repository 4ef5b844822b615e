"""Loss of the packets to one target, as one node measures it."""

from __future__ import annotations

import msgspec

from outputd.changes.change import News
from outputd.changes.thresholds import (
    CHANCE_RESULTS,
    LEARN_RESULTS,
    LOSSY_RESULTS,
    LOSSY_SHARE,
    LOST_SHARE,
    TIMES_USUAL,
    USUAL_RESULTS,
)


class Loss(msgspec.Struct, array_like=True, gc=False):
    """Whether there is loss, what is usual, and the results in a row that speak for a change."""

    results: int = 0
    usual: float = 0.0
    is_lossy: bool = False
    during: float = 0.0
    row: int = 0
    row_since: str = ""
    row_sent: int = 0
    row_lost: int = 0

    def see(self, at: str, sent: int, received: int) -> News | None:
        """Take in a result that sent some packets."""
        lost = max(0, sent - received)
        if not lost and not self.usual and not self.row and self.results == USUAL_RESULTS and not self.is_lossy:
            return None  # as most are
        if self.results < LEARN_RESULTS:
            self._learn(lost / sent, 1)
        elif (lost > LOSSY_SHARE * sent) is not self.is_lossy:
            return self._another(at, sent, lost)
        else:
            if self.row:
                self._end_row()
            if not self.is_lossy:
                self._learn(lost / sent, 1)
        return None

    def _another(self, at: str, sent: int, lost: int) -> News | None:
        """One more in a row that does not fit the state."""
        if not self.row:
            self.row_since, self.row_sent, self.row_lost = at, 0, 0
        self.row += 1
        self.row_sent += sent
        self.row_lost += lost
        if self.row < LOSSY_RESULTS:
            return None
        share = self.row_lost / self.row_sent
        if self.is_lossy:
            news = News("loss_ended", self.row_since, _percent(self.during), _percent(share))
        elif share >= max(LOST_SHARE, TIMES_USUAL * self.usual):
            news = News("loss_began", self.row_since, _percent(self.usual), _percent(share))
            self.during = share
        else:
            if self.row >= CHANCE_RESULTS:
                self._end_row()
            return None
        self.is_lossy, self.row = not self.is_lossy, 0
        return news

    def _end_row(self) -> None:
        """What did not last was usual; within a loss nothing is."""
        if not self.is_lossy:
            self._learn(self.row_lost / self.row_sent, self.row)
        self.row = 0

    def _learn(self, share: float, results: int) -> None:
        self.results = min(USUAL_RESULTS, self.results + results)
        self.usual += (share - self.usual) * results / self.results


def _percent(share: float) -> float:
    return round(100 * share, 1)
