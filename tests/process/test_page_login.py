"""The login by real calls of a real backend: its cookies, its times, and where passwords do not lie."""

import re
from datetime import UTC, datetime

from smartproxy.backend.operations import user
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.policy.permissions import AdminRole
from tests.process.clock import worked
from tests.process.page_calls import PageAnswer, PageCaller
from tests.process.test_page_rights import PageRightsCase, cookie_of

NAME, PASSWORD = "carol", "four words of one line"
HOSTILE = "\u202e<script>alert(1)</script>"


def without_tokens(text: str) -> str:
    """A document without what differs in every one of them."""
    return re.sub(r"[0-9a-f]{64}", "", text)


class Login(PageRightsCase):
    """Logins of a user with a password."""

    def setUp(self) -> None:
        """Add the user."""
        super().setUp()
        wanted = user.UserAddition(name=NAME, role=AdminRole.ADMINISTRATOR, password=PASSWORD)
        perform(self.store, user.add, wanted, Caller(name="tests", scopes=frozenset("*")), datetime.now(UTC))

    def stranger(self) -> PageCaller:
        """A browser that has seen the form of the login."""
        made = self.caller()
        made.cookie = cookie_of(made.get("/login"))
        return made

    def log_in(self, caller: PageCaller, name: str = NAME, password: str = PASSWORD, **more: str) -> PageAnswer:
        """Send the login's form; a cookie that comes back is the caller's."""
        answer = caller.post("/login", {"name": name, "password": password, **more})
        caller.cookie = cookie_of(answer) or caller.cookie
        return answer

    def test_cookie_attributes(self) -> None:
        """Every cookie goes to this host alone, over https alone, with requests of the page alone, and to no script."""
        caller = self.stranger()
        told = [*self.caller().get("/login").cookies, *self.log_in(caller).cookies]
        told += caller.post("/look", {"theme": "dark"}).cookies
        told += caller.post("/logout").cookies
        self.assertGreaterEqual(len(told), 4)
        for each in told:
            attributes = {part.strip().lower() for part in each.split(";")[1:]}
            self.assertTrue(each.startswith("__Host-"), each)
            self.assertLessEqual({"secure", "httponly", "samesite=strict", "path=/"}, attributes)
            self.assertFalse(any(each.startswith("domain") for each in attributes), each)

    def test_nobody_learns_who_is_a_user(self) -> None:
        """A wrong password and a user who is not there are answered by the same document after the same work."""
        self.log_in(self.stranger(), "nobody", "whatever it may be")
        spent: dict[str, list[float]] = {NAME: [], "dave": []}
        told: dict[str, set[str]] = {NAME: set(), "dave": set()}
        for _ in range(2):
            for name in spent:
                caller = self.stranger()
                before = worked(self.pid)
                answer = self.log_in(caller, name, "whatever it may be")
                spent[name].append(worked(self.pid) - before)
                self.assertEqual(403, answer.status)
                told[name].add(without_tokens(answer.text).replace(name, "NAME"))
        self.assertEqual(told[NAME], told["dave"])
        self.assertEqual(1, len(told[NAME]))
        # The hash that is compared takes the processor a tenth of a second at least; an answer without it a hundredth.
        self.assertGreater(min(spent["dave"]), min(spent[NAME]) / 3, spent)

    def test_hostile_names(self) -> None:
        """A name with markup or characters that turn text round comes back as text, and acts on no reader."""
        answer = self.log_in(self.stranger(), HOSTILE, "whatever it may be")
        self.assertEqual(403, answer.status)
        self.assertNotIn("<script>alert", answer.text)
        answer = self.caller(AdminRole.ADMINISTRATOR).get(f"/{HOSTILE.encode().hex()}?next=%22%3E%3Cscript%3E")
        self.assertEqual(404, answer.status)
        self.assertNotIn('"><script>', answer.text)

    def test_passwords_are_nowhere(self) -> None:
        """Neither the log nor the store has a password that was typed, right or wrong."""
        self.log_in(self.stranger())
        self.log_in(self.stranger(), password="a wrong one that is typed")
        held = b"".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())
        for typed in (PASSWORD, "a wrong one that is typed"):
            self.assertNotIn(typed.encode(), held)
