"""What the daemons saw of partners' certificates: which were let in, and which addresses of revocation lists they name.

Kept beside the events, because it is needed long after they are deleted: which partners would be refused when a CA's
lists are required, which certificates expire next, where a CA's lists can be had. Trusts no address: it is judged
again, and none is fetched before it is approved (:mod:`.downloads`).
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from smartproxy.backend.schema import CrlUrlRow, SeenCertificateRow
from smartproxy.logs.fields import utc_of
from smartproxy.logs.record import Record
from smartproxy.policy.certificates.revocation import is_plain

SEEN_AGAIN: Final = timedelta(hours=1)
"""What was seen so soon after the last time that was noted is not noted again."""
URLS_MOST: Final = 200
"""Addresses that are kept of one CA."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SERIAL: Final = re.compile(r"[0-9a-fA-F]{1,128}")


def note(session: Session, records: Iterable[Record]) -> None:
    """Keep what records tell of certificates."""
    for record in records:
        if record.name == "certificate.accepted":
            _certificate(session, record)
        elif record.name == "crl.url_seen":
            _url(session, record)


def certificates(session: Session) -> Sequence[SeenCertificateRow]:
    """All certificates with which partners were admitted."""
    return session.scalars(select(SeenCertificateRow).order_by(SeenCertificateRow.partner, SeenCertificateRow.id)).all()


def urls(session: Session, ca: str | None = None) -> Sequence[CrlUrlRow]:
    """The addresses of revocation lists, of one CA or of all."""
    query = select(CrlUrlRow).order_by(CrlUrlRow.ca, CrlUrlRow.url)
    if ca is not None:
        query = query.where(CrlUrlRow.ca == ca)
    return session.scalars(query).all()


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
        session.add(
            SeenCertificateRow(
                partner=told["partner"],
                sha256=told["certificate_sha256"],
                ca=told.get("ca"),
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
    if count < URLS_MOST:
        session.add(CrlUrlRow(ca=ca, url=url, first_seen=record.time, last_seen=record.time))
        session.flush()
