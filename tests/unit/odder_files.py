"""Further odd files, by the form that they are in: containers of keys, PEM as mail and editors leave it, rare DER.

A part of the corpus of :mod:`tests.unit.odd_files`.
"""

import base64
import datetime
import gzip
import io
import zipfile
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7, pkcs12
from cryptography.x509.oid import NameOID

from smartproxy.testing.pki import TestCredential

PASSWORD = b"x"
"""What the test's password file holds."""
_SINCE, _UNTIL = datetime.datetime(2026, 1, 1), datetime.datetime(2036, 1, 1)


def tlv(tag: int, *parts: bytes) -> bytes:
    """A value of DER."""
    inner = b"".join(parts)
    size = len(inner)
    if size < 0x80:
        return bytes((tag, size)) + inner
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + inner


def containers(leaf: TestCredential, chain: list[x509.Certificate]) -> Iterator[tuple[str, bytes]]:
    """PKCS#12 and key files of other programs, and what they hold beside or in the place of a key and its chain."""
    key, certificate = leaf.key, leaf.certificate
    hidden = serialization.BestAvailableEncryption(PASSWORD)
    old = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(100)
    old = old.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())
    stranger = ec.generate_private_key(ec.SECP256R1())
    both = pkcs12.serialize_key_and_certificates

    def p12(name: bytes | None, *more: object) -> bytes:
        return both(name, *more)  # type: ignore[arg-type]  # as many as it takes

    yield "p12-open", p12(b"open", key, certificate, chain[1:], NoEncryption())
    yield "p12-old", p12(b"old", key, certificate, chain[1:], old.build(PASSWORD))
    yield "p12-only-key", p12(None, key, None, None, hidden)
    yield "p12-only-certificates", p12(None, None, None, chain, hidden)
    yield (
        "p12-of-another-key",
        pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(each, b"java") for each in chain], hidden),
    )
    yield "p12-of-nobody", tlv(0x30, b"\x02\x01\x03", tlv(0x30, bytes.fromhex("06092a864886f70d010701")))
    yield "p12-odd-name", p12("\u202eN\x1b[2J".encode(), key, certificate, None, hidden)
    yield "p12-twice", p12(b"one", key, certificate, None, hidden) * 2
    yield "p12-in-pem", _armoured("PKCS12", p12(b"pem", key, certificate, None, hidden))
    yield "p12-in-base64", base64.encodebytes(p12(b"base64", key, certificate, None, hidden))
    yield "java", bytes.fromhex("feedfeed00000002000000010000000100036b6579") + bytes(40)
    yield "java-other", bytes.fromhex("cececece0000000200000001") + bytes(40)
    yield "putty", b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 1\nAAAA\n"
    yield "ssh-public", stranger.public_key().public_bytes(Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    yield "ssh-public-other", b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n"
    yield "pgp", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQHYBF\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----\n"
    eight = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sec1 = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    yield "key-in-der", eight
    yield "key-in-der-of-sec1", sec1
    yield "key-encrypted-in-der", key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, hidden)
    yield "key-of-no-number", leaf.chain_pem + _armoured("PRIVATE KEY", eight.replace(_scalar(key), bytes(32)))
    yield "key-beyond-its-curve", leaf.chain_pem + _armoured("PRIVATE KEY", eight.replace(_scalar(key), b"\xff" * 32))
    yield (
        "key-of-another-point",
        leaf.chain_pem
        + _armoured("PRIVATE KEY", eight.replace(_point(key.public_key()), _point(stranger.public_key()))),
    )
    yield (
        "key-of-version-2",
        leaf.chain_pem + _armoured("PRIVATE KEY", eight.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1)),
    )
    lasting = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, hidden)
    for name, count in (("none", "020100"), ("endless", "02047fffffff")):
        yield f"key-of-{name}-rounds", leaf.chain_pem + _armoured("ENCRYPTED PRIVATE KEY", _rounds(lasting, count))
    yield "key-of-old-cipher", leaf.chain_pem + _key_headers("DEK-Info: IDEA-CBC,0123456789ABCDEF")
    yield "key-of-no-cipher", leaf.chain_pem + _key_headers("DEK-Info: ")
    numbers = rsa.generate_private_key(65537, 2048)
    shown = _own(numbers, padding.PSS(padding.MGF1(hashes.SHA256()), 32))
    yield "rsa-pss", shown
    yield "rsa-of-pkcs1", shown + numbers.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    usual = x509.load_pem_x509_certificate(_own(numbers, None)).public_bytes(Encoding.DER)
    yield "rsa-of-sha1", usual.replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105"))
    yield "rsa-of-exponent-1", usual.replace(bytes.fromhex("0203010001"), bytes.fromhex("0203000001"))
    yield "rsa-of-an-even-number", usual.replace(bytes.fromhex("0203010001"), bytes.fromhex("0203010000"))


def _armoured(label: str, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), base64.encodebytes(der), label.encode())


def _scalar(key: object) -> bytes:
    return key.private_numbers().private_value.to_bytes(32)  # type: ignore[attr-defined, no-any-return]  # a P-256 key


def _point(key: object) -> bytes:
    return key.public_bytes(Encoding.X962, serialization.PublicFormat.UncompressedPoint)  # type: ignore[attr-defined, no-any-return]  # a P-256 key


def _rounds(der: bytes, count: str) -> bytes:
    """An encrypted key that claims another number of rounds; its lengths are those that they were."""
    at = der.index(bytes.fromhex("02020800")) if bytes.fromhex("02020800") in der else der.index(b"\x02\x02", 40)
    return der[:at] + bytes.fromhex(count) + der[at + 4 :]


def _key_headers(header: str) -> bytes:
    label = b"EC PRIVATE KEY"
    lines = b"Proc-Type: 4,ENCRYPTED\n%b\n\nQUFBQUFBQUE=\n" % header.encode()
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, lines, label)


def _own(key: rsa.RSAPrivateKey, scheme: padding.PSS | None) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rsa")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(_SINCE).not_valid_after(_UNTIL)
    return builder.sign(key, hashes.SHA256(), rsa_padding=scheme).public_bytes(Encoding.PEM)


def texts(leaf: TestCredential, crl: bytes) -> Iterator[tuple[str, bytes]]:
    """PEM as mail programs, editors, archives and configuration files leave it."""
    pem, der = leaf.certificate_pem, leaf.certificate.public_bytes(Encoding.DER)
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    body = pem.removeprefix(begin).removesuffix(end)
    yield "pem-old-lines", pem.replace(b"\n", b"\r")
    yield "pem-indented", b"".join(b"    " + line for line in pem.splitlines(keepends=True))
    yield "pem-quoted", b"".join(b"> " + line for line in pem.splitlines(keepends=True))
    yield "pem-quoted-printable", pem.replace(b"=", b"=3D")
    yield "pem-escaped", b'{"certificate": "%b"}' % pem.replace(b"\n", b"\\n")
    yield "pem-of-the-web", base64.urlsafe_b64encode(der)
    yield "pem-without-padding", begin + body.rstrip(b"=\n") + b"\n" + end
    yield "pem-of-short-lines", begin + b"\n".join(body[at : at + 1] for at in range(len(body) - 1)) + end
    yield "pem-with-headers", begin + b"Comment: mine\nX-Number: 5\n\n" + body + end
    yield "pem-with-blanks", begin + b"\n \n\t" + body + b"\n\n" + end
    yield "pem-in-lower-case", begin.lower() + body + end.lower()
    yield "pem-with-few-dashes", begin.replace(b"-----", b"----") + body + end.replace(b"-----", b"----")
    yield "pem-ended-as-another", begin + body + end.replace(b"CERTIFICATE", b"X509 CRL")
    yield "pem-in-pem", begin + pem + end
    yield "pem-with-a-mark-inside", pem + b"\xef\xbb\xbf" + pem
    yield "pem-with-dashes-of-a-word-processor", pem.replace(b"-----", "\u2014\u2014".encode())
    yield "pem-utf-16-without-mark", pem.decode().encode("utf-16-le")
    yield "pem-of-openssl", b"Bag Attributes\n    friendlyName: \x1b[31mred\nsubject=CN = x\n" + pem
    yield "pem-with-nul", pem[:200] + b"\0" + pem[200:]
    yield "pem-of-many-labels", b"".join(_armoured(f"THING {number}", der) for number in range(50))
    yield "pem-of-an-endless-label", b"-----BEGIN " + b"X" * 100_000 + b"-----\n"
    yield "gzip", gzip.compress(pem)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("certificate.pem", pem)
    yield "zip", archive.getvalue()
    yield "list-in-base64", base64.encodebytes(crl)
    yield "mail", b"From: a\nContent-Type: application/pkix-cert\n\n" + base64.encodebytes(der)


def rare(leaf: TestCredential, issuer: TestCredential, crl: bytes) -> Iterator[tuple[str, bytes]]:
    """DER that no usual program makes: other versions, times, lengths, keys and messages."""
    der = leaf.certificate.public_bytes(Encoding.DER)
    for number in (0, 1, 3, 9):
        yield (
            f"certificate-of-version-{number}",
            der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a0030201") + bytes((number,)), 1),
        )
    point = _point(leaf.key.public_key())
    yield "certificate-of-no-point", der.replace(point, bytes(65))
    yield "certificate-of-a-point-beside", der.replace(point, point[:-1] + bytes((point[-1] ^ 1,)))
    yield "certificate-of-a-hybrid-point", der.replace(point, bytes((6 + (point[-1] & 1),)) + point[1:])
    yield (
        "certificate-of-an-unknown-key",
        der.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0299")),
    )
    yield (
        "certificate-of-an-unknown-curve",
        der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030177")),
    )
    yield (
        "certificate-of-two-signatures",
        der.replace(bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040303"), 1),
    )
    yield "certificate-in-long-lengths", bytes.fromhex("3083") + (len(der) - 4).to_bytes(3) + der[4:]
    yield "certificate-without-end", bytes.fromhex("3080") + der[4:] + bytes(2)
    yield "certificate-in-a-sequence", tlv(0x30, der)
    yield "certificates-in-a-row", der + issuer.certificate.public_bytes(Encoding.DER)
    begins = der.index(b"\x17\x0d")
    for name, when in (
        ("zone", b"\x17\x11260101000000+0100"),
        ("fraction", b"\x18\x1220260101000000.5Z "),
        ("short", b"\x17\x0b2601010000Z"),
    ):
        yield f"time-with-{name}", _grown(der, begins, 15, when)
    known = leaf.certificate.subject.public_bytes()
    at = der.index(known)
    for number, subject in enumerate(
        (
            tlv(0x30),
            tlv(0x30, tlv(0x31)),
            tlv(0x30, tlv(0x31, *(_attribute(b"a%d" % each) for each in range(40)))),
            tlv(0x30, *(tlv(0x31, _attribute(b"part")) for _ in range(400))),
            tlv(0x30, tlv(0x31, tlv(0x30, tlv(0x06, b"\xff" * 60 + b"\x7f"), tlv(0x0C, b"x")))),
            tlv(0x30, tlv(0x31, tlv(0x30, b"\x06\x03\x55\x04\x03", tlv(0x30, b"\x05\x00")))),
        )
    ):
        yield f"certificate-of-a-name-{number}", _grown(der, at, len(known), subject)
    serial = leaf.certificate.serial_number
    octets = serial.to_bytes((serial.bit_length() + 8) // 8)
    found = der.index(tlv(2, octets))
    yield "serial-of-2000-octets", _grown(der, found, len(octets) + 2, tlv(2, b"\x01" * 2000))
    yield "serial-of-none", _grown(der, found, len(octets) + 2, tlv(2))
    request = x509.CertificateSigningRequestBuilder().subject_name(leaf.certificate.subject)
    asked = request.sign(leaf.key, hashes.SHA256())
    yield "request-in-der", asked.public_bytes(Encoding.DER)
    yield "request-of-old", asked.public_bytes(Encoding.PEM).replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
    signed = pkcs7.PKCS7SignatureBuilder().set_data(b"content").add_signer(leaf.certificate, leaf.key, hashes.SHA256())  # type: ignore[arg-type]  # a key that signs
    yield "p7-of-a-message", signed.sign(Encoding.DER, [])
    yield "p7-of-mail", signed.sign(Encoding.SMIME, [])
    content = bytes.fromhex("06092a864886f70d0107")
    empty = tlv(0x30, b"\x02\x01\x01", tlv(0x31), tlv(0x30, content + b"\x01"), tlv(0x31))
    yield "p7-of-nothing", tlv(0x30, content + b"\x02", tlv(0xA0, empty))
    lists = tlv(0x30, b"\x02\x01\x01", tlv(0x31), tlv(0x30, content + b"\x01"), tlv(0xA1, crl), tlv(0x31))
    yield "p7-of-a-list", tlv(0x30, content + b"\x02", tlv(0xA0, lists))
    yield "p7-enveloped", tlv(0x30, content + b"\x03", tlv(0xA0, tlv(0x30, b"\x02\x01\x00")))
    yield "p7-in-long-lengths", bytes.fromhex("3080") + tlv(0x30, content + b"\x02", tlv(0xA0, lists))[4:] + bytes(2)
    yield "ocsp", tlv(0x30, b"\x0a\x01\x00", tlv(0xA0, tlv(0x30, bytes.fromhex("06092b0601050507300101"), tlv(4))))
    yield "list-of-version-1", crl.replace(b"\x02\x01\x01", b"\x02\x01\x00", 1)
    yield (
        "list-of-two-signatures",
        crl.replace(bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040303"), 1),
    )
    yield "list-twice", crl * 2
    yield "list-without-end", bytes.fromhex("3080") + crl[4:] + bytes(2)


def _attribute(value: bytes) -> bytes:
    return tlv(0x30, b"\x06\x03\x55\x04\x0b", tlv(0x0C, value))


def _grown(der: bytes, at: int, count: int, value: bytes) -> bytes:
    """A certificate with another value in a field of its inner part, and the lengths around it mended."""
    inner = 4 + 4
    size = int.from_bytes(der[6:8])
    body = der[inner:at] + value + der[at + count : inner + size]
    return tlv(0x30, tlv(0x30, body), der[inner + size :])


def odder(
    leaf: TestCredential, issuer: TestCredential, chain: list[x509.Certificate], crl: bytes
) -> Iterator[tuple[str, bytes]]:
    """All of them, by what is odd; *crl* is a list of the issuer, in DER."""
    yield from containers(leaf, chain)
    yield from texts(leaf, crl)
    yield from rare(leaf, issuer, crl)
