"""The backend as a service: the store, its threads, the https site, and what is looked after by itself.

Made without touching anything; the store is opened and the port bound when it starts. Who may have a connection is
judged by :mod:`smartproxy.backend.port`.
"""

import os
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from smartproxy._version import __version__
from smartproxy.backend import authority
from smartproxy.backend.alerts.desk import AlertDesk
from smartproxy.backend.alerts.mail_desk import MailDesk
from smartproxy.backend.anchoring import Anchoring
from smartproxy.backend.api import Api
from smartproxy.backend.authority import SiteAuthority
from smartproxy.backend.calls import Calls
from smartproxy.backend.download_watch import DownloadWatch
from smartproxy.backend.fetching import ListFetcher
from smartproxy.backend.ledger import Ledger
from smartproxy.backend.location import Location
from smartproxy.backend.log_settings import LogSettings
from smartproxy.backend.port import HttpsPort
from smartproxy.backend.several import Duty, Hearing, Job
from smartproxy.backend.store import Store, StoreThreads
from smartproxy.backend.upkeep import HourlyLook
from smartproxy.logs.emit import Events
from smartproxy.logs.log import Log
from smartproxy.net.listeners import tell_failed
from smartproxy.policy import limits
from smartproxy.policy.faults import StopReason


class BackendService(Service):
    """The daemon.

    :param reactor: the reactor, with TLS, time and threads.
    :param location: where the store is.
    :param host: the address to listen on; empty for all.
    :param port: the port; 0 for any free one.
    :param log: the process's log, if settings may change it.
    :ivar stop_reason: why the end begins; may be changed until then.
    :ivar drain_seconds: means nothing here: no session is waited for.
    :ivar location: where the store is.
    :ivar store: the store, while the daemon runs.
    :ivar threads: where its work is done.
    :ivar site: the site's authority, once the daemon has started.
    :ivar duty: what runs by itself, once the daemon has started.
    """

    drain_seconds: int | None = None

    def __init__(self, reactor: Any, location: Location, host: str, port: int, log: Log | None = None) -> None:
        self.stop_reason = StopReason()
        self._reactor = reactor
        self.location = location
        self._host = host
        self._port = port
        self._log = log
        self._log_settings: LogSettings | None = None
        self.threads = StoreThreads(reactor)
        self._started_at = 0.0
        self.store: Store | None = None
        self.site: SiteAuthority | None = None
        self._ledger: Ledger | None = None
        self._api: Api | None = None
        self._script_threads = StoreThreads(reactor, limits.SCRIPTS.most, "smartproxy-script")
        self._hearing: Hearing | None = None
        self.duty: Duty | None = None
        self._listening: IListeningPort | None = None
        self.events = Events(Logger(namespace="smartproxy.backend"), None, reactor, source="backend")

    def startService(self) -> None:
        """Open the store and listen.

        :raises BackendError: when the store cannot be used.
        :raises CannotListenError: when the port cannot be bound.
        """
        Service.startService(self)
        self._started_at = self._reactor.seconds()
        self.store = store = Store.open(self.location)
        with store.reading() as session:
            self.site = site = authority.load(session)
        self._api = Api(Calls(store), self.threads, self.events, self._reactor)
        try:
            factory = HttpsPort(site, self._api.resource(), self._api.admits, self._reactor, self.events)
            port = self._reactor.listenTCP(self._port, factory, interface=self._host)
        except CannotListenError as error:
            tell_failed(self.events, self._host, self._port, error, option="--listen")
            raise
        self._listening = port
        self.threads.start()
        self._ledger = Ledger(store, self.threads, self._reactor)
        self.events.forward = self._ledger
        if self._log is not None:
            self._log_settings = LogSettings(store, self.threads, self.events, self._reactor, self._log)
            self._log_settings.start()
        self.events.emit(
            "backend.started",
            version=__version__,
            site=site.site,
            address=port.getHost().host,
            port=port.getHost().port,
            path=str(self.location.directory),
            pid=os.getpid(),
        )
        self._hearing = Hearing(store, self.threads, self._reactor, self._api.told, self._api.hears)
        self._hearing.start()
        self._script_threads.start()
        self.duty = Duty(store, self.threads, self.events, self._reactor, lambda: self._jobs(store))
        self.duty.start()

    def _jobs(self, store: Store) -> Sequence[Job]:
        """What runs by itself, in one backend of those that share a database."""
        about = (store, self.threads, self.events, self._reactor)
        return (
            HourlyLook(*about),
            DownloadWatch(*about, ListFetcher(self._reactor)),
            Anchoring(*about),
            AlertDesk(store, self.threads, self._script_threads, self.events, self._reactor),
            MailDesk(*about),
        )

    @property
    def listens_at(self) -> tuple[str, int] | None:
        """The address and port for clients, while they are open."""
        if self._listening is None:
            return None
        host: Any = self._listening.getHost()
        return host.host, host.port

    def hurry(self) -> None:
        """Answer the calls that wait for a change now; nothing else here takes longer than a moment."""
        if self._api is not None:
            self._api.watch.stop()
            self._api.trial_watch.stop()

    async def _stop(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)
        self.hurry()
        for work in (self._log_settings, self._hearing):
            if work is not None:
                work.stop()
        if self.duty is not None:
            await self.duty.stop()
            self._script_threads.stop()
        self.events.tell_counted()
        self.events.emit(
            "backend.stopped",
            cause=self.stop_reason.cause,
            message=self.stop_reason.message,
            duration=self._reactor.seconds() - self._started_at,
        )
        if self._ledger is not None:
            await self._ledger.finish()
            self.threads.stop()
        if self.store is not None:
            self.store.close()
            self.store = None

    def stopService(self) -> Deferred[None]:
        """Answer the calls that wait, store the last events, and end."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())
