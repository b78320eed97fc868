"""What a peer sends in a handshake is searched for keys that take long to decode, before OpenSSL has it."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls.der import value
from smartproxy.net.tls.flight import COMPRESSED_MOST, RECORDS_MOST, ExpensiveKey, NotTls, PeerFlight, TooManyRecords
from smartproxy.testing.forging import EC_PUBLIC_KEY, compressed, explicit_curve, octets_of_key, public_key

P256 = bytes.fromhex("06082a8648ce3d030107")
P224 = bytes.fromhex("06052b81040021")
SM2 = bytes.fromhex("06082a811ccf5501822d")
NOWHERE = 1 << 20


def record(content: bytes, kind: int = 22) -> bytes:
    """A record of TLS 1.2."""
    return bytes((kind, 3, 3)) + len(content).to_bytes(2, "big") + content


def message(*keys: bytes) -> bytes:
    """Certificates with these keys, as a handshake carries them."""
    return b"".join(map(octets_of_key, keys))


def plain(curve: ec.EllipticCurve) -> bytes:
    """An ordinary key on a curve."""
    return ec.generate_private_key(curve).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def takes(*records: bytes) -> bytes:
    """What OpenSSL gets of some records."""
    flight = PeerFlight()
    flight.held += b"".join(records)
    found = b""
    while piece := flight.next(NOWHERE):
        found += piece
    return found


class Keys(SynchronousTestCase):
    """Which keys are let through."""

    def test_ordinary(self) -> None:
        """Keys on curves that have a name; a few in compressed form where that takes little time."""
        for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP224R1(), ec.BrainpoolP512R1()):
            octets = record(message(plain(curve)))
            self.assertEqual(takes(octets), octets, curve.name)
        for few in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1(), ec.BrainpoolP384R1()):
            octets = record(message(*[compressed(few)] * COMPRESSED_MOST))
            self.assertEqual(takes(octets), octets, few.name)

    def test_expensive(self) -> None:
        """Curves without a name, P-224 in compressed form, many in compressed form, and forms that nobody uses."""
        point = b"\x02" + bytes(28)
        # A point whose octets look like the beginning of one that is not compressed.
        disguised = b"\x02" + bytes.fromhex("0000031000040000") + bytes(20)
        for what, keys in {
            "explicit": [explicit_curve(256)],
            "P-224": [compressed(ec.SECP224R1())],
            "disguised": [public_key(P224, disguised)],
            "many": [compressed(ec.SECP256R1())] * (COMPRESSED_MOST + 1),
            "hybrid": [public_key(P256, b"\x06" + bytes(64))],
            "no curve": [public_key(b"", point)],
            "no name": [public_key(b"\x30" + P256[1:], b"\x04" + bytes(64))],
            "null": [public_key(b"\x05\0", point)],
            "long lengths": [public_key(bytes.fromhex("0681082a8648ce3d030107"), point)],
            "SM2": [
                value(0x30, value(0x30, bytes.fromhex("06082a811ccf5501822d") + P256) + value(0x03, b"\0" + point))
            ],
        }.items():
            with self.assertRaises(ExpensiveKey, msg=what):
                takes(record(message(plain(ec.SECP256R1()), *keys)))

    def test_cut_anywhere(self) -> None:
        """However records cut the messages, the key is found before OpenSSL has it whole."""
        for key in (explicit_curve(256), compressed(ec.SECP224R1()), public_key(P256, b"\x06" + bytes(64))):
            octets = message(key)
            begin = octets.index(EC_PUBLIC_KEY)
            for cut in range(begin - 1, begin + 30):
                for again in (cut, cut + 1, cut + 5):
                    pieces = octets[:cut], octets[cut:again], octets[again:]
                    with self.assertRaises(ExpensiveKey):
                        takes(*map(record, pieces))


class Records(SynchronousTestCase):
    """How octets are given on."""

    def test_whole(self) -> None:
        """A record is held until it is whole; before anything can be opened, one is given at a time."""
        flight = PeerFlight()
        octets = record(b"hello") + record(b"x", 20)
        given = []
        for each in octets:
            flight.held += bytes((each,))
            given.append(flight.next(NOWHERE))
        self.assertEqual([each for each in given if each], [record(b"hello"), record(b"x", 20)])
        self.assertEqual(given.index(record(b"hello")), len(record(b"hello")) - 1)
        flight.held += octets
        self.assertEqual([flight.next(NOWHERE), flight.next(NOWHERE)], [record(b"hello"), record(b"x", 20)])

    def test_not_tls(self) -> None:
        """What is no record is told apart, and given in part: a hello of SSL 2, too, and records that are too large."""
        for octets in (b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("802e0100020015000000100000350000"), record(b"x", 24)):
            with self.assertRaises(NotTls) as told:
                takes(octets + bytes(20))
            self.assertEqual(told.exception.octets, (octets + bytes(20))[:11])
        for length, kept in ((16384 + 256, True), (16384 + 257, False)):
            flight = PeerFlight()
            flight.held += b"\x16\x03\x03" + length.to_bytes(2, "big") + b"x"
            if kept:
                self.assertEqual(flight.next(NOWHERE), b"")
            else:
                self.assertRaises(NotTls, flight.next, NOWHERE)

    def test_too_many(self) -> None:
        """A handshake is not cut into more records than any has."""
        octets = [record(b"x")] * RECORDS_MOST
        self.assertEqual(takes(*octets), b"".join(octets))
        self.assertRaises(TooManyRecords, takes, *octets, record(b"x"))
