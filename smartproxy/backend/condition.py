"""The state of the backend, for ``smartproxy ctl``: its port, its store, its clients, and whether all is well.

Reads only. The store is looked into by :meth:`BackendCondition.look`, in a thread; what is told after that is from
there. Shows no token, no key and no certificate.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import attrs
from sqlalchemy.exc import SQLAlchemyError

from smartproxy import __version__
from smartproxy.backend import clients, downloads, generations, history, licences
from smartproxy.backend.database import room_lacks
from smartproxy.backend.downloads import DownloadStatus
from smartproxy.backend.errors import BackendError, StoreFull
from smartproxy.backend.history import HistoryEntry
from smartproxy.backend.schema import ClientRow
from smartproxy.backend.service import BackendService
from smartproxy.backend.store import Store
from smartproxy.ctl.answers import Licences
from smartproxy.ctl.daemon import Held, in_force
from smartproxy.ctl.licences import read_licences
from smartproxy.ctl.protocol import Refused
from smartproxy.ctl.statuses import (
    BackendStatus,
    InForce,
    ToldClient,
    ToldDownload,
    fields_of,
    instant,
    judged,
)
from smartproxy.net.tls.expiries import expiries
from smartproxy.policy import limits
from smartproxy.policy.configuration import ConfigurationRefused, ServerConfiguration, parse
from smartproxy.policy.health import Diagnosis, Expiry, Finding, Health, judge


@attrs.frozen(kw_only=True)
class _Stored:
    """What the store says."""

    newest: HistoryEntry | None
    clients: Sequence[ClientRow]
    licences: dict[str, datetime]
    downloads: Sequence[DownloadStatus]
    licence_texts: dict[str, str]
    server: ServerConfiguration


class BackendCondition:
    """The state of a backend.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, service: BackendService, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.events = service.events
        self._service = service
        self._now = now
        self._found: tuple[_Stored | None, str] = None, "it is not open"
        self._full: StoreFull | None = None

    async def look(self) -> None:
        """Read what the store says: everything else here tells of that."""
        store = self._service.store
        if store is None:
            self._found, self._full = (None, "it is not open"), None
        else:
            stored, fault, self._full = await self._service.threads.run(_read, store)
            self._found = stored, fault

    async def anew(self) -> BackendStatus:
        """Look, and tell everything."""
        await self.look()
        return self.status()

    def status(self) -> BackendStatus:
        """Everything about the daemon, with the verdict and what to do about it."""
        service = self._service
        stored, fault = self._found
        at = service.listens_at
        return BackendStatus(
            **judged(self._verdict(stored, fault)),
            **fields_of(_generation(stored)),
            version=__version__,
            site=None if service.site is None else service.site.site,
            listener=None if at is None else str(at),
            page=next(map(str, service.reach.listens_at), None) if service.reach else None,
            store=service.location.shown,
            on_duty=service.duty is not None and service.duty.here,
            clients=() if stored is None else tuple(map(_client, stored.clients)),
            downloads=() if stored is None else tuple(map(_download, stored.downloads)),
        )

    def _verdict(self, stored: _Stored | None, fault: str) -> Diagnosis:
        """How it is: what is wrong, the worst first, and what runs out."""
        site, ends = self._service.site, []
        if site is not None:
            ends.append(Expiry("the certificate of the site's authority", site.certificate.not_valid_after_utc))
            ends.append(Expiry("the https certificate of the backend", site.https_certificate.not_valid_after_utc))
        reach = self._service.reach
        if reach is not None and reach.until is not None:
            ends.append(Expiry("the certificate of the page's own address", reach.until))
        if stored is not None:
            ends += [Expiry(f"the licence of {name[:12]}...", until) for name, until in stored.licences.items()]
            ends += expiries(stored.server)
        return judge(self._findings(stored, fault), ends, self._now())

    def _findings(self, stored: _Stored | None, fault: str) -> Iterator[Finding]:
        if self._service.listens_at is None:
            yield Finding("draining", Health.DEGRADED, "the backend is stopping")
            return
        if self._full is not None:
            words = (
                f"{self._full.disk} is full: make room there; until then nothing is stored, changes are refused, and "
                "events wait at the clients"
            )
            yield Finding("store-full", Health.DOWN if stored is None else Health.DEGRADED, words)
        elif stored is None:
            yield Finding("store-unreadable", Health.DOWN, f"the store cannot be read: {fault}")
        if stored is None:
            return
        if stored.newest is None:
            words = "the site is not set up: open the link that smartproxy-backend wrote into its log at its start"
            yield Finding("no-site", Health.DOWN, words)
            return
        reach = self._service.reach
        if reach is not None and reach.apart and not reach.listens_at:
            words = (
                "the page's own port is not open: see listener.failed in the log, and 'smartproxy settings show "
                "backend.page'"
            )
            yield Finding("page-closed", Health.DEGRADED, words)
        if not any(until > self._now() for until in stored.licences.values()):
            words = "no licence is in force: smartproxy licence extend PROXY-ID, or licence issue PROXY-ID"
            yield Finding("unlicensed", Health.DOWN, words)
        if not stored.server.identities:
            words = "there is no server certificate that partners can be shown: smartproxy identity import NAME FILE"
            yield Finding("unconfigured", Health.DOWN, words)
        able = [row for row in stored.clients if row.entry.enabled]
        if not able:
            words = "no client is registered: smartproxy client add NAME"
            if stored.clients:
                words = "all clients are disabled: smartproxy client enable NAME"
            yield Finding("no-client", Health.DOWN, words)
        for row in able:
            if clients.is_silent(row, self._now()):
                words = f"the client {row.name} has never called: it learns of no change; see its log"
                if row.last_seen is not None:
                    since = instant(row.last_seen)
                    words = f"the client {row.name} has not called since {since}: it learns of no change; see its log"
                yield Finding("client-silent", Health.DEGRADED, words)
        for each in stored.downloads:
            if each.needed and each.fault is not None and self._is_pressing(each):
                again = "soon" if each.next_try is None else f"at {instant(each.next_try)}"
                words = (
                    f"the revocation list of the CA {each.ca} cannot be downloaded from {each.url}: {each.fault}; "
                    f"{each.failures} tries failed, the next one is {again}"
                )
                yield Finding("list-download", Health.DEGRADED, words)

    def _is_pressing(self, status: DownloadStatus) -> bool:
        """Whether a failing download endangers a CA: there is no list, it has run out, or it has failed for long."""
        ends = status.fresh_until
        is_over = ends is not None and ends <= self._now()
        return status.failures >= limits.DOWNLOAD_FAILURES_TOLD or status.list is None or is_over

    def sessions(self) -> list[dict[str, object]]:
        """None: sessions are the server's and the client's."""
        return []

    def partners(self) -> frozenset[str]:
        """The names of the partners in the configuration in force."""
        stored, _ = self._found
        return frozenset() if stored is None else frozenset(each.name for each in stored.server.partners)

    def generation(self) -> InForce:
        """The generation in force.

        :raises Refused: when the store cannot be read.
        """
        return _generation(self._stored())

    def licence(self) -> Licences:
        """The newest licence of each server.

        :raises Refused: when the store cannot be read.
        """
        return read_licences(self._stored().licence_texts, self._now())

    def kill(self, session: str) -> bool:
        """No session is here."""
        return False

    def _stored(self) -> _Stored:
        stored, fault = self._found
        if stored is None:
            raise Refused(f"the store cannot be read: {fault}")
        return stored


def _read(store: Store) -> tuple[_Stored | None, str, StoreFull | None]:
    """What the store says, or why it says nothing; and that there is no room for changes, if there is none."""
    try:
        with store.reading() as session:
            newest = history.listed(session, 1)
            document = generations.newest_document(session)
            rows = licences.newest(session)
            return (
                _Stored(
                    newest=newest[0] if newest else None,
                    clients=clients.listed(session),
                    licences={proxy_id: row.valid_until for proxy_id, row in rows.items()},
                    downloads=downloads.statuses(session),
                    licence_texts={proxy_id: row.text for proxy_id, row in rows.items()},
                    server=ServerConfiguration() if document is None else parse(document[1]).server,
                ),
                "",
                store.last_write.full or room_lacks(store.location),
            )
    except StoreFull as full:
        return None, str(full), full
    except (BackendError, SQLAlchemyError, ConfigurationRefused) as error:
        return None, str(error).partition("\n")[0], None


def _client(row: ClientRow) -> ToldClient:
    return ToldClient(
        client=row.name,
        enabled=row.entry.enabled,
        last_call=row.last_seen,
        version=row.last_version,
        address=row.last_address,
    )


def _download(status: DownloadStatus) -> ToldDownload:
    return ToldDownload(
        ca=status.ca,
        url=status.url,
        result=status.result,
        last_try=status.tried,
        next_try=status.next_try,
    )


def _generation(stored: _Stored | None) -> InForce:
    newest = None if stored is None else stored.newest
    return in_force(None if newest is None else Held(generation=newest.number, since=newest.made, by=newest.made_by))
