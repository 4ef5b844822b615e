"""The reader of HiPerConTracer's results, against a recount of what it has really written."""

from __future__ import annotations

from collections import Counter
from functools import cache

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.hipercontracer import HIPERCONTRACER
from outputd.formats.packing import unpacked
from outputd.formats.reader import NotOfThisFormat, Unread
from outputd.results.model import PingResult
from tests.formats.data import foreign
from tests.formats.mutations import mutated
from tests.formats.recount import counted
from tests.formats.recount_hipercontracer import recount
from tests.kit.properties import given, settings


@cache
def written() -> dict[str, bytes]:
    """The files, unpacked."""
    return {name: unpacked(body, 8 << 20) for name, body in foreign("hipercontracer").items()}


class DataTests(SynchronousTestCase):
    """Every file of ../shared/data/raw/hipercontracer."""

    def test_each_file_is_what_a_recount_finds(self) -> None:
        for name, body in written().items():
            self.assertEqual(counted(HIPERCONTRACER.read(body)), recount(body), name)

    def test_all_that_is_not_read_are_lines_of_jitter(self) -> None:
        unread = Counter(
            item.raw[:3]
            for body in written().values()
            for item in HIPERCONTRACER.read(body)
            if isinstance(item, Unread)
        )
        self.assertEqual(unread, {b"#Ji": 36})

    def test_a_route_is_completed_where_the_tool_says_so(self) -> None:
        completed = said = 0
        for body in written().values():
            for item in HIPERCONTRACER.read(body):
                if isinstance(item, PingResult) and item.traceroute is not None:
                    completed += bool(item.traceroute.completed)
            headers = [line.split() for line in body.splitlines() if line.startswith(b"#T")]
            said += sum(bool(int(words[7 if words[0] == b"#T" else 12], 16) & 0x200) for words in headers)
        self.assertEqual((completed, said), (1003, 1003))

    def test_each_file_is_claimed(self) -> None:
        for name, body in written().items():
            self.assertTrue(HIPERCONTRACER.claims(body), name)

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_a_damaged_one_is_read_or_refused(self, data: st.DataObject) -> None:
        body = data.draw(mutated([body for body in written().values() if len(body) < 20_000]))
        HIPERCONTRACER.claims(body)
        try:
            found = counted(HIPERCONTRACER.read(body))
        except NotOfThisFormat:
            return
        self.assertLessEqual(sum(count.replies + count.timeouts for count in found), body.count(b"\n\t"))
        self.assertLessEqual(len(found), body.count(b"#P") + body.count(b"#T"))
