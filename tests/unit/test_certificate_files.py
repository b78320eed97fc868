"""Certificates, lists and passwords in the files that operators have (:mod:`smartproxy.backend.certificates`)."""

import base64
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.certificates import read_certificates, read_revocation_lists
from smartproxy.backend.errors import Unusable
from smartproxy.testing.pki import TestCa
from tests.unit.commands import CommandCase

ROOT = TestCa.root("Root")
MIDDLE = ROOT.intermediate("Middle")
LEAF = MIDDLE.issue("leaf", serial_number="O0013000001ACME")
THREE = [LEAF.certificate, MIDDLE.credential.certificate, ROOT.credential.certificate]


def block(label: str, der: bytes) -> bytes:
    """A PEM block."""
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), base64.encodebytes(der), label.encode())


def der_of(certificate: x509.Certificate) -> bytes:
    """A certificate in DER."""
    return certificate.public_bytes(Encoding.DER)


def p7(*certificates: x509.Certificate) -> bytes:
    """Certificates as PKCS#7 in DER."""
    return pkcs7.serialize_certificates(list(certificates), Encoding.DER)


class CertificateFiles(SynchronousTestCase):
    """Every block of a file is read by its content."""

    def test_forms(self) -> None:
        """One or several blocks of any label with certificates or PKCS#7 in them; nothing is left out."""
        leaf, middle, root = THREE
        for octets, wanted in (
            (der_of(leaf), [leaf]),
            (p7(leaf, middle), [leaf, middle]),
            (block("PKCS7", p7(leaf)) + block("PKCS7", p7(middle, root)), THREE),
            (block("CERTIFICATE", der_of(leaf)) + block("PKCS7", p7(middle, root)), THREE),
            (block("CERTIFICATE", p7(leaf, middle)), [leaf, middle]),
            (block("CMS", p7(leaf, middle)), [leaf, middle]),
            (block("PKCS #7 SIGNED DATA", p7(leaf)), [leaf]),
            (block("X509 CERTIFICATE", der_of(leaf)), [leaf]),
            (block("TRUSTED CERTIFICATE", der_of(leaf)), [leaf]),
            (block("TRUSTED CERTIFICATE", der_of(leaf) + bytes.fromhex("300c300a06082b06010505070302")), [leaf]),
            (LEAF.key_pem + b"some text\n" + LEAF.chain_pem + ROOT.crl(), [leaf, middle]),
            (LEAF.certificate_pem.replace(b"\n", b"\r\n"), [leaf]),
        ):
            self.assertEqual(set(read_certificates(octets, "file")), set(wanted), octets[:40])

    def test_damaged(self) -> None:
        """A block that cannot be read refuses the file, and is named: nothing is left out silently."""
        good = LEAF.certificate_pem
        for octets, told in (
            (good + block("CERTIFICATE", b"\x30\x03abc"), "block 2 (CERTIFICATE)"),
            (good + block("PKCS7", b"nothing"), "block 2 (PKCS7)"),
            (good + good[:-40], "cut or broken"),
            (good + b"-----BEGIN CERTIFICATE-----\n?!\n-----END CERTIFICATE-----\n", "number 2"),
            (LEAF.key_pem, "there is no certificate"),
            (ROOT.crl(), "there is no certificate"),
            (b"", "no readable certificate"),
            (good.decode().encode("utf-16"), "no readable certificate"),
        ):
            self.assertIn(told, str(self.assertRaises(Unusable, read_certificates, octets, "file")))

    def test_lists(self) -> None:
        """A list is found whatever the label of its block."""
        der = x509.load_pem_x509_crl(ROOT.crl()).public_bytes(Encoding.DER)
        both = block("CRL", der) + LEAF.certificate_pem + block("X509 CRL", der)
        self.assertEqual(len(read_revocation_lists(both, "file")), 2)
        broken = str(self.assertRaises(Unusable, read_revocation_lists, both + block("X509 CRL", b"0"), "file"))
        self.assertIn("block 4 (X509 CRL)", broken)


class OddFiles(CommandCase):
    """Commands that read such files end with one line."""

    def test_password_encoding(self) -> None:
        """A password file in another encoding is told; a byte order mark of UTF-8 is none of the password."""
        site = self.file("site.p12", LEAF.pkcs12("geheim-\u00fc"))
        for number, octets in enumerate(("geheim-\u00fc".encode("utf-16"), "geheim-\u00fc".encode("latin-1"))):
            path = self.file(f"password{number}", octets)
            told = self.refused("identity", "import", "main", site, "--password-file", path)
            self.assertIn("is not in UTF-8", told)
        path = self.file("password", b"\xef\xbb\xbf" + "geheim-\u00fc\r\n".encode())
        self.do("identity", "import", "main", site, "--password-file", path)

    def test_doubtful_certificates(self) -> None:
        """A partner's certificate that has ended, is not valid yet or is for mail is taken with a word of warning."""
        for number, (credential, told) in enumerate(
            (
                (ROOT.issue_expired("x"), "ended on"),
                (ROOT.issue_not_yet_valid("x"), "not valid before"),
                (ROOT.issue_for_mail("x"), "neither for TLS clients nor for servers"),
            )
        ):
            path = self.file(f"{number}.pem", credential.certificate_pem)
            done = self.do("partner", "add", f"P{number}", "--code", f"O001{number}", "--certificate", path)
            self.assertIn(told, done.err)
            self.assertIn(told, self.do("partner", "certificate", "add", f"P{number}", "--certificate", path).err)
        good = self.file("good.pem", ROOT.issue("x").certificate_pem)
        self.assertEqual(self.do("partner", "add", "GOOD", "--code", "O0019", "--certificate", good).err, "")

    def corpus(self) -> dict[str, bytes]:
        """Odd files by name: each octet string of a certificate, list and key changed, cut, or in another label."""
        found: dict[str, bytes] = {}
        certificate = der_of(LEAF.certificate)
        crl = x509.load_pem_x509_crl(MIDDLE.crl([LEAF])).public_bytes(Encoding.DER)
        text = b"\x0c\x04leaf"
        for tag in range(0x01, 0x1F):
            found[f"name-{tag:02x}"] = certificate.replace(text, bytes((tag, 4)) + b"l\xe4\xff\x1b")
        for what, der in (("certificate", certificate), ("list", crl), ("p7", p7(*THREE))):
            for number in range(24):
                at = number * len(der) // 24
                found[f"{what}-changed-{at}"] = der[:at] + bytes((der[at] ^ 0x1F,)) + der[at + 1 :]
            for label in ("CERTIFICATE", "PKCS7", "CMS", "X509 CRL", "TRUSTED CERTIFICATE", "PRIVATE KEY", "RSA KEY"):
                found[f"{what}-as-{label.replace(' ', '-')}"] = block(label, der)
            found[f"{what}-cut"] = der[:-9]
            found[f"{what}-behind"] = der + b"more"
        for label in ("PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "CERTIFICATE"):
            found[f"key-{label.replace(' ', '-')}"] = LEAF.key_pem.replace(b"PRIVATE KEY", label.encode())
        found["key-and-odd"] = LEAF.key_pem + block("CERTIFICATE", found["name-14"])
        found["serial-negative"] = self._with_serial(bytes.fromhex("0201ff"))
        found["serial-zero"] = self._with_serial(bytes.fromhex("020100"))
        found["p12-cut"] = LEAF.pkcs12("x")[:-20]
        found["utf-16"] = LEAF.certificate_pem.decode().encode("utf-16")
        return found

    def _with_serial(self, integer: bytes) -> bytes:
        builder = x509.CertificateBuilder().subject_name(LEAF.certificate.subject).issuer_name(LEAF.certificate.issuer)
        builder = builder.not_valid_before(LEAF.certificate.not_valid_before_utc).serial_number(0x55)
        builder = builder.not_valid_after(LEAF.certificate.not_valid_after_utc).public_key(LEAF.key.public_key())
        return der_of(builder.sign(LEAF.key, hashes.SHA256())).replace(b"\x02\x01\x55", integer, 1)

    def test_every_command(self) -> None:
        """Whatever is in a file, each command that reads one ends with 0, or with 1 and one line; no warning."""
        self.do("ca", "add", "root", self.file("root.pem", ROOT.certificate_pem + MIDDLE.certificate_pem))
        corpus = self.corpus()
        self.assertGreater(len(corpus), 130)
        for name, octets in corpus.items():
            path = self.file(name, octets)
            for number, words in enumerate(
                (
                    ("ca", "add", f"ca-{name}", path),
                    ("crl", "load", path),
                    ("identity", "import", f"id-{name}", path, "--password-file", self.file("empty", b"")),
                    ("partner", "add", f"p-{name}", "--code", f"O{abs(hash(name))}"[:20], "--certificate", path),
                )
            ):
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    done = self.run_command(*words)
                self.assertEqual([str(each.message) for each in told], [], (name, words))
                self.assertIn(done.status, (0, 1), (name, number, done.err))
                self.assertNotIn("Traceback", done.out + done.err)
                if done.status:
                    self.assertEqual((done.out, done.err.count("\n")), ("", 1), (name, done.err))
                self.assertTrue((done.out + done.err).replace("\n", "").isprintable(), (name, done.err))
        for words in (("partner", "list"), ("ca", "list"), ("identity", "list"), ("crl", "list"), ("crl", "check")):
            self.do(*words)
