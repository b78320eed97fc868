"""Which destinations a plain server dials."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.plain.destinations import Permit
from smartproxy.policy.addresses import HostPort


class PermitTests(SynchronousTestCase):
    """Nothing that was not named."""

    def assertAllows(self, pattern: str, *destinations: tuple[str, int]) -> None:
        """The pattern allows these."""
        for host, port in destinations:
            self.assertTrue(Permit.of([pattern]).allows(HostPort(host, port)), f"{pattern} and {host}:{port}")

    def assertForbids(self, pattern: str, *destinations: tuple[str, int]) -> None:
        """The pattern does not allow these."""
        for host, port in destinations:
            self.assertFalse(Permit.of([pattern]).allows(HostPort(host, port)), f"{pattern} and {host}:{port}")

    def test_nothing_by_default(self) -> None:
        """Without a pattern nobody is dialled."""
        self.assertFalse(Permit().allows(HostPort("mail.example", 25)))

    def test_name(self) -> None:
        """A name stands for itself, in any case, with or without its final dot."""
        self.assertAllows("Mail.Example:25", ("mail.example", 25), ("MAIL.EXAMPLE.", 25))
        self.assertForbids("mail.example:25", ("mail.example", 26), ("xmail.example", 25), ("a.mail.example", 25))

    def test_names_below(self) -> None:
        """``*.example`` stands for all names below it, not for itself, and never for an address."""
        self.assertAllows("*.example:443", ("a.example", 443), ("b.a.example", 443))
        self.assertForbids("*.example:443", ("example", 443), ("aexample", 443), ("a.example.net", 443))
        self.assertForbids("*.0.0.1:443", ("127.0.0.1", 443))

    def test_address_and_network(self) -> None:
        """An address stands for itself however it is written, a network for its addresses, and neither for names."""
        self.assertAllows("192.0.2.7:22", ("192.0.2.7", 22))
        self.assertAllows("192.0.2.0/24:22", ("192.0.2.200", 22))
        self.assertAllows("[2001:db8::1]:22", ("2001:DB8:0::1", 22))
        self.assertAllows("[2001:db8::/32]:22", ("2001:db8:1::1", 22))
        self.assertForbids("192.0.2.0/24:22", ("192.0.3.1", 22), ("::ffff:192.0.2.1", 22), ("3221225991", 22))
        self.assertForbids("192.0.2.7:22", ("192.0.2.7.example", 22))

    def test_any(self) -> None:
        """``*`` stands for any host, and for any port."""
        self.assertAllows("*:443", ("mail.example", 443), ("192.0.2.7", 443), ("::1", 443))
        self.assertForbids("*:443", ("mail.example", 444))
        self.assertAllows("mail.example:*", ("mail.example", 1), ("mail.example", 65_535))

    def test_several(self) -> None:
        """One of several patterns is enough."""
        permit = Permit.of(["a.example:1", "b.example:2"])
        self.assertTrue(permit.allows(HostPort("b.example", 2)))
        self.assertFalse(permit.allows(HostPort("a.example", 2)))

    def test_refused(self) -> None:
        """What is no pattern is refused, with an example of what is right."""
        for text in (
            *("", "mail.example", ":25", "mail.example:", "mail.example:0", "mail.example:65536", "mail.example:x"),
            *("2001:db8::1:22", "a*.example:1", "*.:1", "**:1", "*.*.example:1", "[a-z].example:1", "a?:1", "a/b:1"),
            *("mail.example:²", "user@mail.example:1"),
        ):
            error = self.assertRaises(ValueError, Permit.of, [text])
            self.assertIn("right is host:port", str(error))
        for text, why in (("[::1", "a bracket is missing"), ("[::1]", "has no port"), ("::1:22", "in brackets")):
            self.assertIn(why, str(self.assertRaises(ValueError, Permit.of, [text])))
