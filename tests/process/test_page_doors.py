"""Where people come in or are kept out: login, account, second factor, errors; in a real browser, in both themes."""

import base64
import re
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Page, expect
from sqlalchemy import text
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from smartproxy.backend import users
from smartproxy.backend.operations import user
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.store import Store
from smartproxy.policy import limits
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.site import SITE_NAME, Site
from tests.process.browsers import Window
from tests.process.page_calls import PageCaller
from tests.process.page_sites import LookingCase
from tests.process.sites import reactor, stop

NAME, PASSWORD = "carol", "four words of one line"


def add(store: Store) -> None:
    """Add a user with a password."""
    wanted = user.UserAddition(name=NAME, role=AdminRole.OPERATOR, password=PASSWORD)
    perform(store, user.add, wanted, Caller(name="tests", scopes=frozenset("*")), datetime.now(UTC))


def end(store: Store) -> None:
    """End all logins of the user."""
    with store.writing() as session:
        users.end_logins(session, NAME)


class Doors(LookingCase):
    """A site that has just been made, of which only the backend runs, and a user."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Make the site."""
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """Have a backend whose store has nothing but an authority and the user."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.site = Site(reactor, folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(stop(self.site.programs)))
        ca = str(self.site.certificates / "backend.crt")
        await self.site.smartproxy("authority", "create", "--site", SITE_NAME, "--name", "127.0.0.1", "-o", ca)
        await self.site.start_backend()
        self.look_at(self.site.state, self.site.backend_port)
        await self.in_store(add)

    async def test_guessing(self) -> None:
        """Who guesses is told alike again and again; who is logged in stays so, and who knows the password comes in."""
        carol, guesser = await self.reader(None), await self.reader(None)
        await carol.does(partial(_log_in, PASSWORD))
        await carol.does(_is_in)

        def guess(window: Window) -> None:
            for count in range(limits.GUESSES_FREE + 1):
                _log_in(f"guess number {count}", window)
                window.answered(403)
                expect(window.page.get_by_role("alert")).to_contain_text("the password or the code is wrong")
                assert window.page.get_by_label("User").input_value() == NAME
                assert window.page.get_by_label("Password").input_value() == ""
            found = window.obstacles_in_both()
            assert found == [], found

        await guesser.does(guess)
        self.assertIn("Overview", await carol.goes("/"))
        await guesser.does(partial(_log_in, PASSWORD))
        await guesser.does(_is_in)
        self.assertIn("Overview", await carol.goes("/"))

    async def test_second_factor(self) -> None:
        """It is set up on the account's page; then a password alone is not enough, and a recovery code counts once."""
        carol = await self.reader(None)

        def set_up(window: Window) -> str:
            _log_in(PASSWORD, window)
            page = window.go("/account")
            card = page.locator("#second-factor")
            card.get_by_label("Password").fill("not the password")
            card.get_by_role("button", name="Set it up").click()
            expect(page.get_by_role("alert")).to_contain_text("This is not your password.")
            _has_no_obstacle(window)
            card.get_by_label("Password").fill(PASSWORD)
            card.get_by_role("button", name="Set it up").click()
            key = page.locator("#totp-key").inner_text()
            _has_no_obstacle(window)
            card.get_by_role("textbox", name="Code").fill(_code(key))
            card.get_by_role("button", name="Confirm").click()
            expect(page.get_by_text("Keep these recovery codes")).to_be_visible()
            _has_no_obstacle(window)
            code: str = page.locator("#second-factor pre").inner_text().split()[0]
            page.get_by_role("button", name="Log out").click()
            expect(page.get_by_text("You are logged out.")).to_be_visible()
            return code

        code = await carol.does(set_up)

        def again(window: Window) -> None:
            _log_in(PASSWORD, window)
            window.answered(403)
            expect(window.page.get_by_role("alert")).to_contain_text("the password or the code is wrong")
            _log_in(PASSWORD, window, code)
            _is_in(window)
            expect(window.go("/account").get_by_text("9 recovery codes are left.")).to_be_visible()
            window.page.get_by_role("button", name="Log out").click()
            expect(window.page.get_by_text("You are logged out.")).to_be_visible()
            _log_in(PASSWORD, window, code)
            window.answered(403)
            expect(window.page.get_by_role("alert")).to_contain_text("the password or the code is wrong")

        await carol.does(again)

    async def test_open_page(self) -> None:
        """A page of sessions that stays open when its login ends shows the login by itself, and goes back after it."""
        carol = await self.reader(None)

        def watch(window: Window) -> None:
            _log_in(PASSWORD, window)
            window.go("/sessions")

        await carol.does(watch)
        await self.in_store(end)

        def told(window: Window) -> None:
            expect(window.page.get_by_label("Password")).to_be_visible()
            assert "/login?next=%2Fsessions" in window.page.url, window.page.url

        await carol.does(told)

    async def test_errors(self) -> None:
        """A page that says no says why and leads on: what is not there, not allowed, too old, or done another way."""
        olga = await self.reader(AdminRole.OPERATOR)

        def forged(page: Page) -> None:
            page.evaluate("document.querySelectorAll('[name=csrf]').forEach(each => { each.value = 'x'; })")
            page.get_by_role("button", name="Log out").click()

        def look(window: Window) -> None:
            for path, status, words in (
                ("/nothing-here", 404, "There is nothing at this address"),
                ("/partners/NOBODY", 404, "This is not there"),
                ("/users", 403, "You may not do this"),
                ("/logout", 405, "This cannot be done here"),
            ):
                _says_no(window, window.go(path), status, words)
            page = window.go("/")
            forged(page)
            _says_no(window, page, 403, "This form is not ours, or too old")

        await olga.does(look)
        stranger = await self.reader(None)

        def outside(window: Window) -> None:
            expect(window.go("/partners").get_by_role("heading", name="Log in")).to_be_visible()
            _says_no(window, window.go("/nothing-here"), 404, "There is nothing at this address")

        await stranger.does(outside)

    async def test_broken(self) -> None:
        """What is too large, and what meets a fault of ours, is answered by a page that everybody can read."""
        alice = await self.reader()
        await self.in_store(_damage)

        def look(window: Window) -> None:
            page, most = window.go("/users"), 1024 * 1024
            field = page.locator("input[name=token_name]")
            field.evaluate("(field, most) => { field.value = 'x'.repeat(most); field.form.submit(); }", most)
            _says_no(window, page, 413, "This is too large")
            _says_no(window, window.go("/ignore"), 500, "The page has a fault")

        await alice.does(look)

    async def test_from_elsewhere(self) -> None:
        """Who comes by a link of another site is sent on; the page that does it can be read meanwhile."""
        caller = PageCaller(self.site.backend_port, str(self.site.certificates / "backend.crt"), host="127.0.0.1")
        answer = await deferToThread(caller.get, "/partners", Sec_Fetch_Site="cross-site")
        self.assertIn('<meta http-equiv="refresh" content="0;url=/partners">', answer.text)
        stays = re.sub("<meta http-equiv[^>]*>", "", answer.text)
        stranger = await self.reader(None)

        def look(window: Window) -> None:
            window.page.route("**/stays", lambda route: route.fulfill(body=stays, content_type="text/html"))
            expect(window.go("/stays").get_by_role("link", name="Open it")).to_be_visible()
            _has_no_obstacle(window)

        await stranger.does(look)


def _damage(store: Store) -> None:
    """Have an ignore rule that nobody can read."""
    with store.writing() as session:
        session.execute(text("INSERT INTO ignore_rules (name, entry, hits, told) VALUES ('x', '{}', 0, 0)"))


def _says_no(window: Window, page: Page, status: int, words: str) -> None:
    expect(page.get_by_role("heading", name=words, level=1)).to_be_visible()
    window.answered(status)
    _has_no_obstacle(window)
    page.get_by_role("link", name="To the overview").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def _has_no_obstacle(window: Window) -> None:
    found = window.obstacles_in_both()
    assert found == [], found


def _code(key: str) -> str:
    """What an authenticator with this key shows."""
    return TOTP(base64.b32decode(key), 6, SHA1(), 30).generate(int(time.time())).decode("ascii")


def _log_in(password: str, window: Window, code: str = "") -> None:
    page = window.go("/login")
    page.get_by_label("User").fill(NAME)
    page.get_by_label("Password").fill(password)
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state("load")


def _is_in(window: Window) -> None:
    expect(window.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
