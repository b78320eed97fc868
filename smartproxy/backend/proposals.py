"""Proposals: a partner that is recognized by a pinned certificate comes with a new one, or shows one when it is called.

A certificate is proposed if a server refused it for nothing but that it is assigned to no partner, or not to the one
that was called, so that its path to a configured CA was verified, and if it has the subject and the issuer of a pinned
certificate with which exactly one partner, or the one that was called, proved its SSIDCODE before. A proposal trusts
nothing: an operator turns it into a pin, or rejects it, after which it does not come again.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from shlex import quote
from typing import Final

import attrs
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from smartproxy.backend import journal, partners
from smartproxy.backend.change import Change
from smartproxy.backend.errors import NotFound
from smartproxy.backend.schema import PartnerRow, PinNote
from smartproxy.backend.sighting_tables import ProposalRow, SeenCertificateRow
from smartproxy.logs.catalogue import look_up
from smartproxy.logs.fields import utc_of
from smartproxy.logs.record import Record
from smartproxy.logs.render import escape
from smartproxy.policy.causes import Cause
from smartproxy.policy.outbound import rules_of
from smartproxy.policy.partners import CertificatePin, KeyPin, Partner, Rule, Verify
from smartproxy.policy.schema import Optional, kind
from smartproxy.policy.values import NAME, SHA256, Flag, Instant, Line, minute

PROPOSALS_MOST: Final = 5
"""Proposals that are kept of one partner, the newest of them."""
REJECTED_MOST: Final = 50
"""Rejected ones that are kept of one partner, so that they do not come again."""
SEEN_AGAIN: Final = timedelta(hours=1)
_REFUSALS: Final = (
    ("certificate.refused", Cause.CERTIFICATE_NO_PARTNER),
    ("outbound.failed", Cause.CERTIFICATE_NOT_EXPECTED),
)
_SHA256: Final = re.compile("[0-9a-f]{64}")
_TEXT_MOST: Final = 2048
_TEXT = Line(most=_TEXT_MOST)


@attrs.frozen(kw_only=True)
class ProposedCertificate:
    """A certificate that would take its place beside one that is pinned.

    :ivar partner: whose it is by all appearances.
    :ivar sha256: the new certificate's.
    :ivar subject: of both.
    :ivar issuer: of both.
    :ivar serial: the new one's, in hex.
    :ivar not_after: the new one's end.
    :ivar cas: the configured CAs that its path reaches.
    :ivar old_sha256: the pinned certificate's with which the partner proved its SSIDCODE.
    :ivar old_serial: its serial number.
    :ivar old_not_after: its end.
    :ivar proved: when the partner proved its SSIDCODE with it last.
    :ivar peer: from where the new one was shown last.
    :ivar outgoing: whether the partner showed it when it was called.
    :ivar rejected: when an operator decided that it is not the partner's.
    """

    partner: str = attrs.field(metadata=kind(NAME))
    sha256: str = attrs.field(metadata=kind(SHA256))
    subject: str = attrs.field(metadata=kind(_TEXT))
    issuer: str = attrs.field(metadata=kind(_TEXT))
    serial: str = attrs.field(metadata=kind(_TEXT))
    not_after: datetime = attrs.field(metadata=kind(Instant()))
    cas: str = attrs.field(metadata=kind(_TEXT))
    old_sha256: str = attrs.field(metadata=kind(SHA256))
    old_serial: str = attrs.field(metadata=kind(_TEXT))
    old_not_after: datetime = attrs.field(metadata=kind(Instant()))
    proved: datetime = attrs.field(metadata=kind(Instant()))
    first_seen: datetime = attrs.field(metadata=kind(Instant()))
    last_seen: datetime = attrs.field(metadata=kind(Instant()))
    peer: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    outgoing: bool = attrs.field(default=False, metadata=kind(Flag()))
    rejected: datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant())))


def note(session: Session, records: Iterable[Record], received: datetime) -> None:
    """Make proposals of what servers refused."""
    for record in records:
        if (record.name, record.fields.get("cause")) in _REFUSALS:
            _refused(session, record, received, outgoing=record.name == "outbound.failed")


def listed(session: Session, *, rejected: bool = False) -> Sequence[ProposedCertificate]:
    """All proposals that still make sense, by partner, the newest first.

    :param rejected: whether also those that were rejected.
    """
    query = select(ProposalRow) if rejected else select(ProposalRow).where(ProposalRow.rejected.is_(None))
    rows = session.scalars(query.order_by(ProposalRow.last_seen.desc(), ProposalRow.id.desc())).all()
    found = [each for row in rows if (each := _proposed(session, row)) is not None]
    return sorted(found, key=lambda each: each.partner)


def of_certificate(session: Session, sha256: str) -> ProposedCertificate | None:
    """The proposal of a certificate, if there is one."""
    return next((each for each in listed(session) if each.sha256 == sha256), None)


def accept(change: Change, name: str, which: str | None) -> ProposedCertificate:
    """Recognize the partner by the certificate that is proposed, beside those that it has.

    :param which: the certificate's SHA-256, or the beginning of it; needed only where several are proposed.
    :raises NotFound: when nothing is proposed, or not exactly one certificate is meant.
    """
    found = _meant(change.session, name, which)
    pin = PinNote(sha256=found.sha256, subject=found.subject, not_after=found.not_after)
    rule = CertificatePin(sha256=found.sha256)
    outbound = partners.find(change.session, name).entry.outbound
    if found.outgoing and outbound is not None and outbound.certificates:
        partners.alter_outbound(change, name, [pin], certificates=(*outbound.certificates, rule))
    else:
        partners.add_rules(change, name, [rule], [pin])
    change.session.delete(_row(change.session, found))
    return found


def reject(session: Session, name: str, which: str | None, now: datetime) -> ProposedCertificate:
    """Decide that a certificate is not the partner's: it is not proposed again.

    :param which: as for :func:`accept`.
    :raises NotFound: as :func:`accept` does.
    """
    found = _meant(session, name, which)
    _row(session, found).rejected = now
    _forget_oldest(session, name)
    return found


def _meant(session: Session, name: str, which: str | None) -> ProposedCertificate:
    """The one proposal of a partner that is meant; one that was rejected only if it is named."""
    partners.find(session, name)
    proposed = [each for each in listed(session, rejected=which is not None) if each.partner == name]
    if not proposed:
        raise NotFound(f"no certificate is proposed for {name}; 'smartproxy partner proposals' shows all proposals")
    wanted = "" if which is None else which.lower().replace(":", "")
    fits = [each for each in proposed if each.sha256.startswith(wanted)]
    if len(fits) == 2 and fits[0].sha256 == fits[1].sha256:
        # Shown in calls of both directions: first that of the partner's own calls.
        fits = [each for each in fits if not each.outgoing]
    if len(fits) != 1:
        known = ", ".join(each.sha256 for each in proposed)
        raise NotFound(
            f"{len(fits)} of the certificates that are proposed for {name} are meant; name one by the beginning of its "
            f"SHA-256 (--sha256): {known}"
        )
    return fits[0]


def _row(session: Session, proposed: ProposedCertificate) -> ProposalRow:
    mine = select(ProposalRow).where(ProposalRow.sha256 == proposed.sha256, ProposalRow.outgoing.is_(proposed.outgoing))
    return session.scalars(mine).one()


def _refused(session: Session, record: Record, received: datetime, *, outgoing: bool) -> None:
    told = {name: str(value) for name, value in record.fields.items()}
    if not {"certificate_sha256", "subject", "issuer", "serial", "not_after"} <= told.keys():
        return
    facts = record.fields.get("facts")
    cas = str(facts.get("cas", "")) if isinstance(facts, Mapping) else ""
    sha256 = told["certificate_sha256"]
    if not cas or not _SHA256.fullmatch(sha256):
        return
    same = select(ProposalRow).where(ProposalRow.sha256 == sha256, ProposalRow.outgoing.is_(outgoing))
    known = session.scalars(same).one_or_none()
    if known is not None:
        if record.time - known.last_seen >= SEEN_AGAIN:
            known.last_seen, known.peer = record.time, told.get("peer")
        return
    proved = select(SeenCertificateRow).where(
        SeenCertificateRow.subject == told["subject"],
        SeenCertificateRow.issuer == told["issuer"],
        SeenCertificateRow.sha256 != sha256,
        SeenCertificateRow.proved.is_not(None),
    )
    if outgoing:
        proved = proved.where(SeenCertificateRow.partner == told.get("partner", ""))
    olds = [each for each in session.scalars(proved) if _is_pinned(session, each, outgoing)]
    if len({each.partner for each in olds}) != 1:
        return
    old = max(olds, key=lambda each: each.last_seen)
    session.add(
        ProposalRow(
            partner=old.partner,
            sha256=sha256,
            serial=told["serial"],
            not_after=utc_of(told["not_after"]),
            cas=cas,
            old=old.id,
            first_seen=record.time,
            last_seen=record.time,
            peer=told.get("peer"),
            outgoing=outgoing,
        )
    )
    session.flush()
    _forget_oldest(session, old.partner)
    fields = {
        "partner": old.partner,
        "subject": old.subject,
        "issuer": old.issuer,
        "serial": told["serial"],
        "certificate_sha256": sha256,
        "not_after": told["not_after"],
        "peer": told.get("peer"),
        "direction": "outbound" if outgoing else "inbound",
        "advice": advice(old.partner),
        "facts": {"pinned_sha256": old.sha256, "pinned_until": minute(old.not_after)},
    }
    checked = look_up("certificate.proposed").check({name: each for name, each in fields.items() if each is not None})
    journal.keep(session, [Record("certificate.proposed", received, "backend", None, checked)], received)


def advice(partner: str) -> str:
    """What an operator can do about a proposal."""
    return (
        f"It has the subject and the issuer of a pinned certificate with which {partner} proved its SSIDCODE. Ask "
        f"{partner} whether it is its new certificate; if so: smartproxy partner accept {quote(partner)}; if not: "
        f"smartproxy partner reject {quote(partner)}"
    )


def _forget_oldest(session: Session, partner: str) -> None:
    mine = select(ProposalRow.id).where(ProposalRow.partner == partner).order_by(ProposalRow.last_seen.desc())
    open_ones, rejected = ProposalRow.rejected.is_(None), ProposalRow.rejected.is_not(None)
    for which, most in ((open_ones, PROPOSALS_MOST), (rejected, REJECTED_MOST)):
        old = session.scalars(mine.where(which).offset(most)).all()
        session.execute(delete(ProposalRow).where(ProposalRow.id.in_(old)))


def _proposed(session: Session, row: ProposalRow) -> ProposedCertificate | None:
    """A proposal; nothing if its partner is not there any more, or recognizes the new certificate or not the old."""
    old = session.get(SeenCertificateRow, row.old)
    # SQLite gives the number of a row that was deleted again, so that the old one may be another partner's.
    if old is None or old.partner != row.partner or old.proved is None or not _is_pinned(session, old, row.outgoing):
        return None
    partner = session.scalars(select(PartnerRow).where(PartnerRow.name == row.partner)).one_or_none()
    if partner is None or CertificatePin(sha256=row.sha256) in _rules(partner.entry, row.outgoing):
        return None
    return ProposedCertificate(
        partner=row.partner,
        sha256=row.sha256,
        subject=_line(old.subject),
        issuer=_line(old.issuer),
        serial=_line(row.serial),
        not_after=row.not_after,
        cas=_line(row.cas),
        old_sha256=old.sha256,
        old_serial=_line(old.serial),
        old_not_after=old.not_after,
        proved=old.proved,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        peer=row.peer,
        outgoing=row.outgoing,
        rejected=row.rejected,
    )


def _line(text: str) -> str:
    """A text from a certificate, fit for a document."""
    return escape(text, _TEXT_MOST)[:_TEXT_MOST].strip() or "-"


def _is_pinned(session: Session, seen: SeenCertificateRow, outgoing: bool) -> bool:
    """Whether an enabled partner is still recognized by a certificate that it showed, as a pin and not by its CA."""
    row = session.scalars(select(PartnerRow).where(PartnerRow.name == seen.partner)).one_or_none()
    if row is None or not row.entry.enabled or seen.ca is not None:
        return False
    pins: list[Rule] = [CertificatePin(sha256=seen.sha256)]
    if seen.key_sha256 is not None:
        pins.append(KeyPin(sha256=seen.key_sha256))
    return any(each in _rules(row.entry, outgoing) for each in pins)


def _rules(entry: Partner, outgoing: bool) -> Sequence[Rule]:
    """The rules that a partner is recognized by when it calls, or by their pins when it is called."""
    if not outgoing:
        return entry.certificates
    if entry.outbound is None or entry.outbound.verify is not Verify.PIN:
        return ()
    return rules_of(entry, entry.outbound)
