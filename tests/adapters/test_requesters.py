"""Programs inside that say whom they want."""

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smartproxy.net.connection import KEPT_OCTETS_MOST
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd
from smartproxy.net.proxying.requester import RequesterFactory, RequesterLeg, either_way
from smartproxy.net.proxying.ways import ConnectFailure, Target
from smartproxy.relay.events import SharedEnd


class Host:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def requested(self, leg: RequesterLeg, target: Target | None) -> None:
        """A requester said whom it wants."""
        self.told.append(("requested", target))

    def malformed(self, leg: RequesterLeg, cause: str) -> None:
        """A requester's request is none."""
        self.told.append(("malformed", cause))

    def left(self, leg: RequesterLeg, cause: str) -> None:
        """A requester is gone."""
        self.told.append(("left", cause))


@implementer(ILegReceiver)
class Receiver:
    """Collects octets."""

    def __init__(self) -> None:
        self.octets = b""
        self.lost: list[str] = []

    def octets_received(self, leg: ILeg, octets: bytes) -> None:
        """Collect."""
        self.octets += octets

    def leg_ended(self, leg: ILeg, end: SharedEnd | None) -> None:
        """Never: it is a TCP leg."""

    def leg_lost(self, leg: ILeg, end: LegEnd) -> None:
        """Note why."""
        self.lost.append(end.message)

    def leg_full(self, leg: ILeg) -> None:
        """Unused here."""

    def leg_drained(self, leg: ILeg) -> None:
        """Unused here."""


class Requesters(SynchronousTestCase):
    """From the connection to the first carried octet."""

    def setUp(self) -> None:
        """Nobody has called yet."""
        self.clock = Clock()
        self.host = Host()
        self.receiver = Receiver()

    def call(self, *, asks: bool = True) -> tuple[RequesterLeg, StringTransport]:
        """A requester's connection."""
        factory = RequesterFactory(
            self.clock, self.host, seconds=10, closing=lambda: 5, dialogue=either_way if asks else None
        )
        leg = factory.buildProtocol(None)
        transport = StringTransport()
        leg.makeConnection(transport)
        return leg, transport

    def test_carried(self) -> None:
        """What came with the request and while it waited is delivered, once, in its order, after the answer."""
        leg, transport = self.call()
        leg.dataReceived(b"CONNECT ACME HTTP/1.1\r\n\r\none ")
        self.assertEqual(self.host.told, [("requested", Target("ACME", None))])
        self.assertEqual(leg.way, "http-connect")
        leg.dataReceived(b"two ")
        self.assertEqual(transport.value(), b"")
        leg.accept()
        self.assertEqual(transport.value(), b"HTTP/1.1 200 Connection established\r\n\r\n")
        leg.receiver = self.receiver
        self.clock.advance(0)
        leg.dataReceived(b"three")
        self.assertEqual(self.receiver.octets, b"one two three")
        self.clock.advance(3600)
        self.assertFalse(transport.disconnecting)

    def test_by_port(self) -> None:
        """Where the port says whom the requester wants, it need not say anything, and is answered nothing."""
        leg, transport = self.call(asks=False)
        self.assertEqual(self.host.told, [("requested", None)])
        self.assertEqual(leg.way, "port")
        leg.accept()
        leg.receiver = self.receiver
        self.clock.advance(0)
        leg.dataReceived(b"one")
        self.assertEqual((transport.value(), self.receiver.octets), (b"", b"one"))

    def test_refused(self) -> None:
        """A refusal is told in the words of the way, and the connection ends."""
        leg, transport = self.call()
        leg.dataReceived(b"\x05\x01\x00\x05\x01\x00\x03\x01a\x00\x01")
        leg.refuse(ConnectFailure.REFUSED, "why")
        self.assertEqual(transport.value(), b"\x05\x00\x05\x05\x00\x01" + bytes(6))
        self.assertTrue(transport.disconnecting)
        leg.dataReceived(b"too late")
        leg.connectionLost()
        self.assertEqual(self.host.told, [("requested", Target("a", 1))])

    def test_refused_by_port(self) -> None:
        """Without a way there are no words."""
        leg, transport = self.call(asks=False)
        leg.refuse(ConnectFailure.REFUSED, "why")
        self.assertEqual((transport.value(), transport.disconnecting), (b"", True))

    def test_misspoken(self) -> None:
        """A wrong request is answered and closed, and told once."""
        leg, transport = self.call()
        leg.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 405 "))
        self.assertTrue(transport.disconnecting)
        leg.dataReceived(b"CONNECT a:1 HTTP/1.1\r\n\r\n")
        leg.connectionLost()
        self.assertEqual(self.host.told, [("malformed", "only CONNECT is supported")])
        self.clock.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """Who says nothing, or says it too slowly, is cut off."""
        leg, transport = self.call()
        self.clock.advance(9)
        leg.dataReceived(b"CONNECT ")
        self.clock.advance(1)
        self.assertTrue(transport.disconnected)
        leg.connectionLost()
        self.assertEqual(self.host.told, [("malformed", "no request within 10 s")])

    def test_left(self) -> None:
        """A requester that leaves, before or after its request, is told of once; nothing is left behind."""
        leg, _ = self.call()
        leg.connectionLost()
        leg, _ = self.call(asks=False)
        leg.connectionLost()
        self.assertEqual(self.host.told, [("left", "closed"), ("requested", None), ("left", "closed")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_little_is_kept(self) -> None:
        """A requester that sends on while it waits is held back, and read on when it is accepted."""
        leg, transport = self.call(asks=False)
        leg.dataReceived(b"x" * KEPT_OCTETS_MOST)
        self.assertEqual(transport.producerState, "producing")
        leg.dataReceived(b"x")
        self.assertEqual(transport.producerState, "paused")
        leg.accept()
        leg.receiver = self.receiver
        self.clock.advance(0)
        self.assertEqual(transport.producerState, "producing")
        self.assertEqual(len(self.receiver.octets), KEPT_OCTETS_MOST + 1)
