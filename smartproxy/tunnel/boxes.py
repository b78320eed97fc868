"""AMP's boxes under bounds, and the values in them.

Duty: Twisted's parser takes any number of keys and octets in a box that never ends; this one counts, and judges a
length before the octets are there. AMP's own types of values accept anything that Python can read; these accept one
form of each value and refuse the rest with ``ValueError``, which the receiving end counts as a violation. Trusts
nothing that it reads. A broken bound is reported once, and nothing after it is read.
"""

import enum
import json
from collections.abc import Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.protocols import amp
from twisted.protocols.amp import MAX_VALUE_LENGTH, Argument

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.tunnel.faults import CODE_CHARACTERS_MOST, Violation, is_code

Plain: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
_E = TypeVar("_E", bound=enum.Enum)

_PREFIX_OCTETS = 2


class IStream(ITCPTransport, IConsumer, IPushProducer):
    """The transport that all of the tunnel's connections need: TLS on TCP."""


class BoundedBoxes(amp.BinaryBoxProtocol):
    """The receiving half of an AMP connection; :meth:`box_arrived` and :meth:`violated` are for subclasses."""

    transport: IStream | None
    _closed_for_reading = False
    _keys: set[bytes]
    _octets: int

    def __init__(self) -> None:
        amp.BinaryBoxProtocol.__init__(self, self)

    def sendBox(self, box: amp.AmpBox) -> None:
        """Send one box."""
        amp.BinaryBoxProtocol.sendBox(self, box)

    def box_arrived(self, box: dict[bytes, bytes]) -> None:
        """A complete box arrived.

        :raises Violation: if it is not allowed.
        """
        raise NotImplementedError

    def violated(self, violation: Violation) -> None:
        """The peer broke a rule; nothing more is read."""
        raise NotImplementedError

    def stop_reading(self) -> None:
        """Read nothing more, from wherever in a box."""
        self._closed_for_reading = True
        # The parser's own loop looks at this between two strings.
        self.paused = True

    def dataReceived(self, data: bytes) -> None:
        """Octets came from the peer."""
        if not self._closed_for_reading:
            amp.BinaryBoxProtocol.dataReceived(self, data)

    def startReceivingBoxes(self, boxSender: object) -> None:
        """Part of AMP's interface for receivers: nothing to prepare."""

    def stopReceivingBoxes(self, reason: object) -> None:
        """Part of AMP's interface for receivers: ``connectionLost`` says the same."""

    def ampBoxReceived(self, box: dict[bytes, bytes]) -> None:
        """Part of AMP's interface for receivers: a complete box arrived."""
        try:
            self.box_arrived(box)
        except Violation as violation:
            self._stop(violation)

    def proto_init(self, string: bytes) -> Any:
        """Part of the parser: the first key of a box."""
        self._keys = set()
        self._octets = 0
        return amp.BinaryBoxProtocol.proto_init(self, string)

    def proto_key(self, string: bytes) -> Any:
        """Part of the parser: a key, or the end of a box."""
        if string:
            if string in self._keys:
                return self._stop(Violation(Cause.BOX_TWICE, "a box has the same key twice"))
            if len(self._keys) == limits.BOX_KEYS_MOST:
                return self._stop(Violation(Cause.BOX_KEYS, f"a box has more than {limits.BOX_KEYS_MOST} keys"))
            self._keys.add(string)
            self._count(string)
        state = amp.BinaryBoxProtocol.proto_key(self, string)
        # What is left of the box bounds its next string, so that a length too large is judged at its own octets.
        self.MAX_LENGTH = min(self.MAX_LENGTH, max(0, limits.BOX_OCTETS_MOST - self._octets))
        return state

    def proto_value(self, string: bytes) -> Any:
        """Part of the parser: the value of the key before."""
        self._count(string)
        state = amp.BinaryBoxProtocol.proto_value(self, string)
        self.MAX_LENGTH = min(self.MAX_LENGTH, max(0, limits.BOX_OCTETS_MOST - self._octets))
        return state

    def lengthLimitExceeded(self, length: int) -> None:
        """Part of the parser: a length beyond what is left."""
        self._stop(
            Violation(Cause.BOX_SIZE, f"a string of {length} octets where at most {self.MAX_LENGTH} are allowed")
        )

    def _count(self, string: bytes) -> None:
        self._octets += _PREFIX_OCTETS + len(string)

    def _stop(self, violation: Violation) -> str:
        self.stop_reading()
        self.violated(violation)
        return "init"


class _Value(Argument):
    """A field of a command.

    :param optional: whether it may be missing; it is ``None`` then.
    """

    def __init__(self, *, optional: bool = False) -> None:
        Argument.__init__(self, optional=optional)


class Number(_Value):
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


class Octets(_Value):
    """Octets, as many as said.

    :param most: the largest number of them.
    :param least: the smallest number of them; as many as *most* if not given.
    """

    def __init__(self, most: int, least: int | None = None) -> None:
        super().__init__()
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


class PrintableText(_Value):
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


class Choice(_Value, Generic[_E]):
    """A member of an enumeration, by its value.

    :param members: the enumeration.
    :param otherwise: what a code that is not known here is taken for; without it such a code is refused.
    """

    def __init__(self, members: type[_E], otherwise: _E | None = None, *, optional: bool = False) -> None:
        super().__init__(optional=optional)
        self._codes = {str(member.value): member for member in members}
        self._otherwise = otherwise

    def toString(self, inObject: _E) -> bytes:
        """The octets on the wire."""
        return str(inObject.value).encode("ascii")

    def fromString(self, inString: bytes) -> _E:
        """The value of received octets."""
        code = inString.decode("ascii")
        member = self._codes.get(code, self._otherwise if is_code(code) else None)
        if member is None:
            raise ValueError("an unknown code")
        return member


class Code(PrintableText):
    """A code such as ``state.command``, whether it is known here or not."""

    def __init__(self, *, optional: bool = False) -> None:
        super().__init__(CODE_CHARACTERS_MOST, optional=optional)

    def _judge(self, text: str) -> str:
        if not is_code(text):
            raise ValueError("not a code")
        return text


class Records(_Value):
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


def line(record: Mapping[str, Plain]) -> bytes:
    """One object of :class:`Records`."""
    return _compact(dict(record))


def _compact(value: Plain) -> bytes:
    octets = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
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
