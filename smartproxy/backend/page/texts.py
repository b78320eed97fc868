"""The page's texts in the reader's language: English in the source, other languages from the catalogues in ``locale``.

Catalogues are read with Babel when the page is made; there are no compiled files. Which language a reader gets is the
reader's choice, or else the browser's.
"""

import gettext
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from babel import Locale, UnknownLocaleError, negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

SOURCE = "en"
LOCALE = Path(__file__).parent / "locale"
_HEADER_MOST = 500
_LANGUAGES_MOST = 20


def catalogues(folder: Path = LOCALE) -> Mapping[str, gettext.NullTranslations]:
    """The catalogue of each language, by its code; English needs none."""
    found: dict[str, gettext.NullTranslations] = {SOURCE: gettext.NullTranslations()}
    for file in sorted(folder.glob("*.po")):
        with file.open("rb") as octets:
            catalogue = read_po(octets, locale=file.stem)
        compiled = BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        found[file.stem] = gettext.GNUTranslations(compiled)
    return found


def names(languages: Mapping[str, object]) -> list[tuple[str, str]]:
    """The languages' codes and what their speakers call them."""
    return [(code, (Locale.parse(code).display_name or code).capitalize()) for code in languages]


def language_of(wanted: str, accepted: str, known: Mapping[str, object]) -> str:
    """The language for a reader.

    :param wanted: what the reader chose; empty for nothing.
    :param accepted: what the browser says in ``Accept-Language``.
    """
    if wanted in known:
        return wanted
    try:
        return negotiate_locale(_ranked(accepted), list(known), sep="-") or SOURCE
    except (ValueError, UnknownLocaleError):
        return SOURCE


def _ranked(accepted: str) -> list[str]:
    """The languages of ``Accept-Language``, the most wanted first."""
    ranked = []
    for position, each in enumerate(accepted[:_HEADER_MOST].split(",")[:_LANGUAGES_MOST]):
        code, _, weight = each.strip().partition(";q=")
        try:
            quality = float(weight or 1)
        except ValueError:
            continue
        if code and quality > 0:
            ranked.append((-quality, position, code))
    return [code for _, _, code in sorted(ranked)]


def later(message: str) -> str:
    """A text that is declared here and translated where it is shown."""
    return message
