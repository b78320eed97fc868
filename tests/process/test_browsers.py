"""The browser that tests of the admin page look through: that it sees what is wrong."""

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.process.browsers import AXE, AXE_SHA256, Chromium, Eyes, Window
from tests.process.clock import LIMIT_SECONDS

GOOD = '<!doctype html><html lang="en"><title>Fine</title><link rel="icon" href="data:,"><main><h1>Fine</h1>%s</main>'
POLICY = "default-src 'self'; img-src * data:"


class OnePage(ThreadingHTTPServer):
    """The same page at every path.

    :ivar body: what it has below its heading.
    :ivar script: what it loads.
    """

    daemon_threads = True
    body = script = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _OnePageRequest)
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Serve no longer."""
        self.shutdown()
        self.thread.join()
        self.server_close()


class _OnePageRequest(BaseHTTPRequestHandler):
    server: OnePage

    def do_GET(self) -> None:
        """Answer with the page, or its script."""
        script = self.path == "/x.js"
        self.send_response(200)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Content-Type", f"text/{'javascript' if script else 'html'}; charset=utf-8")
        self.end_headers()
        self.wfile.write((self.server.script if script else GOOD % self.server.body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Seeing(TestCase):
    """What a window finds wrong with a page."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> None:
        """Serve one page."""
        self.served = OnePage()
        self.addCleanup(self.served.end)
        self.origin = f"http://127.0.0.1:{self.served.server_port}"

    async def window(self, journey: Callable[[Window], Any], eyes: Eyes | None = None) -> tuple[Any, list[str]]:
        """What a journey tells, and what went wrong."""

        def look(browser: Any) -> tuple[Any, list[str]]:
            window = Window(browser, self.origin, eyes or Eyes())
            try:
                told = journey(window)
            finally:
                wrong = window.end()
            return told, wrong

        return await Chromium.started().run(look)

    async def wrong(self, body: str, script: str = "") -> list[str]:
        """What goes wrong on a page."""
        self.served.body, self.served.script = body, script
        return (await self.window(lambda window: window.go("/").get_by_role("heading").wait_for()))[1]

    async def test_a_good_page(self) -> None:
        """Nothing is wrong with it, and axe finds nothing in the theme that the viewer has."""
        self.served.body = "<p id=words>words</p>"

        def look(window: Window) -> tuple[list[str], bool]:
            page = window.go("/")
            return window.obstacles(), page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")

        self.assertEqual((([], False), []), await self.window(look))
        self.assertEqual((([], True), []), await self.window(look, Eyes(theme="dark")))

    async def test_console_and_exceptions(self) -> None:
        """An error on the console and an exception that nobody catches are found."""
        wrong = await self.wrong("<script src=/x.js></script>", "console.error('alas'); null.x")
        self.assertEqual(2, len(wrong), wrong)
        self.assertIn("console: alas", wrong[0])
        self.assertIn("exception: Cannot read properties of null", wrong[1])

    async def test_another_host(self) -> None:
        """A request to another host or port is found, whether it is answered or not."""
        wrong = await self.wrong("<img alt=x src=http://127.0.0.1:9/x.png>")
        self.assertIn("another host: http://127.0.0.1:9/x.png", wrong)

    async def test_policy(self) -> None:
        """What the page's own policy forbids is found: a script and a style in the page."""
        wrong = await self.wrong("<p style='color: red'>x</p><script>alert(1)</script>")
        told = [each for each in wrong if each.startswith("policy: ")]
        self.assertEqual(["policy: style-src-attr inline ", "policy: script-src-elem inline "], told)

    async def test_obstacles(self) -> None:
        """A field without a name and text that is hard to read are found."""
        self.served.body = "<input><link rel=stylesheet href=/x.js>"
        found, _ = await self.window(lambda window: window.go("/") and window.obstacles())
        self.assertEqual(["critical: label"], [each.partition(" (")[0] for each in found])

    def test_axe_is_what_was_published(self) -> None:
        """Axe is the file of the npm package."""
        self.assertEqual(AXE_SHA256, hashlib.sha256(AXE.read_bytes()).hexdigest())

    async def test_a_journey_that_fails(self) -> None:
        """Its error is the test's, and the browser goes on for the next one."""

        def fails(_window: Window) -> None:
            raise ZeroDivisionError

        waiting: Deferred[Any] = Deferred.fromCoroutine(self.window(fails))
        await self.assertFailure(waiting, ZeroDivisionError)
        self.assertEqual([], await self.wrong("once more"))
