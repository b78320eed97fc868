"""AMP's boxes under bounds, and the values in them.

Duty: Twisted's parser takes any number of keys and octets in a box that never ends; this one counts, and judges a
length before the octets are there. AMP's own types of values accept anything that Python can read; these accept one
form of each value and refuse the rest with ``ValueError``, which the receiving end counts as a violation. Trusts
nothing that it reads. A broken bound is reported once, and nothing after it is read.
"""

import enum
import json
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.protocols import amp
from twisted.protocols.amp import MAX_KEY_LENGTH, MAX_VALUE_LENGTH, Argument

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.tunnel.faults import CODE_CHARACTERS_MOST, Violation, is_code

Plain: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
_E = TypeVar("_E", bound=enum.Enum)

_PREFIX_OCTETS = 2


class IStream(ITCPTransport, IConsumer, IPushProducer):
    """The transport that all of the tunnel's connections need: TLS on TCP."""


class BoundedBoxes(Protocol):
    """The receiving half of an AMP connection; :meth:`box_arrived` and :meth:`violated` are for subclasses.

    Twisted's own receiver calls a method of a state machine for each string. This one reads whole boxes in a loop: half
    of what the control connection cost a session was spent there.
    """

    transport: IStream | None

    def __init__(self) -> None:
        self._closed_for_reading = False
        self._box = amp.AmpBox()
        self._key = b""
        self._octets = 0
        self._unfinished = b""

    def send_box(self, box: amp.AmpBox) -> None:
        """Send one box."""
        assert self.transport is not None
        self.transport.write(box.serialize())

    def box_arrived(self, box: dict[bytes, bytes]) -> None:
        """A complete box arrived.

        :raises Violation: if it is not allowed.
        """
        raise NotImplementedError

    def violated(self, violation: Violation) -> None:
        """The peer broke a rule; nothing more is read."""
        raise NotImplementedError

    def stop_reading(self) -> None:
        """Stop reading, wherever in a box."""
        self._closed_for_reading = True
        self._unfinished = b""

    def dataReceived(self, data: bytes) -> None:
        """Octets came from the peer."""
        if self._closed_for_reading:
            return
        try:
            self._receive(self._unfinished + data if self._unfinished else data)
        except Violation as violation:
            self._stop(violation)

    def _receive(self, data: bytes) -> None:
        """Read strings: keys and values in turn, and an empty key at the end of a box."""
        start, end = 0, len(data)
        while end - start >= _PREFIX_OCTETS:
            after = start + _PREFIX_OCTETS
            length = data[start] << 8 | data[start + 1]
            # What is left of the box bounds its next string, so that a length too large is judged at its own octets.
            most = min(MAX_VALUE_LENGTH if self._key else MAX_KEY_LENGTH, max(0, limits.BOX_OCTETS_MOST - self._octets))
            if length > most:
                message = f"a string of {length} octets where at most {most} are allowed"
                raise Violation(Cause.BOX_SIZE, message)
            if end - after < length:
                break
            start = after + length
            if self._key:
                self._box[self._key] = data[after:start]
                self._key = b""
            elif length:
                self._key = self._new_key(data[after:start])
            else:
                box, self._box, self._octets = self._box, amp.AmpBox(), 0
                self.box_arrived(box)
                if self._closed_for_reading:
                    return
                continue
            self._octets += _PREFIX_OCTETS + length
        self._unfinished = data[start:]

    def _new_key(self, key: bytes) -> bytes:
        if key in self._box:
            raise Violation(Cause.BOX_TWICE, "a box has the same key twice")
        if len(self._box) == limits.BOX_KEYS_MOST:
            raise Violation(Cause.BOX_KEYS, f"a box has more than {limits.BOX_KEYS_MOST} keys")
        return key

    def _stop(self, violation: Violation) -> None:
        self.stop_reading()
        self.violated(violation)


class BoxValue(Argument):
    """A field of a command.

    :param optional: whether it may be missing; it is ``None`` then.
    """

    def __init__(self, *, optional: bool = False) -> None:
        Argument.__init__(self, optional=optional)


class Number(BoxValue):
    """A whole number from 0, in decimal digits.

    :param most: the largest; the highest generation if not given.
    """

    def __init__(self, most: int = limits.GENERATION.most, *, optional: bool = False) -> None:
        super().__init__(optional=optional)
        self._most = most

    def toString(self, inObject: int) -> bytes:
        """The octets on the wire."""
        if not 0 <= inObject <= self._most:
            raise ValueError("the number is out of range")
        return b"%d" % inObject

    def fromString(self, inString: bytes) -> int:
        """The value of received octets."""
        if not inString.isdigit() or len(inString) > limits.DOCUMENT_DIGITS_MOST or inString != b"%d" % int(inString):
            raise ValueError("not a decimal number")
        number = int(inString)
        if number > self._most:
            raise ValueError("the number is out of range")
        return number


class Octets(BoxValue):
    """Octets, as many as said.

    :param most: the largest number of them.
    :param least: the smallest number of them; as many as *most* if not given.
    """

    def __init__(self, most: int, least: int | None = None, *, optional: bool = False) -> None:
        super().__init__(optional=optional)
        self._most = most
        self._least = most if least is None else least

    def toString(self, inObject: bytes) -> bytes:
        """The octets on the wire."""
        return self.fromString(inObject)

    def fromString(self, inString: bytes) -> bytes:
        """The value of received octets."""
        if not self._least <= len(inString) <= self._most:
            raise ValueError(f"{len(inString)} octets where {self._least} to {self._most} are allowed")
        return inString


class PrintableText(BoxValue):
    """Printable text in UTF-8.

    :param most: the largest number of characters.
    """

    def __init__(self, most: int, *, optional: bool = False) -> None:
        super().__init__(optional=optional)
        self._most = most

    def toString(self, inObject: str) -> bytes:
        """The octets on the wire."""
        return self._judge(inObject).encode("utf-8")

    def fromString(self, inString: bytes) -> str:
        """The value of received octets."""
        return self._judge(inString.decode("utf-8"))

    def _judge(self, text: str) -> str:
        if len(text) > self._most or not text.isprintable():
            raise ValueError(f"not {self._most} printable characters or fewer")
        return text


class Choice(BoxValue, Generic[_E]):
    """A member of an enumeration, by its value.

    :param members: the enumeration.
    :param otherwise: what a code that is not known here is taken for; without it such a code is refused.
    """

    def __init__(self, members: type[_E], otherwise: _E | None = None, *, optional: bool = False) -> None:
        super().__init__(optional=optional)
        self._octets = {member: self._spelled(member).encode("ascii") for member in members}
        self._members = {octets: member for member, octets in self._octets.items()}
        self._otherwise = otherwise

    def toString(self, inObject: _E) -> bytes:
        """The octets on the wire."""
        return self._octets[inObject]

    def fromString(self, inString: bytes) -> _E:
        """The value of received octets."""
        member = self._members.get(inString)
        if member is None and is_code(inString.decode("ascii")):
            member = self._otherwise
        if member is None:
            raise ValueError("an unknown code")
        return member

    def _spelled(self, member: _E) -> str:
        return str(member.value)


class ChoiceByName(Choice[_E]):
    """A member of an enumeration, by its name."""

    def _spelled(self, member: _E) -> str:
        return member.name


class Code(PrintableText):
    """A code such as ``state.command``, whether it is known here or not."""

    def __init__(self, *, optional: bool = False) -> None:
        super().__init__(CODE_CHARACTERS_MOST, optional=optional)

    def _judge(self, text: str) -> str:
        if not is_code(text):
            raise ValueError("not a code")
        return text


class Records(BoxValue):
    """Several JSON objects, one a line: events. Travels as it is made by :func:`line`, joined."""

    def toString(self, inObject: list[bytes]) -> bytes:
        """The octets on the wire; the objects are made by :func:`line`."""
        return b"\n".join(inObject)

    def fromString(self, inString: bytes) -> list[dict[str, Plain]]:
        """The value of received octets."""
        values = [_read(each) for each in inString.split(b"\n")]
        objects = [value for value in values if isinstance(value, dict)]
        if len(objects) != len(values):
            raise ValueError("not all values are objects")
        return objects


_JSON: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def line(record: Mapping[str, Plain]) -> bytes:
    """One object of :class:`Records`.

    :raises ValueError: if it is too long.
    """
    octets = _JSON.encode(dict(record)).encode("ascii")
    if len(octets) > MAX_VALUE_LENGTH:
        raise ValueError(f"{len(octets)} octets are more than one value holds")
    return octets


def _read(octets: bytes) -> object:
    """One value, read as strictly as a configuration, except that numbers may have a fraction.

    :raises ValueError: for anything else.
    """
    try:
        return read(octets, octets_most=MAX_VALUE_LENGTH, fractions=True)
    except DocumentRefused as refused:
        raise ValueError(str(refused)) from None
