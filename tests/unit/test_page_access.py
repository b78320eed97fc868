"""Who is behind a reverse proxy: believed of known proxies only, by the configured header, from right to left."""

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.page_access import PageAccess, ProxyHeader, Reached, ReverseProxies

PROXY, OUTER = "10.0.0.1", "10.0.0.2"


class _Case(SynchronousTestCase):
    """Two proxies, of which the outer one is called by browsers."""

    header = ProxyHeader.X_FORWARDED

    def reached(self, peer: str = PROXY, **lines: str | Sequence[str]) -> tuple[str, str, bool]:
        """Who is found for a connection from a peer, with these header lines."""
        proxies = ReverseProxies(PageAccess(proxies=("10.0.0.0/30", "2001:db8:1::/48"), proxy_header=self.header))
        given = {name.replace("_", "-"): [value] if isinstance(value, str) else value for name, value in lines.items()}
        found = proxies.reached(peer, "inner:8443", lambda name: given.get(name, []))
        self.assertIsInstance(found, Reached)
        return found.address, found.host, found.encrypted


class XForwarded(_Case):
    """``X-Forwarded-For``, ``-Proto`` and ``-Host``."""

    def test_of_the_proxy(self) -> None:
        """What the proxy says counts."""
        found = self.reached(
            x_forwarded_for="192.0.2.7", x_forwarded_proto="https", x_forwarded_host="page.example:8444"
        )
        self.assertEqual(found, ("192.0.2.7", "page.example:8444", True))
        self.assertEqual(self.reached(x_forwarded_for="192.0.2.7"), ("192.0.2.7", "inner:8443", True))
        self.assertEqual(self.reached(x_forwarded_proto="http"), (PROXY, "inner:8443", False))
        self.assertEqual(self.reached("2001:db8:1::5", x_forwarded_for="2001:DB8::7")[0], "2001:db8::7")

    def test_of_others(self) -> None:
        """What anybody else says is ignored, however it looks; so is the header that is not configured."""
        for peer in ("192.0.2.66", "10.0.0.4", "2001:db8:2::1", "unknown"):
            found = self.reached(peer, x_forwarded_for=PROXY, x_forwarded_proto="http", x_forwarded_host="evil.example")
            self.assertEqual(found, (peer, "inner:8443", True))
        self.assertEqual(self.reached(forwarded="for=192.0.2.7;host=evil.example;proto=http")[0], PROXY)
        alone = ReverseProxies(PageAccess())
        self.assertEqual(alone.reached("127.0.0.1", "a", lambda name: ["192.0.2.7"]).address, "127.0.0.1")

    def test_forged(self) -> None:
        """What stood there before, sent by the browser, is not believed, in one line or in several."""
        for forged in ("127.0.0.1", f"{OUTER}, {PROXY}", "unknown", "", '"', "x" * 9000, ",," * 5000):
            for lines in (f"{forged}, 192.0.2.7", [forged, "192.0.2.7"], f"{forged},192.0.2.7, {OUTER}"):
                self.assertEqual(self.reached(x_forwarded_for=lines)[0], "192.0.2.7", (forged[:20], lines))
        found = self.reached(
            x_forwarded_for="127.0.0.1, 192.0.2.7",
            x_forwarded_host="evil.example, page.example",
            x_forwarded_proto="http, https",
        )
        self.assertEqual(found, ("192.0.2.7", "page.example", True))

    def test_chain(self) -> None:
        """Of two known proxies the outer one knows the browser; what only one of them says is for both."""
        found = self.reached(
            x_forwarded_for=f"203.0.113.1, 192.0.2.7, {OUTER}",
            x_forwarded_host=["evil.example", "page.example, inner.example"],
            x_forwarded_proto="https",
        )
        self.assertEqual(found, ("192.0.2.7", "page.example", True))

    def test_unreadable(self) -> None:
        """What is no address leaves the one of the proxy, and nothing before it is looked at."""
        for node in ("unknown", "_secret", "192.0.2.256", "192.0.2.7.8", "::x", "1.2.3.4:123456", "a b", "٣.1.1.1"):
            self.assertEqual(self.reached(x_forwarded_for=f"192.0.2.1, {node}")[0], PROXY, node)
        for node in ("192.0.2.7:4711", "[2001:db8::7]:4711", "[2001:db8::7]", "2001:db8::7", "::ffff:192.0.2.7"):
            self.assertIn(self.reached(x_forwarded_for=node)[0], ("192.0.2.7", "2001:db8::7"), node)
        for host in ("a/b", "a b", "a,", "user@evil.example", "[x]", "a:b:c", "a\r\nb", "é.example"):
            self.assertEqual(self.reached(x_forwarded_for="192.0.2.7", x_forwarded_host=host)[1], "inner:8443", host)

    def test_bounded(self) -> None:
        """Of proxies without an end ten are asked."""
        self.assertEqual(self.reached(x_forwarded_for=", ".join(["192.0.2.7"] + [PROXY] * 10))[0], PROXY)
        self.assertEqual(self.reached(x_forwarded_for=", ".join(["192.0.2.7"] + [PROXY] * 9))[0], "192.0.2.7")


class Forwarded(_Case):
    """``Forwarded`` (RFC 7239)."""

    header = ProxyHeader.FORWARDED

    def test_of_the_proxy(self) -> None:
        """What the proxy says counts, quoted or not, in any order and case."""
        self.assertEqual(
            self.reached(forwarded='By=10.0.0.1;FOR="[2001:db8::7]:4711" ; proto=HTTPS;host="page.example:8444"'),
            ("2001:db8::7", "page.example:8444", True),
        )
        self.assertEqual(self.reached(forwarded="for=192.0.2.7;proto=http"), ("192.0.2.7", "inner:8443", False))
        self.assertEqual(self.reached(forwarded=r'for="192.0\.2.7"')[0], "192.0.2.7")
        self.assertEqual(self.reached(), (PROXY, "inner:8443", True))

    def test_of_others(self) -> None:
        """What anybody else says is ignored; so is the other header."""
        self.assertEqual(self.reached("192.0.2.66", forwarded="for=127.0.0.1;proto=http")[::2], ("192.0.2.66", True))
        self.assertEqual(self.reached(x_forwarded_for="192.0.2.7")[0], PROXY)

    def test_forged(self) -> None:
        """What stood there before is not believed, even if it tries to swallow what the proxy adds."""
        said = ("for=192.0.2.7;host=page.example", 'host="page.example";for="192.0.2.7"')
        for forged in (
            "for=127.0.0.1",
            'for="',
            'for="x\\',
            "for=127.0.0.1;",
            'x=",',
            ";",
            '"',
            "for",
            "é",
            "a=b " * 900,
        ):
            for good in said:
                for lines in (f"{forged}, {good}", [forged, good], f"{forged}, {good}, for={OUTER};host=inner.example"):
                    self.assertEqual(self.reached(forwarded=lines)[:2], ("192.0.2.7", "page.example"), (forged, lines))

    def test_unreadable(self) -> None:
        """What is no address, or is not said, leaves the one of the proxy."""
        for element in (
            "for=unknown",
            "for=_x",
            "proto=https",
            "host=a",
            "for",
            "",
            "for=192.0.2.7 x",
            'for="192.0.2.7',
        ):
            self.assertEqual(self.reached(forwarded=f"for=192.0.2.1, {element}")[0], PROXY if element else "192.0.2.1")
