"""What a traceroute, a step and a sender may take of the summary; against the pairs counted in Python."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.queries.links import Links, links
from outputd.queries.session import Session
from outputd.sqlite.files import wal_of
from outputd.summary import bounds, statements
from outputd.summary.bounds import MOST_PAIRS, narrow
from outputd.summary.senders import Senders
from outputd.summary.summary import Summary
from tests.kit.bench import Bench
from tests.kit.makers import a_trace

Widths = dict[int, int]
"""How many addresses answered at each TTL of a traceroute."""


def pairs_of(widths: Widths) -> int:
    return sum(width * widths.get(ttl + 1, 0) for ttl, width in widths.items())


def hops(widths: Widths, block: int = 10) -> list[dict[str, Any]]:
    """Hops of these widths, from other addresses in each block."""
    return [
        {"ttl": ttl, "ip": f"{block}.{ttl}.{n >> 8}.{n & 255}"} for ttl, width in widths.items() for n in range(width)
    ]


class Narrowing(SynchronousTestCase):
    def setUp(self) -> None:
        self.db = sqlite3.connect(":memory:")
        self.addCleanup(self.db.close)
        self.db.executescript(statements.SCRATCH + bounds.SCRATCH)

    def narrowed(self, *traces: Widths, most_pairs: int = 32 * MOST_PAIRS) -> list[Widths]:
        """The widths that are left of each traceroute; what was taken out is told."""
        self.db.execute("DELETE FROM temp.reply")
        for number, widths in enumerate(traces):
            rows = [(number, hop["ttl"], hop["ip"]) for hop in hops(widths)]
            self.db.executemany("INSERT INTO temp.reply (trace, ttl, ip) VALUES (?, ?, ?)", rows)
        taken = narrow(self.db, most_pairs)
        left: list[Widths] = [{} for _ in traces]
        for trace, ttl, count in self.db.execute("SELECT trace, ttl, count(*) FROM temp.reply GROUP BY 1, 2"):
            left[trace][ttl] = count
        self.assertEqual(taken, sum(sum(trace.values()) for trace in traces) - sum(sum(each.values()) for each in left))
        return left

    def test_what_makes_few_pairs_is_left_as_it_is(self) -> None:
        for widths in (
            {1: 64, 2: 64}, {1: MOST_PAIRS - 1, 2: 1}, dict.fromkeys(range(1, 256), 1), dict.fromkeys(range(1, 256), 4),
            {1: 2000, 3: 2000}, {1: MOST_PAIRS}, {7: 3},
        ):  # fmt: skip
            self.assertEqual(self.narrowed(widths), [widths])

    def test_a_traceroute_makes_no_more_pairs_than_it_may_however_wide_it_is(self) -> None:
        for widths, left in (
            ({1: 320, 2: 320}, {1: 64, 2: 64}), ({1: 3000, 2: 3000}, {1: 64, 2: 64}), ({1: 65, 2: 64}, {1: 64, 2: 64}),
            ({1: 2, 2: 5000}, {1: 2, 2: 64}), ({1: 9000}, {1: 64}), ({1: 50, 2: 50, 3: 50}, {1: 32, 2: 32, 3: 32}),
            (dict.fromkeys(range(256), 300), dict.fromkeys(range(256), 4)),
        ):  # fmt: skip
            self.assertEqual(self.narrowed(widths), [left])
            self.assertLessEqual(pairs_of(left), MOST_PAIRS)

    def test_any_traceroute_keeps_an_address_of_each_ttl(self) -> None:
        rng = random.Random(3)
        for _ in range(50):
            most = rng.choice((2, 30, 300))
            widths = {ttl: rng.randrange(1, most) for ttl in rng.sample(range(256), rng.choice((2, 9, 200)))}
            (left,) = self.narrowed(widths)
            self.assertEqual(left.keys(), widths.keys())
            self.assertLessEqual(max(pairs_of(left), sum(left.values())), MOST_PAIRS)
            if max(pairs_of(widths), sum(widths.values())) <= MOST_PAIRS:
                self.assertEqual(left, widths)

    def test_over_a_step_the_widest_give_way(self) -> None:
        """Down to one address of each TTL, so that what is left grows with what was sent."""
        plain, wide = dict.fromkeys(range(1, 21), 2), {1: 60, 2: 60}
        traces = [*([wide] * 5), *([plain] * 50)]
        left = self.narrowed(*traces, most_pairs=50 * pairs_of(plain) + 2 * pairs_of(wide))
        self.assertEqual(left[5:], [plain] * 50)
        self.assertEqual(Counter(each[1] for each in left[:5]), {60: 2, 1: 3})


class Room(SynchronousTestCase):
    """Rule of the issue on crowds: no sender takes what others need."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.summary = Summary(
            self.bench.directory.summary, lambda: self.bench.store.files, self.bench.senders, most_links=1000,
            most_passages=1000,
        )  # fmt: skip
        self.addCleanup(self.summary.close)

    def post(self, *items: Any, node: str = "", peer: str = "192.0.2.9") -> None:
        self.bench.post(*items, node=node, peer=peer)
        while self.summary.step():
            pass

    def links(self, ip: str | None = None) -> dict[str, Any]:
        session = Session(self.bench.store.files, self.bench.directory.summary)
        self.addCleanup(session.close)
        table = links(session, Links(100_000, ip), 0.0)
        answer = json.loads(b"".join(table.pages("json")))
        return {"links": [(link["from"], link["count"]) for link in answer["links"]], "complete": answer["complete"]}

    def test_a_sender_that_floods_a_file_makes_room_itself(self) -> None:
        """Under a name of its own each time, and others' links are taken before and after."""
        mine = a_trace(*hops({1: 1, 2: 1, 3: 1}, 172))
        self.post(mine, node="early", peer="198.51.100.7")
        self.assertTrue(self.links()["complete"])
        for number in range(30):
            self.post(a_trace(*hops({1: 20, 2: 20}, 20 + number)), node=f"crowd-{number}", peer=f"192.0.2.{number}")
        late = a_trace(*hops({1: 1, 2: 1, 3: 1}, 173))
        self.post(late, node="late", peer="203.0.113.7")
        found = self.links()
        self.assertLessEqual(len(found["links"]), 1000)
        self.assertGreater(len(found["links"]), 500)
        self.assertFalse(found["complete"])
        for block in (172, 173):
            self.assertEqual(len(self.links(f"{block}.2.0.0")["links"]), 2)

    def test_of_a_flood_a_full_file_takes_a_few_and_counts_what_it_knows(self) -> None:
        """Else all would be written, and taken out again: three times the time, and of the disk."""
        often = a_trace(*hops({1: 1, 2: 1}, 172))
        for number in range(4):
            self.post(often, a_trace(*hops({1: 20, 2: 20}, 20 + number)))
        self.bench.post(a_trace(*hops({1: 1, 2: 1}, 173)), peer="198.51.100.7")
        self.post(often, a_trace(*hops({1: 20, 2: 20}, 99)))
        came = [near for near, _ in self.links()["links"] if near.startswith("99.")]
        self.assertTrue(0 < len(came) <= 1000 // 32, len(came))
        self.assertEqual(self.links("172.1.0.0")["links"], [("172.1.0.0", 5)])
        self.assertEqual(len(self.links("173.1.0.0")["links"]), 1, "another sender's come in first")
        self.assertFalse(self.links()["complete"])

    def test_its_seldom_links_go_first_and_of_these_the_oldest(self) -> None:
        for second in range(3):
            often = a_trace(*hops({1: 1, 2: 1}, 172)) | {"timestamp": f"2026-01-07T22:30:0{second}Z"}
            self.post(often)
        for number in range(30):
            flood = a_trace(*hops({1: 20, 2: 20}, 20 + number)) | {"timestamp": f"2026-01-07T22:31:{number:02}Z"}
            self.post(flood)
        self.assertEqual(self.links("172.1.0.0")["links"], [("172.1.0.0", 3)])
        blocks = {int(near.partition(".")[0]) for near, count in self.links()["links"] if count == 1}
        self.assertEqual(blocks, set(range(min(blocks), 50)))

    def test_targets_that_a_flood_makes_up_take_nothing_from_others_either(self) -> None:
        """Pairs of hop and target are kept like links."""
        self.post(a_trace({"ttl": 1, "ip": "172.16.0.1"}), peer="198.51.100.7")
        for number in range(3):
            self.post(*(
                a_trace({"ttl": 1, "ip": "10.0.0.1"}) | {"ip": f"10.{number}.{n >> 8}.{n & 255}"} for n in range(999)
            ))  # fmt: skip
        with self.summary.opened() as db:
            found = db.execute("SELECT hop, count(*) FROM passage GROUP BY hop").fetchall()
        self.assertIn(("172.16.0.1", 1), found)
        self.assertLessEqual(dict(found)["10.0.0.1"], 1000)

    def test_a_link_keeps_so_many_nodes_and_no_more(self) -> None:
        """A name is free text: a row grew with each one, and each question looked for all of them."""
        traces = [a_trace(*hops({1: 1, 2: 1}))]
        for number in range(700):
            self.bench.post(*traces, node=f"node-{number}")
        self.post()
        with self.summary.opened() as db:
            nodes, count = db.execute("SELECT length(nodes), count FROM link").fetchone()
        self.assertLess(nodes, bounds.MOST_NODES + 10)
        self.assertEqual(count, 700)


class Size(SynchronousTestCase):
    """What it may take of the disk."""

    def make(self, max_size_bytes: int, wal_bytes: int) -> None:
        self.bench = Bench(Path(self.mktemp()), max_size_bytes=max_size_bytes)
        self.summary = Summary(
            self.bench.directory.summary, lambda: self.bench.store.files, self.bench.senders,
            *bounds.most_rows(max_size_bytes), wal_bytes,
        )  # fmt: skip
        self.addCleanup(self.summary.close)

    def flood(self, number: int) -> None:
        """Hops of which none was ever seen, with long addresses, on the way to new targets."""
        block = "2001:db8:1111:2222:3333"
        self.bench.post(*(
            a_trace(*({"ttl": ttl, "ip": f"{block}:{ttl:x}:{number:x}:{place:x}"} for ttl in range(1, 13)))
            | {"ip": f"{block}:ffff:{number:x}:{place:x}"} for place in range(50)
        ))  # fmt: skip

    def test_a_flood_takes_less_than_its_result_file_may_have(self) -> None:
        most = 2 << 20
        self.make(most, most // 3)
        while self.bench.store.current.size_bytes < most:
            for number in range(5):
                self.flood(self.bench.stats.results + number)
            while self.summary.step():
                pass
        self.summary.close()
        self.assertLess(self.summary.size_bytes, most)

    def test_links_and_passages_are_no_more_however_large_a_file_may_be(self) -> None:
        self.assertEqual(bounds.most_rows(1 << 40), (bounds.MOST_LINKS, bounds.MOST_PASSAGES))

    def test_its_wal_does_not_grow_for_as_long_as_somebody_reads(self) -> None:
        """It waits for a question, and stops beside another process that keeps a snapshot."""
        self.make(64 << 20, 64 << 10)
        wal = wal_of(self.summary.path)
        self.flood(0)
        self.summary.step()
        self.summary.opened().execute("PRAGMA busy_timeout=1")
        with contextlib.closing(sqlite3.connect(self.summary.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM link").fetchone()
            with self.assertRaisesRegex(sqlite3.OperationalError, "another process reads"):
                for number in range(1, 100):
                    self.flood(number)
                    while self.summary.step():
                        pass
            size = wal.stat().st_size
            self.assertRaises(sqlite3.OperationalError, self.summary.step)
            self.assertEqual(size, wal.stat().st_size)
            reader.execute("COMMIT")
            while self.summary.step():
                pass
        self.assertLessEqual(wal.stat().st_size, 2 * (64 << 10))


class Accounts(SynchronousTestCase):
    def test_who_is_known_by_a_token_is_one_sender_and_others_are_one_by_network(self) -> None:
        senders = Senders()
        for batch, account in ((1, "192.0.2.0/24"), (2, "vienna"), (3, "192.0.2.0/24"), (4, "2001:db8::/48")):
            senders.note(batch, account)
        numbers = [senders.number_of(batch, f"free text {batch}") for batch in (1, 2, 3, 4)]
        self.assertEqual(numbers[0], numbers[2])
        self.assertEqual(len({*numbers}), 3)

    def test_of_a_batch_that_was_not_noted_the_node_is_believed_where_nodes_bear_tokens(self) -> None:
        """After a restart, or when a summary is made anew; else all names are one sender."""
        noted = Senders()
        noted.note(1, "192.0.2.0/24")
        noted.note(2, "vienna")
        named, unnamed = Senders(lambda: True), Senders(lambda: False)
        self.assertEqual(named.number_of(9, "vienna"), noted.number_of(2, "?"))
        self.assertEqual(unnamed.number_of(9, "192.0.2.77"), noted.number_of(1, "?"))
        self.assertEqual(unnamed.number_of(9, "vienna"), unnamed.number_of(8, "graz"))
        self.assertNotEqual(named.number_of(9, "vienna"), named.number_of(8, "graz"))

    def test_the_oldest_are_forgotten(self) -> None:
        senders = Senders()
        for batch in range(70_000):
            senders.note(batch, "vienna")
        self.assertEqual(senders.number_of(0, "x"), Senders().number_of(0, "x"))
        self.assertNotEqual(senders.number_of(69_999, "x"), Senders().number_of(0, "x"))
