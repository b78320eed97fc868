"""What the daemon looks after by itself: it tells of revocation lists that are out of date.

A list that is out of date lets a CA's certificates be refused (or judged without it, where the CA says ``prefer``), so
it is told at the daemon's start and every hour until a newer list is loaded.
"""

from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from smartproxy.backend import cas, revocation
from smartproxy.backend.certificates import key_pin
from smartproxy.backend.store import Store
from smartproxy.backend.threads import Runner
from smartproxy.logs.emit import Events

HOUR = 3600.0


class Upkeep:
    """The hourly look, between :meth:`start` and :meth:`stop`."""

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime) -> None:
        self._store = store
        self._runner = runner
        self._events = events
        self._clock = clock
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Look now, and every hour."""
        self._looking.start(HOUR, now=True)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tell())

    async def _tell(self) -> None:
        try:
            found = await self._runner.run(self._stale)
        except Exception:
            self._events.failure("smartproxy.backend.upkeep", Failure())
            return
        for fields in found:
            self._events.emit("crl.stale", **fields)

    def _stale(self) -> list[dict[str, Any]]:
        """The fields of an event for each list whose successor should be here, of authorities that need it."""
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        with self._store.reading() as session:
            names = {
                key_pin(certificate): row.name
                for row in cas.listed(session)
                if row.revocation != "off"
                for certificate in cas.certificates_of(row)
            }
            return [
                {
                    "issuer": row.issuer,
                    "next_update": row.next_update,
                    "authority": names[row.issuer_key_sha256],
                    "age": (now - row.this_update).total_seconds(),
                    "advice": "load the newest list: smartproxy crl load FILE",
                }
                for row in revocation.listed(session)
                if row.next_update is not None and row.next_update <= now and row.issuer_key_sha256 in names
            ]
