"""The CAs that partners' certificates may chain to."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from shlex import quote
from typing import Any

import attrs
from cryptography import x509
from sqlalchemy import delete
from sqlalchemy.orm import Session

from smartproxy.backend.certificates import (
    certificate_pin,
    certificates_to_pem,
    known_key_pin,
    public_key_octets,
    read_certificates,
    short_name,
    subject_text,
)
from smartproxy.backend.change import Change, judged
from smartproxy.backend.errors import AlreadyThere, ChangeRefused, NotFound, Unusable
from smartproxy.backend.named import NamedRows, by_name
from smartproxy.backend.schema import CaRow, ListDownloadRow, PartnerRow
from smartproxy.net.tls.context import CertificateUnusable, load_certificates
from smartproxy.net.tls.facts import certificate_facts, check_cost
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.certificates.decoding import Undecodable
from smartproxy.policy.certificates.judge import judge_dates, judge_key
from smartproxy.policy.certificates.revocation import compared
from smartproxy.policy.partners import Partner, SanRule, SubjectRule, TrustedCa
from smartproxy.policy.values import minute

_ROWS = NamedRows(CaRow, lambda name, known: NotFound(f"there is no CA {name!r}; known: {known}"))
find, listed = _ROWS.find, _ROWS.listed


def add(change: Change, name: str, certificates: Sequence[x509.Certificate], **values: Any) -> CaRow:
    """Add a CA with its certificates, root and intermediates together.

    :param values: other fields of its entry, an :class:`~smartproxy.policy.partners.TrustedCa`.
    :raises AlreadyThere: when there is one of this name.
    :raises Unusable: when one of the certificates is not a CA's, or its key cannot be read.
    """
    if _ROWS.get(change.session, name) is not None:
        raise AlreadyThere(f"there is a CA {name!r} already; 'smartproxy ca change {quote(name)}' changes it")
    return _put(change, TrustedCa(name=name, certificates=_bundle(certificates), **values))


def take(change: Change, entry: TrustedCa) -> CaRow:
    """Add a CA as its entry stands in a document.

    :raises Unusable: when one of its certificates cannot be read, its key neither, or is not a CA's.
    """
    certificates = read_certificates(entry.certificates.encode("ascii"), f"ca {entry.name}")
    return _put(change, attrs.evolve(entry, certificates=_bundle(certificates)))


def alter(change: Change, name: str, *, certificates: Sequence[x509.Certificate] | None = None, **values: Any) -> CaRow:
    """Replace a CA's certificates, or change other fields of its entry, or both."""
    row = find(change.session, name)
    if certificates is not None:
        values["certificates"] = _bundle(certificates)
    entry = judged(attrs.evolve(row.entry, **values), f"ca {name}")
    change.compare(row.entry, entry)
    row.entry = entry
    _note(change, row)
    return row


def remove(change: Change, name: str) -> CaRow:
    """Remove a CA.

    :raises ChangeRefused: while a partner is recognized by it; the message names the partners.
    """
    row = find(change.session, name)
    partners = by_name(change.session, PartnerRow)
    users = [each.name for each in partners if name in cas_of(each.entry)]
    if users:
        raise ChangeRefused(
            f"the CA {name!r} is needed by {', '.join(users)}; give these partners other certificates first "
            "('smartproxy partner certificate')"
        )
    change.session.delete(row)
    change.session.execute(delete(ListDownloadRow).where(ListDownloadRow.ca == name))
    _note(change, row)
    return row


def cas_of(partner: Partner) -> list[str]:
    """The names of the CAs that a partner is recognized by when it calls."""
    return sorted({rule.ca for rule in partner.certificates if isinstance(rule, SubjectRule | SanRule)})


def certificates_of(row: CaRow) -> list[x509.Certificate]:
    """The certificates of one CA."""
    return read_certificates(row.entry.certificates.encode("ascii"), f"ca {row.name}")


def doubts(certificates: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    """Why no certificate is accepted whose path ends at one of these, by what a server judges of each."""
    for each in certificates:
        facts, name = certificate_facts(each), short_name(each)
        try:
            judge_dates(facts, 0, now)
        except CertificateRefusal as refusal:
            since, until = minute(facts.not_before), minute(facts.not_after)
            yield f"{name}: {refusal.message} (valid from {since} to {until}); no certificate issued by it is accepted"
        try:
            judge_key(facts, 0)
            check_cost(each, 0)
        except CertificateRefusal as refusal:
            needed = refusal.detail["needed"]
            yield f"{name}: {refusal.message} (needed: {needed}); no certificate issued by it is accepted"


def signers(session: Session) -> Iterator[tuple[CaRow, str, str]]:
    """The CAs, each with the key and the name of each of its certificates, in the form for comparing.

    A certificate whose key cannot be read signs nothing, and is left out.
    """
    for row in listed(session):
        for certificate in certificates_of(row):
            if (key := known_key_pin(certificate)) is not None:
                yield row, key, compared(subject_text(certificate))


def _put(change: Change, entry: TrustedCa) -> CaRow:
    row = CaRow(name=entry.name, entry=judged(entry, f"ca {entry.name}"))
    change.session.add(row)
    _note(change, row)
    return row


def _bundle(certificates: Sequence[x509.Certificate]) -> str:
    for each in certificates:
        if not _is_ca_certificate(each):
            raise Unusable(
                f"{short_name(each)} is not a CA certificate (basicConstraints does not say CA); a "
                "partner's own certificate is pinned with 'smartproxy partner add --certificate'"
            )
        public_key_octets(each)
        try:
            load_certificates(certificates_to_pem([each]), short_name(each))
        except CertificateUnusable as unusable:
            # A server would refuse every further generation for it.
            raise Unusable(str(unusable)) from unusable
    return certificates_to_pem({certificate_pin(each): each for each in certificates}.values())


def _is_ca_certificate(certificate: x509.Certificate) -> bool:
    try:
        return certificate_facts(certificate).is_ca
    except Undecodable as error:
        raise Unusable(f"the certificate of {short_name(certificate)} cannot be read: {error.said}") from error


def _note(change: Change, row: CaRow) -> None:
    count = len(certificates_of(row))
    change.note("ca.changed", ca=row.name, command=change.what, mode=row.entry.revocation.value, count=count)
