"""TLS connections whose handshake is bounded: what a peer may send before it has proved anything.

Duty: OpenSSL takes a hello of 128 KiB and certificates of 100 KiB, and reads every certificate, every protocol and
every session that is offered before it asks about the first one. A peer that sends more than a handshake needs is cut
off before that. What comes right behind the end of the handshake, in the same read, is no part of it and is kept.
Standards: RFC 5246 section 7.4 and RFC 8446 section 4 (the messages of a handshake).
"""

from typing import Final

from OpenSSL import SSL

HANDSHAKE_OCTETS_MOST: Final = 24 * 1024
"""What a peer may send until its handshake is finished: six certificates of RSA 8192 take 18 KiB."""

HELLO_OCTETS_MOST: Final = 8 * 1024
"""What a client may send until its hello is read: 2 KiB are ordinary, and 22 KiB of protocols cost 3 ms."""

_PIECE: Final = 4 * 1024
"""Octets that OpenSSL is given at a time until then: so many of what comes behind the handshake are counted at most."""


class BoundedConnection(SSL.Connection):
    """A TLS connection in memory that ends a handshake which is too long.

    Until the handshake is over, each :meth:`bio_write` is followed by :meth:`do_handshake` before anything else.
    """

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context, None)
        self._waiting = b""
        self._octets = 0
        self._established = False

    def bio_write(self, buf: bytes | bytearray | memoryview) -> int:
        """Take octets of the peer."""
        if self._established:
            return super().bio_write(buf)
        self._waiting += buf
        return len(buf)

    def do_handshake(self) -> None:
        """Go on with the handshake.

        :raises SSL.Error: as OpenSSL does, and in its words, also if the peer sent more than a handshake may have.
        """
        waiting, self._waiting = self._waiting, b""
        # Once at least: whoever calls speaks first.
        for end in range(_PIECE, max(len(waiting), 1) + _PIECE, _PIECE):
            self._give(waiting[end - _PIECE : end])
            try:
                super().do_handshake()
            except SSL.WantReadError:
                if end >= len(waiting):
                    raise
                continue
            self._established = True
            self._octets = 0
            if end < len(waiting):
                super().bio_write(waiting[end:])
            return

    def _give(self, piece: bytes) -> None:
        self._octets += len(piece)
        # At the server's end there is no random value of the client before its hello is read.
        if self._octets > HANDSHAKE_OCTETS_MOST or (self._octets > HELLO_OCTETS_MOST and not self.client_random()):
            raise SSL.Error([("SSL routines", "", "excessive message size")])
        if piece:
            super().bio_write(piece)
