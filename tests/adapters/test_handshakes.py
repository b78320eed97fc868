"""Hellos that come faster than they can be answered, and what a connection does that waits for its answer."""

from typing import cast

from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.handshakes import Handshakes
from smartproxy.net.hello import HelloFirst, Spoken
from smartproxy.net.transport.sockets import DataStream
from smartproxy.policy import limits

HELLO = b"\x16\x03\x01\x00\x02\x01\x00"
COST = limits.HANDSHAKES_SECONDS / 2.9
"""Three are answered in a turn."""


class Stream(DataStream):
    """A connection of the daemons' own kind, without a socket."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol


class StandingAside(SynchronousTestCase):
    """What stays of the door of a connection that lives for hours."""

    def test_nothing(self) -> None:
        """What stands behind is the connection's own protocol from then on: nobody holds the door any more."""
        clock, inner = Clock(), Protocol()
        door = HelloFirst(clock, 10.0, lambda door: inner, lambda *told: None, HelloFirst.begin)
        stream = Stream(door)
        door.makeConnection(stream)
        door.dataReceived(HELLO)
        self.assertIs(inner, stream.protocol)
        self.assertIs(stream, inner.transport)
        self.assertEqual([], clock.getDelayedCalls())


class Crowded(SynchronousTestCase):
    """A port that takes :data:`COST` to answer a hello."""

    def setUp(self) -> None:
        """Nobody came yet."""
        self.clock = Clock()
        self.handshakes = Handshakes(self.clock)
        self.begun: list[str] = []
        self.ended: list[tuple[str, Spoken, bool]] = []
        self.doors: dict[str, HelloFirst] = {}
        self.addCleanup(self.handshakes.stop)

    def come(self, *names: str, known: bool = False) -> None:
        """Connections say hello; the first letter is where they come from."""
        for name in names:
            self.doors[name] = door = self.door(name, known)
            door.makeConnection(StringTransport())
            door.dataReceived(HELLO)

    def door(self, name: str, known: bool) -> HelloFirst:
        """A connection that was accepted."""

        def behind(door: HelloFirst) -> Protocol:
            self.begun.append(name)
            self.clock.rightNow += COST
            return Protocol()

        def ended(door: HelloFirst, spoken: Spoken, reason: Failure | None) -> None:
            self.ended.append((name, spoken, reason is None))
            self.handshakes.leave(door)

        def spoke(door: HelloFirst) -> None:
            self.handshakes.arrived(door, name[0], known=known)

        return HelloFirst(self.clock, 10.0, behind, ended, spoke)

    def turn(self) -> None:
        """The reactor's next turn."""
        self.clock.advance(0.0)

    def test_turns(self) -> None:
        """So many are answered in a turn; the others wait, those first that come seldom, known ones before all."""
        self.come("a1", "a2", "a3", "a4", "a5", "b1")
        self.assertEqual(self.begun, ["a1", "a2", "a3"])
        self.come("c1", known=True)
        self.assertEqual(self.handshakes.waiting, 4)
        self.clock.callLater(COST, self.begun.append, "others")
        self.turn()
        self.assertEqual(self.begun[3:], ["c1", "b1", "a4", "others", "a5"])
        self.assertEqual((self.handshakes.waiting, len(self.doors)), (0, 7))

    def test_quiet(self) -> None:
        """Where hellos come seldom nobody waits, and no turn is asked for."""
        for name in "abcdefgh":
            self.come(name)
            self.clock.advance(10 * limits.HANDSHAKES_SECONDS)
        self.assertEqual((self.begun, self.clock.getDelayedCalls()), (list("abcdefgh"), []))

    def test_left_while_waiting(self) -> None:
        """A connection that ends while it waits is told of once, and not begun."""
        self.come("a", "b", "c", "d", "e")
        self.doors["d"].connectionLost()
        self.doors["e"].close()
        self.turn()
        self.assertEqual(self.begun, ["a", "b", "c"])
        self.assertEqual(self.ended, [("d", Spoken.TLS, False)])

    def test_late_while_waiting(self) -> None:
        """The deadline goes on while a connection waits."""
        self.come("a", "b", "c", "d")
        self.handshakes.stop()
        self.clock.advance(10.0)
        self.assertEqual(self.ended, [("d", Spoken.TLS, True)])
        self.assertTrue(cast(StringTransport, self.doors["d"].transport).disconnecting)

    def test_talks_while_waiting(self) -> None:
        """What comes behind the hello waits with it, up to the size of a record; more ends the connection."""
        self.come("a", "b", "c", "d", "e")
        self.doors["d"].dataReceived(b"x" * (2**14 - 2))
        self.doors["e"].dataReceived(b"x" * (2**14 - 1))
        self.assertEqual(self.ended, [("e", Spoken.OTHER, False)])
        self.turn()
        self.assertEqual(self.begun, ["a", "b", "c", "d"])

    def test_hasty(self) -> None:
        """Where many wait, and only there, an address that came often is not let in."""
        self.patch(limits, "TURNS_WAITING_MANY", 7)
        self.come(*(f"a{number}" for number in range(8)), "b")
        self.assertFalse(self.handshakes.is_hasty("a"))
        self.come("c")
        self.assertEqual([self.handshakes.is_hasty(prefix) for prefix in "abc"], [True, False, False])
