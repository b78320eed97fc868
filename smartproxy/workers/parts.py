"""The parts in a session that is played: what partner and station say, and the certificates that are shown.

Duty: the two ends of one session with a file each way and an end response, as the simplest program sends them, and
keys and certificates that are made for one play and stand nowhere else. Judges nothing: an end that hears anything but
what its part says next raises. Standards: RFC 5024 section 4 (the course of a session), RFC 5280 (certificates).
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from typing_extensions import override
from zope.interface import implementer

from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd
from smartproxy.net.tls.openssl import SECRET_OCTETS, has_secrets
from smartproxy.oftp2 import stream
from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.commands import CD, CDT, EERP, EFID, EFPA, ESID, RTR, SFID, SFPA, SSID, Command
from smartproxy.oftp2.subrecords import pack
from smartproxy.relay.events import SharedEnd
from smartproxy.tunnel.bond import BOND_NAME_OCTETS, Bond

PARTNER: Final = "PLAYED"
"""The partner's name, and its subject's serialNumber."""
PARTNER_CODE: Final = "O0013000001PLAYED"
CLIENT: Final = "played"
"""The client's name in the tunnel."""
TUNNEL_PORT: Final = 2_878
SECONDS_LEFT: Final = 30
"""Deadlines that nobody reaches."""
GREETING: Final = stream.SSRM_BUFFER
"""What who is called says first, where nobody else does."""
STATION_CODE: Final = "O0013000002PLAYED"
IN: Final = PARTNER_CODE, STATION_CODE
OUT: Final = STATION_CODE, PARTNER_CODE
"""Whose code comes first, by who calls."""
_BUFFER: Final = 2_048
_CREDIT: Final = 10
_THERE: Final = _CREDIT + 2
_BACK: Final = 2
"""Buffers of the files."""
_DAY: Final = timedelta(days=1)

Part = Sequence[tuple[bytes, bytes]]
"""Each command that is heard next, and what is then said, framed."""


class Misplayed(Exception):
    """A play does not go on as its parts say."""


def _said(*commands: Command) -> bytes:
    return b"".join(stream.frame(encode(each)) for each in commands)


def _ssid(code: str) -> bytes:
    told = {"sdeb": _BUFFER, "sr": "B", "cmpr": "Y", "rest": "N", "spec": "N", "cred": _CREDIT, "auth": "N"}
    return _said(SSID(lev=5, code=code, pswd="", **told))  # type: ignore[arg-type]  # as the fields are declared


def _file(orig: str, dest: str, buffers: int) -> tuple[SFID, list[bytes], EFID]:
    """A file of so many full buffers, which are framed."""
    octets = stream.represented(stream.HEADER_LENGTH + _BUFFER) * buffers
    about = {"sec": 0, "ciph": 0, "comp": 0, "env": 0, "sign": "N", "desc": ""}
    kilo = -(-octets // 1024)
    name = {"dsn": "PLAYED", "date": 20260101, "time": 1200000000, "dest": dest, "orig": orig}
    sizes = {"fmt": "U", "lrecl": 0, "fsiz": kilo, "osiz": kilo, "rest": 0}
    begin = SFID(**name, **sizes, **about)  # type: ignore[arg-type]  # as the fields are declared
    return begin, [stream.frame(each) for each in pack(bytes(octets), _BUFFER)], EFID(rcnt=0, ucnt=octets)


def _response(told: SFID) -> EERP:
    """The end response to a file."""
    return EERP(dsn=told.dsn, date=told.date, time=told.time, dest=told.orig, orig=told.dest, hsh=b"", sig=b"")


def caller(own: str, other: str) -> Part:
    """What who calls hears and says: an SSID for the greeting, a file, and for the other's file its receipt."""
    begin, data, end = _file(own, other, _THERE)
    return (
        (b"I", _ssid(own)),
        (b"X", _said(begin)),
        (b"2", b"".join(data[:_CREDIT])),
        (b"C", b"".join(data[_CREDIT:]) + _said(end)),
        (b"4", _said(CD())),
        (b"E", _said(RTR())),
        (b"H", _said(SFPA(acnt=0))),
        *[(b"D", b"")] * _BACK,
        (b"T", _said(EFPA(cd="N"))),
        (b"F", b""),
    )


def answerer(own: str, other: str) -> Part:
    """What who is called hears and says after its greeting."""
    told, *_ = _file(other, own, _THERE)
    begin, data, end = _file(own, other, _BACK)
    return (
        (b"X", _ssid(own)),
        (b"H", _said(SFPA(acnt=0))),
        *[(b"D", b"")] * (_CREDIT - 1),
        (b"D", _said(CDT())),
        *[(b"D", b"")] * (_THERE - _CREDIT),
        (b"T", _said(EFPA(cd="N"))),
        (b"R", _said(_response(told))),
        (b"P", _said(begin)),
        (b"2", b"".join(data) + _said(end)),
        (b"4", _said(ESID(reas=0, reast=""))),
    )


class Actor:
    """One end of a session, which says what its part has.

    :param first: what it says at the beginning.
    :ivar done: fires when it has heard and said everything; fails when it hears anything else.
    """

    def __init__(self, part: Part, first: bytes = b"") -> None:
        self.done: Deferred[None] = Deferred()
        self.first = first
        self._part = part
        self._next = 0
        self._heard = b""

    def say(self, octets: bytes) -> None:
        """Say something to the other end."""
        raise NotImplementedError

    def hear(self, octets: bytes) -> None:
        """Hear octets, cut anywhere."""
        heard = self._heard + octets
        while len(heard) > stream.HEADER_LENGTH and len(heard) >= (length := int.from_bytes(heard[1:4], "big")):
            command, heard = heard[stream.HEADER_LENGTH : stream.HEADER_LENGTH + 1], heard[length:]
            self._act(command)
        self._heard = heard

    def ended(self) -> None:
        """There is nothing more to hear."""
        if not self.done.called:
            self.done.errback(Misplayed(f"it ended before command {self._next + 1} of {len(self._part)}"))

    def _act(self, command: bytes) -> None:
        expected, answer = self._part[self._next] if self._next < len(self._part) else (b"", b"")
        if command != expected:
            if not self.done.called:
                self.done.errback(Misplayed(f"{command!a} came for {expected!a}"))
            return
        self._next += 1
        if answer:
            self.say(answer)
        if self._next == len(self._part):
            self.done.callback(None)


class ConnectedActor(Actor, Protocol):
    """One that is at the end of a connection, with TLS or without."""

    @override
    def say(self, octets: bytes) -> None:
        assert self.transport is not None
        self.transport.write(octets)

    def connectionMade(self) -> None:
        """Say what comes first."""
        if self.first:
            self.say(self.first)

    def dataReceived(self, data: bytes) -> None:
        """Hear."""
        self.hear(data)

    def connectionLost(self, reason: object = None) -> None:
        """The connection is gone."""
        self.ended()


@implementer(ILegReceiver)
class TunnelActor(Actor):
    """One that is at the other end of the tunnel, in place of the other daemon."""

    _leg: ILeg

    def take(self, leg: ILeg | None) -> None:
        """The leg is there: say what comes first."""
        if leg is None:
            self.ended()
            return
        self._leg = leg
        leg.receiver = self
        if self.first:
            self.say(self.first)

    @override
    def say(self, octets: bytes) -> None:
        self._leg.send(octets)

    def octets_received(self, leg: ILeg, octets: bytes) -> None:
        """Hear."""
        self.hear(octets)

    def leg_ended(self, leg: ILeg, end: SharedEnd | None) -> None:
        """End the other direction, too."""
        leg.finish()

    def leg_lost(self, leg: ILeg, end: LegEnd) -> None:
        """The leg is gone."""
        self.ended()

    def leg_full(self, leg: ILeg) -> None:
        """Nothing has to wait: so much is never said at once."""

    def leg_drained(self, leg: ILeg) -> None:
        """Nothing waits."""


def played_bond(proxy_id: str) -> Bond | None:
    """A bond of a control connection that there is not; ``None`` where data connections cannot use one."""
    if not has_secrets():
        return None
    return Bond(secrets.token_bytes(BOND_NAME_OCTETS), secrets.token_bytes(SECRET_OCTETS), proxy_id)


@attrs.frozen
class Shown:
    """A certificate with its key, made for one play.

    :ivar name: whose it is: the common name, and the serialNumber of its subject.
    """

    name: str
    certificate: x509.Certificate = attrs.field(repr=False)
    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)

    @classmethod
    def issue(cls, name: str, issuer: "Shown | None" = None) -> Self:
        """A certificate for both ends of TLS; without an issuer, the one of an authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.SERIAL_NUMBER, name)]
        )
        signer = key if issuer is None else issuer.key
        authority = x509.BasicConstraints(ca=issuer is None, path_length=None)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(authority, critical=True)
            .add_extension(usage, critical=False)
            .sign(signer, hashes.SHA256())
        )
        return cls(name, certificate, key)

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def key_pem(self) -> str:
        """The key as PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
