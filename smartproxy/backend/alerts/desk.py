"""What works off the alerts that wait in the store, once a second: starts the event script, and tells of ignore rules.

The store is the queue, so that nothing is forgotten when the backend ends. An alert is claimed before its program is
started: ``due`` is put beyond the program's time limit. If its end was never noted, because the backend was killed, it
is begun once more after that; if the backend is told to stop, the program is ended and the alert is due at once. What
still runs in this process is not begun again, whatever the clock says. So an event starts its script at least once, and
at most twice. Several backends on one store claim each alert once. Events that became too old meanwhile start nothing.
What fails is an event, and events of this package start nothing.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import attrs
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from smartproxy.backend import journal
from smartproxy.backend.alert_tables import AlertRow, IgnoreRow
from smartproxy.backend.alerts import ignore_rules
from smartproxy.backend.alerts.ignore_rules import IgnoreRuleState
from smartproxy.backend.alerts.intake import AlertChannel, AlertState, backend_settings, take_dropped
from smartproxy.backend.alerts.script import EventScripts, ScriptRun
from smartproxy.backend.errors import StoreBusy, StoreReadOnly
from smartproxy.backend.journal import StoredEvent
from smartproxy.backend.rounds import STORE_LOOK_SECONDS, StoreRounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.logs.fields import Value
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.settings import BackendSettings

_SPARE: Final = timedelta(seconds=30)
"""How long after its time limit a run counts as lost, whose end was not noted."""
_PLACE: Final = "smartproxy.backend.alerts.desk"
_SCRIPT: Final = AlertRow.channel == AlertChannel.SCRIPT.value


@attrs.frozen(kw_only=True)
class ScriptStart:
    """A run of the event script that was claimed.

    :ivar attempt: the first, or the second after one whose end was not noted.
    """

    alert: int
    event: StoredEvent
    attempt: int
    program: str
    seconds: int

    def document(self) -> dict[str, Value]:
        """What the program is told."""
        return {**self.event.document(), "attempt": self.attempt}


@attrs.frozen(kw_only=True)
class IgnoreHits:
    """Hits of a rule that were not told yet."""

    name: str
    count: int
    event: str
    event_number: int


@attrs.define(kw_only=True)
class Agenda:
    """What a look into the store found to do."""

    starts: list[ScriptStart] = attrs.field(factory=list)
    given_up: list[StoredEvent] = attrs.field(factory=list)
    dropped: int = 0
    hits: list[IgnoreHits] = attrs.field(factory=list)
    expired: list[IgnoreRuleState] = attrs.field(factory=list)


class AlertDesk(StoreRounds):
    """Works off the alerts, between :meth:`start` and :meth:`stop`.

    :param runner: where the store is asked.
    :param scripts: where programs are waited for.
    """

    busy_seconds = STORE_LOOK_SECONDS

    def __init__(
        self,
        store: Store,
        runner: Runner,
        scripts: Runner,
        events: Events,
        clock: IReactorTime,
        programs: EventScripts | None = None,
    ) -> None:
        super().__init__(store, runner, events, clock)
        self._scripts = scripts
        self._programs = programs or EventScripts()
        self._running: dict[int, Deferred[None]] = {}
        self._stopped = False

    def stop(self) -> Deferred[None]:
        """End the programs that run, and have their events start them again; fires when that is noted."""
        self._stopped = True
        ended = super().stop()
        self._programs.stop()
        return Deferred.fromCoroutine(self._finish(ended))

    async def _finish(self, ended: Deferred[None]) -> None:
        await ended
        await DeferredList(list(self._running.values()))

    async def look(self) -> float:
        """Do what is to be done."""
        agenda = await self._runner.run(self._agenda, frozenset(self._running))
        self._tell(agenda)
        for each in agenda.starts:
            self._running[each.alert] = Deferred()
            Deferred.fromCoroutine(self._run(each))
        return STORE_LOOK_SECONDS

    def _tell(self, agenda: Agenda) -> None:
        for hit in agenda.hits:
            self._events.emit(
                "ignore.hit", ignored_by=hit.name, count=hit.count, event=hit.event, event_number=hit.event_number
            )
        for over in agenda.expired:
            self._events.emit("ignore.expired", ignored_by=over.rule.name, until=over.rule.valid_until, count=over.hits)
        if agenda.dropped:
            self._events.emit(
                "event_script.dropped",
                count=agenda.dropped,
                cause=Cause.SCRIPT_QUEUE,
                message="more events wait for the event script than backend.event_script.waiting allows",
                advice="raise backend.event_script.level, allow more at once (backend.event_script.at_once), or "
                "silence known events: smartproxy ignore add",
            )
        for event in agenda.given_up:
            self._events.emit(
                "event_script.failed",
                cause=Cause.SCRIPT_INTERRUPTED,
                message="the backend ended twice while the event script ran for the event; it is not started again",
                event=event.name,
                event_number=event.number,
                partner=event.fields.get("partner"),
            )

    async def _run(self, start: ScriptStart) -> None:
        """Run the script once, and note what came of it."""
        try:
            run = await self._scripts.run(self._programs.run, start.program, start.document(), float(start.seconds))
            if run.cause is not None:
                self._tell_failed(start, run)
            await self._noted(start, run)
        except Exception:
            self._events.failure(_PLACE, Failure())
        finally:
            self._running.pop(start.alert).callback(None)
            self._rounds.wake()

    def _tell_failed(self, start: ScriptStart, run: ScriptRun) -> None:
        self._events.emit(
            "event_script.failed",
            cause=run.cause,
            message=run.message,
            event=start.event.name,
            event_number=start.event.number,
            partner=start.event.fields.get("partner"),
            path=start.program,
            exit_status=run.exit_status,
            seconds=run.seconds,
            detail=run.output.replace("\n", " | ")[-limits.ALERT_DETAIL_CHARACTERS :] or None,
            advice="try it: smartproxy event-script test",
        )

    async def _noted(self, start: ScriptStart, run: ScriptRun) -> None:
        while True:
            try:
                await self._runner.run(self._note, start, run)
            except (StoreBusy, StoreReadOnly):
                if self._stopped:
                    # It counts as lost, and is begun again after the restart.
                    return
                await deferLater(self._clock, STORE_LOOK_SECONDS)
            else:
                return

    def _note(self, start: ScriptStart, run: ScriptRun) -> None:
        with self._store.writing() as session:
            row = session.get(AlertRow, start.alert)
            if row is None:
                return
            if run.interrupted:
                # This run does not count: it was us who ended it.
                row.due, row.attempts = self._now(), start.attempt - 1
                return
            row.state = (AlertState.DONE if run.cause is None else AlertState.FAILED).value
            row.ended = self._now()
            row.cause = None if run.cause is None else run.cause.value
            row.exit_status, row.output = run.exit_status, run.output

    def _agenda(self, running: Collection[int]) -> Agenda:
        """What is to be done now; what is started is claimed."""
        with self._store.reading() as session:
            if not self._anything(session, running):
                return Agenda()
        agenda = Agenda()
        with self._store.writing() as session:
            settings = backend_settings(session)
            agenda.hits = _untold(session)
            agenda.expired = ignore_rules.take_expired(session, self._now())
            agenda.dropped = take_dropped(session, AlertChannel.SCRIPT)
            self._claim(session, settings, running, agenda)
        return agenda

    def _anything(self, session: Session, running: Collection[int]) -> bool:
        """Whether there is anything to do, which is asked once a second and is seldom so."""
        dropped = AlertRow.state == AlertState.DROPPED.value
        due = select(AlertRow.id).where(_SCRIPT, dropped | _due(self._now(), running))
        if session.scalar(due.limit(1)) is not None:
            return True
        rules = session.scalars(select(IgnoreRow))
        return any(row.hits != row.told or row.entry.is_over(self._now()) for row in rules)

    def _claim(self, session: Session, settings: BackendSettings, running: Collection[int], agenda: Agenda) -> None:
        script, present = settings.event_script, self._now()
        if len(running) >= script.at_once:
            return
        oldest = present - timedelta(hours=script.hours)
        query = select(AlertRow).where(_SCRIPT, _due(present, running)).order_by(AlertRow.id)
        rows = session.scalars(query.limit(limits.ALERTS_AT_ONCE)).all()
        events = journal.of_numbers(session, [row.event for row in rows])
        for row in rows:
            event = events.get(row.event)
            if event is None or event.time < oldest or script.program is None:
                row.state = AlertState.OLD.value
                row.ended = present
            elif row.attempts >= limits.SCRIPT_ATTEMPTS_MOST:
                row.state, row.cause = AlertState.FAILED.value, Cause.SCRIPT_INTERRUPTED.value
                row.ended = present
                agenda.given_up.append(event)
            elif len(running) + len(agenda.starts) < script.at_once and _claimed(session, row, present, script.seconds):
                agenda.starts.append(
                    ScriptStart(
                        alert=row.id,
                        event=event,
                        attempt=row.attempts + 1,
                        program=script.program,
                        seconds=script.seconds,
                    )
                )

    def _now(self) -> datetime:
        return now(self._clock)


def _due(present: datetime, running: Collection[int]) -> ColumnElement[bool]:
    """Which alerts wait and are due: none that runs here, which the clock may have overtaken."""
    return (AlertRow.state == AlertState.WAITING.value) & (AlertRow.due <= present) & AlertRow.id.not_in(running)


def _claimed(session: Session, row: AlertRow, present: datetime, seconds: int) -> bool:
    """Claim an alert; false if another backend was faster."""
    until = present + timedelta(seconds=seconds) + _SPARE
    query = update(AlertRow).where((AlertRow.id == row.id) & (AlertRow.due == row.due))
    query = query.values(due=until, attempts=row.attempts + 1).execution_options(synchronize_session=False)
    result = session.execute(query)
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def _untold(session: Session) -> list[IgnoreHits]:
    """The hits of rules that were not told yet; they are noted as told."""
    found = []
    query = select(IgnoreRow).where(IgnoreRow.hits != IgnoreRow.told).order_by(IgnoreRow.name).with_for_update()
    for row in session.scalars(query).all():
        number = row.last_event or 0
        event = journal.of_numbers(session, [number]).get(number)
        name = "?" if event is None else event.name
        found.append(IgnoreHits(name=row.name, count=row.hits - row.told, event=name, event_number=number))
        row.told = row.hits
    return found
