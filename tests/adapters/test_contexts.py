"""TLS towards partners, each promise proved by a real client."""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls import verdict as verification
from smartproxy.net.tls.context import CertificateUnusable
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.certificates.judge import Match, judge_chain
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import RevocationMode, ServerIdentity, SubjectRule, TrustedCa
from smartproxy.policy.settings import PenaltySettings, ServerLimits
from smartproxy.policy.values import blocks
from smartproxy.server.generation import PartnerContexts
from smartproxy.testing import pki
from tests.adapters.acme import LEAF, MIDDLE, ROOT, configuration, revoked
from tests.adapters.rig import CallerTls, ServerRig, identity_entry, tls12, tls13, versions_asked
from tests.unit.odd_files import block, of_no_version, of_no_year
from tests.unit.playbook import PARTNER_SSID

P256 = bytes.fromhex("06082a8648ce3d030107")


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class NoResumption(SynchronousTestCase):
    """A second connection always shows its certificate again: there is nothing to resume."""

    def test_saved_session_is_no_way_around_revocation(self) -> None:
        """A session that was saved while the certificate was good opens nothing after that, in both versions of TLS.

        What makes the difference happens within one generation, with the same contexts: a list runs out. In a
        generation's new contexts there would be nothing to resume anyway.
        """
        soon = attrs.evolve(revoked(ROOT), next_update=now() + timedelta(hours=1))
        lists = (revoked(MIDDLE), soon)
        server = configuration(mode=RevocationMode.REQUIRE, lists=lists)
        told = attrs.asdict(server, recurse=False, filter=lambda field, _: field.name != "identities")
        for version in (tls12, tls13):
            rig = ServerRig(**told)
            tls = CallerTls(LEAF, version)
            caller, _ = rig.call(tls)
            self.assertEqual(caller.received, SSRM_BUFFER)
            tls.session = tls.connections[0].get_session()
            rig.later = timedelta(hours=2)
            again, _ = rig.call(tls)
            self.assertEqual(again.received, b"")
            refused = [each["cause"] for each in rig.journal.of("certificate.refused")]
            self.assertEqual(refused, [Cause.CERTIFICATE_REVOCATION_STALE])

    def test_no_ticket_is_given(self) -> None:
        """The session of a connection holds nothing that could be resumed: the next handshake is a full one."""
        for version in (tls12, tls13):
            rig = ServerRig()
            calls: list[object] = []

            def counted(chain: ChainFacts, *others: Any, calls: list[object] = calls) -> Match:
                calls.append(chain)
                return judge_chain(chain, *others)

            self.patch(verification, "judge_chain", counted)
            tls = CallerTls(rig.partner, version)
            rig.call(tls)
            first = len(calls)
            self.assertGreater(first, 0)
            tls.session = tls.connections[0].get_session()
            caller, _ = rig.call(tls)
            self.assertEqual(caller.received, SSRM_BUFFER)
            self.assertEqual(len(calls), 2 * first)


class NoRenegotiation(SynchronousTestCase):
    """One handshake a connection."""

    def test_client_renegotiates(self) -> None:
        """A TLS 1.2 client that asks for a second handshake does not get it; who it is does not change."""
        rig = ServerRig()
        tls = CallerTls(rig.partner, tls12)
        caller, _ = rig.call(tls)
        (connection,) = tls.connections
        connection.renegotiate()
        rig.send(caller, PARTNER_SSID)
        self.assertEqual(len(rig.journal.of("certificate.accepted")), 1)
        self.assertEqual(caller.handshakes, 1)

    def test_second_handshake_ends_the_connection(self) -> None:
        """If a transport reports a second handshake all the same, the connection is aborted."""
        rig = ServerRig()
        legs: list[Any] = []
        begin = rig.sessions.begin

        def kept(leg: Any, partner: Any) -> None:
            legs.append(leg)
            begin(leg, partner)

        self.patch(rig.sessions, "begin", kept)
        caller, _ = rig.call()
        legs[0].handshakeCompleted()
        rig.network.settle()
        self.assertIsNotNone(caller.ended)
        self.assertEqual(rig.journal.the("handshake.failed")["message"], "the peer asked for a second handshake")
        self.assertEqual(rig.sessions.live, {})


class Offered(SynchronousTestCase):
    """Versions, suites, compression."""

    def suite(self, name: bytes) -> str | None:
        """The suite that a TLS 1.2 client with only this one gets."""
        rig = ServerRig(identities=(identity_entry(pki.self_signed("proxy", key=pki.make_key(pki.KeyKind.RSA_2048))),))

        def only(context: SSL.Context) -> None:
            tls12(context)
            context.set_cipher_list(name + b":@SECLEVEL=0")

        tls = CallerTls(rig.partner, only)
        caller, _ = rig.call(tls)
        return tls.connections[0].get_cipher_name() if caller.received else None

    def test_suites_of_tls_1_2(self) -> None:
        """Ephemeral keys with AEAD are taken; without either they are not."""
        for good in (b"ECDHE-RSA-AES256-GCM-SHA384", b"ECDHE-RSA-AES128-GCM-SHA256", b"ECDHE-RSA-CHACHA20-POLY1305"):
            self.assertEqual(self.suite(good), good.decode())
        for bad in (b"AES256-GCM-SHA384", b"ECDHE-RSA-AES256-SHA384", b"ECDHE-RSA-AES128-SHA", b"AES128-SHA"):
            self.assertIsNone(self.suite(bad), bad)

    def test_suites_of_tls_1_3(self) -> None:
        """All three that matter."""
        for suite in (b"TLS_AES_256_GCM_SHA384", b"TLS_CHACHA20_POLY1305_SHA256", b"TLS_AES_128_GCM_SHA256"):
            rig = ServerRig()

            def only(context: SSL.Context, suite: bytes = suite) -> None:
                tls13(context)
                context.set_tls13_ciphersuites(suite)

            caller, _ = rig.call(CallerTls(rig.partner, only))
            self.assertEqual(caller.received, SSRM_BUFFER)
            self.assertEqual(rig.journal.the("certificate.accepted")["cipher"], suite.decode())

    def test_settings(self) -> None:
        """Tickets, cache, renegotiation and compression are switched off by name, not by a library's habit."""
        rig = ServerRig()
        assert rig.sessions.generation is not None
        context = rig.sessions.generation.contexts._default
        self.assertEqual(context.get_session_cache_mode(), SSL.SESS_CACHE_OFF)
        connection = rig.sessions.generation.contexts.serverConnectionForTLS(None)  # type: ignore[arg-type]  # unused
        options = connection.set_options(0)
        for option in (SSL.OP_NO_TICKET, SSL.OP_NO_RENEGOTIATION, SSL.OP_NO_COMPRESSION):
            self.assertTrue(options & option)

    def test_lowest_version(self) -> None:
        """TLS 1.2 is the lowest version by name, whatever OpenSSL's security level says."""
        asked = versions_asked(self)
        ServerRig()
        self.assertEqual(asked, [SSL.TLS1_2_VERSION])

    def test_limits_and_penalties_of_a_generation(self) -> None:
        """They are in force for everybody who comes after it."""
        rig = ServerRig()
        rig.call()
        limits, penalties = ServerLimits(unauthenticated_per_address=1, connections=1), PenaltySettings(enabled=False)
        rig.sessions.adopt(rig.generation(attrs.evolve(rig.configuration, limits=limits, penalties=penalties), 2))
        _, end = rig.call()
        self.assertIsNone(end)
        self.assertEqual(rig.journal.the("connection.refused")["limit"], "connections")
        self.assertFalse(rig.gate.penalties.settings.enabled)

    def test_nothing_of_a_context_is_changed_later(self) -> None:
        """A generation that replaces another one gets contexts of its own; running sessions keep theirs."""
        rig = ServerRig()
        first = rig.sessions.generation
        assert first is not None
        caller, _ = rig.call()
        other = pki.self_signed("other proxy")
        rig.sessions.adopt(rig.generation(attrs.evolve(rig.configuration, identities=(identity_entry(other),)), 2))
        self.assertIsNot(rig.sessions.generation, first)
        rig.send(caller, PARTNER_SSID)
        self.assertEqual(len(rig.opened), 1)

    def test_unusable_generation(self) -> None:
        """A generation whose certificate cannot be used changes nothing."""
        rig = ServerRig()
        before = rig.sessions.generation
        broken = attrs.evolve(rig.configuration, identities=())
        self.assertRaises(CertificateUnusable, rig.generation, broken, 2)
        self.assertIs(rig.sessions.generation, before)


class Identities(SynchronousTestCase):
    """Which certificate the server shows."""

    def shown(self, names: list[bytes | None]) -> list[str]:
        """The subjects that are shown to clients that ask for these names."""
        authority = pki.TestCa.root("CA")
        first = authority.issue("first", sans=["URI:oftp://first.example", "DNS:first.example"])
        second = authority.issue("second", sans=["DNS:second.example", "DNS:*.wild.example"])
        rig = ServerRig(identities=(identity_entry(first), identity_entry(second, "second")))
        subjects = []
        for name in names:
            tls = CallerTls(rig.partner)
            tls.server_name = name
            caller, _ = rig.call(tls)
            self.assertEqual(caller.received, SSRM_BUFFER)
            certificate = tls.connections[0].get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            subjects.append(certificate.subject.rfc4514_string().split(",")[0])
        return subjects

    def test_server_name(self) -> None:
        """A name that a certificate bears chooses it, in any letters; no name and a strange one get the first."""
        self.assertEqual(
            self.shown(
                [None, b"second.example", b"SECOND.example", b"a.wild.example", b"a.b.wild.example", b"strange"]
            ),
            ["CN=first", "CN=second", "CN=second", "CN=second", "CN=first", "CN=first"],
        )

    def test_certificate_is_asked_for_whatever_the_name(self) -> None:
        """Choosing another identity does not lose the demand for the client's certificate."""
        first, second = pki.self_signed("first"), pki.TestCa.root("CA").issue("second", sans=["DNS:second.example"])
        rig = ServerRig(identities=(identity_entry(first), identity_entry(second, "second")))
        tls = CallerTls(None)
        tls.server_name = b"second.example"
        caller, _ = rig.call(tls)
        self.assertEqual(caller.received, b"")
        self.assertEqual(rig.journal.the("certificate.refused")["cause"], "certificate.missing")

    def test_unreadable(self) -> None:
        """A certificate of ours or of a CA that cannot be read is told by its place, whatever is wrong with it."""
        good = identity_entry(pki.self_signed("ours"))
        shown = pki.self_signed("ours").certificate
        for odd in (of_no_version(shown), of_no_year(shown)):
            pem = block("CERTIFICATE", odd).decode()
            ours = ServerConfiguration(identities=(attrs.evolve(good, certificate=pem),))
            of_a_ca = ServerConfiguration(identities=(good,), cas=(TrustedCa(name="x", certificates=pem),))
            for entry, where in ((ours, "server.identities[0].certificate"), (of_a_ca, "server.cas[0].certificates")):
                refused = self.assertRaises(CertificateUnusable, PartnerContexts, entry, now)
                self.assertEqual(refused.where, where)

    def test_key_of_an_unknown_kind(self) -> None:
        """A private key on a curve that nobody knows is told as one."""
        good = identity_entry(pki.self_signed("ours"))
        (der,) = blocks(good.key, "PRIVATE KEY")
        odd = block("PRIVATE KEY", der.replace(P256, P256[:-1] + b"\x7f")).decode()
        entry = ServerConfiguration(identities=(attrs.evolve(good, key=odd),))
        refused = self.assertRaises(CertificateUnusable, PartnerContexts, entry, now)
        self.assertEqual(refused.where, "server.identities[0].key")

    def test_intermediates_are_shown(self) -> None:
        """The chain goes to the peer as it stands in the configuration."""
        credential = pki.TestCa.root("CA").intermediate("sub CA").issue("proxy")
        rig = ServerRig(identities=(identity_entry(credential),))
        tls = CallerTls(rig.partner)
        rig.call(tls)
        self.assertEqual(len(tls.connections[0].get_peer_cert_chain(as_cryptography=True) or ()), 2)

    def refused(self, identity: ServerIdentity) -> CertificateUnusable:
        """Why an identity cannot be used."""
        configuration = ServerConfiguration(identities=(identity,))
        found: CertificateUnusable = self.assertRaises(CertificateUnusable, PartnerContexts, configuration, now)
        return found

    def test_unusable(self) -> None:
        """Each refusal names its place and quotes nothing of a key."""
        one, other = pki.self_signed("one"), pki.self_signed("other")
        pem = "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n"
        broken = ServerIdentity(name="main", certificate=one.chain_pem.decode(), key=pem)
        refused = self.refused(broken)
        self.assertEqual(refused.where, "server.identities[0].key")
        self.assertNotIn("QUJD", str(refused))
        self.assertIsNone(refused.__cause__)
        crossed = ServerIdentity(name="main", certificate=one.chain_pem.decode(), key=other.key_pem.decode())
        self.assertEqual(self.refused(crossed).where, "server.identities[0].certificate")
        pem = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
        unread = ServerIdentity(name="main", certificate=pem, key=one.key_pem.decode())
        self.assertEqual(self.refused(unread).where, "server.identities[0].certificate")
        self.assertIn(
            "import one", str(self.assertRaises(CertificateUnusable, PartnerContexts, ServerConfiguration(), now))
        )


class AcceptableAuthorities(SynchronousTestCase):
    """Which authorities a client is asked for a certificate of."""

    def asked_for(self, pinned: bool) -> list[str]:
        """The names in the request for a certificate."""
        authority = pki.TestCa.root("Partners CA")
        rig = ServerRig()
        entry = rig.entry() if pinned else rig.entry(certificates=(SubjectRule(ca="ca", serial_number="x"),))
        configuration = attrs.evolve(
            rig.configuration,
            partners=(entry,),
            cas=(TrustedCa(name="ca", certificates=authority.certificate_pem.decode(), revocation=RevocationMode.OFF),),
        )
        rig.sessions.adopt(rig.generation(configuration, 2))
        tls = CallerTls(rig.partner)
        rig.call(tls)
        return [str(name.CN) for name in tls.connections[0].get_client_ca_list()]

    def test_only_authorities(self) -> None:
        """With nothing but authorities configured, their names are sent."""
        self.assertEqual(self.asked_for(pinned=False), ["Partners CA"])

    def test_pinned_partners(self) -> None:
        """With a pinned partner no names are sent, or programs with another certificate would not show it."""
        self.assertEqual(self.asked_for(pinned=True), [])
