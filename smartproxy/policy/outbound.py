"""How partners are called: the outbound part of a partner's entry, and where callers inside are awaited.

Duty: the classes of these parts of the configuration document, and what one entry of them must not contradict. Decides
nothing about a certificate that a partner shows: :mod:`~smartproxy.policy.certificates.called` does; nor about whom a
caller may reach: :mod:`~smartproxy.policy.egress` does. Holds no key: a partner's entry only names the identity that is
shown to it.

RFC 5024 section 2.3; RFC 6125 (names in certificates).
"""

import enum

import attrs

from smartproxy.policy import limits
from smartproxy.policy.rules import CertificatePin, KeyPin, SubjectRule
from smartproxy.policy.schema import NAME, Address, Flag, ListOf, Member, Optional, Tagged, Text, Whole, kind

_HOST = Text(most=253, pattern="[0-9A-Za-z._:-]+", form="a host name or an address")


class Verify(enum.StrEnum):
    """By what the certificate of a partner that is called is known to be his.

    ``NAME``: it comes from an authority of the site and bears the host's name. ``PIN``: it is one that is pinned.
    ``ODETTE``: it comes from an authority and its subject carries his Odette ID as serialNumber.
    """

    NAME = "name"
    PIN = "pin"
    ODETTE = "odette"


@attrs.frozen(kw_only=True)
class Outbound:
    """How a partner is called.

    :ivar host: his name or address.
    :ivar port: his port.
    :ivar server_name: the name that his certificate has to bear, and that he is asked for in TLS; ``None``: the host.
    :ivar verify: by what his certificate is known.
    :ivar authority: for ``NAME``: the only authority that may have issued it; ``None``: any of the site's.
    :ivar certificates: for ``PIN``, the pins; for ``ODETTE``, the serial numbers with their authorities. If there are
        none, those of his entry count, by which he is known when he calls.
    :ivar source: the address of the server that he is called from; ``None``: the site's.
    :ivar identity: the certificate of ours that he is shown, by its name in ``server.identities``; ``None``: the first.
    :ivar listener: the port of the client's that stands for this partner; ``None``: none does.
    """

    host: str = attrs.field(metadata=kind(_HOST))
    port: int = attrs.field(default=limits.PARTNER_PORT.default, metadata=kind(Whole(limits.PARTNER_PORT)))
    server_name: str | None = attrs.field(default=None, metadata=kind(Optional(_HOST)))
    verify: Verify = attrs.field(default=Verify.NAME, metadata=kind(Member(Verify)))
    authority: str | None = attrs.field(default=None, metadata=kind(Optional(NAME)))
    certificates: tuple[CertificatePin | KeyPin | SubjectRule, ...] = attrs.field(
        default=(),
        metadata=kind(
            ListOf(item=Tagged("by", (CertificatePin, KeyPin, SubjectRule)), most=limits.CERTIFICATES_PER_PARTNER_MOST)
        ),
    )
    source: str | None = attrs.field(default=None, metadata=kind(Optional(Address())))
    identity: str | None = attrs.field(default=None, metadata=kind(Optional(NAME)))
    listener: int | None = attrs.field(default=None, metadata=kind(Optional(Whole(limits.PARTNER_LISTENER_PORT))))

    @property
    def name(self) -> str:
        """The name that the partner's certificate has to bear."""
        return self.server_name or self.host

    @property
    def address(self) -> str:
        """Host and port, as logs show them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@attrs.frozen(kw_only=True)
class OutboundListener:
    """Where callers inside are awaited that say whom they want (HTTP CONNECT, SOCKS5).

    :ivar enabled: whether they are awaited at all; they never are while no partner can be called.
    :ivar address: the client's address; the ports of single partners are opened on it, too.
    """

    enabled: bool = attrs.field(default=True, metadata=kind(Flag()))
    address: str = attrs.field(default="127.0.0.1", metadata=kind(Address()))
    port: int = attrs.field(default=limits.OUTBOUND_PORT.default, metadata=kind(Whole(limits.OUTBOUND_PORT)))
