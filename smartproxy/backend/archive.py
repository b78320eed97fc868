"""A whole site as one JSON file, and back: for moving it, for keeping it, for comparing it.

What a file without secrets lacks stays as it is when it is imported. An import is one change, taken as a whole and
judged like any other.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

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
from smartproxy.backend.access_tables import AdministratorRow
from smartproxy.backend.alert_tables import IgnoreRow
from smartproxy.backend.alerts import ignore_rules
from smartproxy.backend.archive_file import (
    CONFIGURATION,
    Archive,
    ArchivedLicence,
    ArchivedPlan,
    ArchivedSecondFactor,
    ArchivedSite,
    ArchivedUser,
    ArchivedWithdrawal,
    IssuerNote,
    ParsedFile,
    RejectedList,
    Secrets,
)
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused, Unusable
from smartproxy.backend.named import by_name
from smartproxy.backend.schema import (
    Base,
    CaRow,
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
from smartproxy.policy.configuration import Configuration
from smartproxy.policy.packing import as_text, unpack
from smartproxy.policy.schema import write_object


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
    return json.dumps({**write_object(archive), CONFIGURATION: configuration}, indent=1, default=as_text) + "\n"


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
    for each in configuration.server.cas:
        cas.take(change, each)
    _take_revocation(change, archive, configuration)
    _take_partners(change, archive, configuration, shown)
    # Behind the partners, which settings may name.
    for name, value in settings_set.items():
        settings.put(change, name, value)
    if archive.ignore_rules is not None:
        ignore_rules.take(change, archive.ignore_rules)
    if archive.trust_lists is not None:
        _clear(change, TrustListRow)
        for entry in archive.trust_lists:
            trust_lists.add(change, entry)
        trust_lists.forget_others(change.session)
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
    entries = {each.name: each for each in configuration.server.identities}
    requests = {each.name: each for each in secrets.requests}
    rows = {
        name: IdentityRow(name=name, entry=entries.get(name), request=requests.get(name))
        for name in sorted(entries.keys() | requests.keys())
    }
    for each in secrets.planned:
        if (row := rows.get(each.planned.name)) is not None:
            row.planned, row.planned_since = each.planned, each.planned_since
    _clear(change, IdentityRow)
    change.session.add_all(rows.values())
    change.session.flush()
    authority.load(change.session)
    _take_clients(change, secrets)


def _take_clients(change: Change, secrets: Secrets) -> None:
    """Put the file's clients and licences in the place of the store's.

    The servers of this store may have certificates of clients before them that the file does not let in, and licences
    that last longer than those of the file: they are told anew who is shut out, and until when their licence lasts.
    """
    called = {row.name: row.entry.token_sha256 for row in clients.listed(change.session) if row.entry.enabled}
    issued = [_copy(ArchivedLicence, row) for row in licences.listed(change.session)]
    for table in (ClientRow, LicenceRow):
        _clear(change, table)
    change.session.add_all(ClientRow(name=each.name, entry=each) for each in secrets.clients)
    servers = {each.proxy_id for each in secrets.licences}
    for licence in dict.fromkeys([*(each for each in issued if each.proxy_id in servers), *secrets.licences]):
        change.session.add(LicenceRow(**attrs.asdict(licence)))
        change.session.flush()
    for withdrawal in secrets.withdrawn:
        licences.mark_withdrawn(change, **attrs.asdict(withdrawal))
    stay = {each.name for each in secrets.clients}
    for name in sorted(called.keys() - {each.name for each in secrets.clients if each.enabled}):
        licences.mark_shut_out(change, name, authority.TUNNEL_LIFE, None if name in stay else called[name])
    if issued:
        licences.sign_anew(change)


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
