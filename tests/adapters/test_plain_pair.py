"""The plain pair's two services over a tunnel in memory with real TLS."""

import datetime
from pathlib import Path
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smartproxy.ctl.daemon import killed
from smartproxy.ctl.protocol import AskSessions, AskStatus
from smartproxy.logs.severity import Severity
from smartproxy.net.listeners import RETRY_SECONDS
from smartproxy.plain.client import Outgoing, PlainClientService
from smartproxy.plain.condition import PlainClientCondition, PlainServerCondition
from smartproxy.plain.destinations import Permit
from smartproxy.plain.server import PlainServerService
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ConfigurationRefused, GenerationId
from smartproxy.policy.credential import PlainCredential
from smartproxy.policy.faults import StationUnreachable
from smartproxy.policy.licence import Licence, WithdrawnClient, sign
from smartproxy.relay.openings import CallWish, Way
from smartproxy.tap.commands import ctl_display
from smartproxy.tap.commands.ctl import STATUSES
from smartproxy.testing.pki import CLIENT_AUTH, KeyKind, TestCa, make_key
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.licence import FILE_SECONDS
from tests.adapters.tunnel_kit import Network, identity
from tests.resolvers import slow_names
from tests.unit.answers import as_read, on_the_wire

PEER = IPv4Address("TCP", "203.0.113.9", 4711)
NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)


class Wire(StringTransport):
    """A TCP connection of somebody, who sees whether it was reset."""

    def __init__(self) -> None:
        super().__init__(peerAddress=PEER)
        self.protocol: Any = None
        self.aborting = False

    def abortConnection(self) -> None:
        """Part of the interface; the protocol hears of it, as with a socket."""
        self.aborting = True
        self.protocol.connectionLost(Failure(ConnectionAborted()))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Part of the interface."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Part of the interface."""


def _cancelled(dialling: Deferred[Any]) -> None:
    """How an endpoint ends that is cancelled while TCP is not there."""
    dialling.errback(ConnectingCancelledError(PEER))


@implementer(IStreamClientEndpoint)
class Somewhere:
    """Wherever a service dials: a wire, later or at once, or nobody.

    :ivar dialled: what was dialled and has not been answered.
    """

    def __init__(self) -> None:
        self.dialled: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Part of the interface."""
        result: Deferred[IProtocol] = Deferred(_cancelled)
        self.dialled.append((protocolFactory, result))
        return result

    def answer(self) -> Wire:
        """Take the call."""
        factory, result = self.dialled.pop(0)
        protocol, wire = factory.buildProtocol(PEER), Wire()
        assert protocol is not None
        wire.protocol = protocol
        protocol.makeConnection(wire)
        result.callback(protocol)
        return wire

    def refuse(self) -> None:
        """Do not."""
        self.dialled.pop(0)[1].errback(Failure(ConnectionRefusedError()))


class BusyReactor(MemoryReactorClock):
    """A reactor one of whose ports is taken by another program.

    :ivar busy: the port.
    """

    busy = 0

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Part of the interface."""
        if port == self.busy:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


class PairTests(SynchronousTestCase):
    """What the two services promise each other, and those at both ends."""

    def setUp(self) -> None:
        """Make a network, and what both need."""
        self.reactor = BusyReactor()
        self.network = Network()
        self.network.clock = self.reactor
        self.now = NOW
        key = make_key(KeyKind.ED25519)
        assert isinstance(key, Ed25519PrivateKey)
        self.authority = TestCa.root("Muster SmartProxy authority", key=key)
        self.target, self.destination = Somewhere(), Somewhere()

    def server(self, *permitted: str, most: int = 100) -> PlainServerService:
        """A server that runs."""
        self.path = Path(self.mktemp())
        licence = Licence(
            proxy_id=identity().proxy_id,
            site="Muster GmbH",
            valid_from=NOW - datetime.timedelta(days=1),
            valid_until=NOW + datetime.timedelta(days=1),
            limits={},
            authority_certificate=self.authority.certificate_pem.decode(),
        )
        self.service = PlainServerService(
            self.reactor,
            identity=identity(),
            licence=licence,
            licence_path=self.path,
            internal=HostPort("127.0.0.1", 65432),
            external=HostPort("", 6619),
            permit=Permit.of(permitted),
            seconds=180,
            most=most,
            now=lambda: self.now,
            endpoint=lambda reactor, host, port: self.destination,
        )
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.service.events.forward = lambda event: self.events.append((str(event["name"]), dict(event)))
        self.service.startService()
        return self.service

    def client(
        self, *outgoing: Outgoing, valid_from: datetime.datetime | None = None, retry: int = 0
    ) -> PlainClientService:
        """A client whose tunnel is up; it calls the target for connections alone."""
        self.issued = issued = self.authority.issue("inside-1", purposes=[CLIENT_AUTH], valid_from=valid_from)

        def endpoint(reactor: Any, host: str, port: int) -> Any:
            if host != "dmz.example":
                return self.target
            return Dial(self.network, self.service.tunnel.factory)

        self.inner = PlainClientService(
            self.reactor,
            credential=PlainCredential(
                name="inside-1",
                certificate=issued.chain_pem.decode(),
                key=issued.key_pem.decode(),
                proxy_ids=(identity().proxy_id,),
            ),
            server=HostPort("dmz.example", 65432),
            target=HostPort("127.0.0.1", 22),
            outgoing=outgoing,
            seconds=180,
            retry=retry,
            endpoint=endpoint,
        )
        self.inner.startService()
        self.network.settle()
        return self.inner

    def call(self) -> Wire | None:
        """Connect from outside; nothing if that is refused before a word."""
        factory = next(server[1] for server in self.reactor.tcpServers if server[0] == 6619)
        protocol = factory.buildProtocol(PEER)
        if protocol is None:
            return None
        wire = Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        self.network.settle()
        return wire

    def called(self) -> Wire:
        """Connect from outside, where that is possible."""
        wire = self.call()
        assert wire is not None, self.events
        return wire

    def caller(self, words: bytes) -> Wire:
        """Connect a program inside."""
        factory = next(server[1] for server in self.reactor.tcpServers if server[0] == 65433)
        leg: Any = factory.buildProtocol(PEER)
        wire = Wire()
        wire.protocol = leg
        leg.makeConnection(wire)
        leg.dataReceived(words)
        self.network.settle()
        return wire

    def say(self, wire: Wire, words: bytes) -> None:
        """Octets arrive on a wire."""
        wire.protocol.dataReceived(words)
        self.network.advance(0.1)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The server's events of a name."""
        return [event for seen, event in self.events if seen == name]

    def test_conditions(self) -> None:
        """Both daemons say how they are: word, exit status, sentence, what runs out, and their sessions."""
        outside = PlainServerCondition(self.server(), lambda: self.now)

        def told(condition: PlainServerCondition | PlainClientCondition) -> tuple[str, int]:
            status = condition.status()
            self.assertEqual(status.verdict == "ok", not status.advice)
            self.assertIn(status.advice, ctl_display.status(status))
            on_the_wire(AskStatus(), status)
            return status.verdict, STATUSES[status.health]

        self.assertEqual(told(outside), ("no-client", 2))
        self.reactor.busy = 6619
        inner = PlainClientCondition(self.client(Outgoing(HostPort("127.0.0.1", 65433))), lambda: self.now)
        self.assertEqual((told(outside), told(inner)), (("listener-down", 2), ("ok", 0)))
        self.reactor.busy = 0
        self.network.advance(RETRY_SECONDS)
        self.assertEqual(told(outside), ("ok", 0))
        runs_out = on_the_wire(AskStatus(), outside.status())["runs_out_next"]
        self.assertEqual(runs_out, {"what": "the licence", "until": "2026-11-21T00:00:00Z"})
        runs_out = on_the_wire(AskStatus(), inner.status())["runs_out_next"]
        self.assertEqual(runs_out["what"], "the credential of this client, inside-1")
        self.called()
        self.target.refuse()
        self.network.advance(0.1)
        self.assertEqual(told(inner), ("target-down", 2))
        self.assertIn("127.0.0.1:22", inner.status().advice)
        wire = self.called()
        self.target.answer()
        self.network.advance(0.1)
        self.assertEqual(told(inner), ("ok", 0))
        self.say(wire, b"hello")
        for condition, came in ((outside, 5), (inner, 5)):
            (portrait,) = condition.sessions()
            self.assertEqual((portrait["octets_in"], portrait["direction"]), (came, "inbound"))
            table = ctl_display.SessionsTable(wide=True)
            more = {"since": "2026-11-20T10:00:00Z", "seconds": 1.0, "rate_in": 5, "rate_out": 0}
            shown = as_read(AskSessions(), {"sessions": [{**portrait, **more}]})
            self.assertIn("203.0.113.9:4711", table.show(shown))
        self.assertEqual((outside.kill("0" * 16), outside.kill(str(portrait["session"]))), (False, True))
        self.network.advance(0.1)
        self.assertEqual(outside.sessions(), [])
        self.now += datetime.timedelta(days=2)
        self.assertEqual(told(outside), ("unlicensed", 2))
        self.assertEqual(outside.licence().licences[0].in_force, False)
        self.now = NOW
        self.service.stopService()
        self.inner.stopService()
        self.network.advance(0.1)
        self.assertEqual((told(outside), told(inner)), (("draining", 1), ("draining", 1)))

    def test_inbound(self) -> None:
        """Nothing is read before the target is there; then octets go both ways."""
        self.server()
        self.client()
        outer = self.called()
        self.assertEqual(outer.producerState, "paused")
        inner = self.target.answer()
        self.network.advance(0.1)
        self.assertEqual(outer.producerState, "producing")
        self.say(outer, b"question")
        self.say(inner, b"answer")
        self.assertEqual((inner.value(), outer.value()), (b"question", b"answer"))
        self.assertEqual((len(self.service.sessions.live), len(self.inner.sessions.live)), (1, 1))

    def test_credential_that_is_withdrawn(self) -> None:
        """A licence that is put in place shuts the client out within seconds; its next credential lets it in."""
        licence = self.server().licence.present
        first = self.client()
        begins = self.issued.certificate.not_valid_before_utc
        gone = WithdrawnClient(name="inside-1", begins_until=begins)
        key: Any = self.authority.credential.key
        self.path.write_text(sign(attrs.evolve(licence, withdrawn=(gone,)), key))
        self.network.advance(FILE_SECONDS)
        self.assertIsNone(first.tunnel.control)
        self.assertEqual(dict(self.events)["tunnel.down"]["cause"], "tunnel.withdrawn")
        self.network.advance(60)
        self.assertIsNone(first.tunnel.control)
        self.assertEqual(dict(self.events)["tunnel.refused"]["cause"], "tunnel.withdrawn")
        self.assertEqual(self.service.listeners.ports, ())
        first.tunnel.stopService()
        self.assertIsNotNone(self.client(valid_from=begins + datetime.timedelta(seconds=1)).tunnel.control)

    def test_licence_with_another_limit(self) -> None:
        """A licence that is put in place is in force as a whole: its limit of sessions, too."""
        licence = self.server(most=50).licence.present
        key: Any = self.authority.credential.key
        for days, bounds, most in ((1, {"sessions": 7}, 7), (2, {}, 50), (3, {"sessions": 90}, 50)):
            later = licence.valid_until + datetime.timedelta(days=days)
            self.path.write_text(sign(attrs.evolve(licence, valid_until=later, limits=bounds), key))
            self.network.advance(FILE_SECONDS)
            self.assertEqual(self.service.sessions.most, most)

    def test_external_port(self) -> None:
        """It is open exactly while a client is there."""
        self.server()
        self.assertEqual(self.service.listeners.ports, ())
        self.client()
        self.assertEqual([each.port for each in self.service.listeners.ports], [6619])
        self.inner.stopService()
        self.network.advance(2)
        self.assertEqual(self.service.listeners.ports, ())

    def test_external_port_that_is_taken(self) -> None:
        """It is tried again, until it is free."""
        self.reactor.busy = 6619
        self.server()
        self.client()
        self.assertEqual(self.service.listeners.ports, ())
        self.assertEqual(len(self.named("listener.failed")), 1)
        self.reactor.busy = 0
        self.network.advance(RETRY_SECONDS + 1)
        self.assertEqual([each.port for each in self.service.listeners.ports], [6619])

    def test_target_that_is_down(self) -> None:
        """The outer connection is aborted at once, and its place is free again."""
        self.server(most=1)
        self.client()
        for _ in range(2):
            outer = self.called()
            self.target.refuse()
            self.network.settle()
            self.assertTrue(outer.disconnecting or outer.aborting)
        self.assertEqual(len(self.named("session.failed")), 2)

    def test_target_that_nobody_calls(self) -> None:
        """The client calls it once at the start, and again after a minute if it failed, until it answers; for a moment.

        Not at the end, and never where that is not wanted.
        """
        self.server()
        condition = PlainClientCondition(self.client(retry=60), lambda: self.now)
        self.assertEqual(condition.status().verdict, "ok")
        self.target.refuse()
        self.assertEqual(condition.status().verdict, "target-down")
        self.network.advance(59)
        self.assertEqual(self.target.dialled, [])
        self.called()
        self.target.refuse()
        self.network.advance(59)
        self.assertEqual(self.target.dialled, [])
        self.network.advance(1)
        wire = self.target.answer()
        self.assertEqual((condition.status().verdict, wire.value(), wire.disconnecting), ("ok", b"", True))
        self.network.advance(200)
        self.assertEqual((self.target.dialled, wire.aborting), ([], True))
        self.called()
        self.target.refuse()
        self.inner.stopService()
        self.network.advance(200)
        self.assertEqual(self.target.dialled, [])

    def test_target_that_is_not_called(self) -> None:
        """No call is made that no connection wants, not after one that failed either, where the operator wants none."""
        self.server()
        self.client()
        self.assertEqual(self.target.dialled, [])
        self.called()
        self.target.refuse()
        self.network.advance(200)
        self.assertEqual(self.target.dialled, [])

    def test_target_that_is_silent(self) -> None:
        """It has ten seconds."""
        self.server()
        self.client()
        outer = self.called()
        self.network.advance(11)
        self.assertTrue(outer.aborting)
        self.assertEqual(self.inner.target_failure, "it did not accept the connection within 10 s")

    def test_tunnel_that_is_lost_while_the_target_is_dialled(self) -> None:
        """That the call was given up says nothing of the target."""
        self.server()
        inner = self.client()
        told: list[str] = []
        self.patch(inner.events, "forward", lambda event: told.append(str(event["name"])))
        self.called()
        assert inner.tunnel.control is not None
        inner.tunnel.control.abort(Closing(Cause.TUNNEL_LOST, "lost"))
        self.network.advance(0.1)
        self.assertIsNone(inner.target_failure)
        self.assertNotIn("station.unreachable", told)

    def test_destination_that_is_silent(self) -> None:
        """The program is told in time that it does not answer."""
        self.server("*:*")
        self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        wire = self.caller(b"CONNECT 192.0.2.1:25 HTTP/1.1\r\n\r\n")
        self.network.advance(limits.CALL_CONNECT_SECONDS + 0.5)
        self.assertIn(b" 504 ", wire.value())
        self.assertEqual([each["cause"] for each in self.named("session.failed")], [Cause.DESTINATION_NO_ANSWER])

    def test_names_that_are_not_resolved(self) -> None:
        """A destination and a target whose names are looked up for too long are not said to be silent."""
        slow_names(self.reactor)
        self.server("*:*")
        client = self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        for service in (self.service, client):
            self.patch(service, "_endpoint", HostnameEndpoint)
        self.patch(client, "target", HostPort("station.example", 22))
        wire = self.caller(b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n")
        self.called()
        self.network.advance(limits.CALL_CONNECT_SECONDS + 0.5)
        self.assertIn(b" 502 ", wire.value())
        causes = {each["cause"] for each in self.named("session.failed")}
        self.assertEqual(causes, {Cause.DESTINATION_NAME, Cause.TARGET_CONNECT})
        failure = "the host name station.example was not resolved within 10 s"
        self.assertEqual(client.target_failure, f"DNS lookup failed: {failure}.")

    def test_program_that_sends_and_leaves(self) -> None:
        """What it sent reaches the destination, also where that is reached after it has gone."""
        self.server("*:*")
        self.client(Outgoing(HostPort("127.0.0.1", 65433), HostPort("log.example", 514)))
        wire = self.caller(b"a line")
        wire.protocol.connectionLost(Failure(ConnectionDone()))
        self.network.settle()
        far = self.destination.answer()
        self.network.advance(0.1)
        self.assertEqual((far.value(), far.disconnecting), (b"a line", True))
        self.assertEqual(len(self.named("session.started")), 1)

    def test_outbound_while_the_server_stops(self) -> None:
        """No new session begins, so that those that run are waited for and no others."""
        self.server("*:*")
        self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        self.caller(b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n")
        self.destination.answer()
        self.network.advance(0.1)
        stopping = self.service.stopService()
        wire = self.caller(b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n")
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 503 "), wire.value())
        self.assertEqual(self.destination.dialled, [])
        self.assertNoResult(stopping)

    def test_sessions_that_are_being_opened_count(self) -> None:
        """Beyond the limit nobody is taken, whether the others are open or still on their way."""
        self.server(most=2)
        self.client()
        self.called()
        self.target.answer()
        self.network.advance(0.1)
        self.called()
        self.assertIsNone(self.call())
        self.assertIn("limit of 2 sessions", self.named("connection.refused")[0]["message"])
        self.assertEqual(self.named("connection.refused")[0]["peer"], "203.0.113.9:4711")

    def test_port_of_no_address(self) -> None:
        """A port for programs inside that has no address is one of both families, as everywhere."""
        self.server("*:*")
        self.client(Outgoing(HostPort("", 65433)))
        self.assertEqual([server[3] for server in self.reactor.tcpServers if server[0] == 65433], ["::"])

    def test_licence_that_ended(self) -> None:
        """No new session begins in either direction."""
        self.server("*:*")
        self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        self.now += datetime.timedelta(days=2)
        self.assertIsNone(self.call())
        self.assertIn("the licence ended", self.named("connection.refused")[0]["message"])
        wire = self.caller(b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n")
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 503 "), wire.value())
        self.assertEqual(self.destination.dialled, [])

    def test_licence_that_is_not_valid(self) -> None:
        """An operator is told whether the licence has ended or the clock was put back to before its begin."""
        condition = PlainServerCondition(self.server(), lambda: self.now)
        for days, words in ((2, ": issue another in the backend"), (-99, ": check this machine's clock")):
            self.now = NOW + datetime.timedelta(days=days)
            (finding, *_) = condition._verdict().findings
            self.assertEqual(finding.code, "unlicensed")
            self.assertIn(words, finding.sentence)

    def test_bug_ends_one_session(self) -> None:
        """The other sessions go on, and the tunnel stays up."""
        self.server()
        self.client()
        first, second = self.called(), self.called()
        self.target.answer()
        inner = self.target.answer()
        self.network.advance(0.1)

        def bug(octets: bytes) -> None:
            raise RuntimeError("a bug")

        first.write = bug  # type: ignore[method-assign]  # the bug
        pipe = next(iter(self.service.sessions.live.values()))
        pipe.octets_received(pipe._ends.tunnel, b"x")
        self.network.advance(0.1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(first.aborting)
        self.say(second, b"still here")
        self.assertEqual(inner.value(), b"still here")
        self.assertEqual(len(self.service.sessions.live), 1)

    def test_outbound(self) -> None:
        """A permitted destination is dialled; what came with the request goes first."""
        self.server("mail.example:25")
        self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        wire = self.caller(b"CONNECT mail.example:25 HTTP/1.1\r\n\r\nEHLO")
        far = self.destination.answer()
        self.network.advance(0.1)
        self.assertEqual(wire.value(), b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.assertEqual(far.value(), b"EHLO")
        self.say(far, b"250 ")
        self.assertTrue(wire.value().endswith(b"250 "))
        self.assertEqual([event["direction"] for event in self.named("session.started")], ["outbound"])

    def test_outbound_that_is_not_permitted(self) -> None:
        """The caller is told that it may not, nobody is dialled, and both logs know."""
        self.server("mail.example:25")
        self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        wire = self.caller(b"CONNECT mail.example:26 HTTP/1.1\r\n\r\n")
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 403 "), wire.value())
        self.assertEqual(self.destination.dialled, [])
        event = self.named("connection.refused")[0]
        self.assertEqual(
            (event["cause"], event["message"]), ("destination.not_permitted", "mail.example:26 is not permitted")
        )

    def test_outbound_that_is_refused(self) -> None:
        """The caller is told, and the place is free again."""
        self.server("*:*", most=1)
        self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        for _ in range(2):
            wire = self.caller(b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n")
            self.destination.refuse()
            self.network.settle()
            self.assertTrue(wire.value().startswith(b"HTTP/1.1 502 "), wire.value())

    def test_outbound_without_a_tunnel(self) -> None:
        """The caller is told that the proxy is not ready."""
        self.server("*:*")
        self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        self.service.tunnel.stop("the server stops")
        self.network.settle()
        wire = self.caller(b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n")
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 503 "), wire.value())

    def test_caller_that_left_while_dialled(self) -> None:
        """Its session never begins, and the destination is closed again."""
        self.server("*:*")
        self.client(Outgoing(HostPort("127.0.0.1", 65433)))
        wire = self.caller(b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n")
        wire.protocol.connectionLost(Failure(ConnectionRefusedError()))
        far = self.destination.answer()
        self.network.advance(1)
        self.assertTrue(far.disconnecting or far.aborting)
        self.assertEqual(self.inner.sessions.live, {})

    def test_same_session_twice(self) -> None:
        """A client cannot take the place of a session by its id."""
        self.server("*:*")
        self.client()
        (control,) = self.service.tunnel.controls
        wish = CallWish(way=Way.CONNECT, host="mail.example", port=25)
        self.service.open_outbound(control, "0123456789abcdef", "", wish)
        again = self.service.open_outbound(control, "0123456789abcdef", "", wish)
        self.assertEqual(self.failureResultOf(again, StationUnreachable).value.rule, Cause.SESSION_OPEN)

    def test_ports_that_are_none(self) -> None:
        """A destination's port is a number from 1 to 65535."""
        self.server("*:*")
        self.client()
        (control,) = self.service.tunnel.controls
        for port in (None, 0, 65_536):
            wish = CallWish(way=Way.CONNECT, host="a.example", port=port)
            opening = self.service.open_outbound(control, "0123456789abcdef", "", wish)
            self.failureResultOf(opening, StationUnreachable)

    def test_configuration_is_refused(self) -> None:
        """A plain server takes none."""
        self.server()
        self.client()
        (control,) = self.service.tunnel.controls
        self.assertRaises(ConfigurationRefused, self.service.configuration_arrived, control, GenerationId(1), b"{}")

    def test_level_of_a_session_that_is_over(self) -> None:
        """What a session was to be logged at is forgotten with it."""
        self.server()
        self.client()
        self.called()
        self.target.answer()
        self.network.advance(0.1)
        (session,) = self.service.sessions.live
        levels = self.service.events.levels
        before = levels.described()
        self.service.events.set_level(
            Severity.DEBUG, session=session, cause=Cause.OPERATOR_COMMAND, message="an operator asked for it"
        )
        self.assertNotEqual(levels.described(), before)
        self.service.sessions.close(session, killed())
        self.network.advance(5)
        self.assertEqual((self.service.sessions.live, levels.described()), ({}, before))

    def test_session_closed_by_the_client(self) -> None:
        """The client may end a session; one that is not there is nothing."""
        self.server()
        self.client()
        outer = self.called()
        self.target.answer()
        self.network.advance(0.1)
        (control,) = self.service.tunnel.controls
        self.service.close_session(control, "f" * 16)
        self.service.close_session(control, next(iter(self.service.sessions.live)))
        self.assertTrue(outer.aborting)

    def test_smart_client_is_refused(self) -> None:
        """A client of the smart pair does not get in, though it has a certificate of the same authority."""
        from smartproxy.tunnel.client import ClientTunnel
        from smartproxy.tunnel.credential import ClientCredential
        from smartproxy.tunnel.lane import DataLane
        from tests.adapters.tunnel_kit import ClientUser, Events

        self.server()
        issued = self.authority.issue("smart", purposes=[CLIENT_AUTH])
        endpoint, events = Dial(self.network, self.service.tunnel.factory), Events()
        smart = ClientTunnel(
            self.reactor,
            endpoint,
            "dmz.example:65432",
            credential=ClientCredential(certificate=issued.chain_pem.decode(), key=issued.key_pem.decode()),
            proxy_ids=[identity().proxy_id],
            user=ClientUser(),
            events=events,
            lane=DataLane(self.reactor, endpoint, events),
        )
        smart.startService()
        self.network.advance(0.5)
        self.assertIsNone(smart.control)
        self.assertEqual(len(self.named("tunnel.refused")), 1)
        smart.stopService()


@implementer(IStreamClientEndpoint)
class Dial:
    """Dials a factory in memory."""

    def __init__(self, network: Network, factory: IProtocolFactory) -> None:
        self._network = network
        self._factory = factory

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Part of the interface."""
        result: Deferred[IProtocol] = Deferred()
        protocol = self._network.connect(self._factory, protocolFactory)
        if protocol is None:
            result.errback(Failure(ConnectionRefusedError()))
        else:
            result.callback(protocol)
        return result
