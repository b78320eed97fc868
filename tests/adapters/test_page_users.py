"""Users and tokens on the page, and one's own account with its second factor."""

import html
import re
from datetime import UTC, datetime, timedelta

import segno

from smartproxy.backend import administrators, second_factors, users
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.user import UserAlteration, alter
from smartproxy.backend.user_tables import SecondFactorRow
from smartproxy.policy.permissions import AdminRole
from tests.adapters.page_site import PASSWORD, Browser, PageCase, words
from tests.unit.sites import NOW
from tests.unit.test_second_factors import STEP, code_of

OTHER = "five words of somebody else"


class UsersAndTokens(PageCase):
    """What an administrator sees, and does."""

    def setUp(self) -> None:
        """Log in."""
        super().setUp()
        self.alice = self.browser("alice")
        self.alice.get("/users")

    def roles(self) -> dict[str, tuple[str, bool]]:
        """Users with their roles, and whether they may log in."""
        with self.store.reading() as session:
            return {row.name: (row.entry.role.value, row.entry.enabled) for row in users.listed(session)}

    def test_seen(self) -> None:
        """An auditor sees users, logins and tokens, and no form that would change one; others see nothing of it."""
        with self.change() as change:
            users.add(change, "otto", AdminRole.AUDITOR, PASSWORD)
        page = self.browser("otto").get("/users").body.decode()
        self.assertIn("olga", page)
        self.assertNotIn("/users/add", page)
        self.assertNotIn("/revoke", page)
        for name in ("olga", "vera"):
            self.assertEqual(self.browser(name).get("/users").status, 403)
        page = self.alice.get("/users").body.decode()
        self.assertIn('action="/users/add"', page)
        self.assertNotIn("argon2", page)

    def test_add(self) -> None:
        """A user is added with a role; what is wrong is said at the form."""
        answer = self.alice.post("/users/add", {"name": "bob", "role": "viewer", "password": "short"})
        self.assertEqual(answer.status, 422)
        self.assertIn("12 to 256 characters", answer.body.decode())
        self.assertIn('value="bob"', answer.body.decode())
        for fields in (
            {"name": "bob", "role": "king"},
            {"name": "a b", "role": "viewer"},
            {"name": "olga", "role": "viewer"},
        ):
            self.assertEqual(self.alice.post("/users/add", {**fields, "password": OTHER}).status, 422, fields)
        self.assertEqual(
            self.alice.post("/users/add", {"name": "bob", "role": "viewer", "password": OTHER}).status, 303
        )
        self.assertEqual(self.roles()["bob"], ("viewer", True))
        self.assertEqual(self.browser().log_in("bob", OTHER).status, 303)

    def test_fields(self) -> None:
        """What a value may not be is told with the name of its field, and what a command would do is not told."""
        said = words(self.alice.post("/users/add", {"name": "a b", "role": "viewer", "password": OTHER}))
        self.assertIn("Name: has to be a name of letters", said)
        self.assertNotIn("user add, name", said)
        made = {"token_name": "erp", "scopes": "everything", "until": "2027-01-01"}
        self.assertIn("Scopes: has to be a scope such as", words(self.alice.post("/users/token", made)))
        said = words(self.alice.post("/users/add", {"name": "olga", "role": "viewer", "password": OTHER}))
        self.assertIn("There is a user 'olga' already", said)
        self.assertNotIn("smartproxy user password", said)
        lost = self.alice.get("/partners/NOBODY")
        self.assertIn("There is no partner 'NOBODY'", words(lost))
        self.assertIn('<a href="/partners">Partners</a>', lost.body.decode())
        german = self.browser("alice", Accept_Language="de")
        said = words(german.post("/users/add", {"name": "a b", "role": "viewer", "password": OTHER}))
        self.assertIn("Name: nur Buchstaben", said)
        self.assertIn("Berechtigungen: muss eine Berechtigung wie", words(german.post("/users/token", made)))

    def test_change(self) -> None:
        """Another role, another password, or being disabled logs a user out; each is in the history by the page."""
        for path, fields in (
            ("change", {"role": "viewer"}),
            ("change", {"enabled": "no"}),
            ("change", {"enabled": "yes"}),
            ("password", {"password": OTHER}),
        ):
            password = OTHER if self.browser().log_in("olga", OTHER).status == 303 else PASSWORD
            olga = self.browser()
            olga.log_in("olga", password)
            self.assertEqual(self.alice.post(f"/users/user/olga/{path}", {**fields, "step": "do"}).status, 303)
            self.assertEqual(olga.get("/").status, 303)
            self.clock.advance(3600)
            self.alice.log_in("alice")
            self.alice.get("/users")
        self.assertEqual(self.roles()["olga"], ("viewer", True))
        self.assertEqual(self.browser().log_in("olga", OTHER).status, 303)

    def test_seen_before(self) -> None:
        """What a change makes other is shown before it is made, with the logins that end; it has its reason."""
        self.browser("olga")
        for fields, what, before, after in (
            ({"role": "viewer"}, "Role", "operator", "viewer"),
            ({"enabled": "no"}, "State", "may log in", "disabled"),
        ):
            shown = self.alice.post("/users/user/olga/change", fields)
            self.assertEqual((shown.status, self.roles()["olga"]), (200, ("operator", True)))
            self.assertRegex(words(shown), f"{what} {before} {after} Logins 1 0")
            self.assertIn(f'name="{next(iter(fields))}" value="{fields.popitem()[1]}"', shown.body.decode())
        self.assertEqual(self.alice.post("/users/user/olga/change", {"role": "operator"}).status, 303)
        self.assertIn("it is as it was", words(self.alice.get("/users/user/olga")))
        done = {"role": "viewer", "step": "do", "comment": "left the team"}
        self.assertEqual(self.alice.post("/users/user/olga/change", done).status, 303)
        self.assertEqual(self.roles()["olga"], ("viewer", True))
        self.assertIn("left the team", words(self.alice.get("/audit")))

    def test_own(self) -> None:
        """Nobody is shown how it would change its own account: that it may not is said."""
        answer = self.alice.post("/users/user/alice/change", {"role": "viewer"})
        self.assertEqual((answer.status, "your own account" in answer.body.decode()), (422, True))

    def test_each_other(self) -> None:
        """Of two administrators who disable each other at once one is left: the second one has lost its rights."""
        self.alice.post("/users/user/olga/change", {"role": "administrator", "step": "do"})
        callers = [Caller(name=name, scopes=frozenset("*"), channel=Channel.PAGE) for name in ("alice", "olga")]
        for caller, other in zip(callers, ("olga", "alice"), strict=True):
            wanted = UserAlteration(name=other, enabled=False)
            if caller.name == "alice":
                perform(self.store, alter, wanted, caller, NOW)
            else:
                refused = self.assertRaises(ChangeRefused, perform, self.store, alter, wanted, caller, NOW)
                self.assertIn("log in again", str(refused))
        self.assertEqual((self.roles()["alice"], self.roles()["olga"][1]), (("administrator", True), False))

    def test_disabled(self) -> None:
        """Who is disabled is refused like a wrong password."""
        self.alice.post("/users/user/olga/change", {"enabled": "no", "step": "do"})
        self.assertIn("disabled", self.alice.get("/users").body.decode())
        answer = self.browser().log_in("olga")
        self.assertEqual(answer.status, 403)
        self.assertIn("the password or the code is wrong", answer.body.decode())

    def test_remove(self) -> None:
        """A user is removed if its name is typed; nobody removes itself."""
        self.assertEqual(self.alice.post("/users/user/vera/remove", {"typed": "Vera"}).status, 422)
        self.assertEqual(self.alice.post("/users/user/vera/remove", {"typed": "vera"}).status, 303)
        answer = self.alice.post("/users/user/alice/remove", {"typed": "alice"})
        self.assertEqual((answer.status, "your own account" in answer.body.decode()), (422, True))
        self.assertEqual(set(self.roles()), {"alice", "olga"})
        self.assertEqual(self.alice.get("/users/user/nobody").status, 404)

    def test_logins(self) -> None:
        """Logins are listed with their browsers, and ended."""
        olga = self.browser("olga", User_Agent="Firefox <b>")
        page = self.alice.get("/users").body.decode()
        self.assertIn("Firefox &lt;b&gt;", page)
        (number,) = re.findall(r"/users/login/(\d+)/end", page)
        self.assertEqual(self.alice.post(f"/users/login/{number}/end").status, 303)
        self.assertEqual(olga.get("/").status, 303)
        self.assertEqual(self.alice.post(f"/users/login/{number}/end").status, 404)
        self.assertEqual(self.alice.post("/users/login/x/end").status, 404)

    def test_tokens(self) -> None:
        """A token is shown once, works, and is revoked."""
        fields = {
            "token_name": "deploy",
            "token_role": "viewer",
            "scopes": "partner:change ca:*",
            "until": "2027-03-31",
        }
        self.assertIn("Type the last day", words(self.alice.post("/users/token", {**fields, "until": "soon"})))
        self.assertEqual(self.alice.post("/users/token", {**fields, "scopes": "Partner!"}).status, 422)
        answer = self.alice.post("/users/token", fields)
        token = re.search(r"spa_[A-Za-z0-9_-]{43}", answer.body.decode())
        assert token is not None
        page = self.alice.get("/users").body.decode()
        self.assertNotIn(token[0], page)
        self.assertIn("deploy", page)
        with self.store.reading() as session:
            row = administrators.authenticate(session, token[0])
            assert row is not None
            self.assertEqual(row.entry.scopes, ("partner:change", "ca:*"))
            self.assertEqual(row.entry.until, datetime(2027, 3, 31, 23, 59, 59, tzinfo=UTC))
        self.assertEqual(self.alice.post("/users/token/deploy/revoke").status, 303)
        with self.store.reading() as session:
            self.assertIsNone(administrators.authenticate(session, token[0]))


class OwnAccount(PageCase):
    """What every user does with its own account."""

    def setUp(self) -> None:
        """Log a viewer in."""
        super().setUp()
        self.vera = self.browser("vera")
        self.vera.get("/account")

    def begin(self) -> str:
        """Begin a second factor; its secret."""
        answer = self.vera.post("/account/second-factor", {"old": PASSWORD})
        secret = re.search(r'<blockquote id="totp-key"><bdi>([A-Z2-7]{32})', answer.body.decode())
        assert secret is not None, answer.body.decode()
        return secret[1]

    def set_up(self) -> tuple[str, list[str]]:
        """Set a second factor up; its secret, and the recovery codes."""
        secret = self.begin()
        answer = self.vera.post("/account/second-factor/confirm", {"code": code_of(secret, self.time())})
        return secret, re.findall(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b", answer.body.decode())

    def time(self) -> datetime:
        """The time of the backend."""
        return NOW + timedelta(seconds=self.clock.seconds() - NOW.timestamp())

    def log_in(self, code: str) -> tuple[Browser, int]:
        """Log in with a code; the browser, and the status."""
        browser = self.browser()
        browser.get("/login")
        return browser, browser.post("/login", {"name": "vera", "password": PASSWORD, "code": code}).status

    def test_password(self) -> None:
        """A user changes its password with the old one: other logins end, this one goes on with another cookie."""
        other = self.browser("vera")
        for fields, told in (
            ({"old": "wrong", "password": OTHER, "again": OTHER}, "not your password"),
            ({"old": PASSWORD, "password": OTHER, "again": PASSWORD}, "not the same"),
            ({"old": PASSWORD, "password": "short", "again": "short"}, "12 to 256 characters"),
        ):
            answer = self.vera.post("/account/password", fields)
            self.assertEqual((answer.status, told in answer.body.decode()), (422, True), told)
        before = self.vera.cookies["__Host-smartproxy"]
        fields = {"old": PASSWORD, "password": OTHER, "again": OTHER}
        self.assertEqual(self.vera.post("/account/password", fields).status, 303)
        self.assertNotEqual(self.vera.cookies["__Host-smartproxy"], before)
        self.assertEqual((self.vera.get("/account").status, other.get("/account").status), (200, 303))
        self.assertEqual(self.browser().log_in("vera", OTHER).status, 303)

    def test_second_factor(self) -> None:
        """Set up with the password and a first code; from then on the login needs a code, which counts once."""
        self.assertEqual(self.vera.post("/account/second-factor", {"old": "wrong"}).status, 422)
        self.assertEqual(self.log_in("")[1], 303)
        secret, codes = self.set_up()
        self.assertEqual(len(codes), second_factors.RECOVERY_CODES)
        self.assertNotIn(codes[0], self.vera.get("/account").body.decode())
        self.assertNotIn(secret, self.vera.get("/account").body.decode())
        self.clock.advance(5 * STEP.total_seconds())
        code = code_of(secret, self.time())
        for given, status in (("", 403), ("000000", 403), (code, 303), (code, 403), (codes[0], 303), (codes[0], 403)):
            self.assertEqual(self.log_in(given)[1], status, given)
            self.clock.advance(1)
            self.patch(self.backstage.door, "_guesses", type(self.backstage.door._guesses)())

    def test_qr_code(self) -> None:
        """The same key is shown as a QR code of the address that authenticators take, with a quiet zone and a name."""
        shown = self.vera.post("/account/second-factor", {"old": PASSWORD}).body.decode()
        (address,) = re.findall(r'href="(otpauth://[^"]*)"', shown)
        self.assertIn("SmartProxy", address)
        ((name, box, path),) = re.findall(
            r'<svg class="qr"[^>]*aria-label="([^"]+)" viewBox="([^"]+)".*?d="([^"]+)"', shown
        )
        dark = {
            (int(x) + each, int(y))
            for x, y, width in re.findall(r"M([0-9]+) ([0-9]+)h([0-9]+)v1h-\3z", path)
            for each in range(int(width))
        }
        rows = segno.make(html.unescape(address), error="m", micro=False, boost_error=False).matrix
        self.assertEqual(dark, {(x, y) for y, row in enumerate(rows) for x, module in enumerate(row) if module})
        self.assertEqual((name[:7], box), ("QR code", f"-4 -4 {len(rows) + 8} {len(rows) + 8}"))

    def test_confirm(self) -> None:
        """A wrong first code changes nothing and shows no key, in whichever browser; the right one counts after it."""
        secret = self.begin()
        for browser in (self.vera, self.browser("vera")):
            browser.get("/account")
            answer = browser.post("/account/second-factor/confirm", {"code": "000000"})
            self.assertEqual((answer.status, 'name="code"' in answer.body.decode()), (422, True))
            self.assertNotRegex(answer.body.decode(), "[A-Z2-7]{32}|otpauth")
            self.assertIn("begin anew with your password", words(answer))
        self.assertEqual(self.log_in("")[1], 303)
        right = {"code": code_of(secret, self.time())}
        self.assertEqual(self.vera.post("/account/second-factor/confirm", right).status, 200)

    def test_begun_anew(self) -> None:
        """Whoever begins anew gets another key; the first one is worth nothing any more."""
        first, second = self.begin(), self.begin()
        self.assertNotEqual(first, second)
        old = {"code": code_of(first, self.time())}
        self.assertEqual(self.vera.post("/account/second-factor/confirm", old).status, 422)

    def test_begun_by_somebody_else(self) -> None:
        """What was begun and not confirmed is forgotten with the password, and with a second factor."""
        for forgets in (True, False):
            with self.store.writing() as session:
                second_factors.begin(session, "vera")
            with self.change() as change:
                if forgets:
                    users.forget_second_factor(change, "vera")
                else:
                    users.set_password(change, "vera", OTHER)
            with self.store.reading() as session:
                self.assertIsNone(session.get(SecondFactorRow, "vera"))

    def test_confirm_without_begin(self) -> None:
        """Without the password no key is made, nor shown: a code for nothing that was begun is refused."""
        answer = self.vera.post("/account/second-factor/confirm", {"code": "000000"})
        self.assertEqual((answer.status, "begin anew" in words(answer)), (422, True))
        self.assertNotRegex(answer.body.decode(), "[A-Z2-7]{32}|otpauth")
        with self.store.reading() as session:
            self.assertIsNone(session.get(SecondFactorRow, "vera"))
        self.set_up()
        answer = self.vera.post("/account/second-factor/confirm", {"code": "000000"})
        self.assertNotRegex(answer.body.decode(), "[A-Z2-7]{32}|otpauth")

    def test_turned_off(self) -> None:
        """The user turns it off with the password; an administrator forgets it for somebody who lost the device."""
        self.set_up()
        self.assertEqual(self.vera.post("/account/second-factor/drop", {"old": "wrong"}).status, 422)
        self.assertEqual(self.vera.post("/account/second-factor/drop", {"old": PASSWORD}).status, 303)
        self.assertEqual(self.log_in("")[1], 303)
        self.clock.advance(5 * STEP.total_seconds())
        self.vera.get("/account")
        self.set_up()
        alice = self.browser("alice")
        self.assertIn("second factor", alice.get("/users").body.decode())
        self.assertEqual(alice.post("/users/user/vera/forget-second-factor").status, 303)
        self.assertEqual(self.vera.get("/account").status, 303)
        self.assertEqual(self.log_in("")[1], 303)

    def test_logins(self) -> None:
        """A user ends its own logins, and nobody else's."""
        other, olga = self.browser("vera"), self.browser("olga")
        (mine,) = re.findall(r"/account/login/(\d+)/end", self.vera.get("/account").body.decode())
        self.assertEqual(self.vera.post(f"/account/login/{mine}/end").status, 303)
        self.assertEqual(other.get("/account").status, 303)
        with self.store.reading() as session:
            theirs = users.logins(session, NOW, "olga")[0].id
        self.assertEqual(self.vera.post(f"/account/login/{theirs}/end").status, 404)
        self.assertEqual(olga.get("/account").status, 200)

    def test_no_token(self) -> None:
        """No token of the API does this: it is nobody's account."""
        with self.change() as change:
            _, token = administrators.create(
                change, "vera", role=AdminRole.VIEWER, scopes=(), until=NOW + timedelta(days=1), allowed={"*"}
            )
        answer = self.call("POST", "/admin/account:drop-second-factor", {}, token=token)
        self.assertEqual(answer.status, 403)
