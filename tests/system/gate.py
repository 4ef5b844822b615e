"""A gate on the line between a client and a service: of what the client sends only so much comes through."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from math import inf

from tests.system.harness import HOST

_PIECE_BYTES = 65_536


class Gate:
    """Listens on `port`, and passes on to another one what it is let; answers pass always.

    A client that cannot be through yet is stopped in the middle of its work, however fast the machine is.
    """

    def __init__(self, service_port: int) -> None:
        self._service_port = service_port
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._moved = threading.Condition()
        self._left = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def let_through(self, pieces: float) -> None:
        """So many pieces, of 64 KiB at most, may pass from now on, whatever was let through before."""
        with self._moved:
            self._left = pieces
            self._moved.notify_all()

    def open(self) -> None:
        """Let everything through from now on."""
        self.let_through(inf)

    def close(self) -> None:
        """Listen no more."""
        self.open()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection((HOST, self._service_port)) as service:
            threading.Thread(target=self._answer, args=(service, client), daemon=True).start()
            while piece := client.recv(_PIECE_BYTES):
                with self._moved:
                    self._moved.wait_for(lambda: self._left >= 1)
                    self._left -= 1
                service.sendall(piece)

    def _answer(self, service: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := service.recv(_PIECE_BYTES):
                client.sendall(piece)
        for end in (client, service):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
