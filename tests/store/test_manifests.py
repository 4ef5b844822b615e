"""What `outputd.store.manifests` and `outputd.store.manifest` promise; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from outputd.store import manifest as manifest_file
from outputd.store.directory import manifest_of
from outputd.store.manifest import Manifest
from outputd.store.manifests import Manifests
from tests.kit.bench import Bench
from tests.kit.damage import spoil_leaf
from tests.kit.logs import said
from tests.kit.makers import a_result, a_trace, many_hops
from tests.kit.pools import P, T, inline, outcome


class ManifestsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bench = Bench(self.path)
        self.read: list[str] = []
        make = manifest_file.make

        def counted(path: Path, goes_on: Callable[[], bool]) -> Manifest:
            self.read.append(path.name)
            return make(path, goes_on)

        self.patch(manifest_file, "make", counted)
        self.manifests = self.begin()

    def begin(self) -> Manifests:
        """What a new process knows."""
        manifests = Manifests(self.bench.directory, lambda: self.bench.store.closed, inline, self.bench.clock)
        self.addCleanup(manifests.stop)
        return manifests

    def close_one(self, *items: Any) -> Path:
        """A closed file that holds these."""
        path = self.bench.store.current.info.path
        self.bench.keep(*items)
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish_closed())
        return path

    def of(self, path: Path) -> Manifest:
        """Its manifest, which there is."""
        found = outcome(self.manifests.of(path))
        assert found is not None
        return found


class WhatItSays(ManifestsTest):
    def test_what_a_file_holds_and_what_it_is(self) -> None:
        old = self.close_one(
            a_result(timestamp="2026-01-07T22:30:00.5Z"),
            a_trace(*many_hops(3)),
            a_trace(*many_hops(2)),
            {"ip": 1},
        )
        self.of(old)
        written = json.loads(manifest_of(old).read_bytes())
        data, state = old.read_bytes(), old.stat()
        self.assertEqual(
            {
                "file": old.name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
                "results": 3, "rejected": 1, "traceroutes": 2, "hops": 5,
                "first_measured": "2026-01-07T22:30:00Z", "last_measured": "2026-01-07T22:30:00.5Z",
                "first_arrived": "2026-01-07T22:30:45Z", "last_arrived": "2026-01-07T22:30:45Z",
                "inode": state.st_ino, "modified_ns": state.st_mtime_ns,
            },
            written,
        )  # fmt: skip

    def test_an_empty_file_has_no_times(self) -> None:
        old = self.bench.store.current.info.path
        self.bench.outcome(self.bench.store.rotate())
        self.bench.outcome(self.bench.store.finish_closed())
        found = self.of(old)
        self.assertEqual((0, None, None), (found.results, found.first_measured, found.last_arrived))

    def test_what_cannot_be_counted_is_named_and_left_open(self) -> None:
        """The digest is that of the damaged file, which can still be had."""
        old = self.close_one(a_result(), {"ip": "a bad item"})
        spoil_leaf(old, b"a bad item")
        with said() as texts:
            found = self.of(old)
        self.assertEqual((None, hashlib.sha256(old.read_bytes()).hexdigest()), (found.results, found.sha256))
        self.assertTrue([text for text in texts if old.name in text and "damaged" in text], texts)

    def test_its_mode_is_that_of_the_other_files(self) -> None:
        old = self.close_one(a_result())
        self.of(old)
        self.assertEqual(0o640, stat.S_IMODE(manifest_of(old).stat().st_mode))


class Believing(ManifestsTest):
    """A manifest is believed only while size, inode and time of change are those of the file."""

    def test_a_file_is_read_once_over_restarts_too(self) -> None:
        old = self.close_one(a_result())
        first = self.of(old)
        self.assertEqual(first, self.of(old))
        self.manifests = self.begin()
        self.assertEqual((first, [old.name]), (self.of(old), self.read))

    def test_of_another_file_of_its_name_it_is_made_anew(self) -> None:
        old = self.close_one(a_result())
        self.of(old)
        for change in (self.replace_by_a_copy, self.write_over, self.grow):
            change(old)
            self.assertEqual((old.stat().st_size, None), self.manifests.look(old))
            found = self.of(old)
            self.assertEqual(hashlib.sha256(old.read_bytes()).hexdigest(), found.sha256, change.__name__)
            self.assertEqual(json.loads(manifest_of(old).read_bytes())["sha256"], found.sha256)
        self.assertEqual(4, len(self.read))

    def replace_by_a_copy(self, path: Path) -> None:
        shutil.copy2(path, f"{path}.copy")
        os.replace(f"{path}.copy", path)

    def write_over(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")

    def grow(self, path: Path) -> None:
        with path.open("ab") as file:
            file.write(b"\0" * 8192)

    def test_what_is_no_manifest_of_this_file_is_made_anew(self) -> None:
        """Whatever somebody has put there; a link leads to nothing overwritten."""
        old, other = self.close_one(a_result()), self.close_one(a_result())
        found, victim = self.of(old), self.path / "victim"
        foreign = {**json.loads(manifest_of(old).read_bytes()), "file": other.name}
        victim.write_bytes(manifest_of(old).read_bytes())
        for text in (b"", b"\xff", b"{}", b"[" * 100_000, json.dumps(foreign).encode(), b'{"file": 1}'):
            manifest_of(old).write_bytes(text)
            self.manifests = self.begin()
            self.assertEqual(found, self.of(old), text[:20])
        manifest_of(old).unlink()
        manifest_of(old).symlink_to(victim.absolute())
        self.manifests, before = self.begin(), victim.read_bytes()
        self.assertEqual(found, self.of(old))
        self.assertEqual((False, before), (manifest_of(old).is_symlink(), victim.read_bytes()))

    def test_one_that_is_gone_has_none(self) -> None:
        self.assertRaises(FileNotFoundError, outcome, self.manifests.of(self.path / "results_gone.db"))


class InTheBackground(ManifestsTest):
    def test_older_files_have_theirs_soon_after_a_start_each_once(self) -> None:
        closed = [self.close_one(a_result()) for _ in range(3)]
        self.manifests.start()
        self.bench.clock.pump([1.0] * 3)
        self.assertEqual([path.name for path in closed], self.read)
        self.assertTrue(all(manifest_of(path).exists() for path in closed))

    def test_a_file_that_is_closed_later_too_and_the_current_one_never(self) -> None:
        self.manifests.start()
        closed = self.close_one(a_result())
        self.bench.clock.advance(1)
        self.assertTrue(manifest_of(closed).exists())
        self.assertFalse(manifest_of(self.bench.store.current.info.path).exists())

    def test_a_file_is_closed_only_once_it_is_finished(self) -> None:
        """Rule 11: until then it still changes."""
        self.bench.keep(a_result())
        self.bench.outcome(self.bench.store.rotate())
        self.assertEqual([], self.bench.store.closed)
        self.bench.outcome(self.bench.store.finish_closed())
        self.assertEqual(1, len(self.bench.store.closed))

    def test_one_that_cannot_be_written_is_said_once_and_known_all_the_same(self) -> None:
        """A full disk, say."""
        old = self.close_one(a_result())

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(manifest_file, "write", full)
        with said() as texts:
            self.manifests.start()
            self.bench.clock.pump([1.0] * 5)
        self.assertEqual((1, [old.name]), (len([text for text in texts if "manifest" in text]), self.read))
        self.assertIsNotNone(self.manifests.look(old)[1])

    def test_a_stop_does_not_wait_for_a_large_file(self) -> None:
        """Rule 23."""
        old = self.close_one(*[a_result(error="x" * 1000)] * 3000)
        self.assertGreater(old.stat().st_size, 2 << 20)
        preadv = os.preadv
        stopped: list[Deferred[None]] = []

        def stopping(handle: int, parts: Sequence[memoryview], at: int) -> int:
            if at == 0:
                stopped.append(self.manifests.stop())
            assert at <= 1 << 20, "it reads on"
            return preadv(handle, parts, at)

        self.patch(os, "preadv", stopping)
        self.manifests.start()
        self.successResultOf(stopped[0])
        self.assertFalse(manifest_of(old).exists())


class Leaving(ManifestsTest):
    def test_retention_deletes_both(self) -> None:
        """Rule 13."""
        old = self.close_one(a_result())
        self.of(old)
        self.bench.directory.remove(old)
        self.assertEqual([], list(self.path.glob(f"{old.stem}*")))

    def test_a_damaged_file_that_is_set_aside_leaves_none(self) -> None:
        """Rule 11: it may come back repaired."""
        old = self.close_one(a_result())
        self.of(old)
        self.bench.directory.set_aside(old, "for a test")
        self.assertEqual([f"{old.name}.damaged"], [path.name for path in self.path.glob(f"{old.stem}*")])
        self.flushLoggedErrors()


class TakenAway(ManifestsTest):
    """What others do to a closed file while the service runs."""

    def setUp(self) -> None:
        super().setUp()
        self.old = self.close_one(a_result())
        self.manifests.start()
        self.bench.clock.advance(1)

    def test_one_that_is_replaced_has_another_and_the_log_says_so(self) -> None:
        copy = self.old.with_suffix(".copy")
        copy.write_bytes(self.old.read_bytes() + bytes(8192))
        with said() as lines:
            os.replace(copy, self.old)
            self.bench.clock.pump([1.0] * 20)
        size_bytes, found = self.manifests.look(self.old)
        assert found is not None
        self.assertEqual(
            (found.size_bytes, json.loads(manifest_of(self.old).read_bytes())["size_bytes"]), (size_bytes,) * 2
        )
        self.assertEqual(sum("was replaced or changed by someone else" in line for line in lines), 1)

    def test_one_that_is_deleted_is_told_of_once(self) -> None:
        with said() as lines:
            self.old.unlink()
            self.bench.clock.pump([1.0] * 30)
        self.assertEqual(sum("was deleted by someone else" in line for line in lines), 1)

    def test_one_of_which_none_can_be_made_any_more_is_told_of_once(self) -> None:
        with said() as lines:
            self.old.unlink()
            self.old.mkdir()
            self.bench.clock.pump([1.0] * 30)
        self.assertEqual(sum("was replaced or changed by someone else" in line for line in lines), 1)

    def test_those_that_are_known_are_looked_at_every_ten_seconds(self) -> None:
        """A thread is woken, and each file costs a call of the system."""
        works: list[object] = []

        async def counted(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
            works.append(work)
            return await inline(work, *args, **kwargs)

        manifests = Manifests(self.bench.directory, lambda: self.bench.store.closed, counted, self.bench.clock)
        self.addCleanup(manifests.stop)
        manifests.start()
        self.bench.clock.pump([1.0] * 5)
        works.clear()
        self.bench.clock.pump([1.0] * 30)
        self.assertEqual(3, len(works))

    def test_nothing_stays_known_of_those_that_were_pruned(self) -> None:
        """One that was missing, and one of which none could be made, included."""
        missing, failing = self.close_one(a_result()), self.close_one(a_result())
        missing.unlink()
        failing.unlink()
        failing.mkdir()
        self.bench.clock.pump([1.0] * 2)
        self.bench.store.limits = replace(self.bench.limits, keep_files=1)
        self.bench.outcome(self.bench.store.prune(2**62))
        self.bench.clock.pump([1.0] * 2)
        for path in (self.old, missing, failing):
            self.assertEqual([], [name for name, value in vars(self.manifests).items() if path in _held_by(value)])


def _held_by(value: object) -> Container[object]:
    return value if isinstance(value, dict | set) else ()

    def test_what_could_not_be_made_is_tried_again(self) -> None:
        """A program may have had the file locked."""
        new = self.close_one(a_result())

        def locked(path: Path, goes_on: Callable[[], bool]) -> Manifest:
            raise OSError(errno.EAGAIN, "locked")

        with contextlib.ExitStack() as patched:
            make = manifest_file.make
            self.patch(manifest_file, "make", locked)
            patched.callback(setattr, manifest_file, "make", make)
            self.bench.clock.pump([1.0] * 3)
        self.assertIsNone(self.manifests.look(new)[1])
        self.bench.clock.pump([1.0] * 61)
        self.assertIsNotNone(self.manifests.look(new)[1])
