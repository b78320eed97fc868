"""Partners on the page, in a real browser: added by dropping a certificate, changed by two at a time, by keyboard."""

from functools import partial
from pathlib import Path

from playwright.sync_api import expect

from smartproxy.backend.operations import partner
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.shapes import Named
from smartproxy.backend.store import Store
from smartproxy.logs.clock import now
from smartproxy.policy.partners import Partner
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import CredentialFiles, self_signed
from tests.process.browsers import Window
from tests.process.lines import Caller as CallingPartner
from tests.process.page_sites import PageSiteCase, drop, press, tab
from tests.process.sites import Log, reactor

CODE = "O0013000002BOLT"


def entry_of(name: str, store: Store) -> Partner:
    """A partner's entry."""
    looking = Caller(name="tests", scopes=frozenset({"*:read"}))
    return perform(store, partner.show, Named(name=name), looking, now(reactor)).answer.partner


class Partners(PageSiteCase):
    """A site that knows ACME and BOLT."""

    def certificate(self, name: str) -> CredentialFiles:
        """A further partner's."""
        return self_signed(f"oftp.{name.lower()}.example").write(self.site.certificates, name.lower())

    async def test_added_by_drop(self) -> None:
        """Its certificate is dropped, its name and code are typed, what would be is shown, and then it may connect."""
        files, code = self.certificate("CRANE"), "O0013000003CRANE"
        reader = await self.reader(AdminRole.OPERATOR)

        def add(window: Window) -> None:
            page = window.go("/partners")
            page.get_by_role("link", name="Add a partner").click()
            drop(page, "file", files.certificate)
            page.get_by_label("Name", exact=True).fill("CRANE")
            page.locator("[name=codes]").fill(code)
            page.get_by_role("button", name="Check").click()
            expect(page.get_by_role("heading", name="Add CRANE?")).to_be_visible()
            expect(page.get_by_text("oftp.crane.example").first).to_be_visible()

        await reader.does(add)
        self.assertEqual([], await reader.does(Window.obstacles))
        log = Log(self.site.server)
        await reader.does(lambda window: window.page.get_by_role("button", name="Add the partner").click())
        await reader.does(partial(_reads, "CRANE is added and may connect."))
        await log.event("configuration.accepted")
        await self.session(CallingPartner(reactor=reactor, code=code, files=files))
        accepted = await log.event("identity.accepted", partner="CRANE")
        self.assertEqual(code, accepted["code"])

    async def test_two_administrators(self) -> None:
        """Who comes second sees what the first one did, keeps what it typed, and overwrites nothing."""
        alice = await self.reader(AdminRole.ADMINISTRATOR)
        olga = await self.reader(AdminRole.OPERATOR)
        for reader in (alice, olga):
            await reader.does(lambda window: window.go("/partners/BOLT/change"))
        await alice.does(partial(_changes, "codes", f"{CODE}\n{CODE}2"))
        await alice.does(partial(_confirms, "BOLT is changed."))
        await olga.does(partial(_changes, "originators", CODE))
        await olga.does(partial(_reads, "alice changed BOLT meanwhile."))
        await olga.does(partial(_reads, f"{CODE}2"))
        self.assertEqual([], await olga.does(Window.obstacles))
        typed = await olga.does(lambda window: window.page.locator("[name=originators]").input_value())
        self.assertEqual(CODE, typed)
        await olga.does(lambda window: window.page.get_by_role("button", name="Check").click())
        await olga.does(partial(_confirms, "BOLT is changed."))
        entry = await self.in_store(partial(entry_of, "BOLT"))
        self.assertEqual((entry.codes, entry.originators), ((CODE, f"{CODE}2"), (CODE,)))

    async def test_by_keyboard(self) -> None:
        """A partner is added without a pointer, from the list to the confirmation."""
        files = self.certificate("DYNAMO")
        reader = await self.reader(AdminRole.OPERATOR)

        def add(window: Window) -> None:
            page = window.go("/partners")
            press(page, "Add a partner")
            page.get_by_role("heading", name="Add a partner").wait_for()
            page.wait_for_load_state("load")
            tab(page, "[type=file]")
            # The system's own window, in which a file is chosen, is not the page's.
            page.locator(":focus").set_input_files(Path(files.certificate))
            for name, text in (("name", "DYNAMO"), ("codes", "O0013000004DYNAMO")):
                tab(page, f"[name={name}]")
                page.keyboard.type(text)
            press(page, "Check")
            page.get_by_role("heading", name="Add DYNAMO?").wait_for()
            press(page, "Add the partner")
            _reads("DYNAMO is added and may connect.", window)

        await reader.does(add)


def _reads(words: str, window: Window) -> None:
    expect(window.page.get_by_text(words).first).to_be_visible()


def _changes(name: str, text: str, window: Window) -> None:
    window.page.locator(f"[name={name}]").fill(text)
    window.page.get_by_role("button", name="Check").click()


def _confirms(words: str, window: Window) -> None:
    window.page.get_by_role("button", name="Make this change").click()
    _reads(words, window)
