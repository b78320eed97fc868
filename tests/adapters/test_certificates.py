"""Certificates over real TLS: each way to be wrong has its exact cause in one event, and an alert for the peer.

Every cause is met by a TLS 1.2 and by a TLS 1.3 client, because the two learn of it in different ways: in TLS 1.3 the
client has finished its handshake before the server has judged its certificate.
"""

import datetime
from collections.abc import Iterable
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.certificates import RefusalCause
from smartproxy.policy.configuration import (
    Authority as AuthorityEntry,
)
from smartproxy.policy.configuration import (
    CertificatePin,
    KeyPin,
    Partner,
    PenaltySettings,
    Purpose,
    RevocationMode,
    RevocationSet,
    Rule,
    SanRule,
    ServerConfiguration,
    SubjectRule,
)
from smartproxy.testing.pki import SERVER_AUTH, Authority, Credential, KeyKind, make_key, self_signed
from smartproxy.testing.tls import TlsVersion
from tests.adapters.tls_peers import Site

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)

ROOT = Authority.root("partners' root")
MIDDLE = ROOT.intermediate("partners' intermediate")
ODETTE_ID = "O0013000001ACME"
LEAF = MIDDLE.issue("oftp.acme.example", serial_number=ODETTE_ID, sans=("DNS:oftp.acme.example",))
ALONE = self_signed("acme, self-signed", serial_number=ODETTE_ID)

BY_SUBJECT = SubjectRule(authority="ca", serial_number=ODETTE_ID)


def acme(*rules: Rule, **others: Any) -> Partner:
    """The partner's entry."""
    return attrs.evolve(Partner(name="ACME", codes=(ODETTE_ID,), certificates=rules or (BY_SUBJECT,)), **others)


def revoked(issuer: Authority, *credentials: Credential, **others: Any) -> RevocationSet:
    """A current revocation set of an authority."""
    return attrs.evolve(
        RevocationSet(
            issuer_key_sha256=issuer.credential.key_sha256,
            this_update=NOW - HOUR,
            next_update=NOW + DAY,
            serials=frozenset(credential.certificate.serial_number for credential in credentials),
        ),
        **others,
    )


def configuration(
    *partners: Partner, mode: RevocationMode = RevocationMode.OFF, lists: Iterable[RevocationSet] = ()
) -> ServerConfiguration:
    """A configuration with the root as its authority."""
    entry = AuthorityEntry(name="ca", certificates=ROOT.certificate_pem.decode(), revocation=mode)
    return ServerConfiguration(
        authorities=(entry,),
        revocation=tuple(lists),
        partners=partners or (acme(),),
        penalties=PenaltySettings(threshold=100),
    )


def tampered(credential: Credential) -> Credential:
    """The same certificate with the last octet of its signature changed."""
    der = credential.certificate.public_bytes(serialization.Encoding.DER)
    return attrs.evolve(credential, certificate=x509.load_der_x509_certificate(der[:-1] + bytes([der[-1] ^ 1])))


class RefusedTests(SynchronousTestCase):
    """Every refusal has its cause, and nothing is delivered, sent or opened."""

    def check(
        self,
        credential: Credential | None,
        server: ServerConfiguration,
        cause: RefusalCause,
        alert: str,
        *,
        alert_of_tls_1_2: str | None = None,
        about: Authority | None = None,
        depth: int = 0,
        points: int = 2,
        facts: Iterable[str] = (),
    ) -> None:
        """Call with both versions of TLS; compare the one event, and the alert that the client saw."""
        for version in TlsVersion:
            expected = alert_of_tls_1_2 if alert_of_tls_1_2 and version is TlsVersion.TLS_1_2 else alert
            site = Site(server)
            call = site.call(credential, version)
            self.assertEqual(site.names(), ["certificate.refused"], site.told)
            (event,) = site.told
            self.assertEqual((event["check"], event["depth"]), (cause.value, depth), event)
            self.assertEqual((event["alert"], call.alerts), (expected, [expected]), version)
            self.assertEqual(event["peer"], "192.0.2.7:40112")
            self.assertTrue(event["cause"] and event["advice"])
            if credential is not None:
                named = about.credential if about else credential
                self.assertEqual(event["certificate_sha256"], named.sha256)
                self.assertEqual(event["serial"], f"{named.certificate.serial_number:x}")
                self.assertEqual(event["subject"], named.certificate.subject.rfc4514_string())
                self.assertEqual(event["issuer"], named.certificate.issuer.rfc4514_string())
            for name in facts:
                self.assertTrue(event["facts"][name], name)
            self.assertEqual(call.peer.received, b"")
            self.assertIsNotNone(call.peer.lost)
            self.assertEqual((site.opened, site.sessions.live, site.admission.connections), ([], {}, 0))
            self.assertIsNone(site.penalties.banned("192.0.2.7", 0.0) or None)
            self.assertEqual([record.points for record in site.penalties._records.values()], [float(points)], "points")
            self.assertEqual(site.clock.getDelayedCalls(), [])

    def test_no_certificate(self) -> None:
        """A peer that shows no certificate."""
        self.check(
            None,
            configuration(),
            RefusalCause.NO_CERTIFICATE,
            "certificate_required",
            alert_of_tls_1_2="handshake_failure",
        )

    def test_unknown_authority(self) -> None:
        """A certificate of an authority that the site does not know, though it says the same of its holder."""
        stranger = Authority.root("stranger's root").issue("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(stranger, configuration(), RefusalCause.UNKNOWN_AUTHORITY, "unknown_ca", facts=["openssl"])

    def test_authority_of_the_same_name(self) -> None:
        """A certificate of an authority that has the name of a known one, and not its key."""
        impostor = Authority.root("partners' root").issue("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(impostor, configuration(), RefusalCause.UNKNOWN_AUTHORITY, "unknown_ca")

    def test_unpinned_self_signed(self) -> None:
        """A certificate that nobody vouches for, and that is not pinned."""
        self.check(ALONE, configuration(), RefusalCause.UNKNOWN_AUTHORITY, "unknown_ca", facts=["key_sha256"])

    def test_intermediate_not_sent(self) -> None:
        """A partner who does not send the intermediate certificate."""
        lonely = attrs.evolve(LEAF, intermediates=())
        self.check(lonely, configuration(), RefusalCause.UNKNOWN_AUTHORITY, "unknown_ca")

    def test_root_sent(self) -> None:
        """An unknown authority does not become known by sending its certificate."""
        stranger = Authority.root("stranger's root")
        leaf = stranger.issue("oftp.acme.example", serial_number=ODETTE_ID)
        complete = attrs.evolve(leaf, intermediates=(stranger.credential.certificate,))
        self.check(complete, configuration(), RefusalCause.UNKNOWN_AUTHORITY, "unknown_ca")

    def test_expired(self) -> None:
        """An expired certificate, with its dates."""
        expired = MIDDLE.issue_expired("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(
            expired, configuration(), RefusalCause.EXPIRED, "certificate_expired", facts=["not_before", "not_after"]
        )

    def test_expired_intermediate(self) -> None:
        """An expired certificate further up, with its place in the path."""
        old = ROOT.intermediate("old intermediate", valid_until=NOW - HOUR)
        leaf = old.issue("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(leaf, configuration(), RefusalCause.EXPIRED, "certificate_expired", about=old, depth=1)

    def test_not_yet_valid(self) -> None:
        """A certificate whose time has not come."""
        early = MIDDLE.issue_not_yet_valid("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(early, configuration(), RefusalCause.NOT_YET_VALID, "bad_certificate", facts=["not_before"])

    def test_revoked_leaf(self) -> None:
        """A revoked certificate, with the list that says so; it costs more points."""
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT), revoked(MIDDLE, LEAF)])
        self.check(
            LEAF,
            server,
            RefusalCause.REVOKED,
            "certificate_revoked",
            points=5,
            facts=["list_issuer", "list_this_update", "list_next_update", "list_age_hours"],
        )

    def test_revoked_intermediate(self) -> None:
        """A certificate whose issuer's certificate is revoked."""
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT, MIDDLE.credential), revoked(MIDDLE)])
        self.check(LEAF, server, RefusalCause.REVOKED, "certificate_revoked", about=MIDDLE, depth=1, points=5)

    def test_list_missing(self) -> None:
        """No revocation list where one is required; the peer is not told that his certificate is bad."""
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT)])
        self.check(LEAF, server, RefusalCause.REVOCATION_MISSING, "certificate_unknown", facts=["list_issuer"])

    def test_list_missing_further_up(self) -> None:
        """No revocation list of the root, which would have to say something of the intermediate."""
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(MIDDLE)])
        self.check(LEAF, server, RefusalCause.REVOCATION_MISSING, "certificate_unknown", about=MIDDLE, depth=1)

    def test_list_stale(self) -> None:
        """A revocation list that should have been replaced."""
        old = revoked(MIDDLE, this_update=NOW - 8 * DAY, next_update=NOW - DAY)
        server = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT), old])
        self.check(LEAF, server, RefusalCause.REVOCATION_STALE, "certificate_unknown", facts=["list_age_hours"])

    def test_weak_key(self) -> None:
        """A key of RSA 1024."""
        weak = MIDDLE.issue_weak_key("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(weak, configuration(), RefusalCause.WEAK_KEY, "bad_certificate", facts=["openssl"])

    def test_weak_pinned_key(self) -> None:
        """A pinned certificate with a key of RSA 1024."""
        weak = self_signed("weak", key=make_key(KeyKind.RSA_1024))
        pinned = configuration(acme(CertificatePin(sha256=weak.sha256)))
        self.check(weak, pinned, RefusalCause.WEAK_KEY, "bad_certificate", facts=["key"])

    def test_weak_signature(self) -> None:
        """A signature over SHA-1."""
        weak = MIDDLE.issue_sha1("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(weak, configuration(), RefusalCause.WEAK_SIGNATURE, "bad_certificate")

    def test_wrong_purpose(self) -> None:
        """A certificate for electronic mail, and one for servers only where the entry is strict."""
        mail = MIDDLE.issue_for_mail("oftp.acme.example", serial_number=ODETTE_ID)
        server_only = MIDDLE.issue("oftp.acme.example", serial_number=ODETTE_ID, purposes=(SERVER_AUTH,))
        facts = ["purpose", "extended_key_usage"]
        for credential, purpose in (
            (mail, Purpose.STRICT),
            (mail, Purpose.SERVER_AUTH),
            (server_only, Purpose.STRICT),
        ):
            self.check(
                credential,
                configuration(acme(purpose=purpose)),
                RefusalCause.WRONG_PURPOSE,
                "unsupported_certificate",
                facts=facts,
            )

    def test_bad_signature(self) -> None:
        """A certificate that was changed after it was signed."""
        self.check(tampered(LEAF), configuration(), RefusalCause.BAD_SIGNATURE, "decrypt_error", facts=["openssl"])

    def test_signed_by_a_leaf(self) -> None:
        """A certificate that another partner signed with his own, which may not issue any."""
        other = Authority(LEAF, is_root=False)
        forged = other.issue("oftp.acme.example", serial_number="O0013000001FOO")
        foo = attrs.evolve(acme(SubjectRule(authority="ca", serial_number="O0013000001FOO")), name="FOO", codes=("X",))
        self.check(
            forged,
            configuration(acme(), foo),
            RefusalCause.NOT_AN_AUTHORITY,
            "certificate_unknown",
            about=other,
            depth=1,
        )

    def test_path_too_long(self) -> None:
        """More intermediate authorities than a path may have."""
        authority = MIDDLE
        for number in range(5):
            authority = authority.intermediate(f"intermediate {number}")
        leaf = authority.issue("oftp.acme.example", serial_number=ODETTE_ID)
        self.check(leaf, configuration(), RefusalCause.PATH_TOO_LONG, "certificate_unknown")

    def test_disabled(self) -> None:
        """A good certificate of a partner who is disabled, by authority and by pin."""
        for rule in (BY_SUBJECT, CertificatePin(sha256=LEAF.sha256)):
            self.check(
                LEAF,
                configuration(acme(rule, enabled=False)),
                RefusalCause.PARTNER_DISABLED,
                "certificate_unknown",
                facts=["partner"],
            )

    def test_nobody(self) -> None:
        """A good certificate that is no partner's, with what a rule could go by."""
        nobody = MIDDLE.issue("oftp.foo.example", serial_number="O0013000001FOO", sans=("DNS:oftp.foo.example",))
        self.check(
            nobody,
            configuration(),
            RefusalCause.NO_PARTNER,
            "certificate_unknown",
            facts=["key_sha256", "subject_serial_number", "sans", "authorities"],
        )

    def test_ambiguous(self) -> None:
        """A good certificate that fits the rules of two partners."""
        by_name = SanRule(authority="ca", san="DNS:oftp.acme.example")
        server = configuration(acme(), attrs.evolve(acme(by_name), name="FOO", codes=("FOO",)))
        self.check(LEAF, server, RefusalCause.AMBIGUOUS, "certificate_unknown", facts=["partners"])


class AcceptedTests(SynchronousTestCase):
    """A good certificate names its partner, and the peer is greeted."""

    def check(self, credential: Credential, server: ServerConfiguration, by: str, authority: str | None) -> None:
        """Call with both versions of TLS; compare the event, and what the client gets."""
        for version in TlsVersion:
            site = Site(server)
            call = site.call(credential, version)
            event = site.told[0]
            self.assertEqual(event["name"], "certificate.accepted", event)
            self.assertEqual((event["partner"], event["by"], event.get("authority")), ("ACME", by, authority))
            self.assertEqual(event["tls"], f"TLSv{version.value}")
            self.assertEqual(event["certificate_sha256"], credential.sha256)
            self.assertNotIn("certificate.refused", site.names())
            self.assertEqual((call.peer.received, call.alerts, call.peer.lost), (SSRM_BUFFER, [], None))
            self.assertEqual(len(site.sessions.live), 1)
            self.assertEqual((site.admission.sessions_of("ACME"), len(site.penalties)), (1, 0))

    def test_authority(self) -> None:
        """By the Odette ID or a name that a known authority vouches for."""
        self.check(LEAF, configuration(), "subject", "ca")
        by_name = acme(SanRule(authority="ca", san="DNS:oftp.acme.example"))
        self.check(LEAF, configuration(by_name), "san", "ca")

    def test_lists(self) -> None:
        """With current lists of all issuers."""
        lists = [revoked(ROOT, LEAF), revoked(MIDDLE, MIDDLE.credential)]
        self.check(LEAF, configuration(mode=RevocationMode.REQUIRE, lists=lists), "subject", "ca")

    def test_preferred_lists(self) -> None:
        """Without lists where they are only preferred."""
        self.check(LEAF, configuration(mode=RevocationMode.PREFER), "subject", "ca")

    def test_intermediate_as_authority(self) -> None:
        """Below an intermediate certificate that is an authority of its own, without the root."""
        entry = AuthorityEntry(name="ca", certificates=MIDDLE.certificate_pem.decode(), revocation=RevocationMode.OFF)
        server = attrs.evolve(configuration(), authorities=(entry,))
        self.check(LEAF, server, "subject", "ca")
        self.check(attrs.evolve(LEAF, intermediates=()), server, "subject", "ca")

    def test_pinned_self_signed(self) -> None:
        """By a pin, though nobody vouches for it."""
        self.check(ALONE, configuration(acme(CertificatePin(sha256=ALONE.sha256))), "certificate", None)
        self.check(ALONE, configuration(acme(KeyPin(sha256=ALONE.key_sha256))), "key", None)

    def test_pinned_without_its_path(self) -> None:
        """By a pin, though its authority is not known or its path is broken."""
        server = attrs.evolve(configuration(acme(CertificatePin(sha256=LEAF.sha256))), authorities=())
        self.check(LEAF, server, "certificate", None)
        self.check(attrs.evolve(LEAF, intermediates=()), server, "certificate", None)
        broken = tampered(LEAF)
        self.check(broken, configuration(acme(CertificatePin(sha256=broken.sha256))), "certificate", None)

    def test_pinned_and_listed(self) -> None:
        """By a pin, though its authority has revoked it: removing the pin is the revocation."""
        server = configuration(
            acme(CertificatePin(sha256=LEAF.sha256)), mode=RevocationMode.REQUIRE, lists=[revoked(MIDDLE, LEAF)]
        )
        self.check(LEAF, server, "certificate", None)

    def test_change_over(self) -> None:
        """By the old and the new certificate, while both are in the entry."""
        new = self_signed("acme, renewed")
        both = acme(CertificatePin(sha256=ALONE.sha256), CertificatePin(sha256=new.sha256))
        for credential in (ALONE, new):
            self.check(credential, configuration(both), "certificate", None)

    def test_purposes(self) -> None:
        """For servers only, where the entry allows it; for mail, where it is pinned and the purpose is not asked."""
        server_only = MIDDLE.issue("oftp.acme.example", serial_number=ODETTE_ID, purposes=(SERVER_AUTH,))
        self.check(server_only, configuration(acme(purpose=Purpose.SERVER_AUTH)), "subject", "ca")
        mail = MIDDLE.issue_for_mail("oftp.acme.example", serial_number=ODETTE_ID)
        pinned = acme(CertificatePin(sha256=mail.sha256), purpose=Purpose.ANY)
        self.check(mail, configuration(pinned), "certificate", None)
        plain = MIDDLE.issue("oftp.acme.example", serial_number=ODETTE_ID, purposes=())
        self.check(plain, configuration(), "subject", "ca")

    def test_keys(self) -> None:
        """Of every kind of key that is strong enough."""
        for kind in (KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.RSA_2048, KeyKind.ED25519):
            credential = MIDDLE.issue("oftp.acme.example", serial_number=ODETTE_ID, key=make_key(kind))
            self.check(credential, configuration(), "subject", "ca")
