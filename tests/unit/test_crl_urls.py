"""Which addresses of revocation lists are reported, and how many (:mod:`smartproxy.policy.certificates.crl_urls`)."""

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.certificates.crl_urls import CrlUrls, is_plain, named
from smartproxy.policy.certificates.facts import ChainFacts
from smartproxy.policy.limits import CRL_URL_OCTETS, CRL_URLS_PER_DAY
from tests.unit.chains import DAY, LEAF, MIDDLE, NOW, ROOT, authority, chain

CA = authority("ca", "root")
GOOD = (
    "http://crl.example.com/ca.crl",
    "https://crl.example.com:443/a/b.crl?x=1",
    "HTTP://CRL.example.com:80",
    "http://a-b.c1.example/%20",
)
BAD = (
    "http://169.254.169.254/latest/meta-data",
    "http://127.1/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://[::1]/x",
    "http://localhost/x",
    "http://db.localhost/x",
    "http://printer.local/x",
    "http://crl.internal/x",
    "http://localhost:5432",
    "http://crl.example.com:8080/x",
    "http://crl.example.com:0/",
    "http://crl.example.com:80443/",
    "ldap://ldap.example.com/cn=x",
    "file:///etc/passwd",
    "ftp://crl.example.com/x",
    "http://user@crl.example.com/x",
    "http://crl.example.com@169.254.169.254/",
    "http://crl.example.com/x\r\nHost: inside",
    "http://crl.example.com/x y",
    "http://crl.example.com/#x",
    "http://crl.example.com\\@inside/",
    "http://crl..example.com/x",
    "http://-crl.example.com/x",
    "http://crl.example.com./x",
    "http://crl_1.example.com/x",
    "http://\u0441rl.example.com/x",
    "//crl.example.com/x",
    "http:crl.example.com",
    "http:///x",
    "",
    " http://crl.example.com/x",
    "http://crl.example.com/x\n",
    "http://crl.example.com/" + "x" * 65536,
)


def with_urls(*urls: str) -> ChainFacts:
    """A chain whose leaf names these addresses."""
    return chain(attrs.evolve(LEAF, crl_urls=urls), MIDDLE, ROOT)


class FormTests(SynchronousTestCase):
    """Only the plainest addresses of public hosts are let through."""

    def test_good(self) -> None:
        """Http and https, a DNS name, the usual ports."""
        for url in GOOD:
            self.assertTrue(is_plain(url), url)

    def test_bad(self) -> None:
        """Everything that points inside, elsewhere, or is made to confuse."""
        for url in BAD:
            self.assertFalse(is_plain(url), url[:60])

    def test_length(self) -> None:
        """512 octets are the most."""
        url = "http://crl.example.com/".ljust(CRL_URL_OCTETS, "x")
        self.assertTrue(is_plain(url))
        self.assertFalse(is_plain(url + "x"))

    @given(st.text(max_size=60))
    def test_nothing_else(self, text: str) -> None:
        """Whatever passes is printable ASCII, and names no user."""
        for url in (text, f"http://{text}/x", f"http://crl.example.com/{text}"):
            if is_plain(url):
                self.assertTrue(url.isascii() and url.isprintable() and " " not in url)
                self.assertNotIn("@", url.split("/")[2])


class CountTests(SynchronousTestCase):
    """Only a few are reported, and only of verified chains."""

    def test_below_an_authority(self) -> None:
        """The leaf's and the intermediate's addresses count, the anchor's own do not; each once."""
        url, other = "http://crl.example.com/a", "http://crl.example.com/b"
        middle = attrs.evolve(MIDDLE, crl_urls=(url, other))
        root = attrs.evolve(ROOT, crl_urls=("http://crl.example.com/c",))
        self.assertEqual(named(chain(attrs.evolve(LEAF, crl_urls=(url,)), middle, root), CA), (url, other))

    def test_unverified(self) -> None:
        """A chain that does not come to the authority reports nothing."""
        shown = with_urls(*GOOD)
        self.assertEqual(named(ChainFacts(presented=shown.presented), CA), ())
        self.assertEqual(named(shown, authority("other", "nobody")), ())

    def test_two_of_a_certificate(self) -> None:
        """Of 500 addresses in a certificate the first two are looked at."""
        urls = [f"http://crl.example.com/{number}" for number in range(500)]
        self.assertEqual(named(with_urls(*urls), CA), tuple(urls[:2]))
        self.assertEqual(named(with_urls(*BAD[:2], *GOOD), CA), ())

    def test_twenty_a_day(self) -> None:
        """Of one authority twenty are reported in a day, none twice; another day or authority begins anew."""
        seen = CrlUrls()
        told = [
            url for number in range(40) for url in seen.new(with_urls(f"http://crl.example.com/{number}"), CA, NOW) * 2
        ]
        self.assertEqual(len(set(told)), CRL_URLS_PER_DAY)
        shown = with_urls("http://crl.example.com/0")
        self.assertEqual(seen.new(shown, CA, NOW), [])
        self.assertEqual(len(seen.new(shown, authority("second", "root"), NOW)), 1)
        self.assertEqual(len(seen.new(shown, CA, NOW + DAY)), 1)
        self.assertEqual(seen.new(shown, CA, NOW + DAY), [])

    def test_forgotten_authorities(self) -> None:
        """What is not configured any more is not remembered."""
        seen = CrlUrls()
        shown = with_urls("http://crl.example.com/0")
        seen.new(shown, CA, NOW)
        seen.keep({"ca"})
        self.assertEqual(seen.new(shown, CA, NOW), [])
        seen.keep(set())
        self.assertEqual(len(seen.new(shown, CA, NOW)), 1)
