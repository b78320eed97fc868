"""What of a configuration runs out."""

from datetime import UTC, datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.certificates import certificates_to_pem
from smartproxy.net.tls.expiries import expiries
from smartproxy.policy.certificates.revocation import RevocationSet
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import TrustedCa
from smartproxy.testing.pki import TestCa
from tests.unit.test_facts import CURVE, forged

NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Expiries(SynchronousTestCase):
    """The ends, each with its words."""

    def test_key_that_is_unreadable(self) -> None:
        """A CA whose key cannot be read keeps no other end from being told."""
        ca = TestCa.root("CA").credential
        broken = forged(ca.certificate, CURVE, CURVE[:-1] + b"\x7f")
        loaded = RevocationSet(
            issuer_key_sha256=ca.key_sha256, this_update=NOW, next_update=NOW + timedelta(days=1), serials=()
        )
        cas = tuple(
            TrustedCa(name=name, certificates=certificates_to_pem([each]))
            for name, each in (("broken", broken), ("ca", ca.certificate))
        )
        found = [each.what for each in expiries(ServerConfiguration(cas=cas, revocation=(loaded,)))]
        self.assertEqual(
            found, ["a certificate of the CA broken", "a certificate of the CA ca", "the revocation list of the CA ca"]
        )
