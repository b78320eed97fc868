"""Journeys on the page, in a real browser, with real daemons: what an operator does, and what comes of it outside."""

import contextlib
import re
import sqlite3
from datetime import UTC, datetime
from functools import partial

import attrs
from playwright.sync_api import expect

from smartproxy.oftp2 import commands
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import frame
from smartproxy.oftp2.subrecords import pack
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.pki import self_signed
from smartproxy.testing.settings import offer
from tests.process.browsers import Window
from tests.process.lines import BUFFER_SIZE, Caller
from tests.process.page_sites import PageSiteCase, press, tab
from tests.process.sites import Log, reactor, until

MEBIBYTE = 1024 * 1024
PER_PARTNER = "server.limits.sessions_per_partner"


class Journeys(PageSiteCase):
    """A site that knows ACME and BOLT."""

    def told(self, name: str) -> int:
        """How many events of a name the backend has."""
        with contextlib.closing(sqlite3.connect(self.site.state / "smartproxy.db")) as store:
            ((count,),) = store.execute("SELECT count(*) FROM events WHERE name = ?", (name,)).fetchall()
        return int(count)

    async def refused(self, caller: Caller) -> None:
        """Have a caller refused by its certificate, and the backend know of it."""
        before = self.told("certificate.refused")
        await (await caller.dial(self.site.port)).ended
        await until(lambda: self.told("certificate.refused") > before, "the backend knows of the refusal")

    async def lets_in(self, caller: Caller) -> None:
        """See that the server lets a caller in as soon as it has the newest configuration."""
        await self.site.in_force(Log(self.site.server, whole=True))
        await self.session(caller)

    async def test_refused_and_let_in(self) -> None:
        """By the keyboard alone: a refusal is explained, a button repairs it, and the partner's next call is let in."""
        files = self_signed("oftp.acme.example").write(self.site.certificates, "acme-new")
        caller = attrs.evolve(self.acme, files=files)
        await self.refused(caller)
        reader = await self.reader(AdminRole.OPERATOR)

        def repair(window: Window) -> None:
            page = window.go("/")
            press(page, "Refusals")
            press(page, "See why, and decide")
            expect(page.get_by_text("Compare the SHA-256 with the partner").first).to_be_visible()
            tab(page, "#f-partner")
            page.keyboard.type("ACME")
            press(page, "Trust this certificate…")
            expect(page.get_by_role("heading", name="Recognize ACME by this certificate?")).to_be_visible()
            press(page, "Make this change")
            expect(page.get_by_role("status")).to_contain_text("its next call is let in")

        await reader.does(repair)
        await self.lets_in(caller)

    async def test_changed_certificate(self) -> None:
        """A partner comes with a renewed certificate of its CA; one click, and both are good."""
        ca = self.made.bolts_ca
        old, new = (ca.issue("oftp.crane.example") for _ in range(2))
        files = [each.write(self.site.certificates, f"crane-{count}") for count, each in enumerate((old, new))]
        code = "O0013000003CRANE"
        certificate = ("--certificate", str(files[0].certificate))
        await self.site.smartproxy("partner", "add", "CRANE", "--code", code, *certificate)
        before, after = (Caller(reactor=reactor, code=code, files=each) for each in files)
        await self.lets_in(before)
        await self.refused(after)
        reader = await self.reader(AdminRole.OPERATOR)

        def repair(window: Window) -> None:
            page = window.go("/refusals")
            card = page.locator("section.card", has_text="Most likely CRANE")
            card.get_by_role("link", name="See why, and decide").click()
            page.get_by_role("button", name="Trust it for CRANE…").click()
            page.get_by_role("button", name="Make this change").click()
            expect(page.get_by_role("status")).to_contain_text("CRANE is recognized by the new certificate")

        await reader.does(repair)
        await self.lets_in(after)
        await self.lets_in(before)

    async def test_setting_undo_and_roll_back(self) -> None:
        """A setting's difference is seen before it is saved; it counts at the server; undone, and rolled back to."""
        reader = await self.reader()

        def change(window: Window) -> None:
            page = window.go("/settings")
            page.locator("input[name=q]").last.fill("sessions of one partner")
            page.keyboard.press("Enter")
            page.get_by_role("link", name=PER_PARTNER).click()
            page.get_by_label("New value").fill("1")
            page.get_by_role("button", name="Show what it changes").click()
            expect(page.locator("ins")).to_have_text("1")
            expect(page.get_by_text("No partner would be refused.")).to_be_visible()
            page.get_by_label("Why").fill("one is enough")
            page.get_by_role("button", name="Change it").click()
            expect(page.get_by_role("status")).to_contain_text(f"{PER_PARTNER} is 1 from now on")

        await reader.does(change)
        limited = self.site.newest()
        await self.lets_in(self.acme)
        await self.too_many()

        def undo(window: Window) -> None:
            window.page.get_by_role("button", name="Undo").click()
            expect(window.page.get_by_role("status")).to_contain_text(f"as it was in generation {limited - 1}")

        await reader.does(undo)
        await self.lets_in(self.acme)

        def back(window: Window) -> None:
            page = window.go("/history")
            expect(page.get_by_text("one is enough").first).to_be_visible()
            page.get_by_role("link", name=str(limited), exact=True).click()
            page.get_by_role("link", name="Roll back to it…").click()
            button = page.get_by_role("button", name="Roll back")
            expect(page.locator("ins")).to_have_text("1")
            expect(button).to_be_disabled()
            page.get_by_label(f"Type {limited} to confirm").fill(str(limited))
            button.click()
            expect(page.get_by_role("status")).to_contain_text(f"of generation {limited}")

        await reader.does(back)
        await self.site.in_force(Log(self.site.server, whole=True))
        await self.too_many()
        await reader.does(lambda window: window.page.get_by_role("button", name="Undo").click())
        await reader.does(partial(_reads, "Undone"))
        await self.site.in_force(Log(self.site.server, whole=True))

    async def too_many(self) -> None:
        """See that one more session of ACME is refused."""
        line = await self.acme.dial(self.site.port)
        await line.hear(commands.SSRM)
        line.say(offer(self.acme.settings))
        self.assertIs(await line.hear_end(), EsidReason.RESOURCES_NOT_AVAILABLE)

    async def test_setting_in_conflict(self) -> None:
        """Who comes second reads who was first, when, and how to go on; what was typed is kept, and then made."""
        name = "server.limits.sessions"
        reader = await self.reader()

        def begin(window: Window) -> None:
            page = window.go(f"/settings/{name}")
            page.get_by_label("New value").fill("700")
            page.get_by_role("button", name="Show what it changes").click()
            expect(page.get_by_role("button", name="Change it")).to_be_visible()

        await reader.does(begin)
        await self.site.smartproxy("settings", "set", name, "900")
        newest = self.site.newest()

        def go_on(window: Window) -> None:
            page = window.page
            page.get_by_role("button", name="Change it").click()
            told = page.locator(".verdict")
            expect(told).to_contain_text(re.compile(r"\S+ changed the settings meanwhile\."))
            expect(told.locator("time")).to_have_attribute("title", re.compile("UTC"))
            expect(told.get_by_role("link", name=f"Generation {newest}")).to_be_visible()
            assert page.get_by_label("New value").input_value() == "700"

        await reader.does(go_on)
        self.assertEqual([], await reader.does(Window.obstacles))

        def again(window: Window) -> None:
            page = window.page
            page.get_by_role("button", name="Show what it changes").click()
            expect(page.locator("del")).to_have_text("900")
            page.get_by_role("button", name="Change it").click()
            _reads(f"{name} is 700 from now on", window)

        await reader.does(again)

    async def test_ignore_rule(self) -> None:
        """A rule is added on the page; what it silences is counted there, and leads to the event."""
        files = self_signed("oftp.noisy.example").write(self.site.certificates, "noisy")
        caller = Caller(reactor=reactor, code="O0013000009NOISY", files=files)
        reader = await self.reader()

        def add(window: Window) -> None:
            page = window.go("/ignore")
            page.get_by_label("Name").fill("noisy")
            page.get_by_label("Text").fill("oftp.noisy.example")
            page.get_by_label("Description").fill("a test of the network, known")
            page.get_by_role("button", name="Check").click()
            expect(page.get_by_role("row", name=re.compile("text.*oftp.noisy.example"))).to_be_visible()
            page.get_by_role("button", name="Add the rule").click()
            expect(page.get_by_role("status")).to_contain_text("The rule is in force.")
            expect(page.get_by_role("cell", name="never")).to_be_visible()

        await reader.does(add)
        await self.refused(caller)

        def hit(window: Window) -> None:
            page = window.go("/ignore")
            row = page.get_by_role("row", name=re.compile("noisy"))
            expect(row.get_by_role("cell").nth(2)).to_have_text("1")
            row.locator("a:has(time)").click()
            expect(page.get_by_role("heading", name="certificate.refused", level=1)).to_be_visible()
            expect(page.get_by_text("oftp.noisy.example").first).to_be_visible()

        await reader.does(hit)

    async def test_live_session(self) -> None:
        """A session is watched without a load: its file grows, its end turns it into a past one with its ladder."""
        reader = await self.reader(AdminRole.VIEWER)
        await reader.goes("/sessions")
        session = await self.session(self.acme)
        await session.begin_file(4 * MEBIBYTE)
        part = b"".join(frame(buffer) for buffer in pack(bytes(MEBIBYTE), BUFFER_SIZE))
        session.partner.say(part)

        def watch(window: Window) -> None:
            page = window.page
            expect(page.locator("#live").get_by_text("ACME")).to_be_visible()
            expect(page.locator("#live progress")).to_be_visible()
            page.locator("#live").get_by_role("link", name="ACME").click()
            expect(page.get_by_role("heading", name="The session with ACME runs.")).to_be_visible()
            expect(page.locator("#live")).to_contain_text("1.0 MB of 4.2 MB")

        await reader.does(watch)
        session.partner.say(part)
        await reader.does(lambda window: expect(window.page.locator("#live")).to_contain_text("2.1 MB of 4.2 MB"))
        session.partner.say(part, part)
        await session.end_file(4 * MEBIBYTE)
        await session.end()

        def over(window: Window) -> None:
            page = window.page
            expect(page.get_by_role("heading", name="ACME sent FILE1; the station confirmed it.")).to_be_visible()
            for name in ("SSID", "SFID", "EFID", "ESID"):
                expect(page.locator(".ladder").get_by_text(name).first).to_be_visible()
            expect(page.get_by_role("button", name="End the session")).to_have_count(0)
            page = window.go("/sessions")
            expect(page.get_by_role("row", name=re.compile("ACME.*FILE1")).first).to_be_visible()

        await reader.does(over)

    async def test_licence_extended(self) -> None:
        """A licence is extended on the page; the same page shows, without a load, that the server has it."""
        year = datetime.now(UTC).year + 3
        reader = await self.reader()
        log = Log(self.site.server)

        def extend(window: Window) -> None:
            page = window.go("/nodes")
            page.get_by_label("New last day").fill(f"{year}-12-24")
            page.get_by_role("button", name="Extend").click()
            expect(page.get_by_text("It cannot be shortened afterwards")).to_be_visible()
            page.get_by_role("button", name="Make this change").click()
            expect(page.get_by_role("status")).to_contain_text(f"{year}-12-24")

        await reader.does(extend)
        await log.event("licence.written")

        def arrived(window: Window) -> None:
            cells = window.page.get_by_role("table", name="Servers").locator("tbody td")
            expect(cells.nth(-2)).to_contain_text(str(year))
            expect(cells.nth(-1)).to_contain_text(str(year))

        await reader.does(arrived)


def _reads(words: str, window: Window) -> None:
    expect(window.page.get_by_text(words).first).to_be_visible()
