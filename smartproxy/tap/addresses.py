"""``[ip:]port`` as the switches of all daemons and the settings take it, IPv6 addresses in brackets."""

from smartproxy.policy.addresses import BadHostPort, HostPort, address_of, port_of


def listening_address(text: str) -> HostPort:
    """Read ``port`` or ``ip:port``, such as ``2878``, ``127.0.0.1:2878`` or ``[::1]:2878``; port 0 means any free one.

    :return: with an empty host where any local address is meant: for a port alone, ``:port`` and ``*:port``.
    :raises BadHostPort: when it is neither; a name is not taken, because a listener belongs to an interface.
    """
    alone = text.removeprefix("*").removeprefix(":")
    if ":" not in alone:
        return HostPort("", port_of(alone, least=0))
    found = HostPort.parse(text, port_least=0)
    try:
        address_of(found.host)
    except ValueError:
        raise BadHostPort(f"{found.host!r} is not an IP address; right is [ip:]port, such as 192.0.2.1:2878") from None
    return found
