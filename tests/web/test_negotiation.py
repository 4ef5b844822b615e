"""What `outputd.web.negotiation` promises."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.web.negotiation import is_known, likings, takes_gzip, takes_plain
from tests.kit.properties import given


class Likings(SynchronousTestCase):
    """RFC 9110, 12.4.2 and 12.5."""

    def test_a_quality_is_a_number_from_0_to_1_and_1_where_none_is_said(self) -> None:
        self.assertEqual(
            {"text/csv": 0.5, "a/b": 1.0, "c/d": 0.0}, likings("text/csv;q=0.5, A/B ;charset=x, c/d; q=0, ,")
        )

    def test_a_quality_that_cannot_be_read_is_0(self) -> None:
        for quality in ("nan", "inf", "-1", "2", "1.5", "1e0", "0.1234", "", "\xff"):
            self.assertEqual({"a/b": 0.0}, likings(f"a/b;q={quality}"), quality)

    @given(st.text())
    def test_any_text_is_read(self, text: str) -> None:
        self.assertTrue(all(0 <= liking <= 1 for liking in likings(text).values()))

    def test_gzip_with_quality_0_is_not_taken(self) -> None:
        for header in ("gzip", "br, GZIP", "x-gzip", "*", "gzip;q=0.001", "*;q=0, gzip", "identity;q=0.5, gzip"):
            self.assertTrue(takes_gzip(header), header)
        for header in ("", "gzip;q=0", "br", "gzip;q=0, *", "*;q=0", "gzipped", "gzip;q=x", "identity, gzip;q=0.5"):
            self.assertFalse(takes_gzip(header), header)

    def test_plain_is_taken_by_all_who_do_not_say_otherwise(self) -> None:
        for header in ("", "gzip", "br;q=1", "identity;q=0.1", "*;q=0, identity", "identity;q=0.5, *;q=0", ",;=\xff"):
            self.assertTrue(takes_plain(header), header)
        for header in ("identity;q=0", "gzip, *;q=0", "identity;q=x, *"):
            self.assertFalse(takes_plain(header), header)

    def test_a_thing_is_known_by_its_tag_or_by_a_star(self) -> None:
        for header in ('"a"', 'W/"a"', '"b", "a"', "*", '"b",W/"a"'):
            self.assertTrue(is_known('"a"', header), header)
        for header in ("", '"b"', "a", '"a', '"b*"'):
            self.assertFalse(is_known('"a"', header), header)
