"""TCP connections in memory, with flow control that is as strict as the real one.

A socket of a reactor is imitated as far as the adapters can tell: what is written waits until the far end reads; more
than the high-water mark of waiting octets pauses the registered producer; an end that does not read learns nothing, not
even that the far end is gone; no call of a transport calls back before the network is pumped.
"""

from collections.abc import Iterable
from itertools import count
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer, ITCPTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

HIGH_WATER = 2**16
"""Of Twisted's sockets."""

READ = 2**16
"""The most that one read of a socket delivers."""


@implementer(ITCPTransport, IConsumer, IPushProducer)
class End:
    """One end of a connection: the transport of its protocol.

    :ivar waiting: octets written and not yet read by the far end.
    :ivar taken: how many octets the far end has read.
    :ivar worked: the seconds that its turns have taken, as a test says.
    :ivar reading: whether this end reads.
    :ivar end_of_file: what this end will notice when it has read everything: that the far end is gone, and how.
    """

    def __init__(self, address: IPv4Address) -> None:
        self.address = address
        self.protocol: Any = None
        self.far: End = self
        self.waiting = bytearray()
        self.taken = 0
        self.worked = 0.0
        self.reading = True
        self.closed = False
        self.no_delay = False
        self._producer: Any = None
        self._producer_paused = False
        self._losing = False
        self._stuck = False
        self._shut = False
        self._aborting = False
        self.end_of_file: Exception | None = None

    # ITransport

    def write(self, octets: bytes) -> None:
        """Queue octets."""
        if self._losing or self._shut or self.closed:
            return
        self.waiting += octets
        if len(self.waiting) > HIGH_WATER and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Queue octets."""
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """Close when everything is sent; a real socket stops reading here."""
        self._losing = True
        self.reading = False

    def loseWriteConnection(self) -> None:
        """Send no more; go on reading."""
        self._shut = True

    def abortConnection(self) -> None:
        """Close now."""
        self.waiting.clear()
        self._aborting = True

    def getPeer(self) -> IPv4Address:
        """The far end."""
        return self.far.address

    def getHost(self) -> IPv4Address:
        """This end."""
        return self.address

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remember that it was asked for."""
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing to do in memory."""

    def getTcpNoDelay(self) -> bool:
        """What was asked for."""
        return self.no_delay

    def getTcpKeepAlive(self) -> bool:
        """Nothing of it in memory."""
        return False

    # IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell a push producer when too much waits."""
        if self._producer is not None or not streaming:
            raise RuntimeError("one streaming producer at a time")
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Tell nobody."""
        self._producer = None
        self._producer_paused = False

    # IPushProducer

    def pauseProducing(self) -> None:
        """Read no more."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read on; an end that is being closed does not."""
        self.reading = not self._losing

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    # The network.

    def move(self) -> bool:
        """Let one thing happen at this end; whether one did."""
        if self.closed:
            return False
        if self._aborting:
            self._close(ConnectionAborted(), ConnectionLost())
        elif self.waiting and self.far.closed:
            self.waiting.clear()
        elif self.waiting and self.far.reading:
            octets = bytes(self.waiting[:READ])
            del self.waiting[:READ]
            self.taken += len(octets)
            self.far.protocol.dataReceived(octets)
        elif not self.waiting and self._producer_paused:
            self._producer_paused = False
            self._stuck = self._losing  # Twisted's socket asks nothing to be written any more, and so never closes
            self._producer.resumeProducing()
        elif not self.waiting and self._losing and not self._stuck:
            self._close(ConnectionDone(), ConnectionDone())
        elif not self.waiting and self._shut and self.far.end_of_file is None:
            self.far.end_of_file = ConnectionDone()
        elif self.end_of_file is not None and self.reading and not self.far.waiting:
            self._close(self.end_of_file, ConnectionDone())
        else:
            return False
        return True

    def _close(self, reason: Exception, heard: Exception) -> None:
        self.closed = True
        self.waiting.clear()
        if self.far.end_of_file is None:
            self.far.end_of_file = heard
        if self._producer is not None:
            self._producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))


class Network:
    """Connections in memory, and what makes time and octets move.

    :param clock: advanced by nothing while octets move, so that calls for the next turn of a reactor are made.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._ends: list[End] = []
        self._ports = count(40001)

    def connect(self, near: IProtocol, far: IProtocol, host: str = "192.0.2.7") -> tuple[End, End]:
        """Connect two protocols; ``near`` is the one that dialled, from ``host``."""
        ends = End(IPv4Address("TCP", host, next(self._ports))), End(IPv4Address("TCP", "198.51.100.1", 6619))
        for end, other, protocol in ((ends[0], ends[1], near), (ends[1], ends[0], far)):
            end.far, end.protocol = other, protocol
        self._ends += ends
        far.makeConnection(ends[1])
        near.makeConnection(ends[0])
        return ends

    def settle(self) -> None:
        """Move octets until nothing moves any more."""
        for _ in range(1_000_000):
            self.clock.advance(0)
            moved = [end.move() for end in self._ends]
            if not any(moved):
                self._ends = [end for end in self._ends if not end.closed]
                return
        raise AssertionError("the network does not come to rest")

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.settle()
        self.clock.advance(seconds)
        self.settle()
