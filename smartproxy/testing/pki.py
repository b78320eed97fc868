"""Certificates for tests: authorities, leaves with every oddity, revocation lists.

Makes keys and certificates in memory and writes them as PEM or PKCS#12 files. Everything is made for testing: keys are
not protected, serial numbers are random, and one argument makes what no real CA would issue: expired, for another
purpose, with a weak key, signed with SHA-1. Trusts its caller; opens no connection.

Standards: RFC 5280 (certificates and revocation lists), RFC 7292 (PKCS#12).
"""

import datetime
import enum
import warnings
from collections.abc import Iterable
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
EMAIL_PROTECTION = ExtendedKeyUsageOID.EMAIL_PROTECTION

_ORGANIZATION = "SmartProxy test kit"
_DAY = datetime.timedelta(days=1)


class KeyKind(enum.Enum):
    """The keys that certificates are made for; ``RSA_1024`` and ``EC_P192`` are weak on purpose."""

    EC_P256 = "EC P-256"
    EC_P384 = "EC P-384"
    EC_P192 = "EC P-192"
    RSA_2048 = "RSA 2048"
    RSA_1024 = "RSA 1024"
    ED25519 = "Ed25519"


class Digest(enum.Enum):
    """The hash that a certificate's signature is made over; ``SHA1`` is weak on purpose."""

    SHA1 = "sha1"
    SHA256 = "sha256"


def make_key(kind: KeyKind = KeyKind.EC_P256) -> PrivateKey:
    """A new private key."""
    match kind:
        case KeyKind.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.EC_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.EC_P192:
            return ec.generate_private_key(ec.SECP192R1())
        case KeyKind.RSA_2048:
            return rsa.generate_private_key(65537, 2048)
        case KeyKind.RSA_1024:
            return rsa.generate_private_key(65537, 1024)
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()


@attrs.frozen
class TestCredential:
    """A private key, its certificate, and the certificates between it and its root.

    :ivar intermediates: the issuing authorities, nearest first, without the root.
    """

    key: PrivateKey
    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """The certificate and the intermediates, leaf first: what a TLS end presents."""
        return b"".join(
            certificate.public_bytes(serialization.Encoding.PEM)
            for certificate in (self.certificate, *self.intermediates)
        )

    @property
    def key_pem(self) -> bytes:
        """The private key as unprotected PKCS#8."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def sha256(self) -> str:
        """The SHA-256 of the certificate in hex: what a partner's entry pins."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def key_sha256(self) -> str:
        """The SHA-256 of the SubjectPublicKeyInfo in hex."""
        info = self.certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(info)
        return digest.finalize().hex()

    def pkcs12(self, password: str) -> bytes:
        """Key, certificate and intermediates as one PKCS#12 file's content."""
        return pkcs12.serialize_key_and_certificates(
            b"smartproxy test",
            self.key,
            self.certificate,
            self.intermediates,
            serialization.BestAvailableEncryption(password.encode()),
        )

    def write(self, folder: Path, name: str) -> "CredentialFiles":
        """Write ``NAME.crt`` (the chain, leaf first) and ``NAME.key`` (mode 0600) into a folder."""
        files = CredentialFiles(certificate=folder / f"{name}.crt", key=folder / f"{name}.key")
        files.certificate.write_bytes(self.chain_pem)
        files.key.touch(mode=0o600)
        files.key.write_bytes(self.key_pem)
        return files


@attrs.frozen(kw_only=True)
class CredentialFiles:
    """Where a credential was written."""

    certificate: Path
    key: Path


def _name(common_name: str, serial_number: str | None, organization: str = _ORGANIZATION) -> x509.Name:
    attributes = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    if serial_number is not None:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_number))
    return x509.Name(attributes)


def _general_name(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    match kind:
        case "DNS":
            return x509.DNSName(value)
        case "URI":
            return x509.UniformResourceIdentifier(value)
        case "EMAIL":
            return x509.RFC822Name(value)
    raise ValueError(f"{text!r} is not one of DNS:name, URI:uri, EMAIL:address")


def _sign(builder: x509.CertificateBuilder, key: PrivateKey, digest: Digest) -> x509.Certificate:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return builder.sign(key, None)
    certificate = builder.sign(key, hashes.SHA256())
    if digest is Digest.SHA256:
        return certificate
    # cryptography signs nothing with SHA-1 any more; OpenSSL, through a deprecated call of pyOpenSSL, still does.
    weak = crypto.X509.from_cryptography(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        weak.sign(crypto.PKey.from_cryptography_key(key), digest.value)
    return weak.to_cryptography()


@attrs.frozen
class TestCa:
    """A certificate authority in memory.

    :ivar credential: its own key and certificate.
    :ivar is_root: whether its certificate is self-signed, and so never part of a chain that is presented.
    """

    credential: TestCredential
    is_root: bool = True

    @classmethod
    def root(
        cls,
        name: str,
        *,
        key: PrivateKey | None = None,
        valid_from: datetime.datetime | None = None,
        valid_until: datetime.datetime | None = None,
        organization: str = _ORGANIZATION,
    ) -> "TestCa":
        """A new self-signed authority; valid from yesterday for ten years unless told otherwise."""
        key = key or make_key()
        subject = _name(name, None, organization)
        return cls(
            TestCredential(
                key,
                _certificate(
                    subject=subject,
                    issuer=subject,
                    key=key,
                    issuer_key=key,
                    issuer_certificate=None,
                    is_ca=True,
                    valid_from=valid_from,
                    valid_until=valid_until or _now() + 3650 * _DAY,
                ),
            )
        )

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate."""
        return self.credential.certificate_pem

    def issue(
        self,
        name: str,
        *,
        serial_number: str | None = None,
        sans: Iterable[str] = (),
        purposes: Iterable[x509.ObjectIdentifier] = (CLIENT_AUTH, SERVER_AUTH),
        valid_from: datetime.datetime | None = None,
        valid_until: datetime.datetime | None = None,
        key: PrivateKey | None = None,
        digest: Digest = Digest.SHA256,
        is_ca: bool = False,
        crl_urls: Iterable[str] = (),
        organization: str = _ORGANIZATION,
    ) -> TestCredential:
        """A certificate for a new key, or for the given one.

        :param name: the subject's common name.
        :param serial_number: the subject's serialNumber, where Odette's authorities put the Odette ID.
        :param sans: subject alternative names as ``DNS:name``, ``URI:uri`` or ``EMAIL:address``.
        :param purposes: the extended key usage; none leaves the extension out.
        :param valid_from: yesterday unless told otherwise.
        :param valid_until: in a year unless told otherwise.
        :param digest: what the signature is made over.
        """
        key = key or make_key()
        return TestCredential(
            key,
            _certificate(
                subject=_name(name, serial_number, organization),
                issuer=self.credential.certificate.subject,
                key=key,
                issuer_key=self.credential.key,
                issuer_certificate=self.credential.certificate,
                sans=sans,
                purposes=purposes,
                valid_from=valid_from,
                valid_until=valid_until,
                digest=digest,
                is_ca=is_ca,
                crl_urls=crl_urls,
            ),
            () if self.is_root else (self.credential.certificate, *self.credential.intermediates),
        )

    def intermediate(self, name: str, *, valid_until: datetime.datetime | None = None) -> "TestCa":
        """An authority below this one."""
        return TestCa(self.issue(name, is_ca=True, purposes=(), valid_until=valid_until), is_root=False)

    def crl(
        self,
        revoked: Iterable[TestCredential] = (),
        *,
        this_update: datetime.datetime | None = None,
        next_update: datetime.datetime | None = None,
        number: int | None = None,
        point: str | None = None,
        users_only: bool = False,
    ) -> bytes:
        """A revocation list in PEM: made a minute ago, good for a week, numbered by its time unless told otherwise.

        :param point: the address of the distribution point that it is limited to.
        :param users_only: whether it leaves out CA certificates.
        """
        made = this_update or _now() - datetime.timedelta(minutes=1)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.credential.certificate.subject)
            .last_update(made)
            .next_update(next_update or made + 7 * _DAY)
            .add_extension(x509.CRLNumber(number or int(made.timestamp())), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.credential.key.public_key()), critical=False
            )
        )
        if point is not None or users_only:
            names = None if point is None else [x509.UniformResourceIdentifier(point)]
            scope = x509.IssuingDistributionPoint(names, None, users_only, False, None, False, False)
            builder = builder.add_extension(scope, critical=True)
        for credential in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(credential.certificate.serial_number)
                .revocation_date(made)
                .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
                .build()
            )
        key = self.credential.key
        digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)

    # The usual ways for a certificate to be wrong, by name.

    def issue_expired(self, name: str, *, serial_number: str | None = None) -> TestCredential:
        """A certificate that expired yesterday."""
        now = _now()
        return self.issue(name, serial_number=serial_number, valid_from=now - 30 * _DAY, valid_until=now - _DAY)

    def issue_not_yet_valid(self, name: str, *, serial_number: str | None = None) -> TestCredential:
        """A certificate whose validity begins tomorrow."""
        return self.issue(name, serial_number=serial_number, valid_from=_now() + _DAY)

    def issue_for_mail(self, name: str, *, serial_number: str | None = None) -> TestCredential:
        """A certificate for the protection of electronic mail, not for TLS."""
        return self.issue(name, serial_number=serial_number, purposes=(EMAIL_PROTECTION,))

    def issue_weak_key(self, name: str, *, serial_number: str | None = None) -> TestCredential:
        """A certificate for an RSA key of 1024 bits."""
        return self.issue(name, serial_number=serial_number, key=make_key(KeyKind.RSA_1024))

    def issue_sha1(self, name: str, *, serial_number: str | None = None) -> TestCredential:
        """A certificate whose signature is made over SHA-1."""
        return self.issue(name, serial_number=serial_number, digest=Digest.SHA1)


def self_signed(name: str, *, serial_number: str | None = None, key: PrivateKey | None = None) -> TestCredential:
    """A certificate that nobody vouches for: what many OFTP2 stations present, to be pinned by their partners."""
    key = key or make_key()
    subject = _name(name, serial_number)
    return TestCredential(
        key,
        _certificate(
            subject=subject,
            issuer=subject,
            key=key,
            issuer_key=key,
            issuer_certificate=None,
            purposes=(CLIENT_AUTH, SERVER_AUTH),
        ),
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _certificate(
    *,
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    issuer_key: PrivateKey,
    issuer_certificate: x509.Certificate | None,
    is_ca: bool = False,
    sans: Iterable[str] = (),
    purposes: Iterable[x509.ObjectIdentifier] = (),
    valid_from: datetime.datetime | None = None,
    valid_until: datetime.datetime | None = None,
    digest: Digest = Digest.SHA256,
    crl_urls: Iterable[str] = (),
) -> x509.Certificate:
    start = valid_from or _now() - _DAY
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(valid_until or max(start, _now()) + 365 * _DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=not is_ca and isinstance(key, rsa.RSAPrivateKey),
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=is_ca,
                crl_sign=is_ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if issuer_certificate is not None:
        identifier = issuer_certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    if names := [_general_name(text) for text in sans]:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usages := list(purposes):
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if points := [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in crl_urls]:
        builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
    return _sign(builder, issuer_key, digest)
