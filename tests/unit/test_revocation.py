"""What a revocation set says of one certificate, and how long (:mod:`smartproxy.policy.certificates.revocation`)."""

import datetime

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.certificates.revocation import RevocationSet, RevocationStatus, status

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

    def test_missing(self) -> None:
        """Without a set nothing is known."""
        self.assertIs(status(None, 1, MADE, 72 * HOUR), RevocationStatus.MISSING)

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
