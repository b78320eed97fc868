"""AMP's boxes under bounds.

Twisted's parser takes any number of keys and octets in a box that never ends; this one counts, and judges a length
before the octets are there. Trusts nothing. Whatever breaks a bound is reported once, and nothing after it is read.
"""

from typing import Any

from twisted.protocols import amp

from smartproxy.policy import limits
from smartproxy.tunnel.errors import Violation
from smartproxy.tunnel.interfaces import IStream

_PREFIX_OCTETS = 2


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
        """A whole box is here.

        :raises Violation: when it should not be.
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
        """Part of AMP's interface for receivers: a whole box is here."""
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
                return self._stop(Violation("box.twice", "a box has the same key twice"))
            if len(self._keys) == limits.BOX_KEYS_MOST:
                return self._stop(Violation("box.keys", f"a box has more than {limits.BOX_KEYS_MOST} keys"))
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
        self._stop(Violation("box.size", f"a string of {length} octets where {self.MAX_LENGTH} may be"))

    def _count(self, string: bytes) -> None:
        self._octets += _PREFIX_OCTETS + len(string)

    def _stop(self, violation: Violation) -> str:
        self.stop_reading()
        self.violated(violation)
        return "init"
