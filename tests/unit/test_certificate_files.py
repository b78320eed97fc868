"""Certificates, lists and passwords in the files that operators have (:mod:`smartproxy.backend.certificates`)."""

import base64
import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import certificates
from smartproxy.backend.certificates import (
    is_encrypted,
    read_certificates,
    read_pkcs12,
    read_private_key,
    read_revocation_lists,
)
from smartproxy.backend.derivations import rounds_asked_for
from smartproxy.backend.errors import Unusable
from smartproxy.backend.generations import newest_document
from smartproxy.backend.store import Store
from smartproxy.client.address import BackendAddress
from smartproxy.net.tls.context import CertificateUnusable
from smartproxy.net.tls.der import value
from smartproxy.policy import limits
from smartproxy.policy.configuration import ServerConfiguration, ServerPart, parse
from smartproxy.policy.licence import LicenceRefused
from smartproxy.policy.partners import Purpose, ServerIdentity, TrustedCa
from smartproxy.server.generation import ServerGeneration
from smartproxy.tap import client, command
from smartproxy.testing.forging import certificate
from smartproxy.testing.pki import CLIENT_AUTH, SERVER_AUTH, KeyKind, TestCa, make_key
from smartproxy.tunnel.licence import load
from tests.databases import Database
from tests.unit.commands import CommandCase
from tests.unit.odd_files import LEAF, MIDDLE, ROOT, THREE, block, corpus, der_of, of_no_version, of_no_year, p7
from tests.unit.test_licence import NOW, PROXY_ID

EDGE = b"-----BEGIN CERTIFICATE-----\n"
DAY = timedelta(days=1)
LINE_MOST = 700
KEPT = 9
"""Of so many files the entries of one are kept in the store: every change reads and writes all of it."""


def number(figure: int) -> bytes:
    """A number in DER."""
    return value(0x02, figure.to_bytes(figure.bit_length() // 8 + 1, "big"))


def protected(derivation: str, *parameters: bytes) -> bytes:
    """A private key in PKCS#8 that is protected by PBES2 with a derivation (RFC 8018 appendix A.4)."""
    oid = value(0x06, bytes.fromhex(derivation))
    scheme = value(0x30, value(0x30, oid + value(0x30, value(0x04, bytes(8)) + b"".join(parameters))))
    pbes2 = value(0x30, value(0x06, bytes.fromhex("2a864886f70d01050d")) + scheme)
    return value(0x30, pbes2 + value(0x04, bytes(range(1, 33))))


def pkcs8(rounds: int) -> bytes:
    """A key that is protected by PBKDF2."""
    return protected("2a864886f70d01050c", number(rounds))


def scrypt(cost: int) -> bytes:
    """A key that is protected by scrypt."""
    return protected("2b06010401da47040b", number(cost), number(8), number(1))


def mac(rounds: int) -> bytes:
    """A PKCS#12 file with nothing in it, and rounds for its MAC (RFC 7292 section 4)."""
    content = value(0x30, value(0x06, bytes.fromhex("2a864886f70d010701")) + value(0xA0, value(0x04, value(0x30, b""))))
    algorithm = value(0x30, value(0x06, bytes.fromhex("2b0e03021a")) + value(0x05, b""))
    digest = value(0x30, algorithm + value(0x04, bytes(20)))
    return value(0x30, number(3) + content + value(0x30, digest + value(0x04, bytes(8)) + number(rounds)))


def pkcs12_of(rounds: int) -> bytes:
    """A PKCS#12 file as the library makes it."""
    how = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(rounds)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(b"secret")
    )
    return pkcs12.serialize_key_and_certificates(b"leaf", LEAF.key, LEAF.certificate, None, how)


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
            (der_of(leaf) + der_of(middle) + b"\r\n", [leaf, middle]),
            (LEAF.certificate_pem.decode().encode("utf-16"), [leaf]),
            (base64.encodebytes(der_of(leaf)), [leaf]),
            (LEAF.certificate_pem + b"-----END CERTIFICATE-----\n", [leaf]),
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
            (good + block("CERTIFICATE", of_no_version(THREE[0])), "block 2 (CERTIFICATE)"),
            (good + block("CERTIFICATE", of_no_year(THREE[0])), "block 2 (CERTIFICATE)"),
            (LEAF.key_pem, "there is no certificate"),
            (ROOT.crl(), "there is no certificate"),
            (b"", "no readable certificate"),
            (LEAF.pkcs12("secret"), "is a PKCS#12 file"),
            (good * (limits.PEM_BLOCKS_MOST + 1), f"more than {limits.PEM_BLOCKS_MOST} PEM blocks"),
            (EDGE + good, "cut or broken"),
        ):
            self.assertIn(told, str(self.assertRaises(Unusable, read_certificates, octets, "file")))

    def test_lists(self) -> None:
        """A list is found whatever the label of its block."""
        der = x509.load_pem_x509_crl(ROOT.crl()).public_bytes(Encoding.DER)
        both = block("CRL", der) + LEAF.certificate_pem + block("X509 CRL", der)
        self.assertEqual(len(read_revocation_lists(both, "file")), 2)
        broken = str(self.assertRaises(Unusable, read_revocation_lists, both + block("X509 CRL", b"0"), "file"))
        self.assertIn("block 4 (X509 CRL)", broken)
        self.assertEqual(read_revocation_lists(der + b"\r\n", "file")[0][1], der)

    def test_one_pass(self) -> None:
        """A file of beginnings alone is refused at the second of them: what follows is not looked at."""
        seen = 0
        whole = certificates._PEM_EDGE

        class Counting:
            """Counts what is taken of the edges."""

            def finditer(self, octets: bytes) -> Iterator[re.Match[bytes]]:
                """The edges, one by one."""
                nonlocal seen
                for edge in whole.finditer(octets):
                    seen += 1
                    yield edge

        self.patch(certificates, "_PEM_EDGE", Counting())
        self.assertRaises(Unusable, read_certificates, EDGE * 20_000, "file")
        self.assertEqual(seen, 2)


class Passwords(SynchronousTestCase):
    """Private keys, and what protects them."""

    def test_rounds(self) -> None:
        """The rounds that a file asks for are read before any of them is done, of every kind of protection."""
        for octets, rounds in (
            (pkcs8(2_048), 2_048),
            (scrypt(1 << 14), 1 << 17),
            (mac(1_000_001), 1_000_001),
            (pkcs12_of(3_000), 3_000),
        ):
            self.assertEqual(rounds_asked_for(octets), rounds)
        for octets in (b"", b"\x30\x03abc", der_of(LEAF.certificate), bytes(range(256))):
            self.assertEqual(rounds_asked_for(octets), 0)

    def test_too_many(self) -> None:
        """A file that asks for too many is refused without doing them, as PEM, DER and PKCS#12."""
        costly = pkcs8(rounds=limits.DERIVATION_ROUNDS_MOST + 1)
        for octets in (costly, block("ENCRYPTED PRIVATE KEY", costly), block("ENCRYPTED PRIVATE KEY", scrypt(1 << 40))):
            told = str(self.assertRaises(Unusable, read_private_key, octets, b"secret", "key.pem"))
            self.assertIn("export the key again with the usual settings", told)
        told = str(self.assertRaises(Unusable, read_pkcs12, mac(1 << 40), b"secret", "key.p12"))
        self.assertIn("export the key again with the usual settings", told)

    def test_told_apart(self) -> None:
        """No password, an empty one, one that is not needed, and two keys: each is told for what it is."""
        encrypted = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        for octets, password, told in (
            (encrypted, None, "is encrypted: give its password"),
            (encrypted, b"", "is encrypted: the password is empty"),
            (encrypted, b"other", "no private key that can be read with this password"),
            (LEAF.key_pem, b"secret", "is not encrypted: give no password"),
            (LEAF.key_pem + ROOT.credential.key_pem, None, "more than one private key"),
        ):
            found = str(self.assertRaises(Unusable, read_private_key, octets, password, "key.pem"))
            self.assertIn(told, found)
        self.assertTrue(is_encrypted(encrypted))
        self.assertFalse(is_encrypted(b"ENCRYPTED KEY below\n" + LEAF.key_pem))


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

    def test_no_container(self) -> None:
        """What is neither PEM nor PKCS#12 is told so: its password is not asked for in vain."""
        password = self.file("password", b"x\n")
        for name in ("java", "putty", "gzip", "key-in-der", "p12-in-base64", "request-in-der", "certificates-in-a-row"):
            path = self.file(name, corpus()[name])
            told = self.refused("identity", "import", "main", path, "--password-file", password)
            self.assertIn("is neither PEM nor PKCS#12", told)
        other = self.file("other.p12", LEAF.pkcs12("y"))
        told = self.refused("identity", "import", "main", other, "--password-file", password)
        self.assertIn("is the password right?", told)
        told = self.refused("identity", "import", "main", self.file("zero.pem", corpus()["key-of-no-number"]))
        self.assertNotIn("password", told)

    def test_key_that_is_unreadable(self) -> None:
        """A partner's certificate without a readable key is doubtful; one of a CA keeps no identity from its own."""
        path = self.file("odd.pem", corpus()["certificate-of-no-point"])
        done = self.do("partner", "add", "P", "--code", "O0015", "--certificate", path)
        self.assertIn("is damaged, or of a kind that is not known; no TLS connection with it succeeds", done.err)
        odd = block("CERTIFICATE", corpus()["certificate-of-an-unknown-curve"])
        both = self.file("both.pem", odd + LEAF.chain_pem + LEAF.key_pem)
        self.do("identity", "import", "main", both)
        alone = self.file("alone.pem", odd + LEAF.key_pem)
        self.assertIn("is damaged, or of a kind that is not known", self.refused("identity", "import", "two", alone))

    def test_names_in_messages(self) -> None:
        """A certificate without a name is told by its SHA-256, a long name is cut."""
        for number, told in ((0, "a certificate without a name, SHA-256 "), (3, "OU=part,... is not a CA certificate")):
            path = self.file(f"{number}.der", corpus()[f"certificate-of-a-name-{number}"])
            self.assertIn(told, self.refused("ca", "add", "x", path))

    def test_doubtful_certificates(self) -> None:
        """A partner's certificate that ended, is not valid yet, is for mail or anything, or weak is warned of."""
        for number, (credential, told) in enumerate(
            (
                (ROOT.issue_expired("x"), "ended on"),
                (ROOT.issue_not_yet_valid("x"), "not valid before"),
                (ROOT.issue_for_mail("x"), "neither for TLS clients nor for servers"),
                (
                    ROOT.issue("x", purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
                    "is for any purpose and names none",
                ),
                (ROOT.issue_weak_key("x"), "too weak (needed: 2048 bits); the partner is refused with it"),
            )
        ):
            path = self.file(f"{number}.pem", credential.certificate_pem)
            added = ("partner", "add", f"P{number}", "--code", f"O001{number}", "--certificate", path)
            tried = self.do(*added, "--dry-run", "--json")
            self.assertIn(told, tried.err)
            self.assertIn(told, tried.json["warnings"][0])
            done = self.do(*added)
            self.assertIn(told, done.err)
            self.assertIn(told, self.do("partner", "certificate", "add", f"P{number}", "--certificate", path).err)
            called = ("partner", "outbound", f"P{number}", "--host", "h.example", "--verify", "pin")
            self.assertIn(told, self.do(*called, "--certificate", path).err)
        good = self.file("good.pem", ROOT.issue("x").certificate_pem)
        self.assertEqual(self.do("partner", "add", "GOOD", "--code", "O0019", "--certificate", good).err, "")

    def test_certificates_for_the_other_part(self) -> None:
        """One for servers alone is doubtful for calls of the partner, one for clients alone for calls to it.

        It is not where the partner's purpose allows the other part, or any.
        """
        other = {
            "server": (SERVER_AUTH, "is not for TLS clients; the partner is refused with it unless its purpose is"),
            "client": (CLIENT_AUTH, "is not for TLS servers; a call to the partner ends with it unless the partner's"),
        }
        for which, (usage, told) in other.items():
            for purpose in Purpose:
                name, code = f"{which}-{purpose}", f"O0013{which}{purpose.value[:3]}".upper()
                path = self.file(f"{name}.pem", ROOT.issue(name, purposes=(usage,)).certificate_pem)
                strict = purpose is Purpose.STRICT
                calls, called = (strict and which == "server", strict and which == "client")
                for words, doubtful in (
                    (("add", name, "--code", code, "--purpose", purpose), calls),
                    (("certificate", "add", name), calls),
                    (("change", name), calls),
                    (("outbound", name, "--host", "h.example", "--verify", "pin"), called),
                ):
                    said = self.do("partner", *words, "--certificate", path).err
                    self.assertEqual((told in said, bool(said)), (doubtful, doubtful), (words, said))
            path = self.file(f"{which}-later.pem", ROOT.issue("later", purposes=(usage,)).certificate_pem)
            said = self.do("partner", "change", f"{which}-any", "--purpose", "strict", "--certificate", path).err
            self.assertEqual(told in said, which == "server")

    def test_certificate_for_both_parts(self) -> None:
        """A partner whose server shows the certificate of its calls, too, needs one for both."""
        path = self.file("client.pem", ROOT.issue("x", purposes=(CLIENT_AUTH,)).certificate_pem)
        self.do("partner", "add", "P", "--code", "O0013P", "--certificate", path)
        self.do("partner", "outbound", "P", "--host", "h.example", "--verify", "pin")
        for words in (("change", "P"), ("certificate", "add", "P")):
            self.assertIn("not for TLS servers", self.do("partner", *words, "--certificate", path).err)
        self.do("partner", "outbound", "P", "--pin", "ab" * 32)
        self.assertEqual(self.do("partner", "change", "P", "--certificate", path).err, "")

    def test_doubtful_certificate_of_the_page(self) -> None:
        """So is the page's own that has ended, is not valid yet or is not for servers, and whenever it is shown."""
        for number, (credential, told) in enumerate(
            (
                (ROOT.issue_expired("x"), "the certificate expired on"),
                (ROOT.issue_not_yet_valid("x"), "the certificate is not valid before"),
                (ROOT.issue_for_mail("x"), "is not for TLS servers"),
            )
        ):
            path = self.file(f"page-{number}.pem", credential.certificate_pem + credential.key_pem)
            self.assertIn(told, self.do("authority", "page-import", path).err)
            self.assertIn(told, self.do("authority", "page").err)
        good = ROOT.issue("x")
        path = self.file("page.pem", good.certificate_pem + good.key_pem)
        self.assertEqual(self.do("authority", "page-import", path).err, "")

    def test_doubtful_authorities(self) -> None:
        """A CA below which nobody is admitted is taken with a word of warning: by its dates, or by its key."""
        now = datetime.now(UTC).replace(microsecond=0)
        for number, (ca, told) in enumerate(
            (
                (
                    TestCa.root("x", valid_from=now - 9 * DAY, valid_until=now - DAY),
                    "the certificate has expired (valid from",
                ),
                (TestCa.root("x", valid_from=now + DAY, valid_until=now + 9 * DAY), "not valid yet (valid from"),
                (TestCa.root("x", key=make_key(KeyKind.RSA_1024)), "too weak (needed: 2048 bits)"),
            )
        ):
            path = self.file(f"{number}.pem", ca.certificate_pem)
            for words in (("ca", "add", f"c{number}"), ("ca", "change", f"c{number}")):
                done = self.do(*words, path)
                self.assertIn(told, done.err)
                self.assertIn("no certificate issued by it is accepted", done.err)
        name = x509.Name.from_rfc4514_string("CN=large")
        key = rsa.RSAPublicNumbers(65537, 1 << 16383 | 1).public_key()
        large = certificate(name, name, key, extensions=[x509.BasicConstraints(ca=True, path_length=None)])
        done = self.do("ca", "add", "large", self.file("large.pem", large.public_bytes(Encoding.PEM)))
        self.assertIn("larger than accepted, or of a kind that is not accepted (needed: RSA to", done.err)
        good = self.file("good.pem", ROOT.certificate_pem)
        self.assertEqual(self.do("ca", "add", "good", good).err, "")
        self.assertEqual(self.do("ca", "change", "c0", "--revocation", "off").err, "")

    def commands(self, name: str, path: str) -> Iterator[tuple[str, ...]]:
        """Every command that reads a file, given this one; on PostgreSQL those that store what is in it."""
        password = self.file("password", b"x\n")
        code = f"O0013{self.count:06}"
        self.count += 1
        yield "ca", "add", f"ca-{name}", path
        yield "identity", "import", f"id-{name}", path, "--password-file", password
        yield "partner", "add", f"p-{name}", "--code", code, "--certificate", path
        if self.database is not Database.SQLITE:
            # How a file is read does not depend on where it is stored.
            return
        yield "ca", "change", "changing", path
        yield "crl", "load", path
        yield "identity", "import", f"two-{name}", path, self.key, "--password-file", password
        yield "identity", "import", f"locked-{name}", self.locked, "--password-file", path
        yield "identity", "complete", "asked", path
        yield "partner", "change", "CHANGING", "--certificate", path
        yield "partner", "certificate", "add", "CHANGING", "--certificate", path
        yield "partner", "outbound", "CHANGING", "--certificate", path
        yield "import", path
        yield "judge", path

    def test_every_command(self) -> None:
        """Whatever is in a file, each command that reads one ends with one line or well, and without a warning.

        What was taken is shown by the commands that list it, and the server takes it.
        """
        parser = command.parser()
        self.patch(command, "parser", lambda: parser)  # most of a command's time
        self.do("ca", "add", "root", self.file("root.pem", ROOT.certificate_pem + MIDDLE.certificate_pem))
        self.do("ca", "add", "changing", self.file("changing.pem", TestCa.root("Changing").certificate_pem))
        self.do("identity", "request", "asked", "--common-name", "x", "--key-type", "ec-p256")
        self.do("partner", "add", "CHANGING", "--code", "O0013CHANGING", "--pin", "ab" * 32)
        self.do("partner", "outbound", "CHANGING", "--host", "oftp.example", "--verify", "pin")
        self.count = 0
        self.key, self.locked = self.file("key.pem", LEAF.key_pem), self.file("locked.p12", LEAF.pkcs12("secret"))
        files = corpus()
        self.assertGreater(len(files), 320)
        for name, octets in files.items():
            path = self.file(name, octets)
            taken = [words for words in self.commands(name, path) if self.check(name, words)]
            for subject, action, added, *_ in taken if self.count % KEPT else ():
                if action in ("add", "import"):
                    self.check(name, (subject, "remove", added, *(["--yes"] if subject == "identity" else [])), worst=0)
        for subject in ("ca", "identity", "partner"):
            entries = self.do(subject, "list", "--json").json
            self.assertGreater(len(entries), 2, subject)
            for entry in entries:
                self.check(entry["name"], (subject, "show", entry["name"]), worst=0)
                self.check(entry["name"], (subject, "show", entry["name"], "--json"), worst=0)
        for shown in ("partner list", "ca list", "identity list", "crl list", "crl check", "partner expiring"):
            self.check(shown, (*shown.split(" "),), worst=0)
        self.taken_by_the_server()

    def check(self, name: str, words: Sequence[str], worst: int = 1) -> bool:
        """Run a command line that may be refused, in one line; whether it was not."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            done = self.run_command(*words)
        self.assertEqual([str(each.message) for each in told], [], (name, words))
        self.assertIn(done.status, range(1 + max(worst, 2 * (words[0] == "judge"))), (name, words, done.err))
        self.assertNotIn("Traceback", done.out + done.err)
        if done.status:
            self.assertEqual(done.out, "", (name, words, done.err))
            # A word of warning about the certificate may stand in front of the reason.
            self.assertIn(done.err.count("\n"), (1, 2), (name, words, done.err))
        self.assertTrue(all(len(line) < LINE_MOST for line in done.err.splitlines()), (name, words, done.err))
        self.assertTrue(all(line.startswith("smartproxy: ") for line in done.err.splitlines()), (name, words, done.err))
        self.assertTrue((done.out + done.err).replace("\n", "").isprintable(), (name, words, done.err))
        return not done.status

    def taken_by_the_server(self) -> None:
        """Have a server make its contexts of the generation that came of it."""
        with Store.open(self.location).reading() as session:
            found = newest_document(session)
        assert found is not None
        configuration = parse(found[1])
        part = ServerPart(generation=configuration.generation, site=configuration.site, server=configuration.server)
        ServerGeneration.build(part, lambda: datetime.now(UTC))

    def test_what_tls_cannot_use(self) -> None:
        """A CA's name that OpenSSL does not read, and a key on a curve that is too short, are refused at once.

        A server would refuse every further generation for them, and does so with their place.
        """
        odd = TestCa.root("Teletex").credential
        der = der_of(odd.certificate).replace(b"\x0c\x07Teletex", b"\x02\x07Teletex")
        path = self.file("odd.pem", block("CERTIFICATE", der))
        self.assertIn("is not a certificate that can be read", self.refused("ca", "add", "odd", path))
        short = self.file("short.pem", corpus()["of-p192-with-key"])
        self.assertIn("TLS does not use the curve", self.refused("identity", "import", "main", short))
        entry = TrustedCa(name="odd", certificates=block("CERTIFICATE", der).decode())
        identity = ServerIdentity(name="main", certificate=LEAF.chain_pem.decode(), key=LEAF.key_pem.decode())
        part = ServerPart(generation=1, site="x", server=ServerConfiguration(identities=(identity,), cas=(entry,)))
        refused = self.assertRaises(CertificateUnusable, ServerGeneration.build, part, lambda: datetime.now(UTC))
        self.assertEqual(refused.where, "server.cas[0].certificates")

    def test_daemons(self) -> None:
        """The files that daemons read at their start are refused with a reason, or taken."""
        for name, octets in corpus().items():
            path = self.file(name, octets)
            self.assertRaises(LicenceRefused, load, Path(path), PROXY_ID, NOW)
            for read in (
                lambda path=path: BackendAddress(url="https://x.example", authority=client._contents(path)),
                lambda path=path: client.find_token(None, path, {}),
            ):
                try:
                    read()
                except ValueError as error:
                    self.assertTrue(str(error).isprintable(), name)
