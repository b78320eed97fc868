"""The client's supervisor and its workers: who gets what, what a worker may say, and what is left of one that dies."""

import socket
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.crew import CrewHouse
from smartproxy.client.house import Questions
from smartproxy.client.wanted_calls import CallDenied, GrantedCall, WantedCall
from smartproxy.client.words import (
    Adopt,
    AskCall,
    ForgetServer,
    HearStation,
    KeepRecord,
    KnowServer,
    OpenSession,
    ServerWorkers,
    StationHeard,
    StationTried,
    TakeCaller,
    TunnelIsUp,
    pieces,
)
from smartproxy.logs.record import Record
from smartproxy.oftp2.roles import Profile
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import OwnFault, PartnerUnreachable, StationUnreachable, Step
from smartproxy.policy.schema import write_object
from smartproxy.policy.settings import Pool, Station
from smartproxy.relay.openings import Direction, SessionFacts, Way
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.faults import Closing, OpeningFailed, QuestionFailed, Violation
from smartproxy.tunnel.lane import Inbound
from smartproxy.tunnel.marks import TICKET_OCTETS
from smartproxy.workers.members import CarriedSession, CrewMember
from tests.adapters.rig import Journal

SESSION = "0123456789abcdef"
TICKET = bytes(TICKET_OCTETS)
FACTS = SessionFacts(peer="192.0.2.7:40112", partner="ACME")
FILE = {"link": "in", "sender": "initiator", "dataset": "DOOR", "stamp": "20261120 1215300001"}
INBOUND = Inbound(session=SESSION, ticket=TICKET, seconds=20, facts=FACTS)


class CrewHouseTests(SynchronousTestCase):
    """Two workers, whose links take notes."""

    def setUp(self) -> None:
        """Both are ready; the first is chosen."""
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.over: list[str] = []
        self.tried: list[tuple[Station, str | None]] = []
        self.heard: list[tuple[Station, str | None]] = []
        self.records: list[bytes] = []
        self.calls: list[tuple[str, WantedCall]] = []
        self.granted: Deferred[GrantedCall] = Deferred()
        questions = Questions(
            call=self.call,
            over=self.over.append,
            tried=lambda station, message: self.tried.append((station, message)),
            heard=lambda station, message: self.heard.append((station, message)),
            recorded=self.records.append,
        )
        self.house = CrewHouse(self.clock, self.journal.events, questions, Mock(), count=2)
        self.member, self.other = (CrewMember(number, 0.0, Mock(), ready=True) for number in (1, 2))
        self.chosen: Deferred[CrewMember] = succeed(self.member)
        self.patch(self.house.crew, "choose", lambda: self.chosen)

    def call(self, session: str, wanted: WantedCall) -> Deferred[GrantedCall]:
        """Part of ``Questions``."""
        self.calls.append((session, wanted))
        return self.granted

    def says(self, command: Any, member: CrewMember | None = None, **arguments: object) -> Any:
        """What a worker is answered."""
        return self.house.responders(member or self.member)[command](**arguments)

    def opening(self, answer: Any) -> Deferred[None]:
        """A server opens a session; the worker answers so."""
        link: Any = self.member.link
        link.ask.return_value = fail(answer) if isinstance(answer, Exception) else answer
        return Deferred.fromCoroutine(self.house.open_inbound(0, INBOUND))

    def test_session_of_a_partner(self) -> None:
        """The worker is told all that the server said; the place is given back when it says so, once."""
        self.successResultOf(self.opening(succeed({})))
        link: Any = self.member.link
        ((command,), told) = link.ask.call_args
        self.assertEqual((command, told["session"], told["ticket"]), (OpenSession, SESSION, TICKET))
        self.assertEqual((told["partner"], told["deadline"], told["server"]), ("ACME", 20, 0))
        self.assertEqual((self.over, self.member.load), ([], 1))
        self.house.over(self.member, SESSION)
        self.house.over(self.member, SESSION)
        self.assertEqual((self.over, self.member.load), ([SESSION], 0))

    def test_session_that_is_not_opened(self) -> None:
        """The worker's reason is the server's; a worker that cannot be asked gives the place back."""
        fault = StationUnreachable(rule=Cause.STATION_REFUSED, message="it refuses the connection")
        found = self.failureResultOf(self.opening(OpeningFailed(fault)), StationUnreachable)
        self.assertEqual((found.value.rule, self.over), (Cause.STATION_REFUSED, []))
        self.house.over(self.member, SESSION)
        found = self.failureResultOf(self.opening(QuestionFailed("too many are waiting")), StationUnreachable)
        self.assertEqual((found.value.rule, self.over), (Cause.TUNNEL_QUESTION, [SESSION, SESSION]))
        self.assertEqual(self.member.holds, {})

    def test_no_worker_in_time(self) -> None:
        """Nothing waits longer than its asker: a session is refused, and a caller's connection closed."""
        self.chosen = Deferred()
        opening = self.opening(succeed({}))
        self.clock.advance(INBOUND.seconds)
        self.assertEqual(self.failureResultOf(opening, StationUnreachable).value.rule, Cause.WORKER_START)
        self.assertEqual(self.over, [SESSION])
        self.chosen = Deferred()
        broken = self.opening(succeed({}))
        broken.cancel()
        self.failureResultOf(broken, CancelledError)
        self.assertEqual(self.over, [SESSION, SESSION])
        self.chosen = Deferred()
        ours, theirs = socket.socketpair()
        with ours:
            self.house.take_caller(theirs, "ACME")
            self.clock.advance(limits.CALLER_SECONDS)
            self.assertEqual(ours.recv(1), b"")

    def test_caller(self) -> None:
        """A caller's connection goes to the worker with an id, for which alone the worker may ask for a call."""
        link: Any = self.member.link
        link.hand_over.return_value = succeed({})
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.house.take_caller(theirs, "ACME")
        ((command, given), told) = link.hand_over.call_args
        self.assertEqual((command, given, told["partner"]), (TakeCaller, theirs, "ACME"))
        session = told["session"]
        asked: dict[str, Any] = {"way": Way.PORT, "caller": "192.168.7.9:40000", "name": "ACME"}
        asked |= {"host": None, "port": None}
        answer = self.says(AskCall, session=session, **asked)
        self.assertEqual(self.calls, [(session, WantedCall(way=Way.PORT, caller="192.168.7.9:40000", name="ACME"))])
        self.granted.callback(GrantedCall(partner="ACME", profile=Profile.DEFAULT, server=1, ticket=TICKET))
        self.assertEqual(self.successResultOf(answer)["server"], 1)
        self.assertRaises(Violation, self.says, AskCall, self.other, session=session, **asked)
        self.assertRaises(Violation, self.says, AskCall, session="f" * 16, **asked)
        self.assertEqual(len(self.calls), 1)

    def test_station_that_no_session_wants(self) -> None:
        """One worker calls it, and is not asked to tell an event; it holds no place, and is free when it says so."""
        link: Any = self.member.link
        link.ask.return_value = answer = Deferred[Any]()
        heard = Deferred.fromCoroutine(self.house.hear_station())
        ((command,), told) = link.ask.call_args
        self.assertIs(command, HearStation)
        self.assertEqual((list(self.member.holds), self.calls), ([told["session"]], []))
        self.house.over(self.member, told["session"])
        answer.errback(QuestionFailed("the worker is gone"))
        self.successResultOf(heard)
        self.assertEqual((self.member.load, self.over), (0, [told["session"]]))

    def test_what_is_no_object(self) -> None:
        """A worker that tells of a station something else than one is ended."""
        station = Station(host="192.0.2.20")
        self.says(StationTried, station=[write_object(station)], message="it refuses the connection")
        self.assertEqual((self.tried, self.heard), ([(station, "it refuses the connection")], []))
        self.says(StationHeard, station=[write_object(station)], message=None)
        self.assertEqual(self.heard, [(station, None)])
        for wrong in ([], [{"host": 7}], [write_object(station)] * 2):
            self.assertRaises(Violation, self.says, StationTried, station=wrong, message=None)

    def test_what_a_worker_was_born_with(self) -> None:
        """One that was made after configuration and server were known is told neither, an older one both."""
        zygote: Any = self.house.crew._zygote
        lane = self.house.lane(0, "192.0.2.30", 3305, Pool())
        self.house.adopt(ClientConfiguration())
        lane.renew(ClientCredential(certificate="certificate", key="key"), ["a1"])
        self.assertEqual((zygote.teach.call_count, self.house.crew.lessons), (2, 2))
        lane.start()
        for member, told in (
            (CrewMember(3, 0.0, Mock(), lessons=2), [TunnelIsUp]),
            (CrewMember(4, 0.0, Mock(), lessons=1), [Adopt, KnowServer, TunnelIsUp]),
        ):
            link: Any = member.link
            link.ask.return_value = succeed({})
            self.successResultOf(self.house.prepare(member))
            self.assertEqual([command for (command,), _ in link.ask.call_args_list], told)

    def test_server_whose_tunnel_is_over(self) -> None:
        """Workers are told once to forget it, those that are made from then on as well; no new one hears of it."""
        crew = self.house.crew
        crew._members[1] = self.member
        lane = self.house.lane(0, "192.0.2.30", 3305, Pool())
        lane.renew(ClientCredential(certificate="certificate", key="key"), ["a1"])
        for _ in range(2):
            self.house.forget(0)
        link: Any = self.member.link
        self.assertEqual([command for (command,), _ in link.tell.call_args_list], [KnowServer, ForgetServer])
        self.assertEqual(crew.lessons, 2)
        newer: Any = Mock()
        newer.ask.return_value = succeed({})
        self.successResultOf(self.house.prepare(CrewMember(3, 0.0, newer)))
        self.assertEqual([command for (command,), _ in newer.ask.call_args_list], [Adopt])

    def test_server_whose_tunnel_ends_meanwhile(self) -> None:
        """A worker that was told of a server just before its tunnel was over forgets it before it is ready."""
        lane = self.house.lane(0, "192.0.2.30", 3305, Pool())
        lane.renew(ClientCredential(certificate="certificate", key="key"), ["a1"])
        lane.start()
        link: Any = Mock()
        link.ask.side_effect = [succeed({}), succeed({}), answer := Deferred[Any](), succeed({}), succeed({})]
        preparing = self.house.prepare(CrewMember(3, 0.0, link))
        lane.stop(Closing(Cause.TUNNEL_LOST, "test"))
        self.house.forget(0)
        answer.callback({})
        self.successResultOf(preparing)
        told = [command for (command,), _ in link.ask.call_args_list]
        self.assertEqual(told, [Adopt, KnowServer, TunnelIsUp, Adopt, ForgetServer])

    def test_one_session_each(self) -> None:
        """A process for one session is not told of the server's workers: its session says which one it is for."""
        for single, told in ((False, [TunnelIsUp, ServerWorkers]), (True, [TunnelIsUp])):
            crew = CrewHouse(self.clock, self.journal.events, Mock(), Mock(), count=2, single=single)
            lane = crew.lane(0, "192.0.2.30", 3305, Pool())
            lane.renew(ClientCredential(certificate="certificate", key="key"), ["a1"])
            lane.start()
            lane.serve([7, 8])
            link: Any = Mock()
            link.ask.return_value = succeed({})
            self.successResultOf(crew.prepare(CrewMember(3, 0.0, link, lessons=1)))
            self.assertEqual([command for (command,), _ in link.ask.call_args_list], told)

    def test_process_that_is_known_late(self) -> None:
        """A worker that is ready before it is known which process it is is told of as soon as that is known."""
        crew = self.house.crew
        late = crew._members[3] = CrewMember(3, 0.0, Mock())
        link: Any = late.link
        link.ask.return_value = succeed({})
        self.successResultOf(Deferred.fromCoroutine(crew._begin(late)))
        self.assertEqual((True, []), (late.ready, self.journal.records))
        crew._born(3, 4711)
        self.assertEqual({"pid": 4711}, self.journal.the("worker.started"))

    def test_records(self) -> None:
        """A record that is longer than a value is put together again."""
        packed = bytes(range(256)) * 256
        self.says(KeepRecord, self.member, **pieces(packed))
        self.assertEqual(self.records, [packed])

    def test_death(self) -> None:
        """The end of each of its sessions is told, once, as lost, with what it had told of the session before."""
        carried = self.carries()
        self.tells(carried, "session.started", code="O0013000001ACME", release_level=5)
        for outcome in ("completed", "completed", "refused"):
            self.tells(carried, "file.started", **FILE)
            self.tells(carried, "file.ended", **FILE, outcome=outcome)
        self.clock.advance(7.0)
        self.house.died(self.member)
        told = self.journal.the("session.ended")
        self.assertEqual(
            told,
            {
                "session": SESSION,
                "partner": "ACME",
                "peer": FACTS.peer,
                "direction": "inbound",
                "code": "O0013000001ACME",
                "release_level": 5,
                "outcome": "lost",
                "cause": "worker.lost",
                "message": Cause.WORKER_LOST.meaning,
                "ended_by": "client",
                "files_in": 2,
                "files_out": 0,
                "unconfirmed": 0,
                "duration": 7.0,
            },
        )
        self.assertEqual(self.journal.of("file.ended"), [])

    def test_death_during_a_file(self) -> None:
        """A file that was under way is lost; one that was sent whole is not confirmed, with what was sent of it."""
        whole, begun = {"octets": 4711, "records": 12}, {**FILE, "dataset": "BEGUN"}
        sent, lost = self.carries(), self.carries("lost")
        self.tells(sent, "file.started", **FILE)
        sent.sent(**whole)
        for carried in (sent, lost):
            self.tells(carried, "file.ended", **FILE, outcome="completed")
            self.tells(carried, "file.started", **begun)
        sent.sent(**whole)
        self.house.died(self.member)
        always = {"partner": "ACME", "peer": FACTS.peer, "direction": "inbound", **begun}
        self.assertEqual(
            self.journal.of("file.ended"),
            [
                {"session": SESSION, "outcome": "unconfirmed", **always, **whole},
                {"session": "lost", "outcome": "lost", **always},
            ],
        )
        self.assertEqual([each["unconfirmed"] for each in self.journal.of("session.ended")], [1, 0])

    def test_death_behind_a_record_count_of_17_digits(self) -> None:
        """The end of a file is told without a record count that no event can hold."""
        sent = self.carries()
        self.tells(sent, "file.started", **FILE)
        sent.sent(4711, 10**17 - 1)
        self.house.died(self.member)
        (told,) = self.journal.of("file.ended")
        self.assertEqual((told["outcome"], told["octets"], told.get("records")), ("unconfirmed", 4711, None))

    def carries(self, session: str = SESSION) -> CarriedSession:
        """The worker began a session."""
        carried = self.member.sessions[session] = CarriedSession(
            session=session, partner="ACME", peer=FACTS.peer, direction=Direction.INBOUND, begun=self.clock.seconds()
        )
        return carried

    def tells(self, carried: CarriedSession, name: str, **fields: Any) -> None:
        """The worker tells an event of the session."""
        carried.observe(Record(name, datetime(2026, 11, 20, tzinfo=UTC), "client", None, fields))


class Denied(SynchronousTestCase):
    """A call that is denied, on its way to the worker."""

    def test_travels(self) -> None:
        """Fault, partner and profile arrive; what is no fault of a call does not."""
        fault = PartnerUnreachable.at(Step.TLS, "the certificate has expired", Cause.CERTIFICATE_EXPIRED)
        for partner in ("ACME", None):
            denied = CallDenied(fault, partner, Profile.STRICT)
            read = CallDenied.read(fault.message, denied.fields())
            self.assertEqual((read.partner, read.profile), (partner, Profile.STRICT))
            self.assertEqual((read.unreached.step, read.unreached.cause), (Step.TLS, Cause.CERTIFICATE_EXPIRED))
        other = OpeningFailed(OwnFault(rule=Cause.TUNNEL_POOL, message="none"))
        self.assertRaises(ValueError, CallDenied.read, "none", {**other.fields(), b"profile": b"default"})
