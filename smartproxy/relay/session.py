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
what each side may say when (RFC 5024 sections 9.7 to 9.12); what it accepts is relayed as it came, before anything is
told of it.

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
       |                   |-------- SSID --------->|------ SSID ------>| the one that was judged
       |<------------------|<-----------------------|<------ SSID ------|
       |                   | RELAYING               | RELAYING          |

The station calls, and the partner, which the server has reached already, greets it through both (``RELAY``): each
session begins in ``OPENING`` with both legs at hand, relays the partner's SSRM, and the server judges the SSID that
the partner answers with. A call that failed is excused with ``GREET``: SSRM, the station's SSID, ESID with the cause.

Either side ends a session with ESID, which is relayed. Everything else that ends one is decided in
:mod:`smartproxy.relay.ends`: the side at fault is told its reason, the other one 99 (or this site's own reason), each
by one ESID and only if SSRM was exchanged with it; then both legs are finished, and the session is over (``Done``) when
both are gone. The deadline ``CLOSING`` aborts legs that do not go. From ``ENDING`` nothing leads back, and nothing is
relayed any more.

A session has one ending on both daemons. The daemon that ends it sends no ESID of its own through the tunnel: its end
mark tells the other one how the session ended (:class:`~smartproxy.relay.events.SharedEnd`), which reports the same
and writes the ESID for its own side. Where both end it at once, the server's ending counts.

Standards: RFC 5024 sections 3.4.2 (abnormal release), 4.2 (start of a session), 4.6 and 9.9 (ESID), 5.3.11.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from smartproxy.oftp2.commands import SFID, SSID, SSRM
from smartproxy.oftp2.judgement import Counters, Observation
from smartproxy.oftp2.roles import Level, Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.oftp2.witness import State
from smartproxy.policy import faults
from smartproxy.policy.faults import OwnFault
from smartproxy.policy.identity import judge_file, judge_station
from smartproxy.relay import events
from smartproxy.relay.deadlines import BUFFER_TIMERS, Timer
from smartproxy.relay.ending import portray
from smartproxy.relay.ends import IDLE_STATES, SessionEnds
from smartproxy.relay.intents import Abort, Intent, Open, Pause, Ready, Resume, Send
from smartproxy.relay.legs import LegState
from smartproxy.relay.openings import Mode, SessionFacts
from smartproxy.relay.reports import COMMAND
from smartproxy.relay.stages import TABLE, Reaction, Stage


class Session(SessionEnds):
    """One session of one daemon.

    :param session: its id, the same on both daemons.
    :param opening: how it begins, and who is who.
    :param monitor: judges every octet; belongs to this session alone.
    :param deadlines: how long things may take.
    :ivar daemon: which daemon runs it.
    :ivar stage: how far it is.
    :ivar reporter: words what is told of the session.
    :ivar recorder: keeps the commands, where somebody wants a record of the session.
    """

    __slots__ = ()

    def start(self) -> list[Intent]:
        """Begin; the Initiator's leg is there and delivers octets."""
        self._intents = intents = list[Intent]()
        self._arm(Timer.AUTHENTICATION, self._deadlines.authentication)
        if self._opening.mode is Mode.GREET:
            self._monitor.judge(Role.RESPONDER, SSRM_BUFFER)
            self._intents.append(Send(Role.INITIATOR, SSRM_BUFFER))
            self._arm(Timer.SSID, self._deadlines.ssid)
        else:
            self._open(self._opening.facts)
        del self._intents
        return intents

    def receive(self, event: events.Event) -> list[Intent]:
        """Take note of an event; return what is to be done, in this order.

        :raises LookupError: for an event that cannot happen in this stage.
        """
        self._intents = intents = list[Intent]()
        _REACTIONS[TABLE[self.stage, event.__class__]](self, event)
        del self._intents
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
        return portray(self.session, self._opening, self._monitor, self.stage, self._ssid, self._files.size)

    def tell_sent(self, sent: Callable[[int, int], object]) -> None:
        """Have *sent* told the octets and records of each file that was sent whole, before its EFID goes on."""
        self._files.sent = sent

    # Octets.

    def _judge(self, event: events.Arrived) -> None:
        leg = event.leg
        self._monitor.observe_data = self.reporter.wants(COMMAND, self.session, self._opening.facts.partner)
        # As it was before these octets: what the opening leads to keeps its order.
        relaying = self.stage is Stage.RELAYING
        judgement = self._monitor.judge(leg, event.octets)
        relayed = judgement.octets
        if judgement.observations and self.recorder is not None:
            self.recorder.note(judgement.observations)
        for observation in judgement.observations:
            if isinstance(observation.value, SSRM) and self._opening.mode is Mode.AWAIT:
                relayed = relayed[len(SSRM_BUFFER) :]
            self._observe(observation)
            if self._ending is not None:
                return
        if relayed and relaying:
            # Nobody waits for a file's event, and the far side waits for its octets.
            self._intents.insert(0, Send(leg.other, relayed))
        elif relayed:
            self._relay(leg.other, relayed)
        if judgement.error is not None:
            self._violated(judgement.error, judgement.excerpt, leg)
        elif judgement.observations and judgement.observations[-1].state is State.ENDING:
            self._discarded += judgement.discarded
            self._released(judgement.observations[-1])
        else:
            self._watch(leg, judgement.held, progress=bool(judgement.octets))
            if self.stage is Stage.LEAVING and self._monitor.state in IDLE_STATES:
                self._leave()

    def _relay(self, leg: Role, octets: bytes) -> None:
        if self._legs.is_open(leg):
            self._intents.append(Send(leg, octets))
        else:
            self._held += octets

    def _watch(self, leg: Role, held: int, *, progress: bool) -> None:
        """Keep the deadlines of a started Exchange Buffer, of which so many octets are held, and of inactivity."""
        timer = BUFFER_TIMERS[leg]
        if not held or leg.other in self._full:
            if timer in self._armed:
                self._disarm(timer)
        elif progress or timer not in self._armed:
            self._arm(timer, self._deadlines.buffer)
        if self.stage is Stage.RELAYING or Timer.INACTIVITY in self._armed:
            if Timer.INACTIVITY not in self._armed:
                self._armed.append(Timer.INACTIVITY)
            self._intents.append(self._quiet)

    def _discard(self, event: events.Arrived) -> None:
        self._discarded += len(event.octets)

    def _observe(self, observation: Observation) -> None:
        """Tell of a command, and go on to the stage that it leads to."""
        if observation.anomalies:
            for anomaly in observation.anomalies:
                self._tolerated = self._tolerated or Counter()
                self._tolerated[anomaly.number] += 1
            self._intents.extend(self.reporter.anomalies(observation))
        if self._monitor.observe_data:
            self._intents.append(self.reporter.command(observation))
        if isinstance(observation.value, SFID) and not self._may_send(observation.value, observation.sender):
            return
        for report in self._files.observe(observation):
            self._intents.append(self.reporter.file(report))
        match observation.value:
            case SSRM():
                self._disarm(Timer.OPENING)
                self._arm(Timer.SSID, self._deadlines.ssid)
                self._begin()
                self._intents.append(Ready())
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
                self._intents.append(self.reporter.identified(facts))
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
        self._intents.append(Open(Role.RESPONDER, facts))

    def _join(self, event: events.LegOpened) -> None:
        self._legs.become(event.leg, LegState.OPEN)
        if self._opening.mode is not Mode.GREET:
            self.stage = Stage.GREETING
            return
        self._disarm(Timer.OPENING)
        self._begin()
        self._intents.append(Send(event.leg, self._held))
        self._held = b""
        if Role.INITIATOR in self._full:
            self._intents.append(Pause(event.leg))

    def _begin(self) -> None:
        self.stage = Stage.NEGOTIATING
        self._intents.append(self.reporter.started())

    def _give_back(self, event: events.LegOpened) -> None:
        self._intents.append(Abort(event.leg))

    # Back-pressure.

    def _note_full(self, event: events.LegFull) -> None:
        self._full |= {event.leg}

    def _note_drained(self, event: events.LegDrained) -> None:
        self._full -= {event.leg}

    def _hold_back(self, event: events.LegFull) -> None:
        other = event.leg.other
        self._full |= {event.leg}
        self._intents.append(Pause(other))
        self._disarm(BUFFER_TIMERS[other])

    def _let_go(self, event: events.LegDrained) -> None:
        other = event.leg.other
        self._full -= {event.leg}
        self._intents.append(Resume(other))
        self._watch(other, self._monitor.held(other), progress=False)


_REACTIONS: Final[dict[Reaction, Callable[..., None]]] = {
    Reaction.IGNORE: lambda session, event: None,
    Reaction.JUDGE: Session._judge,
    Reaction.DISCARD: Session._discard,
    Reaction.JOIN: Session._join,
    Reaction.GIVE_BACK: Session._give_back,
    Reaction.EXCUSE: Session._excuse,
    Reaction.LOSE: Session._lose,
    Reaction.CLOSE: Session._close,
    Reaction.CUT: Session._cut,
    Reaction.SETTLE: Session._settle,
    Reaction.NOTE_FULL: Session._note_full,
    Reaction.NOTE_DRAINED: Session._note_drained,
    Reaction.HOLD_BACK: Session._hold_back,
    Reaction.LET_GO: Session._let_go,
    Reaction.BLAME: Session._blame,
    Reaction.MISS: Session._miss,
    Reaction.ABORT: Session._abort,
    Reaction.STOP: Session._stop,
    Reaction.STOP_IDLE: Session._stop_idle,
    Reaction.FAIL: Session._fail,
    Reaction.GIVE_UP: Session._give_up,
}
"""What a session does for each reaction: one table for all, so that a session that waits costs little."""
