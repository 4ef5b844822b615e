"""Server-sent events: the newest state of the service, once a second, to all who listen.

Each event is a whole state, so a listener who is slow misses some and is right with the next; nothing is kept for it
beyond what its connection holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from outputd.process.log import Logger
from outputd.process.loops import Every
from outputd.web.answers import problem
from outputd.web.request import CappedRequest, put_head, send

_log = Logger()
MOST_LISTENERS = 64
_EVERY_S = 1.0
_RETRY_S = 2
_HEADERS = {
    b"Content-Type": b"text/event-stream",
    b"X-Content-Type-Options": b"nosniff",
    b"Cache-Control": b"no-store",
    b"X-Accel-Buffering": b"no",  # nginx would keep events back
}


class Events:
    """Sends what `news` makes to at most `most` listeners; `news` is asked only while somebody listens.

    It is asked once a second at most, however many come and go.
    """

    def __init__(
        self, news: Callable[[], Awaitable[bytes]], clock: IReactorTime, most: int = MOST_LISTENERS
    ) -> None:  # fmt: skip
        self._news = news
        self._most = most
        self._listeners: set[_Listener] = set()
        self._stopped = False
        self._newest = b""
        self._telling = Every(_EVERY_S, self._tell, clock)

    def listen(self, request: CappedRequest) -> None:
        """Send events until the client goes, or `stop`; 503 when too many listen."""
        if self._stopped or len(self._listeners) >= self._most:
            send(request, *problem(503, "there are too many event listeners", retry_after_s=5 * _RETRY_S))
            return
        put_head(request, 200, _HEADERS, None)
        if request.method == b"HEAD":
            request.finish()
            return
        listener = _Listener(request)
        self._listeners.add(listener)
        request.notifyFinish().addBoth(self._gone, listener)
        request.registerProducer(listener, True)
        request.write(b"retry: %d\n\n" % (1000 * _RETRY_S))
        listener.tell(self._newest)
        self._telling.start()

    def stop(self) -> None:
        """End all listening; browsers come again by themselves."""
        self._stopped = True
        for listener in list(self._listeners):
            listener.end()
        self._telling.stop()

    async def _tell(self) -> None:
        if not self._listeners:  # nobody has listened for the last second
            self._telling.stop()
            self._newest = b""
            return
        try:
            news = await self._news()
        except Exception:
            _log.failure("the event could not be made, trying again")
            return
        self._newest = b"data: %s\n\n" % news
        for listener in list(self._listeners):
            listener.tell(self._newest)

    def _gone(self, _: object, listener: _Listener) -> None:
        self._listeners.discard(listener)


@implementer(IPushProducer)
class _Listener:
    """A request that is answered event by event; while its connection is full it misses them."""

    def __init__(self, request: CappedRequest) -> None:
        self._request = request
        self._full = False

    def tell(self, event: bytes) -> None:
        """Send an event, unless there is no room for it."""
        if event and not self._full and not self._request.gone:
            self._request.write(event)

    def end(self) -> None:
        """End the answer, and the connection with it."""
        if self._request.gone:
            return
        self._request.close_after()
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._full = True

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._full = False

    def stopProducing(self) -> None:
        """See IPushProducer."""
