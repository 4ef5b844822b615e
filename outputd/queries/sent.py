"""Which rows the pages of a list have sent, so that the next page has others, whatever has changed meanwhile.

A page keeps the keys of its rows and knows the page before it. Its name is a digest of all that: who asks for the same
again, and finds the same, adds nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MOST_BYTES = 4 << 20
"""What is held of first pages that nobody has continued, and as much of all others."""
_NAME_BYTES = 16
_OWN_BYTES = 500  # of a page, beside its keys
_LEVEL = 1  # higher ones take ten times as long and save a tenth, and the first byte of a long page waits for this


class Gone(Exception):
    """It is no longer known what the pages before have sent."""


def new_name() -> str:
    """A name that no page has."""
    return secrets.token_hex(_NAME_BYTES)


@dataclass(frozen=True, slots=True)
class _Page:
    before: str | None
    keys: Sequence[bytes]
    size_bytes: int


class Sent:
    """What was sent by each page that can be continued; what was not used for longest makes room. For any thread."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._lock = threading.Lock()
        self._first = _Held(most_bytes)
        """First pages that nobody has continued. Most are asked for again and again: they push out only each other."""
        self._others = _Held(most_bytes)

    @property
    def held_bytes(self) -> int:
        """What is held of all pages."""
        return self._first.size_bytes + self._others.size_bytes

    def add(self, question: str, before: str | None, keys: Iterable[str], name: str | None = None) -> str:
        """The name of a page that has sent these keys, JSON arrays of texts; `before` is None for the first page.

        One that had to be named before its keys were known has its own name, from `new_name`.
        """
        digest = hashlib.blake2s(f"{question} {before} ".encode(), digest_size=_NAME_BYTES)
        parts = []
        for text in keys:
            digest.update(text.encode())
            parts.append(zlib.compress(text.encode(), _LEVEL))
        name = name or digest.hexdigest()
        page = _Page(before, parts, sum(map(len, parts)) + _OWN_BYTES)
        with self._lock:
            held = self._first if before is None and name not in self._others else self._others
            self._use([(name, page), *self._until(before)], held)
        return name

    def until(self, name: str) -> Iterator[str]:
        """The keys that were sent by the page of this name and by all before it, as JSON arrays. Raises Gone."""
        with self._lock:
            pages = list(self._until(name))
            if not pages or pages[-1][1].before is not None:
                raise Gone(
                    "the list can no longer be continued: begin again, without cursor. If that happens often, ask for"
                    " more rows a page, or sort by name or address"
                )
            self._use(pages, self._others)
        return (zlib.decompress(part).decode() for _, page in pages for part in page.keys)

    def _until(self, name: str | None) -> Iterator[tuple[str, _Page]]:
        """A page and those before it, as far as they are held."""
        while name is not None and (page := self._others.get(name) or self._first.get(name)) is not None:
            yield name, page
            name = page.before

    def _use(self, pages: list[tuple[str, _Page]], held: _Held) -> None:
        """Hold pages, the last one first: none makes room before those that continue it."""
        for name, page in pages:
            if held is self._others:
                self._first.drop(name)
            held.put(name, page)


class _Held:
    """Pages within a number of bytes, the one used last at the end."""

    def __init__(self, most_bytes: int) -> None:
        self.size_bytes = 0
        self._most_bytes = most_bytes
        self._pages: OrderedDict[str, _Page] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._pages

    def get(self, name: str) -> _Page | None:
        return self._pages.get(name)

    def put(self, name: str, page: _Page) -> None:
        """Hold a page, unless it is too long: it would push out all others in vain."""
        self.drop(name)
        if page.size_bytes > self._most_bytes:
            return
        self._pages[name] = page
        self.size_bytes += page.size_bytes
        while self.size_bytes > self._most_bytes:
            self.drop(next(iter(self._pages)))

    def drop(self, name: str) -> None:
        page = self._pages.pop(name, None)
        if page is not None:
            self.size_bytes -= page.size_bytes
