"""The end of the licence, told before it comes and when it is there.

Duty: one event 30, 14, 7 and 1 days before the end, one at the end, whichever licence is in force by then. Looks at the
wall clock every hour at least, so that a clock that was put right is noticed. Trusts the licence in force; ends no
session: who asks :meth:`~smartproxy.tunnel.licence_file.LicenceInForce.fault` refuses new ones.
"""

from collections.abc import Callable
from datetime import datetime

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.tunnel.licence_file import LicenceInForce

LOOK_SECONDS = 3600.0
"""The longest time between two looks."""
_LEAST_SECONDS = 1.0
"""The shortest: at its very last moment a licence still holds."""
_ADVICE = "extend it in the backend: smartproxy licence extend {} --until DATE; it reaches this server by itself"


class LicenceWatch:
    """Tells of the end of the licence that is in force.

    :param clock: runs the looks.
    :param licence: the licence in force.
    :param events: where its end is told.
    :param now: tells the wall clock's time, aware, in UTC.
    :param advice: what to do about it; ``{}`` stands for the Proxy ID.
    """

    def __init__(
        self,
        clock: IReactorTime,
        licence: LicenceInForce,
        events: Events,
        now: Callable[[], datetime],
        *,
        advice: str = _ADVICE,
    ) -> None:
        self._clock = clock
        self._licence = licence
        self._events = events
        self._now = now
        self._advice = advice
        self._told: tuple[datetime, int | None] | None = None
        self._next: IDelayedCall | None = None

    def look(self) -> None:
        """Tell what is due, and look again when more is. Called at the start and when another licence is in force."""
        self.stop()
        now, licence = self._now(), self._licence.present
        due = licence.warning(now)
        if self._told != (licence.valid_until, due):
            self._told = (licence.valid_until, due)
            self._tell(due, now)
        following = licence.next_warning(now)
        seconds = LOOK_SECONDS if following is None else max((following - now).total_seconds(), _LEAST_SECONDS)
        self._next = self._clock.callLater(min(seconds, LOOK_SECONDS), self._again)

    def stop(self) -> None:
        """Look no more."""
        upcoming, self._next = self._next, None
        if upcoming is not None:
            upcoming.cancel()

    def _again(self) -> None:
        self._next = None
        self.look()

    def _tell(self, due: int | None, now: datetime) -> None:
        licence = self._licence.present
        about = {
            "site": licence.site,
            "valid_until": licence.valid_until,
            "advice": self._advice.format(licence.proxy_id),
        }
        if due:
            self._events.emit("licence.ending", count=licence.days_left(now), **about)
        elif due == 0:
            self._events.emit("licence.expired", **about)
