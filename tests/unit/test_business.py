"""Partners that are silent or late: what is told of them, once, and again when it is over."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.logger import Logger

from smartproxy.backend import business, journal, partners, settings
from smartproxy.backend.alerts import results
from smartproxy.backend.alerts.intake import AlertChannel
from smartproxy.backend.business import BusinessWatch
from smartproxy.backend.errors import StoreBusy
from smartproxy.backend.rounds import AGAIN_SECONDS, STORE_LOOK_SECONDS
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.logs.record import read
from smartproxy.policy import limits
from smartproxy.policy.partners import CertificatePin, Partner
from smartproxy.policy.watching import Downtime, PartnerWatching
from tests.adapters.api_site import AtOnce
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, PIN, SiteCase

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FILE = {"link": "out", "dataset": "ORDERS", "stamp": "202611200200000001", "originator": "O0013MUSTER"}


class BusinessCase(SiteCase):
    """A site with the partner ACME, and a backend that watches it."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.logged: list[dict[str, Value]] = []
        self.events = Events(Logger(), self.logged.append, self.clock, source="backend")
        entry = Partner(name="ACME", codes=("O0013ACME",), certificates=(CertificatePin(sha256=PIN),))
        with self.change() as change:
            partners.add(change, entry, [])
        self.begun = self.begin()

    def begin(self) -> BusinessWatch:
        """A backend that takes the duty."""
        watch = BusinessWatch(self.store, AtOnce(), self.events, self.clock)
        watch.start()
        self.addCleanup(watch.stop)
        return watch

    def watch(self, name: str = "ACME", **values: Any) -> None:
        """Set what is watched."""
        with self.change() as change:
            partners.alter(change, name, watching=PartnerWatching(**values))
        self.look()

    def look(self, after: timedelta = timedelta()) -> None:
        """Let the time pass, and one more look."""
        self.clock.advance(after.total_seconds())
        self.clock.advance(AGAIN_SECONDS)

    def tell(
        self,
        name: str,
        fields: Mapping[str, object] = MappingProxyType({}),
        *,
        after: timedelta = timedelta(),
        source: str = "client",
    ) -> None:
        """Store an event of the partner.

        :param after: how much later than now it says to have been.
        """
        self.clock.advance(1)
        present = NOW + timedelta(seconds=self.clock.seconds() - NOW.timestamp())
        told: dict[str, Any] = {"source": source, "sequence": 1, "session": "a" * 16, "partner": "ACME", **fields}
        record = read({**told, "name": name, "time": (present + after).isoformat()})
        with self.store.writing() as session:
            journal.keep(session, [record], present, "inner")

    def sent(self, number: int = 1, *, after: timedelta = timedelta(), **fields: object) -> None:
        """A file was sent."""
        self.tell("file.ended", {**FILE, "outcome": "completed", **self.stamp(number), **fields}, after=after)

    def answered(self, number: int = 1) -> None:
        """The end response to a file came."""
        about = {"link": "in", "originator": "O0013ACME", "destination": "O0013MUSTER", "command": "EERP"}
        self.tell("file.response", {**FILE, **about, **self.stamp(number)})

    def stamp(self, number: int) -> dict[str, str]:
        """What tells a file from others."""
        return {"stamp": f"20261120020000{number:04}"}

    def told(self) -> list[tuple[str, Value | None]]:
        """What was told since this was asked last: the event, and what it is about."""
        found = [each for each in self.stored() if each.name.startswith("watch.")]
        new, self.seen = found[getattr(self, "seen", 0) :], len(found)
        self.assertLessEqual({each.source for each in new}, {"backend"})
        return [(each.name, each.fields.get("event", each.fields.get("stamp"))) for each in new]


class Silence(BusinessCase):
    """A partner that does not come."""

    def test_told_once_and_when_it_is_over(self) -> None:
        """After the hours of its entry, once; and again when it had a session, and once more the next time."""
        self.watch(silent_hours=24)
        self.tell("session.started")
        self.look(24 * HOUR - timedelta(seconds=AGAIN_SECONDS + 30))
        self.assertEqual(self.told(), [])
        self.look(HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])
        (event,) = self.stored("watch.silent")
        self.assertEqual((event.fields["partner"], event.level.label), ("ACME", "error"))
        self.assertGreaterEqual(float(str(event.fields["seconds"])), 86_400)
        self.look(48 * HOUR)
        self.assertEqual(self.told(), [])
        self.tell("session.started")
        self.look()
        self.assertEqual(self.told(), [("watch.recovered", "watch.silent")])
        self.look(25 * HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])

    def test_clock_that_was_ahead(self) -> None:
        """What was noted while the clock was ahead counts from when it went back; silence is told in time."""
        self.watch(silent_hours=24)
        self.tell("session.started")
        self.look()
        self.clock.time_of_day = lambda: self.clock.seconds() - (48 * HOUR).total_seconds()  # type: ignore[attr-defined]  # as a reactor's clock tells both
        self.look()
        self.look(23 * HOUR)
        self.assertEqual(self.told(), [])
        self.look(HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])
        (event,) = self.stored("watch.silent")
        self.assertLess(float(str(event.fields["seconds"])), 90_000)

    def test_off(self) -> None:
        """Nobody is watched by default, and nothing is kept of anybody."""
        self.tell("session.started")
        self.look(1000 * DAY)
        self.assertEqual(self.told(), [])
        with self.store.reading() as session:
            self.assertEqual(list(business.watched(session, NOW)), [])

    def test_site(self) -> None:
        """What the site says counts for partners that say nothing, and 0 of a partner for never."""
        with self.change() as change:
            settings.put(change, "backend.watching.silent_hours", 10)
        self.look()
        self.watch(silent_hours=0)
        self.look(11 * HOUR)
        self.assertEqual(self.told(), [])
        self.watch()
        self.look(11 * HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])

    def test_never_came(self) -> None:
        """A partner that never had a session counts from when it is watched."""
        self.watch(silent_hours=2)
        self.look(HOUR)
        self.assertEqual(self.told(), [])
        self.look(HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])

    def test_what_is_stored(self) -> None:
        """Sessions from before it was watched count, too."""
        self.tell("session.started")
        self.clock.advance(3600)
        self.watch(silent_hours=2)
        with self.store.reading() as session:
            (found,) = business.watched(session, NOW)
        self.assertIsNotNone(found.last_session)

    def test_restart(self) -> None:
        """Neither a restart nor another backend tells it again; the other one tells its end."""
        self.watch(silent_hours=2)
        self.look(3 * HOUR)
        self.begun.stop()
        self.begin()
        self.look(HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])
        self.tell("session.started")
        self.look()
        self.assertEqual(self.told(), [("watch.recovered", "watch.silent")])

    def test_all_events_deleted(self) -> None:
        """When all old events were deleted, what comes then is taken in."""
        self.watch(silent_hours=24)
        for _ in range(3):
            self.tell("session.started")
        self.look(20 * HOUR)
        with self.store.writing() as session:
            journal.forget(session, NOW + 365 * DAY)
        self.tell("session.started")
        self.look(20 * HOUR)
        self.assertEqual(self.told(), [])

    def test_word_of_the_server(self) -> None:
        """The server's word does not count: its host is in the DMZ. Nor does a time that is yet to come."""
        self.watch(silent_hours=2)
        self.tell("session.started", source="server")
        self.tell("session.started", after=1000 * DAY)
        self.look(3 * HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])

    def test_disabled(self) -> None:
        """A partner that may not come is not silent; when it may again, the clock begins anew."""
        self.watch(silent_hours=2)
        with self.change() as change:
            partners.alter(change, "ACME", enabled=False)
        self.look(3 * HOUR)
        with self.change() as change:
            partners.alter(change, "ACME", enabled=True)
        self.look(HOUR)
        self.assertEqual(self.told(), [])
        self.look(2 * HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])

    def test_starts_mail(self) -> None:
        """Mail and event script hear of it, and of its end, unless somebody says otherwise."""
        with self.change() as change:
            for name, value in (("host", "mail.example"), ("from", "a@b.example"), ("to", ["c@d.example"])):
                settings.put(change, f"backend.mail.{name}", value)
        self.watch(silent_hours=2)
        self.look(3 * HOUR)
        self.tell("session.started")
        self.look()
        with self.store.reading() as session:
            found = [each.event for each in results.listed(session, AlertChannel.MAIL, 10)]
        self.assertEqual(len(found), 2)

    def test_log(self) -> None:
        """The log is told what is stored, and the store not twice."""
        self.watch(silent_hours=2)
        with patch.object(Events, "emit") as emit:
            self.look(3 * HOUR)
        self.assertEqual([call.args[0] for call in emit.call_args_list], ["watch.silent"])
        self.assertEqual(self.told(), [("watch.silent", None)])
        self.assertEqual(self.logged, [])

    def test_store_that_fails(self) -> None:
        """A store that is busy is asked again; one that is broken is a bug that is told."""
        self.watch(silent_hours=2)
        for error, logged in ((StoreBusy, 0), (OSError, 1)):
            with patch.object(business.Business, "look", side_effect=error):
                self.look()
            self.assertEqual(len(self.logged), logged)
        self.flushLoggedErrors(OSError)
        self.look(3 * HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])


class Downtimes(BusinessCase):
    """What is planned is not told."""

    def down(self, begins: timedelta, until: timedelta) -> Downtime:
        """A downtime, from and until so long after the beginning."""
        return Downtime(begins=NOW + begins, until=NOW + until, why="new system")

    def test_silence(self) -> None:
        """Nothing is told in it, and the hours begin again at its end."""
        self.watch(silent_hours=10, downtimes=(self.down(5 * HOUR, 30 * HOUR),))
        self.look(29 * HOUR)
        self.assertEqual(self.told(), [])
        self.look(10 * HOUR)
        self.assertEqual(self.told(), [])
        self.look(2 * HOUR)
        self.assertEqual(self.told(), [("watch.silent", None)])

    def test_files(self) -> None:
        """So it is with end responses and with sessions without a file."""
        self.watch(eerp_hours=10, no_files_days=1, downtimes=(self.down(5 * HOUR, 60 * HOUR),))
        self.sent()
        self.tell("session.started")
        self.look(59 * HOUR)
        self.tell("session.started")
        self.look(9 * HOUR)
        self.assertEqual(self.told(), [])
        self.look(3 * HOUR)
        self.assertEqual(self.told(), [("watch.eerp_overdue", "202611200200000001")])
        self.look(20 * HOUR)
        self.assertEqual(self.told(), [("watch.no_files", None)])

    def test_end_is_told(self) -> None:
        """What was told before is over when it is over, downtime or not."""
        self.watch(silent_hours=2)
        self.look(3 * HOUR)
        self.watch(silent_hours=2, downtimes=(self.down(HOUR, 90 * HOUR),))
        self.tell("session.started")
        self.look()
        self.assertEqual(self.told(), [("watch.silent", None), ("watch.recovered", "watch.silent")])


class NoFiles(BusinessCase):
    """Sessions that carry nothing."""

    def test_told(self) -> None:
        """Told when sessions came and no file did for so many days; over with the next file."""
        self.watch(no_files_days=3)
        self.sent()
        self.look(2 * DAY)
        self.tell("session.started")
        self.look()
        self.assertEqual(self.told(), [])
        self.look(DAY)
        self.assertEqual(self.told(), [("watch.no_files", None)])
        self.tell("session.started")
        self.look(DAY)
        self.assertEqual(self.told(), [])
        self.sent(2)
        self.look()
        self.assertEqual(self.told(), [("watch.recovered", "watch.no_files")])

    def test_no_session(self) -> None:
        """Without a session it is silence, which is another matter; a refused file is none."""
        self.watch(no_files_days=3)
        self.look(5 * DAY)
        self.assertEqual(self.told(), [])
        self.tell("session.started")
        self.sent(outcome="refused")
        self.look()
        self.assertEqual(self.told(), [("watch.no_files", None)])


class Overdue(BusinessCase):
    """End responses that do not come."""

    def test_told(self) -> None:
        """Each file is told once, with its name, and its response when it comes; an answered file never."""
        self.watch(eerp_hours=12)
        self.sent(1)
        self.sent(2)
        self.answered(2)
        self.look(11 * HOUR)
        self.assertEqual(self.told(), [])
        self.look(HOUR)
        self.assertEqual(self.told(), [("watch.eerp_overdue", "202611200200000001")])
        (event,) = self.stored("watch.eerp_overdue")
        self.assertEqual((event.fields["dataset"], event.fields["link"]), ("ORDERS", "out"))
        self.assertIn("ask the partner", str(event.fields["advice"]))
        self.look(24 * HOUR)
        self.assertEqual(self.told(), [])
        self.answered(1)
        self.look()
        self.assertEqual(self.told(), [("watch.recovered", "watch.eerp_overdue")])

    def test_most_hours(self) -> None:
        """A response is awaited for longer than any hours that can be set, the most of them included."""
        hours = limits.WATCH_HOURS.most
        self.watch(eerp_hours=hours)
        self.sent(1)
        self.look(61 * DAY)
        self.look(hours * HOUR - 61 * DAY + timedelta(minutes=1))
        self.assertEqual(self.told(), [("watch.eerp_overdue", self.stamp(1)["stamp"])])
        self.watch(eerp_hours=1_440)
        self.sent(2)
        self.look()
        self.look(60 * DAY + timedelta(minutes=1))
        self.assertEqual(self.told(), [("watch.eerp_overdue", self.stamp(2)["stamp"])])

    def test_stations_answer(self) -> None:
        """A file of the partner that our station does not answer is told, too."""
        self.watch(eerp_hours=12)
        self.sent(link="in")
        self.look(13 * HOUR)
        advice = str(self.stored("watch.eerp_overdue")[0].fields["advice"])
        self.assertIn("ask the station", advice)
        self.assertTrue(advice.endswith(f" --since {NOW:%Y-%m-%d}"), advice)

    def test_answer_came_first(self) -> None:
        """A response that another client carried before the file's end is found."""
        self.watch(eerp_hours=12)
        self.answered(1)
        self.sent(1, after=-HOUR)
        self.sent(2)
        self.look(13 * HOUR)
        self.assertEqual(self.told(), [("watch.eerp_overdue", "202611200200000002")])

    def test_flood(self) -> None:
        """Of many files twenty are told one by one, and the others are counted, once."""
        self.watch(eerp_hours=12)
        for number in range(1, 31):
            self.sent(number)
        self.look(13 * HOUR)
        self.assertEqual(len(self.told()), 21)
        self.assertEqual(self.stored("watch.eerp_overdue")[-1].fields["count"], 10)
        self.answered(1)
        self.answered(30)
        self.look()
        self.assertEqual(self.told(), [("watch.recovered", "watch.eerp_overdue")])
        with self.store.reading() as session:
            (found,) = business.watched(session, NOW)
        self.assertEqual((found.awaited, found.overdue, found.unusual), (28, 28, ("watch.eerp_overdue",)))

    def test_many_events(self) -> None:
        """What does not fit into one look is taken in by the next ones, a second later, before anything is judged."""
        self.patch(business, "BATCH", 5)
        for number in range(1, 13):
            self.sent(number)
        for number in range(1, 12):
            self.answered(number)
        self.clock.advance(13 * 3600)
        with self.change() as change:
            partners.alter(change, "ACME", watching=PartnerWatching(eerp_hours=12))
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.told(), [])
        self.clock.pump([STORE_LOOK_SECONDS] * 5)
        self.assertEqual(self.told(), [("watch.eerp_overdue", "202611200200000012")])

    def test_bound(self) -> None:
        """No more files are kept than are said to be; of further ones nothing is told."""
        self.patch(business, "AWAITED_MOST", 2)
        self.watch(eerp_hours=12)
        for number in range(1, 5):
            self.sent(number)
        self.look(13 * HOUR)
        self.assertEqual(len(self.told()), 2)

    def test_switched_off(self) -> None:
        """What is not watched any more is forgotten."""
        self.watch(eerp_hours=12, silent_hours=100)
        self.sent()
        self.look()
        self.watch(silent_hours=100)
        self.watch(eerp_hours=1, silent_hours=100)
        self.look(3 * HOUR)
        self.assertEqual(self.told(), [])


class Commands(CommandCase):
    """``partner watch``, ``watched`` and ``downtime``."""

    def setUp(self) -> None:
        """A partner."""
        super().setUp()
        self.do("partner", "add", "ACME", "--code", "O0013000001ACME", "--pin", PIN)

    def test_watch(self) -> None:
        """What is given changes, what is not stays, and --as-site goes back to what the site says."""
        self.do("settings", "set", "backend.watching.no_files_days", "7")
        self.do("partner", "watch", "ACME", "--silent-hours", "48", "--eerp-hours", "12")
        found = self.do("partner", "watch", "ACME", "--eerp-hours", "6", "--as-site", "silent_hours", "--json").json
        self.assertEqual(
            found["watching"], {"silent_hours": None, "no_files_days": None, "eerp_hours": 6, "downtimes": []}
        )
        (watched,) = self.do("partner", "watched", "--json").json
        self.assertEqual(watched["watching"], {"silent_hours": 0, "no_files_days": 7, "eerp_hours": 6})
        self.assertIn("ACME", self.do("partner", "watched").out)
        self.assertIn("eerp hours 6", self.do("partner", "show", "ACME").out)
        self.assertIn("nothing to change", self.refused("partner", "watch", "ACME", status=2))
        self.assertIn("8760 hours", self.refused("partner", "watch", "ACME", "--eerp-hours", "9999"))

    def test_nobody(self) -> None:
        """Where nobody is watched, it is said how to begin."""
        self.assertIn("partner watch --help", self.do("partner", "watched").out)

    def test_downtimes(self) -> None:
        """They are added, listed, and removed; one that goes on ends."""
        add = ("partner", "downtime", "add", "ACME")
        self.do(*add, "--until", "12h", "--why", "new system")
        wanted = ("--from", "2099-12-24", "--until", "2100-01-02T00:00", "--why", "works holidays")
        shown = "begins 2099-12-24 00:00 UTC, until 2100-01-02 00:00 UTC, why works holidays"
        self.assertIn(shown, self.do(*add, *wanted, "--dry-run").out)
        self.do(*add, *wanted)
        found = self.do("partner", "downtime", "list", "--json").json
        self.assertEqual([each["why"] for each in found], ["new system", "works holidays"])
        self.assertIn("2099-12-24 00:00 UTC", self.do("partner", "downtime", "list").out)
        self.assertIn("later than its begin", self.refused(*add, "--until", "2020-01-01", "--why", "x"))
        self.do("partner", "downtime", "remove", "ACME", "--from", "2099-12-24")
        self.assertEqual(len(self.do("partner", "downtime", "list", "--json").json), 1)
        self.do("partner", "downtime", "remove", "ACME")
        self.assertIn("no such downtime", self.refused("partner", "downtime", "remove", "ACME"))
        self.assertIn("--why", self.refused(*add, "--until", "3d", status=2))
