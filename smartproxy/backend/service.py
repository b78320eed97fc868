"""The backend as a service: the store, its threads, the https site, and what is looked after by itself.

Made without touching anything; the store is opened, and made where there is none, and the port bound when it starts.
Without a site the port shows a temporary certificate, and nothing runs by itself; both change when the site is there.
Who may have a connection is judged by :mod:`smartproxy.backend.port`.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from socket import gethostname
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Request

from smartproxy._version import __version__
from smartproxy.backend import users
from smartproxy.backend.alerts.desk import AlertDesk
from smartproxy.backend.alerts.mail_desk import MailDesk
from smartproxy.backend.alerts.mail_tests import MailTests
from smartproxy.backend.anchoring import Anchoring
from smartproxy.backend.api import Api
from smartproxy.backend.authority import HttpsIdentity, SiteAuthority
from smartproxy.backend.business import BusinessWatch
from smartproxy.backend.certificates import certificate_pin
from smartproxy.backend.change_over import ChangeOvers
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.download_watch import DownloadWatch
from smartproxy.backend.fetching import ListFetcher
from smartproxy.backend.first_start import AwaitedSite, SetupLink, loaded, reached_by, temporary_identity, words
from smartproxy.backend.ledger import Ledger
from smartproxy.backend.loads import OwnLoad, backend_place
from smartproxy.backend.location import Location
from smartproxy.backend.log_settings import LogSettings
from smartproxy.backend.page.door import Door
from smartproxy.backend.page.pages import ROUTES
from smartproxy.backend.page.rendering import Renderer
from smartproxy.backend.page.routes import RouteMap
from smartproxy.backend.page.serving import PageRoot
from smartproxy.backend.page.visit import Backstage
from smartproxy.backend.page_reach import PageReach
from smartproxy.backend.port import HttpsPort
from smartproxy.backend.requests import header_of
from smartproxy.backend.several import Duty, Hearing, Job
from smartproxy.backend.store import Store, StoreThreads
from smartproxy.backend.trust_watch import TrustListWatch
from smartproxy.backend.upkeep import HourlyLook
from smartproxy.ctl.statuses import BackendStatus
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.log import Log
from smartproxy.net.listeners import bound, listen_at, tell_failed
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.faults import StopReason

_OF_THE_API = (b"/api/", b"/health/")


class Front(Resource):
    """What is served at the backend's port: the API and the daemon's health, and the page everywhere else.

    Where the page has an address of its own, it is not here.

    :param apart: tells whether the page is elsewhere.
    """

    isLeaf = True

    def __init__(self, api: Api, page: PageRoot, apart: Callable[[], bool] = lambda: False) -> None:
        Resource.__init__(self)
        self._apart = apart
        self._api = api
        self._api_root = api.resource()
        self._page = page

    def render(self, request: Request) -> Any:
        """Answer a request."""
        is_api = self._apart() or request.path.startswith(_OF_THE_API)
        root = self._api_root if is_api else self._page
        return root.render(request)

    def admits(self, request: IRequest) -> Deferred[int]:
        """How many octets the body of a request may have; its path is not known yet, but a token is for the API."""
        if self._apart() or header_of(request, b"authorization") or header_of(request, b"smartproxy-token"):
            return self._api.admits(request)
        return self._page.admits(request)


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
    :ivar site: the site's authority, once it is there.
    :ivar duty: what runs by itself, once the site is there.
    :ivar reach: how the page is reached.
    :ivar invitation: what is said on the console at the start: how to set the site up.
    :ivar condition: tells the page how the backend is, as the control socket does.
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
        self.reach: PageReach | None = None
        self.threads = StoreThreads(reactor)
        self._started_at = 0.0
        self.store: Store | None = None
        self.site: SiteAuthority | None = None
        self.invitation: Sequence[str] = ()
        self._link = SetupLink(reactor)
        self._awaited: AwaitedSite | None = None
        self._ledger: Ledger | None = None
        self._api: Api | None = None
        self._script_threads = StoreThreads(reactor, limits.SCRIPTS.most, "smartproxy-script")
        self._list_threads = StoreThreads(reactor, limits.PARSED_AT_ONCE_MOST, "smartproxy-lists")
        self._password_threads = StoreThreads(reactor, limits.PASSWORDS_AT_ONCE, "smartproxy-password")
        self.condition: Callable[[], Awaitable[BackendStatus]] | None = None
        self._hearing: Hearing | None = None
        self.duty: Duty | None = None
        self._load: OwnLoad | None = None
        self._listening: IListeningPort | None = None
        self._logger = Logger(namespace="smartproxy.backend")
        self.events = Events(self._logger, None, reactor, source="backend")

    def startService(self) -> None:
        """Open the store, or make an empty one, and listen.

        :raises BackendError: when the store cannot be used.
        :raises CannotListenError: when the port cannot be bound.
        """
        Service.startService(self)
        self._started_at = self._reactor.seconds()
        self.store = store = Store.open(self.location, make=True)
        with store.reading() as session:
            self.site = site = loaded(session)
            governed = users.any_administrator(session)
        name = reached_by(self._host)
        identity = temporary_identity(name, now(self._reactor)) if site is None else site.https
        self._api = Api(ClientRequests(store), self.threads, self.events, self._reactor)
        self._api.has_site = site is not None
        self.reach = reach = PageReach(store, self.threads, self.events, self._reactor)
        page = PageRoot(self._page(store, reach))
        front = Front(self._api, page, lambda: reach.apart)
        try:
            factory = HttpsPort(identity, front, front.admits, self._reactor, self.events)
            factory.places.is_proxy = lambda host: reach.proxies.has(host)
            port: Any = listen_at(self._reactor, factory, self._host, self._port)
        except CannotListenError as error:
            tell_failed(self.events, self._host, self._port, error, option="--listen")
            raise
        self._listening = port
        # Only now: a start that fails for its port leaves no thread behind, which would keep the process from ending.
        self.threads.start()
        self._password_threads.start()
        reach.serve(page)
        self._ledger = Ledger(store, self.threads, self._reactor)
        self.events.forward = self._ledger
        if self._log is not None:
            self._log_settings = LogSettings(store, self.threads, self.events, self._reactor, self._log)
            self._log_settings.start()
        self.events.emit(
            "backend.started",
            version=__version__,
            **({} if site is None else {"site": site.site}),
            address=port.getHost().host,
            port=port.getHost().port,
            host=gethostname(),
            path=str(self.location.directory),
            pid=os.getpid(),
        )
        self._hearing = Hearing(
            store,
            self.threads,
            self._reactor,
            self._api.told,
            self._api.hears,
            partial(self.events.failure, "smartproxy.backend.several"),
        )
        self._hearing.start()
        if site is None:
            self._invite(HostPort(name, port.getHost().port), identity)
            self._awaited = AwaitedSite(
                store, self.threads, self.events, self._reactor, lambda found: self._founded(store, factory, found)
            )
            self._awaited.start()
        else:
            if not governed:
                self._logger.info(
                    "nobody can log in to the page: smartproxy user add NAME --role administrator changes that"
                )
            self._take_duty(store)

    def _invite(self, at: HostPort, identity: HttpsIdentity) -> None:
        """Say on the console and in the log, and nowhere else, how the site is set up."""
        self.invitation = words(self._link.made(at), identity)
        for line in self.invitation:
            self._logger.warn("{line}", line=line)

    def _founded(self, store: Store, factory: HttpsPort, site: SiteAuthority) -> None:
        """The site is there: show its certificate, answer its clients, and do what runs by itself."""
        self.site = site
        factory.tls.show(site.https)
        if self._api is not None:
            self._api.has_site = True
        self.events.emit(
            "backend.site_found", site=site.site, certificate_sha256=certificate_pin(site.https_certificate)
        )
        self._take_duty(store)

    def _place(self) -> str | None:
        """What this backend is known by among those that share a database."""
        at = self.listens_at
        return None if at is None else backend_place(gethostname(), at.host, at.port)

    def _take_duty(self, store: Store) -> None:
        self._load = OwnLoad(store, self.threads, self.events, self._reactor, self._place)
        self._load.start()
        self._script_threads.start()
        self._list_threads.start()
        self.duty = Duty(store, self.threads, self.events, self._reactor, lambda: self._jobs(store))
        self.duty.start()

    def _page(self, store: Store, reach: PageReach) -> Backstage:
        """What the page works with."""
        return Backstage(
            store=store,
            runner=self.threads,
            events=self.events,
            clock=self._reactor,
            renderer=Renderer(),
            routes=RouteMap(ROUTES),
            site=lambda: "" if self.site is None else self.site.site,
            door=Door(self._reactor, self._password_threads),
            condition=self._tell_condition,
            link=self._link,
            proxies=lambda: reach.proxies,
        )

    async def _tell_condition(self) -> BackendStatus | None:
        return None if self.condition is None else await self.condition()

    def _jobs(self, store: Store) -> Sequence[Job]:
        """What runs by itself, in one backend of those that share a database."""
        about = (store, self.threads, self.events, self._reactor)
        return (
            HourlyLook(*about),
            ChangeOvers(*about),
            DownloadWatch(*about, ListFetcher(self._reactor), self._list_threads),
            Anchoring(*about),
            BusinessWatch(*about),
            TrustListWatch(*about, ListFetcher(self._reactor)),
            AlertDesk(store, self.threads, self._script_threads, self.events, self._reactor),
            MailDesk(*about),
            MailTests(*about),
        )

    @property
    def listens_at(self) -> HostPort | None:
        """The address and port for clients, while they are open."""
        return None if self._listening is None else bound(self._listening)

    def hurry(self) -> None:
        """Answer the calls that wait for a change now; nothing else here takes longer than a moment."""
        if self._api is not None:
            self._api.watch.stop()
            self._api.trial_watch.stop()
            self._api.event_watch.stop()

    async def _stop(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)
        self.hurry()
        for work in (self._log_settings, self.reach, self._hearing, self._awaited):
            if work is not None:
                work.stop()
        if self._load is not None:
            await self._load.stop()
        if self.duty is not None:
            await self.duty.stop()
            self._script_threads.stop()
            self._list_threads.stop()
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
            self._password_threads.stop()
        if self.store is not None:
            self.store.close()
            self.store = None

    def stopService(self) -> Deferred[None]:
        """Answer the calls that wait, store the last events, and end."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())
