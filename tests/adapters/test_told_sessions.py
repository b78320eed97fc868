"""Sessions on their way into the backend: records, live sessions, and what an operator wants of one."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy.orm import Session
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import session_list, session_rows, trials
from smartproxy.backend.operations import session as operations
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.session_tables import LiveReportRow, SessionRecordRow
from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable, Trial
from smartproxy.client.house import House
from smartproxy.client.told_sessions import TELL_SECONDS, ToldSessions
from smartproxy.logs.severity import Severity
from smartproxy.policy.faults import Killed
from smartproxy.policy.limits import API_RECORDS_OCTETS_SENT
from smartproxy.policy.packed_record import pack, unpack
from smartproxy.policy.portraits import TOLD_MOST, ToldSession
from smartproxy.policy.schema import read_object, write_object
from smartproxy.policy.session_record import SessionRecord
from tests.adapters.api_site import ApiCase
from tests.adapters.rig import Journal
from tests.unit.portraits import portrait, told_file, told_session
from tests.unit.sites import NOW
from tests.unit.test_session_list import BOSS, FIRST, SECOND, record_document


class Running:
    """The sessions of a client."""

    def __init__(self) -> None:
        self.live: dict[str, int] = {}
        self.closed: list[tuple[str, object]] = []

    def portraits(self) -> list[dict[str, object]]:
        """How they are."""
        return [
            portrait(session, since=0.0, octets_in=octets, octets_out=10 * octets, pid=5)
            for session, octets in self.live.items()
        ]

    def close(self, session: str, fault: object) -> bool:
        """End one."""
        self.closed.append((session, fault))
        return True


class Place:
    """Where they live.

    :ivar looked: how often somebody wanted to know how they are.
    """

    def __init__(self, sessions: Running) -> None:
        self.sessions = sessions
        self.looked = 0

    async def look(self) -> None:
        """Part of the interface."""
        self.looked += 1


class Taking:
    """A backend that takes what it is given, unless it fails."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.records_taken: list[list[bytes]] = []
        self.live_taken: list[tuple[Sequence[Mapping[str, Any]], int]] = []

    async def records(self, packed: Sequence[bytes]) -> None:
        """Part of the API."""
        if self.failure is not None:
            raise self.failure
        self.records_taken.append(list(packed))

    async def live(self, sessions: Sequence[Mapping[str, Any]], count: int) -> None:
        """Part of the API."""
        if self.failure is not None:
            raise self.failure
        self.live_taken.append((sessions, count))


class Told(SynchronousTestCase):
    """What a client tells."""

    def setUp(self) -> None:
        """Start it, with no session."""
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.sessions, self.backend = Running(), Taking()
        self.told = ToldSessions(
            self.clock,
            self.journal.events,
            cast(Backend, self.backend),
            cast(House, Place(self.sessions)),
        )
        self.told.start()

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.pump([0.5] * int(seconds / 0.5))

    def test_records(self) -> None:
        """A record comes within a second; nothing is lost while the backend is away."""
        self.backend.failure = BackendUnavailable("away")
        self.told.keep(pack(record_document()))
        self.pass_time(20)
        self.backend.failure = None
        self.told.keep(pack(record_document(SECOND)))
        self.pass_time(40)
        taken = [unpack(each).session for batch in self.backend.records_taken for each in batch]
        self.assertEqual(taken, [FIRST, SECOND])

    def test_large_records(self) -> None:
        """A call holds as many records as the backend takes octets."""
        text = "".join(f"{number:06x}" for number in range(9000))
        steps = [{"at": 1, "by": "partner", "command": "SFID", "fields": {"SFIDDSN": text}}]
        for number in range(60):
            self.told.keep(pack(record_document(f"{number:016x}", steps=steps)))
        self.pass_time(10)
        sizes = [sum(len(b64encode(each)) for each in batch) for batch in self.backend.records_taken]
        self.assertGreater(len(sizes), 1)
        self.assertLessEqual(max(sizes), API_RECORDS_OCTETS_SENT)
        self.assertEqual(sum(map(len, self.backend.records_taken)), 60)

    def test_refused_record(self) -> None:
        """A record that the backend never takes is left out; what comes behind it is not held up."""
        self.backend.failure = BackendRefused(400, "api.body", "no")
        self.told.keep(pack(record_document()))
        self.pass_time(2)
        self.backend.failure = None
        self.told.keep(pack(record_document(SECOND)))
        self.pass_time(60)
        self.assertEqual([unpack(each).session for each in self.backend.records_taken[-1]], [SECOND])
        self.assertEqual(len(self.journal.of("events.dropped")), 1)

    def test_end_of_the_client(self) -> None:
        """What waits is sent before the client ends, and nothing runs afterwards."""
        self.told.keep(pack(record_document()))
        self.successResultOf(self.told.stop(2.0))
        self.assertEqual(len(self.backend.records_taken), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_live(self) -> None:
        """While sessions run they are told every few seconds, with what they carried a second since the last time."""
        self.pass_time(2 * TELL_SECONDS)
        self.assertEqual(self.backend.live_taken, [])
        self.sessions.live[FIRST] = 600
        self.pass_time(TELL_SECONDS)
        self.sessions.live[FIRST] = 900
        self.pass_time(TELL_SECONDS)
        (first, _), (second, count) = self.backend.live_taken
        self.assertEqual((first[0]["since"], count), ("1970-01-01T00:00:00Z", 1))
        self.assertEqual(write_object(read_object(ToldSession, first[0])), first[0])
        self.assertEqual((second[0]["rate_in"], second[0]["rate_out"]), (100, 1000))

    def test_none_any_more(self) -> None:
        """That no session runs any more is told once."""
        self.sessions.live[FIRST] = 1
        self.pass_time(TELL_SECONDS)
        self.sessions.live.clear()
        self.pass_time(4 * TELL_SECONDS)
        self.assertEqual([count for _, count in self.backend.live_taken], [1, 0])

    def test_many(self) -> None:
        """So many are told, and how many there are."""
        self.sessions.live = {f"{number:016x}": 1 for number in range(TOLD_MOST + 50)}
        self.pass_time(TELL_SECONDS)
        ((sessions, count),) = self.backend.live_taken
        self.assertEqual((len(sessions), count), (TOLD_MOST, TOLD_MOST + 50))

    def test_away(self) -> None:
        """A backend that is away is told of by others; the next report comes in time."""
        self.sessions.live[FIRST] = 1
        self.backend.failure = BackendUnavailable("away")
        self.pass_time(2 * TELL_SECONDS)
        self.backend.failure = None
        self.pass_time(TELL_SECONDS)
        self.assertEqual(len(self.backend.live_taken), 1)
        self.assertEqual(self.journal.of("internal.error"), [])

    def test_wishes(self) -> None:
        """A session is ended, or logged at a level; one that is not of this client is left to others."""
        self.sessions.live[FIRST] = 1
        self.told.wished(Trial(SECOND, None, "end"))
        self.told.wished(Trial(FIRST, None, "level", "trace"))
        self.assertEqual(self.journal.events.levels.described()[f"session {FIRST}"], "trace")
        self.told.wished(Trial(FIRST, None, "end"))
        ((session, fault),) = self.sessions.closed
        self.assertEqual(session, FIRST)
        self.assertIsInstance(fault, Killed)

    def test_wish_of_an_answer(self) -> None:
        """What an answer of the backend may hold, and what it may not."""
        asked = {"session": FIRST, "partner": None}
        self.assertEqual(Trial.of({**asked, "wish": "end", "level": None}), Trial(FIRST, None, "end"))
        level = Trial(FIRST, None, "level", Severity.DEBUG.label)
        self.assertEqual(Trial.of({**asked, "wish": "level", "level": "debug"}), level)
        for wrong in ({"wish": "burn"}, {"wish": "level"}, {"wish": "level", "level": "loud"}):
            self.assertRaises(ValueError, Trial.of, {**asked, **wrong})


class Taken(ApiCase):
    """What the backend does with it."""

    def test_records(self) -> None:
        """Records are kept, each once, with the client that brought them."""
        packed = b64encode(pack(record_document())).decode()
        for stored in (1, 0):
            answer = self.call("POST", "/records", {"records": [packed]})
            self.assertEqual((answer.status, answer.json), (200, {"stored": stored, "refused": 0}))
        with self.store.reading() as session:
            row = session.query(SessionRecordRow).one()
        self.assertEqual((row.session, row.client, row.received), (FIRST, "inner", NOW))

    def test_wrong_records(self) -> None:
        """What is no record is refused alone, and told; a call that is none is refused."""
        good = b64encode(pack(record_document())).decode()
        wrong = b64encode(pack(record_document(SECOND, began="yesterday"))).decode()
        answer = self.call("POST", "/records", {"records": [good, "????", "AAAA", wrong]})
        self.assertEqual(answer.json, {"stored": 1, "refused": 3})
        self.assertEqual([each["client"] for each in self.told if each["name"] == "events.refused"], ["inner"])
        self.assertEqual(self.call("POST", "/records", {"records": [1]}).status, 400)
        self.assertEqual(self.call("POST", "/records", {"records": [good]}, token="spc_wrong").status, 401)

    def test_what_the_store_refuses(self) -> None:
        """A record that the store does not take is refused alone."""
        keep = session_rows.keep_record

        def picky(session: Session, record: SessionRecord, *rest: Any) -> bool:
            if record.session == FIRST:
                raise OverflowError("date value out of range")
            return keep(session, record, *rest)

        self.patch(session_rows, "keep_record", picky)
        records = [b64encode(pack(record_document(each))).decode() for each in (FIRST, SECOND)]
        answer = self.call("POST", "/records", {"records": records})
        self.assertEqual((answer.status, answer.json), (200, {"stored": 1, "refused": 1}))

    def bring(self, record: Mapping[str, Any]) -> int:
        """How many of one record are stored."""
        packed = b64encode(pack(dict(record))).decode()
        stored: int = self.call("POST", "/records", {"records": [packed]}).json["stored"]
        return stored

    def test_records_of_another_form(self) -> None:
        """Fields that are no names or hold what could act on a reader, and times that are none, are refused."""
        for fields in ({"\x1b[2J": 1}, {"SFIDDSN": "\x1b[31m"}, {"SFIDDSN": "\ud800"}, {"SFIDDSN": "x" * 1001}):
            step = {"at": 1, "by": "partner", "command": "SFID", "fields": fields}
            self.assertEqual(self.bring(record_document(steps=[step])), 0, fields)
            self.assertEqual(self.bring(record_document(agreed=fields)), 0, fields)
        for began in ("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"):
            self.assertEqual(self.bring(record_document(began=began)), 0, began)
        for session in ("\x1b", "a" * 17, FIRST.upper()):
            self.assertEqual(self.bring(record_document(session)), 0, session)

    def test_odd_records(self) -> None:
        """A session is shown, and its recording is made, whatever its commands say, or do not."""
        odd: tuple[tuple[str, dict[str, object]], ...] = (
            ("ESID", {}),
            ("SSID", {}),
            ("SSID", {"SSIDLEV": "x"}),
            ("SFID", {"SFIDFSIZ": "q"}),
            ("EFID", {"EFIDUCNT": "q"}),
            ("NERP", {"NERPREAS": "q"}),
            ("DATA", {"buffers": "x", "octets": "y", "credits": "z"}),
            ("AUCH", {"AUCHCHAL": "99999999999 octets"}),
        )
        for number, (command, fields) in enumerate(odd):
            session = f"{number:016x}"
            step = {"at": 1, "by": "partner", "command": command, "fields": fields}
            self.assertEqual(self.bring(record_document(session, steps=[step])), 1)
            wanted = operations.SessionNamed(session=session)
            (rung,) = perform(self.store, operations.show, wanted, BOSS, NOW).answer.ladder
            self.assertEqual(rung.command, command)
            text = perform(self.store, operations.recording, wanted, BOSS, NOW).answer.text
            self.assertEqual(len(text.splitlines()), 2)

    def test_stored_by_another_version(self) -> None:
        """A record that is stored and would not be taken any more is none; its session is shown without it."""
        self.assertEqual(self.bring(record_document()), 1)
        step = {"at": 1, "by": "partner", "command": "SFID", "fields": {"\x1b": "\x1b"}}
        with self.store.writing() as session:
            session.query(SessionRecordRow).one().packed = pack(record_document(steps=[step]))
        wanted = operations.SessionNamed(session=FIRST)
        shown = perform(self.store, operations.show, wanted, BOSS, NOW).answer
        self.assertEqual((shown.recorded, shown.ladder), (False, ()))

    def test_live(self) -> None:
        """The last report of a client counts."""
        for session in (FIRST, SECOND):
            answer = self.call("POST", "/live", {"sessions": [told_session(session)], "count": 1})
            self.assertEqual((answer.status, answer.json), (200, {"refused": 0}))
        with self.store.reading() as session_:
            row = session_.query(LiveReportRow).one()
        self.assertIn(SECOND, row.sessions)
        many = [told_session(FIRST)] * (TOLD_MOST + 1)
        wrongs: tuple[dict[str, Any], ...] = (
            {"sessions": []},
            {"sessions": 1, "count": 1},
            {"sessions": many, "count": 1},
        )
        for wrong in wrongs:
            self.assertEqual(self.call("POST", "/live", wrong).status, 400)

    def test_wrong_portraits(self) -> None:
        """A live session that is none is left out alone, and told of once a minute; every page shows the others."""
        good, file = told_session(SECOND), told_file("A", 1, 1)
        wrongs: tuple[dict[str, Any], ...] = (
            {"session": "\ud800\x1b"},
            {"session": "a" * 17},
            {"since": "0001-01-01T00:00:00+14:00"},
            {"since": "1969-12-31T23:59:59Z"},
            {"since": "9999-01-01T00:00:00Z"},
            {"since": None},
            {"rate_in": "x"},
            {"rate_in": True},
            {"rate_out": -5},
            {"octets_in": 2**53 + 1},
            {"octets_out": 1.5},
            {"file": "abc"},
            {"file": {}},
            {"file": {**file, "size": "A" * 1000}},
            {"file": {**file, "dataset": "\x1b[31m"}},
            {"partner": "\ud800"},
            {"partner": "x" * 301},
            {"phase": "\u202e"},
            {"agreed": {"level": 5}},
            {"more": {}},
        )
        for more in wrongs:
            wrong = {**told_session(FIRST), **more}
            answer = self.call("POST", "/live", {"sessions": [wrong, 1, {}, good], "count": 4})
            self.assertEqual((answer.status, answer.json), (200, {"refused": 3}), more)
            with self.store.reading() as session:
                found, count = session_list.live(session, NOW)
            self.assertEqual(([each.portrait.session for each in found], count), ([SECOND], 4))
        self.assertEqual([each["client"] for each in self.told if each["name"] == "events.refused"], ["inner"])
        self.clock.advance(60)
        self.call("POST", "/live", {"sessions": [{}], "count": 1})
        facts = [each["facts"] for each in self.told if each["name"] == "events.refused"]
        self.assertEqual(facts, [{"refused": 3, "calls_before": 0}, {"refused": 1, "calls_before": 19}])

    def test_wish(self) -> None:
        """A wish reaches a client that waits for trials."""
        asking = cast("Deferred[Any]", self.start("GET", "/trials?wait=50", If_None_Match='"0"'))
        self.agent.flush()
        with self.store.writing() as session:
            trials.wish(session, FIRST, "end", NOW)
        self.clock.pump([0.25] * 4)
        self.agent.flush()
        wish = {"session": FIRST, "partner": None, "wish": "end", "level": None}
        self.assertEqual(self.successResultOf(asking).json, {"newest": 1, "trials": [wish]})
