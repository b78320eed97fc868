"""``smartproxy identity`` with a planned change-over, and ``smartproxy authority page``: what is shown."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from smartproxy.testing.pki import self_signed
from tests.unit.commands import CommandCase


class ChangeOver(CommandCase):
    """A successor from a date on."""

    def setUp(self) -> None:
        """An identity in use."""
        super().setUp()
        self.do("identity", "import", "main", self.pair("present"))
        self.since = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M")

    def pair(self, name: str) -> str:
        """A file with a key and its certificate."""
        made = self_signed(name)
        return self.file(f"{name}.pem", made.certificate_pem + made.key_pem)

    def test_planned(self) -> None:
        """It is listed and shown with its date, written for partners, told as a warning, and undone."""
        done = self.do("identity", "import", "main", self.pair("next"), "--from", self.since)
        self.assertIn("give it to the partners before", done.err)
        (listed,) = self.do("identity", "list", "--json").json
        for found, name in ((listed["certificates"], "CN=present"), (listed["planned"]["certificates"], "CN=next")):
            self.assertEqual([each["subject"].partition(",")[0] for each in found], [name])
        self.assertEqual(listed["planned"]["use_from"][:16], self.since)
        self.assertIn(self.since[:10], self.do("identity", "list").out)
        written = str(self.folder / "out.pem")
        self.do("identity", "show", "main", "--planned", "-o", written)
        self.assertEqual(Path(written).read_text().count("BEGIN"), 1)
        self.assertNotEqual(Path(written).read_text(), self.do("identity", "show", "main", "--json").out)
        self.do("identity", "undo-plan", "main")
        self.assertIn("no change-over", self.refused("identity", "show", "main", "--planned"))
        self.assertIn("no change-over", self.refused("identity", "undo-plan", "main"))

    def test_bad_dates(self) -> None:
        """A date that is over, or none at all."""
        self.assertIn("is over", self.refused("identity", "import", "main", self.pair("a"), "--from", "2020-01-01"))
        self.refused("identity", "import", "main", self.pair("a"), "--from", "soon", status=2)


class PageCertificate(CommandCase):
    """What the page shows at its own address."""

    def test_page_certificate(self) -> None:
        """The authority's, then what was imported, then a file; and the authority's again."""
        self.assertIn("the API's port", self.do("authority", "page").out)
        self.assertEqual(self.do("authority", "page", "--json").json["source"], "authority")
        made = self_signed("page.example")
        file = self.file("page.pem", made.certificate_pem + made.key_pem)
        self.assertIn("CN=page.example", self.do("authority", "page-import", file).out)
        self.do("settings", "set", "backend.page.address", "192.0.2.9", "backend.page.port", "443")
        self.assertIn("192.0.2.9:443", self.do("authority", "page").out)
        self.do("settings", "set", "backend.page.certificate_file", str(Path(file).absolute()))
        self.assertIn("page.pem", self.do("authority", "page").out)
        Path(file).unlink()
        self.assertIn("cannot be read", self.do("authority", "page").out)
        self.do("settings", "reset", "backend.page.certificate_file")
        self.assertEqual(self.do("authority", "page-reset", "--json").json["source"], "authority")
        other = self.file("bad.pem", made.certificate_pem + self_signed("other").key_pem)
        self.assertIn("for this private key", self.refused("authority", "page-import", other))
