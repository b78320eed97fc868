"""Real protocols through the plain pair's real daemons: HTTPS, SSH and OFTP2, inwards and outwards."""

import getpass
import http.client
import shutil
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint
from twisted.internet.threads import deferToThread

from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.partner import TestPartner
from smartproxy.testing.pki import CredentialFiles, TestCa
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import Finished, Program, environment, finish
from smartproxy.testing.settings import Settings
from smartproxy.testing.station import TestStation
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.tls import TestContext
from smartproxy.testing.user_monitor import UserMonitor
from smartproxy.testing.virtual_file import FileIdentity, VirtualFile
from tests.process.plain_site import PlainCase, reactor
from tests.process.sites import until
from tests.programs import program

PAGE = b"<p>a page of the inside</p>\n" * 40_000
PARTNER, STATION = "O0099ACME", "O0013STATION"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Give the page."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Https(PlainCase):
    """A web site with a certificate of its own."""

    async def begin(self) -> None:
        """Have the web site."""
        await super().begin()
        authority = TestCa.root("Web CA")
        self.anchor = self.site.folder / "web-ca.crt"
        self.anchor.write_bytes(authority.certificate_pem)
        files = authority.issue("www.muster.example", sans=["DNS:www.muster.example"]).write(self.site.folder, "web")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self.web = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
        self.web.socket = context.wrap_socket(self.web.socket, server_side=True)
        serving = threading.Thread(target=self.web.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        self.addCleanup(self.web.server_close)
        self.addCleanup(self.web.shutdown)

    def fetch(self, connection: socket.socket) -> bytes:
        """The page over a connection; the certificate is checked by the site's name."""
        context = ssl.create_default_context(cafile=str(self.anchor))
        client = http.client.HTTPConnection("www.muster.example")
        client.sock = context.wrap_socket(connection, server_hostname="www.muster.example")
        client.request("GET", "/")
        page = client.getresponse().read()
        client.close()
        return page

    def fetched(self, connect: Callable[[], socket.socket]) -> bytes:
        """The page over a connection that is made for it."""
        return self.fetch(connect())

    def by_connect(self) -> socket.socket:
        """A connection to the site by HTTP CONNECT."""
        connection = self.calling(self.site.outgoing)
        self.assertEqual(self.asked(connection), b"HTTP/1.1 200 Connection established\r\n\r\n")
        return connection

    def asked(self, connection: socket.socket, host: str = "127.0.0.1", port: int = 0) -> bytes:
        """The answer to CONNECT."""
        connection.sendall(b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (host.encode(), port or self.web.server_port))
        return connection.recv(1000)

    def by_socks(self) -> socket.socket:
        """A connection to the site by SOCKS5."""
        connection = self.calling(self.site.outgoing)
        connection.sendall(b"\x05\x01\x00")
        self.assertEqual(connection.recv(2), b"\x05\x00")
        connection.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + self.web.server_port.to_bytes(2, "big"))
        self.assertEqual(connection.recv(10)[:2], b"\x05\x00")
        return connection

    def test_site(self) -> Deferred[None]:
        """The page comes through: from outside, and outwards by CONNECT, by SOCKS5 and by a forwarding port."""
        return Deferred.fromCoroutine(self.site_fetched())

    async def site_fetched(self) -> None:
        """See above."""
        port = self.web.server_port
        server = await self.site.start_server("--permit", f"127.0.0.0/8:{port}")
        await self.site.start_client(port, "--forward", f"127.0.0.1:0=127.0.0.1:{port}")
        for connect in (
            lambda: self.calling(self.site.port),
            self.by_connect,
            self.by_socks,
            lambda: self.calling(self.site.forwarded[0]),
        ):
            page = await deferToThread(self.fetched, connect)
            self.assertEqual(page, PAGE)
        await until(lambda: len(server.events("session.ended")) == 4, "all sessions ended")
        directions = sorted(event["direction"] for event in server.events("session.ended"))
        self.assertEqual(directions, ["inbound", "outbound", "outbound", "outbound"])

    def test_destinations(self) -> Deferred[None]:
        """What was not permitted is refused with 403, what is not there with 502; the log says which."""
        return Deferred.fromCoroutine(self.destinations())

    async def destinations(self) -> None:
        """See above."""
        nobody = held_port()
        server = await self.site.start_server("--permit", f"127.0.0.1:{nobody}")
        await self.site.start_client(self.web.server_port)
        refused = await deferToThread(self.asked, self.calling(self.site.outgoing))
        self.assertTrue(refused.startswith(b"HTTP/1.1 403 "), refused)
        told = await server.event("connection.refused")
        self.assertEqual(told["cause"], "destination.not_permitted")
        self.assertIn("is not permitted", told["message"])
        gone = await deferToThread(self.asked, self.calling(self.site.outgoing), "127.0.0.1", nobody)
        self.assertTrue(gone.startswith(b"HTTP/1.1 502 "), gone)
        failed = await server.event("session.failed", direction="outbound")
        self.assertEqual(failed["cause"], "destination.refused")
        self.assertIn(f"127.0.0.1:{nobody}: the connection was refused", failed["message"])


class Ssh(PlainCase):
    """Debian's OpenSSH, both ends."""

    async def begin(self) -> None:
        """Have sshd, as a process of this test with keys of its own."""
        self.programs = {name: program(name) for name in ("sshd", "ssh", "ssh-keygen")}
        await super().begin()
        self.folder = self.site.folder / "ssh"
        self.folder.mkdir(mode=0o700)
        for name in ("host", "user"):
            await self.run_program(
                "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / name)
            )
        shutil.copy(self.folder / "user.pub", self.folder / "authorized_keys")
        self.port = held_port()
        (self.folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n",
            encoding="utf-8",
        )
        # sshd drops its privileges into this folder if it is started with any.
        if not Path("/run/sshd").exists() and getpass.getuser() == "root":
            Path("/run/sshd").mkdir(mode=0o755)
        self.sshd = Program(
            reactor,
            "sshd",
            [self.programs["sshd"], "-D", "-e", "-f", str(self.folder / "sshd_config")],
            folder=self.folder,
            environment=environment(),
            output=self.folder / "sshd.log",
            journal=self.folder / "sshd.json",
            prints=False,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(self.sshd.stop()))
        await until(lambda: b"Server listening" in (self.folder / "sshd.log").read_bytes(), "sshd listens")

    async def run_program(self, name: str, *arguments: str) -> Finished:
        """Run one of OpenSSH's programs."""
        done = await finish(reactor, [self.programs[name], *arguments], self.folder, {"PATH": "/usr/bin:/bin"})
        self.assertEqual(done.status, 0, done.err)
        return done

    def test_session(self) -> Deferred[None]:
        """A command runs inside for somebody outside, who knows the host's key, and its output comes back whole."""
        return Deferred.fromCoroutine(self.session())

    async def session(self) -> None:
        """See above."""
        await self.site.start_server()
        await self.site.start_client(self.port)
        host_key = " ".join((self.folder / "host.pub").read_text(encoding="ascii").split()[:2])
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.site.port} {host_key}\n", encoding="ascii")
        done = await self.run_program(
            "ssh",
            *("-F", "none", "-i", str(self.folder / "user"), "-p", str(self.site.port), "-T", "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"),
            *("-l", getpass.getuser(), "127.0.0.1"),
            "seq 1 200000; echo that was all",
        )
        lines = done.out.splitlines()
        self.assertEqual(len(lines), 200_001)
        self.assertEqual((lines[0], lines[-2], lines[-1]), ("1", "200000", "that was all"))


class Oftp2(PlainCase):
    """OFTP2 as one of any protocols: TLS from partner to station, and nobody looks into it on the way."""

    def test_session(self) -> Deferred[None]:
        """Files cross both ways and are acknowledged; the partner sees the station's own certificate."""
        return Deferred.fromCoroutine(self.session())

    async def session(self) -> None:
        """See above."""
        authority = TestCa.root("Test CA")
        anchor = self.site.folder / "ca.crt"
        anchor.write_bytes(authority.certificate_pem)

        def context(name: str) -> TestContext:
            files: CredentialFiles = authority.issue(name).write(self.site.folder, name)
            return TestContext(certificate=files.certificate, key=files.key, authorities=(anchor,))

        def file(name: str, originator: str, destination: str) -> VirtualFile:
            stamped = FileIdentity.stamped(name, originator, destination, datetime(2026, 11, 20, 14, 37, 4))
            return VirtualFile(identity=stamped, content=name.encode() * 500_000)

        there, back = file("THERE", PARTNER, STATION), file("BACK", STATION, PARTNER)
        outside, inside = MemoryStore(), MemoryStore()
        partners, stations = UserMonitor(outside), UserMonitor(inside)
        partners.queue(STATION, [there])
        stations.queue(PARTNER, [back])
        station = TestStation(reactor, Settings(code=STATION), stations, context=context("station"))
        address: Any = await station.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.addCleanup(station.stop)
        await self.site.start_server()
        await self.site.start_client(address.port)
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.site.port)
        partner = TestPartner(reactor, endpoint, Settings(code=PARTNER), partners, context=context("partner"))
        outcome = await partner.call()
        assert outcome.ended is not None
        self.assertEqual(outcome.ended.reason, EsidReason.NORMAL)
        self.assertEqual(inside.contents[there.identity], there.content)
        self.assertEqual(outside.contents[back.identity], back.content)
