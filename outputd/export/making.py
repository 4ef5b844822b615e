"""The files that an export makes: aside, and under their names once all are whole. Blocking."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path

from outputd.export.ndjson import NdjsonEncoder
from outputd.export.page import Encoder, Page
from outputd.export.source import NotExported
from outputd.process.files import publish

ENDINGS = (".parquet", ".ndjson", ".ndjson.gz")
"""The end of a file's name says what it is."""


class Gzipped:
    """What another encoder makes, compressed."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._gzip = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)

    def add(self, page: Page) -> bytes:
        """See Encoder."""
        return self._gzip.compress(self._encoder.add(page))

    def end(self) -> bytes:
        """See Encoder."""
        return self._gzip.compress(self._encoder.end()) + self._gzip.flush()


def encoders_of(ending: str) -> Callable[[], Encoder]:
    """What makes the encoder of a file with this ending. Raises NotExported."""
    if ending == ".ndjson":
        return NdjsonEncoder
    if ending == ".ndjson.gz":
        return lambda: Gzipped(NdjsonEncoder())
    try:
        from outputd.export.parquet import ParquetEncoder  # noqa: PLC0415  # an extra, which takes a second
    except ModuleNotFoundError as error:
        raise NotExported(f"Parquet needs {error.name}: pip install 'outputd[parquet]'") from None
    return ParquetEncoder


class Names:
    """The names of the files to make, in their order."""

    def __init__(self, out: Path, ending: str, is_split: bool) -> None:
        self._out = out
        self._stem = out.name.removesuffix(ending)
        self._ending = ending
        self._is_split = is_split

    def __iter__(self) -> Iterator[Path]:
        if not self._is_split:
            yield self._out
            return
        for number in count(1):
            yield self._out.with_name(f"{self._stem}-{number:05}{self._ending}")

    def taken(self) -> Path | None:
        """A file that has one of these names: files of two exports are never mixed."""
        if not self._is_split:
            return self._out if os.path.lexists(self._out) else None
        return next((path for path in self._out.parent.glob("*") if self._is_part(path.name)), None)

    def _is_part(self, name: str) -> bool:
        number = name.removeprefix(f"{self._stem}-").removesuffix(self._ending)
        return len(number) >= 5 and number.isdecimal() and name == f"{self._stem}-{number}{self._ending}"


def make(
    names: Iterator[Path], pages: Iterable[Page], encoders: Callable[[], Encoder], most_bytes: float
) -> list[Path]:
    """Make a file of all pages, or several, of which each but the last has this size or little more; their names.

    None has its name before all are whole, and none is left when this raises. Raises OSError, and what `pages` raises.
    """
    made: dict[Path, Path] = {}
    published: list[Path] = []
    rest = iter(pages)
    page = next(rest, None)
    try:
        while page is not None or not made:
            path = next(names)
            aside = path.with_name(f".{path.name}-{os.urandom(4).hex()}.tmp")
            made[aside] = path
            page = _write(aside, page, rest, encoders(), most_bytes)
        for aside, path in made.items():
            publish(aside, path)
            published.append(path)
    except BaseException:
        for path in published:
            path.unlink(missing_ok=True)
        raise
    finally:
        for aside in made:
            aside.unlink(missing_ok=True)
    return published


def _write(
    aside: Path, page: Page | None, rest: Iterator[Page], encoder: Encoder, most_bytes: float
) -> Page | None:  # fmt: skip
    """Write one file; the page with which the next one begins."""
    with aside.open("xb") as file:
        while page is not None and (page.continues or file.tell() < most_bytes):
            file.write(encoder.add(page))
            page = next(rest, None)
        file.write(encoder.end())
    return page
