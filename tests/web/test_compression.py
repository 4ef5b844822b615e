"""What `outputd.web.compression` promises."""

from __future__ import annotations

import gzip
import math
import zlib

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.web.compression import LEAST_BYTES, Gzip, compressed, gzip_from_bytes
from tests.kit.properties import given


class Whole(SynchronousTestCase):
    def test_from_which_size_on_it_is_compressed_the_client_decides(self) -> None:
        for header, least in {
            "gzip": LEAST_BYTES, "gzip, br": LEAST_BYTES, "*": LEAST_BYTES, "gzip;q=0": math.inf, "": math.inf,
            "br": math.inf, "identity;q=0": math.inf, "*;q=0": math.inf, "identity;q=0, gzip": 0, "gzip, *;q=0": 0,
            "nonsense;;q=,\xff": math.inf,
        }.items():  # fmt: skip
            self.assertEqual(least, gzip_from_bytes(header), header)

    def test_what_is_small_stays_as_it_is_and_each_says_what_it_depends_on(self) -> None:
        for size, coding in ((LEAST_BYTES - 1, None), (LEAST_BYTES, b"gzip")):
            body = b"x" * size
            status, sent, headers = compressed((200, body, {b"a": b"b"}), "gzip")
            self.assertEqual((200, b"b", coding), (status, headers[b"a"], headers.get(b"Content-Encoding")))
            self.assertEqual((body, b"Accept-Encoding"), (gzip.decompress(sent) if coding else sent, headers[b"Vary"]))


class Parts(SynchronousTestCase):
    @given(st.lists(st.binary()))
    def test_the_parts_are_one_stream(self, parts: list[bytes]) -> None:
        self.assertEqual(b"".join(parts), gzip.decompress(b"".join(Gzip().rest(parts))))

    def test_each_part_can_be_read_once_it_has_come_and_without_the_end_it_is_not_whole(self) -> None:
        stream, reader = Gzip(), zlib.decompressobj(31)
        for number in range(10):
            part = b"%d" % number * 1000
            self.assertEqual(part, reader.decompress(stream.part(part)))
            self.assertFalse(reader.eof)
        for end in stream.rest([]):
            reader.decompress(end)
        self.assertTrue(reader.eof)
