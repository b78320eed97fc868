"""``smartproxy audit``: who did what, and whether the trail of it is whole."""

from sqlalchemy import text

from smartproxy.backend.store import Store
from tests.unit.commands import CommandCase
from tests.unit.sites import PROXY_ID

PIN = "ab" * 32


class Audit(CommandCase):
    """A site whose trail has two records."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.do("partner", "add", "ACME", "--code", "O0013000001ACME", "--pin", PIN, "--comment", "new in May")

    def deeds(self) -> list[tuple[str, str]]:
        """What was done, by kind."""
        return [(each["deed"], each["what"]) for each in self.do("audit", "list", "--json").json]

    def execute(self, statement: str) -> None:
        """Write to the store behind everybody's back."""
        store = Store.open(self.location)
        self.addCleanup(store.close)
        with store.writing() as session:
            session.execute(text(statement))

    def test_changes(self) -> None:
        """Each change is listed with its author, its words and its comment."""
        self.assertEqual(
            self.deeds(), [("change", "authority create --site 'Muster GmbH'"), ("change", "partner add ACME")]
        )
        shown = self.do("audit", "list", "-n", "1").out
        self.assertIn("partner add ACME", shown)
        self.assertIn("new in May", shown)
        self.assertNotIn("authority", shown)

    def test_exports_of_keys(self) -> None:
        """Keys that leave the store are recorded: the site's, and a plain client's; what is without keys is not."""
        self.do("export", "-")
        self.do("export", "-", "--with-secrets")
        self.do("licence", "issue", PROXY_ID, "--until", "9y")
        self.do("authority", "issue-client", "inside", "-o", str(self.folder / "inside.credential"))
        self.assertEqual(
            [each for each in self.deeds() if each[0] != "change"],
            [("export", "export - --with-secrets"), ("export", "authority issue-client inside")],
        )
        self.assertEqual(len(self.do("audit", "list", "--deed", "export", "--json").json), 2)

    def test_deleted_events(self) -> None:
        """Who deletes events is recorded."""
        self.do("events", "prune", "--older-than", "2026-01-01")
        self.assertEqual(self.deeds()[2:], [("act", "events prune --older-than 2026-01-01T00:00")])

    def test_verify(self) -> None:
        """A whole trail is said to be whole, with status 0 and the newest hash, which is an anchor from then on."""
        found = self.do("audit", "verify", "--json").json
        self.assertEqual((found["whole"], found["records"], found["newest"]["record"]), (True, 2, 2))
        self.do("partner", "disable", "ACME")
        said = self.do("audit", "verify", "--anchor", found["newest"]["hash"]).out
        self.assertIn("the audit trail is whole: 3 records", said)

    def test_broken(self) -> None:
        """What was done to the trail is said, record by record, with status 1."""
        self.execute("UPDATE audit_records SET record = replace(record, 'ACME', 'BETA') WHERE number = 2")
        done = self.run_command("audit", "verify")
        self.assertEqual(done.status, 1)
        self.assertIn("  record 2 was changed\n", done.out)

    def test_cut_off(self) -> None:
        """A tail that is cut off is found with the anchor of then."""
        anchor = self.do("audit", "verify", "--json").json["newest"]["hash"]
        self.execute("DELETE FROM audit_records WHERE number = 2")
        self.execute("DELETE FROM generations WHERE number = 2")
        self.assertEqual(self.run_command("audit", "verify").status, 0)
        done = self.run_command("audit", "verify", "--anchor", anchor)
        self.assertEqual(done.status, 1)
        self.assertIn(f"no record has the hash {anchor}", done.out)

    def test_no_hash(self) -> None:
        """An anchor that is no hash is wrong use, and says where one is found."""
        self.assertIn("audit.anchored", self.refused("audit", "verify", "--anchor", "12", status=2))
