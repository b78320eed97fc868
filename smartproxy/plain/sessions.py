"""The sessions of a plain daemon: each has two legs, and what one sends goes to the other.

Duty: know the sessions and those that are being opened, and limit their number; deliver octets in order, hold a sender
back whose receiver is slow, deliver everything that one side sent before the other is closed, and close both when
nothing moved for too long. A tunnel that breaks is no end that a program sent: its near leg is aborted, so that a
stream that was cut never looks whole. Looks at no octet. An exception in a session ends only that session.
"""

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.connection import ConnectionLeg
from smartproxy.net.deadline import Deadline
from smartproxy.net.drain import DrainWait
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, StationUnreachable
from smartproxy.policy.outcomes import Outcome
from smartproxy.relay.events import SharedEnd

_PLACE = "smartproxy.plain.sessions"


_OCTETS = "session.octets"


@attrs.frozen(kw_only=True)
class Outline:
    """What is known of a session before its first octet.

    :ivar session: its id.
    :ivar peer: the address of the peer that opened it.
    :ivar direction: ``inbound`` or ``outbound``.
    """

    session: str
    peer: str
    direction: str


@attrs.frozen(kw_only=True)
class Ends:
    """The two legs of a session.

    :ivar outside: the leg whose octets are counted as coming in.
    :ivar inside: the other one.
    :ivar tunnel: which of them is the tunnel's.
    """

    outside: ILeg
    inside: ILeg
    tunnel: ILeg

    def other(self, leg: ILeg) -> ILeg:
        """The leg at the other end."""
        return self.inside if leg is self.outside else self.outside

    def both(self) -> tuple[ILeg, ILeg]:
        """The two legs."""
        return self.outside, self.inside


@attrs.frozen
class _Ending:
    """How a session ended: its outcome, the cause as a code, and one sentence."""

    outcome: Outcome
    cause: str
    message: str


@implementer(ILegReceiver)
class Pipe:
    """One session.

    :param seconds: how long nothing may move.
    :param over: called once, when both legs are gone.
    """

    def __init__(
        self,
        ends: Ends,
        outline: Outline,
        *,
        clock: IReactorTime,
        events: Events,
        seconds: float,
        over: Callable[[], None],
    ) -> None:
        self._ends = ends
        self._outline = outline
        self._clock = clock
        self._events = events
        self._seconds = seconds
        self._over = over
        self._octets_in = self._octets_out = 0
        self._lost: list[ILeg] = []
        self._ending: _Ending | None = None
        self._done = False
        self._begun = self._moved = clock.seconds()
        self._idle = Deadline(clock, self._look)

    def begin(self) -> None:
        """Let octets pass."""
        self._idle.start(self._seconds)
        self._events.emit("session.started", **self._facts())
        for leg in self._ends.both():
            leg.receiver = self
        for leg in self._ends.both():
            leg.resume()

    def portrait(self) -> dict[str, object]:
        """The facts of the session, as those of OFTP2's sessions are told; it has no partner and no protocol."""
        protocol = ("partner", "code", "profile", "tls", "speaker", "agreed", "file", "client")
        return {
            **dict.fromkeys(protocol),
            **self._facts(),
            "phase": "open" if self._ending is None else "ending",
            "octets_in": self._octets_in,
            "octets_out": self._octets_out,
            "files_in": 0,
            "files_out": 0,
            "since": self._begun,
        }

    def stop(self, fault: OwnFault) -> None:
        """End the session now."""
        self._abort(_Ending(Outcome.STOPPED, fault.rule, fault.message))

    # ILegReceiver

    def octets_received(self, leg: ILeg, octets: bytes) -> None:
        """Pass octets on."""
        try:
            self._moved = self._clock.seconds()
            if leg is self._ends.outside:
                self._octets_in += len(octets)
            else:
                self._octets_out += len(octets)
            self._ends.other(leg).send(octets)
            if self._events.wants(_OCTETS, self._outline.session):
                self._events.emit(
                    _OCTETS,
                    **self._facts(),
                    octets=len(octets),
                    octets_in=self._octets_in,
                    octets_out=self._octets_out,
                )
        except Exception:
            self._crash(Failure())

    def leg_ended(self, leg: ILeg, end: SharedEnd | None) -> None:
        """Never called: a stream has no end mark."""

    def leg_lost(self, leg: ILeg, end: LegEnd) -> None:
        """One side closed: the other gets what is on its way, and is closed."""
        try:
            if end.in_order:
                self._remember(_Ending(Outcome.COMPLETED, Cause.STREAM_CLOSED, end.message))
            else:
                self._remember(_Ending(Outcome.LOST, Cause.LEG_LOST, end.message))
            self._lost.append(leg)
            if len(self._lost) == len(self._ends.both()):
                self._finish()
            elif leg is self._ends.tunnel and not end.in_order:
                self._ends.other(leg).abort()
            else:
                self._ends.other(leg).finish()
        except Exception:
            self._crash(Failure())

    def leg_full(self, leg: ILeg) -> None:
        """Hold the other side back."""
        try:
            self._ends.other(leg).pause()
        except Exception:
            self._crash(Failure())

    def leg_drained(self, leg: ILeg) -> None:
        """Let the other side go on."""
        try:
            self._moved = self._clock.seconds()
            self._ends.other(leg).resume()
        except Exception:
            self._crash(Failure())

    # The end.

    def _remember(self, ending: _Ending) -> None:
        """How the session ended: the first cause is the one."""
        if self._ending is None:
            self._ending = ending

    def _abort(self, ending: _Ending) -> None:
        self._remember(ending)
        for leg in self._ends.both():
            try:
                leg.abort()
            except Exception:
                self._crash(Failure())

    def _look(self) -> None:
        """Close the pair if nothing moved for too long; otherwise look again when that could be."""
        idle = self._clock.seconds() - self._moved
        if idle >= self._seconds:
            self._abort(_Ending(Outcome.EXPIRED, Cause.STREAM_IDLE, f"nothing moved for {self._seconds:g} s"))
        else:
            self._idle.start(self._seconds - idle)

    def _crash(self, failure: Failure) -> None:
        """A bug of ours: report it, and let go of both legs without asking anybody again."""
        self._events.failure(_PLACE, failure, session=self._outline.session)
        self._ending = _Ending(Outcome.FAILED, Cause.INTERNAL_ERROR, "a bug ended the session")
        for leg in self._ends.both():
            leg.receiver = None
            try:
                leg.abort()
            except Exception:
                self._events.failure(_PLACE, Failure(), session=self._outline.session)
        self._finish()

    def _finish(self) -> None:
        if self._done:
            return
        self._done = True
        self._idle.stop()
        assert self._ending is not None, "both legs are lost, or a bug ended the session"
        self._events.emit(
            "session.ended",
            duration=self._clock.seconds() - self._begun,
            octets_in=self._octets_in,
            octets_out=self._octets_out,
            **attrs.asdict(self._ending),
            **self._facts(),
        )
        self._over()

    def _facts(self) -> dict[str, str]:
        return attrs.asdict(self._outline)


@attrs.define(eq=False)
class PlainSessions:
    """Knows the sessions of one daemon.

    :param clock: runs their time-outs.
    :param seconds: how long nothing may move in a session.
    :param most: how many there may be at once.
    :ivar live: those that are not over, by id.
    """

    clock: IReactorTime
    events: Events
    seconds: float
    most: int
    live: dict[str, Pipe] = attrs.field(factory=dict, init=False)
    _opening: set[str] = attrs.field(factory=set, init=False)
    _draining: DrainWait = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._draining = DrainWait(self.clock, self)

    def portraits(self) -> list[dict[str, object]]:
        """The facts of all of them; ``since`` is in the clock's seconds."""
        return [pipe.portrait() for pipe in self.live.values()]

    def room(self) -> OwnFault | None:
        """The reason to refuse a further session; ``None`` if there is none."""
        if len(self.live) + len(self._opening) < self.most:
            return None
        return StationUnreachable(rule=Cause.QUOTA_SESSIONS, message=f"the limit of {self.most} sessions is reached")

    def expect(self, session: str) -> None:
        """Keep a place for a session that is being opened; ``couple`` or ``forget`` follows.

        :raises StationUnreachable: if the limit is reached, or a session of this id exists.
        """
        fault = self.room()
        if fault is not None:
            raise fault
        if session in self.live or session in self._opening:
            raise StationUnreachable(rule=Cause.SESSION_OPEN, message=f"session {session} is open already")
        self._opening.add(session)

    def forget(self, session: str) -> None:
        """A session was not opened."""
        self._opening.discard(session)

    def couple(self, outline: Outline, *, near: ConnectionLeg, tunnel: ILeg, inward: bool) -> None:
        """Begin a session that was expected, unless its near end has disconnected already and left nothing.

        :param inward: whether the near leg is the one outside.
        """
        self.forget(outline.session)
        if not near.connected and not near.keeps_octets:
            tunnel.finish()
            return
        outside, inside = (near, tunnel) if inward else (tunnel, near)
        pipe = self.live[outline.session] = Pipe(
            Ends(outside=outside, inside=inside, tunnel=tunnel),
            outline,
            clock=self.clock,
            events=self.events,
            seconds=self.seconds,
            over=lambda: self._over(outline.session),
        )
        pipe.begin()

    def close(self, session: str, fault: OwnFault) -> None:
        """End a session, if it is there."""
        pipe = self.live.get(session)
        if pipe is not None:
            pipe.stop(fault)

    def stop(self, fault: OwnFault) -> None:
        """End all of them."""
        for pipe in list(self.live.values()):
            pipe.stop(fault)

    async def drain(self, seconds: float, closing: float) -> None:
        """Wait up to *seconds* for them to end, end the others, and wait up to *closing* for those."""
        await self._draining.run(seconds, closing)

    def hurry(self) -> None:
        """Wait no longer for them to end by themselves."""
        self._draining.hurry()

    def _over(self, session: str) -> None:
        del self.live[session]
        self.events.levels.forget(session)
        self._draining.finished()
