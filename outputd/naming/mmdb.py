"""A file of networks in MaxMind's format: GeoLite2-ASN, and those of IPinfo and DB-IP.

The library's reader in Python works on a copy in memory. Its fast one in C corrupts the memory of the process with some
damaged files, and one that is mapped ends it (SIGBUS) when someone cuts the file short, or its disk fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address
from typing import IO, Any

from outputd.naming.origin import Origin
from outputd.naming.words import network_name
from outputd.process.trouble import Unusable
from outputd.results.addresses import MAPPED, unpacked

MOST_BYTES = 256 << 20
"""Of a file, unpacked."""
_MARK = b"\xab\xcd\xefMaxMind.com"
_TAIL_BYTES = 128 << 10
"""In which the mark stands, as the format has it."""
_LOOKED_AT = 10_000
_MOST_REMEMBERED = 16_384  # some 5 MB: to find one takes 40 microseconds
_NUMBER = re.compile(r"(?:AS)?([0-9]{1,10})")
_NAMES = ("autonomous_system_organization", "as_name", "name", "isp")


class Mmdb:
    """Such a file, in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises Unusable and OSError."""
        try:
            import maxminddb  # noqa: PLC0415  # an extra
        except ImportError:
            raise Unusable("a file of this kind needs maxminddb: pip install 'outputd[names]'") from None
        content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise Unusable(f"it has over {MOST_BYTES >> 20} MiB")
        if _MARK not in content[-_TAIL_BYTES:]:
            raise Unusable("it is of no known kind, or was cut short")
        try:
            reader = maxminddb.open_database(BytesIO(content), maxminddb.MODE_FD)
            self._has_wide = reader.metadata().ip_version == 6
            has_any = any(_origin_of(record) is not None for record in _first_records(reader, self._has_wide))
        except Exception as error:  # whatever the library meets in a file of another kind
            raise Unusable(f"it is damaged: {error}") from None
        if not has_any:
            raise Unusable("it has no numbers of networks (asn, or autonomous_system_number)")
        self._find = lru_cache(_MOST_REMEMBERED)(partial(_find, reader))

    def of(self, address: bytes) -> Origin | None:
        """See Source. What is damaged in a file may raise ValueError."""
        if len(address) == 16 and (not self._has_wide or address.startswith(MAPPED)):
            return None
        return self._find(address)


def _first_records(reader: Any, has_wide: bool) -> Iterator[object]:
    """What the file has for its first ranges. The library's own walk of a tree whose nodes share others has no end."""
    bits, family = (128, IPv6Address) if has_wide else (32, IPv4Address)
    address = 0
    for _ in range(_LOOKED_AT):
        record, length = reader.get_with_prefix_len(family(address))
        yield record
        address += 1 << bits - length
        if address >> bits:
            return


def _find(reader: Any, address: bytes) -> Origin | None:
    try:
        return _origin_of(reader.get(unpacked(address)))
    except Exception as error:  # whatever the library meets in a damaged file
        raise ValueError(str(error)) from None


def _origin_of(record: object) -> Origin | None:
    """What a record says of its network, under whichever names."""
    if not isinstance(record, Mapping):
        return None
    number = record.get("autonomous_system_number", record.get("asn"))
    found = _NUMBER.fullmatch(str(number))
    if found is None or not 0 < int(found[1]) < 1 << 32:
        return None
    names = (network_name(record.get(name)) for name in _NAMES)
    return Origin(int(found[1]), next(filter(None, names), None))
