"""An OFTP2 entity without sockets: Initiator or Responder, Speaker and Listener in turn.

Octets of the peer go in through :meth:`Entity.receive`; what is to be sent is drawn with :meth:`Entity.take`, so that
the transport's back-pressure holds the entity and no file is ever buffered whole. It speaks levels 1, 2, 4 and 5,
restarts, compresses buffers when that is agreed, keeps to credit and turn, and checks what it receives by itself: it
answers an error with ESID as RFC 5024 section 9 says.

Secure authentication is the kit's own *echo* scheme: the challenge carries its 20 octets in the clear where RFC 5024
has a CMS envelope. It proves nothing; it only sends the six commands through a program that does not look into them.

Standards: RFC 5024 sections 4, 5.3, 8, 9; RFC 2204; trusts no octet of the peer.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from smartproxy.oftp2 import commands
from smartproxy.oftp2.codec import Reader, decode, encode, esid
from smartproxy.oftp2.errors import EsidReason, ProtocolError
from smartproxy.oftp2.roles import Level, Profile, Role
from smartproxy.oftp2.stream import HEADER_LENGTH, LONGEST, SSRM_BUFFER, frame, judge_header
from smartproxy.oftp2.witness import Agreed, agree, answer_limits
from smartproxy.testing.events import (
    By,
    EndResponse,
    EndResponseReceived,
    EndResponseSent,
    Event,
    FileRefused,
    FileStarted,
    SessionOver,
    SessionStarted,
    unobserved,
)
from smartproxy.testing.settings import Settings, answer, offer
from smartproxy.testing.states import EntityState
from smartproxy.testing.transit import RECORD_LENGTH_NOT_SUPPORTED, Receiving, Sending
from smartproxy.testing.user_monitor import FileRefusal, Response, UserMonitor
from smartproxy.testing.virtual_file import FileIdentity, Format
from smartproxy.testing.wire import answered, efna, end_response, offered, sfid, sfna, wire_identity

CHALLENGE_OCTETS = 20


class _Violation(Exception):
    """The peer broke a rule that no decoder can see; ends the session."""

    def __init__(self, reason: EsidReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class Entity:
    """One session, seen from one of its ends.

    :ivar state: what it waits for.
    :ivar agreed: what the two SSIDs agreed on, once both are there.
    :ivar peer: the peer's SSID, once it is there.
    :ivar ended: how the session ended, once it did; the transport is to be closed when all that :meth:`take` returns
        has been sent.
    :ivar broken: the transport is to be cut when all that :meth:`take` returned has been sent, as the file being sent
        asks for.
    """

    def __init__(
        self, role: Role, settings: Settings, monitor: UserMonitor, observe: Callable[[Event], None] = unobserved
    ) -> None:
        self.role = role
        self.settings = settings
        self.state = EntityState.AWAIT_SSRM if role is Role.INITIATOR else EntityState.AWAIT_SSID
        self.agreed: Agreed | None = None
        self.peer: commands.SSID | None = None
        self.ended: SessionOver | None = None
        self._monitor = monitor
        self._observe = observe
        self._received = bytearray()
        self._to_send: list[bytes] = [SSRM_BUFFER] if role is Role.RESPONDER else []
        self._challenge = b""
        self._sending: Sending | None = None
        self._receiving: Receiving | None = None
        self._responding: Response | None = None
        self._sent: dict[FileIdentity, FileIdentity] = {}

    # What the transport calls.

    @property
    def level(self) -> Level:
        """The release level that commands are written in."""
        return self.agreed.level if self.agreed else self.settings.level

    @property
    def broken(self) -> bool:
        """Whether the connection is to be cut now."""
        return self._sending is not None and self._sending.broken

    def receive(self, octets: bytes) -> None:
        """Take octets of the peer, cut anywhere. After the end of the session they are thrown away."""
        self._received += octets
        buffer, at = self._received, 0
        try:
            while len(buffer) > at and self.state is not EntityState.ENDED:
                header = buffer[at : at + HEADER_LENGTH]
                judge_header(header, LONGEST)
                end = at + int.from_bytes(header[1:]) if len(header) == HEADER_LENGTH else len(buffer) + 1
                if end > len(buffer):
                    break
                self._take_in(bytes(memoryview(buffer)[at + HEADER_LENGTH : end]))
                at = end
        except ProtocolError as error:
            self.abort(error.reason, error.message)
        except _Violation as violation:
            self.abort(violation.reason, violation.text)
        del buffer[: len(buffer) if self.state is EntityState.ENDED else at]

    def take(self, most: int = 1 << 18) -> bytes:
        """Draw what is to be sent now: commands, or about so many octets of DATA; empty if it is the peer's move."""
        if not self._to_send and self._sending is not None and self.state is EntityState.SENDING:
            self._to_send = self._sending.draw(most)
            if self._sending.finished:
                self._send(self._sending.efid())
                self.state = EntityState.CLOSING
        taken = b"".join(self._to_send)
        self._to_send.clear()
        return taken

    def abort(self, reason: EsidReason, text: str = "") -> None:
        """End the session with an ESID."""
        if self.state is not EntityState.ENDED:
            self._to_send.append(esid(reason, text, self.level))
            self._end(SessionOver(by=By.US, reason=reason, text=text))

    def lost(self, cause: str) -> None:
        """The connection is gone; nothing happens if the session had ended before."""
        if self.state is not EntityState.ENDED:
            self._end(SessionOver(by=By.US if self.broken else By.PEER, reason=None, text=cause))

    # Commands of the peer.

    def _take_in(self, buffer: bytes) -> None:
        if self.state is EntityState.RECEIVING and buffer[0] == _DATA and self._receiving is not None:
            if self._receiving.data(buffer):
                self._send(commands.CDT())
            return
        command = decode(buffer, self.level, Profile.DEFAULT)
        if isinstance(command, commands.ESID):
            self._end(SessionOver(by=By.PEER, reason=EsidReason(command.reas), text=command.reast or ""))
            return
        step = _STEPS.get((self.state, command.NAME))
        if step is None:
            raise _Violation(
                EsidReason.PROTOCOL_VIOLATION, f"{command.NAME} instead of the {self.state.value.partition(' (')[0]}"
            )
        step(self, command)

    def _ready_message(self, _command: commands.SSRM) -> None:
        self._send(offer(self.settings))
        self.state = EntityState.AWAIT_SSID

    def _identification(self, command: commands.SSID) -> None:
        self.peer = command
        if self.settings.peers is not None:
            if command.code not in self.settings.peers:
                raise _Violation(EsidReason.USER_CODE_NOT_KNOWN, "User code not known")
            if command.pswd != self.settings.peers[command.code]:
                raise _Violation(EsidReason.INVALID_PASSWORD, "Invalid password")
        if self.role is Role.INITIATOR:
            self.agreed = _agreed(offer(self.settings), command)
        else:
            ours = answer(self.settings, command)
            self.agreed = _agreed(command, ours)
            self._send(ours)
        if not self.agreed.authentication:
            self._started()
        elif self.role is Role.INITIATOR:
            self._send(commands.SECD())
            self.state = EntityState.AWAIT_AUCH
        else:
            self.state = EntityState.AWAIT_FIRST_SECD

    def _challenge_peer(self, _command: commands.SECD) -> None:
        self._challenge = secrets.token_bytes(CHALLENGE_OCTETS)
        self._send(commands.AUCH(chal=self._challenge))
        self.state = EntityState.AWAIT_AURP

    def _answer_challenge(self, command: commands.AUCH) -> None:
        if len(command.chal) != CHALLENGE_OCTETS:
            raise _Violation(EsidReason.COMMAND_CONTAINED_INVALID_DATA, "not a challenge of the echo scheme")
        self._send(commands.AURP(rsp=command.chal))
        if self.role is Role.INITIATOR:
            self.state = EntityState.AWAIT_SECOND_SECD
        else:
            self._started()

    def _check_response(self, command: commands.AURP) -> None:
        if not secrets.compare_digest(command.rsp, self._challenge):
            raise _Violation(EsidReason.INVALID_CHALLENGE_RESPONSE, "Invalid challenge response")
        if self.role is Role.RESPONDER:
            self._send(commands.SECD())
            self.state = EntityState.AWAIT_AUCH
        else:
            self._started()

    def _start_file(self, command: commands.SFID) -> None:
        assert self.agreed is not None
        if self.role.other not in self.agreed.senders or (command.rest and not self.agreed.restart):
            raise _Violation(EsidReason.PROTOCOL_VIOLATION, "SFID against what was agreed")
        identity, file_format = offered(command)
        if file_format is Format.FIXED and not command.lrecl:
            refusal: FileRefusal | None = FileRefusal(
                reason=RECORD_LENGTH_NOT_SUPPORTED, text="Fixed records without a length"
            )
        else:
            refusal = self._monitor.judge(identity)
        if refusal is not None:
            self._send(sfna(refusal.reason, refusal.text, refusal.retry, self.level))
            self._refused(identity, By.US, "SFNA", refusal.reason, refusal.text, refusal.retry)
            self.state = EntityState.LISTENER
            return
        sink = self._monitor.store.open(identity)
        self._receiving = Receiving(identity, file_format, command, sink, self.agreed, self._observe)
        self._send(commands.SFPA(acnt=self._receiving.from_position))
        self._observe(FileStarted(identity=identity, sending=False, from_position=self._receiving.from_position))
        self.state = EntityState.RECEIVING

    def _end_file(self, command: commands.EFID) -> None:
        receiving, self._receiving = self._receiving, None
        assert receiving is not None
        mismatch = receiving.compare(command)
        if mismatch is not None:
            reason, text = mismatch
            self._monitor.store.discard(receiving.identity, receiving.sink)
            self._send(efna(reason, text, self.level))
            self._refused(receiving.identity, By.US, "EFNA", reason, text, False)
            self.state = EntityState.LISTENER
            return
        stored = self._monitor.store.keep(receiving.identity, receiving.sink)
        self._monitor.arrived(self._peer_code, receiving.identity)
        self._observe(receiving.received(stored))
        asks = self.settings.ask_for_turn and self._monitor.has_anything_for(self._peer_code)
        self._send(commands.EFPA(cd="Y" if asks else "N"))
        self.state = EntityState.AWAIT_CD if asks else EntityState.LISTENER

    def _end_response(self, command: commands.EERP | commands.NERP) -> None:
        identity = answered(command)
        nerp = command if isinstance(command, commands.NERP) else None
        self._observe(
            EndResponseReceived(
                identity=self._sent.get(identity, identity),
                kind=EndResponse.NERP if nerp else EndResponse.EERP,
                reason=nerp.reas if nerp else 0,
                text=(nerp.reast or "") if nerp else "",
            )
        )
        self._send(commands.RTR())
        self.state = EntityState.LISTENER

    def _turn_given(self, _command: commands.CD) -> None:
        self._speak(fresh=self.state is EntityState.LISTENER)

    def _ready_to_receive(self, _command: commands.RTR) -> None:
        response, self._responding = self._responding, None
        assert response is not None
        self._observe(EndResponseSent(identity=response.identity, kind=response.kind))
        self._speak()

    def _file_accepted(self, command: commands.SFPA) -> None:
        assert self._sending is not None
        if command.acnt > self._sending.restart_at:
            raise _Violation(EsidReason.PROTOCOL_VIOLATION, "a restart position behind the one offered")
        self._sending.begin(command.acnt)
        self._observe(FileStarted(identity=self._sending.file.identity, sending=True, from_position=command.acnt))
        self.state = EntityState.SENDING

    def _file_refused(self, command: commands.SFNA | commands.EFNA) -> None:
        sending, self._sending = self._sending, None
        assert sending is not None
        retry = isinstance(command, commands.SFNA) and command.rrtr == "Y"
        text = command.reast or ""
        self._refused(sending.file.identity, By.PEER, command.NAME, command.reas, text, retry)
        self._speak()

    def _credit(self, _command: commands.CDT) -> None:
        assert self._sending is not None
        if not self._sending.credited():
            raise _Violation(EsidReason.PROTOCOL_VIOLATION, "CDT although there is credit left")

    def _late_credit(self, _command: commands.CDT) -> None:
        """Credit for the last DATA of a file may cross its EFID (section 4.4.1)."""

    def _file_taken(self, command: commands.EFPA) -> None:
        sending, self._sending = self._sending, None
        assert sending is not None
        self._observe(sending.taken())
        if command.cd == "Y":
            self._send(commands.CD())
            self.state = EntityState.LISTENER
        else:
            self._speak()

    # What we do with the turn, and what we say.

    def _started(self) -> None:
        assert self.agreed is not None
        agreed = self.agreed
        self._observe(
            SessionStarted(
                peer_code=self._peer_code,
                level=int(agreed.level),
                buffer_size=agreed.buffer_size,
                credit=agreed.credit,
                compression=agreed.compression,
                restart=agreed.restart,
                authentication=agreed.authentication,
            )
        )
        if self.role is Role.INITIATOR:
            self._speak()
        else:
            self.state = EntityState.LISTENER

    def _speak(self, fresh: bool = False) -> None:
        """Use the turn: owed responses first, then files; without either, end the session or hand the turn back.

        :param fresh: the peer has just handed over a turn that we did not ask for: only then may we end the session
            normally (section 4.6.1).
        """
        assert self.agreed is not None
        while (response := self._monitor.next_response(self._peer_code)) is not None:
            command = end_response(response, self.settings.code, self.level)
            if command is not None:
                self._responding = response
                self._send(command)
                self.state = EntityState.AWAIT_RTR
                return
        file = self._monitor.next_file(self._peer_code) if self.role in self.agreed.senders else None
        if file is not None:
            self._sending = Sending(file, self.agreed, self._observe)
            self._sent[wire_identity(file.identity, self.level)] = file.identity
            self._send(sfid(file, self.level, self._sending.restart_at))
            self.state = EntityState.OPENING
        elif fresh:
            self.abort(EsidReason.NORMAL)
        else:
            self._send(commands.CD())
            self.state = EntityState.LISTENER_TURNED

    @property
    def _peer_code(self) -> str:
        assert self.peer is not None
        return self.peer.code

    def _refused(self, identity: FileIdentity, by: By, command: str, reason: int, text: str, retry: bool) -> None:
        self._observe(FileRefused(identity=identity, by=by, command=command, reason=reason, text=text, retry=retry))

    def _send(self, command: commands.Command) -> None:
        self._to_send.append(frame(encode(command, self.level)))

    def _end(self, ended: SessionOver) -> None:
        self.state = EntityState.ENDED
        self.ended = ended
        if self._receiving is not None:
            self._observe(self._receiving.interrupted())
        if self._sending is not None:
            self._observe(self._sending.interrupted())
            self._monitor.put_back(self._peer_code, self._sending.file)
        if self._responding is not None:
            self._monitor.put_back(self._peer_code, self._responding)
        self._observe(ended)


_DATA = commands.DATA.OCTET[0]


# Absent means forbidden: the peer is told ESID 02.
def _agreed(asked: commands.SSID, given: commands.SSID) -> Agreed:
    """What two SSIDs agree on.

    :raises ProtocolError: if the answer takes what the offer does not leave.
    """
    octets = encode(given)
    Reader(commands.SSID, len(octets), Level(given.lev), limits=answer_limits(asked)).judge(octets)
    return agree(asked, given)


_STEPS: Mapping[tuple[EntityState, str], Callable[[Entity, Any], None]] = {
    (EntityState.AWAIT_SSRM, "SSRM"): Entity._ready_message,
    (EntityState.AWAIT_SSID, "SSID"): Entity._identification,
    (EntityState.AWAIT_FIRST_SECD, "SECD"): Entity._challenge_peer,
    (EntityState.AWAIT_SECOND_SECD, "SECD"): Entity._challenge_peer,
    (EntityState.AWAIT_AUCH, "AUCH"): Entity._answer_challenge,
    (EntityState.AWAIT_AURP, "AURP"): Entity._check_response,
    (EntityState.LISTENER, "SFID"): Entity._start_file,
    (EntityState.LISTENER, "EERP"): Entity._end_response,
    (EntityState.LISTENER, "NERP"): Entity._end_response,
    (EntityState.LISTENER, "CD"): Entity._turn_given,
    (EntityState.LISTENER_TURNED, "SFID"): Entity._start_file,
    (EntityState.LISTENER_TURNED, "EERP"): Entity._end_response,
    (EntityState.LISTENER_TURNED, "NERP"): Entity._end_response,
    (EntityState.RECEIVING, "EFID"): Entity._end_file,
    (EntityState.AWAIT_CD, "CD"): Entity._turn_given,
    (EntityState.AWAIT_RTR, "RTR"): Entity._ready_to_receive,
    (EntityState.OPENING, "SFPA"): Entity._file_accepted,
    (EntityState.OPENING, "SFNA"): Entity._file_refused,
    (EntityState.SENDING, "CDT"): Entity._credit,
    (EntityState.CLOSING, "CDT"): Entity._late_credit,
    (EntityState.CLOSING, "EFPA"): Entity._file_taken,
    (EntityState.CLOSING, "EFNA"): Entity._file_refused,
}
