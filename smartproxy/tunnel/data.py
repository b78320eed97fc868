"""Data connections: one session after the other, each on the whole connection.

Duty: between two sessions a data connection is idle; ATTACH with a ticket (client to server) begins a session, END in
both directions makes it idle again, and whatever else ends a session ends the connection. What a session holds is a
:class:`DataLeg`, good for that session only, so that nobody late can touch the next one. Octets pass unchanged and are
never gathered: a far end that does not read fills the transport, the leg says so, and a leg that is paused stops the
transport's reading. Every close has its abort timer. Trusts its entrance to have proved who the peer is; judges
nothing but the marks.
"""

from typing import Protocol as Shape

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.net.leg import ILeg, ILegReceiver, Inbox, LegEnd
from smartproxy.policy import limits
from smartproxy.tunnel.contexts import tls_trouble
from smartproxy.tunnel.faults import Violation, report
from smartproxy.tunnel.interfaces import Emit, IStream
from smartproxy.tunnel.marks import Attach, End, Item, MarkSplitter
from smartproxy.tunnel.vocabulary import Side

_END = End().encode()


class Splitter(Shape):
    """Finds a session's octets and the marks around them; see :mod:`smartproxy.tunnel.marks`."""

    def receive(self, octets: bytes) -> list[Item]:
        """What these octets complete, in order."""


class DataOwner(Shape):
    """Who holds a data connection: an end of the tunnel."""

    def data_attached(self, connection: "DataConnection", ticket: bytes) -> None:
        """A session begins; the owner calls ``begin``.

        :raises Violation: when the ticket is good for none.
        """

    def data_idle(self, connection: "DataConnection") -> None:
        """The session is over in both directions; the connection can carry the next."""

    def data_gone(self, connection: "DataConnection", cause: str) -> None:
        """The connection is gone."""

    def data_violated(self, connection: "DataConnection", violation: Violation) -> None:
        """The peer broke a rule; the connection is being aborted."""


@implementer(ILeg)
class DataLeg:
    """A session's side towards the tunnel.

    Nothing is delivered before there is a receiver; the far end is held back until then.
    """

    def __init__(self, connection: "DataConnection", clock: IReactorTime, peer: str) -> None:
        self.peer = peer
        self._connection: DataConnection | None = connection
        self.inbox = Inbox(self, clock, self._hold)
        self._paused = False
        self._finished = False
        self.inbox.fill(connection.full)

    @property
    def receiver(self) -> ILegReceiver | None:
        """Who is told what happens."""
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

    def finish(self) -> None:
        """Deliver what was sent, then the END mark; the connection is aborted if the peer's END does not follow."""
        if self._connection is not None and not self._finished:
            self._finished = True
            self._connection.end()

    def abort(self) -> None:
        """End the session and its connection now."""
        if self._connection is not None:
            self._finished = True
            self._connection.abort("aborted by this end")

    def pause(self) -> None:
        """Deliver no more octets until ``resume``."""
        self._paused = True
        self._hold()

    def resume(self) -> None:
        """Go on delivering octets."""
        self._paused = False
        self._hold()

    # For its connection.

    def deliver(self, octets: bytes) -> None:
        """Octets of the session came; after its own END, they belong to nobody."""
        if not self._finished:
            self.inbox.received(octets)

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
    """

    transport: IStream | None

    def __init__(self, owner: DataOwner, side: Side, clock: IReactorTime, emit: Emit, peer: str) -> None:
        self.peer = peer
        self.full = False
        self.idle_since = clock.seconds()
        self._owner = owner
        self._side = side
        self._clock = clock
        self._emit = emit
        self._splitter: Splitter = MarkSplitter()
        self._leg: DataLeg | None = None
        self._ended_here = False
        self._ended_there = False
        self._stopped: str | None = None
        self._in_order = False
        self._timer: IDelayedCall | None = None
        self._closing: float = limits.CLOSING.default

    @property
    def attached(self) -> bool:
        """Whether it carries a session."""
        return self._leg is not None

    @property
    def open(self) -> bool:
        """Whether it can carry anything."""
        return self.transport is not None and self._stopped is None

    def attach(self, ticket: bytes) -> DataLeg:
        """Begin a session at the client's end."""
        assert self.transport is not None
        self.transport.write(Attach(ticket).encode())
        return self.begin()

    def begin(self) -> DataLeg:
        """Begin a session: the leg for it."""
        assert self._leg is None, "a data connection carries one session at a time"
        leg = self._leg = DataLeg(self, self._clock, self.peer)
        self.hold()
        return leg

    def close(self, cause: str) -> None:
        """Close an idle connection; one with a session is aborted."""
        if self._leg is not None:
            self.abort(cause)
        elif self.transport is not None and self._stopped is None:
            self._stopped = cause
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            self._arm(cause)

    def finish(self) -> None:
        """End the session that it carries, if it carries one."""
        if self._leg is not None:
            self._leg.finish()

    def abort(self, cause: str) -> None:
        """End the connection now."""
        self._disarm()
        if self._stopped is None:
            self._stopped = cause
        if self.transport is not None:
            self.transport.abortConnection()

    # For the leg.

    def send(self, octets: bytes) -> None:
        """Queue octets of the session."""
        if self.transport is not None and self._stopped is None:
            self.transport.write(octets)

    def end(self) -> None:
        """End this direction of the session."""
        if self.transport is None or self._stopped is not None:
            return
        self._ended_here = True
        self.transport.write(_END)
        # The peer's END can stand behind octets that were held back.
        self.hold()
        if self._ended_there:
            self._over()
        else:
            self._arm("the other daemon did not end the session in time")

    def hold(self) -> None:
        """Read from the transport or not, as the leg wishes."""
        if self.transport is None or self._stopped is not None:
            return
        if self._leg is not None and self._leg.held:
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
        if not self.open:
            return
        try:
            for item in self._splitter.receive(data):
                if isinstance(item, bytes):
                    self._octets(item)
                elif isinstance(item, End):
                    self._end_there()
                else:
                    self._attach_there(item)
        except Violation as violation:
            self.abort(f"violation: {violation.cause}")
            self._owner.data_violated(self, violation)
        except Exception:
            report(self._emit, f"smartproxy.tunnel.data.{self._side.value}", Failure())
            self.abort("internal error")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._disarm()
        self.transport = None
        cause = self._stopped or f"data connection lost: {tls_trouble(reason)}"
        self._stopped = cause
        leg, self._leg = self._leg, None
        self._owner.data_gone(self, cause)
        if leg is not None:
            leg.detach(LegEnd(cause, in_order=self._in_order))

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
        if not self.open:
            return
        if self._leg is None or self._ended_there:
            raise Violation("data.unattached", "octets came outside of a session")
        self._leg.deliver(octets)

    def _attach_there(self, attach: Attach) -> None:
        if not self.open:
            return
        if self._leg is not None:
            raise Violation("data.attach", "ATTACH came within a session")
        self._owner.data_attached(self, attach.ticket)

    def _end_there(self) -> None:
        if not self.open:
            return
        leg = self._leg
        if leg is None or self._ended_there:
            raise Violation("data.end", "END came outside of a session")
        self._ended_there = True
        leg.inbox.ended()
        # Told of it, the receiver may have finished by now.
        if self._ended_here and self._leg is leg:
            self._over()

    def _over(self) -> None:
        """Both directions ended: hand the connection back."""
        self._disarm()
        leg, self._leg = self._leg, None
        self._ended_here = self._ended_there = False
        self.idle_since = self._clock.seconds()
        self._owner.data_idle(self)
        if leg is not None:
            leg.detach(LegEnd("the session is over", in_order=True))

    def _arm(self, cause: str) -> None:
        self._disarm()
        self._timer = self._clock.callLater(self._closing, self._late, cause)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self, cause: str) -> None:
        self._timer = None
        self.abort(cause)
