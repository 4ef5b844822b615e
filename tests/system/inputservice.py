"""A stand-in for input_service, which can be absent, ill or choosy."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MOST_HOPS = 1000  # rule 19


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST: when it came (monotonic seconds), what was in it and how it was answered."""

    at: float
    hops: tuple[str, ...]
    status: int


def take_all(hops: Sequence[str]) -> int:
    """Answer 200 to everything."""
    return 200


@dataclass
class InputService:
    """Answers `POST /hops` with the status that `verdict` gives; nobody listens before `open` and after `close`."""

    port: int
    verdict: Callable[[Sequence[str]], int] = take_all
    headers: Mapping[str, str] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    authorizations: set[str | None] = field(default_factory=set)
    """What posts had as their Authorization."""
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """For --input-url."""
        return f"http://127.0.0.1:{self.port}/hops" if self.tls is None else f"https://localhost:{self.port}/hops"

    @property
    def taken(self) -> Counter[str]:
        """How often each hop was in a POST that was answered 2xx."""
        return Counter(hop for post in list(self.deliveries) if 200 <= post.status < 300 for hop in post.hops)

    def has(self, hop: str) -> bool:
        """Whether it has taken this hop."""
        return hop in self.taken

    def open(self) -> InputService:
        """Listen."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.authorizations.add(self.headers["Authorization"])
                status = service._judge(self.path, body)
                self.send_response(status)
                for name, value in service.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def close(self) -> None:
        """Be absent."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _judge(self, path: str, body: bytes) -> int:
        content = json.loads(body)
        hops = content.get("hops")
        if path != "/hops" or list(content) != ["hops"] or not 1 <= len(hops) <= MOST_HOPS:
            self.faults.append(f"POST {path} {body[:200]!r}")
        status = self.verdict(hops)
        self.deliveries.append(Delivery(time.monotonic(), tuple(hops), status))
        return status
