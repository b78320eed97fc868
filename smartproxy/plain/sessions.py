"""The sessions of a plain daemon: how many there are, those that are being opened included, and how they all end."""

import attrs
from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.net.connection import ConnectionLeg
from smartproxy.net.drain import DrainWait
from smartproxy.net.leg import ILeg
from smartproxy.plain.pipe import Ends, Outline, Pipe
from smartproxy.policy.faults import OwnFault, StationUnreachable


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
    _drain: DrainWait = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._drain = DrainWait(self.clock, self)

    def room(self) -> OwnFault | None:
        """Why no further session may begin now, if none may."""
        if len(self.live) + len(self._opening) < self.most:
            return None
        return StationUnreachable(rule="quota.sessions", message=f"the limit of {self.most} sessions is reached")

    def expect(self, session: str) -> None:
        """Keep a place for a session that is being opened; ``couple`` or ``forget`` follows.

        :raises StationUnreachable: when there is none, or a session of this id is here already.
        """
        fault = self.room()
        if fault is not None:
            raise fault
        if session in self.live or session in self._opening:
            raise StationUnreachable(rule="session.known", message=f"session {session} is open already")
        self._opening.add(session)

    def forget(self, session: str) -> None:
        """A session was not opened."""
        self._opening.discard(session)

    def couple(self, outline: Outline, *, near: ConnectionLeg, tunnel: ILeg, inward: bool) -> None:
        """Begin a session that was expected; one whose near end has left already is none.

        :param inward: whether the near leg is the one outside.
        """
        self.forget(outline.session)
        if not near.connected:
            tunnel.finish()
            return
        outside, inside = (near, tunnel) if inward else (tunnel, near)
        pipe = Pipe(
            Ends(outside=outside, inside=inside, tunnel=tunnel),
            outline,
            clock=self.clock,
            events=self.events,
            seconds=self.seconds,
            over=lambda: self._over(outline.session),
        )
        self.live[outline.session] = pipe
        pipe.begin()

    def close(self, session: str, cause: str) -> None:
        """End a session, if it is there."""
        pipe = self.live.get(session)
        if pipe is not None:
            pipe.stop(cause)

    def stop(self, fault: OwnFault) -> None:
        """End all of them."""
        for pipe in list(self.live.values()):
            pipe.stop(fault.message)

    async def drain(self, seconds: float) -> None:
        """Wait for them to end; end those that have not ended then."""
        await self._drain.run(seconds, 0)

    def hurry(self) -> None:
        """Wait no longer."""
        self._drain.hurry()

    def _over(self, session: str) -> None:
        del self.live[session]
        self._drain.finished()
