"""How a session ends: by a peer's ESID, by a fault, by the loss of a leg, or because this site wants it.

Duty: find who began the end, say what each side is told, close both legs, and report the session once, when both are
gone. Holds what a session knows; what happens before the end is in :mod:`smartproxy.relay.session`, whose theory of
operation says how the two daemons share one ending. Never looks at a clock.

Standards: RFC 5024 sections 3.4.2 (abnormal release), 4.6 and 9.9 (ESID), 5.3.11.
"""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from smartproxy.oftp2.commands import ESID, SFID, SSID
from smartproxy.oftp2.errors import EsidReason, ProtocolError, SessionFault
from smartproxy.oftp2.judgement import Observation
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import ROLES, Role
from smartproxy.oftp2.witness import State
from smartproxy.policy import faults
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.policy.settings import Deadlines
from smartproxy.relay import events
from smartproxy.relay.deadlines import Timer, late_role, not_there
from smartproxy.relay.ending import Ending, summarize
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.intents import Arm, Disarm, Done, Intent, NotReady
from smartproxy.relay.legs import Legs, LegState, Reasons
from smartproxy.relay.openings import Mode, Opening
from smartproxy.relay.recorder import Recorder
from smartproxy.relay.reports import FileLedger, Reporter
from smartproxy.relay.stages import Stage

_NEITHER: Final[frozenset[Role]] = frozenset()
"""One for all sessions: an empty set is as large as one of a few."""

IDLE_STATES: Final = frozenset({State.IDLE, State.IDLE_TURNED})
"""Nothing is under way, whoever has the turn."""

_REASONS: Final[Mapping[int, EsidReason]] = {reason.value: reason for reason in EsidReason}


@lru_cache(maxsize=8)
def _inactivity(seconds: float) -> Arm:
    """The same for all sessions."""
    return Arm(Timer.INACTIVITY, seconds)


class SessionEnds:
    """What a session knows, and how it ends."""

    __slots__ = (
        "_armed",
        "_deadlines",
        "_discarded",
        "_ending",
        "_files",
        "_full",
        "_held",
        "_intents",
        "_legs",
        "_monitor",
        "_opening",
        "_quiet",
        "_ssid",
        "_tolerated",
        "_wish",
        "daemon",
        "recorder",
        "reporter",
        "session",
        "stage",
    )

    def __init__(self, session: str, opening: Opening, monitor: Monitor, deadlines: Deadlines) -> None:
        self.session = session
        self.daemon = opening.daemon
        self.stage = Stage.IDENTIFYING if opening.mode is Mode.GREET else Stage.OPENING
        self._opening = opening
        self._monitor = monitor
        self._deadlines = deadlines
        self.reporter = Reporter(session, opening)
        self._files = FileLedger(opening.partner)
        self._legs = Legs(opening, monitor)
        self._full = _NEITHER
        self._armed: list[Timer] = []
        self._quiet = _inactivity(deadlines.inactivity)
        self._held = b""
        self._ssid: SSID | None = None
        self._tolerated: Counter[int] | None = None
        self._discarded = 0
        self._wish: OwnFault | None = None
        self._ending: Ending | None = None
        # There while something happens only: what is done does not stay.
        self._intents: list[Intent]
        self.recorder: Recorder | None = None

    def _released(self, release: Observation) -> None:
        """An ESID was relayed: what the other side still says is not wanted any more."""
        assert isinstance(release.value, ESID)
        reason, leg = EsidReason(release.value.reas), release.sender
        normal = reason is EsidReason.NORMAL
        ending = Ending(
            outcome=Outcome.COMPLETED if normal else Outcome.ABORTED,
            cause=Cause.SESSION_COMPLETED if normal else Cause.SESSION_ABORTED,
            message=f"the {self._opening.side(leg)} ended the session with ESID {reason:02d}",
            stage=self.stage,
            ended_by=self._opening.side(leg),
            by=leg,
            reason=reason,
        )
        if not self.stage.joined:
            self._intents.append(self.reporter.closed(ending))
        self._end(ending, {})

    def _violated(self, error: ProtocolError, excerpt: str, leg: Role) -> None:
        tell = {leg: error.reason, leg.other: EsidReason.UNSPECIFIED_ABORT}
        ending = Ending.of(error, Outcome.VIOLATED, self.stage, self._opening.side(leg), leg)
        self._intents.append(self.reporter.violated(error, excerpt, ending, self._told(tell)))
        self._end(ending, tell)

    def _refuse(self, refusal: faults.PolicyRefusal | OwnFault, refused: SSID | SFID, role: Role) -> None:
        """Do not accept an SSID or a file; an SSID that is only excused is told the fault's own words."""
        if isinstance(refusal, OwnFault):
            self._legs.excuse = refusal.message
        tell = {role: refusal.reason, role.other: EsidReason.UNSPECIFIED_ABORT}
        ending = Ending.of(refusal, Outcome.REFUSED, self.stage, self._blamed(refusal), role)
        self._intents.append(self.reporter.refused(ending, self._told(tell), refused))
        self._end(ending, tell)

    def _excuse(self, event: events.OpenFailed) -> None:
        self._legs.become(event.leg, LegState.GONE)
        self._unreachable(event.fault)

    def _unreachable(self, fault: OwnFault) -> None:
        tell = {Role.INITIATOR: fault.reason}
        ending = Ending.of(fault, Outcome.UNREACHABLE, self.stage, self._blamed(fault))
        if self._opening.mode is Mode.AWAIT:
            self._intents.append(self.reporter.unreachable(ending))
        else:
            self._intents.append(self.reporter.refused(ending, self._told(tell), self._ssid))
        self._end(ending, tell)

    def _miss(self, event: events.TimedOut) -> None:
        timer = event.timer
        if timer is Timer.INITIATOR_BUFFER:
            self._blame(event)
            return
        self._has_passed(timer)
        message = f"the {self._opening.side(Role.RESPONDER)} {not_there(timer, self._deadlines)}"
        self._unreachable(self._absent(timer.cause, message))

    def _absent(self, cause: Cause, message: str) -> OwnFault:
        """The fault of a Responder that was reached and did not greet."""
        if self._opening.side(Role.RESPONDER) is Participant.PARTNER:
            return faults.PartnerUnreachable.at(faults.Step.SSRM, message, cause)
        return faults.StationUnreachable(rule=cause, message=message)

    def _blame(self, event: events.TimedOut) -> None:
        timer = event.timer
        self._has_passed(timer)
        seconds = getattr(self._deadlines, timer.setting)
        late = late_role(timer, self._monitor, self._full)
        message = f"the {self._opening.side(late)} let {seconds} s pass"
        fault = faults.Expired(rule=timer.cause, message=message)
        tell = {late: fault.reason, late.other: EsidReason.UNSPECIFIED_ABORT}
        ending = Ending.of(fault, Outcome.EXPIRED, self.stage, self._opening.side(late), late)
        self._intents.append(self.reporter.expired(timer, seconds, ending, self._told(tell)))
        self._end(ending, tell)

    def _lose(self, event: events.Lost) -> None:
        leg = event.leg
        self._legs.become(leg, LegState.GONE)
        message = f"the connection to the {self._opening.leg(leg)} was lost: {event.cause}"
        if leg is self._opening.tunnel:
            fault = faults.LegLost(rule=Cause.TUNNEL_LOST, message=message)
            self._break_off(fault, Outcome.LOST, Participant.NOBODY, leg)
        elif leg is Role.RESPONDER and self.stage is Stage.GREETING:
            self._unreachable(self._absent(Cause.LEG_LOST, message))
        else:
            self._break_off(
                faults.LegLost(rule=Cause.LEG_LOST, message=message), Outcome.LOST, self._opening.side(leg), leg
            )

    def _cut(self, event: events.Ended) -> None:
        if event.end is None:
            other = Participant.SERVER if self._opening.daemon is Participant.CLIENT else Participant.CLIENT
            fault = faults.LegLost(rule=Cause.LEG_ENDED, message="the other daemon gave up the session")
            self._break_off(fault, Outcome.LOST, other, event.leg)
            return
        ending = self._adopted(event.end, self.stage)
        outside = self._opening.tunnel.other
        # An offender hears its own reason, and so do both sides where no side is the offender.
        spared = ending.by not in (None, outside) or ending.reason is None or ending.reason is EsidReason.NORMAL
        tell = {outside: EsidReason.UNSPECIFIED_ABORT if spared or ending.reason is None else ending.reason}
        if not self.stage.joined:
            self._intents.append(self.reporter.closed(ending))
        self._end(ending, tell)

    def _settle(self, event: events.Ended) -> None:
        if event.end is not None and self._opening.daemon is Participant.CLIENT:
            assert self._ending is not None
            self._ending = self._adopted(event.end, self._ending.stage)

    def _adopted(self, end: SharedEnd, stage: Stage) -> Ending:
        """The ending that the other daemon tells."""
        return Ending(
            outcome=end.outcome,
            cause=end.cause,
            message=end.message,
            stage=stage,
            ended_by=end.ended_by,
            by=next((role for role in ROLES if self._opening.side(role) is end.side), None),
            reason=None if end.reason is None else _REASONS.get(end.reason),
        )

    def _blamed(self, fault: SessionFault) -> Participant:
        """Who begins the end that a fault brings: this daemon, unless the fault says otherwise."""
        given = fault.ended_by if isinstance(fault, OwnFault) else None
        return given or self._opening.daemon

    def _stop(self, event: events.Stop) -> None:
        self._stop_for(event.fault)

    def _stop_for(self, fault: OwnFault) -> None:
        outcome = Outcome.LOST if isinstance(fault, faults.TunnelLost) else Outcome.STOPPED
        self._break_off(fault, outcome, self._blamed(fault), None)

    def _stop_idle(self, event: events.Stop) -> None:
        self._wish = event.fault
        if event.at_once or self._monitor.state in IDLE_STATES:
            self._leave()
        else:
            self.stage = Stage.LEAVING

    def _leave(self) -> None:
        assert self._wish is not None
        self._stop_for(self._wish)

    def _fail(self, event: events.Bug) -> None:
        fault = faults.InternalError(rule=Cause.INTERNAL_ERROR, message="a bug ended the session")
        self._break_off(fault, Outcome.FAILED, self._opening.daemon, None)

    def _break_off(self, fault: SessionFault, outcome: Outcome, ended_by: Participant, leg: Role | None) -> None:
        """End for a reason that is no peer's fault."""
        reason = fault.reason
        if isinstance(fault, faults.TunnelLost) and self._monitor.agreed is not None:
            reason = EsidReason.UNSPECIFIED_ABORT
        tell = {role: reason for role in Role if role is not leg}
        ending = Ending.of(fault, outcome, self.stage, ended_by, leg)
        if self.stage.joined or leg is None:
            self._intents.append(self.reporter.failed(ending, self._told(tell)))
        else:
            self._intents.append(self.reporter.closed(ending))
        self._end(ending, tell)

    def _end(self, ending: Ending, tell: Reasons) -> None:
        """Tell whoever can be told, and close what is open."""
        if self._opening.mode is not Mode.GREET and not self.stage.joined:
            unready = faults.StationUnreachable(rule=ending.cause, message=ending.message)
            self._intents.append(NotReady(ending.fault if isinstance(ending.fault, OwnFault) else unready))
        self._intents.extend(map(self.reporter.file, self._files.break_off(self._monitor.transfer)))
        self._intents.extend(self._legs.end(tell, self.stage, ending))
        for timer in sorted(self._armed, key=lambda armed: armed.value):
            self._disarm(timer)
        self._ending = ending
        self.stage = Stage.ENDING
        self._arm(Timer.CLOSING, self._deadlines.closing)
        self._finish_if_alone()

    def _told(self, tell: Reasons) -> dict[str, str]:
        return self.reporter.told(self._legs.told(tell, self.stage))

    # The end of the end.

    def _close(self, event: events.Lost) -> None:
        self._legs.become(event.leg, LegState.GONE)
        self._finish_if_alone()

    def _abort(self, event: events.TimedOut) -> None:
        self._has_passed(event.timer)
        self._intents.extend(self._legs.abort())

    def _give_up(self, event: events.Bug) -> None:
        self._intents.extend(self._legs.abort())
        self._finish_if_alone()

    def _finish_if_alone(self) -> None:
        if self._legs.open:
            return
        assert self._ending is not None
        self._disarm(Timer.CLOSING)
        counts = {
            "unconfirmed": self._files.unconfirmed,
            "anomalies": 0 if self._tolerated is None else self._tolerated.total(),
            "tolerated": self._tolerated and {str(number): count for number, count in sorted(self._tolerated.items())},
            "discarded": self._discarded,
        }
        summary = summarize(self.session, self._opening, self._monitor, self._ending, counts)
        if summary.started:
            self._intents.append(self.reporter.ended(summary.fields))
        self._intents.append(Done(summary))

    # Intents.

    def _arm(self, timer: Timer, seconds: float) -> None:
        if timer not in self._armed:
            self._armed.append(timer)
        self._intents.append(Arm(timer, seconds))

    def _disarm(self, timer: Timer) -> None:
        if timer in self._armed:
            self._armed.remove(timer)
            self._intents.append(Disarm(timer))

    def _has_passed(self, timer: Timer) -> None:
        if timer in self._armed:
            self._armed.remove(timer)
