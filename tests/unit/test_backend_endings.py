"""Whatever runs out is told 30, 14, 7 and 1 days before, once each, with what to do about it."""

from datetime import datetime, timedelta
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend import (
    administrators,
    authority,
    cas,
    clients,
    endings,
    identities,
    licences,
    partners,
    revocation,
    sightings,
)
from smartproxy.backend.alert_tables import ToldEndingRow
from smartproxy.backend.certificates import KeyAndChain
from smartproxy.backend.endings import KEPT_AFTER, WatchedEnd
from smartproxy.backend.schema import PinNote
from smartproxy.backend.upkeep import HOUR, HourlyLook
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value, isotime
from smartproxy.logs.record import Record
from smartproxy.policy.causes import Cause
from smartproxy.policy.partners import CertificatePin, Outbound, Partner, RevocationMode, SubjectRule, Verify
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import TestCa
from tests.adapters.api_site import AtOnce
from tests.unit.sites import NOW, PIN, PROXY_ID, SiteCase

DAY = timedelta(days=1)
LIFE = 400 * DAY


class Marks(SiteCase):
    """When a thing's end is to be told."""

    founded = False

    def test_marks(self) -> None:
        """The last of the days that was reached counts, none before the first, none after the end."""
        marks = {31: None, 30: 30, 15: 30, 14: 14, 8: 14, 7: 7, 2: 7, 1: 1, 0: 1, -1: None}
        for left, mark in marks.items():
            ending = WatchedEnd(cause=None, what="x", until=NOW + left * DAY, begins=NOW - LIFE, advice="")
            self.assertEqual(ending.mark(NOW), mark, left)

    def test_short_life(self) -> None:
        """Days that are more than half of the whole life do not count."""
        for life, marks in ((60, [30, 14, 7, 1]), (59, [14, 7, 1]), (27, [7, 1]), (7, [1]), (2, [1]), (1, [])):
            found = []
            for left in range(40, -1, -1):
                until = NOW + left * DAY
                found.append(
                    WatchedEnd(cause=None, what="x", until=until, begins=until - life * DAY, advice="").mark(NOW)
                )
            self.assertEqual([each for each in dict.fromkeys(found) if each], marks, life)


class Endings(SiteCase):
    """A site whose things end."""

    def setUp(self) -> None:
        """Begin to look."""
        super().setUp()
        self.ca = TestCa.root("Odette", valid_from=NOW - LIFE, valid_until=NOW + LIFE)
        self.begin(NOW)

    def begin(self, now: datetime) -> None:
        """Start the daemon, or start it again, at a time."""
        self.clock = Clock()
        self.clock.advance(now.timestamp())
        self.told: list[dict[str, Value]] = []
        events = Events(Logger(), self.told.append, self.clock, source="backend")
        self.begun = False
        self.upkeep = HourlyLook(self.store, AtOnce(), events, self.clock)
        self.addCleanup(self.upkeep.stop)

    def days(self, count: int) -> list[tuple[object, object]]:
        """Let days go by; the causes and days of what was told meanwhile."""
        before = len(self.told)
        if not self.begun:
            self.begun = True
            self.upkeep.start()
        for _ in range(count):
            self.clock.advance(DAY.total_seconds())
        return [(each.get("cause", each["name"]), each.get("count")) for each in self.told[before:]]

    def add_ca(self, **values: Any) -> None:
        """Add the CA."""
        with self.change() as change:
            cas.add(change, "odette", [self.ca.credential.certificate], **values)

    def known(self) -> dict[str, WatchedEnd]:
        """Everything with an end, by its words."""
        with self.store.reading() as session:
            return {each.what: each for each in endings.known(session)}

    def test_identity(self) -> None:
        """Our own certificate: four times, with the command; not again for one that takes its place."""
        for ends in (40 * DAY, LIFE):
            leaf = self.ca.issue("oftp.example", valid_from=NOW - LIFE, valid_until=NOW + ends)
            with self.change() as change:
                identities.keep(change, "main", KeyAndChain(key=leaf.key, chain=(leaf.certificate,)))
            if ends == LIFE:
                self.assertEqual(self.days(30), [])
            else:
                self.assertEqual(self.days(9), [])
                self.assertEqual(self.days(1), [("ending.identity", 30)])
                self.assertEqual(self.days(20), [("ending.identity", 14)])
        (first, *_) = self.told
        self.assertEqual((first["level"], first["name"]), ("warning", "validity.ending"))
        self.assertIn("our identity main ends on 2026-12-30", str(first["message"]))
        self.assertIn("smartproxy identity request main", str(first["advice"]))

    def test_kept_over_restarts(self) -> None:
        """Neither a restart nor another backend on the same store tells it again; the next mark is told."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + 40 * DAY, limits={})
        self.assertEqual(self.days(12), [("licence.ending", 30)])
        self.upkeep.stop()
        self.begin(NOW + 13 * DAY)
        self.assertEqual(self.days(12), [])
        self.assertEqual(self.days(2), [("licence.ending", 14)])

    def test_told_again(self) -> None:
        """A clock that was put back tells nothing twice; what is over for long is forgotten."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + 20 * DAY, limits={})
        for day, count in ((0, 1), (10, 1), (0, 0), (10, 0), (19, 1)):
            with self.store.writing() as session:
                self.assertEqual(len(endings.take(session, NOW + day * DAY)), count, day)
        for later, kept in ((KEPT_AFTER, 1), (KEPT_AFTER + DAY, 0)):
            with self.store.writing() as session:
                endings.take(session, NOW + 20 * DAY + later)
                self.assertEqual(session.query(ToldEndingRow).count(), kept)

    def test_ca(self) -> None:
        """A CA's certificates; of two with one key, the newer one counts."""
        self.ca = TestCa.root("Odette", valid_from=NOW - LIFE, valid_until=NOW + 8 * DAY)
        self.add_ca()
        self.assertEqual(self.days(2), [("ending.ca", 8), ("ending.ca", 7)])
        self.assertEqual(self.told[0]["ca"], "odette")
        newer = TestCa.root("Odette", key=self.ca.credential.key, valid_from=NOW, valid_until=NOW + LIFE)
        both = [newer.credential.certificate, self.ca.credential.certificate]
        with self.change() as change:
            cas.alter(change, "odette", certificates=both)
        self.assertEqual(self.days(20), [])

    def test_list(self) -> None:
        """A list whose successor was not loaded, as long as the CA's lists are looked at."""
        self.add_ca()
        with self.change() as change:
            made = self.ca.crl(this_update=NOW - 13 * DAY, next_update=NOW + 8 * DAY)
            revocation.load(change, revocation.parse(made, "x"))
        told = [each for each in self.days(9) if each[0] != "crl.stale"]
        self.assertEqual(told, [("ending.list", 7), ("ending.list", 1)])
        self.assertIn("smartproxy crl load FILE", str(self.told[0]["advice"]))
        with self.change() as change:
            cas.alter(change, "odette", revocation=RevocationMode.OFF)
        self.assertFalse([each for each in self.known().values() if each.cause is Cause.ENDING_LIST])

    def test_partner(self) -> None:
        """The last certificate that is known of a partner: pinned, or shown; none of a partner that is disabled."""
        self.add_ca()
        rules = (CertificatePin(sha256=PIN), SubjectRule(ca="odette", serial_number="O1"))
        acme = Partner(name="ACME", codes=("ACME",), certificates=rules)
        with self.change() as change:
            partners.add(change, acme, [PinNote(sha256=PIN, subject="CN=x", not_after=NOW + 8 * DAY)])
        self.assertEqual(self.days(1), [("ending.partner", 8), ("ending.partner", 7)])
        self.assertEqual(self.told[0]["partner"], "ACME")
        self.assertIn("smartproxy partner certificate add ACME", str(self.told[0]["advice"]))
        fields: dict[str, Any] = {"partner": "ACME", "certificate_sha256": "cd" * 32, "issuer": "x", "serial": "1"}
        fields |= {"ca": "odette", "not_after": isotime(NOW + LIFE)}
        with self.store.writing() as session:
            sightings.note(session, [Record("certificate.accepted", NOW, "server", 1, fields)])
        self.assertEqual(self.days(20), [])
        with self.change() as change:
            partners.alter(change, "ACME", enabled=False)
        self.assertFalse([each for each in self.known().values() if each.cause is Cause.ENDING_PARTNER])

    def test_called_partner(self) -> None:
        """The pin by which a partner is recognized when it is called is told apart."""
        outbound = Outbound(host="acme.example", verify=Verify.PIN, certificates=(CertificatePin(sha256="cd" * 32),))
        acme = Partner(name="ACME", codes=("ACME",), certificates=(CertificatePin(sha256=PIN),), outbound=outbound)
        notes = [
            PinNote(sha256=PIN, subject="CN=x", not_after=NOW + LIFE),
            PinNote(sha256="cd" * 32, subject="CN=y", not_after=NOW + 3 * DAY),
        ]
        with self.change() as change:
            partners.add(change, acme, notes)
        (told,) = self.days(1)[:1]
        self.assertEqual(told, ("ending.partner", 3))
        self.assertIn("when we call it", str(self.told[0]["message"]))
        self.assertIn("smartproxy partner outbound ACME", str(self.told[0]["advice"]))

    def test_tunnel(self) -> None:
        """A client that does not renew its tunnel certificate, unless it is disabled."""
        with self.change() as change:
            clients.add(change, "inner")
        with self.store.writing() as session:
            clients.note_certificate(session, "inner", NOW + authority.TUNNEL_LIFE)
        self.assertEqual(self.days(7), [("ending.tunnel", 1)])
        self.assertEqual(self.told[0]["client"], "inner")
        with self.change() as change:
            clients.enable(change, "inner", False)
        self.assertFalse([each for each in self.known().values() if each.cause is Cause.ENDING_TUNNEL])

    def test_token(self) -> None:
        """An administrator's token, by its name; one that is revoked is over."""
        with self.change() as change:
            administrators.create(
                change, "erp", role=AdminRole.VIEWER, scopes=(), until=NOW + 60 * DAY, allowed=AdminRole.VIEWER.scopes
            )
        self.assertEqual([count for _, count in self.days(59)], [30, 14, 7, 1])
        self.assertEqual({each["cause"] for each in self.told}, {"ending.token"})
        self.assertIn("the administrator's token erp", str(self.told[0]["message"]))
        self.assertIn("smartproxy admin-token revoke erp", str(self.told[0]["advice"]))
        with self.change() as change:
            administrators.revoke(change, "erp")
        self.assertFalse([each for each in self.known().values() if each.cause is Cause.ENDING_TOKEN])

    def test_authority(self) -> None:
        """The site's own authority, after twenty years."""
        (found,) = [each for each in self.known().values() if each.cause is Cause.ENDING_AUTHORITY]
        self.assertEqual(found.until, NOW + authority.AUTHORITY_LIFE)
        self.assertIn("smartproxy export", found.advice)

    def test_each_hour(self) -> None:
        """A mark is told within the hour."""
        with self.change() as change:
            licences.issue(
                change, PROXY_ID, valid_from=NOW, valid_until=NOW + 30 * DAY + timedelta(minutes=30), limits={}
            )
        self.upkeep.start()
        self.assertEqual(self.told, [])
        self.clock.advance(HOUR)
        self.assertEqual([each["name"] for each in self.told], ["licence.ending"])
