"""Rogues at either end of the tunnel: each is refused before it gets anywhere, with its cause in one event."""

import ast
import contextlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, load_certificate
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.amp import AmpBox
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smartproxy.net.transport.tls import TlsTransport
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.policy.versions import NEWEST, OLDEST
from smartproxy.testing.pki import CLIENT_AUTH, SERVER_AUTH, TestCa
from smartproxy.tunnel.chunks import cut
from smartproxy.tunnel.contexts import ClientContext, PeerRefused, ServerContext, _client_name
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.marks import Attach, End
from smartproxy.tunnel.vocabulary import CONTROL_PROTOCOL, DATA_PROTOCOL, TunnelPhase
from tests.adapters.tunnel_kit import (
    FACTS,
    SESSION,
    UNIT,
    WHY,
    ClientSide,
    Network,
    Receiver,
    ServerSide,
    authority,
    credential,
    identity,
    inner,
    pair,
)
from tests.source import modules, outermost_name
from tests.unit.odd_files import named_in_bits

DAY = timedelta(days=1)


class Recorder(Protocol):
    """Takes whatever comes."""

    def __init__(self) -> None:
        self.got = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        """Part of the interface."""
        self.got += data

    def connectionLost(self, reason: object = None) -> None:
        """Part of the interface."""
        self.lost = True

    def write(self, octets: bytes) -> None:
        """Send anything."""
        assert self.transport is not None
        self.transport.write(octets)


@implementer(IOpenSSLClientConnectionCreator)
class Bare:
    """TLS that shows and checks what a test wants."""

    def __init__(self, change: Callable[[SSL.Context], None]) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        change(self.context)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Part of the interface."""
        return SSL.Connection(self.context, None)


def hello() -> bytes:
    """The first record of a handshake."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    octets: bytes = connection.bio_read(65_536)
    return octets


class RogueClientTests(SynchronousTestCase):
    """Who may not come to the server."""

    def setUp(self) -> None:
        """A server, and a client of its own."""
        self.patch(limits, "TUNNEL_SILENT_MOST", 80)
        self.patch(limits, "TUNNEL_STRANGERS_MOST", 60)
        self.network = Network()
        self.server, self.client = pair(self.network)

    def call(self, context: object, *octets: bytes) -> Recorder:
        """Connect with this TLS, and send octets as soon as it lets them through."""
        rogue = Recorder()
        secured = TLSMemoryBIOFactory(
            context,  # type: ignore[arg-type]  # one of the kinds that it takes
            True,
            Factory.forProtocol(lambda: rogue),
            self.network.clock,
        )
        self.network.connect(self.server.tunnel.factory, secured)
        self.network.settle()
        for piece in octets:
            rogue.write(piece)
            self.network.settle()
        return rogue

    def shows(self, shown: ClientCredential, protocol: bytes = CONTROL_PROTOCOL, *octets: bytes) -> Recorder:
        """Connect as a client with this certificate."""
        return self.call(ClientContext(shown, [identity().proxy_id], protocol), *octets)

    def assertRefused(self, cause: str) -> dict[str, object]:
        """One refusal with this cause; the client that was there before is not disturbed."""
        (event,) = self.server.events.named("tunnel.refused")
        self.assertEqual(event["cause"], cause)
        self.assertIn("10.0.0.7:", str(event["peer"]))
        self.assertEqual([control.client_name for control in self.server.tunnel.controls], ["inner-1"])
        self.assertEqual(self.server.user.notes, [("up", "inner-1")])
        return event

    def test_own_authority(self) -> None:
        """A certificate of another authority is refused, even if that authority has the same name."""
        other = TestCa.root("Muster SmartProxy authority")
        rogue = self.shows(credential(other.issue("inner-2", purposes=[CLIENT_AUTH])))
        self.assertTrue(rogue.lost)
        self.assertIn(
            self.server.events.causes("tunnel.refused"), (["certificate.unknown_ca"], ["certificate.bad_signature"])
        )

    def test_own_authority_brought_along(self) -> None:
        """Bringing one's own root along changes nothing."""
        other = TestCa.root("Rogue")
        shown = credential(other.issue("inner-2", purposes=[CLIENT_AUTH]))
        chain = shown.certificate + other.certificate_pem.decode("ascii")
        self.assertTrue(self.shows(ClientCredential(certificate=chain, key=shown.key)).lost)
        self.assertRefused("certificate.path_too_long")

    def test_self_signed(self) -> None:
        """A certificate that signed itself is refused."""
        own = TestCa.root("inner-1").credential
        self.assertTrue(self.shows(credential(own)).lost)
        self.assertRefused("certificate.unknown_ca")

    def test_expired(self) -> None:
        """The right authority, but too late: the event has the date and what to do."""
        now = datetime.now(UTC)
        shown = authority().issue("inner-2", purposes=[CLIENT_AUTH], valid_from=now - 8 * DAY, valid_until=now - DAY)
        self.assertTrue(self.shows(credential(shown)).lost)
        event = self.assertRefused("certificate.expired")
        self.assertEqual(event["not_after"], shown.certificate.not_valid_after_utc)
        self.assertEqual(event["subject"], shown.certificate.subject.rfc4514_string())
        self.assertIn("new tunnel certificate", str(event["advice"]))

    def test_not_yet_valid(self) -> None:
        """The right authority, but too early."""
        now = datetime.now(UTC)
        shown = authority().issue("inner-2", purposes=[CLIENT_AUTH], valid_from=now + DAY, valid_until=now + 8 * DAY)
        self.assertTrue(self.shows(credential(shown)).lost)
        self.assertRefused("certificate.not_yet_valid")

    def test_other_purpose(self) -> None:
        """The backend's https certificate, of the same authority, opens no tunnel; nor does one without a purpose."""
        for purposes in ([SERVER_AUTH], []):
            self.setUp()
            self.assertTrue(self.shows(credential(authority().issue("backend", purposes=purposes))).lost)
            self.assertRefused("certificate.wrong_purpose")

    def test_issued_by_a_client(self) -> None:
        """A client cannot vouch for another: nothing stands between a certificate and the authority."""
        middle = authority().issue("inner-1", purposes=[CLIENT_AUTH], is_ca=True)
        below = TestCa(middle, is_root=False).issue("inner-9", purposes=[CLIENT_AUTH])
        self.assertTrue(self.shows(credential(below)).lost)
        self.assertRefused("certificate.path_too_long")

    def test_no_certificate(self) -> None:
        """Without a certificate there is no AMP."""
        rogue = self.call(Bare(lambda context: context.set_alpn_protos([CONTROL_PROTOCOL])))
        self.assertTrue(rogue.lost)
        event = self.assertRefused("tunnel.tls")
        self.assertIn("did not return a certificate", str(event["message"]))

    def test_too_many_octets(self) -> None:
        """Whoever sends more than a handshake needs is cut off before OpenSSL reads its certificates, or its hello."""
        stranger = TestCa.root("stranger").credential
        chain = stranger.certificate_pem.decode("ascii") * 60
        shown = ClientCredential(certificate=chain, key=stranger.key_pem.decode("ascii"))
        self.assertTrue(self.shows(shown).lost)
        self.assertIn("excessive message size", str(self.assertRefused("tunnel.tls")["message"]))
        self.setUp()
        self.assertTrue(self.call(Bare(lambda context: context.set_alpn_protos([bytes(255)] * 100))).lost)
        self.assertIn("excessive message size", str(self.assertRefused("tunnel.tls")["message"]))

    def test_older_tls(self) -> None:
        """TLS 1.2 is refused."""
        rogue = self.call(Bare(lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION)))
        self.assertTrue(rogue.lost)
        self.assertIn("protocol", str(self.assertRefused("tunnel.tls")["message"]))

    def test_no_kind_of_connection(self) -> None:
        """A good certificate without a protocol of ours is refused after the handshake."""
        self.assertTrue(self.shows(inner("inner-2"), b"http/1.1").lost)
        self.assertRefused("tunnel.protocol")

    def test_plain_text(self) -> None:
        """AMP, or anything else, in plain text is refused before any of it is read."""
        rogue = Recorder()
        self.network.connect(self.server.tunnel.factory, Factory.forProtocol(lambda: rogue))
        rogue.write(AmpBox({b"_command": b"Hello", b"_ask": b"1"}).serialize() * 10)
        self.network.settle()
        self.assertTrue(rogue.lost)
        self.assertRefused("tunnel.tls")

    def test_silence(self) -> None:
        """A connection without a handshake ends at its deadline."""
        rogue = Recorder()
        self.network.connect(self.server.tunnel.factory, Factory.forProtocol(lambda: rogue))
        self.network.advance(limits.HANDSHAKE.default - 1)
        self.assertFalse(rogue.lost)
        self.network.advance(2)
        self.assertTrue(rogue.lost)
        self.assertRefused("tunnel.handshake_timeout")

    def test_port_scan(self) -> None:
        """A look whether the port is open is no refusal."""
        rogue = Recorder()
        self.network.connect(self.server.tunnel.factory, Factory.forProtocol(lambda: rogue))
        assert rogue.transport is not None
        rogue.transport.loseConnection()
        self.network.settle()
        self.assertEqual(self.server.events.named("tunnel.refused"), [])
        self.assertEqual(len(self.server.events.named("connection.closed")), 1)

    def test_flood(self) -> None:
        """One refusal of each address and cause is told in a minute, and how many were left out before it."""
        for _ in range(50):
            self.garbage()
        self.garbage("10.0.0.8")
        told = self.server.events.named("tunnel.refused")
        self.assertEqual([str(each["peer"]).partition(":")[0] for each in told], ["10.0.0.7", "10.0.0.8"])
        self.shows(inner("inner-2"), b"http/1.1")
        self.assertEqual(self.server.events.causes("tunnel.refused")[2:], ["tunnel.protocol"])
        self.network.advance(limits.REFUSED_TOLD_SECONDS)
        self.garbage()
        self.assertEqual(self.server.events.named("tunnel.refused")[3]["facts"], {"not_written_before": 49})

    def garbage(self, host: str = "10.0.0.7") -> None:
        """Somebody at this address takes the port for a web server's."""
        browser = Recorder()
        self.network.connect(self.server.tunnel.factory, Factory.forProtocol(lambda: browser), host)
        browser.write(b"GET / HTTP/1.0\r\n\r\n")
        self.network.settle()
        self.assertTrue(browser.lost)

    def stranger(self, host: str = "10.0.0.8", *octets: bytes) -> Recorder:
        """Somebody who connects, says this, and nothing more."""
        silent = Recorder()
        self.network.connect(self.server.tunnel.factory, Factory.forProtocol(lambda: silent), host)
        for piece in octets:
            silent.write(piece)
        return silent

    def begins(self, host: str = "10.0.0.8") -> Recorder:
        """Somebody who begins a handshake, and says nothing more."""
        rogue = self.stranger(host, hello())
        self.network.settle()
        return rogue

    def test_crowd_of_strangers(self) -> None:
        """Connections that say nothing are bounded: a new one takes the oldest one's place, and one event says so."""
        crowd = [self.stranger() for _ in range(limits.TUNNEL_SILENT_MOST + 5)]
        self.network.settle()
        self.assertEqual([each.lost for each in crowd], [True] * 5 + [False] * limits.TUNNEL_SILENT_MOST)
        self.assertEqual(self.server.events.causes("tunnel.refused"), ["tunnel.crowded"])
        self.network.advance(limits.HANDSHAKE.default + 1)
        self.assertEqual(self.server.tunnel.factory.waiting, 0)

    def test_nothing_is_made_for_a_connection_that_is_silent(self) -> None:
        """There is no TLS before the first whole record; the handshake's deadline runs from the connection."""
        made: list[int] = []
        create = self.server.tunnel.factory._create

        def count(transport: TlsTransport) -> SSL.Connection:
            made.append(1)
            return create(transport)

        self.patch(self.server.tunnel.factory, "_create", count)
        record = hello()
        rogue = self.stranger("10.0.0.8", record[:-1])
        self.network.advance(limits.HANDSHAKE.default - 1)
        self.assertEqual((made, rogue.lost), ([], False))
        rogue.write(record[-1:])
        self.network.settle()
        self.assertEqual((made, rogue.lost), ([1], False))
        self.network.advance(1)
        self.assertTrue(rogue.lost)
        self.assertEqual(self.server.events.causes("tunnel.refused"), ["tunnel.handshake_timeout"])

    def test_client_in_a_crowd(self) -> None:
        """A crowd of silent connections, even from the client's own address, does not keep a client out."""
        for _ in range(limits.TUNNEL_SILENT_MOST):
            self.stranger("10.0.0.7")
        rogue = self.shows(inner("inner-2"))
        self.assertFalse(rogue.lost)
        self.assertEqual(self.server.tunnel.factory.waiting, limits.TUNNEL_SILENT_MOST - 1)

    def test_silent_connections_displace_nobody_who_spoke(self) -> None:
        """Who is in the handshake keeps its place, however many connections come that say nothing."""
        rogue = self.begins()
        for number in range(limits.TUNNEL_SILENT_MOST + 5):
            self.stranger(f"10.0.1.{number % 200}")
        self.network.settle()
        self.assertFalse(rogue.lost)

    def test_strangers_displace_no_client(self) -> None:
        """A client's address has places of its own, for connections that are silent and for handshakes."""
        clients = [self.stranger("10.0.0.7"), self.begins("10.0.0.7")]
        for number in range(limits.TUNNEL_SILENT_MOST + 5):
            self.stranger(f"10.0.1.{number % 200}")
        for number in range(limits.TUNNEL_STRANGERS_MOST + 5):
            self.begins(f"10.0.2.{number % 250}")
        self.assertEqual([each.lost for each in clients], [False, False])
        self.assertEqual(self.server.events.causes("tunnel.refused"), ["tunnel.crowded"])

    def test_rate_of_handshakes(self) -> None:
        """An unknown address may begin so many handshakes a second, a client's address any number."""
        most = round(limits.TUNNEL_HANDSHAKES_RATE * limits.TUNNEL_HANDSHAKES_SECONDS)
        self.assertEqual([self.begins().lost for _ in range(most + 3)], [False] * most + [True] * 3)
        self.assertEqual(self.server.events.causes("tunnel.refused"), ["tunnel.haste"])
        self.assertFalse(self.begins("10.0.0.9").lost, "another address")
        self.assertEqual([self.begins("10.0.0.7").lost for _ in range(most + 3)], [False] * (most + 3))
        self.network.advance(1)
        self.assertFalse(self.begins().lost, "a second later")

    def test_addresses_of_clients_are_remembered(self) -> None:
        """So many addresses from which a client was admitted are known; the oldest is forgotten."""
        self.patch(limits, "TUNNEL_KNOWN_MOST", 1)
        port = self.server.tunnel.factory
        self.assertEqual(list(port._known), ["10.0.0.7/32"])
        self.server.tunnel.factory._known["10.0.0.6/32"] = None
        self.shows(inner("inner-2"))
        self.assertEqual(list(port._known), ["10.0.0.7/32"])

    def test_port_that_stops(self) -> None:
        """At its end the port closes what has not proved its identity, silent or not, and takes nothing more."""
        rogues = [self.stranger(), self.begins()]
        self.server.tunnel.stop("test")
        self.network.settle()
        self.assertEqual([each.lost for each in rogues], [True, True])
        self.assertEqual(self.server.tunnel.factory.waiting, 0)
        late = Recorder()
        self.assertIsNone(self.network.connect(self.server.tunnel.factory, Factory.forProtocol(lambda: late)))

    def test_silence_after_the_handshake(self) -> None:
        """A control connection without Hello ends at its deadline, and nobody is told of a client."""
        rogue = self.shows(inner("inner-2"))
        self.network.advance(limits.HELLO_SECONDS + 1)
        self.assertTrue(rogue.lost)
        self.assertEqual(self.server.user.notes, [("up", "inner-1")])

    def test_question_before_hello(self) -> None:
        """Nothing but Hello before Hello."""
        self.shows(inner("inner-2"), CONTROL_PROTOCOL, AmpBox({b"_command": b"Ping", b"_ask": b"1"}).serialize())
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["command.forbidden"])

    def test_start_tls(self) -> None:
        """AMP's StartTLS inside the tunnel ends it."""
        self.shows(inner("inner-2"), CONTROL_PROTOCOL, AmpBox({b"_command": b"StartTLS", b"_ask": b"1"}).serialize())
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["command.unknown"])

    def test_oversized_box(self) -> None:
        """A box that never ends is not kept."""
        endless = [b"\x00\x03k%02d\xff\xff" % number + bytes(65_535) for number in range(50)]
        rogue = self.shows(inner("inner-2"), CONTROL_PROTOCOL, *endless)
        self.assertTrue(rogue.lost)
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["box.size"])

    def hello(self, tag: bytes = b"1") -> bytes:
        """A Hello as it stands on the wire."""
        words = {b"_command": b"Hello", b"_ask": tag, b"version": b"1", b"oldest": b"%d" % OLDEST}
        return bytes(AmpBox({**words, b"newest": b"%d" % NEWEST}).serialize())

    def test_hello_twice(self) -> None:
        """A second Hello ends the tunnel, whether or not the first is answered."""
        self.shows(inner("inner-2"), CONTROL_PROTOCOL, self.hello(), self.hello(b"2"))
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["command.forbidden"])
        self.network.cut()
        self.shows(inner("inner-1"), CONTROL_PROTOCOL, self.hello() + self.hello(b"2"))
        self.assertEqual(self.server.events.causes("tunnel.violation")[1:], ["hello.twice"])

    def test_commands_of_the_server(self) -> None:
        """A client that asks what only the server may ask is ended with a CRITICAL event naming the command."""
        box = AmpBox({b"_command": b"OpenInbound", b"_ask": b"2"}).serialize()
        self.shows(inner("inner-2"), CONTROL_PROTOCOL, self.hello(), box)
        (event,) = self.server.events.named("tunnel.violation")
        self.assertEqual((event["command"], event["client"]), ("OpenInbound", "inner-2"))

    def test_chunks_out_of_order(self) -> None:
        """Chunks that no client of ours would send end the tunnel; nothing reaches the daemon."""
        first, second, third = cut(GenerationId(5), bytes(3 * limits.CHUNK_OCTETS))
        for chunks in ((first, third), (first, second, second)):
            self.setUp()
            boxes = [
                AmpBox(
                    {
                        b"_command": b"Configure",
                        b"_ask": b"c%d" % number,
                        b"generation": b"5",
                        b"number": b"%d" % chunk.number,
                        b"size": b"%d" % chunk.size,
                        b"digest": chunk.digest,
                        b"chunk": chunk.octets,
                    }
                ).serialize()
                for number, chunk in enumerate(chunks)
            ]
            self.shows(inner("inner-2"), CONTROL_PROTOCOL, self.hello(), *boxes)
            self.assertEqual(self.server.events.causes("tunnel.violation"), ["chunk.order"])
            self.assertEqual(self.server.user.in_force, GenerationId())

    def test_data_without_control(self) -> None:
        """A data connection of a client that is not here is refused, whatever its certificate."""
        self.assertTrue(self.shows(inner("inner-2"), DATA_PROTOCOL).lost)
        self.assertRefused("tunnel.no_control")

    def test_too_many_idle_data_connections(self) -> None:
        """Data connections that carry no session are bounded for each client."""
        self.patch(limits, "DATA_IDLE_MOST", 5)
        made = [self.data() for _ in range(5)]
        self.assertEqual([rogue.lost for rogue in made], [False] * 3 + [True] * 2)
        self.assertEqual(self.server.events.causes("tunnel.refused"), ["tunnel.too_many"])
        self.assertIsNone(self.server.control.lost)

    def data(self, *octets: bytes) -> Recorder:
        """A data connection of the client that is here."""
        return self.shows(inner("inner-1"), DATA_PROTOCOL, *octets)

    def test_guessed_tickets(self) -> None:
        """Guessed tickets open nothing; each costs its connection and is an event."""
        self.server.control.open_inbound(SESSION, FACTS)
        for _ in range(20):
            self.assertTrue(self.data(Attach(secrets.token_bytes(32)).encode() + UNIT).lost)
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["ticket.unknown"] * 20)
        self.assertEqual(self.server.control.client_name, "inner-1", "a ticket costs its own connection only")

    def test_replayed_ticket(self) -> None:
        """A ticket is good once: a second connection with it is closed, and the session is not disturbed."""
        tickets: list[bytes] = []
        issue = self.server.control.desk.office.issue

        def remember(session: str, now: float) -> bytes:
            ticket: bytes = issue(session, now)
            tickets.append(ticket)
            return ticket

        self.patch(self.server.control.desk.office, "issue", remember)
        opening = self.server.control.open_inbound(SESSION, FACTS)
        self.network.settle()
        leg = Receiver(self.successResultOf(opening))
        self.assertTrue(self.data(Attach(tickets[0]).encode()).lost)
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["ticket.unknown"])
        self.assertEqual(leg.said, [])

    def test_late_ticket(self) -> None:
        """A ticket is good for ten seconds."""
        ticket = self.server.control.desk.office.issue(SESSION, self.network.clock.seconds())
        self.network.advance(limits.TICKET_SECONDS + 0.5)
        self.assertTrue(self.data(Attach(ticket).encode()).lost)
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["ticket.unknown"])

    def test_ticket_of_another_client(self) -> None:
        """A ticket is good for the client that it was given to."""
        other = ClientSide(self.network, self.server.tunnel.factory, inner("inner-2"))
        other.tunnel.startService()
        self.network.settle()
        first, _ = sorted(self.server.tunnel.controls, key=lambda control: control.client_name)
        ticket = first.desk.office.issue(SESSION, self.network.clock.seconds())
        self.assertTrue(self.shows(inner("inner-2"), DATA_PROTOCOL, Attach(ticket).encode()).lost)
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["ticket.unknown"])

    def test_ticket_of_an_older_tunnel(self) -> None:
        """A ticket dies with its control connection."""
        ticket = self.server.control.desk.office.issue(SESSION, self.network.clock.seconds())
        self.client.control.abort(WHY)
        self.network.advance(3)
        self.assertTrue(self.data(Attach(ticket).encode()).lost)
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["ticket.unknown"])

    def test_octets_without_a_ticket(self) -> None:
        """Octets and marks outside of a session cost the connection."""
        for octets, cause in (
            (UNIT, "data.unattached"),
            (End().encode(), "data.end"),
            (b"\x00\x00\x00\x04", "mark.length"),
            (b"\x00\x00\x00\x05\x01", "mark.kind"),
            (b"\x00\x00\x00\x05\x07", "mark.kind"),
            (b"\x01\x00\x00\x05", "mark.length"),
            (b"\x10\x00\x00\x03", "mark.unit"),
        ):
            self.setUp()
            self.assertTrue(self.data(octets).lost)
            self.assertEqual(self.server.events.causes("tunnel.violation"), [cause])

    def test_ticket_within_a_session(self) -> None:
        """A second ATTACH within a session costs the connection, however good its ticket."""
        office = self.server.control.desk.office
        opening = self.server.control.open_inbound("1" * 16, FACTS)
        self.network.settle()
        leg = Receiver(self.successResultOf(opening))
        pool = self.client.pool
        (connection,) = pool._all - set(pool._idle)
        assert connection.transport is not None
        connection.transport.write(Attach(office.issue(SESSION, self.network.clock.seconds())).encode())
        self.network.settle()
        self.assertEqual(self.server.events.causes("tunnel.violation"), ["data.attach"])
        self.assertEqual(leg.said, ["lost: violation: data.attach"])

    def test_nothing_is_resumed(self) -> None:
        """A TLS session that a client saved is worth nothing: the certificate is looked at each time."""
        looked: list[int] = []
        judge = ServerContext._judge

        def count(context: ServerContext, *question: Any) -> bool:
            looked.append(1)
            verdict: bool = judge(context, *question)
            return verdict

        self.patch(ServerContext, "_judge", count)
        self.server = ServerSide(self.network)
        context = Resuming(inner("inner-2"), [identity().proxy_id], CONTROL_PROTOCOL)
        self.call(context, self.hello())
        self.network.settle()
        first, looked[:] = len(looked), []
        context.save()
        self.call(context)
        self.assertTrue(context.resumes)
        self.assertEqual(len(looked), first)


class Resuming(ClientContext):
    """Brings back the session of the connection before."""

    resumes: SSL.Session | None = None
    _last: SSL.Connection

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Part of the interface."""
        self._last = super().clientConnectionForTLS(tlsProtocol)
        if self.resumes is not None:
            self._last.set_session(self.resumes)
        return self._last

    def save(self) -> None:
        """Keep the session of the last connection."""
        self.resumes = self._last.get_session()


class ProofTests(SynchronousTestCase):
    """What a context takes for proved."""

    def test_nothing_without_a_handshake(self) -> None:
        """A connection that has shown nothing proves nothing, at either end."""
        server = ServerContext(identity(), authority().certificate_pem.decode("ascii"))
        client = ClientContext(inner(), [identity().proxy_id], CONTROL_PROTOCOL)
        for context, connection in (
            (server, server.serverConnectionForTLS(TLSMemoryBIOProtocol(None, None))),
            (client, client.clientConnectionForTLS(TLSMemoryBIOProtocol(None, None))),
        ):
            refusal = self.assertRaises(PeerRefused, context.verified, connection)
            self.assertEqual(refusal.cause, Cause.TUNNEL_UNPROVED)

    def test_callbacks_never_raise(self) -> None:
        """A certificate that makes our own code fail is refused, and the cause says so."""
        server = ServerContext(identity(), authority().certificate_pem.decode("ascii"))
        client = ClientContext(inner(), [identity().proxy_id], CONTROL_PROTOCOL)
        for context, connection in (
            (server, server.serverConnectionForTLS(TLSMemoryBIOProtocol(None, None))),
            (client, client.clientConnectionForTLS(TLSMemoryBIOProtocol(None, None))),
        ):
            self.assertFalse(context._judge(connection, None, 0, 0, 1))  # type: ignore[arg-type]  # on purpose
            refusal = context.refusal(connection)
            assert refusal is not None
            self.assertEqual(refusal.cause, Cause.CERTIFICATE_UNREADABLE)

    def test_names_that_are_no_text(self) -> None:
        """A certificate whose names are no text is refused for what is wrong with it, and they are shown."""
        server = ServerContext(identity(), authority().certificate_pem.decode("ascii"))
        odd = named_in_bits(TestCa.root("CA").issue("inner-1").certificate, "inner-1")
        refusal = self.assertRaises(PeerRefused, server.recognized, odd, b"", b"")
        self.assertEqual(refusal.cause, Cause.CERTIFICATE_UNKNOWN_CA)
        self.assertIn("nner-1", refusal.subject or "")
        connection = server.serverConnectionForTLS(TLSMemoryBIOProtocol(None, None))
        self.assertFalse(server._judge(connection, load_certificate(FILETYPE_ASN1, odd), 20, 0, 0))
        refused = server.refusal(connection)
        assert refused is not None
        self.assertEqual(refused.cause, Cause.CERTIFICATE_UNKNOWN_CA)

    def test_names_of_clients(self) -> None:
        """A client's certificate has exactly one name, printable and of some length."""
        for name in ("a\nb", "\u202eevil", "x" * 129, ""):
            try:
                shown = authority().issue(name, purposes=[CLIENT_AUTH])
            except ValueError:
                continue
            self.assertIsNone(_client_name(shown.certificate), ascii(name))
        self.assertEqual(_client_name(authority().issue("inner-1", purposes=[CLIENT_AUTH]).certificate), "inner-1")

    def test_only_contexts_make_proofs(self) -> None:
        """No other module makes a verified client or server."""
        makers = {
            module.name
            for module in modules().values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and outermost_name(node.func) in ("VerifiedClient", "VerifiedServer")
        }
        self.assertEqual(makers, {"smartproxy.tunnel.contexts"})


class RogueServerTests(SynchronousTestCase):
    """Where a client may not have gone."""

    def setUp(self) -> None:
        """No server yet."""
        self.network = Network()

    def test_other_key(self) -> None:
        """A server with another key gets no octet of AMP; the event names the key that was seen, and what to do."""
        other = Identity.of(ec.generate_private_key(ec.SECP256R1()))
        server = ServerSide(self.network, other)
        client = ClientSide(self.network, server.tunnel.factory)
        client.tunnel.startService()
        self.network.settle()
        (event,) = client.events.named("tunnel.refused")
        self.assertEqual((event["cause"], event["proxy_id"]), ("tunnel.wrong_server_key", other.proxy_id))
        self.assertIn("licence", str(event["advice"]))
        self.assertEqual(server.tunnel._controls, set())
        self.assertEqual(client.user.notes, [])
        # The client refused it within the handshake already.
        self.assertEqual(len(server.events.named("tunnel.refused")), 1)
        self.assertIn("alert", str(server.events.named("tunnel.refused")[0]["message"]))

    def test_too_many_octets(self) -> None:
        """A client leaves a server that sends more than a handshake needs, before OpenSSL reads its certificates."""
        other = Identity.of(ec.generate_private_key(ec.SECP256R1()))
        server = ServerSide(self.network, other)
        for _ in range(100):
            server.tunnel.context._context.add_extra_chain_cert(other.certificate)
        client = ClientSide(self.network, server.tunnel.factory)
        client.tunnel.startService()
        self.network.settle()
        (event,) = client.events.named("tunnel.refused")
        self.assertEqual(event["cause"], "tunnel.tls")
        self.assertIn("excessive message size", f"{event}")

    def test_other_key_that_takes_anything(self) -> None:
        """A fake server that asks for no certificate and keeps all that comes receives 0 octets of AMP."""
        other = Identity.of(ec.generate_private_key(ec.SECP256R1()))
        fake = Recorder()

        def change(context: SSL.Context) -> None:
            context.use_certificate(other.certificate)
            context.use_privatekey(other.key)
            context.set_alpn_select_callback(lambda connection, offered: offered[0])

        bare = Bare(change)

        class Context:
            def getContext(self) -> SSL.Context:
                return bare.context

        secured = TLSMemoryBIOFactory(
            Context(),  # type: ignore[arg-type]  # one of the kinds that it takes
            False,
            Factory.forProtocol(lambda: fake),
            self.network.clock,
        )
        client = ClientSide(self.network, secured)
        client.tunnel.startService()
        self.network.settle()
        self.assertEqual(fake.got, b"")
        self.assertTrue(fake.lost)
        self.assertEqual(client.events.causes("tunnel.refused"), ["tunnel.wrong_server_key"])

    def test_certificate_of_the_authority(self) -> None:
        """Not even a certificate of the site's authority makes a server: only the key of a licensed Proxy ID does."""
        issued = authority().issue("dmz", purposes=[SERVER_AUTH, CLIENT_AUTH])
        assert isinstance(issued.key, ec.EllipticCurvePrivateKey)
        server = ServerSide(self.network, Identity(issued.key, identity().proxy_id, issued.certificate))
        client = ClientSide(self.network, server.tunnel.factory)
        client.tunnel.startService()
        self.network.settle()
        self.assertEqual(client.events.causes("tunnel.refused"), ["tunnel.wrong_server_key"])

    def test_plain_server(self) -> None:
        """A server without TLS gets a ClientHello and nothing else."""
        fake = Recorder()
        client = ClientSide(self.network, Factory.forProtocol(lambda: fake))
        client.tunnel.startService()
        self.network.settle()
        fake.write(AmpBox({b"_answer": b"1", b"version": b"1"}).serialize())
        self.network.settle()
        self.assertNotIn(b"Hello", fake.got)
        self.assertEqual(client.events.causes("tunnel.refused"), ["tunnel.tls"])

    def test_silent_server(self) -> None:
        """A server that accepts and says nothing is left at the handshake's deadline, and dialled again."""
        fakes: list[Recorder] = []

        def build() -> Recorder:
            fakes.append(Recorder())
            return fakes[-1]

        client = ClientSide(self.network, Factory.forProtocol(build))
        client.tunnel.startService()
        self.network.advance(limits.HANDSHAKE.default + 3)
        self.assertEqual(client.events.causes("tunnel.refused"), ["tunnel.handshake_timeout"])
        self.assertEqual([fake.lost for fake in fakes], [True, False])

    def test_server_that_asks_what_only_clients_ask(self) -> None:
        """The server can ask for nothing outside of its column: the tunnel ends, and nothing was answered."""
        server, client = pair(self.network)
        server.control.send_box(AmpBox({b"_command": b"Configure", b"_ask": b"1"}))
        self.network.settle()
        (event,) = client.events.named("tunnel.violation")
        self.assertEqual((event["cause"], event["command"]), ("command.forbidden", "Configure"))
        self.assertEqual(str(client.user.notes[1][1]), "violation: command.forbidden")

    def test_server_with_an_impossible_load(self) -> None:
        """A server that tells of more than a load can be is ended, and nothing of it is kept."""
        for field, octets in ((b"cpu", b"409601"), (b"memory", b"-1"), (b"sessions", b"<b>")):
            network = Network()
            server, client = pair(network)
            control = client.control
            ping = {b"_command": b"Ping", b"_ask": b"x", b"cpu": b"7", field: octets}
            server.control.send_box(AmpBox(ping))
            network.settle()
            (event,) = client.events.named("tunnel.violation")
            self.assertEqual((event["cause"], event["command"]), ("value.malformed", "Ping"))
            self.assertIsNone(control.load)

    def test_server_that_opens_while_draining(self) -> None:
        """A server that goes on opening sessions after it agreed to drain is ended."""
        server, client = pair(self.network)
        control = server.control
        client.control.drain()
        self.network.settle()
        control.asking = TunnelPhase.READY
        control.open_inbound(SESSION, FACTS).addErrback(lambda _: None)
        self.network.settle()
        self.assertEqual(client.events.causes("tunnel.violation"), ["command.forbidden"])

    def test_server_that_attaches(self) -> None:
        """ATTACH never goes from server to client, within a session or outside of one."""
        server, client = pair(self.network)
        for connection in list(server.control.desk._connections):
            assert connection.transport is not None
            connection.transport.write(Attach(bytes(32)).encode())
        self.network.settle()
        self.assertEqual(client.events.causes("tunnel.violation"), ["data.attach"] * 2)
        self.assertEqual(client.pool.idle, 0)

    def test_certificate_without_a_purpose(self) -> None:
        """A certificate that our own check refuses is refused within the handshake: the client gets an alert."""
        server = ServerSide(self.network)
        shown = credential(authority().issue("inner-1", purposes=[]))
        client = ClientSide(self.network, server.tunnel.factory, shown)
        client.tunnel.startService()
        self.network.settle()
        (event,) = client.events.named("tunnel.refused")
        self.assertIn("alert", str(event["detail"]))

    def test_certificate_refused_by_the_server(self) -> None:
        """A client whose certificate is refused says that the server did it, with TLS's word for why."""
        now = datetime.now(UTC)
        shown = authority().issue("inner-1", purposes=[CLIENT_AUTH], valid_from=now - 8 * DAY, valid_until=now - DAY)
        server = ServerSide(self.network)
        client = ClientSide(self.network, server.tunnel.factory, credential(shown))
        client.tunnel.startService()
        self.network.settle()
        (event,) = client.events.named("tunnel.refused")
        self.assertEqual(event["cause"], "tunnel.refused")
        self.assertIn("certificate expired", str(event["detail"]))
