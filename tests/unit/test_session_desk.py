"""The desk of a client's sessions: places are counted exactly, whoever asks and however they are given back."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.desk import SessionDesk
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.faults import StationUnreachable
from smartproxy.policy.settings import ClientLimits


class Places(SynchronousTestCase):
    """A client that may have two sessions."""

    def setUp(self) -> None:
        """Nobody is here."""
        self.desk = SessionDesk(Clock(), lambda: ClientConfiguration(limits=ClientLimits(sessions=2)))

    def refused(self, session: str) -> Cause:
        """Why a partner's session has no place."""
        return Cause(self.assertRaises(StationUnreachable, self.desk.admit, session, "dmz1", "ACME").rule)

    def test_one_limit(self) -> None:
        """Calls of the station count like sessions of partners, before anything is opened for them."""
        self.desk.hold("a call")
        self.desk.admit("one", "dmz1", "ACME")
        self.assertEqual(self.refused("two"), Cause.QUOTA_SESSIONS)
        self.assertIn("limit of 2", self.desk.refusal() or "")
        self.desk.over("a call")
        self.assertIsNone(self.desk.refusal())
        self.desk.admit("two", "dmz1", "ACME")

    def test_sessions_elsewhere(self) -> None:
        """Those of an older process of this client count against the limit until they are over."""
        self.desk.elsewhere = 1
        self.desk.admit("one", "dmz1", "ACME")
        self.assertEqual(self.refused("two"), Cause.QUOTA_SESSIONS)
        self.assertEqual(self.desk.count, 1)
        self.desk.elsewhere = 0
        self.desk.admit("two", "dmz1", "ACME")

    def test_given_back_once(self) -> None:
        """A place that is given back twice frees one place, and a partner's sessions are counted the same."""
        self.desk.admit("one", "dmz1", "ACME")
        self.desk.admit("two", "dmz1", "ACME")
        self.assertEqual(self.desk.sessions_of("dmz1", "ACME"), 2)
        self.desk.over("one")
        self.desk.over("one")
        self.assertEqual((self.desk.count, self.desk.sessions_of("dmz1", "ACME")), (1, 1))
        self.desk.over("two")
        self.assertEqual((self.desk.count, self.desk.sessions_of("dmz1", "ACME")), (0, 0))

    def test_same_id(self) -> None:
        """A session that has a place gets no second one."""
        self.desk.admit("one", "dmz1", "ACME")
        self.assertEqual(self.refused("one"), Cause.SESSION_OPEN)
        self.assertEqual(self.desk.count, 1)
