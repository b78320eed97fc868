"""What of a configuration runs out: our certificates, those of the CAs, and the revocation lists in use.

Reads certificates, and no private key. What cannot be read is left out: it is refused where it is used.
"""

import contextlib
from collections.abc import Iterator

from cryptography import x509

from smartproxy.net.tls.context import CertificateUnusable, load_certificates
from smartproxy.net.tls.facts import certificate_facts
from smartproxy.policy.certificates.facts import CertificateFacts
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.health import Expiry
from smartproxy.policy.partners import RevocationMode, TrustedCa

_DIGITS = 16
"""So many digits of a key's SHA-256 name a list whose CA has no entry of its own."""


def expiries(server: ServerConfiguration) -> Iterator[Expiry]:
    """Everything with an end; a list ends with its nextUpdate, before its hours of grace."""
    for identity in server.identities:
        for leaf in _facts(_certificates(identity.certificate)[:1]):
            yield Expiry(f"the certificate of our identity {identity.name}", leaf.not_after)
    issuers: dict[str, TrustedCa] = {}
    for ca in server.cas:
        for certificate in _facts(_certificates(ca.certificates)):
            issuers[certificate.key_sha256] = ca
            yield Expiry(f"a certificate of the CA {ca.name}", certificate.not_after)
    for listed in server.revocation:
        issuer = issuers.get(listed.issuer_key_sha256)
        if issuer is None:
            yield Expiry(f"the revocation list of the CA key {listed.issuer_key_sha256[:_DIGITS]}", listed.fresh_until)
        elif issuer.revocation is not RevocationMode.OFF:
            yield Expiry(f"the revocation list of the CA {issuer.name}", listed.fresh_until)


def _certificates(pem: str) -> list[x509.Certificate]:
    try:
        return load_certificates(pem, "")
    except CertificateUnusable:
        return []


def _facts(certificates: list[x509.Certificate]) -> Iterator[CertificateFacts]:
    for each in certificates:
        with contextlib.suppress(ValueError):
            yield certificate_facts(each)
