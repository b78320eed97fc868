"""Tests of :mod:`smartproxy.policy.limits`: the numbers that the issue and the threats page promise."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.limits import Limit


class LimitTests(SynchronousTestCase):
    """A number and the range that a configuration may set it to."""

    def test_range(self) -> None:
        """Both ends of the range are allowed, and nothing beyond."""
        limit = Limit(default=5, least=2, most=9, unit="seconds")
        self.assertEqual([value for value in range(12) if limit.admits(value)], list(range(2, 10)))

    def test_promised_deadlines(self) -> None:
        """The absolute deadlines are those of the documentation, in seconds."""
        promised = {
            limits.HANDSHAKE: 10,
            limits.SSID: 30,
            limits.AUTHENTICATION: 60,
            limits.BUFFER: 60,
            limits.INACTIVITY: 180,
            limits.CLOSING: 5,
            limits.DRAIN: 300,
        }
        for limit, seconds in promised.items():
            self.assertEqual((limit.default, limit.unit), (seconds, "seconds"))

    def test_promised_strengths(self) -> None:
        """Keys, paths, lists and tables are bounded as documented."""
        self.assertEqual((limits.RSA_BITS_LEAST, limits.EC_BITS_LEAST, limits.PATH_DEPTH_MOST), (2048, 256, 5))
        self.assertEqual((limits.REVOCATION_GRACE.default, limits.REVOCATION_GRACE.most), (0, 72))
        self.assertEqual(limits.PENALTY_PREFIXES_MOST, 65_536)
        self.assertEqual(limits.DOCUMENT_OCTETS_MOST, 33_554_432)
        self.assertEqual((limits.BAN_THRESHOLD.default, limits.BAN.default, limits.BAN_MOST.default), (20, 60, 600))
