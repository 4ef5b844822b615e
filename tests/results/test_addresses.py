"""What `outputd.addresses` promises; a number is that of a rule of the contract."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from outputd.results.addresses import canonical, is_within, network_in, network_of, packed, unpacked
from outputd.results.hop_policy import SPECIAL_PURPOSE

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
    for block in SPECIAL_PURPOSE:
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


class Networks(SynchronousTestCase):
    """Rules 8 and 18: by what a peer is counted where nobody says who he is."""

    def test_an_address_counts_as_its_24_or_48(self) -> None:
        for peer, network in {
            "192.0.2.7": "192.0.2.0/24", "192.0.2.255": "192.0.2.0/24", "192.0.3.1": "192.0.3.0/24",
            "::ffff:192.0.2.7": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48",
        }.items():  # fmt: skip
            self.assertEqual(network, network_of(peer))

    def test_a_network_is_read_in_any_spelling_and_holds_what_ipaddress_says(self) -> None:
        for text in ("192.0.2.1/24", "10.0.0.0/8", "0.0.0.0/0", "8.8.8.8", "2001:db8::/32", "::/0", "fe80::1/128"):
            network = network_in(text)
            self.assertEqual(ip_network(text, strict=False), network)
            assert network is not None
            test = is_within(network)
            for address in some_addresses(5):
                self.assertEqual(address in network, test(str(address)), (text, address))
            self.assertFalse(test("_gateway"))
        self.assertEqual(ip_network("192.0.2.0/24"), network_in("::ffff:192.0.2.7/120"))

    def test_what_is_no_network_is_none(self) -> None:
        for text in (
            "", "/8", "10.0.0.0/", "10.0.0.0/33", "10/8", "::/129", "::/-1", "::ffff:1.2.3.4/95", "fe80::1%a/64",
            "10.0.0.0/255.0.0.0", "10.0.0.0/\N{ARABIC-INDIC DIGIT EIGHT}", "10.0.0.0/8/8", "\x00",
        ):  # fmt: skip
            self.assertIsNone(network_in(text), text)

    def test_what_is_no_address_stays_as_it_is(self) -> None:
        """As all peers of a unix socket, which are one."""
        self.assertEqual(["local", "", "50%"], [network_of(peer) for peer in ("local", "", "50%")])
