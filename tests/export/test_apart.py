"""What `outputd.export.apart` promises."""

from __future__ import annotations

import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from outputd.export.apart import Apart
from outputd.export.asked import Asked
from outputd.export.page import Page
from outputd.export.reading import Reading
from outputd.export.walk import Lost
from outputd.sqlite.connections import reading
from outputd.store.file import describe
from tests.kit.bench import Bench
from tests.kit.exported import WEIRD
from tests.kit.makers import a_result, a_trace, many_hops

if find_spec("pyarrow") is not None:
    import pyarrow.parquet as pq

    from outputd.export.parquet import ParquetEncoder


class ApartTests(SynchronousTestCase):
    def setUp(self) -> None:
        if find_spec("pyarrow") is None:
            raise SkipTest("pyarrow is not installed")
        self.encoder = Apart()
        self.addCleanup(self.encoder.close)

    @property
    def pid(self) -> int:
        return self.encoder._child.pid  # noqa: SLF001  # nobody else asks for it

    def page(self) -> Page:
        """A page of results with all that is hard to carry over."""
        bench = Bench(Path(self.mktemp()))
        self.addCleanup(bench.stop)
        bench.post(*(a_result(**changes) for changes in WEIRD), a_trace(*many_hops(20)))
        path = bench.store.current.info.path
        with reading(path) as db:
            page = Reading(db, describe(path), Asked()).page()
        assert page is not None
        return page

    def test_it_makes_what_the_encoder_makes_here(self) -> None:
        page, here = self.page(), ParquetEncoder()
        made = [encoder.add(page) + encoder.add(page) + encoder.end() for encoder in (self.encoder, here)]
        tables = [pq.read_table(io.BytesIO(file)) for file in made]
        self.assertEqual(2 * len(page), tables[0].num_rows)
        self.assertTrue(tables[0].equals(tables[1], check_metadata=True))

    def test_it_takes_no_module_from_the_directory_in_which_the_service_runs(self) -> None:
        there = Path(self.mktemp())
        there.mkdir()
        there.joinpath("pyarrow.py").write_text("raise SystemExit", encoding="utf-8")
        page = self.page()
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(there)
        encoder = Apart()
        self.addCleanup(encoder.close)
        encoder.add(page)
        self.assertEqual(b"PAR1", encoder.end()[-4:])

    def test_it_tells_how_long_the_child_has_worked(self) -> None:
        self.assertEqual(0, self.encoder.apart_s)
        self.encoder.add(self.page())
        first_s = self.encoder.apart_s
        self.encoder.end()
        self.assertLess(0, first_s)
        self.assertLess(first_s, self.encoder.apart_s)

    def test_once_it_is_closed_there_is_no_process(self) -> None:
        self.encoder.close()
        self.assertRaises(ProcessLookupError, os.kill, self.pid, 0)

    def test_who_waits_for_a_child_that_hangs_is_let_go(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(self.encoder.end)
            self.encoder.stop()
            self.assertRaises(Lost, asked.result)

    def test_a_child_that_ends_by_itself_is_told(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.assertRaises(Lost, self.encoder.add, self.page())
        self.assertRaises(Lost, self.encoder.end)

    def test_what_is_never_stored_is_told_and_the_child_says_nothing(self) -> None:
        page, heard = self.page(), Path(self.mktemp())
        kept = os.dup(2)
        self.addCleanup(os.close, kept)
        for spoil in ({"timestamp": ["soon"] * len(page)}, {"hop_ttl": [-1] * len(page.hop_ttl)}):
            with heard.open("wb") as file:
                os.dup2(file.fileno(), 2)
                try:
                    encoder = Apart()
                    self.addCleanup(encoder.close)
                finally:
                    os.dup2(kept, 2)
            self.assertRaises(ValueError, encoder.add, replace(page, **spoil))
            self.assertEqual(b"", heard.read_bytes())
