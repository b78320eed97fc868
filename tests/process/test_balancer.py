"""Partners that come through a load balancer: one of the test's own, which cuts headers as it likes, and HAProxy."""

import csv
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import attrs
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import Program
from tests.process.sites import Log, SiteCase, reactor, until
from tests.programs import program

TRUE = "127.7.7.7"
"""Where partners call the balancers from; the balancers call the server from 127.0.0.1."""
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


class Balancer(ServerFactory):
    """A balancer whose header a test makes, and that sends it octet by octet.

    :ivar header: of the caller's address and port.
    """

    noisy = False

    def __init__(self, target: int, header: Callable[[str, int], bytes]) -> None:
        self.target = target
        self.header = header
        self._listening: IListeningPort | None = None

    async def listen(self) -> int:
        """Listen at a free port, and say which it is."""
        self._listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self)
        address: Any = self._listening.getHost()
        return int(address.port)

    async def stop(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)

    def buildProtocol(self, address: Any) -> "Near":
        """Accept a caller."""
        return Near(self, self.header(address.host, address.port))


class Near(Protocol):
    """A caller's connection."""

    transport: Any

    def __init__(self, balancer: Balancer, header: bytes) -> None:
        self._balancer = balancer
        self._header = header
        self._far: Far | None = None
        self._waits = bytearray()

    def connectionMade(self) -> None:
        """Call the server."""
        factory = ClientFactory.forProtocol(lambda: Far(self, self._header))
        factory.noisy = False
        reactor.connectTCP("127.0.0.1", self._balancer.target, factory)

    def dataReceived(self, data: bytes) -> None:
        """Hand on what the caller says."""
        self._waits += data
        self.flow()

    def introduced(self, far: "Far") -> None:
        """The header is sent."""
        self._far = far
        self.flow()

    def flow(self) -> None:
        """Send what waits."""
        if self._far is not None:
            self._far.transport.write(bytes(self._waits))
            self._waits.clear()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The caller is gone."""
        if self._far is not None:
            self._far.transport.loseConnection()


class Far(Protocol):
    """The connection to the server: each octet of the header is a segment of its own."""

    transport: Any

    def __init__(self, near: Near, header: bytes) -> None:
        self._near = near
        self._left = header

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.setTcpNoDelay(True)
        self._next()

    def _next(self) -> None:
        octet, self._left = self._left[:1], self._left[1:]
        self.transport.write(octet)
        if self._left:
            reactor.callLater(0.002, self._next)
        else:
            self._near.introduced(self)

    def dataReceived(self, data: bytes) -> None:
        """Hand on what the server says."""
        self._near.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The server is gone."""
        self._near.transport.loseConnection()


def version_1(host: str, port: int) -> bytes:
    """A header of version 1."""
    return f"PROXY TCP4 {host} 198.51.100.1 {port} 6619\r\n".encode("ascii")


def version_2(host: str, port: int) -> bytes:
    """A header of version 2, IPv4 in IPv6 form, with a TLV."""
    mapped = b"\0" * 10 + b"\xff\xff"
    ends = mapped + socket.inet_aton(host) + mapped + socket.inet_aton("198.51.100.1")
    told = ends + port.to_bytes(2, "big") + (6619).to_bytes(2, "big") + b"\x04\x00\x03abc"
    return V2 + b"\x21\x21" + len(told).to_bytes(2, "big") + told


class BehindABalancer(SiteCase):
    """Sessions, refusals and bans are those of the address behind the balancer, whichever worker has the session."""

    have_workers = 2
    settings: ClassVar[Sequence[str]] = (
        *("server.balancers", "127.0.0.1/32", "server.penalties.exempt", ""),
        *("server.penalties.threshold", "4"),
    )

    async def begin(self) -> None:
        """Call from the true address."""
        await super().begin()
        self.log = Log(self.site.server)
        # HAProxy takes no socket's path of more than 97 characters.
        self.sockets = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.sockets)

    async def session_through(self, port: int) -> None:
        """A partner's file crosses, and both daemons say where it came from."""
        caller = attrs.evolve(self.acme, source=TRUE)
        inner = Log(self.site.client)
        session = await caller.session(port, self.station)
        await session.file()
        await session.end()
        for log in (self.log, inner):
            started = await log.event("session.started", partner="ACME")
            self.assertEqual(str(started["peer"]).rpartition(":")[0], TRUE)

    async def balancer(self, header: Callable[[str, int], bytes]) -> int:
        """The port of a balancer of the test's own."""
        balancer = Balancer(self.site.port, header)
        port = await balancer.listen()
        self.addCleanup(balancer.stop)
        return port

    async def haproxy(self, name: str, switches: str) -> int:
        """The port of HAProxy."""
        port = held_port()
        path = Path(self.mktemp()).absolute()
        path.write_text(
            f"global\n  stats socket {self.sockets}/{name}.sock\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
            f"listen partners\n  bind 127.0.0.1:{port}\n"
            f"  server smartproxy 127.0.0.1:{self.site.port} {switches}\n"
        )
        started = self.site._program(name, [program("haproxy"), "-db", "-f", str(path)], prints=False)
        self.addCleanup(self._end, started)

        def listens() -> bool:
            self.assertIsNone(started.status, "HAProxy has ended")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await until(listens, "HAProxy listens")
        return port

    async def _end(self, started: Program) -> None:
        os.kill(started.pid, signal.SIGKILL)
        await started.end()

    async def test_own_balancer(self) -> None:
        """Both versions, cut into single octets."""
        for header in (version_1, version_2):
            self.log = Log(self.site.server)
            await self.session_through(await self.balancer(header))

    async def test_haproxy(self) -> None:
        """send-proxy and send-proxy-v2, as HAProxy means them."""
        for word in ("send-proxy", "send-proxy-v2"):
            self.log = Log(self.site.server)
            port = await self.haproxy(f"haproxy-{word}", word)
            await self.session_through(port)

    async def test_health_checks(self) -> None:
        """HAProxy's checks, without a header and with one, find the server alive and are nobody's fault."""
        for name, word in (("bare", f"check port {self.site.port}"), ("introduced", "check check-send-proxy")):
            self.log = Log(self.site.server)
            port = await self.haproxy(f"haproxy-{name}", f"send-proxy-v2 {word} inter 20ms")
            await until(partial(self.checked, f"haproxy-{name}"), "a check went well")
            await self.session_through(port)
            self.assertTrue(self.checked(f"haproxy-{name}"))
            for event in ("penalty.banned", "connection.refused", "handshake.failed"):
                self.assertEqual(self.log.events(event), [])

    def checked(self, name: str) -> bool:
        """Whether the last health check went well, as HAProxy says."""
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(f"{self.sockets}/{name}.sock")
            except (FileNotFoundError, ConnectionRefusedError):
                # HAProxy is still starting.
                return False
            line.sendall(b"show stat\n")
            told = b"".join(iter(lambda: line.recv(65_536), b"")).decode("ascii")
        rows = csv.DictReader(told.removeprefix("# ").splitlines())
        (row,) = (row for row in rows if row["svname"] == "smartproxy")
        # While the next check is under way, its star stands before the result of the last.
        return row["check_status"].removeprefix("* ") == "L4OK"

    async def test_without_a_header(self) -> None:
        """A partner that gets past the balancer is not served, and the event says what to do."""
        line = socket.create_connection(("127.0.0.1", self.site.port))
        self.addCleanup(line.close)
        line.sendall(b"\x16\x03\x01\x00\x05hello")
        refused = await self.log.event("connection.refused", cause="balancer.no_header")
        self.assertIn("send-proxy-v2", refused["advice"])

    async def test_ban(self) -> None:
        """Whoever is banned is the address behind the balancer; others come through as before."""
        port = await self.balancer(version_1)
        for _ in range(6):
            with socket.socket() as line:
                line.bind(("127.9.9.9", 0))
                line.connect(("127.0.0.1", port))
                line.sendall(b"no TLS at all")
        banned = await self.log.event("penalty.banned")
        self.assertEqual(banned["network"], "127.9.9.9/32")
        await self.session_through(port)
