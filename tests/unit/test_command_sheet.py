"""``smartproxy partner sheet``: made of what the store knows, and of settings."""

from smartproxy.testing.pki import TestCa, self_signed
from tests.unit.commands import CommandCase

CODE = "O0013000001ACME"


class SheetCommand(CommandCase):
    """A site with an identity and a partner."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.identity = self_signed("oftp.muster.example")
        pem = self.file("main.pem", self.identity.certificate_pem + self.identity.key_pem)
        self.do("identity", "import", "main", pem)
        self.acme = self_signed("acme")
        self.do(
            "partner", "add", "ACME", "--code", CODE, "--certificate", self.file("a.pem", self.acme.certificate_pem)
        )

    def test_sheet(self) -> None:
        """It has our address from the settings, our port, our certificate, the partner's codes and certificate."""
        self.do("settings", "set", "backend.sheet.host", "oftp.muster.example")
        self.do("settings", "set", "backend.sheet.codes", "O0013000001MUSTER,O0013000001M2")
        done = self.do("partner", "sheet", "ACME")
        for text in ("oftp.muster.example", "6619", "O0013000001MUSTER", "O0013000001M2", "Muster GmbH", CODE):
            self.assertIn(text, done.out)
        pairs = self.identity.sha256.upper()
        self.assertIn(":".join(pairs[place : place + 2] for place in range(0, 64, 2)), done.out)
        self.assertIn("CN=acme", done.out)
        self.assertIn("backend.sheet.credit", done.err)
        self.assertNotIn("backend.sheet.host", done.err)

    def test_nothing_secret(self) -> None:
        """No key and no token is in it, in no form and no language."""
        token = self.do("client", "add", "inner", "--json").json["token"]
        for language in ("en", "de"):
            for form in ("text", "html"):
                text = self.do("partner", "sheet", "ACME", "--language", language, "--format", form).out
                self.assertNotIn("PRIVATE", text)
                self.assertNotIn(token, text)
                self.assertNotIn(self.identity.key_pem.decode().splitlines()[1], text)

    def test_file(self) -> None:
        """It is written to a file; the answer for scripts has the text, or where it is, and what is missing."""
        path = self.folder / "acme.html"
        self.do("partner", "sheet", "ACME", "--language", "de", "--format", "html", "-o", str(path))
        self.assertIn("Fingerabdruck", path.read_text(encoding="utf-8"))
        answer = self.do("partner", "sheet", "ACME", "--json").json
        self.assertIn("backend.sheet.host", answer["missing"])
        self.assertIn("SSIDCODE", answer["text"])

    def test_required_lists(self) -> None:
        """A partner of a CA whose lists are required is told so."""
        root = TestCa.root("Odette")
        self.do("ca", "add", "odette", self.file("ca.pem", root.credential.certificate_pem))
        add = ("partner", "add", "BETA", "--code", "O0013000001BETA", "--ca", "odette", "--subject-serial", "O0013B")
        self.do(*add)
        self.assertIn("revocation list", self.do("partner", "sheet", "BETA").out)
        self.do("ca", "change", "odette", "--revocation", "off")
        self.assertNotIn("revocation list", self.do("partner", "sheet", "BETA").out)

    def test_called_with_another_identity(self) -> None:
        """A partner that is called sees the certificate that it will be shown, and from where it is called."""
        other = self_signed("caller.muster.example")
        self.do("identity", "import", "second", self.file("s.pem", other.certificate_pem + other.key_pem))
        call = ("partner", "outbound", "ACME", "--host", "oftp.acme.example", "--identity", "second")
        self.do(*call, "--source", "192.0.2.9")
        text = self.do("partner", "sheet", "ACME").out
        for part in ("CN=caller.muster.example", "192.0.2.9", "oftp.acme.example"):
            self.assertIn(part, text)

    def test_no_identity(self) -> None:
        """Before there is an identity, the sheet says that its certificate is told separately."""
        self.do("identity", "remove", "main", "--yes")
        self.assertIn("we will tell you separately", self.do("partner", "sheet", "ACME").out)

    def test_unknown(self) -> None:
        """A partner that there is not is refused in words."""
        self.assertIn("there is no partner", self.refused("partner", "sheet", "NOBODY"))
