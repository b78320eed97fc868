"""Every page in a real browser, on a site that is full of data: nothing goes wrong, and nobody is kept out."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from babel.messages.pofile import read_po

from smartproxy.backend.page.texts import LOCALE
from smartproxy.backend.store import Store
from smartproxy.policy.permissions import AdminRole
from tests.filled import HOSTILE, Filling, add_live, fill
from tests.process.browsers import Eyes, Window
from tests.process.page_calls import PageCaller, examples, whole_pages
from tests.process.page_sites import PageSiteCase, Reader, known

NARROW, WIDE = 320, 2560
SESSIONS = 300

_BESIDE = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
"""How many pixels of a page are beside the window."""
_SPOKEN = """
() => { const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walk.nextNode())
            if (!walk.currentNode.parentElement.closest(".quote"))
                found.push(walk.currentNode.data.replace(/\\s+/g, " ").trim());
        for (const name of ["aria-label", "title", "placeholder", "alt"])
            for (const each of document.querySelectorAll(`[${name}]`)) found.push(each.getAttribute(name));
        return found.filter(each => each); }
"""
"""All texts of a page, those that are only heard, too; not what is quoted for a partner in its language."""
_TWICE = """
() => { const ids = [...document.querySelectorAll("[id]")].map(each => each.id);
        return ids.filter((id, at) => ids.indexOf(id) !== at); }
"""
_BROKEN = """
() => [...document.querySelectorAll(".whole")].filter(each => {
    const spot = document.createRange(); spot.selectNodeContents(each);
    return each.offsetParent && spot.getClientRects().length > 1; }).map(each => each.textContent)
"""
"""Names of events that stand on more than one line."""
_FOCUS = """
() => { const at = document.activeElement, box = at.getBoundingClientRect(), look = getComputedStyle(at);
        return [at === document.body, at.outerHTML.slice(0, 120), box.width > 0 && box.height > 0,
                look.outlineStyle !== "none" || look.boxShadow !== "none" || (at.type ?? "").startsWith("date")]; }
"""
"""What is focused. The parts of a field for a date show a mark of their own, which no style of the field tells."""


def _at(path: str, look: Callable[[Window], Any], window: Window) -> Any:
    window.go(path)
    return look(window)


class EverywhereCase(PageSiteCase):
    """A site with data, and every page of it."""

    paths: ClassVar[Sequence[str]] = ()

    async def begin(self) -> None:
        """Fill the store, once for the class."""
        await super().begin()
        if not type(self).paths:
            type(self).paths = await self.in_store(self._fill)

    def _fill(self, store: Store) -> list[str]:
        """Fill the store; what pages there are then."""
        now = datetime.now(UTC)
        fill(store, Filling(now=now, sessions=SESSIONS, hostile=True))
        add_live(store, now)
        ca, cookie = str(self.site.certificates / "backend.crt"), known(store, AdminRole.ADMINISTRATOR)
        caller = PageCaller(self.site.backend_port, ca, cookie, host="127.0.0.1")
        try:
            return list(whole_pages(caller, examples(store)))
        finally:
            caller.close()

    async def everywhere(
        self, eyes: Eyes, look: Callable[[Window], Any], role: AdminRole = AdminRole.ADMINISTRATOR
    ) -> list[tuple[str, Any]]:
        """What somebody finds on each page, where that is something."""
        reader = await self.reader(role, eyes)
        found = []
        for path in self.paths:
            told = await reader.does(partial(_at, path, look))
            if told:
                found.append((path, told))
        return found


class Everywhere(EverywhereCase):
    """What is promised of all pages."""

    async def test_obstacles_in_the_light(self) -> None:
        """Axe has nothing serious to say of any page in the light theme."""
        self.assertEqual([], await self.everywhere(Eyes(), Window.obstacles))

    async def test_obstacles_in_the_dark(self) -> None:
        """Nor in the dark theme, on a narrow screen."""
        self.assertEqual([], await self.everywhere(Eyes(theme="dark", width=390, height=844), Window.obstacles))

    async def test_widths(self) -> None:
        """Nothing is beside the window, from 320 pixels to 2560, also around where its layout changes."""
        eyes = Eyes()

        def beside(window: Window) -> dict[int, int]:
            found = {}
            for width in (NARROW, 768, 861, 1024, 1180, 1200, WIDE):
                window.page.set_viewport_size({"width": width, "height": eyes.height})
                found[width] = window.page.evaluate(_BESIDE)
            return {width: pixels for width, pixels in found.items() if pixels}

        self.assertEqual([], await self.everywhere(eyes, beside))

    async def test_keyboard(self) -> None:
        """The first key leads past the navigation; each further one to something that is seen and shown as focused."""

        def tab(window: Window) -> list[str]:
            page, wrong = window.page, []
            page.keyboard.press("Tab")
            if page.locator(":focus").get_attribute("href") != "#content":
                wrong.append("the first key does not lead to the content")
            for _ in range(40):
                page.keyboard.press("Tab")
                outside, what, seen, marked = page.evaluate(_FOCUS)
                if outside:
                    break
                if not (seen and marked):
                    wrong.append(f"{'not seen' if not seen else 'not marked'}: {what}")
            return wrong

        self.assertEqual([], await self.everywhere(Eyes(), tab))

    async def test_titles(self) -> None:
        """Each page has one heading of the first rank, a title of its own, and no two elements of one id.

        No name of an event is broken within, where the screen is as wide as usual.
        """
        titles: dict[str, str] = {}

        def look(window: Window) -> str:
            page = window.page
            headings, title, path = page.locator("h1").count(), page.title(), page.url.removeprefix(self.origin)
            same, twice, broken = titles.setdefault(title, path), page.evaluate(_TWICE), page.evaluate(_BROKEN)
            good = headings == 1 and same == path and not twice and not broken
            return "" if good else f"{headings} headings; {title} is also {same}; twice {twice}; broken {broken}"

        self.assertEqual([], await self.everywhere(Eyes(), look))

    async def test_without_scripts_help(self) -> None:
        """Each page says what it is for."""
        empty = "There is no help for this page yet."
        found = await self.everywhere(Eyes(), lambda window: empty in window.page.locator("#help").inner_text())
        self.assertEqual([], found)

    async def test_what_peers_write(self) -> None:
        """It is text on every page: no element, no script, and no character that turns text round."""

        def look(window: Window) -> list[str]:
            page, wrong = window.page, []
            if page.locator("img[src=x]").count():
                wrong.append("an element of the peer's")
            text = page.content()
            return wrong + [f"U+{ord(each):04X}" for each in HOSTILE if each in text and not each.isprintable()]

        self.assertEqual([], await self.everywhere(Eyes(), look))

    async def test_german(self) -> None:
        """Whoever asks for German reads no text of several words in English that has a German one.

        Single words are also the names and values of fields in events, which are the same in every language.
        """
        with (LOCALE / "de.po").open("rb") as octets:
            messages = [each for each in read_po(octets, locale="de") if isinstance(each.id, str) and each.id]
        english = {str(each.id) for each in messages if each.string != each.id and "%" not in str(each.id)}
        german = {str(each.string) for each in messages}

        def look(window: Window) -> list[str]:
            spoken = window.page.evaluate(_SPOKEN)
            language = window.page.locator("html").get_attribute("lang")
            return [each for each in spoken if " " in each and each in english - german] + (
                [] if language == "de" else [str(language)]
            )

        self.assertEqual([], await self.everywhere(Eyes(language="de-DE"), look))


class Strangers(PageSiteCase):
    """The pages of somebody who is not logged in."""

    async def open(self, eyes: Eyes) -> Reader:
        """A stranger at the login."""
        return await self.reader(None, eyes)

    async def test_login(self) -> None:
        """The login has no obstacle in either theme, and nothing beside the window."""
        for theme in ("light", "dark"):
            reader = await self.open(Eyes(theme=theme, width=NARROW))
            found = await reader.does(
                lambda window: (window.go("/login") and window.obstacles(), window.page.evaluate(_BESIDE))
            )
            self.assertEqual(([], 0), found)
