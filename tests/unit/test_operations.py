"""The layer of use cases: every declaration is complete, permissions are judged there, and lists come in parts."""

import json
import re

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.errors import ScopeMissing
from smartproxy.backend.generations import newest_number
from smartproxy.backend.operations import account, partner
from smartproxy.backend.operations.operation import Caller, Effect
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.registry import FAMILIES, OPERATIONS
from smartproxy.backend.operations.shapes import Named, Page
from smartproxy.policy.partners import CertificatePin
from smartproxy.policy.permissions import AdminRole
from smartproxy.policy.schema import declared, write_object
from tests.unit.sites import NOW, PIN, SiteCase

ENTRY = {"name": "ACME", "codes": ("O0013000001ACME",), "certificates": (CertificatePin(sha256=PIN),)}
ACME = partner.PartnerAddition(partner=ENTRY)


class Declared(SynchronousTestCase):
    """Every operation, as it is declared."""

    def test_complete(self) -> None:
        """Its summary is a sentence, and every field of input and answer can be written as JSON."""
        self.assertIn("partner.add", OPERATIONS)
        for name, each in OPERATIONS.items():
            self.assertTrue(re.fullmatch(r"[A-Z].*\.", each.summary), name)
            self.assertTrue(each.work.__doc__, name)
            for cls in (each.takes, each.gives):
                self.assertEqual(set(declared(cls)), {field.name for field in attrs.fields(cls)}, f"{name}: {cls}")

    def test_each_has_a_place_of_its_own(self) -> None:
        """No two share method and path; what only looks is got, and what a path names is a field of the input."""
        places = [(each.method, each.path) for each in OPERATIONS.values()]
        self.assertEqual(len(set(places)), len(OPERATIONS))
        self.assertEqual(len({each.collection for each in FAMILIES}), len(FAMILIES))
        for name, each in OPERATIONS.items():
            self.assertEqual(each.method == "GET", each.effect is Effect.READ, name)
            self.assertLessEqual(each.placed, set(declared(each.takes)), name)

    def test_usual_places(self) -> None:
        """Words that are usual have the usual method and path; others are told by what they are about."""
        self.assertEqual((partner.listed.method, partner.listed.path), ("GET", ("partners",)))
        self.assertEqual((partner.add.method, partner.add.path), ("POST", ("partners",)))
        self.assertEqual((partner.show.method, partner.show.path), ("GET", ("partners", "{name}")))
        self.assertEqual((partner.alter.method, partner.alter.path), ("PATCH", ("partners", "{name}")))
        self.assertEqual((partner.remove.method, partner.remove.path), ("DELETE", ("partners", "{name}")))
        self.assertEqual((partner.enable.method, partner.enable.path), ("POST", ("partners", "{name}", "enable")))
        self.assertEqual((partner.expiring.method, partner.expiring.path), ("GET", ("partners:expiring",)))


class Permissions(SiteCase):
    """Who may do what."""

    def caller(self, *scopes: str) -> Caller:
        """Somebody with these scopes."""
        return Caller(name="alice", scopes=frozenset(scopes))

    def test_scopes(self) -> None:
        """A scope stands for itself; a star for all families or all effects."""
        for scopes, may in (
            (("partner:change",), True),
            (("partner:*",), True),
            (("*:change",), True),
            (("*",), True),
            (("partner:read", "ca:change", "*:read"), False),
            ((), False),
        ):
            self.assertIs(self.caller(*scopes).may("partner:change"), may, scopes)

    def test_roles(self) -> None:
        """A viewer and an auditor change nothing, the auditor reads everything, an administrator may do all.

        Their own accounts are for users of the page, whatever their role.
        """
        for name, each in OPERATIONS.items():
            looks = each.effect is Effect.READ and each.scope != account.OWN
            self.assertIs(self.caller(*AdminRole.AUDITOR.scopes).may(each.scope), looks, name)
            self.assertIs(self.caller(*AdminRole.VIEWER.scopes).may(each.scope), each.scope.endswith(":read"), name)
            self.assertTrue(self.caller(*AdminRole.ADMINISTRATOR.scopes).may(each.scope), name)

    def test_refused(self) -> None:
        """What is not permitted leaves nothing behind, and the refusal names the scope."""
        for scopes in ((), ("partner:read",), ("*:read", "ca:*")):
            refused = self.assertRaises(ScopeMissing, perform, self.store, partner.add, ACME, self.caller(*scopes), NOW)
            self.assertIn("partner:change", str(refused))
        with self.store.reading() as session:
            self.assertEqual(newest_number(session), 1)

    def test_done(self) -> None:
        """What is permitted is done in the caller's name."""
        done = perform(self.store, partner.add, ACME, self.caller("partner:change"), NOW).answer
        self.assertEqual(done.partner.name, "ACME")
        (event,) = self.stored("partner.changed")
        self.assertEqual((event.fields["facts"], event.fields["command"]), ({"by": "alice"}, "partner add ACME"))


class Parts(SiteCase):
    """A list in parts."""

    def test_parts(self) -> None:
        """Each part begins after the last entry of the one before; what is added meanwhile moves nothing."""
        caller = Caller(name="alice", scopes=frozenset("*"))
        for number, name in enumerate(("Ä", "b", "A", "a")):
            entry = ENTRY | {
                "name": name,
                "codes": (f"O{number}",),
                "certificates": (CertificatePin(sha256=f"{number:064x}"),),
            }
            perform(self.store, partner.add, partner.PartnerAddition(partner=entry), caller, NOW)
        found, after = [], None
        for _ in range(2):
            part = perform(self.store, partner.listed, Page(after=after, limit=2), caller, NOW).answer
            found.append([each.partner.name for each in part.items])
            after = part.next
        self.assertEqual(found, [["A", "a"], ["b", "Ä"]])
        self.assertIsNone(after)

    def test_json(self) -> None:
        """An answer can be written as JSON."""
        caller = Caller(name="alice", scopes=frozenset("*"))
        perform(self.store, partner.add, ACME, caller, NOW)
        shown = perform(self.store, partner.show, Named(name="ACME"), caller, NOW).answer
        self.assertEqual(json.loads(json.dumps(write_object(shown)))["partner"]["codes"], ["O0013000001ACME"])
