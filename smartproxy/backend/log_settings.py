"""The settings of the backend's own log, in force as soon as they are saved: a file, and a level.

Duty: put ``backend.log.path`` and ``backend.log.level`` in force at the start and after each change of the
configuration, whoever made it. Never waits for the store in the reactor. A file that cannot be written is told by the
log itself (``appender.failed``).
"""

from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from smartproxy.backend import generations, settings
from smartproxy.backend.rounds import STORE_LOOK_SECONDS, StoreRounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.emit import Events
from smartproxy.logs.log import Log
from smartproxy.logs.severity import Severity
from smartproxy.policy.causes import Cause
from smartproxy.policy.schema import read_object
from smartproxy.policy.settings import ApiLog


class LogSettings(StoreRounds):
    """Keeps the log as the settings say, between :meth:`start` and :meth:`stop`."""

    busy_seconds = fault_seconds = STORE_LOOK_SECONDS

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime, log: Log) -> None:
        super().__init__(store, runner, events, clock)
        self._log = log
        self._known = 0
        self._used = ApiLog()

    def start(self) -> None:
        """Put the settings in force, and look every second whether they are others."""
        self._use(self._read())
        super().start()

    async def look(self) -> float:
        """Put in force what was changed."""
        found = await self._runner.run(self._read)
        if self._rounds.running:
            self._use(found)
        return STORE_LOOK_SECONDS

    def _read(self) -> ApiLog:
        """The settings of the newest generation; those in use if it is the one that is known."""
        with self._store.reading() as session:
            newest = generations.newest_number(session)
            if newest == self._known:
                return self._used
            values = {key: settings.value_of(session, f"backend.log.{key}") for key in ("path", "level")}
        self._known = newest
        return read_object(ApiLog, values)

    def _use(self, wanted: ApiLog) -> None:
        used, self._used = self._used, wanted
        if wanted.path != used.path:
            self._log.also(None if wanted.path is None else Path(wanted.path))
            self._events.emit("backend.log_changed", path=wanted.path)
        if wanted.level is not used.level:
            self._events.set_level(
                None if wanted.level is None else Severity.named(wanted.level.value),
                cause=Cause.OPERATOR_SETTING,
                message="the setting backend.log.level",
            )
