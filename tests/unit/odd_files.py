"""Odd certificates, revocation lists and key files, all made here: what operators get sent, and worse.

Each is wrong or unusual in one way: a name in another encoding, an extension that cannot be read, a date at the end of
time, a key of another kind, a block with another label, an octet changed.
"""

import base64
import datetime
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtensionOID, NameOID

from smartproxy.testing.pki import TestCa
from tests.unit.odder_files import odder

ROOT = TestCa.root("Root")
MIDDLE = ROOT.intermediate("Middle")
LEAF = MIDDLE.issue("leaf", serial_number="O0013000001ACME")
THREE = [LEAF.certificate, MIDDLE.credential.certificate, ROOT.credential.certificate]

GARBAGE = (
    b"",
    b"\x05\x00",
    b"\x30\x00",
    b"\x30\x80\x01",
    b"\x04\x82\xff\xff",
    b"\x30\x03\x02\x01\xff",
    b"nothing of it",
)
"""Values that extensions do not have."""
EXTENSIONS = {
    "san": ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    "issuer-names": ExtensionOID.ISSUER_ALTERNATIVE_NAME,
    "basic": ExtensionOID.BASIC_CONSTRAINTS,
    "usage": ExtensionOID.KEY_USAGE,
    "extended-usage": ExtensionOID.EXTENDED_KEY_USAGE,
    "own-key": ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    "issuer-key": ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    "list-points": ExtensionOID.CRL_DISTRIBUTION_POINTS,
    "policies": ExtensionOID.CERTIFICATE_POLICIES,
    "name-limits": ExtensionOID.NAME_CONSTRAINTS,
    "information": ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    "unknown": x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"),
}
LIST_EXTENSIONS = {
    "number": ExtensionOID.CRL_NUMBER,
    "delta": ExtensionOID.DELTA_CRL_INDICATOR,
    "scope": ExtensionOID.ISSUING_DISTRIBUTION_POINT,
    "issuer-key": ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    "unknown": x509.ObjectIdentifier("1.3.6.1.4.1.99999.2"),
}


def block(label: str, der: bytes) -> bytes:
    """A PEM block."""
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), base64.encodebytes(der), label.encode())


def der_of(certificate: x509.Certificate) -> bytes:
    """A certificate in DER."""
    return certificate.public_bytes(Encoding.DER)


def of_no_version(certificate: x509.Certificate) -> bytes:
    """A certificate in DER whose version of X.509 does not exist."""
    return der_of(certificate).replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)


def of_no_year(certificate: x509.Certificate) -> bytes:
    """A certificate in DER that is of as many octets and begins in the year 0."""
    begins = certificate.not_valid_before_utc.strftime("%y%m%d%H%M%SZ").encode()
    return der_of(certificate).replace(b"\x17\x0d" + begins, b"\x18\x0d0000" + begins[2:11], 1)


def named_in_bits(certificate: x509.Certificate, name: str) -> bytes:
    """A certificate in DER with a name of it written as a string of bits wherever it was one of text."""
    text = name.encode()
    old, new = (bytes((tag, len(text))) for tag in (0x0C, 0x03))
    return der_of(certificate).replace(old + text, new + b"\x00" + text[1:])


ODD_EXTENSIONS = (
    (ExtensionOID.TLS_FEATURE, bytes.fromhex("3004020203e7"), "KeyError"),
    (ExtensionOID.TLS_FEATURE, bytes.fromhex("3000"), "TypeError"),
    (ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("300aa308300602010104010a"), "UnsupportedGeneralNameType"),
    (ExtensionOID.BASIC_CONSTRAINTS, bytes.fromhex("0500"), "ValueError"),
)
"""Extensions that the library cannot read, each with its value and the class of the library's error."""


def p7(*certificates: x509.Certificate) -> bytes:
    """Certificates as PKCS#7 in DER."""
    return pkcs7.serialize_certificates(list(certificates), Encoding.DER)


def corpus() -> dict[str, bytes]:
    """All of them, by what is odd."""
    crl = x509.load_pem_x509_crl(MIDDLE.crl([LEAF])).public_bytes(Encoding.DER)
    more = odder(LEAF, MIDDLE.credential, THREE, crl)
    return dict((*_changed(), *_labels(), *_certificates(), *_lists(), *_keys(), *_texts(), *more))


def _changed() -> Iterator[tuple[str, bytes]]:
    """An octet changed, octets missing or too many; names with each tag of a text and octets that fit none."""
    certificate = der_of(LEAF.certificate)
    crl = x509.load_pem_x509_crl(MIDDLE.crl([LEAF])).public_bytes(Encoding.DER)
    for tag in (*range(0x02, 0x1F, 3), 0x14, 0x1E):
        yield f"name-{tag:02x}", certificate.replace(b"\x0c\x04leaf", bytes((tag, 4)) + b"l\xe4\xff\x1b")
    for what, der in (("certificate", certificate), ("list", crl), ("p7", p7(*THREE))):
        for number in range(12):
            at = number * len(der) // 12
            yield f"{what}-changed-{at}", der[:at] + bytes((der[at] ^ 0x1F,)) + der[at + 1 :]
        yield f"{what}-cut", der[:-9]
        yield f"{what}-behind", der + b"more"


def _labels() -> Iterator[tuple[str, bytes]]:
    """Blocks whose label says something else."""
    crl = x509.load_pem_x509_crl(MIDDLE.crl([LEAF])).public_bytes(Encoding.DER)
    for what, der in (("certificate", der_of(LEAF.certificate)), ("list", crl), ("p7", p7(*THREE))):
        for label in ("CERTIFICATE", "PKCS7", "CMS", "X509 CRL", "TRUSTED CERTIFICATE", "PRIVATE KEY", "RSA KEY"):
            yield f"{what}-as-{label.replace(' ', '-')}", block(label, der)
    for label in ("PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "CERTIFICATE"):
        yield f"key-as-{label.replace(' ', '-')}", LEAF.key_pem.replace(b"PRIVATE KEY", label.encode())


def _builder(subject: str = "odd", name: str = "odd") -> x509.CertificateBuilder:
    about = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateBuilder().subject_name(about).issuer_name(about)
    builder = builder.not_valid_before(LEAF.certificate.not_valid_before_utc).serial_number(0x55)
    builder = builder.not_valid_after(LEAF.certificate.not_valid_after_utc)
    if name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder


def _signed(builder: x509.CertificateBuilder, key: object = LEAF.key) -> bytes:
    signer: object = key
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    made = builder.public_key(key.public_key())  # type: ignore[attr-defined]  # any private key
    return made.sign(signer, digest).public_bytes(Encoding.PEM)  # type: ignore[arg-type]  # any private key that signs


def _certificates() -> Iterator[tuple[str, bytes]]:
    """Extensions that cannot be read, critical or not; dates, keys and serial numbers that are not usual."""
    for name, oid in EXTENSIONS.items():
        for number, value in enumerate(GARBAGE[: 2 if name == "unknown" else 5]):
            odd = x509.UnrecognizedExtension(oid, value)
            builder = _builder(name="" if name == "san" else "odd.example")
            if name != "basic" and number % 2 == 0:
                builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            yield f"{name}-{number}", _signed(builder.add_extension(odd, critical=number % 4 > 1))
    ends = (datetime.datetime(1950, 1, 1), datetime.datetime(1970, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59))
    for since, until in ((ends[0], ends[1]), (ends[0], ends[2]), (ends[1], ends[2]), (ends[2], ends[2])):
        builder = x509.CertificateBuilder().subject_name(LEAF.certificate.subject).serial_number(5)
        builder = builder.issuer_name(LEAF.certificate.issuer).not_valid_before(since).not_valid_after(until)
        yield f"from-{since.year}-until-{until.year}", _signed(builder)
    good = der_of(x509.load_pem_x509_certificate(_signed(_builder())))
    for year in (b"500101000000Z", b"491231235959Z", b"000000000000Z", b"991332256161Z", b"2611201000Z   "):
        at = good.index(b"\x17\x0d")
        yield f"date-{year.decode().strip()}", good[: at + 2] + year + good[at + 15 :]
    for name, integer in (("negative", "0201ff"), ("zero", "020100")):
        yield f"serial-{name}", good.replace(b"\x02\x01\x55", bytes.fromhex(integer), 1)
    keys = {
        "rsa-1024": rsa.generate_private_key(65537, 1024),
        "p192": ec.generate_private_key(ec.SECP192R1()),
        "k256": ec.generate_private_key(ec.SECP256K1()),
        "brainpool": ec.generate_private_key(ec.BrainpoolP256R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "ed448": ed448.Ed448PrivateKey.generate(),
        "dsa": dsa.generate_private_key(1024),
    }
    for name, key in keys.items():
        pem = _signed(_builder(), key)
        yield f"of-{name}", pem
        yield f"of-{name}-with-key", pem + _pem_of(key)
    authority = x509.BasicConstraints(ca=True, path_length=0)
    yield "authority", _signed(_builder().add_extension(authority, critical=True))
    for number, subject in enumerate(
        ("\u202egnp.exe", "a\x1b[2Jb", "\u2028line", "x" * 64, "ÄÖÜ ß 証明書", "a,b=c+d\\")
    ):
        yield f"subject-{number}", _signed(_builder(subject))
    for number, name in enumerate(("*", "*.example", "xn--mller-kva.example", "a" * 250, "host\x00.evil", "-")):
        yield f"host-{number}", _signed(_builder(name=name))
    wide = _builder().add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=True)
    yield "feature", _signed(wide)
    urls = [x509.UniformResourceIdentifier(each) for each in ("http://a\r\nb", "ldap:///x", "http://" + "a" * 70_000)]
    points = x509.CRLDistributionPoints([x509.DistributionPoint([each], None, None, None) for each in urls])
    yield "urls", _signed(_builder().add_extension(points, critical=False))
    yield "old-signature", good.replace(bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040399"))
    yield "many", b"".join(block("CERTIFICATE", good) for _ in range(300))


def _lists() -> Iterator[tuple[str, bytes]]:
    """Lists of a known issuer with extensions, dates and entries that are not usual."""
    issuer, key = MIDDLE.credential.certificate, MIDDLE.credential.key
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)

    def made(since: datetime.datetime, until: datetime.datetime) -> x509.CertificateRevocationListBuilder:
        builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
        return builder.last_update(since).next_update(until)

    def signed(builder: x509.CertificateRevocationListBuilder) -> bytes:
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)

    day = datetime.timedelta(days=1)
    for name, oid in LIST_EXTENSIONS.items():
        for number, value in enumerate(GARBAGE[:4]):
            odd = x509.UnrecognizedExtension(oid, value)
            yield f"list-{name}-{number}", signed(made(now - day, now + day).add_extension(odd, number % 2 == 1))
    for since, until in ((1950, 1970), (1970, 9999), (9998, 9999), (2026, 9999)):
        yield f"list-{since}-{until}", signed(made(datetime.datetime(since, 1, 1), datetime.datetime(until, 12, 31)))
    base = x509.DeltaCRLIndicator(1)
    yield "list-delta", signed(made(now - day, now + day).add_extension(base, critical=True))
    scope = x509.IssuingDistributionPoint(None, None, False, False, None, True, False)
    yield "list-indirect", signed(made(now - day, now + day).add_extension(scope, critical=True))
    entry = (
        x509.RevokedCertificateBuilder().serial_number((1 << 159) - 1).revocation_date(datetime.datetime(1950, 1, 1))
    )
    entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.remove_from_crl), critical=False)
    yield "list-far-serial", signed(made(now - day, now + day).add_revoked_certificate(entry.build()))
    entry = x509.RevokedCertificateBuilder().serial_number(1).revocation_date(now)
    entry = entry.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.21"), b"\x0a\x01\x63"), True)
    yield "list-odd-reason", signed(made(now - day, now + day).add_revoked_certificate(entry.build()))
    yield "list-of-stranger", TestCa.root("Stranger").crl()


def _pem_of(key: object, password: bytes | None = None, form: str = "PKCS8") -> bytes:
    hidden: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        hidden = serialization.BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, getattr(serialization.PrivateFormat, form), hidden)  # type: ignore[attr-defined, no-any-return]  # any private key


def _keys() -> Iterator[tuple[str, bytes]]:
    """Keys alone, keys of others, keys in other forms, and PKCS#12 that is broken."""
    other = ec.generate_private_key(ec.SECP256R1())
    yield "key-of-another", LEAF.chain_pem + _pem_of(other)
    yield "key-encrypted", LEAF.chain_pem + _pem_of(LEAF.key, b"secret")
    yield "key-encrypted-in-the-old-way", LEAF.chain_pem + _pem_of(LEAF.key, b"secret", "TraditionalOpenSSL")
    yield "key-of-openssh", LEAF.chain_pem + _pem_of(LEAF.key, None, "OpenSSH")
    yield "key-of-x25519", LEAF.chain_pem + _pem_of(x25519.X25519PrivateKey.generate())
    public = LEAF.key.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    yield "key-public", LEAF.chain_pem + public
    yield (
        "key-with-parameters",
        LEAF.chain_pem + block("EC PARAMETERS", b"\x06\x08*\x86H\xce=\x03\x01\x07") + LEAF.key_pem,
    )
    yield "key-cut", LEAF.chain_pem + LEAF.key_pem[:-60]
    yield "key-and-odd", LEAF.key_pem + block("CERTIFICATE", dict(_changed())["name-14"])
    yield "keys-two", LEAF.chain_pem + LEAF.key_pem + LEAF.key_pem
    yield "p12", LEAF.pkcs12("x")
    yield "p12-other-password", LEAF.pkcs12("y")
    yield "p12-cut", LEAF.pkcs12("x")[:-20]


def _texts() -> Iterator[tuple[str, bytes]]:
    """What is none of that."""
    pem = LEAF.certificate_pem
    yield "empty", b""
    yield "utf-16", pem.decode().encode("utf-16")
    yield "bom", b"\xef\xbb\xbf" + pem
    yield "one-line", pem.replace(b"\n", b"")
    yield "html", b"<html><body>404 Not found</body></html>"
    yield "json", b'{"format": 1, "partners": [[1e999]]}'
    yield "nul", bytes(5000)
    yield "deep", b"[" * 100_000
    yield "latin-1", "Schl\u00fcssel".encode("latin-1") + pem
    yield "request", b"-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"
    yield "endless-block", b"-----BEGIN CERTIFICATE-----\n" + b"QUFB\n" * 20_000
