"""What the daemons saw: certificates of partners, the addresses of revocation lists in them, and licences of servers.

Of each certificate it is kept, too, whether the partner gave one of its SSIDCODEs with it. Kept beside the events,
because it is needed long after they are deleted: which partners would be refused when a CA's lists are required, which
certificates expire next, where a CA's lists can be had, which server runs until when. What is kept is bounded: a server
can tell of as many certificates and addresses as it likes. Trusts no address: it is judged again, and none is fetched
before it is approved (:mod:`.downloads`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from smartproxy.backend.schema import CaRow, NamedRow, PartnerRow
from smartproxy.backend.sighting_tables import CrlUrlRow, ProposalRow, SeenCertificateRow, ServerLicenceRow
from smartproxy.logs.fields import utc_of
from smartproxy.logs.record import Record
from smartproxy.policy.certificates.crl_urls import is_plain
from smartproxy.policy.licence import is_proxy_id

SEEN_AGAIN: Final = timedelta(hours=1)
"""What was seen so soon after the last time that was noted is not noted again."""
URLS_MOST: Final = 200
"""Addresses that are kept of one CA."""
CERTIFICATES_MOST: Final = 50
"""Certificates that are kept of one partner: then the one goes that was not seen for the longest time.

One with which the partner proved an SSIDCODE goes only where all others did, too."""
SERVERS_MOST: Final = 1000
"""Servers whose licences are kept."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SERIAL: Final = re.compile(r"[0-9a-fA-F]{1,128}")


def note(session: Session, records: Iterable[Record]) -> None:
    """Keep what records tell of certificates."""
    for record in records:
        if record.name == "certificate.accepted":
            _certificate(session, record)
        elif record.name == "identity.accepted":
            _proved(session, record)
        elif record.name == "outbound.answered" and "ca" not in record.fields:
            # By a pin; of those that are known by a CA, nothing is proposed.
            _certificate(session, record)
            _proved(session, record)
        elif record.name == "crl.url_seen":
            _url(session, record)
        elif record.name == "licence.accepted":
            _licence(session, record)


def certificates(session: Session) -> Sequence[SeenCertificateRow]:
    """All certificates with which partners were admitted."""
    return session.scalars(select(SeenCertificateRow).order_by(SeenCertificateRow.partner, SeenCertificateRow.id)).all()


def urls(session: Session, ca: str | None = None) -> Sequence[CrlUrlRow]:
    """The addresses of revocation lists, of one CA or of all."""
    query = select(CrlUrlRow).order_by(CrlUrlRow.ca, CrlUrlRow.url)
    if ca is not None:
        query = query.where(CrlUrlRow.ca == ca)
    return session.scalars(query).all()


def forget(session: Session, before: datetime | None, now: datetime) -> None:
    """Delete what is of partners and CAs that are not there any more, and what was not seen since a time.

    A certificate with which a partner proved an SSIDCODE, and a server's licence, is kept until it has ended: a server
    tells of its licence only when it starts and when it gets a new one.

    :param before: the time; none if events are kept for ever.
    """
    for table in (SeenCertificateRow, ProposalRow):
        session.execute(delete(table).where(table.partner.not_in(select(PartnerRow.name))))
    session.execute(delete(CrlUrlRow).where(CrlUrlRow.ca.not_in(select(CaRow.name))))
    if before is not None:
        over = or_(SeenCertificateRow.proved.is_(None), SeenCertificateRow.not_after < before)
        session.execute(delete(SeenCertificateRow).where(SeenCertificateRow.last_seen < before, over))
        session.execute(delete(CrlUrlRow).where(CrlUrlRow.last_seen < before))
        session.execute(
            delete(ServerLicenceRow).where(ServerLicenceRow.reported < before, ServerLicenceRow.valid_until < now)
        )


def _is_there(session: Session, table: type[NamedRow], name: str | None) -> bool:
    """Whether something of a name is configured."""
    return session.scalar(select(table.id).where(table.name == name)) is not None


def server_licences(session: Session) -> Mapping[str, ServerLicenceRow]:
    """The licences that servers put in force last, by Proxy ID."""
    return {row.proxy_id: row for row in session.scalars(select(ServerLicenceRow))}


def _licence(session: Session, record: Record) -> None:
    proxy_id, until = record.fields.get("proxy_id"), _time(str(record.fields.get("valid_until", "")))
    if not isinstance(proxy_id, str) or not is_proxy_id(proxy_id) or until is None:
        return
    known = session.get(ServerLicenceRow, proxy_id)
    if known is not None:
        if record.time >= known.reported:
            known.valid_until, known.reported = until, record.time
    elif (session.scalar(select(func.count()).select_from(ServerLicenceRow)) or 0) < SERVERS_MOST:
        session.add(ServerLicenceRow(proxy_id=proxy_id, valid_until=until, reported=record.time))
        session.flush()


def _certificate(session: Session, record: Record) -> None:
    told = {name: str(value) for name, value in record.fields.items()}
    not_after = _time(told.get("not_after", ""))
    if not_after is None or not {"partner", "certificate_sha256", "issuer", "serial"} <= told.keys():
        return
    if not _SHA256.fullmatch(told["certificate_sha256"]) or not _SERIAL.fullmatch(told["serial"]):
        return
    named = record.fields.get("crl_points")
    points = named if isinstance(named, list) else []
    known = session.scalars(
        select(SeenCertificateRow).where(
            SeenCertificateRow.partner == told["partner"], SeenCertificateRow.sha256 == told["certificate_sha256"]
        )
    ).one_or_none()
    if known is None:
        ca = told.get("ca")
        if not _is_there(session, PartnerRow, told["partner"]) or not (ca is None or _is_there(session, CaRow, ca)):
            return
        _make_room(session, told["partner"])
        session.add(
            SeenCertificateRow(
                partner=told["partner"],
                sha256=told["certificate_sha256"],
                key_sha256=key if (key := told.get("key_sha256")) and _SHA256.fullmatch(key) else None,
                ca=ca,
                subject=told.get("subject", ""),
                issuer=told["issuer"],
                serial=told["serial"],
                crl_points=points,
                not_after=not_after,
                first_seen=record.time,
                last_seen=record.time,
            )
        )
        session.flush()
    elif record.time - known.last_seen >= SEEN_AGAIN or known.ca != told.get("ca"):
        known.last_seen, known.ca = record.time, told.get("ca")
        known.crl_points = points or known.crl_points


def _make_room(session: Session, partner: str) -> None:
    """Forget certificates of a partner, so that there is room for one more."""
    mine = select(SeenCertificateRow.id).where(SeenCertificateRow.partner == partner)
    newest = mine.order_by(SeenCertificateRow.proved.is_(None), SeenCertificateRow.last_seen.desc())
    old = session.scalars(newest.offset(CERTIFICATES_MOST - 1)).all()
    session.execute(delete(SeenCertificateRow).where(SeenCertificateRow.id.in_(old)))


def _proved(session: Session, record: Record) -> None:
    """Note that a partner gave one of its SSIDCODEs in a session with this certificate."""
    partner, sha256 = record.fields.get("partner"), record.fields.get("certificate_sha256")
    query = select(SeenCertificateRow).where(
        SeenCertificateRow.partner == str(partner), SeenCertificateRow.sha256 == str(sha256)
    )
    known = session.scalars(query).one_or_none()
    if known is not None and (known.proved is None or record.time - known.proved >= SEEN_AGAIN):
        known.proved = record.time


def _time(text: str) -> datetime | None:
    try:
        return utc_of(text)
    except ValueError:
        return None


def _url(session: Session, record: Record) -> None:
    url, ca = record.fields.get("url"), record.fields.get("ca")
    if not isinstance(url, str) or not isinstance(ca, str) or not is_plain(url):
        return
    query = select(CrlUrlRow).where(CrlUrlRow.ca == ca, CrlUrlRow.url == url)
    known = session.scalars(query).one_or_none()
    if known is not None:
        known.last_seen = record.time
        return
    count = session.scalar(select(func.count()).select_from(CrlUrlRow).where(CrlUrlRow.ca == ca)) or 0
    if count < URLS_MOST and _is_there(session, CaRow, ca):
        session.add(CrlUrlRow(ca=ca, url=url, first_seen=record.time, last_seen=record.time))
        session.flush()
