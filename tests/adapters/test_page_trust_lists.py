"""Trust lists on the page: how they go, and what is decided of the CAs that they propose."""

from unittest.mock import patch

from smartproxy.backend import cas, trust_lists
from smartproxy.policy.trust_lists import TrustListEntry
from tests.adapters.page_site import PageCase, words
from tests.unit.test_trust_lists import FIRST, SECOND, SIGNER, listing
from tests.unit.trust_list_files import NOW, service

AT = "/certificates/trust-lists/odette"


class TrustListsShown(PageCase):
    """The page of certificates and lists, where a trust list proposes two CAs."""

    def setUp(self) -> None:
        """Take a list."""
        super().setUp()
        signers = SIGNER.certificate_pem.decode()
        entry = TrustListEntry(name="odette", signers=signers, url="https://tsl.example/tsl.xml")
        with self.change() as change:
            trust_lists.add(change, entry)
        with self.store.writing() as session:
            trust_lists.take(session, "odette", listing(service(FIRST), service(SECOND)), NOW)
        self.alice = self.browser("alice")

    def test_seen(self) -> None:
        """The list has its state, each CA its certificate's facts; who may only look has no button."""
        shown = words(self.alice.get("/certificates"))
        for text in ("Trust lists", "odette", "CN=First", "CN=Second", FIRST.credential.sha256, "Download now"):
            self.assertIn(text, shown)
        seen = self.browser("vera").get("/certificates").body.decode()
        self.assertIn("CN=First", seen)
        self.assertNotIn(f"{AT}/accept", seen)
        self.assertNotIn(f"{AT}/reject", seen)

    def test_accepted(self) -> None:
        """A CA is trusted under a name, after what that changes was shown."""
        self.alice.get("/certificates")
        fields = {"sha256": FIRST.credential.sha256, "ca": "first"}
        asked = self.alice.post(f"{AT}/accept", fields)
        self.assertIn("Trust this CA?", asked.body.decode())
        with self.store.reading() as session:
            self.assertEqual([*cas.listed(session)], [])
        self.assertEqual(self.alice.post(f"{AT}/accept", {**fields, "step": "do"}).status, 303)
        with self.store.reading() as session:
            self.assertEqual([each.name for each in cas.listed(session)], ["first"])
        self.assertNotIn(f'value="{FIRST.credential.sha256}"', self.alice.get("/certificates").body.decode())

    def test_accepted_with_doubts(self) -> None:
        """What is doubtful about a CA is told when it is trusted, as when one is added."""
        self.alice.get("/certificates")
        fields = {"sha256": FIRST.credential.sha256, "ca": "first", "step": "do"}
        doubt = "CN=First: the key is too weak (needed: 2048 bits); no certificate issued by it is accepted"
        with patch.object(cas, "doubts", return_value=[doubt]):
            self.assertEqual(self.alice.post(f"{AT}/accept", fields).status, 303)
        self.assertIn("no certificate issued by it is accepted", words(self.alice.get("/certificates")))

    def test_rejected(self) -> None:
        """A CA that is not trusted is not proposed again."""
        self.alice.get("/certificates")
        self.assertEqual(self.alice.post(f"{AT}/reject", {"sha256": SECOND.credential.sha256}).status, 303)
        shown = words(self.alice.get("/certificates"))
        self.assertNotIn("CN=Second", shown)
        self.assertIn("CN=First", shown)

    def test_updated(self) -> None:
        """A list is downloaded now."""
        self.alice.get("/certificates")
        self.assertEqual(self.alice.post(f"{AT}/update").status, 303)
        with self.store.reading() as session:
            (known,) = trust_lists.listed(session)
        self.assertIsNone(known.next_try)
