from __future__ import annotations

import gzip
import io
import json
import os
from typing import Any

from hypothesis import strategies as st

from outputd.sender import cut as bodies_module
from outputd.sender.body import CUT_RESULTS, Body
from outputd.sender.command import parse, target_of
from outputd.sender.cut import bodies
from outputd.sender.source import MOST_BODY_BYTES, Broken, Source, examine
from tests.kit.properties import given, settings
from tests.sender.test_command import FileTests


class ForeignTests(FileTests):
    """What another tool has written: only an array is known to be cut."""

    def bodies_of(self, content: bytes) -> list[Body]:
        return list(bodies(examine(self.written(content, "x.jsonl"), is_foreign=True)))

    def test_it_is_one_body_as_it_is(self) -> None:
        for content in (b"192.0.2.1 : 1 -\n\n192.0.2.2 : - -\n", b'{"a":1}\n{"a":2}\n', b"\xfd7zXZ\0packed"):
            self.assertEqual([content], [body.data for body in self.bodies_of(content)])
            self.assertEqual([content], [body.data for body in self.bodies_of(gzip.compress(content))])
        self.assertEqual([], self.bodies_of(b""))

    def test_an_array_is_cut(self) -> None:
        content = json.dumps([{"a": number} for number in range(CUT_RESULTS + 1)]).encode()
        self.assertEqual([CUT_RESULTS, 1], [len(json.loads(body.data)) for body in self.bodies_of(b" \n" + content)])

    def test_its_format_is_said_in_the_url(self) -> None:
        options = parse(["x", "--format", "atlas", "--url", "https://host/results?at=2026-01-07T12:00:00Z"])
        self.assertEqual("https://host/results?format=atlas&at=2026-01-07T12:00:00Z", target_of(options).url)

    def test_one_that_is_too_long_is_told(self) -> None:
        (body,) = self.bodies_of(b"x" * (MOST_BODY_BYTES + 1))
        self.assertIn("split it", body.fault)


class LinesTests(FileTests):
    def test_each_line_is_a_body_as_it_is(self) -> None:
        found = self.cut(b'[ {"a":1}]\r\n\n  [2] \nnot JSON\n[3]', "x.jsonl")
        self.assertEqual([b'[ {"a":1}]', b"[2]", b"not JSON", b"[3]"], [body.data for body in found])
        self.assertEqual(["line 1", "line 3", "line 4", "line 5"], [body.where for body in found])
        self.assertEqual([0, 1, 2, 3], [body.number for body in found])

    def test_known_by_the_content_when_the_name_does_not_say(self) -> None:
        self.assertEqual([b"[1]", b"[2,3]"], [body.data for body in self.cut(b"\n[1]\n[2,3]\n")])

    def test_gzip_is_known_by_the_content(self) -> None:
        self.assertEqual([b"[1]", b"[2]"], [body.data for body in self.cut(gzip.compress(b"[1]\n[2]\n"), "x.jsonl")])

    def test_a_line_that_is_too_long_is_not_held_and_costs_only_itself(self) -> None:
        long = b"[" + b" " * MOST_BODY_BYTES + b"]"
        for ending in (b"\n", b"\r\n"):
            found = self.cut(ending.join([b"[1]", long, b"[2]", b""]), "x.jsonl")
            self.assertEqual([b"[1]", b"", b"[2]"], [body.data for body in found])
            self.assertEqual([False, True, False], [bool(body.fault) for body in found])

    def test_a_line_of_the_most_bytes_is_sent(self) -> None:
        line = b"[" + b" " * (MOST_BODY_BYTES - 2) + b"]"
        for ending in (b"", b"\n", b"\r\n"):
            self.assertEqual([line], [body.data for body in self.cut(line + ending, "x.jsonl")])

    def test_damaged_gzip_is_read_as_far_as_it_goes(self) -> None:
        whole = gzip.compress(os.urandom(50_000).hex().encode() + b"\n" + os.urandom(900_000).hex().encode())
        source = Source(self.written(whole[:-100_000], "x.jsonl.gz"), 1, "", "lines")
        found = bodies(source)
        self.assertEqual(100_000, len(next(found).data))
        self.assertRaises(Broken, next, found)


class ArrayTests(FileTests):
    def test_it_is_cut_at_so_many_results(self) -> None:
        items = list(range(2 * CUT_RESULTS + 1))
        found = self.cut(json.dumps(items, indent=2).encode())
        self.assertEqual([CUT_RESULTS, CUT_RESULTS, 1], [len(json.loads(body.data)) for body in found])
        self.assertEqual(items, [item for body in found for item in json.loads(body.data)])
        self.assertEqual("items 1000 to 1999", found[1].where)

    def test_it_is_cut_at_so_many_bytes(self) -> None:
        self.patch(bodies_module, "CUT_BYTES", 20)
        found = [body.data for body in self.cut(b'["123456","123456","1","' + b"x" * 50 + b'",1]')]
        self.assertEqual([b'["123456","123456"]', b'["1"]', b'["' + b"x" * 50 + b'"]', b"[1]"], found)

    def test_items_are_verbatim(self) -> None:
        item = b'{"a" : 1e400,  "b":1.0, "c":"\\u00e9\xc3\xa9\\"]},[{\xff", "d":' + b"9" * 5000 + b"}"
        self.assertEqual(
            [b"[" + item + b",-0.0,null]"], [body.data for body in self.cut(b"\xef\xbb\xbf[" + item + b" ,-0.0,null]")]
        )

    def test_an_empty_one_has_no_bodies(self) -> None:
        for content in (b"[]", b" [ \n ] \n", b""):
            self.assertEqual([], self.cut(content))

    def test_what_is_no_array_is_said(self) -> None:
        for content in (b'{"a":1}', b"x", b"<html>\n"):
            self.assertRaises(Broken, self.cut, content)

    def test_what_comes_before_the_fault_is_sent(self) -> None:
        for rest in (
            b"",
            b",",
            b",]",
            b",,3]",
            b" 3]",
            b",3",
            b',{"a":}]',
            b",NaN]",
            b"]]",
            b"] x",
            b',"',
            b",[" * 99_999,
        ):
            content = b'[1,\n{"a":2}' + rest
            found = bodies(Source(self.written(content), len(content), "", "array"))
            self.assertEqual(1, json.loads(next(found).data)[0], rest[:9])
            self.assertRaises(Broken, lambda found=found: list(found))

    def test_what_is_no_end_is_not_read_for_ever(self) -> None:
        class Endless(io.RawIOBase):
            held = 0

            def read(self, size: int = -1) -> bytes:
                self.held += size
                assert self.held < 64 << 20, "all of it is read"
                return b'["' if self.held == size else b"x" * size

        items = bodies_module.Items(Endless())  # type: ignore[arg-type]  # reads are all that it needs
        self.assertRaises(Broken, items.next)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.recursive(st.none() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
                              lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), max_size=30),
        st.sampled_from([None, 1]), st.integers(1, 40),
    )  # fmt: skip
    def test_wherever_the_reads_end(self, items: list[Any], indent: int | None, chunk: int) -> None:
        class Slow(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(min(chunk, size or 0))

        array = json.dumps(items, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
        reader = bodies_module.Items(Slow(array))
        found = []
        while (item := reader.next()) is not None:
            found.append(json.loads(item.decode("utf-8", "surrogatepass")))
        self.assertEqual(items, found)
