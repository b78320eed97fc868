"""Partners in the configuration: their entries, the rules by which they are known, and the CAs that vouch for them.

Duty: the classes of ``server.partners``, ``server.authorities`` and ``server.identities``, and the normal form of an
SSIDCODE. Decides nothing: whether a certificate is a partner's is decided in
:mod:`~smartproxy.policy.certificates.judge`, whether an SSID is a partner's in :mod:`~smartproxy.policy.identity`, whom
a caller may reach in :mod:`~smartproxy.policy.outbound`. A private key is here only in memory and never in a ``repr``.

RFC 5024 sections 2.3, 5.3 (padding), 5.3.2 (SSIDCODE, SSIDLEV, SSIDAUTH), 5.4 (identification codes), 11 (which
certificate is whose is the site's affair); RFC 6125 (names in certificates).
"""

import enum
import functools
from typing import ClassVar

import attrs

from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy import limits, values
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, Tagged, kind, masked
from smartproxy.policy.values import NAME, SHA256, Address, Flag, Line, Member, Pem, Whole

#: Octets of SSIDCODE.
CODE_OCTETS = 25
_HOST = Line(most=253, pattern="[0-9A-Za-z._:-]+", form="a host name or an address")
_CERTIFICATE = "CERTIFICATE"


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
    """Any certificate below a CA whose subject carries this serialNumber (where Odette CAs put the Odette ID).

    :ivar ca: the name of an entry of ``server.authorities``.
    :ivar serial_number: the attribute's text, compared letter by letter.
    """

    by: ClassVar[str] = "subject"

    ca: str = attrs.field(metadata=kind(NAME, key="authority"))
    serial_number: str = attrs.field(metadata=kind(Line()))


@attrs.frozen(kw_only=True)
class SanRule:
    """Any certificate below a CA that carries this subject alternative name.

    :ivar ca: the name of an entry of ``server.authorities``.
    :ivar san: the name with its type: ``DNS:``, ``URI:`` or ``EMAIL:``; compared letter by letter.
    """

    by: ClassVar[str] = "san"

    ca: str = attrs.field(metadata=kind(NAME, key="authority"))
    san: str = attrs.field(
        metadata=kind(
            Line(
                most=1024, pattern="(DNS|URI|EMAIL):.+", form="a name with its type: DNS:name, URI:uri or EMAIL:address"
            )
        )
    )


Rule = CertificatePin | KeyPin | SubjectRule | SanRule


class RevocationMode(enum.StrEnum):
    """What is asked of a CA's revocation lists.

    ``REQUIRE``: a fresh list of every issuer in the path, or the certificate is refused. ``PREFER``: what a list there
    is says holds, and a missing or stale one is overlooked. ``OFF``: lists are not looked at.
    """

    REQUIRE = "require"
    PREFER = "prefer"
    OFF = "off"


@attrs.frozen(kw_only=True)
class TrustedCa:
    """A CA that partners' certificates may come from.

    :ivar name: how the site calls it, unique.
    :ivar certificates: its certificates as PEM, one or more; a path has to reach one of them.
    :ivar revocation: what is asked of its revocation lists and those of the intermediate CAs below it.
    :ivar grace_hours: how long after its promised next update a list is still good for an answer.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(listed=True)))
    certificates: str = attrs.field(repr=False, metadata=kind(Pem(label=_CERTIFICATE, most=1_000)))
    revocation: RevocationMode = attrs.field(
        default=RevocationMode.REQUIRE,
        metadata=kind(
            Member(RevocationMode),
            people=ForPeople(
                help="require = refuse a certificate without a fresh revocation list; prefer = use what there is; "
                "off = do not ask",
                listed=True,
            ),
        ),
    )
    grace_hours: int = attrs.field(
        default=limits.REVOCATION_GRACE.default,
        metadata=kind(
            Whole(limits.REVOCATION_GRACE),
            people=ForPeople(help="hours that a revocation list stays valid after its nextUpdate"),
        ),
    )

    @functools.cached_property
    def anchors(self) -> frozenset[str]:
        """The SHA-256 of each of its certificates, in hex."""
        return frozenset(values.sha256(der) for der in values.blocks(self.certificates, _CERTIFICATE))


@attrs.frozen(kw_only=True)
class ServerIdentity:
    """A certificate and key that the server shows to partners.

    :ivar certificate: the chain as PEM, the leaf first.
    :ivar key: the private key as PEM (PKCS#8, not encrypted).
    """

    name: str = attrs.field(metadata=kind(NAME))
    certificate: str = attrs.field(repr=False, metadata=kind(Pem(label=_CERTIFICATE, most=20)))
    key: str = attrs.field(repr=masked, metadata=kind(Pem(label="PRIVATE KEY", most=1)))


class Verify(enum.StrEnum):
    """By what the certificate of a partner that is called is known to be his.

    ``NAME``: it comes from a CA of the site and bears the host's name. ``PIN``: it is one that is pinned.
    ``ODETTE``: it comes from a CA and its subject carries his Odette ID as serialNumber.
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
    :ivar ca: for ``NAME``: the only CA that may have issued it; ``None``: any of the site's.
    :ivar certificates: for ``PIN``, the pins; for ``ODETTE``, the serial numbers with their authorities. If there are
        none, those of his entry count, by which he is known when he calls.
    :ivar source: the address of the server that he is called from; ``None``: the site's.
    :ivar identity: the certificate of ours that he is shown, by its name in ``server.identities``; ``None``: the first.
    :ivar listener: the port of the client's that stands for this partner; ``None``: none does.
    """

    host: str = attrs.field(metadata=kind(_HOST, people=ForPeople(help="the partner's name or address")))
    port: int = attrs.field(
        default=limits.PARTNER_PORT.default,
        metadata=kind(Whole(limits.PARTNER_PORT), people=ForPeople(help="its port")),
    )
    server_name: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(_HOST), people=ForPeople(help="the name that its certificate bears", unset="the host's")
        ),
    )
    verify: Verify = attrs.field(
        default=Verify.NAME,
        metadata=kind(
            Member(Verify),
            people=ForPeople(
                help="its certificate comes from a ca and bears the host's name; is pinned; comes from a ca and "
                "carries its Odette ID"
            ),
        ),
    )
    ca: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(NAME),
            key="authority",
            people=ForPeople(help="the only ca that may certify it", option="--ca", unset="any"),
        ),
    )
    certificates: tuple[CertificatePin | KeyPin | SubjectRule, ...] = attrs.field(
        default=(),
        metadata=kind(
            ListOf(item=Tagged("by", (CertificatePin, KeyPin, SubjectRule)), most=limits.CERTIFICATES_PER_PARTNER_MOST)
        ),
    )
    source: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Address()),
            people=ForPeople(help="the server's address that the partner is called from", unset="the site's"),
        ),
    )
    identity: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(NAME), people=ForPeople(help="the certificate of ours that it is shown", unset="the first")
        ),
    )
    listener: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.PARTNER_LISTENER_PORT)),
            people=ForPeople(help="the client's port that stands for this partner"),
        ),
    )

    @property
    def name(self) -> str:
        """The name that the partner's certificate has to bear."""
        return self.server_name or self.host

    @property
    def address(self) -> str:
        """Host and port, as logs show them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


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

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(listed=True)))
    enabled: bool = attrs.field(default=True, metadata=kind(Flag(), people=ForPeople(listed=True)))
    codes: tuple[str, ...] = attrs.field(
        metadata=kind(
            ListOf(
                item=Line(most=CODE_OCTETS, pattern="[ -~]+", form="printable ASCII"),
                least=1,
                most=limits.CODES_PER_PARTNER_MOST,
            ),
            people=ForPeople(
                help="an SSIDCODE that the partner may use; may be repeated", option="--code", listed=True
            ),
        )
    )
    lowest_level: Level = attrs.field(
        default=Level.OFTP_2_0,
        metadata=kind(
            Member(Level, words=("1.2", "1.3", "1.4", "2.0")),
            people=ForPeople(help="lowest OFTP release level that the partner may offer", listed=True),
        ),
    )
    authentication: Authentication = attrs.field(
        default=Authentication.EITHER,
        metadata=kind(
            Member(Authentication),
            people=ForPeople(help="OFTP2 secure authentication has to be, may be or must not be", listed=True),
        ),
    )
    profile: Profile = attrs.field(
        default=Profile.DEFAULT,
        metadata=kind(
            Member(Profile),
            people=ForPeople(help="tolerate known departures from RFC 5024, or none", listed=True),
        ),
    )
    purpose: Purpose = attrs.field(
        default=Purpose.STRICT,
        metadata=kind(
            Member(Purpose),
            people=ForPeople(
                help="extended key usage of the partner's certificate: for clients; for servers will do too; any, "
                "which is for pinned certificates only"
            ),
        ),
    )
    certificates: tuple[Rule, ...] = attrs.field(
        metadata=kind(
            ListOf(
                item=Tagged("by", (CertificatePin, KeyPin, SubjectRule, SanRule)),
                least=1,
                most=limits.CERTIFICATES_PER_PARTNER_MOST,
            ),
            people=ForPeople(listed=True),
        )
    )
    outbound: Outbound | None = attrs.field(
        default=None, metadata=kind(Optional(ObjectOf(Outbound)), people=ForPeople(unset="never"))
    )
