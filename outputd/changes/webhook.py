"""Posts changes to a URL as they are found, in order, each until it is taken or refused.

What was said to be taken is written down before the next one is posted; after a crash between the two it is posted once
more, with the same id.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from outputd.changes.changes import Changes, NotOpen
from outputd.changes.event import body_of
from outputd.changes.outbox import Owed
from outputd.client.delivery import Delivery
from outputd.client.exchange import Poster
from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Trouble

_log = Logger()
_OF_THE_WAY: Final = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 425, 429})
"""They speak of the URL, the token or the moment, and not of what was posted; all others from 400 to 499 refuse it."""


class Webhook(Delivery):
    """Posts what the outbox of a list of changes holds, while it runs."""

    name = "webhook"

    def __init__(
        self,
        changes: Changes,
        in_thread: InThread,
        post: Poster,
        url: str,
        clock: IReactorTime,
        *,
        token: Callable[[], str] = str,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(post, url, clock, _say_outage, _say_its_end, token=token, now=now, jitter=jitter)
        self._changes = changes
        self._outbox = changes.outbox
        self._in_thread = in_thread
        self.posted = self.refused = 0
        self._done: Owed | None = None  # taken or refused, which is yet to be written down
        self._last_refusal = 0
        self._losses = Trouble(now, clock.seconds, _say_loss)

    @property
    def waiting(self) -> int:
        """Changes that are owed."""
        return self._outbox.waiting

    @property
    def dropped(self) -> int:
        """Changes that have given way to newer ones since the start."""
        return self._outbox.dropped

    @property
    def failure(self) -> Failure | None:
        """What is not well: an outage, else what was lost since the start; None when all is."""
        return self._trouble.failure or self._losses.failure

    def wake(self) -> None:
        """See Delivery."""
        super().wake()
        self._note_losses()

    async def _turn(self) -> None:
        await self._settle()
        self._news = False
        owed = await self._first()
        if owed is None:
            await self._until_woken()
            return
        response = await self._answer(body_of(owed))
        if response is None:
            return
        if 200 <= response.code < 300:
            self.posted += 1
        elif 400 <= response.code < 500 and response.code not in _OF_THE_WAY:
            self._was_refused(owed, response.code)
        else:
            await self._put_off(response)
            return
        self._recovered()
        self._done = owed
        await self._settle()

    async def _first(self) -> Owed | None:
        """The oldest that waits; a list that is opened later wakes us."""
        try:
            return await self._in_thread(self._changes.run, self._outbox.first)
        except NotOpen:
            return None

    async def _settle(self) -> None:
        if self._done is not None:
            await self._in_thread(self._changes.run, self._outbox.settle, self._done)
            self._done = None

    def _was_refused(self, owed: Owed, status: int) -> None:
        self.refused += 1
        self._last_refusal = status
        self._note_losses()
        if count := self._refusals_to_tell():
            _log.warn(
                "the webhook refuses {kind} of {node} {target} with {status}; not posted again: {count} since the last"
                " such line",
                kind=owed.kind, node=owed.node, target=owed.target, status=status, count=count,
            )  # fmt: skip

    def _note_losses(self) -> None:
        lost = []
        if self.dropped:
            lost.append(f"{self.dropped} changes were dropped, as too many waited")
        if self.refused:
            lost.append(f"{self.refused} were refused, the last with {self._last_refusal}")
        if lost:
            self._losses.begin("; ".join(lost))

    def _stumbled(self, error: Exception, pause_s: float) -> None:
        if isinstance(error, sqlite3.Error | OSError | NotOpen):
            _log.error("the webhook failed, next try in {pause:.1f} s: {e!s}", pause=pause_s, e=error)
        else:
            _log.failure("the webhook failed, next try in {pause:.1f} s", pause=pause_s)


def _say_outage(reason: str) -> None:
    _log.warn("changes cannot be posted to the webhook: {reason}; they wait", reason=reason)


def _say_its_end(seconds: float) -> None:
    _log.info("changes are posted to the webhook again, after {seconds:.0f} s", seconds=seconds)


def _say_loss(reason: str) -> None:
    _log.warn("the webhook does not get all changes: {reason}", reason=reason)
