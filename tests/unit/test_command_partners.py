"""``smartproxy partner``, ``ca``, ``crl`` and ``identity``: certificates as operators have them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from smartproxy.backend import list_contents, list_entries
from smartproxy.backend.certificates import read_revocation_lists, short_name
from smartproxy.backend.store import Store
from smartproxy.tap.commands import console
from smartproxy.testing.pki import CLIENT_AUTH, SERVER_AUTH, TestCa, make_key, self_signed
from tests.unit.commands import CommandCase

CODE = "O0013000001ACME"


SIGNING = x509.KeyUsage(True, False, False, False, False, True, True, False, False)


def self_made(*extensions: x509.ExtensionType) -> bytes:
    """A certificate that somebody made for itself, and that says of itself, as OpenSSL's do, that it is a CA's."""
    key, name = make_key(), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "own")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=9))
    for each in (x509.BasicConstraints(True, None), *extensions):
        builder = builder.add_extension(each, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


class Partners(CommandCase):
    """Partners."""

    def setUp(self) -> None:
        """A partner's certificate in a file."""
        super().setUp()
        self.credential = self_signed("acme", serial_number="O0013")
        self.pem = self.file("acme.pem", self.credential.certificate_pem)

    def add(self, *arguments: str) -> dict[str, object]:
        """Add the partner; what is answered."""
        answer: dict[str, object] = self.do("partner", "add", "ACME", "--code", CODE, *arguments, "--json").json
        return answer

    def certificates(self) -> list[dict[str, object]]:
        """How the partner's certificates are recognized."""
        found: list[dict[str, object]] = self.do("partner", "show", "ACME", "--json").json["certificates"]
        return found

    def test_pinned(self) -> None:
        """A certificate in a file is pinned by its SHA-256, or with --pin-key by its key's."""
        self.add("--certificate", self.pem)
        (found,) = self.certificates()
        self.assertEqual((found["by"], found["sha256"]), ("certificate", self.credential.sha256))
        self.do("partner", "change", "ACME", "--certificate", self.pem, "--pin-key")
        (found,) = self.certificates()
        self.assertEqual((found["by"], found["sha256"]), ("key", self.credential.key_sha256))
        self.assertIn("CN=acme", self.do("partner", "show", "ACME").out)

    def test_names_that_are_none(self) -> None:
        """What commands take for a number, an address, a session or an option, or has to be quoted, needs --force."""
        for name in (
            "42",
            "192.0.2.1",
            "2001:db8::1",
            "_ACME",
            "A/B",
            "A;B",
            "$(id)",
            "..",
            "'ACME'",
            "0123456789abcdef",
        ):
            add = ("partner", "add", name, "--code", CODE, "--certificate", self.pem)
            self.assertIn("give --force", self.refused(*add), name)
        control = ("partner", "add", "A\tB", "--code", CODE, "--certificate", self.pem, "--force")
        self.assertIn("control characters", self.refused(*control))
        self.do("partner", "add", "42", "--code", CODE, "--certificate", self.pem, "--force")
        for number, name in enumerate(("ACME", "Müller & Söhne (Werk 2)", "3M", "acme-2.eu_x")):
            done = self.do("partner", "add", name, "--code", f"O0013{number}", "--pin", f"{number:064x}")
            self.assertEqual(done.err, "")

    def test_codes_that_are_none(self) -> None:
        """A code that no SSID can contain needs --force; one of an unusual form is warned of, and taken."""
        add = ("partner", "add", "ACME", "--certificate", self.pem, "--code")
        for code in ("o0013000001acme", "O0013_ACME", "O0013000001ACME*"):
            self.assertIn("give --force", self.refused(*add, code), code)
        self.assertIn("printable ASCII", self.refused(*add, "O0013000001ACMÉ", "--force"))
        self.assertIn("is it O0013000001ACME?", self.refused(*add, "o0013000001acme"))
        self.assertEqual(self.do(*add, CODE).err, "")
        alter = ("partner", "change", "ACME", "--code")
        for code in ("ODEVLAB2", "X0013000001ACME", "O001X000001ACME", "O0013000001 A.B"):
            self.assertIn("does not have the usual form", self.do(*alter, code).err, code)
        for code in ("O0013000001ACME", "O0177ABC-1", "O0013 ACME GMBH"):
            self.assertEqual(self.do(*alter, code).err, "", code)
        self.assertIn("give --force", self.refused(*alter, "acme"))
        self.do(*alter, "acme", "--force")

    def test_by_hash(self) -> None:
        """Hashes may be copied with colons and in capital letters."""
        colons = ":".join(self.credential.sha256[i : i + 2].upper() for i in range(0, 64, 2))
        self.add("--pin", colons, "--key", self.credential.key_sha256)
        self.assertEqual(
            [(each["by"], each["sha256"]) for each in self.certificates()],
            [("certificate", self.credential.sha256), ("key", self.credential.key_sha256)],
        )
        self.assertIn("64 digits", self.refused("partner", "change", "ACME", "--pin", "abc"))

    def test_chain_in_the_file(self) -> None:
        """Of a file with the partner's chain, its own certificate is pinned; of two partners' certificates none is."""
        issuing = TestCa.root("Root").intermediate("Issuing")
        own = issuing.issue("acme")
        chain = self.file("chain.pem", issuing.certificate_pem + own.certificate_pem)
        done = self.do("partner", "add", "ACME", "--code", CODE, "--certificate", chain)
        (found,) = self.certificates()
        self.assertEqual(found["sha256"], own.sha256)
        names = [short_name(each.certificate) for each in (own, issuing.credential)]
        self.assertEqual(done.err, f"smartproxy: {chain}: only {names[0]} is pinned; not needed: {names[1]}\n")
        alone = self.file("alone.pem", own.certificate_pem * 2)
        self.assertEqual(self.do("partner", "change", "ACME", "--certificate", alone).err, "", "nothing is left out")
        both = self.file("both.pem", self.credential.certificate_pem + self_signed("b").certificate_pem)
        self.assertIn("each in a file of its own", self.refused("partner", "change", "ACME", "--certificate", both))

    def test_certificate_of_a_ca(self) -> None:
        """A CA's certificate as the partner's own is warned of; one that somebody made for itself is not."""
        root = TestCa.root("Root")
        for number, (pem, doubtful) in enumerate(
            (
                (root.certificate_pem, True),
                (root.intermediate("Issuing").certificate_pem, True),
                (root.intermediate("Issuing").certificate_pem + root.certificate_pem, True),
                (self_made(), False),
                (self_made(SIGNING), True),
                (self_made(SIGNING, x509.ExtendedKeyUsage([CLIENT_AUTH, SERVER_AUTH])), False),
            )
        ):
            path = self.file(f"{number}.pem", pem)
            added = ("partner", "add", f"P{number}", "--code", f"{CODE}{number}", "--certificate", path)
            told = self.do(*added).err
            self.assertEqual("the certificate is a CA's; is it the right one?" in told, doubtful, (number, told))

    def test_by_authority(self) -> None:
        """By a ca and the subject's serialNumber or a name."""
        ca = TestCa.root("Odette")
        self.do("ca", "add", "odette", self.file("ca.pem", ca.certificate_pem))
        self.add("--ca", "odette", "--subject-serial", "O0013", "--san", "DNS:acme.example", "--san", "URI:oftp://x")
        self.assertEqual(
            [{key: each[key] for key in each if key != "ca"} for each in self.certificates()],
            [
                {"by": "subject", "serial_number": "O0013"},
                {"by": "san", "san": "DNS:acme.example"},
                {"by": "san", "san": "URI:oftp://x"},
            ],
        )
        self.assertIn("needed by ACME", self.refused("ca", "remove", "odette"))
        self.assertIn("DNS:name", self.refused("partner", "change", "ACME", "--ca", "odette", "--san", "acme.example"))

    def test_what_goes_together(self) -> None:
        """What makes no sense is wrong use, with what would."""
        add = ("partner", "add", "ACME")
        self.assertIn("--code", self.refused(*add, "--certificate", self.pem, status=2))
        self.assertIn("--certificate FILE", self.refused(*add, "--code", CODE, status=2))
        self.assertIn("which CA", self.refused(*add, "--code", CODE, "--subject-serial", "x", status=2))
        self.assertIn("which CA", self.refused(*add, "--code", CODE, "--ca", "x", "--pin", "ab" * 32, status=2))
        self.assertIn("--key", self.refused(*add, "--code", CODE, "--pin-key", "--pin", "ab" * 32, status=2))
        self.add("--certificate", self.pem)
        self.assertIn("nothing to change", self.refused("partner", "change", "ACME", status=2))
        self.assertIn("give --certificate", self.refused("partner", "certificate", "add", "ACME", status=2))

    def test_entry(self) -> None:
        """Everything that an entry has, added and changed."""
        added = self.add(
            "--certificate", self.pem, "--code", "SECOND", "--lowest-level", "1.4", "--authentication", "required",
            "--profile", "strict", "--purpose", "any", "--disabled", "--originator", "A",
        )  # fmt: skip
        self.assertEqual(
            {key: added[key] for key in added if key not in ("certificates", "name")},
            {
                "enabled": False,
                "codes": [CODE, "SECOND"],
                "lowest_level": 4,
                "authentication": "required",
                "profile": "strict",
                "originators": ["A"],
                "destinations": ["*"],
                "purpose": "any",
                "outbound": None,
                "watching": {"silent_hours": None, "no_files_days": None, "eerp_hours": None, "downtimes": []},
            },
        )
        changed = self.do("partner", "change", "ACME", "--lowest-level", "2", "--code", "THIRD", "--json").json
        self.assertEqual((changed["lowest_level"], changed["codes"], changed["profile"]), (2, ["THIRD"], "strict"))
        self.assertIn("invalid choice", self.refused("partner", "change", "ACME", "--lowest-level", "3", status=2))

    def test_change_over(self) -> None:
        """The next certificate beside the present one, then the old one away; adding one again is nothing new."""
        self.add("--certificate", self.pem)
        following = self_signed("acme")
        path = self.file("next.pem", following.certificate_pem)
        self.assertIn("added", self.do("partner", "certificate", "add", "ACME", "--certificate", path).out)
        self.assertIn("nothing new", self.do("partner", "certificate", "add", "ACME", "--certificate", path).out)
        self.assertEqual(len(self.certificates()), 2)
        self.do("partner", "certificate", "remove", "ACME", self.credential.sha256[:12])
        self.assertEqual([each["sha256"] for each in self.certificates()], [following.sha256])
        self.assertIn("none of the cert", self.refused("partner", "certificate", "remove", "ACME", "ffffffff"))

    def test_life(self) -> None:
        """Listed, disabled, enabled, removed."""
        self.assertIn("partner add --help", self.do("partner", "list").out)
        self.add("--certificate", self.pem)
        self.do("partner", "disable", "ACME")
        self.assertIn("ACME  no", self.do("partner", "list").out)
        self.do("partner", "enable", "ACME")
        self.assertTrue(self.do("partner", "list", "--json").json[0]["enabled"])
        self.do("partner", "remove", "ACME")
        self.assertEqual(self.do("partner", "list", "--json").json, [])
        self.assertIn("no partner 'ACME'", self.refused("partner", "show", "ACME"))

    def test_files(self) -> None:
        """A file that is not there, is no certificate or comes from standard input."""
        missing = str(self.folder / "missing.pem")
        self.assertIn("No such file", self.refused("partner", "add", "X", "--code", "X", "--certificate", missing))
        bad = self.file("bad.pem", b"nothing")
        self.assertIn(
            "no readable certificate", self.refused("partner", "add", "X", "--code", "X", "--certificate", bad)
        )
        self.do("partner", "add", "X", "--code", "X", "--certificate", "-", stdin=self.credential.certificate_pem)
        with patch.object(console, "FILE_OCTETS_MOST", 10):
            reason = self.refused("partner", "add", "Y", "--code", "Y", "--certificate", self.pem)
        self.assertIn("is it the right file", reason)

    def test_harmless_on_terminals(self) -> None:
        """What stands in a partner's certificate cannot move the operator's cursor."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "acme\x1b[2Jx\nACME2  yes")])
        key = self.credential.key
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=9))
            .sign(key, hashes.SHA256())
        )
        self.add("--certificate", self.file("odd.pem", certificate.public_bytes(Encoding.PEM)))
        shown = self.do("partner", "show", "ACME").out
        self.assertNotIn("\x1b", shown)
        self.assertNotIn("\nACME2", shown)


class Cas(CommandCase):
    """Authorities and revocation lists."""

    def setUp(self) -> None:
        """Two authorities, one below the other, in two files."""
        super().setUp()
        self.root = TestCa.root("Odette Root")
        self.issuing = self.root.intermediate("Odette Issuing")
        self.files = (
            self.file("root.pem", self.root.certificate_pem),
            self.file("issuing.der", self.issuing.credential.certificate.public_bytes(Encoding.DER)),
        )

    def test_life(self) -> None:
        """Added from several files, listed, shown, written, changed, removed."""
        self.assertIn("smartproxy ca add", self.do("ca", "list").out)
        added = self.do("ca", "add", "odette", *self.files, "--json").json
        self.assertEqual((added["revocation"], len(added["certificates"])), ("require", 2))
        self.assertIn("odette", self.do("ca", "list").out)
        path = self.folder / "out.pem"
        self.assertIn("CN=Odette Issuing", self.do("ca", "show", "odette", "-o", str(path)).out)
        self.assertEqual(path.read_bytes().count(b"BEGIN CERTIFICATE"), 2)
        self.do("ca", "change", "odette", "--revocation", "prefer", "--grace-hours", "24")
        self.assertRegex(self.do("ca", "show", "odette").out, "(?m)^grace hours +24$")
        self.assertIn("between 0 and 72", self.refused("ca", "change", "odette", "--grace-hours", "73"))
        changed = self.do("ca", "change", "odette", self.files[0], "--json").json
        self.assertEqual((changed["revocation"], len(changed["certificates"])), ("prefer", 1))
        self.assertIn("give new certificates", self.refused("ca", "change", "odette", status=2))
        self.do("ca", "remove", "odette")
        self.assertIn("known: none", self.refused("ca", "show", "odette"))

    def test_lists(self) -> None:
        """A revocation list: how many numbers, until when; its successor says what it replaces."""
        self.assertIn("smartproxy crl load", self.do("crl", "list").out)
        self.do("ca", "add", "odette", *self.files)
        now = datetime.now(UTC).replace(microsecond=0)
        old = self.issuing.crl([self.issuing.issue("bad")], this_update=now - timedelta(days=2))
        new = self.issuing.crl(this_update=now, next_update=now + timedelta(days=3))
        path, newer = self.file("old.crl", old), self.file("new.crl", new)
        (loaded,) = self.do("crl", "load", path, "--json").json
        self.assertEqual((loaded["ca"], loaded["serials"], loaded["previous"]), ("odette", 1, None))
        text = self.do("crl", "load", newer).out
        self.assertIn("replaces", text)
        self.assertIn(f"{now + timedelta(days=3):%Y-%m-%d}", text)
        self.assertIn("older than the one in force", self.refused("crl", "load", path))
        (listed,) = self.do("crl", "list", "--json").json
        self.assertEqual(listed["serials"], 0)
        self.assertIn("fresh", self.do("crl", "list").out)
        self.do("crl", "remove", listed["issuer_key_sha256"])
        self.assertEqual(self.do("crl", "list", "--json").json, [])

    def test_parts(self) -> None:
        """The parts of a CA's list are shown with what they cover, and removed one by one."""
        self.do("ca", "add", "odette", *self.files)
        for number, users_only in ((1, True), (2, False)):
            point = f"http://crl.example/{number}.crl"
            path = self.file(f"{number}.crl", self.issuing.crl(point=point, users_only=users_only))
            self.assertIn(point, self.do("crl", "load", path).out)
        whole = self.file("whole.crl", self.issuing.crl())
        (loaded,) = self.do("crl", "load", whole, "--json").json
        self.assertEqual((loaded["points"], loaded["covered"], loaded["previous"]), ([], "all", None))
        listed = self.do("crl", "list", "--json").json
        scopes = {(*each["points"], each["covered"]) for each in listed}
        parts = {("URI:http://crl.example/1.crl", "users"), ("URI:http://crl.example/2.crl", "all")}
        self.assertEqual(scopes, {("all",), *parts})
        text = self.do("crl", "list").out
        self.assertIn("URI:http://crl.example/1.crl, no CA certificates", text)
        self.assertIn("all certificates", text)
        self.assertIn("3 lists fit", self.refused("crl", "remove", listed[0]["issuer_key_sha256"]))
        self.assertIn("for URI:http://crl.example/2.crl", self.do("crl", "remove", "http://crl.example/2.crl").out)
        (number,) = [each["id"] for each in listed if not each["points"]]
        self.do("crl", "remove", str(number))
        (left,) = self.do("crl", "list", "--json").json
        self.assertEqual(left["points"], ["URI:http://crl.example/1.crl"])

    def test_lists_of_one_second(self) -> None:
        """Of two lists that bear the same date, the one with the lower number cannot take a revocation back."""
        self.do("ca", "add", "odette", *self.files)
        made = datetime.now(UTC).replace(microsecond=0)
        before = self.file("before.crl", self.issuing.crl(this_update=made, number=0x1F))
        revoking = self.issuing.crl([self.issuing.issue("bad")], this_update=made, number=0x20)
        self.do("crl", "load", before)
        self.do("crl", "load", self.file("revoking.crl", revoking))
        self.assertIn("has number 1f and is older", self.refused("crl", "load", before))
        (listed,) = self.do("crl", "list", "--json").json
        self.assertEqual(listed["serials"], 1)

    def test_lists_are_parsed_before_the_store_is_locked(self) -> None:
        """Long lists are parsed, all of them with all their entries, before the writing transaction begins."""
        self.do("ca", "add", "odette", *self.files)
        now = datetime.now(UTC).replace(microsecond=0)
        paths = [
            self.file(f"{number}.crl", self.issuing.crl([self.issuing.issue("bad")], this_update=now, number=number))
            for number in (1, 2)
        ]
        steps: list[str] = []

        def told(step: str, real: Any) -> Any:
            def call(*given: Any) -> Any:
                steps.append(step)
                return real(*given)

            return call

        with (
            patch.object(list_contents, "read_revocation_lists", told("file", read_revocation_lists)),
            patch.object(list_entries, "serials", told("entry", list_entries.serials)),
            patch.object(Store, "writing", told("locked", Store.writing)),
        ):
            self.do("crl", "load", *paths)
        self.assertEqual(steps, ["file", "entry", "file", "entry", "locked"])

    def test_refused_list_is_told(self) -> None:
        """A refused list is an event, although nothing was changed."""
        self.do("ca", "add", "odette", *self.files)
        stranger = self.file("stranger.crl", TestCa.root("Stranger").crl())
        good = self.file("good.crl", self.root.crl())
        self.refused("crl", "load", good, stranger)
        self.assertEqual(self.do("crl", "list", "--json").json, [])
        (event,) = self.do("events", "--name", "crl.refused", "--json").json
        self.assertEqual(event["cause"], "crl.unusable")
        self.assertIn("not from a configured CA", event["message"])

    def test_out_of_date(self) -> None:
        """A list that is out of date already is loaded, with a warning."""
        self.do("ca", "add", "odette", *self.files)
        now = datetime.now(UTC)
        crl = self.root.crl(this_update=now - timedelta(days=9), next_update=now - timedelta(days=2))
        self.assertIn("out of date", self.do("crl", "load", "-", stdin=crl).err)
        self.assertIn("out of date", self.do("crl", "list").out)


class Identities(CommandCase):
    """What servers show."""

    def setUp(self) -> None:
        """A certificate below an intermediate authority."""
        super().setUp()
        self.issuing = TestCa.root("Root").intermediate("Issuing")
        self.credential = self.issuing.issue("oftp.muster.example")

    def shown(self) -> list[str]:
        """The SHA-256 of the certificates of identity main."""
        certificates = self.do("identity", "show", "main", "--json").json["certificates"]
        return [each["sha256"] for each in certificates]

    def test_pem(self) -> None:
        """Key and certificates in one file or in several, in any order."""
        files = self.credential.write(self.folder, "server")
        chain = [
            each.fingerprint(hashes.SHA256()).hex()
            for each in x509.load_pem_x509_certificates(self.credential.chain_pem)
        ]
        self.do("identity", "import", "main", str(files.certificate), str(files.key))
        self.assertEqual(self.shown(), chain)
        one = self.file("all.pem", self.credential.chain_pem + self.credential.key_pem)
        self.do("identity", "import", "main", one)
        self.assertEqual(self.shown(), chain)
        self.assertNotIn("PRIVATE KEY", self.do("identity", "show", "main", "--json").out)

    def test_pkcs12(self) -> None:
        """PKCS#12 with its password from a file; without it, or with a wrong one, a line."""
        path = self.file("server.p12", self.credential.pkcs12("secret"))
        password, wrong = self.file("good", b"secret\r\nrest\n"), self.file("wrong", b"nope\n")
        self.do("identity", "import", "main", path, "--password-file", password)
        self.assertEqual(self.shown()[0], self.credential.sha256)
        for more, hint in (((), "give it with --password-file"), (("--password-file", wrong), "is the password right")):
            self.assertIn(hint, self.refused("identity", "import", "main", path, *more))

    def test_password_asked_for(self) -> None:
        """Somebody at a terminal is asked."""
        path = self.file("server.p12", self.credential.pkcs12("secret"))
        asked: list[str] = []

        def ask(prompt: str) -> str:
            asked.append(prompt)
            return "secret"

        # The class takes its question from getpass when the module is imported, so it is asked of the class here.
        with (
            patch.object(console.Console, "password", lambda self, told, about: ask(about).encode()),
        ):
            self.do("identity", "import", "main", path)
        self.assertEqual(asked, [path])

    def test_not_together(self) -> None:
        """No key, two keys, a key and another's certificate."""
        key, other = self.file("a.key", self.credential.key_pem), self_signed("other")
        certificate = self.file("other.pem", other.certificate_pem)
        both = self.file("other.key", other.key_pem)
        self.assertIn("no private key", self.refused("identity", "import", "main", certificate))
        self.assertIn("more than one private", self.refused("identity", "import", "main", key, both))
        self.assertIn("for this private key", self.refused("identity", "import", "main", key, certificate))

    def test_request_and_answer(self) -> None:
        """A request to a file or to standard output; its answer is taken, another's is not."""
        path = self.folder / "main.csr"
        self.do(
            "identity", "request", "main", "--common-name", "oftp.muster.example", "--organization", "Muster GmbH",
            "--country", "DE", "--san", "oftp.muster.example", "--key-type", "ec-p256", "-o", str(path),
        )  # fmt: skip
        request = x509.load_pem_x509_csr(path.read_bytes())
        self.assertIn("out", self.do("identity", "list").out)
        self.assertIn("no certificate yet", self.do("identity", "show", "main").out)
        other = self.file("other.pem", self.credential.certificate_pem)
        self.assertIn("for this private key", self.refused("identity", "complete", "main", other))
        now = datetime.now(UTC)
        issuer = self.issuing.credential
        signed = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(issuer.certificate.subject)
            .public_key(request.public_key())
            .serial_number(5)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=9))
            .sign(issuer.key, hashes.SHA256())
        )
        answer = self.file("main.pem", signed.public_bytes(Encoding.PEM))
        chain = self.file("chain.pem", self.issuing.certificate_pem)
        done = self.do("identity", "complete", "main", answer, chain)
        self.assertIn("renew it now", done.err)
        self.assertEqual(len(self.shown()), 2)
        self.assertIn("no request", self.refused("identity", "complete", "main", answer))
        shown = self.do("identity", "request", "next", "--common-name", "x", "--key-type", "ec-p384").out
        self.assertIn("BEGIN CERTIFICATE REQUEST", shown)

    def test_request_that_cannot_be_made(self) -> None:
        """A name that no identity can have, and a subject that no certificate can have, are refused in one line."""
        for arguments, words in (
            (("a\nb", "--common-name", "x"), "has control characters in it"),
            (("a" * 129, "--common-name", "x"), "has to have between 1 and 128"),
            (("main", "--common-name", "x", "--serial-number", "[1]"), "cannot stand in a certificate's subject"),
            (("main", "--common-name", "x", "--country", "D*"), "two letters, such as DE"),
            (("main", "--common-name", "x", "--country", "Germany"), "two letters, such as DE"),
            (("main", "--common-name", "x" * 65), "common name: 64 characters at most"),
        ):
            said = self.refused("identity", "request", *arguments, "--key-type", "ec-p256")
            self.assertIn(words, said)
            self.assertTrue(said.isprintable(), said)

    def test_out_and_away(self) -> None:
        """The certificates in a file, for partners; removed with the key."""
        self.assertIn("does not listen", self.do("identity", "list").out)
        files = self.credential.write(self.folder, "server")
        self.do("identity", "import", "main", str(files.certificate), str(files.key))
        path = Path(self.folder / "out.pem")
        self.do("identity", "show", "main", "-o", str(path))
        self.assertEqual(path.read_bytes(), self.credential.chain_pem)
        self.assertIn("give --yes", self.refused("identity", "remove", "main"))
        self.do("identity", "remove", "main", "--yes")
        self.assertEqual(self.do("identity", "list", "--json").json, [])
