"""Operations of the set-up: how far a new site is, and its first administrator.

How far it is, is read from what the store holds: nothing is kept apart, so that a set-up that was interrupted, or done
with the command in part, goes on where the site is.
"""

from datetime import datetime
from typing import Final

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import clients, identities, journal, licences, partners, settings, sightings, users
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.partner import CODE_UNKNOWN
from smartproxy.backend.operations.shapes import AnyText, Nothing
from smartproxy.backend.schema import PartnerRow, SettingRow, SiteRow
from smartproxy.policy import limits
from smartproxy.policy.permissions import ADMINISTRATOR_NAME, AdminRole
from smartproxy.policy.schema import ForPeople, Optional, kind, masked
from smartproxy.policy.values import Flag, Instant, Line, Whole

SETUP = Family("setup", "setup", key="")

STATION_HOST: Final = "client.station.host"
STATION_PORT: Final = "client.station.port"
_TEXT = Optional(AnyText())
_TIME = Optional(Instant())


@attrs.frozen(kw_only=True)
class FirstAdministrator:
    """The first administrator of a site that has none.

    :ivar password: at least 12 characters.
    """

    name: str = attrs.field(metadata=kind(ADMINISTRATOR_NAME, people=ForPeople(help="the name at the login")))
    password: str = attrs.field(repr=masked, metadata=kind(Line(most=limits.PASSWORD.most)))

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return self.name


@attrs.frozen(kw_only=True)
class SiteProgress:
    """How far a site is set up; what is not there yet is ``None``.

    :ivar site: its name.
    :ivar administrator: whether there is an administrator who can log in.
    :ivar station_host: the station's address, once it is set.
    :ivar identity: the name of an identity that servers can show.
    :ivar request: the name of an identity whose certificate is asked for.
    :ivar proxy_id: a server that has a licence.
    :ivar server_seen: when a server reported the licence that it put in force.
    :ivar client: a client that may call.
    :ivar client_seen: when a client called last.
    :ivar partner: the first partner.
    :ivar code: its code, once that is known.
    :ivar presented: the code that was presented with the certificate of that partner, and refused.
    :ivar session: the number of the newest event of a session's start.
    :ivar session_partner: whose session that was.
    """

    site: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    administrator: bool = attrs.field(default=False, metadata=kind(Flag()))
    station_host: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    station_port: int = attrs.field(default=0, metadata=kind(Whole(limits.EVENT_NUMBER)))
    identity: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    request: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    proxy_id: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    server_seen: datetime | None = attrs.field(default=None, metadata=kind(_TIME))
    client: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    client_seen: datetime | None = attrs.field(default=None, metadata=kind(_TIME))
    partner: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    code: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    presented: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    session: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    session_partner: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    session_time: datetime | None = attrs.field(default=None, metadata=kind(_TIME))

    @property
    def finished(self) -> bool:
        """Whether files can flow: a partner had a session."""
        return self.session_time is not None


@SETUP.reading("show", "Show how far the site is set up.", path="GET ")
def show(look: Transaction, wanted: Nothing) -> SiteProgress:
    """Read it from what the store holds."""
    return progress(look.session)


@SETUP.changing("administrator", "Add the first administrator of a site that has none.")
def first_administrator(change: Change, wanted: FirstAdministrator) -> SiteProgress:
    """Add the user, once.

    :raises ChangeRefused: when there is an administrator already, or the password is worth nothing.
    """
    if users.any_administrator(change.session):
        raise ChangeRefused("the site has an administrator already; log in, or have an administrator add you")
    users.add(change, wanted.name, AdminRole.ADMINISTRATOR, wanted.password)
    change.session.flush()
    return progress(change.session)


def progress(session: Session) -> SiteProgress:
    """How far a site is set up."""
    site = session.get(SiteRow, 1)
    if site is None:
        return SiteProgress(administrator=users.any_administrator(session))
    station = session.get(SettingRow, STATION_HOST)
    known = identities.listed(session)
    able = [row for row in clients.listed(session) if row.entry.enabled]
    reported = sightings.server_licences(session).values()
    partner = session.scalars(select(PartnerRow).order_by(PartnerRow.id).limit(1)).one_or_none()
    code = next((each for each in (() if partner is None else partner.entry.codes) if each != CODE_UNKNOWN), None)
    started = journal.newest(session, "session.started")
    return SiteProgress(
        site=site.name,
        administrator=users.any_administrator(session),
        station_host=None if station is None else str(station.value),
        station_port=int(str(settings.value_of(session, STATION_PORT))),
        identity=next((row.name for row in known if row.entry is not None), None),
        request=next((row.name for row in known if row.request is not None), None),
        proxy_id=next(iter(licences.newest(session)), None),
        server_seen=max((row.reported for row in reported), default=None),
        client=next((row.name for row in able), None),
        client_seen=max((row.last_seen for row in able if row.last_seen is not None), default=None),
        partner=None if partner is None else partner.name,
        code=code,
        presented=None if partner is None or code is not None else _presented(session, partner),
        session=None if started is None else str(started.fields.get("session")),
        session_partner=None if started is None else str(started.fields.get("partner")),
        session_time=None if started is None else started.time,
    )


@SETUP.changing("take-code", "Take over the code that the first partner presented in a refused call.")
def take_code(change: Change, wanted: Nothing) -> SiteProgress:
    """Give the partner that code in the place of none.

    :raises ChangeRefused: when no call presented one, or the partner has one.
    """
    found = progress(change.session)
    if found.partner is None or found.presented is None:
        raise ChangeRefused("no refused call of a partner without a code gave an SSIDCODE")
    partners.alter(change, found.partner, codes=(found.presented,))
    change.session.flush()
    return progress(change.session)


def _presented(session: Session, partner: PartnerRow) -> str | None:
    """The code that the newest call presented that was refused for it."""
    found = journal.newest(session, "identity.refused", partner.name)
    code = None if found is None else found.fields.get("code")
    return code if isinstance(code, str) else None
