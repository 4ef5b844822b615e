"""What `outputd.naming.lookups` and `names` promise: names in the background, kept, at a bounded price."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from outputd.naming import lookups as of
from outputd.naming.lookups import EACH_S, MOST_AT_ONCE, NAMED_S, NAMELESS_S, SILENT_S, UNKNOWN_S, Lookups
from outputd.naming.names import Looked, Names
from outputd.naming.resolver import Server, Silent, Unknown
from outputd.sqlite.connections import reading
from tests.kit.pools import inline, outcome

NOW_S = 1_700_000_000
HOUR_S = 3600.0


class OnFile(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.names = Names(self.path, lambda: True)
        self.addCleanup(self.names.close)

    def rows(self) -> dict[str, tuple[str | None, int, int]]:
        if not self.path.exists():
            return {}
        with reading(self.path) as db:
            return {ip: tuple(rest) for ip, *rest in db.execute("SELECT * FROM name")}


class Keeping(OnFile):
    def looked(self, ip: str, name: str | None, at: int = 1, is_answered: bool = True) -> None:
        self.names.keep([Looked(ip, name, at, at + 10, is_answered)])

    def test_a_name_and_that_there_is_none_are_kept(self) -> None:
        self.looked("8.8.8.8", "a.example")
        self.looked("8.8.4.4", None)
        self.assertEqual({"8.8.8.8": ("a.example", 1, 11), "8.8.4.4": (None, 1, 11)}, self.rows())

    def test_silence_takes_no_name_away_and_an_answer_does(self) -> None:
        self.looked("8.8.8.8", "a.example")
        self.looked("8.8.8.8", None, at=5, is_answered=False)
        self.assertEqual({"8.8.8.8": ("a.example", 5, 15)}, self.rows())
        self.looked("8.8.8.8", None, at=7)
        self.assertEqual({"8.8.8.8": (None, 7, 17)}, self.rows())

    def test_those_that_were_looked_up_first_make_room(self) -> None:
        self.names = Names(self.path, lambda: True, most_names=20)
        for number in range(100):
            self.looked(f"10.0.0.{number}", "x", at=number)
            self.assertLessEqual(len(self.rows()), 20)
        self.assertEqual(99, max(at for _, at, _ in self.rows().values()))
        self.assertGreaterEqual(min(at for _, at, _ in self.rows().values()), 80)

    def test_a_disk_without_room_to_spare_is_left_alone(self) -> None:
        self.names = Names(self.path, lambda: False)
        self.looked("8.8.8.8", "a.example")
        self.assertFalse(self.path.exists())

    def test_a_damaged_file_is_set_aside_and_a_newer_or_deleted_one_made_anew(self) -> None:
        self.path.write_bytes(b"no database" * 1000)
        self.looked("8.8.8.8", "a.example")
        self.assertEqual(["8.8.8.8"], list(self.rows()))
        self.assertTrue(Path(f"{self.path}.damaged").exists())
        self.names.close()
        self.path.unlink()
        self.looked("8.8.4.4", "b.example")
        self.assertEqual(["8.8.4.4"], list(self.rows()))
        self.names.close()
        db = sqlite3.connect(self.path)
        db.execute("PRAGMA user_version=99")
        db.close()
        self.looked("8.8.8.8", "a.example")
        self.assertEqual(["8.8.8.8"], list(self.rows()))


class LookingUp(OnFile):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.asked: list[str] = []
        self.answers: dict[str, str | Exception | None] = {}
        self.under_way: dict[str, Deferred[str | None]] = {}
        self.servers: Sequence[Server] = (Server("127.0.0.1"),)
        self.is_waiting = False
        self.lookups = Lookups(
            self.names, lambda: self.servers, self.answer, inline, self.clock, lambda: NOW_S + self.clock.seconds()
        )

    async def answer(self, ip: str, servers: Sequence[Server]) -> str | None:
        self.asked.append(ip)
        if self.is_waiting:
            self.under_way[ip] = Deferred()
            return await self.under_way[ip]
        said = self.answers.get(ip)
        if isinstance(said, Exception):
            raise said
        return said

    def pass_s(self, seconds: float) -> None:
        self.clock.pump([EACH_S] * round(seconds / EACH_S))

    def until(self, ip: str) -> tuple[str | None, int]:
        name, asked_at, again_at = self.rows()[ip]
        return name, again_at - asked_at

    def test_each_outcome_is_kept_for_its_time(self) -> None:
        self.answers = {"1.1.1.1": "a.example", "1.1.1.2": None, "1.1.1.3": Unknown(), "1.1.1.4": Silent()}
        self.lookups.want(self.answers)
        self.pass_s(3)
        for ip, kept in (("1.1.1.1", ("a.example", NAMED_S)), ("1.1.1.2", (None, NAMELESS_S)),
                         ("1.1.1.3", (None, UNKNOWN_S)), ("1.1.1.4", (None, SILENT_S))):  # fmt: skip
            self.assertEqual(kept, self.until(ip))

    def test_at_rest_it_has_no_timer(self) -> None:
        self.lookups.want(["1.1.1.1"])
        self.pass_s(3)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(0, self.lookups.waiting)

    def test_questions_are_some_a_second_and_a_few_at_a_time(self) -> None:
        self.is_waiting = True
        self.lookups.want([f"1.1.1.{number}" for number in range(100)])
        self.pass_s(10 * EACH_S)
        self.assertLessEqual(len(self.asked), 10)
        self.pass_s(10)
        self.assertEqual(MOST_AT_ONCE, len(self.asked))
        self.under_way["1.1.1.0"].callback("a")
        self.pass_s(1)
        self.assertEqual(MOST_AT_ONCE + 1, len(self.asked))

    def test_an_address_waits_once_and_only_so_many_do(self) -> None:
        self.patch(of, "MOST_WAITING", 10)
        self.is_waiting = True
        for _ in range(3):
            self.lookups.want(["1.1.1.1", *(f"1.1.2.{number}" for number in range(100))])
        self.assertEqual(10, self.lookups.waiting)
        self.pass_s(1)
        self.lookups.want(["1.1.1.1"])
        self.pass_s(1)
        self.assertEqual(1, self.asked.count("1.1.1.1"))

    def test_servers_that_are_dead_are_asked_less_and_less_and_then_no_more(self) -> None:
        self.answers = {f"1.1.{number}.1": Silent("no answer from 127.0.0.1") for number in range(200)}
        self.lookups.want(self.answers)
        self.clock.pump([1.0] * 300)
        self.assertLess(len(self.asked), MOST_AT_ONCE + 10)
        failure = self.lookups.failure
        assert failure is not None
        self.assertIn("127.0.0.1", failure.reason)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.answers.clear()
        self.lookups.want(["8.8.8.8", "8.8.4.4"])
        self.clock.pump([1.0] * 70)
        self.assertEqual(["8.8.8.8", "8.8.4.4"], self.asked[-2:])
        self.assertIsNone(self.lookups.failure)

    def test_many_silences_at_once_leave_nothing_to_ask_and_no_error(self) -> None:
        self.is_waiting = True
        for wanted, asked in ((10, 10), (40, 12)):
            self.lookups.want([f"1.1.{wanted}.{number}" for number in range(wanted)])
            self.clock.pump([EACH_S] * asked)
            self.assertEqual(asked, len(self.under_way))
            for deferred in self.under_way.values():
                deferred.errback(Silent("none"))
            self.under_way.clear()
        self.clock.pump([1.0] * 200)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_servers_are_read_anew_after_a_rest(self) -> None:
        self.answers = {"10.0.0.1": "a.example"}
        self.lookups.want(["10.0.0.1"])
        self.pass_s(2)
        self.servers = (Server("8.8.8.8"),)
        self.lookups.want(["10.0.0.1", "10.0.0.2"])
        self.pass_s(2)
        self.assertEqual(["10.0.0.1"], self.asked, "a server of the world learns nothing of private addresses")
        self.assertEqual(("a.example", UNKNOWN_S), self.until("10.0.0.1"))

    def test_a_stop_ends_what_is_under_way_and_keeps_what_was_found(self) -> None:
        self.answers = {"1.1.1.1": "a.example"}
        self.lookups.want(["1.1.1.1"])
        self.pass_s(2 * EACH_S)
        self.is_waiting = True
        self.lookups.want(["1.1.1.2", "1.1.1.3"])
        self.pass_s(3 * EACH_S)
        outcome(self.lookups.stop())
        self.lookups.want(["1.1.1.4"])
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertFalse(Path(f"{self.path}-wal").exists())
        self.assertEqual(["1.1.1.1"], list(self.rows()))

    def test_a_file_that_cannot_be_written_costs_the_names_alone(self) -> None:
        self.path.mkdir()
        self.lookups.want(["1.1.1.1"])
        self.pass_s(3)
        self.path.rmdir()
        self.lookups.want(["1.1.1.1"])
        self.pass_s(3)
        self.assertEqual(["1.1.1.1"], list(self.rows()))
