"""What `outputd.formats.documents` promises."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.documents import documents, first_object
from outputd.formats.reader import NotOfThisFormat
from outputd.results.model import MOST_RESULTS
from tests.kit.properties import given, settings

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class DocumentsTests(SynchronousTestCase):
    """The values of a body, whatever stands around them."""

    @settings(max_examples=200)
    @given(st.lists(VALUES), st.sampled_from([None, 1]))
    def test_those_of_an_array_are_its_elements(self, values: list[Any], indent: int | None) -> None:
        body = json.dumps(values, indent=indent).encode()
        self.assertEqual([json.loads(text) for text in documents(body)], values)

    def test_deep_ones_are_found_too(self) -> None:
        deep = b'{"a":' * 100 + b'["},{"]' + b"}" * 100
        self.assertEqual(list(documents(b"[" + deep + b" , 1,\n" + deep + b"]")), [deep, b"1", deep])

    def test_one_alone_may_have_lines(self) -> None:
        body = b'{\n  "a": 1\n}\n'
        self.assertEqual(list(documents(body)), [body])

    def test_lines_are_given_as_they_are(self) -> None:
        self.assertEqual(list(documents(b'{"a":1}\r\n\n{"b":\n  {"c":3}')), [b'{"a":1}', b'{"b":', b'{"c":3}'])

    def test_a_byte_order_mark_is_no_part_of_them(self) -> None:
        self.assertEqual(list(documents(b'\xef\xbb\xbf[{"a":1}]')), [b'{"a":1}'])

    def test_a_body_without_any_is_told(self) -> None:
        for body in (b"", b"{", b"[{},", b"{}}", b"\xff\xfe{\0}\0", b"[" * 100_000 + b"]" * 100_000, b"{\n" * 100_000):
            with self.assertRaises(NotOfThisFormat, msg=body[:20]):
                list(documents(body))


class ManyLinesTests(SynchronousTestCase):
    def test_no_more_lines_than_a_body_may_have_items_are_tried_for_one_that_is_json(self) -> None:
        with self.assertRaises(NotOfThisFormat):
            next(documents(b"a\n" * MOST_RESULTS + b"{}\n"))
        self.assertEqual(next(documents(b"a\n" * (MOST_RESULTS - 1) + b"{}\n")), b"a")

    def test_blank_lines_are_none(self) -> None:
        self.assertEqual(list(documents(b"\n \r\n{} \r\n\n\t\n {}\n\n")), [b"{}", b"{}"])


class BeginTests(SynchronousTestCase):
    """What a body begins with is told without reading it."""

    def test_an_object_alone_or_first_in_an_array(self) -> None:
        for body in (b'{"a":"}{"}', b' [ {"a":"}{"}, 1', b'\xef\xbb\xbf{"a":"}{"}}', b'\n[\n{"a":"}{"}'):
            self.assertEqual(first_object(body), b'{"a":"}{"}', body)
        for body in (
            b"",
            b"[]",
            b"[[{}",
            b"[1,{}",
            b" " * 300_000 + b"{}",
            b"RESULT {}",
            b"{",
            b'{"a":"}',
            b"{" * 300_000,
        ):
            self.assertEqual(first_object(body), b"", body[:20])
