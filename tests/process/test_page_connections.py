"""The test of a connection on the page: the server calls the partner from the DMZ, a client calls the station."""

from typing import Any

from playwright.sync_api import expect
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory

from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import CredentialFiles, self_signed
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import ProgramFailed
from smartproxy.testing.tls import TestContext
from tests.process.browsers import Window
from tests.process.page_sites import PageSiteCase
from tests.process.sites import ACME, reactor
from tests.process.test_outbound import OutboundCase

POLICY, SOURCE, NAME, CONNECT, TLS, SSRM = range(6)
"""The steps as the page counts them."""


class _Mail(Protocol):
    """What greets, but not as a station does."""

    def connectionMade(self) -> None:
        """Greet."""
        assert self.transport is not None
        self.transport.write(b"220 mail.acme.example ESMTP\r\n")


class Connections(PageSiteCase, OutboundCase):
    """A site that calls ACME."""

    async def sees(self, port: int, failed: int | None, words: str, host: str = "127.0.0.1") -> None:
        """Say where ACME is, test it on the page, and see which step failed and what is said of it."""
        await self.outbound("ACME", "--host", host, "--port", str(port), "--verify", "pin")
        reader = await self.reader(AdminRole.OPERATOR)

        def look(window: Window) -> None:
            page = window.go("/partners/ACME")
            page.get_by_role("button", name="Test the connection").click()
            expect(page.get_by_role("heading", name=words)).to_be_visible()
            steps = ["bad" if each == failed else "good" for each in range(SSRM + 1 if failed is None else failed + 1)]
            found = page.locator(".checks li")
            expect(found).to_have_count(SSRM + 1)
            for number, state in enumerate(steps + ["left"] * (SSRM + 1 - len(steps))):
                expect(found.nth(number)).to_have_class(state)
            obstacles = window.obstacles_in_both()
            assert obstacles == [], obstacles

        await reader.does(look)

    async def greeting(self, files: CredentialFiles) -> int:
        """Have something greet over TLS that is no station; its port."""
        context = TestContext(certificate=files.certificate, key=files.key, authorities=(self.site.anchor,))
        factory = TLSMemoryBIOFactory(context, False, Factory.forProtocol(_Mail))
        listening: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(listening.stopListening)
        port: int = listening.getHost().port
        return port

    async def test_answered(self) -> None:
        """A partner that answers: all steps are good."""
        acme = await self.answering(self.made.acme, ACME)
        await self.sees(acme.port, None, "ACME answered: the connection works.")

    async def test_steps(self) -> None:
        """The step that failed is shown, with why, those before it as good, those after it as not tried."""
        cannot = "ACME cannot be reached."
        await self.sees(6619, NAME, cannot, "no-such-host.invalid")
        await self.sees(held_port(), CONNECT, cannot)
        plain = await self.answering(None, ACME)
        await self.sees(plain.port, TLS, cannot)
        files = self_signed("oftp.acme.example").write(self.site.certificates, "impostor")
        impostor = await self.answering(files, ACME)
        await self.sees(impostor.port, TLS, cannot)
        await self.sees(await self.greeting(self.made.acme), SSRM, cannot)

    async def test_station(self) -> None:
        """A station that does not greet stands on the overview; the button there has a client try it again."""
        reader = await self.reader(AdminRole.OPERATOR)
        down, button = "The station does not answer", "Test the station"
        await self.station.stop()
        await self.assertFailure(Deferred.fromCoroutine(self.site.smartproxy("test-station")), ProgramFailed)

        def retry(window: Window) -> None:
            page = window.go("/")
            expect(page.get_by_role("heading", name=down)).to_be_visible()
            page.get_by_role("button", name=button).click()
            expect(page.get_by_role("status")).to_contain_text("A client tries the station.")

        await self.station.listen()
        await reader.does(retry)
        line = await self.station.line()
        line.say(SSRM_BUFFER)
        await reader.does(lambda window: expect(window.page.get_by_role("heading", name=down)).to_have_count(0))
