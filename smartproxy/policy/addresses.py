"""Which addresses count as one peer.

Duty: the prefix that limits and penalties count by. A host has one IPv4 address, but a whole /64 of IPv6. RFC 4291
section 2.5.5.2 (IPv4 addresses in IPv6 form).
"""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PREFIX_BITS: Final = {4: 32, 6: 64}


def address_of(text: str) -> Address:
    """The address that *text* writes; a scope is left out, and an IPv4 address in IPv6 form is the IPv4 address.

    :raises ValueError: if it is none.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def prefix_of(address: Address) -> str:
    """The network, /32 or /64, that *address* is counted with."""
    return str(ipaddress.ip_network((address, _PREFIX_BITS[address.version]), strict=False))
