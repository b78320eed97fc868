"""The life of a daemon's process around its service: hardened first, then started, watched, and ended by signals."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from smartproxy.ctl.listener import ControlSocket
from smartproxy.logs.emit import Events
from smartproxy.logs.log import Log
from smartproxy.policy.limits import DESCRIPTORS_LEAST
from smartproxy.tap.hardening import harden, take_descriptors
from smartproxy.tap.notify import manager, watchdog
from smartproxy.tap.signals import Signals


class Daemon(Protocol):
    """The service of a daemon, besides being an ``IService``."""

    events: Events

    def hurry(self) -> None:
        """Wait for sessions no longer; end them."""


class Life(MultiService):
    """What twistd starts: the daemon's service, and what belongs to its process.

    :param reactor: runs it.
    :param daemon: the service; also an ``IService``.
    :param signals: told of the reactor and the daemon.
    :param log: where all that is told goes; runs before the daemon starts and until it has ended.
    :param notices: events that are told at the start: what was found out while the command line was read.
    :param environment: names the service manager.
    :param control: the daemon's control socket, if it has one; it is there until the daemon has ended.
    """

    def __init__(
        self,
        reactor: Any,
        daemon: Any,
        signals: Signals,
        log: Log,
        notices: tuple[tuple[str, Mapping[str, object]], ...] = (),
        environment: Mapping[str, str] = os.environ,
        control: ControlSocket | None = None,
    ) -> None:
        super().__init__()
        self.daemon: Daemon = daemon
        self._reactor = reactor
        self._signals = signals
        self._log = log
        self._notices = notices
        self._environment = environment
        self._control = control
        self._tell = manager(environment)
        self._watchdog: LoopingCall | None = None
        IService(daemon).setServiceParent(self)

    def startService(self) -> None:
        """Give up what is not needed before any secret is there; then start, and say so."""
        refused = harden()
        descriptors = take_descriptors()
        self._log.start(self._reactor, self.daemon.events)
        super().startService()
        self._signals.attach(self._reactor, self.daemon)
        if refused:
            self.daemon.events.emit(
                "daemon.not_hardened",
                facts=refused,
                advice="run it where core dumps, tracing and new privileges can be given up; docs: hardening",
            )
        else:
            self.daemon.events.emit("daemon.hardened")
        if descriptors < DESCRIPTORS_LEAST:
            self.daemon.events.emit(
                "daemon.few_descriptors",
                value=descriptors,
                most=DESCRIPTORS_LEAST,
                advice="raise the hard limit of open files (ulimit -Hn, or LimitNOFILE= in the unit)",
            )
        for name, fields in self._notices:
            self.daemon.events.emit(name, **fields)
        if self._control is not None:
            self._control.open()
        self._tell("READY=1")
        self._watchdog = watchdog(self._environment, self._reactor, self._tell)

    def stopService(self) -> Deferred[None]:
        """Say that the end began; end."""
        self._tell("STOPPING=1")
        stopped: Deferred[None] = super().stopService()
        return stopped.addCallback(lambda result: Deferred.fromCoroutine(self._stopped(result)))

    async def _stopped(self, _: object) -> None:
        if self._watchdog is not None and self._watchdog.running:
            self._watchdog.stop()
        if self._control is not None:
            await self._control.close()
        await self._log.stop(self._reactor)
