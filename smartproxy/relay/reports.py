"""What a session tells the log, in the words of the event catalogue: of itself, and of the Virtual Files it carries.

Duty: one method per event. Adds who the session is and which side a role is; never a peer's octets beyond decoded
fields, in which the monitor masked the secrets. Of files it says only what the two entities said to each other; it
judges nothing and invents nothing.
Standards: RFC 5024 sections 5.3.3 to 5.3.10 and 5.3.13, 5.3.14.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from smartproxy.oftp2.commands import EERP, EFID, EFNA, EFPA, NERP, SFID, SFNA, SFPA, SSID
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.judgement import Observation
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import HEADER_LENGTH
from smartproxy.oftp2.witness import Transfer
from smartproxy.policy.faults import LevelTooLow, PolicyRefusal, QuotaExceeded
from smartproxy.policy.limits import NUMBER_MOST
from smartproxy.policy.outcomes import TransferOutcome
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.ending import Ending, side_of, stamp
from smartproxy.relay.intents import Tell
from smartproxy.relay.openings import Opening, SessionFacts

_STATION_ADVICE = "Check that the station runs, and that it listens where the configuration says."

COMMAND: Final = "session.command"

_NOTHING: Final[Mapping[str, object]] = {}


def _nobody(name: str, session: object, partner: object) -> bool:
    """Nobody wants to be told of commands."""
    return False


class Reporter:
    """Words the events of one session.

    :param session: the session's id.
    :param opening: who is who.
    :ivar wants: tells whether an event of a name, a session and a partner is worth being worded now.
    """

    __slots__ = ("_direction", "_facts", "_opening", "_session", "wants")

    def __init__(self, session: str, opening: Opening) -> None:
        self._session = session
        self._opening = opening
        self._direction = opening.direction.value
        self._facts = opening.facts
        self.wants: Callable[[str, object, object], bool] = _nobody

    def ask(self, wants: Callable[[str, object, object], bool]) -> None:
        """Learn from this whether an event of a name, a session and a partner is worth being worded."""
        self.wants = wants

    def identified(self, facts: SessionFacts) -> Tell:
        """The SSIDCODE is one of the partner's; ``facts`` hold it from now on."""
        self._facts = facts
        return self._report(
            "identity.accepted",
            partner=facts.partner,
            code=facts.code,
            release_level=facts.level,
            certificate_sha256=facts.certificate_sha256,
        )

    def refused(self, ending: Ending, told: Mapping[str, str], of: SSID | SFID | None = None) -> Tell:
        """The session may not begin: policy says no, or the other side is not there.

        :param of: the offer that was refused, or the Initiator's SSID; the station's SSIDCODE is nobody else's matter.
        """
        given: dict[str, object] = {}
        match of:
            case SSID():
                given = {"release_level": of.lev}
                if (Role.INITIATOR if ending.by is None else ending.by) is self._opening.partner:
                    given["code"] = of.code
            case SFID():
                given = {"originator": of.orig, "destination": of.dest, "dataset": of.dsn}
        fields = {
            "outcome": ending.outcome,
            "cause": ending.cause,
            "message": ending.message,
            "reason": ending.reason,
            "ended_by": ending.ended_by,
            **told,
            **given,
        }
        if isinstance(ending.fault, LevelTooLow) and ending.by is not None:
            fields["level_by"] = self._opening.side(ending.by)
        if isinstance(ending.fault, PolicyRefusal) and not isinstance(ending.fault, QuotaExceeded):
            return self._report("identity.refused", **fields, certificate_sha256=self._facts.certificate_sha256)
        return self._report("session.refused", **fields)

    def unreachable(self, ending: Ending) -> Tell:
        """The station is not there."""
        return self._report("station.unreachable", cause=ending.cause, message=ending.message, advice=_STATION_ADVICE)

    def started(self) -> Tell:
        """Partner and station can talk to each other."""
        facts = self._facts
        return self._report(
            "session.started",
            code=facts.code,
            release_level=facts.level,
            profile=facts.profile.value,
            tls=facts.tls,
            certificate_sha256=facts.certificate_sha256,
        )

    def command(self, observation: Observation) -> Tell:
        """A command was relayed."""
        return self._report(
            COMMAND,
            command=observation.command,
            sender=observation.sender.word,
            side=self._opening.side(observation.sender),
            fields={name: plain(value) for name, value in observation.fields.items()},
            state=observation.state.name,
            length=HEADER_LENGTH + observation.length,
            anomalies=len(observation.anomalies) or None,
        )

    def anomalies(self, observation: Observation) -> Iterator[Tell]:
        """Departures from the RFC were tolerated."""
        for anomaly in observation.anomalies:
            yield self._report(
                "session.anomaly",
                anomaly=anomaly.number,
                rule=anomaly.rule,
                section=anomaly.section,
                command=anomaly.command,
                field=anomaly.field,
                state=observation.before.name,
                **self._whose(observation.sender),
            )

    def file(self, report: Tell) -> Tell:
        """A file's event, with who the session is."""
        return self._report(report.name, **report.fields)

    def violated(self, error: ProtocolError, excerpt: str, ending: Ending, told: Mapping[str, str]) -> Tell:
        """One side broke the protocol; the excerpt is what the monitor shows of the octets at fault."""
        return self._report(
            "session.violation",
            rule=error.rule,
            message=error.message,
            section=error.section,
            command=error.command,
            field=error.field,
            state=error.state,
            offset=error.offset,
            position=error.position,
            excerpt=excerpt,
            reason=error.reason,
            ended_by=ending.ended_by,
            phase=ending.stage.phase,
            **self._whose(ending.by),
            **told,
        )

    def expired(self, timer: Timer, seconds: float, ending: Ending, told: Mapping[str, str]) -> Tell:
        """A deadline passed."""
        return self._report(
            "session.expired",
            timer=timer.value,
            seconds=seconds,
            ended_by=ending.ended_by,
            cause=ending.cause,
            message=ending.message,
            reason=ending.reason,
            phase=ending.stage.phase,
            **self._whose(ending.by),
            **told,
        )

    def failed(self, ending: Ending, told: Mapping[str, str]) -> Tell:
        """A connection was lost, or the daemon stops, or has a bug."""
        return self._report(
            "session.failed",
            outcome=ending.outcome,
            cause=ending.cause,
            message=ending.message,
            reason=ending.reason,
            phase=ending.stage.phase,
            side=side_of(self._opening, ending),
            ended_by=ending.ended_by,
            **told,
        )

    def closed(self, ending: Ending) -> Tell:
        """The peer went away before there was a session."""
        return self._report(
            "session.abandoned",
            outcome=ending.outcome,
            cause=ending.cause,
            message=ending.message,
            reason=ending.reason,
            ended_by=ending.ended_by,
            tls=self._facts.tls,
        )

    def ended(self, fields: Mapping[str, object]) -> Tell:
        """The session ended."""
        return self._report("session.ended", **fields)

    def told(self, told: Mapping[Role, str]) -> dict[str, str]:
        """What was said to whom, by the catalogue's names."""
        return {f"told_{self._opening.side(role)}": words for role, words in told.items()}

    def _whose(self, sender: Role | None) -> dict[str, str]:
        return {} if sender is None else {"sender": sender.word, "side": self._opening.side(sender)}

    def _report(self, name: str, **fields: object) -> Tell:
        known = self._opening.facts
        always = {"session": self._session, "partner": known.partner, "peer": known.peer, "direction": self._direction}
        return Tell(name, {**always, **fields})


def plain(value: object) -> str | int | bool | None:
    """A field's value as records hold it: octets only by their number, a number above their bound as text."""
    if isinstance(value, bytes):
        return f"{len(value)} octets"
    if isinstance(value, int) and value > NUMBER_MOST:
        return str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


class FileLedger:
    """Follows the one Virtual File that can be under way, and the end responses.

    :ivar sent: told the octets and records of each file that was sent whole.
    :ivar unconfirmed: the files that were sent whole, and whose receiver said neither EFPA nor EFNA.
    """

    __slots__ = ("_named", "_octets", "_offer", "_partner", "_records", "sent", "unconfirmed")

    def __init__(self, partner: Role) -> None:
        self.unconfirmed = 0
        self.sent: Callable[[int, int], object] | None = None
        self._partner = partner
        self._offer: SFID | None = None
        self._named = _NOTHING
        self._octets = 0
        self._records: int | None = None

    @property
    def size(self) -> int | None:
        """SFIDFSIZ of the file under way, in blocks of 1024 octets."""
        return None if self._offer is None else self._offer.fsiz

    def observe(self, observation: Observation) -> Sequence[Tell]:
        """Take note of a command; return what is to be told of it."""
        if observation.transfer is not None:
            self._octets = observation.transfer.octets
        match observation.value:
            case SFID() as offer:
                self._offer, self._named, self._records = offer, self._names(offer, observation.sender), None
            case SFPA() as accepted if self._offer is not None:
                offer = self._offer
                # SFPAACNT and EFIDRCNT have up to 17 digits; what no event holds is not told.
                position = None if accepted.acnt > NUMBER_MOST else accepted.acnt
                facts = {"size": offer.fsiz, "position": position, "restart": offer.rest > 0}
                return (Tell("file.started", {**self._named, **facts}),)
            case EFID() as end:
                self._records = end.rcnt
                if self.sent is not None:
                    self.sent(self._octets, end.rcnt)
            case EFPA():
                return self._ended(TransferOutcome.COMPLETED)
            case (SFNA() | EFNA()) as refused:
                return self._ended(TransferOutcome.REFUSED, answer=refused.reas, reason_text=refused.reast)
            case (EERP() | NERP()) as response:
                return (Tell("file.response", self._response(response, observation.sender)),)
        return ()

    def break_off(self, transfer: Transfer | None) -> Sequence[Tell]:
        """The session ended: tell of the file that was under way, if one was, with what was sent of it.

        A file whose EFID passed was sent whole, and its receiver may have it: it is not confirmed, and not lost.
        """
        if transfer is not None:
            self._octets = transfer.octets
        whole = self._offer is not None and self._records is not None
        self.unconfirmed += whole
        return self._ended(TransferOutcome.UNCONFIRMED if whole else TransferOutcome.LOST)

    def _ended(self, outcome: TransferOutcome, **answer: object) -> Sequence[Tell]:
        offer = self._offer
        if offer is None:
            return ()
        records = self._records
        if records is not None and records > NUMBER_MOST:
            records = None
        sent = {"size": offer.fsiz, "octets": self._octets, "records": records}
        told = Tell("file.ended", {"outcome": outcome, **self._named, **sent, **answer})
        self._offer, self._octets = None, 0
        return (told,)

    def _names(self, offer: SFID, sender: Role) -> dict[str, object]:
        """What both events of a file say of it."""
        return {
            "link": self._link(sender),
            "sender": sender.word,
            "dataset": offer.dsn,
            "stamp": stamp(offer.date, offer.time),
            "originator": offer.orig,
            "destination": offer.dest,
            "format": offer.fmt,
        }

    def _response(self, response: EERP | NERP, sender: Role) -> dict[str, object]:
        fields: dict[str, object] = {
            "command": response.NAME,
            "link": self._link(sender),
            "sender": sender.word,
            "dataset": response.dsn,
            "stamp": stamp(response.date, response.time),
            "originator": response.orig,
            "destination": response.dest,
        }
        if isinstance(response, NERP):
            fields |= {"answer": response.reas, "reason_text": response.reast}
        return fields

    def _link(self, sender: Role) -> str:
        return "in" if sender is self._partner else "out"
