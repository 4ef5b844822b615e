"""The loop that keeps the ledger up, beside the POSTs that teach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from outputd.ledger.ledger import Ledger
from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.process.threads import InThread
from outputd.process.trouble import Trouble
from outputd.sqlite.errors import DatabaseFailed
from outputd.store.file import FileInfo

_log = Logger()
_EVERY_S = 1.0


class Upkeep:
    """Once a second: a ledger that was deleted is made anew from the result files, and what failed is tried again."""

    def __init__(
        self, ledger: Ledger, files: Callable[[], Sequence[FileInfo]], feedable: Callable[[str], bool],
        in_thread: InThread, clock: IReactorTime, now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._files = files
        self._feedable = feedable
        self._in_thread = in_thread
        self._every = Every(_EVERY_S, self._keep_up, clock)
        self._trouble = Trouble(now, clock.seconds, _say_that_it_fails, _say_that_it_works)

    def start(self) -> None:
        """Begin, after a second."""
        self._every.start(now=False)

    def stop(self) -> Deferred[None]:
        """Begin no more; fires when what is under way has ended, so that nothing opens the ledger after its close."""
        return self._every.stop()

    async def _keep_up(self) -> None:
        try:
            if self._ledger.is_gone():
                if self._trouble.failure is None:
                    _log.error("the hop ledger was deleted by someone else and is rebuilt from the result files")
                await self._ledger.reopen(self._files(), self._feedable, self._in_thread)
            await self._ledger.keep_up()
        except Exception as error:
            if self._trouble.begin(str(error)) and not isinstance(error, DatabaseFailed | OSError):
                _log.failure("updating the hop ledger failed unexpectedly")
        else:
            self._trouble.end()


def _say_that_it_fails(reason: str) -> None:
    _log.error("the hop ledger cannot be updated, trying again: {reason}", reason=reason)


def _say_that_it_works(seconds: float) -> None:
    _log.info("the hop ledger is updated again, after {seconds:.0f} s", seconds=seconds)
