"""What `outputd.archive.archive` promises."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.archive import archive as module
from outputd.archive import mark as marks
from outputd.archive.archive import Archive
from outputd.archive.choice import Choice
from outputd.archive.mark import Mark
from outputd.archive.place import place_of
from outputd.process.trouble import Unusable
from tests.kit.bench import Bench
from tests.kit.makers import a_result
from tests.kit.pools import inline

URL = "s3://bucket/prefix"


class ArchiveTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))

    def archive(self, url: str = URL, backlog_bytes: int = 1 << 20) -> Archive:
        choice = Choice(
            place=place_of(url), every_s=600.0, credentials=None, max_backlog_bytes=backlog_bytes, name=None
        )
        return Archive(choice, self.bench.store, self.bench.directory, inline, self.bench.clock)

    def test_without_its_libraries_it_says_what_to_install(self) -> None:
        """Rule 23."""
        self.patch(module, "find_spec", lambda name: None)
        error = self.assertRaises(Unusable, self.archive)
        self.assertEqual("--archive needs pyarrow and obstore: pip install 'outputd[archive]'", str(error))

    def test_before_a_start_files_are_kept_as_far_as_they_are_not_known_to_be_in_this_archive(self) -> None:
        archive = self.archive()
        self.assertEqual(0, archive.let_go_at_start())
        marks.write(self.bench.directory, Mark(place=URL, instance="a.b", result_files="b", batch_id=7))
        self.assertEqual(7, archive.let_go_at_start())
        self.assertEqual(0, self.archive("s3://other").let_go_at_start())
        self.bench.directory.archive.write_bytes(b"?")
        self.assertEqual(0, archive.let_go_at_start())

    def test_what_is_behind_is_a_warning_long_before_a_file_is_given_up(self) -> None:
        archive = self.archive(backlog_bytes=200_000)
        self.assertIsNone(archive.failure)
        self.bench.clock.advance(1)
        self.bench.post(a_result())
        self.bench.clock.advance(601)
        self.assertIsNone(archive.failure)
        self.bench.clock.advance(600)
        assert archive.failure is not None
        self.assertIn("shipping is 1202 s behind", archive.failure.reason)
        self.bench.post(*[a_result(error="x" * 200)] * 400)
        self.bench.outcome(self.bench.rotation.rotate("asked for"))
        self.assertIn("wait to be shipped; above that, the oldest file is given up", archive.failure.reason)
