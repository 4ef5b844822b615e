"""What `outputd.ledger.shares` promises: no sender takes the room of all others; a number is that of a rule."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.ledger import shares
from outputd.ledger.lessons import Lesson
from outputd.ledger.shares import Shares
from tests.kit.bench import Bench


class Accounts(SynchronousTestCase):
    def test_until_the_last_tenth_nobody_is_asked(self) -> None:
        kept = Shares(100)
        kept.add({"greedy": 80, "other": 1})
        self.assertEqual(9, kept.room("greedy", 81))

    def test_the_last_tenth_is_for_those_below_their_share(self) -> None:
        kept = Shares(100)
        kept.add({"greedy": 89, "other": 1})
        self.assertTrue(kept.is_filling_up(90))
        self.assertEqual((0, 10, 10), (kept.room("greedy", 90), kept.room("other", 90), kept.room("third", 90)))
        kept.add({"other": 10})
        self.assertEqual(0, kept.room("third", 100))

    def test_one_alone_may_have_all(self) -> None:
        kept = Shares(100)
        kept.add({"one": 95})
        self.assertEqual(5, kept.room("one", 95))

    def test_the_accounts_are_bounded(self) -> None:
        self.patch(shares, "MOST_SENDERS", 2)
        kept = Shares(100)
        kept.add({"a": 1, "b": 1})
        self.assertEqual(["a", "", ""], [kept.account(name) for name in ("a", "c", "d")])


class InTheLedger(SynchronousTestCase):
    """Rule 18: --max-hops is no weapon of one token."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()), most_hops=100)
        self.number = 0

    def find(self, sender: str, first: int, count: int) -> int:
        """So many new addresses of a sender; how many of them are kept."""
        self.number += 1
        before = self.bench.ledger.known
        addresses = [f"10.0.{number >> 8}.{number & 255}" for number in range(first, first + count)]
        self.bench.ledger.learn(Lesson(self.number, addresses, None, sender))
        self.bench.outcome(self.bench.ledger.caught_up())
        return self.bench.ledger.known - before

    def test_a_flood_leaves_room_for_the_others(self) -> None:
        self.assertEqual(1, self.find("quiet", 0, 1))
        self.assertEqual(89, self.find("greedy", 1000, 5000))
        self.assertIsNotNone(self.bench.ledger.crowding.failure)
        self.assertEqual((0, 4), (self.find("greedy", 7000, 5), self.find("quiet", 10, 4)))
        self.assertEqual(0, self.find("greedy", 8000, 5))
        self.assertEqual(6, self.find("third", 500, 10))

    def test_the_accounts_outlive_a_restart(self) -> None:
        self.find("quiet", 0, 1)
        self.find("greedy", 1000, 5000)
        self.bench.stop()
        self.bench.start()
        self.number = 0
        self.assertEqual((0, 4), (self.find("greedy", 7000, 5), self.find("quiet", 10, 4)))
        reason = self.bench.ledger.crowding.failure
        assert reason is not None
        self.assertIn("--max-hops", reason.reason)
