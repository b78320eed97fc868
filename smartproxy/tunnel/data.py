"""Data connections: one session after the other, each on the whole connection.

Duty: carry the octets of sessions between server and client. What a session holds is a :class:`DataLeg`, good for that
session only, so that no latecomer can touch the next one. Octets pass unchanged and are never gathered: a far end that
does not read fills the transport, the leg says so, and a leg that is paused stops the transport's reading. Every close
has its abort timer. Trusts its entrance to have proved the peer's identity; judges nothing but the marks.

How it works. The client dials as many as it needs and keeps some ready (:mod:`smartproxy.tunnel.pool`); both ends prove
themselves in TLS 1.3 as on the control connection. After that a data connection is *idle*, and neither end may send an
octet, until a ticket came by the control connection: in OpenInbound, or in the answer to OpenOutbound. ATTACH with the
ticket, which only the client sends, makes it *attached*; the server looks the ticket up, once. From then on each
direction carries the session's units as they are, until END stands behind the last one and says how the session ended
(:class:`~smartproxy.relay.events.SharedEnd`). An end that said END sends
nothing more; it reads, and throws away, what still comes, until the other's END is there. With both, the connection is
idle again and serves the next session, so that a session costs no handshake. C is the client, S the server::

       [S asks C by the control connection: OpenInbound ticket=T]
    C: ATTACH T
    S: 10 00 00 5a 58 ...        (units of the session, both ways at once, each way under TCP's flow control)
    C: 10 00 00 13 49 ...
    S: END
    C: END
       [idle; minutes later:]
    C: ATTACH U
    ...

Everything else ends the connection, and with it its session, at once: octets or END without a session, ATTACH within
one or from the server, a ticket that is not valid, a malformed mark. An end that sent END and does not see the other's
in time aborts, too. A session that ends in any other way than by two ENDs closes its connection, so that no octet of it
can be taken for the next one's. The plain pair's sessions have no units and no END (:mod:`smartproxy.tunnel.kinds`):
after ATTACH every octet is the session's, and closing the connection ends it.
"""

from typing import Protocol as Shape

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.net.leg import ILeg, ILegReceiver, Inbox, LegEnd
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.relay.events import SharedEnd
from smartproxy.tunnel.boxes import IStream
from smartproxy.tunnel.contexts import closing_of
from smartproxy.tunnel.faults import Closing, Violation
from smartproxy.tunnel.marks import Attach, End, Item, MarkSplitter
from smartproxy.tunnel.vocabulary import Side


class Splitter(Shape):
    """Finds a session's octets and the marks around them; see :mod:`smartproxy.tunnel.marks`."""

    def receive(self, octets: bytes) -> list[Item]:
        """What these octets complete, in order."""


class DataOwner(Shape):
    """The owner of a data connection: an end of the tunnel."""

    def data_attached(self, connection: "DataConnection", ticket: bytes) -> None:
        """A session begins; the owner calls ``begin``.

        :raises Violation: if the ticket is not valid.
        """

    def data_idle(self, connection: "DataConnection") -> None:
        """The session is over in both directions; the connection can carry the next."""

    def data_gone(self, connection: "DataConnection") -> None:
        """The connection is gone."""

    def data_violated(self, connection: "DataConnection", violation: Violation) -> None:
        """The peer broke a rule; the connection is being aborted."""


@implementer(ILeg)
class DataLeg:
    """A session's side towards the tunnel.

    Nothing is delivered before there is a receiver. What one read brings until then is kept, and the far end held back.

    :cvar worked: nothing is measured: what comes was judged by the other daemon.
    """

    __slots__ = ("_connection", "_finished", "_paused", "inbox", "peer")

    worked = 0.0

    def __init__(self, connection: "DataConnection", clock: IReactorTime, peer: str) -> None:
        self.peer = peer
        self._connection: DataConnection | None = connection
        self.inbox = Inbox(self, clock, self._hold)
        self._paused = False
        self._finished = False
        self.inbox.fill(connection.full)

    @property
    def receiver(self) -> ILegReceiver | None:
        """The receiver of what happens."""
        return self.inbox.receiver

    @receiver.setter
    def receiver(self, receiver: ILegReceiver | None) -> None:
        self.inbox.receiver = receiver

    @property
    def held(self) -> bool:
        """Whether nothing is to be delivered for now."""
        return (self._paused or self.inbox.keeps) and not self._finished

    def send(self, octets: bytes) -> None:
        """Queue octets for delivery."""
        if self._connection is not None and not self._finished:
            self._connection.send(octets)

    def finish(self, end: SharedEnd | None = None) -> None:
        """Deliver what was sent, then the END mark; the connection is aborted if the peer's END does not follow."""
        if self._connection is not None and not self._finished:
            self._finished = True
            self._connection.end(end)

    def abort(self) -> None:
        """End the session and its connection now."""
        if self._connection is not None:
            self._finished = True
            self._connection.abort(Closing(Cause.TUNNEL_STOPPED, "aborted by this end"))

    def pause(self) -> None:
        """Deliver no more octets until ``resume``."""
        self._paused = True
        self._hold()

    def resume(self) -> None:
        """Go on delivering octets."""
        self._paused = False
        self._hold()

    # For its connection.

    def deliver(self, octets: bytes) -> bool:
        """Octets of the session came; after its own END, they are thrown away. Whether they are kept."""
        return not self._finished and self.inbox.received(octets)

    def detach(self, end: LegEnd) -> None:
        """The session is over: nothing is delivered after this."""
        self._connection = None
        self.inbox.lost(end)

    def _hold(self) -> None:
        if self._connection is not None:
            self._connection.hold()


@implementer(IPushProducer)
class DataConnection(Protocol):
    """One data connection, at either end.

    :param side: which end.
    :param peer: the far end, as text for logs.
    :ivar full: whether the transport has taken as much as it holds.
    :ivar idle_since: since when it has carried no session, by the clock.
    :ivar ended: why it carries nothing more, once that is so.
    """

    transport: IStream | None

    def __init__(self, owner: DataOwner, side: Side, clock: IReactorTime, events: Events, peer: str) -> None:
        self.peer = peer
        self.full = False
        self.idle_since = clock.seconds()
        self._owner = owner
        self._side = side
        self._clock = clock
        self._events = events
        self._splitter: Splitter = MarkSplitter()
        self._leg: DataLeg | None = None
        self._held = False
        self._ended_here = False
        self._ended_there = False
        self.ended: Closing | None = None
        self._in_order = False
        self._timer = Deadline(clock, self._late)
        self._closing: float = limits.CLOSING.default

    @property
    def attached(self) -> bool:
        """Whether it carries a session."""
        return self._leg is not None

    @property
    def open(self) -> bool:
        """Whether it can carry anything."""
        return self.transport is not None and self.ended is None

    def attach(self, ticket: bytes) -> DataLeg:
        """Begin a session at the client's end."""
        assert self.transport is not None
        self.transport.write(Attach(ticket).encode())
        return self.begin()

    def begin(self) -> DataLeg:
        """Begin a session: the leg for it."""
        assert self._leg is None, "a data connection carries one session at a time"
        leg = self._leg = DataLeg(self, self._clock, self.peer)
        return leg

    def close(self, why: Closing) -> None:
        """Close an idle connection; one with a session is aborted."""
        if self._leg is not None:
            self.abort(why)
        elif self.transport is not None and self.ended is None:
            self.ended = why
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            self._timer.start(self._closing)

    def finish(self, end: SharedEnd | None = None) -> None:
        """End the session that it carries, if it carries one, and say how it ended."""
        if self._leg is not None:
            self._leg.finish(end)

    def abort(self, why: Closing) -> None:
        """End the connection now."""
        self._timer.stop()
        if self.ended is None:
            self.ended = why
        if self.transport is not None:
            self.transport.abortConnection()

    # For the leg.

    def send(self, octets: bytes) -> None:
        """Queue octets of the session."""
        if self.transport is not None and self.ended is None:
            self.transport.write(octets)

    def end(self, end: SharedEnd | None = None) -> None:
        """End this direction of the session, and say how the session ended."""
        if self.transport is None or self.ended is not None:
            return
        self._ended_here = True
        self.transport.write(End(end).encode())
        # The peer's END can stand behind octets that were held back.
        self.hold()
        if self._ended_there:
            self._over()
        else:
            self._timer.start(self._closing)

    def hold(self) -> None:
        """Read from the transport or not, as the leg wishes."""
        if self.transport is None or self.ended is not None:
            return
        held = self._leg is not None and self._leg.held
        if held is not self._held:
            self._held = held
            if held:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    # From the transport.

    def connectionMade(self) -> None:
        """The connection is ready for its first session."""
        assert self.transport is not None
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Octets of sessions, and marks between them."""
        if self.ended is not None:
            return
        try:
            for item in self._splitter.receive(data):
                if isinstance(item, bytes):
                    self._octets(item)
                elif isinstance(item, End):
                    self._end_there(item)
                else:
                    self._attach_there(item)
        except Violation as violation:
            self.abort(violation.closing)
            self._owner.data_violated(self, violation)
        except Exception:
            self._events.failure(f"smartproxy.tunnel.data.{self._side.value}", Failure())
            self.abort(Closing(Cause.TUNNEL_BUG, "a bug ended the connection"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._timer.stop()
        self.transport = None
        self.ended = self.ended or closing_of(reason)
        leg, self._leg = self._leg, None
        self._owner.data_gone(self)
        if leg is not None:
            leg.detach(LegEnd(self.ended.message, in_order=self._in_order))

    def pauseProducing(self) -> None:
        """The transport took as much as it holds."""
        self.full = True
        if self._leg is not None:
            self._leg.inbox.fill(True)

    def resumeProducing(self) -> None:
        """The transport can take more."""
        self.full = False
        if self._leg is not None:
            self._leg.inbox.fill(False)

    def stopProducing(self) -> None:
        """The transport is closing; ``connectionLost`` follows."""

    def _octets(self, octets: bytes) -> None:
        if self.ended is not None:
            return
        if self._leg is None or self._ended_there:
            raise Violation(Cause.DATA_UNATTACHED, "octets came outside a session")
        if self._leg.deliver(octets):
            self.hold()

    def _attach_there(self, attach: Attach) -> None:
        if self.ended is not None:
            return
        if self._leg is not None:
            raise Violation(Cause.DATA_ATTACH, "ATTACH came within a session")
        self._owner.data_attached(self, attach.ticket)

    def _end_there(self, mark: End) -> None:
        if self.ended is not None:
            return
        leg = self._leg
        if leg is None or self._ended_there:
            raise Violation(Cause.DATA_END, "END came outside a session")
        self._ended_there = True
        leg.inbox.ended(mark.end)
        # Told of it, the receiver may have finished by now.
        if self._ended_here and self._leg is leg:
            self._over()

    def _over(self) -> None:
        """Both directions ended: hand the connection back."""
        self._timer.stop()
        leg, self._leg = self._leg, None
        self._ended_here = self._ended_there = False
        self.idle_since = self._clock.seconds()
        self._owner.data_idle(self)
        if leg is not None:
            leg.detach(LegEnd("the session is over", in_order=True))

    def _late(self) -> None:
        self.abort(Closing(Cause.TUNNEL_CLOSING, "the other daemon did not end the session in time"))
