"""The certificates that a site's authority issues: its own, the backend's for https, and the clients' for the tunnel.

Trusts its caller to have decided that a certificate may be issued. What a client's request asks for is not taken over:
only its public key is, and only when it is ECDSA P-256 and the request proves that the client has it.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smartproxy.backend.certificates import first_line
from smartproxy.backend.errors import Unusable

AUTHORITY_LIFE = timedelta(days=20 * 365)
TUNNEL_LIFE = timedelta(days=7)
BACKDATED = timedelta(hours=1)
"""A certificate is valid from a little before now, for machines whose clock is late."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?", re.IGNORECASE)
SITE_NAME_MOST = 40
"""Characters of a site's name: with the words around it, it has to fit a certificate's common name (64)."""


def authority_certificate(site: str, key: ed25519.Ed25519PrivateKey, now: datetime) -> x509.Certificate:
    """The self-signed certificate of a new authority."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{site} SmartProxy authority")])
    return (
        _builder(name, name, key.public_key(), now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )


def https_certificate(
    authority: x509.Certificate,
    authority_key: ed25519.Ed25519PrivateKey,
    public_key: ec.EllipticCurvePublicKey,
    names: Iterable[str],
    now: datetime,
) -> x509.Certificate:
    """The backend's https certificate, for the names given and for loopback, as long as the authority lives."""
    wanted = list(dict.fromkeys([*names, *LOOPBACK_NAMES]))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SmartProxy backend")])
    return _issue(
        authority,
        authority_key,
        _builder(subject, authority.subject, public_key, now, authority.not_valid_after_utc).add_extension(
            x509.SubjectAlternativeName([general_name(each) for each in wanted]), critical=False
        ),
        ExtendedKeyUsageOID.SERVER_AUTH,
    )


def tunnel_certificate(
    authority: x509.Certificate,
    authority_key: ed25519.Ed25519PrivateKey,
    request: str,
    client: str,
    now: datetime,
    life: timedelta = TUNNEL_LIFE,
) -> x509.Certificate:
    """A client's certificate for the tunnel, for the key of its request (CSR, PEM).

    :param life: how long it is valid; a client that has no backend cannot renew it by itself.
    :raises Unusable: when the request cannot be read, is not signed by its own key, or its key is not ECDSA P-256.
    """
    try:
        asked = x509.load_pem_x509_csr(request.encode("ascii"))
        public_key = asked.public_key()
        proved = asked.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise Unusable(f"the certificate request cannot be read: {first_line(error)}") from error
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise Unusable("the key of the certificate request is not ECDSA on P-256")
    if not proved:
        raise Unusable("the certificate request is not signed by the key in it")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, client)])
    return _issue(
        authority,
        authority_key,
        _builder(subject, authority.subject, public_key, now, now + life),
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
    )


def _issue(
    authority: x509.Certificate,
    authority_key: ed25519.Ed25519PrivateKey,
    builder: x509.CertificateBuilder,
    purpose: x509.ObjectIdentifier,
) -> x509.Certificate:
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(authority_key, None)
    )


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    """For signing certificates and lists, or for signing a handshake: never both."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(name: str) -> x509.GeneralName:
    """An IP address or a DNS name.

    :raises Unusable: when it is neither.
    """
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    try:
        host = name.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    if _HOST.fullmatch(host) is None:
        raise Unusable(f"{name!r} is neither a host name nor an IP address")
    return x509.DNSName(host)
