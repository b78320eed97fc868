"""Tests of :mod:`smartproxy.policy.certificates.judge`: whose certificate it is by a pin, and how refusals speak."""

import datetime
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, cause_of, refusal
from smartproxy.policy.certificates.facts import ChainFacts, PathError
from smartproxy.policy.certificates.judge import judge_chain
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import CertificatePin, KeyPin, Purpose, RevocationMode
from tests.unit.chains import (
    CLIENT_AUTH,
    DAY,
    LEAF,
    MAIL,
    MIDDLE,
    NOW,
    SERVER_AUTH,
    JudgingTestCase,
    authority,
    chain,
    facts,
    partner,
    revocation,
    server,
    sha256,
)

UNKNOWN_ISSUER = PathError(20, 0, "unable to get local issuer certificate")
SELF_SIGNED = PathError(18, 0, "self-signed certificate")
PIN = CertificatePin(sha256=LEAF.sha256)
KEY_PIN = KeyPin(sha256=LEAF.key_sha256)


class PinTests(JudgingTestCase):
    """A pinned certificate needs no authority."""

    alone = ChainFacts(presented=(LEAF,), path_errors=(UNKNOWN_ISSUER,))
    self_signed = ChainFacts(presented=(LEAF,), path_errors=(SELF_SIGNED,))

    def pinned(self, *rules: CertificatePin | KeyPin, **others: Any) -> ServerConfiguration:
        """A configuration without authorities and with one partner."""
        return server(partner(*(rules or (PIN,)), **others), cas=())

    def test_certificate(self) -> None:
        """A pinned certificate names its partner, whatever OpenSSL found wrong with its path."""
        self.assertMatch(self.alone, self.pinned(), "certificate", None)
        self.assertMatch(self.self_signed, self.pinned(), "certificate", None)

    def test_key(self) -> None:
        """So does a pinned key, in whatever certificate."""
        renewed = attrs.evolve(LEAF, sha256=sha256("renewed"), serial=7)
        self.assertMatch(ChainFacts(presented=(renewed,)), self.pinned(KEY_PIN), "key", None)

    def test_another_certificate(self) -> None:
        """A pin of the certificate is not one of its key, and the other way round."""
        renewed = attrs.evolve(LEAF, sha256=sha256("renewed"))
        chain = ChainFacts(presented=(renewed,), path_errors=(SELF_SIGNED,))
        self.assertRefused(chain, self.pinned(), Cause.CERTIFICATE_UNKNOWN_CA)
        swapped = self.pinned(CertificatePin(sha256=LEAF.key_sha256), KeyPin(sha256=LEAF.sha256))
        self.assertRefused(self.alone, swapped, Cause.CERTIFICATE_UNKNOWN_CA)

    def test_only_the_leaf(self) -> None:
        """A pin of another certificate in the chain names nobody."""
        chain = ChainFacts(presented=(LEAF, MIDDLE), path_errors=(UNKNOWN_ISSUER,))
        configuration = self.pinned(CertificatePin(sha256=MIDDLE.sha256), KeyPin(sha256=MIDDLE.key_sha256))
        self.assertRefused(chain, configuration, Cause.CERTIFICATE_UNKNOWN_CA)

    def test_several_at_once(self) -> None:
        """While a partner changes over, the old certificate and the new one are both the partner's."""
        new = facts("new leaf", "new leaf", 9)
        configuration = self.pinned(PIN, CertificatePin(sha256=new.sha256))
        for leaf in (LEAF, new):
            self.assertMatch(ChainFacts(presented=(leaf,)), configuration, "certificate", None)

    def test_certificate_before_key(self) -> None:
        """Where both fit, the event says the certificate."""
        self.assertMatch(self.alone, self.pinned(KEY_PIN, PIN), "certificate", None)

    def test_dates(self) -> None:
        """A pinned certificate has to be in its time, whatever OpenSSL says: to the second at both ends."""
        second = datetime.timedelta(seconds=1)
        for not_before, not_after, cause in (
            (NOW, NOW, None),
            (NOW + second, NOW + DAY, Cause.CERTIFICATE_NOT_YET_VALID),
            (NOW - DAY, NOW - second, Cause.CERTIFICATE_EXPIRED),
        ):
            leaf = attrs.evolve(LEAF, not_before=not_before, not_after=not_after)
            chain = ChainFacts(presented=(leaf,))
            if cause is None:
                self.assertMatch(chain, self.pinned(), "certificate", None)
            else:
                self.assertRefused(
                    chain,
                    self.pinned(),
                    cause,
                    not_before=not_before.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    not_after=not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
                )

    def test_key_strength(self) -> None:
        """A pinned certificate has to have a strong key of a kind that is known."""
        for key_type, bits, cause in (
            ("RSA", 2048, None),
            ("RSA", 2047, Cause.CERTIFICATE_WEAK_KEY),
            ("EC", 256, None),
            ("EC", 255, Cause.CERTIFICATE_WEAK_KEY),
            ("Ed25519", 256, None),
            ("Ed448", 456, None),
            ("DSA", 3072, Cause.CERTIFICATE_EXPENSIVE_KEY),
            ("unknown", 0, Cause.CERTIFICATE_EXPENSIVE_KEY),
        ):
            chain = ChainFacts(presented=(attrs.evolve(LEAF, key_type=key_type, key_bits=bits),))
            if cause is None:
                self.assertMatch(chain, self.pinned(), "certificate", None)
            else:
                self.assertRefused(chain, self.pinned(), cause, key_type=key_type, key_bits=bits)
        chain = ChainFacts(presented=(attrs.evolve(LEAF, key_type="DSA"),))
        self.assertRefused(chain, self.pinned(), Cause.CERTIFICATE_EXPENSIVE_KEY, needed="RSA, EC, Ed25519 or Ed448")

    def test_signature_does_not_matter(self) -> None:
        """How a pinned certificate is signed does not matter: its pin vouches for it."""
        chain = ChainFacts(presented=(attrs.evolve(LEAF, signature_hash="sha1"),))
        self.assertMatch(chain, self.pinned(), "certificate", None)

    def test_revocation_does_not_matter(self) -> None:
        """Removing the pin is the revocation: lists are not asked."""
        configuration = attrs.evolve(
            self.pinned(),
            cas=(authority("ca", "root", revocation=RevocationMode.REQUIRE),),
            revocation=(revocation("middle", LEAF.serial),),
        )
        self.assertMatch(chain(), configuration, "certificate", None)

    def test_unreadable(self) -> None:
        """A purpose that cannot be read is told as that, not as a wrong one; others do not matter."""
        leaf = attrs.evolve(LEAF, unreadable=("certificatePolicies",))
        self.assertMatch(ChainFacts(presented=(leaf,)), self.pinned(), "certificate", None)
        leaf = attrs.evolve(LEAF, unreadable=("extendedKeyUsage",), extended_key_usage=frozenset())
        chain = ChainFacts(presented=(leaf,))
        self.assertRefused(chain, self.pinned(), Cause.CERTIFICATE_UNREADABLE, unreadable="extendedKeyUsage")
        self.assertMatch(chain, self.pinned(purpose=Purpose.ANY), "certificate", None)

    def test_purpose(self) -> None:
        """The purpose is looked at as the partner's entry says."""
        for usage, allowed in (
            (None, {Purpose.STRICT, Purpose.SERVER_AUTH, Purpose.ANY}),
            ({CLIENT_AUTH, MAIL}, {Purpose.STRICT, Purpose.SERVER_AUTH, Purpose.ANY}),
            ({SERVER_AUTH}, {Purpose.SERVER_AUTH, Purpose.ANY}),
            ({MAIL}, {Purpose.ANY}),
            (set(), {Purpose.ANY}),
        ):
            leaf = attrs.evolve(LEAF, extended_key_usage=None if usage is None else frozenset(usage))
            for purpose in Purpose:
                if purpose in allowed:
                    self.assertMatch(ChainFacts(presented=(leaf,)), self.pinned(purpose=purpose), "certificate", None)
                else:
                    self.assertRefused(
                        ChainFacts(presented=(leaf,)),
                        self.pinned(purpose=purpose),
                        Cause.CERTIFICATE_WRONG_PURPOSE,
                        partner="ACME",
                        purpose=purpose.value,
                        extended_key_usage=", ".join(sorted(usage or ())),
                    )

    def test_disabled(self) -> None:
        """A disabled partner's certificate is refused by name."""
        self.assertRefused(self.alone, self.pinned(enabled=False), Cause.CERTIFICATE_PARTNER_DISABLED, partner="ACME")

    def test_disabled_and_enabled(self) -> None:
        """If the same pin stands in a disabled and an enabled entry, the enabled one counts."""
        configuration = server(partner(PIN, name="OLD", enabled=False), partner(PIN, name="NEW"))
        self.assertMatch(self.alone, configuration, "certificate", None, "NEW")

    def test_ambiguous(self) -> None:
        """If certificate and key are pinned for different partners, neither is proved."""
        configuration = server(partner(PIN, name="B"), partner(KEY_PIN, name="A"))
        self.assertRefused(self.alone, configuration, Cause.CERTIFICATE_AMBIGUOUS, partners="A, B")

    def test_before_authority(self) -> None:
        """A pin goes before a rule of another partner that the certificate fits too."""
        self.assertMatch(chain(), server(partner(name="B"), partner(PIN, name="A")), "certificate", None, "A")


class RefusalTests(SynchronousTestCase):
    """A refusal says what is wrong and what to do."""

    def test_every_cause_has_words(self) -> None:
        """No cause is without a message and an advice."""
        for cause in CERTIFICATE_CAUSES:
            refused = refusal(cause, LEAF)
            self.assertTrue(refused.message.startswith(("the certificate", "the p", "the rev", "there is")), refused)
            self.assertTrue(refused.advice.endswith("."), refused.advice)
            self.assertEqual(str(refused), f"{refused.message} [{cause}]")

    def test_which_certificate(self) -> None:
        """A message about a certificate further up says which one."""
        refused = refusal(Cause.CERTIFICATE_EXPIRED, MIDDLE, 1)
        self.assertEqual(refused.message, "the certificate has expired (certificate 1 in the path)")
        self.assertEqual((refused.subject, refused.issuer), ("CN=middle", "CN=root"))

    def test_every_number_of_openssl(self) -> None:
        """Every number has a cause; those that are not known are refusals too."""
        for code in range(1, 200):
            self.assertIsInstance(cause_of(code), Cause)
        self.assertIs(cause_of(12345), Cause.CERTIFICATE_INVALID_PATH)
        self.assertIs(cause_of(23), Cause.CERTIFICATE_REVOKED)


class ManyPartnersTests(SynchronousTestCase):
    """Judging does not take longer with more partners."""

    def test_lookup(self) -> None:
        """The rules of thousands of partners are looked up, not searched."""
        partners = tuple(partner(CertificatePin(sha256=f"{number:064x}"), name=f"P{number}") for number in range(5_000))
        configuration = server(*partners, partner(name="LAST"))
        self.assertEqual(judge_chain(chain(), configuration, NOW).partner.name, "LAST")
        rules = configuration.partners_of
        self.assertEqual(len(rules), 5_001)
        self.assertIs(configuration.partners_of, rules)
