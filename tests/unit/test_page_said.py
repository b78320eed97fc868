"""What daemons and operations say, found again in a catalogue."""

import ast
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup
from twisted.trial.unittest import SynchronousTestCase

import smartproxy
from smartproxy.backend import condition
from smartproxy.backend.page import overview
from smartproxy.backend.page.differences import KINDS
from smartproxy.backend.page.rendering import digits, peers_text
from smartproxy.backend.page.said import MOST, SAID, Saying, Sentences, read
from smartproxy.backend.states import EntryKind
from smartproxy.logs.catalogue import EVENTS
from smartproxy.net import listeners
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES
from smartproxy.policy.health import RAN_OUT_CODE, Expiry, judge

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

    def test_whole(self) -> None:
        """That something ends is told in one language, whatever it is."""
        for what in (
            *("the certificate of the partner ACME", "the certificate of our identity main"),
            *("the tunnel certificate of the client inner", "the administrator's token erp"),
            "the certificate CN=a,C=DE of the CA Trust Centre",
        ):
            told = Saying("de").plain(f"{what} ends on 2026-12-17 21:48 UTC")
            self.assertTrue(told.endswith(" läuft ab am 2026-12-17 21:48 UTC"), told)

    def test_kinds(self) -> None:
        """Every kind of entry that can differ has a name for readers."""
        self.assertEqual(set(EntryKind), set(KINDS))

    def test_lines(self) -> None:
        """A long number breaks after each sixteen digits, a distinguished name after each of its names."""
        self.assertEqual(digits("0123456789abcdef0123"), Markup("<bdi>0123456789abcdef<wbr>0123</bdi>"))
        self.assertEqual(digits("<b>"), Markup("<bdi>&lt;b&gt;</bdi>"))
        self.assertEqual(peers_text("CN=<b>,C=DE, x"), Markup("<bdi>CN=&lt;b&gt;,<wbr>C=DE, x</bdi>"))


SAYING = {
    *("NotFound", "Unusable", "AlreadyThere", "ChangeRefused", "ChangedMeanwhile", "KeyUnusable", "SecondAwaited"),
    *("ScopeMissing", "BadSettingValue"),
}
"""The exceptions of operations whose texts readers of the page get."""
ELSEWHERE = {"backup.py", "archive.py", "archive_file.py", "rekeying.py", "imports.py", "exports.py"}
"""Modules whose errors only the command meets."""
ABOUT = "what to do about it"
"""What the field of events is for."""
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


def advice_in(node: ast.AST) -> Iterator[str]:
    """The advice that a piece of a source gives: as an argument, in a mapping, by assignment, or by a function."""
    given: list[ast.AST | None] = []
    match node:
        case ast.Call():
            given = [each.value for each in node.keywords if each.arg == "advice"]
        case ast.Dict():
            given = [
                value for key, value in zip(node.keys, node.values, strict=True) if key and said_by(key) == "advice"
            ]
        case ast.Assign():
            given = [node.value] if any(getattr(each, "id", "") == "advice" for each in node.targets) else []
        case ast.FunctionDef(name="advice"):
            given = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
    for expression in given:
        text = None if expression is None else next(filter(None, map(said_by, ast.walk(expression))), None)
        if text and " " in text and text != ABOUT and len(_HOLE.sub("", text)) > _LEAST:
            yield text


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

    def test_advice(self) -> None:
        """What is to be done about an event or a finding is told in German."""
        found = [text for _, tree in sources() for node in ast.walk(tree) for text in advice_in(node)]
        self.assertGreater(len(found), 70)
        ports = [advice for _, advice in [*listeners.CAUSES.values(), listeners.UNUSABLE]]
        self.assertEqual([], self.missing([*found, *ports, *(f"--listen: {each}" for each in ports)]))

    def findings(self) -> tuple[dict[str, set[str]], list[str]]:
        """What the backend can find: for each code its sentences; and what can run out."""
        source = Path(inspect.getfile(condition)).read_text(encoding="utf-8")
        found: dict[str, set[str]] = {}
        for function in [each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.FunctionDef)]:
            words = ""
            for node in sorted(
                (each for each in ast.walk(function) if isinstance(each, ast.Assign | ast.Call)),
                key=lambda each: each.lineno,
            ):
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "words":
                    words = said_by(node.value) or ""
                elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                    found.setdefault(said_by(node.args[0]) or "", set()).add(said_by(node.args[2]) or words)
        calls = [node for _, tree in sources() for node in ast.walk(tree) if isinstance(node, ast.Call)]
        ends = [said_by(each.args[0]) for each in calls if getattr(each.func, "id", "") == "Expiry"]
        return found, [each for each in ends if each and ("client" not in each)]

    def test_findings(self) -> None:
        """What the backend finds has a title on the overview, and is told in German."""
        found, ends = self.findings()
        self.assertGreater(len(found), 7)
        self.assertEqual(found.keys() | {RAN_OUT_CODE}, overview.FINDINGS.keys())
        self.assertEqual([], self.missing(text for texts in found.values() for text in texts))
        self.assertGreater(len(ends), 7)
        for end in ends:
            over = [Expiry(_HOLE.sub("x", end), datetime(2026, 11, 20, tzinfo=UTC))] * 6
            (told,) = judge((), over, datetime(2026, 11, 21, tzinfo=UTC)).findings
            german = self.german.translated(told.sentence) or ""
            self.assertNotRegex(german, " ended on | did ", end)
            self.assertIn("am 2026-11-20", german)

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
        every = "\n".join([*texts, *(f"{each} ended on " for each in self.findings()[1])])
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
