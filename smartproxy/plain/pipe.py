"""A session of the plain pair: two legs, and what one sends goes to the other.

Duty: deliver octets in order, hold a sender back whose receiver is slow, deliver everything that one side sent before
the other is closed, and close both when nothing moved for too long. Looks at no octet.
"""

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg, ILegReceiver
from smartproxy.tunnel.kinds import CLOSED


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


@implementer(ILegReceiver)
class Pipe:
    """One session.

    :param near: the leg whose octets are counted as coming in.
    :param far: the other one.
    :param seconds: how long nothing may move.
    :param over: called once, when both legs are gone.
    """

    def __init__(
        self,
        near: ILeg,
        far: ILeg,
        outline: Outline,
        *,
        clock: IReactorTime,
        events: Events,
        seconds: float,
        over: Callable[[], None],
    ) -> None:
        self._legs = (near, far)
        self._outline = outline
        self._clock = clock
        self._events = events
        self._seconds = seconds
        self._over = over
        self._octets = [0, 0]
        self._gone: set[int] = set()
        self._cause: tuple[str, str] | None = None
        self._begun = self._moved = clock.seconds()
        self._timer: IDelayedCall | None = clock.callLater(seconds, self._look)

    def begin(self) -> None:
        """Let octets pass."""
        self._events.emit("session.started", **self._facts())
        for leg in self._legs:
            leg.receiver = self
            leg.resume()

    def stop(self, cause: str) -> None:
        """End the session now."""
        self._end("stopped", cause)
        for leg in self._legs:
            leg.abort()

    # ILegReceiver

    def octetsReceived(self, leg: ILeg, octets: bytes) -> None:
        """Pass octets on."""
        self._moved = self._clock.seconds()
        self._octets[self._number(leg)] += len(octets)
        self._other(leg).send(octets)

    def legEnded(self, leg: ILeg) -> None:
        """Never: a stream has no end mark."""

    def legLost(self, leg: ILeg, cause: str) -> None:
        """One side closed: the other gets what is on its way, and is closed."""
        self._end("completed" if cause == CLOSED else "lost", cause)
        self._gone.add(self._number(leg))
        if len(self._gone) == len(self._legs):
            self._finish()
        else:
            self._other(leg).finish()

    def legFull(self, leg: ILeg) -> None:
        """Hold the other side back."""
        self._other(leg).pause()

    def legDrained(self, leg: ILeg) -> None:
        """Let it go on."""
        self._moved = self._clock.seconds()
        self._other(leg).resume()

    # The end.

    def _end(self, outcome: str, cause: str) -> None:
        """Remember how the session ended: the first cause is the one."""
        if self._cause is None:
            self._cause = (outcome, cause)

    def _look(self) -> None:
        """Close the pair if nothing moved for too long; otherwise look again when that could be."""
        idle = self._clock.seconds() - self._moved
        if idle >= self._seconds:
            self._timer = None
            self._end("expired", f"nothing moved for {self._seconds:g} s")
            for leg in self._legs:
                leg.abort()
        else:
            self._timer = self._clock.callLater(self._seconds - idle, self._look)

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        outcome, cause = self._cause or ("lost", "unknown")
        self._events.emit(
            "session.ended",
            outcome=outcome,
            cause=cause,
            duration=self._clock.seconds() - self._begun,
            octets_in=self._octets[0],
            octets_out=self._octets[1],
            **self._facts(),
        )
        self._over()

    def _facts(self) -> dict[str, str]:
        return attrs.asdict(self._outline)

    def _number(self, leg: ILeg) -> int:
        return 0 if leg is self._legs[0] else 1

    def _other(self, leg: ILeg) -> ILeg:
        return self._legs[1 - self._number(leg)]
