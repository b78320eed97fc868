"""One wait that must not last for ever.

Duty: call back once when the seconds of a wait are over, unless the wait ended before. The owner starts and stops it as
often as it likes and never asks whether it runs: stopping a stopped deadline does nothing, starting a running one
restarts it. Trusts its clock. Never calls back after ``stop``, and does not run while it calls back.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """A timer that one owner starts, stops and starts again.

    :param clock: measures the seconds.
    :param expired: called without arguments when they are over; it may start the deadline again.
    """

    __slots__ = ("_call", "_clock", "_expired")

    def __init__(self, clock: IReactorTime, expired: Callable[[], object]) -> None:
        self._clock = clock
        self._expired = expired
        self._call: IDelayedCall | None = None

    @property
    def running(self) -> bool:
        """Whether it was started, and neither expired nor was stopped."""
        return self._call is not None

    @property
    def left(self) -> float:
        """Seconds until it expires; 0 while it does not run."""
        return 0.0 if self._call is None else max(0.0, self._call.getTime() - self._clock.seconds())

    def start(self, seconds: float) -> None:
        """Expire in ``seconds`` from now, whatever was set before.

        :raises AssertionError: if ``seconds`` is negative.
        """
        if self._call is not None:
            self._call.cancel()
        self._call = self._clock.callLater(seconds, self._expire)

    def stop(self) -> None:
        """Cancel the wait, if one runs."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _expire(self) -> None:
        self._call = None
        self._expired()
