"""When the TLS of a connection that has sent its hello begins: at once, or in its turn if too many come.

Duty: answering a hello costs a signature and most of a millisecond, accepting a connection some microseconds. Where
hellos come faster than they can be answered, this process goes on accepting, reading and relaying: in each turn of the
reactor so many are answered as take :data:`~smartproxy.policy.limits.HANDSHAKES_SECONDS`, and the others wait, in the
order of :class:`~smartproxy.policy.turns.Turns`. Who waits has its place and its deadline as before; whoever ends its
connection says so with :meth:`Handshakes.leave`. Where many wait, an address that came often lately and proved nothing
is not let in at all, which costs least.
"""

from typing import Final

from twisted.internet.interfaces import IReactorTime

from smartproxy.net.deadline import Deadline
from smartproxy.net.hello import HelloFirst
from smartproxy.policy import limits
from smartproxy.policy.turns import Turns

_QUIET: Final = 10
"""Where hellos come so seldom that answering them takes less than one part in this many, nobody waits."""


class Handshakes:
    """The connections of a port that have sent their hello.

    :param clock: tells what an answer takes, and brings the next turn.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._turns: Turns[HelloFirst] = Turns()
        self._next = Deadline(clock, self._turn)
        self._begun = 0.0
        self._spent = 0.0

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._turns)

    def arrived(self, door: HelloFirst, prefix: str, *, known: bool) -> None:
        """A connection has sent its hello: begin its TLS, or let it wait.

        :param prefix: the network that it counts for.
        :param known: whether the network proved an identity lately.
        """
        now = self._clock.seconds()
        times = self._turns.came(prefix, now)
        if now - self._begun >= _QUIET * limits.HANDSHAKES_SECONDS:
            self._begun, self._spent = now, 0.0
        if not self._turns and self._spent < limits.HANDSHAKES_SECONDS:
            self._begin(door)
            return
        self._turns.wait(door, times, known=known)
        if not self._next.running:
            self._next.start(0.0)

    def is_hasty(self, prefix: str) -> bool:
        """Whether an address comes so often that it would only wait while others go first; counts that it came."""
        return self._turns.is_hasty(prefix, self._clock.seconds())

    def leave(self, door: HelloFirst) -> None:
        """A connection has ended, and may have waited."""
        self._turns.leave(door)

    def stop(self) -> None:
        """Stop beginning handshakes."""
        self._next.stop()

    def _turn(self) -> None:
        self._begun, self._spent = self._clock.seconds(), 0.0
        while self._spent < limits.HANDSHAKES_SECONDS and (door := self._turns.next()) is not None:
            self._begin(door)
        if self._turns:
            self._next.start(0.0)

    def _begin(self, door: HelloFirst) -> None:
        begun = self._clock.seconds()
        door.begin()
        self._spent += self._clock.seconds() - begun
