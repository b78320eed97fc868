"""Addresses on the command line."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.tap.addresses import Address, BadAddress, listening_address, remote_address


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
            self.assertEqual(listening_address(text), Address(host, port))

    def test_wrong_forms_say_what_is_right(self) -> None:
        """Each wrong text gives a message with an example."""
        for text in ("", "x", "65536", "-1", "::1:2878", "[::1]", "[1.2.3.4]:5", "localhost:2878", "1.2.3.4:", "²"):
            error = self.assertRaises(BadAddress, listening_address, text)
            self.assertIn("right is", str(error))


class RemoteAddresses(SynchronousTestCase):
    """``host[:port]``."""

    def test_forms(self) -> None:
        """Names and addresses of both families, with and without a port."""
        for text, host, port in (
            ("dmz.example", "dmz.example", 2878),
            ("dmz.example:99", "dmz.example", 99),
            ("192.0.2.1:99", "192.0.2.1", 99),
            ("[2001:db8::1]:99", "2001:db8::1", 99),
            ("[2001:db8::1]", "2001:db8::1", 2878),
            ("2001:db8::1", "2001:db8::1", 2878),
        ):
            self.assertEqual(remote_address(text, 2878), Address(host, port))

    def test_wrong_forms_say_what_is_right(self) -> None:
        """A port alone, no host and a bad port are refused in words."""
        for text in ("", "2878", ":2878", "host:0", "host:x", "[host]:5"):
            error = self.assertRaises(BadAddress, remote_address, text, 2878)
            self.assertIn("right is", str(error))

    def test_text_form_has_brackets_for_ipv6(self) -> None:
        """An address prints as it can be typed."""
        self.assertEqual(str(Address("::1", 5)), "[::1]:5")
        self.assertEqual(str(Address("a", 5)), "a:5")
