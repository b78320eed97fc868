"""``smartproxy session``."""

import json
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from smartproxy.backend import journal, session_rows, trials
from smartproxy.backend.session_tables import LiveReportRow
from smartproxy.backend.store import Store
from smartproxy.logs.event_types import Emitter
from smartproxy.logs.record import read
from smartproxy.logs.severity import Severity
from smartproxy.policy.limits import Limit
from smartproxy.policy.outcomes import SESSION_OUTCOMES
from smartproxy.policy.packed_record import pack, unpack
from smartproxy.tap.commands.session import LEVELS
from tests.unit.commands import CommandCase
from tests.unit.portraits import told_file, told_session
from tests.unit.test_session_list import FIRST, SECOND, record_document

BEGAN = datetime(2026, 11, 20, 11, 59, tzinfo=UTC)


class Sessions(CommandCase):
    """What the command says of stored sessions."""

    def setUp(self) -> None:
        """A session with a file, a record and an end."""
        super().setUp()
        self.open = Store.open(self.location)
        self.addCleanup(self.open.close)
        always = {"source": "client", "sequence": 1, "session": FIRST, "partner": "ACME", "direction": "inbound"}
        file = {"dataset": "DOOR-PANEL.STEP", "link": "in", "outcome": "completed", "octets": 5}
        ended = {"outcome": "completed", "cause": "session.completed", "octets_in": 1000, "octets_out": 90}
        packed = pack(record_document())
        with self.open.writing() as session:
            for fields in ({"name": "file.ended", **file}, {"name": "session.ended", **ended}):
                record = read({**always, "time": "2026-11-20T12:00:00.000Z", **fields}, Emitter.CLIENT)
                journal.keep(session, [record], BEGAN, "inner")
            session_rows.keep_record(session, unpack(packed), packed, "inner", BEGAN)

    def listed(self, *arguments: str) -> list[Any]:
        """The sessions that are listed."""
        found: list[Any] = self.do("session", "list", *arguments, "--json").json["sessions"]
        return [each["session"] for each in found]

    def test_words(self) -> None:
        """The words of the command line are those of the operations."""
        for outcome in SESSION_OUTCOMES:
            self.do("session", "list", "--outcome", outcome)
        self.assertEqual(set(LEVELS), {each.label for each in Severity})

    def test_list(self) -> None:
        """Sessions by what they are looked for with; for people, a line each."""
        self.assertEqual(self.listed(), [FIRST])
        self.assertEqual(self.listed("--file", "DOOR", "--partner", "ACME", "--since", "2026-11-20"), [FIRST])
        self.assertEqual(self.listed("--outcome", "lost"), [])
        told = self.do("session", "list").out
        for word in (FIRST, "ACME", "partner", "DOOR-PANEL.STEP", "1000", "completed"):
            self.assertIn(word, told)
        self.assertIn("no sessions", self.do("session", "list", "--partner", "NOBODY").out)

    def test_newest(self) -> None:
        """``-n`` says how many, the newest first; 0 means all, however many a page of the store holds."""
        sessions = [f"{number:016x}" for number in range(6)]
        with self.open.writing() as store:
            for session in sessions:
                document = {"name": "session.ended", "outcome": "completed", "source": "client", "sequence": 1}
                times = {"time": "2026-11-20T12:00:00.000Z", "direction": "inbound"}
                fields = {**document, **times, "session": session, "partner": "ACME", "cause": "session.completed"}
                octets = {"octets_in": 1, "octets_out": 1}
                journal.keep(store, [read({**fields, **octets}, Emitter.CLIENT)], BEGAN, "inner")
        with patch("smartproxy.policy.limits.PAGE", Limit(default=100, least=1, most=2, unit="entries")):
            self.assertEqual(self.listed("-n", "0"), [*reversed(sessions), FIRST])
            self.assertEqual(self.listed("-n", "3"), [*reversed(sessions[3:])])
            self.assertIn("more before these: --before", self.do("session", "list", "-n", "3").out)

    def test_show(self) -> None:
        """The ladder as text: who said what when, passwords masked, beside everything else that is known."""
        told = self.do("session", "show", FIRST).out
        self.assertRegex(told, r"(?m)^ +4  <-+ SSRM$")
        self.assertRegex(told, r"(?m)^ +5  SSID O0013000001ACME · 2\.0 · SDEB 1024 · CRED 3 -+>$")
        self.assertIn("partner held the station back", told)
        self.assertIn("session.ended", told)
        shown = self.do("session", "show", FIRST, "--json").json
        self.assertEqual(shown["ladder"][1]["fields"]["SSIDPSWD"], "***")
        self.assertIn("smartproxy session list", self.refused("session", "show", SECOND))

    def test_show_of_a_refused_station(self) -> None:
        """An SSID of the station that the server refused ends at the proxy."""
        document = record_document(SECOND, initiator="station")
        packed = pack({**document, "steps": [{**document["steps"][1], "by": "station"}]})
        told = {
            "name": "identity.refused",
            "source": "server",
            "sequence": 1,
            "time": "2026-11-20T12:00:00.000Z",
            "session": SECOND,
            "partner": "ACME",
            "direction": "outbound",
            "cause": "identity.station_level",
        }
        with self.open.writing() as session:
            journal.keep(session, [read(told, Emitter.SERVER)], BEGAN, "inner")
            session_rows.keep_record(session, unpack(packed), packed, "inner", BEGAN)
        shown = self.do("session", "show", SECOND).out
        self.assertRegex(shown, r"(?m)^ +5 {26}\(SmartProxy\) <-- SSID O0013000001ACME")

    def test_recording(self) -> None:
        """A file that judge reads."""
        path = self.folder / "session.jsonl"
        self.do("session", "recording", FIRST, "-o", str(path))
        self.assertIn("Verdict: nothing is wrong", self.do("judge", str(path)).out)

    def test_live(self) -> None:
        """Those that run now, and what can be done about one."""
        self.assertIn("no session runs", self.do("session", "live").out)
        self.assertIn("smartproxy session live", self.refused("session", "end", SECOND))
        told = [told_session(SECOND, partner="BOLT", file=told_file("A", 5, 2)), told_session(FIRST)]
        row = LiveReportRow(client="inner", received=datetime.now(UTC), count=3, sessions=json.dumps(told))
        with self.open.writing() as session:
            session.merge(row)
        shown = self.do("session", "live").out
        self.assertRegex(shown, rf"2026-11-20 11:59:00 +{SECOND} +BOLT +idle +A +5 +2048 +0 B/s +inner")
        self.assertRegex(shown, rf"{FIRST} +- +idle +- +- +- +0 B/s")
        self.assertIn("3 sessions run in all", shown)
        listed = self.do("session", "live", "--json").json["sessions"]
        self.assertEqual([each["file"] for each in listed], [told_file("A", 5, 2), None])
        self.do("session", "end", SECOND)
        self.do("session", "level", SECOND, "debug")
        with self.open.reading() as session:
            found = [(each.wish, each.level) for each in trials.after(session, 0, datetime.now(UTC))]
        self.assertEqual(found, [("end", None), ("level", "debug")])
