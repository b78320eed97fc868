"""Marks: how a data connection is told where a session begins and ends.

A data connection carries units with a header of four octets. OFTP2's Stream Transmission Buffers are such units and
pass unchanged; a header of version 0, which OFTP2 can never carry (RFC 5024 section 8.2), makes a unit a mark: ``00 LL
LL LL``, one octet of kind, the body; the length counts all of it. All else about the units is judged by the session
monitors. Lengths are judged before anything is waited for. Pure: octets in, units out.

The body of END is empty, or it says how the session ended in six lines: outcome, who began the end, cause, ESID reason
(may be empty), side (may be empty), message. A code that is not known here comes from a newer version and has a
fallback.
"""

import struct
from typing import Final, Self, TypeAlias

import attrs

from smartproxy.policy.causes import Cause
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.relay.events import SharedEnd
from smartproxy.tunnel.boxes import Choice, Code, Number, PrintableText
from smartproxy.tunnel.faults import Violation

TICKET_OCTETS: Final = 32

_HEADER = struct.Struct(">I")
_HEADER_OCTETS = _HEADER.size
_LENGTH = 0xFF_FFFF
_ATTACH = 0x01
_END = 0x02
_BODY = _HEADER_OCTETS + 1
_END_OCTETS_MOST = 1_024
_MESSAGE_CHARACTERS_MOST = 200
_LENGTHS = {
    _ATTACH: range(_BODY + TICKET_OCTETS, _BODY + TICKET_OCTETS + 1),
    _END: range(_BODY, _BODY + _END_OCTETS_MOST),
}
_ALL_LENGTHS = frozenset().union(*_LENGTHS.values())
_ATTACH_LENGTH = _BODY + TICKET_OCTETS
_OUTCOME = Choice(Outcome, Outcome.ABORTED)
_ENDED_BY = Choice(Participant, Participant.NOBODY)
_CAUSE = Code()
_REASON = Number(99)
_MESSAGE = PrintableText(_MESSAGE_CHARACTERS_MOST)
_FIRST_UNIT_VERSION = 0x1000_0000


@attrs.frozen
class Attach:
    """A session begins on this data connection; sent by the client only.

    :ivar ticket: proves which session it is.
    """

    ticket: bytes = attrs.field(repr=False)

    def encode(self) -> bytes:
        """The octets on the wire."""
        return _mark(_ATTACH, self.ticket)


@attrs.frozen
class End:
    """The sender's direction of the session is over.

    :ivar end: how the session ended; ``None`` where the sender does not say it.
    """

    end: SharedEnd | None = None

    def encode(self) -> bytes:
        """The octets on the wire."""
        if self.end is None:
            return _mark(_END, b"")
        message = self.end.message[:_MESSAGE_CHARACTERS_MOST]
        if not message.isprintable():
            message = "".join(c if c.isprintable() else "?" for c in message)
        lines = (
            _OUTCOME.toString(self.end.outcome),
            _ENDED_BY.toString(self.end.ended_by),
            _CAUSE.toString(self.end.cause),
            b"" if self.end.reason is None else _REASON.toString(self.end.reason),
            b"" if self.end.side is None else _ENDED_BY.toString(self.end.side),
            _MESSAGE.toString(message),
        )
        return _mark(_END, b"\n".join(lines))

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The mark with this body.

        :raises Violation: if the body does not say how a session ended.
        """
        if not body:
            return cls()
        try:
            outcome, ended_by, cause, reason, side, message = body.split(b"\n")
            return cls(
                SharedEnd(
                    outcome=_OUTCOME.fromString(outcome),
                    ended_by=_ENDED_BY.fromString(ended_by),
                    cause=_CAUSE.fromString(cause),
                    reason=_REASON.fromString(reason) if reason else None,
                    message=_MESSAGE.fromString(message),
                    side=_ENDED_BY.fromString(side) if side else None,
                )
            )
        except ValueError:
            raise Violation(Cause.MARK_END, "END does not say how the session ended") from None


Item: TypeAlias = bytes | Attach | End


def _mark(kind: int, body: bytes) -> bytes:
    if _BODY + len(body) not in _LENGTHS[kind]:
        raise ValueError(f"a mark of kind {kind} has no body of {len(body)} octets")
    return _HEADER.pack(_BODY + len(body)) + bytes((kind,)) + body


class MarkSplitter:
    """Finds the marks between units, however the stream is cut.

    Runs of units come out in the pieces in which they came in, without an object for each unit; held back are at most
    three octets of a header, or a mark that is not complete.
    """

    __slots__ = ("_held", "_left")

    def __init__(self) -> None:
        self._held = b""
        self._left = 0

    def receive(self, octets: bytes) -> list[Item]:
        """The runs of units and the marks that these octets complete, in order.

        :raises Violation: at the header (or the kind) of what can be neither unit nor mark.
        """
        if self._held:
            octets = self._held + octets
            self._held = b""
        end = len(octets)
        start, position = 0, self._left
        items: list[Item] = []
        header_at = _HEADER.unpack_from
        while position + _HEADER_OCTETS <= end:
            (word,) = header_at(octets, position)
            if word >= _FIRST_UNIT_VERSION:
                length = word & _LENGTH
                if length < _HEADER_OCTETS:
                    raise Violation(Cause.MARK_UNIT, f"a unit of {length} octets cannot hold its own header")
                position += length
                continue
            _judge_mark(word, octets, position)
            if position + word > end:
                break
            if start < position:
                items.append(octets[start:position])
            start = position + word
            items.append(_read_mark(octets, position, word))
            position = start
        if position < end:
            # An incomplete header or mark: the next octets complete it.
            self._held = octets[position:]
            self._left = 0
            end = position
        else:
            self._left = position - end
        if start < end:
            items.append(octets if (start, end) == (0, len(octets)) else octets[start:end])
        return items


class RawSplitter:
    """The same for a data connection whose session has no units: after ATTACH, every octet belongs to the session.

    :ivar attached: whether a session has begun; at the client's end, which sends ATTACH, it is set from outside.
    """

    __slots__ = ("_held", "attached")

    def __init__(self) -> None:
        self.attached = False
        self._held = b""

    def receive(self, octets: bytes) -> list[Item]:
        """ATTACH once, and then the octets as they came.

        :raises Violation: when anything else stands at the beginning.
        """
        if self.attached:
            return [octets]
        octets = self._held + octets
        if len(octets) >= _HEADER_OCTETS:
            (word,) = _HEADER.unpack_from(octets)
            if word != _ATTACH_LENGTH or octets[_HEADER_OCTETS:_BODY] not in (b"", bytes((_ATTACH,))):
                raise Violation(Cause.MARK_ATTACH, "the session does not begin with ATTACH")
        whole = _ATTACH_LENGTH
        if len(octets) < whole:
            self._held = octets
            return []
        self._held = b""
        self.attached = True
        rest = octets[whole:]
        return [_read_mark(octets, 0, whole), *([rest] if rest else [])]


def _judge_mark(length: int, octets: bytes, position: int) -> None:
    """Refuse a mark as soon as nothing can follow that makes it right."""
    if length not in _ALL_LENGTHS:
        raise Violation(Cause.MARK_LENGTH, f"no mark has {length} octets")
    kind_at = position + _HEADER_OCTETS
    if kind_at < len(octets) and length not in _LENGTHS.get(octets[kind_at], ()):
        raise Violation(Cause.MARK_KIND, f"no mark of kind {octets[kind_at]} has {length} octets")


def _read_mark(octets: bytes, position: int, length: int) -> Attach | End:
    body = octets[position + _BODY : position + length]
    return End.read(body) if octets[position + _HEADER_OCTETS] == _END else Attach(body)
