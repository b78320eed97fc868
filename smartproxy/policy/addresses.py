"""Which addresses count as one peer.

Duty: the prefix that limits and penalties count by. A host has one IPv4 address, but a whole /64 of IPv6. RFC 4291
section 2.5.5.2 (IPv4 addresses in IPv6 form).
"""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOPBACK: Final = {ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")}
_PREFIX_BITS: Final = {4: 32, 6: 64}


def address_of(text: str) -> Address:
    """The address that *text* writes; a scope is left out, and an IPv4 address in IPv6 form is the IPv4 address.

    :raises ValueError: if it is none.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def same_host(bound: str, caller: str) -> bool:
    """Whether a caller's address is the one that something is bound to; 127.0.0.1 and ::1 are the same host.

    :param bound: an address that was checked before.
    :param caller: where the call came from.
    """
    try:
        address = address_of(caller)
    except ValueError:
        return False
    expected = address_of(bound)
    return address == expected or {address, expected} == _LOOPBACK


def prefix_of(address: Address) -> str:
    """The network, /32 or /64, that *address* is counted with."""
    return str(ipaddress.ip_network((address, _PREFIX_BITS[address.version]), strict=False))
