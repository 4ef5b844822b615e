from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.demo.internet import VANTAGE_POINTS, World
from tests.kit.bench import EPOCH, Bench


class WorldTests(SynchronousTestCase):
    def test_the_same_seed_is_the_same_world(self) -> None:
        first, second = (
            [world.measure(point, target, EPOCH) for target in world.first_targets(9) for point in VANTAGE_POINTS]
            for world in (World(5), World(5))
        )
        self.assertEqual(first, second)
        self.assertNotEqual(first[0], World(6).measure("ams", World(6).first_targets(1)[0], EPOCH))

    def test_it_has_what_real_results_have(self) -> None:
        world = World(1)
        results = [world.measure(point, ip, EPOCH) for ip in list(world.owners)[::17] for point in VANTAGE_POINTS]
        hops = [hop for result in results for hop in result["traceroute"]["hops"]]
        self.assertTrue(any(0 < result["received"] < result["sent"] for result in results), "loss")
        self.assertTrue(any(result["received"] == 0 and result["error"] for result in results), "no answer")
        self.assertTrue(any(not result["traceroute"]["completed"] for result in results), "incomplete traces")
        self.assertTrue(any(hop.get("timeout") for hop in hops), "timeouts")
        self.assertTrue(any(":" in hop.get("ip", "") for hop in hops), "IPv6")
        complete = [result for result in results if result["traceroute"]["completed"]]
        self.assertTrue(all(result["traceroute"]["hops"][-1]["ip"] == result["ip"] for result in complete))
        self.assertTrue(
            all(hop["ttl"] == index for r in results for index, hop in enumerate(r["traceroute"]["hops"], 1))
        )

    def test_all_of_it_is_taken(self) -> None:
        """No result of this world is rejected by the service's own parser."""
        world = World(2)
        bench = Bench(Path(self.mktemp()))
        self.addCleanup(bench.stop)
        results = [world.measure(point, ip, EPOCH) for ip in world.first_targets(40) for point in VANTAGE_POINTS]
        batch = bench.batch(*results)
        self.assertEqual((200, []), (batch.accepted, batch.rejected))

    def test_addresses_are_nobodys(self) -> None:
        for address in World(1).owners:
            self.assertRegex(address, r"^(198\.1[89]\.|2001:db8:)")
