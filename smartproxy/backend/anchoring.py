"""The audit trail's newest hash, told every hour, and what is found when the trail is looked at.

What was told is in the log, and where syslog sends it: out of reach of whoever can write to the store. At the daemon's
start the whole trail is examined, and every hour whether the record that was told last is still there.
"""

from collections.abc import Mapping
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime

from smartproxy.backend import audit
from smartproxy.backend.audit import Anchor
from smartproxy.backend.rounds import StoreRounds
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


class Anchoring(StoreRounds):
    """Tells the newest hash and looks at the trail, every hour."""

    busy_seconds = BUSY_SECONDS
    fault_seconds = HOUR

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime) -> None:
        super().__init__(store, runner, events, clock)
        self._told: Anchor | None = None
        self._verified = False

    async def look(self) -> float:
        """Tell the newest hash, and what is wrong with the trail."""
        for name, fields in await self._runner.run(self._found):
            self._events.emit(name, **fields)
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
