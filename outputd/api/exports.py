"""The routes of --health-port that send all results that are asked for, at the reader's pace."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from outputd.api.endpoints import endpoint_of_export
from outputd.export.pace import Pace
from outputd.export.page import NEVER_STORED
from outputd.export.walk import Lost, Walk
from outputd.process.log import Logger
from outputd.process.threads import InThread
from outputd.process.trouble import Failure
from outputd.queries.exports import EXPORTS, Encoding, Export
from outputd.queries.parameters import BadQuestion, parameters_of, read
from outputd.results import timestamps
from outputd.store.store import Store
from outputd.web.answers import SAFE, Answer, problem
from outputd.web.request import CappedRequest, answered, put_head
from outputd.web.routes import Route
from outputd.web.streaming import Streaming

_log = Logger()
MOST_AT_ONCE = 2
_AGAIN_S = 60
_PART_BYTES = 120 * 1024  # from 128 KiB on, the allocator would ask the kernel for the memory of each


class Exports:
    """Sends exports, two at a time. `damaged` files, by name, are left out; `has_room` is that of a Walk.

    `results` are those stored since the start.
    """

    def __init__(
        self, store: Store, results: Callable[[], int], damaged: Callable[[], Mapping[str, Failure]],
        in_thread: InThread, brief: InThread, clock: IReactorTime, has_room: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._store = store
        self._results = results
        self._damaged = damaged
        self._in_thread = in_thread
        self._brief = brief
        self._clock = clock
        self._has_room = has_room
        store.before_removal = self._keep
        self._under_way: set[_Sending] = set()
        self._is_stopping = False
        self._idle: Deferred[None] | None = None
        self._leaving: set[str] = set()
        self._met: dict[str, Failure] = {}

    @property
    def unreadable(self) -> dict[str, Failure]:
        """Damaged result files, by name: also those that an export has met."""
        there = self._names()
        self._met = {name: failure for name, failure in self._met.items() if name in there}
        return {**self._damaged(), **self._met}

    def __len__(self) -> int:
        return len(self._under_way)

    def routes(self) -> list[Route]:
        """A route a form."""
        return [self._route(export) for export in EXPORTS]

    async def stop(self) -> None:
        """End all exports; when it returns, no file is open for one."""
        self._is_stopping = True
        for sending in self._under_way:
            sending.break_off("outputd is shutting down")
        if self._under_way:
            self._idle = Deferred()
            await self._idle

    async def _keep(self, path: Path) -> None:
        """A file is about to be deleted: who still has to read it holds it first, or is cut off. It is read no more."""
        self._leaving = {*self._leaving & self._names(), path.name}
        for sending in list(self._under_way):
            if not await self._brief(sending.walk.keep, path):
                sending.break_off(f"{path.name} is pruned, and cannot be kept until it is read")

    def _route(self, export: Export) -> Route:
        def handler(request: CappedRequest) -> None:
            request.take_body()
            answered(request, self._answer(request, export))

        return endpoint_of_export(export).answered_by(handler)

    async def _answer(self, request: CappedRequest, export: Export) -> Answer | None:
        try:
            asked = read(export, _sent(request, export))
        except BadQuestion as error:
            return problem(400, str(error))
        if export.library and find_spec(export.library) is None:
            return problem(501, f"this needs {export.library}: install it with pip install 'outputd[{export.suffix}]'")
        if self._is_stopping or len(self._under_way) >= MOST_AT_ONCE:
            why = "outputd is shutting down" if self._is_stopping else f"{MOST_AT_ONCE} exports are being read already"
            return problem(503, why, retry_after_s=_AGAIN_S)
        unreadable = self.unreadable
        left_out = {*unreadable, *self._leaving}
        files = [info for info in self._store.files if info.path.name not in left_out]
        walk = Walk(files, asked, self._has_room)
        sending = _Sending(request, export, walk, self._in_thread, self._clock, self._results)
        self._under_way.add(sending)
        try:
            return await self._send(request, export, sending, unreadable)
        finally:
            await self._brief(sending.close)
            self._under_way.discard(sending)
            if self._idle is not None and not self._under_way and not self._idle.called:
                self._idle.callback(None)

    async def _send(
        self, request: CappedRequest, export: Export, sending: _Sending, unreadable: Mapping[str, Failure]
    ) -> Answer | None:
        try:
            await sending.begin()
        except (Lost, OSError) as error:
            self._note(error)
            return problem(503, str(error), retry_after_s=_AGAIN_S)
        if request.gone:
            return None
        unread = {*unreadable, *sending.walk.missing} & self._names()  # others were pruned meanwhile
        put_head(request, 200, _headers(export, self._store.now(), unread), None)
        if request.method == b"HEAD":
            request.finish()
            return None
        try:
            await Streaming(request, sending.part).run()
        except Lost as error:
            self._note(error)
            sending.broken = sending.broken or str(error)
        if sending.broken:
            _log.warn("an export was cut off: {reason}", reason=sending.broken)
        return None

    def _note(self, error: Lost | OSError) -> None:
        if isinstance(error, Lost) and error.damaged:
            self._met[error.damaged] = Failure(str(error), self._store.now())

    def _names(self) -> set[str]:
        return {info.path.name for info in self._store.files}


class _Sending:
    """One export on its way."""

    def __init__(
        self, request: CappedRequest, export: Export, walk: Walk, in_thread: InThread, clock: IReactorTime,
        results: Callable[[], int],
    ) -> None:  # fmt: skip
        self.walk = walk
        self._request = request
        self._export = export
        self._in_thread = in_thread
        self._clock = clock
        self._results = results
        self._pace = Pace(results(), time.process_time(), clock.seconds())
        self._resting: Deferred[None] | None = None
        self._encoder: Encoding | None = None
        self.broken = ""
        """Why it ends before its end."""
        self._ready = memoryview(b"")
        self._is_over = False

    async def begin(self) -> None:
        """Settle what is sent. Raises Lost."""
        await self._in_thread(self.walk.begin)
        if self._request.method != b"HEAD":
            self._encoder = await self._in_thread(self._export.encoder)
        self._look()

    def close(self) -> None:
        """Hold nothing any more. Blocking."""
        self.walk.close()
        if self._encoder is not None:
            self._encoder.close()

    def break_off(self, reason: str) -> None:
        """End it, never as if it were whole."""
        self.broken = reason
        if self._resting is not None:
            self._resting.cancel()
        if self._encoder is not None:
            self._encoder.stop()
        if self._request.startedWriting:
            self._request.cut_off()

    async def part(self) -> bytes | None:
        """The next bytes; None after the last. Raises Lost."""
        assert self._encoder is not None, "begin comes first"
        while not self._ready and not self._is_over and not self._request.gone:
            self._is_over, made, cpu_s = await self._in_thread(_next, self.walk, self._encoder)
            self._look()
            self._ready = memoryview(made)
            if rest_s := self._pace.rest_s(cpu_s, self._results(), time.process_time(), self._clock.seconds()):
                await self._rest(rest_s)
        part, self._ready = bytes(self._ready[:_PART_BYTES]), self._ready[_PART_BYTES:]
        return part or None

    async def _rest(self, seconds: float) -> None:
        self._resting = deferLater(self._clock, seconds)
        with contextlib.suppress(CancelledError):
            await self._resting
        self._look()

    def _look(self) -> None:
        if self.broken:
            raise Lost(self.broken)


def _next(walk: Walk, encoder: Encoding) -> tuple[bool, bytes, float]:
    """Whether that was the last page, what can be sent now, and the seconds of CPU that it took."""
    begun_s = time.thread_time() + encoder.apart_s
    page = walk.page()
    try:
        made = encoder.end() if page is None else encoder.add(page)
    except NEVER_STORED as error:
        raise walk.spoilt() from error
    return page is None, made, time.thread_time() + encoder.apart_s - begun_s


def _sent(request: CappedRequest, export: Export) -> Mapping[str, str]:
    """The parameters by name. Raises BadQuestion for one that is none: who misspells a bound would get everything.

    Of two that have one name neither would be what was meant, and one without `=` would be left out.
    """
    for part in request.uri.partition(b"?")[2].replace(b";", b"&").split(b"&"):
        if part and b"=" not in part:
            raise BadQuestion(f"{part.decode(errors='replace')} must have a value")
    sent = {}
    known = [parameter.name for parameter in parameters_of(export)]
    for key, values in request.args.items():
        name = key.decode(errors="replace")
        if name not in known:
            raise BadQuestion(f"there is no parameter {name}: there are {', '.join(known)}")
        if len(values) > 1:
            raise BadQuestion(f"{name} must be there once")
        sent[name] = values[0].decode(errors="replace")
    return sent


def _headers(export: Export, now_s: float, unread: Collection[str]) -> Mapping[bytes, bytes]:
    at = timestamps.at(now_s)[:19].replace(" ", "_").replace(":", "-")
    headers = {
        b"Content-Type": export.media.encode(),
        b"Content-Disposition": f'attachment; filename="results_{at}.{export.suffix}"'.encode(),
        **SAFE,
    }
    return {**headers, b"Unreadable-Files": ", ".join(sorted(unread)).encode()} if unread else headers
