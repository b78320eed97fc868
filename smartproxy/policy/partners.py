"""A partner's entry: who he is, by which certificates he proves it, and what he may do.

Duty: the classes of one entry of ``server.partners`` and the normal form of an SSIDCODE. Decides nothing: whether a
certificate is a partner's is decided in :mod:`~smartproxy.policy.certificates`, whether an SSID is his in
:mod:`~smartproxy.policy.identity`.

RFC 5024 sections 5.3 (padding), 5.3.2 (SSIDCODE, SSIDLEV, SSIDAUTH), 5.4 (identification codes).
"""

import enum
from typing import ClassVar

import attrs

from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy import limits
from smartproxy.policy.schema import NAME, SHA256, Flag, ListOf, Member, Tagged, Text, kind

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


def normalize_san(san: str) -> str:
    """The form in which subject alternative names are compared: the letters of a DNS name have no case."""
    return san.lower().replace("dns:", "DNS:", 1) if san.startswith("DNS:") else san


class Authentication(enum.StrEnum):
    """What a partner's SSIDAUTH has to say (RFC 5024 section 5.3.2)."""

    EITHER = "either"
    REQUIRED = "required"
    REFUSED = "refused"


class Purpose(enum.StrEnum):
    """What the extended key usage of a partner's certificate has to allow.

    ``STRICT``: clientAuth, or the certificate has no such extension. ``SERVER_AUTH``: serverAuth will do too. ``ANY``:
    not looked at, which is for pinned certificates only.
    """

    STRICT = "strict"
    SERVER_AUTH = "server_auth"
    ANY = "any"


@attrs.frozen(kw_only=True)
class CertificatePin:
    """This very certificate, whoever issued it.

    :ivar sha256: SHA-256 of its DER octets, in hex.
    """

    by: ClassVar[str] = "certificate"

    sha256: str = attrs.field(metadata=kind(SHA256))


@attrs.frozen(kw_only=True)
class KeyPin:
    """Any certificate of this very key, whoever issued it.

    :ivar sha256: SHA-256 of the SubjectPublicKeyInfo, in hex.
    """

    by: ClassVar[str] = "key"

    sha256: str = attrs.field(metadata=kind(SHA256))


@attrs.frozen(kw_only=True)
class SubjectRule:
    """Any certificate below an authority whose subject carries this serialNumber (where Odette CAs put the Odette ID).

    :ivar authority: the name of an entry of ``server.authorities``.
    :ivar serial_number: the attribute's text, compared letter by letter.
    """

    by: ClassVar[str] = "subject"

    authority: str = attrs.field(metadata=kind(NAME))
    serial_number: str = attrs.field(metadata=kind(Text()))


@attrs.frozen(kw_only=True)
class SanRule:
    """Any certificate below an authority that carries this subject alternative name.

    :ivar authority: the name of an entry of ``server.authorities``.
    :ivar san: the name with its type: ``DNS:``, ``URI:`` or ``EMAIL:``; compared letter by letter.
    """

    by: ClassVar[str] = "san"

    authority: str = attrs.field(metadata=kind(NAME))
    san: str = attrs.field(
        metadata=kind(
            Text(
                most=1024, pattern="(DNS|URI|EMAIL):.+", form="a name with its type: DNS:name, URI:uri or EMAIL:address"
            )
        )
    )


Rule = CertificatePin | KeyPin | SubjectRule | SanRule


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
