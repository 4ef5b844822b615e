"""What `outputd.decoding` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.intake.gunzip import BadCoding, Gunzip
from tests.kit.properties import given, settings

MOST = 8 << 20


def gunzip(data: bytes, most_bytes: int = MOST) -> bytes | BadCoding | None:
    return Gunzip(data).up_to(most_bytes)


def decoded(data: bytes, most_bytes: int = MOST) -> bytes:
    body = gunzip(data, most_bytes)
    assert isinstance(body, bytes), body
    return body


class Gzip(SynchronousTestCase):
    """Rule 8: gzip with all its members, in bounded steps."""

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5))
    def test_all_members_are_decoded_in_order(self, parts: list[bytes]) -> None:
        """Rule 8: `gzip` with all its members."""
        self.assertEqual(gunzip(b"".join(map(gzip.compress, parts))), b"".join(parts))

    def test_a_body_up_to_the_limit_is_decoded_and_one_byte_more_is_too_large(self) -> None:
        """Rule 8: the limit holds after decompression."""
        for size in (0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 1_000_000):
            data = gzip.compress(bytes(size), 1)
            self.assertEqual(len(decoded(data, size)), size)
            self.assertIsNone(gunzip(gzip.compress(bytes(size + 1), 1), size))

    def test_the_limit_holds_for_all_members_together(self) -> None:
        """Rule 8: two halves that are too much together."""
        half = gzip.compress(bytes(600))
        self.assertEqual(len(decoded(half + half, 1200)), 1200)
        self.assertIsNone(gunzip(half + half, 1199))

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5), st.integers(1, 3000))
    def test_it_goes_on_when_the_limit_is_raised(self, parts: list[bytes], step_bytes: int) -> None:
        """Rule 9: the memory of a step is asked for before it, wherever the limit falls."""
        gunzip, most_bytes, body = Gunzip(b"".join(map(gzip.compress, parts))), step_bytes, b"".join(parts)
        while (found := gunzip.up_to(most_bytes)) is None:
            self.assertLess(most_bytes, len(body))
            most_bytes += step_bytes
        self.assertEqual(found, body)

    def test_a_bomb_is_given_up_within_a_step_of_the_limit(self) -> None:
        """Rule 8: memory is bounded whatever is sent."""
        bomb = zlib.compressobj(9, wbits=31)
        data = b"".join([bomb.compress(bytes(1 << 20)) for _ in range(64)]) + bomb.flush()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertIsNone(gunzip(data))
        self.assertLess(tracemalloc.get_traced_memory()[1], MOST + (2 << 20))

    def test_the_time_grows_with_the_length_only_however_many_members_there_are(self) -> None:
        """Rule 8: 8 MiB of empty members (20 bytes each) must not keep a thread for minutes."""
        member = gzip.compress(b"")

        def seconds(members: int) -> float:
            data, started = member * members, time.process_time()
            self.assertEqual(gunzip(data), b"")
            return time.process_time() - started

        few = min(seconds(8_000) for _ in range(3))
        self.assertLess(seconds(64_000), 25 * few)

    def test_bytes_after_the_end_are_bad(self) -> None:
        """Rule 8: bytes after the end are `400`, zero bytes too."""
        good = gzip.compress(b"[]")
        for rest in (b"x", b"\0", bytes(8), b"\x1f", b"\x1f\x8b", b"[]", good[:-1], good + b"\0"):
            self.assertIsInstance(gunzip(good + rest), BadCoding)

    def test_a_body_cut_anywhere_is_bad(self) -> None:
        """Rule 8: never a part of a body."""
        data = gzip.compress(b"some text that is longer than nothing" * 20)
        for end in range(len(data)):
            self.assertIsInstance(gunzip(data[:end]), BadCoding)

    def test_a_wrong_checksum_or_length_is_bad(self) -> None:
        data = gzip.compress(b"[]")
        for place in range(-8, 0):
            broken = bytearray(data)
            broken[place] ^= 1
            self.assertIsInstance(gunzip(bytes(broken)), BadCoding)

    def test_what_is_no_gzip_is_bad(self) -> None:
        """Rule 8: plain text, zlib and raw deflate are not gzip."""
        for data in (b"[]", zlib.compress(b"[]"), zlib.compress(b"[]", wbits=-15), bytes(20), b"PK\3\4"):
            self.assertIsInstance(gunzip(data), BadCoding)

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes_are_decoded_or_bad(self, data: bytes) -> None:
        """Rule 8: nothing that is sent raises anything else."""
        for body in (data, b"\x1f\x8b\x08\0" + data):
            self.assertIsInstance(gunzip(body), bytes | BadCoding)
