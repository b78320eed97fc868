"""Which versions work together."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.tunnel.faults import VersionsIncompatible
from smartproxy.tunnel.vocabulary import NEWEST, OLDEST, Greeting, agree


def greeting(program: str, version: str, oldest: int, newest: int) -> Greeting:
    """What a program says about itself."""
    return Greeting(program=program, version=version, oldest=oldest, newest=newest)


class AgreementTests(SynchronousTestCase):
    """Two ranges have a protocol in common, or they have not."""

    def test_newest_in_common(self) -> None:
        """The newest that both speak is used, whoever asks."""
        for one, other, common in (((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((1, 9), (4, 4), 4), ((2, 3), (3, 4), 3)):
            ours, theirs = greeting("a", "1", *one), greeting("b", "2", *other)
            self.assertEqual((agree(ours, theirs), agree(theirs, ours)), (common, common))

    def test_this_version_agrees_with_itself(self) -> None:
        """Two daemons of the same release work together."""
        self.assertLessEqual(OLDEST, NEWEST)
        ours = Greeting(program="a", version="1")
        self.assertEqual(agree(ours, ours), NEWEST)

    def test_nothing_in_common(self) -> None:
        """Both ends say the same: both versions, and that the older program is to be updated, and how far."""
        client = greeting("smartproxy-client", "0.1.0", 1, 2)
        server = greeting("smartproxy-server", "0.9.0", 4, 6)
        texts = {
            str(self.assertRaises(VersionsIncompatible, agree, *ends)) for ends in ((client, server), (server, client))
        }
        self.assertEqual(
            texts,
            {
                "smartproxy-client 0.1.0 (tunnel protocol 1 to 2) and smartproxy-server 0.9.0 (tunnel protocol 4 to 6) "
                "cannot work together: update smartproxy-client to a version that speaks tunnel protocol 4, "
                "such as 0.9.0"
            },
        )

    def test_older_server(self) -> None:
        """When the server is the older, it is the one to update."""
        client, server = greeting("smartproxy-client", "2", 3, 3), greeting("smartproxy-server", "1", 1, 1)
        self.assertIn("update smartproxy-server", str(self.assertRaises(VersionsIncompatible, agree, client, server)))
