"""A daemon that hands over to a newer process of its own: the same command line, started again, with the ports open.

Duty: start that process with the listening sockets and the PID file, and leave everything to it when it says that it
serves; then end as a drain does, so that the sessions which run here come to their end. They count against the limits
of the new process, which is told of them. A process that does not come to
serve is ended, and changes nothing. Nothing is ever closed in between: who connects meanwhile waits in a queue of the
kernel. Trusts the program where this one was started from: whoever may replace that is the operator.
"""

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from smartproxy.ctl.protocol import Refused
from smartproxy.net.deadline import Deadline
from smartproxy.net.transport.inherited import INHERITED
from smartproxy.net.transport.sockets import StreamPort
from smartproxy.policy.limits import SUCCESSION_SECONDS
from smartproxy.tap.launch import Launch
from smartproxy.tap.predecessor import SERVING, WORDS_MOST, Handed, counts_line, environment_for

_ENDING: Final = "this process is ending; start the daemon again when it has ended"
_LATE: Final = f"the new process did not serve within {SUCCESSION_SECONDS:.0f} seconds; it was ended, this one goes on"
_NOT_STARTED: Final = "the new process could not be started, and this one goes on"
_STANDARD: Final = 3
_TOLD: Final = 3
_COUNTS: Final = 4
_COUNT_SECONDS: Final = 1.0
"""How often the new process is told of the sessions that go on here, if they have changed."""


class Succeeded(Protocol):
    """A daemon that can leave its ports to another process."""

    async def announce(self) -> None:
        """Tell others of the process that is about to start; maybe it never serves."""

    async def hand_over(self) -> None:
        """Accept no more, and send who is connected to the other process."""

    def counted(self) -> Mapping[str, int]:
        """How many sessions of each partner count against the limits."""


class Succession:
    """The way of one daemon to its successor.

    :param reactor: starts the process.
    :param launch: has the PID file.
    :param daemon: the service.
    :param over: has this process end in order.
    :param manager: tells the service manager.
    :param environment: of this process.
    """

    def __init__(
        self,
        reactor: Any,
        launch: Launch,
        daemon: Succeeded,
        over: Callable[[], object],
        manager: Callable[[str], object],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._reactor = reactor
        self._launch = launch
        self._daemon = daemon
        self._over = over
        self._manager = manager
        self._environment = environment
        self._heir: _Heir | None = None
        self._shared: list[StreamPort] = []
        self._ending = False
        reactor.addSystemEventTrigger("before", "shutdown", self._end)

    async def begin(self) -> int:
        """Start the new process, and leave everything to it; its number.

        :raises Refused: if it does not come to serve, another one is on its way, or this process ends.
        """
        if self._ending:
            raise Refused(_ENDING)
        if self._heir is not None or self._launch.succeeded:
            raise Refused("a newer process is starting, or has taken over, already")
        heir = self._heir = _Heir(self._reactor)
        try:
            await self._daemon.announce()
            if not heir.serves.called:
                self._start(heir)
            number = await heir.serves
        except BaseException as error:
            heir.forget()
            for port in self._shared:
                port.unshare()
            if isinstance(error, OSError):
                raise Refused(f"{_NOT_STARTED}: {error.strerror}") from error
            raise
        finally:
            self._heir, self._shared = None, []
        self._launch.succeeded = True
        self._manager(f"MAINPID={number}")
        Deferred.fromCoroutine(self._leave())
        return number

    async def _leave(self) -> None:
        try:
            await self._daemon.hand_over()
        finally:
            self._over()

    def _end(self) -> None:
        """This process ends: nothing is left to a process that does not serve yet, or it would outlive the stop."""
        self._ending = True
        if self._heir is not None:
            self._heir.end(_ENDING)

    def _start(self, heir: "_Heir") -> None:
        self._shared = [each for each in self._reactor.getReaders() if isinstance(each, StreamPort)]
        managed = {os.fstat(each).st_ino: each for each in INHERITED.managed}
        own = []
        for port in self._shared:
            port.share()
            if os.fstat(port.fileno()).st_ino not in managed:
                own.append(port.fileno())
        given = [*managed.values(), *own]
        first = _COUNTS + 1
        files: dict[int, int | str] = {each: each for each in range(_STANDARD)}
        files[_TOLD], files[_COUNTS] = "r", "w"
        files.update(enumerate(given, first))
        pid_file = None
        if self._launch.locked is not None:
            pid_file = first + len(given)
            files[pid_file] = self._launch.locked
        numbers = range(first, first + len(given))
        handed = Handed(_TOLD, numbers[: len(managed)], numbers[len(managed) :], pid_file, _COUNTS)
        command = [sys.executable, *sys.orig_argv[1:]]
        environment = environment_for(handed, self._environment)
        self._reactor.spawnProcess(heir, command[0], command, env=environment, childFDs=files)
        heir.count(self._daemon.counted)


class _Heir(ProcessProtocol):
    """The new process, until it serves.

    :ivar serves: fires with its number, or fails with :class:`Refused`.
    """

    transport: Any = None

    def __init__(self, reactor: Any) -> None:
        self.serves: Deferred[int] = Deferred()
        self._said = b""
        self._late = Deadline(reactor, partial(self.end, _LATE))
        self._late.start(SUCCESSION_SECONDS)
        self._counting = LoopingCall(self._count)
        self._counting.clock = reactor
        self._counted: Callable[[], Mapping[str, int]] = dict
        self._last: Mapping[str, int] | None = None

    def count(self, counted: Callable[[], Mapping[str, int]]) -> None:
        """Tell the process of the sessions here, until one of the two has ended."""
        self._counted = counted
        self._counting.start(_COUNT_SECONDS)

    def _count(self) -> None:
        sessions = self._counted()
        if sessions != self._last:
            self._last = sessions
            # It may not read: what waits for it is bounded by how often the sessions change while this process drains.
            self.transport.writeToChild(_COUNTS, counts_line(sessions))

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It says that it serves, or what is wrong."""
        self._said = (self._said + data)[-WORDS_MOST:]
        _, serving, number = self._said.partition(SERVING)
        if serving and number.endswith(b"\n"):
            self._settle(int(number))

    def processExited(self, reason: Failure) -> None:
        """It has ended."""
        if self._counting.running:
            self._counting.stop()
        words = self._said.decode("utf-8", "replace").strip().splitlines()
        why = words[-1] if words else f"it ended before it served: {reason.getErrorMessage()}; see its log"
        self._settle(Refused(f"the new process did not start, and this one goes on: {why}"))

    def forget(self) -> None:
        """Wait for it no longer."""
        self._late.stop()

    def end(self, why: str) -> None:
        """End it, unless it serves."""
        if self.serves.called:
            return
        if self.transport is not None:
            self.transport.signalProcess("KILL")
        self._settle(Refused(why))

    def _settle(self, result: int | Refused) -> None:
        self._late.stop()
        if not self.serves.called:
            if isinstance(result, Refused):
                self.serves.errback(result)
            else:
                self.serves.callback(result)
