"""The page's templates, read instead of rendered: what none of them may hold, whatever they are given."""

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser

from jinja2 import Environment
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.page.rendering import TEMPLATES, in_path

SPOKEN = frozenset({"alt", "aria-description", "aria-label", "placeholder", "title"})
"""Attributes whose values people read or hear."""
UNSPOKEN = frozenset({"code", "kbd", "pre", "samp", "script", "style"})
"""Elements whose content is the same in every language."""
NAMES = frozenset({"SmartProxy", "OFTP", "OFTP2", "TLS", "UTC", "PEM", "CSV", "JSON", "SHA", "ESID", "RFC", "PKCS"})
ATTRIBUTE = re.compile(r"[a-z][a-z-]*=\"[^\"]*\"")
"""An attribute that a macro makes by itself."""
WORD = re.compile(r"[A-Za-zÄÖÜäöüß]{3,}")
HOLE = "\N{OBJECT REPLACEMENT CHARACTER}"
"""In the place of what a template inserts."""
FORBIDDEN = {
    r"\|\s*safe\b": "marks something as safe: Markup is made where what is in it is escaped",
    r"autoescape\s+false": "escapes no longer",
    r"<script(?![^>]*\bsrc=)": "has a script in it",
    r"<style|\sstyle\s*=": "has a style in it",
    r"\s(on[a-z]+|hx-on[a-z:-]*)\s*=": "has a script in an attribute",
    r"(?:src|href|action)=\"?(?:https?:)?//": "names another host",
    r"javascript:": "has a script in an address",
    r"hx-vals=.js|hx-headers=.js|\bjs:": "has a script that htmx would run",
    r"target=\"_blank\"(?![^>]*noopener)": "lets another window act on this one",
}


def templates() -> Mapping[str, str]:
    """All templates by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.rglob("*.html"))}


class _Spoken(HTMLParser):
    """What people read in a document."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._unspoken = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unspoken += tag in UNSPOKEN
        self.found += [value for name, value in attrs if name in SPOKEN and value]

    def handle_endtag(self, tag: str) -> None:
        self._unspoken -= tag in UNSPOKEN

    def handle_data(self, data: str) -> None:
        if not self._unspoken:
            self.found.append(data)


def untranslatable(text: str) -> Iterator[str]:
    """The words in a template that stand outside of every message."""
    written = []
    for _, kind, value in Environment().lex(text):
        if kind == "data":
            written.append(value)
        elif kind.endswith("_end"):
            written.append(HOLE)
    reader = _Spoken()
    reader.feed("".join(written))
    for each in reader.found:
        yield from (word for word in WORD.findall(ATTRIBUTE.sub(HOLE, each)) if word not in NAMES)


def faults(text: str) -> list[str]:
    """What a template may not hold."""
    found = [why for pattern, why in FORBIDDEN.items() if re.search(pattern, text, re.IGNORECASE)]
    return found + [f"has words of one language: {word}" for word in untranslatable(text)]


class Templates(SynchronousTestCase):
    """The templates as they are."""

    def test_nothing_forbidden(self) -> None:
        """No script, style, other host or escape from escaping, and no word that no catalogue can translate."""
        found = {name: faults(text) for name, text in templates().items()}
        self.assertEqual({}, {name: wrong for name, wrong in found.items() if wrong})

    def test_name_in_a_path(self) -> None:
        """Any name can be a part of a path, also one that UTF-8 cannot express."""
        self.assertEqual(in_path("a/\ud800 \xdf"), "a%2F%3F%20%C3%9F")

    def test_forms(self) -> None:
        """A form that changes something is the component's, which brings the token."""
        for name, text in templates().items():
            forms = re.findall(r"<form\b[^>]*method=\"?post", text, re.IGNORECASE)
            self.assertEqual(1 if name == "components.html" else 0, len(forms), name)
            self.assertNotRegex(text, r"hx-(put|patch|delete)", name)

    def test_imports(self) -> None:
        """Each template that uses a component imports the components with the context, which has the token."""
        for name, text in templates().items():
            if re.search(r"\bc\.[a-z_]+\(", text):
                self.assertRegex(text, r'import "components.html" as c with context', name)


class FaultyTemplates(SynchronousTestCase):
    """That these tests find something."""

    def test_found(self) -> None:
        """Each of them."""
        for text in (
            "<p>{{ x | safe }}</p>",
            "<script>x</script>",
            "<p style='x'>",
            "<a onclick='x'>",
            '<a href="https://evil.example">',
            '<img src="//evil.example">',
            "<p>Hello</p>",
            '<p title="Hello">',
            "<p>{{ _('x') }} hello {% if x %}",
            '<a href="javascript:x">',
            "{% autoescape false %}",
        ):
            self.assertEqual(1, len(faults(text)), text)

    def test_not_found(self) -> None:
        """What is the same in every language, and what a catalogue has."""
        good = (
            '<p class="words" title="{{ _("Hello") }}">{{ _("Hello") }} SmartProxy <code>smartproxy user add</code></p>'
        )
        self.assertEqual([], faults(good))
