"""OFTP2 connections over real sockets that say and do exactly what a test tells them, at either end of the proxy.

Unlike the entities of the test kit, a line has no mind of its own: it can stop reading, hold a session open for as long
as a test wants, or say what no entity would.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred, DeferredQueue, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString, wrapClientTLS
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from smartproxy.oftp2 import commands
from smartproxy.oftp2.codec import decode, encode
from smartproxy.oftp2.commands import Command
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level
from smartproxy.oftp2.stream import HEADER_LENGTH, SSRM_BUFFER, frame
from smartproxy.oftp2.subrecords import pack
from smartproxy.testing.pki import CredentialFiles
from smartproxy.testing.settings import Settings, answer, offer
from smartproxy.testing.site import STATION_CODE
from smartproxy.testing.tls import TestContext, TlsVersion
from tests.process.clock import PATIENCE_SECONDS

BUFFER_SIZE = 65535
DATA = commands.DATA.OCTET[0]

C = TypeVar("C", bound=Command)


@attrs.frozen
class Gone:
    """The connection is gone."""

    cause: str


class Line(Protocol):
    """One connection.

    :ivar data: how many octets of DATA buffers, headers included, came.
    :ivar digest: of all these octets.
    :ivar ended: fires with the cause when the connection is gone.
    :param made: is told when the connection is there.
    """

    transport: Any

    def __init__(self, reactor: Any, made: Callable[["Line"], None] = lambda line: None) -> None:
        self.data = 0
        self.digest = hashlib.sha256()
        self.ended: Deferred[str] = Deferred()
        self._reactor = reactor
        self._received = bytearray()
        self._came: DeferredQueue[Command | Gone] = DeferredQueue()
        self._made = made

    def connectionMade(self) -> None:
        """The connection is there."""
        self._made(self)

    def dataReceived(self, data: bytes) -> None:
        """Keep commands for whoever asks for them; count DATA."""
        self._received += data
        at, have = 0, len(self._received)
        while have - at > HEADER_LENGTH:
            end = at + int.from_bytes(self._received[at + 1 : at + HEADER_LENGTH])
            if end > have:
                break
            if self._received[at + HEADER_LENGTH] == DATA:
                self.data += end - at
                self.digest.update(memoryview(self._received)[at:end])
            else:
                self._came.put(decode(bytes(self._received[at + HEADER_LENGTH : end]), Level.OFTP_2_0))
            at = end
        del self._received[:at]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever waits."""
        self.connected = 0
        self._came.put(Gone(reason.getErrorMessage()))
        self.ended.callback(reason.getErrorMessage())

    def say(self, *said: Command | bytes) -> None:
        """Send commands, or octets as they are."""
        self.transport.write(b"".join(one if isinstance(one, bytes) else frame(encode(one)) for one in said))

    async def hear(self, kind: type[C], seconds: float = PATIENCE_SECONDS) -> C:
        """The next command, which has to be of this kind."""
        came = await self._came.get().addTimeout(seconds, self._reactor)
        assert isinstance(came, kind), f"{came} instead of {kind.NAME}"
        return came

    async def hear_end(self, seconds: float = PATIENCE_SECONDS) -> EsidReason:
        """The reason of the ESID, which has to be next, and the end of the connection after it."""
        esid = await self.hear(commands.ESID, seconds)
        came = await self._came.get().addTimeout(seconds, self._reactor)
        assert isinstance(came, Gone), came
        return EsidReason(esid.reas)

    def hang_up(self) -> None:
        """Be gone, without a word."""
        if self.connected:
            self.transport.abortConnection()


class ScriptedStation(ServerFactory):
    """A station whose connections a test speaks for.

    :ivar port: where it listens.
    :ivar accepted: how many connections came.
    :ivar deputy: makes what speaks for the station in the place of the test.
    """

    noisy = False

    def __init__(self, reactor: Any, port: int = 0) -> None:
        self.accepted = 0
        self.deputy: ServerFactory | None = None
        self._reactor = reactor
        self._lines: DeferredQueue[Line] = DeferredQueue()
        self.port = port
        self._listening: IListeningPort | None = None

    async def listen(self) -> None:
        """Await connections."""
        endpoint = TCP4ServerEndpoint(self._reactor, self.port, interface="127.0.0.1")
        self._listening = await endpoint.listen(self)
        self.port = cast(Any, self._listening.getHost()).port

    async def stop(self) -> None:
        """Await connections no more."""
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)

    def buildProtocol(self, address: IAddress | None) -> Any:
        """Accept a connection."""
        self.accepted += 1
        if self.deputy is not None:
            return self.deputy.buildProtocol(address)
        return Line(self._reactor, self._lines.put)

    def forget(self) -> None:
        """Forget the connections that no test has asked for."""
        self._lines.pending.clear()

    async def line(self) -> Line:
        """The next connection, from the first octet on."""
        return await self._lines.get().addTimeout(PATIENCE_SECONDS, self._reactor)


@attrs.frozen(kw_only=True)
class Caller:
    """Whoever calls the site as one of its partners.

    :ivar context: its TLS; its own certificate by default.
    :ivar host: where it calls.
    :ivar source: its own address, if it is not for the system to choose.
    """

    reactor: Any
    code: str
    files: CredentialFiles
    version: TlsVersion | None = None
    host: str = "127.0.0.1"
    source: str = ""
    credit: int = 99
    authorities: tuple[Path, ...] = ()

    @property
    def settings(self) -> Settings:
        """What it offers."""
        return Settings(code=self.code, buffer_size=BUFFER_SIZE, credit=self.credit)

    async def dial(self, port: int) -> Line:
        """Connect."""
        context = TestContext(
            certificate=self.files.certificate, key=self.files.key, version=self.version, authorities=self.authorities
        )
        host = self.host.replace(":", "\\:")
        source = f":bindAddress={self.source}" if self.source else ""
        endpoint = wrapClientTLS(context, clientFromString(self.reactor, f"tcp:{host}:{port}{source}"))
        factory = Factory.forProtocol(lambda: Line(self.reactor))
        factory.noisy = False
        return cast(Line, await endpoint.connect(factory))

    async def greet(self, port: int) -> Line:
        """Connect and say who it is."""
        line = await self.dial(port)
        await line.hear(commands.SSRM)
        line.say(offer(self.settings))
        return line

    async def session(self, port: int, station: ScriptedStation) -> "Session":
        """Open a session."""
        partner = await self.greet(port)
        inside = await station.line()
        inside.say(SSRM_BUFFER)
        offered = await inside.hear(commands.SSID)
        settings = Settings(code=STATION_CODE, buffer_size=BUFFER_SIZE, credit=self.credit)
        inside.say(answer(settings, offered))
        await partner.hear(commands.SSID)
        return Session(partner=partner, station=inside, code=self.code)


@attrs.define(kw_only=True)
class Session:
    """An open session; the turn is the partner's.

    :ivar partner: the partner's end.
    :ivar station: the station's end.
    :ivar files: how many files crossed.
    """

    partner: Line
    station: Line
    code: str
    files: int = 0

    def sfid(self, octets: int = 1, name: str = "") -> commands.SFID:
        """The partner's next file."""
        self.files += 1
        return commands.SFID(
            dsn=name or f"FILE{self.files}",
            date=20261120,
            time=1200000000 + self.files,
            dest=STATION_CODE,
            orig=self.code,
            fmt="U",
            lrecl=0,
            fsiz=-(-octets // 1024),
            osiz=-(-octets // 1024),
            rest=0,
            sec=0,
            ciph=0,
            comp=0,
            env=0,
            sign="N",
            desc="",
        )

    async def begin_file(self, octets: int = 1) -> None:
        """Let the partner begin a file."""
        self.partner.say(self.sfid(octets))
        await self.station.hear(commands.SFID)
        self.station.say(commands.SFPA(acnt=0))
        await self.partner.hear(commands.SFPA)

    async def end_file(self, octets: int) -> None:
        """Let the partner end a file of so many octets."""
        self.partner.say(commands.EFID(rcnt=0, ucnt=octets))
        await self.station.hear(commands.EFID)
        self.station.say(commands.EFPA(cd="N"))
        await self.partner.hear(commands.EFPA)

    async def file(self, content: bytes = b"undisturbed") -> None:
        """Let a small file cross."""
        before, digest = self.station.data, self.station.digest.copy()
        await self.begin_file(len(content))
        buffers = b"".join(frame(buffer) for buffer in pack(content, BUFFER_SIZE))
        digest.update(buffers)
        self.partner.say(buffers)
        await self.end_file(len(content))
        assert self.station.data - before == len(buffers)
        assert self.station.digest.digest() == digest.digest()

    async def end(self) -> None:
        """Let it end as it should: the partner hands the turn over, the station has nothing."""
        self.partner.say(commands.CD())
        await self.station.hear(commands.CD)
        self.station.say(commands.ESID(reas=0, reast=""))
        assert await self.partner.hear_end() is EsidReason.NORMAL
        self.station.transport.loseConnection()
        await self.station.ended
