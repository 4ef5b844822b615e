"""What `outputd.timestamps` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.results.timestamps import at, printed, seconds, stored
from tests.kit.properties import given, settings


class StoredForm(SynchronousTestCase):
    """Rule 4: RFC 3339 with a zone becomes one spelling of the instant."""

    def test_every_form_of_rfc_3339_is_taken(self) -> None:
        """Rule 4: `t`/`z` in either case, 0-9 fraction digits, any offset."""
        for text, expected in {
            "2026-01-07T22:30:00Z": "2026-01-07 22:30:00",
            "2026-01-07t22:30:00z": "2026-01-07 22:30:00",
            "2026-01-07T22:30:00.1Z": "2026-01-07 22:30:00.1",
            "2026-01-07T22:30:00.123456789Z": "2026-01-07 22:30:00.123456789",
            "2026-01-07T22:30:00+00:00": "2026-01-07 22:30:00",
            "2026-01-07T22:30:00-00:00": "2026-01-07 22:30:00",
            "2026-01-07T22:30:00+14:00": "2026-01-07 08:30:00",
            "2026-01-07T22:30:00-12:00": "2026-01-08 10:30:00",
            "2026-01-07T22:30:00.5+05:45": "2026-01-07 16:45:00.5",
            "2026-01-01T00:00:00+23:59": "2025-12-31 00:01:00",
            "2025-12-31T23:59:59.999999999-23:59": "2026-01-01 23:58:59.999999999",
            "2024-02-29T00:00:00Z": "2024-02-29 00:00:00",
            "0001-01-01T00:00:00Z": "0001-01-01 00:00:00",
            "9999-12-31T23:59:59.999999999Z": "9999-12-31 23:59:59.999999999",
        }.items():
            self.assertEqual(stored(text), expected, text)

    def test_a_fraction_has_no_trailing_zeros(self) -> None:
        """Rule 4: so equal instants have one spelling."""
        for fraction, kept in {"0": "", "000000000": "", "10": ".1", "120000000": ".12", "012": ".012"}.items():
            self.assertEqual(stored(f"2026-01-07T22:30:00.{fraction}Z"), f"2026-01-07 22:30:00{kept}")

    def test_what_is_no_rfc_3339_time_is_none(self) -> None:
        """Rule 4: no zone, other separators, too many digits, impossible days and times."""
        for text in (
            "", "2026-01-07", "2026-01-07T22:30:00", "2026-01-07 22:30:00Z", "2026-01-07T22:30Z",
            "2026-01-07T22:30:00.Z", "2026-01-07T22:30:00,5Z", "2026-01-07T22:30:00.1234567890Z",
            "2026-01-07T22:30:00+0100", "2026-01-07T22:30:00+01", "2026-01-07T22:30:00+24:00",
            "2026-01-07T22:30:00+01:60", "2026-01-07T24:00:00Z", "2026-01-07T22:60:00Z", "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
            "26-01-07T22:30:00Z", "+2026-01-07T22:30:00Z", "12026-01-07T22:30:00Z", "20260107T223000Z",
            " 2026-01-07T22:30:00Z", "2026-01-07T22:30:00Z ", "2026-01-07T22:30:00Z\n", "2026-01-07T22:30:00ZZ",
            "2026-01-07T22:30:00 Z", "2026-01-07T22:30:00\u22120:00", "\uff12026-01-07T22:30:00Z",
            "2026-01-07T22:30:0\u0660Z", "1767825000", "Wed, 07 Jan 2026 22:30:00 GMT", "2026-01-07T22:30:00Z\0",
        ):  # fmt: skip
            self.assertIsNone(stored(text), ascii(text))

    def test_a_leap_second_is_none(self) -> None:
        """Rule 4: `:60` is a rejected item."""
        self.assertIsNone(stored("2016-12-31T23:59:60Z"))
        self.assertIsNone(stored("2016-12-31T23:59:60.5Z"))
        self.assertIsNone(stored("2017-01-01T00:59:60+01:00"))

    def test_a_year_outside_of_1_to_9999_is_none_as_written_or_in_utc(self) -> None:
        """Rule 4: both are a rejected item."""
        for text in (
            "0000-12-31T23:59:59Z", "0000-12-31T23:59:59-01:00", "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ):  # fmt: skip
            self.assertIsNone(stored(text), text)
        self.assertEqual(stored("0001-01-01T00:01:00+00:01"), "0001-01-01 00:00:00")
        self.assertEqual(stored("9999-12-31T23:58:59-00:01"), "9999-12-31 23:59:59")

    @settings(deadline=None)
    @given(
        st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),
        st.integers(-23 * 60 - 59, 23 * 60 + 59),
        st.integers(0, 999_999_999),
    )
    def test_equal_instants_have_one_spelling(self, moment: datetime, offset: int, fraction: int) -> None:
        """Rule 4: `datetime` is the second reader."""
        moment = moment.replace(microsecond=0, tzinfo=UTC)
        away = moment.astimezone(timezone(timedelta(minutes=offset)))
        sign, (hours, minutes) = "-" if offset < 0 else "+", divmod(abs(offset), 60)
        text = f"{away:%H:%M:%S}.{fraction:09}{sign}{hours:02}:{minutes:02}"
        text = f"{away.year:04}-{away:%m-%d}T{text}"
        expected = moment.replace(tzinfo=None).isoformat(" ") + f".{fraction:09}".rstrip("0").rstrip(".")
        self.assertEqual(stored(text), expected)

    @settings(deadline=None)
    @given(st.text())
    def test_any_text_is_a_time_or_none(self, text: str) -> None:
        """Rule 4: nothing that a node writes raises."""
        found = stored(text)
        if found is not None:
            self.assertEqual(stored(printed(found)), found)

    def test_text_order_is_time_order(self) -> None:
        """Rule 4: also between fractions of different lengths."""
        moments = [
            "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.9Z", "1970-01-01T00:00:00Z", "2026-01-07T22:30:00Z",
            "2026-01-07T22:30:00.000000001Z", "2026-01-07T22:30:00.1Z", "2026-01-07T22:30:00.11Z",
            "2026-01-07T22:30:00.2Z", "2026-01-07T22:30:01Z", "9999-12-31T23:59:59.999999999Z",
        ]  # fmt: skip
        texts = [stored(moment) or "" for moment in moments]
        self.assertEqual(texts, sorted(set(texts)))

    def test_sqlite_reads_it_and_compares_it_with_now(self) -> None:
        """Rule 4: date functions see the same instant."""
        with closing(sqlite3.connect(":memory:")) as db:
            (row,) = db.execute(
                "SELECT datetime(?1), unixepoch(?1), ?1 < datetime('now')", (stored("2026-01-07T22:30:00.25Z"),)
            )
        self.assertEqual(row, ("2026-01-07 22:30:00", 1_767_825_000, int(row[2])))
        with closing(sqlite3.connect(":memory:")) as db:
            (both,) = db.execute("SELECT ? < datetime('now'), ? > datetime('now')", (at(1), at(9e9)))
        self.assertEqual(both, (1, 1))


class Clocks(SynchronousTestCase):
    """Rule 4: our own times have the same form."""

    def test_a_time_of_the_clock_has_the_stored_form(self) -> None:
        """Rule 4: all stored times have this form."""
        for moment, text in {
            0.0: "1970-01-01 00:00:00",
            1_767_825_000.0: "2026-01-07 22:30:00",
            1_767_825_000.25: "2026-01-07 22:30:00.25",
            1_767_825_010.5: "2026-01-07 22:30:10.5",
            -62_135_596_800.0: "0001-01-01 00:00:00",
        }.items():
            self.assertEqual(at(moment), text)

    def test_seconds_gives_the_clock_back(self) -> None:
        for moment in (0.0, 1_767_825_000.0, 1_767_825_000.25, 4_102_444_800.125):
            self.assertEqual(seconds(at(moment)), moment)

    def test_seconds_reads_any_fraction(self) -> None:
        self.assertEqual(seconds("2026-01-07 22:30:00.123456789"), 1_767_825_000.123456)
        self.assertEqual(seconds("2026-01-07 22:30:00.5"), 1_767_825_000.5)

    def test_it_is_printed_as_the_api_prints_it(self) -> None:
        """Rule 4: with `T` and `Z`."""
        self.assertEqual(printed("2026-01-07 22:30:00"), "2026-01-07T22:30:00Z")
        self.assertEqual(printed("2026-01-07 22:30:00.123456789"), "2026-01-07T22:30:00.123456789Z")

    def test_what_is_printed_can_be_sent_again(self) -> None:
        """Rule 4: printed and stored are two spellings of one time."""
        for text in ("0001-01-01 00:00:00", "2026-01-07 22:30:00.1", "9999-12-31 23:59:59.999999999"):
            self.assertEqual(stored(printed(text)), text)
