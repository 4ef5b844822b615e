"""The account that anybody can read in /metrics: whatever was offered was stored, rejected or refused."""

from __future__ import annotations

import gzip
import json
import re
import socket

from twisted.trial.unittest import SkipTest

from tests.kit.depth import long
from tests.system.account import Account, Told
from tests.system.disk import CannotMount, Disk
from tests.system.files import all_faults, column, merged
from tests.system.harness import HOST, Outputd, SystemTest
from tests.system.load import MixedSource, Source
from tests.system.soak import shared
from tests.system.traffic import Traffic
from tests.system.waiting import wait_until

_BAD = {"ip": "192.0.2.1", "sent": -1}
_DISK_MIB = 32


class PublicAccount(SystemTest):
    """Rules 5, 6, 9, 20 and 22."""

    def test_each_way_a_post_can_go(self) -> None:
        """One after the other: what each adds to the account."""
        outputd = self.outputd("--max-pending-mb=1").start()
        post, more = Source(1).post(10), Source(2).post(5, bad=2)
        self.assertEqual(200, outputd.post_as(post.body, post.headers).status)
        self.assert_account(outputd, stored=10)
        for _ in range(3):
            self.assertTrue(outputd.post_as(post.body, post.headers).json["duplicate"])
        self.assert_account(outputd, stored=10)  # a duplicate was offered once
        self.assertEqual(422, outputd.post_as(more.body, post.headers).status)
        self.assert_account(outputd, stored=10)  # nor was another body under the same key
        self.assertEqual(200, outputd.post(more.body).status)
        self.assert_account(outputd, stored=13, rejected=2)
        self.assertEqual(422, outputd.post([_BAD] * 4).status)
        self.assert_account(outputd, stored=13, rejected=6)
        zipped = gzip.compress(post.body)
        for status, body, headers in (
            (200, b"[]", {}), (400, b"{", {}), (400, zipped[:-3], {"Content-Encoding": "gzip"}),
            (413, b"[" + b"1," * 200_000 + b"1]", {}), (413, b" " * (9 << 20), {}),
            (415, post.body, {"Content-Encoding": "br"}),
        ):  # fmt: skip
            self.assertEqual(status, outputd.post_as(body, headers).status)
        self.assert_account(outputd, stored=13, rejected=6)
        self.assert_files_say_the_same(outputd, stored=13, rejected=6)

    @long(
        "tests.system.test_account.PublicAccount.test_each_way_a_post_can_go",
    )
    def test_under_mixed_load(self) -> None:
        """Nodes, scripts, rude clients that hang up, and too much at a time: even to the item when all is still."""
        outputd = self.outputd("--max-pending-mb=1", "--keep-files=1000").start()
        account = Account()
        measured, _ = shared()
        traffic = Traffic(outputd.port, MixedSource(5, measured), account, 1000.0).start()
        large = Source(100).post(500, bad=3).body
        with socket.create_connection((HOST, outputd.port)) as slow:  # it holds nearly all room until it hangs up
            slow.sendall(b"POST /results HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b" " * 999_999)
            wait_until(lambda: outputd.post(large).status == 503, "there is too much at a time")
        wait_until(lambda: traffic.answers[422] > 3 and traffic.answers[200] > 50, "all kinds of answers")
        traffic.finish()
        self.assertEqual([], traffic.broken)
        wait_until(lambda: _is_even(_of(outputd)), "the account is even")
        nothing_held = b"\noutput_service_pending_bytes 0.0\n"
        wait_until(lambda: nothing_held in outputd.get("/metrics").body, "who has hung up holds nothing any more")
        told = _of(outputd)
        self.assertGreater(min(told["stored"], told["rejected"]), 0)
        self.assertEqual(1000, outputd.post(Source(99).post(1000).body).json["received"])
        self.assert_account(outputd, told["stored"] + 1000, told["rejected"], told["refused"])
        self.assert_files_say_the_same(outputd, told["stored"] + 1000, told["rejected"])
        account.take_rest(self.directory)
        counts = account.counts()
        self.assertEqual((0, 0, 0), (counts[Told.STORED, 0], counts[Told.STORED, 2], counts[Told.NOTHING, 2]))

    def test_on_a_full_disk(self) -> None:
        """What could not be stored was refused, and is counted again when it is sent again."""
        disk = Disk(self.directory.parent / "disk", _DISK_MIB)
        try:
            disk.mount()
        except CannotMount as error:
            raise SkipTest(str(error)) from None
        self.addCleanup(disk.unmount)
        self.directory = disk.path / "data"
        outputd = self.outputd()
        outputd.log_path = disk.path.parent / "outputd.log"
        outputd.start()
        source, stored, refused = Source(3), 0, 0
        disk.fill()
        while not refused:
            post = source.post(100, bad=1)
            if outputd.post(post.body).status == 503:
                refused = 100
            else:
                stored += 99
        rejected = stored // 99
        self.assert_account(outputd, stored, rejected, refused)
        disk.make_room()
        wait_until(lambda: outputd.post_as(post.body, post.headers).status == 200, "it is stored again")
        told = _of(outputd)
        self.assertTrue(_is_even(told), told)
        self.assertEqual((stored + 99, rejected + 1), (told["stored"], told["rejected"]))
        self.assert_files_say_the_same(outputd, stored + 99, rejected + 1)

    def assert_account(self, outputd: Outputd, stored: int, rejected: int = 0, refused: int = 0) -> None:
        wanted = {"stored": stored, "rejected": rejected, "refused": refused, "offered": stored + rejected + refused}
        self.assertEqual(wanted, _of(outputd))

    def assert_files_say_the_same(self, outputd: Outputd, stored: int, rejected: int) -> None:
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))
        with merged(self.directory) as db:
            (told,) = db.execute(
                "SELECT (SELECT count(*) FROM ping_results), (SELECT sum(accepted) FROM batches),"
                " (SELECT sum(rejected) FROM batches), (SELECT count(*) FROM rejected_results)"
            ).fetchall()
            raw = column(db, "SELECT raw FROM rejected_results")
        self.assertEqual((stored, stored, rejected, rejected), told)
        self.assertTrue(all(isinstance(json.loads(text), dict) for text in raw))


def _of(outputd: Outputd) -> dict[str, int]:
    """The account of /metrics."""
    text = outputd.get("/metrics").body.decode()
    names = {
        "offered": "offered_items_total", "stored": "total_results", "rejected": "rejected_items_total",
        "refused": "refused_items_total",
    }  # fmt: skip
    return {
        word: sum(int(float(value)) for value in re.findall(rf"(?m)^output_service_{name}(?:{{.*}})? (\S+)$", text))
        for word, name in names.items()
    }


def _is_even(told: dict[str, int]) -> bool:
    return told["offered"] == told["stored"] + told["rejected"] + told["refused"]
