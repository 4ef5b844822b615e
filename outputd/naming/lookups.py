"""The background in which names are looked up: some a second, a few at a time, and nobody waits for one."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from outputd.naming.names import Looked, Names
from outputd.naming.resolver import Server, Silent, Unknown, may_be_asked
from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure, Trouble

_log = Logger()
EACH_S = 0.04
"""Between two questions to the DNS."""
MOST_AT_ONCE = 16
MOST_WAITING = 4096
"""Addresses that wait to be looked up; others are forgotten until they are shown again."""
DAY_S = 86_400
NAMED_S = 7 * DAY_S
NAMELESS_S = DAY_S
UNKNOWN_S = 3600
SILENT_S = 600
"""After which an address is looked up again: one with a name, without, and without an answer of either kind."""
LONGEST_PAUSE_S = 60.0
_KEEP_AFTER_S = 1.0


class Lookups:
    """Looks addresses up. At rest, with nothing that waits, it has no timer."""

    def __init__(
        self, names: Names, servers: Callable[[], Sequence[Server]],
        name_of: Callable[[str, Sequence[Server]], Awaitable[str | None]], in_thread: InThread, clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        """`servers` may block, and is asked again whenever a rest ends; `in_thread` is one thread, in order."""
        self._names = names
        self._servers_of = servers
        self._name_of = name_of
        self._in_thread = in_thread
        self._clock = clock
        self._now = now
        self._servers: Sequence[Server] = ()
        self._waiting: dict[str, None] = {}
        self._asking: dict[str, Deferred[None]] = {}
        self._found: list[Looked] = []
        self._next: IDelayedCall | None = None
        self._keeping: IDelayedCall | None = None
        self._silent = 0
        self._is_stopped = False
        self._is_unkept = False
        self._trouble = Trouble(now, clock.seconds, self._say_silent, self._say_answers)

    @property
    def failure(self) -> Failure | None:
        """Why names are not found."""
        return self._trouble.failure

    @property
    def waiting(self) -> int:
        """Addresses that are to be looked up."""
        return len(self._waiting) + len(self._asking)

    def want(self, ips: Iterable[str]) -> None:
        """Look these up some time, as far as there is room."""
        if self._is_stopped:
            return
        was_idle = not self.waiting
        for ip in ips:
            if len(self._waiting) >= MOST_WAITING:
                break
            if ip not in self._asking:
                self._waiting[ip] = None
        if was_idle and self._waiting:
            Deferred.fromCoroutine(self._begin())

    async def stop(self) -> None:
        """Ask no more, and close the file."""
        self._is_stopped = True
        self._waiting.clear()
        for call in (self._next, self._keeping):
            if call is not None:
                call.cancel()
        self._next = self._keeping = None
        for asking in list(self._asking.values()):
            asking.cancel()
        await self._keep()
        await self._in_thread(self._names.leave)

    async def _begin(self) -> None:
        self._servers = await self._in_thread(self._servers_of)
        self._go_on()

    def _go_on(self) -> None:
        """Have the next question asked when its time comes."""
        most = MOST_AT_ONCE if self._silent < MOST_AT_ONCE else 1  # which finds out whether there are answers again
        if self._next is None and self._waiting and len(self._asking) < most:
            self._next = self._clock.callLater(self._pause_s, self._ask_next)

    @property
    def _pause_s(self) -> float:
        """Between two questions; longer and longer while nobody answers."""
        if self._silent < MOST_AT_ONCE:
            return EACH_S
        return min(LONGEST_PAUSE_S, 2.0 ** (self._silent - MOST_AT_ONCE))

    def _ask_next(self) -> None:
        self._next = None
        ip = next(iter(self._waiting), None)
        if ip is None:  # all were forgotten meanwhile
            return
        del self._waiting[ip]
        if may_be_asked(ip, self._servers):
            self._asking[ip] = asking = Deferred.fromCoroutine(self._look_up(ip))
            if asking.called:
                self._asking.pop(ip, None)
        else:
            self._take(ip, None, UNKNOWN_S, is_answered=False)
        self._go_on()

    async def _look_up(self, ip: str) -> None:
        try:
            name = await self._name_of(ip, self._servers)
        except CancelledError:
            pass
        except Silent as error:
            self._silent = min(self._silent + 1, 2 * MOST_AT_ONCE)
            if self._silent >= MOST_AT_ONCE:
                self._trouble.begin(str(error))
            if self._pause_s >= LONGEST_PAUSE_S:
                self._waiting.clear()  # nobody is woken for a server that may never come back
            self._take(ip, None, SILENT_S, is_answered=False)
        except Unknown:
            self._heard()
            self._take(ip, None, UNKNOWN_S, is_answered=False)
        else:
            self._heard()
            self._take(ip, name, NAMED_S if name else NAMELESS_S, is_answered=True)
        finally:
            self._asking.pop(ip, None)
            self._go_on()

    def _heard(self) -> None:
        self._silent = 0
        self._trouble.end()

    def _take(self, ip: str, name: str | None, again_s: int, is_answered: bool) -> None:
        now_s = int(self._now())
        self._found.append(Looked(ip, name, now_s, now_s + again_s, is_answered))
        if self._keeping is None and not self._is_stopped:
            self._keeping = self._clock.callLater(_KEEP_AFTER_S, self._keep_in_time)

    def _keep_in_time(self) -> None:
        self._keeping = None
        Deferred.fromCoroutine(self._keep())

    async def _keep(self) -> None:
        found, self._found = self._found, []
        if not found:
            return
        try:
            await self._in_thread(self._names.keep, found)
        except (sqlite3.Error, OSError) as error:
            if not self._is_unkept:
                _log.warn("names of addresses cannot be kept: {reason}", reason=error)
            self._is_unkept = True
        else:
            self._is_unkept = False

    def _say_silent(self, reason: str) -> None:
        _log.warn("names of addresses are not found: {reason}", reason=reason)

    def _say_answers(self, seconds: float) -> None:
        _log.info("the DNS answers again, after {seconds:.0f} s", seconds=seconds)
