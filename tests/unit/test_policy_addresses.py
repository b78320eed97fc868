"""Tests of :mod:`smartproxy.policy.addresses`: hosts with ports, and which addresses are the same host."""

import ipaddress

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.addresses import (
    BadHostPort,
    HostPort,
    address_of,
    called_address,
    is_mistyped,
    plain_host,
    prefix_of,
    same_host,
    see_called,
    see_labels,
    see_one,
)
from smartproxy.policy.values import whole_of


class SameHost(SynchronousTestCase):
    """Something that is bound to an address, and a caller."""

    def test_same(self) -> None:
        """However it is written, with or without a scope; and both loopback addresses, in both directions."""
        for bound, caller in (
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.5", "::ffff:10.0.0.5"),
            ("2001:db8::1", "2001:db8:0::1"),
            ("fe80::1", "fe80::1%eth0"),
            ("127.0.0.1", "::1"),
            ("::1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
        ):
            self.assertTrue(same_host(bound, caller), (bound, caller))

    def test_others(self) -> None:
        """Another address, another loopback address, or what is no address at all."""
        for bound, caller in (
            ("10.0.0.5", "10.0.0.6"),
            ("127.0.0.1", "127.0.0.2"),
            ("127.0.0.1", "10.0.0.5"),
            ("10.0.0.5", "::1"),
            ("10.0.0.5", "unknown"),
        ):
            self.assertFalse(same_host(bound, caller), (bound, caller))


class Called(SynchronousTestCase):
    """What can be called, and what can only be listened at."""

    def test_wildcards(self) -> None:
        """An address that stands for all of a machine is none that can be called, in any notation."""
        for host in ("0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"):
            self.assertIn("every address", str(self.assertRaises(BadHostPort, see_called, host)))
            self.assertRaises(BadHostPort, see_one, host)
        for text in ("0.0.0.0:2878", "[::]:2878", "::"):
            self.assertRaises(BadHostPort, called_address, text, default_port=2878)
        for host in ("192.0.2.1", "::1", "h.example", "0.0.0.0.example"):
            see_called(host)
        self.assertEqual(called_address("h.example:1", default_port=2), HostPort("h.example", 1))

    def test_names(self) -> None:
        """What nothing can dial is refused, with what is wrong; names and addresses in every notation are taken."""
        long = "a" * 63
        for host in ("a_b", "a..b", ".a", "a.b..", "-a.example", "a-.example", f"{long}a", "a b", "a%b", ""):
            self.assertIn("is not a host name", str(self.assertRaises(BadHostPort, see_called, host)), host)
        for host in ("station:3305", "[::1]", "2001:db8::1::2", "h.example:", "::g", "1.2.3.4:5"):
            self.assertIn("nor an IPv6 address", str(self.assertRaises(BadHostPort, see_called, host)), host)
        for host in ("a", "A-1.b--2.Example", "h.example.", f"{long}.{long}", "3com.example", "xn--bcher-kva.example"):
            see_called(host)
        for host in ("192.0.2.1", "2001:DB8::1", "::ffff:192.0.2.1", "fe80::1%eth0"):
            see_called(host)
        for text in ("my_dmz:2878", "a..b", "127.1"):
            self.assertRaises(BadHostPort, called_address, text, default_port=2878)

    def test_names_that_nobody_can_look_up(self) -> None:
        """A part of a name is neither empty nor longer than 63 characters; a full stop may stand at the end."""
        for host in ("crl..example", ".example", "h.example..", "a" * 64, f"h.{'a' * 64}.example", "."):
            self.assertIn("1 to 63", str(self.assertRaises(BadHostPort, see_labels, host)))
        for host in ("a" * 63, f"h.{'a' * 63}.example", "h.example.", "my_host.example", "::1"):
            see_labels(host)


class Mistyped(SynchronousTestCase):
    """Addresses with a slip, which would be taken for names."""

    def test_mistyped(self) -> None:
        """No name ends in a number; an address does, and a name may begin with one."""
        for host in ("192.168.1.300", "127.1", "1.2.3.400", "6619", "host.7", "1.2.3.4."):
            self.assertTrue(is_mistyped(host), host)
        for host in ("192.0.2.1", "::1", "::ffff:192.0.2.1", "3com.example", "station4", "h.example."):
            self.assertFalse(is_mistyped(host), host)

    def test_whole_numbers(self) -> None:
        """A whole number is written in the digits 0 to 9, below zero with a minus."""
        self.assertEqual([whole_of(text) for text in ("0", "007", "-5", "9" * 18)], [0, 7, -5, int("9" * 18)])
        for text in ("", "-", "+5", " 5", "5 ", "1_0", "٣", "1.0", "9" * 19, "5\n"):
            self.assertRaises(ValueError, whole_of, text)


class Counted(SynchronousTestCase):
    """How addresses are shown and counted."""

    def test_the_same_as_parsed(self) -> None:
        """Addresses that need no parsing are what parsing makes of them; what looks like one and is none is refused."""
        for octets in ("0.0.0.0", "1.2.3.4", "9.99.199.249", "255.255.255.255", "10.0.100.250"):
            for text in (octets, f"::ffff:{octets}", f"::FFFF:{octets}"):
                self.assertEqual(plain_host(text), str(address_of(text)))
                self.assertEqual(prefix_of(text), f"{address_of(text)}/32")
        for wrong in ("256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4\n", "1.2.3.٤", "", "1.2.3.4/32"):
            self.assertRaises(ValueError, plain_host, wrong)
            self.assertRaises(ValueError, prefix_of, wrong)

    def test_ipv6(self) -> None:
        """An IPv6 address is shown as it came, and counted by its /64."""
        self.assertEqual(plain_host("fe80::1%eth0"), "fe80::1%eth0")
        self.assertEqual(prefix_of("fe80::1%eth0"), "fe80::/64")
        for text in ("2001:db8:0:1:ffff::1", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:DB8:0:0:1::"):
            self.assertEqual(prefix_of(text), str(ipaddress.ip_network((text, 64), strict=False)))


class HostsAndPorts(SynchronousTestCase):
    """``host:port`` as people write it."""

    def test_written_as_read(self) -> None:
        """Names and addresses of both families; an IPv6 address has brackets in the text and none in the host."""
        for text, host, port in (
            ("dmz.example:99", "dmz.example", 99),
            ("192.0.2.1:65535", "192.0.2.1", 65_535),
            ("[2001:db8::1]:1", "2001:db8::1", 1),
        ):
            self.assertEqual(HostPort.parse(text), HostPort(host, port))
            self.assertEqual(str(HostPort(host, port)), text)

    def test_a_default_port(self) -> None:
        """Where there is one, the port may be missing, and an IPv6 address without one needs no brackets."""
        for text, host, port in (
            ("dmz.example", "dmz.example", 2878),
            ("192.0.2.1", "192.0.2.1", 2878),
            ("[2001:db8::1]", "2001:db8::1", 2878),
            ("2001:db8::1", "2001:db8::1", 2878),
            ("[2001:db8::1]:99", "2001:db8::1", 99),
            ("dmz.example:99", "dmz.example", 99),
        ):
            self.assertEqual(HostPort.parse(text, default_port=2878), HostPort(host, port))

    def test_any_free_port(self) -> None:
        """Port 0 is one only where that is said."""
        self.assertEqual(HostPort.parse("127.0.0.1:0", port_least=0), HostPort("127.0.0.1", 0))
        self.assertRaises(BadHostPort, HostPort.parse, "127.0.0.1:0")

    def test_wrong_texts_say_what_is_wrong_and_what_is_right(self) -> None:
        """Each cause has words of its own."""
        for text, wrong in (
            ("", "has no port"),
            ("dmz.example", "has no port"),
            ("[::1]", "'[::1]' has no port"),
            ("[::1", "a bracket is missing"),
            ("[::1:99", "a bracket is missing"),
            ("::1]:99", "a bracket is missing"),
            ("[x:y:z]", "only an IPv6 address stands in brackets"),
            (":99", "has no host"),
            ("2001:db8::1:99", "write an IPv6 address in brackets"),
            ("[192.0.2.1]:99", "only an IPv6 address stands in brackets"),
            ("[]:99", "only an IPv6 address stands in brackets"),
            ("dmz.example:x", "'x' is not a port"),
            ("dmz.example:", "'' is not a port"),
            ("dmz.example:-1", "'-1' is not a port"),
            ("dmz.example:65536", "'65536' is not a port"),
            ("dmz.example:\u00b2", "is not a port"),
        ):
            refused = self.assertRaises(BadHostPort, HostPort.parse, text)
            self.assertIn(wrong, str(refused))
            self.assertIn("right is", str(refused))
        for text, wrong in (
            ("2878", "is only a port"),
            ("", "has no host"),
            (":2878", "has no host"),
            ("[dmz]", "only"),
        ):
            self.assertIn(wrong, str(self.assertRaises(BadHostPort, HostPort.parse, text, default_port=2878)))
