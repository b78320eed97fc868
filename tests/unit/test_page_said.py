"""What daemons and operations say, found again in a catalogue."""

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from markupsafe import Markup
from twisted.trial.unittest import SynchronousTestCase

import smartproxy
from smartproxy.backend.page.said import MOST, SAID, Saying, Sentences, read
from smartproxy.logs.catalogue import EVENTS
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES

KNOWN = {
    "there is no partner {0}; 'smartproxy partner list' shows all": "Es gibt keinen Partner {0}.",
    "{0}; nothing is changed": "{0} Es wurde nichts geändert.",
    "{0} fits {1}": "zu {1} passt {0}",
    "{0} to {1}": "{0} bis {1}",
    "the connection was lost": "die Verbindung ist abgebrochen",
}


class Catalogue(SynchronousTestCase):
    """Sentences of one language."""

    def test_found(self) -> None:
        """A sentence is found whatever its place made of its beginning and end, and with any name in its holes."""
        known = Sentences(KNOWN)
        for said, expected in (
            ("the connection was lost", "die Verbindung ist abgebrochen"),
            ("The connection was lost.", "die Verbindung ist abgebrochen."),
            ("there is no partner A; B; 'smartproxy partner list' shows all", "Es gibt keinen Partner A; B"),
            ("x fits y", "zu y passt x"),
            ("the connection was lost; nothing is changed", "die Verbindung ist abgebrochen Es wurde nichts geändert"),
            ("server.limits: the connection was lost", "server.limits: die Verbindung ist abgebrochen"),
            ("1 to 20", "1 bis 20"),
            ("an operator told the daemon to drain", None),
            ("something else", None),
            ("x" * (MOST + 1), None),
        ):
            self.assertEqual(known.translated(said), expected, said)


class Shown(SynchronousTestCase):
    """Sentences in a document."""

    def test_escaped(self) -> None:
        """What a peer chose stays text, with what acts on a reader written out."""
        shown = Saying("en")("<b> \u202e is no name")
        self.assertEqual(shown, Markup("<bdi>&lt;b&gt; \\u202e is no name</bdi>"))
        self.assertEqual(Saying("en").plain("a list of <b>"), "a list of <b>")

    def test_foreign(self) -> None:
        """What no catalogue knows is marked as English for who listens to the page."""
        self.assertEqual(Saying("de")("what nobody says"), Markup('<bdi lang="en">what nobody says</bdi>'))


SAYING = {
    *("NotFound", "Unusable", "AlreadyThere", "ChangeRefused", "ChangedMeanwhile", "KeyUnusable", "SecondAwaited"),
    *("ScopeMissing", "BadSettingValue"),
}
"""The exceptions of operations whose texts readers of the page get."""
ELSEWHERE = {"backup.py", "archive.py", "archive_file.py", "rekeying.py", "imports.py", "exports.py"}
"""Modules whose errors only the command meets."""
_LEAST = 5
"""So few characters between values are no sentence."""
_HOLE = re.compile(r"\{\d\}")


def sources() -> Iterator[tuple[str, ast.AST]]:
    """All modules but those of the page and the test kit, read."""
    root = Path(smartproxy.__file__).parent
    for file in sorted(root.rglob("*.py")):
        if not {"page", "testing"} & set(file.relative_to(root).parts):
            yield file.name, ast.parse(file.read_text(encoding="utf-8"))


def said_by(node: ast.AST) -> str | None:
    """The text of an expression, with a hole for each value in it; ``None`` if it is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            numbers = itertools.count()
            return "".join(said_by(each) or f"{{{next(numbers)}}}" for each in values)
        case _:
            return None


class Complete(SynchronousTestCase):
    """The German catalogue, held against the sources."""

    def setUp(self) -> None:
        """Read it."""
        self.german = Sentences(read(SAID / "de.po", "de"))

    def missing(self, texts: Iterable[str]) -> list[str]:
        """The texts that have no translation."""
        return [each for each in texts if self.german.translated(each) is None]

    def test_causes(self) -> None:
        """Every cause has a German meaning."""
        self.assertEqual([], self.missing(each.meaning for each in Cause))

    def test_events(self) -> None:
        """Every event has a German description."""
        self.assertEqual([], self.missing(each.doc for each in EVENTS.values()))

    def test_certificates(self) -> None:
        """What is wrong with a certificate, and what to do about it, is told in German."""
        self.assertEqual(
            [], self.missing(text for each in CERTIFICATE_CAUSES.values() for text in (each.message, each.advice))
        )

    def test_errors(self) -> None:
        """What operations answer when they cannot is told in German."""
        found = []
        for name, tree in sources():
            calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call) and name not in ELSEWHERE]
            for call in calls:
                text = said_by(call.args[0]) if getattr(call.func, "id", "") in SAYING and call.args else None
                if text and len(_HOLE.sub("", text)) > _LEAST:
                    found.append(text)
        self.assertGreater(len(found), 80)
        self.assertEqual([], self.missing(found))

    def test_said(self) -> None:
        """Nothing is translated that nobody says: the longest piece of each sentence stands in a source."""
        texts = {text for _, tree in sources() for node in ast.walk(tree) if (text := said_by(node))}
        every = "\n".join(texts)
        lost = []
        for english in read(SAID / "de.po", "de"):
            piece = max(_HOLE.split(english), key=len).removesuffix(".")
            if piece[1:] not in every:
                lost.append(english)
        self.assertEqual([], lost)

    def test_holes(self) -> None:
        """A translation has the holes of its sentence, or fewer, where it says what the page does instead."""
        for english, text in read(SAID / "de.po", "de").items():
            self.assertLessEqual(set(_HOLE.findall(text)), set(_HOLE.findall(english)), english)
