"""Headers of the PROXY protocol: right ones however they are cut, and wrong ones of every kind."""

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort, Networks
from smartproxy.policy.balancers import V2, Introduction, NoHeader, judge_header
from smartproxy.policy.causes import Cause

PORTS = st.integers(0, 65_535)


def line(*words: object) -> bytes:
    """A header of version 1."""
    return (" ".join(("PROXY", *map(str, words))) + "\r\n").encode("ascii")


def binary(addresses: bytes, *, first: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    """A header of version 2.

    :param first: version and command.
    """
    return V2 + struct.pack("!BBH", first, family, len(addresses) if length is None else length) + addresses


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, HostPort]:
    """A header of either version, and whose connection it introduces."""
    source, target = (draw(st.ip_addresses(v=4)), draw(st.ip_addresses(v=4)))
    six = draw(st.booleans())
    caller: ipaddress.IPv4Address | ipaddress.IPv6Address = source
    ends: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...] = (source, target)
    if six and draw(st.booleans()):
        ends = tuple(ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + each.packed) for each in ends)
    elif six:
        ends = (caller, _) = (draw(st.ip_addresses(v=6)), draw(st.ip_addresses(v=6)))
        caller = getattr(caller, "ipv4_mapped", None) or caller
    ports = draw(PORTS), draw(PORTS)
    told = HostPort(str(caller), ports[0])
    if draw(st.booleans()):
        return line("TCP6" if six else "TCP4", *ends, *ports), told
    packed = b"".join(each.packed for each in ends) + struct.pack("!2H", *ports) + draw(st.binary(max_size=300))
    return binary(packed, family=0x21 if six else 0x11), told


class Headers(SynchronousTestCase):
    """What a header says, and where it ends."""

    @given(headers(), st.binary(max_size=50))
    def test_right_ones(self, made: tuple[bytes, HostPort], behind: bytes) -> None:
        """All beginnings are incomplete; the whole is found whatever is behind it. Mapped IPv4 is IPv4."""
        octets, caller = made
        for length in range(len(octets)):
            self.assertIsNone(judge_header(octets[:length]), octets[:length])
        self.assertEqual(judge_header(octets + behind), Introduction(len(octets), caller))

    @given(st.binary(max_size=200), st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", V2, V2 + b"\x21\x11")))
    def test_anything(self, octets: bytes, begun: bytes) -> None:
        """Whatever comes: a verdict does not change when more comes, and what is refused stays so."""
        last: Introduction | None = None
        refused = False
        for length in range(len(begun + octets) + 1):
            try:
                now = judge_header((begun + octets)[:length])
            except NoHeader:
                self.assertIsNone(last)
                refused = True
            else:
                self.assertFalse(refused)
                self.assertIn(last, (None, now))
                last = now

    def test_of_nobody(self) -> None:
        """A balancer that speaks for itself, or does not know for whom, names nobody."""
        for octets in (
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
            binary(b"", first=0x20, family=0),
            binary(b"\x01" * 40, first=0x20, family=0x77),
            binary(b"\x04\x00\x01x", family=0),
        ):
            self.assertEqual(judge_header(octets + b"\x16"), Introduction(len(octets), None))

    def test_another_protocol(self) -> None:
        """A connection without a header is told from one with a wrong one, at its first wrong octet."""
        for octets in (b"\x16\x03\x01", b"G", b"PROXX", b"\r\n\r\n\x00\r\nQUIT\r", b"\x10"):
            with self.assertRaises(NoHeader) as raised:
                judge_header(octets)
            self.assertIs(raised.exception.cause, Cause.BALANCER_NO_HEADER)

    def test_wrong_lines(self) -> None:
        """Version 1: other families, addresses that are none, ports beyond, other blanks, other ends, too long."""
        for octets in (
            line("TCP5", "192.0.2.1", "192.0.2.2", 1, 2),
            line("TCP4", "192.0.2.1", "192.0.2.2", 1),
            line("TCP4", "192.0.2.1", "192.0.2.2", 1, 65_536),
            line("TCP4", "192.0.2.1", "192.0.2.2", 70_000, 1),
            line("TCP4", "192.0.2.1", "192.0.2.2", "01", 1),
            line("TCP4", "192.0.2.1", "192.0.2.2", 1, 2, 3),
            line("TCP4", "192.0.2.256", "192.0.2.2", 1, 2),
            line("TCP4", "192.0.2.1", "192.0.2.02", 1, 2),
            line("TCP4", "2001:db8::1", "192.0.2.2", 1, 2),
            line("TCP6", "192.0.2.1", "2001:db8::1", 1, 2),
            line("TCP6", "fe80::1%eth0", "2001:db8::1", 1, 2),
            line("TCP4", "", "192.0.2.1", "192.0.2.2", 1, 2),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r ",
            b"PROXY TCP4 192.0.2.1\x00",
            b"PROXY UNKNOWNED\r\n",
            b"PROXY UNKNOWN \xff",
            b"PROXY UNKNOWN " + b"x" * (107 - 14),
        ):
            with self.assertRaises(NoHeader, msg=octets) as raised:
                judge_header(octets)
            self.assertIs(raised.exception.cause, Cause.BALANCER_BAD_HEADER)
        longest = b"PROXY UNKNOWN " + b"x" * (105 - 14) + b"\r\n"
        self.assertEqual(judge_header(longest), Introduction(107, None))

    def test_wrong_binaries(self) -> None:
        """Version 2: another version or command, no TCP, addresses cut off, more than is read."""
        four = b"\x00" * 12
        for octets in (
            V2 + b"\x11",
            V2 + b"\x22",
            V2 + b"\x31",
            binary(four, family=0x12),
            binary(four, family=0x10),
            binary(b"\x00" * 216, family=0x31),
            binary(b"\x00" * 11),
            binary(b"\x00" * 35, family=0x21),
            binary(b"", length=limits.BALANCER_HEADER_OCTETS_MOST - 15),
        ):
            with self.assertRaises(NoHeader, msg=octets) as raised:
                judge_header(octets)
            self.assertIs(raised.exception.cause, Cause.BALANCER_BAD_HEADER)
        longest = binary(four + b"\x00" * (limits.BALANCER_HEADER_OCTETS_MOST - 28))
        self.assertEqual(judge_header(longest), Introduction(len(longest), HostPort("0.0.0.0", 0)))


class WhichNetworks(SynchronousTestCase):
    """Whether an address is in a list of networks."""

    def test_addresses(self) -> None:
        """Each family in its own networks; IPv4 in IPv6 form is IPv4."""
        networks = Networks(("192.0.2.0/31", "2001:db8::/64"))
        for host in ("192.0.2.1", "::ffff:192.0.2.0", "2001:db8::ffff"):
            self.assertTrue(networks.hold(host), host)
        for host in ("192.0.2.2", "2001:db8:0:1::1", "::1"):
            self.assertFalse(networks.hold(host), host)
        self.assertFalse(Networks(()).hold("::1"))

    def test_ipv4_in_ipv6_form(self) -> None:
        """A network of IPv4 in IPv6 form is the IPv4 network; a wider one is a network of IPv6."""
        for text in ("10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:10.1.2.3/104", "::FFFF:A00:0/104"):
            networks = Networks((text,))
            for host in ("10.1.2.3", "::ffff:10.1.2.3"):
                self.assertTrue(networks.hold(host), (text, host))
            for host in ("11.0.0.1", "::ffff:11.0.0.1", "::1"):
                self.assertFalse(networks.hold(host), (text, host))
        self.assertTrue(Networks(("::ffff:0:0/96",)).hold("192.0.2.1"))
        self.assertTrue(Networks(("::/64",)).hold("::1"))
        self.assertFalse(Networks(("::/64",)).hold("192.0.2.1"))
