"""The certification authorities that partners' certificates may chain to."""

from collections.abc import Sequence

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend.certificates import certificate_pin, certificates_to_pem, name_text, read_certificates
from smartproxy.backend.change import Change
from smartproxy.backend.errors import AlreadyThere, ChangeRefused, NotFound, Unusable
from smartproxy.backend.schema import AuthorityRow, PartnerCertificateRow, PartnerRow
from smartproxy.policy import limits

REVOCATION_MODES = ("require", "prefer", "off")
"""Whether a certificate needs a fresh revocation list; is judged by what there is; or is not asked about."""


def add(
    change: Change,
    name: str,
    certificates: Sequence[x509.Certificate],
    revocation: str = "require",
    grace_hours: int = limits.REVOCATION_GRACE.default,
) -> AuthorityRow:
    """Add an authority with its certificates, root and intermediates together.

    :param grace_hours: how long after its promised successor a revocation list is still good.
    :raises AlreadyThere: when there is one of this name.
    :raises Unusable: when one of the certificates is not an authority's.
    """
    if _found(change.session, name) is not None:
        raise AlreadyThere(f"there is a ca {name!r} already; 'smartproxy ca change {name}' changes it")
    row = AuthorityRow(name=name, certificates=_bundle(certificates), revocation=revocation, grace_hours=grace_hours)
    change.session.add(row)
    _note(change, row)
    return row


def alter(
    change: Change,
    name: str,
    *,
    certificates: Sequence[x509.Certificate] | None = None,
    revocation: str | None = None,
    grace_hours: int | None = None,
) -> AuthorityRow:
    """Replace an authority's certificates, or change how revocation is judged, or both."""
    row = find(change.session, name)
    if certificates is not None:
        row.certificates = _bundle(certificates)
    if revocation is not None:
        row.revocation = revocation
    if grace_hours is not None:
        row.grace_hours = grace_hours
    _note(change, row)
    return row


def remove(change: Change, name: str) -> AuthorityRow:
    """Remove an authority.

    :raises ChangeRefused: while a partner is recognized by it; the message names the partners.
    """
    row = find(change.session, name)
    users = change.session.scalars(
        select(PartnerRow.name)
        .join(PartnerCertificateRow)
        .where(PartnerCertificateRow.authority_id == row.id)
        .distinct()
        .order_by(PartnerRow.name)
    ).all()
    if users:
        raise ChangeRefused(
            f"the ca {name!r} is needed by {', '.join(users)}; give these partners other certificates first "
            "('smartproxy partner certificate')"
        )
    change.session.delete(row)
    _note(change, row)
    return row


def find(session: Session, name: str) -> AuthorityRow:
    """The authority of a name.

    :raises NotFound: when there is none; the message lists those that there are.
    """
    row = _found(session, name)
    if row is None:
        names = ", ".join(each.name for each in listed(session)) or "none"
        raise NotFound(f"there is no ca {name!r}; known are: {names}")
    return row


def listed(session: Session) -> Sequence[AuthorityRow]:
    """All authorities by name."""
    return session.scalars(select(AuthorityRow).order_by(AuthorityRow.name)).all()


def certificates_of(row: AuthorityRow) -> list[x509.Certificate]:
    """The certificates of one authority."""
    return read_certificates(row.certificates.encode("ascii"), f"ca {row.name}")


def _bundle(certificates: Sequence[x509.Certificate]) -> str:
    for each in certificates:
        if not _is_authority(each):
            raise Unusable(
                f"{name_text(each.subject)} is no authority's certificate (basicConstraints does not say CA); a "
                "partner's own certificate is pinned with 'smartproxy partner add --certificate'"
            )
    return certificates_to_pem({certificate_pin(each): each for each in certificates}.values())


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    except ValueError as error:
        raise Unusable(f"the extensions of {name_text(certificate.subject)} cannot be read: {error}") from error


def _note(change: Change, row: AuthorityRow) -> None:
    count = len(certificates_of(row))
    change.note("ca.changed", authority=row.name, command=change.what, mode=row.revocation, count=count)


def _found(session: Session, name: str) -> AuthorityRow | None:
    return session.scalars(select(AuthorityRow).where(AuthorityRow.name == name)).one_or_none()
