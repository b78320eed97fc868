"""The session monitor: judges both directions of one session, octet for octet, and says what may be forwarded.

Octets in, :class:`Judgement` out. An Exchange Buffer is let pass when it is complete and nothing in it is wrong, and
then as it came; it is refused with the octet that makes it wrong, whether the rest has come or not. However a stream is
cut, the verdict is the same. At most one unfinished buffer is held per direction. Trusts no octet; raises nothing;
never makes, alters or answers a command; opens no file content.

Standards: RFC 5024 sections 4, 5, 7, 8 and 9.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from smartproxy.oftp2 import regular, stream
from smartproxy.oftp2.codec import Reader
from smartproxy.oftp2.commands import BY_OCTET, DATA, EXCHANGE_BUFFER_LEAST, SSID, Command
from smartproxy.oftp2.errors import Anomaly, BadLength, ProtocolError, UnexpectedCommand, UnknownCommand, note
from smartproxy.oftp2.fields import Rule
from smartproxy.oftp2.judgement import Counters, Judgement, Observation, excerpt
from smartproxy.oftp2.regular import NO_LIMITS
from smartproxy.oftp2.roles import ROLES, Level, Profile, Role
from smartproxy.oftp2.states import TABLE, Guard, Transition
from smartproxy.oftp2.subrecords import END_OF_RECORD, walk
from smartproxy.oftp2.witness import PHASES, Agreed, SessionPhase, State, Transfer, Witness


@attrs.frozen(kw_only=True)
class Ceilings:
    """The longest buffers that are waited for, whatever the protocol would allow.

    :ivar before_ssid: Stream Transmission Buffer before both SSIDs are there (an ESID with the longest text is 1010).
    :ivar command: Command Exchange Buffer afterwards.
    """

    before_ssid: int = 1010
    command: int = 16384


_CEILINGS: Final = Ceilings()


@attrs.define
class _Direction:
    """One direction's unfinished buffer and how far it has been judged.

    :ivar longest: the longest Stream Transmission Buffer that is waited for.
    :ivar data_most: the most octets of a Data Exchange Buffer, once the two SSIDs are there.
    :ivar partial: its octets; empty while a buffer is judged where it arrived.
    :ivar length: of the Stream Transmission Buffer; 0 before its command octet has been judged.
    :ivar step: what the state table says of the command when its octet came.
    :ivar limits: what the state of the session leaves of the values of a command's fields.
    :ivar reader: judges a command that has not come whole, or that is not regular.
    :ivar chain: index of the next subrecord header, from the start of the header; 0 for commands.
    """

    sender: Role
    longest: int
    data_most: int = 0
    counters: Counters = attrs.Factory(Counters)
    partial: bytes | bytearray = b""
    length: int = 0
    kind: type[Command] = DATA
    step: Transition | None = None
    limits: Mapping[str, Rule] = NO_LIMITS
    reader: Reader | None = None
    chain: int = 0
    units: int = 0
    last: int = 0
    departures: tuple[Anomaly, ...] = ()

    def finish(self) -> None:
        """Count the buffer that was let pass, and be ready for the next."""
        self.counters.octets += self.length
        self.counters.buffers += 1
        self.length = self.chain = self.units = self.last = 0
        self.reader = None


class Monitor:
    """Judges one session.

    :ivar ended: whether an ESID was seen.
    :ivar observe_data: make an observation of each DATA, which costs speed; may be changed between two calls.
    :ivar error: the violation that ended the judging.
    """

    __slots__ = ("_ceilings", "_initiator", "_observations", "_responder", "_witness", "error", "observe_data")

    def __init__(
        self,
        profile: Profile | Mapping[Role, Profile] = Profile.DEFAULT,
        *,
        ceilings: Ceilings | None = None,
        observe_data: bool = False,
    ) -> None:
        """Start before SSRM.

        :param profile: how literally the RFC is read, for both sides or for what each of them sends.
        """
        profiles = dict.fromkeys(ROLES, profile) if isinstance(profile, Profile) else profile
        self._witness = Witness(profiles=profiles)
        self._ceilings = ceilings or _CEILINGS
        self.observe_data = observe_data
        self._initiator = _Direction(Role.INITIATOR, self._ceilings.before_ssid)
        self._responder = _Direction(Role.RESPONDER, self._ceilings.before_ssid)
        self._observations: tuple[Observation, ...] = ()
        self.error: ProtocolError | None = None

    @property
    def state(self) -> State:
        """Where the session is."""
        return self._witness.state

    @property
    def phase(self) -> SessionPhase:
        """How far the session is, in six steps."""
        return PHASES[self._witness.state]

    @property
    def agreed(self) -> Agreed | None:
        """What the two SSIDs agreed on."""
        return self._witness.agreed

    @property
    def speaker(self) -> Role | None:
        """Who has the turn."""
        return self._witness.speaker

    @property
    def transfer(self) -> Transfer | None:
        """The Virtual File that is under way."""
        return self._witness.transfer

    @property
    def ended(self) -> bool:
        """Whether an ESID was seen."""
        return self._witness.state is State.ENDING

    @property
    def counters(self) -> Mapping[Role, Counters]:
        """What each side has sent."""
        return {Role.INITIATOR: self._initiator.counters, Role.RESPONDER: self._responder.counters}

    @property
    def level_for_esid(self) -> Level:
        """The release level in whose layout an ESID would be understood."""
        if self._witness.agreed is not None:
            return self._witness.agreed.level
        if self._witness.offer is not None:
            return Level(self._witness.offer.lev)
        reader = self._initiator.reader
        return (reader.level if reader is not None else None) or Level.OFTP_2_0

    @property
    def room_for_esid(self) -> int:
        """The octets of an Exchange Buffer that whoever gets an ESID takes, by the SSIDs so far."""
        if self._witness.agreed is not None:
            return self._witness.agreed.buffer_size
        return EXCHANGE_BUFFER_LEAST if self._witness.offer is None else self._witness.offer.sdeb

    def held(self, sender: Role) -> int:
        """Return the number of octets of a started, unfinished buffer."""
        return len(self._direction(sender).partial)

    def _direction(self, sender: Role) -> _Direction:
        return self._initiator if sender is Role.INITIATOR else self._responder

    def judge(self, sender: Role, octets: bytes) -> Judgement:
        """Judge what one side has sent.

        :param sender: which side.
        :param octets: what has arrived since the last call.
        """
        if self.error is not None:
            return Judgement(error=self.error)
        direction = self._initiator if sender is Role.INITIATOR else self._responder
        head: bytes | bytearray = b""
        begin = position = 0
        wrong = ""
        try:
            if direction.partial and not self.ended:
                begin, complete = self._resume(direction, octets)
                position = begin
                if complete:
                    head, direction.partial = direction.partial, head
            witness, size = self._witness, len(octets)
            while position < size and witness.state is not State.ENDING:
                if witness.state is State.SENDING:
                    position = self._run(direction, octets, position)
                    if position == size:
                        break
                end = self._advance(direction, octets, position, size)
                if end is None:
                    direction.partial = bytearray(memoryview(octets)[position:])
                    break
                position = end
        except ProtocolError as error:
            error.sender, error.state, error.position = sender, self.state.name, direction.counters.octets
            self.error = error
            fault = direction.partial or octets[position : position + (error.offset or 0) + 1]
            wrong = excerpt(fault, error)
            self._initiator.partial = self._responder.partial = b""
        # What was observed is not needed here any more: the next octets may come in hours.
        observations, self._observations = self._observations, ()
        held = len(direction.partial)
        if begin == 0 and position == len(octets):
            return Judgement(
                octets=bytes(octets), observations=observations, error=self.error, excerpt=wrong, held=held
            )
        discarded = len(octets) - position if self.ended and self.error is None else 0
        direction.counters.discarded += discarded
        return Judgement(
            octets=b"".join((head, memoryview(octets)[begin:position])),
            observations=observations,
            error=self.error,
            discarded=discarded,
            excerpt=wrong,
            held=held,
        )

    def _resume(self, direction: _Direction, octets: bytes) -> tuple[int, bool]:
        """Go on with the unfinished buffer; return how many octets were taken and whether it is complete."""
        position, complete = 0, False
        while position < len(octets) and not complete:
            wanted = (direction.length or stream.SHORTEST) - len(direction.partial)
            direction.partial += octets[position : position + wanted]
            position = min(position + wanted, len(octets))
            complete = self._advance(direction, direction.partial, 0, len(direction.partial)) is not None
        return position, complete

    def _run(self, direction: _Direction, octets: bytes, position: int) -> int:
        """Pass as many complete DATA as are beyond doubt; return the index behind them."""
        witness = self._witness
        if direction.sender is not witness.speaker or self.observe_data:
            return position
        transfer = witness.file
        longest = stream.HEADER_LENGTH + direction.data_most
        end, buffers, units, last, greatest = stream.run(
            octets, position, transfer.credit, longest, witness.terms.compression
        )
        if buffers:
            direction.counters.octets += end - position
            direction.counters.buffers += buffers
            self._sent(direction, buffers, units, last)
            if greatest and direction.data_most > witness.terms.buffer_size:
                self._oversize(direction, greatest)
        return end

    def _sent(self, direction: _Direction, buffers: int, units: int, last: int) -> None:
        transfer = self._witness.file
        transfer.credit -= buffers
        transfer.octets += units
        if last or transfer.ended is None:
            transfer.ended = bool(last & END_OF_RECORD)

    def _oversize(self, direction: _Direction, buffers: int) -> None:
        transfer = self._witness.file
        if transfer.oversize == 0 or self.observe_data:
            direction.departures += (note(3, "length.data", "5.3.2", "DATA"),)
        transfer.oversize += buffers

    def _advance(self, direction: _Direction, octets: bytes | bytearray, start: int, have: int) -> int | None:
        """Judge the buffer that begins at ``start`` as far as it has arrived.

        :return: the index behind it if it was complete and has taken effect.
        :raise ProtocolError: at the first octet that makes it wrong.
        """
        if direction.length == 0:
            length = int.from_bytes(octets[start + 1 : start + stream.HEADER_LENGTH], "big")
            complete = have - start >= stream.SHORTEST and octets[start] == stream.VERSION_AND_FLAGS
            if not complete or not stream.SHORTEST <= length <= direction.longest:
                stream.judge_header(octets[start : min(start + stream.HEADER_LENGTH, have)], direction.longest)
                return None
            direction.length = length
            self._begin(direction, octets[start + stream.HEADER_LENGTH])
        end = start + direction.length
        arrived = have if have < end else end
        if direction.kind is not DATA:
            if not self._read(direction, octets, start + stream.HEADER_LENGTH, arrived, whole=arrived == end):
                return None
        else:
            self._follow(direction, octets, start, arrived)
            if have < end:
                return None
            self._data(direction)
        return end

    def _agreed(self) -> None:
        """The two SSIDs are there: know the longest buffers of each sender from now on."""
        for direction in (self._initiator, self._responder):
            slack = 0 if self._witness.profiles[direction.sender] is Profile.STRICT else 1
            data = direction.data_most = self._witness.terms.buffer_size + slack
            most = max(self._ceilings.command, data)
            direction.longest = stream.HEADER_LENGTH + min(most, max(stream.LONGEST - stream.HEADER_LENGTH, data))

    def _step(self, sender: Role, kind: type[Command]) -> Transition:
        """Look up what becomes of a command now."""
        party = self._witness.party(sender)
        step = TABLE.get((self._witness.state, party, kind.NAME))
        if step is None:
            raise UnexpectedCommand(
                rule="state.command",
                message=f"{kind.NAME} from the {party.name.capitalize()} in state {self.state.name}",
                section="9",
                command=kind.NAME,
                offset=stream.HEADER_LENGTH,
            )
        return step

    def _begin(self, direction: _Direction, octet: int) -> None:
        """Judge the command octet: known, allowed now, and possible at the length that the header declares."""
        agreed = self._witness.agreed
        kind = BY_OCTET[Level.OFTP_2_0 if agreed is None else agreed.level].get(octet)
        if kind is None:
            raise UnknownCommand(
                rule="command.unknown",
                message="the command octet names no command of this release level",
                section="5.3",
                offset=stream.HEADER_LENGTH,
            )
        limits = NO_LIMITS
        direction.step = self._step(direction.sender, kind)
        for check in direction.step.guards:
            if isinstance(check, Guard):
                refused = check.refuses(self._witness)
                if refused is not None:
                    refused.command, refused.offset = kind.NAME, stream.HEADER_LENGTH
                    raise refused
            else:
                limits = {**limits, **check.limits(self._witness)}
        length = direction.length - stream.HEADER_LENGTH
        direction.kind = kind
        if kind is DATA:
            most, rule = direction.data_most, "length.data"
            direction.chain = stream.HEADER_LENGTH + 1
        else:
            most, rule = self._ceilings.command, "length.ceiling"
        if length > most:
            raise BadLength(
                rule=rule,
                message=f"{kind.NAME} of {length} octets where at most {most} are allowed",
                section="5.3.2" if kind is DATA else kind.SECTION,
                command=kind.NAME,
                offset=stream.HEADER_LENGTH,
            )
        direction.limits = limits

    def _read(self, direction: _Direction, octets: bytes | bytearray, start: int, have: int, *, whole: bool) -> bool:
        """Judge a command from its octet on as far as it has arrived; whether it was complete and has taken effect."""
        reader = direction.reader
        if reader is None:
            agreed = self._witness.agreed
            level = None if agreed is None else agreed.level
            if whole:
                command = regular.read(direction.kind, level, bytes(octets[start:have]), direction.limits)
                if command is not None and direction.step is not None:
                    self._command(direction, direction.step, command, [])
                    return True
            length, profile = direction.length - stream.HEADER_LENGTH, self._witness.profiles[direction.sender]
            reader = direction.reader = Reader(direction.kind, length, level, profile, direction.limits)
        if not reader.judge(octets, start, have):
            return False
        # The other side may have sent something while this command was arriving.
        self._command(direction, self._step(direction.sender, direction.kind), reader.command(), reader.anomalies)
        return True

    def _follow(self, direction: _Direction, octets: bytes | bytearray, start: int, arrived: int) -> None:
        """Judge the subrecords of a DATA as far as they have arrived."""
        end = start + direction.length
        compression = self._witness.terms.compression
        try:
            position, units, last = walk(octets, start + direction.chain, arrived, end, compression)
        except ProtocolError as error:
            assert error.offset is not None
            error.offset -= start
            raise
        direction.chain = position - start
        direction.units += units
        direction.last = last or direction.last

    def _data(self, direction: _Direction) -> None:
        """Let a complete DATA take effect."""
        witness = self._witness
        length = direction.length - stream.HEADER_LENGTH
        before = witness.state
        self._step(direction.sender, DATA).follow(witness, None)
        self._sent(direction, 1, direction.units, direction.last)
        if length > witness.terms.buffer_size:
            self._oversize(direction, 1)
        if self.observe_data:
            self._observe(direction, None, before, witness.transfer, [])
        direction.finish()

    def _command(self, direction: _Direction, step: Transition, command: Command, anomalies: list[Anomaly]) -> None:
        """Let a complete command take effect."""
        witness = self._witness
        before, transfer = witness.state, witness.transfer
        direction.counters.commands += 1
        found = [*anomalies, *step.follow(witness, command)]
        if command.__class__ is SSID and witness.agreed is not None:
            self._agreed()
        transfer = witness.transfer or transfer
        if transfer is not None and transfer.accepted:
            self._direction(transfer.sender).counters.files += 1
        self._observe(direction, command, before, transfer, found)
        direction.finish()
        if witness.state is State.ENDING:
            other = self._direction(direction.sender.other)
            other.counters.discarded += len(other.partial)
            other.partial = b""

    def _observe(
        self,
        direction: _Direction,
        value: Command | None,
        before: State,
        transfer: Transfer | None,
        anomalies: list[Anomaly],
    ) -> None:
        """Record what was let pass, with what its sender's DATA since the last record departed in."""
        observation = Observation(
            sender=direction.sender,
            command=direction.kind.NAME,
            value=value,
            state=self._witness.state,
            before=before,
            length=direction.length - stream.HEADER_LENGTH,
            anomalies=(*direction.departures, *anomalies),
            transfer=transfer,
        )
        self._observations += (observation,)
        direction.departures = ()
