"""How deep a test goes: what takes long is for `make test-all`, and a short test proves the same promise."""

from __future__ import annotations

from typing import TypeVar

LONG = "long"
T = TypeVar("T")


def long(thing: T) -> T:
    """Mark a test, or all tests of a class, that `make test` leaves out."""
    setattr(thing, LONG, True)
    return thing
