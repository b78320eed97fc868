"""A refused certificate that is genuine is told with the partner whose it is, so that its refusals can be found."""

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal, VerifyError
from smartproxy.policy.certificates.facts import ChainFacts, PathError
from smartproxy.policy.certificates.revocation import RevocationSet
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import CertificatePin, KeyPin, RevocationMode
from tests.unit.chains import DAY, LEAF, MIDDLE, NOW, ROOT, authority, chain, judged, partner, revocation, server


def listed(*lists: RevocationSet) -> ServerConfiguration:
    """A configuration that requires lists."""
    return server(cas=(authority("ca", "root", revocation=RevocationMode.REQUIRE),), revocation=lists)


class Whose(SynchronousTestCase):
    """The partner's name in a refusal."""

    def named(self, shown: ChainFacts, configuration: ServerConfiguration) -> tuple[Cause, Any]:
        """The cause, and who is named."""
        found = judged(shown, configuration)
        assert isinstance(found, CertificateRefusal)
        return found.cause, found.detail.get("partner")

    def test_genuine(self) -> None:
        """Revoked, without a list, or expired: the certificate names its partner all the same."""
        good = chain()
        self.assertEqual(
            self.named(good, listed(revocation("middle", LEAF.serial))), (Cause.CERTIFICATE_REVOKED, "ACME")
        )
        self.assertEqual(self.named(good, listed()), (Cause.CERTIFICATE_REVOCATION_MISSING, "ACME"))
        old = attrs.evolve(LEAF, not_after=NOW - DAY)
        self.assertEqual(self.named(chain(old, MIDDLE, ROOT), server()), (Cause.CERTIFICATE_EXPIRED, "ACME"))

    def test_pinned(self) -> None:
        """A pinned certificate, or one of a pinned key, that has expired."""
        old = attrs.evolve(LEAF, not_after=NOW - DAY)
        for rule in (CertificatePin(sha256=old.sha256), KeyPin(sha256=old.key_sha256)):
            found = self.named(ChainFacts(presented=(old,)), server(partner(rule)))
            self.assertEqual(found, (Cause.CERTIFICATE_EXPIRED, "ACME"))

    def test_forged(self) -> None:
        """What a certificate says that nobody signed names nobody, whatever else is wrong with it."""
        errors = (
            PathError(VerifyError.CERT_HAS_EXPIRED, 0, "expired"),
            PathError(VerifyError.CERT_SIGNATURE_FAILURE, 0, "bad signature"),
        )
        self.assertEqual(self.named(chain(errors=errors), server()), (Cause.CERTIFICATE_EXPIRED, None))
        weak = attrs.evolve(LEAF, key_bits=100)
        self.assertEqual(self.named(chain(weak, MIDDLE, ROOT), server()), (Cause.CERTIFICATE_WEAK_KEY, None))

    def test_nobody(self) -> None:
        """A certificate that fits nobody's entry names nobody."""
        stranger = attrs.evolve(LEAF, subject_serial_number="OTHER", not_after=NOW - DAY)
        self.assertEqual(self.named(chain(stranger, MIDDLE, ROOT), server()), (Cause.CERTIFICATE_EXPIRED, None))
