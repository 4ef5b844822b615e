"""What `outputd.addresses` promises; a number is that of a rule of the contract."""

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from outputd.addresses import _SPECIAL_PURPOSE, FEED_ALL, FEED_PUBLIC, canonical, feedable, packed, unpacked

SAMPLES = 3000


def some_addresses(seed: int) -> list[IPv4Address | IPv6Address]:
    """Addresses of all kinds: uniform ones, ones with runs of zeros, and both ends of every special block."""
    source = random.Random(seed)
    found: list[IPv4Address | IPv6Address] = []
    for _ in range(SAMPLES):
        found.append(IPv4Address(source.getrandbits(32)))
        found.append(IPv6Address(source.getrandbits(128)))
        groups = [source.choice((0, 0, 1, 0xFFFF, source.getrandbits(16))) for _ in range(8)]
        found.append(IPv6Address(b"".join(group.to_bytes(2, "big") for group in groups)))
    for block in _SPECIAL_PURPOSE:
        network = ip_network(block)
        first, last = int(network.network_address), int(network.broadcast_address)
        kind = type(network.network_address)
        for number in (first - 1, first, last, last + 1):
            if 0 <= number < 2**network.max_prefixlen:
                found.append(kind(number))
    return found


class CanonicalText(SynchronousTestCase):
    """Rule 3: one spelling for every address."""

    def test_every_spelling_of_an_address_has_one_canonical_text(self) -> None:
        """Rule 3: an address is found by any spelling."""
        for spelled, expected in {
            "8.8.8.8": "8.8.8.8",
            "255.255.255.255": "255.255.255.255",
            "2001:DB8::A": "2001:db8::a",
            "2001:0db8:0000:0000:0000:0000:0000:000a": "2001:db8::a",
            "2001:db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
            "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
            "::": "::",
            "0:0:0:0:0:0:0:1": "::1",
            "64:ff9b::8.8.8.8": "64:ff9b::808:808",
        }.items():
            self.assertEqual(canonical(spelled), expected, spelled)

    def test_an_ipv4_mapped_address_is_the_ipv4_address(self) -> None:
        """Rule 3: unmapped in results, hops and queries alike."""
        for spelled in ("::ffff:8.8.8.8", "::FFFF:808:808", "0:0:0:0:0:ffff:8.8.8.8"):
            self.assertEqual(canonical(spelled), "8.8.8.8", spelled)
        self.assertEqual(canonical("::ffff:0:0"), "0.0.0.0")

    def test_an_ipv4_compatible_address_is_spelled_in_hexadecimal_whatever_the_c_library_prints(self) -> None:
        """Rule 3: one spelling, the same on glibc (which prints ``::1.2.3.4``) and musl."""
        for spelled, expected in {
            "::1.2.3.4": "::102:304",
            "::102:304": "::102:304",
            "::1:0": "::1:0",
            "::0.0.1.2": "::102",
            "::ffff:0:1.2.3.4": "::ffff:0:102:304",
        }.items():
            self.assertEqual(canonical(spelled), expected, spelled)

    def test_canonical_text_is_its_own_canonical_text(self) -> None:
        """Rule 3: applying it twice changes nothing."""
        for address in some_addresses(1):
            once = canonical(str(address))
            assert once is not None
            self.assertEqual(canonical(once), once)

    def test_the_text_agrees_with_ipaddress_on_any_address(self) -> None:
        """Rule 3: RFC 5952, of which ``ipaddress`` is a second reader."""
        for address in some_addresses(2):
            mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
            self.assertEqual(canonical(str(address)), str(mapped or address))

    def test_what_is_no_address_is_none_and_never_an_error(self) -> None:
        """Rule 3: zones, names, padding and hostile text."""
        for text in (
            "",
            " ",
            "8.8",
            "8.8.8",
            "8.8.8.8.8",
            "256.8.8.8",
            "08.8.8.8",
            "008.008.008.008",
            "0x8.8.8.8",
            "134744072",
            "-1.8.8.8",
            " 8.8.8.8",
            "8.8.8.8 ",
            "8.8.8.8\n",
            "8.8.8.8\0",
            "\x008.8.8.8",
            "::1\0",
            "8.8.8.8/32",
            "8.8.8.8:53",
            "[::1]",
            "fe80::1%eth0",
            "fe80::1%25eth0",
            "::1%",
            "1::2::3",
            ":::",
            ":",
            "12345::",
            "00001::",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7::8:9",
            "::ffff:08.8.8.8",
            "::8.8.8",
            "g::",
            "_gateway",
            "???",
            "*",
            "localhost",
            "\uff18.\uff18.\uff18.\uff18",
            "8\u30028\u30028\u30028",
            "\u0661.1.1.1",
            "\ud800",
            "8.8.8.8\ud800",
            "9" * 1_000_000,
            ":" * 1_000_000,
        ):
            self.assertIsNone(canonical(text), ascii(text[:40]))

    def test_random_garbage_is_never_an_error(self) -> None:
        """Rule 3: whatever a node sends; ``ipaddress`` takes the same texts for addresses, but for zones."""
        source = random.Random(3)
        for _ in range(SAMPLES):
            text = "".join(source.choices("0123456789abcdefABCDEF:.:.:%\0 \uff11", k=source.randrange(24)))
            try:
                is_address = "%" not in text and bool(ip_address(text))
            except ValueError:
                is_address = False
            self.assertEqual(canonical(text) is not None, is_address, ascii(text))


class PackedBytes(SynchronousTestCase):
    """Packed and canonical text name each other."""

    def test_unpacked_gives_back_what_was_packed(self) -> None:
        for address in some_addresses(4):
            text = canonical(str(address))
            assert text is not None
            self.assertEqual(unpacked(packed(text)), text)

    def test_ipv4_takes_4_bytes_and_ipv6_16(self) -> None:
        self.assertEqual(packed("8.8.4.4"), bytes([8, 8, 4, 4]))
        self.assertEqual(packed("2001:db8::a"), IPv6Address("2001:db8::a").packed)

    def test_another_number_of_bytes_is_a_value_error(self) -> None:
        for size in (0, 3, 5, 12, 14, 15, 17):
            self.assertRaises(ValueError, unpacked, bytes([0] * 12 + [1] * 5)[:size])


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
        """Rule 17: RFC 8190; outside of the blocks everything is fed, multicast excepted."""
        may_be_fed = feedable(FEED_PUBLIC)
        table = [(ip_network(block), reachable) for block, reachable in _SPECIAL_PURPOSE.items()]
        multicast = (ip_network("224.0.0.0/4"), ip_network("ff00::/8"))
        for address in some_addresses(6):
            text = canonical(str(address))
            assert text is not None
            plain = ip_address(text)
            if plain in ip_network("64:ff9b::/96"):
                continue
            blocks = [(network.prefixlen, reachable) for network, reachable in table if plain in network]
            expected = max(blocks)[1] if blocks else not any(plain in block for block in multicast)
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
