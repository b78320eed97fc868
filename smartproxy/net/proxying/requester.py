"""The connection of a local program that asks for a connection to the outside.

Duty: hold the request to its deadline and its size, and answer in the protocol that the program uses: a port of its
own, HTTP CONNECT or SOCKS5. Reads on while the far end is dialled, so that a program that disconnects is noticed.
Afterwards it is a leg like any other. Knows nothing of what is carried.
"""

from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from smartproxy.net.connection import ConnectionLeg, end_of
from smartproxy.net.deadline import Deadline
from smartproxy.net.proxying.connect import ConnectDialogue
from smartproxy.net.proxying.socks import SOCKS_VERSION, SocksDialogue
from smartproxy.net.proxying.ways import ConnectFailure, Dialogue, FirstOctet, RequestRefused, Target


class RequesterHost(Protocol):
    """The service that handles requesters."""

    def requested(self, leg: "RequesterLeg", target: Target | None) -> None:
        """A program named its target, or its port implies the target; ``accept`` or ``refuse`` follows."""

    def malformed(self, leg: "RequesterLeg", cause: str) -> None:
        """A program's request is malformed or late; the answer has been sent."""

    def left(self, leg: "RequesterLeg", cause: str) -> None:
        """A program disconnected before it was accepted or refused."""


class RequesterLeg(ConnectionLeg):
    """The connection of one program inside.

    :param clock: runs the deadline.
    :param closing: seconds from the wish to close to the abort.
    :param host: told which target the program wants.
    :param seconds: how long the request may take.
    :param dialogue: reads the request; without one, the port implies the target.
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
        self._deadline = Deadline(clock, self._late)

    @property
    def way(self) -> str:
        """How the program connects: ``port``, ``http-connect`` or ``socks5``."""
        return "port" if self._dialogue is None else self._dialogue.name

    @property
    def asking(self) -> bool:
        """Whether the program may still say what it wants."""
        return self._asking and not self._settled

    def accept(self) -> None:
        """Tell the program that its connection is established."""
        self._settled = True
        if self._dialogue is not None:
            self.send(self._dialogue.accepted())

    def refuse(self, failure: ConnectFailure, cause: str) -> None:
        """Tell the program why there is no connection, and close.

        :param cause: one sentence of our own, for protocols that have a field for it.
        """
        self._settled = True
        if self._dialogue is not None:
            self.send(self._dialogue.refused(failure, cause))
        self.finish()

    # Protocol

    def connectionMade(self) -> None:
        """The program connected."""
        super().connectionMade()
        if self._dialogue is None:
            self._asked(None)
        else:
            self._deadline.start(self._seconds)

    def dataReceived(self, data: bytes) -> None:
        """Octets of the request, or of what is to be carried."""
        if not self._asking:
            super().dataReceived(data)
        elif self._dialogue is not None and not self._settled:
            self._ask(self._dialogue, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The program disconnected."""
        self._deadline.stop()
        super().connectionLost(reason)
        if not self._settled:
            self._settled = True
            self._host.left(self, end_of(reason).message)

    def _ask(self, dialogue: Dialogue, octets: bytes) -> None:
        try:
            self.send(dialogue.receive(octets))
        except RequestRefused as refused:
            self._deadline.stop()
            self._settled = True
            self.send(refused.answer)
            self.finish()
            self._host.malformed(self, refused.cause)
            return
        if dialogue.target is not None:
            self._deadline.stop()
            if dialogue.rest:
                super().dataReceived(dialogue.rest)
            self._asked(dialogue.target)

    def _asked(self, target: Target | None) -> None:
        self._asking = False
        self._host.requested(self, target)

    def _late(self) -> None:
        self._settled = True
        self.abort()
        self._host.malformed(self, f"no request within {self._seconds:g} s")


def either_way() -> FirstOctet:
    """A dialogue for a port that serves HTTP CONNECT and SOCKS5."""
    return FirstOctet({SOCKS_VERSION: SocksDialogue}, ConnectDialogue)


class RequesterFactory(Factory):
    """Accepts requesters on one port.

    :param clock: runs every deadline.
    :param host: told which target each program wants.
    :param seconds: how long a request may take.
    :param dialogue: makes the dialogue of one program; without one, the port implies the target.
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
        self._made: WeakSet[RequesterLeg] = WeakSet()

    def buildProtocol(self, addr: IAddress | None) -> RequesterLeg:
        """Make the leg of one program."""
        leg = RequesterLeg(
            self._clock,
            self._closing(),
            host=self._host,
            seconds=self._seconds,
            dialogue=None if self._dialogue is None else self._dialogue(),
        )
        self._made.add(leg)
        return leg

    @property
    def asking(self) -> bool:
        """Whether a program is here that may still say what it wants."""
        return any(leg.asking for leg in self._made)
