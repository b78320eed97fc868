"""Downloads trust lists by their schedule, and takes what comes; tells of lists whose successor is overdue."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.backend import trust_lists
from smartproxy.backend.errors import NotFound, StoreUnavailable, Unusable
from smartproxy.backend.fetching import Fetched, ListFetcher, NotFetched
from smartproxy.backend.rounds import AGAIN_SECONDS, StoreRounds
from smartproxy.backend.store import Runner, Store
from smartproxy.backend.trust_lists import DueTrustList
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.record import Record
from smartproxy.policy.causes import Cause


class TrustListWatch(StoreRounds):
    """The look, every minute; what it tells is stored with what it takes.

    :param chance: gives numbers from 0 to 1, at random.
    """

    def __init__(
        self,
        store: Store,
        runner: Runner,
        events: Events,
        clock: IReactorTime,
        fetcher: ListFetcher,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(store, runner, events, clock)
        self._fetcher = fetcher
        self._chance = chance
        self._fetching: Deferred[Fetched] | None = None

    def stop(self) -> Deferred[None]:
        """Stop looking, and give up the download that is under way."""
        stopped = super().stop()
        if self._fetching is not None:
            self._fetching.cancel()
        return stopped

    async def look(self) -> float:
        """Download what is due, and tell what is overdue."""
        try:
            for each in await self._runner.run(self._due):
                # A stop may have come while the store was asked.
                if not self._rounds.running:
                    return AGAIN_SECONDS
                await self._download(each)
            if not self._rounds.running:
                return AGAIN_SECONDS
            self._events.log_stored(await self._runner.run(self._overdue))
        except CancelledError:
            # Stopped within a download.
            pass
        return AGAIN_SECONDS

    async def _download(self, due: DueTrustList) -> None:
        try:
            self._fetching = Deferred.fromCoroutine(self._fetcher.fetch(due.wanted))
            try:
                fetched = await self._fetching
            finally:
                self._fetching = None
            self._events.log_stored(await self._runner.run(self._take, due, fetched))
        except NotFetched as fault:
            await self._note_failed(due, fault.cause, str(fault))
        except Unusable as refused:
            cause = getattr(refused, "cause", Cause.TRUST_LIST_XML)
            await self._note_failed(due, cause, str(refused))
        except NotFound:
            # It was removed meanwhile.
            return
        except (CancelledError, StoreUnavailable):
            raise
        except Exception as fault:
            # One list must not keep the others from being downloaded.
            self._events.failure(__name__, Failure())
            message = f"a fault of the backend kept the list from being taken ({type(fault).__name__}); "
            message += "see internal.error in its log"
            await self._note_failed(due, Cause.TRUST_LIST_XML, message)

    async def _note_failed(self, due: DueTrustList, cause: Cause, message: str) -> None:
        """Note that a try failed, and tell it, unless the list was removed meanwhile."""
        try:
            self._events.log_stored(await self._runner.run(self._failed, due, cause, message))
        except NotFound:
            return

    def _due(self) -> Sequence[DueTrustList]:
        with self._store.reading() as session:
            return trust_lists.due(session, self._now())

    def _take(self, due: DueTrustList, fetched: Fetched) -> list[Record]:
        told: list[Record] = []
        with self._store.writing() as session:
            if fetched.octets is not None:
                told = trust_lists.take(session, due.name, fetched.octets, self._now())
            trust_lists.succeeded(session, due.name, fetched, self._now())
        return told

    def _failed(self, due: DueTrustList, cause: Cause, message: str) -> list[Record]:
        with self._store.writing() as session:
            return trust_lists.failed(session, due.name, cause, message, self._now(), self._chance())

    def _overdue(self) -> list[Record]:
        with self._store.reading() as session:
            if not any(each.next_update is not None for each in trust_lists.listed(session)):
                return []
        with self._store.writing() as session:
            return trust_lists.overdue(session, self._now())

    def _now(self) -> datetime:
        return now(self._clock)
