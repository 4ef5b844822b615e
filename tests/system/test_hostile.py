"""Bodies made to break a receiver: each has a careful answer, in time and memory, and the service serves on."""

from __future__ import annotations

import gzip
import json

from tests.system.files import all_faults, column, feedable_rows, merged
from tests.system.harness import Answer, Outputd, SystemTest
from tests.system.load import Source
from tests.system.shared import Case, hostile_cases
from tests.system.waiting import wait_until

MOST_CPU_SECONDS = 10.0
MOST_RSS_BYTES = 400 << 20
GOOD = {"ip": "192.0.2.1", "sent": 3, "received": 3, "timestamp": "2026-01-07T22:30:00Z"}


class HostileTests(SystemTest):
    def test_every_case(self) -> None:
        """Rules 2 to 5, 8, 10, 17: every shared case is answered as its index allows, and stores what it allows."""
        cases = hostile_cases()
        input_service = self.input_service().open()
        outputd = self.outputd(input_url=input_service.url).start()
        wrong = [fault for case in cases for fault in _faults(outputd, case)]
        self.assertEqual([], wrong)
        self.assertEqual(100, len(cases))

        recent = outputd.get("/recent?limit=1000")
        self.assertEqual((200, 1000), (recent.status, len(recent.json)))
        stored = outputd.stats["total_results"]
        fed = wait_until(lambda: len(input_service.taken) >= outputd.stats["hops_discovered"] and input_service.taken,
                         "all hops fed")  # fmt: skip
        self.assertStopped(outputd.stop())
        self.assertNotIn("\x1b", outputd.log)
        self.assertEqual([], all_faults(self.directory))
        with merged(self.directory) as db:
            self.assertEqual([stored], column(db, "SELECT count(*) FROM ping_results"))
        self.assertEqual(dict.fromkeys(feedable_rows(self.directory), 1), dict(fed))

    def test_own_cases(self) -> None:
        """Rules 5, 8, 10: what cannot be read stores nothing and is a problem with the right status."""
        outputd = self.outputd().start()
        good = json.dumps([GOOD]).encode()
        zipped = gzip.compress(good)
        for status, body, coding in (
            (400, b"", None),
            (400, good[:-1], None),
            (400, good + good, None),
            (400, b"\xff" + good, None),
            (400, b"[" * 100_000, None),
            (400, zipped, None),
            (400, zipped[:-9], "gzip"),
            (400, zipped + b"\0", "gzip"),
            (400, good, "gzip"),
            (413, b" " * (8 << 20) + good, None),
            (413, gzip.compress(b" " * (100 << 20) + good), "gzip"),
            (415, good, "br"),
            (422, b"[null]", None),
            (422, b"[" + b"[" * 500 + b"]" * 500 + b"]", None),
        ):
            answer = outputd.post_as(body, {} if coding is None else {"Content-Encoding": coding})
            told = (answer.status, answer.headers["Content-Type"], answer.json["status"], bool(answer.json["title"]))
            self.assertEqual((status, "application/problem+json", status, True), told, body[:80])
        self.assertEqual(0, outputd.stats["total_results"])
        for body in (zipped, gzip.compress(good[:9]) + gzip.compress(good[9:])):
            self.assertEqual(1, outputd.post(body, content_encoding="gzip").json["received"])
        self.assertLess(outputd.peak_rss_bytes, MOST_RSS_BYTES)
        self.assertStopped(outputd.stop())

    def test_bad_items_cost_no_neighbours(self) -> None:
        """Rule 5: the good items are stored, and the bad ones kept with their reason; the answer names both."""
        source = Source(2)
        good = json.loads(source.post(30).body)
        bad = {**GOOD, "traceroute": {"hops": [{"ttl": 1}, {"ttl": 256}]}}
        mixed = [item for pair in zip(good, [bad] * 30, strict=True) for item in pair]
        outputd = self.outputd().start()
        answer = outputd.post(mixed)
        self.assertEqual((200, "partial", 30, 30), _told(answer))
        self.assertEqual([(n, "traceroute.hops[1].ttl") for n in range(1, 40, 2)],
                         [(error["index"], error["field"]) for error in answer.json["errors"]])  # fmt: skip
        refused = outputd.post([bad])
        self.assertEqual((422, 422, 0, 1), _told(refused))
        self.assertStopped(outputd.stop())
        with merged(self.directory) as db:
            self.assertEqual([item["ip"] for item in good], column(db, "SELECT ip FROM ping_results ORDER BY id"))
            kept = db.execute("SELECT batch_id, item_index, field, raw FROM rejected_results ORDER BY id").fetchall()
        self.assertEqual([*range(1, 60, 2), 0], [index for _, index, _, _ in kept])
        self.assertEqual([bad] * 31, [json.loads(raw) for _, _, _, raw in kept])
        self.assertEqual([], all_faults(self.directory))


def _told(answer: Answer) -> tuple[int, object, object, object]:
    return answer.status, answer.json["status"], answer.json["received"], answer.json["rejected"]


def _faults(outputd: Outputd, case: Case) -> list[str]:
    """What is wrong with the answer to a case, or with the service after it."""
    before, cpu_s = outputd.stats["total_results"], outputd.cpu_s
    answer = outputd.post_as(case.body, case.headers)
    cpu_s = outputd.cpu_s - cpu_s
    stored = outputd.stats["total_results"] - before
    after = outputd.post([GOOD])
    told = answer.json.get("received", 0)
    checks = {
        f"answered {answer.status}": answer.status in case.statuses,
        f"stored {stored}": case.least <= stored <= case.most and (answer.status < 400 or not stored),
        f"said {told} were received, stored {stored}": told == stored,
        f"is no problem+json: {answer.body[:99]!r}": answer.status < 400 or "problem" in answer.headers["Content-Type"],
        f"took {cpu_s:.1f} s of CPU": cpu_s < MOST_CPU_SECONDS,
        f"lifted memory to {outputd.peak_rss_bytes >> 20} MiB": outputd.peak_rss_bytes < MOST_RSS_BYTES,
        f"a good result after it got {after.status}": after.status == 200,
    }
    return [f"{case.name} {what}" for what, is_right in checks.items() if not is_right]
