"""The two times: seconds that only ever grow, and the time of day.

Duty: keep them apart. Deadlines, bans, penalties and everything that is told once in a while are measured in seconds
that no administrator, NTP server or leap changes; events, certificates and licences have the time of day, which may
step. Twisted's reactor knows the time of day only and takes it for both: :func:`make_steady` gives it the other one.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol


class Clock(Protocol):
    """What tells the time: any ``IReactorTime``."""

    def seconds(self) -> float:
        """Tell the time in seconds: of a daemon's reactor, seconds that only ever grow."""


def make_steady(
    reactor: Any, steady: Callable[[], float] = time.monotonic, time_of_day: Callable[[], float] = time.time
) -> None:
    """Have a reactor measure with seconds that only ever grow; done twice, it has no effect.

    Its seconds are the system's own from then on, without a function between, since it is asked for them at every turn;
    calls which it was asked for before keep their time. The time of day is its attribute ``time_of_day``; ask
    :func:`now` for it.

    :param reactor: Twisted's; what it asks is its attribute ``seconds``.
    :param steady: seconds since any moment, which only ever grow.
    :param time_of_day: seconds since 1970 in UTC, which may step.
    """
    if hasattr(reactor, "time_of_day"):
        return
    ahead = reactor.seconds() - steady()
    # Canceled ones, too: the order of all of them must stay.
    for call in (*reactor._pendingTimedCalls, *reactor._newTimedCalls):
        call.time -= ahead
        call.seconds = steady
    reactor.seconds = steady
    reactor.time_of_day = time_of_day


def now(clock: Clock) -> datetime:
    """The time of day in UTC: by a clock that tells both times; by the seconds of one that tells one, as in tests."""
    tell: Callable[[], float] = getattr(clock, "time_of_day", clock.seconds)
    return datetime.fromtimestamp(tell(), UTC)


def moment(clock: Clock, seconds: float) -> datetime:
    """The time of day at which the clock told these seconds, counted back from the time of day."""
    present = now(clock)
    return datetime.fromtimestamp(present.timestamp() - (clock.seconds() - seconds), UTC)
