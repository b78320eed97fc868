"""What daemons and operations say, in the reader's language.

Duty: their sentences are written in English where they arise, with names and numbers in them, and stored so. A
catalogue of ``locale/said`` has the sentences with holes (``the list of {0} ended``); here a sentence is found again,
and what stands in its holes is put into the translation. A sentence that no catalogue has stays as it came. Trusts no
sentence: what comes out is escaped as a peer's text is.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from babel.messages.pofile import read_po
from markupsafe import Markup

from smartproxy.backend.page.texts import LOCALE, SOURCE
from smartproxy.logs.render import escape as made_visible

SAID = LOCALE / "said"
MOST = 500
"""Characters that are shown of a sentence; a longer one is not looked for."""
_HOLE = re.compile(r"\{(\d)\}")
COMMAND = re.compile(r".*smartproxy [a-z](?:(?!, |\. )[^';()])*", re.DOTALL)
"""A text that ends within a command."""
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:\.[0-9]+)?(?:Z| UTC|\+00:00)")
"""A time as daemons, operations and entries write it."""
_REMEMBERED = 5_000
_DEEP = 5
"""Sentences within sentences: a fault of a value, in a setting, in a change that was not made."""
_OWN_LEAST = 15
"""A sentence with fewer characters of its own takes single words: "{0} to {1}" would be found in many another."""


class Sentences:
    """The sentences of one language.

    :param known: translations, by the English sentence; holes are ``{0}``, ``{1}`` and so on.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._whole = {_bare(english): text for english, text in known.items() if not _HOLE.search(english)}
        holed = [(english, text) for english, text in known.items() if _HOLE.search(english)]
        # What has most of its own comes first: a sentence of two holes alone would take every other's place.
        holed.sort(key=lambda each: -len(_HOLE.sub("", each[0])))
        self._holed = [(*_pattern(english), text) for english, text in holed]
        self.translated = functools.lru_cache(_REMEMBERED)(self._translated)

    def _translated(self, sentence: str, deep: int = 0) -> str | None:
        """The sentence in this language; ``None`` when it is not known."""
        if len(sentence) > MOST:
            return None
        bare = _bare(sentence)
        found = self._whole.get(bare)
        if found is None and deep < _DEEP:
            found = self._filled(bare, deep + 1)
        head, colon, rest = bare.partition(": ")
        if found is None and colon and deep < _DEEP and (told := self.translated(rest, deep + 1)) is not None:
            found = f"{head}: {told}"
        if found is None:
            return None
        return found.removesuffix(".") + "." * sentence.endswith(".")

    def _filled(self, bare: str, deep: int) -> str | None:
        for longest, pattern, text in self._holed:
            if longest in bare and (match := pattern.fullmatch(bare)):
                given = match.groups()
                parts = [self._part(each, deep) for each in given]
                typed = _typed(text)
                shown = [
                    given if at in typed else part for at, (given, part) in enumerate(zip(given, parts, strict=True))
                ]
                return _HOLE.sub(lambda hole, shown=shown: shown[int(hole[1])], text)  # type: ignore[misc]  # bound here
        return None

    def _part(self, text: str, deep: int) -> str:
        """What stands in a hole: a sentence, several with semicolons between, or a name."""
        several = [self.translated(each, deep) for each in text.split("; ")]
        if len(several) > 1 and None not in several:
            return "; ".join(filter(None, several))
        return self.translated(text, deep) or text


def sentences(language: str) -> Sentences:
    """Those of a language; in English only what the page says instead of a command."""
    file = SAID / f"{language}.po"
    if not file.exists():
        return Sentences({})
    return Sentences(read(file, language))


def read(file: Path, language: str) -> dict[str, str]:
    """The translations of a catalogue, by their English."""
    with file.open("rb") as octets:
        return {str(each.id): str(each.string) for each in read_po(octets, locale=language) if each.id and each.string}


class Saying:
    """Shows sentences of daemons and operations in one language."""

    def __init__(self, language: str) -> None:
        self._foreign = Markup(' lang="en"') if language != SOURCE else ""
        self._known = sentences(language)

    def __call__(self, sentence: object) -> Markup:
        """A sentence in a document, kept apart from the text around it."""
        shown, known = self._shown(sentence)
        foreign = self._foreign if not known and " " in shown else ""
        return Markup("<bdi{}>{}</bdi>").format(foreign, with_times(made_visible(shown, MOST)))

    def plain(self, sentence: object) -> str:
        """A sentence as a text alone, such as for an attribute."""
        return made_visible(self._shown(sentence)[0], MOST)

    def _shown(self, sentence: object) -> tuple[str, bool]:
        text = str(sentence)
        found = self._known.translated(text)
        return text if found is None else found, found is not None


def with_times(text: str) -> Markup:
    """A text whose times are shown in the reader's zone; what else is in it stays text."""
    found, at = Markup(), 0
    for each in _TIME.finditer(text):
        day, clock, seconds = each.group(1), each.group(2), each.group(3) or ":00"
        told = Markup('<time datetime="{day}T{clock}{seconds}Z">{day} {clock} UTC</time>')
        found += Markup.escape(text[at : each.start()]) + told.format(day=day, clock=clock, seconds=seconds)
        at = each.end()
    return found + Markup.escape(text[at:])


def _bare(sentence: str) -> str:
    """A sentence without what its place decides: the case of its first letter, and the full stop."""
    text = sentence.strip().removesuffix(".")
    return text[:1].lower() + text[1:]


@functools.cache
def _typed(text: str) -> frozenset[int]:
    """The holes of a translation that stand in a command: what is typed stays as it is."""
    return frozenset(int(hole[1]) for hole in _HOLE.finditer(text) if COMMAND.fullmatch(text[: hole.start()]))


def _pattern(english: str) -> tuple[str, re.Pattern[str]]:
    """The longest piece without a hole, and what a sentence is compared with."""
    pieces = _HOLE.split(_bare(english))[::2]
    if pieces == ["'", "'"]:
        # A name in quotation marks, whatever its blanks.
        return "'", re.compile("'([^']+)'")
    value = "(.+?)" if len("".join(pieces)) >= _OWN_LEAST else r"(\S+?)"
    return max(pieces, key=len), re.compile(value.join(map(re.escape, pieces)), re.DOTALL)
