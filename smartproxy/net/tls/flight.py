"""What a peer sends until its handshake is over, read before OpenSSL reads it.

Duty: OpenSSL decodes the public key of every certificate in the message that carries them, before it asks anybody about
the first one. A key on an elliptic curve can make that slow: on a curve of the sender's own making, in 524 octets, it
takes 70 ms. Here records are held until they are whole, opened with the traffic secret of the handshake where they are
encrypted, and searched for such keys; OpenSSL gets them afterwards. Trusts nothing: octets that are no record of TLS
are told apart, the number of records is bounded, and a record that cannot be opened is none that OpenSSL would read.
Standards: RFC 8446 sections 5 and 7.3 (records and their keys), RFC 5480 section 2.1.1 and SEC 1 section 2.3.3 (keys on
elliptic curves).
"""

import hmac
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

RECORDS_MOST: Final = 64
"""Records of a handshake; 24 KiB in fragments of 512 octets (RFC 6066 section 4) are 48."""

COMPRESSED_MOST: Final = 8
"""Keys in compressed form: each takes up to 80 us to decode, and hardly any certificate has one."""

_HEADER: Final = 5
_NOT_TLS: Final = 11
"""So many octets OpenSSL needs to see that they are no TLS."""
_TYPES: Final = range(20, 24)
_FRAGMENT_MOST: Final = (1 << 14) + 256
_APPLICATION_DATA: Final = 23
_HANDSHAKE: Final = 22

_EC_KEY: Final = bytes.fromhex("2a8648ce3d0201")
"""id-ecPublicKey, as it stands in every key on an elliptic curve."""
_SM2_KEY: Final = bytes.fromhex("2a811ccf5501822d")
"""The other identifier that OpenSSL takes for such a key."""
_COMPRESSIBLE: Final = frozenset(
    map(
        bytes.fromhex,
        (
            "2a8648ce3d030107",  # P-256
            "2b81040022",  # P-384
            "2b81040023",  # P-521
            "2b8104000a",  # secp256k1
            "2b2403030208010107",  # brainpoolP256r1
            "2b240303020801010b",  # brainpoolP384r1
            "2b240303020801010d",  # brainpoolP512r1
        ),
    )
)
"""The curves, by their identifiers, on which a compressed point takes little time; on P-224 it takes 400 us."""
_IDENTIFIER_MOST: Final = 11
_LOOKED_AT: Final = 24
"""Octets behind the identifier of the kind of key, in which all of this stands; a key has more."""

Opener: TypeAlias = AESGCM | ChaCha20Poly1305


class ExpensiveKey(Exception):
    """A certificate has a key that takes long to decode."""


class NotTls(Exception):
    """What came is no record of TLS.

    :ivar octets: the first of them, for OpenSSL to say what they are.
    """

    def __init__(self, octets: bytes) -> None:
        super().__init__()
        self.octets = octets


class TooManyRecords(Exception):
    """The handshake is cut into more records than any has."""


class PeerFlight:
    """The octets of a peer, from the first one on.

    :ivar held: octets that came and were not given on.
    """

    def __init__(self) -> None:
        self.held = bytearray()
        self._records = 0
        self._keys: tuple[Opener, bytes] | None = None
        self._sequence = 0
        self._unread = b""
        self._compressed = 0

    def next(self, most: int) -> bytes:
        """Whole records that OpenSSL may have: one; where they can be opened, up to so many octets if there are more.

        :return: nothing, if no record is whole.
        :raises ExpensiveKey: if there is such a key in them.
        :raises NotTls: if what comes next is no record.
        :raises TooManyRecords: if it is one too many.
        """
        end = 0
        while (size := self._whole(end)) and (not end or (self._keys is not None and end + size <= most)):
            self._records += 1
            if self._records > RECORDS_MOST:
                raise TooManyRecords
            self._look(bytes(self.held[end : end + size]))
            end += size
        octets = bytes(self.held[:end])
        del self.held[:end]
        return octets

    def open_with(self, secret: bytes, cipher: str | None) -> None:
        """Take the traffic secret of the peer's handshake (RFC 8446 section 7.3).

        :param cipher: the suite, as OpenSSL names it.
        """
        hashed, octets = ("sha384", 32) if len(secret) == 48 else ("sha256", 16)
        opener: type[Opener] = AESGCM
        if cipher is not None and "CHACHA20" in cipher:
            opener, octets = ChaCha20Poly1305, 32
        self._keys = opener(_expand(secret, b"key", octets, hashed)), _expand(secret, b"iv", 12, hashed)
        self._sequence = 0

    def _whole(self, start: int) -> int:
        """How many octets the record has that begins there; 0 if it is not whole."""
        header = self.held[start : start + _HEADER]
        if len(header) < _HEADER:
            return 0
        length = header[3] << 8 | header[4]
        if header[0] not in _TYPES or header[1] != 3 or length > _FRAGMENT_MOST:
            if start:
                return 0
            raise NotTls(bytes(self.held[:_NOT_TLS]))
        return _HEADER + length if len(self.held) >= start + _HEADER + length else 0

    def _look(self, record: bytes) -> None:
        content, kind = record[_HEADER:], record[0]
        if kind == _APPLICATION_DATA and self._keys is not None:
            opener, nonce = self._keys
            at = (int.from_bytes(nonce, "big") ^ self._sequence).to_bytes(len(nonce), "big")
            try:
                inner = opener.decrypt(at, content, record[:_HEADER]).rstrip(b"\0")
            except InvalidTag:
                return
            self._sequence += 1
            content, kind = inner[:-1], inner[-1] if inner else 0
        if kind == _HANDSHAKE:
            self._search(content)

    def _search(self, octets: bytes) -> None:
        """Look for keys in what the messages hold, which records cut anywhere."""
        text = self._unread + octets
        at = 0
        while (found := text.find(_EC_KEY, at)) >= 0 and len(text) - found >= len(_EC_KEY) + _LOOKED_AT:
            at = found + len(_EC_KEY)
            if _is_compressed(text[at : at + _LOOKED_AT]):
                self._compressed += 1
        if _SM2_KEY in text or self._compressed > COMPRESSED_MOST:
            raise ExpensiveKey
        # What says which key it is, or its identifier, may come with the next record.
        self._unread = text[found if found >= 0 else max(at, len(text) - len(_SM2_KEY) + 1) :]


def _is_compressed(octets: bytes) -> bool:
    """Whether a key on an elliptic curve is in compressed form.

    ``06 n curve`` ``03 length 00 form x``: the curve has to have a name, and DER's shortest lengths.

    :param octets: what follows the identifier of the kind of key.
    :raises ExpensiveKey: if decoding it takes long, or might.
    """
    size = octets[1]
    if octets[0] != 0x06 or size > _IDENTIFIER_MOST:
        raise ExpensiveKey
    curve, point = octets[2 : 2 + size], octets[2 + size :]
    begin = 3 if point[1] == 0x81 else 2
    if point[0] != 0x03 or point[1] > 0x81 or point[begin] != 0:
        raise ExpensiveKey
    match point[begin + 1]:
        case 0x04:
            return False
        case 0x02 | 0x03 if curve in _COMPRESSIBLE:
            return True
    raise ExpensiveKey


def _expand(secret: bytes, label: bytes, octets: int, hashed: str) -> bytes:
    """HKDF-Expand-Label without a context, for no more octets than the hash has (RFC 8446 section 7.1).

    :param hashed: the name of the hash.
    """
    label = b"tls13 " + label
    info = octets.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
    return hmac.digest(secret, info + b"\x01", hashed)[:octets]
