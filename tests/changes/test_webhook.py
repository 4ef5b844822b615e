"""What the webhook and its outbox promise; a number is that of a rule of the contract."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.iweb import IResponse

from outputd.changes.change import Change
from outputd.changes.changes import SCHEMA, Changes, Found
from outputd.changes.detector import Post, Seen
from outputd.changes.outbox import MOST_OWED, Outbox
from outputd.changes.webhook import Webhook
from outputd.client.delivery import PeerState
from outputd.process.trouble import Failure as Trouble
from outputd.results import timestamps
from outputd.sqlite.connections import writing
from outputd.sqlite.files import make_empty
from tests.kit.answers import FakeResponse
from tests.kit.bench import Bench
from tests.kit.layout import layout
from tests.kit.logs import said
from tests.kit.makers import a_result
from tests.kit.pools import inline

URL = "http://hook:9000/changes?secret=yes"
Answer = int | FakeResponse | Exception | Deferred[Any]
LOSS = ["loss_began", "loss_ended"]


class FakeHTTP:
    """A treq client that asks `answer(event)` what comes back, and keeps what was posted."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Answer] = lambda event: 200
        self.posts: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    def post(self, url: object, /, *, data: bytes, **options: object) -> Awaitable[IResponse]:
        assert (url, options["allow_redirects"]) == (URL, False)
        self.bodies.append(data)
        self.posts.append(event := json.loads(data))
        answer = self.answer(event)
        if isinstance(answer, Exception):
            return fail(answer)
        if isinstance(answer, Deferred):
            return answer
        return succeed(cast(Any, FakeResponse(answer) if isinstance(answer, int) else answer))

    @property
    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.posts]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.posts]


class WebhookTest(SynchronousTestCase):
    """A webhook on a Clock, between a list of changes on disk and a peer that answers as told."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.path = self.bench.directory.changes
        self.http = FakeHTTP()
        self.changes = self.open()

    def open(
        self, is_on: bool = True, most_owed: int = MOST_OWED, most_changes: int = 20_000,
        kind: type[Changes] = Changes,
    ) -> Changes:  # fmt: skip
        """The list as a start finds it, and a webhook that begins."""
        changes = kind(
            self.path, lambda: self.bench.store.files, most_changes=most_changes, outbox=Outbox(is_on, most_owed)
        )
        self.addCleanup(changes.close)
        if is_on:
            self.webhook = Webhook(
                changes, inline, cast(Any, self.http), URL, self.bench.clock, now=self.bench.now, jitter=lambda: 0.0
            )
            changes.outbox.when_owed = self.webhook.wake
            self.webhook.startService()
        return changes

    def look(self) -> None:
        while self.changes.step():
            pass

    def post(self, *received: int, target: str = "8.8.8.8") -> None:
        """POSTs of one node, a minute each, in whose results so many of four packets came back."""
        for each in received:
            self.bench.clock.advance(60)
            at = timestamps.printed(timestamps.at(self.bench.now()))
            self.bench.post(a_result(ip=target, received=each, timestamp=at), node="graz-1")

    def lose(self, times: int = 1) -> None:
        """As often, a loss that begins and ends."""
        for _ in range(times):
            self.post(*[4] * 20, 0, 0, 0, 4, 4, 4)

    def begin(self) -> None:
        """Have the webhook turned on, before anything is found."""
        self.post(4)
        self.look()

    def crash(self) -> None:
        """The end of a process without a stop, and a new one."""
        self.changes.close()
        self.changes = self.open()

    def stop(self) -> None:
        stopped = self.webhook.stopService()
        self.bench.clock.pump([0.5] * 5)
        self.successResultOf(stopped)
        self.changes.leave()

    def owed(self) -> int:
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            return int(db.execute("SELECT count(*) FROM change WHERE owed").fetchone()[0])


class Events(WebhookTest):
    def test_each_change_is_posted_in_order_once(self) -> None:
        self.begin()
        self.lose(3)
        self.look()
        self.assertEqual(self.http.kinds, LOSS * 3)
        self.assertEqual(len(set(self.http.ids)), 6)
        self.assertEqual((self.webhook.posted, self.webhook.waiting, self.owed()), (6, 0, 0))

    def test_it_says_what_changed_and_what_belongs_together(self) -> None:
        self.begin()
        self.lose()
        self.look()
        began, ended = self.http.posts
        now_s = self.bench.now()
        self.assertEqual(
            {name: value for name, value in began.items() if name not in ("id", "dedup_key")},
            {
                "event": "began", "kind": "loss_began", "node": "graz-1", "target": "8.8.8.8",
                "since": timestamps.printed(timestamps.at(now_s - 300)),
                "until": timestamps.printed(timestamps.at(now_s - 120)), "before": 0.0, "after": 100.0,
                "found_at": timestamps.printed(timestamps.at(now_s - 180)),
            },
        )  # fmt: skip
        self.assertEqual((ended["event"], ended["until"], ended["before"]), ("ended", None, 100.0))
        self.assertEqual(began["dedup_key"], ended["dedup_key"])
        self.assertNotEqual(began["id"], ended["id"])

    def test_those_of_another_target_do_not_belong_to_it(self) -> None:
        self.begin()
        for target in ("8.8.8.8", "9.9.9.9"):
            self.post(*[4] * 20, 0, 0, 0, target=target)
        self.look()
        one, other = self.http.posts
        self.assertNotEqual(one["dedup_key"], other["dedup_key"])

    def test_at_rest_it_has_no_timer_and_writes_nothing(self) -> None:
        self.begin()
        self.lose()
        self.look()
        calls: list[Any] = list(self.bench.clock.getDelayedCalls())
        timers = [call for call in calls if getattr(call.func, "__self__", None) is self.webhook]
        self.assertEqual(timers, [])
        self.assertEqual(len(self.http.posts), 2)


class Beginnings(WebhookTest):
    """What was found before the webhook is history."""

    def test_turned_on_over_a_list_of_years_it_posts_what_is_found_from_then_on(self) -> None:
        self.stop()
        self.changes = self.open(is_on=False)
        self.lose(2)
        self.look()
        self.changes.leave()
        self.changes = self.open()
        self.look()
        self.assertEqual(self.http.posts, [])
        self.lose()
        self.look()
        self.assertEqual(self.http.kinds, LOSS)

    def test_turned_on_over_files_without_a_list_it_posts_nothing_of_them(self) -> None:
        self.lose(2)
        self.look()
        self.assertEqual(self.http.posts, [])
        self.lose()
        self.look()
        self.assertEqual(self.http.kinds, LOSS)

    def test_turned_off_and_on_again_it_posts_nothing_of_the_time_between(self) -> None:
        self.begin()
        self.http.answer = lambda event: 503
        self.lose()
        self.look()
        self.stop()
        self.changes = self.open(is_on=False)
        self.look()
        self.assertEqual(self.owed(), 0)
        self.lose()
        self.look()
        self.changes.leave()
        self.http.answer, self.http.posts = lambda event: 200, []
        self.changes = self.open()
        self.look()
        self.lose()
        self.look()
        self.assertEqual(self.http.kinds, LOSS)

    def test_a_list_that_is_made_anew_posts_nothing_twice(self) -> None:
        self.begin()
        self.lose(2)
        self.look()
        self.changes.close()
        self.path.unlink()
        self.crash()
        self.look()
        self.assertEqual(self.http.kinds, LOSS * 2)
        self.lose()
        self.look()
        self.assertEqual(self.http.kinds, LOSS * 3)
        self.assertEqual(len(set(self.http.ids)), 6)

    def test_one_that_is_deleted_under_it_neither(self) -> None:
        self.begin()
        self.lose()
        self.look()
        self.path.unlink()
        self.lose()
        self.look()
        self.lose()
        self.look()
        self.assertEqual(len(set(self.http.ids)), len(self.http.ids))
        self.assertEqual(self.http.kinds[-2:], LOSS)

    def test_one_that_is_replaced_under_it_by_an_older_copy_neither(self) -> None:
        """What waits in the copy was posted since."""
        self.begin()
        self.http.answer = lambda event: 503
        self.lose()
        self.look()
        self.changes.close()
        copy = self.path.with_name("copy")
        shutil.copy(self.path, copy)
        self.http.answer = lambda event: 200
        self.lose()
        self.look()
        self.bench.clock.pump([1.0] * 5)
        posts = len(self.http.posts)
        self.changes.close()
        copy.replace(self.path)
        self.look()
        self.assertEqual(len(self.http.posts), posts)
        self.lose()
        self.look()
        self.assertEqual(self.http.kinds[posts:], LOSS)

    def test_other_result_files_under_the_list_are_history(self) -> None:
        self.begin()
        self.lose(2)
        self.look()
        self.stop()
        self.bench, before = Bench(Path(self.mktemp())), self.bench
        self.bench.clock.advance(before.clock.seconds() + 3600)
        self.lose()
        self.http.posts = []
        self.changes = self.open()
        with said():
            self.look()
        self.assertEqual(self.http.posts, [])
        self.lose()
        self.look()
        self.assertEqual(self.http.kinds, LOSS)

    def test_what_another_detector_finds_in_what_was_looked_at_is_not_owed(self) -> None:
        """As after an upgrade, or where what it remembered was damaged."""
        self.begin()
        self.lose()
        self.look()
        self.stop()
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("UPDATE mark SET remembered_batch_id = 0")
            db.execute("DELETE FROM memory")
            db.execute("DELETE FROM change")
        self.changes = self.open()
        self.look()
        self.assertEqual(len(self.http.posts), 2)

    def test_the_step_from_the_version_before_leads_to_the_same(self) -> None:
        place = Path(self.mktemp())
        place.mkdir()
        make_empty(place / "old")
        make_empty(place / "new")
        with writing(place / "old") as db, writing(place / "new") as anew:
            db.executescript(SCHEMA.directory.joinpath("1.sql").read_text())
            db.executescript(f"PRAGMA user_version=1; PRAGMA application_id={SCHEMA.application_id};")
            SCHEMA.bring_up(db)
            SCHEMA.bring_up(anew)
            self.assertEqual(layout(anew), layout(db))


class Troubles(WebhookTest):
    """Each in its turn; nothing is lost while there is room."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def fails_once(self, *answers: Answer) -> None:
        left = list(answers)
        self.http.answer = lambda event: left.pop(0) if left else 200

    def test_what_speaks_of_the_way_or_the_moment_is_an_outage(self) -> None:
        self.lose()
        for status in (100, 301, 302, 307, 401, 403, 404, 405, 407, 408, 410, 421, 425, 429, 500, 503, 599):
            self.setUp()
            self.fails_once(status)
            self.lose()
            self.look()
            self.assertEqual(self.webhook.state.status, "outage", status)
            self.assertIn(str(status), self.webhook.state.reason)
            self.bench.clock.advance(1)
            self.assertEqual(self.http.kinds, ["loss_began", *LOSS], status)
            self.assertEqual(self.webhook.failure, None)

    def test_what_is_refused_for_good_is_not_posted_again_and_the_next_one_is(self) -> None:
        for status in (400, 409, 413, 415, 422, 451):
            self.setUp()
            self.fails_once(status)
            self.lose()
            self.look()
            self.assertEqual(self.http.kinds, LOSS)
            self.assertEqual((self.webhook.refused, self.webhook.posted, self.owed()), (1, 1, 0))
            failure = cast(Trouble, self.webhook.failure)
            self.assertEqual(failure.reason, f"1 were refused, the last with {status}")

    def test_many_refusals_are_a_line_a_minute(self) -> None:
        self.http.answer = lambda event: 422
        self.lose(10)
        with said() as lines:
            self.look()
        self.assertEqual(len([line for line in lines if "refuses" in line]), 1)
        self.assertEqual(self.webhook.refused, 20)

    def test_a_cut_after_it_took_the_post_has_it_posted_twice(self) -> None:
        self.fails_once(ResponseNeverReceived([Failure(ConnectionResetError())]))
        self.lose()
        self.look()
        self.bench.clock.advance(1)
        first, again, _ = self.http.ids
        self.assertEqual(first, again)
        self.assertEqual(self.http.bodies[0], self.http.bodies[1])

    def test_a_dead_peer_is_asked_later_and_later(self) -> None:
        self.http.answer = lambda event: ConnectionRefusedError()
        self.lose()
        self.look()
        for pause in (1, 2, 4, 8, 16, 30, 30):
            posts = len(self.http.posts)
            self.bench.clock.advance(pause - 0.1)
            self.assertEqual(len(self.http.posts), posts)
            self.bench.clock.advance(0.1)
            self.assertEqual(len(self.http.posts), posts + 1)

    def test_retry_after_is_heeded_within_an_hour(self) -> None:
        self.fails_once(FakeResponse(429, {b"Retry-After": b"999999"}))
        self.lose()
        self.look()
        self.bench.clock.advance(3599)
        self.assertEqual(len(self.http.posts), 1)
        self.bench.clock.advance(1)
        self.assertEqual(self.http.kinds, ["loss_began", *LOSS])

    def test_one_that_never_answers_is_given_up_after_10_seconds(self) -> None:
        self.fails_once(Deferred())
        self.lose()
        self.look()
        self.bench.clock.advance(10)
        self.assertEqual(self.webhook.state.reason, "no answer within 10 s")

    def test_killed_between_post_and_mark_it_posts_that_one_again(self) -> None:
        self.http.answer = lambda event: Deferred()
        self.lose()
        self.look()
        self.http.answer = lambda event: 200
        self.crash()
        self.lose()
        self.look()
        first, again, *_ = self.http.ids
        self.assertEqual(first, again)
        self.assertEqual(self.http.kinds[1:], LOSS * 2)

    def test_a_stop_in_an_outage_is_at_once_and_loses_nothing(self) -> None:
        self.http.answer = lambda event: 503
        self.lose()
        self.look()
        self.successResultOf(self.webhook.stopService())
        self.changes.leave()
        self.http.answer, self.http.posts = lambda event: 200, []
        self.changes = self.open()
        self.look()
        self.assertEqual(self.http.kinds, LOSS)

    def test_what_is_taken_during_a_stop_is_written_down(self) -> None:
        answer: Deferred[Any] = Deferred()
        self.http.answer = lambda event: answer
        self.lose()
        self.look()
        stopped = self.webhook.stopService()
        answer.callback(FakeResponse(200))
        self.successResultOf(stopped)
        self.assertEqual(self.owed(), 1)

    def test_more_than_the_outbox_holds_costs_the_oldest(self) -> None:
        self.stop()
        self.changes = self.open(most_owed=3)
        self.look()
        self.http.answer = lambda event: 503
        self.lose(3)
        with said() as lines:
            self.look()
        self.assertEqual((self.webhook.waiting, self.webhook.dropped, self.owed()), (3, 3, 3))
        self.assertIn("3 changes were dropped, as too many waited", " ".join(lines))
        self.http.answer, self.http.posts = lambda event: 200, []
        self.bench.clock.advance(1)
        self.assertEqual(self.http.kinds, ["loss_ended", *LOSS])
        self.assertEqual(self.webhook.state.status, "ok")
        failure = cast(Trouble, self.webhook.failure)
        self.assertEqual(failure.reason, "3 changes were dropped, as too many waited")

    def test_what_waits_is_in_the_list_however_many_came_after_it(self) -> None:
        self.stop()
        self.changes = self.open(most_changes=2)
        self.look()
        self.http.answer = lambda event: 503
        self.lose(3)
        self.look()
        self.http.answer, self.http.posts = lambda event: 200, []
        self.bench.clock.advance(1)
        self.assertEqual(self.http.kinds, LOSS * 3)

    def test_a_mark_that_cannot_be_written_is_written_before_the_next_post(self) -> None:
        """A full disk: what was taken is not posted again."""
        answer: Deferred[Any] = Deferred()
        self.http.answer = lambda event: answer
        self.lose()
        self.look()
        db = self.changes.opened()
        db.execute("PRAGMA query_only=1")
        answer.callback(FakeResponse(200))
        self.http.answer = lambda event: 200
        self.bench.clock.pump([1.0] * 100)
        self.assertEqual((len(self.http.posts), self.owed()), (1, 2))
        db.execute("PRAGMA query_only=0")
        self.bench.clock.pump([1.0] * 61)
        self.assertEqual(self.http.kinds, LOSS)

    def test_a_step_that_fails_owes_what_it_finds_again(self) -> None:
        """A full disk."""
        self.lose()
        db = self.changes.opened()
        db.execute("PRAGMA query_only=1")
        self.assertRaises(sqlite3.OperationalError, self.look)
        self.look()
        self.assertEqual(self.http.kinds, LOSS)

    def test_the_url_s_secrets_are_in_no_line_and_in_no_reason(self) -> None:
        self.http.answer = lambda event: 503
        self.lose()
        with said() as lines:
            self.look()
            self.http.answer = lambda event: ValueError("no")
            self.bench.clock.pump([1.0] * 100)
        self.assertTrue(lines)
        self.assertNotIn("secret", " ".join(lines) + self.webhook.state.reason)

    def test_the_state_is_ok_while_nothing_was_tried(self) -> None:
        self.assertEqual(self.webhook.state, PeerState("ok", "", self.webhook.state.since, None))


class Many(Changes):
    """One that finds 10,001 changes once there is a webhook, in whatever it looks at."""

    def _look(self, posts: Sequence[Post], seen: Iterator[Seen]) -> list[Found]:
        return [
            Found(posts[-1], Change("node_silent", f"node-{number}", "", timestamps.at(number), None, None))
            for number in range(MOST_OWED + 1)
        ]


class Crowds(WebhookTest):
    def test_of_ten_thousand_and_one_the_first_is_dropped(self) -> None:
        self.begin()
        self.stop()
        self.http.answer = lambda event: 503
        self.changes = self.open(kind=Many)
        self.post(4)
        self.look()
        self.assertEqual((self.webhook.waiting, self.webhook.dropped), (MOST_OWED, 1))
        self.assertEqual(self.http.posts[0]["node"], "node-1")
