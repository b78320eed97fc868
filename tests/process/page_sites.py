"""Sites of real daemons whose admin page is looked at with a real browser."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from playwright.sync_api import Page
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from smartproxy.backend.errors import NotFound
from smartproxy.backend.location import Location
from smartproxy.backend.page.visit import COOKIE
from smartproxy.backend.store import Store
from smartproxy.policy.permissions import AdminRole
from tests.process.browsers import Chromium, Eyes, Window
from tests.process.clock import LIMIT_SECONDS
from tests.process.page_calls import add_user, log_in
from tests.process.sites import SiteCase

Told = TypeVar("Told")


class Reader:
    """Somebody in front of the page; journeys are done one after the other.

    :param window: lives in the browser's thread.
    """

    def __init__(self, chromium: Chromium, window: Window) -> None:
        self._chromium = chromium
        self._window = window

    async def does(self, journey: Callable[[Window], Told]) -> Told:
        """Do something on the page, and wait for what comes of it.

        :raises AssertionError: when something went wrong with the page itself.
        """
        told = await self._chromium.run(lambda _browser: journey(self._window))
        if self._window.wrong:
            raise AssertionError("\n".join(self._window.wrong))
        return told

    async def goes(self, path: str) -> str:
        """Go to a page; its text as it is read."""
        return await self.does(lambda window: window.go(path).locator("body").inner_text())

    async def leaves(self) -> list[str]:
        """Close the browser's window; what went wrong in it."""
        return await self._chromium.run(lambda _browser: self._window.end())


class LookingCase(TestCase):
    """Tests that look at the page of a backend. A test fails on whatever goes wrong in one of its windows.

    :ivar state: where the backend keeps its store.
    :ivar origin: where it is called.
    """

    timeout = LIMIT_SECONDS
    state: Path
    origin: str

    def look_at(self, state: Path, port: int) -> None:
        """Look at this backend."""
        self.chromium = Chromium.started()
        self.state, self.origin = state, f"https://127.0.0.1:{port}"

    async def in_store(self, work: Callable[[Store], Told]) -> Told:
        """Do something to the backend's store beside it."""

        def done() -> Told:
            store = Store.open(Location.of(str(self.state), None, {}))
            try:
                return work(store)
            finally:
                store.close()

        return await deferToThread(done)

    async def reader(self, role: AdminRole | None = AdminRole.ADMINISTRATOR, eyes: Eyes | None = None) -> Reader:
        """Somebody with a window of its own, logged in as a user of this role; a stranger if none is given."""
        cookie = "" if role is None else await self.in_store(lambda store: known(store, role))

        def opened(browser: object) -> Window:
            window = Window(browser, self.origin, eyes or Eyes())  # type: ignore[arg-type]  # Playwright's own
            if cookie:
                entry = {"name": COOKIE.decode(), "value": cookie, "url": self.origin, "secure": True}
                window.context.add_cookies([{**entry, "httpOnly": True, "sameSite": "Strict"}])  # type: ignore[typeddict-item]  # the same keys
            return window

        made = Reader(self.chromium, await self.chromium.run(opened))
        self.addCleanup(lambda: Deferred.fromCoroutine(self._left(made)))
        return made

    async def _left(self, reader: Reader) -> None:
        self.assertEqual([], await reader.leaves())


class PageSiteCase(LookingCase, SiteCase):
    """Tests that look at the page of a site with all its daemons."""

    async def begin(self) -> None:
        """Have the site, and the browser."""
        await super().begin()
        self.look_at(self.site.state, self.site.backend_port)


def known(store: Store, role: AdminRole) -> str:
    """The cookie of a user with this role, who is added if that was not done before."""
    with suppress(NotFound):
        return log_in(store, role)
    add_user(store, role)
    return log_in(store, role)


_DROP = """
([place, name, octets]) => { const carried = new DataTransfer();
    carried.items.add(new File([new Uint8Array(octets)], name));
    for (const type of ["dragenter", "dragover", "drop"])
        place.dispatchEvent(new DragEvent(type, {bubbles: true, cancelable: true, dataTransfer: carried})); }
"""


def drop(page: Page, field: str, file: Path) -> None:
    """Drop a file on the place of a form's field, as somebody does who drags it from a folder."""
    page.wait_for_load_state("load")
    place = page.locator(f"[data-drop]:has([name={field}])")
    page.evaluate(_DROP, [place.element_handle(), file.name, list(file.read_bytes())])


def press(page: Page, name: str) -> None:
    """Go to what has this name by the tabulator key, and press Enter on it."""
    page.wait_for_load_state("load")
    tab(page, f":text-is('{name}')")
    page.keyboard.press("Enter")


def tab(page: Page, what: str) -> None:
    """Go there by the tabulator key."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.locator(f"{what}:focus").count():
            return
    raise AssertionError(f"the keyboard does not lead to {what}")
