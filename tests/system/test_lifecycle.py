"""How it starts, refuses to start, stops, and goes on where it was."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.files import all_faults, result_files, stored_targets
from tests.system.harness import HOST, Outputd, SystemTest, is_open, take_port
from tests.system.load import Post, Source, targets
from tests.system.waiting import DEADLINE_S, wait_until

HEAD = b"POST /results HTTP/1.1\r\nHost: outputd\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
HARMLESS = re.compile(r"^\S+ \[(-|[^\]]*#info)\] ")  # what the log says before the line that counts


class StopTests(SystemTest):
    def test_under_load(self) -> None:
        """Rules 1, 11, 23: SIGTERM under load: status 0 in time, no WAL, and what was stored was answered."""
        outputd = self.outputd().start()
        load = self.load(outputd, Source(11), 8)
        load.go_on(100)
        outputd.send(signal.SIGTERM)
        self.assertStopped(outputd.ended())
        load.stop()
        self.assertEqual([], load.refused)
        self.assertEqual(targets(load.answered), stored_targets(self.directory))
        self.assertEqual([], all_faults(self.directory))

    def test_order(self) -> None:
        """Rules 21, 23: the result port closes first, requests in flight are answered, the health port closes last."""
        outputd = self.outputd().start()
        post = Source(12).post()
        with socket.create_connection((HOST, outputd.port), timeout=DEADLINE_S) as client:
            client.sendall(HEAD % len(post.body))
            self.assertIn(b" 100 Continue", client.recv(1000))  # the request is in flight
            client.sendall(post.body[:100])
            outputd.send(signal.SIGTERM)
            wait_until(lambda: not is_open(outputd.port), "the result port is closed")
            ready = outputd.get("/ready")
            self.assertEqual((503, "application/problem+json"), (ready.status, ready.headers["Content-Type"]))
            self.assertEqual(200, outputd.get("/metrics").status)
            client.sendall(post.body[100:])
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertIn(b"\r\nconnection: close\r\n", answer.lower())
        self.assertStopped(outputd.ended())
        self.assertEqual(targets([post]), stored_targets(self.directory))

    def test_what_was_not_read_yet(self) -> None:
        """Rule 23: a POST that had come in whole before the signal is in flight, though nobody had read of it."""
        outputd = self.outputd().start()
        source = Source(13)
        posts = [source.post(20) for _ in range(300)]
        with ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection((HOST, outputd.port), timeout=DEADLINE_S)) for _ in posts
            ]
            wait_until(lambda: "_connections 300.0" in outputd.get("/metrics").body.decode(), "all are accepted")
            outputd.send(signal.SIGSTOP)
            for client, post in zip(clients, posts, strict=True):
                client.sendall(
                    b"POST /results HTTP/1.1\r\nHost: outputd\r\nContent-Length: %d\r\n\r\n" % len(post.body)
                )
                client.sendall(post.body)
            outputd.send(signal.SIGTERM)
            outputd.send(signal.SIGCONT)
            answers = [b"".join(iter(partial(client.recv, 4096), b"")) for client in clients]
        self.assertEqual([], [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200 ")])
        self.assertStopped(outputd.ended())
        self.assertEqual(targets(posts), stored_targets(self.directory))

    def test_idle(self) -> None:
        """Rule 23: with nothing to do it ends on SIGINT as on SIGTERM and on no other, and leaves no WAL."""
        outputd = self.outputd(input_url="http://127.0.0.1:9/hops")
        for number in (signal.SIGTERM, signal.SIGINT):
            outputd.start()
            for other in (signal.SIGUSR1, signal.SIGUSR2):
                outputd.send(other)
                self.assertEqual(200, outputd.get("/ready").status)
            self.assertStopped(outputd.stop(number))


class RestartTests(SystemTest):
    def test_goes_on_with_the_newest_file(self) -> None:
        """Rules 11, 12: after a stop and after kill -9; by the order kept in the files, whatever their names say."""
        source = Source(13)
        outputd = self.outputd().start()
        first = outputd.stats["current_db_file"]
        posts = [self._post(outputd, source)]
        second = outputd.rotate().json["file"]
        posts.append(self._post(outputd, source))
        self.assertStopped(outputd.stop())
        wrong = self.directory / "results_2099-01-01_00-00-00.db"
        (self.directory / first).rename(wrong)
        outputd.start()
        self.assertEqual(second, outputd.stats["current_db_file"])
        posts.append(self._post(outputd, source))
        outputd.kill()
        outputd.start()
        self.assertEqual(second, outputd.stats["current_db_file"])
        posts.append(self._post(outputd, source))
        recent = outputd.get("/recent?limit=1000").json
        self.assertEqual(list(range(40, 0, -1)), [result["id"] for result in recent])
        self.assertEqual([target for post in posts for target in post.targets], [r["ip"] for r in reversed(recent)])
        self.assertStopped(outputd.stop())
        self.assertEqual({wrong.name, second}, {path.name for path in result_files(self.directory)})
        self.assertEqual([], all_faults(self.directory))

    def test_keys_are_remembered(self) -> None:
        """Rule 6: a key is known after kill -9, after a restart, and when its results' file has gone."""
        source = Source(14)
        outputd = self.outputd("--keep-files=1").start()
        post = source.post()
        answers = [outputd.post(post.body, idempotency_key='"a key"').json]
        outputd.kill()
        outputd.start()
        answers.append(outputd.post(post.body, idempotency_key="a key").json)
        self.assertStopped(outputd.stop())
        outputd.start()
        outputd.rotate()
        wait_until(lambda: len(result_files(self.directory)) == 1, "the first file has gone")
        answers.append(outputd.post(post.body, idempotency_key="a key").json)
        once = {"status": "ok", "received": 10}
        self.assertEqual([once, {**once, "duplicate": True}, {**once, "duplicate": True}], answers)
        self.assertEqual(422, outputd.post(source.post().body, idempotency_key="a key").status)
        other = outputd.post(post.body, idempotency_key="a key", x_ping_node="other")
        self.assertEqual(once, other.json)
        self.assertStopped(outputd.stop())
        self.assertEqual(targets([post]), stored_targets(self.directory))

    def _post(self, outputd: Outputd, source: Source) -> Post:
        post = source.post()
        self.assertEqual(200, outputd.post(post.body).status)
        return post


class RefusalTests(SystemTest):
    def test_bad_flags(self) -> None:
        """Rule 23: one clear line, that names the flag."""
        self._refused("--keep-files=0", "--port=no", "--nonsense")

    @long(
        "tests.system.test_lifecycle.RefusalTests.test_bad_flags",
        "tests.test_tap.Flags.test_numbers_are_above_0_and_days_may_be_a_fraction",
        "tests.test_tap.Flags.test_what_cannot_be_right_is_one_line",
        "tests.test_tap.Flags.test_a_word_that_is_no_flag_is_named",
    )
    def test_more_bad_flags(self) -> None:
        """Rule 23: as above, whatever is wrong with them."""
        self._refused(
            "--keep-files=2.5", "--max-size-mb=x", "--rotation-days=-1", "--health-port=99999", "--feed=some",
            "--input-url=ftp://x/", "--max-hops=nan", "argument",
        )  # fmt: skip

    def _refused(self, *flags: str) -> None:
        outputd = self.outputd()
        with ThreadPoolExecutor(4) as pool:
            for flag, ended in zip(flags, pool.map(outputd.refused, flags), strict=True):
                self._said_one_line(ended, flag.split("=")[0].strip("-"))

    def test_bad_variable(self) -> None:
        """Rules 23, 24: one clear line."""
        self._said_one_line(self.outputd(environment={"OUTPUTD_KEEP_FILES": "many"}).refused(), "many")

    def test_taken_port(self) -> None:
        """Rule 23: one clear line, that names the port; of both ports."""
        with socket.create_server((HOST, 0)) as taken:
            port = taken.getsockname()[1]
            for name in ("port", "health-port"):
                outputd = self.outputd()
                self._said_one_line(outputd.refused(f"--{name}={port}"), name, str(port))
                self.assertFalse(is_open(outputd.port) or is_open(outputd.health_port))

    def test_unwritable_directory(self) -> None:
        """Rule 23: one clear line, that names the directory."""
        self.directory.parent.mkdir(exist_ok=True)
        self.directory.write_text("a file")
        self._said_one_line(self.outputd().refused(), str(self.directory))
        self._said_one_line(self.outputd().refused(f"--db-dir={self.directory}/below"), str(self.directory))
        if os.getuid():  # root may write anywhere
            self.directory.unlink()
            self.directory.mkdir(mode=0o555)
            self._said_one_line(self.outputd().refused(), str(self.directory))

    def test_newer_file(self) -> None:
        """Rules 13, 23: one clear line, that names the file; which stays as it is."""
        outputd = self.outputd().start()
        self.assertStopped(outputd.stop())
        (path,) = result_files(self.directory)
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 99")
        content = path.read_bytes()
        self._said_one_line(outputd.refused(), path.name, "99")
        self.assertEqual(content, path.read_bytes())
        self.assertEqual([path], result_files(self.directory))

    def test_second_start(self) -> None:
        """Rule 14: a second start says which process holds the directory, and leaves that one alone."""
        outputd = self.outputd().start()
        self._said_one_line(self.outputd().refused(), str(outputd.pid), str(self.directory))
        self.assertEqual(200, outputd.post(Source(15).post().body).status)
        outputd.kill()
        self.assertStopped(self.outputd().start().stop())  # nobody holds it any more

    def _said_one_line(self, ended: CompletedProcess[str], *words: str) -> None:
        said = [line for line in (ended.stdout + ended.stderr).splitlines() if line and not HARMLESS.match(line)]
        self.assertNotEqual(0, ended.returncode)
        self.assertEqual(1, len(said), said)
        for word in words:
            self.assertIn(word, said[0])


class EnvironmentTests(SystemTest):
    def test_variables_set_flags(self) -> None:
        """Rule 24: each flag can be set by environment, the flag wins, an empty variable counts as unset."""
        elsewhere = Path(f"{self.directory}-elsewhere")
        outputd = self.outputd(
            environment={
                "OUTPUTD_MAX_SIZE_MB": "7", "OUTPUTD_KEEP_FILES": "3", "OUTPUTD_ROTATION_DAYS": "0.5",
                "OUTPUTD_FEED": "", "OUTPUTD_MAX_HOPS": "", "OUTPUTD_VERBOSE": "", "OUTPUTD_DB_DIR": str(elsewhere),
            }
        ).start("--keep-files=4")  # fmt: skip
        check = outputd.get("/health").json["checks"]["rotation"]
        wanted = {"max_size_bytes": 7 << 20, "keep_files": 4, "max_age_seconds": 43_200}
        self.assertEqual(wanted, {name: check[name] for name in wanted})
        self.assertEqual((1, False), (len(result_files(self.directory)), elsewhere.exists()))
        self.assertStopped(outputd.stop())

    def test_what_kubernetes_sets(self) -> None:
        """Rule 24: a value `tcp://...` counts as unset: it is about a Kubernetes service that is called outputd."""
        address = "tcp://10.96.0.17:8081"
        outputd = self.outputd(environment={"OUTPUTD_PORT": address, "OUTPUTD_KEEP_FILES": address}).start()
        self.assertEqual(5, outputd.get("/health").json["checks"]["rotation"]["keep_files"])
        self.assertStopped(outputd.stop())

    def test_only_variables(self) -> None:
        """Rule 24: without any flag; an endpoint string for one port, the default for the one Kubernetes speaks of."""
        if not take_port(8081):
            raise SkipTest("the default port 8081 is taken on this machine")
        outputd = self.outputd(environment={"OUTPUTD_PORT": "tcp://10.96.0.17:8081", "OUTPUTD_INPUT_URL": ""})
        outputd.environment["OUTPUTD_HEALTH_PORT"] = f"tcp:{outputd.health_port}:interface={HOST}"
        outputd.environment["OUTPUTD_DB_DIR"] = str(self.directory)
        outputd.flags.clear()
        outputd.port = 8081
        outputd.start()
        self.assertEqual(200, outputd.post(Source(16).post().body).status)
        self.assertStopped(outputd.stop())
        self.assertEqual(10, stored_targets(self.directory).total())

    def test_stale_pidfile(self) -> None:
        """Rule 24: a twistd.pid in the working directory, even of a living process, stops no start."""
        cwd = self.directory.parent
        cwd.mkdir(exist_ok=True)
        pidfile = cwd / "twistd.pid"
        for pid in (os.getpid(), 2**22 - 1):
            pidfile.write_text(str(pid))
            outputd = self.outputd(cwd=cwd).start()
            self.assertEqual(200, outputd.get("/health").status)
            self.assertStopped(outputd.stop())
            self.assertEqual(str(pid), pidfile.read_text())
