"""The whole service in this process: real ports, threads and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from outputd.intake.admission import Admission
from outputd.parts import Parts
from outputd.process.order import OutputService, Stop
from outputd.sqlite.pools import AdbapiPool
from outputd.tap import Options
from outputd.web.site import Site
from tests.kit.makers import rows_of
from tests.kit.wire import Reply, Wire

REACTOR: Any = reactor


class Running:
    """The whole service in this process: real ports, threads and files; `parts` may be changed before it starts."""

    def __init__(
        self, directory: Path, *flags: str, environ: Mapping[str, str] | None = None, with_pages: bool = True
    ) -> None:
        options = Options(environ or {})
        options.parseOptions(
            [
                "--port=tcp:0:interface=127.0.0.1",
                "--health-port=tcp:0:interface=127.0.0.1",
                "--input-url=",
                f"--db-dir={directory}",
                *flags,
            ]
        )
        self.directory = directory
        self.parts = Parts.build(options.settings(), REACTOR, partial(AdbapiPool, REACTOR), {}, with_pages)
        self.client = HTTPClient(Agent(REACTOR, pool=HTTPConnectionPool(REACTOR, persistent=False)))
        self._wires: list[Wire] = []

    def start(self) -> Running:
        service = self.service()
        service.privilegedStartService()
        service.startService()
        return self

    def service(self, stops: Sequence[Stop] | None = None) -> OutputService:
        """The service of the parts, or one that is stopped by other steps than theirs."""
        return OutputService(
            REACTOR, self.parts.starts(), self.parts.stops() if stops is None else stops, self.parts.stopping
        )

    async def stop(self, stops: Sequence[Stop] | None = None) -> None:
        for wire in self._wires:
            if not wire.is_closed:
                wire.hang_up()
                await wire.closed
        await self.service(stops).stopService()
        while self.site.channels:  # their connectionLost is on its way
            await deferLater(REACTOR, 0.001)

    @property
    def site(self) -> Site:
        return self.parts.results_site

    @property
    def admission(self) -> Admission:
        return self.parts.admission

    def port(self, name: str = "port") -> int:
        number = {"port": self.parts.results_port, "health-port": self.parts.health_port}[name].number
        assert number is not None, "it is closed, or has no number"
        return number

    async def ask(
        self, method: str, path: str, body: bytes | None = None,
        headers: Mapping[str, str | Sequence[str]] | None = None, port: str = "port",
    ) -> Reply:  # fmt: skip
        raw = {name: [value] if isinstance(value, str) else list(value) for name, value in (headers or {}).items()}
        response = await self.client.request(
            method, f"http://127.0.0.1:{self.port(port)}{path}", data=body, headers=Headers(raw)
        )
        return Reply(response.code, response.headers, await treq.content(response))

    async def post(self, body: bytes, **headers: str | Sequence[str]) -> Reply:
        """POST /results; X_Ping_Node="a" is a header."""
        return await self.ask(
            "POST", "/results", body, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    async def connect(self, port: str = "port") -> Wire:
        """A bare connection, to the result port if no other is asked for."""
        wire: Wire = await connectProtocol(TCP4ClientEndpoint(REACTOR, "127.0.0.1", self.port(port)), Wire())
        self._wires.append(wire)
        return wire

    async def say(self, request: bytes) -> bytes:
        """What comes back to these bytes until the other side closes."""
        wire = await self.connect()
        wire.write(request)
        await wire.closed
        return wire.data

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return rows_of(self.directory, query, *parameters)


_DEADLINE_S = 60.0  # many times what it takes here: only a test that fails waits so long


async def eventually(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fail after the deadline."""
    end = REACTOR.seconds() + _DEADLINE_S
    while not condition():
        if REACTOR.seconds() > end:
            raise AssertionError("waited in vain")
        await deferLater(REACTOR, 0.002)
