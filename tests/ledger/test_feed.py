"""What `outputd.ledger.feed` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, cast

from treq.testing import HasHeaders, RequestSequence, StringStubbingResource, StubTreq
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.iweb import IResponse

from outputd.client.bounds import EXCHANGE_S
from outputd.client.delivery import PeerState
from outputd.client.retry import backoff
from outputd.client.words import in_words
from outputd.ledger.feed import GATHER_S, HopFeed
from tests.kit.answers import FakeResponse

URL = "http://input-service:8080/hops"
EPOCH = 1_767_825_000.0


def addresses(count: int) -> list[str]:
    return [f"192.0.{number // 256}.{number % 256}" for number in range(count)]


class FakeLedger:
    """A ledger in a list; `failing` names the methods that raise, `stuck` those that wait, `deaf` to cancelling."""

    deaf = False

    def __init__(self, *owed: str) -> None:
        self.owed = list(owed)
        self.arrived: list[str] = []
        self.set_aside: list[tuple[str, int]] = []
        self.failing: set[str] = set()
        self.stuck: dict[str, Deferred[None]] = {}

    async def _go(self, name: str) -> None:
        if name in self.stuck:
            try:
                await self.stuck[name]
            except CancelledError:
                if self.deaf:
                    await Deferred[None]()
                raise
        if name in self.failing:
            raise OSError(f"no {name}")

    async def waiting(self, most: int) -> list[str]:
        found = self.owed[:most]
        await self._go("waiting")
        return found

    async def delivered(self, addresses: Sequence[str]) -> None:
        await self._go("delivered")
        self.owed = [address for address in self.owed if address not in set(addresses)]
        self.arrived += addresses

    async def refused(self, address: str, status: int) -> None:
        await self._go("refused")
        self.owed.remove(address)
        self.set_aside.append((address, status))


Answer = int | FakeResponse | Exception | Deferred[Any]


def in_turn(*answers: Answer) -> Callable[[list[str]], Answer]:
    """One answer after the other."""
    left = iter(answers)
    return lambda hops: next(left)


class FakeHTTP:
    """A treq client that asks `answer(hops)` what comes back, and keeps what was posted."""

    def __init__(self, answer: Callable[[list[str]], Answer]) -> None:
        self.answer = answer
        self.posts: list[list[str]] = []
        self.under_way = 0

    def post(self, url: object, /, *, data: bytes, **options: object) -> Awaitable[IResponse]:
        hops = json.loads(data)["hops"]
        self.posts.append(hops)
        answer = self.answer(hops)
        if isinstance(answer, int):
            answer = FakeResponse(answer)
        if isinstance(answer, Exception):
            return fail(answer)
        if not isinstance(answer, Deferred):
            return succeed(cast(Any, answer))
        self.under_way += 1
        return answer.addBoth(self._ended)

    def _ended(self, result: object) -> Any:
        self.under_way -= 1
        return result


class FeedTest(SynchronousTestCase):
    """A feed on a Clock, between a ledger in a list and a peer that answers as told."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ledger = FakeLedger()
        self.http = FakeHTTP(lambda hops: 200)
        self.sent: list[int] = []
        self.chance = 0.0
        self.lines: list[str] = []
        observer = cast(ILogObserver, self.observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.feed = self.feed_with(self.http)

    def observe(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "outputd.ledger.feed":
            self.lines.append(formatEvent(event))

    def feed_with(self, post: Any, count: Callable[[int], object] | None = None) -> HopFeed:
        return HopFeed(
            self.ledger,
            post,
            URL,
            self.clock,
            self.sent.append if count is None else count,
            now=lambda: EPOCH + self.clock.seconds(),
            jitter=lambda: self.chance,
        )

    def start(self, *owed: str, answer: Callable[[list[str]], Answer] | None = None) -> None:
        self.ledger.owed += owed
        if answer is not None:
            self.http.answer = answer
        self.feed.startService()

    def pass_time(self, seconds: float, step: float = 0.125) -> None:
        self.clock.pump([step] * round(seconds / step))


class Delivery(FeedTest):
    """Rules 18 and 19: what waits arrives, once."""

    def test_what_waits_at_the_start_is_posted_at_once(self) -> None:
        """Rule 18: every discovered address is delivered, over restarts too."""
        self.start("8.8.8.8", "2001:db8::a")
        self.assertEqual(self.http.posts, [["8.8.8.8", "2001:db8::a"]])
        self.assertEqual(self.ledger.arrived, ["8.8.8.8", "2001:db8::a"])
        self.assertEqual(self.sent, [2])
        self.assertEqual(self.feed.posts_succeeded, 1)

    def test_a_post_is_json_with_its_content_type(self) -> None:
        """Rule 19: ``{"hops":[...]}``, and no redirect is asked to be followed."""
        expected: tuple[object, ...] = (
            b"post",
            URL,
            {},
            HasHeaders({"Content-Type": ["application/json"]}),
            b'{"hops": ["8.8.8.8"]}',
        )
        sequence = RequestSequence([(expected, (200, {}, b"{}"))])
        self.feed = self.feed_with(StubTreq(StringStubbingResource(sequence)))
        with sequence.consume(self.fail):
            self.start("8.8.8.8")
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_a_discovery_is_posted_within_a_second(self) -> None:
        """Rule 19: when nothing is owed."""
        self.start()
        self.pass_time(5)
        self.ledger.owed.append("8.8.8.8")
        self.feed.wake()
        self.pass_time(0.5)
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_discoveries_close_together_share_a_post(self) -> None:
        """Rule 19: hops are gathered for a moment."""
        self.start()
        for number in range(20):
            self.ledger.owed.append(f"192.0.2.{number}")
            self.feed.wake()
            self.clock.advance(0.01)
        self.pass_time(1)
        self.assertEqual([len(post) for post in self.http.posts], [20])

    def test_a_steady_trickle_makes_few_posts_and_each_hop_is_there_within_a_second(self) -> None:
        """Rule 19: a hop every 10 ms."""
        self.start()
        for number in range(1000):
            self.ledger.owed.append(f"10.0.{number // 250}.{number % 250}")
            self.feed.wake()
            self.clock.advance(0.01)
            self.assertLess(len(self.ledger.owed), 100)
        self.assertLess(len(self.http.posts), 60)

    def test_a_discovery_while_the_ledger_is_being_asked_is_not_forgotten(self) -> None:
        """Rule 19: the wake-up comes between the question and its answer."""
        asked = self.ledger.stuck["waiting"] = Deferred()
        self.start()
        self.ledger.owed.append("8.8.8.8")
        self.feed.wake()
        del self.ledger.stuck["waiting"]
        asked.callback(None)
        self.pass_time(0.5)
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_what_comes_into_the_ledger_without_a_word_is_found_within_two_minutes(self) -> None:
        """Rule 18: a wake-up too few costs time, not hops."""
        self.start()
        self.ledger.owed.append("8.8.8.8")
        self.pass_time(120)
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_at_most_1000_hops_a_post_and_no_pause_while_more_are_owed(self) -> None:
        """Rule 19."""
        owed = addresses(2500)
        self.start(*owed)
        self.assertEqual([len(post) for post in self.http.posts], [1000, 1000, 500])
        self.assertEqual(self.ledger.arrived, owed)
        self.assertEqual(self.sent, [1000, 1000, 500])

    def test_one_post_at_a_time(self) -> None:
        """Rule 19: whatever is woken meanwhile."""
        answers: list[Deferred[Any]] = []

        def later(hops: list[str]) -> Answer:
            self.assertEqual(self.http.under_way, 0)
            answers.append(Deferred())
            return answers[-1]

        owed = addresses(2500)
        self.start(*owed, answer=later)
        for number in range(3):
            self.feed.wake()
            self.clock.advance(5)
            self.assertEqual(len(answers), number + 1)
            answers[number].callback(FakeResponse(200))
        self.assertEqual(self.ledger.arrived, owed)

    def test_every_2xx_is_a_success(self) -> None:
        """Rule 19."""
        for status in (200, 201, 202, 204, 299):
            self.start(f"192.0.2.{status - 199}", answer=in_turn(status))
            self.successResultOf(self.feed.stopService())
        self.assertEqual((len(self.ledger.arrived), self.feed.posts_succeeded), (5, 5))

    def test_counted_as_sent_only_when_the_ledger_has_it_on_disk(self) -> None:
        """Rule 18: the ledger's commit is what counts."""
        commit = self.ledger.stuck["delivered"] = Deferred()
        self.start("8.8.8.8")
        self.assertEqual(self.sent, [])
        commit.callback(None)
        self.assertEqual(self.sent, [1])


class Refusals(FeedTest):
    """Rule 19: 400, 413 and 422 halve the batch until the offender stands alone."""

    def refusing(self, *offenders: str, status: int = 400) -> Callable[[list[str]], Answer]:
        return lambda hops: status if set(hops) & set(offenders) else 200

    def test_the_offender_is_set_aside_and_its_neighbours_arrive_once(self) -> None:
        """Rule 19: for each of the three."""
        for status in (400, 413, 422):
            for place in (0, 1, 499, 500, 998, 999, 1500):
                self.setUp()
                owed = addresses(2000)
                self.start(*owed, answer=self.refusing(owed[place], status=status))
                self.pass_time(1)
                self.assertEqual(self.ledger.set_aside, [(owed[place], status)])
                self.assertEqual(sorted(self.ledger.arrived), sorted(set(owed) - {owed[place]}))
                self.assertLess(len(self.http.posts), 50)
                self.assertEqual(self.feed.hops_refused, 1)
                self.successResultOf(self.feed.stopService())

    def test_many_offenders_are_each_found(self) -> None:
        """Rule 19: a tenth of all hops, anywhere."""
        owed = addresses(3000)
        offenders = random.Random(1).sample(owed, 300)
        self.start(*owed, answer=self.refusing(*offenders))
        self.pass_time(1)
        self.assertEqual({address for address, _ in self.ledger.set_aside}, set(offenders))
        self.assertEqual(len(self.ledger.set_aside), 300)
        self.assertEqual(sorted(self.ledger.arrived), sorted(set(owed) - set(offenders)))

    def test_a_thousand_offenders_cost_little_more_than_a_post_and_no_line_each(self) -> None:
        """Rule 19: an input_service that refuses everything."""
        self.start(*addresses(1000), answer=lambda hops: 422)
        self.assertEqual(len(self.ledger.set_aside), 1000)
        self.assertLess(len(self.http.posts), 1020)
        self.assertEqual(self.feed.posts_refused, len(self.http.posts))
        self.assertEqual(len(self.lines), 1)

    def test_after_the_offenders_posts_are_full_again(self) -> None:
        """Rule 19: one bad hop does not leave the posts small."""
        owed = addresses(20_000)
        self.start(*owed, answer=self.refusing(owed[3]))
        self.assertEqual(len(self.ledger.arrived), 19_999)
        self.assertLess(len(self.http.posts), 60)

    def test_an_input_service_that_takes_only_short_lists_gets_short_lists(self) -> None:
        """Rule 19: 413 for more than 100 hops refuses no address."""
        owed = addresses(5000)
        self.start(*owed, answer=lambda hops: 413 if len(hops) > 100 else 200)
        self.assertEqual(self.ledger.arrived, owed)
        self.assertEqual(self.ledger.set_aside, [])
        self.assertLess(len(self.http.posts), 150)

    def test_a_refusal_is_no_outage(self) -> None:
        """Rule 20: input_service is well and judges."""
        self.start("8.8.8.8", answer=lambda hops: 400)
        self.assertEqual(self.feed.state.status, "ok")
        self.assertEqual(self.feed.posts_failed, 0)


class Outages(FeedTest):
    """Rule 19: everything else is tried again, later and later."""

    def test_every_other_answer_is_an_outage_and_the_hops_wait(self) -> None:
        """Rule 19: 3xx, 401, 403, 404, 408, 429, 5xx, and what nobody has heard of."""
        for status in (100, 301, 302, 303, 307, 308, 401, 403, 404, 405, 408, 409, 429, 500, 502, 503, 504, 599, 999):
            self.setUp()
            self.start("8.8.8.8", answer=in_turn(status, 200))
            self.assertEqual((self.feed.state.status, self.feed.posts_failed), ("outage", 1), status)
            self.assertEqual((self.ledger.arrived, self.ledger.set_aside), ([], []), status)
            self.assertIn(str(status), self.feed.state.reason)
            self.pass_time(2)
            self.assertEqual((self.feed.state.status, self.ledger.arrived), ("ok", ["8.8.8.8"]), status)

    def test_a_failed_connection_is_an_outage(self) -> None:
        """Rule 19: refused, lost, or a URL that is none."""
        for error in (ConnectionRefusedError(), ResponseNeverReceived([Failure(OSError("gone"))]), ValueError("url")):
            self.setUp()
            self.start("8.8.8.8", answer=in_turn(error, 200))
            self.assertEqual(self.feed.state.status, "outage")
            self.pass_time(2)
            self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_a_client_that_raises_is_an_outage(self) -> None:
        """Rule 19: treq raises at once for some URLs."""

        def raising(hops: list[str]) -> Answer:
            raise ValueError("no such scheme")

        self.start("8.8.8.8", answer=raising)
        self.assertIn("no such scheme", self.feed.state.reason)

    def test_no_answer_within_10_seconds_is_an_outage_and_the_request_is_given_up(self) -> None:
        """Rule 19: one time-out over look-up, connection, and answer."""
        given_up: list[object] = []
        self.start("8.8.8.8", answer=in_turn(Deferred(given_up.append), 200))
        self.clock.advance(EXCHANGE_S - 0.1)
        self.assertEqual((self.feed.state.status, given_up), ("ok", []))
        self.clock.advance(0.1)
        self.assertEqual(len(given_up), 1)
        self.assertEqual(self.feed.state.reason, "no answer within 10 s")
        self.pass_time(2)
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_a_5xx_whose_body_never_ends_is_an_outage_after_10_seconds(self) -> None:
        """Rule 19: the time-out covers the body."""
        response = FakeResponse(503, hangs=True)
        self.start("8.8.8.8", answer=in_turn(response, 200))
        self.clock.advance(EXCHANGE_S)
        self.assertTrue(response.dropped)
        self.assertEqual(self.feed.state.reason, "it answers 503")

    def test_a_2xx_whose_body_never_ends_was_said_and_is_not_posted_again(self) -> None:
        """Rule 18: exactly once, short of a crash."""
        response = FakeResponse(200, hangs=True)
        self.start("8.8.8.8", answer=lambda hops: response)
        self.clock.advance(EXCHANGE_S)
        self.assertTrue(response.dropped)
        self.pass_time(60)
        self.assertEqual((self.ledger.arrived, len(self.http.posts)), (["8.8.8.8"], 1))

    def test_the_pauses_double_from_1_to_60_seconds_and_a_success_starts_afresh(self) -> None:
        """Rule 19: exponential backoff; a wake-up does not cut it short."""
        status = 503
        self.start("8.8.8.8", answer=lambda hops: status)
        for pause in (1, 2, 4, 8, 16, 30, 30, 30):
            posts = len(self.http.posts)
            self.feed.wake()
            self.clock.advance(pause - 0.125)
            self.assertEqual(len(self.http.posts), posts)
            self.clock.advance(0.125)
            self.assertEqual(len(self.http.posts), posts + 1)
        status = 200
        self.pass_time(31)
        status = 503
        self.ledger.owed.append("9.9.9.9")
        self.feed.wake()
        self.pass_time(0.5)
        posts = len(self.http.posts)
        self.pass_time(1)
        self.assertEqual(len(self.http.posts), posts + 1)

    def test_a_pause_is_never_under_1_nor_over_60_seconds_and_chance_spreads_it(self) -> None:
        """Rule 19: jitter, so that instances do not come back together."""
        for failures in (*range(12), 1000, 10**9):
            low, high = backoff(failures, 0.0), backoff(failures, 0.999999)
            self.assertGreaterEqual(low, 1.0)
            self.assertLessEqual(high, 60.0)
            self.assertGreater(high, 1.9 * low)

    def test_retry_after_is_honoured(self) -> None:
        """Rule 19: in seconds or as a date, no sooner, and not much later; 503 may say it too."""
        date = format_datetime(datetime.fromtimestamp(EPOCH + 100, UTC), usegmt=True).encode()
        for status in (429, 503):
            for value, seconds in {b"100": 100, b" 7 ": 7, date: 100, b"0": 1, b"3600": 3600}.items():
                self.setUp()
                self.start("8.8.8.8", answer=in_turn(FakeResponse(status, {b"Retry-After": value}), 200))
                self.clock.advance(seconds - 0.1)
                self.assertEqual(len(self.http.posts), 1, value)
                self.clock.advance(1)
                self.assertEqual(self.ledger.arrived, ["8.8.8.8"], value)

    def test_a_retry_after_that_is_absurd_or_unreadable_stops_nothing(self) -> None:
        """Rule 19: at most an hour, else the usual pause."""
        for value, seconds in {
            b"9" * 5000: 3601,
            b"1e9": 2,
            b"-5": 2,
            b"": 2,
            b"soon": 2,
            b"\xff\xfe": 2,
            "\u0663".encode(): 2,
            b"Wed, 21 Oct 2015 07:28:00 GMT": 2,
            b"Wed, 21 Oct 2015 07:28:00": 2,
            b"Fri, 31 Dec 9999 23:59:59 GMT": 3601,
            b"Wed, 99 Oct 99999 07:28:00 GMT": 2,
            b"Mon, 1 Jan 0001 00:00:00 +2359": 2,
        }.items():
            self.setUp()
            self.start("8.8.8.8", answer=in_turn(FakeResponse(429, {b"Retry-After": value}), 200))
            self.clock.advance(seconds)
            self.assertEqual(self.ledger.arrived, ["8.8.8.8"], value)

    def test_the_state_says_since_when_why_and_when_next(self) -> None:
        """Rule 20: for the health check, in wall-clock time."""
        status = 200
        self.start(answer=lambda hops: status)
        self.assertEqual(self.feed.state, PeerState("ok", "", EPOCH, None))
        self.clock.advance(100)
        status = 503
        self.ledger.owed.append("8.8.8.8")
        self.feed.wake()
        self.clock.advance(GATHER_S)
        begun = EPOCH + self.clock.seconds()
        self.assertEqual(self.feed.state, PeerState("outage", "it answers 503", begun, begun + 1))
        status = 502
        self.clock.advance(1)
        self.assertEqual(self.feed.state, PeerState("outage", "it answers 502", begun, begun + 3))
        status = 200
        self.clock.advance(2)
        self.assertEqual(self.feed.state, PeerState("ok", "", begun + 3, None))
        self.assertEqual((self.feed.posts_succeeded, self.feed.posts_refused, self.feed.posts_failed), (1, 0, 2))

    def test_an_outage_is_logged_when_it_begins_and_when_it_ends(self) -> None:
        """Rule 19: not at each attempt."""
        status = 503
        self.start("8.8.8.8", answer=lambda hops: status)
        self.pass_time(600)
        status = 200
        self.pass_time(60)
        self.assertEqual(len(self.lines), 2)
        self.assertIn("503", self.lines[0])
        self.assertIn("again, after", self.lines[1])

    def test_an_error_that_quotes_the_peer_forges_no_line(self) -> None:
        """Rule 20: a reason is one short printable line."""
        hostile = ValueError("HTTP/1.1 {password}\r\n2026-01-07T22:30:00 all is well\x1b[2J" + "x" * 10_000)
        self.start("8.8.8.8", answer=lambda hops: ResponseNeverReceived([Failure(hostile)]))
        for text in (self.feed.state.reason, self.lines[0]):
            self.assertTrue(text.isprintable())
            self.assertLess(len(text), 300)
        self.assertIn("{password}", self.lines[0])

    def test_words_for_an_error_name_its_cause(self) -> None:
        self.assertEqual(in_words(ResponseNeverReceived([Failure(OSError("gone"))])), "OSError: gone")
        self.assertIn("ConnectionRefusedError", in_words(ConnectionRefusedError()))


class BrokenLedger(FeedTest):
    """Rule 18: a ledger that fails ends nothing and doubles nothing."""

    def test_a_ledger_that_cannot_be_read_is_asked_again(self) -> None:
        """Rule 18."""
        self.ledger.failing = {"waiting"}
        self.start("8.8.8.8")
        self.pass_time(300)
        self.assertLess(len(self.flushLoggedErrors(OSError)), 20)
        self.ledger.failing = set()
        self.pass_time(61)
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_a_ledger_that_cannot_write_a_delivery_is_told_again_before_anything_is_posted(self) -> None:
        """Rule 18: exactly once: what was taken is not posted again."""
        self.ledger.failing = {"delivered"}
        self.start("8.8.8.8")
        self.ledger.owed.append("9.9.9.9")
        self.pass_time(300)
        self.assertEqual((self.http.posts, self.sent), ([["8.8.8.8"]], []))
        self.ledger.failing = set()
        self.pass_time(61)
        self.assertEqual(self.http.posts, [["8.8.8.8"], ["9.9.9.9"]])
        self.assertEqual(self.ledger.arrived, ["8.8.8.8", "9.9.9.9"])
        self.assertEqual(self.sent, [1, 1])

    def test_a_ledger_that_cannot_write_a_refusal_is_told_again(self) -> None:
        """Rule 19."""
        self.ledger.failing = {"refused"}
        self.start("8.8.8.8", answer=lambda hops: 400)
        self.ledger.failing = set()
        self.pass_time(2)
        self.assertEqual(self.ledger.set_aside, [("8.8.8.8", 400)])

    def test_a_counter_that_fails_costs_nothing(self) -> None:
        """Rule 18."""
        self.feed = self.feed_with(self.http, lambda hops: 1 / 0)
        self.start(*addresses(1500))
        self.pass_time(10)
        self.assertEqual(len(self.ledger.arrived), 1500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class Stopping(FeedTest):
    """Rule 23: the feed holds up no shutdown."""

    def test_an_idle_feed_stops_at_once(self) -> None:
        """Rule 23."""
        self.start()
        self.pass_time(5)
        self.successResultOf(self.feed.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_feed_in_an_outage_stops_at_once(self) -> None:
        """Rule 23."""
        self.start("8.8.8.8", answer=lambda hops: 503)
        self.successResultOf(self.feed.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_post_under_way_is_finished_and_written_down(self) -> None:
        """Rule 18: its answer is not lost with the shutdown."""
        answer: Deferred[Any] = Deferred()
        self.start(*addresses(2000), answer=lambda hops: answer)
        stopped = self.feed.stopService()
        self.clock.advance(1)
        self.assertNoResult(stopped)
        answer.callback(FakeResponse(200))
        self.successResultOf(stopped)
        self.assertEqual((len(self.http.posts), len(self.ledger.arrived)), (1, 1000))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_post_that_does_not_end_is_cancelled_within_2_seconds_without_an_outage(self) -> None:
        """Rule 23."""
        given_up: list[object] = []
        self.start("8.8.8.8", answer=lambda hops: Deferred(given_up.append))
        stopped = self.feed.stopService()
        self.pass_time(2)
        self.successResultOf(stopped)
        self.assertEqual((len(given_up), self.lines, self.ledger.owed), (1, [], ["8.8.8.8"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_2xx_whose_body_hangs_at_the_stop_is_written_down(self) -> None:
        """Rule 18."""
        self.start("8.8.8.8", answer=lambda hops: FakeResponse(200, hangs=True))
        stopped = self.feed.stopService()
        self.pass_time(2)
        self.successResultOf(stopped)
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_a_ledger_that_does_not_return_holds_it_up_2_seconds_at_most(self) -> None:
        """Rule 23: whether or not it can be cancelled."""
        for method in ("waiting", "delivered"):
            for deaf in (False, True):
                self.setUp()
                self.ledger.stuck[method] = Deferred()
                self.ledger.deaf = deaf
                self.start("8.8.8.8")
                stopped = self.feed.stopService()
                self.pass_time(2)
                self.successResultOf(stopped)
                self.assertEqual(self.lines, [])

    def test_it_can_be_started_again(self) -> None:
        """Rule 18: and goes on with what waits."""
        self.start("8.8.8.8", answer=lambda hops: 503)
        self.successResultOf(self.feed.stopService())
        self.start(answer=lambda hops: 200)
        self.assertEqual(self.ledger.arrived, ["8.8.8.8"])

    def test_stopping_what_never_ran_is_no_error(self) -> None:
        self.successResultOf(self.feed.stopService())


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
