"""Good certificates over real TLS: which partner they name, by which rule, with TLS 1.2 and 1.3."""

from typing import Any

import attrs
from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls import verdict
from smartproxy.net.tls.context import anchors_above, path_with_anchors_above
from smartproxy.net.tls.facts import path_facts
from smartproxy.net.tls.verdict import Anchors
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import CertificatePin, KeyPin, Purpose, RevocationMode, SanRule, SubjectRule
from smartproxy.policy.partners import TrustedCa as AuthorityEntry
from smartproxy.testing.pki import SERVER_AUTH, KeyKind, TestCa, TestCredential, make_key, self_signed
from smartproxy.testing.tls import TlsVersion
from tests.adapters.acme import (
    ALONE,
    DAY,
    LEAF,
    MIDDLE,
    NOW,
    ODETTE_ID,
    ROOT,
    acme,
    configuration,
    limited,
    revoked,
    tampered,
    with_issuing,
)
from tests.adapters.tls_peers import call

BY_OTHER = SubjectRule(ca="other", serial_number=ODETTE_ID)


class AcceptedTests(SynchronousTestCase):
    """A good certificate names its partner, and the peer is greeted."""

    def check(self, credential: TestCredential, server: ServerConfiguration, by: str, authority: str | None) -> None:
        """Call with both versions of TLS; compare the event, and what the client gets."""
        for version in TlsVersion:
            made = call(server, credential, version)
            event = made.rig.journal.the("certificate.accepted")
            self.assertEqual((event["partner"], event["by"], event.get("ca")), ("ACME", by, authority))
            self.assertEqual(event["tls"], f"TLSv{version.value}")
            self.assertEqual(event["certificate_sha256"], credential.sha256)
            self.assertNotIn("certificate.refused", made.rig.journal.names())
            self.assertEqual((made.caller.received, made.alerts, made.caller.ended), (SSRM_BUFFER, [], None))
            self.assertEqual(len(made.rig.sessions.live), 1)
            self.assertEqual((made.rig.gate.admission.sessions_of("ACME"), made.points), (1, []))

    def test_authority(self) -> None:
        """By the Odette ID or a name that a known authority vouches for."""
        self.check(LEAF, configuration(), "subject", "ca")
        by_name = acme(SanRule(ca="ca", san="DNS:oftp.acme.example"))
        self.check(LEAF, configuration(by_name), "san", "ca")

    def test_lists(self) -> None:
        """With current lists of all issuers."""
        lists = [revoked(ROOT, LEAF), revoked(MIDDLE, MIDDLE.credential)]
        self.check(LEAF, configuration(mode=RevocationMode.REQUIRE, lists=lists), "subject", "ca")

    def test_judged_anew(self) -> None:
        """A certificate that was accepted a moment ago is refused once it is revoked, or no partner's."""
        good = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT), revoked(MIDDLE)])
        bad = configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT), revoked(MIDDLE, LEAF)])
        foreign = configuration(acme(SanRule(ca="ca", san="DNS:oftp.other.example")))
        for _ in range(2):
            self.check(LEAF, good, "subject", "ca")
            for server, cause in ((bad, "certificate.revoked"), (foreign, "certificate.no_partner")):
                journal = call(server, LEAF, TlsVersion.TLS_1_3).rig.journal
                self.assertEqual(journal.the("certificate.refused")["cause"], cause)

    def test_preferred_lists(self) -> None:
        """Without lists where they are only preferred."""
        self.check(LEAF, configuration(mode=RevocationMode.PREFER), "subject", "ca")

    def test_intermediate_as_authority(self) -> None:
        """Below an intermediate certificate that is an authority of its own, without the root."""
        entry = AuthorityEntry(name="ca", certificates=MIDDLE.certificate_pem.decode(), revocation=RevocationMode.OFF)
        server = attrs.evolve(configuration(), cas=(entry,))
        self.check(LEAF, server, "subject", "ca")
        self.check(attrs.evolve(LEAF, intermediates=()), server, "subject", "ca")

    def test_intermediate_beside_its_root(self) -> None:
        """By the root's rule, though the issuing CA is a CA of its own, at which OpenSSL ends the path."""
        for credential in (LEAF, attrs.evolve(LEAF, intermediates=())):
            self.check(credential, with_issuing(configuration()), "subject", "ca")
            self.check(credential, with_issuing(configuration(acme(BY_OTHER))), "subject", "other")

    def test_intermediate_beside_its_root_is_revoked(self) -> None:
        """The path to the root is judged with its lists, dates and all, as if OpenSSL had built it."""
        lists = [revoked(ROOT, MIDDLE.credential), revoked(MIDDLE)]
        server = with_issuing(configuration(mode=RevocationMode.REQUIRE, lists=lists))
        event = call(server, LEAF, TlsVersion.TLS_1_3).rig.journal.the("certificate.refused")
        self.assertEqual((event["cause"], event["depth"]), ("certificate.revoked", 1))
        good = with_issuing(configuration(mode=RevocationMode.REQUIRE, lists=[revoked(ROOT), revoked(MIDDLE)]))
        self.check(LEAF, good, "subject", "ca")

    def test_two_certificates_of_one_authority(self) -> None:
        """By the rule of either, though OpenSSL ends the path at one of them: the CA renewed it with its key."""
        again = TestCa.root("partners' root", key=ROOT.credential.key)
        both = with_issuing(configuration(), again)
        for cas in (both.cas, both.cas[::-1]):
            server = attrs.evolve(both, cas=cas)
            self.check(LEAF, server, "subject", "ca")
            self.check(LEAF, attrs.evolve(server, partners=(acme(BY_OTHER),)), "subject", "other")

    def test_other_certificate_of_one_authority_has_ended(self) -> None:
        """A certificate of a CA that has ended vouches for nobody, though the same key is good by another one."""
        begin, end = NOW - 2 * DAY, NOW - DAY
        ended = TestCa.root("partners' root", key=ROOT.credential.key, valid_from=begin, valid_until=end)
        both = with_issuing(configuration(acme(BY_OTHER)), ended)
        for cas in (both.cas, both.cas[::-1]):
            server = attrs.evolve(both, cas=cas)
            event = call(server, LEAF, TlsVersion.TLS_1_3).rig.journal.the("certificate.refused")
            self.assertEqual((event["cause"], event["depth"]), ("certificate.expired", 2))
            self.check(LEAF, attrs.evolve(server, partners=(acme(),)), "subject", "ca")

    def test_other_certificate_of_one_authority_has_limits(self) -> None:
        """One that forbids so long a path does not end it."""
        plain = TestCa.root("limited")
        short = limited(plain, 0)
        issuing = plain.intermediate("issuing")
        path = [issuing.issue("leaf").certificate, issuing.credential.certificate]
        known = Anchors.of([plain.credential.certificate, short])
        facts = path_facts([*path, plain.credential.certificate])
        self.assertEqual(known.twins_in([*path, plain.credential.certificate], facts), {facts[2].sha256: ()})
        direct = [path[0], plain.credential.certificate]
        found = known.twins_in(direct, (facts[0], facts[2]))
        self.assertEqual([each.sha256 for each in found[facts[2].sha256]], [path_facts([short])[0].sha256])

    def test_anchors_above(self) -> None:
        """All of them, as far as a path goes; none that limits what may stand below it, and no circle."""
        top = TestCa.root("top")
        issuing = [top.intermediate("1")]
        for number in range(2, 6):
            issuing.append(issuing[-1].intermediate(str(number)))
        known = [each.credential.certificate for each in (*issuing, top)]
        above = anchors_above(known)
        self.assertEqual(above[known[2]], (known[1], known[0], known[5]))
        self.assertNotIn(known[5], above)
        self.assertEqual(path_with_anchors_above(known[2:3], above), [known[2], known[1], known[0], known[5]])
        self.assertEqual(path_with_anchors_above(known[5:], above), known[5:])
        self.assertEqual(path_with_anchors_above([], above), [])
        one, same = TestCa.root("same"), TestCa.root("same")
        below = one.intermediate("below").credential.certificate
        found = anchors_above([below, same.credential.certificate, one.credential.certificate])
        self.assertEqual(found, {below: (one.credential.certificate,)})

    def test_anchor_above_with_limits(self) -> None:
        """A root that forbids the path, or limits the names below it, is not above it."""
        names = x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=[x509.DNSName("acme.example")])
        for length, constraints in ((0, None), (None, names)):
            plain = TestCa.root("limited")
            root, issuing = limited(plain, length, constraints), plain.intermediate("issuing")
            path = [issuing.issue("leaf").certificate, issuing.credential.certificate]
            known = [issuing.credential.certificate, root]
            self.assertEqual(anchors_above(known), {path[1]: (root,)})
            self.assertEqual(path_with_anchors_above(path, anchors_above(known)), path)

    def test_pinned_self_signed(self) -> None:
        """By a pin, though nobody vouches for it."""
        self.check(ALONE, configuration(acme(CertificatePin(sha256=ALONE.sha256))), "certificate", None)
        self.check(ALONE, configuration(acme(KeyPin(sha256=ALONE.key_sha256))), "key", None)

    def test_pinned_without_its_path(self) -> None:
        """By a pin, though its authority is not known or its path is broken."""
        server = attrs.evolve(configuration(acme(CertificatePin(sha256=LEAF.sha256))), cas=())
        self.check(LEAF, server, "certificate", None)
        self.check(attrs.evolve(LEAF, intermediates=()), server, "certificate", None)
        broken = tampered(LEAF)
        self.check(broken, configuration(acme(CertificatePin(sha256=broken.sha256))), "certificate", None)

    def test_pinned_once(self) -> None:
        """A pinned certificate without an anchor is read and judged once in a handshake."""
        calls: list[str] = []

        def count(name: str) -> None:
            real = getattr(verdict, name)

            def counted(*given: Any) -> Any:
                calls.append(name)
                return real(*given)

            self.patch(verdict, name, counted)

        count("path_facts")
        count("judge_chain")
        server = configuration(acme(CertificatePin(sha256=ALONE.sha256)))
        for version in TlsVersion:
            calls.clear()
            call(server, ALONE, version).rig.journal.the("certificate.accepted")
            self.assertEqual(sorted(calls), ["judge_chain", "path_facts"], version)

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
