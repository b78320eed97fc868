"""One session between its legs: carries events in and intents out, and decides nothing.

Duty: know which leg is which for :class:`~smartproxy.relay.session.Session`, run the session's deadlines, open and
close legs as it asks, and hand it one event after the other, also when a leg calls back while it is being called. An
exception while an event is handled ends this session only, and is reported once, without a peer's octets. Trusts the
session's intents, and its legs to keep the contract of :class:`~smartproxy.net.leg.ILeg`.
"""

import math
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.emit import Events
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd, Why
from smartproxy.oftp2.errors import SessionFault
from smartproxy.oftp2.roles import Role
from smartproxy.policy.causes import Cause
from smartproxy.policy.effort import Spent
from smartproxy.policy.faults import OwnFault, StationUnreachable
from smartproxy.policy.outcomes import Outcome
from smartproxy.relay import events as happened
from smartproxy.relay import intents
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.ending import Ending, Summary
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.openings import SessionFacts
from smartproxy.relay.session import Session
from smartproxy.relay.stages import Stage

_PLACE = "smartproxy.net.driver"
_NEVER: Final = math.inf

OpenLeg = Callable[[str, SessionFacts, Why], Deferred[ILeg]]
"""Opens the Responder's leg of a session, given its id and facts, and what says why it is canceled."""


@implementer(ILegReceiver)
class SessionDriver:
    """Runs one session.

    :param session: the session; not started yet.
    :param initiator: the leg of the Initiator.
    :param clock: runs the deadlines.
    :param events: where the session's events go.
    :param open_leg: opens the Responder's leg, given the id and the facts of the session; fails with a
        :class:`~smartproxy.oftp2.errors.SessionFault`. Its deferred is canceled when the leg is not needed any more:
        then the third argument, when called, says how the session ended.
    :param finished: called once when the session is over.
    :param ready: fires when the Responder has greeted, where the session waits for that; fails with the fault.
    """

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_alarm_due",
        "_begun",
        "_busy",
        "_clock",
        "_crashed",
        "_done",
        "_due",
        "_events",
        "_finished",
        "_initiator",
        "_open_leg",
        "_opening",
        "_ready",
        "_responder",
        "_session",
        "_soonest",
        "_unwanted",
        "_waiting",
    )

    def __init__(
        self,
        session: Session,
        initiator: ILeg,
        *,
        clock: IReactorTime,
        events: Events,
        open_leg: OpenLeg,
        finished: Callable[[Summary], None],
        ready: Deferred[None] | None = None,
    ) -> None:
        self._session = session
        self._initiator = initiator
        self._responder: ILeg | None = None
        self._clock = clock
        self._begun = float(clock.seconds())
        self._events = events
        self._open_leg = open_leg
        self._finished = finished
        self._ready = ready
        self._opening: Deferred[None] | None = None
        self._unwanted: intents.Abort | None = None
        self._due: dict[Timer, float] = {}
        self._alarm: IDelayedCall | None = None
        self._alarm_due = self._soonest = _NEVER
        self._waiting: tuple[happened.Event, ...] = ()
        self._busy = False
        self._crashed = False
        self._done = False

    def begin(self) -> None:
        """Start the session."""
        self._initiator.receiver = self
        self._run(self._session.start)
        self._go_on()

    def portrait(self) -> dict[str, object]:
        """The state of the session, and when it began, in the clock's seconds."""
        return {**self._session.portrait(), "since": self._begun}

    def spent(self) -> Spent:
        """What the partner's octets have cost, in seconds of time of day, and what they carried."""
        leg = self._leg(self._session.partner)
        carried = self._session.carried
        return Spent(
            seconds=0.0 if leg is None else leg.worked,
            octets=carried.octets,
            buffers=carried.buffers,
            commands=carried.commands,
        )

    def stop(self, fault: OwnFault, *, at_once: bool = True) -> None:
        """End the session for a reason of this site: the daemon stops, the tunnel is lost, an operator asks for it.

        :param at_once: whether to end it also in the middle of a file; otherwise at its next idle moment.
        """
        self._receive(happened.Stop(fault, at_once))

    # ILegReceiver

    def octets_received(self, leg: ILeg, octets: bytes) -> None:
        """Octets arrived."""
        role = Role.INITIATOR if leg is self._initiator else Role.RESPONDER
        self._receive(happened.Arrived(role, octets))

    def leg_ended(self, leg: ILeg, end: SharedEnd | None) -> None:
        """The other daemon ended its direction."""
        self._receive(happened.Ended(self._role(leg), end))

    def leg_lost(self, leg: ILeg, end: LegEnd) -> None:
        """A leg is gone."""
        self._receive(happened.Lost(self._role(leg), end.message))

    def leg_full(self, leg: ILeg) -> None:
        """A leg's send side is over its high-water mark."""
        self._receive(happened.LegFull(self._role(leg)))

    def leg_drained(self, leg: ILeg) -> None:
        """A leg's send side is empty again."""
        self._receive(happened.LegDrained(self._role(leg)))

    def _role(self, leg: ILeg) -> Role:
        return Role.INITIATOR if leg is self._initiator else Role.RESPONDER

    # One event after the other; exceptions end this session only.

    def _receive(self, event: happened.Event) -> None:
        if self._busy:
            self._waiting += (event,)
        elif not self._done:
            self._run(self._session.receive, event)
            if self._waiting:
                self._go_on()

    def _go_on(self) -> None:
        while self._waiting and not self._done:
            event, self._waiting = self._waiting[0], self._waiting[1:]
            self._run(self._session.receive, event)

    def _run(self, step: Callable[..., list[intents.Intent]], *event: happened.Event) -> None:
        self._busy = True
        try:
            for intent in step(*event):
                _PERFORMERS[intent.__class__](self, intent)
        except Exception:
            self._crash(Failure())
        finally:
            self._busy = False
            if self._soonest < self._alarm_due:
                self._set_alarm(self._soonest)

    def _crash(self, failure: Failure) -> None:
        """Report a bug; the first one ends the session in order, a second one at once."""
        self._events.failure(_PLACE, failure, session=self._session.session)
        if self._done:
            return
        if not self._crashed:
            self._crashed = True
            self._run(self._session.receive, happened.Bug())
        else:
            self._collapse()

    def _collapse(self) -> None:
        for leg in (self._initiator, self._responder):
            if leg is None:
                continue
            leg.receiver = None
            try:
                leg.abort()
            except Exception:
                self._events.failure(_PLACE, Failure(), session=self._session.session)
        ending = Ending(
            outcome=Outcome.FAILED,
            cause=Cause.INTERNAL_ERROR,
            message="a bug ended the session",
            stage=Stage.ENDING,
            ended_by=self._session.daemon,
        )
        self._end(intents.Done(Summary(session=self._session.session, ending=ending, fields={})))

    # Intents.

    def _send(self, intent: intents.Send) -> None:
        # As it is below, without the call: this is done for each piece of a file.
        leg = self._initiator if intent.leg is Role.INITIATOR else self._responder
        assert leg is not None
        leg.send(intent.octets)

    def _leg(self, role: Role) -> ILeg | None:
        return self._initiator if role is Role.INITIATOR else self._responder

    def _there(self, role: Role) -> ILeg:
        leg = self._leg(role)
        assert leg is not None
        return leg

    def _finish(self, intent: intents.Finish) -> None:
        self._there(intent.leg).finish(intent.end)

    def _abort(self, intent: intents.Abort) -> None:
        leg = self._leg(intent.leg)
        if leg is not None:
            leg.abort()
        elif self._opening is not None:
            self._unwanted = intent
            self._opening.cancel()

    def _why(self) -> SharedEnd | None:
        """How the session ended, once the Responder's leg is not needed any more."""
        return None if self._unwanted is None else self._unwanted.end

    def _pause(self, intent: intents.Pause) -> None:
        if self._session.recorder is not None:
            self._session.recorder.held(intent.leg)
        self._there(intent.leg).pause()

    def _resume(self, intent: intents.Resume) -> None:
        if self._session.recorder is not None:
            self._session.recorder.released(intent.leg)
        self._there(intent.leg).resume()

    def _report(self, intent: intents.Tell) -> None:
        self._events.emit(intent.name, **intent.fields)

    def _greeted(self, intent: intents.Ready) -> None:
        if self._ready is not None:
            self._ready.callback(None)

    def _not_greeted(self, intent: intents.NotReady) -> None:
        if self._ready is not None:
            self._ready.errback(intent.fault)

    def _end(self, intent: intents.Done) -> None:
        self._done = True
        self._due.clear()
        self._soonest = _NEVER
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._waiting = ()
        if self._ready is not None and not self._ready.called:
            # Only a bug ends a session without Ready or NotReady.
            self._ready.errback(StationUnreachable(rule=Cause.INTERNAL_ERROR, message="a bug ended the session"))
        self._finished(intent.summary)

    # Deadlines: one call of the clock for all of them. It comes when the one that it was set for would have been due,
    # also if that one was disarmed or moved meanwhile, as most of them are.

    def _arm(self, intent: intents.Arm) -> None:
        due = self._due[intent.timer] = self._clock.seconds() + intent.seconds
        if due < self._soonest:
            # When all intents of this event are carried out: several deadlines begin at once.
            self._soonest = due

    def _disarm(self, intent: intents.Disarm) -> None:
        self._due.pop(intent.timer, None)

    def _set_alarm(self, due: float) -> None:
        # Not moved by reset: to call sooner, Twisted looks for the call among those of all sessions, one by one.
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._look)
        self._alarm_due = self._soonest = due

    def _look(self) -> None:
        """Tell the session of the deadlines that have passed, the first one first."""
        # The time of a call is a sum of floats: by its rounding, the call may come a moment early.
        now = max(self._clock.seconds(), self._alarm_due)
        self._alarm, self._alarm_due, self._soonest = None, _NEVER, _NEVER
        for timer, due in sorted(self._due.items(), key=lambda each: each[1]):
            if due <= now and self._due.get(timer) == due:
                del self._due[timer]
                self._receive(happened.TimedOut(timer))
        first = min(self._due.values(), default=_NEVER)
        if first < self._alarm_due:
            self._set_alarm(first)

    # The Responder's leg.

    def _open(self, intent: intents.Open) -> None:
        opening = self._open_leg(self._session.session, intent.facts, self._why)
        self._opening = opening.addCallbacks(
            self._opened, self._open_failed, callbackArgs=(intent.leg,), errbackArgs=(intent.leg,)
        )

    def _opened(self, leg: ILeg, role: Role) -> None:
        if self._unwanted is not None:
            # Whoever opens it may have been too far to cancel it.
            leg.abort()
            return
        self._responder = leg
        leg.receiver = self
        self._receive(happened.LegOpened(role))

    def _open_failed(self, failure: Failure, role: Role) -> None:
        fault = failure.value
        if self._unwanted is not None:
            return
        if isinstance(fault, SessionFault) and not isinstance(fault, OwnFault):
            # The other daemon refused the session by its policy: for this one, the other side is unreachable.
            fault = StationUnreachable(rule=fault.rule, message=fault.message)
        elif not isinstance(fault, OwnFault):
            self._events.failure(_PLACE, failure, session=self._session.session)
            fault = StationUnreachable(rule=Cause.OPENING_FAILED, message="the other side could not be opened")
        self._receive(happened.OpenFailed(role, fault))


_PERFORMERS: Final[dict[type, Callable[..., object]]] = {
    intents.Send: SessionDriver._send,
    intents.Finish: SessionDriver._finish,
    intents.Abort: SessionDriver._abort,
    intents.Open: SessionDriver._open,
    intents.Ready: SessionDriver._greeted,
    intents.NotReady: SessionDriver._not_greeted,
    intents.Pause: SessionDriver._pause,
    intents.Resume: SessionDriver._resume,
    intents.Arm: SessionDriver._arm,
    intents.Disarm: SessionDriver._disarm,
    intents.Tell: SessionDriver._report,
    intents.Done: SessionDriver._end,
}
"""What a driver does for each intent: one table for all, so that a session that waits costs little."""
