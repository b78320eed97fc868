"""Partners in the configuration: their entries, their certificate rules, and the CAs that issue their certificates.

Duty: the classes of ``server.partners``, ``server.cas`` and ``server.identities``, and the normal form of an
SSIDCODE. Decides nothing: :mod:`~smartproxy.policy.certificates.judge` decides about certificates,
:mod:`~smartproxy.policy.identity` about SSIDs, and :mod:`~smartproxy.policy.outbound` about calls to partners. A
private key is here only in memory and never in a ``repr``.

RFC 5024 sections 2.3, 5.3 (padding), 5.3.2 (SSIDCODE, SSIDLEV, SSIDAUTH), 5.4 (identification codes), 11 (the site
decides which certificate belongs to which partner); RFC 6125 (names in certificates).
"""

import enum
import functools
from typing import ClassVar

import attrs

from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy import limits, values
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.certificates.downloads import URL_PATTERN
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, Tagged, kind, masked
from smartproxy.policy.values import NAME, SHA256, Address, Flag, Line, Member, Pem, Whole
from smartproxy.policy.watching import PartnerWatching

#: Octets of SSIDCODE.
CODE_OCTETS = 25
#: In a list of codes that are allowed: every code is.
ANY_CODE = "*"
_CODES = ListOf(
    item=Line(most=CODE_OCTETS, pattern="[ -~]+", form="printable ASCII, as SSIDCODE is"),
    least=1,
    most=limits.CODES_PER_PARTNER_MOST,
)
_HOST = Line(most=253, pattern="[0-9A-Za-z._:-]+", form="a host name or an address")
_LIST_URL = Line(
    most=limits.CRL_URL_OCTETS, pattern=URL_PATTERN, form="the address of a list such as http://crl.example/ca.crl"
)
_CERTIFICATE = "CERTIFICATE"


class NotACode(ValueError):
    """A text that cannot be an SSIDCODE."""


def normalize_code(code: str) -> bytes:
    """The 25 octets of SSIDCODE for *code*, padded with blanks at the end (RFC 5024 section 5.3).

    Letters keep their case, and nothing but blanks at the end is padding: a NUL, a tab or a leading blank is not.

    :raises NotACode: if *code* is empty, longer than 25 octets, or not printable ASCII.
    """
    octets = code.rstrip(" ").encode("ascii", "replace")
    if not octets or not code.isascii() or not code.isprintable():
        raise NotACode("an identification code must have at least one character, all printable ASCII")
    if len(octets) > CODE_OCTETS:
        raise NotACode(f"an identification code has at most {CODE_OCTETS} octets")
    return octets.ljust(CODE_OCTETS)


def normalize_san(san: str) -> str:
    """The form in which subject alternative names are compared: DNS names in lower case."""
    return san.lower().replace("dns:", "DNS:", 1) if san.startswith("DNS:") else san


@attrs.frozen(kw_only=True)
class CertificatePin:
    """A rule that matches one certificate, regardless of its issuer.

    :ivar sha256: SHA-256 of its DER octets, in hex.
    """

    by: ClassVar[str] = "certificate"

    sha256: str = attrs.field(metadata=kind(SHA256))


@attrs.frozen(kw_only=True)
class KeyPin:
    """A rule that matches all certificates of one key, regardless of their issuers.

    :ivar sha256: SHA-256 of the SubjectPublicKeyInfo, in hex.
    """

    by: ClassVar[str] = "key"

    sha256: str = attrs.field(metadata=kind(SHA256))


@attrs.frozen(kw_only=True)
class SubjectRule:
    """A rule that matches certificates below a CA with this serialNumber in the subject (Odette CAs: the Odette ID).

    :ivar ca: the name of an entry of ``server.cas``.
    :ivar serial_number: the attribute's text, compared letter by letter.
    """

    by: ClassVar[str] = "subject"

    ca: str = attrs.field(metadata=kind(NAME))
    serial_number: str = attrs.field(metadata=kind(Line()))


@attrs.frozen(kw_only=True)
class SanRule:
    """A rule that matches certificates below a CA with this subject alternative name.

    :ivar ca: the name of an entry of ``server.cas``.
    :ivar san: the name with its type: ``DNS:``, ``URI:`` or ``EMAIL:``; compared letter by letter.
    """

    by: ClassVar[str] = "san"

    ca: str = attrs.field(metadata=kind(NAME))
    san: str = attrs.field(
        metadata=kind(
            Line(
                most=1024, pattern="(DNS|URI|EMAIL):.+", form="a name with its type: DNS:name, URI:uri or EMAIL:address"
            )
        )
    )


Rule = CertificatePin | KeyPin | SubjectRule | SanRule


class RevocationMode(enum.StrEnum):
    """How the revocation lists of a CA are used.

    ``REQUIRE``: a certificate is refused unless there is a current list from every issuer in the path. ``PREFER``:
    revoked certificates are refused; missing and outdated lists are ignored. ``OFF``: lists are not used.
    """

    REQUIRE = "require"
    PREFER = "prefer"
    OFF = "off"


@attrs.frozen(kw_only=True)
class TrustedCa:
    """A CA that may issue partners' certificates.

    :ivar name: its unique name at this site.
    :ivar certificates: its certificates as PEM, one or more; a path has to reach one of them.
    :ivar revocation: how its revocation lists, and those of the intermediate CAs below it, are used.
    :ivar grace_hours: the hours that a revocation list stays valid after its nextUpdate.
    :ivar lists: the addresses that the backend downloads its revocation lists from.
    :ivar approve_lists: whether the backend adds the addresses that its certificates name by itself.
    :ivar refuse_direct: whether certificates are refused that one of its roots issued directly.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(listed=True)))
    certificates: str = attrs.field(repr=False, metadata=kind(Pem(label=_CERTIFICATE, most=1_000)))
    revocation: RevocationMode = attrs.field(
        default=RevocationMode.REQUIRE,
        metadata=kind(
            Member(RevocationMode),
            people=ForPeople(
                help="require = refuse certificates without a current revocation list; prefer = use the lists that are "
                "loaded; off = do not use lists",
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
    lists: tuple[str, ...] = attrs.field(
        default=(),
        metadata=kind(
            ListOf(item=_LIST_URL, most=limits.LISTS_PER_CA_MOST),
            people=ForPeople(help="an address that its revocation lists are downloaded from", option="--list"),
        ),
    )
    approve_lists: bool = attrs.field(
        default=False,
        metadata=kind(
            Flag(), people=ForPeople(help="download from the addresses that its certificates name without asking")
        ),
    )

    refuse_direct: bool = attrs.field(
        default=False,
        metadata=kind(
            Flag(), people=ForPeople(help="refuse partners' certificates that a root of it issued, and no CA below it")
        ),
    )

    @functools.cached_property
    def anchors(self) -> frozenset[str]:
        """The SHA-256 of each of its certificates, in hex."""
        return frozenset(values.sha256(der) for der in values.blocks(self.certificates, _CERTIFICATE))


KEY_TYPES = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384")
"""The kinds of key that are made with a request."""
KEY_TYPE_USUAL = "rsa-3072"


@attrs.frozen(kw_only=True)
class ServerIdentity:
    """A certificate and key that the server presents to partners.

    :ivar certificate: the chain as PEM, the leaf first.
    :ivar key: the private key as PEM (PKCS#8, not encrypted).
    """

    name: str = attrs.field(metadata=kind(NAME))
    certificate: str = attrs.field(repr=False, metadata=kind(Pem(label=_CERTIFICATE, most=20)))
    key: str = attrs.field(repr=masked, metadata=kind(Pem(label="PRIVATE KEY", most=1)))


class Verify(enum.StrEnum):
    """How the certificate of a called partner is verified.

    ``NAME``: it comes from a configured CA and contains the host's name. ``PIN``: it is pinned. ``ODETTE``: it comes
    from a configured CA and its subject contains the partner's Odette ID as serialNumber.
    """

    NAME = "name"
    PIN = "pin"
    ODETTE = "odette"


@attrs.frozen(kw_only=True)
class Outbound:
    """How a partner is called.

    :ivar host: the partner's host name or address.
    :ivar port: the partner's port.
    :ivar server_name: the name that the partner's certificate has to contain, sent as SNI; ``None``: the host.
    :ivar verify: how the partner's certificate is verified.
    :ivar ca: for ``NAME``: the only CA that may have issued it; ``None``: any configured CA.
    :ivar certificates: for ``PIN``, the pins; for ``ODETTE``, the serial numbers with their CAs. If it is empty, the
        rules of the partner's entry count, which apply to its own calls.
    :ivar source: the server's address that the call is made from; ``None``: the site's.
    :ivar identity: the certificate presented to the partner, by its name in ``server.identities``; ``None``: the first.
    :ivar listener: the client's port for local programs that call this partner; ``None``: no port.
    """

    host: str = attrs.field(metadata=kind(_HOST, people=ForPeople(help="the partner's host name or address")))
    port: int = attrs.field(
        default=limits.PARTNER_PORT.default,
        metadata=kind(Whole(limits.PARTNER_PORT), people=ForPeople(help="the partner's port")),
    )
    server_name: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(_HOST),
            people=ForPeople(help="name that the partner's certificate must contain", unset="the host's"),
        ),
    )
    verify: Verify = attrs.field(
        default=Verify.NAME,
        metadata=kind(
            Member(Verify),
            people=ForPeople(
                help="name = certificate from a CA, with the host's name; pin = pinned certificate; odette = "
                "certificate from a CA, with the partner's Odette ID"
            ),
        ),
    )
    ca: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(NAME),
            people=ForPeople(help="the only CA that may have issued the certificate", option="--ca", unset="any"),
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
            people=ForPeople(help="the server's address to call the partner from", unset="the site's"),
        ),
    )
    identity: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(NAME), people=ForPeople(help="our certificate to present to the partner", unset="the first")
        ),
    )
    listener: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.PARTNER_LISTENER_PORT)),
            people=ForPeople(help="the client's port for local programs that call this partner"),
        ),
    )

    @property
    def name(self) -> str:
        """The name that the partner's certificate has to contain."""
        return self.server_name or self.host

    @property
    def address(self) -> str:
        """Host and port for logs; an IPv6 address in brackets."""
        return str(HostPort(self.host, self.port))


class Authentication(enum.StrEnum):
    """Which value of SSIDAUTH a partner may send (RFC 5024 section 5.3.2)."""

    EITHER = "either"
    REQUIRED = "required"
    REFUSED = "refused"


class Purpose(enum.StrEnum):
    """Which extended key usage a partner's certificate must have.

    ``STRICT``: clientAuth, or no such extension. ``SERVER_AUTH``: clientAuth or serverAuth, or no such extension.
    ``ANY``: not checked; for pinned certificates only. For a called partner, serverAuth takes the place of clientAuth.
    """

    STRICT = "strict"
    SERVER_AUTH = "server_auth"
    ANY = "any"


@attrs.frozen(kw_only=True)
class Partner:
    """A partner's entry.

    :ivar name: its unique name at this site.
    :ivar enabled: whether it may connect and be called.
    :ivar codes: the SSIDCODEs that it may use.
    :ivar lowest_level: the lowest release level that it may offer.
    :ivar authentication: whether secure authentication is required, allowed or refused.
    :ivar profile: whether known departures from RFC 5024 are tolerated.
    :ivar originators: the SFIDORIGs that files from it may have; :data:`ANY_CODE` stands for all.
    :ivar destinations: the same for SFIDDEST. A clearing centre sends files of others (RFC 5024 section 4.3.6).
    :ivar purpose: which extended key usage its certificate must have.
    :ivar certificates: the rules that identify it; several may be valid at once, so that it can change certificates.
    :ivar outbound: how it is called; ``None`` if it is never called.
    :ivar watching: when it is told that it is silent or late.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(listed=True)))
    enabled: bool = attrs.field(default=True, metadata=kind(Flag(), people=ForPeople(listed=True)))
    codes: tuple[str, ...] = attrs.field(
        metadata=kind(
            _CODES,
            people=ForPeople(help="an SSIDCODE that the partner may use", option="--code", listed=True),
        )
    )
    lowest_level: Level = attrs.field(
        default=Level.OFTP_2_0,
        metadata=kind(
            Member(Level, words=tuple(level.label for level in Level)),
            people=ForPeople(help="lowest OFTP release level that the partner may offer", listed=True),
        ),
    )
    authentication: Authentication = attrs.field(
        default=Authentication.EITHER,
        metadata=kind(
            Member(Authentication),
            people=ForPeople(help="OFTP2 secure authentication: required, refused, or either", listed=True),
        ),
    )
    profile: Profile = attrs.field(
        default=Profile.DEFAULT,
        metadata=kind(
            Member(Profile),
            people=ForPeople(
                help="default = tolerate known departures from RFC 5024; strict = tolerate none", listed=True
            ),
        ),
    )
    originators: tuple[str, ...] = attrs.field(
        default=(ANY_CODE,),
        metadata=kind(
            _CODES,
            people=ForPeople(help="an SFIDORIG that files from the partner may have; * = any", option="--originator"),
        ),
    )
    destinations: tuple[str, ...] = attrs.field(
        default=(ANY_CODE,),
        metadata=kind(
            _CODES,
            people=ForPeople(help="an SFIDDEST that files from the partner may have; * = any", option="--destination"),
        ),
    )
    purpose: Purpose = attrs.field(
        default=Purpose.STRICT,
        metadata=kind(
            Member(Purpose),
            people=ForPeople(
                help="extended key usage of the partner's certificate: strict = clientAuth where the partner calls, "
                "serverAuth where it is called; server_auth = either; any = not checked, pinned certificates only"
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
    watching: PartnerWatching = attrs.field(
        default=PartnerWatching(), metadata=kind(ObjectOf(PartnerWatching), people=ForPeople(title="watched"))
    )
