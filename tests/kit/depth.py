"""How deep a test goes: what takes long is for `make test-all`, and a short test proves the same promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

TWINS = "twins"
T = TypeVar("T")


def long(*twins: str) -> Callable[[T], T]:
    """Mark a test, or all tests of a class, that `make test` leaves out; its twins prove the same there, in short."""

    def marked(thing: T) -> T:
        setattr(thing, TWINS, twins)
        return thing

    return marked


def short(thing: T) -> T:
    """Mark a test of a long class that `make test` runs all the same."""
    setattr(thing, TWINS, ())
    return thing


def twins_of(test: object, name: str) -> tuple[str, ...]:
    """The short tests that stand for this one in `make test`; none for one that runs there itself."""
    method = getattr(test, name, None)
    twins: tuple[str, ...] = getattr(method, TWINS, getattr(test, TWINS, ()))
    return twins
