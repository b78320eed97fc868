"""The life of a daemon's process around its service: hardened first, then started, watched, and stopped by signals.

Before any key material is in memory the process gives up core dumps, tracing and new privileges, and raises the limit
of open files as far as the system allows. A step that the system does not allow is reported and stops nothing: a daemon
without it is better than no daemon. The service manager (systemd's ``sd_notify``) gets one datagram a word, where the
environment names its socket; a missing manager stops nothing.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from twisted.application.internet import TimerService
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from smartproxy.ctl.daemon import Actions, Condition, DaemonProcess, Drainable
from smartproxy.ctl.listener import ControlSocket
from smartproxy.logs.clock import make_steady
from smartproxy.logs.log import Log
from smartproxy.net.listeners import what_to_do
from smartproxy.net.process import collect_seldom, harden, take_descriptors, tell_few_descriptors
from smartproxy.net.transport.inherited import INHERITED
from smartproxy.net.transport.memory import keep_memory
from smartproxy.net.transport.thrift import QUIET_SECONDS, THRIFT
from smartproxy.net.transport.turns import call_directly
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import StopReason
from smartproxy.policy.limits import DESCRIPTORS_LEAST, DRAIN, SETTLING_SECONDS
from smartproxy.policy.places import SOCKET_SUFFIX
from smartproxy.tap.daemon import DaemonOptions
from smartproxy.tap.launch import Launch
from smartproxy.tap.signals import DaemonService, Signals
from smartproxy.tap.succession import Succeeded, Succession
from smartproxy.workers.spawning import Zygote

_MANAGER_VARIABLE = "NOTIFY_SOCKET"
_STORE_VARIABLE = "FDSTORE"
"""How many descriptors the service manager keeps of this daemon; none, or ``0``, if it does not."""


class Life(MultiService):
    """What twistd starts: the daemon's service, and everything around its process.

    :param reactor: runs it.
    :param daemon: the service; also an ``IService``.
    :param signals: told of the reactor and the daemon.
    :param log: the daemon's log; runs before the daemon starts and until it has ended.
    :param launch: keeps the PID file, and takes the process to the background.
    :param notices: events that are reported at the start: findings from reading the command line.
    :param environment: names the service manager.
    :param control: the daemon's control socket, if it has one; it is there until the daemon has ended.
    :param zygote: makes the daemon's workers; forked before the daemon starts.
    :param words: what the daemon has to say on the console once it serves.
    """

    def __init__(
        self,
        reactor: Any,
        daemon: Any,
        signals: Signals,
        log: Log,
        launch: Launch,
        notices: tuple[tuple[str, Mapping[str, object]], ...] = (),
        environment: Mapping[str, str] = os.environ,
        control: ControlSocket | None = None,
        words: Callable[[], Sequence[str]] = tuple,
        zygote: Zygote | None = None,
    ) -> None:
        super().__init__()
        self.daemon: DaemonService = daemon
        self._reactor = reactor
        self._signals = signals
        self._log = log
        self._launch = launch
        self._stale: int | None = None
        self._notices = notices
        self._control = control
        self._words = words
        self._zygote = zygote
        self._tell = manager(environment)
        if environment.get(_STORE_VARIABLE, "0") not in ("", "0"):
            INHERITED.store = self._tell
        self._environment = environment
        self._watchdog: TimerService | None = None
        IService(daemon).setServiceParent(self)
        thrift = TimerService(QUIET_SECONDS, THRIFT.give_back)
        thrift.clock = reactor
        thrift.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Take the PID file, and go to the background."""
        self._signals.hold_endings()
        self._stale = self._launch.claim()
        self._launch.detach(self._reactor)
        super().privilegedStartService()

    def startService(self) -> None:
        """Harden the process before any secret is there; then start, and report it to the service manager.

        :raises SystemExit: if a port cannot be opened, after a line on standard error.
        """
        try:
            self._start()
        except CannotListenError as error:
            self._launch.fail(what_to_do(error))
        except BaseException:
            self._launch.over()
            raise

    def _start(self) -> None:
        refused = harden()
        descriptors = take_descriptors()
        keep_memory()
        if self._zygote is not None:
            # The user is the daemon's by now, and there are no threads yet.
            self._zygote.fork()
        self._log.start(self._reactor, self.daemon.events)
        super().startService()
        self._signals.attach(self._reactor, self.daemon, self._launch.over)
        if refused:
            self.daemon.events.emit(
                "daemon.not_hardened",
                facts=refused,
                advice="run it where these steps are allowed; see hardening in the documents",
            )
        else:
            self.daemon.events.emit("daemon.hardened")
        tell_few_descriptors(self.daemon.events, descriptors, DESCRIPTORS_LEAST)
        if self._stale is not None:
            self.daemon.events.emit("pid_file.removed", path=str(self._launch.pid_file), pid=self._stale)
        for name, fields in self._notices:
            self.daemon.events.emit(name, **fields)
        if self._control is not None and self._launch.predecessor is None:
            self._control.open()
        # After the handlers of signals, which are installed then.
        self._reactor.callWhenRunning(self._begin)
        # No child of this service: it runs until all children have ended, which takes as long as a drain does.
        self._watchdog = watchdog(self._environment, self._reactor, self._tell)
        if self._watchdog is not None:
            self._watchdog.startService()
        collect_seldom()

    def _begin(self) -> None:
        """The reactor runs: the daemon serves, or does as soon as it can take over."""
        if self._launch.predecessor is None:
            self._serving()
            return
        successor: Any = self.daemon
        self._launch.predecessor.follow(self._reactor, successor.count_elsewhere)
        taken = Deferred.fromCoroutine(successor.taken_over()).addCallback(lambda _: self._serving())
        taken.addErrback(lambda failure: self.daemon.events.failure("smartproxy.tap.life", failure))

    def _serving(self) -> None:
        words = self._words()
        # The older process has its socket until nothing can keep this one from telling it that it serves.
        if self._control is not None and self._launch.predecessor is not None:
            self._control.open(instead=True)
        self._launch.serving(self._reactor, self._log.places, words)
        self._tell("READY=1")

    def stopService(self) -> Deferred[None]:
        """Report the stop to the service manager, and stop; the PID file goes last."""
        if not self._launch.succeeded:
            self._tell("STOPPING=1")
        stopped: Deferred[None] = super().stopService()
        return stopped.addCallback(lambda result: Deferred.fromCoroutine(self._stopped(result)))

    async def _stopped(self, _: object) -> None:
        await self._outlive()
        if self._watchdog is not None:
            await self._watchdog.stopService()
        if self._control is not None:
            await self._control.close(succeeded=self._launch.succeeded)
        await self._log.stop(self._reactor)
        self._launch.over()

    async def _outlive(self) -> None:
        """Let the older process end first: a service manager kills what is left when its main process has ended."""
        older = self._launch.predecessor if self._environment.get(_MANAGER_VARIABLE) else None
        until = self._reactor.seconds() + DRAIN.most
        while older is not None and older.lives and self._reactor.seconds() < until:
            await deferLater(self._reactor, SETTLING_SECONDS)


def daemon_reactor() -> Any:
    """The reactor of a daemon: its seconds only ever grow, and it gives connections their turns directly."""
    from twisted.internet import reactor

    make_steady(reactor)
    call_directly(reactor)
    return reactor


class SystemdTell(Protocol):
    """Sends a word to the service manager."""

    def __call__(self, word: str, descriptors: Sequence[int] = (), /) -> None:
        """Send it, and descriptors with it; errors are ignored."""


def manager(environment: Mapping[str, str]) -> SystemdTell:
    """The sender to the service manager that the environment names; one that does nothing if there is none."""
    name = environment.get(_MANAGER_VARIABLE, "")
    if name[:1] not in ("/", "@"):
        return lambda word, descriptors=(): None
    address = "\0" + name[1:] if name.startswith("@") else name

    def tell(word: str, descriptors: Sequence[int] = ()) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(address)
            if descriptors:
                socket.send_fds(sender, [word.encode()], descriptors)
            else:
                sender.send(word.encode())

    return tell


def watchdog(environment: Mapping[str, str], clock: IReactorTime, tell: Callable[[str], object]) -> TimerService | None:
    """The timer that feeds the manager's watchdog while the reactor turns; ``None`` without a watchdog."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    whose = environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or (whose and whose != str(os.getpid())):
        return None
    timer = TimerService(int(microseconds) / 1_000_000 / 2, tell, "WATCHDOG=1")
    timer.clock = clock
    return timer


SWITCH = ["ctl-socket", None, None, "UNIX socket for `smartproxy ctl` [PROGRAM.sock in the state folder]"]
"""The switch of the daemons that have a control socket."""


def life_of(
    reactor: Any,
    service: Drainable,
    condition: Condition,
    options: DaemonOptions,
    look: Callable[[], Coroutine[Any, Any, None]] | None = None,
    *,
    hands_over: Succeeded | None = None,
    environment: Mapping[str, str] = os.environ,
    zygote: Zygote | None = None,
    words: Callable[[], Sequence[str]] = tuple,
) -> Life:
    """A daemon with all that its switches name, its control socket included; not started.

    :param condition: tells how the daemon is.
    :param look: see :class:`~smartproxy.ctl.daemon.Actions`.
    :param hands_over: the service, if it can leave its ports to a newer process.
    :param environment: of that process.
    """
    path = Path(options["ctl-socket"] or options.state_directory / f"{options.program}{SOCKET_SUFFIX}").absolute()
    drain = partial(options.signals.drain, StopReason(Cause.OPERATOR_COMMAND, "smartproxy ctl drain"))
    successor = None
    if hands_over is not None:
        over = partial(options.signals.drain, StopReason(Cause.DAEMON_SUCCEEDED, Cause.DAEMON_SUCCEEDED.meaning))
        tell = manager(os.environ)
        successor = Succession(reactor, options.launch, hands_over, over, tell, environment).begin
    process = DaemonProcess(reactor, service, drain, options.pid_file, successor)
    return Life(
        reactor,
        service,
        options.signals,
        options.log,
        options.launch,
        tuple(options.notices),
        control=ControlSocket(reactor, path, Actions(reactor, condition, process, look)),
        words=words,
        zygote=zygote,
    )
