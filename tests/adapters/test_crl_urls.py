"""Addresses of revocation lists in certificates: from the partner's handshake to the client's event, over real TLS."""

import datetime

import attrs

from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import CertificatePin, RevocationMode
from smartproxy.testing.pki import TestCredential
from tests.adapters.acme import MIDDLE, NOW, ODETTE_ID, ROOT, acme, configuration, revoked
from tests.adapters.rig import CallerTls, ServerRig
from tests.adapters.test_server_service import ServerTestCase

DAY = datetime.timedelta(days=1)
GOOD = "http://crl.example.com/middle.crl"
LEAF = MIDDLE.issue(
    "oftp.acme.example", serial_number=ODETTE_ID, crl_urls=["http://169.254.169.254/latest", GOOD, "http://a.example/x"]
)


class Reported(ServerTestCase):
    """What the server tells its client."""

    def call(self, shown: TestCredential, server: ServerConfiguration) -> list[tuple[str, str]]:
        """A partner connects twice; the addresses that were told."""
        told = attrs.asdict(server, recurse=False, filter=lambda field, _: field.name != "identities")
        rig = ServerRig(**told)
        seen: list[tuple[str, str]] = []
        rig.sessions._crl_url_seen = lambda url, authority: seen.append((url, authority))
        for _ in range(2):
            rig.call(CallerTls(shown))
        return seen

    def test_verified(self) -> None:
        """Of a verified chain the plain addresses among the first two are told, once, with the authority's name."""
        self.assertEqual(self.call(LEAF, configuration()), [(GOOD, "ca")])

    def test_unverified(self) -> None:
        """A certificate that is pinned, unknown or somebody else's says nothing, whatever it names."""
        pinned = configuration(acme(CertificatePin(sha256=LEAF.sha256)))
        for server in (
            attrs.evolve(pinned, cas=()),
            pinned,
            attrs.evolve(configuration(), cas=(), partners=()),
            configuration(acme(CertificatePin(sha256="00" * 32))),
        ):
            self.assertEqual(self.call(LEAF, server), [])

    def test_refused_for_want_of_a_list(self) -> None:
        """A certificate that is refused because its list is missing or stale names it: there it is needed most."""
        known = revoked(MIDDLE), revoked(ROOT)
        stale = attrs.evolve(known[0], this_update=NOW - 9 * DAY, next_update=NOW - DAY)
        for lists in ((), (stale, known[1])):
            server = configuration(mode=RevocationMode.REQUIRE, lists=lists)
            self.assertEqual(self.call(LEAF, server), [(GOOD, "ca")])

    def test_refused_otherwise(self) -> None:
        """A certificate that is refused for another reason tells nothing: one that is revoked, or not valid yet."""
        known = revoked(MIDDLE, LEAF), revoked(ROOT)
        self.assertEqual(self.call(LEAF, configuration(mode=RevocationMode.REQUIRE, lists=known)), [])
        young = MIDDLE.issue(
            "oftp.acme.example",
            serial_number=ODETTE_ID,
            crl_urls=[GOOD],
            valid_from=NOW + DAY,
            valid_until=NOW + 9 * DAY,
        )
        self.assertEqual(self.call(young, configuration(mode=RevocationMode.REQUIRE)), [])

    def test_through_the_tunnel(self) -> None:
        """The client is told; without one, nobody is, and nothing breaks."""
        self.service._crl_url_seen(GOOD, "ca")
        client = self.client()
        self.service._crl_url_seen(GOOD, "ca")
        self.network.settle()
        self.assertEqual(client.user.notes[-1], ("crl", GOOD, "ca"))
        self.assertEqual(self.service.calls._crl_urls, self.service.sessions.tell_crl_urls)
