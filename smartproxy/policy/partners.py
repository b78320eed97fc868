"""A partner's entry: who he is, by which certificates he proves it, and what he may do.

Duty: the classes of one entry of ``server.partners`` and the normal form of an SSIDCODE. Decides nothing: whether a
certificate is a partner's is decided in :mod:`~smartproxy.policy.certificates.judge`, whether an SSID is his in
:mod:`~smartproxy.policy.identity`.

RFC 5024 sections 5.3 (padding), 5.3.2 (SSIDCODE, SSIDLEV, SSIDAUTH), 5.4 (identification codes).
"""

import enum

import attrs

from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy import limits
from smartproxy.policy.outbound import Outbound
from smartproxy.policy.rules import CertificatePin, KeyPin, Rule, SanRule, SubjectRule, normalize_san
from smartproxy.policy.schema import NAME, Flag, ListOf, Member, ObjectOf, Optional, Tagged, Text, kind

__all__ = [
    "CODE_OCTETS",
    "Authentication",
    "CertificatePin",
    "KeyPin",
    "NotACode",
    "Partner",
    "Purpose",
    "Rule",
    "SanRule",
    "SubjectRule",
    "normalize_code",
    "normalize_san",
]

#: Octets of SSIDCODE.
CODE_OCTETS = 25


class NotACode(ValueError):
    """A text that cannot be an SSIDCODE."""


def normalize_code(code: str) -> bytes:
    """The 25 octets of SSIDCODE that stand for *code*: padded with blanks at its end, as RFC 5024 section 5.3 says.

    Letters keep their case, and nothing but blanks at the end is padding: a NUL, a tab or a leading blank is not.

    :raises NotACode: if *code* is empty, longer than 25 octets, or not printable ASCII.
    """
    octets = code.rstrip(" ").encode("ascii", "replace")
    if not octets or not code.isascii() or not code.isprintable():
        raise NotACode("an identification code is made of printable ASCII characters, and at least one of them")
    if len(octets) > CODE_OCTETS:
        raise NotACode(f"an identification code has at most {CODE_OCTETS} octets")
    return octets.ljust(CODE_OCTETS)


class Authentication(enum.StrEnum):
    """What a partner's SSIDAUTH has to say (RFC 5024 section 5.3.2)."""

    EITHER = "either"
    REQUIRED = "required"
    REFUSED = "refused"


class Purpose(enum.StrEnum):
    """What the extended key usage of a partner's certificate has to allow.

    ``STRICT``: clientAuth, or the certificate has no such extension. ``SERVER_AUTH``: serverAuth will do too. ``ANY``:
    not looked at, which is for pinned certificates only. Where he is called, clientAuth and serverAuth change places.
    """

    STRICT = "strict"
    SERVER_AUTH = "server_auth"
    ANY = "any"


@attrs.frozen(kw_only=True)
class Partner:
    """A partner's entry.

    :ivar name: how the site calls him, unique.
    :ivar enabled: whether he may connect at all.
    :ivar codes: the SSIDCODEs that he may use.
    :ivar lowest_level: the lowest release level that he may offer.
    :ivar authentication: whether secure authentication has to be, may be or must not be.
    :ivar profile: how literally the RFC is read with him.
    :ivar purpose: what his certificate's extended key usage has to allow.
    :ivar certificates: by which certificates he is known; several are valid at once, so that he can change over.
    :ivar outbound: how the station reaches him; ``None`` if he is never called.
    """

    name: str = attrs.field(metadata=kind(NAME))
    enabled: bool = attrs.field(default=True, metadata=kind(Flag()))
    codes: tuple[str, ...] = attrs.field(
        metadata=kind(
            ListOf(
                item=Text(most=CODE_OCTETS, pattern="[ -~]+", form="printable ASCII"),
                least=1,
                most=limits.CODES_PER_PARTNER_MOST,
            )
        )
    )
    lowest_level: Level = attrs.field(default=Level.OFTP_2_0, metadata=kind(Member(Level)))
    authentication: Authentication = attrs.field(default=Authentication.EITHER, metadata=kind(Member(Authentication)))
    profile: Profile = attrs.field(default=Profile.DEFAULT, metadata=kind(Member(Profile)))
    purpose: Purpose = attrs.field(default=Purpose.STRICT, metadata=kind(Member(Purpose)))
    certificates: tuple[Rule, ...] = attrs.field(
        metadata=kind(
            ListOf(
                item=Tagged("by", (CertificatePin, KeyPin, SubjectRule, SanRule)),
                least=1,
                most=limits.CERTIFICATES_PER_PARTNER_MOST,
            )
        )
    )
    outbound: Outbound | None = attrs.field(default=None, metadata=kind(Optional(ObjectOf(Outbound))))
