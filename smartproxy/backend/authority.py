"""The site's authority: the Ed25519 key that signs licences, tunnel certificates and the backend's https certificate.

Its key is in the store and never leaves it but for signing here. Trusts its caller to have decided that a certificate
may be issued. What a client's request asks for is not taken over: only its public key is, and only when it is ECDSA
P-256 and the request proves that the client has it.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy.orm import Session

from smartproxy.backend.certificates import PrivateKey, certificates_to_pem, key_pin, key_to_pem
from smartproxy.backend.change import Change
from smartproxy.backend.errors import AlreadyThere, NotFound, Unusable
from smartproxy.backend.schema import SiteRow
from smartproxy.policy.addresses import is_wildcard
from smartproxy.policy.certificates.decoding import (
    Undecodable,
    extension,
    first_certificate_in,
    is_proved,
    private_key_in,
    public_key,
    request_in,
)
from smartproxy.policy.credential import PlainCredential


@attrs.frozen(kw_only=True)
class HttpsIdentity:
    """What a port of the backend shows.

    :ivar chain: the certificates between its own and that of a CA.
    """

    certificate: x509.Certificate
    key: PrivateKey = attrs.field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256 as browsers show it: ``AB:CD:...``."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()


@attrs.frozen(kw_only=True)
class SiteAuthority:
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
    def https(self) -> HttpsIdentity:
        """What the backend's port shows."""
        return HttpsIdentity(certificate=self.https_certificate, key=self.https_key)

    @property
    def https_pin(self) -> str:
        """What ``--backend-pin`` takes: SHA-256 of the public key of the https certificate."""
        return key_pin(self.https_certificate)

    @property
    def https_names(self) -> list[str]:
        """The names and addresses that the https certificate is for."""
        names = extension(self.https_certificate, x509.SubjectAlternativeName)
        return [str(each.value) for each in names or ()]


def see_names(site: str, https_names: Sequence[str]) -> None:
    """See that a new site can be called so, before there is anything of it.

    :raises Unusable: when the site's name or one of the https names cannot stand in a certificate.
    """
    if not site.strip() or not site.isprintable() or len(site) > SITE_NAME_MOST:
        raise Unusable(f"the name of the site has to have 1 to {SITE_NAME_MOST} printable characters")
    for each in https_names:
        general_name(each)


def create(change: Change, site: str, https_names: Sequence[str]) -> SiteAuthority:
    """Make the authority of a new site, and the https certificate of its backend.

    :raises AlreadyThere: when the site has one.
    :raises Unusable: when the site's name or one of the https names cannot stand in a certificate.
    """
    if (row := change.session.get(SiteRow, 1)) is not None:
        raise AlreadyThere(
            f"this store has the authority of {row.name!r} already; 'smartproxy authority show' shows it, and "
            "'smartproxy authority https --name HOST' adds names to the backend's certificate"
        )
    see_names(site, https_names)
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = authority_certificate(site.strip(), key, change.now)
    https_key = ec.generate_private_key(ec.SECP256R1())
    https = https_certificate(certificate, key, https_key.public_key(), https_names, change.now)
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


def load(session: Session) -> SiteAuthority:
    """The site's authority.

    :raises NotFound: when there is none yet.
    """
    row = site_row(session)
    key = private_key_in(row.authority_key)
    https_key = private_key_in(row.https_key)
    if not isinstance(key, ed25519.Ed25519PrivateKey) or not isinstance(https_key, ec.EllipticCurvePrivateKey):
        raise Unusable("the keys in the store are not of the kinds that SmartProxy makes; the store is damaged")
    return SiteAuthority(
        site=row.name,
        created=row.created.astimezone(UTC),
        certificate=first_certificate_in(row.authority_certificate),
        key=key,
        https_certificate=first_certificate_in(row.https_certificate),
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


def rename_https(change: Change, https_names: Sequence[str]) -> SiteAuthority:
    """Issue the backend's https certificate anew for other names; its key, and so its pin, stays.

    :raises Unusable: when a name cannot stand in a certificate.
    """
    authority = load(change.session)
    https = https_certificate(
        authority.certificate, authority.key, authority.https_key.public_key(), https_names, change.now
    )
    site_row(change.session).https_certificate = certificates_to_pem([https])
    change.session.flush()
    return load(change.session)


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
    *,
    after: datetime | None = None,
) -> x509.Certificate:
    """A client's certificate for the tunnel, for the key of its request (CSR, PEM).

    :param life: how long it is valid; a client that has no backend cannot renew it by itself.
    :param after: it begins to be valid later than this: those that begin earlier are withdrawn.
    :raises Unusable: when the request cannot be read, is not signed by its own key, or its key is not ECDSA P-256.
    """
    try:
        asked = request_in(request)
        key = public_key(asked)
        proved = is_proved(asked)
    except Undecodable as error:
        raise Unusable(f"the certificate request cannot be read: {error.said}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Unusable("the key of the certificate request is not ECDSA on P-256")
    if not proved:
        raise Unusable("the certificate request is not signed by the key in it")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, client)])
    return _issue(
        authority,
        authority_key,
        _builder(subject, authority.subject, key, now, now + life, after),
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
    after: datetime | None = None,
) -> x509.CertificateBuilder:
    begins = now - BACKDATED
    if after is not None:
        begins = max(begins, after + timedelta(seconds=1))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(until)
    )


def _issue(
    authority: x509.Certificate,
    authority_key: ed25519.Ed25519PrivateKey,
    builder: x509.CertificateBuilder,
    usage: x509.ObjectIdentifier,
) -> x509.Certificate:
    identifier = extension(authority, x509.SubjectKeyIdentifier)
    assert identifier is not None
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
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
    if is_wildcard(name):
        raise Unusable(f"{name!r} stands for every address of a machine: name the one by which it is called")
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    try:
        host = name.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    # No top level domain is a number (RFC 3696 section 2): this is an address with a figure too many.
    if _HOST.fullmatch(host) is None or host.rstrip(".").rpartition(".")[2].isdigit():
        raise Unusable(f"{name!r} is neither a host name nor an IP address")
    return x509.DNSName(host)


def issue_credential(
    session: Session, name: str, proxy_ids: Sequence[str], *, now: datetime, days: int, after: datetime | None = None
) -> tuple[PlainCredential, datetime]:
    """Make a key and have the site's authority certify it for a client that has no backend.

    The key stands in the credential alone; the store keeps neither it nor the certificate.

    :param proxy_ids: the servers that the client may speak to.
    :param after: see :func:`tunnel_certificate`.
    :return: the credential, and the end of its certificate.
    :raises Unusable: when no server is licensed yet, so that there is nobody to speak to.
    """
    if not proxy_ids:
        raise Unusable("no server has a licence yet; issue one first: smartproxy licence issue PROXY-ID --until DATE")
    site = load(session)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    certificate = tunnel_certificate(
        site.certificate,
        site.key,
        request.public_bytes(Encoding.PEM).decode("ascii"),
        name,
        now,
        timedelta(days=days),
        after=after,
    )
    credential = PlainCredential(
        name=name,
        certificate=certificate.public_bytes(Encoding.PEM).decode("ascii"),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
        proxy_ids=tuple(proxy_ids),
    )
    return credential, certificate.not_valid_after_utc
