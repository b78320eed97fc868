"""Records of TLS, in two buffers that all connections of the process share.

Duty: decrypt what OpenSSL holds, and encrypt what is to be sent, with as few calls as possible: directly where
pyOpenSSL has the names for that, and through its public calls otherwise. Which of them it is, is found out once, by a
handshake and a transfer in memory: whatever is odd there, the public calls are used. Trusts nobody to keep a view:
what is in a buffer is valid until the next call.
"""

import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from smartproxy.net.tls.openssl import DirectRecords, has_records
from smartproxy.net.transport.sockets import READ_MOST

RECORD_MOST: Final = 16 * 1024
"""Octets of plain text in one record (RFC 8446 section 5.1)."""

PIECE: Final = 32 * 1024
"""Octets that OpenSSL is given at a time: its memory grows with the largest piece, and does not shrink."""

_OVERHEAD: Final = 1024
"""Octets by which an encrypted piece may be longer."""

_PLAIN: Final = bytearray(READ_MOST + 4 * RECORD_MOST)
_SEALED: Final = bytearray(READ_MOST + 4 * PIECE)

PLAIN: Final = memoryview(_PLAIN)
"""What was decrypted last."""

SEALED: Final = memoryview(_SEALED)
"""What was encrypted last."""

PLAIN_FULL: Final = len(_PLAIN) - RECORD_MOST
"""Beyond so many octets there is no room for another record."""


class RecordCalls(Protocol):
    """How records are read and written."""

    def unseal(self, connection: Any, octets: memoryview, start: int, end: int) -> tuple[int, int, SSL.Error | None]:
        """Give OpenSSL what the peer sent after the handshake, a piece at a time, and decrypt it, while there is room.

        :param start: the first octet that it is not given yet.
        :return: the first one that it is not given now, and as :meth:`decrypt`.
        """

    def decrypt(self, connection: Any, end: int) -> tuple[int, SSL.Error | None]:
        """Decrypt what there is into :data:`PLAIN`, behind the first *end* octets.

        :return: how many octets are taken now, and why OpenSSL stopped: ``None`` if it waits for octets of the peer
            or there is no room.
        """

    def encrypt(self, connection: Any, data: Any, start: int) -> tuple[int, int, SSL.Error | None]:
        """Encrypt *data* from *start* on into :data:`SEALED`, as far as there is room.

        :return: the first octet that is not encrypted now, how many octets are taken, and why OpenSSL stopped.
        """

    def take(self, connection: Any) -> int:
        """Take what OpenSSL has to say of itself into :data:`SEALED`, as far as there is room.

        :return: how many octets are taken.
        """


class PublicRecords:
    """Through pyOpenSSL's public calls."""

    def unseal(
        self, connection: SSL.Connection, octets: memoryview, start: int, end: int
    ) -> tuple[int, int, SSL.Error | None]:
        """As :class:`RecordCalls` says."""
        error: SSL.Error | None = None
        while start < len(octets) and end <= PLAIN_FULL and error is None:
            piece = octets[start : start + PIECE]
            connection.bio_write(piece)
            start += len(piece)
            end, error = self.decrypt(connection, end)
        return start, end, error

    def decrypt(self, connection: SSL.Connection, end: int) -> tuple[int, SSL.Error | None]:
        """As :class:`RecordCalls` says."""
        receive = connection.recv_into
        try:
            while end <= PLAIN_FULL:
                end += receive(PLAIN[end : end + RECORD_MOST])
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            return end, error.with_traceback(None)
        return end, None

    def encrypt(self, connection: SSL.Connection, data: Any, start: int) -> tuple[int, int, SSL.Error | None]:
        """As :class:`RecordCalls` says."""
        view = memoryview(data)
        filled = 0
        try:
            while start < len(view) and len(SEALED) - filled >= 2 * PIECE:
                start += connection.send(view[start : start + PIECE])
                filled = self.take(connection, filled)
        except SSL.Error as error:
            return start, self.take(connection, filled), error.with_traceback(None)
        return start, self.take(connection, filled), None

    def take(self, connection: SSL.Connection, filled: int = 0) -> int:
        """As :class:`RecordCalls` says, behind the octets that are taken already."""
        try:
            while filled < len(SEALED):
                octets = connection.bio_read(min(PIECE + _OVERHEAD, len(SEALED) - filled))
                SEALED[filled : filled + len(octets)] = octets
                filled += len(octets)
                if len(octets) < PIECE + _OVERHEAD:
                    break
        except SSL.WantReadError:
            pass
        return filled


@cache
def records() -> RecordCalls:
    """The way of this process."""
    if has_records():
        try:
            direct = DirectRecords(_PLAIN, _SEALED, record=RECORD_MOST, piece=PIECE)
            if _works(direct):
                return direct
        except Exception as error:
            warnings.warn(f"pyOpenSSL is not as expected ({type(error).__name__})", RuntimeWarning, stacklevel=2)
            return PublicRecords()
    warnings.warn("pyOpenSSL is not as expected: TLS takes more time than it could", RuntimeWarning, stacklevel=2)
    return PublicRecords()


def _works(way: RecordCalls) -> bool:
    """Whether a transfer in memory arrives as it was sent, and its end is seen."""
    context = SSL.Context(SSL.TLS_METHOD)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "check")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    context.use_certificate(builder.sign(key, hashes.SHA256()))
    context.use_privatekey(key)
    near, far = SSL.Connection(context, None), SSL.Connection(context, None)
    near.set_connect_state()
    far.set_accept_state()
    for _ in range(4):
        for each, other in ((near, far), (far, near)):
            with suppress(SSL.WantReadError):
                each.do_handshake()
            filled = way.take(each)
            if filled:
                other.bio_write(bytes(SEALED[:filled]))
    octets = bytes(range(256)) * 200
    start, sealed, error = way.encrypt(near, octets, 0)
    taken, end, waits = way.unseal(far, SEALED[:sealed], 0, 3)
    arrived = bytes(PLAIN[3:end])
    near.shutdown()
    filled = way.take(near)
    _, _, over = way.unseal(far, SEALED[:filled], 0, 0)
    whole = (start, error, taken == sealed, waits, arrived) == (len(octets), None, True, None, octets)
    return whole and isinstance(over, SSL.ZeroReturnError)
