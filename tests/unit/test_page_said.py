"""What daemons and operations say, found again in a catalogue."""

import ast
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup
from twisted.trial.unittest import SynchronousTestCase

import smartproxy
from smartproxy.backend import condition, consequences
from smartproxy.backend.page import overview
from smartproxy.backend.page.differences import KINDS
from smartproxy.backend.page.rendering import digits, peers_text
from smartproxy.backend.page.said import MOST, SAID, Saying, Sentences, read, with_times
from smartproxy.backend.states import EntryKind
from smartproxy.logs.catalogue import EVENTS
from smartproxy.net import listeners
from smartproxy.policy import narrowing
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES
from smartproxy.policy.health import RAN_OUT_CODE, Expiry, judge
from smartproxy.policy.settings import Deadlines
from smartproxy.relay.deadlines import Timer, not_there

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

    def test_times(self) -> None:
        """Times within a sentence are shown in the reader's zone; what stands around them stays text."""
        shown = Saying("en")("<b> changed it at 2026-11-20T10:00:05Z, until 2026-12-17 21:48 UTC")
        self.assertEqual(
            shown,
            Markup(
                '<bdi>&lt;b&gt; changed it at <time datetime="2026-11-20T10:00:05Z">2026-11-20 10:00 UTC</time>, until '
                '<time datetime="2026-12-17T21:48:00Z">2026-12-17 21:48 UTC</time></bdi>'
            ),
        )
        self.assertEqual(with_times("a day 2026-12-17, and <i>"), Markup("a day 2026-12-17, and &lt;i&gt;"))

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


GREETING = (Timer.OPENING, Timer.AUTHENTICATION, Timer.RESPONDER_BUFFER)
"""The deadlines until which a station, or a called partner, has to have greeted."""
WHOLE = {
    "server.limits.sessions: is -1; has to be between 1 and 100000 sessions; nothing is changed": (
        "server.limits.sessions: ist -1; erlaubt sind 1 bis 100000 Sitzungen. Es wurde nichts geändert"
    ),
    "the partner ended the session with ESID 00": "Der Partner hat die Sitzung mit ESID 00 beendet",
    "the station ended the session with ESID 00": "Die Station hat die Sitzung mit ESID 00 beendet",
    "a certificate of the CA Trust Centre is not trusted any more, and its own may depend on it": (
        "Einem Zertifikat der CA Trust Centre wird nicht mehr vertraut; seines kann darauf beruhen"
    ),
    "2 certificates of the CA odette are not trusted any more, and its own may depend on one of them": (
        "2 Zertifikaten der CA odette wird nicht mehr vertraut; seines kann auf einem davon beruhen"
    ),
    "nothing listens at 0.0.0.0 port 6619 any more": "An 0.0.0.0, Port 6619, nimmt nichts mehr Verbindungen an",
    "its code O1 is not known any more": "Sein Code O1 ist nicht mehr bekannt",
    "generation 64 of the configuration is in force, and not 63: alice changed it at 2026-11-20T10:00:00Z "
    "(generation 64); look again at what the roll-back would change": (
        "In Kraft ist Generation 64 der Konfiguration und nicht 63: alice hat das am 2026-11-20T10:00:00Z geändert "
        "(Generation 64). Sehen Sie noch einmal nach, was das Zurücksetzen ändern würde"
    ),
    "before: is a text; has to be a number of (the number of an event)": (
        "before: muss die Nummer eines Ereignisses sein"
    ),
    "there is no setting 'nope'; 'smartproxy settings show' lists all": "Es gibt keine Einstellung „nope“",
    "none of the certificates of ACME is 'zz'; there are: none": (
        "Keines der Zertifikate von ACME ist „zz“; es gibt keine"
    ),
    "get the CA's new certificates, and load them with the old: smartproxy ca change 'A B'": (
        "Besorgen Sie die neuen Zertifikate der CA, und laden Sie sie mit den alten: smartproxy ca change 'A B'"
    ),
}
"""Sentences as operators met them."""
SAYING = {
    *("NotFound", "Unusable", "AlreadyThere", "ChangeRefused", "ChangedMeanwhile", "KeyUnusable", "SecondAwaited"),
    *("ScopeMissing", "BadSettingValue"),
}
"""The exceptions of operations whose texts readers of the page get."""
ELSEWHERE = {"backup.py", "archive.py", "archive_file.py", "rekeying.py", "imports.py", "exports.py"}
UNSEEN = {
    "operation_requests.py",
    "event_types.py",
    "crew_lane.py",
    "fields.py",
    "log_settings.py",
    "logrc.py",
    "packed_record.py",
    "worker.py",
}
"""Modules whose messages are about what no reader of the page gave, or sees."""
"""Modules whose errors only the command meets."""
ABOUT = "what to do about it"
"""What the field of events is for."""
_LEAST = 5
"""So few characters between values are no sentence."""
_HOLE = re.compile(r"\{\d\}")
TYPED = ("settings set ", "authority https", "trust-list load", "client token ", "client listen")
"""What no page does: these commands are told on it, too."""
_EMPTY = re.compile(r" : |^the (partner|station) \{1\}$")
"""A choice that its function leaves out, or whose words are told by another one."""
_CHOICES_MOST = 64
ENGLISH = {
    *("the", "is", "are", "has", "have", "been", "its", "it", "any", "not", "give", "with", "and", "changed", "does"),
    *("need", "needs", "to", "be", "such", "as", "which", "there", "than", "more", "no", "for", "from", "by", "that"),
    *("this", "or", "of", "lists", "all", "lower", "case", "given", "again"),
}
"""Words that no German sentence has."""
PARTS = {
    "the {0} ": ("partner", "station"),
    "secure authentication is {0}": ("required", "refused"),
    "files with other {0} than": ("originators", "destinations"),
}
"""Holes that hold one of a few words, which every language has in another place."""
COMMAND_TOLD = re.compile(
    r"smartproxy [a-z](?:(?!, |\. )[^;()])*|[a-z_]+(?:[.:_][a-z_*]+)+|`[^`]*`|„[^“]*“|yes oder no", re.DOTALL
)
"""What stays English: commands, names of settings, and words that are typed."""


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


def choices(node: ast.AST | None, names: Mapping[str, list[str]]) -> list[str]:
    """The texts that an expression can be, where it chooses between texts; what else is in it stays a hole.

    :param names: what variables of its function can be.
    """
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp():
            return [*choices(node.body, names), *choices(node.orelse, names)]
        case ast.Name():
            return names.get(node.id, [])
        case ast.FormattedValue(conversion=-1, format_spec=None):
            return choices(node.value, names)
        case ast.JoinedStr(values=values):
            parts = [choices(each, names) or [""] for each in values]
            if all(part != [""] or isinstance(each, ast.Constant) for part, each in zip(parts, values, strict=True)):
                return ["".join(each) for each in itertools.islice(itertools.product(*parts), _CHOICES_MOST)]
            marked = [part if part != [""] else ["\0"] for part in parts]
            found = ["".join(each) for each in itertools.islice(itertools.product(*marked), _CHOICES_MOST)]
            return [_numbered(each) for each in found]
        case _:
            return []


def _numbered(text: str) -> str:
    """A text with numbers in its holes, each of which may be one of a text within it."""
    numbers = itertools.count()
    return re.sub(r"\0|\{\d\}", lambda _: f"{{{next(numbers)}}}", text)


def names_in(function: ast.AST) -> dict[str, list[str]]:
    """What the variables of a function can be, where they are texts."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, texts = node.targets[0].id, choices(node.value, found)
            found[name] = [*found.get(name, texts), *texts] if texts and found.get(name, texts) else []
    return found


def parted(text: str) -> list[str]:
    """A text with each of the words that its first hole is one of, where that is not told by its own function."""
    for hole, words in PARTS.items():
        if hole in text:
            return [text.replace(hole, hole.replace("{0}", each)) for each in words]
    return [text]


def told_by(tree: ast.AST, errors: set[str] | None = None) -> Iterator[str]:
    """Every text that a module's errors, faults of values, and consequences of a change can have.

    :param errors: only of these.
    """
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        names = names_in(function)
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in SAYING:
                    yield from choices(first, names)
                case _ if errors is not None:
                    pass
                case ast.Call(func=ast.Name(id="wrong"), args=[_, _, right]):
                    yield from (f"is a list; has to be {each}" for each in choices(right, names))
                case ast.Call(func=ast.Name(id="_parsed"), args=[_, _, _, right]):
                    yield from (f"has to be {each}" for each in choices(right, names))
                case ast.keyword(arg="message" | "why", value=value):
                    yield from (each for each in choices(value, names) if " " in each)


def late() -> list[str]:
    """What a station, or a partner that is called, did not do in time."""
    told = [not_there(timer, Deadlines()) for timer in GREETING]
    return [f"the {who} {each}" for who in ("partner", "station") for each in told]


def kinds_of(tree: ast.AST) -> Iterator[str]:
    """What is said of a value that is not of the form, or not within the limit, that a module declares."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="form", value=ast.Constant(value=str(form))):
                yield f"has to be {form}"
            case ast.keyword(arg="unit", value=ast.Constant(value=str(unit))):
                yield f"is -1; has to be between 1 and 5 {unit}"
                yield f"is a text; has to be a number of {unit}"


def english_in(german: str) -> set[str]:
    """The words of a sentence that are English for sure; those of a command that it tells are not read."""
    return set(re.findall(r"\b[a-z]+\b", COMMAND_TOLD.sub(" ", german))) & ENGLISH


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
            [],
            self.missing(
                text for each in CERTIFICATE_CAUSES.values() for text in (each.message, each.advice, each.advice_called)
            ),
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
            if name not in ELSEWHERE | UNSEEN:
                told = [text for each in told_by(tree) for text in parted(each) if not _EMPTY.search(text)]
                found += [each for each in told if len(_HOLE.sub("", each)) > _LEAST]
        self.assertGreater(len(found), 200)
        self.assertEqual([], self.missing(found))
        self.assertEqual([], self.half_english(found))

    def half_english(self, texts: Iterable[str]) -> list[str]:
        """The texts whose translation has English words in it."""
        found = [(each, self.german.translated(each) or "") for each in texts]
        return [f"{each} -> {german}" for each, german in found if english_in(_HOLE.sub("", german))]

    def test_values(self) -> None:
        """What is wrong with a value is told in German, whatever its form or its unit is."""
        found = [each for _, tree in sources() for each in kinds_of(tree)]
        self.assertGreater(len(found), 60)
        self.assertEqual([], self.missing(found))
        self.assertEqual([], self.half_english(found))

    def test_whole(self) -> None:
        """Sentences within sentences are German throughout; what is typed, and names, stay as they are."""
        for english, german in WHOLE.items():
            self.assertEqual(self.german.translated(english), german)

    def test_deadlines(self) -> None:
        """What a station, or a partner that is called, did not do in time is told in German."""
        found = late()
        self.assertEqual(len(found), 6)
        self.assertEqual([], self.missing(found))

    def test_consequences(self) -> None:
        """What a change would do to partners is told in German."""
        found = []
        for module in (narrowing, consequences):
            for function in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(function, ast.FunctionDef):
                    names = names_in(function)
                    yields = [each for each in ast.walk(function) if isinstance(each, ast.Yield)]
                    told = [text for each in yields for text in choices(each.value, names)]
                    found += [text for each in told for text in parted(each)]
        self.assertGreater(len(found), 8)
        self.assertEqual([], self.missing(found))

    def test_doubts(self) -> None:
        """What an operation warns of is told in German."""
        found = []
        for _, tree in sources():
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef) and function.name.endswith("doubts"):
                    yields = [each for each in ast.walk(function) if isinstance(each, ast.Yield)]
                    found += [text for each in yields for text in choices(each.value, names_in(function))]
        self.assertGreater(len(found), 10)
        self.assertEqual([], self.missing(found))
        self.assertEqual([], self.half_english(found))

    def test_catalogue(self) -> None:
        """No translation is English in part."""
        self.assertEqual(
            {}, {each: words for each in read(SAID / "de.po", "de").values() if (words := english_in(each))}
        )

    def test_said(self) -> None:
        """Nothing is translated that nobody says: the longest piece of each sentence stands in a source."""
        texts = {text for _, tree in sources() for node in ast.walk(tree) if (text := said_by(node))}
        spoken = Sentences({each: each for each in texts if _HOLE.search(each)})
        for _, tree in sources():
            texts |= {*kinds_of(tree), *(text for each in told_by(tree) for text in parted(each))}
        every = "\n".join([*texts, *late(), *(f"{each} ended on " for each in self.findings()[1])])
        lost = []
        for english in read(SAID / "de.po", "de"):
            piece = max(_HOLE.split(english), key=len).removesuffix(".")
            if piece[1:] not in every and spoken.translated(_HOLE.sub("x", english)) is None:
                lost.append(english)
        self.assertEqual([], lost)

    def test_commands(self) -> None:
        """What an operation answers names no command and no option of one on the page, but what only a command does."""
        english = Sentences(read(SAID / "en.po", "en"))
        found = []
        for name, tree in sources():
            if name not in ELSEWHERE | UNSEEN:
                found += [each for each in told_by(tree, SAYING) if not _EMPTY.search(each)]
        for known in (english, self.german):
            shown = {known.translated(each) or each for each in found}
            told = {each for each in shown if re.search("smartproxy [a-z]|--[a-z]", each)}
            self.assertEqual([], sorted(each for each in told if not any(word in each for word in TYPED)))

    def test_spoken(self) -> None:
        """What the English catalogue says otherwise is said by an operation."""
        every = {text for _, tree in sources() for text in told_by(tree, SAYING)}
        every |= {text for _, tree in sources() for node in ast.walk(tree) if (text := said_by(node)) and "{0}" in text}
        spoken = Sentences({each: each for each in every})
        for english in read(SAID / "en.po", "en"):
            self.assertIsNotNone(spoken.translated(_HOLE.sub("x", english)), english)

    def test_holes(self) -> None:
        """A translation has the holes of its sentence, or fewer, where it says what the page does instead."""
        for english, text in (*read(SAID / "de.po", "de").items(), *read(SAID / "en.po", "en").items()):
            self.assertLessEqual(set(_HOLE.findall(text)), set(_HOLE.findall(english)), english)
