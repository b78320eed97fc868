"""A Twisted connection as a leg: high-water marks, holding back, and above all closing."""

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smartproxy.net.connection import ConnectionLeg, end_of
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd, address_text
from smartproxy.relay.events import SharedEnd
from smartproxy.testing import pki
from tests.adapters.rig import Caller, CallerTls
from tests.adapters.wires import Network


@implementer(ILegReceiver)
class Receiver:
    """Remembers what a leg tells."""

    def __init__(self) -> None:
        self.octets = b""
        self.told: list[str] = []

    def octets_received(self, leg: ILeg, octets: bytes) -> None:
        """Keep them."""
        self.octets += octets

    def leg_ended(self, leg: ILeg, end: SharedEnd | None) -> None:
        """Keep it."""
        self.told.append("ended")

    def leg_lost(self, leg: ILeg, end: LegEnd) -> None:
        """Keep the cause."""
        self.told.append(end.message)

    def leg_full(self, leg: ILeg) -> None:
        """Keep it."""
        self.told.append("full")

    def leg_drained(self, leg: ILeg) -> None:
        """Keep it."""
        self.told.append("drained")


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """TLS of a server that asks for nothing."""

    def __init__(self, credential: pki.TestCredential) -> None:
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate(credential.certificate)
        self.context.use_privatekey(credential.key)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the TLS side."""
        return SSL.Connection(self.context, None)


class Line:
    """A leg, its receiver, and the far end."""

    def __init__(self, tls: bool, *, received: bool = True) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.leg = ConnectionLeg(self.clock, closing=5)
        self.receiver = Receiver()
        if received:
            self.leg.receiver = self.receiver
        self.far = Caller()
        near: Protocol = self.leg
        far: Protocol = self.far
        if tls:
            credential = pki.self_signed("near")
            near = self._wrapped(ServerTls(credential), False, self.leg)
            far = self._wrapped(CallerTls(None), True, self.far)
        self.far_end, self.near_end = self.network.connect(far, near)
        self.network.settle()

    def _wrapped(self, creator: ServerTls | CallerTls, is_client: bool, protocol: Protocol) -> Protocol:
        factory = Factory.forProtocol(lambda: protocol)
        made = TLSMemoryBIOFactory(creator, is_client, factory, self.clock).buildProtocol(
            IPv4Address("TCP", "192.0.2.7", 1)
        )
        assert made is not None
        return made

    def gone(self) -> bool:
        """Whether the leg said that it is lost, once and last."""
        lost = [told for told in self.receiver.told if told not in ("full", "drained", "ended")]
        return len(lost) == 1 and self.receiver.told[-1] == lost[0]


class OverBoth(SynchronousTestCase):
    """What holds over TCP and over TLS alike."""

    tls = False

    def test_octets(self) -> None:
        """Both ways."""
        line = Line(self.tls)
        line.leg.send(b"hello")
        assert line.far.transport is not None
        line.far.transport.write(b"world")
        line.network.settle()
        self.assertEqual((line.far.received, line.receiver.octets), (b"hello", b"world"))
        self.assertEqual(line.leg.peer, "192.0.2.7:40001")
        self.assertTrue(line.near_end.no_delay)
        verifyObject(ILeg, line.leg)

    def test_finish_delivers_first(self) -> None:
        """What was sent arrives, then the connection ends at both ends."""
        line = Line(self.tls)
        line.leg.send(b"x" * 300_000)
        line.leg.finish()
        line.leg.finish()
        line.leg.send(b"too late")
        line.network.settle()
        self.assertEqual(len(line.far.received), 300_000)
        self.assertIsNotNone(line.far.ended)
        assert line.far.transport is not None
        line.far.transport.loseConnection()
        line.network.settle()
        self.assertTrue(line.gone())
        self.assertEqual(line.clock.getDelayedCalls(), [])

    def test_finish_has_an_abort_timer(self) -> None:
        """A peer that does not read, and so never lets go, has five seconds (trap 3)."""
        line = Line(self.tls)
        line.far_end.pauseProducing()
        line.leg.send(b"x" * 300_000)
        line.leg.finish()
        line.network.wait(4.9)
        self.assertFalse(line.gone())
        line.network.wait(0.1)
        self.assertTrue(line.gone())
        self.assertTrue(line.near_end.closed)

    def test_finish_while_paused(self) -> None:
        """A leg that is held back reads again while it closes: or it would not see the peer let go (trap 4)."""
        line = Line(self.tls)
        line.leg.pause()
        self.assertFalse(line.near_end.reading)
        assert line.far.transport is not None
        line.far.transport.write(b"unread")
        line.network.settle()
        line.leg.finish()
        line.network.settle()
        line.far.transport.loseConnection()
        line.network.settle()
        self.assertTrue(line.gone())
        self.assertEqual(line.receiver.octets, b"")

    def test_abort_while_paused(self) -> None:
        """Aborting a paused leg ends it at once (trap 4)."""
        line = Line(self.tls)
        line.leg.pause()
        line.leg.abort()
        line.network.settle()
        self.assertTrue(line.gone())
        line.leg.abort()
        line.leg.finish()
        line.leg.pause()
        line.leg.resume()
        line.leg.send(b"nothing happens")
        self.assertEqual(line.clock.getDelayedCalls(), [])

    def test_abort_after_finish(self) -> None:
        """Aborting a leg that closes ends it at once, and its timer."""
        line = Line(self.tls)
        line.far_end.pauseProducing()
        line.leg.send(b"x" * 300_000)
        line.leg.finish()
        line.leg.abort()
        line.network.settle()
        self.assertTrue(line.gone())
        self.assertEqual(line.clock.getDelayedCalls(), [])

    def test_a_vanished_peer_is_seen_after_resuming(self) -> None:
        """While a leg is paused it does not learn that the peer is gone; it does with the next read (trap 4)."""
        line = Line(self.tls)
        line.leg.pause()
        line.far_end.abortConnection()
        line.network.wait(60)
        self.assertFalse(line.gone())
        line.leg.resume()
        line.network.settle()
        self.assertTrue(line.gone())

    def test_pause_holds_back(self) -> None:
        """After pausing, no more than one read arrives (trap 5), and nothing more however long it takes."""
        line = Line(self.tls)
        assert line.far.transport is not None
        line.far.transport.write(b"x" * 1_000_000)
        line.leg.pause()
        line.network.settle()
        self.assertLessEqual(len(line.receiver.octets), 65536)
        line.network.wait(60)
        self.assertLessEqual(len(line.receiver.octets), 65536)
        line.leg.resume()
        line.network.settle()
        self.assertEqual(len(line.receiver.octets), 1_000_000)

    def test_high_water(self) -> None:
        """A peer that does not read makes the leg full; when it has read, the leg is drained."""
        line = Line(self.tls)
        line.far_end.pauseProducing()
        line.leg.send(b"x" * 200_000)
        line.network.settle()
        self.assertEqual(line.receiver.told, ["full"])
        line.far_end.resumeProducing()
        line.network.settle()
        self.assertEqual(line.receiver.told, ["full", "drained"])

    def test_kept_for_a_receiver(self) -> None:
        """What comes before there is a receiver is kept in order, and delivered a turn after there is one."""
        line = Line(self.tls, received=False)
        assert line.far.transport is not None
        line.far.transport.write(b"one ")
        line.network.settle()
        line.far.transport.write(b"two ")
        line.network.settle()
        line.leg.receiver = line.receiver
        self.assertEqual(line.receiver.octets, b"")
        line.far.transport.write(b"three")
        line.network.settle()
        self.assertEqual(line.receiver.octets, b"one two three")

    def test_little_is_kept(self) -> None:
        """A far end that sends on without a receiver is held back, and read on when there is one."""
        line = Line(self.tls, received=False)
        assert line.far.transport is not None
        line.far.transport.write(b"x" * 1_000_000)
        line.network.wait(60)
        self.assertFalse(line.near_end.reading)
        line.leg.receiver = line.receiver
        line.network.settle()
        self.assertEqual(len(line.receiver.octets), 1_000_000)

    def test_lost_before_a_receiver(self) -> None:
        """A receiver that comes too late is told what came, and then of the loss, once and last."""
        line = Line(self.tls, received=False)
        assert line.far.transport is not None
        line.far.transport.write(b"one")
        line.network.settle()
        line.far_end.abortConnection()
        line.network.settle()
        line.leg.receiver = line.receiver
        line.network.settle()
        self.assertEqual(line.receiver.octets, b"one")
        self.assertTrue(line.gone())

    def test_full_before_a_receiver(self) -> None:
        """A leg that is full before it has a receiver says so when there is one."""
        line = Line(self.tls, received=False)
        line.far_end.pauseProducing()
        line.leg.send(b"x" * 200_000)
        line.network.settle()
        line.leg.receiver = line.receiver
        line.network.settle()
        self.assertEqual(line.receiver.told, ["full"])

    def test_paused_before_a_receiver(self) -> None:
        """A session that pauses a leg at once has it paused, though what was kept is delivered."""
        line = Line(self.tls, received=False)
        assert line.far.transport is not None
        line.far.transport.write(b"one")
        line.network.settle()
        line.leg.receiver = line.receiver
        line.leg.pause()
        line.network.settle()
        self.assertEqual(line.receiver.octets, b"one")
        self.assertFalse(line.near_end.reading)

    def test_a_leg_nobody_listens_to(self) -> None:
        """A leg without receiver neither fails nor keeps anything."""
        line = Line(self.tls)
        line.leg.receiver = None
        line.far_end.pauseProducing()
        line.leg.send(b"x" * 200_000)
        assert line.far.transport is not None
        line.far.transport.write(b"unheard")
        line.network.settle()
        line.far_end.resumeProducing()
        line.network.settle()
        line.leg.abort()
        line.network.settle()
        self.assertEqual((line.receiver.octets, line.receiver.told), (b"", []))


class OverTls(OverBoth):
    """The same over TLS."""

    tls = True

    def test_close_notify(self) -> None:
        """A finished leg says goodbye with close_notify, not just with FIN."""
        line = Line(True)
        line.leg.finish()
        line.network.settle()
        self.assertEqual(line.far.ended, "ConnectionDone")
        self.assertTrue(line.gone())


class OverTcp(SynchronousTestCase):
    """What concerns TCP alone."""

    def test_lingers(self) -> None:
        """A finished leg shuts its direction and reads on: closing with unread octets would be a reset."""
        line = Line(False)
        line.leg.send(b"goodbye")
        line.leg.finish()
        self.assertTrue(line.near_end.reading)
        assert line.far.transport is not None
        line.far.transport.write(b"still talking")
        line.network.settle()
        self.assertEqual((line.far.received, line.receiver.octets), (b"goodbye", b""))

    def test_any_transport(self) -> None:
        """A transport that is no socket carries a leg as well."""
        transport = StringTransport()
        leg = ConnectionLeg(Clock(), closing=5)
        leg.makeConnection(transport)
        leg.send(b"hello")
        leg.finish()
        self.assertEqual((transport.value(), transport.disconnecting), (b"hello", True))

    def test_abort_reads_on_first(self) -> None:
        """A transport that is aborted is not left paused, whatever it makes of that (trap 4)."""
        transport = StringTransport()
        leg = ConnectionLeg(Clock(), closing=5)
        leg.makeConnection(transport)
        leg.pause()
        leg.abort()
        self.assertEqual((transport.producerState, transport.disconnected), ("producing", True))


class Words(SynchronousTestCase):
    """How ends and addresses are told."""

    def test_addresses(self) -> None:
        """IPv6 addresses stand in brackets."""
        self.assertEqual(address_text(IPv4Address("TCP", "192.0.2.7", 1)), "192.0.2.7:1")
        self.assertEqual(address_text(IPv6Address("TCP", "2001:db8::7", 1)), "[2001:db8::7]:1")
        self.assertEqual(address_text(UNIXAddress(b"/x")), "unknown")
        self.assertEqual(address_text(None), "unknown")

    def test_ipv4_peer_of_an_ipv6_port(self) -> None:
        """An IPv4 peer that a port on ``::`` sees in IPv6 form is told as the IPv4 peer that it is."""
        self.assertEqual(address_text(IPv6Address("TCP", "::ffff:192.0.2.7", 1)), "192.0.2.7:1")
        self.assertEqual(address_text(IPv6Address("TCP", "fe80::1%eth0", 1)), "[fe80::1%eth0]:1")

    def test_causes(self) -> None:
        """No cause quotes an exception's message, which could hold a peer's octets."""
        for error, words in (
            (ConnectionDone("CANARY"), "closed"),
            (ConnectionAborted("CANARY"), "aborted here"),
            (ConnectionLost("CANARY"), "connection lost"),
            (SSL.Error([("SSL routines", "", "bad record mac")]), "TLS error: bad record mac"),
            (SSL.SysCallError(-1, "Unexpected EOF"), "TLS error: connection ended"),
            (RuntimeError("CANARY"), "the connection failed"),
        ):
            self.assertEqual(end_of(Failure(error)), LegEnd(words, in_order=words == "closed"))
