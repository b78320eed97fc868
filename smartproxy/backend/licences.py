"""Licences: the one file that an operator carries to a server, signed by the site's authority.

The newest licence of each Proxy ID counts. A client may speak to the servers whose licence has not ended, and to no
other. A licence also says which clients' certificates are withdrawn: when a client is shut out, all licences are signed
anew, and travel with the generation that this makes.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from smartproxy.backend import authority, sightings
from smartproxy.backend.change import Change
from smartproxy.backend.errors import NotFound, Unusable
from smartproxy.backend.schema import LicenceRow, WithdrawnRow
from smartproxy.policy.licence import Licence, WithdrawnClient, is_proxy_id, sign
from smartproxy.policy.limits import GIVEN_DAYS_MOST
from smartproxy.policy.values import minute

LIFE_MOST: Final = timedelta(days=GIVEN_DAYS_MOST)


def issue(
    change: Change, proxy_id: str, *, valid_from: datetime, valid_until: datetime, limits: dict[str, int]
) -> LicenceRow:
    """Sign a licence for a server.

    :raises Unusable: when the Proxy ID is none, the licence would last too long, end before it begins or before one
        that the server may have, or a limit is not one.
    """
    if valid_until > change.now + LIFE_MOST:
        raise Unusable(f"a licence lasts at most ten years; give an --until before {change.now + LIFE_MOST:%Y-%m-%d}")
    latest = latest_end(change.session, proxy_id)
    if latest is not None and valid_until < latest:
        raise Unusable(
            f"a licence for this server that ends on {minute(latest)} is issued already; it takes none that ends "
            "earlier; give a later --until"
        )
    if not is_proxy_id(proxy_id):
        raise Unusable(
            f"{proxy_id!r} is not a Proxy ID (64 digits of lower case hex and 'px'); "
            "'twistd smartproxy-server -L' prints it on the server's machine"
        )
    if valid_until <= max(valid_from, change.now):
        raise Unusable(f"the licence would end on {valid_until:%Y-%m-%d}, before it begins; give a later --until")
    return _keep(change, *_signed(change.session, proxy_id, valid_from, valid_until, limits))


def _keep(change: Change, licence: Licence, text: str) -> LicenceRow:
    row = LicenceRow(
        proxy_id=licence.proxy_id,
        text=text,
        valid_from=licence.valid_from,
        valid_until=licence.valid_until,
        issued=change.now,
    )
    change.session.add(row)
    change.session.flush()
    change.note(
        "licence.issued",
        proxy_id=licence.proxy_id,
        valid_until=licence.valid_until,
        valid_from=licence.valid_from,
        site=licence.site,
    )
    return row


def _signed(
    session: Session, proxy_id: str, valid_from: datetime, valid_until: datetime, limits: dict[str, int]
) -> tuple[Licence, str]:
    """A licence that says who is shut out by now, and its text; the same facts make the same text.

    :raises Unusable: when no server would take it.
    """
    site = authority.load(session)
    # A licence has whole seconds, and so has what its server reports: the end that is stored is the one that is signed.
    licence = Licence(
        proxy_id=proxy_id,
        site=site.site,
        valid_from=valid_from.replace(microsecond=0),
        valid_until=valid_until.replace(microsecond=0),
        limits=limits,
        authority_certificate=site.certificate_pem,
        withdrawn=tuple(
            WithdrawnClient(name=row.name, begins_until=row.begins_until)
            for row in session.scalars(select(WithdrawnRow).order_by(WithdrawnRow.name))
        ),
    )
    try:
        return licence, sign(licence, site.key)
    except ValueError as error:
        raise Unusable(f"no server would take this licence: {error}") from error


def extend(change: Change, proxy_id: str | None, *, valid_until: datetime) -> LicenceRow:
    """Sign a server's newest licence anew, with a later end and all else as it is.

    :param proxy_id: the server; not needed where there is one only.
    :raises NotFound: when it has no licence.
    :raises Unusable: when there are several servers and none was named, or the end would not be later, or too late.
    """
    row = only(change.session, proxy_id)
    if valid_until <= row.valid_until:
        raise Unusable(
            f"the licence ends on {minute(row.valid_until)} already; give a later --until (the server takes no licence "
            "that ends earlier than its own)"
        )
    return issue(change, row.proxy_id, valid_from=row.valid_from, valid_until=valid_until, limits=limits_of(row))


def limits_of(row: LicenceRow) -> dict[str, int]:
    """The upper limits in a licence; the only key is ``sessions``."""
    return dict(json.loads(row.text)["licence"].get("limits", {}))


def shut_out(change: Change, name: str, life: timedelta, token_sha256: str | None = None) -> int:
    """Have servers refuse the certificates that a client has by now; return how many licences say so.

    :param life: how long a certificate of this client can be valid.
    :param token_sha256: of the client's token, if it is removed: who shows it again is told so.
    :raises Unusable: when more clients are shut out than a licence takes.
    """
    mark_shut_out(change, name, life, token_sha256)
    return sign_anew(change)


def mark_shut_out(change: Change, name: str, life: timedelta, token_sha256: str | None = None) -> None:
    """Have the licences that are signed from now on say what :func:`shut_out` says."""
    begins = (change.now - authority.BACKDATED).replace(microsecond=0)
    mark_withdrawn(change, name, begins_until=begins, forget=change.now + life, token_sha256=token_sha256)


def mark_withdrawn(
    change: Change, name: str, *, begins_until: datetime, forget: datetime, token_sha256: str | None
) -> None:
    """Have the licences that are signed from now on say that a client's certificates are withdrawn.

    :param begins_until: certificates that begin to be valid until then.
    :param forget: when the last of them has expired.
    :param token_sha256: of the client's token, if it is removed.
    """
    change.session.execute(delete(WithdrawnRow).where(WithdrawnRow.forget < change.now))
    gone = change.session.get(WithdrawnRow, name)
    if gone is None:
        gone = WithdrawnRow(name=name, begins_until=begins_until, forget=forget)
        change.session.add(gone)
    # What was withdrawn for longer stays so: a credential may have years to go, and a client of its name has days.
    gone.begins_until, gone.forget = max(gone.begins_until, begins_until), max(gone.forget, forget)
    gone.token_sha256 = token_sha256 or gone.token_sha256
    change.session.flush()


def sign_anew(change: Change) -> int:
    """Have all licences that last say who is shut out by now; return how many do.

    :raises Unusable: when more clients are shut out than a licence takes.
    """
    count = 0
    for proxy_id, row in newest(change.session).items():
        # The server may have any that was issued, and takes none that ends earlier or is not valid yet. One that lasts
        # longer than any that is issued now has to say so, too.
        every = select(func.min(LicenceRow.valid_from)).where(LicenceRow.proxy_id == proxy_id)
        valid_from = change.session.scalar(every) or row.valid_from
        valid_until = latest_end(change.session, proxy_id) or row.valid_until
        if valid_until > change.now:
            licence, text = _signed(change.session, proxy_id, valid_from, valid_until, limits_of(row))
            if text != row.text:
                _keep(change, licence, text)
            count += 1
    return count


def withdrawn(session: Session, name: str) -> datetime | None:
    """Up to which begin of their validity a client's certificates are withdrawn, if any are."""
    row = session.get(WithdrawnRow, name)
    return None if row is None else row.begins_until


def withdraw(change: Change, proxy_id: str) -> int:
    """Forget all licences of a Proxy ID, so that clients do not speak to that server any more; return how many.

    The server itself keeps its file, and runs with it until it ends.

    :raises NotFound: when it has none.
    """
    count = len(change.session.scalars(select(LicenceRow.id).where(LicenceRow.proxy_id == proxy_id)).all())
    if not count:
        raise NotFound(f"no licence was issued for {proxy_id!r}; 'smartproxy licence list' shows all")
    change.session.execute(delete(LicenceRow).where(LicenceRow.proxy_id == proxy_id))
    return count


def listed(session: Session) -> Sequence[LicenceRow]:
    """All licences, the oldest first."""
    return session.scalars(select(LicenceRow).order_by(LicenceRow.id)).all()


def newest(session: Session) -> dict[str, LicenceRow]:
    """The licence that counts, by Proxy ID."""
    return {row.proxy_id: row for row in listed(session)}


def latest_end(session: Session, proxy_id: str) -> datetime | None:
    """The latest end of all licences of a Proxy ID; ``None`` if there is none."""
    return session.scalar(select(func.max(LicenceRow.valid_until)).where(LicenceRow.proxy_id == proxy_id))


@attrs.frozen(kw_only=True)
class ServerLicence:
    """What is known of a server's licence.

    :ivar issued: the newest that was signed here for it; ``None`` where none was, or it was withdrawn.
    :ivar reported_until: the end of the one that the server put in force last; ``None`` as long as it told of none.
    :ivar reported: when it did that.
    """

    proxy_id: str
    issued: LicenceRow | None
    reported_until: datetime | None
    reported: datetime | None


def of_servers(session: Session) -> Sequence[ServerLicence]:
    """The licences of all servers: as they were issued here, and as the servers reported them."""
    issued, reported = newest(session), sightings.server_licences(session)
    found = []
    for proxy_id in dict.fromkeys([*issued, *sorted(reported)]):
        told = reported.get(proxy_id)
        found.append(
            ServerLicence(
                proxy_id=proxy_id,
                issued=issued.get(proxy_id),
                reported_until=None if told is None else told.valid_until,
                reported=None if told is None else told.reported,
            )
        )
    return found


def only(session: Session, proxy_id: str | None) -> LicenceRow:
    """The licence of a Proxy ID that counts; without one, that of the only server.

    :raises NotFound: when it has none.
    :raises Unusable: when there are several servers and none was named.
    """
    if proxy_id is None:
        known = newest(session)
        if len(known) > 1:
            raise Unusable(f"{len(known)} servers are licensed; say which: 'smartproxy licence list' shows them")
        proxy_id = next(iter(known), "")
    return find(session, proxy_id)


def find(session: Session, proxy_id: str) -> LicenceRow:
    """The licence of a Proxy ID that counts.

    :raises NotFound: when it has none.
    """
    row = newest(session).get(proxy_id)
    if row is None:
        raise NotFound(f"no licence was issued for {proxy_id!r}; 'smartproxy licence list' shows all")
    return row


def licensed(session: Session, now: datetime) -> list[str]:
    """The Proxy IDs of the servers that clients may speak to."""
    return sorted(proxy_id for proxy_id, row in newest(session).items() if row.valid_until > now)


def carried(session: Session) -> str | None:
    """The licence that travels in the configuration: that of the only server, if there is one only."""
    found = newest(session)
    return next(iter(found.values())).text if len(found) == 1 else None
