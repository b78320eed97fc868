"""The list of sessions as events and records fill it, what is found in it, and the figures that are counted beside."""

import json
from datetime import datetime, timedelta
from typing import Any

from smartproxy.backend import figures, journal, session_list, session_rows, trials
from smartproxy.backend.errors import NotFound
from smartproxy.backend.figures import Span
from smartproxy.backend.operations import figures as plots
from smartproxy.backend.operations import session as operations
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.session_list import SessionFilter
from smartproxy.backend.session_tables import FigureRow, LiveReportRow, SessionFileRow, SessionRecordRow, SessionRow
from smartproxy.logs.catalogue import look_up
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.packed_record import pack, unpack
from tests.unit.portraits import told_session
from tests.unit.sites import NOW, SiteCase

FIRST, SECOND = "0123456789abcdef", "fedcba9876543210"
BEGINS = {FIRST: "2026-11-20T11:00:00Z", SECOND: "2026-11-20T11:01:00Z", "a" * 16: "2026-11-20T11:02:00Z"}
BOSS = Caller(name="boss", scopes=frozenset("*"))


def record_document(session: str = FIRST, **changes: Any) -> dict[str, Any]:
    """A record as the client makes it."""
    step = {"at": 4, "by": "station", "command": "SSRM", "fields": {"SSRMMSG": "ODETTE FTP READY"}}
    ssid = {"SSIDLEV": 5, "SSIDCODE": "O0013000001ACME", "SSIDPSWD": "***", "SSIDSDEB": 1024, "SSIDCRED": 3}
    return {
        "session": session,
        "partner": "ACME",
        "peer": "192.0.2.7:40112",
        "began": "2026-11-20T11:59:00.000Z",
        "initiator": "partner",
        "lasted": 60_000,
        "setup": 7,
        "outcome": "completed",
        "cause": "session.completed",
        "agreed": {"level": 5, "credit": 3},
        "held_partner": 0,
        "held_station": 3000,
        "steps": [step, {"at": 5, "by": "partner", "command": "SSID", "fields": ssid}],
        "left_out": 0,
        **changes,
    }


class ListCase(SiteCase):
    """A store that events and records come into."""

    def setUp(self) -> None:
        """Number the events."""
        super().setUp()
        self.number = 0

    def tell(
        self, name: str, source: str = "client", *, at: datetime = NOW, session: str | None = FIRST, **fields: object
    ) -> None:
        """An event arrives."""
        self.number += 1
        told = {"session": session, "partner": "ACME", "direction": "inbound", **fields}
        record = Record(
            name,
            at,
            source,
            self.number,
            look_up(name).check({key: each for key, each in told.items() if each is not None}),
        )
        with self.store.writing() as transaction:
            journal.keep(transaction, [record], NOW, "inner")

    def ended(self, source: str = "client", session: str = FIRST, at: datetime = NOW, **fields: object) -> None:
        """A session ends."""
        usual = {
            "outcome": "completed",
            "cause": "session.completed",
            "octets_in": 1000,
            "octets_out": 90,
            "files_in": 1,
        }
        self.tell("session.ended", source, session=session, at=at, **{**usual, **fields})

    def bring(self, **changes: Any) -> bool:
        """A record arrives."""
        packed = pack(record_document(**changes))
        with self.store.writing() as session:
            return session_rows.keep_record(session, unpack(packed), packed, "inner", NOW)

    def found(self, **wanted: Any) -> list[str]:
        """The sessions that a filter lets through."""
        with self.store.reading() as session:
            return [row.session for row in session_list.find(session, SessionFilter(**wanted), 50)]

    def counts(self) -> dict[str, int]:
        """All that was counted by the minute."""
        with self.store.reading() as session:
            found: dict[str, int] = {}
            for row in session.query(FigureRow).where(FigureRow.span == "minute"):
                found[row.name] = found.get(row.name, 0) + row.count
            return found


class Filled(ListCase):
    """What events make of a row."""

    def row(self) -> SessionRow:
        """The one row."""
        with self.store.reading() as session:
            return session.query(SessionRow).one()

    def test_both_daemons(self) -> None:
        """Both daemons tell of a session: one row, counted once; the client's figures are those that count."""
        began = NOW - timedelta(minutes=3)
        self.tell("session.started", "server", at=began, peer="192.0.2.7:40112")
        self.tell("session.started", at=began + timedelta(seconds=1))
        self.assertEqual((self.row().outcome, self.found(outcome="running")), (None, [FIRST]))
        self.ended("server", octets_in=7)
        self.ended()
        row = self.row()
        self.assertEqual((row.began, row.ended, row.peer), (began, NOW, "192.0.2.7:40112"))
        self.assertEqual((row.octets_in, row.files_in, row.outcome), (1000, 1, "completed"))
        counts = self.counts()
        self.assertEqual((counts["begun"], counts["ended.completed"], counts["octets_in"]), (1, 1, 7))

    def test_a_client_whose_worker_died(self) -> None:
        """A client that does not know how many octets there were says why it ended; the server says how many."""
        for session, order in ((FIRST, ("server", "client")), (SECOND, ("client", "server"))):
            for source in order:
                if source == "server":
                    self.ended(source, session, outcome="lost", cause="leg.lost")
                else:
                    known: dict[str, Any] = {"outcome": "lost", "cause": "worker.lost", "files_in": 1}
                    self.tell("session.ended", source, session=session, **known)
        with self.store.reading() as store:
            for row in store.query(SessionRow):
                self.assertEqual((row.outcome, row.cause), ("lost", "worker.lost"), row.session)
                self.assertEqual((row.octets_in, row.octets_out, row.files_in), (1000, 90, 1), row.session)

    def test_comes_twice(self) -> None:
        """An event that comes again, because its sender did not learn that it was stored, counts once."""
        for _ in range(2):
            self.number = 0
            self.ended()
        self.assertEqual((self.counts()["begun"], self.counts()["octets_in"]), (1, 1000))

    def test_refused(self) -> None:
        """A session that policy refuses has that outcome and cause; the refusal is counted by its cause."""
        self.tell("identity.refused", "server", cause="identity.code", message="no partner has it", code="O1")
        self.assertEqual((self.row().outcome, self.row().cause), ("refused", "identity.code"))
        self.assertEqual(self.counts(), {"begun": 1, "ended.refused": 1, "refused.identity.code": 1})

    def test_violation(self) -> None:
        """What says why it ended comes first, and the end itself changes neither outcome nor counts."""
        self.tell("session.violation", rule="state.command", message="EFID in IDLE")
        self.ended(outcome="violated", cause="state.command", message="EFID in IDLE")
        row = self.row()
        self.assertEqual((row.outcome, row.cause, row.message), ("violated", "state.command", "EFID in IDLE"))
        self.assertEqual((self.counts()["ended.violated"], self.counts()["octets_out"]), (1, 90))

    def test_trial(self) -> None:
        """A trial is no session."""
        self.tell("outbound.refused", cause="call.refused", way="trial", step="connect")
        self.assertEqual(self.found(), [])

    def test_strangers(self) -> None:
        """Refusals without a session are counted, also those that were only counted by the server."""
        self.tell("handshake.failed", "server", session=None, partner=None, direction=None, cause="handshake.alert")
        facts = {"cause": "penalty.banned"}
        counted: dict[str, Any] = {
            "event": "connection.refused",
            "count": 911,
            "seconds": 60,
            "cause": "strangers.many",
            "facts": facts,
        }
        self.tell("strangers.counted", "server", session=None, partner=None, direction=None, **counted)
        self.assertEqual(self.counts(), {"refused.handshake.alert": 1, "refused.penalty.banned": 911})

    def test_names_that_nobody_knows(self) -> None:
        """Outcomes and causes that no daemon has are counted as others: their sender does not make names of counts."""
        for number in range(20):
            session = f"{number:016x}"
            self.ended("server", session, outcome=f"o{number}_and_more_than_sixteen", cause="a.b")
            self.tell("certificate.refused", "server", session=session, cause=f"certificate.c{number}")
        counts = self.counts()
        self.assertEqual(set(counts), {"begun", "ended.other", "refused.other", "octets_in", "octets_out"})
        self.assertEqual((counts["ended.other"], counts["refused.other"]), (20, 20))
        with self.store.reading() as session_:
            self.assertEqual({row.outcome for row in session_.query(SessionRow)}, {"other"})

    def test_wrong_time(self) -> None:
        """An event of another age is kept, but counted in no figure: its time is its sender's word."""
        self.ended(at=NOW + timedelta(days=1))
        self.assertEqual((self.found(), self.counts()), ([FIRST], {}))

    def test_forgotten(self) -> None:
        """The list, the files, the records and the figures go with the events."""
        self.tell("file.ended", outcome="completed", dataset="INVOICES", link="in", octets=5)
        self.ended()
        self.bring()
        with self.store.writing() as session:
            journal.forget(session, NOW + timedelta(hours=2))
        self.assertEqual((self.found(), self.counts()), ([], {}))
        with self.store.reading() as session:
            self.assertRaises(NotFound, session_list.whole, session, FIRST)

    def test_forgotten_in_pieces(self) -> None:
        """As long as there is more of anything, each piece says so; then nothing is left."""
        self.patch(limits, "DELETED_AT_ONCE_MOST", 2)
        for number in range(3):
            self.tell("file.ended", outcome="completed", dataset=f"INVOICES{number}", link="in", octets=5)
        self.ended()
        self.bring()
        pieces = 0
        with self.store.writing() as session:
            while journal.forget(session, NOW + timedelta(hours=2)).more:
                pieces += 1
            left = [session.query(each).count() for each in (SessionRow, SessionFileRow, SessionRecordRow, FigureRow)]
        self.assertGreater(pieces, 1)
        self.assertEqual(left, [0] * 4)


class Found(ListCase):
    """What is looked for."""

    def setUp(self) -> None:
        """Two sessions of two partners."""
        super().setUp()
        self.tell("file.ended", outcome="completed", dataset="DOOR-PANEL.STEP", link="in", octets=5)
        self.ended(at=NOW - timedelta(hours=1))
        self.ended(session=SECOND, partner="BOLT", outcome="aborted")

    def test_filters(self) -> None:
        """By partner, outcome, file and time; the newest first, in parts."""
        self.assertEqual(self.found(), [SECOND, FIRST])
        self.assertEqual(self.found(partner="BOLT"), [SECOND])
        self.assertEqual(self.found(outcome="completed"), [FIRST])
        self.assertEqual(self.found(file="door-p"), [FIRST])
        self.assertEqual(self.found(file="PANEL"), [])
        self.assertEqual(self.found(until=NOW - timedelta(minutes=1)), [FIRST])
        self.assertEqual(self.found(since=NOW - timedelta(minutes=1)), [SECOND])
        with self.store.reading() as session:
            newest = session_list.find(session, SessionFilter(), 1)[0]
        self.assertEqual(self.found(before=newest.id), [FIRST])

    def test_list(self) -> None:
        """The operation gives parts with a cursor, and the files of each session."""
        part = perform(self.store, operations.listed, operations.SessionsWanted(limit=1), BOSS, NOW).answer
        self.assertEqual([each.session for each in part.items], [SECOND])
        rest = operations.SessionsWanted(limit=1, before=part.next)
        part = perform(self.store, operations.listed, rest, BOSS, NOW).answer
        self.assertEqual((part.next, [file.dataset for file in part.items[0].files]), (None, ["DOOR-PANEL.STEP"]))

    def test_show(self) -> None:
        """All that is known: the ladder, what was agreed, who held whom back, events; what it takes is its id."""
        self.assertTrue(self.bring())
        self.assertFalse(self.bring())
        shown = perform(self.store, operations.show, operations.SessionNamed(session=FIRST), BOSS, NOW).answer
        self.assertEqual([(each.command, each.at) for each in shown.ladder], [("SSRM", 4), ("SSID", 5)])
        self.assertIn("O0013000001ACME", shown.ladder[1].words)
        self.assertEqual((shown.held_station, shown.setup, shown.agreed), (3000, 7, {"level": 5, "credit": 3}))
        self.assertEqual([each.name for each in shown.events], ["session.ended", "file.ended"])
        self.assertEqual(self.counts()["setup.10"], 1)
        wanted = operations.SessionNamed(session="0" * 16)
        self.assertRaises(NotFound, perform, self.store, operations.show, wanted, BOSS, NOW)

    def test_told_by_the_proxy(self) -> None:
        """What SmartProxy said itself stands at the end of the ladder; of a session without a record events are all."""
        told: dict[str, Any] = {"told_partner": "ESID 03", "code": "O1", "release_level": 5}
        self.tell("identity.refused", "server", session="a" * 16, cause="identity.code", message="x", **told)
        shown = perform(self.store, operations.show, operations.SessionNamed(session="a" * 16), BOSS, NOW).answer
        ladder = [(each.by, each.to, each.command, each.words) for each in shown.ladder]
        self.assertEqual(ladder[0], ("proxy", "partner", "SSRM", None))
        self.assertEqual(ladder[1][:3], ("partner", "proxy", "SSID"))
        self.assertEqual(ladder[2], ("proxy", "partner", "ESID", "03 · User code not known"))
        self.assertEqual(shown.ladder[2].fields, {"ESIDREAS": 3})

    def test_closed_without_a_word(self) -> None:
        """A side whose connection was only closed was sent no ESID, and the ladder has none."""
        told: dict[str, Any] = {"told_partner": "closed", "told_station": "ESID 99", "code": "O1", "release_level": 5}
        self.tell("session.refused", "server", session="a" * 16, cause="quota.sessions", message="x", **told)
        shown = perform(self.store, operations.show, operations.SessionNamed(session="a" * 16), BOSS, NOW).answer
        ladder = [(each.to, each.command, each.words) for each in shown.ladder]
        self.assertEqual(ladder[2:], [("station", "ESID", "99 · Session aborted")])

    def test_recording(self) -> None:
        """A recording is there for a session with a record only."""
        wanted = operations.SessionNamed(session=FIRST)
        self.assertRaises(NotFound, perform, self.store, operations.recording, wanted, BOSS, NOW)
        self.bring()
        text = perform(self.store, operations.recording, wanted, BOSS, NOW).answer.text
        self.assertEqual(len(text.splitlines()), 3)


class Live(ListCase):
    """Sessions that run."""

    def report(self, client: str, *sessions: str, seconds: float = 0) -> None:
        """A client tells which sessions it runs."""
        told = json.dumps([told_session(each, since=BEGINS[each]) for each in sessions])
        received = NOW - timedelta(seconds=seconds)
        row = LiveReportRow(client=client, received=received, count=len(sessions), sessions=told)
        with self.store.writing() as session:
            session.merge(row)

    def test_live(self) -> None:
        """Those of all clients, as long as their reports are fresh; the last report of a client counts."""
        self.report("one", FIRST)
        self.report("one", SECOND)
        self.report("two", FIRST)
        self.report("three", "a" * 16, seconds=60)
        self.report("ahead", "a" * 16, seconds=-60)
        now = perform(self.store, operations.live, Nothing(), BOSS, NOW).answer
        self.assertEqual([(each.client, each.state.session) for each in now.items], [("two", FIRST), ("one", SECOND)])
        self.assertEqual(now.count, 2)

    def test_stored_by_another_version(self) -> None:
        """What is stored and is no live session as this version knows it is left out; the others are listed."""
        told = [{"session": FIRST}, told_session(SECOND), 5, told_session("a" * 16, since="0001-01-01T00:00:00+14:00")]
        row = LiveReportRow(client="one", received=NOW, count=4, sessions=json.dumps(told))
        with self.store.writing() as session:
            session.merge(row)
        now = perform(self.store, operations.live, Nothing(), BOSS, NOW).answer
        self.assertEqual(([each.state.session for each in now.items], now.count), ([SECOND], 4))

    def test_wishes(self) -> None:
        """To end a session, or log it at a level, is what its client is asked next; only of one that runs."""
        self.report("one", FIRST)
        perform(self.store, operations.end, operations.SessionNamed(session=FIRST), BOSS, NOW)
        perform(self.store, operations.level, operations.LevelWanted(session=FIRST, level="debug"), BOSS, NOW)
        with self.store.reading() as session:
            found = [(each.session, each.wish, each.level) for each in trials.after(session, 0, NOW)]
        self.assertEqual(found, [(FIRST, "end", None), (FIRST, "level", "debug")])
        other = operations.SessionNamed(session=SECOND)
        self.assertRaises(NotFound, perform, self.store, operations.end, other, BOSS, NOW)


class Figures(ListCase):
    """What plots are made of."""

    def test_series(self) -> None:
        """Each span has its points; what happened is in the right one, the last is the one that goes on."""
        self.ended(at=NOW - timedelta(minutes=90))
        self.bring()
        for span, points, seconds in (("hour", 60, 60), ("day", 48, 1800), ("month", 60, 43200)):
            series = perform(self.store, plots.show, plots.SpanWanted(span=Span(span)), BOSS, NOW).answer
            self.assertEqual((len(series.points), series.seconds), (points, seconds), span)
            self.assertLessEqual(series.points[-1].begins, NOW)
            self.assertGreater(series.points[-1].begins + timedelta(seconds=seconds), NOW)
            self.assertEqual(sum(each.begun for each in series.points), 0 if span == "hour" else 1, span)
            self.assertEqual([each.setup_p95 for each in series.points if each.setup_p95 is not None], [10], span)
        (point,) = [
            each for each in perform(self.store, plots.show, plots.SpanWanted(), BOSS, NOW).answer.points if each.begun
        ]
        self.assertEqual(
            (point.ended, point.octets_in, point.begins), ({"completed": 1}, 1000, NOW - timedelta(minutes=90))
        )

    def test_spread(self) -> None:
        """The octets of a session are spread over the minutes that it took, and none is lost."""
        tally = figures.FigureTally(NOW)
        tally.spread(NOW - timedelta(minutes=9), NOW, "octets_in", 1003)
        self.assertEqual((len(tally.counts), tally.counts.total(), max(tally.counts.values())), (10, 1003, 101))
        tally = figures.FigureTally(NOW)
        tally.spread(NOW - timedelta(days=9), NOW, "octets_in", 1003)
        self.assertEqual((len(tally.counts), tally.counts.total()), (figures.SPREAD_MOST, 1003))

    def test_percentiles(self) -> None:
        """The end of the class that the share falls into."""
        counts = {"setup.5": 50, "setup.100": 45, "setup.500": 5}
        self.assertEqual([figures.percentile(counts, share) for share in (0.5, 0.95, 0.96)], [5, 100, 500])
        self.assertIsNone(figures.percentile({}, 0.5))
        self.assertEqual([figures.setup_class(each) for each in (0, 7, 10**6)], ["setup.2", "setup.10", "setup.60000"])

    def test_minutes(self) -> None:
        """Minutes are deleted when no plot shows them any more; the hours stay."""
        self.ended()
        with self.store.writing() as session:
            figures.forget_minutes(session, NOW + timedelta(days=3))
        self.assertEqual(self.counts(), {})
        with self.store.reading() as session:
            self.assertGreater(session.query(FigureRow).count(), 0)
