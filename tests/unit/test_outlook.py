"""What ``require`` would refuse, and when certificates fail (:mod:`smartproxy.policy.certificates.outlook`)."""

import datetime

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.certificates.outlook import Issuer, Listed, Outlook
from smartproxy.policy.certificates.revocation import ListScope, RevocationLists, RevocationSet
from tests.unit.chains import DAY, NOW, key_sha256, revocation

NONE = datetime.timedelta()


def issuer(name: str, above: str, ca: str, serial: int = 9) -> Issuer:
    """A certificate of an authority."""
    return Issuer(
        ca=ca,
        subject=f"CN={name}",
        issuer=f"CN={above}",
        serial=serial,
        key_sha256=key_sha256(name),
        not_after=NOW + 100 * DAY,
    )


ROOT = issuer("root", "root", "ca")
MIDDLE = issuer("middle", "root", "others", serial=7)


def outlook(*lists: RevocationSet, issuers: tuple[Issuer, ...] = (ROOT, MIDDLE)) -> Outlook:
    """What is configured and loaded."""
    return Outlook(issuers, RevocationLists.of(lists))


class RefusalTests(SynchronousTestCase):
    """What ``require`` would say of a certificate that was seen."""

    def refusal(self, found: Outlook, below: str = "root", grace: datetime.timedelta = NONE) -> str | None:
        """Why the certificate 5 below an issuer would be refused."""
        return found.refusal(f"CN={below}", 5, "ca", NOW, grace)

    def test_lists(self) -> None:
        """Each state of the issuer's list has its words."""
        old = {"this_update": NOW - 9 * DAY, "next_update": NOW - DAY}
        self.assertIsNone(self.refusal(outlook(revocation("root"))))
        self.assertEqual(self.refusal(outlook()), "there is no revocation list of CN=root")
        self.assertIn("revoked by the list of CN=root", str(self.refusal(outlook(revocation("root", 5)))))
        self.assertIn("out of date", str(self.refusal(outlook(revocation("root", **old)))))
        self.assertIsNone(self.refusal(outlook(revocation("root", **old)), grace=2 * DAY))
        self.assertIn("dated in the future", str(self.refusal(outlook(revocation("root", this_update=NOW + DAY)))))

    def test_path(self) -> None:
        """An intermediate authority is judged, too, up to the ca that the partner is known by."""
        lists = (revocation("middle"), revocation("root"))
        self.assertIsNone(self.refusal(outlook(*lists), "middle"))
        self.assertEqual(self.refusal(outlook(lists[0]), "middle"), "there is no revocation list of CN=root")
        self.assertIn("revoked", str(self.refusal(outlook(lists[0], revocation("root", 7)), "middle")))

    def test_unknown_issuer(self) -> None:
        """A list of an issuer whose certificate is nowhere cannot be loaded."""
        self.assertIn("is not in the CA", str(self.refusal(outlook(), "elsewhere")))

    def test_circle(self) -> None:
        """Certificates that issued each other end nowhere."""
        circle = (issuer("a", "b", "others"), issuer("b", "a", "others"))
        found = outlook(revocation("a"), revocation("b"), issuers=circle)
        self.assertIn("does not reach the CA", str(self.refusal(found, "a")))

    def test_issuer_with_two_certificates(self) -> None:
        """A CA that got another key, or a later certificate, is judged by the lists of both, whichever comes first."""
        rekeyed = attrs.evolve(ROOT, key_sha256=key_sha256("new root"))
        for two in ((ROOT, rekeyed), (rekeyed, ROOT)):
            self.assertIsNone(self.refusal(outlook(revocation("new root"), issuers=two)))
            self.assertIsNone(self.refusal(outlook(revocation("new root"), revocation("root", 5), issuers=two)))
            self.assertIn("there is no revocation list", str(self.refusal(outlook(issuers=two))))
            both = outlook(revocation("new root", 5), revocation("root", 5), issuers=two)
            self.assertIn("revoked by the list", str(self.refusal(both)))

    def test_intermediate_with_two_certificates(self) -> None:
        """The path goes through the one that is good, and the reason is that of the CA's own one if none is."""
        again = attrs.evolve(MIDDLE, serial=8)
        lists = (revocation("middle"), revocation("root", 7))
        for two in ((MIDDLE, again), (again, MIDDLE)):
            self.assertIsNone(self.refusal(outlook(*lists, issuers=(ROOT, *two)), "middle"))
            gone = (revocation("middle"), revocation("root", 7, 8))
            self.assertIn("revoked", str(self.refusal(outlook(*gone, issuers=(ROOT, *two)), "middle")))
        own = attrs.evolve(MIDDLE, ca="ca", key_sha256=key_sha256("own"))
        found = outlook(revocation("middle", 5), issuers=(ROOT, MIDDLE, own))
        self.assertEqual(self.refusal(found, "middle"), "there is no revocation list of CN=middle")

    def test_listed(self) -> None:
        """Of an authority's certificates, which have a current list, a current part of one, or none."""
        three = (ROOT, issuer("issuing", "root", "ca"), issuer("new", "root", "ca"), MIDDLE)
        lists = (revocation("root"), revocation("issuing", scope=ListScope(points=("URI:1",))))
        self.assertEqual(
            outlook(*lists, issuers=three).listed("ca", NOW, NONE),
            Listed(current=("CN=root",), in_parts=("CN=issuing",), without=("CN=new",)),
        )

    def test_parts(self) -> None:
        """A certificate is judged by the part of the list that its own distribution point names."""
        one, two = (revocation("root", serial, scope=ListScope(points=(f"URI:{serial}",))) for serial in (5, 6))

        def refusal(*points: str) -> str | None:
            return outlook(one, two).refusal("CN=root", 5, "ca", NOW, NONE, points)

        self.assertIn("revoked by the list of CN=root for URI:5", str(refusal("URI:5")))
        self.assertIsNone(refusal("URI:6"))
        self.assertEqual(refusal("URI:7"), "there is no revocation list of CN=root for URI:7")
        self.assertIn("for certificates without a distribution point", str(refusal()))


class EndTests(SynchronousTestCase):
    """When a certificate will be refused."""

    def ends(self, found: Outlook, authority: str | None, grace: datetime.timedelta | None) -> list[tuple[int, str]]:
        """The days and reasons."""
        ends = found.ends("CN=root", NOW + 50 * DAY, authority, grace)
        return [((moment - NOW).days, reason.split()[-1]) for moment, reason in ends]

    def test_pinned(self) -> None:
        """A pinned certificate fails with its end only."""
        self.assertEqual(self.ends(outlook(revocation("root")), None, None), [(50, "expires")])

    def test_certified(self) -> None:
        """Its issuer's end counts, and its list's where lists are required, with the hours of grace."""
        found = outlook(revocation("root"))
        self.assertEqual(self.ends(found, "ca", None), [(50, "expires"), (100, "expires")])
        self.assertEqual(self.ends(found, "ca", DAY)[2], (2, "renewed"))
        self.assertEqual(self.ends(outlook(), "ca", DAY), [(50, "expires"), (100, "expires")])

    def test_issuer_with_two_certificates(self) -> None:
        """The later end of the two counts, and the newer list, whichever comes first."""
        again = attrs.evolve(ROOT, not_after=NOW + 200 * DAY, key_sha256=key_sha256("new root"))
        lists = (revocation("root"), revocation("new root", next_update=NOW + 9 * DAY))
        for two in ((ROOT, again), (again, ROOT)):
            ends = self.ends(outlook(*lists, issuers=two), "ca", NONE)
            self.assertEqual(ends, [(50, "expires"), (200, "expires"), (9, "renewed")])
            same_key = attrs.evolve(again, key_sha256=ROOT.key_sha256)
            issuers = (same_key, ROOT) if two[0] is again else (ROOT, same_key)
            ends = self.ends(outlook(lists[0], issuers=issuers), "ca", NONE)
            self.assertEqual(ends, [(50, "expires"), (200, "expires"), (1, "renewed")])

    def test_part(self) -> None:
        """Of several parts the one counts that covers the certificate."""
        near, far = (
            revocation("root", next_update=NOW + days * DAY, scope=ListScope(points=(name,)))
            for name, days in (("URI:near", 3), ("URI:far", 9))
        )
        for name, days in (("URI:near", 3), ("URI:far", 9)):
            ends = dict(outlook(near, far).ends("CN=root", NOW + 50 * DAY, "ca", NONE, (name,)))
            self.assertEqual(ends[NOW + days * DAY], f"the revocation list of CN=root for {name} has to be renewed")
        self.assertEqual(len(list(outlook(near, far).ends("CN=root", NOW + 50 * DAY, "ca", NONE))), 2)

    def test_end_of_time(self) -> None:
        """A list that is promised for the end of time has to be renewed then, grace or not."""
        last = datetime.datetime.max.replace(tzinfo=datetime.UTC)
        for grace in (NONE, 3 * DAY):
            found = outlook(revocation("root", next_update=last)).ends("CN=root", last, "ca", grace)
            self.assertEqual([moment for moment, _ in found], [last, NOW + 100 * DAY, last])

    def test_unknown_issuer(self) -> None:
        """Of an issuer whose certificate is not there nothing is known."""
        self.assertEqual(self.ends(outlook(issuers=()), "ca", DAY), [(50, "expires")])
