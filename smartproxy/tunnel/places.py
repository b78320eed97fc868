"""Where a data connection has to go: which worker of the server it is for.

Duty: a server with workers says before each ticket which of them issued it, and the client says that number in the
first octets of a data connection, before TLS. The server's supervisor reads exactly these octets and hands the
connection on. The number is worth nothing: what stands behind it asks for the certificate and the ticket. A connection
that begins with a TLS record is for the process that listens.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

from smartproxy.net.transport.sockets import AcceptedStream
from smartproxy.policy import limits
from smartproxy.tunnel.boxes import BoxValue
from smartproxy.tunnel.marks import TICKET_OCTETS

_NUMBER: Final = struct.Struct("!I")
_MAGIC: Final = b"SPW1"
PREAMBLE_OCTETS: Final = len(_MAGIC) + _NUMBER.size


def placed(worker: int | None, ticket: bytes) -> bytes:
    """A ticket as it travels: with the number of the worker before it, where there is one."""
    return ticket if worker is None else _NUMBER.pack(worker) + ticket


def place_of(ticket: bytes) -> tuple[int | None, bytes]:
    """The worker that a ticket as it travelled is for, and the ticket."""
    number = ticket[:-TICKET_OCTETS]
    return (_NUMBER.unpack(number)[0] if number else None), ticket[-TICKET_OCTETS:]


def preamble(worker: int) -> bytes:
    """The first octets of a data connection for a worker."""
    return _MAGIC + _NUMBER.pack(worker)


class PlacedTicket(BoxValue):
    """A ticket as it travels."""

    def toString(self, inObject: bytes) -> bytes:
        """The octets on the wire."""
        return self.fromString(inObject)

    def fromString(self, inString: bytes) -> bytes:
        """The value of received octets."""
        if len(inString) not in (TICKET_OCTETS, _NUMBER.size + TICKET_OCTETS):
            raise ValueError(f"{len(inString)} octets are no ticket")
        return inString


class WorkerNumbers(BoxValue):
    """Numbers of workers in a box; octets that are cut off, or of more workers than there can be, are refused."""

    def toString(self, inObject: Sequence[int]) -> bytes:
        """The octets on the wire."""
        return b"".join(map(_NUMBER.pack, inObject))

    def fromString(self, inString: bytes) -> tuple[int, ...]:
        """The value of received octets."""
        if len(inString) % _NUMBER.size or len(inString) > limits.WORKERS_MOST * _NUMBER.size:
            raise ValueError(f"{len(inString)} octets are no numbers of workers")
        return tuple(number for (number,) in _NUMBER.iter_unpack(inString))


class PlacedStream(AcceptedStream):
    """A connection to a server with workers: of its first octets no more is read than says whom it is for."""

    _first: bytes | None = b""

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # as tcp.Connection has it
        """Read what says whom it is for; from then on, read as other connections do, or nothing."""
        if self._first is None:
            return super().doRead()
        try:
            octets = self.socket.recv(PREAMBLE_OCTETS - len(self._first))
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return CONNECTION_LOST
        if not octets:
            return CONNECTION_DONE
        first = self._first + octets
        protocol: Any = self.protocol
        if not _MAGIC.startswith(first[: len(_MAGIC)]):
            self._first = None
            protocol.dataReceived(first)
        elif len(first) < PREAMBLE_OCTETS:
            self._first = first
        else:
            (worker,) = _NUMBER.unpack_from(first, len(_MAGIC))
            protocol.moves(worker, self)
        return None
