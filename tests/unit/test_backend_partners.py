"""Partners: their entries, and how their certificates are recognized."""

from smartproxy.backend import cas, generations, partners
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy.configuration import parse
from smartproxy.policy.partners import (
    Authentication,
    CertificatePin,
    KeyPin,
    Partner,
    Purpose,
    RevocationMode,
    Rule,
    SanRule,
    SubjectRule,
)
from smartproxy.testing.pki import TestCa, self_signed
from tests.unit.sites import PIN, SiteCase

CODE = "O0013000001ACME"
PINNED = CertificatePin(sha256=PIN)
OTHER = KeyPin(sha256="cd" * 32)


class Partners(SiteCase):
    """One partner, ACME."""

    def setUp(self) -> None:
        """A site with a CA named odette."""
        super().setUp()
        self.ca = TestCa.root("Odette")
        with self.change() as change:
            cas.add(change, "odette", [self.ca.credential.certificate], revocation=RevocationMode.PREFER)

    def add(self, *rules: Rule) -> None:
        """Add the partner."""
        with self.change() as change:
            partners.add(change, Partner(name="ACME", codes=(CODE,), certificates=rules or (PINNED,)))

    def configured(self) -> Partner:
        """The partner as the configuration has it."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
        assert found is not None
        (partner,) = parse(found[1]).server.partners
        return partner

    def test_defaults(self) -> None:
        """What was not said is what the policy's defaults are."""
        self.add()
        self.assertEqual(
            self.configured(), Partner(name="ACME", codes=(CODE,), certificates=(CertificatePin(sha256=PIN),))
        )

    def test_all_kinds_of_proof(self) -> None:
        """Each kind of proof becomes the rule of its kind, in the order given."""
        self.add(
            PINNED,
            OTHER,
            SubjectRule(ca="odette", serial_number="O0013000001ACME"),
            SanRule(ca="odette", san="DNS:acme.example"),
        )
        self.assertEqual(
            self.configured().certificates,
            (
                CertificatePin(sha256=PIN),
                KeyPin(sha256="cd" * 32),
                SubjectRule(ca="odette", serial_number="O0013000001ACME"),
                SanRule(ca="odette", san="DNS:acme.example"),
            ),
        )

    def test_change(self) -> None:
        """What is said anew replaces, everything else stays."""
        self.add()
        with self.change() as change:
            partners.alter(
                change,
                "ACME",
                lowest_level=Level.OFTP_1_4,
                authentication=Authentication.REQUIRED,
                profile=Profile.STRICT,
                purpose=Purpose.SERVER_AUTH,
            )
        changed = self.configured()
        self.assertEqual(
            (int(changed.lowest_level), changed.authentication.value, changed.profile.value, changed.purpose.value),
            (4, "required", "strict", "server_auth"),
        )
        self.assertEqual((changed.codes, changed.certificates), ((CODE,), (CertificatePin(sha256=PIN),)))
        with self.change() as change:
            partners.alter(change, "ACME", codes=("B", "A", "B"), certificates=(OTHER, OTHER))
        changed = self.configured()
        self.assertEqual((changed.codes, changed.certificates), (("B", "A"), (KeyPin(sha256="cd" * 32),)))

    def test_change_over(self) -> None:
        """A further certificate stands beside the first, once; the first is taken away by the beginning of its hash."""
        self.add()
        with self.change() as change:
            self.assertEqual(partners.add_rules(change, "ACME", [PINNED, OTHER]), [OTHER])
        self.assertEqual(len(self.configured().certificates), 2)
        with self.change() as change:
            (gone,) = partners.remove_rules(change, "ACME", ["AB:AB:AB:AB"])
        self.assertEqual(gone, PINNED)
        self.assertEqual(self.configured().certificates, (KeyPin(sha256="cd" * 32),))

    def test_removing_what_is_not_there(self) -> None:
        """A text that names none, or more than one, or is too short to be meant, removes nothing."""
        self.add(PINNED, KeyPin(sha256=PIN), SubjectRule(ca="odette", serial_number="X"))

        def remove(text: str) -> str:
            def take() -> None:
                with self.change() as change:
                    partners.remove_rules(change, "ACME", [text])

            return str(self.assertRaises(NotFound, take))

        self.assertIn("more than one", remove("abababab"))
        self.assertIn("none of the certificates", remove("abab"))
        self.assertIn("none of the certificates", remove("ffffffff"))
        self.assertEqual(len(self.configured().certificates), 3)
        with self.change() as change:
            partners.remove_rules(change, "ACME", ["X"])

    def test_the_last_certificate(self) -> None:
        """A partner without any certificate would not be valid: the last one is not removed."""
        self.add()

        def take() -> None:
            with self.change() as change:
                partners.remove_rules(change, "ACME", [PIN])

        self.assertIn("partner ACME, certificates", str(self.assertRaises(ChangeRefused, take)))

    def test_enable(self) -> None:
        """A disabled partner stays in the configuration, disabled."""
        self.add()
        for enabled in (False, True):
            with self.change() as change:
                partners.alter(change, "ACME", enabled=enabled)
            self.assertEqual(self.configured().enabled, enabled)

    def test_remove(self) -> None:
        """A removed partner is gone with its certificates; a second removal finds nothing."""
        self.add()
        with self.change() as change:
            partners.remove(change, "ACME")

        def again() -> None:
            with self.change() as change:
                partners.remove(change, "ACME")

        self.assertIn("smartproxy partner list", str(self.assertRaises(NotFound, again)))
        self.add()

    def test_unknown_authority(self) -> None:
        """A ca that is not there is refused with those that are."""
        error = self.assertRaises(NotFound, self.add, SubjectRule(ca="nobody", serial_number="X"))
        self.assertIn("known: odette", str(error))

    def test_needed_authority(self) -> None:
        """A ca by which a partner is recognized is not removed, and the refusal names the partner."""
        self.add(SubjectRule(ca="odette", serial_number="X"))

        def remove() -> None:
            with self.change() as change:
                cas.remove(change, "odette")

        self.assertIn("needed by ACME", str(self.assertRaises(ChangeRefused, remove)))

    def test_pinned_certificate(self) -> None:
        """A certificate given as such is pinned by its SHA-256 or its key's, and remembered with subject and end."""
        credential = self_signed("acme", serial_number="O0013")
        rule, note = partners.pinned(credential.certificate)
        self.assertEqual(rule, CertificatePin(sha256=credential.sha256))
        self.assertEqual(partners.pinned(credential.certificate, key=True)[0], KeyPin(sha256=credential.key_sha256))
        self.add()
        with self.change() as change:
            partners.add_rules(change, "ACME", [rule], [note])
        with self.store.reading() as session:
            row = partners.find(session, "ACME")
        self.assertEqual((row.entry.certificates, row.notes), ((PINNED, rule), (note,)))
        self.assertIn("CN=acme", partners.rule_text(rule, row.notes))
        with self.change() as change:
            self.assertEqual(partners.alter(change, "ACME", certificates=(PINNED,)).notes, ())

    def test_told(self) -> None:
        """Each change is an event of this partner."""
        self.add()
        (event,) = self.stored("partner.changed")
        self.assertEqual((event.fields["partner"], event.fields["codes"]), ("ACME", [CODE]))
