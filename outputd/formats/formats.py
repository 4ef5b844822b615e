"""The foreign formats there are."""

from __future__ import annotations

from collections.abc import Mapping

from outputd.formats.atlas import ATLAS
from outputd.formats.fping import FPING
from outputd.formats.globalping import GLOBALPING
from outputd.formats.hipercontracer import HIPERCONTRACER
from outputd.formats.mtr import MTR
from outputd.formats.perfsonar import PERFSONAR
from outputd.formats.reader import Reader
from outputd.formats.scamper import SCAMPER
from outputd.formats.trippy import TRIPPY
from outputd.formats.warts import WARTS

READERS: tuple[Reader, ...] = (ATLAS, SCAMPER, WARTS, MTR, FPING, HIPERCONTRACER, GLOBALPING, PERFSONAR, TRIPPY)
"""All readers, in the order of the documentation."""
BY_NAME: Mapping[str, Reader] = {reader.name: reader for reader in READERS}
"""Each by the name that ?format= has for it."""
BY_MEDIA_TYPE: Mapping[str, Reader] = {kind: reader for reader in READERS for kind in reader.media_types}
"""Each by the media types that are its own."""


def claimed(body: bytes) -> Reader | None:
    """The reader that claims a body which nobody named; None where none does, or several."""
    claiming = [reader for reader in READERS if reader.claims(body)]
    return claiming[0] if len(claiming) == 1 else None
