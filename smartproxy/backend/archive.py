"""A whole site as one JSON file, and back: for moving it, for keeping it, for comparing it.

The file holds the configuration document beside what only the backend knows. Without secrets it holds no private key
and nothing that lets anybody in; what it lacks stays as it is when it is imported. An import is one change, taken as a
whole and judged like any other. Events are not in it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import attrs
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from smartproxy._version import __version__
from smartproxy.backend import (
    administrators,
    authority,
    cas,
    clients,
    downloads,
    generations,
    identities,
    licences,
    partners,
    settings,
    trust_lists,
    users,
)
from smartproxy.backend.alert_tables import IgnoreRow
from smartproxy.backend.alerts import ignore_rules
from smartproxy.backend.caller_tables import AdministratorRow
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused, Unusable
from smartproxy.backend.named import by_name
from smartproxy.backend.schema import (
    Base,
    CaRow,
    CertificateRequest,
    ClientRow,
    IdentityRow,
    LicenceRow,
    ListDownloadRow,
    PartnerRow,
    PinNote,
    RevocationRow,
    SettingRow,
    SiteRow,
    WithdrawnRow,
)
from smartproxy.backend.trust_tables import TrustListRow
from smartproxy.backend.user_tables import LoginRow, SecondFactorRow, UserRow
from smartproxy.policy import limits
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.certificates.revocation import ListScope
from smartproxy.policy.configuration import Configuration, parse_value
from smartproxy.policy.licence import PROXY_ID
from smartproxy.policy.packing import as_text, filled, unpack
from smartproxy.policy.partners import ServerIdentity
from smartproxy.policy.permissions import ADMINISTRATOR_NAME, AdministratorEntry, UserEntry
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind, read_object, write_object
from smartproxy.policy.settings import ClientEntry
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.policy.trust_lists import TrustListEntry
from smartproxy.policy.values import NAME, SHA256, Fixed, Flag, Instant, Line, Lines, Pem, Whole

FORMAT: Final = 1
_CONFIGURATION = "configuration"
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
    """A client whose certificates count no more."""

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
    :ivar shown: the identities that partners who are called are shown, by the partners' names, if the file has none.
    """

    archive: Archive
    configuration: Configuration
    settings: Mapping[str, Any]
    shown: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Imported:
    """What an import brought."""

    partners: int
    cas: int
    revocation_lists: int
    ignore_rules: int | None
    identities: int | None
    clients: int | None
    administrators: int | None
    users: int | None


def export(session: Session, now: datetime, *, with_secrets: bool) -> str:
    """The site as text."""
    configuration: Any = unpack(generations.build(session, generations.newest_number(session)))
    # The file is of the site, not of this store: what takes it has an id of its own.
    configuration.pop("store")
    if not with_secrets:
        configuration["server"].pop("identities")
        configuration["server"].pop("licence")
    archive = Archive(
        version=__version__,
        exported=now,
        pins=_pin_notes(session),
        issuers=tuple(
            IssuerNote(key_sha256=row.issuer_key_sha256, issuer=row.issuer, scope=row.scope, number=row.number)
            for row in session.scalars(
                select(RevocationRow).order_by(
                    RevocationRow.issuer_key_sha256, RevocationRow.issuer, RevocationRow.scope
                )
            )
        ),
        ignore_rules=tuple(row.entry for row in by_name(session, IgnoreRow)),
        rejected_lists=tuple(
            _copy(RejectedList, row)
            for row in session.scalars(select(ListDownloadRow).order_by(ListDownloadRow.ca, ListDownloadRow.url))
            if row.rejected is not None
        ),
        trust_lists=tuple(row.entry for row in by_name(session, TrustListRow)),
        secrets=_secrets(session) if with_secrets else None,
    )
    return json.dumps({**write_object(archive), _CONFIGURATION: configuration}, indent=1, default=as_text) + "\n"


def take(change: Change, parsed: ParsedFile) -> Imported:
    """Put what a file holds in the place of what the store holds.

    :raises ChangeRefused: when it is of another site than the store's.
    """
    archive, configuration, settings_set = parsed.archive, parsed.configuration, parsed.settings
    shown, secrets = parsed.shown, archive.secrets
    if secrets is not None:
        _take_secrets(change, secrets, configuration)
        # Servers and clients take no generation that is older than the one they hold.
        change.generation = max(change.generation, configuration.generation + 1)
    else:
        authority.site_row(change.session)
    for table in (PartnerRow, CaRow, RevocationRow, SettingRow):
        _clear(change, table)
    for name, value in settings_set.items():
        settings.put(change, name, value)
    for each in configuration.server.cas:
        cas.take(change, each)
    _take_revocation(change, archive, configuration)
    _take_partners(change, archive, configuration, shown)
    if archive.ignore_rules is not None:
        ignore_rules.take(change, archive.ignore_rules)
    if archive.trust_lists is not None:
        _clear(change, TrustListRow)
        for entry in archive.trust_lists:
            trust_lists.add(change, entry)
    if archive.rejected_lists is not None:
        downloads.take_rejected(change, {(each.ca, each.url): each.rejected for each in archive.rejected_lists})
    return Imported(
        partners=len(configuration.server.partners),
        cas=len(configuration.server.cas),
        revocation_lists=len(configuration.server.revocation),
        ignore_rules=_count(archive.ignore_rules),
        identities=None if secrets is None else len(configuration.server.identities),
        clients=None if secrets is None else len(secrets.clients),
        administrators=None if secrets is None else _count(secrets.administrators),
        users=None if secrets is None else _count(secrets.users),
    )


def _count(entries: Sequence[object] | None) -> int | None:
    return None if entries is None else len(entries)


def parse_file(octets: bytes) -> ParsedFile:
    """Read and judge a file; the store is not needed, so that nobody waits for it meanwhile.

    :raises Unusable: when the file is not an export, or damaged, or has an identity that TLS cannot show.
    """
    try:
        found = read(octets, octets_most=limits.DOCUMENT_WHOLE_OCTETS_MOST)
        if not isinstance(found, dict) or not isinstance(found.get(_CONFIGURATION), dict):
            raise Unusable("this is not the file that 'smartproxy export' writes")
        inner = found.pop(_CONFIGURATION)
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


def _secrets(session: Session) -> Secrets:
    rows = identities.listed(session)
    return Secrets(
        site=_copy(ArchivedSite, authority.site_row(session)),
        clients=tuple(row.entry for row in clients.listed(session)),
        administrators=tuple(row.entry for row in administrators.listed(session)),
        users=tuple(_copy(ArchivedUser, row) for row in users.listed(session)),
        second_factors=tuple(
            _copy(ArchivedSecondFactor, row)
            for row in session.scalars(select(SecondFactorRow).order_by(SecondFactorRow.user))
        ),
        licences=tuple(_copy(ArchivedLicence, row) for row in licences.listed(session)),
        requests=tuple(row.request for row in rows if row.request is not None),
        planned=tuple(_copy(ArchivedPlan, row) for row in rows if row.planned is not None),
        withdrawn=tuple(
            _copy(ArchivedWithdrawal, row) for row in session.scalars(select(WithdrawnRow).order_by(WithdrawnRow.name))
        ),
    )


_Archived = TypeVar("_Archived", bound=attrs.AttrsInstance)


def _copy(cls: type[_Archived], row: Base) -> _Archived:
    """What a row holds of a class whose fields are columns."""
    return cls(**{field.name: getattr(row, field.name) for field in attrs.fields(cls)})


def _take_secrets(change: Change, secrets: Secrets, configuration: Configuration) -> None:
    site = change.session.get(SiteRow, 1)
    if site is None:
        site = SiteRow(number=1)
        change.session.add(site)
    elif site.authority_certificate.strip() != secrets.site.authority_certificate.strip():
        raise ChangeRefused(
            f"this store is of another site ({site.name!r}, another authority); import the file into an empty folder "
            "with --state-dir, or export it without secrets"
        )
    site.name = configuration.site
    for name, value in attrs.asdict(secrets.site).items():
        setattr(site, name, value)
    for table in (ClientRow, LicenceRow, IdentityRow, WithdrawnRow):
        _clear(change, table)
    change.session.add_all(ClientRow(name=each.name, entry=each) for each in secrets.clients)
    if secrets.administrators is not None:
        _clear(change, AdministratorRow)
        change.session.add_all(AdministratorRow(name=each.name, entry=each) for each in secrets.administrators)
    if secrets.users is not None:
        # Who was logged in may be somebody else now.
        _clear(change, UserRow)
        _clear(change, LoginRow)
        _clear(change, SecondFactorRow)
        change.session.add_all(
            UserRow(name=each.entry.name, entry=each.entry, password=each.password) for each in secrets.users
        )
        change.session.add_all(
            SecondFactorRow(**attrs.asdict(each) | {"recovery": list(each.recovery)}) for each in secrets.second_factors
        )
    change.session.add_all(WithdrawnRow(**attrs.asdict(each)) for each in secrets.withdrawn)
    for licence in secrets.licences:
        change.session.add(LicenceRow(**attrs.asdict(licence)))
        change.session.flush()
    entries = {each.name: each for each in configuration.server.identities}
    requests = {each.name: each for each in secrets.requests}
    rows = {
        name: IdentityRow(name=name, entry=entries.get(name), request=requests.get(name))
        for name in sorted(entries.keys() | requests.keys())
    }
    for each in secrets.planned:
        if (row := rows.get(each.planned.name)) is not None:
            row.planned, row.planned_since = each.planned, each.planned_since
    change.session.add_all(rows.values())
    change.session.flush()
    authority.load(change.session)


def _take_revocation(change: Change, archive: Archive, configuration: Configuration) -> None:
    notes = {(each.key_sha256, each.issuer, each.scope): each for each in archive.issuers}
    issuers = {each.key_sha256: each.issuer for each in archive.issuers}
    for each in configuration.server.revocation:
        # Exports of earlier versions say an issuer's name in its note only.
        issuer = each.issuer_name or issuers.get(each.issuer_key_sha256)
        if issuer is None:
            raise Unusable(
                f"the file does not name the issuer of the revocation list of the key {each.issuer_key_sha256}"
            )
        note = notes.get((each.issuer_key_sha256, issuer, each.scope))
        change.session.add(
            RevocationRow(
                issuer_key_sha256=each.issuer_key_sha256,
                issuer=issuer,
                scope=each.scope,
                this_update=each.this_update,
                next_update=each.next_update,
                number=None if note is None else note.number,
                width=each.serials.width,
                count=len(each.serials),
                octets=each.serials.octets,
                loaded=change.now,
            )
        )


def _take_partners(change: Change, archive: Archive, configuration: Configuration, shown: Mapping[str, str]) -> None:
    for each in configuration.server.partners:
        entry = each
        if each.outbound is not None and each.name in shown:
            entry = attrs.evolve(each, outbound=attrs.evolve(each.outbound, identity=shown[each.name]))
        partners.add(change, entry, archive.pins)


def _pin_notes(session: Session) -> tuple[PinNote, ...]:
    return tuple({note.sha256: note for row in partners.listed(session) for note in row.notes}.values())


def _clear(change: Change, table: type[Base]) -> None:
    change.session.execute(delete(table))
    change.session.expire_all()
