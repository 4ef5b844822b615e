"""Each hop gets to input_service once, whatever happens to either side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.system.addresses import feedable_hops
from tests.system.harness import Outputd, SystemTest
from tests.system.inputservice import take_all
from tests.system.load import Result, Source
from tests.system.waiting import wait_until

NEVER_FED = (
    "0.1.2.3", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "ff02::1",
    "fe80::1%eth0", "::ffff:127.0.0.1", "_gateway", "*", "???", "", "8.8.8.8.", "010.1.1.1",
)  # fmt: skip


class FeedTests(SystemTest):
    def test_over_an_outage_and_a_crash(self) -> None:
        """Rules 18, 19, 20: input_service absent, then answering 503, then kill -9, then all well again."""
        input_service = self.input_service()
        outputd = self.outputd(input_url=input_service.url).start()
        source = Source(7)
        posts = [source.post(50) for _ in range(4)]
        fed = feedable_hops(result for post in posts for result in post.results)
        self.assertGreater(len(fed), 300)

        self._post(outputd, posts[0].results + posts[1].results)
        warned = wait_until(lambda: _input_check(outputd)["status"] == "warn" and outputd.get("/health"), "a warning")
        self.assertEqual((200, "healthy"), (warned.status, warned.json["status"]))  # the service itself is well
        input_service.verdict = lambda hops: 503
        input_service.open()
        self._post(outputd, posts[2].results)
        wait_until(lambda: input_service.deliveries, "a delivery that gets 503")
        self.assertEqual(0, outputd.stats["hops_sent"])
        self._post(outputd, posts[3].results)
        outputd.kill()

        input_service.verdict = take_all
        outputd.start()
        wait_until(lambda: input_service.taken.keys() >= fed, "every hop has arrived")
        self.assertStopped(outputd.stop())
        outputd.start()
        self._post(outputd, [*posts[0].results, *posts[3].results, _traced("203.0.113.77")])
        wait_until(lambda: input_service.has("203.0.113.77"), "a hop that is new after all this")
        self.assertStopped(outputd.stop())
        self.assertEqual(dict.fromkeys([*fed, "203.0.113.77"], 1), dict(input_service.taken))

    def test_one_hop_is_refused(self) -> None:
        """Rule 19: what input_service answers 400 to is set aside, over a restart too; all others arrive once."""
        bad = "10.0.0.13"
        input_service = self.input_service().open()
        input_service.verdict = lambda hops: 400 if bad in hops else 200
        outputd = self.outputd(input_url=input_service.url).start()
        hops = [f"10.0.{n // 100}.{n % 100}" for n in range(2500)]
        self._post(outputd, [_traced(*hops)])
        wait_until(lambda: (bad,) in [post.hops for post in input_service.deliveries], "the offender stands alone")
        wait_until(lambda: len(input_service.taken) >= len(hops) - 1, "all others arrive")
        self.assertStopped(outputd.stop())
        asked = len(input_service.deliveries)
        outputd.start()
        self._post(outputd, [_traced(bad, "10.9.9.9")])
        wait_until(lambda: input_service.has("10.9.9.9"), "one that is new")
        self.assertStopped(outputd.stop())
        self.assertEqual([("10.9.9.9",)], [post.hops for post in input_service.deliveries[asked:]])
        self.assertEqual(dict.fromkeys({*hops, "10.9.9.9"} - {bad}, 1), dict(input_service.taken))

    def test_an_outage_by_any_name(self) -> None:
        """Rule 19: 3xx, 4xx other than a refusal, and 5xx lose nothing, set nothing aside, and redirect nowhere."""
        input_service = self.input_service().open()
        statuses = [302, 429]
        input_service.verdict = lambda hops: statuses.pop(0) if statuses else 200
        input_service.headers = {"Retry-After": "0", "Location": "/elsewhere"}
        outputd = self.outputd(input_url=input_service.url).start()
        self._post(outputd, [_traced("10.0.0.1", "10.0.0.2")])
        wait_until(lambda: outputd.stats["hops_sent"] == 2, "delivered in the end")
        self.assertStopped(outputd.stop())
        self.assertEqual([302, 429, 200], [post.status for post in input_service.deliveries])
        self.assertEqual({"10.0.0.1": 1, "10.0.0.2": 1}, dict(input_service.taken))

    def test_what_is_never_fed(self) -> None:
        """Rules 3, 17: what leads nowhere is stored and not fed; a timeout wins over its ip; one spelling for each."""
        input_service = self.input_service().open()
        outputd = self.outputd(input_url=input_service.url).start()
        result = _traced(*NEVER_FED, "10.1.2.3", "::ffff:10.1.2.3", "2001:DB8::0A", "2001:db8:0::a", "100.64.0.1")
        result["traceroute"]["hops"].append({"ttl": 9, "ip": "198.51.100.77", "timeout": True})
        self._post(outputd, [result])
        self.assertEqual(3, outputd.stats["hops_discovered"])
        wait_until(lambda: outputd.stats["hops_sent"] == 3, "three are sent")
        self.assertStopped(outputd.stop())
        self.assertEqual({"10.1.2.3": 1, "2001:db8::a": 1, "100.64.0.1": 1}, dict(input_service.taken))

    def test_feed_public(self) -> None:
        """Rule 17: `--feed=public` keeps every special-purpose address back."""
        input_service = self.input_service().open()
        outputd = self.outputd("--feed=public", input_url=input_service.url).start()
        self._post(outputd, [_traced("10.1.2.3", "192.168.1.1", "100.64.0.1", "fc00::1", "198.18.0.1", "9.9.9.9")])
        wait_until(lambda: outputd.stats["hops_sent"] == 1, "one is sent")
        self.assertStopped(outputd.stop())
        self.assertEqual({"9.9.9.9": 1}, dict(input_service.taken))

    def test_refeed(self) -> None:
        """Rule 18: `--refeed` owes all known addresses again, to an input_service that was rebuilt."""
        input_service = self.input_service().open()
        outputd = self.outputd(input_url=input_service.url).start()
        hops = [f"10.0.{n // 100}.{n % 100}" for n in range(1500)]
        self._post(outputd, [_traced(*hops)])
        wait_until(lambda: outputd.stats["hops_sent"] == len(hops), "all are sent")
        self.assertStopped(outputd.stop())
        outputd.start("--refeed")
        wait_until(lambda: outputd.stats["hops_sent"] == len(hops), "all are sent again")
        self.assertStopped(outputd.stop())
        self.assertEqual(dict.fromkeys(hops, 2), dict(input_service.taken))

    def test_alone(self) -> None:
        """Rule 19: a hop arrives by itself when nothing else comes, each time."""
        input_service = self.input_service().open()
        outputd = self.outputd(input_url=input_service.url).start()
        for number in range(5):
            hop = f"10.0.0.{number}"
            self._post(outputd, [_traced(hop)])
            wait_until(partial(input_service.has, hop), f"{hop} arrives")
        self.assertStopped(outputd.stop())

    def _post(self, outputd: Outputd, results: Sequence[Result]) -> None:
        answer = outputd.post(results)
        self.assertEqual({"status": "ok", "received": len(results)}, answer.json)


def _traced(*hops: str) -> Result:
    """A result with these hops."""
    rows = [{"ttl": min(ttl, 255), "ip": hop, "rtt": 1000} for ttl, hop in enumerate(hops, 1)]
    return {
        "ip": "192.0.2.1", "sent": 1, "received": 1, "timestamp": "2026-01-07T22:30:00Z", "traceroute": {"hops": rows}
    }  # fmt: skip


def _input_check(outputd: Outputd) -> Result:
    check: Result = outputd.get("/health").json["checks"]["input_service"]
    return check
