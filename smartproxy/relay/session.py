"""One relayed session as a function: events in, intents out.

Duty: joins the two legs of a session, forwards what the monitor judged to be right, and decides who is told what when
something breaks. Trusts nothing that arrives and nothing about its timing; trusts its adapter to deliver the events of
one session one after the other. Never alters a relayed octet, never makes a command of its own but SSRM and ESID, never
looks at a clock. Both daemons run one session each over the same octets, so that their monitors agree.

Theory of operation
-------------------

A session has two legs, named by the role of the entity at their far end: the Initiator's, which is there from the
beginning, and the Responder's, which the session asks for with the intent ``Open``. Everything that happens is one
event (:mod:`smartproxy.relay.events`); the session answers each with a list of intents
(:mod:`smartproxy.relay.intents`), to be carried out in their order. What it does about an event depends on its stage
alone: the table in :mod:`smartproxy.relay.stages` says it. Octets of both sides go through one monitor, which knows
what each side may say when (RFC 5024 sections 9.7 to 9.12); what it accepts is relayed as it came.

Who greets the Initiator is the opening's :class:`~smartproxy.relay.openings.Mode`. A partner calls, the server greets
(``GREET``), and the client awaits the station (``AWAIT``)::

    partner             server                   client              station
       |---- connects ---->| IDENTIFYING            |                   |
       |<------ SSRM ------|                        |                   |
       |------- SSID ----->| judged; OPENING        |                   |
       |                   |------ OpenInbound ---->| OPENING           |
       |                   |                        |---- connects ---->|
       |                   |                        | GREETING          |
       |                   |                        |<------ SSRM ------| kept: the partner has one
       |                   |<-- Ready, a data leg --| NEGOTIATING       |
       |                   | NEGOTIATING            |                   |
       |------- SSID ----->|----------------------->|------------------>|
       |<------------------|<-----------------------|<------ SSID ------|
       |                   | RELAYING               | RELAYING          |

The station calls, and the partner, whom the server has reached already, greets it through both (``RELAY``): each
session begins in ``OPENING`` with both legs at hand, relays the partner's SSRM, and the server judges the SSID that
the partner answers with. A call that failed is excused with ``GREET``: SSRM, the station's SSID, ESID with the cause.

Either side ends a session with ESID, which is relayed. Everything else that ends one is decided here, in ``_end``: the
side at fault is told its reason, the other one 99 (or the reason of ours), each by one ESID and only if SSRM was
exchanged with it; then both legs are finished, and the session is over (``Done``) when both are gone. The deadline
``CLOSING`` aborts legs that do not go. From ``ENDING`` nothing leads back, and nothing is relayed any more.

A session has one ending on both daemons. The daemon that ends it sends no ESID of its own through the tunnel: its end
mark tells the other one how the session ended (:class:`~smartproxy.relay.events.SharedEnd`), which reports the same
and writes the ESID for its own side. Where both end it at once, the server's ending counts.

Standards: RFC 5024 sections 3.4.2 (abnormal release), 4.2 (start of a session), 4.6 and 9.9 (ESID), 5.3.11.
"""

from collections import Counter
from collections.abc import Callable

from smartproxy.oftp2.commands import ESID, SFID, SSID, SSRM
from smartproxy.oftp2.errors import EsidReason, ProtocolError, SessionFault
from smartproxy.oftp2.judgement import Counters, Observation
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Level, Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.oftp2.witness import State
from smartproxy.policy import faults
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import EndedBy, Outcome, OwnFault
from smartproxy.policy.identity import judge_file, judge_station
from smartproxy.policy.settings import Deadlines
from smartproxy.relay import events
from smartproxy.relay.deadlines import BUFFER_TIMERS, Timer, late_role, not_there
from smartproxy.relay.ending import Ending, portray, summarize
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.intents import Abort, Arm, Disarm, Done, Intent, NotReady, Open, Pause, Ready, Resume, Send
from smartproxy.relay.legs import Legs, LegState, Reasons
from smartproxy.relay.openings import Mode, Opening, SessionFacts
from smartproxy.relay.reports import FileLedger, Reporter
from smartproxy.relay.stages import TABLE, Reaction, Stage


class Session:
    """One session of one daemon.

    :param session: its id, the same on both daemons.
    :param opening: how it begins, and who is who.
    :param monitor: judges every octet; belongs to this session alone.
    :param deadlines: how long things may take.
    :ivar daemon: which daemon runs it.
    :ivar stage: how far it is.
    :ivar reporter: words what is told of the session.
    """

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
        self._full: set[Role] = set()
        self._armed: set[Timer] = set()
        self._quiet = Arm(Timer.INACTIVITY, deadlines.inactivity)
        self._held = b""
        self._ssid: SSID | None = None
        self._tolerated: Counter[int] = Counter()
        self._discarded = 0
        self._wish: OwnFault | None = None
        self._ending: Ending | None = None
        self._intents: list[Intent] = []
        self._reactions: dict[Reaction, Callable[..., None]] = {
            Reaction.IGNORE: lambda event: None,
            Reaction.JUDGE: self._judge,
            Reaction.DISCARD: self._discard,
            Reaction.JOIN: self._join,
            Reaction.GIVE_BACK: self._give_back,
            Reaction.EXCUSE: self._excuse,
            Reaction.LOSE: self._lose,
            Reaction.CLOSE: self._close,
            Reaction.CUT: self._cut,
            Reaction.SETTLE: self._settle,
            Reaction.NOTE_FULL: self._note_full,
            Reaction.NOTE_DRAINED: self._note_drained,
            Reaction.HOLD_BACK: self._hold_back,
            Reaction.LET_GO: self._let_go,
            Reaction.BLAME: self._blame,
            Reaction.MISS: self._miss,
            Reaction.ABORT: self._abort,
            Reaction.STOP: self._stop,
            Reaction.STOP_IDLE: self._stop_idle,
            Reaction.FAIL: self._fail,
            Reaction.GIVE_UP: self._give_up,
        }

    def start(self) -> list[Intent]:
        """Begin; the Initiator's leg is there and delivers octets."""
        self._intents = intents = list[Intent]()
        self._arm(Timer.AUTHENTICATION, self._deadlines.authentication)
        if self._opening.mode is Mode.GREET:
            self._monitor.judge(Role.RESPONDER, SSRM_BUFFER)
            self._do(Send(Role.INITIATOR, SSRM_BUFFER))
            self._arm(Timer.SSID, self._deadlines.ssid)
        else:
            self._open(self._opening.facts)
        return intents

    def receive(self, event: events.Event) -> list[Intent]:
        """Take note of an event; return what is to be done, in this order.

        :raises LookupError: for an event that cannot happen in this stage.
        """
        self._intents = intents = list[Intent]()
        self._reactions[TABLE[self.stage, event.__class__]](event)
        return intents

    @property
    def partner(self) -> Role:
        """Which of the two the partner is."""
        return self._opening.partner

    @property
    def carried(self) -> Counters:
        """What the partner has sent and was let pass."""
        return self._monitor.counters[self._opening.partner]

    def portrait(self) -> dict[str, object]:
        """How the session is now."""
        return portray(self.session, self._opening, self._monitor, self.stage, self._ssid)

    # Octets.

    def _judge(self, event: events.Arrived) -> None:
        leg = event.leg
        self._monitor.observe_data = self.reporter.traced
        judgement = self._monitor.judge(leg, event.octets)
        relayed = judgement.octets
        for observation in judgement.observations:
            if isinstance(observation.value, SSRM) and self._opening.mode is Mode.AWAIT:
                relayed = relayed[len(SSRM_BUFFER) :]
            self._observe(observation)
            if self._ending is not None:
                return
        if relayed:
            self._relay(leg.other, relayed)
        if judgement.error is not None:
            self._violated(judgement.error, judgement.excerpt, leg)
        elif self._monitor.ended:
            self._discarded += judgement.discarded
            self._released(judgement.observations[-1])
        else:
            self._watch(leg, progress=bool(judgement.octets))
            if self.stage is Stage.LEAVING and self._monitor.state is State.IDLE:
                self._leave()

    def _relay(self, leg: Role, octets: bytes) -> None:
        if self._legs.is_open(leg):
            self._intents.append(Send(leg, octets))
        else:
            self._held += octets

    def _watch(self, leg: Role, *, progress: bool) -> None:
        """Keep the deadlines of a started Exchange Buffer and of inactivity."""
        timer = BUFFER_TIMERS[leg]
        if not self._monitor.held(leg) or leg.other in self._full:
            if timer in self._armed:
                self._disarm(timer)
        elif progress or timer not in self._armed:
            self._arm(timer, self._deadlines.buffer)
        if self.stage is Stage.RELAYING or Timer.INACTIVITY in self._armed:
            self._armed.add(Timer.INACTIVITY)
            self._intents.append(self._quiet)

    def _discard(self, event: events.Arrived) -> None:
        self._discarded += len(event.octets)

    def _observe(self, observation: Observation) -> None:
        """Tell of a command, and go on to the stage that it leads to."""
        if observation.anomalies:
            self._tolerated.update(anomaly.number for anomaly in observation.anomalies)
            self._intents.extend(self.reporter.anomalies(observation))
        if self._monitor.observe_data:
            self._do(self.reporter.command(observation))
        if isinstance(observation.value, SFID) and not self._may_send(observation.value, observation.sender):
            return
        for report in self._files.observe(observation):
            self._do(self.reporter.file(report))
        match observation.value:
            case SSRM():
                self._disarm(Timer.OPENING)
                self._arm(Timer.SSID, self._deadlines.ssid)
                self._begin()
                self._do(Ready())
            case SSID() as ssid:
                self._identify(ssid, observation.sender)
        if self.stage is Stage.NEGOTIATING and observation.state is State.IDLE:
            self.stage = Stage.RELAYING
            self._disarm(Timer.AUTHENTICATION)

    def _identify(self, ssid: SSID, role: Role) -> None:
        """An SSID is in."""
        if role is Role.INITIATOR:
            self._ssid = ssid
            self._disarm(Timer.SSID)
        facts, judge = self._opening.facts, self._opening.judge
        try:
            if self._opening.excuse is not None:
                raise self._opening.excuse
            if judge is not None and role is self._opening.partner:
                judge(ssid)
                facts = facts.identified(ssid)
                self._do(self.reporter.identified(facts))
            elif self._opening.entry is not None and role is not self._opening.partner:
                judge_station(self._opening.entry, ssid)
        except (faults.PolicyRefusal, OwnFault) as refusal:
            known = Level.OFTP_2_0 if role is Role.INITIATOR or self._ssid is None else Level(self._ssid.lev)
            self._legs.withhold(role.other, known)
            self._refuse(refusal, ssid, role)
            return
        if self._opening.mode is Mode.GREET and role is Role.INITIATOR:
            self._open(facts)

    def _may_send(self, offer: SFID, role: Role) -> bool:
        """Whether the partner's entry allows this file; if not, the session ends."""
        entry = self._opening.entry
        if entry is not None and role is self._opening.partner:
            try:
                judge_file(entry, offer)
            except faults.PolicyRefusal as refusal:
                self._refuse(refusal, offer, role)
                return False
        return True

    # The Responder's leg.

    def _open(self, facts: SessionFacts) -> None:
        self.stage = Stage.OPENING
        self._legs.become(Role.RESPONDER, LegState.ASKED_FOR)
        # The Initiator is read on: its departure is noticed, and anything but ESID would be a violation.
        self._arm(Timer.OPENING, self._deadlines.opening)
        self._do(Open(Role.RESPONDER, facts))

    def _join(self, event: events.LegOpened) -> None:
        self._legs.become(event.leg, LegState.OPEN)
        if self._opening.mode is not Mode.GREET:
            self.stage = Stage.GREETING
            return
        self._disarm(Timer.OPENING)
        self._begin()
        self._do(Send(event.leg, self._held))
        self._held = b""
        if Role.INITIATOR in self._full:
            self._do(Pause(event.leg))

    def _begin(self) -> None:
        self.stage = Stage.NEGOTIATING
        self._do(self.reporter.started())

    def _give_back(self, event: events.LegOpened) -> None:
        self._do(Abort(event.leg))

    # Back-pressure.

    def _note_full(self, event: events.LegFull) -> None:
        self._full.add(event.leg)

    def _note_drained(self, event: events.LegDrained) -> None:
        self._full.discard(event.leg)

    def _hold_back(self, event: events.LegFull) -> None:
        other = event.leg.other
        self._full.add(event.leg)
        self._do(Pause(other))
        self._disarm(BUFFER_TIMERS[other])

    def _let_go(self, event: events.LegDrained) -> None:
        other = event.leg.other
        self._full.discard(event.leg)
        self._do(Resume(other))
        self._watch(other, progress=False)

    # Ends.

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
            ended_by=self._whose(leg),
            by=leg,
            reason=reason,
        )
        if not self.stage.joined:
            self._do(self.reporter.closed(ending))
        self._end(ending, {})

    def _violated(self, error: ProtocolError, excerpt: str, leg: Role) -> None:
        tell = {leg: error.reason, leg.other: EsidReason.UNSPECIFIED_ABORT}
        ending = Ending.of(error, Outcome.VIOLATED, self.stage, self._whose(leg), leg)
        self._do(self.reporter.violated(error, excerpt, ending, self._told(tell)))
        self._end(ending, tell)

    def _refuse(self, refusal: faults.PolicyRefusal | OwnFault, refused: SSID | SFID, role: Role) -> None:
        """Do not accept an SSID or a file; an SSID that is only excused is told the fault's own words."""
        if isinstance(refusal, OwnFault):
            self._legs.excuse = refusal.message
        tell = {role: refusal.reason, role.other: EsidReason.UNSPECIFIED_ABORT}
        ending = Ending.of(refusal, Outcome.REFUSED, self.stage, self._blamed(refusal), role)
        self._do(self.reporter.refused(ending, self._told(tell), refused))
        self._end(ending, tell)

    def _excuse(self, event: events.OpenFailed) -> None:
        self._legs.become(event.leg, LegState.GONE)
        self._unreachable(event.fault)

    def _unreachable(self, fault: OwnFault) -> None:
        tell = {Role.INITIATOR: fault.reason}
        ending = Ending.of(fault, Outcome.UNREACHABLE, self.stage, self._blamed(fault))
        if self._opening.mode is Mode.AWAIT:
            self._do(self.reporter.unreachable(ending))
        else:
            self._do(self.reporter.refused(ending, self._told(tell), self._ssid))
        self._end(ending, tell)

    def _miss(self, event: events.TimedOut) -> None:
        timer = event.timer
        if timer is Timer.INITIATOR_BUFFER:
            self._blame(event)
            return
        self._armed.discard(timer)
        message = f"the {self._opening.side(Role.RESPONDER)} {not_there(timer, self._deadlines)}"
        self._unreachable(faults.StationUnreachable(rule=timer.cause, message=message))

    def _blame(self, event: events.TimedOut) -> None:
        timer = event.timer
        self._armed.discard(timer)
        seconds = getattr(self._deadlines, timer.setting)
        late = late_role(timer, self._monitor, self._full)
        message = f"the {self._opening.side(late)} let {seconds} s pass"
        fault = faults.Expired(rule=timer.cause, message=message)
        tell = {late: fault.reason, late.other: EsidReason.UNSPECIFIED_ABORT}
        ending = Ending.of(fault, Outcome.EXPIRED, self.stage, self._whose(late), late)
        self._do(self.reporter.expired(timer, seconds, ending, self._told(tell)))
        self._end(ending, tell)

    def _lose(self, event: events.Lost) -> None:
        leg = event.leg
        self._legs.become(leg, LegState.GONE)
        message = f"the connection to the {self._opening.leg(leg)} was lost: {event.cause}"
        if leg is Role.RESPONDER and self.stage is Stage.GREETING:
            self._unreachable(faults.StationUnreachable(rule=Cause.LEG_LOST, message=message))
        elif leg is self._opening.tunnel:
            fault = faults.LegLost(rule=Cause.TUNNEL_LOST, message=message)
            self._break_off(fault, Outcome.LOST, EndedBy.NOBODY, leg)
        else:
            self._break_off(faults.LegLost(rule=Cause.LEG_LOST, message=message), Outcome.LOST, self._whose(leg), leg)

    def _cut(self, event: events.Ended) -> None:
        if event.end is None:
            other = EndedBy.SERVER if self._opening.daemon is EndedBy.CLIENT else EndedBy.CLIENT
            fault = faults.LegLost(rule=Cause.LEG_ENDED, message="the other daemon gave up the session")
            self._break_off(fault, Outcome.LOST, other, event.leg)
            return
        ending = self._adopted(event.end, self.stage)
        outside = self._opening.tunnel.other
        # An offender hears its own reason, and so do both sides where no side is the offender.
        spared = ending.by not in (None, outside) or ending.reason is None or ending.reason is EsidReason.NORMAL
        tell = {outside: EsidReason.UNSPECIFIED_ABORT if spared or ending.reason is None else ending.reason}
        if not self.stage.joined:
            self._do(self.reporter.closed(ending))
        self._end(ending, tell)

    def _settle(self, event: events.Ended) -> None:
        if event.end is not None and self._opening.daemon is EndedBy.CLIENT:
            assert self._ending is not None
            self._ending = self._adopted(event.end, self._ending.stage)

    def _adopted(self, end: SharedEnd, stage: Stage) -> Ending:
        """The ending that the other daemon tells."""
        sides = {self._whose(role): role for role in Role}
        return Ending(
            outcome=end.outcome,
            cause=end.cause,
            message=end.message,
            stage=stage,
            ended_by=end.ended_by,
            by=None if end.side is None else sides.get(end.side),
            reason=next((reason for reason in EsidReason if reason == end.reason), None),
        )

    def _whose(self, role: Role) -> EndedBy:
        return EndedBy(self._opening.side(role))

    def _blamed(self, fault: SessionFault) -> EndedBy:
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
        if event.at_once or self._monitor.state is State.IDLE:
            self._leave()
        else:
            self.stage = Stage.LEAVING

    def _leave(self) -> None:
        assert self._wish is not None
        self._stop_for(self._wish)

    def _fail(self, event: events.Bug) -> None:
        fault = faults.InternalError(rule=Cause.INTERNAL_ERROR, message="a bug ended the session")
        self._break_off(fault, Outcome.FAILED, self._opening.daemon, None)

    def _break_off(self, fault: SessionFault, outcome: Outcome, ended_by: EndedBy, leg: Role | None) -> None:
        """End for a reason that is no peer's fault."""
        reason = fault.reason
        if isinstance(fault, faults.TunnelLost) and self._monitor.agreed is not None:
            reason = EsidReason.UNSPECIFIED_ABORT
        tell = {role: reason for role in Role if role is not leg}
        ending = Ending.of(fault, outcome, self.stage, ended_by, leg)
        if self.stage.joined or leg is None:
            self._do(self.reporter.failed(ending, self._told(tell)))
        else:
            self._do(self.reporter.closed(ending))
        self._end(ending, tell)

    def _end(self, ending: Ending, tell: Reasons) -> None:
        """Tell whoever can be told, and close what is open."""
        if self._opening.mode is not Mode.GREET and not self.stage.joined:
            unready = faults.StationUnreachable(rule=ending.cause, message=ending.message)
            self._do(NotReady(ending.fault if isinstance(ending.fault, OwnFault) else unready))
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
        self._armed.discard(event.timer)
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
            "anomalies": self._tolerated.total(),
            "tolerated": {str(number): count for number, count in sorted(self._tolerated.items())} or None,
            "discarded": self._discarded,
        }
        summary = summarize(self.session, self._opening, self._monitor, self._ending, counts)
        if summary.started:
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
