"""One relayed session as a function: events in, intents out.

Duty: joins the two legs of a session, forwards what the monitor judged to be right, and decides who is told what when
something breaks. Trusts nothing that arrives and nothing about its timing; trusts its adapter to deliver the events of
one session one after the other. Never alters a relayed octet, never makes a command of its own but SSRM and ESID, never
looks at a clock. Both daemons run one session each over the same octets, so that their monitors agree.

Standards: RFC 5024 sections 3.4.2 (abnormal release), 4.2 (start of a session), 4.6 and 9.9 (ESID), 5.3.11.
"""

from collections.abc import Callable, Mapping

from smartproxy.oftp2.commands import ESID, SSID, SSRM
from smartproxy.oftp2.errors import EsidReason, ProtocolError, SessionFault
from smartproxy.oftp2.monitor import Monitor, Observation
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.oftp2.witness import State
from smartproxy.policy import faults
from smartproxy.policy.faults import OwnFault
from smartproxy.policy.settings import Deadlines
from smartproxy.relay import events
from smartproxy.relay.deadlines import BUFFER_TIMERS, Timer, late_role, not_there
from smartproxy.relay.ending import Ending, portray, summarize
from smartproxy.relay.intents import Abort, Arm, Disarm, Done, Intent, NotReady, Open, Pause, Ready, Resume, Send
from smartproxy.relay.legs import Legs, LegState, Reasons
from smartproxy.relay.openings import Opening
from smartproxy.relay.reports import FileLedger, Reporter
from smartproxy.relay.stages import Stage


class Session:
    """One session of one daemon.

    :param session: its id, the same on both daemons.
    :param opening: how it begins, and who is who.
    :param monitor: judges every octet; belongs to this session alone.
    :param deadlines: how long things may take.
    :ivar reporter: words what is told of the session.
    """

    def __init__(self, session: str, opening: Opening, monitor: Monitor, deadlines: Deadlines) -> None:
        self.session = session
        self.stage = Stage.IDENTIFYING if opening.greets else Stage.OPENING
        self._opening = opening
        self._monitor = monitor
        self._deadlines = deadlines
        self.reporter = Reporter(session, opening)
        self._files = FileLedger(opening.partner)
        self._legs = Legs(opening, monitor)
        self._full: set[Role] = set()
        self._armed: set[Timer] = set()
        self._held = b""
        self._ssid: SSID | None = None
        self._negotiated = False
        self._started = False
        self._anomalies = 0
        self._discarded = 0
        self._leaving: OwnFault | None = None
        self._ending: Ending | None = None
        self._intents: list[Intent] = []
        self._reactions: dict[type[events.Event], Callable[..., None]] = {
            events.Arrived: self._octets,
            events.LegOpened: self._opened,
            events.OpenFailed: self._open_failed,
            events.Lost: self._lost,
            events.Ended: self._ended,
            events.LegFull: self._filled,
            events.LegDrained: self._drained,
            events.TimedOut: self._expired,
            events.Stop: self._stop,
            events.Bug: self._bug,
        }

    def start(self) -> list[Intent]:
        """Begin; the Initiator's leg is there and delivers octets."""
        self._intents = intents = list[Intent]()
        self._arm(Timer.AUTHENTICATION, self._deadlines.authentication)
        if self._opening.greets:
            self._monitor.judge(Role.RESPONDER, SSRM_BUFFER)
            self._do(Send(Role.INITIATOR, SSRM_BUFFER))
            self._arm(Timer.SSID, self._deadlines.ssid)
        else:
            self._open({})
        return intents

    def receive(self, event: events.Event) -> list[Intent]:
        """Take note of an event; return what is to be done, in this order."""
        self._intents = intents = list[Intent]()
        self._reactions[type(event)](event)
        return intents

    def portrait(self) -> dict[str, object]:
        """How the session is now."""
        return portray(self.session, self._opening, self._monitor, self.stage, self._ssid)

    # Octets.

    def _octets(self, event: events.Arrived) -> None:
        leg = event.leg
        if self.stage is Stage.ENDING:
            self._discarded += len(event.octets)
            return
        self._monitor.observe_data = self.reporter.traced
        judgement = self._monitor.judge(leg, event.octets)
        relayed = judgement.octets
        for observation in judgement.observations:
            if isinstance(observation.value, SSRM) and not self._opening.relays_greeting:
                relayed = relayed[len(SSRM_BUFFER) :]
            self._observe(observation)
            if self._ending is not None:
                return
        if relayed:
            self._relay(leg.other, relayed)
        if judgement.error is not None:
            self._violated(judgement.error, leg)
        elif self._monitor.ended:
            self._discarded += judgement.discarded
            self._released(judgement.observations[-1])
        else:
            self._watch(leg, progress=bool(judgement.octets))
            self._leave()

    def _relay(self, leg: Role, octets: bytes) -> None:
        if self._legs.is_open(leg):
            self._do(Send(leg, octets))
        else:
            self._held += octets

    def _watch(self, leg: Role, *, progress: bool) -> None:
        """Keep the deadlines of a started Exchange Buffer and of inactivity."""
        timer = BUFFER_TIMERS[leg]
        if not self._monitor.held(leg) or leg.other in self._full:
            self._disarm(timer)
        elif progress or timer not in self._armed:
            self._arm(timer, self._deadlines.buffer)
        if self._negotiated:
            self._arm(Timer.INACTIVITY, self._deadlines.inactivity)

    def _observe(self, observation: Observation) -> None:
        self._anomalies += len(observation.anomalies)
        for report in self.reporter.anomalies(observation):
            self._do(report)
        if self._monitor.observe_data:
            self._do(self.reporter.command(observation))
        for report in self._files.observe(observation):
            self._do(self.reporter.file(report))
        if isinstance(observation.value, SSID) and observation.sender is Role.RESPONDER:
            self._answered(observation.value)
            if self.stage is Stage.ENDING:
                return
        if isinstance(observation.value, SSRM):
            self._greeted()
        elif isinstance(observation.value, SSID) and observation.sender is Role.INITIATOR:
            self._identify(observation.value)
        elif not self._negotiated and observation.state is State.IDLE:
            self._negotiated = True
            self._disarm(Timer.AUTHENTICATION)

    def _greeted(self) -> None:
        """The Responder's SSRM is in."""
        self.stage = Stage.RELAYING
        self._disarm(Timer.OPENING)
        self._arm(Timer.SSID, self._deadlines.ssid)
        self._begin()
        self._do(Ready())

    def _identify(self, ssid: SSID) -> None:
        """The Initiator's SSID is in."""
        self._ssid = ssid
        self._disarm(Timer.SSID)
        if not self._opening.greets:
            return
        try:
            self._opening.judge(ssid)
        except (faults.PolicyRefusal, OwnFault) as refusal:
            self._refuse(refusal)
            return
        facts = {**self._opening.facts, "code": ssid.code, "level": str(int(ssid.lev))}
        self._do(self.reporter.identified(facts))
        self._open(facts)

    def _answered(self, ssid: SSID) -> None:
        """The Responder's SSID is in."""
        if self._opening.judge_answer is None:
            return
        try:
            self._opening.judge_answer(ssid)
        except faults.PolicyRefusal as refusal:
            tell = {Role.RESPONDER: refusal.reason, Role.INITIATOR: EsidReason.UNSPECIFIED_ABORT}
            self._do(self.reporter.refused(refusal, self._told(tell), ssid))
            self._end(Ending.of(refusal, "refused", Role.RESPONDER), tell)
            return
        facts = {**self._opening.facts, "code": ssid.code, "level": str(int(ssid.lev))}
        self._do(self.reporter.identified(facts))

    # The Responder's leg.

    def _open(self, facts: Mapping[str, str]) -> None:
        self.stage = Stage.OPENING
        self._legs.become(Role.RESPONDER, LegState.ASKED_FOR)
        # The Initiator is read on: its departure is noticed, and anything but ESID would be a violation.
        self._arm(Timer.OPENING, self._deadlines.opening)
        self._do(Open(Role.RESPONDER, facts))

    def _opened(self, event: events.LegOpened) -> None:
        leg = event.leg
        if self.stage is Stage.ENDING:
            self._do(Abort(leg))
            return
        self._legs.become(leg, LegState.OPEN)
        if not self._opening.greets:
            self.stage = Stage.GREETING
            return
        self.stage = Stage.RELAYING
        self._disarm(Timer.OPENING)
        self._begin()
        self._do(Send(leg, self._held))
        self._held = b""
        if Role.INITIATOR in self._full:
            self._do(Pause(leg))

    def _begin(self) -> None:
        self._started = True
        self._do(self.reporter.started())

    def _open_failed(self, event: events.OpenFailed) -> None:
        if self.stage is not Stage.ENDING:
            self._legs.become(event.leg, LegState.GONE)
            self._unreachable(event.fault)

    # Back-pressure.

    def _filled(self, event: events.LegFull) -> None:
        other = event.leg.other
        self._full.add(event.leg)
        if self.stage is Stage.RELAYING:
            self._do(Pause(other))
            self._disarm(BUFFER_TIMERS[other])

    def _drained(self, event: events.LegDrained) -> None:
        other = event.leg.other
        self._full.discard(event.leg)
        if self.stage is Stage.RELAYING:
            self._do(Resume(other))
            self._watch(other, progress=False)

    # Ends.

    def _released(self, release: Observation) -> None:
        """An ESID was relayed: what the other side still says is not wanted any more."""
        assert isinstance(release.value, ESID)
        reason, leg = release.value.reas, release.sender
        outcome = "completed" if reason == EsidReason.NORMAL else "aborted"
        cause = f"the {self._opening.side(leg)} ended the session with ESID {reason:02d}"
        ending = Ending(outcome=outcome, cause=cause, by=leg, reason=reason)
        if not self._started:
            self._do(self.reporter.closed(ending))
        self._end(ending, {})

    def _violated(self, error: ProtocolError, leg: Role) -> None:
        tell = {leg: error.reason, leg.other: EsidReason.UNSPECIFIED_ABORT}
        self._do(self.reporter.violated(error, leg, self.stage.value, self._told(tell)))
        self._end(Ending.of(error, "violated", leg), tell)

    def _refuse(self, refusal: faults.PolicyRefusal | OwnFault) -> None:
        if isinstance(refusal, OwnFault):
            self._legs.excuse = refusal.message
        tell = {Role.INITIATOR: refusal.reason}
        self._do(self.reporter.refused(refusal, self._told(tell), self._ssid))
        self._end(Ending.of(refusal, "refused", Role.INITIATOR), tell)

    def _unreachable(self, fault: SessionFault) -> None:
        tell = {Role.INITIATOR: fault.reason}
        if self._opening.greets or self._opening.relays_greeting:
            self._do(self.reporter.refused(fault, self._told(tell), self._ssid))
        else:
            self._do(self.reporter.unreachable(fault))
        self._end(Ending.of(fault, "unreachable"), tell, fault if isinstance(fault, OwnFault) else None)

    def _expired(self, event: events.TimedOut) -> None:
        timer = event.timer
        self._armed.discard(timer)
        if self.stage is Stage.ENDING:
            self._intents.extend(self._legs.abort())
        elif self.stage in (Stage.OPENING, Stage.GREETING) and timer is not Timer.INITIATOR_BUFFER:
            message = f"the {self._opening.side(Role.RESPONDER)} {not_there(timer, self._deadlines)}"
            self._unreachable(faults.StationUnreachable(rule=f"deadline.{timer.setting}", message=message))
        else:
            self._late(timer)

    def _late(self, timer: Timer) -> None:
        seconds = getattr(self._deadlines, timer.setting)
        late = late_role(timer, self._monitor, self._full)
        message = f"the {self._opening.side(late)} let {seconds} s pass"
        fault = faults.Expired(rule=f"deadline.{timer.setting}", message=message)
        tell = {late: fault.reason, late.other: EsidReason.UNSPECIFIED_ABORT}
        ending = Ending.of(fault, "expired", late)
        self._do(self.reporter.expired(timer, seconds, ending, self.stage.value, self._told(tell)))
        self._end(ending, tell)

    def _lost(self, event: events.Lost) -> None:
        leg = event.leg
        self._legs.become(leg, LegState.GONE)
        if self.stage is Stage.ENDING:
            self._finish_if_alone()
            return
        message = f"the connection to the {self._opening.leg(leg)} was lost: {event.cause}"
        if leg is Role.RESPONDER and self.stage is Stage.GREETING:
            self._unreachable(faults.StationUnreachable(rule="leg.lost", message=message))
        else:
            self._give_up(faults.LegLost(rule="leg.lost", message=message), "lost", leg)

    def _ended(self, event: events.Ended) -> None:
        if self.stage is not Stage.ENDING:
            fault = faults.LegLost(rule="leg.ended", message="the other daemon ended the session without an ESID")
            self._give_up(fault, "lost", event.leg)

    def _stop(self, event: events.Stop) -> None:
        self._leaving = event.fault
        self._leave(at_once=event.at_once)

    def _leave(self, *, at_once: bool = False) -> None:
        """End as the daemon wishes, if it does; where that can wait, not within a file."""
        waits = not at_once and self.stage is Stage.RELAYING and self._monitor.state is not State.IDLE
        if self._leaving is not None and self.stage is not Stage.ENDING and not waits:
            self._give_up(self._leaving, "stopped", None)

    def _bug(self, event: events.Bug) -> None:
        if self.stage is Stage.ENDING:
            self._intents.extend(self._legs.abort())
            self._finish_if_alone()
        else:
            self._give_up(faults.InternalError(rule="internal", message="a bug ended the session"), "failed", None)

    def _give_up(self, fault: SessionFault, outcome: str, leg: Role | None) -> None:
        """End for a reason that is no peer's fault."""
        reason = fault.reason
        if isinstance(fault, faults.TunnelLost) and self._monitor.agreed is not None:
            reason = EsidReason.UNSPECIFIED_ABORT
        tell = {role: reason for role in Role if role is not leg}
        ending = Ending.of(fault, outcome, leg)
        if self._started or leg is None:
            self._do(self.reporter.failed(ending, self.stage.value, self._told(tell)))
        else:
            self._do(self.reporter.closed(ending))
        self._end(ending, tell, fault if isinstance(fault, OwnFault) else None)

    def _end(self, ending: Ending, tell: Reasons, fault: OwnFault | None = None) -> None:
        """Tell whoever can be told, and close what is open."""
        if not self._opening.greets and self.stage in (Stage.OPENING, Stage.GREETING):
            self._do(NotReady(fault or faults.StationUnreachable(rule=ending.rule or "station", message=ending.cause)))
        for report in self._files.break_off(self._monitor.transfer):
            self._do(self.reporter.file(report))
        self._intents.extend(self._legs.end(tell, self.stage))
        for timer in sorted(self._armed, key=lambda armed: armed.value):
            self._disarm(timer)
        self._ending = ending
        self.stage = Stage.ENDING
        self._arm(Timer.CLOSING, self._deadlines.closing)
        self._finish_if_alone()

    def _told(self, tell: Reasons) -> dict[str, str]:
        return self.reporter.told(self._legs.told(tell, self.stage))

    def _finish_if_alone(self) -> None:
        if self._legs.open:
            return
        assert self._ending is not None
        self._disarm(Timer.CLOSING)
        counts = {"anomalies": self._anomalies, "discarded": self._discarded}
        summary = summarize(
            self.session, self._opening, self._monitor, self._ending, started=self._started, counts=counts
        )
        if self._started:
            self._do(self.reporter.ended(summary.fields))
        self._do(Done(summary))

    # Intents.

    def _do(self, intent: Intent) -> None:
        self._intents.append(intent)

    def _arm(self, timer: Timer, seconds: float) -> None:
        self._armed.add(timer)
        self._do(Arm(timer, seconds))

    def _disarm(self, timer: Timer) -> None:
        if timer in self._armed:
            self._armed.discard(timer)
            self._do(Disarm(timer))
