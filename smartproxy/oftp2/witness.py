"""What a witness between two entities knows: the state, what the two SSIDs agreed on, and the file that is under way.

These are the facts that the guards of the state table ask for. Only complete, valid commands change them. The witness
sees what both ends sent and never more than they told each other. The Responder's SSID is judged field by field against
the Initiator's while it arrives (:func:`answer_limits`); :func:`agree` is the result, and judges nothing again.

Standards: RFC 5024 section 9.6 (local variables), seen from outside; sections 3.2.1, 4.2.4, 5.3.2 and predicates P2,
P8, P10 of section 9.8.3 (negotiation).
"""

import functools
from collections.abc import Mapping
from typing import Final

import attrs

from smartproxy.oftp2 import grammars
from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import AuthenticationMismatch, CreditExceeded, Incompatible
from smartproxy.oftp2.fields import Rule
from smartproxy.oftp2.roles import Level, Profile, Role, Symbol


class State(Symbol):
    """Where the session is (RFC 5024 section 9.3, both entities projected on one)."""

    AWAIT_SSRM = "the Responder has not greeted yet"
    AWAIT_I_SSID = "the Initiator has to identify itself"
    AWAIT_R_SSID = "the Responder has to identify itself"
    AWAIT_I_SECD = "the Initiator has to ask for a challenge"
    AWAIT_R_AUCH = "the Responder has to challenge the Initiator"
    AWAIT_I_AURP = "the Initiator has to answer the challenge"
    AWAIT_R_SECD = "the Responder has to ask for a challenge"
    AWAIT_I_AUCH = "the Initiator has to challenge the Responder"
    AWAIT_R_AURP = "the Responder has to answer the challenge"
    IDLE = "the Speaker has the turn"
    IDLE_TURNED = "the Speaker was just given the turn and may end the session"
    AWAIT_RTR = "the Listener has to confirm an end response"
    OPENING = "the Listener has to answer SFID"
    SENDING = "the Speaker sends a Virtual File"
    CLOSING = "the Listener has to answer EFID"
    AWAIT_CD = "the Speaker has to give the turn away"
    ENDING = "ESID was sent"


class Party(Symbol):
    """Who sends: by place before the session is set up, by turn afterwards."""

    INITIATOR = "I"
    RESPONDER = "R"
    SPEAKER = "S"
    LISTENER = "L"


#: The states in which who may send goes by place, not by turn.
BY_PLACE = frozenset(
    {
        State.AWAIT_SSRM,
        State.AWAIT_I_SSID,
        State.AWAIT_R_SSID,
        State.AWAIT_I_SECD,
        State.AWAIT_R_AUCH,
        State.AWAIT_I_AURP,
        State.AWAIT_R_SECD,
        State.AWAIT_I_AUCH,
        State.AWAIT_R_AURP,
    }
)


class SessionPhase(Symbol):
    """How far a session is, in six steps, for deadlines and displays."""

    AWAIT_SSRM = "awaiting SSRM"
    AWAIT_SSID = "awaiting SSID"
    AUTHENTICATING = "authenticating"
    IDLE = "idle"
    TRANSFER = "transfer"
    ENDED = "ended"


PHASES: Final[Mapping[State, SessionPhase]] = {
    State.AWAIT_SSRM: SessionPhase.AWAIT_SSRM,
    State.AWAIT_I_SSID: SessionPhase.AWAIT_SSID,
    State.AWAIT_R_SSID: SessionPhase.AWAIT_SSID,
    State.AWAIT_I_SECD: SessionPhase.AUTHENTICATING,
    State.AWAIT_R_AUCH: SessionPhase.AUTHENTICATING,
    State.AWAIT_I_AURP: SessionPhase.AUTHENTICATING,
    State.AWAIT_R_SECD: SessionPhase.AUTHENTICATING,
    State.AWAIT_I_AUCH: SessionPhase.AUTHENTICATING,
    State.AWAIT_R_AURP: SessionPhase.AUTHENTICATING,
    State.IDLE: SessionPhase.IDLE,
    State.IDLE_TURNED: SessionPhase.IDLE,
    State.AWAIT_RTR: SessionPhase.IDLE,
    State.OPENING: SessionPhase.TRANSFER,
    State.SENDING: SessionPhase.TRANSFER,
    State.CLOSING: SessionPhase.TRANSFER,
    State.AWAIT_CD: SessionPhase.IDLE,
    State.ENDING: SessionPhase.ENDED,
}


@attrs.frozen(kw_only=True)
class Agreed:
    """The outcome of a negotiation.

    :ivar level: the lower of the two release levels.
    :ivar buffer_size: the lower of the two SSIDSDEB: the most octets of a Data Exchange Buffer, command octet included.
    :ivar credit: SSIDCRED of the Responder: the window.
    :ivar compression: whether subrecords may be compressed.
    :ivar restart: whether a file may start elsewhere than at its beginning.
    :ivar authentication: whether secure authentication follows.
    :ivar senders: who may send files.
    """

    level: Level
    buffer_size: int
    credit: int
    compression: bool
    restart: bool
    authentication: bool
    senders: frozenset[Role]


@attrs.define(kw_only=True)
class Transfer:
    """A Virtual File on its way, from SFID to the answer of EFID.

    :ivar sender: whose file it is in this session.
    :ivar dataset_name: SFIDDSN.
    :ivar date: SFIDDATE.
    :ivar time: SFIDTIME.
    :ivar destination: SFIDDEST.
    :ivar originator: SFIDORIG.
    :ivar format: SFIDFMT.
    :ivar unstructured: whether it is sent without records: formats U and T, and what was secured or compressed.
    :ivar offered: SFIDREST, where the Speaker would begin.
    :ivar restart: SFPAACNT, where it does begin.
    :ivar octets: octets of the Virtual File sent so far in this session.
    :ivar credit: Data Exchange Buffers that the Speaker may send before the next CDT.
    :ivar ended: whether the last record sent has its end-of-record flag; ``None`` before the first DATA.
    :ivar oversize: Data Exchange Buffers that were one octet too long.
    :ivar accepted: whether the Listener has confirmed it with EFPA.
    """

    sender: Role
    dataset_name: str
    date: int
    time: int
    destination: str
    originator: str
    format: str
    unstructured: bool
    offered: int
    restart: int = 0
    octets: int = 0
    credit: int = 0
    ended: bool | None = None
    oversize: int = 0
    accepted: bool = False


@attrs.define(kw_only=True)
class Witness:
    """The facts of a session.

    :ivar profiles: how literally the RFC is read for what each side sends.
    :ivar speaker: who has the turn; ``None`` before the SSIDs are exchanged.
    :ivar offer: the Initiator's SSID.
    """

    profiles: Mapping[Role, Profile]
    state: State = State.AWAIT_SSRM
    speaker: Role | None = None
    offer: SSID | None = None
    agreed: Agreed | None = None
    transfer: Transfer | None = None

    def party(self, sender: Role) -> Party:
        """Return what a sender is in the present state."""
        if self.state in BY_PLACE or self.speaker is None:
            return Party.INITIATOR if sender is Role.INITIATOR else Party.RESPONDER
        return Party.SPEAKER if sender is self.speaker else Party.LISTENER

    @property
    def terms(self) -> Agreed:
        """What was agreed; in no state before the SSIDs are exchanged."""
        assert self.agreed is not None
        return self.agreed

    @property
    def file(self) -> Transfer:
        """The file that is under way; in no state without one."""
        assert self.transfer is not None
        return self.transfer


def answer_limits(offer: SSID) -> Mapping[str, Rule]:
    """Return what the Responder's SSID must keep to, by attribute, beyond its own format."""
    return _answer_limits(offer.sr, offer.cred, offer.spec, offer.auth or "N")


@functools.lru_cache(maxsize=64)
def _answer_limits(sr: str, cred: int, spec: str, authentication: str) -> Mapping[str, Rule]:
    limits = {
        "sr": _rule(Incompatible, "direction", *{"S": "RB", "R": "SB", "B": "SRB"}[sr]),
        "cred": Rule(grammar=grammars.Decimal(((1, cred),)), error=CreditExceeded, name="negotiation.credit"),
        "auth": _rule(AuthenticationMismatch, "authentication", authentication),
    }
    if spec == "Y":
        limits["spec"] = _rule(Incompatible, "special_logic", "N")
    if authentication == "Y":
        limits["lev"] = _rule(AuthenticationMismatch, "authentication", str(Level.OFTP_2_0.value))
    return limits


def _rule(error: type[Incompatible] | type[AuthenticationMismatch], name: str, *allowed: str) -> Rule:
    return Rule(grammar=grammars.Values(value.encode() for value in allowed), error=error, name=f"negotiation.{name}")


def agree(offer: SSID, answer: SSID) -> Agreed:
    """Bring the two SSIDs together.

    :param offer: the Initiator's.
    :param answer: the Responder's, which keeps to :func:`answer_limits`.
    """
    both = {name: getattr(offer, name) == getattr(answer, name) == "Y" for name in ("cmpr", "rest", "auth")}
    return Agreed(
        level=Level(min(offer.lev, answer.lev)),
        buffer_size=min(offer.sdeb, answer.sdeb),
        credit=answer.cred,
        compression=both["cmpr"],
        restart=both["rest"],
        authentication=both["auth"],
        senders=_senders(offer.sr, answer.sr),
    )


@functools.lru_cache(maxsize=9)
def _senders(initiator: str, responder: str) -> frozenset[Role]:
    """Who may send files, by both SSIDSR: one set for all sessions."""
    sending = {Role.INITIATOR: initiator + responder, Role.RESPONDER: responder + initiator}
    return frozenset(role for role, sr in sending.items() if sr[0] in "SB" and sr[1] in "RB")
