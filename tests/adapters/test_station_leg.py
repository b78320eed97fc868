"""The client's side: the station is dialled, greets, and is relayed to."""

from typing import Any
from unittest.mock import Mock

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError, NoRouteError, TimeoutError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.craft import ClientCraft
from smartproxy.client.station import dial_station
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import Draining, LegLost, StationUnreachable
from smartproxy.policy.settings import Deadlines, Pool, Station
from tests.adapters.chain import ClientRig
from tests.adapters.rig import Caller, FakeLeg
from tests.adapters.wires import Network
from tests.unit.playbook import OPENED_FACTS, PARTNER_SSID, STATION_SSID, VIOLATED, esid, sfid

INBOUND = OPENED_FACTS
SESSION = "0123456789abcdef"


def fail_dial(reactor: MemoryReactorClock, error: Exception) -> None:
    """The first connection that was asked for does not come about."""
    reactor.tcpClients[0][2].clientConnectionFailed(reactor.connectors[0], Failure(error))


class Dialled(SynchronousTestCase):
    """Where the connection goes, and what is said when it fails."""

    def fault(self, failure: Exception) -> StationUnreachable:
        """The fault that a failed attempt comes to."""
        reactor = MemoryReactorClock()
        dialled = dial_station(reactor, Station(host="192.0.2.99", port=3305), 5)
        fail_dial(reactor, failure)
        found: StationUnreachable = self.failureResultOf(dialled, StationUnreachable).value
        return found

    def test_words(self) -> None:
        """Each failure has plain words of its own."""
        for failure, words in (
            (TimeoutError(), "it does not answer"),
            (NoRouteError(), "there is no route to it"),
            (ConnectError(), "the connection failed"),
            (DNSLookupError(), "its name is not known"),
        ):
            self.assertEqual(self.fault(failure).message, f"no connection to the station 192.0.2.99:3305: {words}")

    def test_no_host_name(self) -> None:
        """A name that nothing can dial, which an older version took, is the station's fault and no bug."""
        dialled = dial_station(MemoryReactorClock(), Station(host="a_b", port=3305), 5)
        fault: StationUnreachable = self.failureResultOf(dialled, StationUnreachable).value
        self.assertEqual(
            (fault.rule, fault.message),
            (Cause.STATION_NAME, "no connection to the station a_b:3305: its name is not a host name"),
        )

    def test_an_address_is_not_looked_up(self) -> None:
        """It is dialled at once, from the address that is given; a worker dials servers so, and makes no thread."""
        for host, ours in (("192.0.2.30", "192.0.2.4"), ("2001:db8::30", "2001:db8::4")):
            reactor = MemoryReactorClock()
            craft = ClientCraft(Mock(reactor=reactor), source=ours)
            endpoint: Any = craft._house.lane(0, host, 3305, Pool())._endpoint
            endpoint.connect(Factory())
            ((dialled, port, _, _, bound),) = reactor.tcpClients
            self.assertEqual((dialled, port, bound), (host, 3305, (ours, 0)))

    def test_a_bug_stays_a_bug(self) -> None:
        """What is no failure of a connection is not told as one."""
        reactor = MemoryReactorClock()
        dialled = dial_station(reactor, Station(host="192.0.2.99"), 5)
        fail_dial(reactor, RuntimeError("bug"))
        self.failureResultOf(dialled, RuntimeError)

    def test_canceled(self) -> None:
        """An attempt that is given up is not told as a failure of the station."""
        reactor = MemoryReactorClock()
        dialled = dial_station(reactor, Station(host="192.0.2.99"), 5)
        failures: list[Failure] = []
        dialled.addErrback(failures.append)
        dialled.cancel()
        self.assertEqual(len(failures), 1)
        self.assertIsNone(failures[0].check(StationUnreachable))
        self.assertTrue(reactor.connectors[0].stoppedConnecting)

    def test_addresses(self) -> None:
        """IPv4, IPv6 and names."""
        for host in ("192.0.2.99", "::1", "station"):
            reactor = MemoryReactorClock()
            station = Station(host=host, port=3305, timeout=7)
            dial_station(reactor, station, 5).addErrback(lambda failure: None)
            reactor.advance(0)
            dialled, port, _, timeout, _ = reactor.tcpClients[0]
            self.assertEqual((dialled, port, timeout), ("127.0.0.1" if host == "station" else host, 3305, 7))


class Greeted(SynchronousTestCase):
    """Sessions with the station."""

    def setUp(self) -> None:
        """Ask for a session."""
        self.rig = ClientRig()
        self.data = FakeLeg()
        self.ready: Deferred[None] = self.rig.sessions.open(SESSION, INBOUND, self.data)
        self.network = Network(self.rig.reactor)

    def accept(self) -> Caller:
        """The station accepts the connection."""
        host, port, factory = self.rig.dialled()
        self.assertEqual((host, port), ("192.0.2.99", 3305))
        leg: IProtocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        station = Caller()
        self.network.connect(leg, station)
        self.network.settle()
        return station

    def say(self, station: Caller, octets: bytes) -> None:
        """The station sends."""
        assert station.transport is not None
        station.transport.write(octets)
        self.network.settle()

    def test_session(self) -> None:
        """SSRM is kept; then octets go both ways; the end is told once."""
        station = self.accept()
        self.assertNoResult(self.ready)
        self.say(station, SSRM_BUFFER)
        self.assertIsNone(self.successResultOf(self.ready))
        self.assertEqual(self.data.sent, b"")
        self.data.receive(PARTNER_SSID)
        self.network.settle()
        self.say(station, STATION_SSID)
        self.data.receive(sfid())
        self.network.settle()
        self.assertEqual((station.received, self.data.sent), (PARTNER_SSID + sfid(), STATION_SSID))
        self.assertEqual(list(self.rig.sessions.live), [SESSION])
        self.data.receive(esid(EsidReason.TIME_OUT))
        self.network.settle()
        self.assertEqual(station.ended, "ConnectionDone")
        self.assertEqual(self.data.calls, ["finish"])
        self.data.lose()
        self.assertEqual(self.rig.sessions.live, {})
        self.assertEqual([summary.session for summary in self.rig.finished], [SESSION])
        self.assertEqual(self.rig.reactor.getDelayedCalls(), [])
        self.assertEqual(self.rig.journal.names(), ["session.started", "file.ended", "session.ended"])

    def test_judged_again(self) -> None:
        """What the server let pass is judged a second time; the station never sees what is wrong."""
        station = self.accept()
        self.say(station, SSRM_BUFFER)
        self.data.receive(PARTNER_SSID + b"\x10\x00\x00\x05R")
        self.network.settle()
        self.assertEqual(station.received, PARTNER_SSID + VIOLATED)
        assert self.data.end is not None
        self.assertEqual((self.data.sent, self.data.end.ended_by, self.data.end.reason), (b"", "partner", 2))
        self.assertEqual(self.rig.journal.the("session.violation")["side"], "partner")

    def test_refused(self) -> None:
        """A station that refuses the connection is told to the server in plain words; one event says it here."""
        self.rig.refuse()
        fault = self.failureResultOf(self.ready, StationUnreachable).value
        self.assertEqual(fault.message, "no connection to the station 192.0.2.99:3305: it refuses the connection")
        self.assertEqual(self.data.calls, ["finish"])
        self.data.lose()
        self.assertEqual(self.rig.journal.names(), ["station.unreachable"])
        self.assertEqual(self.rig.reactor.getDelayedCalls(), [])

    def test_last_attempt(self) -> None:
        """How the last attempt failed is kept until the station answers, or another station is configured."""
        self.rig.refuse()
        self.failureResultOf(self.ready, StationUnreachable)
        self.data.lose()
        failure = self.rig.desk.station_failure
        assert failure is not None
        self.assertEqual(failure.message, "no connection to the station 192.0.2.99:3305: it refuses the connection")
        before = self.rig.configuration
        self.rig.configuration = attrs.evolve(before, station=Station(host="192.0.2.98"))
        self.assertIsNone(self.rig.desk.station_failure)
        self.rig.configuration = before
        self.assertIs(self.rig.desk.station_failure, failure)
        self.ready = self.rig.sessions.open(SESSION, INBOUND, FakeLeg())
        self.say(self.accept(), SSRM_BUFFER)
        self.successResultOf(self.ready)
        self.assertIsNone(self.rig.desk.station_failure)

    def test_partner_that_leaves(self) -> None:
        """A partner that leaves before the station has greeted says nothing of the station."""
        self.accept()
        self.data.lose()
        self.network.settle()
        self.failureResultOf(self.ready, LegLost)
        self.assertIsNone(self.rig.desk.station_failure)

    def test_silent(self) -> None:
        """A station that accepts and does not greet within its time is unreachable."""
        station = self.accept()
        self.rig.reactor.advance(10)
        self.network.settle()
        self.failureResultOf(self.ready, StationUnreachable)
        self.assertEqual(station.received, b"")
        self.assertIsNotNone(station.ended)

    def test_greets_with_something_else(self) -> None:
        """A station that sends something other than SSRM failed, as in a test of it; no octet of it is told."""
        station = self.accept()
        self.say(station, b"SSH-2.0-OpenSSH_9.2p1\r\n")
        self.failureResultOf(self.ready, StationUnreachable)
        self.data.lose()
        failure = self.rig.desk.station_failure
        assert failure is not None
        self.assertTrue(failure.message.startswith("SSRM: what the station sent is not SSRM: "), failure.message)
        self.assertNotIn("OpenSSH", failure.message)

    def test_wrong_octets_of_the_server(self) -> None:
        """What the server sends before the station has greeted says nothing of the station."""
        self.accept()
        self.data.receive(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        self.network.settle()
        self.data.lose()
        self.failureResultOf(self.ready, StationUnreachable)
        self.assertEqual(self.rig.journal.the("session.violation")["side"], "partner")
        self.assertIsNone(self.rig.desk.station_failure)

    def test_does_not_accept(self) -> None:
        """The time of the station counts from the dial on."""
        self.rig.reactor.advance(10)
        self.failureResultOf(self.ready, StationUnreachable)
        self.assertTrue(self.rig.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(self.rig.journal.names(), ["station.unreachable"])

    def test_closed_by_the_server(self) -> None:
        """A session can be ended by its id."""
        station = self.accept()
        self.say(station, SSRM_BUFFER)
        fault = Draining(rule="session.closed", message="closed by the server")
        self.assertTrue(self.rig.sessions.close(SESSION, fault))
        self.assertFalse(self.rig.sessions.close("unknown", fault))
        self.network.settle()
        self.assertEqual(station.received, esid(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN))

    def test_drained(self) -> None:
        """All of them can be ended."""
        station = self.accept()
        self.say(station, SSRM_BUFFER)
        self.rig.sessions.stop(Draining(rule="drain", message="the client stops"))
        self.network.settle()
        self.assertEqual(station.received, esid(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN))

    def test_what_the_server_may_not_say(self) -> None:
        """A session that is live already, and facts that are none: told to the server, nothing is dialled."""
        for session, facts, rule in (
            (SESSION, INBOUND, "session.open"),
            ("fedcba9876543210", attrs.evolve(INBOUND, partner=None), "session.facts"),
            ("fedcba9876543210", attrs.evolve(INBOUND, level=None), "session.facts"),
        ):
            data = FakeLeg()
            fault = self.failureResultOf(self.rig.sessions.open(session, facts, data), StationUnreachable).value
            self.assertEqual((fault.rule, data.calls), (rule, ["finish"]))
        self.assertEqual(len(self.rig.reactor.tcpClients), 1)

    def test_a_running_session_keeps_its_configuration(self) -> None:
        """A new generation is for the sessions that begin after it."""
        station = self.accept()
        self.say(station, SSRM_BUFFER)
        self.data.receive(PARTNER_SSID)
        self.network.settle()
        self.say(station, STATION_SSID)
        self.rig.configuration = attrs.evolve(self.rig.configuration, deadlines=Deadlines(inactivity=10))
        self.rig.reactor.advance(179)
        self.assertEqual(self.rig.journal.of("session.expired"), [])
        self.rig.reactor.advance(1)
        self.assertEqual(self.rig.journal.the("session.expired")["seconds"], 180)
