"""The downloads of revocation lists that the backend makes by itself.

Every few seconds it looks which lists are due, and what certificates have named since. Lists of one CA are downloaded
one after the other, and those of few CAs at a time: a host that answers slowly holds up its own CA only. What comes is
read in a process of its own (:mod:`smartproxy.backend.lists_apart`), is taken only if a certificate of that CA signed
it, and becomes a generation only if it says something else than the list in force. The store's work runs in its
threads; what waits for a process that reads has threads of its own, so that no answer keeps others from the store.
"""

import enum
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from shlex import quote

from cryptography import x509
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.backend import downloads, revocation
from smartproxy.backend.change import Change, Channel
from smartproxy.backend.downloads import DownloadStatus, Due, Proposal
from smartproxy.backend.errors import BackendError, NotFound, StoreUnavailable
from smartproxy.backend.fetching import Fetched, ListFetcher, NotFetched
from smartproxy.backend.generations import changing
from smartproxy.backend.list_contents import ParsedList
from smartproxy.backend.lists_apart import ListsApart
from smartproxy.backend.rounds import StoreRounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause

AUTHOR = "smartproxy-backend"
"""Who makes the generations of downloaded lists."""
_PLACE = "smartproxy.backend.download_watch"
_QUIET_SECONDS = 3_600.0
"""After that long it looks again where it failed for a reason that does not pass by itself."""


class _Work(enum.Enum):
    """What is done for a CA."""

    APPROVE = enum.auto()
    DOWNLOAD = enum.auto()


class DownloadWatch(StoreRounds):
    """The downloads, between :meth:`start` and :meth:`stop`.

    :param readers: runs what reads the answers.
    :param parse: reads what was downloaded; by default in a process of its own, which a stop ends.
    :param chance: gives numbers from 0 to 1, at random.
    """

    busy_seconds = limits.DOWNLOADS_LOOK_SECONDS
    fault_seconds = _QUIET_SECONDS

    def __init__(
        self,
        store: Store,
        runner: Runner,
        events: Events,
        clock: IReactorTime,
        fetcher: ListFetcher,
        readers: Runner,
        *,
        parse: Callable[[bytes, str, Sequence[x509.Certificate]], ParsedList] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(store, runner, events, clock)
        self._fetcher = fetcher
        self._readers = readers
        self._apart = ListsApart()
        self._parse = parse or self._apart.parse
        self._chance = chance
        self._calling: dict[str, Deferred[None]] = {}
        self._quiet_until: dict[tuple[_Work, str], float] = {}

    def stop(self) -> Deferred[None]:
        """Stop looking, and give up the downloads that are under way."""
        stopped = super().stop()
        for call in list(self._calling.values()):
            call.cancel()
        self._apart.stop()
        return stopped

    async def look(self) -> float:
        """Tell the addresses that were proposed, and begin the downloads that are due."""
        for ca in await self._runner.run(self._willing):
            await self._approve(ca)
        proposals = await self._runner.run(self._untold)
        due = await self._runner.run(self._due)
        for each in proposals:
            advice = f"check the address, then: smartproxy crl approve {quote(each.ca)}"
            self._events.emit("crl.proposed", ca=each.ca, url=each.url, advice=advice)
        if self._rounds.running:
            self._begin(due)
        return limits.DOWNLOADS_LOOK_SECONDS

    def _begin(self, due: Sequence[Due]) -> None:
        """Begin what is due, CA by CA, as far as there is room."""
        waiting: dict[str, list[Due]] = {}
        for each in due:
            waiting.setdefault(each.ca, []).append(each)
        for ca, those in waiting.items():
            if self._is_quiet(_Work.DOWNLOAD, ca):
                continue
            if ca not in self._calling and len(self._calling) < limits.DOWNLOADS_AT_ONCE_MOST:
                done = Deferred.fromCoroutine(self._of_one_ca(those))
                self._calling[ca] = done
                done.addBoth(self._over, ca)

    def _over(self, result: object, ca: str) -> None:
        del self._calling[ca]
        if isinstance(result, Failure) and not result.check(CancelledError):
            # Not even that it failed could be noted.
            self._quieten(_Work.DOWNLOAD, ca, result)

    def _quieten(self, work: _Work, ca: str, fault: Failure) -> None:
        """Report a bug, and leave this work for its CA for a while; others need their lists all the same."""
        self._quiet_until[work, ca] = self._clock.seconds() + _QUIET_SECONDS
        self._events.failure(_PLACE, fault)

    def _is_quiet(self, work: _Work, ca: str) -> bool:
        return self._clock.seconds() < self._quiet_until.get((work, ca), 0.0)

    async def _of_one_ca(self, due: Sequence[Due]) -> None:
        for each in due:
            try:
                await self._download(each)
            except StoreUnavailable:
                return
            except CancelledError:
                raise
            except Exception as fault:
                # Whoever answers at one address must not keep the other lists from being downloaded.
                self._events.failure(_PLACE, Failure())
                await self._tell(
                    each,
                    Cause.CRL_UNUSABLE,
                    f"a fault of the backend kept its answer from being taken ({type(fault).__name__}); "
                    "see internal.error in its log",
                )

    async def _download(self, due: Due) -> None:
        try:
            fetched = await self._fetcher.fetch(due.wanted)
            if fetched.octets is None:
                await self._runner.run(self._keep, due, fetched)
                return
            issuers = await self._runner.run(self._issuers, due.ca)
            parsed = await self._readers.run(self._parse, fetched.octets, f"the answer of {due.wanted.url}", issuers)
            await self._runner.run(self._take, due, fetched, parsed)
        except StoreUnavailable:
            raise
        except NotFetched as fault:
            await self._tell(due, fault.cause, str(fault))
        except BackendError as fault:
            await self._tell(due, Cause.CRL_UNUSABLE, str(fault))

    async def _tell(self, due: Due, cause: Cause, message: str) -> None:
        """Note a failure, and report it."""
        try:
            status = await self._runner.run(self._failed, due, message)
        except NotFound:
            return
        present, again = self._now(), status.next_try
        self._events.emit(
            "crl.download_failed",
            cause=cause,
            message=message,
            ca=due.ca,
            url=due.wanted.url,
            seconds=None if again is None else (again - present).total_seconds(),
            count=status.failures,
            next_update=status.next_update,
            advice="try it yourself, then: smartproxy crl load FILE; or reject the address: "
            f"smartproxy crl reject {quote(due.ca)} ADDRESS",
        )

    async def _approve(self, ca: str) -> None:
        """Approve what the backend is to approve by itself of a CA."""
        if self._is_quiet(_Work.APPROVE, ca):
            return
        try:
            await self._runner.run(self._approved, ca)
        except (CancelledError, StoreUnavailable):
            raise
        except Exception:
            self._quieten(_Work.APPROVE, ca, Failure())

    def _willing(self) -> list[str]:
        with self._store.reading() as session:
            return downloads.by_themselves(session)

    def _approved(self, ca: str) -> None:
        with self._changing(f"crl approve {ca} (by itself)") as change:
            downloads.approve_what_fits(change, ca)

    def _untold(self) -> list[Proposal]:
        """The proposals that are to be told."""
        with self._store.reading() as session:
            news = downloads.untold(session)
        if news:
            with self._store.writing() as session:
                downloads.told(session, news, self._now())
        return news

    def _due(self) -> list[Due]:
        with self._store.reading() as session:
            return downloads.due(session, self._now())

    def _keep(self, due: Due, fetched: Fetched) -> None:
        """Note that the list has not changed."""
        with self._store.writing() as session:
            found = downloads.same(session, due.ca, due.wanted.url)
            if found is None:
                raise NotFetched(Cause.CRL_ANSWER, "it has not changed, but the list is not in force any more")
            downloads.succeeded(session, due, fetched, found, self._now(), self._chance)

    def _issuers(self, ca: str) -> list[x509.Certificate]:
        """The certificates that may have signed a list of a CA."""
        with self._store.reading() as session:
            return [certificate for _, certificate in revocation.issuers_of(session, ca)]

    def _take(self, due: Due, fetched: Fetched, parsed: ParsedList) -> None:
        """Put a list in force, unless it is in force already."""
        with self._store.writing() as session:
            found = revocation.in_force(session, parsed, due.ca)
            if found is not None:
                downloads.succeeded(session, due, fetched, found, self._now(), self._chance)
                return
        what = f"crl download {due.ca} {due.wanted.url}"
        with self._changing(what) as change:
            (loaded,) = revocation.load(change, [parsed], ca=due.ca, url=due.wanted.url)
            downloads.succeeded(
                change.session, due, fetched, revocation.find(change.session, loaded.row), self._now(), self._chance
            )

    def _failed(self, due: Due, message: str) -> DownloadStatus:
        with self._store.writing() as session:
            return downloads.failed(session, due, message, self._now(), self._chance)

    def _changing(self, what: str) -> AbstractContextManager[Change]:
        """A change of the configuration by the backend itself."""
        return changing(self._store, by=AUTHOR, what=what, now=self._now(), channel=Channel.BACKEND)

    def _now(self) -> datetime:
        return now(self._clock)
