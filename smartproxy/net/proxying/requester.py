"""A connection from inside that says whom it wants, and then carries octets to him.

Duty: hold the request to its deadline and its size, keep what comes while the far end is dialled, and answer in the
words of the way that the caller came. Reads on while it waits, so that a caller that leaves is noticed, but holds no
more than :data:`WAITING_OCTETS_MOST`. Afterwards it is a leg like any other. Knows nothing of what is carried.
"""

from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from smartproxy.net.connection import ConnectionLeg, cause_text
from smartproxy.net.proxying.connect import ConnectDialogue
from smartproxy.net.proxying.socks import SOCKS_VERSION, SocksDialogue
from smartproxy.net.proxying.ways import ConnectFailure, Dialogue, FirstOctet, RequestRefused, Target

WAITING_OCTETS_MOST: Final = 16 * 1024
"""What is kept while the far end is dialled; reading stops beyond it."""


class RequesterHost(Protocol):
    """Where callers belong to."""

    def requested(self, leg: "RequesterLeg", target: Target | None) -> None:
        """A caller said whom it wants, or nothing if its port says it; ``accept`` or ``refuse`` follows."""

    def malformed(self, leg: "RequesterLeg", cause: str) -> None:
        """A caller's request is none; it was answered already."""

    def left(self, leg: "RequesterLeg", cause: str) -> None:
        """A caller that was neither accepted nor refused is gone."""


class RequesterLeg(ConnectionLeg):
    """One caller.

    :param clock: runs the deadline.
    :param closing: seconds from the wish to close to the abort.
    :param seconds: how long the request may take.
    :param dialogue: reads the request; without one, the port says whom the caller wants.
    """

    def __init__(
        self, clock: IReactorTime, closing: float, *, host: RequesterHost, seconds: float, dialogue: Dialogue | None
    ) -> None:
        super().__init__(clock, closing)
        self._host = host
        self._seconds = seconds
        self._dialogue = dialogue
        self._asking = True
        self._settled = False
        self._deadline: IDelayedCall | None = None
        self._kept = bytearray()

    @property
    def way(self) -> str:
        """How the caller came: ``port``, ``http-connect`` or ``socks5``."""
        return "port" if self._dialogue is None else self._dialogue.name

    def accept(self) -> None:
        """The far end is there: say so. What was kept is delivered by :meth:`release`."""
        self._settled = True
        if self._dialogue is not None:
            self.send(self._dialogue.accepted())

    def release(self) -> None:
        """Deliver what was kept; the leg's receiver is there now."""
        kept, self._kept = bytes(self._kept), bytearray()
        self.resume()
        if kept:
            super().dataReceived(kept)

    def refuse(self, trouble: ConnectFailure, cause: str) -> None:
        """Say why the far end is not there, and close."""
        self._settled = True
        if self._dialogue is not None:
            self.send(self._dialogue.refused(trouble, cause))
        self.finish()

    # Protocol

    def connectionMade(self) -> None:
        """The caller is there."""
        super().connectionMade()
        if self._dialogue is None:
            self._asked(None)
        else:
            self._deadline = self._clock.callLater(self._seconds, self._late)

    def dataReceived(self, data: bytes) -> None:
        """Octets of the request, or of what is to be carried."""
        if self._asking and self._dialogue is not None:
            if not self._settled:
                self._ask(self._dialogue, data)
        elif self.receiver is not None:
            super().dataReceived(data)
        elif not self._settled:
            self._keep(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The caller is gone."""
        self._cancel_deadline()
        super().connectionLost(reason)
        if not self._settled:
            self._settled = True
            self._host.left(self, cause_text(reason))

    def _ask(self, dialogue: Dialogue, octets: bytes) -> None:
        try:
            self.send(dialogue.receive(octets))
        except RequestRefused as refused:
            self._cancel_deadline()
            self._settled = True
            self.send(refused.answer)
            self.finish()
            self._host.malformed(self, refused.cause)
            return
        if dialogue.target is not None:
            self._cancel_deadline()
            self._keep(dialogue.rest)
            self._asked(dialogue.target)

    def _asked(self, target: Target | None) -> None:
        self._asking = False
        self._host.requested(self, target)

    def _keep(self, octets: bytes) -> None:
        self._kept += octets
        if len(self._kept) > WAITING_OCTETS_MOST:
            self.pause()

    def _late(self) -> None:
        self._deadline = None
        self._settled = True
        self.abort()
        self._host.malformed(self, f"no request within {self._seconds:g} s")

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()


def either_way() -> FirstOctet:
    """A dialogue for a port that serves HTTP CONNECT and SOCKS5."""
    return FirstOctet({SOCKS_VERSION: SocksDialogue}, ConnectDialogue)


class RequesterFactory(Factory):
    """Accepts callers on one port.

    :param dialogue: makes the dialogue of a caller; without one, the port says whom callers want.
    :param closing: tells the seconds from the wish to close to the abort.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        host: RequesterHost,
        *,
        seconds: float,
        closing: Callable[[], float],
        dialogue: Callable[[], Dialogue] | None,
    ) -> None:
        self._clock = clock
        self._host = host
        self._seconds = seconds
        self._closing = closing
        self._dialogue = dialogue

    def buildProtocol(self, addr: IAddress | None) -> RequesterLeg:
        """Make a caller's leg."""
        return RequesterLeg(
            self._clock,
            self._closing(),
            host=self._host,
            seconds=self._seconds,
            dialogue=None if self._dialogue is None else self._dialogue(),
        )
