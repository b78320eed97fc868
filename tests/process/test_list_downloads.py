"""Revocation lists that the backend downloads: from an operator's approval to the verdict in the DMZ."""

from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from smartproxy.testing.pki import TestCredential
from tests.process.lines import Caller
from tests.process.sites import BOLTS_CA, Log, SiteCase, reactor, until


class Lists(Resource):
    """The lists of a CA, by their names, as its web server gives them."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []

    def render_GET(self, request: Request) -> bytes:
        """Give a list."""
        self.asked.append(request.path)
        if request.path not in self.lists:
            request.setResponseCode(404)
            return b""
        return self.lists[request.path]


class Downloads(SiteCase):
    """A site, and a CA's web server on loopback."""

    async def begin(self) -> None:
        """Start the web server."""
        await super().begin()
        self.lists = Lists()
        port = reactor.listenTCP(0, Site(self.lists), interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.url = f"http://127.0.0.1:{port.getHost().port}"

    async def verdict(self, shown: TestCredential, name: str) -> str:
        """What the server says of a certificate: ``accepted``, or the cause."""
        log = Log(self.site.server)
        caller = Caller(reactor=reactor, code=self.bolt.code, files=shown.write(self.site.certificates, name))
        line = await caller.dial(self.site.port)
        try:
            came: list[dict[str, Any]] = []

            def judged() -> bool:
                came[:] = [*log.events("certificate.accepted"), *log.events("certificate.refused")]
                return bool(came)

            await until(judged, "a verdict")
            return str(came[0].get("cause", "accepted"))
        finally:
            line.hang_up()
            await line.ended

    async def states(self) -> list[dict[str, Any]]:
        """What the operator sees of the downloads."""
        found = await self.site.smartproxy("crl", "list")
        return [each for row in found for each in row["downloads"]]

    async def test_approved(self) -> None:
        """A revoked partner is refused within seconds after the list's address was approved, and not before.

        The host is on loopback: it is not called before the operator allows its network.
        """
        ca = self.made.bolts_ca
        stolen = ca.issue("oftp.bolt.example", serial_number=self.bolt.code, crl_urls=["http://crl.example/ca.crl"])
        self.lists.lists[b"/bolt.crl"] = ca.crl([stolen])
        backend = Log(self.site.backend)
        self.assertEqual(await self.verdict(stolen, "stolen"), "accepted")
        proposed = await backend.event("crl.proposed")
        self.assertEqual((proposed["ca"], proposed["url"]), (BOLTS_CA, "http://crl.example/ca.crl"))
        (row,) = await self.site.smartproxy("crl", "proposals")
        self.assertEqual((row["ca"], row["url"]), (BOLTS_CA, "http://crl.example/ca.crl"))
        await self.site.smartproxy("crl", "reject", BOLTS_CA)
        self.assertEqual(await self.site.smartproxy("crl", "proposals"), [])

        await self.site.smartproxy("crl", "approve", BOLTS_CA, f"{self.url}/bolt.crl")
        failed = await backend.event("crl.download_failed")
        self.assertEqual((failed["cause"], failed["url"]), ("crl.address", f"{self.url}/bolt.crl"))
        self.assertIn("backend.download_networks", failed["message"])
        self.assertEqual(self.lists.asked, [])

        await self.site.smartproxy("settings", "set", "backend.download_networks", "127.0.0.0/8")
        before = self.site.newest()
        await self.site.smartproxy("crl", "fetch", BOLTS_CA)
        await until(lambda: self.site.newest() > before, "the list is taken")
        await self.site.in_force(Log(self.site.server, whole=True))
        self.assertEqual(await self.verdict(stolen, "stolen"), "certificate.revoked")
        self.assertEqual(await self.verdict(self.made.bolts_credential, "bolt-again"), "accepted")
        (state,) = await self.states()
        self.assertEqual((state["fault"], state["failures"]), (None, 0))

    async def test_no_list(self) -> None:
        """What the host gives is not taken because it comes from the right address: the list in force stays."""
        await self.site.smartproxy("settings", "set", "backend.download_networks", "127.0.0.0/8")
        self.lists.lists[b"/page.crl"] = b"<html>please log in</html>"
        backend = Log(self.site.backend)
        await self.site.smartproxy("crl", "approve", BOLTS_CA, f"{self.url}/page.crl")
        failed = await backend.event("crl.download_failed", url=f"{self.url}/page.crl")
        self.assertEqual(failed["cause"], "crl.unusable")
        self.assertEqual(await self.verdict(self.made.bolts_credential, "bolt-still"), "accepted")
        await self.site.smartproxy("crl", "reject", BOLTS_CA, f"{self.url}/page.crl")
        self.assertNotIn(f"{self.url}/page.crl", [each["url"] for each in await self.states()])
