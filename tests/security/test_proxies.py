"""What `outputd.security.proxies` promises: whose word is taken for where a request comes from."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from outputd.security.proxies import Proxies
from tests.kit.properties import given

PROXY = "10.0.0.1"
OURS = Proxies.of("10.0.0.0/8, 2001:db8:aaaa::/48,127.0.0.1")
_words = st.text(st.sampled_from('for="[]:;,=. 0129afx_-'), max_size=60)


class Origins(SynchronousTestCase):
    def test_without_a_trusted_proxy_it_is_the_peer(self) -> None:
        self.assertEqual("192.0.2.1", Proxies().origin("192.0.2.1", "for=198.51.100.1", "198.51.100.1"))
        self.assertEqual("192.0.2.1", OURS.origin("192.0.2.1", "for=198.51.100.1", "198.51.100.1"))
        self.assertEqual("local", OURS.origin("local", "for=198.51.100.1", ""))

    def test_a_peer_without_an_address_is_trusted_by_a_word_of_its_own(self) -> None:
        """It has come by a unix socket, and so have all others then; no client can say so of itself."""
        for text in ("unix", "10.0.0.0/8, unix"):
            proxies = Proxies.of(text)
            self.assertTrue(proxies)
            self.assertEqual("198.51.100.1", proxies.origin("local", "", "203.0.113.9, 198.51.100.1"), text)
            self.assertEqual("local", proxies.origin("local", "", ""), text)
            self.assertEqual("192.0.2.1", proxies.origin("192.0.2.1", "", "198.51.100.1"), text)
            for word in ("local", "unix"):
                self.assertEqual("local", proxies.origin("local", "", f"198.51.100.1, {word}"), text)

    def test_a_trusted_one_is_believed(self) -> None:
        for header, origin in {
            "198.51.100.1": "198.51.100.1", " 198.51.100.1 ": "198.51.100.1", "198.51.100.1:4711": "198.51.100.1",
            "2001:DB8::1": "2001:db8::1", "[2001:db8::1]:4711": "2001:db8::1", "::ffff:198.51.100.1": "198.51.100.1",
        }.items():  # fmt: skip
            self.assertEqual(origin, OURS.origin(PROXY, "", header), header)
        for header, origin in {
            "for=198.51.100.1": "198.51.100.1", "For=198.51.100.1;proto=https;by=10.0.0.1": "198.51.100.1",
            'proto=https; for="198.51.100.1:4711"': "198.51.100.1", 'for="[2001:db8::1]:4711"': "2001:db8::1",
            'by=10.0.0.1;for="[2001:db8::1]"': "2001:db8::1",
        }.items():  # fmt: skip
            self.assertEqual(origin, OURS.origin(PROXY, header, ""), header)

    def test_the_last_that_is_not_trusted_counts(self) -> None:
        """What stands before it may be anybody's invention."""
        line = "203.0.113.9, 198.51.100.1, 10.1.1.1, 2001:db8:aaaa::1"
        self.assertEqual("198.51.100.1", OURS.origin(PROXY, "", line))
        elements = ", ".join(f'for="[{word}]"' if ":" in word else f"for={word}" for word in line.split(", "))
        self.assertEqual("198.51.100.1", OURS.origin(PROXY, elements, ""))
        self.assertEqual("10.1.1.1", OURS.origin(PROXY, "", "10.1.1.1, 10.2.2.2"), "when all are, the first")

    def test_it_goes_as_far_as_each_says_who_came_before(self) -> None:
        for line in ("198.51.100.1, unknown, 10.1.1.1", "198.51.100.1, , 10.1.1.1", "198.51.100.1, _hid, 10.1.1.1:80"):
            self.assertEqual("10.1.1.1", OURS.origin(PROXY, "", line), line)
        for line in ("for=unknown", "for=_hidden", "proto=https", 'for="', "for=", "nonsense", "x-for=198.51.100.1"):
            self.assertEqual(PROXY, OURS.origin(PROXY, line, ""), line)

    def test_an_open_quote_swallows_nothing(self) -> None:
        """Of what the proxy has put behind it."""
        self.assertEqual("198.51.100.1", OURS.origin(PROXY, 'for="203.0.113.9, for=198.51.100.1', ""))

    def test_two_headers_that_do_not_agree_say_nothing(self) -> None:
        """One of them may have been passed on as the client wrote it."""
        self.assertEqual("198.51.100.1", OURS.origin(PROXY, "for=198.51.100.1", "198.51.100.1"))
        self.assertEqual(PROXY, OURS.origin(PROXY, "for=203.0.113.9", "198.51.100.1"))

    @given(_words, _words)
    def test_whatever_is_said_the_client_cannot_go_behind_the_proxy(self, said: str, also: str) -> None:
        self.assertEqual("198.51.100.1", OURS.origin(PROXY, "", f"{said},198.51.100.1"))
        self.assertEqual("198.51.100.1", OURS.origin(PROXY, f"{also},for=198.51.100.1", ""))


class Networks(SynchronousTestCase):
    def test_addresses_and_blocks(self) -> None:
        proxies = Proxies.of("10.0.0.0/8, 192.0.2.1,::1")
        for peer in ("10.255.0.1", "192.0.2.1", "::1", "11.0.0.1", "192.0.2.2", "::2"):
            is_one = peer in ("10.255.0.1", "192.0.2.1", "::1")
            self.assertEqual("198.51.100.1" if is_one else peer, proxies.origin(peer, "", "198.51.100.1"))
        self.assertFalse(Proxies.of(""))

    def test_what_is_none_is_named(self) -> None:
        for text in ("10.0.0.1/8", "proxy.example", "10.0.0.0/33", "10.0.0.0/8;::1", "local", "Unix"):
            error = self.assertRaises(ValueError, Proxies.of, text)
            self.assertIn(text.partition(";")[0], str(error))
