"""The certificates that servers show to partners, with their keys: imported, or asked for with a request.

While a request is out, the certificate in use stays; the answer takes its place together with the request's key, at
once or at a date. Until that date the planned change-over can be undone, and nothing is lost by it that was in use: a
request stays out until then, too.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from shlex import quote

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend.authority import general_name
from smartproxy.backend.certificates import (
    KeyAndChain,
    PrivateKey,
    certificate_pin,
    certificates_to_pem,
    fitting,
    key_to_pem,
    read_certificates,
    read_private_key,
    subject_text,
)
from smartproxy.backend.change import Change, judged
from smartproxy.backend.errors import ChangeRefused, NotFound, Unusable
from smartproxy.backend.named import NamedRows
from smartproxy.backend.schema import CertificateRequest, IdentityRow
from smartproxy.net.tls.context import CertificateUnusable, new_context, show_identity
from smartproxy.net.tls.facts import certificate_facts
from smartproxy.policy.partners import ServerIdentity
from smartproxy.policy.values import minute

SOON = timedelta(days=30)
"""A certificate or a licence that ends earlier than this is worth a warning."""
_ROWS = NamedRows(IdentityRow, lambda name, known: NotFound(f"there is no identity {name!r}; known: {known}"))
find, listed = _ROWS.find, _ROWS.listed


@attrs.frozen(kw_only=True)
class Subject:
    """Whom a certificate is asked for."""

    common_name: str
    organization: str | None = None
    organizational_unit: str | None = None
    country: str | None = None
    locality: str | None = None
    serial_number: str | None = None
    """The Odette ID, where the CA wants it in the subject."""
    names: tuple[str, ...] = ()


def keep(change: Change, name: str, pair: KeyAndChain) -> IdentityRow:
    """Use a key and its certificates under a name, in the place of what the name had before.

    :raises Unusable: when TLS cannot show them: a server would refuse every further generation for it.
    """
    entry = entry_of(name, pair)
    row = _row(change.session, name)
    row.entry = entry
    if row.planned == entry:
        row.planned = row.planned_since = None
    _note(change, row, pair.chain[0])
    return row


def plan(change: Change, name: str, pair: KeyAndChain, since: datetime) -> IdentityRow:
    """Use a key and its certificates under a name from a date on; what is in use stays until then.

    :raises ChangeRefused: when nothing is in use, or the date is over, or the certificate is not valid then.
    :raises Unusable: when TLS cannot show them.
    """
    entry, leaf, row = entry_of(name, pair), pair.chain[0], _ROWS.get(change.session, name)
    if row is None or row.entry is None:
        raise ChangeRefused(f"the identity {name!r} has no certificate in use that could stay: leave the date out")
    if since <= change.now:
        raise ChangeRefused(f"{minute(since)} is over: leave the date out to use the certificate at once")
    if not leaf.not_valid_before_utc <= since < leaf.not_valid_after_utc:
        raise ChangeRefused(
            f"the certificate is not valid on {minute(since)}, but from "
            f"{minute(leaf.not_valid_before_utc)} to {minute(leaf.not_valid_after_utc)}"
        )
    row.planned, row.planned_since = entry, since
    change.note(
        "identity.planned",
        command=change.what,
        names=[name],
        subject=subject_text(leaf),
        valid_from=since,
        certificate_sha256=certificate_pin(leaf),
    )
    return row


def undo_plan(change: Change, name: str) -> IdentityRow:
    """Leave the certificate in use; the planned one goes with its key, but for the key of a request.

    :raises NotFound: when nothing is planned.
    """
    row = find(change.session, name)
    if row.planned is None:
        raise NotFound(f"no change-over of identity {name!r} is planned")
    row.planned = row.planned_since = None
    change.note("identity.changed", command=change.what, names=[name])
    return row


def due(session: Session, now: datetime) -> Sequence[str]:
    """The names of the identities whose change-over is due."""
    query = select(IdentityRow.name).where(IdentityRow.planned_since <= now).order_by(IdentityRow.name)
    return session.scalars(query).all()


def change_over(change: Change, name: str) -> None:
    """Use what was planned, if it is due still."""
    row = find(change.session, name)
    if row.planned is None or row.planned_since is None or row.planned_since > change.now:
        # Undone, put off, or carried out by another backend meanwhile.
        change.differs = False
        return
    entry = row.planned
    row.entry, row.planned, row.planned_since = entry, None, None
    if row.request is not None and row.request.key == entry.key:
        row.request = None
    _note(change, row, chain_of(row)[0])


def entry_of(name: str, pair: KeyAndChain) -> ServerIdentity:
    """A key and its certificates as an identity.

    :raises Unusable: when TLS cannot show them: a server would refuse every further generation for it.
    """
    entry = ServerIdentity(name=name, certificate=certificates_to_pem(pair.chain), key=key_to_pem(pair.key))
    check(entry)
    return entry


def _note(change: Change, row: IdentityRow, leaf: x509.Certificate) -> None:
    change.note(
        "identity.changed",
        command=change.what,
        names=[row.name],
        subject=subject_text(leaf),
        not_after=leaf.not_valid_after_utc,
        certificate_sha256=certificate_pin(leaf),
    )


def check(entry: ServerIdentity) -> None:
    """Look whether TLS can show an identity.

    :raises Unusable: when it cannot: a server would refuse every further generation for it.
    """
    try:
        show_identity(new_context(server=True), entry.certificate, entry.key, f"identity {entry.name}")
    except CertificateUnusable as unusable:
        raise Unusable(str(unusable)) from unusable


def make_request(name: str, subject: Subject, key_type: str) -> CertificateRequest:
    """Make a key, which may take seconds, and a request for its certificate.

    :raises Unusable: when something in the subject cannot stand in a certificate.
    """
    _check_lengths(subject)
    key = _new_key(key_type)
    try:
        text = _request(key, subject).public_bytes(Encoding.PEM).decode("ascii")
    except ValueError as error:
        # The library says where in the ASN.1, which tells an operator nothing.
        raise Unusable(
            "this cannot stand in a certificate's subject: a serial number and a country take letters without accents, "
            "digits, blanks and '()+,-./:=? alone"
        ) from error
    return CertificateRequest(name=name, key=key_to_pem(key), request=text)


_MOST = {
    "common name": 64,
    "organization": 64,
    "organizational unit": 64,
    "locality": 128,
    "serial number": 64,
}
"""How many characters a part of a subject has (RFC 5280, appendix A.1, upper bounds)."""


def _check_lengths(subject: Subject) -> None:
    """See that a certificate can hold the subject, before a key is made.

    :raises Unusable: with the part that is too long, or no country.
    """
    if subject.country is not None and re.fullmatch("[A-Za-z]{2}", subject.country) is None:
        raise Unusable("country: two letters, such as DE")
    for what, most in _MOST.items():
        if len(getattr(subject, what.replace(" ", "_")) or "") > most:
            raise Unusable(f"{what}: {most} characters at most")


def request(change: Change, made: CertificateRequest) -> None:
    """Keep a request, with its key; one that was out before is given up.

    :raises ChangeRefused: when the name is none that an identity can have.
    """
    _row(change.session, made.name).request = judged(made, f"identity {made.name!r}")
    change.note("identity.changed", command=change.what, names=[made.name])


def complete(
    change: Change, name: str, certificates: Sequence[x509.Certificate], source: str, since: datetime | None = None
) -> KeyAndChain:
    """Take the certificate that a CA issued for the request that is out.

    :param source: the file that it is from.
    :param since: from when it is used, if not at once.
    :raises NotFound: when no request is out.
    :raises Unusable: when the certificate is not for the request's key.
    """
    row = find(change.session, name)
    if row.request is None:
        raise NotFound(f"no request of identity {name!r} is out; 'smartproxy identity request {quote(name)}' makes one")
    key = read_private_key(row.request.key.encode("ascii"), None, f"the request of {name}")
    pair = fitting(key, list(certificates), source)
    if since is not None:
        plan(change, name, pair, since)
        return pair
    keep(change, name, pair)
    row.request = None
    return pair


def remove(change: Change, name: str) -> IdentityRow:
    """Remove an identity with its key."""
    row = find(change.session, name)
    change.session.delete(row)
    change.note("identity.changed", command=change.what, names=[name])
    return row


def chain_of(row: IdentityRow) -> list[x509.Certificate]:
    """The certificates of an identity, the leaf first; none while only a request is out."""
    return [] if row.entry is None else read_certificates(row.entry.certificate.encode("ascii"), row.name)


def planned_chain_of(row: IdentityRow) -> list[x509.Certificate]:
    """The certificates of the planned change-over, the leaf first; none if there is none."""
    return [] if row.planned is None else read_certificates(row.planned.certificate.encode("ascii"), row.name)


def warnings_of(row: IdentityRow, now: datetime) -> list[str]:
    """What an operator should know about an identity, and about its planned change-over."""
    chain, since = chain_of(row), row.planned_since
    if since is None:
        return warnings(chain[0], now) if chain else []
    until, day = chain[0].not_valid_after_utc, minute(since)
    # A successor is there: that the present one ends after the change-over matters to nobody.
    found = [] if until >= since and until > now else warnings(chain[0], now)
    if until < since:
        found.append(f"the certificate ends before its successor is used on {day}: plan it earlier")
    found.append(f"another certificate is used from {day} on: give it to the partners before")
    return found + warnings(planned_chain_of(row)[0], since)


def warnings(leaf: x509.Certificate, now: datetime) -> list[str]:
    """What an operator should know about a certificate that a server of ours shows."""
    found = []
    until = minute(leaf.not_valid_after_utc)
    if leaf.not_valid_after_utc <= now:
        found.append(f"the certificate expired on {until} and is refused: import a newer one")
    elif leaf.not_valid_after_utc - now < SOON:
        found.append(f"the certificate ends on {until}, in {(leaf.not_valid_after_utc - now).days} days: renew it now")
    if leaf.not_valid_before_utc > now:
        found.append(f"the certificate is not valid before {minute(leaf.not_valid_before_utc)}")
    if not _for_servers(leaf):
        found.append("the certificate is not for TLS servers (extended key usage lacks serverAuth)")
    return found


def _for_servers(leaf: x509.Certificate) -> bool:
    usage = certificate_facts(leaf).extended_key_usage
    return usage is None or bool(
        usage
        & {
            ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,
            ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string,
        }
    )


def _new_key(key_type: str) -> PrivateKey:
    match key_type:
        case "ec-p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ec-p384":
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return rsa.generate_private_key(65537, int(key_type.removeprefix("rsa-")))


def _request(key: PrivateKey, subject: Subject) -> x509.CertificateSigningRequest:
    parts = (
        (NameOID.COUNTRY_NAME, subject.country),
        (NameOID.LOCALITY_NAME, subject.locality),
        (NameOID.ORGANIZATION_NAME, subject.organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, subject.organizational_unit),
        (NameOID.SERIAL_NUMBER, subject.serial_number),
        (NameOID.COMMON_NAME, subject.common_name),
    )
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value is not None])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    if subject.names:
        names = x509.SubjectAlternativeName([general_name(each) for each in subject.names])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


def _row(session: Session, name: str) -> IdentityRow:
    """The identity of a name, made if there is none."""
    row = _ROWS.get(session, name)
    if row is None:
        row = IdentityRow(name=name)
        session.add(row)
    return row
