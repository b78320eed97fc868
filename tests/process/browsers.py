"""A real browser for tests: Debian's Chromium, driven by Playwright, and whatever a page does wrong in it.

Playwright's calls wait, each in the thread that started the browser. So the browser has a thread of its own, and a test
gives it whole journeys: ``await browser.run(journey)``. There is one browser for each process of a test run; a
:class:`Window` is a fresh profile in it, without cookies and cache. No journey sleeps: Playwright waits for what the
journey names, at most :data:`~tests.process.clock.PATIENCE_SECONDS`.
"""

import atexit
import re
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import attrs
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Playwright,
    Request,
    expect,
    sync_playwright,
)
from twisted.internet import reactor as installed_reactor
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from tests.process.clock import PATIENCE_SECONDS
from tests.programs import program

Told = TypeVar("Told")

reactor: Any = installed_reactor

CLOSING_SECONDS = 20.0
"""How long the end of a test run waits for the browser's."""
AXE = Path(__file__).parents[1] / "axe" / "axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
COMES_AGAIN = re.compile("Failed to load resource: the server responded with a status of (409|422) ")
"""What Chromium says of a form that comes again because of a fault or a conflict; that is no error of the page."""
GRAVE = ("serious", "critical")
"""The impacts of axe's findings that no page may have."""

_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation",
    found => window.tellViolation(`${found.effectiveDirective} ${found.blockedURI} ${found.sample}`));
"""
_AXE_FINDINGS = """
async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(rule => ({
    impact: rule.impact, rule: rule.id, help: rule.help,
    places: rule.nodes.map(node => `${node.target.join(" ")}: ${node.failureSummary}`)}))
"""


class Chromium:
    """The browser of this process, started when it is needed first, and gone when the process ends."""

    _one: ClassVar["Chromium | None"] = None

    def __init__(self, path: str) -> None:
        self._path = path
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._thread = ThreadPool(1, 1, "browser")
        # The end of a process waits for threads that are no daemons, and Twisted's own stop only at the reactor's end.
        self._thread.threadFactory = partial(threading.Thread, daemon=True)  # type: ignore[assignment]  # a class there
        self._thread.start()
        atexit.register(self._close)

    @classmethod
    def started(cls) -> "Chromium":
        """The one of this process.

        :raises unittest.SkipTest: if Chromium is missing.
        """
        if cls._one is None:
            cls._one = cls(program("chromium"))
        return cls._one

    async def run(self, journey: Callable[[Browser], Told]) -> Told:
        """Have something done with the browser, in its thread."""
        done: Told = await deferToThreadPool(reactor, self._thread, self._do, journey)
        return done

    def _do(self, journey: Callable[[Browser], Told]) -> Told:
        if self._browser is None or not self._browser.is_connected():
            if self._playwright is None:
                self._playwright = sync_playwright().start()
                expect.set_options(timeout=PATIENCE_SECONDS * 1000)
            self._browser = self._playwright.chromium.launch(executable_path=self._path)
        return journey(self._browser)

    def _close(self) -> None:
        closed = threading.Event()
        self._thread.callInThread(self._end, closed)
        closed.wait(CLOSING_SECONDS)

    def _end(self, closed: threading.Event) -> None:
        try:
            if self._browser is not None:
                self._browser.close()
            if self._playwright is not None:
                self._playwright.stop()
        finally:
            closed.set()


@attrs.frozen(kw_only=True)
class Eyes:
    """How a viewer looks at a page.

    :ivar theme: ``light`` or ``dark``.
    :ivar language: what the browser asks for.
    """

    theme: str = "light"
    width: int = 1440
    height: int = 900
    language: str = "en-GB"
    zone: str = "Europe/Berlin"


class Window:
    """A fresh profile of the browser with one page, and all that went wrong in it.

    It lives in the browser's thread. Https is as far as it can be trusted here: the site's authority is known to no
    browser, so certificates are not verified.

    :param origin: where the page may send requests, such as ``https://127.0.0.1:4711``.
    :ivar page: the page.
    :ivar wrong: what went wrong so far: errors on the console, exceptions that nobody caught, alerts, requests to other
        hosts, and what the page's own Content-Security-Policy forbids.
    """

    def __init__(self, browser: Browser, origin: str, eyes: Eyes) -> None:
        self.wrong: list[str] = []
        self.origin = origin
        self.context: BrowserContext = browser.new_context(
            ignore_https_errors=True,
            color_scheme="dark" if eyes.theme == "dark" else "light",
            viewport={"width": eyes.width, "height": eyes.height},
            locale=eyes.language,
            timezone_id=eyes.zone,
            reduced_motion="reduce",
            accept_downloads=True,
        )
        self.context.set_default_timeout(PATIENCE_SECONDS * 1000)
        self.context.expose_binding("tellViolation", lambda _source, words: self.wrong.append(f"policy: {words}"))
        self.context.add_init_script(_TELL_VIOLATIONS)
        self.context.on("console", self._console)
        self.context.on("weberror", lambda found: self.wrong.append(f"exception: {found.error}"))
        self.context.on("request", self._request)
        self.context.on("dialog", self._dialog)
        self.page: Page = self.context.new_page()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not COMES_AGAIN.match(message.text):
            self.wrong.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _dialog(self, dialog: Dialog) -> None:
        if dialog.type == "alert":
            self.wrong.append(f"alert: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"} and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.wrong.append(f"another host: {request.url}")

    def go(self, path: str) -> Page:
        """Go to a page of the site, until it and all that it is made of is there."""
        self.page.goto(self.origin + path, wait_until="load")
        return self.page

    def obstacles(self, impacts: Sequence[str] = GRAVE) -> list[str]:
        """What axe finds on the page as it is now."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate(_AXE_FINDINGS)
        return [
            f"{each['impact']}: {each['rule']} ({each['help']}) at {'; '.join(each['places'])}"
            for each in found
            if each["impact"] in impacts
        ]

    def obstacles_in_both(self) -> list[str]:
        """What axe finds on the page as it is now, in either theme, if its reader has chosen none."""
        found = []
        for theme in ("dark", "light"):
            self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            found += [f"{theme}, {self.page.url}: {each}" for each in self.obstacles()]
        return found

    def answered(self, status: int) -> None:
        """Take what the console says of a page that was asked for, and that has this status, for no error."""
        told = f"Failed to load resource: the server responded with a status of {status} "
        self.wrong[:] = [each for each in self.wrong if told not in each]

    def end(self) -> list[str]:
        """Close the profile; what went wrong in it."""
        for page in self.context.pages:
            # Whatever the page has told is here before the answer to this question is.
            page.evaluate("1")
        self.context.close()
        return self.wrong
