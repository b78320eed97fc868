"""What a worker of the server may say: of its own connections, sessions and addresses, and of nothing else."""

import itertools
import socket
from typing import Any
from unittest.mock import Mock

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.admission import Admission, Visit
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.faults import OwnFault, TunnelLost
from smartproxy.policy.penalties import Deaths, Fault, Penalties
from smartproxy.policy.settings import PenaltySettings, ServerLimits
from smartproxy.policy.turns import Turns
from smartproxy.relay.ending import cause_of
from smartproxy.relay.openings import CallWish, Direction, Way
from smartproxy.server.accept import Gate
from smartproxy.server.claims import Claims, WorkerQuestions
from smartproxy.server.crew import ServerCrew
from smartproxy.server.held import HeldCaller
from smartproxy.server.words import (
    Assign,
    BeginCall,
    Blame,
    DataProved,
    Displaced,
    EndCall,
    Left,
    NoPlace,
    OpenInside,
    Prove,
    Spoke,
)
from smartproxy.tunnel.faults import OpeningFailed, QuestionExpired, QuestionFailed, Violation
from smartproxy.tunnel.vocabulary import TunnelCommand
from smartproxy.workers.members import CarriedSession, CrewMember
from tests.adapters.rig import Journal

HOST = "192.0.2.7"


def carried(session: str) -> CarriedSession:
    """A session of ACME, which called."""
    return CarriedSession(session=session, partner="ACME", peer=f"{HOST}:40000", direction=Direction.INBOUND, begun=0.0)


class ClaimsTests(SynchronousTestCase):
    """One worker with one connection, and another one with none."""

    def setUp(self) -> None:
        """Both are there; the limits are small."""
        self.clock = Clock()
        self.journal = Journal(self.clock)
        configuration = ServerConfiguration(limits=ServerLimits(sessions=1))
        self.gate = Gate(
            self.clock,
            self.journal.events,
            Admission(limits=configuration.limits),
            Penalties(PenaltySettings(threshold=15)),
        )
        self.control = Mock(client_name="inner")
        self.assigned: dict[str, Any] = {}
        self.numbers = itertools.count(1)
        self.ended: list[str] = []
        self.met: list[str] = []
        self.fault: OwnFault | None = None
        self.member, self.other = (CrewMember(number, 0.0, Mock()) for number in (1, 2))
        self.claims, self.others = self.of(self.member), self.of(self.other)
        entered = self.gate.enter(HOST, f"{HOST}:40000")
        assert entered is not None
        self.visit: Visit = entered
        self.number = self.claims.handed(HOST, self.visit)

    def of(self, member: CrewMember) -> Claims:
        """What a worker may say."""
        questions = WorkerQuestions(
            assign=self.assign,
            call=lambda control, session: None,
            carrier=self.assigned.get,
            seconds=lambda: 20,
            over=self.ended.append,
            crl_url_seen=lambda url, ca: None,
            stop=lambda reason: None,
        )
        return Claims(
            member, self.gate, questions, Mock(), self.journal.events, Turns(), self.numbers, met=self.met.append
        )

    def assign(self, session: str) -> Any:
        """Part of ``WorkerQuestions``."""
        if self.fault is not None:
            raise self.fault
        self.assigned[session] = self.control
        return self.control

    def says(self, command: type[TunnelCommand], claims: Claims | None = None, **arguments: object) -> Any:
        """The answer to a question of the worker."""
        return (claims or self.claims).responders()[command](**arguments)

    def refused(self, command: type[TunnelCommand], claims: Claims | None = None, **arguments: object) -> str:
        """Why a question ends the worker that asks it."""
        violation: Violation = self.assertRaises(Violation, self.says, command, claims, **arguments)
        self.assertEqual(violation.cause, Cause.WORKER_VIOLATION)
        return violation.detail

    def test_each_connection_has_a_number_of_its_own(self) -> None:
        """No worker's connection has the number of another one's; those of another crew begin anew."""
        self.assertEqual((self.number, self.others.handed(HOST, self.visit)), (1, 2))

    def test_connections_of_others(self) -> None:
        """A worker cannot say of another one's connection that it spoke, left or proved anything."""
        for command, more in ((Spoke, {}), (Left, {}), (Prove, {"partner": "ACME"})):
            self.assertIn("does not have", self.refused(command, self.others, visit=self.number, **more))
        self.assertEqual((self.gate.admission.connections, self.gate.admission.sessions), (1, 0))

    def test_a_connection_is_proved_once(self) -> None:
        """A second proof of the same connection would count a second session."""
        self.says(Prove, visit=self.number, partner="ACME")
        self.assertIn("twice", self.refused(Prove, visit=self.number, partner="ACME"))
        self.assertEqual(self.gate.admission.sessions, 1)

    def test_addresses_of_clients(self) -> None:
        """A worker makes addresses known of which it was handed data connections lately, and no others."""
        self.patch(limits, "WORKER_HOSTS_MOST", 2)
        self.claims.dialled("10.0.0.7")
        self.claims.dialled("2001:db8::7")
        for claims, host in (
            (self.claims, "10.0.0.7"),
            (self.claims, "2001:db8::8"),
            (self.claims, HOST),
            (self.claims, "nowhere"),
            (self.others, "10.0.0.7"),
        ):
            self.says(DataProved, claims, host=host)
        self.assertEqual(self.met, ["10.0.0.7", "2001:db8::8"])
        self.claims.dialled("10.0.0.8")
        self.says(DataProved, host="10.0.0.7")
        self.assertEqual(self.met, ["10.0.0.7", "2001:db8::8"])

    def test_limits_are_exact_across_workers(self) -> None:
        """The one session that there may be is taken by one worker; the other one is told which limit is reached."""
        self.says(Prove, visit=self.number, partner="ACME")
        second = self.gate.enter("192.0.2.8", "192.0.2.8:40000")
        assert second is not None
        number = self.others.handed("192.0.2.8", second)
        told = self.assertRaises(NoPlace, self.says, Prove, self.others, visit=number, partner="BOLT")
        again = NoPlace.read(str(told), told.fields())
        self.assertEqual((again.denied.limit, again.denied.value, again.denied.rule), ("sessions", 1, "quota.sessions"))
        self.assertRaises(NoPlace, self.says, BeginCall, self.others, partner="BOLT")
        self.says(Left, visit=self.number)
        self.says(BeginCall, self.others, partner="BOLT")
        self.assertEqual(self.gate.admission.sessions, 1)
        self.says(EndCall, self.others, partner="BOLT")
        self.assertIn("does not have", self.refused(EndCall, self.others, partner="BOLT"))
        self.assertEqual(self.gate.admission.sessions, 0)

    def test_a_displaced_connection(self) -> None:
        """The worker is told; what it said before it knew is no violation, and counts nothing.

        A session that it was to become has no place.
        """
        self.visit.leave()
        entered = self.gate.enter(HOST, f"{HOST}:40001")
        assert entered is not None
        number = self.claims.handed(HOST, entered)
        displaced = entered.displaced
        entered.leave()
        displaced()
        tell: Any = self.member.link.tell
        tell.assert_called_once_with(Displaced, visit=number)
        self.says(Spoke, visit=number)
        told = self.assertRaises(NoPlace, self.says, Prove, visit=number, partner="ACME")
        again = NoPlace.read(str(told), told.fields()).denied
        self.assertEqual((again.rule, again.limit), (Cause.QUOTA_DISPLACED, "connections"))
        self.says(Left, visit=number)
        self.assertEqual((self.gate.admission.connections, self.gate.admission.sessions), (0, 0))

    def test_addresses_of_others(self) -> None:
        """A worker can have an address banned that it had a connection of, and no other one."""
        self.assertIn("nothing to do", self.refused(Blame, self.others, host=HOST, fault=Fault.IDENTITY))
        self.says(Left, visit=self.number)
        self.says(Blame, host=HOST, fault=Fault.EFFORT)
        self.assertGreater(self.gate.penalties.banned(HOST, self.clock.seconds()), 0)

    def test_a_flood_of_addresses(self) -> None:
        """An address is blamed as long as it has a connection, and a while after, however many others came since.

        Of one that a flood made forgotten, nothing is counted; the worker does not end for it.
        """
        self.patch(limits, "WORKER_HOSTS_MOST", 2)
        flood = [self.claims.handed(f"192.0.2.{number}", Mock(partner=None)) for number in (8, 9, 10)]
        self.says(Blame, host=HOST, fault=Fault.EFFORT)
        self.assertGreater(self.gate.penalties.banned(HOST, self.clock.seconds()), 0)
        self.says(Left, visit=flood[0])
        self.says(Blame, host="192.0.2.8", fault=Fault.EFFORT)
        self.assertGreater(self.gate.penalties.banned("192.0.2.8", self.clock.seconds()), 0)
        self.says(Blame, host="192.0.2.11", fault=Fault.EFFORT)
        self.assertEqual(len(self.gate.penalties), 2)

    def test_sessions_of_others(self) -> None:
        """A worker cannot have a session opened that it did not begin."""
        self.assertIn("does not have", self.refused(Assign, session="a1"))
        self.assertIn("does not have", self.refused(OpenInside, session="a1", ticket=b"", peer="x"))
        self.member.sessions["a1"] = carried("a1")
        self.assertEqual(self.says(Assign, session="a1"), {"client": "inner", "seconds": 20})

    def test_no_client(self) -> None:
        """Where no client can carry a session, its worker is told why."""
        self.member.sessions["a1"] = carried("a1")
        self.fault = TunnelLost(rule=Cause.TUNNEL_NONE, message="no client is connected")
        failed = self.assertRaises(OpeningFailed, self.says, Assign, session="a1")
        self.assertEqual(failed.fault.rule, Cause.TUNNEL_NONE)
        failure = self.failureResultOf(self.says(OpenInside, session="a1", ticket=b"", peer="x"), OpeningFailed)
        self.assertEqual(failure.value.fault.rule, Cause.TUNNEL_LOST)

    def test_deaths_are_counted_against_who_was_there(self) -> None:
        """The third worker within a minute that dies with a connection of an address raises the address's penalty."""
        deaths = Deaths()
        self.member.sessions["a1"] = carried("a1")
        self.says(Prove, visit=self.number, partner="ACME")
        for _ in range(2):
            self.claims.died(deaths, self.clock.seconds())
        self.assertEqual(self.gate.penalties.banned(HOST, self.clock.seconds()), 0)
        self.claims.died(deaths, self.clock.seconds())
        self.assertGreater(self.gate.penalties.banned(HOST, self.clock.seconds()), 0)
        self.assertEqual(self.journal.the("penalty.banned")["cause"], Cause.PENALTY_DEATHS)
        self.assertEqual(self.ended, ["a1"] * 3)
        ended = self.journal.of("session.ended")[0]
        self.assertEqual(
            (ended["session"], ended["partner"], ended["outcome"], ended["cause"]),
            ("a1", "ACME", "lost", Cause.WORKER_LOST),
        )

    def test_partners_that_are_called(self) -> None:
        """What a called partner did in sessions, and workers that died with them, has the site not call it for a while.

        Partners that are called otherwise, and calls of this one, are not concerned.
        """
        deaths = Deaths()
        for _ in range(3):
            self.says(BeginCall, partner="BOLT")
            self.claims.died(deaths, self.clock.seconds())
            self.claims = self.of(self.member)
        self.assertRaises(NoPlace, self.says, BeginCall, partner="BOLT")
        self.says(BeginCall, partner="ACME")
        self.says(EndCall, partner="ACME", fault=Fault.EFFORT)
        told = self.assertRaises(NoPlace, self.says, BeginCall, self.others, partner="ACME")
        again = NoPlace.read(str(told), told.fields()).denied
        self.assertEqual((again.rule, again.limit, again.value), (Cause.CALL_BANNED, "ban", 60))
        self.assertIn("not called for 60 more seconds", again.message)
        self.says(BeginCall, partner="CALM")
        self.assertEqual(self.gate.penalties.banned(HOST, self.clock.seconds()), 0)

    def test_what_a_worker_held_is_given_back(self) -> None:
        """A worker's calls are over with it; its connections are given back by the crew."""
        self.says(BeginCall, partner="ACME")
        self.claims.died(Deaths(), 0.0)
        for let_go in self.member.holds.values():
            let_go()
        self.assertEqual((self.gate.admission.sessions, self.gate.admission.connections), (0, 0))


class HasteTests(SynchronousTestCase):
    """Connections for two workers, of which neither has begun the TLS of any."""

    def setUp(self) -> None:
        """Each worker gets every second connection; more than one that waits are many."""
        self.patch(limits, "TURNS_WAITING_MANY", 2)
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.admission = Admission(limits=ServerConfiguration().limits)
        gate = Gate(self.clock, self.journal.events, self.admission, Penalties(PenaltySettings()))
        self.crew = ServerCrew(self.clock, self.journal.events, gate, Mock(), Mock(), Mock(), count=2)
        self.crew.generation = Mock(server=ServerConfiguration())
        self.members = [CrewMember(number, 0.0, Mock(), ready=True) for number in (1, 2)]
        self.answers = [self.crew.responders(member) for member in self.members]
        self.handed = 0
        self.patch(self.crew._crew, "choose", lambda: succeed(self.members[self.handed % 2]))

    def comes(self, host: str) -> bool:
        """Whether a connection is let in; it has something to read then."""
        held = self.crew.factory().buildProtocol(IPv4Address("TCP", host, 40000))
        if held is None:
            return False
        assert isinstance(held, HeldCaller)
        held.readable(Mock())
        self.handed += 1
        return True

    def test_the_limit_is_exact_across_workers(self) -> None:
        """An address that came often to all workers together waits no more where many wait; others do."""
        self.assertEqual([self.comes(HOST) for _ in range(5)], [True] * limits.TURNS_HASTY + [False])
        self.assertEqual(self.journal.the("connection.refused")["cause"], Cause.QUOTA_HASTE)
        self.assertTrue(self.comes("192.0.2.8"))

    def waits(self) -> socket.socket:
        """The far end of a connection that has something to read when no worker is ready, 4 s after it came."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            self.addCleanup(end.close)
        theirs.setblocking(False)
        held = self.crew.factory().buildProtocol(IPv4Address("TCP", HOST, 40000))
        assert isinstance(held, HeldCaller)
        held.makeConnection(StringTransport())
        self.clock.advance(4)
        held.readable(Mock(detach=lambda: ours))
        return theirs

    def test_no_worker_is_ready(self) -> None:
        """A connection that waits for a worker is closed at the deadline of its handshake, or when it makes room."""
        self.patch(self.crew._crew, "choose", Deferred)
        late = self.waits()
        self.clock.advance(ServerConfiguration().deadlines.handshake - 4.1)
        self.assertRaises(BlockingIOError, late.recv, 1)
        self.clock.advance(0.1)
        self.assertEqual((late.recv(1), self.admission.connections), (b"", 0))
        self.assertEqual(self.journal.the("connection.refused")["cause"], Cause.WORKER_START)
        self.admission.limits = ServerLimits(connections=1)
        displaced = self.waits()
        entered = self.admission.enter("192.0.2.8")
        self.assertEqual((displaced.recv(1), self.admission.connections), (b"", 1))
        self.assertEqual(self.journal.of("connection.refused")[1]["cause"], Cause.QUOTA_DISPLACED)
        entered.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_worker_is_ready_later(self) -> None:
        """It is told how long the connection has waited since it was accepted."""
        chosen = Deferred[CrewMember]()
        self.patch(self.crew._crew, "choose", lambda: chosen)
        self.waits()
        self.clock.advance(2)
        chosen.callback(self.members[0])
        link: Any = self.members[0].link
        self.assertEqual(link.hand_over.call_args.kwargs["age"], 6000)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.admission.connections, 1)

    def not_handed(self, error: Exception, lost: object = None) -> None:
        """The next connection cannot be handed to the first worker."""
        self.patch(self.crew._crew, "choose", lambda: succeed(self.members[0]))
        self.members[0].link = Mock(lost=lost, hand_over=lambda *handed, **told: fail(error))
        self.waits()

    def test_a_worker_that_cannot_be_handed_anything(self) -> None:
        """A connection that its worker cannot be handed has no place and no turn any more."""
        self.not_handed(QuestionFailed("the worker has no descriptor left"))
        self.assertEqual((self.admission.connections, len(self.crew._turns)), (0, 0))
        self.assertEqual(self.members[0].holds, {})
        self.assertEqual(self.journal.the("connection.refused")["cause"], Cause.WORKER_START)
        self.assertRaises(Violation, self.answers[0][Left], visit=1)

    def test_a_worker_that_gets_it_too_late(self) -> None:
        """A worker that did not answer in time is told to close the connection; what it says of it is no violation."""
        self.not_handed(QuestionExpired("PartnerCame was not answered within 10 s"))
        self.assertEqual((self.admission.connections, len(self.crew._turns)), (0, 0))
        link: Any = self.members[0].link
        link.tell.assert_called_once_with(Displaced, visit=1)
        self.answers[0][Left](visit=1)
        self.assertRaises(Violation, self.answers[0][Left], visit=1)

    def test_a_worker_that_is_lost(self) -> None:
        """A connection that was on its way to a worker that dies counts as one of the worker's."""
        self.not_handed(OwnFault(rule=Cause.WORKER_LOST, message="gone"), lost=Mock())
        self.assertEqual((self.admission.connections, len(self.members[0].holds)), (1, 1))
        self.crew.died(self.members[0])
        self.assertEqual(len(self.crew._turns), 0)

    def test_a_worker_that_leaves(self) -> None:
        """What a worker that is not needed any more did not end is over with it; nobody is to blame."""
        for _ in range(5):
            member = CrewMember(3, 0.0, Mock())
            self.crew.responders(member)[BeginCall](partner="ACME")
            member.sessions["a1"] = carried("a1")
            member.leaving = True
            self.crew.died(member)
            self.assertEqual(self.admission.sessions, 0)
            self.assertEqual(self.journal.of("session.ended")[-1]["session"], "a1")

    def failed_call(self, error: Exception) -> Exception:
        """What a client is told whose call a worker could not make."""
        self.patch(self.members[0].link, "ask", Mock(side_effect=error))
        wish = CallWish(way=Way.PORT)
        call = Deferred.fromCoroutine(self.crew._call_partner(Mock(), "a1", "ACME", 5, wish))
        failed = self.failureResultOf(call).value
        self.assertEqual(self.members[0].holds, {})
        assert isinstance(failed, Exception)
        return failed

    def test_a_call_that_fails(self) -> None:
        """A fault of this site is told with its cause; any other error goes on as it is, and is not its own cause."""
        fault = TunnelLost(rule=Cause.TUNNEL_LOST, message="gone")
        failed = self.failed_call(fault)
        assert isinstance(failed, OpeningFailed)
        self.assertEqual((failed.fault, failed.__cause__), (fault, fault))
        error = RuntimeError("no")
        self.assertIs(self.failed_call(error), error)
        self.assertIsNone(error.__cause__)

    def test_a_call_that_no_worker_takes(self) -> None:
        """It fails when its time is over, or nobody waits for it any more, and leaves nothing behind."""
        over: list[str] = []
        self.patch(self.crew, "_questions", Mock(over=over.append))
        wish = CallWish(way=Way.PORT)
        for ends in (lambda call: self.clock.advance(5), lambda call: call.cancel()):
            self.patch(self.crew._crew, "choose", Deferred)
            call = Deferred.fromCoroutine(self.crew._call_partner(Mock(), "a1", "ACME", 5, wish))
            self.assertEqual(over, [])
            ends(call)
            failed = self.failureResultOf(call).value
            if isinstance(failed, OpeningFailed):
                self.assertEqual(cause_of(failed.fault), Cause.WORKER_START)
            self.assertEqual((over.pop(), over), ("a1", []))

    def test_who_waits_no_more(self) -> None:
        """A connection whose TLS begins, that ends, or whose worker dies, waits no more: its address may come again."""
        for _ in range(limits.TURNS_HASTY):
            self.comes(HOST)
        first, second = (list(member.holds) for member in self.members)
        self.answers[0][Spoke](visit=first[0])
        self.answers[0][Left](visit=first[1])
        self.assertFalse(self.comes(HOST))
        self.crew.died(self.members[1])
        self.assertEqual(len(second), 2)
        self.assertTrue(self.comes(HOST))
