"""A name server on port 53 of a loopback address, which can be silent, without an answer, or right."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from typing import Literal

_SERVFAIL = 2
_A = 1
_TTL_S = 0


@dataclass
class NameServer:
    """Answers every question for an IPv4 address with 127.0.0.1, once it is told to."""

    host: str
    mood: Literal["silent", "failing", "right"] = "silent"
    asked: int = 0
    _socket: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def open(self) -> NameServer:
        """Listen. Raises OSError where that is not allowed."""
        self._socket.bind((self.host, 53))
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, asker = self._socket.recvfrom(4096)
            except OSError:
                return
            self.asked += 1
            if self.mood != "silent":
                self._socket.sendto(self._answer(question), asker)

    def _answer(self, question: bytes) -> bytes:
        name_ends = question.index(b"\0", 12) + 1
        kind = int.from_bytes(question[name_ends : name_ends + 2], "big")
        asked = question[12 : name_ends + 4]
        has_address = self.mood == "right" and kind == _A
        flags = 0x8180 | (0 if self.mood == "right" else _SERVFAIL)
        counts = b"".join(number.to_bytes(2, "big") for number in (1, int(has_address), 0, 0))
        answer = b"\xc0\x0c\0\x01\0\x01" + _TTL_S.to_bytes(4, "big") + b"\0\x04\x7f\0\0\x01" if has_address else b""
        return question[:2] + flags.to_bytes(2, "big") + counts + asked + answer
