"""What `outputd.queries.hops` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from dataclasses import replace

from outputd.queries import hops as hops_of
from outputd.queries.hops import HOP, Hop
from outputd.queries.links import LINKS, Links
from outputd.queries.paths import PATHS, Paths
from outputd.queries.targets import TARGETS, Targets
from tests.kit.asking import Asking
from tests.kit.makers import a_trace
from tests.summary.test_summary import wild

AT_ONCE = replace(HOP, is_from_summary=False)
"""Asked without the wait for the summary, which in a crowd, or when it takes long, has not all either."""


class Hops(Asking):
    def test_a_hop_is_told_alike_from_the_summary_and_from_the_files(self) -> None:
        self.fill(wild)
        self.patch(hops_of, "MOST_FRESH", 1000)
        for ip in ("10.0.0.1", "2001:db8::1"):
            from_files = self.ask(AT_ONCE, Hop(ip, 1000))
            self.ask(TARGETS, Targets(1))  # brings the summary up to date
            from_summary = self.ask(HOP, Hop(ip, 1000))
            self.assertEqual(from_files, from_summary)
            self.assertTrue(from_files["before"] and from_files["after"] and from_files["targets"])
            self.bench.directory.summary.unlink()
        self.assertIsNone(self.ask(HOP, Hop("192.0.2.200", 10)))

    def test_a_hop_takes_the_newest_rows_that_the_summary_lacks(self) -> None:
        """As many as may be read at once, over all files, and says when there were more."""
        for _ in range(3):
            self.bench.post(*(a_trace({"ip": "10.0.0.1", "ttl": 1}) for _ in range(3)))
            self.bench.outcome(self.bench.store.rotate())
        for room, seen, is_whole in ((100, 9, True), (4, 4, False), (9, 9, False)):
            self.patch(hops_of, "MOST_FRESH", room)
            told = self.ask(AT_ONCE, Hop("10.0.0.1", 10))
            self.assertEqual((seen, is_whole), (told["seen"], told["complete"]))

    def test_what_is_written_for_silence_is_silence(self) -> None:
        hops = [{"ttl": ttl, "ip": ip} for ttl, ip in enumerate(("10.0.0.1", "0.0.0.0", "::", "10.0.0.4"), 1)]
        self.bench.post(a_trace(*hops))
        for _ in range(2):  # from the files, then from the summary
            self.assertIsNone(self.ask(AT_ONCE, Hop("0.0.0.0", 10)))
            self.assertIsNone(self.ask(AT_ONCE, Hop("::", 10)))
            known = self.ask(AT_ONCE, Hop("10.0.0.1", 10))
            self.assertEqual((known["seen"], known["after"]), (1, []))
            self.assertEqual(self.ask(LINKS, Links(10))["links"], [])
        (path,) = self.ask(PATHS, Paths("8.8.8.8"))["paths"]
        self.assertEqual(path["hops"], ["10.0.0.1", None, None, "10.0.0.4"])
