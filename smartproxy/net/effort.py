"""The watch over what sessions cost: one look at all of them in each second in which there are any.

Duty: find the CPU time that a partner's octets take, and say which sessions have cost too much for too long
(:mod:`smartproxy.policy.effort`). Connections measure the time of day that their turns take, which is more than their
CPU time when other programs have the processor: it is scaled by what the process has really had. Ends no session.
"""

import time
from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.net.driver import SessionDriver
from smartproxy.net.transport.sockets import WORK
from smartproxy.policy import limits
from smartproxy.policy.effort import Effort

EFFORT_LOOK_SECONDS = 1.0
"""How often it is looked what the sessions have cost."""


class EffortWatch:
    """Watches the sessions of one daemon.

    :param live: the sessions, by id.
    :param costly: told the id of each session that is too costly.
    :param cpu: the CPU time of this process, in seconds.
    :param worked: the time of day that all turns of connections have taken, in seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        events: Events,
        live: Mapping[str, SessionDriver],
        costly: Callable[[str], object],
        *,
        cpu: Callable[[], float] = time.process_time,
        worked: Callable[[], float] = lambda: WORK.seconds,
    ) -> None:
        self._clock = clock
        self._events = events
        self._live = live
        self._costly = costly
        self._cpu = cpu
        self._worked = worked
        self._efforts: dict[str, Effort] = {}
        self._next = Deadline(clock, self._look)
        self._since = (0.0, 0.0, 0.0)

    def begin(self) -> None:
        """There is a session."""
        if not self._next.running:
            self._since = (self._clock.seconds(), self._cpu(), self._worked())
            self._next.start(EFFORT_LOOK_SECONDS)

    def over(self) -> None:
        """A session is over."""
        if not self._live:
            self._efforts.clear()
            self._next.stop()

    def _look(self) -> None:
        self._next.start(EFFORT_LOOK_SECONDS)
        try:
            self._judge()
        except Exception:
            self._events.failure("smartproxy.net.effort", Failure())

    def _judge(self) -> None:
        now = (self._clock.seconds(), self._cpu(), self._worked())
        seconds, cpu, worked = (new - old for new, old in zip(now, self._since, strict=True))
        self._since = now
        share = min(1.0, cpu / worked) if worked > 0 else 1.0
        efforts, self._efforts = self._efforts, {}
        for session, driver in list(self._live.items()):
            spent = driver.spent()
            if session not in efforts and spent.seconds <= limits.EFFORT_SHARE * seconds:
                # In all its life less than what would be too much for this look: nothing is kept of a quiet session.
                continue
            effort = self._efforts[session] = efforts.get(session) or Effort()
            if effort.too_costly(spent, seconds, share):
                self._costly(session)
