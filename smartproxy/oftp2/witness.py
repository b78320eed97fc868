"""What a witness between two entities knows: the facts that the guards of the state table ask for.

Only complete, valid commands change it. It sees what both ends sent and never more than they told each other.

Standards: RFC 5024 section 9.6 (local variables), seen from outside.
"""

import enum

import attrs

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.negotiation import Agreed
from smartproxy.oftp2.roles import Profile, Role


class State(enum.Enum):
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


class Party(enum.Enum):
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

    :ivar speaker: who has the turn; ``None`` before the SSIDs are exchanged.
    :ivar offer: the Initiator's SSID.
    :ivar answer: the Responder's SSID.
    """

    profile: Profile
    state: State = State.AWAIT_SSRM
    speaker: Role | None = None
    offer: SSID | None = None
    answer: SSID | None = None
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
