from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.web.ranges import byte_range


class Ranges(SynchronousTestCase):
    """Rule 15: `Range`, as RFC 9110 has it."""

    def test_what_is_asked_for(self) -> None:
        """Rule 15."""
        for header, wanted in {
            "bytes=0-0": (0, 1), "bytes=0-99": (0, 100), "bytes=10-19": (10, 20), "bytes=10-": (10, 100),
            "bytes=90-1000": (90, 100), "bytes=-5": (95, 100), "bytes=-1000": (0, 100), "bytes = 1-2": (1, 3),
        }.items():  # fmt: skip
            self.assertEqual(byte_range(header, 100), wanted, header)

    def test_what_is_no_single_range_of_bytes_is_passed_over(self) -> None:
        """Rule 15: then the whole is sent."""
        for header in (
            None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "lines=1-2", "bytes=1-2,5-6",
            "bytes=+1-2", "bytes=1--2", "bytes=\u0661-\u0662", "bytes=0x1-2", "bytes=1 - 2",
        ):  # fmt: skip
            self.assertIsNone(byte_range(header, 100), header)

    def test_what_lies_outside_is_told(self) -> None:
        """Rule 15: 416."""
        for header in ("bytes=100-", "bytes=100-200", "bytes=-0"):
            self.assertRaises(ValueError, byte_range, header, 100)
