"""Commands that sentences tell somebody to type: a name in one of them is one word of it, whatever is in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import smartproxy
from smartproxy.backend import endings, proposals

COMMAND = re.compile(r"smartproxy [a-z][a-z-]*")
OVER = re.compile(r"[';()\n]|, |\. ")
"""What stands after the last word of a command."""


def in_command(told: str) -> bool:
    """Whether what comes next belongs to a command that the text has begun."""
    begun = [*COMMAND.finditer(told)]
    return bool(begun) and not OVER.search(told[begun[-1].end() :])


def unquoted(tree: ast.AST) -> Iterator[str]:
    """The values in commands that no quote() makes one word."""
    for text in [each for each in ast.walk(tree) if isinstance(each, ast.JoinedStr)]:
        told = ""
        for part in text.values:
            if isinstance(part, ast.FormattedValue):
                word = isinstance(part.value, ast.Call) and getattr(part.value.func, "id", "") == "quote"
                if in_command(told) and not word:
                    yield ast.unparse(part.value)
                told += "x"
            elif isinstance(part, ast.Constant):
                told += str(part.value)


class ToldCommands(SynchronousTestCase):
    """What is told to be typed."""

    def test_names(self) -> None:
        """In the sources, every value in a command that is told goes through quote()."""
        root = Path(smartproxy.__file__).parent
        found = {}
        for file in sorted(root.rglob("*.py")):
            path = file.relative_to(root)
            # What the test kit and the daemon's own log name is no advice.
            if path.parts[0] != "testing" and str(path) != "ctl/daemon.py":
                found[str(path)] = [*unquoted(ast.parse(file.read_text(encoding="utf-8")))]
        self.assertEqual({}, {path: words for path, words in found.items() if words})

    def test_seen(self) -> None:
        """A value in a command that is not quoted is found; one after it is not."""
        source = "f\"it: 'smartproxy ca change {name}' changes {what}; or smartproxy ca show {quote(a)} {b}, {c}\""
        self.assertEqual([*unquoted(ast.parse(source))], ["name", "b"])

    def test_partners_end(self) -> None:
        """The end of a partner's certificate tells to add the next one: the old one still counts."""
        self.assertEqual(
            endings.advice("Dahlmann Federn", called=False),
            "ask the partner for its new certificate; if it is pinned, add it beside the old one on the partner's "
            "page, or: smartproxy partner certificate add 'Dahlmann Federn' --certificate FILE",
        )
        self.assertIn(
            "'Dahlmann Federn' --certificate FILE --certificate", endings.advice("Dahlmann Federn", called=True)
        )

    def test_proposals(self) -> None:
        """The decision about a partner's new certificate names it as one word."""
        self.assertIn("partner accept 'Dahlmann Federn'; if not", proposals.advice("Dahlmann Federn"))
