"""What signals do to a daemon.

HUP, TERM and INT stop it by draining; a second one stops it at once. One that comes while the daemon starts waits until
it runs. On Linux the signals 20 to 24 set the level of the log, from the first moment of the process: most of them stop
or kill a process that has no handler for them.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from smartproxy.logs.emit import Events
from smartproxy.logs.severity import SIGNALS, Severity
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import StopReason

ENDING = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
NOW_SECONDS = 1.5
"""From the second signal to the end of the main loop, whatever still runs."""
MAIN_SECONDS = 5.0
"""How long the process's main thread may take to end after its loop, to remove the PID file and the like."""
THREADS_SECONDS = 0.2
"""How long other threads may go on after the main thread."""


def end_without_threads() -> None:
    """Have the process end soon after its main thread, with status 0, whatever its other threads wait for.

    A main loop that is left early does not stop the pools of threads that look up names or ask the store, and the
    interpreter waits for those for ever.
    """
    threading.Thread(target=_outlive, name="smartproxy-end", daemon=True).start()


def _exit(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _outlive() -> None:
    threading.main_thread().join(MAIN_SECONDS)
    time.sleep(THREADS_SECONDS)
    _exit(0)


class DaemonService(Protocol):
    """The service of a daemon, besides being an ``IService``."""

    events: Events
    stop_reason: StopReason

    def hurry(self) -> None:
        """Wait for sessions no longer; end them."""


class Signals:
    """The signals of one daemon.

    :param set_level: changes the level of the log.
    :param end_process: ends the process once its main loop was left early.
    """

    def __init__(
        self, set_level: Callable[[Severity], None], end_process: Callable[[], None] = end_without_threads
    ) -> None:
        self._set_level = set_level
        self._end_process = end_process
        self._reactor: Any = None
        self._service: DaemonService | None = None
        self._asked = False
        self._held: list[int] = []
        self._last: Callable[[], None] = lambda: None

    def listen_for_levels(self) -> None:
        """Handle the level signals from now on."""
        if sys.platform == "linux":
            for number in SIGNALS:
                signal.signal(number, self._level)

    def hold_endings(self) -> None:
        """Keep an ending signal until the daemon runs, which it then ends; a second one ends the process at once."""
        for number in ENDING:
            signal.signal(number, self._hold)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._held.append(number)
        for each in ENDING:
            signal.signal(each, signal.SIG_DFL)

    def attach(self, reactor: Any, service: DaemonService, last: Callable[[], None] = lambda: None) -> None:
        """Handle the ending signals, too, once the reactor runs: it installs handlers of its own when it starts.

        :param last: what remains to be done when the main loop is left early.
        """
        self._reactor = reactor
        self._service = service
        self._last = last
        reactor.callWhenRunning(self._listen_for_endings)

    def _listen_for_endings(self) -> None:
        for number in ENDING:
            signal.signal(number, lambda number, frame: self._reactor.callFromThread(self.ending, number))
        for held in self._held:
            self.ending(held)

    def _level(self, number: int, frame: FrameType | None) -> None:
        severity = SIGNALS[number]
        self._set_level(severity)
        if self._reactor is not None:
            self._reactor.callFromThread(self._tell_level, severity, number)

    def _tell_level(self, severity: Severity, number: int) -> None:
        if self._service is not None:
            self._service.events.emit(
                "level.changed", mode=severity.label, cause=Cause.OPERATOR_SIGNAL, message=f"signal {number}"
            )

    def drain(self, reason: StopReason) -> bool:
        """Stop the daemon in order, in a later turn of the reactor; whether this was the first request."""
        assert self._service is not None
        first, self._asked = not self._asked, True
        if first:
            self._service.stop_reason = reason
            if reason.status:
                # By twistd's own way a process ends with 0, or by a signal.
                atexit.register(_exit, reason.status)
            self._reactor.callLater(0, self._reactor.stop)
        return first

    def ending(self, number: int) -> None:
        """A signal asks the daemon to stop."""
        assert self._service is not None
        name = signal.Signals(number).name
        if self.drain(StopReason(Cause.OPERATOR_SIGNAL, f"signal {name}")):
            self._service.events.emit(
                "signal.received", cause=Cause.OPERATOR_SIGNAL, message=f"{name}: drain", mode="drain"
            )
        else:
            self._service.events.emit(
                "signal.received", cause=Cause.OPERATOR_SIGNAL, message=f"{name}: end now", mode="now"
            )
            self._service.hurry()
            self._reactor.callLater(NOW_SECONDS, self._end_now)

    def _end_now(self) -> None:
        self._reactor.crash()
        self._last()
        self._end_process()
