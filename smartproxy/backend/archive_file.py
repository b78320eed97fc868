"""The file of a whole site: what may stand in it, and how it is read.

The file holds the configuration document beside what only the backend knows. Without secrets it holds no private key
and nothing that lets anybody in. Events are not in it. Reads no store; :mod:`smartproxy.backend.archive` does.
"""

import codecs
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from smartproxy.backend import identities, settings
from smartproxy.backend.errors import Unusable
from smartproxy.backend.schema import CertificateRequest, PinNote
from smartproxy.policy import limits
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.certificates.revocation import ListScope
from smartproxy.policy.configuration import Configuration, parse_value
from smartproxy.policy.licence import PROXY_ID
from smartproxy.policy.packing import filled
from smartproxy.policy.partners import ServerIdentity
from smartproxy.policy.permissions import ADMINISTRATOR_NAME, AdministratorEntry, UserEntry
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind, read_object
from smartproxy.policy.settings import ClientEntry
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.policy.trust_lists import TrustListEntry
from smartproxy.policy.values import NAME, SHA256, Fixed, Flag, Instant, Line, Lines, Pem, Whole

FORMAT: Final = 1
CONFIGURATION = "configuration"
"""Where the configuration document is in it."""
_CHAIN = Pem(label="CERTIFICATE", most=20)
_CERTIFICATE, _KEY = Pem(label="CERTIFICATE", most=1), Pem(label="PRIVATE KEY", most=1)


@attrs.frozen(kw_only=True)
class IssuerNote:
    """Whose a revocation list is, what it covers, and its number."""

    key_sha256: str = attrs.field(metadata=kind(SHA256))
    issuer: str = attrs.field(metadata=kind(Line(most=limits.ISSUER_NAME_CHARACTERS_MOST)))
    scope: ListScope = attrs.field(default=ListScope(), metadata=kind(ObjectOf(ListScope)))
    number: str | None = attrs.field(default=None, metadata=kind(Optional(Line())))


@attrs.frozen(kw_only=True)
class ArchivedSite:
    """The site's authority and https identity, and what was uploaded for the page, with their keys."""

    created: datetime = attrs.field(metadata=kind(Instant()))
    authority_certificate: str = attrs.field(metadata=kind(_CERTIFICATE))
    authority_key: str = attrs.field(repr=False, metadata=kind(_KEY))
    https_certificate: str = attrs.field(metadata=kind(_CERTIFICATE))
    https_key: str = attrs.field(repr=False, metadata=kind(_KEY))
    page_certificate: str | None = attrs.field(default=None, metadata=kind(Optional(_CHAIN)))
    page_key: str | None = attrs.field(default=None, repr=False, metadata=kind(Optional(_KEY)))


@attrs.frozen(kw_only=True)
class ArchivedLicence:
    """A licence that the authority signed."""

    proxy_id: str = attrs.field(metadata=kind(Line(pattern=PROXY_ID, form="a Proxy ID")))
    text: str = attrs.field(metadata=kind(Lines(most=limits.LICENCE_OCTETS_MOST)))
    valid_from: datetime = attrs.field(metadata=kind(Instant()))
    valid_until: datetime = attrs.field(metadata=kind(Instant()))
    issued: datetime = attrs.field(metadata=kind(Instant()))


@attrs.frozen(kw_only=True)
class ArchivedWithdrawal:
    """A client whose certificates are withdrawn."""

    name: str = attrs.field(metadata=kind(NAME))
    begins_until: datetime = attrs.field(metadata=kind(Instant()))
    forget: datetime = attrs.field(metadata=kind(Instant()))
    token_sha256: str | None = attrs.field(default=None, metadata=kind(Optional(SHA256)))


@attrs.frozen(kw_only=True)
class RejectedList:
    """An address of a CA's revocation lists that an operator decided not to download from."""

    ca: str = attrs.field(metadata=kind(NAME))
    url: str = attrs.field(metadata=kind(Line(most=limits.CRL_URL_OCTETS)))
    rejected: datetime = attrs.field(metadata=kind(Instant()))


@attrs.frozen(kw_only=True)
class ArchivedUser:
    """A user of the page, with the hash of the password."""

    entry: UserEntry = attrs.field(metadata=kind(ObjectOf(UserEntry)))
    password: str = attrs.field(repr=False, metadata=kind(Line(most=1000)))


@attrs.frozen(kw_only=True)
class ArchivedSecondFactor:
    """The second factor of a user."""

    user: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME))
    secret: str = attrs.field(repr=False, metadata=kind(Line(most=100)))
    confirmed: bool = attrs.field(metadata=kind(Flag()))
    step: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))
    recovery: Sequence[str] = attrs.field(metadata=kind(ListOf(item=SHA256)))


@attrs.frozen(kw_only=True)
class ArchivedPlan:
    """The planned change-over of an identity."""

    planned: ServerIdentity = attrs.field(metadata=kind(ObjectOf(ServerIdentity)))
    planned_since: datetime = attrs.field(metadata=kind(Instant()))


@attrs.frozen(kw_only=True)
class Secrets:
    """What makes another store the same site.

    :ivar administrators: the tokens of administrators; ``None`` in files of versions that did not export them.
    :ivar users: the users of the page; the same.
    """

    site: ArchivedSite = attrs.field(metadata=kind(ObjectOf(ArchivedSite)))
    clients: tuple[ClientEntry, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ClientEntry))))
    licences: tuple[ArchivedLicence, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ArchivedLicence))))
    requests: tuple[CertificateRequest, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(CertificateRequest))))
    planned: tuple[ArchivedPlan, ...] = attrs.field(default=(), metadata=kind(ListOf(item=ObjectOf(ArchivedPlan))))
    withdrawn: tuple[ArchivedWithdrawal, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=ObjectOf(ArchivedWithdrawal)))
    )
    administrators: tuple[AdministratorEntry, ...] | None = attrs.field(
        default=None, metadata=kind(Optional(ListOf(item=ObjectOf(AdministratorEntry))))
    )
    users: tuple[ArchivedUser, ...] | None = attrs.field(
        default=None, metadata=kind(Optional(ListOf(item=ObjectOf(ArchivedUser))))
    )
    second_factors: tuple[ArchivedSecondFactor, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=ObjectOf(ArchivedSecondFactor)))
    )


@attrs.frozen(kw_only=True)
class Archive:
    """The file, but for the configuration document in it.

    :ivar ignore_rules: ``None`` in files of versions that did not export them; so the two after it.
    """

    smartproxy_export: int = attrs.field(default=FORMAT, metadata=kind(Fixed(FORMAT), required=True))
    version: str = attrs.field(metadata=kind(Line()))
    exported: datetime = attrs.field(metadata=kind(Instant()))
    pins: tuple[PinNote, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(PinNote), most=1_000_000)))
    issuers: tuple[IssuerNote, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(IssuerNote))))
    ignore_rules: tuple[IgnoreRule, ...] | None = attrs.field(
        default=None, metadata=kind(Optional(ListOf(item=ObjectOf(IgnoreRule), most=limits.IGNORE_RULES_MOST)))
    )
    rejected_lists: tuple[RejectedList, ...] | None = attrs.field(
        default=None, metadata=kind(Optional(ListOf(item=ObjectOf(RejectedList))))
    )
    trust_lists: tuple[TrustListEntry, ...] | None = attrs.field(
        default=None, metadata=kind(Optional(ListOf(item=ObjectOf(TrustListEntry))))
    )
    secrets: Secrets | None = attrs.field(default=None, metadata=kind(Optional(ObjectOf(Secrets))))


@attrs.frozen
class ParsedFile:
    """What a file holds.

    :ivar settings: the settings in it that differ from their defaults, by name.
    :ivar shown: which identity each called partner is shown, by the partners' names, if the file has no identities.
    """

    archive: Archive
    configuration: Configuration
    settings: Mapping[str, Any]
    shown: Mapping[str, str]


def parse_file(octets: bytes) -> ParsedFile:
    """Read and judge a file; the store is not needed, so that nobody waits for it meanwhile.

    :raises Unusable: when the file is not an export, or damaged, or has an identity that TLS cannot show.
    """
    try:
        # Editors of Windows put a byte order mark in front.
        found = read(octets.removeprefix(codecs.BOM_UTF8), octets_most=limits.DOCUMENT_WHOLE_OCTETS_MOST)
        if not isinstance(found, dict) or not isinstance(found.get(CONFIGURATION), dict):
            raise Unusable("this is not the file that 'smartproxy export' writes")
        inner = found.pop(CONFIGURATION)
        archive = read_object(Archive, found)
        shown = {} if archive.secrets is not None else _without_identities(inner)
        configuration = parse_value(filled(inner))
    except DocumentRefused as refused:
        raise Unusable(f"the file cannot be imported: {refused}") from refused
    planned = () if archive.secrets is None else [each.planned for each in archive.secrets.planned]
    for each in (*configuration.server.identities, *planned):
        identities.check(each)
    return ParsedFile(archive, configuration, settings.of_document(inner), shown)


def _without_identities(configuration: dict[str, Any]) -> dict[str, str]:
    """Take the names of identities out of a configuration that came without these; whose they were.

    The store has to have them, which it says itself when the change becomes a generation.
    """
    shown = {}
    server = configuration.get("server")
    partners = server.get("partners") if isinstance(server, dict) else None
    for partner in partners if isinstance(partners, list) else ():
        match partner:
            case {"name": str(name), "outbound": {"identity": str(identity)}}:
                shown[name] = identity
                partner["outbound"]["identity"] = None
    return shown
