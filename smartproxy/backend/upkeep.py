"""What the daemon looks after by itself: revocation lists that are out of date, what ends soon, and old events.

A list that is out of date lets a CA's certificates be refused (or judged without it, where the CA says ``prefer``), so
it is told at the daemon's start and every hour until a newer list is loaded. The ends of licences, certificates and
lists are told some days before (:mod:`smartproxy.backend.endings`). Events, and what was seen of certificates, are
deleted after so many days as the setting ``backend.keep_events_days`` says.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy.backend import cas, endings, figures, journal, revocation, settings, sightings
from smartproxy.backend.endings import WatchedEnd
from smartproxy.backend.errors import StoreOutdated, StoreUnavailable
from smartproxy.backend.old_rows import are_more
from smartproxy.backend.rounds import StoreRounds
from smartproxy.logs.clock import now
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.revocation import compared
from smartproxy.policy.partners import RevocationMode

_Found = TypeVar("_Found")

HOUR = 3600.0
BUSY_SECONDS = 60.0
"""After that long it looks again where the store was busy."""


class HourlyLook(StoreRounds):
    """Once an hour, and at the start: tells what is out of date or ends soon, and deletes what was kept long enough."""

    busy_seconds = BUSY_SECONDS
    fault_seconds = HOUR

    async def look(self) -> float:
        """Tell what is out of date or ends soon, and delete what was kept long enough."""
        stale = await self._done(self._stale)
        await self._forget_all()
        # Last: what it gives counts as told.
        ending = await self._done(self._ending)
        for fields in stale or ():
            self._events.emit("crl.stale", **fields)
        for each in ending or ():
            self._tell_ending(each)
        return HOUR

    async def _done(self, work: Callable[[], _Found]) -> _Found | None:
        """What a piece of work gives; nothing after a bug, which is reported and stops no other piece."""
        try:
            return await self._runner.run(work)
        except (CancelledError, StoreUnavailable):
            raise
        except Exception:
            self._events.failure(__name__, Failure())
            return None

    async def _forget_all(self) -> None:
        """Delete what was kept long enough, piece by piece: others write in between."""
        while await self._done(self._forget):
            await deferLater(self._clock, limits.DELETING_PAUSE_SECONDS)
            if not self._rounds.running:
                return

    def tell_away(self, fault: StoreUnavailable) -> None:
        """Tell it, for all looks."""
        name, cause = "store.busy", Cause.STORE_BUSY
        if isinstance(fault, StoreOutdated):
            name, cause = "store.outdated", Cause.STORE_OUTDATED
        self._events.emit(name, cause=cause, message=str(fault), place=__name__)

    def _tell_ending(self, ending: WatchedEnd) -> None:
        fields = {"valid_until": ending.until, "count": (ending.until - self._now()).days, "advice": ending.advice}
        if ending.cause is None:
            self._events.emit("licence.ending", **fields)
            return
        self._events.emit(
            "validity.ending",
            cause=ending.cause,
            message=ending.sentence,
            partner=ending.partner,
            ca=ending.ca,
            client=ending.client,
            **fields,
        )

    def _stale(self) -> list[dict[str, Any]]:
        """The fields of an event for each list whose successor is overdue, of CAs that need it."""
        present = self._now()
        with self._store.reading() as session:
            names = {
                (key, name): row.name
                for row, key, name in cas.signers(session)
                if row.entry.revocation is not RevocationMode.OFF
            }
            return [
                {
                    "issuer": row.issuer,
                    "list_part": row.scope.part,
                    "next_update": row.next_update,
                    "ca": names[row.issuer_key_sha256, compared(row.issuer)],
                    "age": (present - row.this_update).total_seconds(),
                    "advice": "load the newest list: smartproxy crl load FILE",
                }
                for row in revocation.listed(session)
                if row.fresh_until <= present and (row.issuer_key_sha256, compared(row.issuer)) in names
            ]

    def _ending(self) -> list[WatchedEnd]:
        """What ends soon, and is to be told."""
        with self._store.writing() as session:
            return endings.take(session, self._now())

    def _forget(self) -> bool:
        """Delete a piece of what was kept long enough; whether there may be more."""
        with self._store.writing() as session:
            days = settings.value_of(session, settings.KEEP_EVENTS_DAYS)
            assert isinstance(days, int)
            time = self._now()
            more = are_more(figures.forget_minutes(session, time))
            before = time - timedelta(days=days) if days else None
            sightings.forget(session, before, time)
            if before is not None:
                more = journal.forget(session, before).more or more
        return more

    def _now(self) -> datetime:
        return now(self._clock)
