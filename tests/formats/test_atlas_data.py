"""The reader of RIPE Atlas, against a recount of what probes have really written."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.formats.atlas import ATLAS
from outputd.formats.reader import NotOfThisFormat, Unread
from tests.formats.data import foreign
from tests.formats.mutations import mutated
from tests.formats.recount import counted
from tests.formats.recount_atlas import recount
from tests.kit.properties import given, settings


class DataTests(SynchronousTestCase):
    """Every file of ../shared/data/raw/ripe-atlas."""

    def test_each_file_is_what_a_recount_finds(self) -> None:
        refused = 0
        for name, body in foreign("ripe-atlas").items():
            found = list(ATLAS.read(body))
            refused += sum(isinstance(item, Unread) for item in found)
            self.assertEqual(counted(found), recount(body), name)
        self.assertEqual(refused, 10, "names that were not resolved")

    def test_each_file_is_claimed(self) -> None:
        for name, body in foreign("ripe-atlas").items():
            self.assertTrue(ATLAS.claims(body), name)

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_a_damaged_one_is_read_or_refused(self, data: st.DataObject) -> None:
        bodies = [body for body in foreign("ripe-atlas").values() if len(body) < 10_000]
        body = data.draw(mutated(bodies))
        try:
            found = list(ATLAS.read(body))
        except NotOfThisFormat:
            return
        rows = sum(count.replies + count.timeouts for count in counted(found))
        self.assertLessEqual(rows, body.count(b'"from"') + body.count(b'"rtt"') + body.count(b'"x"'))
