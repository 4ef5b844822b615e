"""A service that ships to an archive, with the real child: kills, a stop, an archive that hangs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path

import pyarrow.parquet as pq

from tests.kit.depth import long
from tests.kit.makers import a_result
from tests.system.harness import HOST, Outputd, SystemTest
from tests.system.waiting import wait_until


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, by whichever thread."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(text) for text in (task / "children").read_text(encoding="ascii").split()]
    return found


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    return False


class ArchivingTest(SystemTest):
    def setUp(self) -> None:
        super().setUp()
        self.place = Path(f"{self.directory}.archive")
        self.place.mkdir()
        self.mark = self.directory / "archive.json"
        self.posts = 0
        self.service = self.outputd(f"--archive=file://{self.place}", "--archive-every=0.01", "--instance=graz")

    def ids(self) -> list[int]:
        """Of all results in the archive."""
        paths = sorted(self.place.glob("results/date=*/graz.*.parquet"))
        return [number for path in paths for number in pq.read_table(path, columns=["id"])["id"].to_pylist()]

    def check(self, service: Outputd) -> dict[str, object]:
        found: dict[str, object] = service.get("/health").json["checks"]["archive"]
        return found

    def post(self, service: Outputd, results: int = 50) -> None:
        self.assertEqual(200, service.post([a_result(ip=f"10.0.0.{n}") for n in range(results)]).status)
        self.posts += 1

    def wait_for(self, service: Outputd, results: int) -> None:
        wait_until(lambda: len(self.ids()) >= results, "shipped")
        wait_until(lambda: self.marked() == self.posts, "the mark says so")
        wait_until(lambda: self.check(service)["lag_seconds"] == 0, "nothing is left")

    def marked(self) -> object:
        """The last batch that is known to be shipped; it comes after the batch itself."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads(self.mark.read_bytes())["batch_id"]
        return None


class KillTests(ArchivingTest):
    def test_a_kill_between_the_put_and_the_mark_leaves_each_result_in_the_archive_once(self) -> None:
        self.service.start()
        self.post(self.service)
        self.wait_for(self.service, 50)
        before = json.loads(self.mark.read_bytes())
        self.service.kill()
        file = next(self.directory.glob("results_*.db")).name
        date = next(self.place.glob("results/*")).name.partition("=")[2]
        span = {"file": file, "date": date, "first_batch_id": 1, "last_batch_id": 1}
        self.mark.write_text(json.dumps({**before, "batch_id": 0, "arrived": "", "under_way": span}), encoding="utf-8")
        self.service.start()
        self.post(self.service)
        self.wait_for(self.service, 100)
        self.assertEqual(list(range(1, 101)), sorted(self.ids()))
        self.assertEqual(
            {**before, "batch_id": 2}, {**json.loads(self.mark.read_bytes()), "arrived": before["arrived"]}
        )

    @long("tests.archive.test_keeping_up.Mark.test_one_that_is_lost_or_broken_is_found_again")
    def test_a_mark_that_is_lost_is_found_again_and_a_child_that_is_killed_replaced(self) -> None:
        self.service.start()
        for n in range(1, 4):
            self.post(self.service)
            self.service.rotate()
            self.wait_for(self.service, 50 * n)
            for child in children_of(self.service.pid):
                os.kill(child, signal.SIGKILL)
        self.service.kill()
        self.mark.unlink()
        self.service.start()
        self.post(self.service)
        self.wait_for(self.service, 200)
        self.assertEqual(list(range(1, 201)), sorted(self.ids()))
        self.assertEqual(1, len({path.name.partition("-")[0] for path in self.place.glob("results/*/*")}))

    def test_the_child_ends_with_a_service_that_is_killed(self) -> None:
        self.service.start()
        self.post(self.service)
        self.wait_for(self.service, 50)
        children = children_of(self.service.pid)
        self.assertEqual(1, len(children))
        self.service.kill()
        wait_until(lambda: not any(map(is_alive, children)), "the child has ended")


class HangingTests(ArchivingTest):
    def test_a_stop_does_not_wait_for_an_archive_that_never_answers(self) -> None:
        with socket.create_server((HOST, 0)) as silent:
            url = f"s3://bucket/prefix?endpoint=http://{HOST}:{silent.getsockname()[1]}&region=x"
            environment = {"AWS_ACCESS_KEY_ID": "hush-hush-id", "AWS_SECRET_ACCESS_KEY": "hush-hush-key"}
            service = self.outputd(f"--archive={url}", "--archive-every=0.01", environment=environment).start()
            self.post(service)
            wait_until(lambda: children_of(service.pid), "a child is asked")
            wait_until(lambda: self.check(service)["lag_seconds"], "results wait")
            children = children_of(service.pid)
            self.assertEqual(200, service.get("/health").status)
            self.assertStopped(service.stop())
            self.assertFalse(any(map(is_alive, children)))
            self.assertNotIn("hush", service.log)


class StartTests(SystemTest):
    def test_credentials_that_are_none_end_the_start_with_one_line(self) -> None:
        """Rule 23."""
        path = Path(f"{self.directory}.credentials")
        path.write_text("AWS_ACCESS_KEY_ID=hush\nno line\n", encoding="ascii")
        for name in (path, "/nowhere"):
            done = self.outputd("--archive=s3://bucket", f"--archive-credentials={name}").refused()
            self.assertEqual(1, done.returncode, done.stderr)
            self.assertEqual(1, len(done.stderr.splitlines()), done.stderr)
            self.assertIn(str(name), done.stderr)
            self.assertNotIn("hush", done.stderr)
