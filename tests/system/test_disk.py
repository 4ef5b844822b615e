"""A disk that is full, read-only or gone, and files that are deleted or damaged under the service: for real."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.kit.makers import a_result
from tests.system.disk import CannotMount, Disk
from tests.system.files import (
    all_faults,
    feedable_rows,
    is_self_contained,
    result_files,
    stored_targets,
    webhook_is_on,
)
from tests.system.harness import HOST, Outputd, SystemTest, free_port
from tests.system.load import Post, Source, targets
from tests.system.waiting import DEADLINE_S, wait_until

_MIB = 1 << 20
_DISK_MIB = 128


class DiskTest(SystemTest):
    """A test with a small disk of its own; the directory of the instance is on it."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = Disk(self.directory.parent / "disk", _DISK_MIB)
        try:
            self.disk.mount()
        except CannotMount as error:
            raise SkipTest(str(error)) from None
        self.addCleanup(self.disk.unmount)
        self.directory = self.disk.path / "data"
        self.source = Source(11)
        self.stored: list[Post] = []

    def outputd(self, *flags: str, input_url: str = "", **more: Any) -> Outputd:
        """See SystemTest; the log is on another disk."""
        outputd = super().outputd(*flags, input_url=input_url, **more)
        outputd.log_path = self.disk.path.parent / "outputd.log"
        return outputd

    def post(self, outputd: Outputd, size: int = 50) -> int:
        """The status of a POST; what was answered 200 is remembered."""
        post = self.source.post(size)
        answer = outputd.post(post.body, idempotency_key=post.key)
        if answer.status == 200:
            self.stored.append(post)
        else:
            self.assertEqual(503, answer.status, answer.body)
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
            self.assertIn("application/problem+json", str(answer.headers["Content-Type"]))
        return answer.status

    def post_until(self, outputd: Outputd, status: int) -> None:
        """Post until such an answer comes."""
        wait_until(lambda: self.post(outputd) == status, f"a POST is answered {status}")

    def check(self, outputd: Outputd, name: str) -> tuple[int, dict[str, Any]]:
        """The status of /health and one of its checks."""
        health = outputd.get("/health")
        return health.status, health.json["checks"][name]

    def refusals(self, outputd: Outputd) -> list[str] | None:
        """What /ready and the check of the disk say while a POST is refused, once both do; a smaller one may fit."""
        if self.post(outputd) != 503:
            return None
        ready, (status, check) = outputd.get("/ready"), self.check(outputd, "disk")
        is_told = (ready.status, status, check["status"]) == (503, 503, "fail")
        return [ready.json["detail"], check["reason"]] if is_told else None

    def fails(self, outputd: Outputd, name: str) -> bool:
        """Whether one of the checks of /health fails, and /health with it."""
        status, check = self.check(outputd, name)
        return (status, check["status"]) == (503, "fail")

    def assertAllStored(self) -> None:  # in unittest's spelling
        """Whatever was answered 200 is there once, whole, and nothing else."""
        self.assertEqual([], all_faults(self.directory))
        self.assertEqual(targets(self.stored), stored_targets(self.directory))


class FullDisk(DiskTest):
    """Rules 1, 9, 12, 18, 20 and 21."""

    def test_posts_are_refused_while_it_is_full_and_stored_soon_after(self) -> None:
        """With a reason everywhere, the feed on, and nothing half written."""
        input_service = self.input_service().open()
        outputd = self.outputd("--max-size-mb=4", "--keep-files=100", input_url=input_service.url).start()
        self.post_until(outputd, 200)
        self.disk.fill()
        self.post_until(outputd, 503)
        for _ in range(20):
            self.post(outputd)
        for said in wait_until(lambda: self.refusals(outputd), "it is told"):
            self.assertIn("full", said)
        self.disk.make_room()
        wait_until(lambda: outputd.get("/ready").status == 200, "it is ready again")
        self.assertEqual(200, self.post(outputd))
        self.assertEqual(200, outputd.get("/health").status)
        self.assertStopped(outputd.stop())
        self.assertAllStored()
        fed = feedable_rows(self.directory)
        outputd.start()
        wait_until(lambda: input_service.taken.keys() >= fed, "every hop has arrived")

    def test_a_change_that_the_webhook_takes_while_it_is_full_is_posted_once(self) -> None:
        """That it was taken cannot be written down before there is room; what is found later follows it."""
        with socket.create_server((HOST, free_port())) as hook:
            hook.settimeout(DEADLINE_S)
            outputd = self.outputd("--max-size-mb=4", f"--webhook=http://{HOST}:{hook.getsockname()[1]}/").start()
            wait_until(lambda: webhook_is_on(self.directory), "the webhook is turned on")
            for received in (*[4] * 10, 0, 0, 0):
                self.assertEqual(200, outputd.post([a_result(received=received)]).status)
            with self.posted(hook, b"loss_began") as connection:
                self.disk.fill()
                self.post_until(outputd, 503)
                connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            wait_until(lambda: b"\noutput_service_webhook_posted_changes_total 1" in outputd.get("/metrics").body,
                       "it was taken")  # fmt: skip
            wait_until(lambda: self.refusals(outputd), "the disk is what is told to be wrong")
            self.assertEqual("ok", self.check(outputd, "webhook")[1]["status"])
            self.disk.make_room()
            wait_until(lambda: outputd.get("/ready").status == 200, "it is ready again")
            for _ in range(3):
                self.assertEqual(200, outputd.post([a_result()]).status)
            with self.posted(hook, b"loss_ended") as connection:
                connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            wait_until(lambda: self.check(outputd, "webhook")[1]["waiting_changes"] == 0, "none waits")
        self.assertStopped(outputd.stop())

    @contextmanager
    def posted(self, hook: socket.socket, kind: bytes) -> Iterator[socket.socket]:
        """The connection by which the next change comes, which is one of this kind."""
        connection, _ = hook.accept()
        with connection:
            connection.settimeout(DEADLINE_S)
            taken = b""
            while b'"found_at"' not in taken:
                part = connection.recv(65536)
                self.assertNotEqual(b"", part, taken)
                taken += part
            self.assertIn(b'"kind":"%s"' % kind, taken)
            yield connection

    def test_killed_while_it_is_full(self) -> None:
        """And started again there, and then with room."""
        outputd = self.outputd("--max-size-mb=4", "--keep-files=100").start()
        self.post_until(outputd, 200)
        self.disk.fill()
        self.post_until(outputd, 503)
        outputd.kill()
        self.disk.make_room()
        outputd.start()
        self.assertEqual(200, self.post(outputd))
        self.assertStopped(outputd.stop())
        self.assertAllStored()

    @long(
        "tests.ledger.test_opening.Opening.test_on_a_full_disk_files_beyond_the_limit_make_room",
    )
    def test_a_start_on_a_full_disk_frees_what_retention_gives_back(self) -> None:
        """Rule 13: with fewer files to keep, the oldest go, and posts are stored again."""
        outputd = self.outputd("--max-size-mb=1").start("--keep-files=100")
        wait_until(lambda: self.post(outputd) and len(result_files(self.directory)) >= 10, "ten files")
        wait_until(lambda: all(map(is_self_contained, result_files(self.directory)[:-1])), "closed files stand alone")
        self.disk.fill()
        self.assertEqual(0, outputd.stop().code)  # a WAL has to stay when there is no room for what is in it
        self.disk.fill()
        before = {path.name for path in result_files(self.directory)}
        outputd.start("--keep-files=2")  # eight give back more than the 4 MiB that it wants before it is ready
        wait_until(lambda: len(result_files(self.directory)) <= 2, "the oldest files are pruned")
        wait_until(lambda: self.post(outputd) == 200, "posts are stored again")
        self.assertLess(len({path.name for path in result_files(self.directory)} & before), len(before))
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))

    @long(
        "tests.store.test_rotation.Pruning.test_a_full_disk_does_not_keep_its_own_relief_from_coming",
    )
    def test_retention_goes_on_while_no_new_file_can_be_made(self) -> None:
        """Rule 13: a file too many is deleted, although the rotation that is due fails."""
        outputd = self.outputd("--max-size-mb=1", "--keep-files=3").start()
        wait_until(lambda: self.post(outputd) and len(result_files(self.directory)) == 3, "three files")
        self.disk.fill()
        self.post_until(outputd, 503)
        self.disk.make_room()
        wait_until(lambda: self.post(outputd) == 200, "posts are stored again")
        for _ in range(60):
            self.post(outputd)
        wait_until(lambda: len(result_files(self.directory)) <= 3, "no more than three files")
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))


@long(
    "tests.test_tap.Starting.test_a_directory_that_cannot_be_made",
    "tests.store.test_store.TakenAway.test_the_file",
    "tests.ledger.test_keeping_up.UpkeepTest.test_a_ledger_that_was_deleted_is_made_anew",
)
class Unwritable(DiskTest):
    """Rules 1, 9, 20 and 21."""

    def test_no_start_on_a_read_only_disk(self) -> None:
        """Rule 23: one clear line."""
        outputd = self.outputd().start()
        self.assertStopped(outputd.stop())
        self.disk.remount("ro")
        refused = outputd.refused()
        self.disk.remount("rw")
        self.assertEqual(1, refused.returncode)
        self.assertIn("Read-only file system", refused.stderr.splitlines()[-1])

    def test_a_directory_that_is_removed_is_made_again(self) -> None:
        """What was in it is written again from what is still open, and nothing answered after that is lost."""
        outputd = self.outputd().start()
        self.post_until(outputd, 200)
        shutil.rmtree(self.directory.rename(self.directory.parent / "removed"))  # at once: a file may be made meanwhile
        answers = {self.post(outputd) for _ in range(5)}
        self.assertLessEqual(answers, {200, 503})
        self.assertIn(outputd.get("/health").status, (200, 503))
        wait_until(lambda: outputd.get("/ready").status == 200, "it is ready again")
        self.assertEqual(200, self.post(outputd))
        self.assertStopped(outputd.stop())
        self.assertAllStored()

    def test_the_ledger_deleted_on_a_full_disk_is_made_anew_with_room(self) -> None:
        """Rule 18: from the result files; no hop is lost, and the log has a line for it, not one a second."""
        input_service = self.input_service().open()
        outputd = self.outputd("--keep-files=100", input_url=input_service.url).start()
        self.post_until(outputd, 200)
        self.disk.fill()
        for path in self.directory.glob("hops.sqlite3*"):
            path.unlink()
        self.disk.fill()
        wait_until(lambda: outputd.get("/ready").status == 503, "it is not ready")
        wait_until(lambda: self.fails(outputd, "database"), "the store is full first, and the ledger then")
        wait_until(lambda: "cannot be updated" in outputd.log, "it is tried")
        self.disk.make_room()
        wait_until(lambda: outputd.get("/ready").status == 200, "it is ready again")
        self.assertEqual(200, self.post(outputd))
        self.assertEqual(1, outputd.log.count("the hop ledger was deleted by someone else"))
        fed = wait_until(lambda: feedable_rows(self.directory), "rows")
        wait_until(lambda: input_service.taken.keys() >= fed, "every hop has arrived")
        self.assertStopped(outputd.stop())
        self.assertAllStored()


@long(
    "tests.store.test_store.ClosedFiles.test_a_damaged_one_is_set_aside_and_does_not_keep_the_later_ones_from_it",
    "tests.store.test_store.ClosedFiles.test_none_is_written_again_when_the_newest_is_damaged_at_a_start",
    "tests.store.test_rotation.Trouble.test_a_damaged_file_is_left_at_once_and_kept_out_of_the_way",
    "tests.store.test_store.TakenAway.test_the_file",
)
class Damaged(DiskTest):
    """Rules 11 and 13."""

    def damage(self, path: Path) -> None:
        """Overwrite the middle of it, as a bad disk does."""
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(size - 4096))

    def test_a_damaged_newest_file_is_set_aside_at_a_start(self) -> None:
        """Its name is in the log, a fresh one is begun, and ids go on beyond it."""
        outputd = self.outputd().start()
        self.post_until(outputd, 200)
        self.assertStopped(outputd.stop())
        (path,) = result_files(self.directory)
        self.damage(path)
        self.stored.clear()
        outputd.start()
        self.assertIn(f"{path.name} is damaged and set aside", outputd.log)
        status, check = self.check(outputd, "database")
        self.assertEqual((200, "warn"), (status, check["status"]))
        self.assertIn(path.name, check["reason"])
        self.assertEqual(200, self.post(outputd))
        self.assertStopped(outputd.stop())
        self.assertAllStored()

    def test_a_damaged_closed_file_stops_nothing(self) -> None:
        """Beside a running service: /recent and /health go on and say so."""
        outputd = self.outputd().start()
        self.post_until(outputd, 200)
        self.assertEqual(200, outputd.rotate().status)
        old = result_files(self.directory)[0]
        self.stored.clear()
        self.damage(old)
        self.assertEqual(200, self.post(outputd))
        wait_until(lambda: outputd.get("/recent?limit=1000").status == 200, "/recent answers")
        wait_until(lambda: self.check(outputd, "database")[1]["status"] == "warn", "/health tells of it")
        self.assertIn(old.name, self.check(outputd, "database")[1]["reason"])
        self.assertStopped(outputd.stop())
        old.unlink(missing_ok=True)  # it was set aside, unless it had been finished before it was damaged
        self.assertAllStored()

    def test_a_closed_file_damaged_long_after_is_told_by_whoever_meets_it(self) -> None:
        """/recent answers from the others and names it, /health warns, and the log has one line for it."""
        outputd = self.outputd().start()
        self.post_until(outputd, 200)
        self.assertEqual(200, outputd.rotate().status)
        old = result_files(self.directory)[0]
        wait_until(lambda: is_self_contained(old), "the closed file stands alone")
        self.damage(old)
        self.assertEqual(200, self.post(outputd))
        for _ in range(3):
            recent = outputd.get("/recent?limit=1000")
            self.assertEqual((200, 50), (recent.status, len(recent.json)))
            self.assertEqual(old.name, recent.headers["Unreadable-Files"])
        status, check = self.check(outputd, "database")
        self.assertEqual((200, "warn"), (status, check["status"]))
        self.assertIn(old.name, check["reason"])
        self.assertEqual(1, outputd.log.count(f"{old.name} cannot be read"))
        self.assertStopped(outputd.stop())

    def test_a_file_deleted_on_a_full_disk_is_written_again_with_room(self) -> None:
        """Whoever still has it open keeps it until then; posts go on into a new file meanwhile, while they fit."""
        outputd = self.outputd("--keep-files=100").start()
        for _ in range(6):
            self.assertEqual(200, self.post(outputd, 500))
        (path,) = result_files(self.directory)
        self.disk.fill(left_bytes=1 << 20)
        for victim in self.directory.glob("results_*"):
            victim.unlink()
        wait_until(lambda: "waits to be written again" in outputd.log, "there is no room to write it again")
        status, check = self.check(outputd, "database")
        self.assertEqual((200, "warn"), (status, check["status"]))
        self.assertIn(path.name, check["reason"])
        self.disk.make_room()
        wait_until(lambda: "is written again" in outputd.log, "the file is written again")
        wait_until(lambda: self.post(outputd) == 200, "posts are stored again")
        wait_until(lambda: self.check(outputd, "database")[1]["status"] == "ok", "the summary has its files, too")
        self.assertStopped(outputd.stop())
        self.assertAllStored()

    def test_a_deleted_newest_file_is_written_again(self) -> None:
        """From the connection that still has it: nothing answered is lost."""
        outputd = self.outputd().start()
        self.post_until(outputd, 200)
        for path in self.directory.glob("results_*"):
            path.unlink()
        wait_until(lambda: self.post(outputd) == 200, "posts are stored again")
        wait_until(lambda: "is written again" in outputd.log, "the file is written again")
        self.assertStopped(outputd.stop())
        self.assertAllStored()
