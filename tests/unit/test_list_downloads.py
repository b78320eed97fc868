"""Which addresses may be called for a revocation list, which redirects are followed, and when the next try is due."""

from datetime import UTC, datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.certificates.downloads import BadListUrl, ListUrl, has_come, may_call, next_look, next_try

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

PUBLIC = ("8.8.8.8", "93.184.216.34", "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8")
NOT_PUBLIC = (
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1"),
    *("64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:a00:1::", "2001:0:a00:1::1"),
    *("localhost", "", "10.0.0", "0x7f000001"),
)


class Addresses(SynchronousTestCase):
    """What may be called."""

    def test_public(self) -> None:
        """Public addresses may be called, however they are written."""
        self.assertEqual([each for each in PUBLIC if not may_call(each, ())], [])

    def test_not_public(self) -> None:
        """Private, local, link-local and special ones may not, nor what a translator would make of a public one."""
        self.assertEqual([each for each in NOT_PUBLIC if may_call(each, ())], [])

    def test_allowed(self) -> None:
        """A network that the operator allows may be called, also where it is written as IPv6; no other."""
        allowed = ("10.0.0.0/8", "fc00::/7")
        for address in ("10.0.0.1", "::ffff:10.0.0.1", "fc00::1"):
            self.assertTrue(may_call(address, allowed), address)
        for address in ("127.0.0.1", "192.168.0.1", "fe80::1", "64:ff9b::a00:1"):
            self.assertFalse(may_call(address, allowed), address)


class Urls(SynchronousTestCase):
    """The text of an address, and redirects."""

    def test_parts(self) -> None:
        """An address is read with its scheme, host, port and path, and written as it is compared."""
        self.assertEqual(
            ListUrl.parse("HTTP://CRL.example:80"), ListUrl(scheme="http", host="crl.example", port=80, path="/")
        )
        self.assertEqual(str(ListUrl.parse("https://[2001:DB8::1]:8443/a?b=c")), "https://[2001:db8::1]:8443/a?b=c")

    def test_longest_name(self) -> None:
        """A part of a host's name has up to 63 characters."""
        self.assertEqual(ListUrl.parse(f"http://{'a' * 63}.{'b' * 63}/").host, f"{'a' * 63}.{'b' * 63}")

    def test_refused(self) -> None:
        """What is no plain address of http or https is refused."""
        for text in (
            *("", "ldap://crl.example/cn=x", "file:///etc/passwd", "ftp://crl.example/", "crl.example/a.crl"),
            *("http://user@crl.example/", "http://u:p@crl.example/", "http://crl.example/#x", "http:///a"),
            *("http://crl.example/a b", "http://crl.example/\r\nHost: x", "http://crl.example:0/"),
            *("http://crl..example/a.crl", "http://" + "a" * 64 + ".example/a.crl", "http://a." + "b" * 64),
            *("http://crl.example:65536/", "http://-crl.example/", "http://crl.example/" + "a" * 512),
        ):
            self.assertRaises(BadListUrl, ListUrl.parse, text)

    def test_redirects(self) -> None:
        """A redirect is followed on the same host, at the same port or that of its scheme, and never out of https."""
        at = ListUrl.parse("http://crl.example:8080/lists/a.crl?x=1")
        for location, expected in (
            ("/b.crl", "http://crl.example:8080/b.crl"),
            ("b.crl#part", "http://crl.example:8080/lists/b.crl"),
            ("//CRL.example/b", "http://crl.example/b"),
            ("https://crl.example/b", "https://crl.example/b"),
            ("?y=http://other.example/", "http://crl.example:8080/lists/?y=http://other.example/"),
        ):
            self.assertEqual(str(at.redirected(location)), expected)
        for location in (
            *("http://other.example/", "//169.254.169.254/", "http://crl.example:5432/", "file:///etc/passwd"),
            *("http://crl.example@other.example/", "http://crl.example.other.example/", "b c"),
        ):
            self.assertRaises(BadListUrl, at.redirected, location)
        self.assertRaises(BadListUrl, ListUrl.parse("https://crl.example/").redirected, "http://crl.example/")


class Times(SynchronousTestCase):
    """When the next try is due."""

    def test_before_the_end(self) -> None:
        """A list is looked for a tenth of its life before its nextUpdate, half a day before at most."""
        self.assertEqual(next_look(NOW, NOW + 10 * HOUR, NOW, 0), NOW + 9 * HOUR)
        week = NOW + 168 * HOUR
        self.assertEqual(next_look(NOW, week, week - 20 * HOUR, 0), week - 12 * HOUR)

    def test_bounds(self) -> None:
        """It is looked for once a day at least, and every quarter of an hour at most, also when it is overdue."""
        self.assertEqual(next_look(NOW, NOW + 1000 * HOUR, NOW, 0), NOW + 24 * HOUR)
        self.assertEqual(next_look(NOW, None, NOW, 0), NOW + 24 * HOUR)
        for due in (NOW - HOUR, NOW + timedelta(seconds=1)):
            self.assertEqual(next_look(NOW - 2 * HOUR, due, NOW, 0), NOW + HOUR / 4)

    def test_ends_of_time(self) -> None:
        """Dates at the ends of time make no difference."""
        ends = datetime.max.replace(tzinfo=UTC)
        self.assertEqual(next_look(datetime.min.replace(tzinfo=UTC), ends, NOW, 0), NOW + 24 * HOUR)
        self.assertEqual(next_look(NOW, NOW, ends, 0), ends)

    def test_has_come(self) -> None:
        """A time has come when it is there, when none was set, and when it is further away than any that is set."""
        for at, come in ((None, True), (NOW, True), (NOW + HOUR, False), (NOW + HOUR * 1.01, True)):
            self.assertEqual(has_come(at, NOW, 3600), come, at)

    def test_doubles(self) -> None:
        """After each failure the wait is twice as long, up to four hours."""
        waits = [(next_try(failures, NOW, 0) - NOW).total_seconds() for failures in (0, 1, 2, 3, 7, 100)]
        self.assertEqual(waits, [300, 300, 600, 1200, 14_400, 14_400])

    def test_chance(self) -> None:
        """Chance makes a time up to a tenth shorter, and never longer: a list is never looked for too late."""
        self.assertEqual(next_try(1, NOW, 1), NOW + timedelta(seconds=270))
        self.assertEqual(next_look(NOW, None, NOW, 0.5), NOW + 24 * HOUR * 0.95)
