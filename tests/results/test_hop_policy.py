from __future__ import annotations

from ipaddress import ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from outputd.results.addresses import canonical
from outputd.results.hop_policy import FEED_ALL, FEED_PUBLIC, SPECIAL_PURPOSE, feedable
from tests.results.test_addresses import some_addresses


class Feeding(SynchronousTestCase):
    """Rule 17: which addresses may be fed."""

    never = (
        "0.0.0.0",
        "0.255.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "febf:ffff::",
        "ff00::",
        "ff02::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    )
    private = (
        "10.0.0.1",
        "172.16.5.3",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "192.0.0.8",
        "fc00::1",
        "fd12::1",
        "2001:db8::1",
        "64:ff9b:1::1",
        "fec0::1",
        "feff:ffff::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:0:127.0.0.1",
        "::ffff:0:8.8.8.8",
        "1fff:ffff::1",
        "4000::1",
        "9000::1",
        "fbff::1",
    )
    public = (
        "1.0.0.0",
        "8.8.8.8",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "223.255.255.255",
        "100.63.255.255",
        "100.128.0.0",
        "2001:4860:4860::8888",
        "2a00:1450::1",
    )

    def test_never_fed_addresses_are_fed_in_no_mode(self) -> None:
        """Rule 17: 0/8, 127/8, 169.254/16, 224/4, 240/4, ``::``, ``::1``, fe80::/10, ff00::/8."""
        for mode in (FEED_ALL, FEED_PUBLIC):
            for address in self.never:
                self.assertFalse(feedable(mode)(address), (mode, address))

    def test_all_feeds_private_and_cgnat_addresses(self) -> None:
        """Rule 17: as the spec's example does."""
        for address in self.private + self.public:
            self.assertTrue(feedable(FEED_ALL)(address), address)

    def test_all_keeps_back_nothing_but_the_never_fed(self) -> None:
        """Rule 17: `ipaddress` is the second reader of the list."""
        may_be_fed = feedable(FEED_ALL)
        blocks = "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 240.0.0.0/4 ::/128 ::1/128 fe80::/10 ff00::/8"
        never = [ip_network(block) for block in blocks.split()]
        for address in some_addresses(5):
            text = canonical(str(address))
            assert text is not None
            expected = not any(ip_address(text) in block for block in never)
            self.assertEqual(may_be_fed(text), expected, text)

    def test_public_keeps_special_purpose_addresses_back_and_feeds_the_others(self) -> None:
        """Rule 17: ``--feed=public``."""
        may_be_fed = feedable(FEED_PUBLIC)
        for address in self.private:
            self.assertFalse(may_be_fed(address), address)
        for address in self.public:
            self.assertTrue(may_be_fed(address), address)

    def test_public_follows_the_most_specific_block_of_the_registries(self) -> None:
        """Rule 17: RFC 8190; outside of the blocks what is global unicast is fed, and nothing else."""
        may_be_fed = feedable(FEED_PUBLIC)
        table = [(ip_network(block), reachable) for block, reachable in SPECIAL_PURPOSE.items()]
        unicast = (
            ip_network("0.0.0.0/1"),
            ip_network("128.0.0.0/2"),
            ip_network("192.0.0.0/3"),
            ip_network("2000::/3"),
        )
        for address in some_addresses(6):
            text = canonical(str(address))
            assert text is not None
            plain = ip_address(text)
            if plain in ip_network("64:ff9b::/96"):
                continue
            blocks = [(network.prefixlen, reachable) for network, reachable in table if plain in network]
            expected = max(blocks)[1] if blocks else any(plain in block for block in unicast)
            self.assertEqual(may_be_fed(text), expected, text)

    def test_public_feeds_the_globally_reachable_exceptions(self) -> None:
        """Rule 17: the holes in 192.0.0.0/24 and 2001::/23, and their neighbours."""
        may_be_fed = feedable(FEED_PUBLIC)
        for address in (
            "192.0.0.9",
            "192.0.0.10",
            "2001:1::1",
            "2001:1::3",
            "2001:3::1",
            "2001:4:112::1",
            "2001:20::1",
        ):
            self.assertTrue(may_be_fed(address), address)
        for address in (
            "192.0.0.8",
            "192.0.0.11",
            "192.0.0.170",
            "2001:1::",
            "2001:1::4",
            "2001:2::1",
            "2001:4:111::1",
        ):
            self.assertFalse(may_be_fed(address), address)

    def test_public_keeps_back_addresses_that_stand_for_a_tunnel(self) -> None:
        """Rule 17: 6to4, its relays, Teredo and ORCHID are N/A in the registries."""
        for address in ("2002:808:808::1", "192.88.99.1", "2001:0:4136:e378::1", "2001:10::1"):
            self.assertFalse(feedable(FEED_PUBLIC)(address), address)

    def test_public_judges_a_nat64_address_by_the_ipv4_address_in_it(self) -> None:
        """Rule 17: RFC 6052 allows only global ones behind the well-known prefix."""
        may_be_fed = feedable(FEED_PUBLIC)
        for inner, expected in {"8.8.8.8": True, "10.0.0.1": False, "127.0.0.1": False, "224.0.0.1": False}.items():
            address = canonical(f"64:ff9b::{inner}")
            assert address is not None
            self.assertEqual(may_be_fed(address), expected, address)

    def test_another_mode_is_a_value_error_when_the_test_is_built(self) -> None:
        self.assertRaises(ValueError, feedable, "none")
