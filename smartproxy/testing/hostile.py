"""Partners that break the rules, one scenario each; every one returns what such a partner saw.

A hostile partner says octets of its own making in answer to the commands it gets, without an entity that follows
the protocol. It waits for the end of the connection, so that its report is complete. Use it only against a SmartProxy
or another OFTP2 program that you may attack; each scenario is one short connection.

Standards: RFC 5024 sections 4, 5.3, 7, 8 and what is forbidden there.
"""

from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.oftp2 import commands
from smartproxy.oftp2.codec import decode, encode
from smartproxy.oftp2.errors import EsidReason, ProtocolError
from smartproxy.oftp2.roles import Level
from smartproxy.oftp2.stream import HEADER_LENGTH, SHORTEST, frame
from smartproxy.testing.pki import CredentialFiles
from smartproxy.testing.programs import PATIENCE_SECONDS
from smartproxy.testing.session import closed
from smartproxy.testing.tls import TestContext

CREDIT = 2
BUFFER_SIZE = 128
"""What a hostile partner offers; few and small, so that they are soon used up."""

DATA_OCTETS = b"octet"
"""What each DATA buffer carries of :func:`data_without_credit`."""


@attrs.frozen(kw_only=True)
class Seen:
    """What a hostile partner saw.

    :ivar address: its own end of the connection, as ``host:port``: what the other end's log calls the peer.
    :ivar tls: the TLS version, if the handshake came to its end.
    :ivar alert: the TLS alert that ended the connection.
    :ivar reason: ESIDREAS of the ESID that it got.
    :ivar text: ESIDREAST.
    :ivar heard: the names of the commands that it got, in order.
    :ivar cause: how the connection ended.
    """

    address: str
    tls: str | None
    alert: str | None
    reason: EsidReason | None
    text: str
    heard: tuple[str, ...]
    cause: str

    def __str__(self) -> str:
        if self.reason is not None:
            return f"ESID {self.reason:02} {self.text}".rstrip()
        return f"TLS alert: {self.alert}" if self.alert else f"closed: {self.cause}"


@implementer(IHandshakeListener)
class HostileProtocol(Protocol):
    """Says what it was told to say after each command, once, and listens to the end.

    :param answers: what to say, by the name of the command that it answers.
    :param seen: fires at the end of the connection.
    """

    transport: Any  # at once ITCPTransport and, over TLS, ISSLTransport

    def __init__(self, clock: IReactorTime, answers: Mapping[str, bytes], seen: Deferred[Seen]) -> None:
        self._clock = clock
        self._answers = dict(answers)
        self._seen = seen
        self._received = b""
        self._heard: list[str] = []
        self._esid: commands.ESID | None = None
        self._tls: str | None = None

    def connectionMade(self) -> None:
        """Begin to wait."""
        host = self.transport.getHost()
        self._address = f"{host.host}:{host.port}"
        self._impatience = self._clock.callLater(PATIENCE_SECONDS, self.transport.abortConnection)

    def handshakeCompleted(self) -> None:
        """Note the TLS version."""
        self._tls = self.transport.getHandle().get_protocol_version_name()

    def dataReceived(self, data: bytes) -> None:
        """Answer each command."""
        self._received += data
        while len(self._received) >= SHORTEST:
            end = int.from_bytes(self._received[1:HEADER_LENGTH])
            if not SHORTEST <= end <= len(self._received):
                break
            buffer, self._received = self._received[HEADER_LENGTH:end], self._received[end:]
            self._hear(buffer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell what was seen."""
        cause = closed(reason, self._tls)
        if self._impatience.active():
            self._impatience.cancel()
        else:
            cause = attrs.evolve(cause, cause=f"no end within {PATIENCE_SECONDS:.0f} seconds")
        self._seen.callback(
            Seen(
                address=self._address,
                tls=cause.tls,
                alert=cause.alert,
                reason=None if self._esid is None else EsidReason(self._esid.reas),
                text="" if self._esid is None else self._esid.reast or "",
                heard=tuple(self._heard),
                cause=cause.cause,
            )
        )

    def _hear(self, buffer: bytes) -> None:
        try:
            command = decode(buffer, Level.OFTP_2_0)
        except ProtocolError as error:
            self._heard.append(f"({error})")
            return
        self._heard.append(command.NAME)
        if isinstance(command, commands.ESID):
            self._esid = command
        elif answer := self._answers.pop(command.NAME, b""):
            self.transport.write(answer)


@attrs.frozen(kw_only=True)
class Attacker:
    """An attacker and its target.

    :ivar reactor: dials.
    :ivar host: the host to call.
    :ivar port: its port.
    :ivar credential: the certificate to present; none without it.
    :ivar code: the SSIDCODE to claim.
    :ivar station_code: the SSIDCODE of the station behind.
    :ivar authentication: SSIDAUTH.
    """

    reactor: Any  # IReactorTCP and IReactorTime
    host: str
    port: int
    credential: CredentialFiles | None
    code: str
    station_code: str
    authentication: bool = False

    def call(self, answers: Mapping[str, bytes]) -> Deferred[Seen]:
        """Call, answer as told, wait for the end; fails only if the connection cannot be made."""
        files = self.credential
        context = TestContext() if files is None else TestContext(certificate=files.certificate, key=files.key)
        seen: Deferred[Seen] = Deferred()
        factory = Factory.forProtocol(lambda: HostileProtocol(self.reactor, answers, seen))
        factory.noisy = False
        endpoint = wrapClientTLS(context, HostnameEndpoint(self.reactor, self.host, self.port))
        return endpoint.connect(factory).addCallback(lambda _protocol: seen)

    def ssid(self, level: Level = Level.OFTP_2_0) -> commands.SSID:
        """A sound SSID of a release level."""
        second = level is Level.OFTP_2_0
        return commands.SSID(
            lev=int(level),
            code=self.code,
            pswd="",
            sdeb=BUFFER_SIZE,
            sr="B",
            cmpr="N",
            rest="N",
            spec="N",
            cred=CREDIT,
            auth=("Y" if self.authentication else "N") if second else None,
        )

    def sfid(self, dataset: str = "HOSTILE") -> commands.SFID:
        """A sound SFID."""
        return commands.SFID(
            dsn=dataset,
            date=20261120,
            time=1437040001,
            dest=self.station_code,
            orig=self.code,
            fmt="U",
            lrecl=0,
            fsiz=1,
            osiz=1,
            rest=0,
            sec=0,
            ciph=0,
            comp=0,
            env=0,
            sign="N",
            desc="",
        )

    def in_file(self, octets: bytes) -> Deferred[Seen]:
        """Open a session and a file soundly, then say these octets."""
        return self.call({"SSRM": frame(encode(self.ssid())), "SSID": frame(encode(self.sfid())), "SFPA": octets})


def greet(attacker: Attacker) -> Deferred[Seen]:
    """Behave, with whatever certificate and code the attacker has: none, a stranger's, an expired or revoked one.

    It hands the turn over at once, so that nothing but the certificate, the code or the state of the site can end it.
    """
    return attacker.call({"SSRM": frame(encode(attacker.ssid())), "SSID": frame(encode(commands.CD()))})


def low_release_level(attacker: Attacker, level: Level = Level.OFTP_1_3) -> Deferred[Seen]:
    """Offer an old release level (section 5.3.2)."""
    return attacker.call({"SSRM": frame(encode(attacker.ssid(level)))})


def authentication_refused(attacker: Attacker) -> Deferred[Seen]:
    """Refuse secure authentication (section 4.2.3)."""
    return greet(attrs.evolve(attacker, authentication=False))


def unknown_command(attacker: Attacker) -> Deferred[Seen]:
    """Say a command that does not exist instead of SSID (section 5.3)."""
    return attacker.call({"SSRM": frame(b"Z" + encode(attacker.ssid())[1:])})


def lying_header(attacker: Attacker) -> Deferred[Seen]:
    """Announce 16 MB and send an SSID (section 8.2)."""
    return attacker.call({"SSRM": b"\x10\xff\xff\xff" + encode(attacker.ssid())})


def wrong_state(attacker: Attacker) -> Deferred[Seen]:
    """Send SFID before there is a session (section 9)."""
    return attacker.call({"SSRM": frame(encode(attacker.sfid()))})


def bad_field(attacker: Attacker) -> Deferred[Seen]:
    """Send an SSID whose SSIDSR is none of S, R and B (section 5.3.2)."""
    ssid = encode(attacker.ssid())
    return attacker.call({"SSRM": frame(ssid[:40] + b"?" + ssid[41:])})


def data_without_credit(attacker: Attacker) -> Deferred[Seen]:
    """Send one DATA buffer more than there is credit for, all at once (section 4.4.1)."""
    return attacker.in_file(frame(b"D" + bytes([len(DATA_OCTETS)]) + DATA_OCTETS) * (CREDIT + 1))


def bad_subrecords(attacker: Attacker) -> Deferred[Seen]:
    """Send a DATA buffer whose last subrecord ends behind it (section 7.3)."""
    return attacker.in_file(frame(b"D\x3f" + bytes(63) + b"\x3f" + bytes(5)))
