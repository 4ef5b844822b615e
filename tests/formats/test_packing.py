"""What `outputd.formats.packing` promises."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib

from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.packing import TooLong, is_packed, unpacked
from outputd.formats.reader import NotOfThisFormat

PACK = (gzip.compress, bz2.compress, lzma.compress)
TEXT = bytes(range(256)) * 4096


class PackingTests(SynchronousTestCase):
    """gzip, bzip2 and xz files as bodies."""

    def test_all_members_are_unpacked(self) -> None:
        for pack in PACK:
            body = pack(TEXT) + pack(b"") + pack(b"end")
            self.assertTrue(is_packed(body))
            self.assertEqual(unpacked(body, len(TEXT) + 3), TEXT + b"end")

    def test_what_is_not_packed_is_as_it_was(self) -> None:
        self.assertFalse(is_packed(TEXT))
        self.assertIs(unpacked(TEXT, 1), TEXT)

    def test_a_bomb_ends_at_the_limit(self) -> None:
        for pack in PACK:
            with self.assertRaises(TooLong):
                unpacked(pack(bytes(64 << 20)), 1 << 20)

    def test_a_damaged_one_is_told(self) -> None:
        for pack in PACK:
            body = pack(TEXT)
            for damaged in (body[:-9], body[:20], body + b"more", body[:40] + b"\xff" * 40 + body[80:]):
                with self.assertRaises(NotOfThisFormat):
                    unpacked(damaged, 1 << 23)

    def test_a_dictionary_of_any_size_is_not_made(self) -> None:
        with self.assertRaises(NotOfThisFormat):
            unpacked(_with_large_dictionary(), 1 << 23)


def _with_large_dictionary() -> bytes:
    """An xz body that says it needs a dictionary of 1 GiB: its size is one byte of the block's header."""
    body = bytearray(lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 12}]))
    assert body[14:17] == b"\x21\x01\0", "LZMA2, whose properties are one byte: a dictionary of 4 KiB"
    body[16] = 36
    end = 12 + 4 * body[12]
    body[end : end + 4] = zlib.crc32(bytes(body[12:end])).to_bytes(4, "little")
    return bytes(body)
