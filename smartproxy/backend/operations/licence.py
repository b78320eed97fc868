"""Operations on licences: which servers may run, until when, and for which site."""

from datetime import datetime

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import authority, licences
from smartproxy.backend.change import Change
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, Nothing
from smartproxy.backend.schema import LicenceRow
from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import NAME, Instant, Whole

_ID = ForPeople(help="what 'twistd smartproxy-server -L' prints on the server's machine")
_ONE = ForPeople(help="the server's Proxy ID; not needed where there is one server only")


@attrs.frozen(kw_only=True)
class LicenceWanted:
    """Whose licence.

    :ivar proxy_id: the server; ``None``: the only one.
    """

    proxy_id: str | None = attrs.field(default=None, metadata=kind(Optional(NAME), people=_ONE))


@attrs.frozen(kw_only=True)
class LicenceOrder:
    """A licence to sign.

    :ivar proxy_id: the server.
    :ivar valid_until: its end.
    :ivar valid_from: its begin; ``None``: an hour ago, as a certificate's.
    :ivar sessions: the highest number of sessions at once; ``None``: as many as there are.
    """

    proxy_id: str = attrs.field(metadata=kind(NAME, people=_ID))
    valid_until: datetime = attrs.field(metadata=kind(Instant(), people=ForPeople(help="its end")))
    valid_from: datetime | None = attrs.field(
        default=None, metadata=kind(Optional(Instant()), people=ForPeople(help="its begin; an hour ago if not given"))
    )
    sessions: int | None = attrs.field(
        default=None,
        metadata=kind(Optional(Whole(limits.SESSIONS)), people=ForPeople(help="highest number of sessions at once")),
    )


@attrs.frozen(kw_only=True)
class LicenceExtension:
    """A later end.

    :ivar proxy_id: the server; ``None``: the only one.
    :ivar valid_until: the new end.
    """

    proxy_id: str | None = attrs.field(default=None, metadata=kind(Optional(NAME), people=_ONE))
    valid_until: datetime = attrs.field(metadata=kind(Instant(), people=ForPeople(help="the new end")))


@attrs.frozen(kw_only=True)
class LicenceRemoval:
    """Whose licences are withdrawn.

    :ivar proxy_id: the server.
    """

    proxy_id: str = attrs.field(metadata=kind(NAME, people=_ID))


@attrs.frozen(kw_only=True)
class KnownLicence:
    """A licence.

    :ivar sessions: the highest number of sessions at once; ``None``: as many as there are.
    :ivar text: what stands in its file; it is no secret.
    """

    proxy_id: str = attrs.field(metadata=kind(AnyText()))
    valid_from: datetime = attrs.field(metadata=kind(Instant()))
    valid_until: datetime = attrs.field(metadata=kind(Instant()))
    issued: datetime = attrs.field(metadata=kind(Instant()))
    sessions: int | None = attrs.field(metadata=kind(Optional(Whole(limits.SESSIONS))))
    text: str = attrs.field(metadata=kind(AnyText()))


@attrs.frozen(kw_only=True)
class ServersLicence:
    """What is known of a server's licence.

    :ivar issued: the newest that was signed for it; ``None`` where none was, or it was withdrawn.
    :ivar reported_until: the end of the one that the server put in force last; ``None`` as long as it told of none.
    :ivar reported: when it did that.
    """

    proxy_id: str = attrs.field(metadata=kind(AnyText()))
    issued: KnownLicence | None = attrs.field(metadata=kind(Optional(ObjectOf(KnownLicence))))
    reported_until: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    reported: datetime | None = attrs.field(metadata=kind(Optional(Instant())))


@attrs.frozen(kw_only=True)
class KnownLicences:
    """The licences of all servers."""

    items: tuple[ServersLicence, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ServersLicence))))


@attrs.frozen(kw_only=True)
class WithdrawnLicences:
    """Whose licences are withdrawn.

    :ivar withdrawn: how many there were.
    """

    proxy_id: str = attrs.field(metadata=kind(AnyText()))
    withdrawn: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))


def _state(session: Session, proxy_id: str) -> KnownLicence:
    return _known(licences.find(session, proxy_id))


LICENCE = Family("licence", "licences", key="proxy_id", state=_state)


@LICENCE.reading("list", "List the newest licence of each server, and the one that it reported to have put in force.")
def listed(look: Transaction, wanted: Nothing) -> KnownLicences:
    """The licences of all servers."""
    return KnownLicences(
        items=tuple(
            ServersLicence(
                proxy_id=each.proxy_id,
                issued=None if each.issued is None else _known(each.issued),
                reported_until=each.reported_until,
                reported=each.reported,
            )
            for each in licences.of_servers(look.session)
        )
    )


@LICENCE.reading("show", "Show a server's newest licence, as the file that its machine needs.", path="GET :newest")
def show(look: Transaction, wanted: LicenceWanted) -> KnownLicence:
    """The licence of a server, or of the only one."""
    return _known(licences.only(look.session, wanted.proxy_id))


@LICENCE.changing("issue", "Sign a licence for a server, or a renewed one, which it gets by itself.", path="POST ")
def issue(change: Change, wanted: LicenceOrder) -> KnownLicence:
    """Sign the licence."""
    most = {} if wanted.sessions is None else {"sessions": wanted.sessions}
    # The server's clock may be behind.
    begin = wanted.valid_from or change.now - authority.BACKDATED
    return _known(
        licences.issue(change, wanted.proxy_id, valid_from=begin, valid_until=wanted.valid_until, limits=most)
    )


@LICENCE.changing("extend", "Give a server's licence a later end; it reaches the running server.", path="POST :extend")
def extend(change: Change, wanted: LicenceExtension) -> KnownLicence:
    """Sign it anew, with a later end."""
    return _known(licences.extend(change, wanted.proxy_id, valid_until=wanted.valid_until))


@LICENCE.changing("withdraw", "Stop clients from connecting to a server.", path="DELETE {proxy_id}")
def withdraw(change: Change, wanted: LicenceRemoval) -> WithdrawnLicences:
    """Forget its licences; the server's own file stays valid until it ends."""
    return WithdrawnLicences(proxy_id=wanted.proxy_id, withdrawn=licences.withdraw(change, wanted.proxy_id))


def _known(row: LicenceRow) -> KnownLicence:
    return KnownLicence(
        proxy_id=row.proxy_id,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        issued=row.issued,
        sessions=licences.limits_of(row).get("sessions"),
        text=row.text,
    )
