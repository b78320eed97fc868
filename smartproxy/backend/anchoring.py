"""The audit trail's newest hash, told every hour, and what is found when the trail is looked at.

What was told is in the log, and where syslog sends it: out of reach of whoever can write to the store. At the daemon's
start the whole trail is examined, and every hour whether the record that was told last is still there.
"""

from collections.abc import Mapping
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.backend import audit
from smartproxy.backend.audit import Anchor
from smartproxy.backend.errors import StoreBusy, StoreOutdated
from smartproxy.backend.rounds import Rounds
from smartproxy.backend.store import Runner, Store
from smartproxy.backend.upkeep import BUSY_SECONDS, HOUR
from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause

_Told: TypeAlias = tuple[str, Mapping[str, object]]
"""An event's name and its fields."""

_FAULTS_TOLD_MOST = 10
_ADVICE = (
    "find out who wrote to the store; 'smartproxy audit verify' lists all faults, and a backup and the hashes in the "
    "log (audit.anchored) say what was there"
)


class Anchoring:
    """Tells the newest hash and looks at the trail, between :meth:`start` and :meth:`stop`."""

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime) -> None:
        self._store = store
        self._runner = runner
        self._events = events
        self._told: Anchor | None = None
        self._verified = False
        self._rounds = Rounds(clock, self._look)

    def start(self) -> None:
        """Look now, and every hour."""
        self._rounds.start()

    def stop(self) -> Deferred[None]:
        """Look no more; fires when the look that is going on has ended."""
        return self._rounds.stop()

    async def _look(self) -> float:
        """One look; return after how many seconds the next one comes."""
        try:
            for name, fields in await self._runner.run(self._found):
                self._events.emit(name, **fields)
        except StoreBusy:
            return BUSY_SECONDS
        except StoreOutdated:
            # The hourly look tells it.
            pass
        except Exception:
            self._events.failure("smartproxy.backend.anchoring", Failure())
        return HOUR

    def _found(self) -> list[_Told]:
        """The events of one look."""
        with self._store.reading() as session:
            broken: list[tuple[int | None, str]] = []
            if not self._verified:
                broken = [(each.number, each.what) for each in audit.verify(session).faults]
            elif self._told is not None and not audit.holds(session, self._told):
                number, hashed = self._told.number, self._told.hash
                broken = [(number, f"record {number} with the hash {hashed} is not there any more")]
            newest = audit.newest(session)
        self._told, self._verified = newest, True
        told: list[_Told] = [("audit.broken", _fields(number, what)) for number, what in broken[:_FAULTS_TOLD_MOST]]
        if newest is not None:
            told.append(("audit.anchored", {"record": newest.number, "hash": newest.hash}))
        return told


def _fields(number: int | None, what: str) -> Mapping[str, object]:
    place = {} if number is None else {"record": number}
    return {"cause": Cause.AUDIT_BROKEN, "message": what, "advice": _ADVICE, **place}
