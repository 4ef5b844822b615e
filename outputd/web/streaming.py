"""Bodies that are longer than should be held at once: made a part at a time, as fast as the client reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from outputd.web.request import CappedRequest


@implementer(IPushProducer)
class Streaming:
    """Writes parts to a request whose headers are set; `part` makes the next one, None when there is no more.

    When that fails the connection breaks off: an answer that is not whole never looks as if it were.
    """

    def __init__(self, request: CappedRequest, part: Callable[[], Awaitable[bytes | None]]) -> None:
        self._request = request
        self._part = part
        self._paused = False
        self._stopped = False
        self._resumed: Deferred[None] | None = None

    async def run(self) -> None:
        """Return when all is written, or the client has gone. Raises what `part` raises."""
        try:
            await self._run()
        except BaseException:
            self._request.cut_off()
            raise

    async def _run(self) -> None:
        request = self._request
        if not request.gone:
            request.registerProducer(self, True)
        while not (self._stopped or request.gone):
            part = await self._part()
            if request.gone or part is None:
                break
            request.write(part)
            del part  # it may be long, and so may the wait
            if self._paused and not self._stopped:
                self._resumed = Deferred()
                await self._resumed
        if not request.gone:
            request.unregisterProducer()
            request.finish()

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """See IPushProducer."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)
