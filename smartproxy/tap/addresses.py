"""``[ip:]port`` and ``host[:port]`` as the switches of all daemons take them, IPv6 addresses in brackets."""

from ipaddress import IPv6Address, ip_address

import attrs


class BadAddress(ValueError):
    """The text is no such address; the message says what is wrong and what is right."""


@attrs.frozen
class Address:
    """A host or IP address without brackets, and a port; ``host`` is empty where any local address is meant."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listening_address(text: str) -> Address:
    """Read ``port`` or ``ip:port``, such as ``2878``, ``127.0.0.1:2878`` or ``[::1]:2878``; port 0 means any free one.

    :raises BadAddress: when it is neither; a name is not taken, because a listener belongs to an interface.
    """
    host, port = _split(text, "[ip:]port, such as 2878, 192.0.2.1:2878 or [::1]:2878")
    if host is None:
        return Address("", _port(port, lowest=0))
    if host == "*":
        return Address("", _port(port, lowest=0))
    try:
        ip_address(host)
    except ValueError:
        raise BadAddress(f"{host!r} is not an IP address; right is [ip:]port, such as 192.0.2.1:2878") from None
    return Address(host, _port(port, lowest=0))


def remote_address(text: str, default_port: int) -> Address:
    """Read ``host`` or ``host:port``, such as ``dmz.example``, ``192.0.2.1:2878`` or ``[2001:db8::1]:2878``.

    :raises BadAddress: when it is neither.
    """
    right = f"host[:port], such as dmz.example:{default_port} or [2001:db8::1]:{default_port}"
    try:
        return Address(str(IPv6Address(text)), default_port)
    except ValueError:
        pass
    if text.isdigit():
        raise BadAddress(f"{text!r} is only a port; right is {right}")
    if text.startswith("[") and text.endswith("]"):
        text = f"{text}:{default_port}"
    if ":" not in text:
        text = f"{text}:{default_port}"
    host, port = _split(text, right)
    if not host:
        raise BadAddress(f"the host is missing; right is {right}")
    return Address(host, _port(port, lowest=1))


def _split(text: str, right: str) -> tuple[str | None, str]:
    """Host (or ``None``) and port of a text."""
    if not text:
        raise BadAddress(f"the address is empty; right is {right}")
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]:")
        if not bracket or ":" not in host:
            raise BadAddress(f"{text!r} is no address; right is {right}")
        return host, port
    host, colon, port = text.rpartition(":")
    if not colon:
        return None, text
    if ":" in host:
        raise BadAddress(f"{text!r}: write an IPv6 address in brackets; right is {right}")
    return host or None, port


def _port(text: str, *, lowest: int) -> int:
    """A port number.

    :raises BadAddress: when it is none.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not lowest <= int(text) <= 65535:
        raise BadAddress(f"{text!r} is not a port; right is a number from 1 to 65535")
    return int(text)
