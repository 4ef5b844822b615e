"""A site: the connections of one port, whom it lets in, and how it ends."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web import server

from outputd.process.loops import Every
from outputd.results.addresses import network_of
from outputd.security.access import Access, may
from outputd.security.proxies import Proxies
from outputd.web.answers import Answer, problem
from outputd.web.connection import Channel, OneTooMany, has_more
from outputd.web.doors import LATE, Doors
from outputd.web.elsewhere import may_ask
from outputd.web.request import CappedRequest, Room
from outputd.web.routes import Miss, Routes

_SWEEP_S = 1.0
_LOOK_S = 5.0
_FRESH_S = 5.0  # a busy machine may take so long from the first of a connection to the next
_GRACE_S = 1.0
_MOST_UNSENT_BYTES = 16 << 20
_CHALLENGE = {b"WWW-Authenticate": b'Basic realm="outputd", charset="UTF-8", Bearer realm="outputd"'}
Show = Callable[[CappedRequest, Answer], Answer]


class Site(server.Site):
    """A site of bounded requests that knows what is in flight and can be drained."""

    protocol = Channel  # type: ignore[assignment]  # the declared type is that of the default, which also speaks h2
    requestFactory = CappedRequest
    draining = False
    in_flight = 0
    unsent_bytes = 0

    def __init__(
        self, routes: Routes, reactor: IReactorTime, admission: Room, most_body_bytes: int, most_connections: int,
        access: Access, doors: Doors[Channel] | None = None, proxies: Proxies | None = None,
        show: Show | None = None,
    ) -> None:  # fmt: skip
        """`show` makes of a refusal what is sent to who has asked; without it that is the problem itself."""
        super().__init__(routes, parsePOSTFormSubmission=False, timeout=None, reactor=reactor)  # see is_stuck
        self.admission = admission
        self.most_body_bytes = most_body_bytes
        self.most_connections = most_connections
        self.access = access
        self.proxies = proxies or Proxies()
        self._show = show
        self.doors = doors or Doors("this port", reactor.seconds)
        self.channels: set[Channel] = set()
        self.seconds = reactor.seconds
        self._clock = reactor
        self._drained: Deferred[None] | None = None
        self._looked_s = 0.0
        self._sweeping = Every(_SWEEP_S, self._sweep, reactor)

    def startFactory(self) -> None:
        """Begin to drop connections that make no progress. No access log: it costs as much as the answer."""
        self._sweeping.start(now=False)

    def acceptableProtocols(self) -> list[bytes]:
        """The one that the channel speaks: twisted.web would offer HTTP/2 to TLS clients where its parts are there."""
        return [b"http/1.1"]

    def stopFactory(self) -> None:
        """See startFactory; the sweep goes on while there are connections."""

    def buildProtocol(self, addr: IAddress | None) -> Channel | OneTooMany:  # type: ignore[override]  # as above
        """A channel. When there are too many, one makes room, or the new one is closed."""
        network = network_of(getattr(addr, "host", ""))
        if len(self.channels) >= self.most_connections:
            leaving = self.doors.make_room(self.channels, self.most_connections, network)
            if leaving is None:
                return OneTooMany()
            self.channels.discard(leaving)
            leaving.abort()
        channel: Channel = super().buildProtocol(addr)
        channel.network = network
        return channel

    def refusal(self, request: CappedRequest) -> Answer | None:
        """The answer to a request that may not be answered otherwise: from whom it comes, and what for."""
        found, holder = request.found, request.holder
        assert found is not None, "it is sought before it is judged"
        is_dear = not isinstance(found, Miss) and found.route.is_dear
        if not may_ask(request, found.role is None, is_dear):
            return problem(403, "pages of other sites may not request this")
        if found.role is not None and self.access.asks_for(found.role):
            if holder is None:
                return problem(401, f"needed: {self.access.wanted}", _CHALLENGE)
            if not may(holder.role, found.role):
                return problem(403, f"this is for {found.role}s, and {holder.name} has the role {holder.role}")
        return found.answer if isinstance(found, Miss) else None

    def shown(self, request: CappedRequest, refusal: Answer) -> Answer:
        """What is sent to who has asked, to say that it is refused."""
        return refusal if self._show is None else self._show(request, refusal)

    def judge_again(self) -> None:
        """Ask of each request that is not over whether it may go on: its token, or its CA, may be known no more."""
        for channel in list(self.channels):
            channel.judge_again()

    async def drain(self, deadline_s: float) -> None:
        """Answer what is in flight, end idle connections, and after the deadline all connections.

        A connection that has just come has a second for its first request: its client has no other to send it on.
        """
        self.draining = True
        self._end_idle(_FRESH_S)
        if self._is_busy():
            self._drained = Deferred()
            timers = (
                self._clock.callLater(min(_GRACE_S, deadline_s / 2), self._end_idle, 0.0),
                self._clock.callLater(deadline_s, self._drained.callback, None),
            )
            await self._drained
            for timer in timers:
                if timer.active():
                    timer.cancel()
        for channel in list(self.channels):
            channel.abort()
        self._sweeping.stop()

    def _end_idle(self, fresh_s: float) -> None:
        """Let the request under way be the last of its connection, and end those without one, but not the fresh."""
        now_s = self.seconds()
        for channel in list(self.channels):
            if channel.requests and not channel.is_deaf:
                channel.persistent = False
            elif channel.is_deaf or not (has_more(channel) or channel.is_fresh(now_s, fresh_s)):
                channel.loseConnection()  # what has come in and was not read yet is in flight, too

    def count_unsent(self, size_bytes: int) -> None:
        """So much more is unsent, or less. When it is too much, who has not read for longest is cut off.

        One alone may have all.
        """
        self.unsent_bytes += size_bytes
        while size_bytes > 0 and self.unsent_bytes > _MOST_UNSENT_BYTES:
            unread = [channel for channel in self.channels if channel.unread_since_s is not None]
            if len(unread) <= 1:
                return
            min(unread, key=lambda channel: channel.unread_since_s or 0.0).abort()

    def request_ended(self) -> None:
        """A request was answered, or its client has gone and its work is done."""
        self.in_flight -= 1
        self._tell_drained()

    def channel_closed(self, channel: Channel) -> None:
        """A connection has ended, and with it all that it had to send."""
        self.channels.discard(channel)
        self._tell_drained()

    def _tell_drained(self) -> None:
        if self._drained is not None and not self._drained.called and not self._is_busy():
            self._drained.callback(None)

    def _is_busy(self) -> bool:
        return self.in_flight > 0 or bool(self.channels)

    def _sweep(self) -> None:
        now = self.seconds()
        looks = now - self._looked_s >= _LOOK_S  # at what the kernel has sent, too, which costs more
        if looks:
            self._looked_s = now
        for channel in list(self.channels):
            if channel.is_late(now):
                self.doors.count(LATE)
                channel.abort()
            elif looks and channel.is_stuck(now):
                channel.end()
            else:
                channel.loosen_if_slow(now)
