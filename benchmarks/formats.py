"""How fast foreign formats are read on one core: `python -m benchmarks.formats DIRECTORY` of files, in a folder a tool.

Only files of which something is read count. Beside them: sagan, the RIPE NCC's own reader, where it is installed, and
json.loads, which makes no results but reads the same JSON.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from outputd.formats.documents import documents
from outputd.formats.formats import READERS
from outputd.formats.packing import unpacked
from outputd.formats.reader import NotOfThisFormat, Reader
from outputd.results.agreement import MOST_BODY_BYTES
from outputd.results.model import PingResult

_FOLDERS = {"atlas": "ripe-atlas"}
_LEAST_CPU_S = 1.0
_MIB = 2**20


@dataclass(slots=True)
class Rate:
    """What was read in how much CPU time."""

    results: int = 0
    rows: int = 0
    read_bytes: int = 0
    cpu_s: float = 0.0

    def __str__(self) -> str:
        rates = (self.results / self.cpu_s, self.rows / self.cpu_s, self.read_bytes / self.cpu_s / _MIB)
        return " | ".join(f"{each:,.0f}" for each in rates)


def bodies_of(reader: Reader, directory: Path) -> list[bytes]:
    """The files of a format, unpacked, of which something is read."""
    paths = sorted((directory / _FOLDERS.get(reader.name, reader.name)).glob("*"))
    bodies = [unpacked(path.read_bytes(), MOST_BODY_BYTES) for path in paths]
    return [body for body in bodies if any(isinstance(item, PingResult) for item in _items(reader, body))]


def rate(bodies: Sequence[bytes], read: Callable[[bytes], Iterable[object]]) -> Rate:
    """Read all of them, again and again for a second."""
    found = Rate()
    begun = time.process_time()
    while found.cpu_s < _LEAST_CPU_S:
        for body in bodies:
            found.read_bytes += len(body)
            for item in read(body):
                found.results += 1
                if isinstance(item, PingResult) and item.traceroute is not None:
                    found.rows += len(item.traceroute.hops or ())
        found.cpu_s = time.process_time() - begun
    return found


def _items(reader: Reader, body: bytes) -> Iterable[object]:
    with suppress(NotOfThisFormat):
        yield from reader.read(body)


def by_json(body: bytes) -> Iterable[object]:
    """The documents of a body, and nothing made of them."""
    with suppress(NotOfThisFormat):
        for document in documents(body):
            yield json.loads(document)


def by_sagan(body: bytes) -> Iterable[object]:
    """The results of a body, all their fields parsed."""
    result = importlib.import_module("ripe.atlas.sagan").Result
    for document in documents(body):
        yield result.get(document.decode(), on_error=result.ACTION_IGNORE, on_malformation=result.ACTION_IGNORE)


def _is_json(body: bytes) -> bool:
    try:
        return bool(list(by_json(body)))
    except ValueError:
        return False


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "directory", type=Path, help="a folder a tool: atlas as ripe-atlas, others by their format's name"
    )
    directory = parser.parse_args().directory
    print("| reader | files | results/s | hop rows/s | MiB/s |\n|---|---:|---:|---:|---:|")
    for reader in READERS:
        bodies = bodies_of(reader, directory)
        if not bodies:
            continue
        shared = [body for body in bodies if _is_json(body)]
        print(f"| {reader.name} | {len(bodies)} | {rate(bodies, reader.read)} |", flush=True)
        if len(shared) not in (0, len(bodies)):
            print(f"| {reader.name}, JSON only | {len(shared)} | {rate(shared, reader.read)} |", flush=True)
        if shared and reader.name == "atlas" and importlib.util.find_spec("ripe"):
            print(f"| sagan | {len(shared)} | {rate(shared, by_sagan)} |", flush=True)
        if shared:
            print(f"| json.loads | {len(shared)} | {rate(shared, by_json)} |", flush=True)


if __name__ == "__main__":
    main()
