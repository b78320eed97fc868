"""What the daemon looks after by itself, and the service that holds everything together."""

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import delete, text
from twisted.internet.address import IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, globalLogPublisher

from smartproxy.backend import audit, cas, endings, figures, journal, licences, revocation, settings
from smartproxy.backend.audit import Deed
from smartproxy.backend.errors import StoreBusy, StoreReadOnly, StoreUnavailable
from smartproxy.backend.location import Location
from smartproxy.backend.operations import events as operations
from smartproxy.backend.operations import performing
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.schema import EventRow
from smartproxy.backend.service import BackendService
from smartproxy.backend.store import StoreThreads
from smartproxy.backend.upkeep import BUSY_SECONDS, HOUR, HourlyLook
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.logs.levels import Levels
from smartproxy.logs.log import Log
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.partners import RevocationMode
from smartproxy.testing.pki import TestCa
from tests.adapters.api_site import AtOnce
from tests.unit.sites import NOW, PROXY_ID, SiteCase

DAY = timedelta(days=1)


class StaleLists(SiteCase):
    """Revocation lists that are out of date are told each hour."""

    def setUp(self) -> None:
        """A site with a CA whose list is out of date from tomorrow on."""
        super().setUp()
        self.ca = TestCa.root("Odette")
        with self.change() as change:
            cas.add(change, "odette", [self.ca.credential.certificate])
            change.session.flush()
            revocation.load(change, revocation.parse(self.ca.crl(this_update=NOW - DAY, next_update=NOW + DAY), "x"))
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.told: list[dict[str, Value]] = []
        events = Events(Logger(), self.tell, self.clock, source="backend")
        self.upkeep = HourlyLook(self.store, AtOnce(), events, self.clock)
        self.upkeep.start()
        self.addCleanup(self.upkeep.stop)

    def tell(self, event: dict[str, Value]) -> None:
        """Keep an event; the warnings before a list's end have tests of their own."""
        if event["name"] != "validity.ending":
            self.told.append(event)

    def test_told_each_hour(self) -> None:
        """From the moment on when its successor was promised, each hour, with issuer, age and what to do."""
        self.assertEqual(self.told, [])
        self.clock.advance(DAY.total_seconds())
        self.clock.advance(HOUR)
        self.assertEqual([each["name"] for each in self.told], ["crl.stale", "crl.stale"])
        first = self.told[0]
        self.assertEqual((first["ca"], first["age"]), ("odette", 2 * DAY.total_seconds()))
        self.assertIn("crl load", str(first["advice"]))

    def test_list_without_next_update(self) -> None:
        """A list that promises no next one is told from the end of the seven days on for which it counts."""
        with self.change() as change:
            (row,) = revocation.listed(change.session)
            row.next_update = None
        self.clock.advance(6 * DAY.total_seconds() - HOUR)
        self.assertEqual(self.told, [])
        self.clock.advance(HOUR)
        (told,) = self.told
        self.assertEqual((told["name"], told["age"]), ("crl.stale", 7 * DAY.total_seconds()))
        self.assertNotIn("next_update", told)

    def test_fault_in_one_piece(self) -> None:
        """A bug in one piece of the work is reported each hour, and keeps no other piece from being done."""

        def fail(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(endings, "take", fail)
        self.patch(figures, "forget_minutes", fail)
        self.clock.advance(DAY.total_seconds())
        self.assertEqual([each["name"] for each in self.told], ["internal.error", "internal.error", "crl.stale"])
        self.clock.advance(HOUR)
        self.assertEqual(len(self.told), 6)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_newer_list(self) -> None:
        """A newer list ends it."""
        with self.change() as change:
            revocation.load(change, revocation.parse(self.ca.crl(this_update=NOW, next_update=NOW + 9 * DAY), "x"))
        self.clock.advance(2 * DAY.total_seconds())
        self.assertEqual(self.told, [])

    def test_not_asked_for(self) -> None:
        """Where a CA's lists are not looked at, nobody is told that one is old."""
        with self.change() as change:
            cas.alter(change, "odette", revocation=RevocationMode.OFF)
        self.clock.advance(2 * DAY.total_seconds())
        self.assertEqual(self.told, [])

    def test_failing_store(self) -> None:
        """A store that cannot be asked is told, and asked again an hour later."""
        self.clock.advance(DAY.total_seconds() - HOUR)
        with patch.object(revocation, "listed", side_effect=OSError("disk")):
            self.clock.advance(HOUR)
        self.assertEqual([each["name"] for each in self.told], ["internal.error"])
        self.flushLoggedErrors(OSError)
        self.clock.advance(HOUR)
        self.assertEqual(self.told[-1]["name"], "crl.stale")

    def test_busy_store(self) -> None:
        """A store that is busy is a warning, and asked again a minute later."""
        self.clock.advance(DAY.total_seconds() - HOUR)
        with patch.object(cas, "listed", side_effect=StoreBusy):
            self.clock.advance(HOUR)
        self.assertEqual([(each["name"], each["level"]) for each in self.told], [("store.busy", "warning")])
        self.clock.advance(BUSY_SECONDS)
        self.assertEqual(self.told[-1]["name"], "crl.stale")

    def test_store_of_a_standby(self) -> None:
        """A server that takes no changes is told each hour, in its words, and is no bug."""
        with patch.object(cas, "listed", side_effect=StoreReadOnly("the database is a standby")):
            self.clock.advance(HOUR)
        self.assertEqual(
            [(each["name"], each["message"]) for each in self.told], [("store.busy", "the database is a standby")]
        )

    def test_outdated_store(self) -> None:
        """A store that another version brought up to date is told as what it is."""
        with self.store.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        self.clock.advance(HOUR)
        self.assertEqual([(each["name"], each["level"]) for each in self.told], [("store.outdated", "error")])

    def test_stop(self) -> None:
        """After the stop nothing runs any more; a second stop is none."""
        self.upkeep.stop()
        self.upkeep.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OldEvents(SiteCase):
    """Events are kept as long as the setting says, counted from their arrival."""

    def look(self, days: int) -> int:
        """Let the daemon look after so many days, some days after an event arrived; how many of it there are."""
        record = journal.record_of("backend.started", NOW + 9_000 * DAY, 1, version="1")
        newest = journal.record_of("backend.stopped", NOW, 2)
        with self.store.writing() as session:
            session.execute(delete(EventRow))
            journal.keep(session, [record, newest], NOW)
        clock = Clock()
        clock.advance((NOW + days * DAY).timestamp() - HOUR)
        upkeep = HourlyLook(self.store, AtOnce(), Events(Logger(), None, clock, source="backend"), clock)
        upkeep.start()
        self.assertEqual(len(self.stored("backend.started")), 1)
        clock.advance(HOUR + 1)
        upkeep.stop()
        return len(self.stored("backend.started"))

    def put(self, days: int) -> None:
        """Set how many days."""
        with self.change() as change:
            settings.put(change, settings.KEEP_EVENTS_DAYS, days)

    def test_by_default(self) -> None:
        """Four hundred days."""
        self.assertEqual((self.look(399), self.look(400)), (1, 0))

    def test_set(self) -> None:
        """As many as are set; none is deleted where that is 0."""
        self.put(90)
        self.assertEqual((self.look(89), self.look(90)), (1, 0))
        self.put(0)
        self.assertEqual(self.look(9_999), 1)


class OldEventsInPieces(SiteCase):
    """Many old events are deleted in several transactions."""

    def setUp(self) -> None:
        """Six events that are old, of which two are deleted at once, and the newest."""
        super().setUp()
        self.patch(limits, "DELETED_AT_ONCE_MOST", 2)
        with self.store.writing() as session:
            session.execute(delete(EventRow))
            journal.keep(session, [self.event(number) for number in range(7)], NOW)
        self.clock = Clock()
        self.clock.advance((NOW + 9_000 * DAY).timestamp())
        self.upkeep = HourlyLook(self.store, AtOnce(), Events(Logger(), None, self.clock, source="backend"), self.clock)

    def event(self, number: int) -> Record:
        """One of them."""
        return journal.record_of("backend.started", NOW, number, version="1")

    def left(self) -> int:
        """How many there are."""
        return len(self.stored("backend.started"))

    def test_others_write(self) -> None:
        """Between two pieces of one look others write; the look ends when nothing old is left but the newest."""
        self.upkeep.start()
        self.addCleanup(self.upkeep.stop)
        for left in (5, 3, 1):
            self.assertEqual(self.left(), left)
            with self.store.writing() as session:
                session.execute(text("UPDATE events SET telling = telling"))
            self.clock.advance(limits.DELETING_PAUSE_SECONDS)
        (following,) = self.clock.getDelayedCalls()
        self.assertEqual(following.getTime() - self.clock.seconds(), HOUR)

    def test_stop(self) -> None:
        """A stop waits for one piece at most."""
        self.upkeep.start()
        stopped = self.upkeep.stop()
        self.clock.advance(limits.DELETING_PAUSE_SECONDS)
        self.successResultOf(stopped)
        self.assertEqual((self.left(), self.clock.getDelayedCalls()), (5, []))

    def test_by_the_operator(self) -> None:
        """The command deletes all of them in one call, and is in the audit trail once; others write in between."""
        pauses: list[int] = []

        def pause(seconds: float) -> None:
            pauses.append(self.left())
            with self.store.writing() as session:
                session.execute(text("UPDATE events SET telling = telling"))

        self.patch(performing, "sleep", pause)
        caller = Caller(name="alice", scopes=frozenset("*"))
        wanted = operations.EventsOlder(before=NOW + DAY)
        done = performing.perform(self.store, operations.prune, wanted, caller, NOW + 2 * DAY)
        self.assertEqual((done.answer.deleted, done.answer.more, pauses), (6, False, [5, 3, 1]))
        with self.store.reading() as session:
            deeds = [each.deed for each in audit.listed(session, 9)]
        self.assertEqual(deeds.count(Deed.ACT), 1)


class EndingLicences(SiteCase):
    """A licence's end is told in time."""

    def setUp(self) -> None:
        """A site whose only licence ends in forty days."""
        super().setUp()
        self.issue(40)
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.told: list[dict[str, Value]] = []
        events = Events(Logger(), self.told.append, self.clock, source="backend")
        upkeep = HourlyLook(self.store, AtOnce(), events, self.clock)
        upkeep.start()
        self.addCleanup(upkeep.stop)

    def issue(self, days: int) -> None:
        """Issue a licence."""
        with self.change() as change:
            licences.issue(change, PROXY_ID, valid_from=NOW, valid_until=NOW + days * DAY, limits={})

    def days(self, count: int) -> None:
        """Let days go by, six hours at a time: the look that is due comes once in each."""
        self.clock.pump([6 * HOUR] * 4 * count)

    def test_marks(self) -> None:
        """It is told once thirty, fourteen, seven days and one day before the end, with what to do; not after it."""
        self.days(9)
        self.assertEqual(self.told, [])
        self.days(35)
        self.assertEqual([(each["name"], each["count"]) for each in self.told], [
            ("licence.ending", 30), ("licence.ending", 14), ("licence.ending", 7), ("licence.ending", 1),
        ])  # fmt: skip
        self.assertIn(f"licence extend {PROXY_ID}", str(self.told[0]["advice"]))

    def test_renewed(self) -> None:
        """A renewed licence ends it, and begins it anew when its own end is near."""
        self.days(20)
        self.assertEqual(len(self.told), 1)
        self.issue(60)
        self.days(9)
        self.assertEqual(len(self.told), 1)
        self.days(2)
        self.assertEqual([each["count"] for each in self.told], [30, 30])


class Service(SiteCase):
    """Starting and stopping."""

    def service(
        self, location: Location | None = None, host: str = "127.0.0.1"
    ) -> tuple[BackendService, MemoryReactorClock]:
        """A service on a reactor in memory, whose threads are none."""
        reactor = MemoryReactorClock()
        return BackendService(reactor, location or self.location, host, 8443), reactor

    def test_made_without_touching_anything(self) -> None:
        """Making it opens nothing and listens nowhere."""
        nowhere = Location.of(self.mktemp(), environment={})
        service, reactor = self.service(nowhere)
        self.assertFalse(nowhere.directory.exists())
        self.assertEqual(reactor.tcpServers, [])
        self.assertFalse(service.running)

    def test_life(self) -> None:
        """Started, it listens with TLS and tells so; stopped, its last events are in the store."""
        service, reactor = self.service()
        with (
            patch.object(StoreThreads, "run", AtOnce.run),
            patch.object(StoreThreads, "start"),
            patch.object(StoreThreads, "stop") as stopped,
        ):
            service.startService()
            ((port, _, _, interface),) = reactor.tcpServers
            self.assertEqual((port, interface), (8443, "127.0.0.1"))
            (started,) = self.stored("backend.started")
            self.assertEqual((started.fields["site"], started.source), ("Muster GmbH", "backend"))
            reactor.advance(5)
            self.successResultOf(service.stopService())
        self.assertEqual(stopped.call_count, 4)
        (ended,) = self.stored("backend.stopped")
        self.assertEqual(ended.fields["duration"], 5)
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_all_addresses(self) -> None:
        """A port alone is IPv6's and IPv4's; a caller over IPv4 counts for its IPv4 address, and is shown with it."""
        service, reactor = self.service(host="")
        with (
            patch.object(StoreThreads, "run", AtOnce.run),
            patch.object(StoreThreads, "start"),
            patch.object(StoreThreads, "stop"),
        ):
            service.startService()
            ((_, port, _, interface),) = reactor.tcpServers
            self.assertEqual((interface, service.listens_at), ("::", HostPort("::", 8443)))
            connection: Any = port.buildProtocol(IPv6Address("TCP", "::ffff:192.0.2.7", 40000))
            guest = connection.wrappedProtocol
            self.assertEqual((guest.prefix, guest.peer), ("192.0.2.7/32", "192.0.2.7:40000"))
            self.successResultOf(service.stopService())

    def test_log_settings(self) -> None:
        """The log's settings are in force before the daemon tells that it has started, and are not looked at after."""
        path = Path(self.mktemp()).absolute() / "api.log"
        with self.change() as change:
            settings.put(change, "backend.log.path", str(path))
        reactor = MemoryReactorClock()
        log = Log("smartproxy-backend", path.parent, Levels())
        log.open((), output=StringIO(), errors=StringIO())
        self.addCleanup(log.also, None)
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        service = BackendService(reactor, self.location, "127.0.0.1", 8443, log)
        with (
            patch.object(StoreThreads, "run", AtOnce.run),
            patch.object(StoreThreads, "start"),
            patch.object(StoreThreads, "stop"),
        ):
            service.startService()
            self.successResultOf(service.stopService())
        self.assertIn(" backend.started ", path.read_text())
        self.assertIn(" backend.stopped ", path.read_text())
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_cannot_start(self) -> None:
        """With a store that cannot be used it does not start; stopping it then is harmless."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "smartproxy.db").mkdir()
        service, _ = self.service(Location.of(str(folder), environment={}))
        self.assertRaises(StoreUnavailable, service.startService)
        self.successResultOf(service.stopService())

    def test_port_taken(self) -> None:
        """A port that is taken is told, and ends the start."""
        service, reactor = self.service()
        told: list[dict[str, Value]] = []
        service.events.forward = told.append
        taken = CannotListenError("127.0.0.1", 8443, OSError(98, "Address already in use"))
        with patch.object(reactor, "listenTCP", side_effect=taken):
            self.assertRaises(CannotListenError, service.startService)
        self.assertEqual([each["name"] for each in told], ["listener.failed"])
        self.assertIn("--listen", str(told[0]["advice"]))
