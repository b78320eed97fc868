"""What servers saw of certificates, and what operators can foretell from it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from smartproxy.backend import cas, forecasts, partners, revocation, sightings
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.sighting_tables import ServerLicenceRow
from smartproxy.policy.partners import Partner, RevocationMode, SubjectRule
from smartproxy.testing.pki import TestCa, TestCredential
from tests.unit.sites import NOW, SiteCase

DAY = timedelta(days=1)


class SightingsCase(SiteCase):
    """A site with an authority ``odette`` and a partner ACME that it certifies."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.ca = TestCa.root("Odette")
        self.leaf = self.ca.issue("acme", serial_number="ACME", valid_until=NOW + 40 * DAY)
        with self.change() as change:
            cas.add(change, "odette", [self.ca.credential.certificate])
            change.session.flush()
            rule = SubjectRule(ca="odette", serial_number="ACME")
            partners.add(change, Partner(name="ACME", codes=("O0013ACME",), certificates=(rule,)))

    def tell(self, name: str, hours: int = 0, **fields: Any) -> None:
        """A client carries an event here."""
        source = "client" if name == "crl.url_seen" else "server"
        record = {"name": name, "source": source, "sequence": 1, "time": (NOW + timedelta(hours=hours)).isoformat()}
        received = NOW + timedelta(hours=max(hours, 0))
        taken = ClientRequests(self.store).keep_events("inner", [{**record, **fields}], received)
        self.assertEqual(taken.refused, [])

    def accept(self, shown: TestCredential, hours: int = 0, **fields: Any) -> None:
        """A server let a partner in."""
        certificate = shown.certificate
        usual = {
            "partner": "ACME",
            "by": "subject",
            "ca": "odette",
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
            "certificate_sha256": shown.sha256,
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }
        self.tell("certificate.accepted", hours, **{**usual, **fields})

    def load(self, *revoked: TestCredential, days: int = 7, point: str | None = None) -> None:
        """Load the authority's list."""
        with self.change() as change:
            octets = self.ca.crl(revoked, this_update=NOW - DAY, next_update=NOW + days * DAY, point=point)
            revocation.load(change, revocation.parse(octets, "x"))


class Sightings(SightingsCase):
    """What is kept."""

    def test_certificate(self) -> None:
        """A certificate is kept once, with when it was seen first and last."""
        for hours in (0, 0, 5):
            self.accept(self.leaf, hours)
        with self.store.reading() as session:
            (seen,) = sightings.certificates(session)
        self.assertEqual((seen.partner, seen.sha256, seen.ca), ("ACME", self.leaf.sha256, "odette"))
        self.assertEqual(seen.last_seen - seen.first_seen, timedelta(hours=5))

    def test_unreadable(self) -> None:
        """A record that does not identify the certificate keeps nothing; one with a time that is none is refused."""
        for wrong in ("soon", "2027-01-01T00:00:00", "9999-12-31T23:59:59-01:00"):
            with self.assertRaises(AssertionError):
                self.accept(self.leaf, not_after=wrong)
        self.accept(self.leaf, serial="a serial")
        self.accept(self.leaf, certificate_sha256="short")
        self.tell("certificate.accepted", partner="ACME", by="key", not_after="2027-01-01T00:00:00Z")
        with self.store.reading() as session:
            self.assertEqual(sightings.certificates(session), [])

    def test_addresses(self) -> None:
        """Addresses are kept by authority, once; those of a form that no server reports, and too many, are not."""
        url = "http://crl.example.com/ca.crl"
        for hours in (0, 3):
            self.tell("crl.url_seen", hours, url=url, ca="odette")
        self.tell("crl.url_seen", url="http://169.254.169.254/", ca="odette")
        self.tell("crl.url_seen", url=url)
        self.patch(sightings, "URLS_MOST", 2)
        for number in range(3):
            self.tell("crl.url_seen", url=f"{url}?{number}", ca="odette")
        with self.store.reading() as session:
            kept = sightings.urls(session, "odette")
            self.assertEqual([each.url for each in kept], [url, f"{url}?0"])
            self.assertEqual(kept[0].last_seen - kept[0].first_seen, timedelta(hours=3))
            self.assertEqual(sightings.urls(session), kept)
            self.assertEqual(sightings.urls(session, "other"), [])

    def test_bounded(self) -> None:
        """However many certificates a server tells of, few are kept of a partner, and those that it proved first."""
        self.patch(sightings, "CERTIFICATES_MOST", 3)
        self.accept(self.leaf)
        self.tell("identity.accepted", partner="ACME", code="O0013ACME", certificate_sha256=self.leaf.sha256)
        for number in range(1, 6):
            self.accept(self.leaf, number, certificate_sha256=f"{number:064x}")
        self.accept(self.leaf, partner="NOBODY")
        self.accept(self.leaf, ca="none", certificate_sha256="ab" * 32)
        with self.store.reading() as session:
            kept = sightings.certificates(session)
        self.assertEqual({each.sha256 for each in kept}, {self.leaf.sha256, f"{4:064x}", f"{5:064x}"})
        self.tell("crl.url_seen", url="http://crl.example.com/x.crl", ca="none")
        with self.store.reading() as session:
            self.assertEqual(sightings.urls(session), [])

    def test_forgotten(self) -> None:
        """What is of nobody any more goes, and what was not seen for long; a proved certificate once it has ended."""
        old = self.ca.issue("acme, old", valid_until=NOW + 40 * DAY)
        for shown in (self.leaf, old):
            self.accept(shown)
        self.tell("identity.accepted", partner="ACME", code="O0013ACME", certificate_sha256=self.leaf.sha256)
        self.tell("crl.url_seen", url="http://crl.example.com/x.crl", ca="odette")

        def left(before: timedelta | None) -> tuple[set[str], int]:
            with self.store.writing() as session:
                sightings.forget(session, None if before is None else NOW + before, NOW)
                return {each.sha256 for each in sightings.certificates(session)}, len(sightings.urls(session))

        self.assertEqual(left(None), ({self.leaf.sha256, old.sha256}, 1))
        self.assertEqual(left(-DAY), ({self.leaf.sha256, old.sha256}, 1))
        self.assertEqual(left(DAY), ({self.leaf.sha256}, 0))
        self.assertEqual(left(41 * DAY), (set(), 0))
        self.accept(self.leaf)
        self.tell("crl.url_seen", url="http://crl.example.com/x.crl", ca="odette")
        with self.change() as change:
            partners.remove(change, "ACME")
            cas.remove(change, "odette")
        self.assertEqual(left(None), (set(), 0))

    def test_licence_kept_until_its_end(self) -> None:
        """A server that has run for longer than events are kept is known until its licence has ended."""
        ids = {name: f"{name:0<64}px" for name in ("a", "b")}
        with self.store.writing() as session:
            for name, until in (("a", 365 * DAY), ("b", -DAY)):
                session.add(ServerLicenceRow(proxy_id=ids[name], valid_until=NOW + until, reported=NOW - 100 * DAY))
            sightings.forget(session, NOW - 101 * DAY, NOW)
            self.assertEqual(set(sightings.server_licences(session)), set(ids.values()))
            sightings.forget(session, NOW - 90 * DAY, NOW)
            self.assertEqual(set(sightings.server_licences(session)), {ids["a"]})

    def test_future(self) -> None:
        """What a server tells from the future changes nothing; a clock that is a little ahead tells of now."""
        px = "0123456789abcdef" * 4 + "px"

        def licence(time: datetime, until: str) -> None:
            event = {"name": "licence.accepted", "source": "server", "sequence": 1, "time": time.isoformat()}
            event |= {"proxy_id": px, "valid_until": until, "site": "x"}
            self.assertEqual(ClientRequests(self.store).keep_events("inner", [event], NOW).refused, [])

        def known() -> tuple[datetime, datetime] | None:
            with self.store.reading() as session:
                found = sightings.server_licences(session).get(px)
                return None if found is None else (found.valid_until, found.reported)

        licence(NOW + timedelta(days=1), "2026-12-01T00:00:00Z")
        self.assertIsNone(known())
        licence(NOW + timedelta(minutes=30), "2026-12-01T00:00:00Z")
        self.assertEqual(known(), (datetime(2026, 12, 1, tzinfo=UTC), NOW))
        licence(NOW, "2027-12-01T00:00:00Z")
        self.assertEqual(known(), (datetime(2027, 12, 1, tzinfo=UTC), NOW))


class Forecasts(SightingsCase):
    """What is foretold."""

    def verdict(self) -> tuple[str, str]:
        """What would happen to the one partner."""
        with self.store.reading() as session:
            (found,) = forecasts.revocation(session, NOW)
        self.assertEqual((found.partner, found.ca, found.mode), ("ACME", "odette", "require"))
        return found.verdict, found.cause

    def test_never_connected(self) -> None:
        """Of a partner that never connected the lists of its authority say what can be said."""
        verdict, cause = self.verdict()
        self.assertEqual(verdict, "refused")
        self.assertIn("no current list of CN=Odette", cause)
        self.load()
        self.assertEqual(self.verdict()[0], "admitted")
        with self.change() as change:
            second = TestCa.root("Second")
            cas.alter(change, "odette", certificates=[self.ca.credential.certificate, second.credential.certificate])
        self.assertEqual(self.verdict()[0], "unknown")

    def test_connected(self) -> None:
        """Of one who did, its own certificate is judged."""
        self.accept(self.leaf)
        self.assertEqual(
            self.verdict(),
            ("refused", f"there is no revocation list of {self.ca.credential.certificate.subject.rfc4514_string()}"),
        )
        self.load()
        self.assertEqual(self.verdict()[0], "admitted")
        self.load(self.leaf, days=8)
        self.assertIn("revoked", self.verdict()[1])

    def test_parts(self) -> None:
        """Where a CA's list comes in parts, the part counts that the certificate's distribution point names."""
        self.load(days=7, point="http://crl.example/1.crl")
        verdict, cause = self.verdict()
        self.assertEqual(verdict, "unknown")
        self.assertIn("only parts of the list of CN=Odette", cause)
        self.accept(self.leaf, crl_points=["URI:http://crl.example/2.crl"])
        verdict, cause = self.verdict()
        self.assertEqual(verdict, "refused")
        self.assertTrue(cause.endswith("for URI:http://crl.example/2.crl"), cause)
        self.load(days=9, point="http://crl.example/2.crl")
        self.assertEqual(self.verdict()[0], "admitted")
        with self.store.reading() as session:
            (found,) = forecasts.failing(session, NOW + 30 * DAY)
        self.assertEqual(found.moment, NOW + 9 * DAY)
        self.assertIn("for URI:http://crl.example/2.crl has to be renewed", found.reason)
        self.load(self.leaf, days=10, point="http://crl.example/2.crl")
        self.assertIn("revoked", self.verdict()[1])

    def test_points_come_later(self) -> None:
        """A server of an earlier version does not tell the points; they are kept when one tells them."""
        self.accept(self.leaf)
        self.accept(self.leaf, 2, crl_points=["URI:http://crl.example/2.crl"])
        self.accept(self.leaf, 4)
        with self.store.reading() as session:
            (seen,) = sightings.certificates(session)
        self.assertEqual(seen.crl_points, ["URI:http://crl.example/2.crl"])

    def test_ended(self) -> None:
        """A certificate that has ended tells nothing about today."""
        self.accept(self.leaf, not_after=(NOW - DAY).isoformat())
        self.assertIn("no certificate of the partner is known", self.verdict()[1])

    def test_disabled(self) -> None:
        """Who may not connect anyway is not listed."""
        with self.change() as change:
            partners.alter(change, "ACME", enabled=False)
        with self.store.reading() as session:
            self.assertEqual(forecasts.revocation(session, NOW), [])
            self.assertEqual(forecasts.failing(session, NOW + 900 * DAY), [])

    def test_failing(self) -> None:
        """Certificates fail when they end, or when the list that they need does; a pinned one only when it ends."""
        self.accept(self.leaf)
        self.load(days=7)
        pinned = self.ca.issue("acme, new", valid_until=NOW + 60 * DAY)
        with self.change() as change:
            rule, note = partners.pinned(pinned.certificate)
            partners.add_rules(change, "ACME", [rule], [note])
        with self.store.reading() as session:
            (first,) = forecasts.failing(session, NOW + 30 * DAY)
            self.assertEqual((first.partner, first.sha256, first.moment), ("ACME", self.leaf.sha256, NOW + 7 * DAY))
            self.assertIn("has to be renewed", first.reason)
            self.assertEqual(first.others_until, NOW + 60 * DAY)
            self.assertEqual([each.sha256 for each in forecasts.failing(session, NOW + 61 * DAY)][1], pinned.sha256)
        with self.change() as change:
            cas.alter(change, "odette", revocation=RevocationMode.PREFER)
        with self.store.reading() as session:
            self.assertEqual(forecasts.failing(session, NOW + 30 * DAY), [])
            self.assertEqual(forecasts.failing(session, NOW + 41 * DAY)[0].reason, "the certificate expires")
