"""Packets between two processes of a daemon: one box each, with at most one descriptor.

Duty: be the transport of a :class:`~smartproxy.workers.link.Link` on one end of a UNIX socket pair that keeps the
boundaries of packets. A descriptor travels with its box in one call, so that none can be taken for another one's, and
is closed here as soon as it is sent, or when it cannot be. An end that takes no descriptors has the kernel close those
that come all the same. Trusts nothing of what comes: a packet that is too long ends the connection.
"""

import array
import os
import socket
from collections import deque
from typing import Any, Final, Protocol

from twisted.internet import main
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

PACKET_OCTETS_MOST: Final = 128 * 1024
"""What one packet holds at most; the kernel's usual buffer of a socket takes more."""
_TURN_MOST: Final = 32
"""Packets that are read in one turn of the reactor."""
_WAITING_MANY: Final = 64
"""Packets from which on the sender is told that the other end does not read."""


class Closeable(Protocol):
    """What holds a descriptor: a socket, or a file. Closing it twice does nothing."""

    def fileno(self) -> int:
        """The descriptor."""

    def close(self) -> None:
        """Close it."""


class PacketReceiver(Protocol):
    """Who is told of packets."""

    def makeConnection(self, transport: Any) -> None:
        """The connection is there."""

    def dataReceived(self, data: bytes) -> None:
        """A packet came."""

    def descriptor_received(self, descriptor: int | None) -> None:
        """This descriptor, or none, comes with the next packet; it is the receiver's."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection between two processes."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@implementer(IReadWriteDescriptor)
class Packets:
    """One end.

    :param end: one of :func:`pair`; it is this object's from here on.
    :param takes: whether descriptors are taken from the other end.
    """

    def __init__(self, reactor: Any, end: socket.socket, receiver: PacketReceiver, *, takes: bool) -> None:
        end.setblocking(False)
        self._reactor = reactor
        self._end = end
        self._receiver = receiver
        self._takes = takes
        self._waiting: deque[tuple[bytes, Closeable | None]] = deque()
        self._producer: IPushProducer | None = None
        self._paused = False
        self._closing = False
        self._open = True
        reactor.addReader(self)
        receiver.makeConnection(self)

    # For the receiver.

    def write(self, octets: bytes) -> None:
        """Send one packet."""
        self.send(octets, None)

    def send(self, octets: bytes, descriptor: Closeable | None) -> None:
        """Send one packet, and a descriptor with it, which is closed here afterwards."""
        if not self._open or self._closing:
            if descriptor is not None:
                descriptor.close()
            return
        self._waiting.append((octets, descriptor))
        if len(self._waiting) == 1 and self._send():
            return
        self._reactor.addWriter(self)
        if len(self._waiting) >= _WAITING_MANY and not self._paused and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Tell *producer* when the other end does not read."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Tell nobody any more."""
        self._producer = None

    def loseConnection(self) -> None:
        """Send what waits, then close."""
        self._closing = True
        if not self._waiting:
            self._reactor.callLater(0, self.connectionLost, Failure(main.CONNECTION_DONE))

    def abortConnection(self) -> None:
        """Close now."""
        self._closing = True
        self._drop_waiting()
        self._reactor.callLater(0, self.connectionLost, Failure(main.CONNECTION_LOST))

    # For the reactor.

    def fileno(self) -> int:
        """The descriptor of this end; negative once it is closed."""
        return self._end.fileno()

    def logPrefix(self) -> str:
        """By which Twisted names who worked."""
        return "worker"

    def doRead(self) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]  # Twisted's own return these
        """Read some packets."""
        for _ in range(_TURN_MOST):
            if not self._open or self._closing:
                return None
            room = socket.CMSG_LEN(array.array("i").itemsize) if self._takes else 0
            try:
                octets, ancillary, flags, _ = self._end.recvmsg(PACKET_OCTETS_MOST, room, socket.MSG_CMSG_CLOEXEC)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                return main.CONNECTION_LOST
            descriptor = _descriptor_in(ancillary)
            if not octets or flags & socket.MSG_TRUNC:
                if descriptor is not None:
                    os.close(descriptor)
                return main.CONNECTION_LOST if octets else main.CONNECTION_DONE
            self._receiver.descriptor_received(descriptor)
            self._receiver.dataReceived(octets)
        return None

    def doWrite(self) -> None:
        """Send what waits."""
        self._send()

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over."""
        if not self._open:
            return
        self._open = False
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._drop_waiting()
        self._end.close()
        self._receiver.connectionLost(reason)

    def _send(self) -> bool:
        """Send what waits, as far as there is room; whether nothing waits any more."""
        while self._waiting:
            octets, descriptor = self._waiting[0]
            try:
                if descriptor is None:
                    self._end.send(octets)
                else:
                    socket.send_fds(self._end, [octets], [descriptor.fileno()])
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self.abortConnection()
                return True
            self._waiting.popleft()
            if descriptor is not None:
                descriptor.close()
        self._reactor.removeWriter(self)
        if self._paused:
            self._paused = False
            if self._producer is not None:
                self._producer.resumeProducing()
        if self._closing:
            self._reactor.callLater(0, self.connectionLost, Failure(main.CONNECTION_DONE))
        return True

    def _drop_waiting(self) -> None:
        while self._waiting:
            _, descriptor = self._waiting.popleft()
            if descriptor is not None:
                descriptor.close()


def _descriptor_in(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The descriptor that came with a packet; there is room for one."""
    for level, kind, octets in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(octets[: len(octets) - len(octets) % numbers.itemsize])
            for surplus in numbers[1:]:
                os.close(surplus)
            return numbers[0] if numbers else None
    return None
