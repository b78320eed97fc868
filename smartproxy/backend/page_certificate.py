"""The certificate that the page shows at an address of its own: of a file, or uploaded, or else the authority's.

A file of the settings comes before what was uploaded. Reads what it is given and says what is wrong with it; key and
certificate have to fit each other, and TLS has to take them.
"""

import enum
from pathlib import Path

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import authority, identities
from smartproxy.backend.authority import HttpsIdentity
from smartproxy.backend.certificates import (
    KeyAndChain,
    certificate_pin,
    certificates_to_pem,
    fitting,
    key_to_pem,
    read_certificates,
    read_private_key,
    subject_text,
)
from smartproxy.backend.change import Change
from smartproxy.backend.errors import Unusable
from smartproxy.net import files
from smartproxy.policy import limits
from smartproxy.policy.page_access import PageAccess


class CertificateSource(enum.StrEnum):
    """Where the certificate is from."""

    FILE = "file"
    UPLOADED = "uploaded"
    AUTHORITY = "authority"


@attrs.frozen(kw_only=True)
class PageCertificate:
    """What the page shows at its own address; two with the same certificates are equal."""

    source: CertificateSource
    shown: HttpsIdentity = attrs.field(eq=lambda shown: (shown.certificate, shown.chain))


def of_store(session: Session) -> PageCertificate:
    """What was uploaded, else what the authority issued.

    :raises NotFound: when there is no site.
    """
    row = authority.site_row(session)
    if row.page_certificate is None or row.page_key is None:
        return PageCertificate(source=CertificateSource.AUTHORITY, shown=authority.load(session).https)
    where = "the page's certificate"
    key = read_private_key(row.page_key.encode("ascii"), None, where)
    chain = read_certificates(row.page_certificate.encode("ascii"), where)
    return _certificate(CertificateSource.UPLOADED, KeyAndChain(key=key, chain=tuple(chain)))


def of_files(access: PageAccess) -> tuple[bytes, bytes]:
    """The octets of the files that the settings name; of the key's none, where it stands with the certificate.

    :raises Unusable: when one cannot be read.
    """
    return _read(access.certificate_file), _read(access.key_file)


def judged(access: PageAccess, octets: tuple[bytes, bytes]) -> PageCertificate:
    """What stands in the files.

    :raises Unusable: when there is no key, or no certificate for it, or TLS does not take them.
    """
    certificate, key = octets
    where = access.certificate_file or ""
    pair = fitting(
        read_private_key(key or certificate, None, access.key_file or where),
        read_certificates(certificate, where),
        where,
    )
    check(pair)
    return _certificate(CertificateSource.FILE, pair)


def in_force(session: Session, access: PageAccess) -> PageCertificate:
    """What is shown.

    :raises Unusable: when the files of the settings cannot be used.
    """
    return of_store(session) if access.certificate_file is None else judged(access, of_files(access))


def keep(change: Change, pair: KeyAndChain) -> None:
    """Show this one from now on, unless the settings name a file.

    :raises Unusable: when TLS does not take it.
    """
    check(pair)
    row = authority.site_row(change.session)
    row.page_certificate, row.page_key = certificates_to_pem(pair.chain), key_to_pem(pair.key)
    leaf = pair.chain[0]
    change.note(
        "page.certificate_kept",
        command=change.what,
        subject=subject_text(leaf),
        not_after=leaf.not_valid_after_utc,
        certificate_sha256=certificate_pin(leaf),
    )


def forget(change: Change) -> None:
    """Show the authority's again."""
    row = authority.site_row(change.session)
    row.page_certificate = row.page_key = None


def check(pair: KeyAndChain) -> None:
    """See that TLS takes a key with its certificates.

    :raises Unusable: when it does not.
    """
    identities.entry_of("page", pair)


def _certificate(source: CertificateSource, pair: KeyAndChain) -> PageCertificate:
    leaf, *chain = pair.chain
    return PageCertificate(source=source, shown=HttpsIdentity(certificate=leaf, key=pair.key, chain=tuple(chain)))


def _read(path: str | None) -> bytes:
    if path is None:
        return b""
    try:
        return files.read(Path(path), limits.PEM_CHARACTERS_MOST)
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from error
