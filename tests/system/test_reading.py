"""Rule 9 for those who ask: what is read holds little, whatever its length, and however slowly it is read."""

from __future__ import annotations

import os
import random
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from outputd.queries.reading import MOST_BYTES, MOST_READ
from tests.kit.depth import long
from tests.kit.makers import a_result, a_trace, many_hops
from tests.system.harness import HOST, Outputd, SystemTest, call
from tests.system.waiting import wait_until

_MIB = 1 << 20
_PENDING_MIB = 16
_LIMIT_BYTES = (_PENDING_MIB + 150) * _MIB


class ReadingTest(SystemTest):
    def started(self, *flags: str) -> Outputd:
        return self.outputd(f"--max-pending-mb={_PENDING_MIB}", *flags).start()

    @contextmanager
    def slow_readers(self, outputd: Outputd, path: str, count: int) -> Iterator[None]:
        """So many who ask for it and read nothing."""
        with ExitStack() as open_sockets:
            for _ in range(count):
                reader = open_sockets.enter_context(socket.socket())
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.connect((HOST, outputd.health_port))
                reader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            yield

    def figure(self, outputd: Outputd, name: str) -> float:
        found = re.search(rf"^output_service_{name} (\S+)$", outputd.get("/metrics").body.decode(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def four_at_once(self, outputd: Outputd, path: str) -> list[Any]:
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(outputd.get, [path] * 4))
        self.assertEqual([200] * 4, [answer.status for answer in answers])
        return [answer.json for answer in answers]


class LongTexts(ReadingTest):
    @long("tests.queries.test_recent.LongAnswers.test_long_errors_are_read_a_few_at_a_time")
    def test_errors_of_a_mebibyte_each(self) -> None:
        """Four read all of them at once, and then one beside forty who do not read."""
        outputd = self.started()
        for _ in range(84):
            outputd.post([a_result(error="e" * _MIB)])
        for found in self.four_at_once(outputd, "/recent?limit=1000"):
            self.assertEqual([_MIB] * 84, [len(row["error"]) for row in found])
        with self.slow_readers(outputd, "/recent?limit=1000", 40):
            wait_until(lambda: self.figure(outputd, "answers_read") > 8, "many are being read")
            self.assertEqual(84, len(outputd.get("/recent?limit=1000").json))
            self.assertLessEqual(self.figure(outputd, "answers_read"), MOST_READ)
        wait_until(lambda: self.figure(outputd, "answers_held_bytes") == 0, "nothing is held for those who have gone")
        self.assertLess(outputd.peak_rss_bytes, _LIMIT_BYTES)

    @long("tests.queries.test_queries.Ending.test_one_long_page_is_made_at_a_time")
    def test_one_error_of_a_whole_body_that_many_ask_for_at_once(self) -> None:
        outputd = self.outputd("--max-pending-mb=64").start()
        outputd.post([a_result(error="e" * (8 * _MIB - 400))])
        for asked in ("/recent?limit=1", "/results/1"):
            with self.slow_readers(outputd, asked, 32):
                wait_until(lambda: self.figure(outputd, "answers_read") > 1, "it is being read")
                wait_until(lambda: outputd.get("/results/1").status == 200, "one who reads is answered", deadline_s=60)
        self.assertLess(outputd.peak_rss_bytes, (64 + 150) * _MIB)

    @long("tests.queries.test_recent.LongAnswers.test_so_are_long_traceroutes")
    def test_traceroutes_of_a_thousand_hops(self) -> None:
        outputd = self.started("--max-size-mb=400")
        for _ in range(40):
            outputd.post([a_trace(*many_hops(1024))] * 25)
        for found in self.four_at_once(outputd, "/recent?limit=1000&include=traceroute"):
            self.assertEqual({1024}, {len(row["traceroute"]["hops"]) for row in found})
        with self.slow_readers(outputd, "/recent?limit=1000&include=traceroute", 40):
            wait_until(lambda: self.figure(outputd, "answers_read") == MOST_READ, "all places are taken")
            self.assertEqual(200, outputd.get("/paths?ip=8.8.8.8").status)
        self.assertLess(outputd.peak_rss_bytes, _LIMIT_BYTES)

    @long("tests.queries.test_result.OneResult.test_its_hops_are_read_a_few_at_a_time")
    def test_one_traceroute_of_a_whole_body(self) -> None:
        outputd = self.started("--max-pending-mb=64")
        outputd.post(b'[{"ip":"8.8.8.8","sent":4,"received":4,"timestamp":"2026-01-07T22:30:00Z","traceroute":{"hops":[%s]}}]'
                     % b",".join([b'{"ttl":1}'] * 100_000))  # fmt: skip
        for found in self.four_at_once(outputd, "/results/1"):
            self.assertEqual(100_000, len(found["traceroute"]["hops"]))
        self.assertLess(outputd.peak_rss_bytes, _LIMIT_BYTES)


@long("tests.queries.test_reading.Room.test_so_do_as_many_as_hold_what_it_takes")
class LongTables(ReadingTest):
    def test_links_that_nobody_reads_take_little_of_the_temporary_disk(self) -> None:
        rng = random.Random(14)
        outputd = self.started("--max-size-mb=400")
        for number in range(40):
            outputd.post([a_trace(*self.hops(rng), ip=f"192.0.2.{number}") for _ in range(60)])
        wait_until(lambda: len(outputd.get("/links?limit=100000").json.get("links", ())) > 60_000, "most is counted")
        for sort in ("first_seen", "last_seen"):  # pages that can be continued: what they have sent is remembered
            self.four_at_once(outputd, f"/links?limit=60000&sort={sort}")
        asked = "/links.csv?limit=100000"
        with ExitStack() as readers:
            for number in range(1, 10):  # one after the other: of many at once, those that wait for 10 s are refused
                readers.enter_context(self.slow_readers(outputd, asked, 1))
                wait_until(partial(self.are_read, outputd, number), "it is being read")
            readers.enter_context(self.slow_readers(outputd, asked, 170))
            wait_until(lambda: outputd.get(asked).status == 200, "one who reads is answered", deadline_s=60)
            self.assertLess(self.temporary_bytes(outputd), 2 * MOST_BYTES)
        self.assertLess(outputd.peak_rss_bytes, _LIMIT_BYTES)

    def test_paths_of_a_hostile_target_that_many_ask_for_at_once(self) -> None:
        """Each of thousands of traceroutes is another route of 190 hops; who waits for 10 s is refused."""
        rng = random.Random(15)
        outputd = self.started("--max-size-mb=400", "--max-pending-mb=64")
        for number in range(300):
            traces = [a_trace(*self.hops(rng, 190)) for _ in range(10)]
            self.assertEqual(200, outputd.post(traces, x_ping_node=f"node-{number % 8}").status)
        for asked in ("/paths?ip=8.8.8.8", "/trace?ip=8.8.8.8"):
            with self.slow_readers(outputd, asked, 8), ThreadPoolExecutor(32) as threads:
                asking = [threads.submit(call, outputd.health_port, "GET", asked, timeout=60) for _ in range(32)]
                while not all(each.done() for each in asking):
                    self.assertLess(self.temporary_bytes(outputd), 2 * MOST_BYTES)
                    wait(asking, timeout=0.1)
            statuses = Counter(each.result().status for each in asking)
            self.assertLessEqual(statuses.keys(), {200, 503, 504})
            wait_until(partial(self.is_answered, outputd, asked), "one who asks alone is answered", deadline_s=60)
        self.assertLess(outputd.peak_rss_bytes, (64 + 150) * _MIB)

    def is_answered(self, outputd: Outputd, asked: str) -> bool:
        return outputd.get(asked).status == 200

    def are_read(self, outputd: Outputd, count: int) -> bool:
        return self.figure(outputd, "answers_read") >= count

    def hops(self, rng: random.Random, count: int = 31) -> list[dict[str, Any]]:
        """So many that are hardly anywhere else."""
        return [many_hops(1, rng.randrange(1 << 24))[0] | {"ttl": ttl} for ttl in range(1, count + 1)]

    def temporary_bytes(self, outputd: Outputd) -> int:
        """What its files without a name take."""
        total = 0
        for descriptor in Path(f"/proc/{outputd.pid}/fd").iterdir():
            try:
                total += os.stat(descriptor).st_blocks * 512 if "(deleted)" in os.readlink(descriptor) else 0
            except OSError:  # it is closed by now
                continue
        return total
