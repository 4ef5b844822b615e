"""A body as one reader reads it, for tests that say what it makes of which."""

from __future__ import annotations

import json
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.reader import Reader, Unread
from outputd.results.model import Hop, PingResult


class ReadingCase(SynchronousTestCase):
    """Tests of a reader; a body is bytes, or what json.dumps writes."""

    reader: ClassVar[Reader]

    def read(self, body: object) -> list[PingResult | Unread]:
        """The items of a body."""
        return list(self.reader.read(body if isinstance(body, bytes) else json.dumps(body, indent=2).encode()))

    def results(self, body: object) -> list[PingResult]:
        """The results of a body of which all is read."""
        found = self.read(body)
        self.assertEqual([item for item in found if isinstance(item, Unread)], [])
        return [item for item in found if isinstance(item, PingResult)]

    def one(self, body: object) -> PingResult:
        """The only result of a body."""
        (result,) = self.results(body)
        return result

    def hops(self, body: object) -> list[Hop]:
        """The rows of the only traceroute of a body."""
        traceroute = self.one(body).traceroute
        assert traceroute is not None and traceroute.hops is not None
        return traceroute.hops

    def refused(self, body: object) -> str:
        """What is wrong with the only item of a body, of which no result can be made."""
        (item,) = self.read(body)
        assert isinstance(item, Unread), item
        return f"{item.field}: {item.reason}" if item.field else item.reason

    def is_claimed(self, body: object) -> bool:
        """Whether the reader claims a body that nobody named."""
        return self.reader.claims(body if isinstance(body, bytes) else json.dumps(body, indent=2).encode())
