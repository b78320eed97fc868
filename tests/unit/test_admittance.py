"""Which bans for refused certificates a new configuration may end."""

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.certificates.admittance import forgivable
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import Purpose, RevocationMode
from smartproxy.policy.penalties import OF_A_CERTIFICATE, Fault
from smartproxy.policy.settings import PenaltySettings, ServerLimits
from tests.adapters.acme import DAY, LEAF, MIDDLE, ROOT, acme, configuration, revoked


class Forgivable(SynchronousTestCase):
    """A configuration and the next one."""

    before: ServerConfiguration

    def setUp(self) -> None:
        """Make the one before."""
        self.before = configuration(acme(), mode=RevocationMode.REQUIRE, lists=(revoked(ROOT), revoked(MIDDLE, LEAF)))

    def after(self, **changes: object) -> frozenset[Fault]:
        """What the next one may let in."""
        return forgivable(self.before, attrs.evolve(self.before, **changes))  # type: ignore[arg-type]  # by name

    def test_nobody_more(self) -> None:
        """What certificates are not judged by ends no ban: settings, codes, the order, a newer list of the same."""
        (partner,) = self.before.partners
        (ca,), lists = self.before.cas, self.before.revocation
        for changes in (
            {},
            {"limits": ServerLimits(sessions=7), "penalties": PenaltySettings(threshold=20)},
            {"partners": (attrs.evolve(partner, codes=("O0013OTHER",)),)},
            {"cas": (attrs.evolve(ca, lists=("http://lists.example/a.crl",), approve_lists=True),)},
            {"revocation": tuple(attrs.evolve(each, this_update=each.this_update + DAY) for each in lists[::-1])},
        ):
            with self.subTest(changes=changes):
                self.assertEqual(self.after(**changes), frozenset())

    def test_revoked(self) -> None:
        """Another set of revoked numbers ends bans for revoked certificates, and no others."""
        self.assertEqual(self.after(revocation=(revoked(ROOT), revoked(MIDDLE))), {Fault.REVOKED})
        self.assertEqual(self.after(revocation=()), {Fault.REVOKED})

    def test_all(self) -> None:
        """What partners' entries and CAs say of certificates ends all bans for them, and so does the first one."""
        (partner,), (ca,) = self.before.partners, self.before.cas
        for changes in (
            {"partners": (attrs.evolve(partner, enabled=False),)},
            {"partners": (attrs.evolve(partner, purpose=Purpose.SERVER_AUTH),)},
            {"partners": (attrs.evolve(partner, certificates=()),)},
            {"partners": ()},
            {"cas": (attrs.evolve(ca, revocation=RevocationMode.OFF),)},
            {"cas": (attrs.evolve(ca, refuse_direct=not ca.refuse_direct),)},
            {"cas": ()},
        ):
            with self.subTest(changes=changes):
                self.assertEqual(self.after(**changes), OF_A_CERTIFICATE)
        self.assertEqual(forgivable(None, self.before), OF_A_CERTIFICATE)
