"""What `outputd.formats.numbers` promises."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.numbers import MICROSECONDS, SECONDS, instant, nanoseconds
from outputd.results.timestamps import stored


class NanosecondsTests(SynchronousTestCase):
    """Digits in, nanoseconds out."""

    def test_they_are_those_of_the_text_and_of_no_float(self) -> None:
        for text, expected in {
            "43.869999999999997": 43_870_000,
            "0.0000005": 0,
            "0.0000015": 2,
            "1.0000014999999999999999999999999999999": 1_000_001,
            "62.67": 62_670_000,
            "0": 0,
            "-0.0": 0,
            "1e-999999999": 0,
            "9223372036854.775807": 2**63 - 1,
            "1." + "0" * 100_000: 1_000_000,
        }.items():
            self.assertEqual(nanoseconds(text), expected, text[:40])
            self.assertEqual(nanoseconds(Decimal(text)), expected, text[:40])

    def test_a_unit_is_a_power_of_ten(self) -> None:
        self.assertEqual(nanoseconds("1700000000.5", SECONDS), 1_700_000_000_500_000_000)
        self.assertEqual(nanoseconds(12, MICROSECONDS), 12_000)

    def test_what_is_no_time_of_64_bits_is_refused_before_it_takes_room(self) -> None:
        for text in ("-1", "NaN", "sNaN", "Infinity", "1e999999999", "9223372036854.775808", "9" * 100_000, "", "*"):
            with self.assertRaises(ValueError, msg=text[:40]):
                nanoseconds(text)


class InstantTests(SynchronousTestCase):
    """Nanoseconds since 1970 as RFC 3339."""

    def test_it_is_a_time_as_nodes_write_it(self) -> None:
        for since_ns, expected in {
            0: "1970-01-01 00:00:00",
            1_700_000_000_123_456_789: "2023-11-14 22:13:20.123456789",
            253_402_300_799_999_999_999: "9999-12-31 23:59:59.999999999",
        }.items():
            self.assertEqual(stored(instant(since_ns)), expected)

    def test_one_after_the_last_year_is_refused(self) -> None:
        for since_ns in (253_402_300_800 * 10**9, 10**30):
            with self.assertRaises(ValueError):
                instant(since_ns)
