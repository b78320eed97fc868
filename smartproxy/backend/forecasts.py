"""Previews which partners' certificates will be refused, from what is in the store: operators act before partners call.

Knows of certificates that are pinned with their file, and of those that partners connected with. Changes nothing.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import cas, partners, sightings
from smartproxy.backend import revocation as lists
from smartproxy.backend.schema import PartnerRow, PinNote
from smartproxy.backend.sighting_tables import SeenCertificateRow
from smartproxy.net.tls.facts import certificate_facts
from smartproxy.policy.certificates.outlook import Issuer, Outlook
from smartproxy.policy.certificates.revocation import RevocationLists, RevocationSet
from smartproxy.policy.partners import CertificatePin, KeyPin, RevocationMode, TrustedCa
from smartproxy.policy.schema import Optional, kind
from smartproxy.policy.values import NAME, SHA256, Instant, Lines

_TEXT = Lines(most=10_000)


class Verdict(enum.StrEnum):
    """What ``require`` would do with a certificate."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class Forecast:
    """What ``require`` would do with a partner's certificate.

    :ivar mode: how the CA's revocation lists are used: ``off``, ``prefer`` or ``require``.
    :ivar sha256: the certificate's; ``None`` where the partner never connected.
    """

    partner: str
    ca: str
    mode: str
    verdict: Verdict
    cause: str
    subject: str | None = None
    sha256: str | None = None


@attrs.frozen(kw_only=True)
class Failing:
    """A partner's certificate that will be refused.

    :ivar moment: when.
    :ivar others_until: until when another of the partner's certificates is valid; ``None`` if none is valid for longer.
    """

    partner: str = attrs.field(metadata=kind(NAME))
    moment: datetime = attrs.field(metadata=kind(Instant()))
    reason: str = attrs.field(metadata=kind(_TEXT))
    subject: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    sha256: str | None = attrs.field(metadata=kind(Optional(SHA256)))
    others_until: datetime | None = attrs.field(metadata=kind(Optional(Instant())))


@attrs.frozen
class _Certificate:
    """A certificate that a partner may connect with."""

    sha256: str | None
    subject: str | None
    issuer: str
    not_after: datetime
    ca: str | None
    crl_points: tuple[str, ...] = ()


def revocation(session: Session, now: datetime) -> list[Forecast]:
    """Which certificates ``require`` would refuse now, of the enabled partners that are known by a CA."""
    outlook = _outlook(session)
    seen = sightings.certificates(session)
    known = {row.name: row.entry for row in cas.listed(session)}
    found: list[Forecast] = []
    for row in partners.listed(session):
        if not row.entry.enabled:
            continue
        for ca in _cas(row, known):
            grace = timedelta(hours=ca.grace_hours)
            shown = [each for each in seen if (each.partner, each.ca) == (row.name, ca.name)]
            current = [each for each in shown if each.not_after > now]
            for each in current:
                serial, points = int(each.serial, 16), tuple(each.crl_points)
                cause = outlook.refusal(each.issuer, serial, ca.name, now, grace, points)
                found.append(
                    Forecast(
                        partner=row.name,
                        ca=ca.name,
                        mode=ca.revocation.value,
                        verdict=Verdict.ADMITTED if cause is None else Verdict.REFUSED,
                        cause=cause or "the list of its issuer is current",
                        subject=each.subject,
                        sha256=each.sha256,
                    )
                )
            if not current:
                found.append(_unseen(row, ca, outlook, now, grace))
    return found


def failing(session: Session, until: datetime) -> list[Failing]:
    """Whose certificate is refused next, before a time; the first one first."""
    outlook = _outlook(session)
    seen = sightings.certificates(session)
    known = {row.name: row.entry for row in cas.listed(session)}
    found: list[Failing] = []
    for row in partners.listed(session):
        if not row.entry.enabled:
            continue
        modes = {ca.name: ca for ca in _cas(row, known)}
        ends = []
        for each in _certificates(row, seen):
            grace = _grace(modes.get(each.ca or ""))
            known_ends = outlook.ends(each.issuer, each.not_after, each.ca, grace, each.crl_points)
            ends.append((each, *min(known_ends)))
        for number, (each, moment, reason) in enumerate(ends):
            if moment < until:
                others = [other for place, (_, other, _) in enumerate(ends) if place != number and other > moment]
                found.append(
                    Failing(
                        partner=row.name,
                        moment=moment,
                        reason=reason,
                        subject=each.subject,
                        sha256=each.sha256,
                        others_until=max(others, default=None),
                    )
                )
    return sorted(found, key=lambda each: (each.moment, each.partner))


def certificate_ends(session: Session) -> Iterator[tuple[str, bool, list[datetime]]]:
    """The ends of the certificates that are known of each enabled partner.

    First of those that it connects with, and then, marked by true, of those that are pinned for calls to it.
    """
    seen = sightings.certificates(session)
    for row in partners.listed(session):
        if row.entry.enabled:
            yield row.name, False, [each.not_after for each in _certificates(row, seen)]
            if row.entry.outbound is not None:
                yield row.name, True, [note.not_after for _, note in _noted(row, row.entry.outbound.certificates)]


def _noted(row: PartnerRow, rules: Sequence[object]) -> Iterator[tuple[CertificatePin | KeyPin, PinNote]]:
    """The pins among rules, with what is known of their certificates."""
    notes = {each.sha256: each for each in row.notes}
    for rule in rules:
        if isinstance(rule, CertificatePin | KeyPin) and (note := notes.get(rule.sha256)) is not None:
            yield rule, note


def _grace(ca: TrustedCa | None) -> timedelta | None:
    if ca is None or ca.revocation is not RevocationMode.REQUIRE:
        return None
    return timedelta(hours=ca.grace_hours)


def _unseen(row: PartnerRow, ca: TrustedCa, outlook: Outlook, now: datetime, grace: timedelta) -> Forecast:
    """A partner whose certificate is not known yet: the verdict depends on which of the CA's certificates issued it."""
    found = outlook.listed(ca.name, now, grace)
    if found.without:
        verdict = Verdict.UNKNOWN if found.current or found.in_parts else Verdict.REFUSED
        cause = f"no certificate of the partner is known yet; no current list of {'; '.join(found.without)}"
    elif found.in_parts:
        verdict = Verdict.UNKNOWN
        cause = f"no certificate of the partner is known yet; only parts of the list of {'; '.join(found.in_parts)}"
    else:
        verdict, cause = Verdict.ADMITTED, "no certificate of the partner is known yet; all lists of the CA are current"
    return Forecast(partner=row.name, ca=ca.name, mode=ca.revocation.value, verdict=verdict, cause=cause)


def _cas(row: PartnerRow, known: Mapping[str, TrustedCa]) -> list[TrustedCa]:
    """The CAs that a partner is known by."""
    return [known[name] for name in cas.cas_of(row.entry)]


def _certificates(row: PartnerRow, seen: Sequence[SeenCertificateRow]) -> Iterator[_Certificate]:
    """The certificates that a partner may connect with: those that are pinned, and those that it showed."""
    pinned = {each.sha256 for each in row.entry.certificates if isinstance(each, CertificatePin)}
    for rule, note in _noted(row, row.entry.certificates):
        sha256 = rule.sha256 if isinstance(rule, CertificatePin) else None
        yield _Certificate(sha256, note.subject, "", note.not_after, None)
    names = cas.cas_of(row.entry)
    for each in seen:
        if each.partner == row.name and each.ca in names and each.sha256 not in pinned:
            points = tuple(each.crl_points)
            yield _Certificate(each.sha256, each.subject, each.issuer, each.not_after, each.ca, points)


def _outlook(session: Session) -> Outlook:
    issuers = tuple(
        Issuer(
            ca=row.name,
            subject=each.subject,
            issuer=each.issuer,
            serial=each.serial,
            key_sha256=each.key_sha256,
            not_after=each.not_after,
            crl_points=each.crl_points,
        )
        for row in cas.listed(session)
        for each in map(certificate_facts, cas.certificates_of(row))
    )
    loaded = RevocationLists.of(
        RevocationSet(
            issuer_key_sha256=row.issuer_key_sha256,
            issuer_name=row.issuer,
            scope=row.scope,
            this_update=row.this_update,
            next_update=row.next_update,
            serials=row.serials,
        )
        for row in lists.listed(session)
    )
    return Outlook(issuers, loaded)
