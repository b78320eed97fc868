"""What the page's own script does: keys, times in the reader's zone, plots that are read out, and copying."""

from datetime import datetime
from zoneinfo import ZoneInfo

from playwright.sync_api import expect

from tests.process.browsers import Eyes, Window
from tests.process.test_page_everywhere import EverywhereCase

ZONE = "Europe/Berlin"


def at(text: str) -> str:
    """The hour and minute of a time in the reader's zone."""
    return f"{datetime.fromisoformat(text).astimezone(ZoneInfo(ZONE)):%H:%M}"


class Hands(EverywhereCase):
    """A site with data."""

    async def test_keys(self) -> None:
        """A slash goes to the search, which finds; a question mark opens the help; typed, both are text."""
        reader = await self.reader()

        def press(window: Window) -> None:
            page = window.go("/settings")
            page.keyboard.press("?")
            expect(page.locator("#help")).to_be_visible()
            page.keyboard.press("Escape")
            expect(page.locator("#help")).to_be_hidden()
            page.keyboard.press("/")
            expect(page.locator("#search")).to_be_focused()
            page.keyboard.type("/?")
            expect(page.locator("#search")).to_have_value("/?")
            expect(page.locator("#help")).to_be_hidden()
            page.locator("#search").fill("DELJIT")
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", level=1)).to_contain_text("Search")

        await reader.does(press)

    async def test_times(self) -> None:
        """A time is in the reader's zone; the pointer shows it in UTC, too."""
        reader = await self.reader(eyes=Eyes(zone=ZONE))

        def look(window: Window) -> None:
            times = window.go("/events").locator("main time")
            for each in times.all()[:5]:
                moment = each.get_attribute("datetime") or ""
                expect(each).to_contain_text(at(moment))
                assert (each.get_attribute("title") or "").startswith(f"{moment[:19].replace('T', ' ')} UTC"), moment

        await reader.does(look)

    async def test_plots(self) -> None:
        """A plot tells the figures of a point, by the arrow keys or the pointer; the table beside it has the same."""
        reader = await self.reader(eyes=Eyes(zone=ZONE))

        def look(window: Window) -> None:
            page = window.go("/?span=day")
            card = page.locator("section.card", has=page.locator("[data-plot]")).first
            plot, told, rows = card.locator("[data-plot]"), card.locator("[data-read]"), card.locator("tbody tr")
            plot.focus()
            for number, key in ((-1, "ArrowRight"), (-2, "ArrowLeft")):
                page.keyboard.press(key)
                row = rows.nth(number)
                expect(told).to_contain_text(at(row.locator("time").get_attribute("datetime") or ""))
                for figure in row.locator("td.n").all_text_contents():
                    expect(told).to_contain_text(figure)
            plot.locator(".spot").nth(3).hover(force=True)
            expect(told).to_contain_text(at(rows.nth(3).locator("time").get_attribute("datetime") or ""))
            card.get_by_text("as a table").click()
            expect(rows.nth(3)).to_be_visible()

        await reader.does(look)

    async def test_sent_once(self) -> None:
        """The second click of a double one sends nothing; whoever comes back to the page can send again."""
        reader = await self.reader()

        def send(window: Window) -> None:
            page = window.go("/account")
            page.evaluate(
                "() => { window.sent = 0; window.addEventListener('submit', (event) => {"
                " if (!event.defaultPrevented) window.sent += 1; event.preventDefault(); }); }"
            )
            button = page.get_by_role("button", name="Log out")
            twice = "(each) => { each.form.requestSubmit(each); each.form.requestSubmit(each); return window.sent; }"
            self.assertEqual(button.evaluate(twice), 1)
            expect(button).to_be_disabled()
            page.evaluate("() => window.dispatchEvent(new Event('pageshow'))")
            expect(button).to_be_enabled()
            self.assertEqual(button.evaluate(twice), 2)

        await reader.does(send)

    async def test_copied(self) -> None:
        """The German text for a partner is taken by a button, as it stands there."""
        reader = await self.reader()

        def copy(window: Window) -> None:
            window.context.grant_permissions(["clipboard-read", "clipboard-write"])
            page = window.go("/refusals")
            page.get_by_role("link", name="See why, and decide").first.click()
            quote = page.locator("div[lang=de] figure.quote")
            page.evaluate("navigator.clipboard.writeText('nothing')")
            quote.locator("[data-copy]").click()
            page.wait_for_function("async () => await navigator.clipboard.readText() !== 'nothing'")
            taken = page.evaluate("navigator.clipboard.readText()")
            assert taken == quote.locator("blockquote").inner_text().strip(), taken

        await reader.does(copy)
