"""``smartproxy crl check``, ``crl urls``, ``ca show`` and ``partner expiring``: what is foretold, and what was seen."""

from datetime import UTC, datetime, timedelta

from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.store import Store
from smartproxy.testing.pki import TestCa
from tests.unit.commands import CommandCase

URL = "http://crl.example.com/odette.crl"


class Forecasts(CommandCase):
    """A site with a ca and a partner below it."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.ca = TestCa.root("Odette")
        self.now = datetime.now(UTC)
        self.leaf = self.ca.issue("acme", serial_number="O0013", valid_until=self.now + timedelta(days=20))
        path = self.file("odette.pem", self.ca.certificate_pem)
        self.do("ca", "add", "odette", path, "--revocation", "off")
        proof = ("--ca", "odette", "--subject-serial", "O0013")
        self.do("partner", "add", "ACME", "--code", "O0013000001ACME", *proof)

    def tell(self, name: str, **fields: str) -> None:
        """A client brings an event."""
        store = Store.open(self.location)
        self.addCleanup(store.close)
        source = "client" if name == "crl.url_seen" else "server"
        event = {"name": name, "source": source, "sequence": 1, "time": self.now.isoformat(), **fields}
        self.assertEqual(ClientRequests(store).keep_events("inner", [event], self.now).stored, 1)

    def accept(self) -> None:
        """The partner was let in."""
        certificate = self.leaf.certificate
        self.tell(
            "certificate.accepted",
            partner="ACME",
            by="subject",
            ca="odette",
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            serial=f"{certificate.serial_number:x}",
            certificate_sha256=self.leaf.sha256,
            not_after=certificate.not_valid_after_utc.isoformat(),
        )

    def test_dry_run(self) -> None:
        """Before lists are required, the operator learns whom that would refuse, and why; then that it is nobody."""
        self.accept()
        (found,) = self.do("crl", "check", "--json").json
        self.assertEqual((found["partner"], found["verdict"], found["revocation"]), ("ACME", "refused", "off"))
        self.assertEqual(found["certificate_sha256"], self.leaf.sha256)
        self.assertIn("there is no revocation list of CN=Odette", self.do("crl", "check").out)
        self.do("crl", "load", self.file("odette.crl", self.ca.crl()))
        self.assertIn("would refuse nobody", self.do("crl", "check").out)
        (found,) = self.do("crl", "check", "--all", "--json").json
        self.assertEqual(found["verdict"], "admitted")

    def test_addresses(self) -> None:
        """The addresses that certificates name are shown by ca, there and in the list."""
        self.assertIn("no verified certificate", self.do("crl", "urls").out)
        self.tell("crl.url_seen", url=URL, ca="odette")
        self.assertIn(URL, self.do("ca", "show", "odette").out)
        self.assertEqual(self.do("ca", "show", "odette", "--json").json["crl_urls"], [URL])
        (row,) = self.do("crl", "urls", "odette", "--json").json
        self.assertEqual((row["ca"], row["url"]), ("odette", URL))
        self.assertIn("no CA 'nobody'", self.refused("crl", "urls", "nobody"))

    def test_downloads(self) -> None:
        """Addresses are proposed, rejected and approved; the list says how their downloads go."""
        self.assertIn("no address waits", self.do("crl", "proposals").out)
        for url in (URL, URL + "?2"):
            self.tell("crl.url_seen", url=url, ca="odette")
        self.assertEqual(
            [each["url"] for each in self.do("crl", "proposals", "odette", "--json").json], [URL, URL + "?2"]
        )
        self.assertIn("nothing is downloaded from", self.do("crl", "reject", "odette", URL + "?2").out)
        self.assertNotIn("?2", self.do("crl", "proposals").out)
        self.assertIn("rejected", self.do("crl", "proposals", "--all").out)
        self.assertIn(f"are downloaded from {URL}", self.do("crl", "approve", "odette").out)
        self.assertIn("nothing to approve", self.refused("crl", "approve", "odette"))
        self.assertIn("by itself", self.do("crl", "approve", "odette", "--by-itself").out)
        unseen = self.do("crl", "approve", "odette", "http://pki.inside/ca.crl", "--json")
        self.assertEqual(unseen.json, {"ca": "odette", "approved": ["http://pki.inside/ca.crl"], "by_itself": True})
        self.assertIn("has named http://pki.inside/ca.crl yet", unseen.err)
        shown = self.do("crl", "list").out
        self.assertIn("no revocation list is loaded", shown)
        self.assertRegex(shown, rf"odette +{URL} +- +never +not tried yet +now")
        first, _ = self.do("crl", "list", "--json").json
        self.assertEqual((first["id"], first["downloads"][0]["url"], first["downloads"][0]["failures"]), (None, URL, 0))
        self.assertIn(URL, self.do("crl", "fetch").out)
        self.assertIn("no CA 'nobody'", self.refused("crl", "fetch", "nobody"))
        self.assertIn("cannot be the address", self.refused("crl", "approve", "odette", "ldap://x/"))
        entry = self.do("ca", "show", "odette", "--json").json
        self.assertEqual((entry["lists"], entry["approve_lists"]), ([URL, "http://pki.inside/ca.crl"], True))
        self.do("ca", "change", "odette", "--list", "http://only.example/ca.crl", "--approve-lists", "no")
        self.assertEqual(self.do("ca", "show", "odette", "--json").json["lists"], ["http://only.example/ca.crl"])

    def test_expiring(self) -> None:
        """The certificate that ends next is listed with its date and reason."""
        self.accept()
        self.assertIn("within 10 days", self.do("partner", "expiring", "--days", "10").out)
        (found,) = self.do("partner", "expiring", "--json").json
        self.assertEqual((found["partner"], found["reason"]), ("ACME", "the certificate expires"))
        self.assertIn(f"{self.now + timedelta(days=20):%Y-%m-%d}", self.do("partner", "expiring").out)
        self.assertIn("0 to 36500", self.refused("partner", "expiring", "--days", "-1", status=2))
