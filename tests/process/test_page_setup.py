"""From nothing to the first file by the page alone, in a real browser, with real daemons and a real station."""

import re
from functools import partial
from pathlib import Path

from playwright.sync_api import expect
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred

from smartproxy.testing.pki import CredentialFiles, TestCa, self_signed
from smartproxy.testing.programs import Program, module
from smartproxy.testing.site import STATION_CODE, Site
from tests.process.browsers import Window
from tests.process.page_sites import LookingCase, Reader, drop
from tests.process.sites import Log, stop, until

ACME = "O0013000001ACME"
PASSWORD = "four words of one line"
LINK = re.compile(r"https://[^/\s]+(/setup/sps_\S+)")


class SetUpSite(Site):
    """A site whose folder is empty.

    :ivar pin: the backend's key, by which its client knows it.
    """

    pin = ""

    def station_program(self) -> Program:
        """Start a station on a free port, of which the site does not know yet."""
        argv = [*module("smartproxy.testing"), "station", "--json", "--listen", "127.0.0.1:0"]
        argv += ["--code", STATION_CODE, "--inbox", str(self.inbox)]
        return self._program("station", argv, prints=True)

    @property
    def invitation(self) -> str:
        """The path of the link that the backend wrote on its console; empty while there is none."""
        found = LINK.findall((self.logs / "smartproxy-backend.log").read_text(encoding="utf-8"))
        return found[-1] if found else ""

    async def proxy_id_printed(self) -> str:
        """What ``smartproxy-server -L`` prints."""
        return await self._read_proxy_id()

    def keep_token(self, token: str) -> None:
        """Put the client's token where the client looks for it."""
        self._token.touch(mode=0o600)
        self._token.write_text(token + "\n", encoding="ascii")

    def _client_switches(self, server: str) -> tuple[str, ...]:
        known = ("--backend-pin", self.pin, "--token-file", str(self._token))
        return ("--backend", f"https://127.0.0.1:{self.backend_port}", "--server", server, *known)


class SetUp(LookingCase):
    """A folder with nothing in it."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Start a backend there."""
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """Have a backend without a site, and what others give: a station, the CA's answer, a partner's certificate."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.site = SetUpSite(installed_reactor, folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(stop(self.site.programs)))
        await self.site.start_backend()
        self.look_at(self.site.state, self.site.backend_port)
        station = self.site.station_program()
        self.station_port = (await station.wait(lambda record: record["event"] == "Listening", "listening"))["port"]
        self.ca = TestCa.root("Muster partner CA")
        self.site.anchor.write_bytes(self.ca.certificate_pem)
        self.partner = self_signed("oftp.acme.example").write(self.site.certificates, "acme")

    async def test_from_nothing_to_a_file(self) -> None:
        """Each step is done on the page; what it waits for appears by itself; at the end a file is in the station."""
        await until(lambda: bool(self.site.invitation), "the backend's link")
        reader = await self.reader(None)
        await reader.does(partial(_found, self.site.invitation))
        await reader.does(partial(_station, self.station_port))
        await self.identity(reader)
        await self.licence(reader)
        await self.machines(reader)
        await self.first_partner(reader)
        await reader.does(self.session)

    def session(self, window: Window) -> None:
        """See the session begin, its time in the reader's zone however often the page looks again; then be done."""
        page = window.page
        expect(page.get_by_text("A session began")).to_be_visible()
        for _ in range(2):
            with page.expect_response("**/setup/part/live*"):
                pass
        expect(page.locator("#live time")).not_to_contain_text("UTC")
        _has_no_obstacle(window)
        expect(window.go("/setup").get_by_text("The site is set up.")).to_be_visible()
        _has_no_obstacle(window)

    async def identity(self, reader: Reader) -> None:
        """Import what the CA has issued."""
        shown = self.ca.issue("oftp.muster.example", sans=["DNS:oftp.muster.example"])
        file = self.site.certificates / "muster.p12"
        file.write_bytes(shown.pkcs12("secret"))

        def imports(window: Window) -> None:
            window.page.get_by_label("Key and certificate").set_input_files(file)
            window.page.get_by_label("Password of the file").fill("secret")
            window.page.get_by_role("button", name="Import").click()
            expect(window.page.get_by_text("Key and certificate are in the store")).to_be_visible()
            _has_no_obstacle(window)

        await reader.does(imports)

    async def licence(self, reader: Reader) -> None:
        """Carry the Proxy ID to the page, and the licence to the DMZ."""
        proxy_id = await self.site.proxy_id_printed()

        def signs(window: Window) -> None:
            page = window.page
            page.get_by_label("Proxy ID").fill(proxy_id)
            page.get_by_role("button", name="Sign the licence").click()
            with page.expect_download() as saved:
                page.get_by_role("link", name="Save smartproxy.lic").click()
            saved.value.save_as(self.site.licence)
            _has_no_obstacle(window)
            page.get_by_role("link", name="Next: server and client").click()

        await reader.does(signs)

    async def machines(self, reader: Reader) -> None:
        """Start the daemons with what the page says; it ticks them off by itself."""

        def commands(window: Window) -> str:
            window.page.get_by_role("button", name="Make the client's token").click()
            expect(window.page.locator("#client-commands")).to_be_visible()
            _has_no_obstacle(window)
            return window.page.locator("#client-commands").inner_text()

        typed = await reader.does(commands)
        found = re.search(r"echo '(\S+)' > .*--backend-pin (\S+)", typed, re.DOTALL)
        assert found is not None, typed
        self.site.keep_token(found[1])
        self.site.pin = found[2]
        # The one thing that is not done on the page: partners are awaited at port 6619, and tests use free ports.
        await self.site.smartproxy("settings", "set", "server.listeners", "127.0.0.1:0")
        server = Log(await self.site.start_server())
        await self.site.start_client()
        self.site.port = (await server.event("listener.opened", address="127.0.0.1"))["port"]

        def ticked(window: Window) -> None:
            expect(window.page.get_by_text("The client is there")).to_be_visible()
            expect(window.page.get_by_text("The server is there")).to_be_visible()
            window.page.get_by_role("link", name="Next: first partner").click()
            expect(window.page.get_by_role("button", name="Add the partner")).to_be_visible()
            _has_no_obstacle(window)

        await reader.does(ticked)

    async def first_partner(self, reader: Reader) -> None:
        """Drop its certificate, take over the code that it calls with, and see its session."""

        def dropped(window: Window) -> None:
            page = window.page
            page.get_by_label("Name").fill("ACME")
            drop(page, "certificate", self.partner.certificate)
            page.get_by_role("button", name="Add the partner").click()
            expect(page.get_by_text("for a call with this certificate")).to_be_visible()

        await reader.does(dropped)
        self.assertNotEqual(0, await self.call("first"))

        def takes(window: Window) -> None:
            expect(window.page.get_by_text(ACME)).to_be_visible()
            _has_no_obstacle(window)
            window.page.get_by_role("button", name="Take this code over").click()
            expect(window.page.get_by_text("for the first session")).to_be_visible()

        await reader.does(takes)
        self.assertEqual(0, await self.call("second"))
        self.assertEqual([b"hello"], [each.read_bytes() for each in self.site.inbox.iterdir() if each.is_file()])

    async def call(self, name: str) -> int:
        """Have the partner send a file; how its program ended."""
        file = self.site.folder / "hello.txt"
        file.write_bytes(b"hello")
        files = CredentialFiles(certificate=self.partner.certificate, key=self.partner.key)
        return await self.site.partner(name, ["--json", "--send", str(file)], code=ACME, files=files).end()


def _found(invitation: str, window: Window) -> None:
    """Follow the link, make the site and the administrator."""
    page = window.go(invitation)
    _has_no_obstacle(window)
    page.get_by_label("Name of the site").fill("Muster GmbH")
    page.get_by_label("Names of this machine").fill("127.0.0.1")
    page.get_by_role("button", name="Make the site").click()
    expect(page.get_by_label("User")).to_be_visible()
    _has_no_obstacle(window)
    page.get_by_label("User").fill("alice")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password once more").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("6 steps to the first file.")).to_be_visible()
    _has_no_obstacle(window)


def _station(port: int, window: Window) -> None:
    """Test and save the station."""
    page = window.page
    page.get_by_label("Host or address").fill("127.0.0.1")
    page.get_by_label("Port").fill(str(port))
    page.get_by_role("button", name="Test and save").click()
    expect(page.get_by_text("An OFTP2 station answered: SSRM.")).to_be_visible()
    _has_no_obstacle(window)


def _has_no_obstacle(window: Window) -> None:
    found = window.obstacles_in_both()
    assert found == [], found
