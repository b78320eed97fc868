"""Connections through a balancer: whose they are, and what becomes of those that nobody introduces."""

import socket
from typing import Any
from unittest.mock import Mock

from twisted.internet.address import IPv6Address
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.severity import Severity
from smartproxy.net.transport.sockets import HeldStream
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy import limits
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.settings import PenaltySettings, ServerLimits
from smartproxy.server.balancers import HeaderFirst
from tests.adapters.rig import Caller, CallerTls, ServerRig
from tests.adapters.test_partner_leg import client_hello
from tests.unit.playbook import PARTNER_SSID
from tests.unit.test_balancers import binary, line

BALANCER = "10.0.0.2"
PARTNER = "192.0.2.7"
HEADER = line("TCP4", PARTNER, "198.51.100.1", 40_111, 6619)


def rig(**server: Any) -> ServerRig:
    """A server behind a balancer."""
    return ServerRig(**{"balancers": ("10.0.0.0/30",), "penalties": PenaltySettings(exempt=()), **server})


def connect(server: ServerRig, *pieces: bytes, host: str = BALANCER) -> Caller:
    """A connection that says these octets, one after the other."""
    caller = Caller()
    server.dial(caller, host)
    for piece in pieces:
        if caller.ended is None:
            server.send(caller, piece)
    return caller


class Partners(SynchronousTestCase):
    """Partners behind the balancer."""

    def partner(self, server: ServerRig, *pieces: bytes) -> Caller:
        """A partner whose TLS begins behind these octets, which the balancer sends."""
        caller = Caller()
        wrapped = Factory.forProtocol(lambda: caller)
        far = TLSMemoryBIOFactory(CallerTls(server.partner), True, wrapped, server.clock).buildProtocol(None)
        near = server.factory.buildProtocol(server_address(BALANCER))
        assert near is not None
        end, server.server_socket = server.network.connect(far, near, BALANCER)
        hello = bytes(end.waiting)
        end.waiting.clear()
        for piece in (*pieces[:-1], pieces[-1] + hello):
            end.write(piece)
            server.network.settle()
        return caller

    def test_both_versions_however_cut(self) -> None:
        """The session is the true address's, in events and facts, also if the header comes octet by octet."""
        six = b"\x20\x01\x0d\xb8" + b"\x00" * 11 + b"\x07" + b"\x00" * 16 + b"\x9c\xaf\x19\xdb\x04\x00\x01x"
        mapped = b"\x00" * 10 + b"\xff\xff\xc0\x00\x02\x07" + b"\x00" * 16 + b"\x9c\xaf\x19\xdb"
        for header, peer in (
            (HEADER, "192.0.2.7:40111"),
            (binary(b"\xc0\x00\x02\x07\xc6\x33\x64\x01\x9c\xaf\x19\xdb"), "192.0.2.7:40111"),
            (binary(six, family=0x21), "[2001:db8::7]:40111"),
            (binary(mapped, family=0x21), "192.0.2.7:40111"),
        ):
            for pieces in ((header,), tuple(header[at : at + 1] for at in range(len(header)))):
                server = rig()
                caller = self.partner(server, *pieces)
                self.assertEqual(caller.received, SSRM_BUFFER)
                server.send(caller, PARTNER_SSID)
                ((_, facts, _),) = server.opened
                self.assertEqual(facts.peer, peer)
                self.assertEqual(server.journal.the("connection.accepted")["peer"], peer)
                self.assertEqual(server.journal.the("certificate.accepted")["peer"], peer)

    def test_ban(self) -> None:
        """Bans hit the address behind the balancer, and nobody else behind it."""
        server = rig(penalties=PenaltySettings(threshold=2, exempt=()))
        for _ in range(3):
            connect(server, HEADER + b"no TLS")
        self.assertEqual(server.journal.the("penalty.banned")["network"], "192.0.2.7/32")
        self.assertEqual(server.journal.the("connection.refused")["cause"], "penalty.banned")
        caller = self.partner(server, line("TCP4", "192.0.2.8", "198.51.100.1", 1, 2))
        self.assertEqual(caller.received, SSRM_BUFFER)

    def test_limits(self) -> None:
        """Limits for each address count the one behind the balancer."""
        server = rig(limits=ServerLimits(connections_per_address=1))
        first = connect(server, HEADER)
        second = connect(server, HEADER)
        other = connect(server, line("TCP4", "192.0.2.8", "198.51.100.1", 1, 2))
        self.assertEqual([each.ended is None for each in (first, second, other)], [True, False, True])
        self.assertEqual(server.journal.the("connection.refused")["limit"], "connections_per_address")

    def test_new_generation(self) -> None:
        """A network that is a balancer's from now on needs headers from now on; one that is none any more gets none."""
        server = rig(balancers=())
        self.assertEqual(connect(server, client_hello()[:3]).ended, None)
        for networks, cause in ((("10.0.0.2/32",), "balancer.no_header"), (("10.0.0.3/32",), None)):
            server.sessions.adopt(server.generation(server.configuration.__class__(**changed(server, networks))))
            connect(server, client_hello()[:3])
            self.assertEqual(last_refusal(server), cause)
            server.journal.records.clear()


def changed(server: ServerRig, networks: tuple[str, ...]) -> dict[str, Any]:
    """The rig's configuration with other balancers."""
    held: ServerConfiguration = server.configuration
    return {"identities": held.identities, "partners": held.partners, "balancers": networks}


def last_refusal(server: ServerRig) -> object:
    """The cause of the last connection that was refused; ``None`` if none was."""
    refused = server.journal.of("connection.refused")
    return refused[-1]["cause"] if refused else None


def server_address(host: str) -> IPv6Address:
    """As a port on all addresses sees an IPv4 caller."""
    return IPv6Address("TCP", f"::ffff:{host}", 40_000)


class NoIntroduction(SynchronousTestCase):
    """Connections that do not say whose they are."""

    def refused(self, server: ServerRig, cause: str) -> None:
        """One event, and nobody's fault."""
        told = server.journal.the("connection.refused")
        self.assertEqual((told["cause"], told["peer"]), (cause, f"{BALANCER}:40000"))
        self.assertIn("server.balancers", str(told["advice"]))
        self.assertEqual(set(server.journal.names()), {"connection.refused"})
        self.assertEqual((len(server.gate.penalties), server.gate.admission.connections), (0, 0))
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_no_header_and_wrong_ones(self) -> None:
        """TLS at once, and each wrong header, end the connection; the balancer is not banned, however often."""
        for octets, cause in (
            (client_hello(), "balancer.no_header"),
            (b"PROXY TCP4 192.0.2.7 nowhere 1 2\r\n", "balancer.bad_header"),
            (binary(b"\x00" * 12, family=0x12), "balancer.bad_header"),
        ):
            server = rig()
            for _ in range(30):
                self.assertIsNotNone(connect(server, octets).ended)
            self.refused(server, cause)

    def test_late(self) -> None:
        """The deadline counts from the connection, whatever comes meanwhile."""
        server = rig()
        callers = [connect(server), connect(server, HEADER[:10])]
        server.network.wait(limits.BALANCER_HEADER_SECONDS - 0.1)
        server.send(callers[1], HEADER[10:20])
        self.assertEqual([caller.ended for caller in callers], [None, None])
        server.network.wait(0.1)
        self.assertNotIn(None, [caller.ended for caller in callers])
        self.refused(server, "balancer.late")

    def test_cut_off(self) -> None:
        """A balancer that closes within its header is told of."""
        server = rig()
        caller = connect(server, HEADER[:-1])
        assert caller.transport is not None
        caller.transport.loseConnection()
        server.network.settle()
        self.refused(server, "balancer.bad_header")

    def test_many(self) -> None:
        """So many may wait; the oldest makes room, and what is behind a header does not."""
        server = rig()
        introduced = connect(server, HEADER)
        waiting = [connect(server) for _ in range(limits.BALANCER_WAITING_MOST + 1)]
        self.assertEqual([caller.ended is None for caller in waiting[:3]], [False, True, True])
        self.assertIsNone(introduced.ended)
        self.assertEqual(server.journal.the("connection.refused")["cause"], "balancer.crowded")

    def test_from_elsewhere(self) -> None:
        """Nobody else is believed a header: it ends the connection, and counts against whoever sent it."""
        for header in (HEADER, binary(b"\xc0\x00\x02\x07\xc6\x33\x64\x01\x9c\xaf\x19\xdb")):
            server = rig()
            self.assertIsNotNone(connect(server, *(header[at : at + 1] for at in range(8)), host="10.0.0.4").ended)
            failed = server.journal.the("handshake.failed")
            self.assertEqual((failed["cause"], failed["peer"]), ("handshake.balancer", "10.0.0.4:40001"))
            self.assertIn("server.balancers", str(failed["advice"]))
            self.assertEqual(len(server.gate.penalties), 1)


class Checks(SynchronousTestCase):
    """A balancer's health checks are no fault of anybody, and no operator needs to hear of one that is as usual."""

    def test_only_whether_the_port_is_open(self) -> None:
        """Without an octet, or with a header that names nobody: nothing above DEBUG, no points, nothing left."""
        for said in (b"", b"PROXY UNKNOWN\r\n", binary(b"", first=0x20, family=0)):
            server = rig()
            for _ in range(30):
                caller = connect(server, said)
                assert caller.transport is not None
                caller.transport.loseConnection()
                server.network.settle()
            self.assertTrue({Severity.DEBUG} >= server.journal.levels(), said)
            self.assertEqual((len(server.gate.penalties), server.gate.admission.connections), (0, 0))

    def test_check_of_tls(self) -> None:
        """A check that begins TLS and goes is told, as what it is, and never bans the balancer."""
        server = rig(penalties=PenaltySettings(threshold=1, exempt=()))
        for _ in range(3):
            caller = connect(server, b"PROXY UNKNOWN\r\n", client_hello())
            assert caller.transport is not None
            caller.transport.loseConnection()
            server.network.settle()
        self.assertEqual(set(server.journal.names()), {"handshake.failed"})
        self.assertEqual(server.journal.of("handshake.failed")[0]["peer"], f"{BALANCER}:40001")
        self.assertEqual(len(server.gate.penalties), 0)


class RefusedForWorkers(SynchronousTestCase):
    """A caller that the balancer introduced to a server with workers, and that is refused."""

    def test_nothing_more_is_read(self) -> None:
        """Whatever it goes on sending stays unread: it holds nobody else up."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        door = HeaderFirst(Clock(), lambda address: None, lambda door, wrong: None)
        port: Any = None
        stream = HeldStream(ours, door, (BALANCER, 40000), port, 1, Mock())
        door.makeConnection(stream)
        theirs.send(HEADER + bytes(1000))
        self.assertIsNone(stream.doRead())
        self.assertEqual(ours.recv(2000), bytes(1000))
        stream.connectionLost(Mock())
