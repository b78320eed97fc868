"""The header that a load balancer sends before the octets of its caller: the PROXY protocol, versions 1 and 2.

Duty: judge the first octets of a connection from a balancer, however they are cut, and find whose connection it is.
Nothing in between is tolerated: what is not exactly a header is refused, because what follows it would be taken for the
octets of an address that nobody has named. Whether the connection comes from a balancer at all has been decided before.
Of what is told beside the addresses (TLVs of version 2) nothing is believed, nor even read.

Standard: "The PROXY protocol, versions 1 & 2", sections 2.1 and 2.2 (HAProxy, doc/proxy-protocol.txt).
"""

import ipaddress
import re
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.addresses import Address, HostPort, plain_host
from smartproxy.policy.causes import Cause

V1: Final = b"PROXY "
V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""What each version begins with."""
_V1_OCTETS_MOST: Final = 107
_V1_LINE: Final = re.compile(
    rb"PROXY TCP(?P<version>[46]) (?P<source>[0-9A-Fa-f:.]+) (?P<target>[0-9A-Fa-f:.]+)"
    rb" (?P<port>0|[1-9][0-9]{0,4}) (?P<target_port>0|[1-9][0-9]{0,4})\r\n"
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
_V1_PART: Final = re.compile(rb"[ -~]*\r?")
_V2_FIXED: Final = 16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_PORT_MOST: Final = 0xFFFF


@attrs.define(eq=False, auto_exc=True)
class NoHeader(Exception):
    """The octets are no header of the PROXY protocol.

    :ivar cause: whether another protocol began, or a header that is wrong.
    :ivar message: what is wrong, without an octet of the peer.
    """

    cause: Cause
    message: str


@attrs.frozen
class Introduction:
    """A whole header.

    :ivar octets: its length; what follows is the caller's.
    :ivar caller: whose connection it is; ``None`` if it is the balancer's own, such as a health check, or nobody's that
        it knows.
    """

    octets: int
    caller: HostPort | None


def judge_header(octets: bytes) -> Introduction | None:
    """The header with which a connection begins; ``None`` as long as all octets are its, and it is not complete.

    :raises NoHeader: as soon as they cannot become one.
    """
    if octets[: len(V2)] == V2[: len(octets)]:
        return _judge_v2(octets)
    if octets[: len(V1)] == V1[: len(octets)]:
        return _judge_v1(octets)
    raise NoHeader(Cause.BALANCER_NO_HEADER, "the connection does not begin with a header of the PROXY protocol")


def _judge_v1(octets: bytes) -> Introduction | None:
    end = octets.find(b"\n", 0, _V1_OCTETS_MOST) + 1
    if not end:
        if len(octets) >= _V1_OCTETS_MOST or _V1_PART.fullmatch(octets) is None:
            raise _wrong("the line of version 1 is longer than 107 octets, or is no line of text")
        return None
    if _V1_UNKNOWN.fullmatch(octets, 0, end):
        return Introduction(end, None)
    found = _V1_LINE.fullmatch(octets, 0, end)
    if found is None:
        raise _wrong("the line of version 1 does not have the form PROXY TCP4 SOURCE TARGET PORT PORT")
    kind = ipaddress.IPv4Address if found["version"] == b"4" else ipaddress.IPv6Address
    try:
        source, _ = (kind(found[name].decode("ascii")) for name in ("source", "target"))
    except ValueError:
        raise _wrong(f"an address in the line of version 1 is not an IPv{found['version'].decode()} address") from None
    ports = [int(found[name]) for name in ("port", "target_port")]
    if max(ports) > _PORT_MOST:
        raise _wrong("a port in the line of version 1 is not a port number")
    return Introduction(end, _caller(source, ports[0]))


def _judge_v2(octets: bytes) -> Introduction | None:
    if len(octets) > len(V2) and octets[12] not in (_LOCAL, _PROXY):
        raise _wrong("the version or the command of the header of version 2 is unknown")
    if len(octets) < _V2_FIXED:
        return None
    command, family = octets[12:14]
    length = int.from_bytes(octets[14:_V2_FIXED], "big")
    if _V2_FIXED + length > limits.BALANCER_HEADER_OCTETS_MOST:
        raise _wrong(f"the header of version 2 is longer than {limits.BALANCER_HEADER_OCTETS_MOST} octets")
    size = {_TCP4: 4, _TCP6: 16, _UNSPECIFIED: 0}.get(family) if command == _PROXY else 0
    if size is None:
        raise _wrong("the header of version 2 speaks of something other than a TCP connection")
    if size and length < 2 * size + 4:
        raise _wrong("the header of version 2 is too short for its addresses")
    end = _V2_FIXED + length
    if len(octets) < end:
        return None
    if not size:
        return Introduction(end, None)
    ports = _V2_FIXED + 2 * size
    source = ipaddress.ip_address(octets[_V2_FIXED : _V2_FIXED + size])
    return Introduction(end, _caller(source, int.from_bytes(octets[ports : ports + 2], "big")))


def _caller(source: Address, port: int) -> HostPort:
    return HostPort(plain_host(str(source)), port)


def _wrong(message: str) -> NoHeader:
    return NoHeader(Cause.BALANCER_BAD_HEADER, message)
