"""What `outputd.naming.origins` promises: the network of an address, from a file of whichever kind."""

from __future__ import annotations

import gzip
import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from outputd.naming import ranges
from outputd.naming.origin import Origin
from outputd.naming.origins import Origins
from outputd.process.trouble import Unusable
from tests.kit.networks import IPINFO, IPINFO_LITE, MAXMIND, TABLE, mmdb

EXAMPLE = Origin(64500, "Example Net")
WIDE = "2001:db8::/32"


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.origins = Origins(self.path, lambda: 1e9, lambda: 0.0)

    def given(self, content: bytes) -> None:
        self.path.write_bytes(content)
        self.origins.take(self.origins.read())

    def refused(self, content: bytes) -> str:
        self.path.write_bytes(content)
        return str(self.assertRaises(Unusable, self.origins.read))


class Kinds(Files):
    def test_each_publisher_is_understood(self) -> None:
        for record in (MAXMIND, IPINFO, IPINFO_LITE, {"asn": 64500, "name": "Example Net"}):
            self.given(mmdb({"8.8.8.0/24": record, WIDE: record}))
            for ip in ("8.8.8.8", "2001:db8::1"):
                self.assertEqual(EXAMPLE, self.origins.of(ip), record)
            for ip in ("8.8.9.8", "2001:db9::1", "::1"):
                self.assertIsNone(self.origins.of(ip), record)

    def test_a_table_has_ranges_and_gaps_of_both_kinds_of_addresses(self) -> None:
        for content in (TABLE, gzip.compress(TABLE), TABLE.replace(b"\n", b"\r\n")):
            self.given(content)
            for ip, origin in {
                "8.8.7.255": None, "8.8.8.0": EXAMPLE, "8.8.8.255": EXAMPLE,
                "8.8.9.0": Origin(64501, "Other Net, Inc."),
                "8.8.10.0": None, "255.255.255.255": None, "0.0.0.0": None, "2001:db7::1": None,
                "2001:db8::": EXAMPLE, "2001:db8:1::ffff": Origin(64502, None), "2001:db8:2::": None,
                "ffff::": None, "::": None,
            }.items():  # fmt: skip
                self.assertEqual(origin, self.origins.of(ip), ip)

    def test_a_file_may_be_compressed(self) -> None:
        self.given(gzip.compress(mmdb({"8.8.8.0/24": MAXMIND})))
        self.assertEqual(EXAMPLE, self.origins.of("8.8.8.8"))

    def test_a_file_of_ipv4_alone_knows_no_other(self) -> None:
        self.given(mmdb({"8.8.8.0/24": MAXMIND}, ip_version=4))
        self.assertEqual(EXAMPLE, self.origins.of("8.8.8.8"))
        self.assertIsNone(self.origins.of("2001:db8::1"))
        self.given(TABLE.split(b"2001", maxsplit=1)[0])
        self.assertEqual(EXAMPLE, self.origins.of("8.8.8.8"))
        self.assertIsNone(self.origins.of("2001:db8::1"))
        self.assertIsNone(self.origins.failure)

    def test_what_is_no_address_has_no_network(self) -> None:
        for content in (TABLE, mmdb({"0.0.0.0/0": MAXMIND})):
            self.given(content)
            for text in ("_gateway", "???", "", "fe80::1%eth0", "8.8.8", "\0", "\ud800"):
                self.assertIsNone(self.origins.of(text))

    def test_mapped_addresses_are_those_of_ipv4(self) -> None:
        """Whichever place a file has for them; an answer spells them as IPv4."""
        self.given(mmdb({"8.8.8.0/24": MAXMIND, "::ffff:0:0/96": {"asn": 1}}))
        self.assertIsNone(self.origins.of("::ffff:8.8.8.8"))
        self.assertEqual(EXAMPLE, self.origins.of("8.8.8.8"))

    def test_strange_values_are_none(self) -> None:
        seven = b"\xc1\x07"  # a number itself would be that of a node
        for record in ({"asn": "AS0"}, {"asn": "none"}, {"asn": ["AS1"]}, {"asn": "AS4294967296"}, "AS1", seven):
            self.given(mmdb({"8.8.8.0/24": record, "8.8.9.0/24": MAXMIND}))
            self.assertIsNone(self.origins.of("8.8.8.8"), record)

    def test_a_name_is_one_line_of_printable_characters(self) -> None:
        self.given(mmdb({"8.8.8.0/24": {"asn": 1, "name": "a\n\x1b[31m\u202eb  \u00e9" + "c" * 250}}))
        found = self.origins.of("8.8.8.8")
        assert found is not None and found.name is not None
        self.assertTrue(found.name.startswith("a [31m b \u00e9ccc"), found.name)
        self.assertLessEqual(len(found.name), 200)


class Broken(Files):
    def test_a_refusal_names_the_file_and_what_to_give(self) -> None:
        whole = mmdb({"8.8.8.0/24": MAXMIND})
        for content in (
            b"", b"\0", b"no database", whole[:-60], whole[60:], gzip.compress(whole)[:-20], b"\x1f\x8b",
            mmdb({"8.8.8.0/24": {"country": "ZZ"}}), TABLE + b"8.8.8.0\t8.8.8.255\t1\tZZ\tagain\n",
            TABLE + b"9.9.9.9\n", TABLE + b"9.9.9.9\t::1\t1\tZZ\tx\n", TABLE + b"9.9.9.9\t9.9.9.8\t1\tZZ\tx\n",
            TABLE + b"9.9.9.9\t9.9.9.9\tAS1\tZZ\tx\n", TABLE + b"9.9.9.9\t9.9.9.9\t-1\tZZ\tx\n", TABLE + b"\xff\n",
            gzip.compress(TABLE)[:-9], b"1.0.0.0,1.0.0.255,1,name\n",
        ):  # fmt: skip
            said = self.refused(content)
            self.assertIn(str(self.path), said)
            self.assertIn("iptoasn.com", said)

    def test_a_wrong_line_is_told_by_its_number(self) -> None:
        self.assertIn("line 6: ", self.refused(TABLE + b"9.9.9.9\n"))

    def test_a_file_that_is_none_is_told(self) -> None:
        for path in (self.path, Path("/")):
            self.origins = Origins(path, lambda: 1e9, lambda: 0.0)
            self.assertIn(f"--asn-db {path}: ", str(self.assertRaises(Unusable, self.origins.read)))

    def test_the_old_one_stays_in_use_and_a_good_one_ends_the_trouble(self) -> None:
        self.given(TABLE)
        self.refused(b"no table")
        self.assertEqual(EXAMPLE, self.origins.of("8.8.8.8"))
        failure = self.origins.failure
        assert failure is not None
        self.assertIn(str(self.path), failure.reason)
        self.given(mmdb({"8.8.8.0/24": {"asn": 7}}))
        self.assertEqual(Origin(7, None), self.origins.of("8.8.8.8"))
        self.assertIsNone(self.origins.failure)

    def test_a_file_that_is_cut_short_under_us_costs_nothing(self) -> None:
        """A mapped one would end the process (SIGBUS)."""
        self.given(mmdb({f"8.{number}.0.0/16": {**MAXMIND, "filler": "f" * 250} for number in range(256)}))
        os.truncate(self.path, 0)
        self.assertEqual(EXAMPLE, self.origins.of("8.255.0.1"))

    def test_damage_within_a_file_is_told_and_costs_the_answer_alone(self) -> None:
        content = mmdb({"8.8.8.0/24": MAXMIND, "8.8.9.0/24": {"asn": 7, "name": "here"}})
        self.given(content.replace(b"\x44here", b"\x5fhere"))
        self.assertIsNone(self.origins.of("8.8.9.1"))
        self.assertEqual(EXAMPLE, self.origins.of("8.8.8.8"))
        failure = self.origins.failure
        assert failure is not None
        self.assertIn("damaged", failure.reason)

    def test_a_tree_whose_nodes_share_others_is_looked_at_in_time(self) -> None:
        """Each of its 120 nodes has the next one on both sides: 2^120 ways, and no record at their ends."""
        whole = mmdb({"8.8.8.0/24": MAXMIND})
        nodes = range(1, 121)
        self.refused(b"".join(number.to_bytes(4, "big") * 2 for number in nodes) + whole[8 * len(nodes) :])

    def test_a_table_and_a_file_have_a_bound(self) -> None:
        self.patch(ranges, "MOST_RANGES", 4)
        self.assertIn("more than 4 ranges", self.refused(TABLE))

    def test_a_table_has_a_bound_of_networks(self) -> None:
        self.patch(ranges, "MOST_NETWORKS", 1)
        lines = b"8.8.8.0\t8.8.8.255\t1\tZZ\ta\n9.9.9.0\t9.9.9.255\t%d\tZZ\tb\n"
        self.given(lines % 1)
        self.assertIn("line 2: more than 1 networks", self.refused(lines % 2))

    def test_a_line_without_end_takes_no_memory(self) -> None:
        content = gzip.compress(b"8.8.8.0\t8.8.8.255\t1\tZZ\t" + bytes(64 << 20))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertIn("line 1: it has over ", self.refused(content))
        self.assertLess(tracemalloc.get_traced_memory()[1], 4 << 20)

    def test_without_the_library_it_is_said_how_to_get_it(self) -> None:
        content = mmdb({"8.8.8.0/24": MAXMIND})
        self.addCleanup(sys.modules.pop, "maxminddb")
        sys.modules["maxminddb"] = cast(Any, None)  # as Python has it for what is not there
        self.assertIn("pip install 'outputd[names]'", self.refused(content))
        self.given(TABLE)

    def test_no_descriptor_is_left(self) -> None:
        content = mmdb({"8.8.8.0/24": MAXMIND})
        before = len(os.listdir("/proc/self/fd"))
        self.given(content)
        self.refused(content[:-60])
        self.refused(b"")
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))
