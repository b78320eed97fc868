"""A session of the plain pair: two legs, and what one sends goes to the other.

Duty: deliver octets in order, hold a sender back whose receiver is slow, deliver everything that one side sent before
the other is closed, and close both when nothing moved for too long. A tunnel that breaks is no end that a program sent:
its near leg is aborted, so that a stream that was cut never looks whole. Looks at no octet. It is a wall, too: whatever
is raised in here ends this one session.
"""

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd

_PLACE = "smartproxy.plain.pipe"


@attrs.frozen(kw_only=True)
class Outline:
    """What is known of a session before its first octet.

    :ivar session: its id.
    :ivar peer: who opened it.
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
        """Both of them."""
        return self.outside, self.inside


@implementer(ILegReceiver)
class Pipe:
    """One session.

    :param seconds: how long nothing may move.
    :param over: called once, when both legs are gone.
    """

    def __init__(
        self,
        legs: Ends,
        outline: Outline,
        *,
        clock: IReactorTime,
        events: Events,
        seconds: float,
        over: Callable[[], None],
    ) -> None:
        self._legs = legs
        self._outline = outline
        self._clock = clock
        self._events = events
        self._seconds = seconds
        self._over = over
        self._octets_in = self._octets_out = 0
        self._lost: list[ILeg] = []
        self._end: tuple[str, str] | None = None
        self._done = False
        self._begun = self._moved = clock.seconds()
        self._timer: IDelayedCall | None = None

    def begin(self) -> None:
        """Let octets pass."""
        self._timer = self._clock.callLater(self._seconds, self._look)
        self._events.emit("session.started", **self._facts())
        for leg in self._legs.both():
            leg.receiver = self
        for leg in self._legs.both():
            leg.resume()

    def stop(self, cause: str) -> None:
        """End the session now."""
        self._abort("stopped", cause)

    # ILegReceiver

    def octets_received(self, leg: ILeg, octets: bytes) -> None:
        """Pass octets on."""
        try:
            self._moved = self._clock.seconds()
            if leg is self._legs.outside:
                self._octets_in += len(octets)
            else:
                self._octets_out += len(octets)
            self._legs.other(leg).send(octets)
        except Exception:
            self._crash(Failure())

    def leg_ended(self, leg: ILeg) -> None:
        """Never: a stream has no end mark."""

    def leg_lost(self, leg: ILeg, end: LegEnd) -> None:
        """One side closed: the other gets what is on its way, and is closed."""
        try:
            self._remember("completed" if end.in_order else "lost", end.message)
            self._lost.append(leg)
            if len(self._lost) == len(self._legs.both()):
                self._finish()
            elif leg is self._legs.tunnel and not end.in_order:
                self._legs.other(leg).abort()
            else:
                self._legs.other(leg).finish()
        except Exception:
            self._crash(Failure())

    def leg_full(self, leg: ILeg) -> None:
        """Hold the other side back."""
        try:
            self._legs.other(leg).pause()
        except Exception:
            self._crash(Failure())

    def leg_drained(self, leg: ILeg) -> None:
        """Let it go on."""
        try:
            self._moved = self._clock.seconds()
            self._legs.other(leg).resume()
        except Exception:
            self._crash(Failure())

    # The end.

    def _remember(self, outcome: str, cause: str) -> None:
        """How the session ended: the first cause is the one."""
        if self._end is None:
            self._end = (outcome, cause)

    def _abort(self, outcome: str, cause: str) -> None:
        self._remember(outcome, cause)
        for leg in self._legs.both():
            try:
                leg.abort()
            except Exception:
                self._crash(Failure())

    def _look(self) -> None:
        """Close the pair if nothing moved for too long; otherwise look again when that could be."""
        self._timer = None
        idle = self._clock.seconds() - self._moved
        if idle >= self._seconds:
            self._abort("expired", f"nothing moved for {self._seconds:g} s")
        else:
            self._timer = self._clock.callLater(self._seconds - idle, self._look)

    def _crash(self, failure: Failure) -> None:
        """A bug of ours: report it, and let go of both legs without asking anybody again."""
        self._events.failure(_PLACE, failure, session=self._outline.session)
        self._end = ("failed", "a bug ended the session")
        for leg in self._legs.both():
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        outcome, cause = self._end or ("lost", "unknown")
        self._events.emit(
            "session.ended",
            outcome=outcome,
            cause=cause,
            duration=self._clock.seconds() - self._begun,
            octets_in=self._octets_in,
            octets_out=self._octets_out,
            **self._facts(),
        )
        self._over()

    def _facts(self) -> dict[str, str]:
        return attrs.asdict(self._outline)
