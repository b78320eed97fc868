"""Who may do what on the page: every route, for each role, with and without what shows that a form is ours."""

import json
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from smartproxy.backend.location import Location
from smartproxy.backend.operations import ignore, partner
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.page.pages import ROUTES
from smartproxy.backend.page.routes import Anyone, Route, scopes_of
from smartproxy.backend.page.visit import COOKIE
from smartproxy.backend.store import Store
from smartproxy.policy.partners import CertificatePin
from smartproxy.policy.permissions import AdminRole, stands_for
from tests.process.backends import BackendsCase
from tests.process.page_calls import FORM, PageAnswer, PageCaller, add_user, examples, log_in, path_of

ROLES = tuple(AdminRole)
OWN = frozenset(
    {"/login", "/logout", "/look", *(route.path for route in ROUTES if route.path.startswith(("/account/", "/login/")))}
)
"""What every user may send: all of it is about this user and this browser alone."""
LINKED = frozenset({"/first/site", "/first/administrator"})
"""What only a browser that showed the one-time link of an empty store may send."""
GUESSES = frozenset({"/login", "/setup/<token>"})
"""What is answered later the more often it fails, whoever asks; so are the forms of ``/account`` with a password."""
TOLD = frozenset({"events", "logins", "alerts", "node_loads", "sqlite_sequence"})
"""Tables that tell of calls, of refused ones, too, and who called last, and how busy the backend is;
and SQLite's count of logins."""
CHANGES = [route for route in ROUTES if route.method == "POST"]


def may(role: AdminRole, route: Route) -> bool:
    """Whether a role has all that a route needs."""
    return all(stands_for(role.scopes, scope) for scope in scopes_of(route.needs))


def cookie_of(answer: PageAnswer) -> str:
    """The page's cookie that an answer sets; empty if it sets none."""
    for each in answer.cookies:
        found = re.match(COOKIE.decode() + "=([^;]*)", each)
        if found:
            return found[1]
    return ""


class PageRightsCase(BackendsCase):
    """A backend with a user of each role."""

    both = False

    def setUp(self) -> None:
        """Add the users, and start the backend."""
        super().setUp()
        self.store = Store.open(Location.of(str(self.state), None, {}))
        self.addCleanup(self.store.close)
        for role in ROLES:
            add_user(self.store, role)
        backend = self.backend()
        self.port, self.pid = backend.port, backend.process.pid

    def caller(self, role: AdminRole | None = None) -> PageCaller:
        """A user of this role who has just logged in; nobody who is known, if none is given."""
        made = PageCaller(self.port, self.ca, log_in(self.store, role) if role else "")
        self.addCleanup(made.close)
        return made

    def held(self) -> str:
        """All that the store holds, but for what tells of calls."""
        with sqlite3.connect(self.state / "smartproxy.db") as store:
            names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            found = {name: store.execute(f'SELECT * FROM "{name}"').fetchall() for name in sorted(set(names) - TOLD)}
        return json.dumps(found, default=repr)


class Roles(PageRightsCase):
    """What each role is answered."""

    def test_declared(self) -> None:
        """Each route is declared once, is a GET or a POST, and only the login can be sent by anybody."""
        asked = [(route.method, route.path) for route in ROUTES]
        self.assertEqual(sorted(set(asked)), sorted(asked))
        self.assertEqual({"GET", "POST"}, {method for method, _ in asked})
        anybody = {route.path for route in CHANGES if route.needs is Anyone.AT_ALL}
        self.assertLessEqual(anybody, {"/login", "/look"} | LINKED)
        free = {route.path for route in CHANGES if isinstance(route.needs, Anyone)}
        self.assertLessEqual(free, OWN | LINKED)

    def test_readers_change_nothing(self) -> None:
        """A viewer and an auditor may send nothing but what is about themselves, and an operator no settings."""
        for role in (AdminRole.VIEWER, AdminRole.AUDITOR):
            sent = {each.path for each in CHANGES if may(role, each)}
            self.assertLessEqual(sent, OWN | LINKED, role)
        for route in CHANGES:
            if route.path.startswith(("/settings", "/users", "/tokens")):
                self.assertFalse(may(AdminRole.OPERATOR, route) and route.path not in OWN, route.path)

    def test_pages(self) -> None:
        """Each page is shown to whoever may see it; others are told which scope is missing, strangers log in first."""
        stranger = self.caller()
        for route in ROUTES:
            if route.method != "GET" or route.needs is Anyone.AT_ALL:
                continue
            answer = stranger.get(path_of(route))
            if route.streams:
                # It can be sent nowhere: it is told, and the page loads itself anew.
                self.assertEqual(200, answer.status, route.path)
                continue
            self.assertEqual(303, answer.status, route.path)
            self.assertTrue(answer.place.startswith("/login"), (route.path, answer.place))
        for role in ROLES:
            user = self.caller(role)
            for route in ROUTES:
                if route.method == "GET" and route.path not in GUESSES:
                    self.judge(role, route, user.get(path_of(route)))

    def test_changes(self) -> None:
        """A form with nothing in it, sent by whoever may not, is refused and changes nothing; strangers log in."""
        stranger, callers = self.caller(), {role: self.caller(role) for role in ROLES}
        before = self.held()
        for route in CHANGES:
            if route.needs is not Anyone.AT_ALL:
                answer = stranger.post(path_of(route))
                self.assertEqual((303, "/login"), (answer.status, answer.place), route.path)
        for role, user in callers.items():
            for route in CHANGES:
                if not may(role, route):
                    self.judge(role, route, user.post(path_of(route)))
        self.assertEqual(before, self.held())
        for role in ROLES:
            for route in CHANGES:
                if may(role, route) and route.path not in LINKED | GUESSES and not route.path.startswith("/account"):
                    self.judge(role, route, self.caller(role).post(path_of(route)))

    def test_first_steps(self) -> None:
        """What sets an empty store up is refused where that is done, whoever sends it."""
        callers = [self.caller(), *(self.caller(role) for role in ROLES)]
        before = self.held()
        for caller in callers:
            if not caller.cookie:
                caller.cookie = cookie_of(caller.get("/login"))
            for path in sorted(LINKED):
                answer = caller.post(path, {"site": "Other GmbH", "name": "mallory", "password": "four words of mine"})
                self.assertEqual(403, answer.status, path)
        self.assertEqual(before, self.held())

    def judge(self, role: AdminRole, route: Route, answer: PageAnswer) -> None:
        """See that an answer is what the route's declaration promises."""
        where = f"{role} {route.method} {route.path}: {answer.status} {answer.place}"
        if may(role, route):
            self.assertNotIn(answer.status, (401, 403, 405, 500, 501), where)
            self.assertFalse(answer.place.startswith("/login") and route.path != "/logout", where)
        else:
            self.assertEqual(403, answer.status, where)
            missing = [scope for scope in scopes_of(route.needs) if not stands_for(role.scopes, scope)]
            for scope in missing:
                self.assertIn(scope, answer.text, where)


class Forms(PageRightsCase):
    """Changes that other sites send in the name of somebody who is logged in."""

    def attacks(self, other: PageCaller) -> Iterator[tuple[str, dict[str, Any]]]:
        """What a form lacks or has that is not from the page."""
        yield "no token", {"token": ""}
        yield "a wrong token", {"token": "0" * 64}
        yield "the token of another browser", {"token": other.token}
        yield "a foreign origin", {"Origin": "https://evil.example"}
        yield "no origin that is told", {"Origin": "null"}
        yield "the origin of another port", {"Origin": "https://localhost:1"}
        yield "from a page of another site", {"Sec-Fetch-Site": "cross-site", "Origin": ""}
        yield "from a page of the same site", {"Sec-Fetch-Site": "same-site", "Origin": ""}

    def test_refused(self) -> None:
        """Each change is refused, whoever is logged in, and nothing in the store is another."""
        user, other = self.caller(AdminRole.ADMINISTRATOR), self.caller(AdminRole.ADMINISTRATOR)
        before = self.held()
        for what, given in self.attacks(other):
            for route in CHANGES:
                answer = user.post(path_of(route), None, **given)
                self.assertEqual(403, answer.status, f"{what}: {route.path}")
        self.assertEqual(before, self.held())
        self.assertEqual(200, user.get("/").status, "the user is still logged in")

    def test_other_encodings(self) -> None:
        """A form of another type than a browser sends is refused: no script of another site can send JSON unasked."""
        user = self.caller(AdminRole.ADMINISTRATOR)
        before = self.held()
        for media in ("application/json", "text/plain", ""):
            for route in CHANGES:
                answer = user.post(path_of(route), None, **{"Content-Type": media})
                self.assertIn(answer.status, (400, 403), f"{media}: {route.path}")
        self.assertEqual(before, self.held())

    def test_get_changes_nothing(self) -> None:
        """What is only looked at changes nothing of what is there; and a change cannot be asked for with GET."""
        tests, now = Caller(name="tests", scopes=frozenset("*")), datetime.now(UTC)
        perform(self.store, ignore.add, ignore.IgnoreAddition(name="KNOWN", rule={"text": "x"}), tests, now)
        entry = {"name": "ACME", "codes": ("O0013000001ACME",), "certificates": (CertificatePin(sha256="a" * 64),)}
        perform(self.store, partner.add, partner.PartnerAddition(partner=entry), tests, now)
        there = {**examples(self.store), "ignore": "KNOWN"}
        user = self.caller(AdminRole.ADMINISTRATOR)
        before = self.held()
        looked = {path_of(route, parts): route for parts in ({}, there) for route in ROUTES if route.method == "GET"}
        for path, route in looked.items():
            if route.path not in GUESSES:
                user.get(path)
        for route in CHANGES:
            if path_of(route, there) not in looked and not route.path.startswith("/setup/"):
                self.assertEqual(405, user.get(path_of(route, there)).status, route.path)
        self.assertEqual(before, self.held())

    def test_by_header(self) -> None:
        """The token may come in a header, as htmx sends it; a wrong one there is refused."""
        user = self.caller(AdminRole.ADMINISTRATOR)
        good = {"Content-Type": FORM, "X-CSRF-Token": user.token}
        self.assertEqual(303, user.post("/look", {"theme": "dark"}, token="", **good).status)
        bad = good | {"X-CSRF-Token": "0" * 64}
        self.assertEqual(403, user.post("/look", {"theme": "dark"}, **bad).status)
