"""From OpenSSL's verify callback to a verified partner: fails closed, and says why."""

from datetime import UTC, datetime
from typing import Any

import attrs
import OpenSSL
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls import openssl, verdict
from smartproxy.net.tls.verdict import Verification, VerifiedConnection, note_alert, verified_partner
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal, VerifyError
from smartproxy.policy.certificates.judge import Match
from smartproxy.policy.partners import RevocationMode, SubjectRule, TrustedCa
from smartproxy.testing import pki
from tests.adapters.rig import CallerTls, ServerRig, tls12, tls13


class Proved(SynchronousTestCase):
    """A verified partner is made of a finished, judged handshake, and of nothing else."""

    def connection(self, verification: Verification) -> VerifiedConnection:
        """A connection on which nothing has happened."""
        connection = VerifiedConnection(SSL.Context(SSL.TLS_SERVER_METHOD))
        connection.verification = verification
        return connection

    def refused(self, connection: VerifiedConnection) -> CertificateRefusal:
        """Why it proves nobody."""
        found: CertificateRefusal = self.assertRaises(CertificateRefusal, verified_partner, connection)
        return found

    def test_path_without_an_anchor(self) -> None:
        """A path of which OpenSSL said that it does not reach an anchor is none, whatever it is made of."""
        authority = pki.TestCa.root("CA")
        for error, length in ((0, 2), (VerifyError.CERT_HAS_EXPIRED, 2), (VerifyError.CERT_UNTRUSTED, 0)):
            verification = Verification()
            verification.saw(authority.credential.certificate, 1, error)
            verification.saw(authority.credential.certificate, 1, 0)
            verification.saw(authority.issue("leaf").certificate, 0, 0)
            chain = verification.chain()
            self.assertEqual((len(chain.presented), len(chain.path)), (2, length))

    def test_without_a_verdict(self) -> None:
        """A handshake that was never judged proves nobody."""
        self.assertEqual(self.refused(self.connection(Verification())).cause, Cause.CERTIFICATE_MISSING)

    def test_after_a_refusal(self) -> None:
        """A refusal stays one, even if OpenSSL had gone on."""
        refusal = CertificateRefusal(cause=Cause.CERTIFICATE_EXPIRED)
        self.assertIs(self.refused(self.connection(Verification(refusal=refusal))), refusal)

    def test_other_certificate(self) -> None:
        """A verdict about another certificate than the connection's proves nobody."""
        rig = ServerRig()
        begun: list[tuple[Any, Any]] = []
        begin = rig.sessions.begin

        def kept(leg: Any, partner: Any) -> None:
            begun.append((leg, partner))
            begin(leg, partner)

        self.patch(rig.sessions, "begin", kept)
        rig.call()
        ((leg, partner),) = begun
        connection = leg.tls
        self.assertIsNone(connection.verification.match, "it stays as long as the connection")
        match = Match(partner=partner.partner, certificate=partner.certificate, by=partner.by, ca=partner.ca)
        connection.verification.match = match
        self.assertEqual(verified_partner(connection).partner.name, "ACME")
        connection.verification.match = attrs.evolve(
            match, certificate=attrs.evolve(match.certificate, sha256=pki.self_signed("other").sha256)
        )
        self.assertEqual(self.refused(connection).cause, Cause.CERTIFICATE_INVALID_PATH)

    def test_unproved_handshake_is_refused_by_the_leg(self) -> None:
        """If OpenSSL finished a handshake without asking us, no session begins, and one event says so."""
        rig = ServerRig()
        generation = rig.sessions.generation
        assert generation is not None
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(rig.identity.certificate)
        context.use_privatekey(rig.identity.key)
        self.patch(generation.contexts, "_default", context)
        caller, _ = rig.call(CallerTls(None))
        self.assertEqual(caller.received, b"")
        self.assertIsNotNone(caller.ended)
        self.assertEqual(rig.journal.names(), ["certificate.refused"])
        self.assertEqual(rig.sessions.live, {})

    def test_bug_at_the_end_of_the_handshake(self) -> None:
        """An exception while the session is made ends this connection alone."""
        rig = ServerRig()

        def raising(*arguments: Any) -> None:
            raise RuntimeError("CANARY")

        self.patch(rig.sessions, "begin", raising)
        caller, _ = rig.call()
        self.assertIsNotNone(caller.ended)
        self.assertEqual(rig.journal.names("certificate.accepted"), ["internal.error"])
        self.assertNotIn("CANARY", repr(rig.journal.records))
        self.assertEqual(rig.gate.admission.connections, 0)
        self.flushLoggedErrors(RuntimeError)


class FoundLate(SynchronousTestCase):
    """What OpenSSL finds after it has walked the path is judged as well."""

    def test_name_constraints(self) -> None:
        """A certificate outside its authority's permitted names is refused, though its path was good so far."""
        root = pki.TestCa.root("CA")
        key = pki.make_key()
        sub = (
            x509.CertificateBuilder()
            .subject_name(x509.Name.from_rfc4514_string("CN=constrained"))
            .issuer_name(root.credential.certificate.subject)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(root.credential.certificate.not_valid_before_utc)
            .not_valid_after(root.credential.certificate.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.NameConstraints(permitted_subtrees=[x509.DNSName("good.example")], excluded_subtrees=None),
                critical=True,
            )
            .sign(root.credential.key, hashes.SHA256())
        )
        authority = pki.TestCa(pki.TestCredential(key, sub), is_root=False)
        for name, check in (("a.good.example", None), ("a.bad.example", "certificate.invalid_path")):
            partner = authority.issue("ACME", serial_number="ACME", sans=[f"DNS:{name}"])
            rig = ServerRig()
            configuration = attrs.evolve(
                rig.configuration,
                partners=(rig.entry(certificates=(SubjectRule(ca="ca", serial_number="ACME"),)),),
                cas=(TrustedCa(name="ca", certificates=root.certificate_pem.decode(), revocation=RevocationMode.OFF),),
            )
            rig.sessions.adopt(rig.generation(configuration, 2))
            caller, _ = rig.call(CallerTls(partner))
            if check is None:
                self.assertEqual(caller.received, SSRM_BUFFER)
            else:
                self.assertEqual(caller.received, b"")
                self.assertEqual(rig.journal.the("certificate.refused")["cause"], check)


class Alerts(SynchronousTestCase):
    """What refused peers see, and what is remembered of it."""

    def test_without_private_names(self) -> None:
        """A pyOpenSSL without the private names refuses all the same; the alert is then ``internal_error``."""
        self.assertTrue(openssl.is_complete())
        self.patch(openssl, "is_complete", lambda: False)
        openssl.error_text.cache_clear()
        self.addCleanup(openssl.error_text.cache_clear)
        for version in (tls12, tls13):
            rig = ServerRig()
            caller, _ = rig.call(CallerTls(pki.self_signed("EVIL"), version))
            self.assertEqual((caller.received, caller.ended), (b"", "tlsv1 alert internal error"))
            self.assertEqual(rig.journal.the("certificate.refused")["cause"], "certificate.unknown_ca")
        self.assertEqual(openssl.error_text(10), "OpenSSL error 10")

    def test_words(self) -> None:
        """OpenSSL's numbers have OpenSSL's words."""
        self.assertEqual(openssl.error_text(10), "certificate has expired")
        self.patch(OpenSSL, "_util", None)
        self.assertFalse(openssl.is_complete())

    def test_unknown_alert(self) -> None:
        """An alert that no standard names is told by its number."""
        connection = VerifiedConnection(SSL.Context(SSL.TLS_SERVER_METHOD))
        note_alert(connection, SSL.SSL_CB_READ_ALERT, 0x0200 | 200)
        note_alert(connection, SSL.SSL_CB_WRITE_ALERT, 0x0200 | 45)
        note_alert(connection, SSL.SSL_CB_HANDSHAKE_DONE, 1)
        verification = connection.verification
        self.assertEqual((verification.alert_received, verification.alert_sent), ("alert 200", "certificate_expired"))

    def test_alerts_alone(self) -> None:
        """Of a handshake's steps only its alerts are told, if pyOpenSSL has the names for it; they are in any case."""
        told: list[int] = []

        def noting(connection: SSL.Connection, where: int, value: int) -> None:
            told.append(where)
            note_alert(connection, where, value)

        self.patch(verdict, "note_alert", noting)
        private = openssl._private
        for name in ("_nothing", "ffi"):
            self.patch(openssl, "_private", lambda each, name=name: None if each == name else private(each))
            del told[:]
            rig = ServerRig()
            rig.call()
            self.assertEqual(told != [], name == "ffi")
            rig.call(CallerTls(pki.self_signed("EVIL")))
            self.assertIsNotNone(rig.journal.the("certificate.refused")["alert"])
            self.assertTrue(any(where & SSL.SSL_CB_ALERT for where in told))

    def test_time_is_asked_for_each_handshake(self) -> None:
        """The clock of the judgement is the wall's at the time of the handshake."""
        rig = ServerRig()
        generation = rig.sessions.generation
        assert generation is not None
        self.patch(generation.contexts._verifier, "_now", lambda: datetime(2099, 1, 1, tzinfo=UTC))
        rig.call()
        self.assertEqual(rig.journal.the("certificate.refused")["cause"], "certificate.expired")
