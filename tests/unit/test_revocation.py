"""What a revocation set says of one certificate, and how long (:mod:`smartproxy.policy.certificates.revocation`)."""

import datetime

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.certificates.revocation import (
    Covered,
    ListScope,
    RevocationLists,
    RevocationSet,
    RevocationStatus,
    compared,
    judge_revocation,
    status,
)
from smartproxy.policy.values import minute

MADE = datetime.datetime(2026, 11, 20, 10, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
NO_GRACE = datetime.timedelta()


class StatusTests(SynchronousTestCase):
    """A serial number in the set is revoked; one that is not needs a set that is current."""

    dated = RevocationSet(
        issuer_key_sha256="ab" * 32, this_update=MADE, next_update=MADE + 3 * DAY, serials=frozenset({7, 2**159})
    )
    undated = RevocationSet(issuer_key_sha256="ab" * 32, this_update=MADE, serials=frozenset({7}))

    def test_good(self) -> None:
        """A serial number that is not in a current set is good."""
        self.assertIs(status(self.dated, 8, MADE + DAY, NO_GRACE), RevocationStatus.GOOD)

    def test_revoked(self) -> None:
        """A serial number in the set is revoked, whether the set is current, stale or of tomorrow."""
        for serial in (7, 2**159):
            for now in (MADE - DAY, MADE, MADE + 700 * DAY):
                self.assertIs(status(self.dated, serial, now, NO_GRACE), RevocationStatus.REVOKED)

    def test_stale(self) -> None:
        """A set is current until its next update should have been there, to the second, and in its grace."""
        end = self.dated.fresh_until
        self.assertEqual(end, MADE + 3 * DAY)
        self.assertIs(status(self.dated, 8, end, NO_GRACE), RevocationStatus.GOOD)
        self.assertIs(status(self.dated, 8, end + SECOND, NO_GRACE), RevocationStatus.STALE)
        self.assertIs(status(self.dated, 8, end + 3 * HOUR, 3 * HOUR), RevocationStatus.GOOD)
        self.assertIs(status(self.dated, 8, end + 3 * HOUR + SECOND, 3 * HOUR), RevocationStatus.STALE)

    def test_without_next_update(self) -> None:
        """A set that names no next update is current for a week."""
        self.assertIs(status(self.undated, 8, MADE + 7 * DAY, NO_GRACE), RevocationStatus.GOOD)
        self.assertIs(status(self.undated, 8, MADE + 7 * DAY + SECOND, NO_GRACE), RevocationStatus.STALE)

    def test_future(self) -> None:
        """A set that was made later than now is of no use, but for clocks that differ a little."""
        self.assertIs(status(self.dated, 8, MADE - 300 * SECOND, NO_GRACE), RevocationStatus.GOOD)
        self.assertIs(status(self.dated, 8, MADE - 301 * SECOND, NO_GRACE), RevocationStatus.FUTURE)

    def test_moments_for_people(self) -> None:
        """A date is told in UTC, to the minute, and its year has four digits, as a certificate of the year 1 has it."""
        first, last = (each.replace(tzinfo=datetime.UTC) for each in (datetime.datetime.min, datetime.datetime.max))
        east = datetime.timezone(HOUR)
        for moment, told in (
            (first, "0001-01-01 00:00 UTC"),
            (MADE.astimezone(east) + SECOND, "2026-11-20 10:00 UTC"),
            (last, "9999-12-31 23:59 UTC"),
        ):
            self.assertEqual(minute(moment), told)

    def test_ends_of_time(self) -> None:
        """Dates at the ends of time are judged like others: nothing overflows, whatever the grace."""
        first, last = (each.replace(tzinfo=datetime.UTC) for each in (datetime.datetime.min, datetime.datetime.max))
        eternal = RevocationSet(issuer_key_sha256="ab" * 32, this_update=MADE, next_update=last)
        for grace in (NO_GRACE, 72 * HOUR):
            for now in (MADE, last):
                self.assertIs(status(eternal, 8, now, grace), RevocationStatus.GOOD)
            for this_update, now, found in (
                (last, MADE, RevocationStatus.FUTURE),
                (last, last, RevocationStatus.GOOD),
                (first, MADE, RevocationStatus.STALE),
                (first, first, RevocationStatus.GOOD),
            ):
                for next_update in (None, this_update):
                    dated = RevocationSet(issuer_key_sha256="ab" * 32, this_update=this_update, next_update=next_update)
                    self.assertIs(status(dated, 8, now, grace), found)


ONE, TWO = "URI:http://crl.example/1.crl", "URI:http://crl.example/2.crl"


class PartTests(SynchronousTestCase):
    """A CA publishes its list in parts: each counts for the certificates that it covers, and for no other."""

    def part(self, *serials: int, covered: Covered = Covered.ALL, stale: bool = False, **scope: str) -> RevocationSet:
        """A part of a list, or a whole one if no point is named."""
        return RevocationSet(
            issuer_key_sha256="ab" * 32,
            this_update=MADE - 9 * DAY if stale else MADE,
            next_update=MADE - DAY if stale else MADE + DAY,
            serials=frozenset(serials),
            scope=ListScope(points=tuple(sorted(scope.values())), covered=covered),
        )

    def test_table(self) -> None:
        """The certificate's point, and the lists at hand: the verdict on the serial number 7."""
        revoking, other = self.part(7, point=ONE), self.part(8, point=TWO)
        good, missing = RevocationStatus.GOOD, RevocationStatus.MISSING
        revoked, stale = RevocationStatus.REVOKED, RevocationStatus.STALE
        table = (
            ((ONE,), (), missing),
            ((ONE,), (revoking,), revoked),
            ((ONE,), (revoking, other), revoked),
            ((ONE,), (other, revoking), revoked),
            ((ONE,), (other,), missing),
            ((TWO,), (revoking,), missing),
            ((TWO,), (revoking, other), good),
            ((ONE, TWO), (revoking, other), revoked),
            ((ONE, TWO), (other,), good),
            ((), (revoking, other), missing),
            ((), (self.part(),), good),
            ((ONE,), (self.part(),), good),
            ((ONE,), (self.part(7), self.part(point=ONE)), revoked),
            ((ONE,), (self.part(), revoking), revoked),
            ((ONE,), (self.part(), other), good),
            ((ONE,), (self.part(7), other), revoked),
            ((ONE,), (self.part(stale=True), self.part(point=ONE)), good),
            ((ONE,), (self.part(), self.part(point=ONE, stale=True)), good),
            ((ONE,), (self.part(point=ONE, stale=True), other), stale),
            ((ONE,), (self.part(7, point=ONE, stale=True), self.part()), revoked),
            ((TWO,), (self.part(point=ONE, also=TWO),), good),
            (("URI:http://crl.example/1.crl?",), (revoking,), missing),
        )
        for points, lists, verdict in table:
            found, by = judge_revocation(lists, 7, points, MADE, NO_GRACE)
            self.assertIs(found, verdict, (points, lists))
            self.assertIs(by is None, verdict is missing)

    def test_kinds(self) -> None:
        """A list without CA certificates, or with nothing else, says nothing of the others."""
        for covered, of_authorities, of_users in (
            (Covered.ALL, RevocationStatus.REVOKED, RevocationStatus.REVOKED),
            (Covered.USERS, RevocationStatus.MISSING, RevocationStatus.REVOKED),
            (Covered.CAS, RevocationStatus.REVOKED, RevocationStatus.MISSING),
        ):
            for is_ca, verdict in ((True, of_authorities), (False, of_users)):
                for lists, points in (
                    ((self.part(7, covered=covered),), ()),
                    ((self.part(7, covered=covered, x=ONE),), (ONE,)),
                ):
                    found, _ = judge_revocation(lists, 7, points, MADE, NO_GRACE, is_ca=is_ca)
                    self.assertIs(found, verdict, (covered, is_ca))

    def test_nearest(self) -> None:
        """Of several lists that are out of date the one is told that was current last."""
        old, older = self.part(stale=True, point=ONE), self.part(stale=True)
        older = attrs.evolve(older, next_update=MADE - 2 * DAY)
        for lists in ((old, older), (older, old)):
            self.assertEqual(judge_revocation(lists, 7, (ONE,), MADE, NO_GRACE), (RevocationStatus.STALE, old))

    def test_issuers(self) -> None:
        """Two CAs that share a key have lists of their own; names are compared without case."""
        first, second = (attrs.evolve(self.part(), issuer_name=f"CN={name}") for name in ("First", "Second"))
        lists = RevocationLists.of((first, second))
        self.assertEqual(lists.of_issuer("ab" * 32, "CN=first"), (first,))
        self.assertEqual(lists.of_issuer("ab" * 32, "CN=Second"), (second,))
        self.assertEqual(lists.of_issuer("ab" * 32, "CN=Third"), ())
        self.assertEqual(lists.of_issuer("cd" * 32, "CN=First"), ())

    def test_names_in_other_spelling(self) -> None:
        """Names are equal in any case and with any blanks, and in Teletex as in UTF-8; another letter makes another."""
        for other in ("CN=M\u00dcLLER  CA", r"CN=M\xfcller Ca", r"CN=M\xdcller CA"):
            self.assertEqual(compared(other), compared("CN=M\u00fcller CA"))
        for other in ("CN=Muller CA", r"CN=M\xe4ller CA", "CN=M\u00fcllerCA"):
            self.assertNotEqual(compared(other), compared("CN=M\u00fcller CA"))
