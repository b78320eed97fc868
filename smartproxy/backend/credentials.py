"""Credentials of clients that have no backend: made once, written to a file, kept by nobody.

The key exists in the file alone; the store keeps neither it nor the certificate. What was issued is an event.
"""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy.orm import Session

from smartproxy.backend import authority, issuing, licences
from smartproxy.backend.errors import Unusable
from smartproxy.policy.credential import Credential


def issue(session: Session, name: str, *, now: datetime, days: int) -> tuple[Credential, datetime]:
    """Make a key and have the site's authority certify it for a client.

    :return: the credential, and the end of its certificate.
    :raises Unusable: when no server is licensed yet, so that there is nobody to speak to.
    """
    proxy_ids = licences.licensed(session, now)
    if not proxy_ids:
        raise Unusable("no server has a licence yet; issue one first: smartproxy licence issue PROXY-ID --until DATE")
    site = authority.load(session)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    certificate = issuing.tunnel_certificate(
        site.certificate,
        site.key,
        request.public_bytes(Encoding.PEM).decode("ascii"),
        name,
        now,
        timedelta(days=days),
    )
    credential = Credential(
        name=name,
        certificate=certificate.public_bytes(Encoding.PEM).decode("ascii"),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
        proxy_ids=tuple(proxy_ids),
    )
    return credential, certificate.not_valid_after_utc
