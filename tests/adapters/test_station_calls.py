"""The client's side of calls: which partner is meant, who carries the call, and what the station is told."""

from typing import Any, ClassVar, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.desk import SessionDesk
from smartproxy.client.egress import StationCalls
from smartproxy.client.house import Questions, SessionHouse
from smartproxy.client.local_callers import connect_failure
from smartproxy.net.proxying.ways import ConnectFailure
from smartproxy.oftp2 import codec
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration, Configuration, ServerConfiguration
from smartproxy.policy.faults import OwnFault, PartnerUnreachable, Step, TunnelLost, Unlicensed
from smartproxy.policy.partners import CertificatePin, Outbound, Partner, Verify
from smartproxy.policy.settings import ClientLimits, OutboundListener
from smartproxy.relay.openings import CallWish, Way
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.lane import DataLane
from smartproxy.tunnel.marks import TICKET_OCTETS
from tests.adapters.ports import PortsReactor
from tests.adapters.rig import Caller, FakeLeg, Journal
from tests.adapters.wires import Network
from tests.unit.playbook import PARTNER_SSID, STATION_SSID

PIN = CertificatePin(sha256="00" * 32)
TICKET = bytes(TICKET_OCTETS)


class Control:
    """A server that is asked for partners.

    :ivar asked: session, partner, wish, seconds and answer of each question.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, CallWish, float, Deferred[Any]]] = []
        self.canceled = 0

    def call(self, session: str, partner: str, wish: CallWish, *, seconds: float) -> Deferred[Any]:
        """Keep the question."""
        answer: Deferred[Any] = Deferred(self._cancel)
        self.asked.append((session, partner, wish, seconds, answer))
        return answer

    def _cancel(self, answer: Deferred[Any]) -> None:
        self.canceled += 1


def partner(name: str, host: str, *, listener: int | None = None, **changes: Any) -> Partner:
    """A partner who can be called."""
    outbound = Outbound(host=host, verify=Verify.PIN, listener=listener)
    return Partner(**{"name": name, "codes": (name,), "certificates": (PIN,), "outbound": outbound, **changes})


class Lane:
    """The data connections to a server: whoever shows the ticket gets the leg that the test made last."""

    def __init__(self, case: "StationCallsTestCase") -> None:
        self.case = case

    async def attach(self, ticket: bytes) -> FakeLeg:
        """Give it the leg."""
        if ticket != TICKET:
            raise AssertionError(ticket)
        if isinstance(self.case.leg, Exception):
            raise self.case.leg
        return self.case.leg


class StationCallsTestCase(SynchronousTestCase):
    """A client with two servers, and callers on a network in memory.

    :ivar leg: what the next ticket is good for; or why there is no data connection for it.
    """

    leg: FakeLeg | Exception

    def setUp(self) -> None:
        """Two partners, one with a port of its own."""
        self.reactor = PortsReactor()
        self.network = Network(self.reactor)
        self.journal = Journal(self.reactor)
        self.over: list[str] = []
        self.controls = [Control(), Control()]
        self.configuration: Configuration | None = None
        self.numbers = iter(range(1, 100))
        self.desk = SessionDesk(self.reactor, self.client_part)
        self.house = SessionHouse(
            reactor=self.reactor,
            events=self.journal.events,
            questions=Questions(
                call=lambda session, wanted: self.calls.call(session, wanted),
                over=self.is_over,
                tried=self.desk.station_tried,
                heard=self.desk.station_heard,
                recorded=lambda packed: None,
            ),
            new_id=lambda: f"{next(self.numbers):016x}",
        )
        self.house.lanes = {number: cast(DataLane, Lane(self)) for number in (0, 1)}
        self.sessions = self.house.sessions
        self.calls = StationCalls(
            reactor=self.reactor,
            events=self.journal.events,
            configuration=lambda: self.configuration,
            controls=lambda: cast(dict[int, ClientControl], dict(enumerate(self.controls))),
            desk=self.desk,
            factory=self.house.callers.factory,
        )
        self.configure(partner("ACME", "oftp.acme.example", listener=3307), partner("BOLT", "192.0.2.8"))

    def client_part(self) -> ClientConfiguration:
        """The client's part of what is in force."""
        return ClientConfiguration() if self.configuration is None else self.configuration.client

    def is_over(self, session: str) -> None:
        """A session needs its place no more."""
        self.over.append(session)
        self.desk.over(session)
        self.calls.over(session)

    def configure(self, *partners: Partner, **client: Any) -> None:
        """Put a configuration in force."""
        self.configuration = Configuration(
            generation=1,
            site="Muster GmbH",
            server=ServerConfiguration(partners=partners),
            client=ClientConfiguration(**client),
        )
        self.house.configuration = self.client_part()
        self.calls.adopt(self.configuration)

    def caller(self, octets: bytes = b"", *, port: int = 65433) -> Caller:
        """Somebody inside connects and says something."""
        caller = Caller()
        factory: Any = next(each.factory for each in self.reactor.ports if each.number == port)
        leg = factory.buildProtocol(IPv4Address("TCP", "192.168.7.9", 40000))
        self.end, _ = self.network.connect(caller, leg, "192.168.7.9")
        self.network.settle()
        self.says(caller, octets)
        return caller

    def says(self, caller: Caller, octets: bytes) -> None:
        """A caller sends octets."""
        transport: Any = caller.transport
        transport.write(octets)
        self.network.settle()

    def answer(self, result: Any, control: int = 0, number: int = -1) -> Any:
        """A server answers its question."""
        deferred = self.controls[control].asked[number][4]
        if isinstance(result, Exception):
            deferred.errback(Failure(result))
        else:
            self.leg = result
            deferred.callback(TICKET)
        self.network.settle()
        return result

    @property
    def asked(self) -> list[str]:
        """The partners that were asked for, at all servers."""
        return [each[1] for control in self.controls for each in control.asked]


class Ports(StationCallsTestCase):
    """Where callers are awaited."""

    NUMBERS: ClassVar[dict[str, int]] = {"": 65433, "BOLT": 3309, "COPA": 3308}

    def test_listeners(self) -> None:
        """One for callers that name the partner, and one for each partner with a port; changed without a gap."""
        self.assertEqual(self.reactor.numbers, [3307, 65433])
        self.assertEqual({each.interface for each in self.reactor.ports}, {"127.0.0.1"})
        kept = next(each for each in self.reactor.ports if each.number == 65433)
        self.configure(partner("BOLT", "192.0.2.8", listener=3307), partner("ACME", "h", listener=3308))
        self.network.settle()
        self.assertEqual(self.reactor.numbers, [3307, 3308, 65433])
        self.assertNotIn("listener.failed", self.journal.names())
        self.assertIn(kept, self.reactor.ports)
        self.caller(port=3307)
        self.assertEqual(self.asked, ["BOLT"])

    def test_last_generation(self) -> None:
        """What is wanted last is open in the end, though ports were being closed for generations before it."""
        self.configure(partner("BOLT", "192.0.2.8", listener=3307), partner("ACME", "h", listener=3308))
        self.configure(partner("BOLT", "192.0.2.8", listener=3308), partner("ACME", "h", listener=3307))
        self.configure(partner("BOLT", "192.0.2.8", listener=3309), partner("COPA", "h", listener=3308))
        self.assertEqual(set(self.calls.ports), {"", "BOLT", "COPA"})
        self.network.settle()
        self.assertEqual({name: port and port.port for name, port in self.calls.ports.items()}, self.NUMBERS)
        self.assertEqual(self.reactor.numbers, sorted(self.NUMBERS.values()))
        self.configure(partner("BOLT", "192.0.2.8", listener=3308), partner("COPA", "h", listener=3309))
        closed = self.calls.close("the client stops")
        self.network.settle()
        self.successResultOf(closed)
        self.assertEqual(self.reactor.numbers, [])
        self.assertNotIn("listener.failed", self.journal.names())

    def test_none(self) -> None:
        """Nobody is awaited while no partner can be called, where it is switched off, and at the end."""
        self.configure(partner("ACME", "h", outbound=None))
        self.network.settle()
        self.assertEqual(self.reactor.numbers, [])
        listener = OutboundListener(enabled=False, address="::1")
        self.configure(partner("ACME", "h", listener=3307), outbound=listener)
        self.assertEqual([(each.interface, each.number) for each in self.reactor.ports], [("::1", 3307)])
        closed = self.calls.close("the client stops")
        self.network.settle()
        self.successResultOf(closed)
        self.assertEqual(self.reactor.numbers, [])


class Meant(StationCallsTestCase):
    """Which partner a caller means."""

    def test_ways(self) -> None:
        """By port, by CONNECT to host and port or name, by SOCKS to a name; the server is told who asks and how."""
        self.caller(port=3307)
        self.caller(b"CONNECT oftp.acme.example:6619 HTTP/1.1\r\n\r\n")
        self.caller(b"CONNECT bolt HTTP/1.1\r\n\r\n")
        self.caller(b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x08\x19\xdb")
        self.assertEqual(sorted(self.asked), ["ACME", "ACME", "BOLT", "BOLT"])
        ways = [each[2].way for control in self.controls for each in control.asked]
        self.assertEqual(sorted(ways), ["http-connect", "http-connect", "port", "socks5"])
        callers = [each[2].caller or "" for control in self.controls for each in control.asked]
        self.assertEqual({each.partition(":")[0] for each in callers}, {"192.168.7.9"})
        self.assertEqual({each[3] for control in self.controls for each in control.asked}, {25.0})

    def test_least_loaded(self) -> None:
        """Each call goes to the server that carries the fewest."""
        for _ in range(4):
            self.caller(port=3307)
        self.assertEqual([len(control.asked) for control in self.controls], [2, 2])
        self.answer(PartnerUnreachable.at(Step.CONNECT, "x"), 1, 0)
        self.answer(PartnerUnreachable.at(Step.CONNECT, "x"), 1, 1)
        self.caller(port=3307)
        self.assertEqual([len(control.asked) for control in self.controls], [2, 3])

    def test_nobody_else(self) -> None:
        """Whoever is not configured is refused, and told of, without asking a server."""
        caller = self.caller(b"CONNECT www.example:443 HTTP/1.1\r\n\r\n")
        self.assertTrue(caller.received.startswith(b"HTTP/1.1 403 Forbidden\r\n"))
        told = self.journal.the("outbound.refused")
        self.assertEqual((told["step"], told["host"], told["port"]), ("policy", "www.example", 443))
        self.assertEqual(self.asked, [])

    def test_not_a_request(self) -> None:
        """What is no request is told, too."""
        self.caller(b"\x10\x00\x00\x17IODETTE")
        self.assertEqual(self.journal.the("outbound.refused")["way"], "http-connect")


class Carried(StationCallsTestCase):
    """A call that succeeds."""

    def test_session(self) -> None:
        """The partner's SSRM and everything else cross; the session has the id that the server was told."""
        caller = self.caller(port=3307)
        self.assertEqual((self.sessions.live, self.desk.count), ({}, 1))
        leg = self.answer(FakeLeg())
        self.assertEqual((len(self.sessions.live), self.desk.count), (1, 1))
        self.assertEqual(list(self.sessions.live), [self.controls[0].asked[0][0]])
        leg.receive(SSRM_BUFFER)
        self.network.settle()
        self.assertEqual(caller.received, SSRM_BUFFER)
        self.says(caller, STATION_SSID)
        self.assertEqual(leg.sent, STATION_SSID)
        leg.receive(PARTNER_SSID)
        self.network.settle()
        self.assertEqual(caller.received, SSRM_BUFFER + PARTNER_SSID)
        self.assertEqual(self.journal.the("session.started")["direction"], "outbound")
        leg.lose()
        self.network.settle()
        transport: Any = caller.transport
        transport.loseConnection()
        self.reactor.advance(10)
        self.network.settle()
        self.assertEqual((self.sessions.live, len(self.over)), ({}, 1))

    def test_pending(self) -> None:
        """A caller is waited for until it has a session, is refused or is gone; a daemon that hands over does."""
        self.assertFalse(self.house.pending)
        asking, leaving = self.caller(b"CONNECT bo"), self.caller(b"CONNECT")
        self.assertTrue(self.house.pending)
        transport: Any = leaving.transport
        transport.loseConnection()
        self.says(asking, b"lt HTTP/1.1\r\n\r\n")
        self.assertTrue(self.house.pending)
        self.answer(FakeLeg())
        self.assertEqual((self.house.pending, len(self.sessions.live)), (False, 1))
        self.caller(b"CONNECT www.example:443 HTTP/1.1\r\n\r\n")
        self.assertFalse(self.house.pending)

    def test_by_connect(self) -> None:
        """The answer comes first; octets that came early follow to the partner."""
        caller = self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n")
        self.assertEqual(caller.received, b"")
        leg = self.answer(FakeLeg())
        leg.receive(SSRM_BUFFER)
        self.network.settle()
        self.assertEqual(caller.received, b"HTTP/1.1 200 Connection established\r\n\r\n" + SSRM_BUFFER)

    def test_caller_leaves(self) -> None:
        """A caller that does not wait ends the call, silently."""
        caller = self.caller(port=3307)
        transport: Any = caller.transport
        transport.abortConnection()
        self.network.settle()
        self.assertEqual(self.controls[0].canceled, 1)
        self.assertEqual((self.journal.of("outbound.refused"), self.desk.count), ([], 0))
        self.caller(port=3307)
        self.assertEqual(len(self.controls[0].asked), 2)


class Refused(StationCallsTestCase):
    """A call that fails, in the words of each way."""

    def test_words(self) -> None:
        """The cause of the failure decides which word it is, or its step."""
        for step, cause, failure in (
            (Step.CONNECT, Cause.CALL_REFUSED, ConnectFailure.REFUSED),
            (Step.CONNECT, Cause.CALL_NO_ROUTE, ConnectFailure.NO_ROUTE),
            (Step.CONNECT, Cause.CALL_NO_ANSWER, ConnectFailure.TIMED_OUT),
            (Step.SSRM, Cause.CALL_NO_ANSWER, ConnectFailure.TIMED_OUT),
            (Step.CONNECT, None, ConnectFailure.NOT_READY),
            (Step.SOURCE, Cause.SOURCE_MISSING, ConnectFailure.NOT_READY),
            (Step.POLICY, None, ConnectFailure.NOT_ALLOWED),
            (Step.NAME, None, ConnectFailure.NO_NAME),
            (Step.TLS, Cause.CERTIFICATE_EXPIRED, ConnectFailure.NOT_ACCEPTABLE),
            (Step.SSRM, Cause.CALL_GREETING, ConnectFailure.NOT_ACCEPTABLE),
        ):
            self.assertIs(connect_failure(PartnerUnreachable.at(step, "why", cause)), failure)

    def test_by_connect_and_socks(self) -> None:
        """The server's sentence is the cause."""
        caller = self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n")
        self.answer(PartnerUnreachable.at(Step.NAME, "unknown"))
        self.assertTrue(caller.received.startswith(b"HTTP/1.1 502 "))
        self.assertTrue(caller.received.endswith(b"\r\n\r\nname: unknown\n"))
        caller = self.caller(b"\x05\x01\x00\x05\x01\x00\x03\x04ACME\x00\x01")
        self.answer(PartnerUnreachable.at(Step.NAME, "unknown"))
        self.assertEqual(caller.received, b"\x05\x00\x05\x04\x00\x01" + bytes(6))
        self.assertEqual([each["step"] for each in self.journal.of("outbound.refused")], ["name", "name"])

    def test_by_port(self) -> None:
        """SSRM, the station's SSID, ESID 08 with the cause."""
        caller = self.caller(port=3307)
        self.answer(PartnerUnreachable.at(Step.TLS, "the certificate has expired", Cause.CERTIFICATE_EXPIRED))
        self.assertEqual(caller.received, SSRM_BUFFER)
        self.says(caller, STATION_SSID)
        esid = codec.esid(EsidReason.RESOURCES_NOT_AVAILABLE, "TLS: the certificate has expired")
        self.assertEqual(caller.received, SSRM_BUFFER + esid)
        told = self.journal.the("session.refused")
        self.assertEqual((told["partner"], told["told_station"]), ("ACME", "ESID 08"))
        self.assertEqual(told["cause"], "certificate.expired")
        transport: Any = caller.transport
        transport.loseConnection()
        self.reactor.advance(10)
        self.network.settle()
        self.assertEqual((self.sessions.live, self.reactor.getDelayedCalls()), ({}, []))

    def test_our_own_side(self) -> None:
        """No tunnel, a tunnel that is lost, a server that is silent, a limit: the caller may try again later."""
        lost = TunnelLost(rule=Cause.TUNNEL_LOST, message="the tunnel is down")
        newer = Unlicensed(rule="licence.of_a_newer_server", message="no licence")
        for error in (lost, newer, PartnerUnreachable.at(Step.CONNECT, "no answer", Cause.TUNNEL_LOST)):
            caller = self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n")
            self.answer(error)
            self.assertTrue(caller.received.startswith(b"HTTP/1.1 503 "), caller.received)
        self.configure(partner("ACME", "h"), limits=ClientLimits(sessions=1))
        self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n")
        caller = self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n")
        self.assertIn(b"503 Service Unavailable", caller.received)
        self.assertIn(b"limit of 1 sessions", caller.received)
        self.controls.clear()
        self.configure(partner("ACME", "h"))
        self.assertIn(b"no server is connected", self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n").received)
        self.configuration = None
        self.assertIn(b"no configuration", self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n").received)

    def test_no_data_connection(self) -> None:
        """A partner that is ready in vain: the station is told why, and the place is given back."""
        self.leg = OwnFault(rule=Cause.TUNNEL_POOL, message="none left")
        caller = self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n")
        self.controls[0].asked[-1][4].callback(TICKET)
        self.network.settle()
        self.assertIn(b"none left", caller.received)
        self.assertEqual(self.journal.of("outbound.refused")[-1]["partner"], "ACME")
        self.assertEqual(self.desk.count, 0)

    def test_a_bug(self) -> None:
        """A bug ends this call only, and is reported as one."""
        caller = self.caller(b"CONNECT ACME HTTP/1.1\r\n\r\n")
        self.answer(ZeroDivisionError())
        self.assertTrue(caller.received.startswith(b"HTTP/1.1 503 "))
        self.assertEqual(self.journal.the("internal.error")["exception"], "ZeroDivisionError")


class Trials(StationCallsTestCase):
    """Calls that an operator wants to have tried."""

    def test_answered(self) -> None:
        """The server is told that it is a trial; the leg is given back."""
        trial = Deferred.fromCoroutine(self.house.callers.try_partner("ab" * 8, "BOLT"))
        session, name, wish, _, _ = self.controls[0].asked[0]
        self.assertEqual((session, name, wish), ("ab" * 8, "BOLT", CallWish(way=Way.TRIAL)))
        leg = self.answer(FakeLeg())
        self.successResultOf(trial)
        self.assertEqual((leg.calls, self.sessions.live), (["finish"], {}))

    def test_refused(self) -> None:
        """What the client knows already is told by itself; what the server says, too, for whoever waits."""
        self.successResultOf(Deferred.fromCoroutine(self.house.callers.try_partner("ab" * 8, "NOBODY")))
        self.assertEqual(self.journal.the("outbound.refused")["step"], "policy")
        trial = Deferred.fromCoroutine(self.house.callers.try_partner("cd" * 8, "ACME"))
        self.answer(TunnelLost(rule="tunnel.lost", message="the tunnel is down"))
        self.successResultOf(trial)
        told = self.journal.of("outbound.refused")[-1]
        self.assertEqual((told["session"], told["way"], told["step"]), ("cd" * 8, "trial", "connect"))
        self.configuration = None
        self.successResultOf(Deferred.fromCoroutine(self.house.callers.try_partner("ef" * 8, "ACME")))
        self.assertIn("no configuration", str(self.journal.of("outbound.refused")[-1]["message"]))
