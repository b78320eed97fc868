"""TLS connections whose handshake is bounded: what a peer may send before it has proved anything.

Duty: OpenSSL takes a hello of 128 KiB and certificates of 100 KiB, and reads every certificate, every protocol and
every session that is offered before it asks about the first one. A peer that sends more than a handshake needs, or a
key that takes long to read, is cut off before that. What comes right behind the end of the handshake, in the same read,
is no part of it and is kept. Standards: RFC 5246 section 7.4 and RFC 8446 section 4 (the messages of a handshake).
"""

import contextlib
from typing import Final, NoReturn

from OpenSSL import SSL

from smartproxy.net.tls.flight import ExpensiveKey, NotTls, PeerFlight, TooManyRecords

HANDSHAKE_OCTETS_MOST: Final = 24 * 1024
"""What a peer may send until its handshake is finished: six certificates of RSA 8192 take 18 KiB."""

HELLO_OCTETS_MOST: Final = 8 * 1024
"""What a client may send until its hello is read: 2 KiB are ordinary, and 22 KiB of protocols cost 3 ms."""

_PIECE: Final = 4 * 1024
"""Octets that OpenSSL is given at a time until then: so many of what comes behind the handshake are counted at most."""


_TOO_LONG: Final = "excessive message size"
_NOT_TLS: Final = "wrong version number"
EXPENSIVE_KEY: Final = "a certificate has a key that takes long to read"


class BoundedConnection(SSL.Connection):
    """A TLS connection in memory that ends a handshake which is too long or costs too much.

    Until the handshake is over, each :meth:`bio_write` is followed by :meth:`do_handshake` before anything else.
    """

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context, None)
        self._flight: PeerFlight | None = PeerFlight()
        self._octets = 0
        self._refused: SSL.Error | None = None

    def bio_write(self, buf: bytes | bytearray | memoryview) -> int:
        """Take octets of the peer."""
        if self._flight is None:
            return super().bio_write(buf)
        self._flight.held += buf
        return len(buf)

    def do_handshake(self) -> None:
        """Go on with the handshake.

        :raises SSL.Error: as OpenSSL does, and in its words, also if the peer sent more than a handshake may have, or
            what takes long.
        """
        flight = self._flight
        if flight is None:
            super().do_handshake()
            return
        # Once at least: whoever calls speaks first.
        piece = self._next(flight)
        while True:
            self._octets += len(piece)
            self._count(self._octets)
            if piece:
                super().bio_write(piece)
            try:
                super().do_handshake()
            except SSL.WantReadError:
                piece = self._next(flight)
                if piece:
                    continue
                self._count(self._octets + len(flight.held))
                raise
            # A connection lives for hours: it keeps nothing of its handshake, not even a number.
            self._flight = None
            self._octets = 0
            if flight.held:
                super().bio_write(bytes(flight.held))
            return

    def open_flight(self, secret: bytes) -> None:
        """Take the traffic secret of what the peer sends in its handshake."""
        if self._flight is not None:
            self._flight.open_with(secret, self.get_cipher_name())

    def _next(self, flight: PeerFlight) -> bytes:
        """What OpenSSL gets next; nothing, if there is no whole record.

        :raises SSL.Error: if it is to get nothing any more.
        """
        if self._refused is not None:
            raise self._refused
        try:
            return flight.next(_PIECE)
        except ExpensiveKey:
            self._refuse(EXPENSIVE_KEY)
        except TooManyRecords:
            self._refuse(_TOO_LONG)
        except NotTls as other:
            # OpenSSL says best what it is, and may take it for a hello of SSL 2, behind which anything could come.
            super().bio_write(other.octets)
            with contextlib.suppress(SSL.WantReadError):
                super().do_handshake()
            self._refuse(_NOT_TLS)

    def _count(self, octets: int) -> None:
        """Count what came; at the server's end there is no random value of the client before its hello is read."""
        if octets > HANDSHAKE_OCTETS_MOST or (octets > HELLO_OCTETS_MOST and not self.client_random()):
            self._refuse(_TOO_LONG)

    def _refuse(self, words: str) -> NoReturn:
        self._refused = SSL.Error([("SSL routines", "", words)])
        raise self._refused


def read_flights(context: SSL.Context, *, server: bool) -> None:
    """Have the connections of a context read what their peers send before OpenSSL does, also where it is encrypted.

    All of them are a :class:`BoundedConnection`, or are not bounded. The secrets of TLS are told to nobody else.

    :param server: whether it is for accepted connections.
    """
    label = b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" if server else b"SERVER_HANDSHAKE_TRAFFIC_SECRET"

    def take(connection: SSL.Connection, line: bytes) -> None:
        if line.startswith(label) and isinstance(connection, BoundedConnection):
            connection.open_flight(bytes.fromhex(line.rpartition(b" ")[2].decode("ascii")))

    context.set_keylog_callback(take)
