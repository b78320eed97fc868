"""Tests of :mod:`smartproxy.policy.certificates.judge`: paths to an authority, and revocation."""

import attrs

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.facts import ChainFacts, PathError
from smartproxy.policy.certificates.revocation import RevocationSet
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import CertificatePin, Purpose, RevocationMode, SanRule, SubjectRule
from tests.unit.chains import (
    BY_SUBJECT,
    DAY,
    LEAF,
    MAIL,
    MIDDLE,
    NOW,
    ROOT,
    JudgingTestCase,
    authority,
    chain,
    facts,
    key_sha256,
    partner,
    revocation,
    server,
    sha256,
)

UNKNOWN_ISSUER = PathError(20, 0, "unable to get local issuer certificate")
PIN = CertificatePin(sha256=LEAF.sha256)


class AuthorityTests(JudgingTestCase):
    """A certificate that an authority vouches for names its partner by what the authority put into it."""

    def test_subject(self) -> None:
        """By the serialNumber of its subject."""
        self.assertMatch(chain(), server(), "subject", "ca")

    def test_names(self) -> None:
        """By each of its subject alternative names; the letters of a DNS name have no case, others have."""
        for san, good in (
            ("DNS:OFTP.acme.example", True),
            ("URI:https://acme.example/", True),
            ("EMAIL:oftp@acme.example", True),
            ("URI:https://ACME.example/", False),
            ("URI:oftp.acme.example", False),
            ("DNS:acme.example", False),
        ):
            configuration = server(partner(SanRule(ca="ca", san=san)))
            if good:
                self.assertMatch(chain(), configuration, "san", "ca")
            else:
                self.assertRefused(chain(), configuration, Cause.CERTIFICATE_NO_PARTNER)

    def test_names_nobody(self) -> None:
        """A good certificate that fits no rule is told what a rule could go by."""
        other = SubjectRule(ca="ca", serial_number="O0013000001FOO")
        self.assertRefused(
            chain(),
            server(partner(other)),
            Cause.CERTIFICATE_NO_PARTNER,
            cas="ca",
            key_sha256=key_sha256("leaf"),
            subject_serial_number="O0013000001ACME",
            sans=("DNS:oftp.acme.example", "URI:https://acme.example/", "EMAIL:oftp@acme.example"),
        )
        plain = attrs.evolve(LEAF, subject_serial_number=None, sans=())
        self.assertRefused(
            chain(plain, MIDDLE, ROOT), server(), Cause.CERTIFICATE_NO_PARTNER, subject_serial_number="", sans=()
        )

    def test_of_another_authority(self) -> None:
        """What one authority vouches for, another one's rule does not believe."""
        configuration = server(
            partner(SubjectRule(ca="other", serial_number="O0013000001ACME")),
            cas=(authority("ca", "root"), authority("other", "elsewhere")),
        )
        self.assertRefused(chain(), configuration, Cause.CERTIFICATE_NO_PARTNER, cas="ca")

    def test_unknown_authority(self) -> None:
        """Without an anchor in the path the authority is unknown, in OpenSSL's words too."""
        unknown = ChainFacts(
            presented=(LEAF,), path_errors=(UNKNOWN_ISSUER, PathError(21, 0, "unable to verify the first certificate"))
        )
        self.assertRefused(
            unknown,
            server(),
            Cause.CERTIFICATE_UNKNOWN_CA,
            openssl="unable to get local issuer certificate; unable to verify the first certificate",
            key_sha256=key_sha256("leaf"),
        )

    def test_path_without_anchor(self) -> None:
        """A path of certificates none of which is an anchor of the configuration proves nothing, error or not."""
        self.assertRefused(
            chain(), server(cas=(authority("ca", "elsewhere"),)), Cause.CERTIFICATE_UNKNOWN_CA, openssl=""
        )

    def test_broken_before_an_anchor(self) -> None:
        """A path that is broken or too long to end anywhere is refused for that."""
        for code, cause in ((7, Cause.CERTIFICATE_BAD_SIGNATURE), (22, Cause.CERTIFICATE_PATH_TOO_LONG)):
            broken = ChainFacts(presented=(LEAF, MIDDLE), path_errors=(UNKNOWN_ISSUER, PathError(code, 1, "broken")))
            self.assertRefused(broken, server(), cause, openssl="broken")

    def test_no_certificate(self) -> None:
        """Without a certificate there is nothing to judge."""
        refused = self.assertRefused(ChainFacts(presented=()), server(), Cause.CERTIFICATE_MISSING)
        self.assertEqual((refused.subject, refused.issuer, dict(refused.detail)), ("", "", {}))

    def test_intermediate_as_anchor(self) -> None:
        """An authority's certificate may be an intermediate one: what lies above it does not count."""
        configuration = server(cas=(authority("ca", "middle"),))
        old_root = attrs.evolve(ROOT, not_after=NOW - DAY, key_bits=1024)
        errors = (PathError(10, 2, "certificate has expired"), PathError(19, 2, "self-signed certificate in chain"))
        self.assertMatch(chain(LEAF, MIDDLE, old_root, errors=errors), configuration, "subject", "ca")

    def test_issued_by_a_root(self) -> None:
        """Where an authority says so, what its root issued directly is refused; what one below it issued is not."""
        direct = chain(attrs.evolve(LEAF, issuer=ROOT.subject), ROOT)
        lax, strict = authority("ca", "root"), attrs.evolve(authority("ca", "root"), refuse_direct=True)
        self.assertMatch(direct, server(cas=(lax,)), "subject", "ca")
        self.assertRefused(direct, server(cas=(strict,)), Cause.CERTIFICATE_FROM_ROOT, ca="ca")
        self.assertMatch(chain(), server(cas=(strict,)), "subject", "ca")
        issuing = attrs.evolve(authority("ca", "middle"), refuse_direct=True)
        self.assertMatch(chain(), server(cas=(issuing,)), "subject", "ca")

    def test_leaf_as_anchor(self) -> None:
        """A self-signed certificate that is an authority's vouches for itself."""
        self.assertMatch(chain(LEAF), server(cas=(authority("ca", "leaf"),)), "subject", "ca")

    def test_errors_of_openssl(self) -> None:
        """Whatever OpenSSL finds wrong below the anchor is a refusal, at its depth, in our words and its own."""
        for code, cause in (
            (7, Cause.CERTIFICATE_BAD_SIGNATURE),
            (9, Cause.CERTIFICATE_NOT_YET_VALID),
            (10, Cause.CERTIFICATE_EXPIRED),
            (20, Cause.CERTIFICATE_UNKNOWN_CA),
            (25, Cause.CERTIFICATE_PATH_TOO_LONG),
            (26, Cause.CERTIFICATE_WRONG_PURPOSE),
            (34, Cause.CERTIFICATE_INVALID_PATH),
            (66, Cause.CERTIFICATE_WEAK_KEY),
            (68, Cause.CERTIFICATE_WEAK_SIGNATURE),
            (79, Cause.CERTIFICATE_NOT_A_CA),
        ):
            for depth in (0, 1, 2):
                if (code, depth) != (26, 0):
                    self.assertRefused(
                        chain(errors=(PathError(code, depth, "its words"),)),
                        server(),
                        cause,
                        depth,
                        openssl="its words",
                    )

    def test_dates_of_the_path(self) -> None:
        """Each certificate up to the anchor has to be in its time; a wrong one is named with its dates."""
        for depth in range(3):
            path = [LEAF, MIDDLE, ROOT]
            path[depth] = attrs.evolve(path[depth], not_after=NOW - DAY)
            self.assertRefused(
                chain(*path), server(), Cause.CERTIFICATE_EXPIRED, depth, not_after="2026-11-19T10:00:00Z"
            )
            path[depth] = attrs.evolve(path[depth], not_before=NOW + DAY, not_after=NOW + 2 * DAY)
            self.assertRefused(
                chain(*path), server(), Cause.CERTIFICATE_NOT_YET_VALID, depth, not_before="2026-11-21T10:00:00Z"
            )

    def test_keys_of_the_path(self) -> None:
        """Each key up to the anchor has to be strong."""
        for depth in range(3):
            path = [LEAF, MIDDLE, ROOT]
            path[depth] = attrs.evolve(path[depth], key_type="RSA", key_bits=1024)
            self.assertRefused(
                chain(*path),
                server(),
                Cause.CERTIFICATE_WEAK_KEY,
                depth,
                key_type="RSA",
                key_bits=1024,
                needed="2048 bits",
            )

    def test_signatures_of_the_path(self) -> None:
        """Each signature below the anchor is over a strong hash; the anchor's own is nobody's proof."""
        for weak in ("md5", "sha1"):
            for depth in (0, 1):
                path = [LEAF, MIDDLE, ROOT]
                path[depth] = attrs.evolve(path[depth], signature_hash=weak)
                self.assertRefused(chain(*path), server(), Cause.CERTIFICATE_WEAK_SIGNATURE, depth, hash=weak)
        for strong in ("sha256", "sha512", None):
            self.assertMatch(chain(attrs.evolve(LEAF, signature_hash=strong), MIDDLE, ROOT), server(), "subject", "ca")
        self.assertEqual(ROOT.signature_hash, "sha1")

    def test_depth(self) -> None:
        """The anchor is at depth 5 at most."""
        middles = [facts(f"middle {number}", "x", number, is_ca=True) for number in range(5)]
        self.assertMatch(chain(LEAF, *middles[:4], ROOT), server(), "subject", "ca")
        self.assertRefused(chain(LEAF, *middles, ROOT), server(), Cause.CERTIFICATE_PATH_TOO_LONG, depth_most="5")

    def test_purpose(self) -> None:
        """OpenSSL's word on the leaf's purpose counts for a strict entry, and our own look for every one."""
        errors = (PathError(26, 0, "unsuitable certificate purpose"),)
        for purpose, good in ((Purpose.STRICT, False), (Purpose.SERVER_AUTH, True)):
            configuration = server(partner(purpose=purpose))
            if good:
                self.assertMatch(chain(errors=errors), configuration, "subject", "ca")
            else:
                self.assertRefused(
                    chain(errors=errors), configuration, Cause.CERTIFICATE_WRONG_PURPOSE, openssl=errors[0].text
                )
        mail = attrs.evolve(LEAF, extended_key_usage=frozenset({MAIL}))
        self.assertRefused(
            chain(mail, MIDDLE, ROOT), server(partner(purpose=Purpose.SERVER_AUTH)), Cause.CERTIFICATE_WRONG_PURPOSE
        )

    def test_disabled(self) -> None:
        """A disabled partner's certificate is refused by name, once it is known to be good."""
        configuration = server(partner(enabled=False))
        self.assertRefused(chain(), configuration, Cause.CERTIFICATE_PARTNER_DISABLED, partner="ACME")
        old = attrs.evolve(LEAF, not_after=NOW - DAY)
        self.assertRefused(chain(old, MIDDLE, ROOT), configuration, Cause.CERTIFICATE_EXPIRED)

    def test_ambiguous(self) -> None:
        """A certificate that fits the rules of two partners names neither."""
        by_name = SanRule(ca="ca", san="DNS:oftp.acme.example")
        configuration = server(partner(name="B"), partner(by_name, name="A"))
        self.assertRefused(chain(), configuration, Cause.CERTIFICATE_AMBIGUOUS, partners="A, B")
        self.assertMatch(chain(), server(partner(BY_SUBJECT, by_name)), "subject", "ca")

    def test_two_authorities_in_one_path(self) -> None:
        """If two authorities vouch for a path, the one whose rule names a partner decides."""
        strict = authority("strict", "root", revocation=RevocationMode.REQUIRE)
        lax = authority("lax", "middle")
        for name, good in (("lax", True), ("strict", False)):
            rule = SubjectRule(ca=name, serial_number="O0013000001ACME")
            configuration = server(partner(rule), cas=(strict, lax))
            if good:
                self.assertMatch(chain(), configuration, "subject", name)
            else:
                self.assertRefused(chain(), configuration, Cause.CERTIFICATE_REVOCATION_MISSING, ca=name)
        nobody = server(partner(PIN), cas=(strict, lax))
        unpinned = attrs.evolve(LEAF, sha256=sha256("another"))
        self.assertRefused(chain(unpinned, MIDDLE, ROOT), nobody, Cause.CERTIFICATE_NO_PARTNER, cas="lax")


class RevocationTests(JudgingTestCase):
    """Revocation lists of each issuer in the path, as the authority's entry asks for them."""

    def configured(self, mode: RevocationMode, *sets: RevocationSet, grace: int = 0) -> ServerConfiguration:
        """A configuration whose authority asks for revocation lists."""
        return server(cas=(authority("ca", "root", revocation=mode, grace=grace),), revocation=sets)

    def test_all_there(self) -> None:
        """With current lists of every issuer below which nothing is revoked, the certificate is good."""
        for mode in RevocationMode:
            configuration = self.configured(mode, revocation("middle", 1), revocation("root", LEAF.serial))
            self.assertMatch(chain(), configuration, "subject", "ca")

    def test_revoked_leaf(self) -> None:
        """A revoked leaf is refused with the list that says so."""
        sets = (revocation("middle", LEAF.serial), revocation("root"))
        for mode in (RevocationMode.REQUIRE, RevocationMode.PREFER):
            self.assertRefused(
                chain(),
                self.configured(mode, *sets),
                Cause.CERTIFICATE_REVOKED,
                ca="ca",
                list="CN=middle",
                list_key_sha256=key_sha256("middle"),
                this_update="2026-11-19T10:00:00Z",
                next_update="2026-11-21T10:00:00Z",
                age=86400,
            )
        self.assertMatch(chain(), self.configured(RevocationMode.OFF, *sets), "subject", "ca")

    def test_revoked_intermediate(self) -> None:
        """A revoked intermediate authority is refused at its depth."""
        configuration = self.configured(RevocationMode.PREFER, revocation("root", MIDDLE.serial))
        self.assertRefused(chain(), configuration, Cause.CERTIFICATE_REVOKED, 1, list="CN=root")

    def test_anchor_cannot_be_revoked(self) -> None:
        """The anchor is trusted because the configuration says so: its own serial number is looked for nowhere."""
        configuration = self.configured(RevocationMode.REQUIRE, revocation("middle"), revocation("root", ROOT.serial))
        self.assertMatch(chain(), configuration, "subject", "ca")

    def test_missing(self) -> None:
        """A list that is not there is a refusal where lists are required; the depth says whose it would be."""
        for sets, depth, issuer in (((revocation("root"),), 0, "CN=middle"), ((revocation("middle"),), 1, "CN=root")):
            refused = self.assertRefused(
                chain(),
                self.configured(RevocationMode.REQUIRE, *sets),
                Cause.CERTIFICATE_REVOCATION_MISSING,
                depth,
                list=issuer,
            )
            self.assertNotIn("age", refused.detail)
        for mode in (RevocationMode.PREFER, RevocationMode.OFF):
            self.assertMatch(chain(), self.configured(mode), "subject", "ca")

    def test_stale(self) -> None:
        """So is a list that is not current, grace included, or from the future."""
        old = revocation("middle", this_update=NOW - 9 * DAY, next_update=NOW - 2 * DAY)
        self.assertRefused(
            chain(),
            self.configured(RevocationMode.REQUIRE, old, revocation("root")),
            Cause.CERTIFICATE_REVOCATION_STALE,
            age=777600,
            next_update="2026-11-18T10:00:00Z",
        )
        self.assertRefused(
            chain(),
            self.configured(RevocationMode.REQUIRE, old, revocation("root"), grace=47),
            Cause.CERTIFICATE_REVOCATION_STALE,
        )
        self.assertMatch(
            chain(), self.configured(RevocationMode.REQUIRE, old, revocation("root"), grace=48), "subject", "ca"
        )
        self.assertMatch(chain(), self.configured(RevocationMode.PREFER, old), "subject", "ca")
        undated = revocation("middle", this_update=NOW - 8 * DAY, next_update=None)
        refused = self.assertRefused(
            chain(),
            self.configured(RevocationMode.REQUIRE, undated, revocation("root")),
            Cause.CERTIFICATE_REVOCATION_STALE,
            this_update="2026-11-12T10:00:00Z",
        )
        self.assertNotIn("next_update", refused.detail)
        future = revocation("middle", this_update=NOW + DAY)
        self.assertRefused(
            chain(),
            self.configured(RevocationMode.REQUIRE, future, revocation("root")),
            Cause.CERTIFICATE_REVOCATION_STALE,
            age=-86400,
        )

    def test_revoked_in_a_stale_list(self) -> None:
        """What a stale list says is revoked is revoked."""
        old = revocation("middle", LEAF.serial, this_update=NOW - 9 * DAY, next_update=NOW - 2 * DAY)
        self.assertRefused(chain(), self.configured(RevocationMode.PREFER, old), Cause.CERTIFICATE_REVOKED)
