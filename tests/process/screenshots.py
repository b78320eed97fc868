"""Pictures of every page, in both themes, on a narrow and a usual screen, of three sites.

One has nothing, one is a customer's after a month, one is full of what partners should not write.
``make screenshots`` runs this module, which is no part of the tests: people look at what it makes.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

from playwright.sync_api import Page
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred

from smartproxy.backend.location import Location
from smartproxy.backend.store import Store
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.site import SITE_NAME, Site
from tests.customer import CustomerSite
from tests.process.browsers import Eyes, Window
from tests.process.page_calls import PageCaller, examples, whole_pages
from tests.process.page_sites import LookingCase, known
from tests.process.sites import stop
from tests.process.test_page_everywhere import EverywhereCase

FOLDER = Path(__file__).resolve().parents[2] / "build" / "screenshots"
LOGIN, NOTHING = "/login", "/nothing-here"
USUAL = tuple(
    Eyes(theme=theme, width=width, height=height)
    for theme in ("light", "dark")
    for width, height in ((390, 844), (1440, 900))
)
EXTREME = (Eyes(width=320, height=640), Eyes(width=2560, height=1440))
GERMAN = (Eyes(language="de-DE"), Eyes(language="de-DE", width=390, height=844))
MOST_USED = ("/", "/sessions", "/refusals", "/partners", "/certificates", "/events")


def script(text: str) -> Callable[[Page], object]:
    """What brings a page into a state: a script."""
    return lambda page: page.evaluate(text)


def tabbed(page: Page) -> None:
    """Go on by the keyboard, past the navigation."""
    for _ in range(24):
        page.keyboard.press("Tab")


def sent_empty(page: Page) -> None:
    """Send the first form of a page without what it asks for."""
    with page.expect_navigation():
        page.evaluate(
            "setTimeout(() => { const form = document.querySelector('main form[method=post]');"
            " form.noValidate = true; form.requestSubmit(); })"
        )


def sent(form: str, **chosen: str) -> Callable[[Page], object]:
    """What brings a page into a state: a form that is sent with some values chosen."""

    def act(page: Page) -> None:
        first = page.locator(form).first
        for name, value in chosen.items():
            first.locator(f"[name={name}]").select_option(value)
        with page.expect_navigation():
            first.locator("button").first.click()

    return act


OPENED: Final = script("document.querySelectorAll('main details').forEach(each => { each.open = true; })")
STATES: Final[tuple[tuple[str, str, Callable[[Page], object]], ...]] = (
    ("menu", "/", script("document.getElementById('navigation').showPopover()")),
    ("help", "/partners", script("document.getElementById('help').showPopover()")),
    ("focus", "/partners", tabbed),
    ("tables", "/", OPENED),
    ("one-hour", "/?span=hour", lambda page: page),
    ("opened", "/certificates", OPENED),
    ("opened", "/partners/+new", OPENED),
    ("opened", "/refusals", OPENED),
    ("opened", "/users", OPENED),
    ("faults", "/partners/+new", sent_empty),
    ("faults", "/ignore", sent_empty),
    ("faults", "/account", sent_empty),
    ("none", "/sessions?partner=Nobody", lambda page: page),
    ("none", "/partners?q=nobody", lambda page: page),
    ("none", "/events?name=nothing.known", lambda page: page),
    ("none", "/search?q=nobody", lambda page: page),
    ("foreseen", "/settings/server.limits.sessions", sent_empty),
    ("role", "/users/user/k.lang", sent("form[action$='/change']:has(select)", role="auditor")),
    ("disabled", "/users/user/k.lang", sent("form[action$='/change']:not(:has(select))")),
    ("list-removed", "/certificates", sent("form[action*='/lists/'][action$='/remove']")),
    ("follows", "/events?name=session.&live=1", lambda page: page),
)
"""States of pages that no address alone shows, or that are rare: the name, where it is, and how it comes about."""
LAID_OVER = frozenset({"menu", "help", "focus"})
"""What is seen in a window, and not along a whole page."""


def picture_of(path: str, eyes: Eyes, of: str, state: str = "") -> Path:
    """The file of a picture."""
    words = (re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-") or "overview") + (state and f"-{state}")
    language = "" if eyes.language.startswith("en") else f"-{eyes.language[:2]}"
    return FOLDER / of / f"{words}-{eyes.theme}-{eyes.width}{language}.png"


def a_partner(store: Store) -> str:
    """Where a partner's page is."""
    return f"/partners/{quote(examples(store)['partners'])}"


def on_paper(page: Page) -> None:
    """Have the page look as it is printed."""
    page.emulate_media(media="print")


class PicturesCase(LookingCase):
    """Takes the pictures.

    :cvar of: what is in the store.
    """

    of: ClassVar[str] = ""

    async def refresh(self) -> None:
        """Have the store look as at this moment, where it is not alive by itself."""

    async def take(self, paths: Sequence[str], all_eyes: Sequence[Eyes] = USUAL) -> None:
        """Take the pictures of some pages."""
        for eyes in all_eyes:
            await self.refresh()
            user, stranger = await self.reader(AdminRole.ADMINISTRATOR, eyes), await self.reader(None, eyes)
            for path in paths:
                picture = picture_of(path, eyes, self.of)

                def taken(window: Window, path: str = path, picture: Path = picture) -> None:
                    window.go(path).screenshot(path=picture, full_page=True, animations="disabled")
                    if path == NOTHING:
                        window.wrong.clear()

                await (stranger if path == LOGIN else user).does(taken)

    async def take_states(self, all_eyes: Sequence[Eyes] = USUAL) -> None:
        """Take the pictures of the states, and of the sheet that a partner gets on paper."""
        sheet = ("paper", f"{await self.in_store(a_partner)}/sheet", on_paper)
        for eyes in all_eyes:
            await self.refresh()
            user = await self.reader(AdminRole.ADMINISTRATOR, eyes)
            for state, path, act in (*STATES, sheet):
                picture = picture_of(path, eyes, self.of, state)
                await user.does(partial(_taken_in_a_state, path, act, picture, state not in LAID_OVER))


def _taken_in_a_state(path: str, act: Callable[[Page], object], picture: Path, whole: bool, window: Window) -> None:
    page = window.go(path)
    act(page)
    page.screenshot(path=picture, full_page=whole, animations="disabled")
    page.emulate_media(media="screen")


class Hostile(PicturesCase, EverywhereCase):
    """A site that is full of data, some of which peers chose."""

    of = "hostile"

    async def test_pictures(self) -> None:
        """All pages."""
        shutil.rmtree(FOLDER / self.of, ignore_errors=True)
        await self.take([*self.paths, LOGIN, NOTHING])


class BackendCase(PicturesCase):
    """A site of which only the backend runs."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Make the site."""
        shutil.rmtree(FOLDER / self.of, ignore_errors=True)
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """Have a backend with a store."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.site = Site(installed_reactor, folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(stop(self.site.programs)))
        self.ca = self.site.certificates / "backend.crt"
        await self.make()
        await self.site.start_backend()
        self.look_at(self.site.state, self.site.backend_port)

    async def make(self) -> None:
        """Make the store, and have its authority's certificate in the file for it."""
        raise NotImplementedError

    def pages(self, store: Store) -> list[str]:
        """What pages there are."""
        cookie = known(store, AdminRole.ADMINISTRATOR)
        caller = PageCaller(self.site.backend_port, str(self.ca), cookie, host="127.0.0.1")
        try:
            return list(whole_pages(caller, examples(store)))
        finally:
            caller.close()


class Empty(BackendCase):
    """A site that has just been made."""

    of = "empty"

    async def make(self) -> None:
        """Have nothing but an authority."""
        await self.site.smartproxy(
            "authority", "create", "--site", SITE_NAME, "--name", "127.0.0.1", "-o", str(self.ca)
        )

    async def test_pictures(self) -> None:
        """All pages."""
        await self.take(await self.in_store(self.pages))


class Customer(BackendCase):
    """A customer's site after a month."""

    of = "customer"

    async def make(self) -> None:
        """Build it."""
        store = Store.open(Location.of(str(self.site.state), None, {}), make=True)
        try:
            self.ca.write_text(CustomerSite(store, datetime.now(UTC)).build())
        finally:
            store.close()

    async def refresh(self) -> None:
        """Have all machines seen now."""

        def done(store: Store) -> None:
            CustomerSite(store, datetime.now(UTC)).refresh()

        await self.in_store(done)

    async def test_pictures(self) -> None:
        """All pages, those that are used most on the narrowest and the widest screen, too, and all in German."""
        paths = [*await self.in_store(self.pages), "/?span=month", LOGIN, NOTHING]
        await self.take(paths)
        await self.take_states()
        await self.take(MOST_USED, EXTREME)
        await self.take(paths, GERMAN)
