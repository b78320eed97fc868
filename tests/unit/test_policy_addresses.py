"""Tests of :mod:`smartproxy.policy.addresses`: which addresses are the same host."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.addresses import same_host


class SameHost(SynchronousTestCase):
    """Something that is bound to an address, and a caller."""

    def test_same(self) -> None:
        """However it is written, with or without a scope; and both loopback addresses, in both directions."""
        for bound, caller in (
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.5", "::ffff:10.0.0.5"),
            ("2001:db8::1", "2001:db8:0::1"),
            ("fe80::1", "fe80::1%eth0"),
            ("127.0.0.1", "::1"),
            ("::1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
        ):
            self.assertTrue(same_host(bound, caller), (bound, caller))

    def test_others(self) -> None:
        """Another address, another loopback address, or what is no address at all."""
        for bound, caller in (
            ("10.0.0.5", "10.0.0.6"),
            ("127.0.0.1", "127.0.0.2"),
            ("127.0.0.1", "10.0.0.5"),
            ("10.0.0.5", "::1"),
            ("10.0.0.5", "unknown"),
        ):
            self.assertFalse(same_host(bound, caller), (bound, caller))
