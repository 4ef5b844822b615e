"""The network that an address belongs to."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Origin(NamedTuple):
    """An autonomous system: its number, and its name if that is known."""

    asn: int
    name: str | None


class Source(Protocol):
    """A file of networks, ready to be asked from any thread."""

    def of(self, address: bytes) -> Origin | None:
        """The network of an address of 4 or 16 bytes; None where there is none."""
