"""Data connections and their legs: back-pressure, closing, and a transport that does not cooperate."""

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smartproxy.net.leg import ILeg
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.tunnel.data import DataConnection, DataLeg
from smartproxy.tunnel.faults import Closing, Violation
from smartproxy.tunnel.marks import Attach, End
from smartproxy.tunnel.vocabulary import Side
from tests.adapters.tunnel_kit import UNIT, WHY, Events, Receiver

END = End().encode()
TICKET = bytes(32)


class Wire(StringTransport):
    """A transport that remembers how it was closed, and does not close by itself."""

    aborted = False

    def abortConnection(self) -> None:
        """Part of ``ITCPTransport``."""
        self.aborted = True


class Owner:
    """Holds one connection and takes notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.leg: DataLeg | None = None

    def data_attached(self, connection: DataConnection, ticket: bytes) -> None:
        """Part of ``DataOwner``."""
        self.leg = connection.begin()

    def data_idle(self, connection: DataConnection) -> None:
        """Part of ``DataOwner``."""
        self.notes.append("idle")

    def data_gone(self, connection: DataConnection) -> None:
        """Part of ``DataOwner``."""
        self.notes.append(f"gone: {connection.ended}")

    def data_violated(self, connection: DataConnection, violation: Violation) -> None:
        """Part of ``DataOwner``."""
        self.notes.append(violation.cause)


class DataCase(SynchronousTestCase):
    """A connection at the server's end."""

    def setUp(self) -> None:
        """An idle connection."""
        self.clock = Clock()
        self.events = Events()
        self.owner = Owner()
        self.connection = DataConnection(self.owner, Side.SERVER, self.clock, self.events, "10.0.0.7:40001")
        self.wire = Wire()
        self.connection.makeConnection(self.wire)

    def attach(self) -> DataLeg:
        """Begin a session."""
        self.connection.dataReceived(Attach(TICKET).encode())
        leg = self.owner.leg
        assert leg is not None
        return leg

    def session(self, *, finishes: bool = True) -> Receiver:
        """Begin a session with a receiver."""
        receiver = Receiver(self.attach(), finishes=finishes)
        self.clock.advance(0)
        return receiver

    def lose(self) -> None:
        """The connection is gone."""
        self.connection.connectionLost(Failure(ConnectionLost()))


class LegTests(DataCase):
    """What a session holds."""

    def test_is_a_leg(self) -> None:
        """It offers what every leg offers."""
        verifyObject(ILeg, self.attach())

    def test_nothing_before_a_receiver(self) -> None:
        """What comes before there is a receiver waits for it, in order, and holds the far end back."""
        leg = self.attach()
        self.assertEqual(self.wire.producerState, "producing")
        self.connection.dataReceived(UNIT)
        self.assertEqual(self.wire.producerState, "paused")
        self.connection.dataReceived(UNIT + END)
        receiver = Receiver(leg, finishes=False)
        self.assertEqual(receiver.got, b"")
        self.clock.advance(0)
        self.assertEqual((receiver.got, receiver.said), (UNIT * 2, ["ended"]))
        self.assertEqual(self.wire.producerState, "producing")

    def test_loss_before_a_receiver(self) -> None:
        """A receiver that comes too late is told of the loss, once."""
        leg = self.attach()
        self.lose()
        receiver = Receiver(leg)
        self.clock.advance(0)
        self.assertEqual(len(receiver.said), 1)
        self.assertEqual(receiver.said[0][:5], "lost:")

    def test_receiver_can_be_replaced(self) -> None:
        """A second receiver takes over from the first without missing anything."""
        first = self.session()
        self.connection.dataReceived(UNIT)
        second = Receiver(first.leg)
        self.connection.dataReceived(UNIT * 2)
        self.assertEqual((first.got, second.got), (UNIT, UNIT * 2))

    def test_send(self) -> None:
        """Octets leave as they are."""
        receiver = self.session()
        receiver.leg.send(UNIT)
        self.assertEqual(self.wire.value(), UNIT)

    def test_pause_and_resume_reach_the_transport(self) -> None:
        """A paused leg stops the transport's reading; TCP's window holds the far end."""
        receiver = self.session()
        receiver.leg.pause()
        self.assertEqual(self.wire.producerState, "paused")
        receiver.leg.resume()
        self.assertEqual(self.wire.producerState, "producing")

    def test_full_and_drained(self) -> None:
        """A transport that is full makes the leg say so, for the other leg to be held."""
        receiver = self.session()
        self.assertIs(self.wire.producer, self.connection)
        self.assertTrue(self.wire.streaming)
        self.connection.pauseProducing()
        self.connection.resumeProducing()
        self.assertEqual(receiver.said, ["full", "drained"])

    def test_full_from_the_session_before(self) -> None:
        """A session on a connection that still sends the last one's octets is told at once that it is full."""
        receiver = self.session()
        self.connection.pauseProducing()
        self.connection.dataReceived(END)
        self.assertEqual(receiver.said, ["full", "ended", "lost: the session is over"])
        self.assertEqual(self.session().said, ["full"])

    def test_full_is_told_at_once(self) -> None:
        """Who sends as soon as there is a receiver learns at once that the transport is full, not a turn later."""
        receiver = Receiver(self.attach())
        self.connection.pauseProducing()
        self.assertEqual(receiver.said, ["full"])
        self.clock.advance(0)
        self.assertEqual(receiver.said, ["full"])

    def test_full_before_a_receiver(self) -> None:
        """What drained again before there was a receiver is not told."""
        leg = self.attach()
        self.connection.pauseProducing()
        self.connection.resumeProducing()
        receiver = Receiver(leg)
        self.clock.advance(0)
        self.assertEqual(receiver.said, [])

    def test_full_between_sessions(self) -> None:
        """An idle connection has nobody to tell, and remembers."""
        self.connection.pauseProducing()
        self.connection.resumeProducing()
        self.assertEqual(self.session().said, [])

    def test_finish_while_paused(self) -> None:
        """A leg that was paused when it finished reads on, since the peer's END stands behind what was held."""
        receiver = self.session()
        receiver.leg.pause()
        receiver.leg.finish()
        self.assertEqual(self.wire.producerState, "producing")
        receiver.leg.pause()
        self.assertEqual(self.wire.producerState, "producing")
        self.connection.dataReceived(UNIT + END)
        self.assertEqual((receiver.got, self.owner.notes), (b"", ["idle"]))

    def test_finish_twice_and_send_after(self) -> None:
        """One END leaves, and nothing after it."""
        receiver = self.session()
        receiver.leg.finish()
        receiver.leg.finish()
        receiver.leg.send(UNIT)
        self.assertEqual(self.wire.value(), END)

    def test_finish_that_is_not_answered(self) -> None:
        """The connection is aborted after the closing time; the session hears of it once, at the loss."""
        receiver = self.session()
        receiver.leg.finish()
        self.clock.advance(limits.CLOSING.default)
        self.assertTrue(self.wire.aborted)
        self.lose()
        self.assertEqual(receiver.said, ["lost: the other daemon did not end the session in time"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abort_after_finish(self) -> None:
        """A leg that finished can still be aborted, and leaves no timer."""
        receiver = self.session()
        receiver.leg.finish()
        receiver.leg.abort()
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.lose()
        self.assertEqual(receiver.said, ["lost: aborted by this end"])

    def test_nothing_after_abort(self) -> None:
        """After an abort nothing is delivered and nothing sent, though octets still come."""
        receiver = self.session()
        receiver.leg.abort()
        receiver.leg.send(UNIT)
        receiver.leg.finish()
        receiver.leg.resume()
        self.connection.dataReceived(UNIT + END)
        self.assertEqual((receiver.got, receiver.said, self.wire.value()), (b"", [], b""))

    def test_abort_within_a_piece(self) -> None:
        """A receiver that aborts at one unit is given nothing more of the same piece."""
        receiver = self.session()
        self.patch(receiver, "octets_received", lambda leg, octets: leg.abort())
        self.connection.dataReceived(UNIT + END + Attach(TICKET).encode() + UNIT)
        self.assertEqual((receiver.said, self.owner.notes), ([], []))

    def test_two_sessions_in_one_piece(self) -> None:
        """The end of one session and the beginning of the next may come together."""
        first = self.session()
        self.connection.dataReceived(UNIT + END + Attach(TICKET).encode() + UNIT)
        second = Receiver(self.owner.leg)  # type: ignore[arg-type]  # the second
        self.clock.advance(0)
        self.assertIsNot(second.leg, first.leg)
        self.assertEqual((first.got, second.got), (UNIT, UNIT))

    def test_octets_after_the_peers_end(self) -> None:
        """Who ended its direction has nothing more to say in it."""
        receiver = self.session(finishes=False)
        self.connection.dataReceived(END)
        self.connection.dataReceived(UNIT)
        self.assertEqual(receiver.got, b"")
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.owner.notes, ["data.unattached"])

    def test_end_twice(self) -> None:
        """An END is said once."""
        self.session(finishes=False)
        self.connection.dataReceived(END + END)
        self.assertEqual(self.owner.notes, ["data.end"])

    def test_bug_in_a_receiver(self) -> None:
        """A receiver that fails loses its connection, is reported, and its octets are in no log."""
        receiver = self.session()

        def bug(leg: ILeg, octets: bytes) -> None:
            raise ValueError(octets)

        self.patch(receiver, "octets_received", bug)
        self.connection.dataReceived(UNIT)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(len(self.events.named("internal.error")), 1)
        self.assertNotIn("abcd", repr(self.events.seen))


class ConnectionTests(DataCase):
    """The connection between sessions."""

    def test_idle_is_closed_cleanly(self) -> None:
        """An idle connection ends with TLS's own words, and with an abort if they are not answered."""
        self.connection.close(Closing(Cause.TUNNEL_IDLE, "not used"))
        self.assertTrue(self.wire.disconnecting)
        self.assertFalse(self.connection.open)
        self.connection.close(WHY)
        self.clock.advance(limits.CLOSING.default)
        self.assertTrue(self.wire.aborted)
        self.lose()
        self.assertEqual(self.owner.notes, ["gone: not used"])

    def test_close_with_a_session(self) -> None:
        """A connection that carries a session can only be aborted."""
        receiver = self.session()
        self.connection.close(Closing(Cause.TUNNEL_LOST, "the tunnel is down"))
        self.assertTrue(self.wire.aborted)
        self.lose()
        self.assertEqual(receiver.said, ["lost: the tunnel is down"])

    def test_after_the_loss(self) -> None:
        """Nothing can be done with a connection that is gone, and nothing goes wrong."""
        self.lose()
        for call in (self.connection.end, self.connection.hold, self.connection.finish):
            call()
        self.connection.send(UNIT)
        self.connection.abort(WHY)
        self.connection.close(WHY)
        self.assertFalse(self.connection.open)
        self.assertEqual(len(self.owner.notes), 1)

    def test_finish_ends_the_session(self) -> None:
        """The owner can end the session that the connection carries."""
        self.attach()
        self.assertTrue(self.connection.attached)
        self.connection.finish()
        self.assertEqual(self.wire.value(), END)

    def test_idle_since(self) -> None:
        """It remembers since when it carries nothing."""
        self.clock.advance(7)
        self.session()
        self.connection.dataReceived(END)
        self.assertEqual(self.connection.idle_since, 7)
        self.assertEqual(self.owner.notes, ["idle"])
        self.assertFalse(self.connection.attached)
