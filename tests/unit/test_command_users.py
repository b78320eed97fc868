"""``smartproxy user``: who may log in to the page."""

from argparse import Namespace
from datetime import timedelta
from unittest.mock import Mock, patch

from argon2 import PasswordHasher

from smartproxy.backend import passwords, second_factors, users
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.operations.user import (
    NewPassword,
    UserAddition,
    UserAlteration,
    UserWanted,
    add,
    alter,
    forget_second_factor,
    password,
    remove,
)
from smartproxy.backend.store import Store
from smartproxy.policy import limits
from smartproxy.policy.permissions import AdminRole
from smartproxy.tap.commands.console import CommandFailed, Console
from smartproxy.tap.commands.user import typed_password
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, SiteCase
from tests.unit.test_second_factors import code_of

GOOD = "correct horse battery"
REAL = passwords.HASHER
"""What hashes passwords outside of tests."""


def cheap(case: SiteCase | CommandCase) -> None:
    """Hashes that cost nothing."""
    case.patch(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class Commands(CommandCase):
    """What an operator sees."""

    def setUp(self) -> None:
        """Have a file with a password."""
        super().setUp()
        cheap(self)
        self.words = self.folder / "password"
        self.words.write_text(GOOD + "\nsecond line\n")

    def test_dry_run(self) -> None:
        """What is in no entry of the configuration is told by a dry run, which does not say that nothing would be."""
        given = ("--password-file", str(self.words))
        done = self.do("user", "add", "alice", "--role", "viewer", *given, "--dry-run")
        self.assertIn("the command would do this: user add alice: Add a user of the page.", done.out)
        self.assertNotIn("nothing would change", done.out)
        self.assertEqual(self.do("user", "list", "--json").json, [])
        self.do("user", "add", "alice", "--role", "viewer", *given)
        for words in (("user", "remove", "alice"), ("admin-token", "create", "erp", "--role", "viewer")):
            told = self.do(*words, "--dry-run", "--json").json
            self.assertEqual((told["differences"], told["beside"].split(":")[0]), ([], " ".join(words[:3])))
        self.assertEqual([each["name"] for each in self.do("user", "list", "--json").json], ["alice"])
        self.do("client", "add", "inner")
        self.assertIn("nothing would change", self.do("client", "enable", "inner", "--dry-run").out)

    def test_life(self) -> None:
        """A user is added, listed without the password, gets another one, and is removed."""
        self.do("user", "add", "alice", "--role", "administrator", "--password-file", str(self.words))
        (listed,) = self.do("user", "list", "--json").json
        self.assertEqual((listed["name"], listed["role"], listed["last_login"]), ("alice", "administrator", None))
        self.assertNotIn("argon2", str(listed))
        self.assertIn("never", self.do("user", "list").out)
        self.words.write_text("another good one\n")
        self.assertIn("logins are ended", self.do("user", "password", "alice", "--password-file", str(self.words)).out)
        self.do("user", "remove", "alice")
        self.assertIn("nobody can log in", self.do("user", "list").out)

    def test_change(self) -> None:
        """A user gets another role, is disabled and enabled, and has its second factor forgotten."""
        self.do("user", "add", "alice", "--role", "viewer", "--password-file", str(self.words))
        self.assertIn("say what", self.refused("user", "change", "alice", status=2))
        changed = self.do("user", "change", "alice", "--role", "operator", "--disable", "--json").json
        self.assertEqual((changed["role"], changed["enabled"]), ("operator", False))
        self.assertIn("operator, disabled", self.do("user", "list").out)
        self.assertIn("may log in", self.do("user", "change", "alice", "--enable").out)
        self.assertIn("no second factor", self.refused("user", "change", "alice", "--forget-second-factor"))
        store = Store.open(self.location)
        self.addCleanup(store.close)
        with store.writing() as session:
            secret = second_factors.begin(session, "alice")
            second_factors.confirm(session, "alice", code_of(secret, NOW), NOW)
        self.assertTrue(self.do("user", "list", "--json").json[0]["second_factor"])
        forgotten = self.do("user", "change", "alice", "--forget-second-factor", "--json").json
        self.assertFalse(forgotten["second_factor"])

    def test_asked_twice(self) -> None:
        """A password that is typed is asked for twice; two that differ are none."""
        typed = iter((GOOD, GOOD + "x", GOOD, GOOD))
        terminal = Mock(isatty=lambda: True)
        console = Console(arguments=Namespace(password_file=None), stdin=terminal, ask=lambda prompt: next(typed))
        self.assertRaises(CommandFailed, typed_password, console, "alice")
        self.assertEqual(typed_password(console, "alice"), GOOD)

    def test_refused(self) -> None:
        """A password that is short, or holds a name, or is no text; nobody to ask; a name that is taken."""
        create = ("user", "add", "alice", "--role", "viewer", "--password-file", str(self.words))
        for bad, why in (
            ("short", "12 to 256 characters"),
            ("Alice in chains", "name of the user"),
            ("smartproxy2026", "of the product"),
            ("ababababababab", "repeats"),
            ("", "no password"),
        ):
            self.words.write_text(bad + "\n")
            self.assertIn(why, self.refused(*create))
        self.words.write_text(GOOD)
        self.assertIn("nobody to ask", self.refused("user", "add", "alice", "--role", "viewer"))
        self.do(*create)
        self.assertIn("already", self.refused(*create))
        self.assertIn("no user", self.refused("user", "remove", "bob"))


class Accounts(SiteCase):
    """What an account is worth."""

    def setUp(self) -> None:
        """Add a user."""
        cheap(self)
        super().setUp()
        with self.change() as change:
            users.add(change, "alice", AdminRole.ADMINISTRATOR, GOOD)

    def test_password(self) -> None:
        """The password is known by its hash alone, however its characters are composed; others do not fit."""
        self.assertNotIn(GOOD.encode(), self.held())
        self.assertTrue(users.check_password(self.store, "alice", GOOD))
        self.assertFalse(users.check_password(self.store, "alice", GOOD + " "))
        self.assertFalse(users.check_password(self.store, "bob", GOOD))
        with self.change() as change:
            users.set_password(change, "alice", "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}ne Elefanten")
        self.assertTrue(users.check_password(self.store, "alice", "Gru\N{COMBINING DIAERESIS}ne Elefanten"))

    def test_hash_is_renewed(self) -> None:
        """A hash with weaker parameters is made anew when its user shows the password."""
        strong = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
        self.patch(passwords, "HASHER", strong)
        self.assertTrue(users.check_password(self.store, "alice", GOOD))
        with self.store.reading() as session:
            self.assertIn("t=2", users.find(session, "alice").password)

    def test_set_while_renewed(self) -> None:
        """A password that is set while an old hash is compared stays: the hash of the former one is not renewed."""
        self.patch(passwords, "HASHER", PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
        fits = passwords.fits

        def overtaken(stored: str | None, typed: str) -> bool:
            good = fits(stored, typed)
            with self.change() as change:
                users.set_password(change, "alice", "another good one")
            return good

        with patch.object(passwords, "fits", overtaken):
            users.check_password(self.store, "alice", GOOD)
        self.assertTrue(users.check_password(self.store, "alice", "another good one"))
        self.assertFalse(users.check_password(self.store, "alice", GOOD))

    def test_real_parameters(self) -> None:
        """A hash costs as much as RFC 9106 recommends: argon2id, 64 MiB, 3 passes."""
        self.assertEqual((REAL.memory_cost, REAL.time_cost, REAL.parallelism, REAL.type.name), (65536, 3, 4, "ID"))
        self.assertTrue(REAL.hash(GOOD).startswith("$argon2id$v=19$m=65536,t=3,p=4$"))

    def test_nobody_costs_the_same(self) -> None:
        """A password is compared once with a hash of the same cost, whether there is such a user or not."""
        costs: list[str] = []
        verify = PasswordHasher.verify

        def counted(hasher: PasswordHasher, against: str | bytes, typed: str | bytes) -> bool:
            costs.append(str(against).rpartition("$")[0].rpartition("$")[0])
            return verify(hasher, against, typed)

        with patch.object(PasswordHasher, "verify", counted):
            for name, typed in (("alice", GOOD), ("alice", "wrong"), ("nobody", GOOD)):
                users.check_password(self.store, name, typed)
        self.assertEqual(costs, costs[:1] * 3)

    def test_no_more_than_oneself(self) -> None:
        """Who may change users and no more can neither make, nor take over, nor change, nor remove an administrator."""
        caller = Caller(name="erp", scopes=frozenset({"user:change", "*:read"}))
        perform(self.store, add, UserAddition(name="vera", role=AdminRole.VIEWER, password=GOOD), caller, NOW)
        for operation, wanted in (
            (add, UserAddition(name="eve", role=AdminRole.OPERATOR, password=GOOD)),
            (password, NewPassword(name="alice", password=GOOD)),
            (remove, UserWanted(name="alice")),
            (alter, UserAlteration(name="alice", enabled=False)),
            (alter, UserAlteration(name="alice", role=AdminRole.VIEWER)),
            (forget_second_factor, UserWanted(name="alice")),
            (alter, UserAlteration(name="vera", role=AdminRole.ADMINISTRATOR)),
        ):
            refused = self.assertRaises(ChangeRefused, perform, self.store, operation, wanted, caller, NOW)
            self.assertIn("may not decide", str(refused))
        perform(self.store, alter, UserAlteration(name="vera", enabled=False), caller, NOW)

    def test_changed_before_the_login(self) -> None:
        """Who showed a password that was changed before the login begins, or was disabled, is not logged in."""
        proved = users.proves(self.store, "alice", GOOD, "", NOW)
        with self.change() as change:
            users.set_password(change, "alice", "another good one")
        self.assertRaises(ChangeRefused, users.log_in, self.store, "alice", proved, NOW, "::1", "x")
        proved = users.proves(self.store, "alice", "another good one", "", NOW)
        with self.change() as change:
            users.alter(change, "alice", enabled=False)
        self.assertRaises(ChangeRefused, users.log_in, self.store, "alice", proved, NOW, "::1", "x")
        with self.store.reading() as session:
            self.assertEqual(users.logins(session, NOW), [])

    def test_login_noted_while_the_clock_was_ahead(self) -> None:
        """What a user does after the clock went back is noted: the login is not taken for one that was used later."""
        proved = users.check_password(self.store, "alice", GOOD)
        cookie = users.log_in(self.store, "alice", proved, NOW, "::1", "x")
        back = NOW - timedelta(hours=1)
        self.assertIsNotNone(users.logged_in(self.store, cookie, back))
        self.assertIsNone(users.logged_in(self.store, cookie, back + users.IDLE))

    def test_logins_are_bounded(self) -> None:
        """A user has so many logins at most; the oldest goes first."""
        proved = users.check_password(self.store, "alice", GOOD)
        cookies = [
            users.log_in(self.store, "alice", proved, NOW, "::1", "x") for _ in range(limits.LOGINS_PER_USER_MOST + 1)
        ]
        known = [users.logged_in(self.store, each, NOW) is not None for each in cookies]
        self.assertEqual(known, [False] + [True] * limits.LOGINS_PER_USER_MOST)
