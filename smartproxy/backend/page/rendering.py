"""Templates made into pages: the one Jinja environment, which escapes whatever it is given.

Duty: render a template in a reader's language, with filters for what is not ours: texts of peers are shown with marks
for characters that could act on the reader. A text of a catalogue is trusted as the template is; what is put into it is
escaped.
"""

import contextlib
import gettext
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from smartproxy.backend.page.said import Saying, with_times
from smartproxy.backend.page.static_files import StaticFiles
from smartproxy.backend.page.texts import SOURCE, catalogues
from smartproxy.logs.fields import utc_of
from smartproxy.logs.render import escape as made_visible
from smartproxy.policy.values import minute

TEMPLATES = Path(__file__).parent / "templates"
PEER_TEXT_MOST = 500
_UNITS = ("B", "kB", "MB", "GB", "TB")
_THOUSAND = 1000
_MINUTE = 60
_DIGITS = 16
_NAMES_END = re.compile(r",(?=\S)")
"""After each name of a distinguished name a line may end."""


class Renderer:
    """Renders templates.

    :ivar files: the page's own files.
    :ivar languages: their catalogues.
    :ivar said: what shows the sentences of daemons and operations, by the language.
    """

    def __init__(self) -> None:
        self.files = StaticFiles()
        self.languages = catalogues()
        self.said = {each: Saying(each) for each in self.languages}
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["static"] = self.files.place
        self._environment.filters.update(
            part=in_path,
            peer=peers_text,
            digits=digits,
            moment=machine_time,
            times=with_times,
            utc=utc,
            octets=pass_context(_octets),
            figure=figure,
            duration=pass_context(_duration),
        )

    def render(self, template: str, language: str, values: Mapping[str, Any]) -> bytes:
        """A page.

        :param values: what the template shows.
        """
        texts = self.languages[language]
        page = self._environment.get_template(template).render(
            **values, language=language, _=_gettext(texts), ngettext=_ngettext(texts), said=self.said[language]
        )
        return page.encode("utf-8", "backslashreplace")


def _gettext(texts: gettext.NullTranslations) -> Callable[..., Markup]:
    def translated(message: str, **values: object) -> Markup:
        return Markup(texts.gettext(message)) % values if values else Markup(texts.gettext(message))  # noqa: S704 - a catalogue's text is the template's

    return translated


def _ngettext(texts: gettext.NullTranslations) -> Callable[..., Markup]:
    def translated(one: str, many: str, count: int, **values: object) -> Markup:
        return Markup(texts.ngettext(one, many, count)) % {"count": count, **values}  # noqa: S704 - as above

    return translated


def in_path(name: str) -> str:
    """A name as one part of a path; what UTF-8 cannot express is a question mark in it."""
    return quote(name, safe="", errors="replace")


def peers_text(text: object, most: int = PEER_TEXT_MOST) -> Markup:
    """A text from outside, with what could act on its reader written out, and kept apart from the text around it."""
    shown = escape(made_visible(str(text), most))
    return Markup("<bdi>{}</bdi>").format(Markup(_NAMES_END.sub(",<wbr>", shown)))  # noqa: S704 - escaped above


def digits(text: object) -> Markup:
    """A long number in hexadecimal digits from outside, which breaks into lines after each sixteen of them."""
    shown = made_visible(str(text), PEER_TEXT_MOST)
    parts = [escape(shown[at : at + _DIGITS]) for at in range(0, len(shown), _DIGITS)]
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(parts))


def machine_time(moment: datetime) -> str:
    """A time for programs."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment_of(told: object) -> datetime | None:
    """The time that an event's text says; ``None`` if it says none."""
    with contextlib.suppress(ValueError):
        return utc_of(str(told))
    return None


def utc(moment: datetime) -> str:
    """A time for readers, in UTC, until the browser shows it in the reader's zone."""
    return minute(moment)


def decimal(text: str, language: str) -> str:
    """A figure with the sign before its decimals that a language has."""
    return text if language == SOURCE else text.replace(".", ",")


def _octets(context: Context, count: float) -> str:
    return decimal(octets_in_words(count), context["language"])


def _duration(context: Context, seconds: float) -> str:
    return decimal(seconds_in_words(seconds), context["language"])


def octets_in_words(count: float) -> str:
    """A number of octets, with three digits and a unit, in English."""
    for unit in _UNITS:
        if count < _THOUSAND or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" or count >= _THOUSAND / 10 else f"{count:.1f} {unit}"
        count /= _THOUSAND
    raise AssertionError


def figure(number: float) -> Markup:
    """A whole number in groups of three digits."""
    return escape(f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}"))


def seconds_in_words(seconds: float) -> str:
    """A span of time, with the units that everybody knows, in English."""
    if seconds < 1:
        return f"{seconds * _THOUSAND:.0f} ms"
    if seconds < _MINUTE and seconds % 1:
        return f"{seconds:.1f} s"
    if seconds < _MINUTE * 2:
        return f"{seconds:.0f} s"
    if seconds < _MINUTE * 120:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _MINUTE / 60:.0f} h"
