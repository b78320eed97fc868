"""Addresses on the command line."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.addresses import BadHostPort, HostPort, listening_address


class ListeningAddresses(SynchronousTestCase):
    """``[ip:]port``."""

    def test_forms(self) -> None:
        """A port alone, IPv4 and IPv6 in brackets are taken; ``:port`` and ``*:port`` mean any address."""
        for text, host, port in (
            ("2878", "", 2878),
            (":2878", "", 2878),
            ("*:2878", "", 2878),
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::1]:2878", "::1", 2878),
        ):
            self.assertEqual(listening_address(text), HostPort(host, port))

    def test_wrong_forms_say_what_is_right(self) -> None:
        """Each wrong text gives a message with an example."""
        for text in ("", "x", "65536", "-1", "::1:2878", "[::1]", "[1.2.3.4]:5", "localhost:2878", "1.2.3.4:", "²"):
            error = self.assertRaises(BadHostPort, listening_address, text)
            self.assertIn("right is", str(error))
