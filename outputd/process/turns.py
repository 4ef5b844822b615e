"""Group commit: work that waits is done together, one turn at a time, with no fixed delay."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Item = TypeVar("Item")
Result = TypeVar("Result")
_TELLING_S = 0.01


class Scheduled(Protocol):
    """The part of an IDelayedCall that turns need."""

    def getTime(self) -> float:
        """IDelayedCall.getTime."""

    def reset(self, secondsFromNow: float) -> None:
        """IDelayedCall.reset."""


class CallLater(Protocol):
    """The part of a reactor that turns need."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> Scheduled:
        """IReactorTime.callLater."""

    def seconds(self) -> float:
        """IReactorTime.seconds."""


class Turns(Generic[Item, Result]):
    """Takes what waits, up to `most` by weight, and does it in one turn; while it is under way the next one gathers.

    `work` does a turn; its outcome is every item's. A turn begins at the end of the reactor's tick, so that all that
    came in with one wake-up share it, and at once when another has ended; later only if everything that waits can.

    What weighs less than `light` is not begun at once but after the reactor's next look at the sockets: those who have
    been answered may come again and share the turn. Two small turns cost more than one, and a thread that does one of
    them beside the reactor's makes both wait for the GIL.
    """

    def __init__(
        self,
        reactor: CallLater,
        work: Callable[[Sequence[Item]], Coroutine[Any, Any, Result]],
        weigh: Callable[[Item], int],
        most: int,
        most_items: int,
        light: int = 0,
    ) -> None:
        self._reactor = reactor
        self._work = work
        self._weigh = weigh
        self._most = most
        self._most_items = most_items
        self._light = light
        self._waiting: deque[tuple[Item, Deferred[Result]]] = deque()
        self._untold: deque[tuple[Result | Failure, Deferred[Result]]] = deque()
        self._busy = False
        self._due_s = 0.0
        self._scheduled: Scheduled | None = None
        self._held = False
        self._moved_s = 0.0
        self._when_still: list[Deferred[None]] = []

    def add(self, item: Item, within_s: float = 0.0) -> Deferred[Result]:
        """Let the item wait for a turn; the Deferred fires with that turn's outcome.

        It can wait `within_s` seconds for others: the turn begins once one of the waiting items can wait no longer.
        """
        done: Deferred[Result] = Deferred()
        now_s = self._reactor.seconds()
        if not (self._busy or self._waiting):
            self._moved_s = now_s
        due_s = now_s + within_s
        self._due_s = min(self._due_s, due_s) if self._waiting else due_s
        self._waiting.append((item, done))
        self._wake()
        return done

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Items that no turn has taken yet."""
        return len(self._waiting)

    @property
    def stalled_s(self) -> float:
        """Seconds since a turn has ended, or the first item came, while there is something to do; else 0."""
        return self._reactor.seconds() - self._moved_s if self._busy or self._waiting else 0.0

    async def settle(self) -> None:
        """Return when nothing waits and no turn is under way."""
        while self._busy or self._waiting:
            still: Deferred[None] = Deferred()
            self._when_still.append(still)
            await still

    async def hold(self) -> None:
        """Return when no turn is under way; none begins before release."""
        self._held = True
        if self._busy:
            still: Deferred[None] = Deferred()
            self._when_still.append(still)
            await still

    def release(self) -> None:
        """Let turns begin again."""
        self._held = False
        self._wake()

    def _wake(self) -> None:
        """Have the next turn begin when it is due."""
        if self._busy or self._held or not self._waiting:
            return
        if self._scheduled is None:
            self._scheduled = self._reactor.callLater(self._left_s, self._scheduled_turn)
        elif self._due_s < self._scheduled.getTime():
            self._scheduled.reset(self._left_s)

    @property
    def _left_s(self) -> float:
        return max(0.0, self._due_s - self._reactor.seconds())

    def _scheduled_turn(self) -> None:
        self._scheduled = None
        self._turn()

    def _turn(self) -> None:
        if self._busy or self._held or not self._waiting:
            return
        group: list[tuple[Item, Deferred[Result]]] = []
        weight = 0
        while self._waiting and len(group) < self._most_items:
            weight += self._weigh(self._waiting[0][0])
            if group and weight > self._most:
                break
            group.append(self._waiting.popleft())
        self._busy = True
        outcome = Deferred.fromCoroutine(self._work([item for item, _ in group]))
        outcome.addBoth(self._ended, [done for _, done in group])

    def _ended(self, outcome: Result | Failure, group: Sequence[Deferred[Result]]) -> None:
        self._busy = False
        self._moved_s = self._reactor.seconds()
        is_telling = bool(self._untold)
        self._untold += ((outcome, done) for done in group)  # told in the order of the turns
        still, self._when_still = self._when_still, []
        if self._left_s or sum(self._weigh(item) for item, _ in self._waiting) < self._light:
            if self._waiting:
                self._reactor.callLater(0, self._wake)  # what is due at once comes before the next look
        else:
            self._turn()  # before the answers, so that the writer writes meanwhile
        for waiter in still:
            waiter.callback(None)
        if not is_telling:
            self._tell()

    def _tell(self) -> None:
        ends_s = self._reactor.seconds() + _TELLING_S
        while self._untold:
            outcome, done = self._untold[0]
            if isinstance(outcome, Failure):
                done.errback(outcome)
            else:
                done.callback(outcome)
            self._untold.popleft()
            if self._untold and self._reactor.seconds() >= ends_s:  # the reactor has others to serve
                self._reactor.callLater(0, self._tell)
                return
