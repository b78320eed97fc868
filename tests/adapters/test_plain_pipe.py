"""A session of the plain pair between two legs."""

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smartproxy.logs.emit import Events
from smartproxy.logs.levels import EVERYTHING, Levels
from smartproxy.logs.severity import Severity
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd
from smartproxy.plain.sessions import Ends, Outline, Pipe
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import Draining
from smartproxy.relay.events import SharedEnd


@implementer(ILeg)
class Leg:
    """Notes what is asked of it; is lost when it is told to be."""

    worked = 0.0

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.receiver: ILegReceiver | None = None
        self.asked: list[object] = []
        self.broken = ""

    def _note(self, what: object) -> None:
        if what == self.broken or (self.broken == "send" and isinstance(what, bytes)):
            raise RuntimeError("a bug")
        self.asked.append(what)

    def send(self, octets: bytes) -> None:
        """Part of the interface."""
        self._note(octets)

    def finish(self, end: SharedEnd | None = None) -> None:
        """Part of the interface."""
        self._note("finish")

    def abort(self) -> None:
        """Part of the interface."""
        self._note("abort")

    def pause(self) -> None:
        """Part of the interface."""
        self._note("pause")

    def resume(self) -> None:
        """Part of the interface."""
        self._note("resume")

    def lose(self, message: str = "closed") -> None:
        """Be gone."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.leg_lost(self, LegEnd(message, in_order=message == "closed"))


class PipeTests(SynchronousTestCase):
    """From the first octet to the end."""

    def setUp(self) -> None:
        """Begin a session."""
        self.clock = Clock()
        self.outer, self.tunnel = Leg("192.0.2.7:4711"), Leg("dmz")
        self.ended: list[dict[str, object]] = []
        self.passed: list[tuple[int, int, int]] = []
        self.over: list[None] = []
        self.events = events = Events(Logger(), self._forward, self.clock, carried=Severity.TRACE)
        self.pipe = Pipe(
            Ends(outside=self.outer, inside=self.tunnel, tunnel=self.tunnel),
            Outline(session="0123456789abcdef", peer="192.0.2.7:4711", direction="inbound"),
            clock=self.clock,
            events=events,
            seconds=180,
            over=lambda: self.over.append(None),
        )
        self.pipe.begin()
        self.assertEqual((self.outer.asked, self.tunnel.asked), (["resume"], ["resume"]))
        self.outer.asked.clear()
        self.tunnel.asked.clear()

    def _forward(self, event: Any) -> None:
        if event["name"] == "session.ended":
            self.ended.append(event)
        if event["name"] == "session.octets":
            self.passed.append((event["octets"], event["octets_in"], event["octets_out"]))

    def assertOver(self, outcome: str) -> None:
        """The session ended once, so, and left no timer."""
        self.assertEqual([event["outcome"] for event in self.ended], [outcome])
        self.assertEqual(len(self.over), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_interface(self) -> None:
        """It takes what legs say."""
        self.assertTrue(verifyObject(ILegReceiver, self.pipe))

    def test_octets(self) -> None:
        """What one side sends goes to the other, counted."""
        self.pipe.octets_received(self.outer, b"one")
        self.pipe.octets_received(self.tunnel, b"three")
        self.assertEqual((self.tunnel.asked, self.outer.asked), ([b"one"], [b"three"]))
        self.outer.lose()
        self.tunnel.lose()
        self.assertOver("completed")
        self.assertEqual((self.ended[0]["octets_in"], self.ended[0]["octets_out"]), (3, 5))

    def test_trace(self) -> None:
        """At TRACE each piece of octets is told with the numbers so far, and at no other level."""
        self.events.levels = Levels({EVERYTHING: Severity.DEBUG})
        self.pipe.octets_received(self.outer, b"one")
        self.assertEqual(self.passed, [])
        self.events.levels = Levels({EVERYTHING: Severity.TRACE})
        self.pipe.octets_received(self.outer, b"one")
        self.pipe.octets_received(self.tunnel, b"three")
        self.assertEqual(self.passed, [(3, 6, 0), (5, 6, 5)])

    def test_slow_receiver(self) -> None:
        """Who sends to a slow receiver is held back, and goes on with it."""
        self.pipe.leg_full(self.tunnel)
        self.pipe.leg_drained(self.tunnel)
        self.assertEqual((self.outer.asked, self.tunnel.asked), (["pause", "resume"], []))

    def test_near_end_closes(self) -> None:
        """The tunnel is finished, which delivers, and the session is over with it; so it is after a reset."""
        self.outer.lose("connection lost")
        self.assertEqual(self.tunnel.asked, ["finish"])
        self.assertEqual(self.over, [])
        self.tunnel.lose()
        self.assertOver("lost")

    def test_far_end_closes(self) -> None:
        """The near end gets what is on its way, and is closed."""
        self.tunnel.lose()
        self.assertEqual(self.outer.asked, ["finish"])
        self.outer.lose()
        self.assertOver("completed")

    def test_tunnel_breaks(self) -> None:
        """The near end is aborted: a stream that was cut must not look whole."""
        self.tunnel.lose("data connection lost: connection lost")
        self.assertEqual(self.outer.asked, ["abort"])
        self.outer.lose("aborted here")
        self.assertOver("lost")

    def test_idle(self) -> None:
        """When nothing moved for the time, both are aborted; octets and progress begin it anew."""
        self.clock.advance(100)
        self.pipe.octets_received(self.outer, b"x")
        self.clock.advance(100)
        self.pipe.leg_drained(self.outer)
        self.clock.advance(179)
        self.assertEqual(self.outer.asked, [])
        self.clock.advance(1)
        self.assertEqual((self.outer.asked[-1], self.tunnel.asked[-1]), ("abort", "abort"))
        self.outer.lose("aborted here")
        self.tunnel.lose("aborted by this end")
        self.assertOver("expired")

    def test_stopped(self) -> None:
        """Stopped, it tells why, whatever its legs say afterwards."""
        self.pipe.stop(Draining(rule=Cause.SESSION_CLOSED, message="closed by the client"))
        self.outer.lose("aborted here")
        self.tunnel.lose()
        self.assertOver("stopped")
        self.assertEqual((self.ended[0]["cause"], self.ended[0]["message"]), ("session.closed", "closed by the client"))

    def bug(self, leg: Leg, broken: str) -> None:
        """A call fails from now on."""
        leg.broken = broken

    def assertWalled(self) -> None:
        """The session ended alone, and the bug was reported once or more."""
        self.assertOver("failed")
        self.assertIsNone(self.outer.receiver)
        self.assertIsNone(self.tunnel.receiver)
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_bug_while_sending(self) -> None:
        """A bug ends this session and goes no further."""
        self.bug(self.tunnel, "send")
        self.pipe.octets_received(self.outer, b"x")
        self.assertEqual(self.outer.asked, ["abort"])
        self.assertWalled()

    def test_bug_while_holding_back(self) -> None:
        """So does one in the flow control."""
        self.bug(self.outer, "pause")
        self.pipe.leg_full(self.tunnel)
        self.assertWalled()

    def test_bug_while_going_on(self) -> None:
        """In either direction of it."""
        self.bug(self.outer, "resume")
        self.pipe.leg_drained(self.tunnel)
        self.assertWalled()

    def test_bug_while_closing(self) -> None:
        """And one at the end."""
        self.bug(self.tunnel, "finish")
        self.outer.lose()
        self.assertWalled()

    def test_bug_while_aborting(self) -> None:
        """Even one that meets the aborts themselves."""
        self.bug(self.outer, "abort")
        self.bug(self.tunnel, "abort")
        self.pipe.stop(Draining(rule=Cause.SESSION_CLOSED, message="stop"))
        self.assertWalled()
