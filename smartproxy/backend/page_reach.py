"""How the page is reached, as the settings say: through which proxies, and where it is, with which certificate.

Duty: put ``backend.page`` in force at the start and within a second after each change, whoever made it: close and open
the page's own port, and show another certificate to whoever connects from then on, also when a file was replaced. A
file that cannot be used leaves what was shown before, and is told. While the page has an address of its own, it is
nowhere else, and the API is not there. Never waits for the store or a file in the reactor.
"""

from datetime import datetime
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults

from smartproxy.backend import generations, page_certificate
from smartproxy.backend.alerts.intake import backend_settings
from smartproxy.backend.certificates import certificate_pin, subject_text
from smartproxy.backend.errors import Unusable
from smartproxy.backend.page.serving import PageRoot
from smartproxy.backend.page_certificate import PageCertificate
from smartproxy.backend.port import HttpsPort
from smartproxy.backend.rounds import STORE_LOOK_SECONDS, StoreRounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.emit import Events
from smartproxy.net.listeners import Listeners
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.page_access import PageAccess, ReverseProxies
from smartproxy.policy.settings import Listener


@attrs.frozen(kw_only=True)
class Reach:
    """What is wanted.

    :ivar certificate: what is shown at the page's own address; ``None`` where it has none, or there is none to show.
    :ivar fault: why the files of the settings cannot be used.
    """

    access: PageAccess = attrs.field(factory=PageAccess)
    certificate: PageCertificate | None = None
    fault: str | None = None


class PageReach(StoreRounds):
    """Follows the settings, between :meth:`start` and :meth:`stop`.

    :ivar proxies: the reverse proxies in front of the page.
    """

    busy_seconds = fault_seconds = STORE_LOOK_SECONDS

    def __init__(self, store: Store, runner: Runner, events: Events, reactor: Any) -> None:
        super().__init__(store, runner, events, reactor)
        self._known = 0
        self._octets = (b"", b"")
        self._told: str | None = None
        self._used = Reach()
        self._stored: PageCertificate | None = None
        self._port: HttpsPort | None = None
        self._page: PageRoot | None = None
        self.proxies = ReverseProxies(self._used.access)
        self._listeners = Listeners(reactor, self._factory, events, mode="page")

    @property
    def apart(self) -> bool:
        """Whether the page has an address of its own."""
        return self._used.access.address is not None

    @property
    def listens_at(self) -> tuple[HostPort, ...]:
        """Address and port of the page's own, while it is open."""
        return self._listeners.ports

    @property
    def until(self) -> datetime | None:
        """The end of the certificate that is shown there."""
        certificate = self._used.certificate
        return None if certificate is None or not self.apart else certificate.shown.certificate.not_valid_after_utc

    def serve(self, page: PageRoot) -> None:
        """Put the settings in force with this page, and look every second whether they are others."""
        self._page = page
        self._use(self._read())
        self.start()

    def stop(self) -> Deferred[None]:
        """Stop looking, and close the port."""
        closed = self._listeners.have((), "the daemon stops", Cause.DAEMON_STOPPING)
        return gatherResults([super().stop(), closed]).addCallback(lambda _: None)

    async def look(self) -> float:
        """Put in force what was changed."""
        found = await self._runner.run(self._read)
        if self._rounds.running:
            self._use(found)
        return STORE_LOOK_SECONDS

    def _read(self) -> Reach:
        """What the newest generation and the files want."""
        with self._store.reading() as session:
            newest = generations.newest_number(session)
            access, stored = self._used.access, self._stored
            if newest != self._known:
                access = backend_settings(session).page
                stored = None if access.address is None else page_certificate.of_store(session)
        self._known, self._stored = newest, stored
        if access.address is None or access.certificate_file is None:
            return Reach(access=access, certificate=stored)
        try:
            octets = page_certificate.of_files(access)
            if access == self._used.access and octets == self._octets:
                return self._used
            found = page_certificate.judged(access, octets)
        except Unusable as unusable:
            return Reach(access=access, certificate=self._used.certificate or stored, fault=str(unusable))
        self._octets = octets
        return Reach(access=access, certificate=found)

    def _use(self, wanted: Reach) -> None:
        used, self._used = self._used, wanted
        access = wanted.access
        self.proxies = ReverseProxies(access)
        # Two files are not replaced at one moment: what is amiss for one look alone is not told.
        if wanted.fault is not None and wanted.fault == used.fault != self._told:
            self._events.emit(
                "page.certificate_failed",
                path=access.certificate_file,
                cause=Cause.PAGE_CERTIFICATE,
                message=wanted.fault,
                advice="put a certificate and its key there; they are used within seconds",
            )
            self._told = wanted.fault
        elif wanted.fault is None:
            self._told = None
        if access.address is None or wanted.certificate is None:
            self._port = None
            self._listeners.have((), _SETTING, Cause.OPERATOR_SETTING)
            return
        if self._port is None or wanted.certificate != used.certificate:
            self._show(wanted.certificate)
        self._listeners.have((Listener(address=access.address, port=access.port),), _SETTING, Cause.OPERATOR_SETTING)

    def _show(self, certificate: PageCertificate) -> None:
        shown = certificate.shown
        if self._port is not None:
            self._port.tls.show(shown)
        elif self._page is not None:
            self._port = HttpsPort(shown, self._page, self._page.admits, self._clock, self._events)
            self._port.places.is_proxy = lambda host: self.proxies.has(host)
        self._events.emit(
            "page.certificate_used",
            subject=subject_text(shown.certificate),
            not_after=shown.certificate.not_valid_after_utc,
            certificate_sha256=certificate_pin(shown.certificate),
            mode=certificate.source.value,
        )

    def _factory(self) -> HttpsPort:
        if self._port is None:
            raise AssertionError("a port is opened only with a certificate")
        return self._port


_SETTING = "the setting backend.page"
