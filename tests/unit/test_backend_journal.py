"""The journal: events as they were told, found again."""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update

from smartproxy.backend import history, journal, refusals_explained, trials
from smartproxy.backend.alert_tables import AlertRow
from smartproxy.backend.errors import NotFound
from smartproxy.backend.journal import Filter, Forgotten, StoredEvent
from smartproxy.backend.schema import EventRow
from smartproxy.backend.watch_tables import WatchCursorRow
from smartproxy.logs.catalogue import CatalogueError
from smartproxy.logs.record import Record, read
from smartproxy.logs.severity import Severity
from smartproxy.policy import limits
from tests.databases import Database
from tests.unit.sites import NOW, SiteCase

HOUR = timedelta(hours=1)


def event(name: str, time: datetime, source: str = "server", **fields: object) -> Record:
    """A record that a daemon carried here."""
    return read({"name": name, "time": time.isoformat(), "source": source, "sequence": 1, **fields})


class Journal(SiteCase):
    """Storing, finding, deleting."""

    founded = False

    def setUp(self) -> None:
        """Four events of two daemons."""
        super().setUp()
        self.keep(event("session.started", NOW, partner="ACME", session="a" * 16))
        self.keep(event("session.ended", NOW + HOUR, partner="ACME", session="a" * 16, outcome="completed"))
        self.keep(event("certificate.refused", NOW + 2 * HOUR, cause="expired", subject="CN=x\x1b[2J"))
        self.keep(event("tunnel.down", NOW + 3 * HOUR, "client", cause="lost"))

    def keep(self, record: Record, client: str | None = None, received: datetime | None = None) -> None:
        """Store a record, as it happens unless it is said when it arrived."""
        with self.store.writing() as session:
            journal.keep(session, [record], received or record.time, client)

    def found(self, most: int | None = None, **wanted: object) -> list[str]:
        """The names of the events that a filter finds."""
        with self.store.reading() as session:
            return [each.name for each in journal.find(session, Filter(**wanted), most)]  # type: ignore[arg-type]  # by name

    def test_as_told(self) -> None:
        """What was told comes back whole, in one flat document with its number."""
        with self.store.reading() as session:
            stored = journal.find(session, Filter(name="session.ended"))[0].document()
        self.assertEqual(
            stored,
            {
                "number": 2,
                "time": "2026-11-20T13:00:00.000Z",
                "level": "info",
                "name": "session.ended",
                "source": "server",
                "sequence": 1,
                "partner": "ACME",
                "session": "a" * 16,
                "outcome": "completed",
            },
        )

    def test_harmless(self) -> None:
        """What a partner chose cannot move a terminal's cursor when it is shown."""
        with self.store.reading() as session:
            (refused,) = journal.find(session, Filter(name="certificate.refused"))
        self.assertNotIn("\x1b", str(refused))
        self.assertIn("cause=expired", str(refused))
        self.assertIn("WARNING", str(refused))

    def test_no_query_of_somebody(self) -> None:
        """What somebody looks for is a value, whatever it looks like."""
        for text in ("' OR '1'='1", "ACME' --", "%", "ACME%"):
            found = [self.found(partner=text), self.found(session=text), self.found(name=text), self.found(source=text)]
            self.assertEqual(found, [[]] * 4, text)

    def test_client(self) -> None:
        """Events that a client carried bear its name, whatever it said itself."""
        self.keep(event("tunnel.down", NOW, cause="lost", client="somebody"), client="inner")
        with self.store.reading() as session:
            self.assertEqual(journal.find(session, Filter())[-1].fields["client"], "inner")

    def test_keys(self) -> None:
        """A client's event that comes twice is stored once; the keys by which that is seen are in the order of time.

        So the index of them grows at its end: a key elsewhere in it costs a page of the disk for each event.
        """
        told = [event("tunnel.down", NOW + each * HOUR / 3600, cause="lost") for each in range(40)]
        for each in (*told, *reversed(told), event("tunnel.down", NOW, cause="stopped")):
            self.keep(each, client="inner", received=NOW)
        with self.store.reading() as session:
            keys = session.scalars(select(EventRow.key).where(EventRow.key.is_not(None)).order_by(EventRow.id)).all()
        self.assertEqual((len(keys), list(keys[:40])), (41, sorted(filter(None, keys[:40]))))

    def test_filters(self) -> None:
        """By name, by subject, by level, source, partner, session and time."""
        self.assertEqual(self.found(name="session.ended"), ["session.ended"])
        self.assertEqual(self.found(name="session."), ["session.started", "session.ended"])
        self.assertEqual(self.found(name="%."), [])
        self.assertEqual(self.found(level=Severity.WARNING), ["certificate.refused", "tunnel.down"])
        self.assertEqual(self.found(source="client"), ["tunnel.down"])
        self.assertEqual(self.found(partner="ACME"), ["session.started", "session.ended"])
        self.assertEqual(self.found(session="b" * 16), [])
        self.assertEqual(self.found(since=NOW + HOUR, until=NOW + 2 * HOUR), ["session.ended"])
        self.assertEqual(self.found(after=3), ["tunnel.down"])

    def test_filters_of_the_newest(self) -> None:
        """A bound finds the same by each filter, whichever index serves it; of a span of time it keeps the end."""
        for wanted in (
            {"name": "session."},
            {"name": "%."},
            {"level": Severity.WARNING},
            {"level": Severity.WARNING, "name": "tunnel."},
            {"level": Severity.INFO},
            {"source": "command"},
            {"partner": "ACME", "until": NOW + HOUR},
            {"before": 3},
            {"after": 1, "name": "session."},
        ):
            with self.subTest(wanted=wanted):
                self.assertEqual(self.found(9, **wanted), self.found(**wanted))
        self.assertEqual(self.found(1, level=Severity.WARNING), ["tunnel.down"])
        self.assertEqual(self.found(1, name="session."), ["session.ended"])
        self.assertEqual(self.found(before=3), ["session.started", "session.ended"])

    def test_newest_by_time(self) -> None:
        """The newest events are those that happened last, however late others arrive."""
        self.keep(event("tunnel.up", NOW, "client", partner="ACME"), received=NOW + 9 * HOUR)
        for wanted, last in (
            ({}, "tunnel.down"),
            ({"until": NOW + 2 * HOUR}, "session.ended"),
            ({"source": "client"}, "tunnel.down"),
            ({"partner": "ACME"}, "session.ended"),
        ):
            with self.subTest(wanted=wanted):
                self.assertEqual(self.found(1, **wanted), [last])
        self.assertEqual(self.found(4), ["tunnel.up", "session.ended", "certificate.refused", "tunnel.down"])
        self.assertEqual(self.found(after=3), ["tunnel.down", "tunnel.up"])

    def test_walk_back(self) -> None:
        """Whoever goes back from event to event meets each once, in the order of time, while others arrive.

        What arrives meanwhile is met where it belongs, if the walk is not past it.
        """
        times = [NOW + hour * HOUR for hour in (7, 5, 5, 5, 9, 6)]
        for each in times:
            self.keep(event("tunnel.up", each, "client"))
        met: list[StoredEvent] = []
        before = None
        for step in range(99):
            with self.store.reading() as session:
                part = journal.find(session, Filter(before=before), 2)
            met[:0] = part
            if not part:
                break
            before = part[0].number
            if step == 0:
                self.keep(event("tunnel.up", NOW + 8 * HOUR, "client"))
                self.keep(event("tunnel.up", NOW - HOUR, "client"))
        self.assertEqual([each.number for each in met], [12, 1, 2, 3, 4, 6, 7, 8, 10, 5, 9])

    def test_before_one_that_is_gone(self) -> None:
        """Of an event that was deleted nobody knows the time: those that arrived before it are found."""
        with self.store.writing() as session:
            session.execute(delete(EventRow).where(EventRow.id == 3))
        self.assertEqual(self.found(9, before=3), ["session.started", "session.ended"])

    def test_newest(self) -> None:
        """A bound keeps the newest events, and they come oldest first."""
        self.assertEqual(self.found(most=2), ["certificate.refused", "tunnel.down"])
        with self.store.reading() as session:
            self.assertEqual(journal.newest_number(session), 4)

    def test_forget(self) -> None:
        """Old events are deleted, newer ones stay, and numbers are not given twice."""
        with self.store.writing() as session:
            self.assertEqual(journal.forget(session, NOW + 2 * HOUR), Forgotten(events=2, more=False))
        self.assertEqual(self.found(), ["certificate.refused", "tunnel.down"])
        self.keep(event("tunnel.down", NOW, cause="lost"))
        with self.store.reading() as session:
            self.assertEqual(journal.newest_number(session), 5)

    def test_forget_by_arrival(self) -> None:
        """When an event happened is its carrier's word; how long it is kept is not."""
        with self.store.writing() as session:
            session.execute(delete(EventRow))
        self.keep(event("tunnel.up", NOW + 9_000_000 * HOUR), received=NOW)
        self.keep(event("tunnel.down", NOW - 9_000 * HOUR, cause="lost"), received=NOW + HOUR)
        with self.store.writing() as session:
            self.assertEqual(journal.forget(session, NOW + HOUR).events, 1)
        self.assertEqual(self.found(), ["tunnel.down"])

    def test_newest_stays(self) -> None:
        """However old the events are, the newest stays, and the number after it is the next one's."""
        with self.store.writing() as session:
            self.assertEqual(journal.forget(session, NOW + 9_000 * HOUR).events, 3)
            self.assertEqual(journal.forget(session, NOW + 9_000 * HOUR).events, 0)
        self.assertEqual(self.found(), ["tunnel.down"])
        self.keep(event("tunnel.up", NOW + 9_000 * HOUR, "client"))
        self.assertEqual(self.found(after=4), ["tunnel.up"])

    def test_forget_in_pieces(self) -> None:
        """One transaction deletes the oldest, up to a bound, and says that there may be more."""
        self.patch(limits, "DELETED_AT_ONCE_MOST", 2)
        self.keep(event("tunnel.up", NOW, "client"), received=NOW + 9 * HOUR)
        with self.store.writing() as session:
            self.assertEqual(journal.forget(session, NOW + 9 * HOUR), Forgotten(events=2, more=True))
        self.assertEqual(self.found(), ["certificate.refused", "tunnel.down", "tunnel.up"])
        with self.store.writing() as session:
            self.assertEqual(journal.forget(session, NOW + 9 * HOUR), Forgotten(events=2, more=True))
            self.assertEqual(journal.forget(session, NOW + 9 * HOUR).events, 0)

    def test_empty(self) -> None:
        """An empty journal has no newest event."""
        with self.store.writing() as session:
            session.execute(delete(EventRow))
            self.assertEqual(journal.forget(session, NOW + 9 * HOUR).events, 0)
        with self.store.reading() as session:
            self.assertEqual(journal.newest_number(session), 0)

    def test_only_catalogued(self) -> None:
        """The command cannot record what the catalogue does not know."""
        self.assertRaises(CatalogueError, journal.record_of, "no.such", NOW, 1)


class LargeNumbers(SiteCase):
    """Numbers go on above those of 31 bits, in every database."""

    def test_asked_for(self) -> None:
        """A number that nothing has is asked for like any other."""
        with self.store.reading() as session:
            self.assertEqual(journal.find(session, Filter(after=2**31)), [])
            self.assertEqual(len(journal.find(session, Filter(before=2**63 - 1))), journal.newest_number(session))
            self.assertEqual(trials.after(session, 2**31, NOW), [])
            self.assertEqual([each.number for each in history.listed(session, 9, before=2**31)], [1])
            for find, what in ((refusals_explained.find, "4711123456"), (history.find, 2**31)):
                with self.subTest(what=what):
                    self.assertIn("there is no", str(self.assertRaises(NotFound, find, session, what)))

    def test_given(self) -> None:
        """Events, their alerts and the cursor behind them go on after the last number of 31 bits."""
        last = 2**31 - 1
        with self.store.writing() as session:
            if self.database is Database.POSTGRESQL:
                session.execute(select(func.setval(func.pg_get_serial_sequence("events", "id"), last)))
            else:
                session.execute(update(EventRow).where(EventRow.id == 1).values(id=last))
            for number in (1, 2):
                journal.keep(session, [event("tunnel.down", NOW + number * HOUR, "client", cause="lost")], NOW)
            session.add(WatchCursorRow(number=1, event=last + 2))
            session.add(AlertRow(event=last + 2, channel="mail", state="waiting", received=NOW, due=NOW))
        with self.store.reading() as session:
            self.assertEqual([each.number for each in journal.find(session, Filter(after=last))], [last + 1, last + 2])
