"""What the page lets nobody do: change something from elsewhere, without a login, without the scope, or by guessing."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from smartproxy.backend import administrators, passwords, users
from smartproxy.backend.errors import StoreFull
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.user import NewPassword, UserWanted, password, remove
from smartproxy.backend.page.pages import ROUTES
from smartproxy.backend.page.routes import Anyone, Route, Shown
from smartproxy.backend.page.serving import LIST_FORM_OCTETS_MOST
from smartproxy.backend.page.visit import LOGIN_ENDED, PageVisit
from smartproxy.backend.store import Store
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.permissions import AdminRole
from tests.adapters.api_site import Answer
from tests.adapters.page_site import ORIGIN, PASSWORD, PageCase
from tests.unit.sites import NOW

FORBIDDING = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "strict-transport-security": "max-age=31536000",
}
POLICY = {
    **dict.fromkeys(("default-src", "base-uri", "frame-ancestors"), "'none'"),
    **dict.fromkeys(("script-src", "style-src", "img-src", "font-src", "connect-src", "form-action"), "'self'"),
}
"""What answers say, written down once more: a header that is changed by mistake has to be changed here, too."""


async def broken(visit: PageVisit) -> Shown:
    """A page with a fault."""
    raise ZeroDivisionError("secret detail")


async def done(visit: PageVisit) -> Shown:
    """A change."""
    return visit.redirect("/", "<b>done</b>")


async def echoed(visit: PageVisit) -> Shown:
    """What was uploaded."""
    file = visit.form.file("file")
    assert file is not None
    return f"{file.name} {len(file.octets)} {visit.form.one('name')}".encode()


class Logins(PageCase):
    """Who is let in, and for how long."""

    def test_login(self) -> None:
        """User and password open the page that was asked for; the cookie is another one than before, and is guarded."""
        browser = self.browser()
        sent = browser.get("/?q=1")
        self.assertEqual((sent.status, sent.headers["location"]), (303, "/login?next=%2F%3Fq%3D1"))
        before = browser.cookies["__Host-smartproxy"]
        self.assertIn('name="next" value="/?q=1"', browser.get(sent.headers["location"]).body.decode())
        answer = browser.post("/login", {"name": "alice", "password": PASSWORD, "next": "/?q=1"})
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/?q=1"))
        for guard in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"):
            self.assertIn(guard.lower(), answer.headers["set-cookie"].lower())
        self.assertNotIn("domain", answer.headers["set-cookie"].lower())
        self.assertNotEqual(browser.cookies["__Host-smartproxy"], before)
        self.assertIn("alice", browser.get("/").body.decode())
        self.assertNotIn(browser.cookies["__Host-smartproxy"].encode(), self.held())

    def test_administrator_of_the_command(self) -> None:
        """An administrator who was added by the command can log in although the set-up's link has not ended."""
        self.backstage.link.made(HostPort("backend.example", 8443))
        self.assertEqual(self.browser().get("/login").status, 200)
        self.assertFalse(self.backstage.link.open)

    def test_refused_alike(self) -> None:
        """A wrong password and an unknown user are answered alike, and told with the address."""
        answers = [self.browser().log_in(name, word) for name, word in (("alice", "wrong"), ("nobody", PASSWORD))]
        self.assertEqual([each.status for each in answers], [403, 403])
        shown = [re.sub(r"[0-9a-f]{64}|alice|nobody", "", each.body.decode()) for each in answers]
        self.assertEqual(*shown)
        self.assertEqual([each.get("names") for each in self.told_of("page.login_refused")], [["alice"], None])

    def test_unknown_user_costs_the_same(self) -> None:
        """The password of a user who is not there is compared, too."""
        compared: list[str | None] = []
        self.patch(passwords, "fits", lambda stored, typed: bool(compared.append(stored)))  # type: ignore[func-returns-value]  # kept, and false
        self.browser().log_in("nobody")
        self.assertEqual(compared, [None])

    def test_reset_while_compared(self) -> None:
        """A password that is reset while it is compared lets nobody in, and is answered as a wrong one."""
        proves = users.proves

        def overtaken(*given: Any) -> str:
            proved = proves(*given)
            with self.change() as change:
                users.set_password(change, "alice", "another good one")
            return proved

        self.patch(users, "proves", overtaken)
        self.assertEqual(self.browser().log_in("alice").status, 403)
        self.assertEqual([each.get("cause") for each in self.told_of("page.login_refused")], ["page.password"])

    def test_fixation(self) -> None:
        """A cookie that somebody else chose is worth nothing after the login."""
        browser = self.browser()
        browser.cookies["__Host-smartproxy"] = "chosen"
        self.assertEqual(browser.log_in("alice").status, 303)
        other = self.browser()
        other.cookies["__Host-smartproxy"] = "chosen"
        self.assertEqual(other.get("/").status, 303)

    def test_ends(self) -> None:
        """A login ends when its user does nothing; looking again by itself does not prolong it; and at last always."""
        browser = self.browser("alice")
        for _ in range(3):
            self.clock.advance(limits.LOGIN_IDLE_SECONDS - 1)
            self.assertEqual(browser.get("/").status, 200)
        self.clock.advance(limits.LOGIN_IDLE_SECONDS - 1)
        self.assertEqual(browser.get("/live").status, 200)
        self.clock.advance(2)
        self.assertEqual(browser.get("/").status, 303)
        browser = self.browser("alice")
        for _ in range(limits.LOGIN_SECONDS_MOST // 1000):
            self.clock.advance(1000)
            browser.get("/")
        self.clock.advance(999)
        self.assertEqual(browser.get("/").status, 303)

    def test_logout(self) -> None:
        """After the logout the cookie of the login is worth nothing."""
        browser = self.browser("alice")
        kept = dict(browser.cookies)
        answer = browser.post("/logout")
        self.assertEqual((answer.headers["location"], answer.headers.get("clear-site-data")), ("/login", '"cache"'))
        self.assertIn("You are logged out.", browser.get("/login").body.decode())
        browser.cookies = kept
        self.assertEqual(browser.get("/").status, 303)

    def test_back_after_login(self) -> None:
        """Whoever was logged out comes back to the page that it looked at; a change that came too late says so."""
        browser = self.browser("alice")
        self.clock.advance(limits.LOGIN_SECONDS_MOST)
        here, back = f"{ORIGIN}/events?live=1", "/login?next=%2Fevents%3Flive%3D1"
        answer = browser.get("/events/live", HX_Request="true", HX_Current_URL=here)
        self.assertEqual(answer.headers["hx-redirect"], back)
        self.assertIn(b"event: ended\n", browser.get("/sessions/event-stream", Referer=here).body)
        for place in ("https://evil.example/events", f"{ORIGIN}.evil.example/events", f"{ORIGIN}//evil.example/", ""):
            answer = browser.get("/events/live", HX_Request="true", HX_Current_URL=place)
            self.assertEqual(answer.headers["hx-redirect"], "/login", place)
        answer = browser.post("/partners/ACME/disable", Referer=f"{ORIGIN}/partners/ACME")
        self.assertEqual(answer.headers["location"], "/login?next=%2Fpartners%2FACME")
        self.assertIn("You were logged out; nothing was changed.", browser.get("/login").body.decode())

    def test_removed(self) -> None:
        """Another password, or none any more, ends the logins of a user."""
        caller = Caller(name="root", scopes=frozenset("*"))
        browser, other = self.browser("vera"), self.browser("olga")
        perform(self.store, remove, UserWanted(name="vera"), caller, NOW)
        perform(self.store, password, NewPassword(name="olga", password="another four words"), caller, NOW)
        self.assertEqual([browser.get("/").status, other.get("/").status], [303, 303])

    def test_guessing(self) -> None:
        """After some failures each try waits, the right password too; only so many wait."""
        for _ in range(limits.GUESSES_FREE):
            self.browser().log_in("alice", "wrong")
        browser = self.browser()
        browser.get("/login")
        fields = f"csrf={browser.token}&name=alice&password={PASSWORD.replace(' ', '+')}".encode()
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        waiting: list[Deferred[Answer]] = []
        for _ in range(limits.GUESSES_HELD_MOST):
            waiting.append(browser.start("POST", "/login", fields, **form))
            self.agent.flush()
        self.assertEqual(browser.log_in("alice").status, 429)
        for each in waiting:
            self.assertNoResult(each)
        self.clock.advance(limits.GUESS_SECONDS_MOST)
        self.agent.flush()
        self.assertEqual(self.successResultOf(waiting[0]).status, 303)

    def test_flood_of_tries(self) -> None:
        """Few of many refused tries are told one by one, whoever they name and wherever they come from, and all count.

        So are few of the changes that are refused without a login.
        """
        browser = self.browser()
        browser.get("/login")
        fields = f"csrf={browser.token}&name=alice&password=wrong".encode()
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        answers: list[int] = []
        for _ in range(150):
            browser.start("POST", "/login", fields, **form).addCallback(lambda answer: answers.append(answer.status))
            self.agent.flush()
        waiting = 150 - len(answers)
        self.assertEqual((waiting, set(answers)), (limits.GUESSES_HELD_MOST, {403, 429}))
        for number in range(100):
            address = f"192.0.2.{number}"
            self.events.emit("page.refused", cause=Cause.PAGE_FOREIGN, message="x", peer=address, names=[])
            self.events.emit("backend.guessing", cause=Cause.API_GUESSING, message="x", peer=address)
        names = ("page.login_refused", "page.refused", "backend.guessing")
        told = [len(self.told_of(name)) for name in names]
        self.assertEqual(told, [limits.STRANGERS_EVENTS.default, 0, 0])
        self.events.tell_counted()
        counted = dict.fromkeys(names, 0)
        for each in self.told_of("strangers.counted"):
            counted[str(each["event"])] += int(str(each["count"]))
        told[0] += waiting
        self.assertEqual([sum(pair) for pair in zip(told, counted.values(), strict=True)], [150, 100, 100])
        self.clock.advance(limits.GUESS_SECONDS_MOST)
        self.agent.flush()

    def test_only_here(self) -> None:
        """After the login nobody is sent to another site."""
        for place in (
            "//evil.example/",
            "https://evil.example/",
            "/\\evil.example",
            "javascript:alert(1)",
            "/\r\nX: y",
        ):
            browser = self.browser()
            browser.get("/login")
            answer = browser.post("/login", {"name": "alice", "password": PASSWORD, "next": place})
            self.assertEqual(answer.headers["location"], "/", place)

    def test_places_that_are_none(self) -> None:
        """What cannot be read as a place is the overview, wherever it stands; it is no fault of the page."""
        for place in ("//[", "//\u2100.x", "//[::1", "//a]"):
            browser = self.browser()
            answer = browser.get(f"/login?next={quote(place)}")
            self.assertEqual((answer.status, 'name="next" value="/"' in answer.body.decode()), (200, True), place)
            answer = browser.post("/look", {"theme": "dark", "next": place})
            self.assertEqual(answer.headers["location"], "/", place)
            said = (ORIGIN + place).encode().decode("latin-1")
            self.assertEqual(browser.get("/live", Referer=said).headers["location"], "/login", place)
        self.assertEqual(self.told_of("internal.error"), [])

    def test_names_that_nobody_can_have(self) -> None:
        """Such a name is like one that nobody has; the store is not asked what it cannot be asked."""
        for name in ("a\0", "\0", "alice\0"):
            self.assertEqual(self.browser().log_in(name).status, 403, repr(name))
        browser = self.browser("alice")
        for path in ("users/a%00", "partners/a%00", "cas/a%00", "sessions/a%00", "search?q=a%00", "events?name=a%00"):
            self.assertLess(browser.get(f"/{path}").status, 500, path)
        self.assertEqual(self.told_of("internal.error"), [])

    def test_link_from_elsewhere(self) -> None:
        """A link on another site opens the page: its first request has no cookie, and the page asks again by itself."""
        first = self.browser().get("/?a=1&b=2", Sec_Fetch_Site="cross-site")
        self.assertIn('http-equiv="refresh" content="0;url=/?a=1&amp;b=2"', first.body.decode())


class NoRoom(PageCase):
    """A store that takes no changes can be read."""

    def setUp(self) -> None:
        """A user who is logged in, an administrator's token, and a client's."""
        super().setUp()
        self.alice = self.browser("alice")
        with self.change() as change:
            until = NOW + timedelta(days=1)
            role = AdminRole.ADMINISTRATOR
            _, self.root_token = administrators.create(change, "root", role=role, scopes=(), until=until, allowed={"*"})
        self.clock.advance(61)

    def looks(self) -> None:
        """Page and API are looked at, by the user, the administrator and the client."""
        self.assertEqual(self.alice.get("/").status, 200)
        self.assertEqual(self.call("GET", "/admin/partners", token=self.root_token).status, 200)
        self.assertEqual(self.call("GET", "/configuration").status, 200)

    def test_looked_at(self) -> None:
        """That somebody was here is not noted then, and they look all the same; it is noted when there is room."""
        tries: list[object] = []

        def writing(store: Store, *, key: bool = True) -> Any:
            tries.append(store)
            raise StoreFull("the disk")

        patched = self.patch(Store, "writing", writing)
        self.looks()
        self.assertEqual(len(tries), 1)
        self.looks()
        self.assertEqual(len(tries), 1)
        self.clock.advance(61)
        self.looks()
        self.assertEqual(len(tries), 2)
        patched.restore()
        self.clock.advance(61)
        self.looks()
        with self.store.reading() as session:
            (login,) = users.logins(session, NOW)
            self.assertEqual(login.seen, NOW + timedelta(seconds=183))
            (token,) = administrators.listed(session)
            self.assertIsNotNone(token.last_used)


class Changes(PageCase):
    """What is taken from a browser."""

    pages = (
        *ROUTES,
        Route("POST", "/done", Anyone.USER, done),
        Route("POST", "/change", remove, done),
        Route("GET", "/role", AdminRole.ADMINISTRATOR, broken),
        Route("POST", "/echo", Anyone.USER, echoed),
        Route("GET", "/broken", Anyone.USER, broken),
    )

    def test_token(self) -> None:
        """A form without the token of this browser changes nothing; with it, by form or by header, it does."""
        browser, other = self.browser("alice"), self.browser("olga")
        for fields in ({"csrf": ""}, {"csrf": other.token}, {"csrf": "0" * 64}, {"csrf": "é"}):
            self.assertEqual(browser.post("/done", fields).status, 403, fields)
        self.assertEqual(browser.post("/done").status, 303)
        self.assertEqual(browser.post("/done", {"csrf": ""}, X_CSRF_Token=browser.token).status, 303)
        self.assertEqual(self.told_of("page.refused")[0]["cause"], "page.foreign")

    def test_login_has_a_token(self) -> None:
        """Nobody is logged in by a form of another site."""
        answer = self.browser().post("/login", {"name": "alice", "password": PASSWORD})
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.told_of("page.login"), [])

    def test_origin(self) -> None:
        """A request that comes from another origin by what its browser says changes nothing, with the token, too."""
        browser = self.browser("alice")
        for headers in (
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://backend.example"},
        ):
            self.assertEqual(browser.post("/done", None, **headers).status, 403, headers)
        self.assertEqual(browser.post("/done", Origin=ORIGIN, Sec_Fetch_Site="").status, 303)

    def test_roles(self) -> None:
        """A user without the scope is refused, is told what lacks, and it is written down, not in its language."""
        vera = self.browser("vera", Accept_Language="de")
        answer = vera.post("/change")
        self.assertEqual((answer.status, "user:change" in answer.body.decode()), (403, True))
        self.assertEqual(vera.get("/role").status, 403)
        told = {(each["cause"], each["message"]) for each in self.told_of("page.refused")}
        self.assertEqual(told, {("api.scope", Cause.API_SCOPE.meaning)})
        self.assertEqual(self.browser("alice").post("/change").status, 303)

    def test_told_once(self) -> None:
        """What a change tells is shown escaped, once."""
        browser = self.browser("alice")
        browser.post("/done")
        self.assertIn("&lt;b&gt;done&lt;/b&gt;", browser.get("/").body.decode())
        self.assertNotIn("done", browser.get("/").body.decode())

    def test_uploads(self) -> None:
        """A file comes with its name; what is no form, or too large, is refused."""
        browser = self.browser("alice")
        self.assertEqual(browser.upload("/echo", {"name": "x"}, {"file": ("a.pem", b"12345")}).body, b"a.pem 5 x")
        odd = "a\N{RIGHT-TO-LEFT OVERRIDE}b\x01.pem"
        for name, kept in ((odd, b"a_b_.pem"), ("x" * 5000, b"x" * 200), (" ", b"_")):
            self.assertEqual(browser.upload("/echo", {"name": "x"}, {"file": (name, b"1")}).body, kept + b" 1 x", name)
        large = browser.upload("/echo", {}, {"file": ("a.pem", bytes(limits.API_BODY_OCTETS_MOST))})
        self.assertEqual(large.status, 413)
        for media in ("application/json", "text/plain", ""):
            self.assertEqual(browser.post("/echo", Content_Type=media).status, 400, media)

    def test_without_login(self) -> None:
        """Nothing but the login is done for somebody who is not known."""
        for route in self.pages:
            if route.needs is not Anyone.AT_ALL and "<" not in route.path:
                browser = self.browser()
                browser.get("/login")
                answer = browser.get(route.path) if route.method == "GET" else browser.post(route.path)
                if route.streams:
                    # It can be sent nowhere: it is told, and the page loads itself anew.
                    self.assertEqual((answer.status, answer.body), (200, LOGIN_ENDED), route)
                else:
                    self.assertEqual((answer.status, answer.headers["location"][:6]), (303, "/login"), route)

    def test_fault(self) -> None:
        """A fault of the page is told in the log, and not to the browser."""
        answer = self.browser("alice").get("/broken")
        self.assertEqual((answer.status, b"secret detail" in answer.body), (500, False))
        self.assertEqual(len(self.told_of("internal.error")), 1)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_unknown(self) -> None:
        """What is not there, or not so, has a page of its own that leads back."""
        browser = self.browser("alice")
        for status, method, path in ((404, "get", "/nothing"), (405, "post", "/"), (405, "get", "/logout")):
            answer = getattr(browser, method)(path)
            self.assertEqual((answer.status, "To the overview" in answer.body.decode()), (status, True), path)
        self.assertEqual(self.browser().get("/nothing").status, 404)


class Answers(PageCase):
    """What every answer says."""

    def test_headers(self) -> None:
        """Each answer, of whatever kind, forbids what the page does not use."""
        browser = self.browser("alice")
        style = self.backstage.renderer.files.place("look.css")
        for path in ("/", "/login", "/nothing", "/live", style, "/static/none"):
            answer = browser.get(path)
            headers = answer.headers
            self.assertEqual({name: headers.get(name) for name in FORBIDDING}, FORBIDDING, path)
            policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
            self.assertEqual(policy, POLICY, path)
            self.assertNotIn("access-control-allow-origin", headers)
            kind = "text/css" if path == style else "text/html"
            self.assertEqual(headers.get("content-type"), f"{kind}; charset=utf-8" if answer.body else None, path)
        self.assertEqual(browser.get("/").headers["cache-control"], "no-store")
        self.assertIn("immutable", browser.get(style).headers["cache-control"])

    def test_zipped(self) -> None:
        """A file of the page is zipped for a browser that takes it so, and not for one that says that it does not."""
        browser = self.browser()
        style = self.backstage.renderer.files.place("look.css")
        taken = (("br, gzip", True), ("gzip;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.00", False), ("br", False))
        for accepted, zipped in taken:
            answer = browser.get(style, Accept_Encoding=accepted)
            self.assertEqual(answer.headers.get("content-encoding"), "gzip" if zipped else None, accepted)

    def test_paths(self) -> None:
        """A path is taken apart first, and decoded once: a name may hold what takes paths apart."""
        browser = self.browser("alice")
        for sent, name in (("A%2FB", "A/B"), ("%252e%252e", "%2e%2e"), ("%2E%2E%2Fusers", "../users")):
            answer = browser.get(f"/partners/{sent}")
            self.assertEqual((answer.status, f"&#39;{name}&#39;" in answer.body.decode()), (404, True), sent)

    def test_passwords(self) -> None:
        """A field for a password is one for browsers and their keepers of passwords, which fill it."""
        page = self.browser().get("/login").body.decode()
        (field,) = [each for each in re.findall("<input[^>]*>", page) if 'name="password"' in each]
        self.assertIn('type="password"', field)
        self.assertIn('autocomplete="current-password"', field)
        page = self.browser("alice").get("/account").body.decode()
        for each in re.findall('<input[^>]*name="(?:old|new|again|password)[^>]*>', page):
            self.assertIn('type="password"', each)
            self.assertRegex(each, 'autocomplete="(current|new)-password"')

    def test_way_out(self) -> None:
        """Every page has the button that ends the login."""
        browser = self.browser("alice")
        for route in ROUTES:
            if route.method == "GET" and not route.by_itself and "<" not in route.path:
                page = browser.get(route.path).body.decode("utf-8", "replace")
                if page.lower().startswith("<!doctype") and 'id="navigation"' in page:
                    self.assertIn('action="/logout"', page, route.path)

    def test_escaped(self) -> None:
        """What somebody sent is text in a page, in an attribute, too."""
        answer = self.browser().log_in('"><img src=x>', "wrong")
        self.assertEqual(answer.status, 403)
        self.assertIn('value="&#34;&gt;&lt;img src=x&gt;"', answer.body.decode())
        self.assertNotIn("<img", answer.body.decode())

    def test_nothing_inline(self) -> None:
        """No page has a script, a style or an address of another host in it."""
        browser = self.browser("alice")
        for path in ("/", "/login", "/nothing"):
            text = browser.get(path).body.decode()
            for wrong in (r"<script(?![^>]*\bsrc=)", r"<style", r"\sstyle=", r"\son[a-z]+=", r"https?://"):
                self.assertIsNone(re.search(wrong, text), (path, wrong))

    def test_cookies_of_strangers(self) -> None:
        """Whatever a stranger writes into a cookie, the page is shown, and nothing is a fault of ours."""
        for name in ("__Host-smartproxy-told", "__Host-smartproxy-look", "__Host-smartproxy"):
            for value in ("[" * 1999, "%5B" * 600, "null", "%7B%22kind%22%3A1%7D", "%FF", "1e999"):
                browser = self.browser()
                browser.cookies[name] = value
                self.assertEqual(browser.get("/login").status, 200, (name, value))
        self.assertEqual(self.told_of("internal.error"), [])

    def test_look(self) -> None:
        """Theme and language are the reader's choice, before the login, too, or else the browser's."""
        browser = self.browser(Accept_Language="de-AT,de;q=0.9,en;q=0.1")
        self.assertIn('<html lang="de" data-theme="system">', browser.get("/login").body.decode())
        browser.post("/look", {"theme": "dark", "next": "/login"})
        browser.post("/look", {"language": "en", "next": "/login"})
        self.assertIn('<html lang="en" data-theme="dark">', browser.get("/login").body.decode())
        self.assertEqual(browser.post("/look", {"theme": "<x>"}).status, 400)

    def test_api_beside(self) -> None:
        """The API and the daemon's health answer as before."""
        self.assertEqual(self.call("GET", "/hello").status, 200)
        live: Any = self.browser().get("/health/live")
        self.assertEqual((live.status, live.json), (200, {"status": "ok"}))


class Bodies(PageCase):
    """Whose bodies are read."""

    def admits(self, **headers: str) -> int:
        """How many octets of a body with these headers are."""
        request = _Request({name.replace("_", "-").lower(): value for name, value in headers.items()})
        return self.successResultOf(self.root.admits(request))  # type: ignore[arg-type]  # as far as it is asked

    def test_admitted(self) -> None:
        """A form as small as a login is read, whoever sends it; others are read of those who are logged in."""
        form = "application/x-www-form-urlencoded"
        most = str(limits.FORM_OF_STRANGER_OCTETS_MOST)
        self.assertTrue(self.admits(Content_Type=form, Content_Length=most))
        lists = {"Content_Type": "multipart/form-data", "Content_Length": "9999999"}
        for name, octets in (("vera", limits.API_BODY_OCTETS_MOST), ("alice", LIST_FORM_OCTETS_MOST)):
            cookie = self.browser(name).cookies["__Host-smartproxy"]
            self.assertEqual(self.admits(cookie=cookie, **lists), octets, name)
        for length in (str(limits.FORM_OF_STRANGER_OCTETS_MOST + 1), "", "-1", "9" * 30):
            self.assertFalse(self.admits(Content_Type=form, Content_Length=length), length)
        self.assertFalse(self.admits(Content_Type="multipart/form-data", Content_Length="10"))
        cookie = self.browser("alice").cookies["__Host-smartproxy"]
        self.assertTrue(self.admits(Content_Type="multipart/form-data", Content_Length="99999", cookie=cookie))
        self.assertFalse(self.admits(Content_Type="multipart/form-data", Content_Length="10", cookie="other"))

    def test_fields(self) -> None:
        """A form has only so many fields, of whatever type it is; one with more changes nothing."""
        browser = self.browser()
        browser.get("/login")
        many = {f"f{number}": "x" for number in range(limits.FORM_FIELDS_MOST + 1)}
        answer = browser.post("/look", {"theme": "dark", **many})
        self.assertEqual((answer.status, "__Host-smartproxy-look" in browser.cookies), (400, False))
        self.assertEqual(browser.upload("/look", {"theme": "dark", **many}, {}).status, 400)


class _Request:
    """The headers of a request."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def getHeader(self, name: bytes) -> bytes | None:
        """One of them."""
        found = self._headers.get(name.decode())
        return None if found is None else found.encode()

    def getCookie(self, name: bytes) -> bytes | None:
        """The cookie."""
        return self._headers.get("cookie", "").encode() or None
