"""The site's authority: the Ed25519 key that signs licences, tunnel certificates and the backend's https certificate.

Its key is in the store and never leaves it but for signing here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sqlalchemy.orm import Session

from smartproxy.backend import issuing
from smartproxy.backend.certificates import certificates_to_pem, key_pin, key_to_pem
from smartproxy.backend.change import Change
from smartproxy.backend.errors import AlreadyThere, NotFound, Unusable
from smartproxy.backend.schema import SiteRow


@attrs.frozen(kw_only=True)
class Authority:
    """A site with its authority and the https identity of its backend."""

    site: str
    created: datetime
    certificate: x509.Certificate
    key: ed25519.Ed25519PrivateKey = attrs.field(repr=False)
    https_certificate: x509.Certificate
    https_key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)

    @property
    def certificate_pem(self) -> str:
        """The authority's certificate, for ``--backend-ca`` and for whoever is to check what it signed."""
        return certificates_to_pem([self.certificate])

    @property
    def https_pin(self) -> str:
        """What ``--backend-pin`` takes: SHA-256 of the public key of the https certificate."""
        return key_pin(self.https_certificate)

    @property
    def https_names(self) -> list[str]:
        """The names and addresses that the https certificate is for."""
        names = self.https_certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(each.value) for each in names]

    def tunnel_certificate(self, request: str, client: str, now: datetime) -> x509.Certificate:
        """Issue a client's certificate for the tunnel; see :func:`smartproxy.backend.issuing.tunnel_certificate`."""
        return issuing.tunnel_certificate(self.certificate, self.key, request, client, now)


def create(change: Change, site: str, https_names: Sequence[str]) -> Authority:
    """Make the authority of a new site, and the https certificate of its backend.

    :raises AlreadyThere: when the site has one.
    :raises Unusable: when the site's name or one of the https names cannot stand in a certificate.
    """
    if (row := change.session.get(SiteRow, 1)) is not None:
        raise AlreadyThere(
            f"this store has the authority of {row.name!r} already; 'smartproxy authority show' shows it, and "
            "'smartproxy authority https --name HOST' adds names to the backend's certificate"
        )
    if not site.strip() or not site.isprintable() or len(site) > issuing.SITE_NAME_MOST:
        raise Unusable(f"the name of the site has to have 1 to {issuing.SITE_NAME_MOST} printable characters")
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = issuing.authority_certificate(site.strip(), key, change.now)
    https_key = ec.generate_private_key(ec.SECP256R1())
    https = issuing.https_certificate(certificate, key, https_key.public_key(), https_names, change.now)
    change.session.add(
        SiteRow(
            number=1,
            name=site.strip(),
            authority_certificate=certificates_to_pem([certificate]),
            authority_key=key_to_pem(key),
            https_certificate=certificates_to_pem([https]),
            https_key=key_to_pem(https_key),
            created=change.now,
        )
    )
    change.session.flush()
    change.note("authority.created", site=site.strip(), key_sha256=key_pin(certificate))
    return load(change.session)


def load(session: Session) -> Authority:
    """The site's authority.

    :raises NotFound: when there is none yet.
    """
    row = site_row(session)
    key = load_pem_private_key(row.authority_key.encode("ascii"), None)
    https_key = load_pem_private_key(row.https_key.encode("ascii"), None)
    if not isinstance(key, ed25519.Ed25519PrivateKey) or not isinstance(https_key, ec.EllipticCurvePrivateKey):
        raise Unusable("the keys in the store are not of the kinds that SmartProxy makes; the store is damaged")
    return Authority(
        site=row.name,
        created=row.created.astimezone(UTC),
        certificate=x509.load_pem_x509_certificate(row.authority_certificate.encode("ascii")),
        key=key,
        https_certificate=x509.load_pem_x509_certificate(row.https_certificate.encode("ascii")),
        https_key=https_key,
    )


def site_row(session: Session) -> SiteRow:
    """The one row of the site.

    :raises NotFound: when there is none yet.
    """
    row = session.get(SiteRow, 1)
    if row is None:
        raise NotFound("this store has no authority yet; make it with 'smartproxy authority create --site NAME'")
    return row


def rename_https(change: Change, https_names: Sequence[str]) -> Authority:
    """Issue the backend's https certificate anew for other names; its key, and so its pin, stays.

    :raises Unusable: when a name cannot stand in a certificate.
    """
    authority = load(change.session)
    https = issuing.https_certificate(
        authority.certificate, authority.key, authority.https_key.public_key(), https_names, change.now
    )
    site_row(change.session).https_certificate = certificates_to_pem([https])
    change.session.flush()
    return load(change.session)
