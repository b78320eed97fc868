"""The partners: what they may call themselves, how they prove it, and which freedoms they have.

What a value may be is judged by :mod:`smartproxy.policy.configuration` when the change becomes a generation; here only
names are looked up and kept unique.
"""

from collections.abc import Sequence
from datetime import datetime

import attrs
from cryptography import x509
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from smartproxy.backend import cas
from smartproxy.backend.certificates import certificate_pin, key_pin, name_text
from smartproxy.backend.change import Change
from smartproxy.backend.errors import AlreadyThere, NotFound
from smartproxy.backend.schema import PartnerCertificateRow, PartnerRow
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy.partners import Authentication, Purpose


@attrs.frozen(kw_only=True)
class Proof:
    """One way in which a partner's certificate is recognized; for ``subject`` and ``san``, below an authority.

    :ivar by: ``certificate``, ``key``, ``subject`` or ``san``.
    :ivar text: the SHA-256, the subject's serialNumber, or the name with its type.
    :ivar authority: the name of the authority, where one is needed.
    :ivar subject: of a pinned certificate that is known: what stands in it, to be shown to operators.
    :ivar not_after: of such a certificate: its end.
    """

    by: str
    text: str
    authority: str | None = None
    subject: str | None = None
    not_after: datetime | None = None

    @classmethod
    def pinned(cls, certificate: x509.Certificate, *, key: bool = False) -> "Proof":
        """A certificate that the partner sent, recognized by itself or by its key."""
        return cls(
            by="key" if key else "certificate",
            text=key_pin(certificate) if key else certificate_pin(certificate),
            subject=name_text(certificate.subject),
            not_after=certificate.not_valid_after_utc,
        )

    def __str__(self) -> str:
        where = f" below ca {self.authority}" if self.authority else ""
        about = f" ({self.subject}, until {self.not_after:%Y-%m-%d})" if self.subject and self.not_after else ""
        return f"{self.by} {self.text}{where}{about}"


@attrs.frozen(kw_only=True)
class Entry:
    """What an operator says of a partner; what is ``None`` stays as it is, or is the default for a new partner."""

    codes: tuple[str, ...] | None = None
    lowest_level: int | None = None
    authentication: str | None = None
    profile: str | None = None
    purpose: str | None = None
    proofs: tuple[Proof, ...] | None = None


def add(change: Change, name: str, entry: Entry, *, enabled: bool = True) -> PartnerRow:
    """Add a partner.

    :raises AlreadyThere: when there is one of this name.
    :raises NotFound: when an authority that is named is not there.
    """
    if _found(change.session, name) is not None:
        raise AlreadyThere(f"there is a partner {name!r} already; 'smartproxy partner change {name}' changes it")
    row = PartnerRow(
        name=name,
        enabled=enabled,
        codes=[],
        lowest_level=int(Level.OFTP_2_0),
        authentication=Authentication.EITHER.value,
        profile=Profile.DEFAULT.value,
        purpose=Purpose.STRICT.value,
    )
    change.session.add(row)
    _apply(change, row, entry)
    return row


def alter(change: Change, name: str, entry: Entry) -> PartnerRow:
    """Change what an operator said anew of a partner."""
    row = find(change.session, name)
    _apply(change, row, entry)
    return row


def add_proofs(change: Change, name: str, proofs: Sequence[Proof]) -> list[Proof]:
    """Recognize further certificates of a partner, beside those that there are; return those that are new."""
    row = find(change.session, name)
    known = {(each.by, each.text, each.authority) for each in proofs_of(row)}
    new = [each for each in proofs if (each.by, each.text, each.authority) not in known]
    row.certificates.extend(_proof_row(change.session, each) for each in new)
    note(change, row)
    return new


def remove_proofs(change: Change, name: str, texts: Sequence[str]) -> list[Proof]:
    """Recognize certificates of a partner no more, each named by its text or by the beginning of its SHA-256.

    :raises NotFound: when one of the texts fits none of them, or more than one.
    """
    row = find(change.session, name)
    removed = []
    for text in texts:
        fits = [each for each in row.certificates if _names(text, _proof(each))]
        if len(fits) != 1:
            known = "; ".join(map(str, proofs_of(row))) or "none"
            count = "none" if not fits else "more than one"
            raise NotFound(f"{count} of the certificates of {name} is {text!r}; there are: {known}")
        removed.append(_proof(fits[0]))
        row.certificates.remove(fits[0])
    note(change, row)
    return removed


def enable(change: Change, name: str, enabled: bool) -> PartnerRow:
    """Let a partner connect, or do not."""
    row = find(change.session, name)
    row.enabled = enabled
    note(change, row)
    return row


def remove(change: Change, name: str) -> PartnerRow:
    """Remove a partner."""
    row = find(change.session, name)
    change.session.delete(row)
    note(change, row)
    return row


def find(session: Session, name: str) -> PartnerRow:
    """The partner of a name.

    :raises NotFound: when there is none.
    """
    row = _found(session, name)
    if row is None:
        raise NotFound(f"there is no partner {name!r}; 'smartproxy partner list' shows all")
    return row


def listed(session: Session) -> Sequence[PartnerRow]:
    """All partners by name."""
    return session.scalars(_query()).all()


def proofs_of(row: PartnerRow) -> list[Proof]:
    """How a partner's certificates are recognized."""
    return [_proof(each) for each in row.certificates]


def _apply(change: Change, row: PartnerRow, entry: Entry) -> None:
    if entry.codes is not None:
        row.codes = list(dict.fromkeys(entry.codes))
    if entry.lowest_level is not None:
        row.lowest_level = entry.lowest_level
    if entry.authentication is not None:
        row.authentication = entry.authentication
    if entry.profile is not None:
        row.profile = entry.profile
    if entry.purpose is not None:
        row.purpose = entry.purpose
    if entry.proofs is not None:
        row.certificates = [_proof_row(change.session, each) for each in dict.fromkeys(entry.proofs)]
    note(change, row)


def _names(text: str, proof: Proof) -> bool:
    if proof.by in ("certificate", "key"):
        wanted = text.lower().replace(":", "")
        return len(wanted) >= 8 and proof.text.startswith(wanted)
    return proof.text == text


def _proof_row(session: Session, proof: Proof) -> PartnerCertificateRow:
    pinned = proof.authority is None
    return PartnerCertificateRow(
        by=proof.by,
        sha256=proof.text if pinned else None,
        authority=None if proof.authority is None else cas.find(session, proof.authority),
        value=None if pinned else proof.text,
        subject=proof.subject,
        not_after=proof.not_after,
    )


def _proof(row: PartnerCertificateRow) -> Proof:
    return Proof(
        by=row.by,
        text=row.sha256 or row.value or "",
        authority=None if row.authority is None else row.authority.name,
        subject=row.subject,
        not_after=row.not_after,
    )


def note(change: Change, row: PartnerRow) -> None:
    """Note that a partner was changed."""
    change.note("partner.changed", partner=row.name, command=change.what, codes=list(row.codes))


def _query() -> Select[PartnerRow]:
    return select(PartnerRow).order_by(PartnerRow.name)


def _found(session: Session, name: str) -> PartnerRow | None:
    return session.scalars(_query().where(PartnerRow.name == name)).one_or_none()
