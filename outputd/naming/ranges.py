"""The table of iptoasn.com: ranges of addresses with their networks, in arrays that are searched by halves.

A range takes 8 bytes for IPv4 and 20 for IPv6, a network 12 with its name's bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from functools import partial
from typing import IO

from outputd.naming.origin import Origin
from outputd.naming.words import network_name
from outputd.process.trouble import Unusable
from outputd.results.addresses import packed

MOST_RANGES = 5_000_000
MOST_NETWORKS = 500_000
_MOST_LINE_BYTES = 4096
_NONE = 0


class Ranges:
    """Which range an address is in. It is made once, and read by any thread."""

    def __init__(self, file: IO[bytes]) -> None:
        """Of the lines of a file. Raises Unusable with the number of the wrong one, and OSError."""
        self._short, self._wide = _Short(), _Wide()
        self._numbers = array("I", [0])
        self._names = bytearray()
        self._ends = array("I", [0, 0])
        """Where in the names that of each network begins, and the last one ends."""
        places: dict[bytes, int] = {b"0": _NONE}
        number = 0
        try:
            for number, line in enumerate(iter(partial(file.readline, _MOST_LINE_BYTES + 1), b""), 1):
                if number > MOST_RANGES:
                    raise ValueError(f"more than {MOST_RANGES:,} ranges")
                if len(line) > _MOST_LINE_BYTES:  # as gzip a few KiB may be one of gigabytes
                    raise ValueError(f"it has over {_MOST_LINE_BYTES} bytes")
                start, end, asn, _, name = line.rstrip(b"\r\n").split(b"\t", 4)
                place = places.get(asn)
                if place is None:
                    place = places[asn] = self._take(int(asn), name.decode())
                first, last = packed(start.decode()), packed(end.decode())
                family = self._short if len(first) == 4 else self._wide
                family.add(int.from_bytes(first, "big"), int.from_bytes(last, "big"), place)
        except (ValueError, OverflowError) as error:
            raise Unusable(f"line {number}: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise Unusable(f"line {number}: {error}") from None  # no address, or no gzip
        self._short.end()
        self._wide.end()

    def _take(self, asn: int, name: str) -> int:
        """Remember a network; returns its place. Raises ValueError."""
        if len(self._numbers) > MOST_NETWORKS:
            raise ValueError(f"more than {MOST_NETWORKS:,} networks")
        self._numbers.append(asn)
        self._names += (network_name(name) or "").encode()
        self._ends.append(len(self._names))
        return len(self._numbers) - 1

    @property
    def size_bytes(self) -> int:
        """What it takes of the memory."""
        arrays = (self._numbers, self._ends, self._short.starts, self._short.places, self._wide.places)
        return sum(len(each) * each.itemsize for each in arrays) + len(self._wide.starts) + len(self._names)

    def of(self, address: bytes) -> Origin | None:
        """See Source."""
        place = self._short.place_of(address) if len(address) == 4 else self._wide.place_of(address)
        if place == _NONE:
            return None
        return Origin(self._numbers[place], self._names[self._ends[place] : self._ends[place + 1]].decode() or None)


class _Family:
    """The ranges of one kind of address, each until the next one begins: a gap is one of no network."""

    bits: int

    def __init__(self) -> None:
        self.places = array("I")
        self._next = 0

    def add(self, first: int, last: int, place: int) -> None:
        """Put a range behind the others. Raises ValueError."""
        if first < self._next or last < first:
            raise ValueError("ranges must be in order, without overlaps")
        if first > self._next:
            self._begin(self._next, _NONE)
        self._begin(first, place)
        self._next = last + 1

    def end(self) -> None:
        """Behind the last range there is no network."""
        if self._next < 1 << self.bits:
            self._begin(self._next, _NONE)

    def _begin(self, start: int, place: int) -> None:
        if not self.places or self.places[-1] != place:
            self._put(start)
            self.places.append(place)

    def _put(self, start: int) -> None:
        raise NotImplementedError


class _Short(_Family):
    bits = 32

    def __init__(self) -> None:
        super().__init__()
        self.starts = array("I")

    def _put(self, start: int) -> None:
        self.starts.append(start)

    def place_of(self, address: bytes) -> int:
        return self.places[bisect_right(self.starts, int.from_bytes(address, "big")) - 1]


class _Wide(_Family):
    """Starts of 16 bytes each, behind each other: as bytes they compare as the numbers do."""

    bits = 128

    def __init__(self) -> None:
        super().__init__()
        self.starts = bytearray()

    def _put(self, start: int) -> None:
        self.starts += start.to_bytes(16, "big")

    def place_of(self, address: bytes) -> int:
        starts = self.starts
        above = bisect_right(range(len(self.places)), address, key=lambda at: bytes(starts[16 * at : 16 * at + 16]))
        return self.places[above - 1]
