"""``smartproxy admin-token``: tokens for the API, shown once."""

from datetime import timedelta
from pathlib import Path

from smartproxy.backend import administrators
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.operations import admin_token
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.policy.permissions import AdminRole
from tests.unit.commands import CommandCase
from tests.unit.sites import NOW, SiteCase


class Commands(CommandCase):
    """What an operator sees."""

    def test_shown_once(self) -> None:
        """The token is in the answer of its making, and nowhere else: not in the list, not in the store."""
        done = self.do("admin-token", "create", "alice", "--role", "operator", "--scope", "client:read")
        token = done.out.strip()
        self.assertTrue(token.startswith("spa_"))
        self.assertIn("shown only now", done.err)
        (listed,) = self.do("admin-token", "list", "--json").json
        self.assertEqual((listed["name"], listed["role"], listed["scopes"]), ("alice", "operator", ["client:read"]))
        self.assertNotIn(token, str(listed))
        for path in filter(Path.is_file, self.state.rglob("*")):
            self.assertNotIn(token.encode(), path.read_bytes())

    def test_in_a_file(self) -> None:
        """A token in a file is nobody else's to read; where no file can be, no token is made."""
        path = self.folder / "token"
        self.do("admin-token", "create", "alice", "--role", "viewer", "--token-file", str(path))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        nowhere = str(Path(self.folder) / "no" / "token")
        create = ("admin-token", "create", "bob", "--role", "viewer")
        self.assertIn("cannot write", self.refused(*create, "--token-file", nowhere))
        self.assertEqual([each["name"] for each in self.do("admin-token", "list", "--json").json], ["alice"])

    def test_refused(self) -> None:
        """A token that may do nothing, a scope or a name that is none, an end that is over, a name that is taken."""
        create = ("admin-token", "create")
        self.assertIn("give it a role", self.refused(*create, "alice"))
        self.assertIn("scope such as", self.refused(*create, "alice", "--scope", "Partner"))
        self.assertIn("name of letters", self.refused(*create, "a b", "--role", "viewer"))
        self.assertIn("in the future", self.refused(*create, "alice", "--role", "viewer", "--until", "2020-01-01"))
        self.assertIn("ten years", self.refused(*create, "alice", "--role", "viewer", "--until", "20y"))
        self.do(*create, "alice", "--role", "viewer")
        self.assertIn("already", self.refused(*create, "alice", "--role", "viewer"))
        self.assertIn("no token", self.refused("admin-token", "revoke", "bob"))

    def test_scope_of_nothing(self) -> None:
        """A scope that no operation has is refused, with what may have been meant."""
        told = self.refused("admin-token", "create", "erp", "--scope", "partner:chnage")
        self.assertIn("no operation has the scope 'partner:chnage'; did you mean partner:change?", told)
        self.assertIn("has the scope 'frob:*'", self.refused("admin-token", "create", "erp", "--scope", "frob:*"))
        scopes = sorted(
            set().union(*(each.scopes for each in AdminRole)) | {"partner:change", "*:audit", "history:undo"}
        )
        given = [word for each in scopes for word in ("--scope", each)]
        self.do("admin-token", "create", "erp", *given)

    def test_revoked(self) -> None:
        """A token that is revoked is not there any more, and its name is free."""
        for _ in range(2):
            self.do("admin-token", "create", "alice", "--role", "viewer")
            self.do("admin-token", "revoke", "alice")
        self.assertIn("no token yet", self.do("admin-token", "list").out)


class Tokens(SiteCase):
    """What a token is worth."""

    def test_known(self) -> None:
        """A token is known as long as it is not revoked, with the scopes of its role and its own."""
        with self.change() as change:
            _, token = administrators.create(
                change,
                "alice",
                role=AdminRole.VIEWER,
                scopes=("ca:change",),
                until=NOW + timedelta(days=1),
                allowed="*",
            )
        with self.store.reading() as session:
            row = administrators.authenticate(session, token)
            self.assertIsNone(administrators.authenticate(session, token + "x"))
        assert row is not None
        self.assertEqual((row.name, row.entry.may), ("alice", {"*:read", "ca:change"}))
        with self.change() as change:
            administrators.revoke(change, "alice")
        with self.store.reading() as session:
            self.assertIsNone(administrators.authenticate(session, token))

    def test_scope_of_nothing(self) -> None:
        """A scope that no operation has is refused from far, too."""
        caller = Caller(name="alice", scopes=frozenset({"*"}))
        wanted = admin_token.TokenAddition(name="erp", role=None, scopes=("frob:*",))
        self.assertRaises(ChangeRefused, perform, self.store, admin_token.create, wanted, caller, NOW)

    def test_nobody_gives_more_than_they_have(self) -> None:
        """Who may make tokens makes none that may do more."""
        caller = Caller(name="alice", scopes=frozenset({"admin-token:change", "partner:*", "*:read"}))
        for role, scopes, may in (
            (None, ("partner:change", "ca:read"), True),
            (AdminRole.VIEWER, (), True),
            (AdminRole.OPERATOR, (), False),
            (None, ("*",), False),
            (None, ("*:change",), False),
            (None, ("ca:*",), False),
        ):
            wanted = admin_token.TokenAddition(name=f"t{len(scopes)}{role}", role=role, scopes=scopes)
            if may:
                perform(self.store, admin_token.create, wanted, caller, NOW)
            else:
                self.assertRaises(ChangeRefused, perform, self.store, admin_token.create, wanted, caller, NOW)
