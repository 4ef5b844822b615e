"""A dump is a whole database at a moment, however much comes in meanwhile."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.system.files import all_faults, column, faults, is_self_contained, opened
from tests.system.harness import Answer, SystemTest, call
from tests.system.load import Source, targets
from tests.system.waiting import wait_until

NAME = r'^attachment; filename="(results_[0-9_-]+\.db)"$'


class DumpTests(SystemTest):
    def test_while_loading(self) -> None:
        """Rule 15: whole and self-contained, with every result that was answered before it was asked for."""
        outputd = self.outputd().start()
        load = self.load(outputd, Source(8), 4)
        sizes = []
        for number in range(4):
            load.go_on(50)
            before = targets(load.answered)
            dump = call(outputd.port, "GET", "/dump")
            self._check_headers(dump, outputd.stats["current_db_file"])
            path = self.directory.parent / f"dump-{number}.db"
            path.write_bytes(dump.body)
            self.assertTrue(is_self_contained(path))
            self.assertEqual([], faults(path))
            with opened(path) as db:
                there = set(column(db, "SELECT ip FROM ping_results"))
            self.assertEqual(set(), before.keys() - there)
            sizes.append(len(there))
        load.stop()
        self.assertUndisturbed(load)
        self.assertEqual(sorted(set(sizes)), sizes)  # it was loading
        self.assertStopped(outputd.stop())
        self.assertEqual([], all_faults(self.directory))
        left = [path.name for path in self.directory.iterdir() if path.suffix not in (".db", ".sqlite3", ".lock")]
        self.assertEqual([], left)
        self.assertEqual(1, len(list(self.directory.glob("*.db"))))

    def test_head_and_ranges(self) -> None:
        """Rule 15: HEAD says what GET would; a closed file comes in parts too, the current one only whole."""
        outputd = self.outputd().start()
        self.assertEqual(200, outputd.post(Source(9).post(200).body).status)
        head, whole = (call(outputd.port, method, "/dump") for method in ("HEAD", "GET"))
        self.assertEqual(b"", head.body)
        self.assertEqual(head.headers["Content-Length"], str(len(whole.body)))
        part = call(outputd.port, "GET", "/dump", headers={"Range": "bytes=0-99"})
        self.assertEqual((200, len(whole.body)), (part.status, len(part.body)))

        name = outputd.stats["current_db_file"]
        outputd.rotate()
        wait_until(lambda: is_self_contained(self.directory / name), "the closed file stands alone")
        closed = call(outputd.port, "GET", f"/dump?file={name}")
        self._check_headers(closed, name)
        self.assertEqual((self.directory / name).read_bytes(), closed.body)
        for wanted, first, last in (("0-99", 0, 99), ("4096-", 4096, len(closed.body) - 1)):
            part = call(outputd.port, "GET", f"/dump?file={name}", headers={"Range": f"bytes={wanted}"})
            self.assertEqual((206, closed.body[first : last + 1]), (part.status, part.body))
            self.assertEqual(f"bytes {first}-{last}/{len(closed.body)}", part.headers["Content-Range"])
        beyond = call(outputd.port, "GET", f"/dump?file={name}", headers={"Range": f"bytes={len(closed.body)}-"})
        self.assertEqual(416, beyond.status)
        for other in ("results_2000-01-01_00-00-00.db", "../secret.db", "hops.sqlite3", "outputd.lock"):
            answer = call(outputd.port, "GET", f"/dump?file={other}")
            self.assertEqual((404, "application/problem+json"), (answer.status, answer.headers["Content-Type"]), other)
        self.assertStopped(outputd.stop())

    def _check_headers(self, dump: Answer, name: str) -> None:
        self.assertEqual(200, dump.status)
        self.assertEqual(str(len(dump.body)), dump.headers["Content-Length"])
        found = re.match(NAME, dump.headers["Content-Disposition"])
        self.assertEqual(name, found and found[1])
        digest = base64.b64encode(hashlib.sha256(dump.body).digest()).decode()
        self.assertEqual(f"sha-256=:{digest}:", dump.headers["Repr-Digest"])
