"""The pages of sessions and the overview: what they show of stored sessions, and what can be done there."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import delete
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import endings, journal, session_rows, trials
from smartproxy.backend.endings import WatchedEnd
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.user import UserAlteration, alter
from smartproxy.backend.page import plots, sessions
from smartproxy.backend.page.plots import Series
from smartproxy.backend.schema import ClientRow, EventRow
from smartproxy.backend.session_tables import LiveReportRow
from smartproxy.ctl.statuses import BackendStatus, ToldFinding
from smartproxy.logs.catalogue import look_up
from smartproxy.logs.record import Record
from smartproxy.policy.causes import Cause
from smartproxy.policy.health import Health
from smartproxy.policy.packed_record import pack, unpack
from smartproxy.policy.permissions import AdminRole
from tests.adapters.page_site import PageCase
from tests.unit.portraits import told_file, told_session
from tests.unit.sites import NOW
from tests.unit.test_session_list import FIRST, SECOND, record_document

EVIL = "<script>alert(1)</script>"


class SessionPages(PageCase):
    """A site with a past session and a live one."""

    def setUp(self) -> None:
        """Store them."""
        super().setUp()
        self.number = 0
        self.condition = self.status()
        self.tell("file.ended", outcome="completed", dataset="DOOR-PANEL.STEP", link="in", octets=5)
        self.tell("session.ended", outcome="completed", cause="session.completed", octets_in=1_900_000, octets_out=90)
        packed = pack(record_document(held_partner=3100))
        state = told_session(
            SECOND,
            partner="BOLT",
            phase=EVIL,
            octets_in=1,
            octets_out=1,
            rate_in=1024,
            file=told_file(r"LONG\u202e", 1024, 11),
        )
        with self.store.writing() as session:
            session_rows.keep_record(session, unpack(packed), packed, "inner", NOW)
        self.live = json.dumps([state])
        self.report(self.live)
        self.tell("session.started", session=SECOND, partner="BOLT")

    def report(self, states: str) -> None:
        """The client tells which sessions run."""
        with self.store.writing() as session:
            count = len(json.loads(states))
            session.merge(LiveReportRow(client="inner", received=NOW, count=count, sessions=states))

    def status(self, *findings: ToldFinding) -> BackendStatus:
        """How the backend is, as far as a page looks."""
        return cast(BackendStatus, SimpleNamespace(findings=findings))

    def tell(self, name: str, session: str = FIRST, partner: str = "ACME", **fields: object) -> None:
        """An event arrives."""
        self.number += 1
        told: dict[str, Any] = {"session": session, "partner": partner, "direction": "inbound", **fields}
        record = Record(name, NOW, "client", self.number, look_up(name).check(told))
        with self.store.writing() as transaction:
            journal.keep(transaction, [record], NOW, "inner")

    def page(self, path: str, user: str = "vera", **headers: str) -> str:
        """A page as a user sees it."""
        answer = self.browser(user, **headers).get(path)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.decode()

    def test_list(self) -> None:
        """Live sessions with progress, rate and what is left; past ones, each with the link to its page."""
        shown = self.page("/sessions")
        self.assertIn('<progress value="1024" max="11264"', shown)
        self.assertIn("1.0 kB/s", shown)
        self.assertIn("10 s", shown)
        self.assertIn(f'<a href="/sessions/{FIRST}">', shown)
        self.assertIn("DOOR-PANEL.STEP", shown)

    def test_found(self) -> None:
        """Filters are addresses: by partner, file and outcome; what is not there says what to do."""
        for query, there in (
            ("partner=ACME", True),
            ("partner=BOLT", False),
            ("file=DOOR", True),
            ("file=PANEL", False),
            ("outcome=completed", True),
            ("outcome=lost", False),
            ("outcome=completed&partner=ACME&span=1h", True),
            ("since=2000-01-01T00:00&until=2999-01-01T00:00", True),
            ("until=2000-01-01T00:00", False),
            ("since=2999-01-01T00:00", False),
        ):
            self.assertIs(f'<a href="/sessions/{FIRST}">' in self.page(f"/sessions?{query}"), there, query)
        self.assertIn("Leave one of the conditions out", self.page("/sessions?partner=NOBODY"))

    def test_one(self) -> None:
        """The sentence, the ladder in words and with its fields, who held whom back, and the events."""
        shown = self.page(f"/sessions/{FIRST}")
        for words in (
            "ACME sent DOOR-PANEL.STEP; the station confirmed it.",
            'class="rung station to-partner"',
            'class="rung partner to-station"',
            "O0013000001ACME",
            "***",
            "Station held the partner back",
            "3.1 s",
            "session.ended",
            f"/sessions/{FIRST}/recording",
        ):
            self.assertIn(words, shown)
        self.assertNotIn("End the session", shown)

    def test_german(self) -> None:
        """The same in German."""
        shown = self.page(f"/sessions/{FIRST}", Accept_Language="de")
        self.assertIn("ACME hat DOOR-PANEL.STEP gesendet; die Station hat es bestätigt.", shown)
        self.assertIn("Wer was sagte", shown)

    def test_live_one(self) -> None:
        """A session that runs can be ended and logged by an operator, and not by a viewer; words of it are escaped."""
        self.assertNotIn("End the session", self.page(f"/sessions/{SECOND}"))
        browser = self.browser("olga")
        shown = browser.get(f"/sessions/{SECOND}").body.decode()
        self.assertIn("End the session", shown)
        self.assertNotIn(EVIL, self.page("/sessions"))
        self.assertNotIn("\N{RIGHT-TO-LEFT OVERRIDE}", shown)
        self.assertEqual(browser.post(f"/sessions/{SECOND}/level").status, 303)
        asked = browser.post(f"/sessions/{SECOND}/end")
        self.assertEqual(asked.status, 200)
        for words in ("End this session?", "ended by an operator", f'href="/sessions/{SECOND}">Cancel'):
            self.assertIn(words, asked.body.decode())
        with self.store.reading() as session:
            self.assertEqual([each.wish for each in trials.after(session, 0, NOW)], ["level"])
        self.assertEqual(browser.post(f"/sessions/{SECOND}/end", {"step": "do"}).status, 303)
        with self.store.reading() as session:
            found = [(each.session, each.wish, each.level) for each in trials.after(session, 0, NOW)]
        self.assertEqual(found, [(SECOND, "level", "trace"), (SECOND, "end", None)])
        viewer = self.browser("vera")
        viewer.get(f"/sessions/{SECOND}")
        self.assertEqual(viewer.post(f"/sessions/{SECOND}/end").status, 403)

    def test_recording(self) -> None:
        """The recording is a file to keep; of a session without a record there is none."""
        answer = self.browser("vera").get(f"/sessions/{FIRST}/recording")
        self.assertEqual(answer.headers["content-disposition"], f'attachment; filename="session-{FIRST}.jsonl"')
        self.assertEqual(len(answer.body.splitlines()), 3)
        self.assertEqual(self.browser("vera").get(f"/sessions/{SECOND}/recording").status, 404)
        self.assertEqual(self.browser("vera").get("/sessions/..%2Fx").status, 404)

    def test_stream(self) -> None:
        """The page is told of live sessions as they go on, for two minutes; then it asks again."""
        waiting = self.browser("vera").start("GET", "/sessions/event-stream")
        self.agent.flush()
        with self.store.writing() as session:
            session.merge(LiveReportRow(client="inner", received=NOW + timedelta(seconds=3), count=0, sessions="[]"))
        for _ in range(int(sessions.STREAM_SECONDS / sessions.LIVE_LOOK_SECONDS) + 1):
            self.clock.advance(sessions.LIVE_LOOK_SECONDS)
        self.agent.flush()
        answer = self.successResultOf(waiting)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        first, second, rest = answer.body.split(b"\n\n")
        self.assertIn(b"data: ", first)
        self.assertIn(b"BOLT", first)
        self.assertIn(b"No session runs now", second)
        self.assertEqual((rest, sessions._STREAMS), (b"", {}))
        for path in ("/", "/sessions"):
            self.assertIn('hx-sse:connect="/sessions/event-stream" hx-sse:close="ended"', self.page(path))

    def test_stream_of_a_login(self) -> None:
        """A stream ends with its login, and when its user gets another role; nothing is told of sessions after that."""
        root = Caller(name="root", scopes=frozenset("*"))
        for end in ("logout", "role"):
            browser = self.browser("olga")
            waiting = browser.start("GET", "/sessions/event-stream")
            self.agent.flush()
            if end == "logout":
                self.assertEqual(browser.post("/logout").status, 303)
            else:
                wanted = UserAlteration(name="olga", role=AdminRole.AUDITOR)
                perform(self.store, alter, wanted, root, NOW)
            self.report("[]")
            self.clock.advance(sessions.LIVE_LOOK_SECONDS)
            self.agent.flush()
            shown = self.successResultOf(waiting).body
            self.assertEqual((b"BOLT" in shown, b"No session runs now" in shown), (True, False), end)
            # The page asks no more, and shows the login.
            self.assertTrue(shown.endswith(b"\n\nevent: ended\ndata: \n\n"), end)
            again = browser.get("/sessions/event-stream", HX_Request="true")
            self.assertEqual((again.status, again.headers["content-type"]), (200, "text/event-stream"), end)
            self.assertEqual((again.body, "hx-redirect" in again.headers), (b"event: ended\ndata: \n\n", False), end)
            self.assertEqual(sessions._STREAMS, {}, end)
            self.report(self.live)

    def test_streams_of_a_user(self) -> None:
        """One user has only so many streams, and others have theirs; to be asked for headers alone begins none."""
        browser, other = self.browser("olga"), self.browser("vera")
        for _ in range(sessions.STREAMS_OF_USER_MOST):
            browser.start("GET", "/sessions/event-stream")
            self.agent.flush()
        self.assertEqual(browser.get("/sessions/event-stream").status, 503)
        waiting = other.start("HEAD", "/sessions/event-stream")
        self.agent.flush()
        answer = self.successResultOf(waiting)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
        self.assertEqual(sessions._STREAMS, {"olga": sessions.STREAMS_OF_USER_MOST})
        self.clock.pump([sessions.LIVE_LOOK_SECONDS] * int(sessions.STREAM_SECONDS / sessions.LIVE_LOOK_SECONDS + 1))
        self.assertEqual(sessions._STREAMS, {})

    def test_overview(self) -> None:
        """All is well, in a sentence; the parts, the plots with their tables, and what ended."""
        shown = self.page("/")
        self.assertIn("All is well.", shown)
        for words in ('class="parts wide"', 'class="parts narrow"', "Throughput", "as a table", "Nobody was refused"):
            self.assertIn(words, shown)
        self.assertIn("completed 1, other ends 0", shown)
        self.assertIn("2026-11-20 12:00 UTC", self.page("/?span=hour"))
        self.assertNotIn(" style=", shown)

    def test_ends(self) -> None:
        """Whatever ends soon has a name and a place; what is urgent is told before all is called well."""
        later, soon = NOW + timedelta(days=20), NOW + timedelta(days=6, hours=1)
        kinds = [each for each in Cause if each.name.startswith("ENDING_")]
        self.assertGreater(len(kinds), 8)
        for cause in (None, *kinds):
            for until in (later, soon):
                end = WatchedEnd(cause=cause, what="it", name="NAME", until=until, advice="do something")
                self.patch(endings, "known", lambda _, end=end: iter([end]))
                shown = self.page("/", "alice")
                self.assertIn("20 days" if until is later else "6 days", shown, cause)
                calm = until is later or cause is Cause.ENDING_CHANGE_OVER
                self.assertIs("All is well." in shown, calm, cause)
                self.assertIs("Ends soon: " in shown, not calm, cause)
        brief = WatchedEnd(
            cause=Cause.ENDING_LIST, what="it", begins=NOW - timedelta(days=1), until=soon, advice="do something"
        )
        self.patch(endings, "known", lambda _: iter([brief]))
        self.assertIn("All is well.", self.page("/", "alice"))

    def test_station_down(self) -> None:
        """The station does not answer: what, since when, whom it touches, and a button; after an answer it is gone."""
        self.clock.advance(60)
        for number, partner in enumerate(("BOLT", "ACME")):
            self.number += 1
            at = NOW + timedelta(seconds=10 + number)
            told = {"session": "c" * 16, "partner": partner, "cause": "station.refused", "message": "it refuses"}
            record = Record(
                "station.unreachable", at, "client", self.number, look_up("station.unreachable").check(told)
            )
            with self.store.writing() as session:
                journal.keep(session, [record], NOW, "inner")
        shown = self.page("/", "olga")
        self.assertIn("The station does not answer", shown)
        self.assertIn("touches ACME, BOLT", shown)
        self.assertIn('datetime="2026-11-20T12:00:10Z"', shown)
        self.assertNotIn("All is well.", shown)
        browser = self.browser("olga")
        browser.get("/")
        self.assertEqual(browser.post("/overview/test-station").status, 303)
        with self.store.reading() as transaction:
            self.assertEqual([each.partner for each in trials.after(transaction, 0, NOW)], [None])
        at = NOW + timedelta(seconds=20)
        answered: dict[str, object] = {"host": "192.0.2.9", "port": 3305}
        record = Record("station.answered", at, "client", 99, look_up("station.answered").check(answered))
        with self.store.writing() as session:
            journal.keep(session, [record], NOW, "inner")
        self.assertIn("All is well.", self.page("/"))

    def test_new_site(self) -> None:
        """A site that is being set up has no faults, but a next step with the way there; what is no step stays."""
        codes = ("no-client", "unconfigured", "unlicensed", "page-closed")
        self.condition = self.status(*(ToldFinding(verdict=each, health=Health.DOWN, advice="x") for each in codes))
        with self.store.writing() as session:
            session.execute(delete(ClientRow))
            session.execute(delete(EventRow).where(EventRow.name == "session.started"))
        shown = self.page("/live", "alice")
        self.assertIn("The set-up goes on with: Station.", shown)
        self.assertIn("Step 3 of 8", shown)
        self.assertIn('<a class="button quiet" href="/setup">To the set-up</a>', shown)
        self.assertEqual(shown.count('class="verdict bad"'), 1)
        self.assertIn("own port is not open", shown)
        self.assertNotIn('href="/setup"', self.page("/live", "olga"))
        self.tell("session.started")
        shown = self.page("/live")
        self.assertNotIn("The set-up goes on", shown)
        self.assertEqual(shown.count('class="verdict bad"'), len(codes))

    def test_findings(self) -> None:
        """What the backend finds has a title of its own."""
        finding = ToldFinding(verdict="client-silent", health=Health.DEGRADED, advice="see its log")
        self.condition = self.status(finding)
        shown = self.page("/live")
        self.assertIn("A client does not call.", shown)
        self.assertIn('class="verdict warn"', shown)
        self.assertIn('<a class="button quiet" href="/nodes">Nodes and licences</a>', shown)


class Plots(SynchronousTestCase):
    """Figures as coordinates."""

    def plot(self, *values: float | None, bars: bool = False) -> plots.Plot:
        """A plot of one line, or of bars."""
        moments = [datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in range(len(values))]
        series = [Series("in", "in", values)]
        return plots.plot("key", "title", "unit", moments, series, worded=lambda value: f"{value:g}", bars=bars)

    def test_line(self) -> None:
        """The highest figure stands below the top, zero on the ground; a gap breaks the line."""
        plot = self.plot(0, 100, None, 50)
        ((look, path),) = plot.paths
        self.assertEqual((look, plot.greatest), ("in", "100"))
        ground, top = plots.HEIGHT - plots.BOTTOM, plots.TOP
        self.assertRegex(path, rf"^M[0-9.]+ {ground}\.0 L[0-9.]+ {top}\.0 M[0-9.]+ 69\.0 h1\.5$")
        self.assertEqual([mark.text for mark in plot.rows], ["0", "50", "100"])
        self.assertEqual([spot.figures[0][2] for spot in plot.spots], ["0", "100", "\N{EN DASH}", "50"])

    def test_bars(self) -> None:
        """Bars stand on the ground, within the field; what is zero has none."""
        plot = self.plot(3, 0, 4, bars=True)
        self.assertEqual(len(plot.bars), 2)
        for bar in plot.bars:
            self.assertEqual(round(bar.top + bar.height, 1), plots.HEIGHT - plots.BOTTOM)
            self.assertLessEqual(bar.left + bar.width, plots.WIDTH)
        self.assertEqual(plot.bars[1].top, plots.TOP)

    def test_nothing(self) -> None:
        """Without any figure there is nothing to see."""
        self.assertTrue(self.plot(0, None).empty)
        self.assertTrue(self.plot().empty)
        self.assertFalse(self.plot(1).empty)
