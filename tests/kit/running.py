"""The whole service in this process: real ports, threads and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from outputd.tap import Options, makeService
from tests.kit.makers import rows_of
from tests.kit.wire import Reply, Wire

REACTOR: Any = reactor


class Running:
    """The whole service in this process: real ports, threads and files."""

    def __init__(self, directory: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
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
        self.service = makeService(options, REACTOR)
        self.parts: Any = cast(Any, self.service)._starts[0].__self__
        self.client = HTTPClient(Agent(REACTOR, pool=HTTPConnectionPool(REACTOR, persistent=False)))
        self._wires: list[Wire] = []

    def start(self) -> Running:
        self.service.privilegedStartService()
        self.service.startService()
        return self

    async def stop(self) -> None:
        for wire in self._wires:
            if not wire.is_closed:
                wire.hang_up()
                await wire.closed
        await self.service.stopService()
        while self.site.channels:  # their connectionLost is on its way
            await deferLater(REACTOR, 0.001)

    @property
    def site(self) -> Any:
        return self.parts._results_site

    @property
    def admission(self) -> Any:
        return self.parts._admission

    def port(self, name: str = "port") -> int:
        return int(self.parts._ports[name].getHost().port)

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


async def eventually(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Return when the condition holds; fail after the deadline."""
    end = REACTOR.seconds() + seconds
    while not condition():
        if REACTOR.seconds() > end:
            raise AssertionError("waited in vain")
        await deferLater(REACTOR, 0.002)
