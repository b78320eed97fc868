"""The station calls partners through the real daemons: all three ways, IPv4 and IPv6, and every kind of failure."""

import random
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.testing.events import FileReceived, FileSent
from smartproxy.testing.partner import PartnerCall, TestPartner
from smartproxy.testing.pki import CredentialFiles, self_signed
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import ProgramFailed
from smartproxy.testing.proxied import Ask, ProxiedEndpoint, ProxyRefused, connect, socks
from smartproxy.testing.settings import Settings
from smartproxy.testing.site import CLIENT_NAME, STATION_CODE
from smartproxy.testing.station import TestStation
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.tls import TestContext
from smartproxy.testing.user_monitor import UserMonitor
from smartproxy.testing.virtual_file import FileIdentity, VirtualFile
from tests.process.sites import ACME, BOLT, Log, SiteCase, reactor, until
from tests.process.test_crossings import has_ipv6

NOWHERE = "192.0.2.1"
"""An address that no host has."""


def content(seed: int) -> bytes:
    """Octets that no two files share."""
    return random.Random(seed).randbytes(300_000)


def file(name: str, originator: str, destination: str, seed: int) -> VirtualFile:
    """A file."""
    identity = FileIdentity.stamped(name, originator, destination, datetime(2026, 11, 20, 12))
    return VirtualFile(identity=identity, content=content(seed))


@attrs.frozen(kw_only=True)
class Answering:
    """A partner that awaits calls.

    :ivar host: where.
    :ivar inbox: what it received.
    :ivar outbox: what waits for the station.
    """

    station: TestStation
    host: str
    port: int
    inbox: MemoryStore
    outbox: UserMonitor


class OutboundCase(SiteCase):
    """A site whose station calls."""

    settings: ClassVar[Sequence[str]] = ("client.outbound.port", "0")

    async def answering(
        self, files: CredentialFiles | None, code: str, *, host: str = "127.0.0.1", anchor: Path | None = None
    ) -> Answering:
        """Have a partner await calls, over TLS and with a client certificate of the site's, or over plain TCP."""
        inbox = MemoryStore()
        outbox = UserMonitor(inbox)
        context = None
        if files is not None:
            authorities = (self.site.anchor if anchor is None else anchor,)
            context = TestContext(certificate=files.certificate, key=files.key, authorities=authorities)
        station = TestStation(reactor, Settings(code=code), outbox, context=context)
        endpoint = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
        address: Any = await station.listen(endpoint(reactor, 0, interface=host))
        self.addCleanup(station.stop)
        return Answering(station=station, host=host, port=address.port, inbox=inbox, outbox=outbox)

    async def outbound(self, name: str, *switches: str) -> Log:
        """Say how a partner is called; the client's log since then, once it is in force."""
        logs, before = (Log(self.site.server), Log(self.site.client)), self.site.newest()
        await self.site.smartproxy("partner", "outbound", name, *switches)
        if self.site.newest() != before:
            await self.site.in_force(*logs)
        self.server_log, self.client_log = Log(self.site.server), Log(self.site.client)
        return logs[1]

    async def port(self) -> int:
        """The port of the client's outbound listener, once it is open."""
        client = self.site.client
        assert client is not None
        ports: list[int] = []

        def opened() -> bool:
            client.read()
            told = [each for each in client.records if str(each.get("name")).startswith("listener.")]
            ports[:] = [each["port"] for each in told if each.get("mode") == "calls to partners"]
            closed = [each["port"] for each in told if each["name"] == "listener.closed"]
            return bool(ports) and ports[-1] not in closed

        await until(opened, "the outbound listener")
        return ports[-1]

    def at(self, port: int) -> HostnameEndpoint:
        """A port of the client's."""
        return HostnameEndpoint(reactor, "127.0.0.1", port)

    async def through(self, ask: Ask) -> ProxiedEndpoint:
        """The outbound listener, asked for somebody."""
        return ProxiedEndpoint(self.at(await self.port()), ask)

    async def call(self, endpoint: IStreamClientEndpoint, partner: str, *files: VirtualFile) -> PartnerCall:
        """The station calls and sends files."""
        self.received = MemoryStore()
        monitor = UserMonitor(self.received)
        monitor.queue(partner, files)
        return await TestPartner(reactor, endpoint, Settings(code=STATION_CODE), monitor).call()

    async def refusal(self, ask: Ask) -> bytes:
        """What the proxy says when it does not let a call through."""
        station = TestPartner(reactor, await self.through(ask), Settings(code=STATION_CODE), UserMonitor(MemoryStore()))
        refused: Any = await self.assertFailure(station.call(), ProxyRefused)
        answer: bytes = refused.answer
        return answer

    async def crosses(self, endpoint: IStreamClientEndpoint, partner: Answering, code: str, seed: int) -> None:
        """A file crosses each way in one session."""
        self.server_log, self.client_log = Log(self.site.server), Log(self.site.client)
        partner.outbox.queue(STATION_CODE, [file(f"BACK{seed}", code, STATION_CODE, seed + 1)])
        outcome = await self.call(endpoint, code, file(f"FORTH{seed}", STATION_CODE, code, seed))
        self.assertIsNotNone(outcome.ended, outcome)
        assert outcome.ended is not None
        self.assertEqual(outcome.ended.reason, EsidReason.NORMAL, outcome)
        self.assertEqual(len(outcome.reported(FileSent)), 1)
        self.assertEqual(len(outcome.reported(FileReceived)), 1)
        self.assertEqual(list(partner.inbox.contents.values()), [content(seed)])
        self.assertEqual(list(self.received.contents.values()), [content(seed + 1)])
        ends = [await log.event("session.ended") for log in (self.server_log, self.client_log)]
        for end in ends:
            self.assertEqual((end["direction"], end["outcome"]), ("outbound", "completed"))
            self.assertEqual((end["files_in"], end["files_out"]), (1, 1))
        self.assertEqual(ends[0]["session"], ends[1]["session"])


class Ways(OutboundCase):
    """The three ways in which the station names the partner."""

    async def test_by_port(self) -> None:
        """A port of the client's stands for a partner; its pinned certificate is the proof."""
        acme = await self.answering(self.made.acme, ACME)
        port = held_port()
        opened = await self.outbound(
            "ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin", "--listener", str(port)
        )
        self.assertEqual((await opened.event("listener.opened", mode="calls to ACME"))["port"], port)
        await self.crosses(self.at(port), acme, ACME, 10)
        answered = await self.server_log.event("outbound.answered", partner="ACME")
        self.assertEqual((answered["by"], answered["port"]), ("certificate", acme.port))

    async def test_by_http_connect(self) -> None:
        """CONNECT to the host and port of the partner's entry, or to its name."""
        acme = await self.answering(self.made.acme, ACME)
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin")
        await self.crosses(await self.through(connect(f"127.0.0.1:{acme.port}")), acme, ACME, 20)
        acme.inbox.contents.clear()
        await self.crosses(await self.through(connect("acme")), acme, ACME, 30)

    async def test_own_port(self) -> None:
        """A client that has a port of its own opens it; bound to another address, it says so and keeps the port."""
        acme = await self.answering(self.made.acme, ACME)
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin")
        port, log = held_port(), Log(self.site.client)
        self.addCleanup(self.site.smartproxy, "client", "bind", CLIENT_NAME, "--any")
        await self.site.smartproxy("client", "listen", CLIENT_NAME, "--port", str(port))
        self.assertEqual((await log.event("listener.opened", mode="calls to partners"))["port"], port)
        await self.crosses(ProxiedEndpoint(self.at(port), connect("ACME")), acme, ACME, 35)
        log = Log(self.site.client)
        await self.site.smartproxy("client", "bind", CLIENT_NAME, "--address", "192.0.2.9")
        away = await log.event("backend.unreachable", cause="backend.refused")
        self.assertIn(f"client {CLIENT_NAME}, which is bound to another address than 127.0.0.1", away["message"])
        self.assertIn(f"smartproxy client bind {CLIENT_NAME} --address 127.0.0.1", away["message"])
        await self.site.smartproxy("client", "bind", CLIENT_NAME, "--address", "::1")
        await log.event("backend.reached")
        await self.site.smartproxy("client", "listen", CLIENT_NAME, "--as-site")
        await log.event("listener.closed", port=port)

    async def test_by_socks(self) -> None:
        """SOCKS5 to the partner's host name, which the server resolves, or to its address."""
        acme = await self.answering(self.made.acme, ACME)
        await self.outbound("ACME", "--host", "localhost", "--port", str(acme.port), "--verify", "pin")
        await self.crosses(await self.through(socks("localhost", acme.port)), acme, ACME, 40)
        acme.inbox.contents.clear()
        await self.outbound("ACME", "--host", "127.0.0.1")
        await self.crosses(await self.through(socks("127.0.0.1", acme.port)), acme, ACME, 50)

    async def test_ipv6(self) -> None:
        """A partner with an IPv6 address, called from one."""
        if not has_ipv6():
            return
        acme = await self.answering(self.made.acme, ACME, host="::1")
        await self.outbound("ACME", "--host", "::1", "--port", str(acme.port), "--verify", "pin", "--source", "::1")
        await self.crosses(await self.through(connect(f"[::1]:{acme.port}")), acme, ACME, 60)
        acme.inbox.contents.clear()
        await self.crosses(await self.through(socks("::1", acme.port)), acme, ACME, 70)
        await self.outbound("ACME", "--default", "source")

    async def test_by_odette_id(self) -> None:
        """An authority's certificate with the partner's Odette ID; its revocation list is asked for."""
        bolt = await self.answering(self.made.bolt, BOLT)
        await self.outbound("BOLT", "--host", "127.0.0.1", "--port", str(bolt.port), "--verify", "odette")
        await self.crosses(await self.through(connect("BOLT")), bolt, BOLT, 80)

    async def test_by_name(self) -> None:
        """An authority's certificate that bears the host's name; another host's is refused."""
        host = self.made.bolts_ca.issue("localhost", sans=["DNS:localhost"], serial_number=BOLT)
        files = host.write(self.site.certificates, "bolt-host")
        bolt = await self.answering(files, BOLT)
        await self.outbound("BOLT", "--host", "localhost", "--port", str(bolt.port), "--verify", "name")
        await self.crosses(await self.through(connect("BOLT")), bolt, BOLT, 90)
        await self.outbound("BOLT", "--server-name", "other.example")
        self.assertIn(b"TLS: the certificate does not contain the name", await self.refusal(connect("BOLT")))
        failed = await self.server_log.event("outbound.failed", partner="BOLT")
        self.assertEqual((failed["step"], failed["cause"]), ("tls", "certificate.wrong_name"))
        await self.outbound("BOLT", "--default", "server_name")


class Failures(OutboundCase):
    """What the station is told when a call fails, and what the log says."""

    async def test_nobody_else(self) -> None:
        """Only configured partners are called, whatever is asked for."""
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(held_port()), "--verify", "pin")
        self.assertTrue((await self.refusal(connect(f"127.0.0.1:{self.station.port}"))).startswith(b"HTTP/1.1 403 "))
        self.assertEqual((await self.refusal(socks("127.0.0.1", self.station.port)))[2:4], b"\x05\x02")
        self.assertEqual(self.station.accepted, 0)
        refused = await self.client_log.event("outbound.refused", way="socks5")
        self.assertEqual(refused["step"], "policy")

    async def test_refused_connection(self) -> None:
        """Each way has its own words; the port's are SSRM and ESID 08 with the cause."""
        gone, port = held_port(), held_port()
        await self.outbound(
            "ACME", "--host", "127.0.0.1", "--port", str(gone), "--verify", "pin", "--listener", str(port)
        )
        answer = await self.refusal(connect("ACME"))
        self.assertTrue(answer.startswith(b"HTTP/1.1 502 "))
        self.assertTrue(answer.endswith(b"\r\n\r\nconnect: the partner refuses the connection\n"))
        self.assertEqual((await self.refusal(socks("127.0.0.1", gone)))[2:4], b"\x05\x05")
        outcome = await self.call(self.at(port), ACME)
        assert outcome.ended is not None
        self.assertEqual(outcome.ended.reason, EsidReason.RESOURCES_NOT_AVAILABLE)
        self.assertEqual(outcome.ended.text, "connect: the partner refuses the connection")
        self.assertEqual((await self.server_log.event("outbound.failed"))["step"], "connect")
        await self.client_log.event("session.refused", direction="outbound")

    async def test_unknown_name(self) -> None:
        """A name that does not exist."""
        await self.outbound("ACME", "--host", "no-such-host.invalid", "--port", "6619", "--verify", "pin")
        self.assertIn(b"name: the host name no-such-host.invalid is not known", await self.refusal(connect("ACME")))
        self.assertEqual((await self.server_log.event("outbound.failed"))["step"], "name")

    async def test_another_certificate(self) -> None:
        """Whoever is there, but is not the partner, is shown no session."""
        files = self_signed("oftp.acme.example").write(self.site.certificates, "impostor")
        impostor = await self.answering(files, ACME)
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(impostor.port), "--verify", "pin")
        self.assertIn(b"TLS: the certificate is not one expected", await self.refusal(connect("ACME")))
        failed = await self.server_log.event("outbound.failed")
        self.assertEqual((failed["step"], failed["cause"]), ("tls", "certificate.not_expected"))

    async def test_our_certificate_is_refused(self) -> None:
        """A partner who does not accept our certificate says so when our handshake is over already."""
        acme = await self.answering(self.made.acme, ACME, anchor=self.site.certificates / "ca.crt")
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin")
        self.assertIn(
            b"TLS: the partner refused the connection with the TLS alert", await self.refusal(connect("ACME"))
        )
        self.assertEqual((await self.server_log.event("outbound.failed"))["alert"], "unknown_ca")

    async def test_no_tls(self) -> None:
        """A partner without TLS."""
        plain = await self.answering(None, ACME)
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(plain.port), "--verify", "pin")
        self.assertIn(b"\r\n\r\nTLS: ", await self.refusal(connect("ACME")))

    async def test_another_ones_code(self) -> None:
        """A partner with another's SSID is refused with 03, and the station does not see it."""
        acme = await self.answering(self.made.acme, BOLT)
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin")
        outcome = await self.call(await self.through(connect("ACME")), ACME)
        assert outcome.ended is not None
        self.assertEqual(outcome.ended.reason, EsidReason.UNSPECIFIED_ABORT)
        refused = await self.server_log.event("identity.refused")
        self.assertEqual((refused["told_partner"], refused["told_station"]), ("ESID 03", "ESID 99"))

    async def test_source_address(self) -> None:
        """An address that the server does not have is a CRITICAL event; partners who call are served on."""
        acme = await self.answering(self.made.acme, ACME)
        server = Log(self.site.server)
        await self.outbound(
            "ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin", "--source", NOWHERE
        )
        missing = await server.event("outbound.source_missing", address=NOWHERE)
        self.assertEqual((missing["level"], missing["names"]), ("critical", ["ACME"]))
        self.assertTrue((await self.refusal(connect("ACME"))).startswith(b"HTTP/1.1 503 "))
        self.assertEqual((await self.server_log.event("outbound.failed"))["step"], "source")
        await self.session(self.acme)
        await self.outbound("ACME", "--default", "source")

    async def test_never(self) -> None:
        """A partner who is not called any more; without any, nobody is awaited."""
        await self.outbound("ACME", "--host", "127.0.0.1", "--verify", "pin")
        port = await self.port()
        closed = await self.outbound("ACME", "--never")
        await closed.event("listener.closed", port=port)

    async def test_silence(self) -> None:
        """Who connects to the outbound listener and says something else is told so."""
        await self.outbound("ACME", "--host", "127.0.0.1", "--verify", "pin")
        answer = await self.refusal(Ask(b"\x10\x00\x00\x17IODETTE FTP READY \r", lambda octets: None))
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "))


class Stops(OutboundCase):
    """A server that stops where it does not have the site's source address."""

    async def test_source_address(self) -> None:
        """As the manual says: the event is in the backend, the server is gone, and its status keeps it down."""
        assert self.site.server is not None
        server = Log(self.site.server)
        session = await self.session(self.acme)
        await self.site.smartproxy(
            *("settings", "set", "server.source_address", NOWHERE, "server.source_address_missing", "stop")
        )
        missing = await server.event("outbound.source_missing", address=NOWHERE)
        self.assertEqual((missing["level"], missing["names"]), ("critical", []))
        stopping = await server.event("server.stopping")
        self.assertEqual((stopping["cause"], stopping["sessions"]), ("source.missing", 1))
        await session.partner.ended
        self.assertEqual(await self.site.server.end(), 2)
        stored = await self.site.smartproxy("events", "--name", "outbound.source_missing")
        self.assertEqual([each["address"] for each in stored], [NOWHERE])


class Trials(OutboundCase):
    """Whether a partner or the station can be reached, tried by an operator."""

    async def test_partner(self) -> None:
        """A partner that answers: each step succeeds, and it saw a connection that ended after its greeting."""
        acme = await self.answering(self.made.acme, ACME)
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(acme.port), "--verify", "pin")
        result = await self.site.smartproxy("test-partner", "ACME")
        self.assertTrue(result["good"])
        steps = ("policy", "source", "name", "connect", "TLS", "SSRM")
        self.assertEqual([result[step] for step in steps], ["ok"] * len(steps))
        self.assertEqual(result["tls"], "TLSv1.3")
        await until(lambda: not acme.station.sessions, "the end of the connection")
        self.assertEqual((acme.station.accepted, self.server_log.events("session.started")), (1, []))

    async def test_partner_who_is_not_there(self) -> None:
        """The step that failed, and why; the steps before it are good."""
        await self.outbound("ACME", "--host", "127.0.0.1", "--port", str(held_port()), "--verify", "pin")
        failed = await self.assertFailure(
            Deferred.fromCoroutine(self.site.smartproxy("test-partner", "ACME")), ProgramFailed
        )
        self.assertIn("exit status 1", str(failed))
        told = await self.server_log.event("outbound.failed")
        self.assertEqual((told["step"], told["message"]), ("connect", "connect: the partner refuses the connection"))

    async def test_station(self) -> None:
        """A station that greets, and one that is not there."""
        trial = Deferred.fromCoroutine(self.site.smartproxy("test-station"))
        line = await self.station.line()
        line.say(SSRM_BUFFER)
        result = await trial
        self.assertEqual((result["connect"], result["SSRM"], result["good"]), ("ok", "ok", True))
        await line.ended
        await self.station.stop()
        client = Log(self.site.client)
        await self.assertFailure(Deferred.fromCoroutine(self.site.smartproxy("test-station")), ProgramFailed)
        self.assertIn("refuses", (await client.event("station.unreachable"))["message"])
