"""``smartproxy history``: what each change did, and the way back."""

import ast
import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from smartproxy.backend.generations import changing
from smartproxy.backend.operations.operation import Effect
from smartproxy.backend.operations.registry import OPERATIONS
from smartproxy.backend.store import Store
from smartproxy.tap import commands
from smartproxy.testing.pki import TestCa, self_signed
from tests.unit.commands import CommandCase

PIN = "ab" * 32
SSID = "server.deadlines.ssid"


class History(CommandCase):
    """A site with a partner, in generation 2."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.do("partner", "add", "ACME", "--code", "O0013000001ACME", "--pin", PIN, "--comment", "new in May")

    def shown(self, number: int) -> list[str]:
        """The lines that say what a generation changed."""
        return self.do("history", "show", str(number)).out.split("\n\n", 1)[1].splitlines()

    def test_comment(self) -> None:
        """The comment on a change stands in the history, with the way it came in."""
        (newest,) = self.do("history", "-n", "1", "--json").json
        self.assertEqual((newest["comment"], newest["way"]), ("new in May", "command"))
        self.assertIn("new in May", self.do("history").out)
        self.assertIn("comment     new in May", self.do("history", "show", "2").out)

    def test_comment_refused(self) -> None:
        """A comment of two lines is refused, and nothing is changed."""
        self.assertIn("comment", self.refused("partner", "disable", "ACME", "--comment", "a\nb"))
        self.assertEqual(len(self.do("history", "--json").json), 2)

    def test_values(self) -> None:
        """A value that differs is a line with the old and the new one, lists with what came and what went."""
        self.do("partner", "change", "ACME", "--lowest-level", "1.4", "--code", "O0013000001ACME", "--code", "O0013B")
        self.assertEqual(self.shown(3), ["partner ACME: codes: added O0013B", "partner ACME: lowest level 2.0 -> 1.4"])
        self.do("settings", "set", SSID, "45")
        self.assertEqual(self.shown(4), [f"{SSID}: 30 (the default) -> 45"])
        self.do("settings", "reset", SSID)
        self.assertEqual(self.shown(5), [f"{SSID}: 45 -> 30 (the default)"])
        self.do("partner", "outbound", "ACME", "--host", "oftp.acme.example", "--verify", "pin")
        self.assertIn("partner ACME: outbound: added host oftp.acme.example", self.shown(6))

    def test_entries(self) -> None:
        """What was added or removed is a line with its values."""
        self.assertIn("partner ACME: added: ", self.shown(2)[0])
        self.assertIn("codes O0013000001ACME", self.shown(2)[0])
        self.do("partner", "remove", "ACME")
        self.assertIn("partner ACME: removed: ", self.shown(3)[0])

    def test_certificates_and_clients(self) -> None:
        """Of a CA it says which certificates came and went; of a client that the token is another one, not which."""
        root, other = TestCa.root("Root"), TestCa.root("Other")
        kit = "O=SmartProxy test kit,C=DE"
        first = self.file("root.pem", root.credential.certificate_pem)
        second = self.file("other.pem", other.credential.certificate_pem)
        self.do("ca", "add", "odette", first)
        self.do("ca", "change", "odette", second)
        self.assertEqual(
            self.shown(4),
            [
                f"ca odette: certificates: removed CN=Root,{kit} (SHA-256 {root.credential.sha256})",
                f"ca odette: certificates: added CN=Other,{kit} (SHA-256 {other.credential.sha256})",
            ],
        )
        self.do("client", "add", "inner")
        self.do("client", "token", "inner")
        self.assertEqual(self.shown(6), ["client inner: another token"])

    def test_nothing(self) -> None:
        """What changes nothing is no generation; one without differences says so; of none, the newest is told."""
        self.do("partner", "enable", "ACME")
        self.assertIn("the newest is 2", self.refused("history", "show", "3"))
        store = Store.open(self.location)
        self.addCleanup(store.close)
        with changing(store, by="alice", what="another password", now=datetime.now(UTC)):
            pass
        self.assertEqual(self.shown(3), ["nothing differs from the generation before"])
        self.assertIn("the newest is 3", self.refused("history", "show", "7"))

    def test_roll_back(self) -> None:
        """It says what it changes and whom it would refuse, and does it with --yes, with a comment of its own."""
        self.do("partner", "add", "BETA", "--code", "O0013000002BETA", "--pin", "cd" * 32)
        self.do("client", "add", "inner")
        tried = self.do("history", "roll-back", "2", "--dry-run")
        self.assertIn("  partner BETA: removed", tried.out)
        self.assertIn("  BETA: it is no partner any more", tried.out)
        self.assertIn("  client inner: access of clients is not given or taken", tried.out)
        self.assertEqual(len(self.do("history", "--json").json), 4)
        done = self.do("history", "roll-back", "2", "--yes", "--comment", "too early", "--json").json
        self.assertEqual((done["generation"], done["to"], done["from"]), (5, 2, 4))
        self.assertEqual(done["refused"], [{"partner": "BETA", "why": "it is no partner any more"}])
        self.assertEqual([each["name"] for each in self.do("partner", "list", "--json").json], ["ACME"])
        newest = self.do("history", "--json").json[-1]
        self.assertEqual((newest["change"], newest["comment"]), ("history roll-back 2", "too early"))

    def test_identity_that_is_gone(self) -> None:
        """A roll-back to a partner that is called with a removed identity names both, and changes nothing."""
        for name in ("main", "second"):
            made = self_signed(name)
            self.do("identity", "import", name, self.file(f"{name}.pem", made.certificate_pem + made.key_pem))
        self.do("partner", "outbound", "ACME", "--host", "oftp.acme.example", "--identity", "second")
        self.do("partner", "outbound", "ACME", "--never")
        self.do("identity", "remove", "second")
        self.assertIn("identity second: removed: certificate subject CN=second", self.shown(7)[0])
        tried = self.do("history", "roll-back", "5", "--dry-run").out
        self.assertIn("identity second: it was removed together with its private key: import it again", tried)
        reason = self.refused("history", "roll-back", "5", "--yes")
        self.assertIn("partner ACME, outbound.identity", reason)
        self.assertIn("nothing is changed", reason)
        self.assertEqual(len(self.do("history", "--json").json), 7)

    def test_asks(self) -> None:
        """Without --yes it asks; where nobody can answer, and after any answer but yes, nothing is changed."""
        self.do("partner", "disable", "ACME")
        self.assertIn("give --yes", self.run_command("history", "roll-back", "2").err)
        for answer, count in ((b"\n", 3), (b"no\n", 3), (b"y\n", 4)):
            terminal = BytesIO(answer)
            terminal.isatty = lambda: True  # type: ignore[method-assign]  # As a terminal says it.
            self.run_command("history", "roll-back", "2", terminal=terminal)
            self.assertEqual(len(self.do("history", "--json").json), count, answer)

    def test_nothing_to_roll_back(self) -> None:
        """To the newest generation there is nothing to do, and no generation is made."""
        self.assertIn("nothing", self.do("history", "roll-back", "2", "--yes").out)
        self.assertEqual(len(self.do("history", "--json").json), 2)


class EveryChange(CommandCase):
    """Whatever changes the configuration."""

    founded = False

    def test_takes_a_comment(self) -> None:
        """Each function of a command that makes a change belongs to an action with --comment."""
        changing, marked = set(), set()
        for path in Path(str(commands.__file__)).parent.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.FunctionDef(name=name) if _changes(path.stem, node) and not name.startswith("_"):
                        changing.add((path.stem, name))
                    case ast.Call(func=ast.Name(id="action"), args=[_, _, _, ast.Name(id=run), *_]) if any(
                        each.arg == "changes" for each in node.keywords
                    ):
                        marked.add((path.stem, run))
        self.assertLess(15, len(changing))
        switches = {(subject, word) for subject in ("client", "partner") for word in ("enable", "disable", "remove")}
        self.assertEqual(changing - marked, switches)
        for subject, word in switches:
            self.assertIn("--comment", self.do(subject, word, "--help").out)
        self.assertNotIn("--comment", self.do("partner", "show", "--help").out)


def _changes(subject: str, function: ast.FunctionDef) -> bool:
    """Whether a function of a command makes a change, by itself or by an operation."""
    source = ast.unparse(function)
    called = re.findall(r"\.call\((?:operations\.)?(\w+)", source)
    declared = {each.work.__name__ for each in OPERATIONS.values() if each.effect is Effect.CHANGE}
    # Families share words: what one of them changes, another only notes.
    declared -= {
        each.work.__name__
        for each in OPERATIONS.values()
        if each.effect is not Effect.CHANGE and each.family.name.replace("-", "_") == subject
    }
    return ".changing(" in source or not declared.isdisjoint(called)
