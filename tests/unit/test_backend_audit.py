"""The audit trail: what is recorded, and that no change of it goes unnoticed."""

import json
import threading
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend import audit, partners, settings
from smartproxy.backend.anchoring import Anchoring
from smartproxy.backend.audit import FIRST, Deed
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import ChangeRefused, ScopeMissing, Unusable
from smartproxy.backend.generations import changing
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.partner import enable
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.shapes import Named
from smartproxy.backend.schema import GenerationRow
from smartproxy.backend.store import Store
from smartproxy.backend.trail_tables import AuditRow, DifferenceRow
from smartproxy.backend.upkeep import HOUR
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.policy.partners import CertificatePin, Partner
from tests.adapters.api_site import AtOnce
from tests.unit.sites import NOW, PIN, SiteCase

ACME = Partner(name="ACME", codes=("O0013000001ACME",), certificates=(CertificatePin(sha256=PIN),))
SSID = "server.deadlines.ssid"


class AuditCase(SiteCase):
    """A site whose trail has five records, each of a generation."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        for seconds in (31, 32, 33, 34):
            with self.change(f"settings set {seconds}") as change:
                settings.put(change, SSID, seconds)

    def records(self) -> list[audit.AuditRecord]:
        """All records."""
        with self.store.reading() as session:
            return list(audit.listed(session, 1000))

    def faults(self, *anchors: str) -> list[tuple[int | None, str]]:
        """What an examination finds."""
        with self.store.reading() as session:
            return [(each.number, each.what) for each in audit.verify(session, anchors).faults]

    def execute(self, statement: Any) -> None:
        """Write to the store behind everybody's back."""
        with self.store.writing() as session:
            session.execute(statement)

    def forge(self, number: int, *, rehash: bool, **values: object) -> None:
        """Change a record."""
        with self.store.writing() as session:
            row = session.get(AuditRow, number)
            assert row is not None
            row.record = audit._canonical({**json.loads(row.record), **values})
            if rehash:
                row.hash = audit._hash(row.record)


class WhatIsRecorded(AuditCase):
    """Deeds, their authors, and nothing secret."""

    def test_change(self) -> None:
        """Each generation has a record with author, way, words, comment and what makes its history certain."""
        with changing(
            self.store, by="bob", what="settings set", now=NOW, channel=Channel.PAGE, comment="as agreed"
        ) as change:
            settings.put(change, SSID, 40)
        newest = self.records()[-1]
        self.assertEqual(
            (newest.number, newest.deed, newest.by, newest.channel, newest.what, newest.comment, newest.time),
            (6, Deed.CHANGE, "bob", Channel.PAGE, "settings set", "as agreed", NOW),
        )
        self.assertEqual(newest.facts["generation"], 6)
        self.assertEqual(self.faults(), [])

    def test_refused_change(self) -> None:
        """A change that is not made leaves no record."""

        def wrong() -> None:
            with self.change() as change:
                settings.put(change, SSID, "never")

        self.assertRaises(ChangeRefused, wrong)
        self.assertEqual(len(self.records()), 5)

    def test_refusal(self) -> None:
        """An administrator without the scope is recorded with what was wanted and why it was refused, once a minute."""
        caller = Caller(name="carol", scopes=frozenset({"*:read"}), channel=Channel.API)
        with self.change() as change:
            partners.add(change, ACME)
        for _ in range(3):
            self.assertRaises(ScopeMissing, perform, self.store, enable, Named(name="ACME"), caller, NOW)
        (refusal,) = [each for each in self.records() if each.deed is Deed.REFUSAL]
        self.assertEqual((refusal.by, refusal.channel, refusal.what), ("carol", Channel.API, "partner enable ACME"))
        self.assertIn("needs the scope partner:change", str(refusal.facts["why"]))
        self.assertRaises(
            ScopeMissing, perform, self.store, enable, Named(name="ACME"), caller, NOW + 2 * audit.REFUSED_AGAIN
        )
        self.assertEqual(len([each for each in self.records() if each.deed is Deed.REFUSAL]), 2)
        back = NOW - timedelta(hours=1)
        for _ in range(2):
            self.assertRaises(ScopeMissing, perform, self.store, enable, Named(name="ACME"), caller, back)
        self.assertEqual(
            [each.time for each in self.records() if each.deed is Deed.REFUSAL],
            [NOW, NOW + 2 * audit.REFUSED_AGAIN, back],
            "after the clock went back",
        )

    def test_selected(self) -> None:
        """Records are found by author, deed and time; the newest so many, the oldest of them first."""
        with self.store.writing() as session:
            audit.record(session, Deed.EXPORT, "export x", by="bob", channel=Channel.COMMAND, now=NOW)
        with self.store.reading() as session:
            self.assertEqual([each.number for each in audit.listed(session, 2)], [5, 6])
            self.assertEqual([each.number for each in audit.listed(session, 9, by="bob")], [6])
            self.assertEqual([each.number for each in audit.listed(session, 2, deed=Deed.CHANGE)], [4, 5])
            self.assertEqual(audit.listed(session, 9, since=NOW + audit.REFUSED_AGAIN), [])

    def test_form(self) -> None:
        """A hash is the SHA-256 of the record's canonical JSON, which holds the hash before; the first one zeros."""
        with self.store.reading() as session:
            rows = session.scalars(select(AuditRow).order_by(AuditRow.number)).all()
        previous = FIRST
        for row in rows:
            found = json.loads(row.record)
            self.assertEqual(found["previous"], previous)
            self.assertEqual(row.record, json.dumps(found, sort_keys=True, separators=(",", ":")))
            previous = row.hash


class WhatIsNoticed(AuditCase):
    """Whatever is done to the records."""

    def test_whole(self) -> None:
        """A trail that nobody touched is whole, and has the anchors that it had."""
        hashes = [each.hash for each in self.records()]
        self.assertEqual(self.faults(*hashes), [])
        self.assertEqual(self.faults(hashes[2].upper()), [])

    def test_changed(self) -> None:
        """A changed record is named; one that got a new hash, too, is named by the one after it."""
        self.forge(3, rehash=False, by="mallory")
        self.assertEqual(
            self.faults(),
            [(3, "record 3 was changed"), (None, "generation 3 of the configuration has no record: it was removed")],
        )
        self.forge(3, rehash=True, by="mallory")
        self.assertIn((4, "record 4 does not follow record 3: one of them was made anew"), self.faults())

    def test_removed(self) -> None:
        """Records that are missing are named, at the beginning and in the middle."""
        self.execute(delete(AuditRow).where(AuditRow.number.in_([1, 3, 4])))
        found = self.faults()
        self.assertEqual(found[:2], [(1, "record 1 is missing"), (3, "records 3 to 4 are missing")])

    def test_reordered(self) -> None:
        """Two records that changed places are both named."""
        with self.store.writing() as session:
            first, second = session.get(AuditRow, 2), session.get(AuditRow, 3)
            assert first is not None and second is not None
            first.record, second.record = second.record, first.record
            first.hash, second.hash = second.hash, first.hash
        self.assertEqual(
            [each for each in self.faults() if each[0] in (2, 3)],
            [
                (2, "record 3 stands in the place of record 2: they were reordered"),
                (3, "record 2 stands in the place of record 3: they were reordered"),
            ],
        )

    def test_cut(self) -> None:
        """A tail that was cut off together with its generations is found by an anchor, and without one it is not."""
        newest = self.records()[-1].hash
        self.execute(delete(AuditRow).where(AuditRow.number > 3))
        self.assertIn((None, "generation 4 of the configuration has no record: it was removed"), self.faults())
        self.execute(delete(GenerationRow).where(GenerationRow.number > 3))
        self.assertEqual(self.faults(), [])
        found = self.faults(newest)
        self.assertEqual([number for number, _ in found], [None])
        self.assertIn(f"no record has the hash {newest}", found[0][1])

    def test_made_anew(self) -> None:
        """A whole new chain from a record on is found by an anchor that is after it."""
        anchor = self.records()[-1].hash
        before = FIRST
        for each in self.records():
            values = {"by": "mallory"} if each.number == 3 else {}
            self.forge(each.number, rehash=True, previous=before, **values)
            before = self.records()[each.number - 1].hash
        with self.store.writing() as session:
            session.execute(update(GenerationRow).where(GenerationRow.number == 3).values(made_by="mallory"))
        self.assertEqual(self.faults(), [])
        self.assertIn("no record has the hash", self.faults(anchor)[0][1])

    def test_history(self) -> None:
        """The history of a generation that is other than its record is named: its author, and what it changed."""
        self.execute(update(GenerationRow).where(GenerationRow.number == 2).values(made_by="mallory"))
        self.execute(delete(DifferenceRow).where(DifferenceRow.generation == 4))
        self.assertEqual(
            self.faults(),
            [
                (2, "record 2: the history of generation 2 is not as it was recorded"),
                (4, "record 4: the history of generation 4 is not as it was recorded"),
            ],
        )

    def test_unreadable(self) -> None:
        """A record that is no JSON any more is a fault for the examination, and a sentence for the list."""
        self.execute(update(AuditRow).where(AuditRow.number == 2).values(record="{"))
        self.assertIn((2, "record 2 was changed"), self.faults())
        self.assertIn("audit verify", str(self.assertRaises(Unusable, self.records)))


class SeveralWriters(AuditCase):
    """Writers at the same time."""

    def test_one_chain(self) -> None:
        """Writers in several connections make one chain, without a gap and without a fork."""

        def write(name: str) -> None:
            store = Store.open(self.location)
            try:
                for number in range(10):
                    with store.writing() as session:
                        audit.record(session, Deed.ACT, f"deed {number}", by=name, channel=Channel.COMMAND, now=NOW)
            finally:
                store.close()

        writers = [threading.Thread(target=write, args=(f"writer {number}",)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        self.assertEqual([each.number for each in self.records()], list(range(1, 46)))
        self.assertEqual(self.faults(), [])


class Anchors(AuditCase):
    """The hourly event."""

    def setUp(self) -> None:
        """A daemon's look at the trail."""
        super().setUp()
        self.clock = Clock()
        self.told: list[dict[str, Value]] = []
        events = Events(Logger(), self.told.append, self.clock, source="backend")
        self.anchoring = Anchoring(self.store, AtOnce(), events, self.clock)
        self.addCleanup(self.anchoring.stop)

    def names(self) -> list[Value]:
        """The names of what was told."""
        return [each["name"] for each in self.told]

    def test_hourly(self) -> None:
        """The newest record and its hash are told at once and every hour."""
        self.anchoring.start()
        with self.change() as change:
            settings.put(change, SSID, 40)
        self.clock.advance(HOUR)
        newest = self.records()[-1]
        self.assertEqual(self.names(), ["audit.anchored", "audit.anchored"])
        self.assertEqual((self.told[1]["record"], self.told[1]["hash"]), (6, newest.hash))

    def test_broken_before(self) -> None:
        """What was done to the trail before the daemon started is told at its start."""
        self.forge(3, rehash=False, by="mallory")
        self.anchoring.start()
        self.assertEqual(self.names(), ["audit.broken", "audit.broken", "audit.anchored"])
        self.assertEqual((self.told[0]["record"], self.told[0]["message"]), (3, "record 3 was changed"))

    def test_cut_while_running(self) -> None:
        """That the record which was told last is gone, or another one, is told within the hour, once."""
        self.anchoring.start()
        self.execute(delete(AuditRow).where(AuditRow.number == 5))
        self.clock.advance(HOUR)
        self.assertEqual(self.names(), ["audit.anchored", "audit.broken", "audit.anchored"])
        self.assertEqual((self.told[1]["record"], self.told[1]["level"]), (5, "critical"))
        self.clock.advance(HOUR)
        self.assertEqual(self.names()[3:], ["audit.anchored"])
