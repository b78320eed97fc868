"""The partner's side of the server over real TLS: from accept to the end of the session."""

import gc
import weakref
from datetime import timedelta
from unittest.mock import Mock

import attrs
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.catalogue import look_up
from smartproxy.logs.severity import Severity
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy import limits
from smartproxy.policy.admission import Visit
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.faults import Draining, StationUnreachable
from smartproxy.policy.partners import RevocationMode
from smartproxy.policy.penalties import Fault
from smartproxy.policy.settings import PenaltySettings, ServerLimits
from smartproxy.relay.openings import PartnerTls, SessionFacts
from smartproxy.server import partner as partner_module
from smartproxy.server import sessions
from smartproxy.server.proof import ABOUT_OUR_CERTIFICATE
from smartproxy.testing import pki
from tests.adapters.acme import DAY, LEAF, MIDDLE, NOW, ROOT, acme, configuration, revoked
from tests.adapters.rig import Caller, CallerTls, ServerRig, pin, tls12, tls13
from tests.unit.playbook import PARTNER_SSID, STATION_SSID, esid, sfid, ssid


def client_hello() -> bytes:
    """The first record of a TLS client."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_connect_state()
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return connection.bio_read(2**16)
    raise AssertionError("a handshake of one side")


class AcceptedPartner(SynchronousTestCase):
    """A partner that does everything right."""

    def test_session(self) -> None:
        """Greeting, SSID, opening, relaying in both directions, and the end of both legs."""
        rig = ServerRig()
        caller, _ = rig.call()
        self.assertEqual(caller.received, SSRM_BUFFER)
        self.assertEqual(rig.opened, [])
        rig.send(caller, PARTNER_SSID)
        ((session, facts, _),) = rig.opened
        self.assertEqual(
            facts,
            SessionFacts(
                partner="ACME",
                code=rig.CODE,
                level=Level.OFTP_2_0,
                profile=Profile.DEFAULT,
                peer="192.0.2.7:40001",
                tls=PartnerTls.TLS_1_3,
                certificate_sha256=rig.partner.sha256,
            ),
        )
        leg = rig.inside()
        self.assertEqual(leg.sent, PARTNER_SSID)
        leg.receive(STATION_SSID)
        rig.network.settle()
        self.assertEqual(caller.received, SSRM_BUFFER + STATION_SSID)
        rig.send(caller, sfid())
        self.assertEqual(leg.sent, PARTNER_SSID + sfid())
        leg.receive(esid(EsidReason.UNSPECIFIED_ABORT))
        rig.network.settle()
        self.assertEqual(leg.calls, ["finish"])
        self.assertEqual(caller.ended, "ConnectionDone")
        self.assertEqual(list(rig.sessions.live), [session])
        leg.lose()
        self.assertEqual(rig.sessions.live, {})
        self.assertEqual([summary.session for summary in rig.finished], [session])
        self.assertEqual(rig.clock.getDelayedCalls(), [])
        self.assertEqual(
            rig.journal.names(),
            [
                "certificate.accepted",
                "identity.accepted",
                "session.started",
                "file.ended",
                "session.ended",
            ],
        )
        self.assertEqual((rig.gate.admission.connections, rig.gate.admission.sessions), (0, 0))

    def test_tls_1_2(self) -> None:
        """TLS 1.2 with an ephemeral key and AEAD is as good."""
        rig = ServerRig()
        caller, _ = rig.call(CallerTls(rig.partner, tls12))
        self.assertEqual(caller.received, SSRM_BUFFER)
        self.assertEqual(rig.journal.the("certificate.accepted")["tls"], "TLSv1.2")


class NoSession(SynchronousTestCase):
    """Every connection that becomes no session gives exactly one event with its cause, and leaves nothing behind."""

    def quiet(self, rig: ServerRig, event: str) -> None:
        """Look that there was this one event, and that nothing is left."""
        self.assertEqual(rig.journal.names("penalty.banned"), [event])
        self.assertEqual(rig.opened, [])
        self.assertEqual(rig.sessions.live, {})
        self.assertEqual(rig.gate.admission.connections, 0)
        self.assertEqual(rig.clock.getDelayedCalls(), [])

    def raw(self, rig: ServerRig, octets: bytes = b"") -> Caller:
        """Somebody connects and speaks without TLS."""
        caller = Caller()
        rig.dial(caller)
        if octets and caller.transport is not None:
            caller.transport.write(octets)
            rig.network.settle()
        return caller

    def test_silence(self) -> None:
        """Who connects and says nothing has ten seconds."""
        rig = ServerRig()
        caller = self.raw(rig)
        rig.network.wait(9.9)
        self.assertIsNone(caller.ended)
        rig.network.wait(0.1)
        self.assertIsNotNone(caller.ended)
        self.quiet(rig, "handshake.failed")
        told = rig.journal.the("handshake.failed")
        self.assertEqual(told["message"], "no TLS handshake within 10 s: the caller sent nothing")
        self.assertEqual(told["cause"], "handshake.silent")

    def test_trickle(self) -> None:
        """Octets do not lengthen the deadline of the handshake: it is absolute."""
        rig = ServerRig()
        caller = self.raw(rig)
        for octet in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03":
            assert caller.transport is not None
            caller.transport.write(bytes([octet]))
            rig.network.wait(1)
        self.assertIsNotNone(caller.ended)
        self.quiet(rig, "handshake.failed")

    def test_silence_after_the_first_record(self) -> None:
        """A whole ClientHello does not lengthen the deadline of the handshake either."""
        rig = ServerRig()
        client = CallerTls(rig.partner).context
        connection = SSL.Connection(client, None)
        connection.set_connect_state()
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        caller = self.raw(rig)
        rig.network.wait(4)
        assert caller.transport is not None
        caller.transport.write(connection.bio_read(1 << 16))
        rig.network.wait(5.9)
        self.assertIsNone(caller.ended)
        self.assertNotEqual(caller.received, b"")
        rig.network.wait(0.1)
        self.assertIsNotNone(caller.ended)
        self.quiet(rig, "handshake.failed")
        self.assertEqual(rig.journal.the("handshake.failed")["cause"], "handshake.timeout")

    def test_no_tls(self) -> None:
        """Octets that are no TLS: each kind has a cause of its own, and says what to do."""
        for octets, cause in (
            (SSRM_BUFFER, "handshake.plain_oftp"),
            (b"IODETTE FTP READY \r", "handshake.plain_oftp"),
            (b"GET / HTTP/1.1\r\n\r\n", "handshake.plain_http"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "handshake.plain_ssh"),
            (b"\x00\x01\x02\x03", "handshake.not_tls"),
            (b"\x16\x03\x01\xff\xff", "handshake.not_tls"),
        ):
            rig = ServerRig()
            caller = self.raw(rig, octets)
            self.assertIsNotNone(caller.ended)
            self.quiet(rig, "handshake.failed")
            self.assertEqual(rig.journal.the("handshake.failed")["cause"], cause)
            self.assertTrue(rig.journal.the("handshake.failed")["advice"])

    def test_hangs_up_at_once(self) -> None:
        """Whoever only looks whether the port is open does nothing wrong, and no operator needs to hear of it."""
        rig = ServerRig(penalties=PenaltySettings(exempt=()))
        for _ in range(30):
            caller = self.raw(rig)
            assert caller.transport is not None
            caller.transport.loseConnection()
            rig.network.settle()
        self.assertEqual(rig.journal.of("connection.closed")[0]["message"], "closed before the peer sent anything")
        self.assertEqual(set(rig.journal.names()), {"connection.closed"})
        self.assertEqual(look_up("connection.closed").level, Severity.DEBUG)
        self.assertEqual((len(rig.gate.penalties), rig.gate.admission.connections), (0, 0))

    def test_hangs_up_in_the_handshake(self) -> None:
        """Gone after half a ClientHello."""
        rig = ServerRig()
        caller = self.raw(rig, b"\x16\x03\x01\x02\x00\x01")
        assert caller.transport is not None
        caller.transport.loseConnection()
        rig.network.settle()
        self.quiet(rig, "handshake.failed")

    def test_old_tls(self) -> None:
        """TLS 1.1 is not offered."""
        rig = ServerRig()

        def old(context: SSL.Context) -> None:
            context.set_min_proto_version(SSL.TLS1_1_VERSION)
            context.set_max_proto_version(SSL.TLS1_1_VERSION)

        caller, _ = rig.call(CallerTls(rig.partner, old))
        self.assertEqual(caller.handshakes, 0)
        self.quiet(rig, "handshake.failed")
        self.assertEqual(rig.journal.the("handshake.failed")["alert"], "protocol_version")

    def test_no_certificate(self) -> None:
        """A client that shows no certificate, in both versions of TLS."""
        for version, alert in ((tls12, "tls alert handshake failure"), (tls13, "tlsv13 alert certificate required")):
            rig = ServerRig()
            caller, _ = rig.call(CallerTls(None, version))
            self.assertEqual(caller.ended, alert)
            self.quiet(rig, "certificate.refused")
            self.assertEqual(rig.journal.the("certificate.refused")["cause"], "certificate.missing")

    def test_unknown_certificate(self) -> None:
        """A certificate that nobody vouches for: the peer is told unknown_ca, in both versions of TLS."""
        for version in (tls12, tls13):
            rig = ServerRig()
            caller, _ = rig.call(CallerTls(pki.self_signed("EVIL"), version))
            self.assertEqual(caller.ended, "tlsv1 alert unknown ca")
            self.quiet(rig, "certificate.refused")
            refused = rig.journal.the("certificate.refused")
            self.assertEqual((refused["cause"], refused["alert"]), ("certificate.unknown_ca", "unknown_ca"))
            self.assertIn("EVIL", str(refused["subject"]))

    def test_peer_refuses_us(self) -> None:
        """A partner that does not trust our certificate: the alert that it sent is told, and it is not banned for it.

        Who says so many times a second is.
        """
        rig = ServerRig(penalties=PenaltySettings(threshold=4, exempt=()))

        def distrust(context: SSL.Context) -> None:
            context.set_verify(SSL.VERIFY_PEER, lambda *facts: False)

        rig.call(CallerTls(rig.partner, distrust))
        self.quiet(rig, "handshake.failed")
        told = rig.journal.the("handshake.failed")
        self.assertEqual(told["cause"], "handshake.distrusted")
        self.assertIn(told["alert"], ABOUT_OUR_CERTIFICATE)
        self.assertIn("smartproxy identity show NAME -o FILE", told["advice"])
        for _ in range(20):
            rig.network.wait(1)
            rig.call(CallerTls(rig.partner, distrust))
        self.assertEqual(rig.journal.of("penalty.banned"), [])
        for _ in range(4):
            rig.call(CallerTls(rig.partner, distrust))
        self.assertEqual(rig.journal.the("penalty.banned")["cause"], "penalty.handshakes")

    def test_no_configuration(self) -> None:
        """A server that forgot its configuration turns everybody away before TLS."""
        rig = ServerRig()
        rig.sessions.forget()
        _, end = rig.call()
        self.assertIsNone(end)
        self.quiet(rig, "connection.refused")

    def test_limit(self) -> None:
        """More connections of one address than allowed: turned away before TLS; others are not concerned."""
        rig = ServerRig(limits=ServerLimits(unauthenticated_per_address=1))
        self.raw(rig)
        _, end = rig.call()
        self.assertIsNone(end)
        refused = rig.journal.the("connection.refused")
        self.assertEqual((refused["limit"], refused["most"]), ("unauthenticated_per_address", 1))
        other, _ = rig.call(host="192.0.2.8")
        self.assertEqual(other.received, SSRM_BUFFER)

    def test_limit_of_an_ipv4_peer_on_an_ipv6_port(self) -> None:
        """An IPv4 peer is one peer on either kind of port: it is counted, named and turned away as IPv4."""
        rig = ServerRig(limits=ServerLimits(unauthenticated_per_address=1))
        self.raw(rig)
        self.assertIsNone(rig.factory.buildProtocol(IPv6Address("TCP", "::ffff:192.0.2.7", 40000)))
        self.assertEqual(rig.journal.the("connection.refused")["peer"], "192.0.2.7:40000")

    def test_bug_in_verification(self) -> None:
        """An exception while a certificate is judged refuses this connection alone, and is told as what it is."""
        rig = ServerRig()
        generation = rig.sessions.generation
        assert generation is not None

        def broken() -> None:
            raise RuntimeError("CANARY")

        self.patch(generation.contexts._verifier, "_now", broken)
        caller, _ = rig.call()
        self.assertEqual(caller.received, b"")
        self.quiet(rig, "internal.error")
        self.assertNotIn("CANARY", repr(rig.journal.records))
        self.flushLoggedErrors(RuntimeError)


class Penalized(SynchronousTestCase):
    """Who misbehaves is banned for a while, and turned away before any TLS work."""

    def test_ban(self) -> None:
        """Ten failed handshakes are too many; the ban ends by itself and is told."""
        rig = ServerRig(penalties=PenaltySettings(threshold=20, exempt=()))
        evil = pki.self_signed("EVIL")
        for _ in range(10):
            rig.call(CallerTls(evil))
        self.assertEqual(rig.journal.the("penalty.banned")["network"], "192.0.2.7/32")
        _, end = rig.call()
        self.assertIsNone(end)
        self.assertIn("banned for 60", str(rig.journal.the("connection.refused")["message"]))
        rig.network.wait(60)
        self.assertEqual(rig.journal.the("penalty.lifted")["network"], "192.0.2.7/32")
        caller, _ = rig.call()
        self.assertEqual(caller.received, SSRM_BUFFER)

    def test_our_own_list(self) -> None:
        """A revocation list that is stale, of the future or missing here bans nobody: a current one lets SSRM come."""
        lists = (revoked(ROOT), revoked(MIDDLE))
        fresh = configuration(acme(), mode=RevocationMode.REQUIRE, lists=lists)
        for ours in (
            (lists[0], revoked(MIDDLE, this_update=NOW - 3 * DAY, next_update=NOW - DAY)),
            (lists[0], revoked(MIDDLE, this_update=NOW + DAY, next_update=NOW + 2 * DAY)),
            (lists[0],),
        ):
            rig = ServerRig(
                cas=fresh.cas,
                revocation=ours,
                partners=fresh.partners,
                penalties=PenaltySettings(threshold=20, exempt=()),
            )
            for _ in range(20):
                rig.call(CallerTls(LEAF))
                # All of them are told only if they are few in a second.
                rig.clock.advance(1)
            self.assertEqual(len(rig.journal.of("certificate.refused")), 20)
            self.assertEqual(rig.journal.of("penalty.banned"), [])
            rig.sessions.adopt(rig.generation(attrs.evolve(rig.configuration, revocation=lists), 2))
            caller, _ = rig.call(CallerTls(LEAF))
            self.assertEqual(caller.received, SSRM_BUFFER)

    def test_certificate_that_a_new_generation_accepts(self) -> None:
        """A ban for refused certificates ends with a generation that may let them in; one for another fault does not.

        A generation that judges certificates as before ends no ban.
        """
        new = pki.self_signed("ACME's next")
        rig = ServerRig(penalties=PenaltySettings(threshold=20, exempt=()))
        for _ in range(10):
            rig.call(CallerTls(new))
        for _ in range(4):
            caller, _ = rig.call(host="192.0.2.8")
            rig.send(caller, b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(len(rig.journal.of("penalty.banned")), 2)
        other = attrs.evolve(rig.configuration.partners[0], codes=("O0013OTHER",))
        others = attrs.evolve(rig.configuration, limits=ServerLimits(sessions=7), partners=(other,))
        rig.sessions.adopt(rig.generation(others, 2))
        self.assertEqual(rig.journal.of("penalty.lifted"), [])
        self.assertIsNone(rig.call(CallerTls(new))[1])
        entry = rig.entry(certificates=(pin(rig.partner), pin(new)))
        rig.sessions.adopt(rig.generation(attrs.evolve(rig.configuration, partners=(entry,)), 3))
        lifted = rig.journal.the("penalty.lifted")
        self.assertEqual((lifted["network"], lifted["cause"]), ("192.0.2.7/32", Cause.PENALTY_PARDONED))
        caller, _ = rig.call(CallerTls(new))
        self.assertEqual(caller.received, SSRM_BUFFER)
        self.assertIsNone(rig.call(host="192.0.2.8")[1])
        rig.network.wait(60)
        self.assertEqual([each["network"] for each in rig.journal.of("penalty.lifted")[1:]], ["192.0.2.8/32"])

    def test_certificate_that_a_new_list_no_longer_revokes(self) -> None:
        """A ban for a revoked certificate ends with the generation whose list lets it in."""
        lists = (revoked(ROOT), revoked(MIDDLE, LEAF))
        part = configuration(acme(), mode=RevocationMode.REQUIRE, lists=lists)
        rig = ServerRig(
            cas=part.cas,
            revocation=lists,
            partners=part.partners,
            penalties=PenaltySettings(threshold=20, exempt=()),
        )
        for _ in range(4):
            rig.call(CallerTls(LEAF))
        self.assertEqual(rig.journal.the("penalty.banned")["cause"], Cause.PENALTY_REVOKED)
        newer = attrs.evolve(lists[1], this_update=lists[1].this_update + timedelta(seconds=1))
        rig.sessions.adopt(rig.generation(attrs.evolve(rig.configuration, revocation=(lists[0], newer)), 2))
        self.assertEqual(rig.journal.of("penalty.lifted"), [], "a newer list that revokes the same")
        put_back = attrs.evolve(rig.configuration, revocation=(lists[0], revoked(MIDDLE)))
        rig.sessions.adopt(rig.generation(put_back, 3))
        self.assertEqual(rig.journal.the("penalty.lifted")["cause"], Cause.PENALTY_PARDONED)
        caller, _ = rig.call(CallerTls(LEAF))
        self.assertEqual(caller.received, SSRM_BUFFER)

    def test_station_that_is_away(self) -> None:
        """Sessions that end because the inside is not there cost the partner nothing."""
        rig = ServerRig(penalties=PenaltySettings(threshold=1, exempt=()))
        for _ in range(20):
            caller, _ = rig.call()
            rig.send(caller, PARTNER_SSID)
            rig.opened[-1][2].errback(StationUnreachable(rule="station.connect", message="it refuses the connection"))
            rig.network.settle()
        self.assertEqual(rig.journal.of("penalty.banned"), [])
        late, _ = rig.call()
        rig.send(late, PARTNER_SSID)
        rig.network.wait(600)
        self.assertTrue(late.received.endswith(esid(EsidReason.RESOURCES_NOT_AVAILABLE)))
        self.assertEqual(rig.journal.of("penalty.banned"), [])

    def test_flood_of_strangers(self) -> None:
        """What is no TLS, and a handshake that is left, are faults: a flood of them ends in a ban, told once."""
        for octets, faults in ((b"GET / HTTP/1.0\r\n\r\n", 20), (b"\x16\x03\x01\x02\x00\x01", 10)):
            rig = ServerRig(
                penalties=PenaltySettings(threshold=20, exempt=()), limits=ServerLimits(strangers_events=100)
            )
            for _ in range(100):
                caller = Caller()
                if rig.dial(caller) is not None and caller.transport is not None:
                    caller.transport.write(octets)
                    rig.network.settle()
                    caller.transport.loseConnection()
                    rig.network.settle()
            self.assertEqual(len(rig.journal.of("handshake.failed")), faults)
            self.assertEqual(rig.journal.names("handshake.failed"), ["penalty.banned", "connection.refused"])

    def test_flood_leaves_no_garbage(self) -> None:
        """A connection that is displaced is gone at once: the collector, which looks seldom, has nothing to find."""
        gc.disable()
        self.addCleanup(gc.enable)
        rig = ServerRig(limits=ServerLimits(connections=10))
        doors: list[weakref.ref[object]] = []
        for _ in range(20):
            door = rig.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 40000))
            assert door is not None
            door.makeConnection(StringTransport())
            doors.append(weakref.ref(door))
            del door
        self.assertEqual([each() is None for each in doors], [True] * 12 + [False] * 8)

    def test_crowd(self) -> None:
        """In a crowd of silent connections a partner gets in, known or not; one event a minute tells of the crowd."""
        rig = ServerRig(limits=ServerLimits(connections=10))
        known, _ = rig.call()
        silent = [Caller() for _ in range(100)]
        for number, caller in enumerate(silent):
            rig.dial(caller, f"192.0.2.{number % 20 + 100}")
        rig.network.settle()
        self.assertEqual(rig.gate.admission.connections, 8)
        self.assertEqual([caller.ended is None for caller in silent], [False] * 93 + [True] * 7)
        (told,) = rig.journal.of("connection.refused")
        self.assertEqual(told["cause"], "quota.displaced")
        again, _ = rig.call()
        other, _ = rig.call(host="192.0.2.8")
        self.assertEqual({known.received, again.received, other.received}, {SSRM_BUFFER})
        self.assertEqual(rig.journal.names("connection.refused"), ["certificate.accepted"] * 3)

    def test_crowd_that_hangs(self) -> None:
        """Callers from many addresses that say hello and hang displace one another: a partner gets in, and is not.

        It is no fault of theirs.
        """
        rig = ServerRig(limits=ServerLimits(connections=10), penalties=PenaltySettings(exempt=()))
        partner, _ = rig.call()
        callers = [Caller() for _ in range(30)]
        for number, caller in enumerate(callers):
            rig.dial(caller, f"198.51.100.{number}")
            assert caller.transport is not None
            caller.transport.write(client_hello())
            rig.network.settle()
        self.assertEqual([caller.ended is None for caller in callers], [False] * 23 + [True] * 7)
        self.assertEqual(len(rig.gate.penalties), 0)
        self.assertEqual(rig.journal.the("connection.refused")["cause"], "quota.displaced")
        other, _ = rig.call(host="192.0.2.8")
        self.assertEqual((partner.received, other.received), (SSRM_BUFFER, SSRM_BUFFER))
        self.assertEqual(rig.journal.names("certificate.accepted"), ["connection.refused"])

    def test_counted_once(self) -> None:
        """A certificate that is refused when TLS is complete counts once, and an error of ours then never."""
        rig = ServerRig(penalties=PenaltySettings(exempt=()))
        counted: list[Fault] = []
        self.patch(rig.gate, "fault", lambda host, fault: counted.append(fault))
        for error in (CertificateRefusal(cause=Cause.CERTIFICATE_INVALID_PATH), RuntimeError("no")):
            self.patch(partner_module, "verified_partner", Mock(side_effect=error))
            rig.call()
        self.assertEqual(counted, [Fault.CERTIFICATE])
        rig.journal.the("certificate.refused")
        self.assertEqual(rig.gate.admission.connections, 0)

    def test_hasty_strangers_in_a_crowd(self) -> None:
        """Where many wait, who comes often and has proved nothing is closed at once; a partner's address is not."""
        rig = ServerRig()
        rig.call()
        self.patch(limits, "TURNS_WAITING_MANY", 0)
        for _ in range(limits.TURNS_HASTY):
            rig.call(CallerTls(pki.self_signed("stranger"), tls13), "198.51.100.1")
        self.assertIsNone(rig.dial(Caller(), "198.51.100.1"))
        self.assertEqual(rig.journal.the("connection.refused")["cause"], "quota.haste")
        for _ in range(2 * limits.TURNS_HASTY):
            self.assertIsNotNone(rig.dial(Caller()))
        self.assertIsNotNone(rig.dial(Caller(), "198.51.100.2"))

    def test_silent_connection_costs_no_tls(self) -> None:
        """TLS begins with the first whole record: a part of one, and silence, cost a socket and no more."""
        rig = ServerRig()
        begun: list[object] = []
        self.patch(rig.sessions, "begin", begun.append)
        self.patch(sessions, "TlsTransport", lambda *arguments: begun.append(arguments))
        caller = Caller()
        rig.dial(caller)
        assert caller.transport is not None
        for part in (b"\x16", b"\x03\x01\x00\x05", b"1234"):
            caller.transport.write(part)
            rig.network.settle()
            self.assertEqual(begun, [])
        caller.transport.write(b"5")
        rig.network.settle()
        self.assertEqual(len(begun), 1)

    def test_banned_address_costs_no_tls(self) -> None:
        """A banned address is turned away before anything is made for it: no protocol, no TLS, no event."""
        rig = ServerRig(penalties=PenaltySettings(threshold=1, exempt=()))
        rig.call(CallerTls(None))
        rig.call()
        told = len(rig.journal.names())
        self.patch(sessions, "TlsTransport", lambda *arguments: self.fail("TLS"))
        for _ in range(100):
            self.assertIsNone(rig.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 40000)))
        self.assertEqual(len(rig.journal.names()), told)

    def test_flood(self) -> None:
        """Connections that are turned away are told of once a minute for each address, with how many were not."""
        rig = ServerRig(limits=ServerLimits(unauthenticated_per_address=1))
        for host in ("192.0.2.7", "192.0.2.8"):
            for _ in range(50):
                rig.dial(Caller(), host)
        told = rig.journal.of("connection.refused")
        self.assertEqual([str(each["peer"]).partition(":")[0] for each in told], ["192.0.2.7", "192.0.2.8"])
        rig.network.wait(60)
        for _ in range(50):
            rig.dial(Caller())
        again = rig.journal.of("connection.refused")[2:]
        self.assertEqual([each.get("facts") for each in again], [{"not_written_before": 48}])

    def test_stop(self) -> None:
        """A gate that is stopped leaves no timer behind."""
        rig = ServerRig(penalties=PenaltySettings(threshold=1, exempt=()))
        rig.call(CallerTls(None))
        rig.gate.stop()
        rig.gate.stop()
        self.assertEqual(rig.clock.getDelayedCalls(), [])

    def test_identity_mismatch_counts_most(self) -> None:
        """Two attempts with another partner's code are enough."""
        rig = ServerRig(penalties=PenaltySettings(threshold=20, exempt=()))
        for _ in range(2):
            caller, _ = rig.call()
            rig.send(caller, ssid("O0013000003OTHER"))
            self.assertTrue(caller.received.endswith(esid(EsidReason.USER_CODE_NOT_KNOWN)))
        self.assertEqual(rig.journal.the("penalty.banned")["cause"], "penalty.identity")
        self.assertEqual(len(rig.journal.of("identity.refused")), 2)

    def test_violations_count(self) -> None:
        """So do violations of the protocol."""
        rig = ServerRig(penalties=PenaltySettings(threshold=5, exempt=()))
        caller, _ = rig.call()
        rig.send(caller, b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(rig.journal.the("penalty.banned")["cause"], "penalty.protocol")


class InsideNotThere(SynchronousTestCase):
    """The partner is told ESID 08 with the fixed text, whatever is missing inside."""

    def test_station_unreachable(self) -> None:
        """The fault of the opening ends the session before it began."""
        rig = ServerRig()
        caller, _ = rig.call()
        rig.send(caller, PARTNER_SSID)
        rig.opened[0][2].errback(StationUnreachable(rule="station.connect", message="it refuses the connection"))
        rig.network.settle()
        self.assertEqual(caller.received, SSRM_BUFFER + esid(EsidReason.RESOURCES_NOT_AVAILABLE))
        self.assertEqual(rig.journal.the("session.refused")["message"], "it refuses the connection")
        self.assertEqual(rig.clock.getDelayedCalls(), [])

    def test_opening_has_a_bug(self) -> None:
        """An exception instead of a fault: told as the bug that it is, and to the partner as the rest."""
        rig = ServerRig()
        caller, _ = rig.call()
        rig.send(caller, PARTNER_SSID)
        rig.opened[0][2].errback(RuntimeError("CANARY"))
        rig.network.settle()
        self.assertTrue(caller.received.endswith(esid(EsidReason.RESOURCES_NOT_AVAILABLE)))
        self.assertEqual(len(rig.journal.of("internal.error")), 1)
        self.assertNotIn("CANARY", repr(rig.journal.records))
        self.flushLoggedErrors(RuntimeError)

    def test_too_many_sessions(self) -> None:
        """A limit of sessions is told in OFTP2, after the SSID."""
        rig = ServerRig(limits=ServerLimits(sessions=1))
        rig.call()
        caller, _ = rig.call()
        rig.send(caller, PARTNER_SSID)
        self.assertEqual(caller.received, SSRM_BUFFER + esid(EsidReason.RESOURCES_NOT_AVAILABLE))
        self.assertEqual(rig.journal.the("session.refused")["cause"], "quota.sessions")
        self.assertEqual(rig.opened, [])

    def test_partner_leaves_while_opening(self) -> None:
        """The attempt to open the inside is given up at once."""
        rig = ServerRig()
        caller, _ = rig.call()
        rig.send(caller, PARTNER_SSID)
        assert caller.transport is not None
        caller.transport.loseConnection()
        rig.network.settle()
        ((session, end),) = rig.canceled
        assert end is not None
        self.assertEqual((session, end.outcome, end.ended_by), (rig.opened[0][0], "lost", "partner"))
        self.assertEqual(rig.sessions.live, {})
        self.assertEqual(rig.clock.getDelayedCalls(), [])
        self.assertEqual(rig.journal.names(), ["certificate.accepted", "identity.accepted", "session.abandoned"])

    def test_partner_leaves_while_its_place_is_asked_for(self) -> None:
        """A worker asks its supervisor: that the partner is gone by the answer is told as at any other time."""
        rig = ServerRig()
        proving: Deferred[None] = Deferred()
        self.patch(Visit, "prove", lambda visit, partner: proving)
        caller, _ = rig.call()
        assert caller.transport is not None
        caller.transport.loseConnection()
        rig.network.settle()
        proving.callback(None)
        rig.network.settle()
        self.assertEqual(rig.journal.names(), ["certificate.accepted", "session.abandoned"])
        self.assertEqual((rig.sessions.live, rig.clock.getDelayedCalls()), ({}, []))

    def test_partner_leaves_before_its_ssid(self) -> None:
        """Each verified partner's end is carried, also while strangers have used up what they may make us write."""
        rig = ServerRig(limits=ServerLimits(strangers_events=1))
        for number in range(20):
            stranger = Caller()
            rig.dial(stranger, f"198.51.100.{number}")
            assert stranger.transport is not None
            stranger.transport.write(b"GET / HTTP/1.0\r\n\r\n")
            rig.network.settle()
        self.assertEqual(len(rig.journal.of("handshake.failed")), 1)
        for _ in range(40):
            caller, _ = rig.call()
            assert caller.transport is not None
            caller.transport.loseConnection()
            rig.network.settle()
        ends = rig.journal.of("session.abandoned")
        self.assertEqual(len(ends), 40)
        self.assertEqual(
            {(end["partner"], end["cause"], end["outcome"]) for end in ends}, {("ACME", "leg.lost", "lost")}
        )
        self.assertGreaterEqual(look_up("session.abandoned").level, Severity.INFO)


class EndedFromHere(SynchronousTestCase):
    """Sessions that the server ends."""

    def test_close(self) -> None:
        """One, by its id."""
        rig = ServerRig()
        caller, _ = rig.call()
        (session,) = rig.sessions.live
        fault = Draining(rule="session.closed", message="closed by the client")
        self.assertFalse(rig.sessions.close("unknown", fault))
        self.assertTrue(rig.sessions.close(session, fault))
        rig.network.settle()
        self.assertEqual(caller.received, SSRM_BUFFER + esid(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN))

    def test_stop(self) -> None:
        """All of them."""
        rig = ServerRig()
        callers = [rig.call()[0] for _ in range(3)]
        rig.sessions.stop(Draining(rule="drain", message="the server stops"))
        rig.network.settle()
        for caller in callers:
            self.assertTrue(caller.received.endswith(esid(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)))
        self.assertEqual((rig.sessions.live, rig.clock.getDelayedCalls()), ({}, []))

    def test_second_ban_waits_for_its_own_end(self) -> None:
        """Two addresses banned at different times are announced as free at different times."""
        rig = ServerRig(penalties=PenaltySettings(threshold=2, exempt=()))
        rig.call(CallerTls(None), "192.0.2.1")
        rig.network.wait(30)
        rig.call(CallerTls(None), "192.0.2.2")
        rig.network.wait(30)
        self.assertEqual([fields["network"] for fields in rig.journal.of("penalty.lifted")], ["192.0.2.1/32"])
        rig.network.wait(30)
        self.assertEqual(len(rig.journal.of("penalty.lifted")), 2)
