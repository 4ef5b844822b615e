"""What the topology's modules promise, by node; without node these tests are skipped and say so."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.pages.test_pages import STATIC

_MODULES = ("graph.js", "groups.js", "layers.js", "networks.js", "units.js")


def link(near: str, far: str, nodes: list[str], count: int = 1, **more: Any) -> dict[str, Any]:
    """A link as /links has it."""
    seen = {"first_seen": "2026-01-07T22:00:00Z", "last_seen": "2026-01-07T22:00:00Z"}
    return {"from": near, "to": far, "count": count, "rtt_difference_ns": 1_000_000, "nodes": nodes, **seen, **more}


class ModulesTest(SynchronousTestCase):
    def run_js(self, script: str, *arguments: object) -> Any:
        """What a script returns that has all names of the modules and its arguments as `given`."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("node is not installed (Debian: nodejs)")
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in _MODULES:
            shutil.copy(STATIC / name, folder)
        (folder / "package.json").write_text('{"type": "module"}')
        imports = "".join(f'import * as {name[:-3]} from "./{name}";\n' for name in _MODULES)
        given = f"const given = {json.dumps(arguments)};\n"
        (folder / "main.js").write_text(f"{imports}{given}console.log(JSON.stringify((() => {{ {script} }})()));")
        said = subprocess.run([node, "main.js"], cwd=folder, check=True, capture_output=True, timeout=60).stdout
        return json.loads(said)


class Networks(ModulesTest):
    def test_an_address_is_in_networks_from_wide_to_narrow(self) -> None:
        script = "return given.map((ip) => networks.networks(ip, null))"
        self.assertEqual(
            [
                [
                    "62.0.0.0/8",
                    "62.112.0.0/12",
                    "62.115.0.0/16",
                    "62.115.128.0/20",
                    "62.115.137.0/24",
                    "62.115.137.32/28",
                ],
                [
                    "2001::/16",
                    "2001:d00::/24",
                    "2001:db8::/32",
                    "2001:db8::/40",
                    "2001:db8::/48",
                    "2001:db8::/64",
                ],
                ["other names"],
            ],
            self.run_js(script, "62.115.137.46", "2001:db8::7", "no address"),
        )

    def test_private_is_what_no_other_network_can_reach(self) -> None:
        private = ["10.0.0.1", "100.64.0.1", "169.254.1.1", "172.31.0.1", "192.168.1.1", "fd00::1", "fe80::1"]
        others = ["11.0.0.1", "100.128.0.1", "172.32.0.1", "192.169.1.1", "8.8.8.8", "2001:db8::1", "text", "10.0.0"]
        found = self.run_js("return given.filter((ip) => networks.isPrivate(ip))", *private, *others)
        self.assertEqual(private, found)


class Graphs(ModulesTest):
    def test_a_private_address_is_another_one_for_each_node(self) -> None:
        links = [
            link("192.168.1.1", "198.51.100.1", ["ams", "fra"], 9),
            link("192.168.1.1", "198.51.100.2", ["fra"]),
            link("198.51.100.1", "203.0.113.9", ["ams", "fra"]),
        ]
        keys, shape, got = self.run_js(
            """
            const graph_ = new graph.Graph();
            graph_.merge(given[0], 10);
            graph_.merge(given[0], 10);
            graph_.estimate();
            const named = (place) => graph_.addresses[place].key;
            return [
              graph_.addresses.map(({ key }) => key).sort(), graph_.links.map(({ a, b }) => [named(a), named(b)]),
              graph_.get("192.168.1.1").key,
            ];
            """,
            links,
        )
        self.assertEqual(["192.168.1.1 ams", "192.168.1.1 fra", "198.51.100.1", "198.51.100.2", "203.0.113.9"], keys)
        self.assertEqual(
            [
                ["192.168.1.1 ams", "198.51.100.1"],
                ["192.168.1.1 fra", "198.51.100.1"],
                ["192.168.1.1 fra", "198.51.100.2"],
                ["198.51.100.1", "203.0.113.9"],
            ],
            shape,
        )
        self.assertEqual("192.168.1.1 fra", got)

    def test_no_more_links_than_asked_for_are_taken_in(self) -> None:
        links = [link("198.51.100.1", f"203.0.113.{number}", ["ams"]) for number in range(9)]
        script = "const one = new graph.Graph(); one.merge(given[0], 5); return one.links.length"
        self.assertEqual(5, self.run_js(script, links))


class Groups(ModulesTest):
    SCRIPT = """
        const addresses = given[0].map((ip) => ({ key: ip, ip, networks: networks.networks(ip, null) }));
        return groups.groups(addresses, given[1], new Set(given[2]))
          .map(({ name, members, within }) => [name, members.length, within]);
    """

    def test_few_addresses_stay_alone(self) -> None:
        ips = ["203.0.113.1", "203.0.113.2"]
        self.assertEqual([[ip, 1, None] for ip in ips], self.run_js(self.SCRIPT, ips, 2, []))

    def test_many_are_in_the_narrowest_networks_that_leave_few(self) -> None:
        ips = [f"62.115.{net}.{host}" for net in range(4) for host in range(50)] + ["203.0.113.1"]
        found = sorted(self.run_js(self.SCRIPT, ips, 6, []))
        self.assertEqual([["203.0.113.1", 1, None], *[[f"62.115.{net}.0/24", 50, None] for net in range(4)]], found)

    def test_one_that_is_opened_shows_its_addresses_and_says_whose_they_are(self) -> None:
        ips = [f"62.115.{net}.{host}" for net in range(4) for host in range(50)] + ["203.0.113.1"]
        found = self.run_js(self.SCRIPT, ips, 6, ["62.115.2.0/24"])
        self.assertEqual(4 + 50, len(found))
        self.assertIn(["62.115.2.7", 1, "62.115.2.0/24"], found)
        self.assertIn(["62.115.1.0/24", 50, None], found)

    def test_small_networks_are_one_where_there_are_too_many(self) -> None:
        ips = [f"62.115.0.{host}" for host in range(50)] + [f"{first}.0.0.1" for first in range(11, 50)]
        found = sorted(self.run_js(self.SCRIPT, ips, 6, []))
        self.assertEqual(6, len(found))
        self.assertIn(["other networks", 35, None], found)
        opened = self.run_js(self.SCRIPT, ips, 6, ["other networks"])
        self.assertEqual(35, len([group for group in opened if group[2] == "other networks"]))

    def test_systems_come_before_networks_where_they_are_known(self) -> None:
        links = [
            link(
                f"62.115.{n % 4}.{n}", f"80.{n % 4}.0.{n}", ["ams"], from_asn=1299, from_as_name="Arelion", to_asn=None
            )
            for n in range(1, 60)
        ]
        found = self.run_js(
            """
            const graph_ = new graph.Graph();
            graph_.merge(given[0], 100);
            return groups.groups(graph_.addresses, 2, new Set()).map(({ name, members }) => [name, members.length]);
            """,
            links,
        )
        self.assertEqual([["80.0.0.0/12", 59], ["AS1299 Arelion", 59]], sorted(found))


class Layers(ModulesTest):
    def test_an_address_is_in_the_layer_of_its_ttl_and_silence_is_jumped_over(self) -> None:
        hops = [{"ttl": 1, "ip": "10.0.0.1"}, {"ttl": 2, "ip": None, "timeout": True}, {"ttl": 4, "ip": "203.0.113.9"}]
        traced = {"timestamp": "2026-01-07T22:00:00Z", "traceroute": {"hops": hops}}
        found = self.run_js(
            """
            const { addresses, links } = layers.layered(given[0], "ams");
            const found = addresses.map(({ ip, node, ttl, count }) => [ip, node, ttl, count]);
            return [found, links.map(({ a, b, count }) => [a, b, count])];
            """,
            [traced, traced, {"timestamp": "2026-01-07T22:00:00Z", "traceroute": None}],
        )  # fmt: skip
        self.assertEqual([[["10.0.0.1", "ams", 1, 2], ["203.0.113.9", None, 4, 2]], [[0, 1, 2]]], found)

    def test_a_ttl_that_is_far_off_is_the_next_column_with_a_gap(self) -> None:
        found = self.run_js(
            """
            const items = given.map((ttl) => ({ members: [{ ttl }], in: [], out: [] }));
            return layers.arrange({ items }).map(({ ttl, x }) => [ttl, x]);
            """,
            *[1, 2, 255],
        )
        self.assertEqual([[1, 0], [2, 75], [255, 195]], found)
