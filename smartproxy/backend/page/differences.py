"""Differences of entries for people: a row for each value that differs, with what it was and what it is.

Works on the JSON of entries, of any kind, which holds no secret; rules for certificates are told in words.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import attrs

from smartproxy.backend import settings
from smartproxy.backend.certificates import certificate_pin, read_certificates, subject_text
from smartproxy.backend.errors import NotFound
from smartproxy.backend.operations.shapes import EntryDifference
from smartproxy.backend.page.form_fields import worded
from smartproxy.backend.page.texts import later
from smartproxy.backend.setting_values import value_text
from smartproxy.backend.states import EntryKind
from smartproxy.oftp2.roles import Level
from smartproxy.policy.partners import Partner

Row = tuple[str, str | None, str | None]
"""What, before, afterwards; ``None`` for what is not there."""
_SHORT = 16
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
"""A time as entries hold it."""
_LEVELS: Final = frozenset(each.name for each in attrs.fields(Partner) if each.type is Level)
"""A partner's settings that are release levels, which are shown as they are typed."""
_WITHIN: Final = {
    "outbound": later("call"),
    "watching": later("watched"),
    "authority": later("authority"),
    "https": later("https"),
    "page": later("page"),
    "certificate": later("certificate"),
    "planned": later("planned"),
}
"""What holds several values, by the first word of what each is called."""
_CALLED: Final = (
    *(later("store"), later("subject"), later("sha256"), later("not after"), later("since"), later("request")),
    *(later("address"), later("listen address"), later("listen port"), later("created")),
    *(later("valid from"), later("valid until"), later("begins until"), later("text"), later("description")),
    *(later("this update"), later("next update"), later("number")),
    *(later("silent hours"), later("no files days"), later("eerp hours")),
)
"""What values are called that no form of the page asks for."""
_RULES = {
    "certificate": later("certificate"),
    "key": later("key"),
    "subject": later("subject"),
    "san": later("name in the certificate"),
}
"""By what a rule recognizes a partner."""
KINDS: Final = {
    EntryKind.SITE: later("site"),
    EntryKind.SETTING: later("setting"),
    EntryKind.CA: later("ca"),
    EntryKind.PARTNER: later("partner"),
    EntryKind.IDENTITY: later("identity"),
    EntryKind.CLIENT: later("client"),
    EntryKind.LICENCE: later("licence"),
    EntryKind.LIST: later("list"),
    EntryKind.WITHDRAWN: later("withdrawn"),
    EntryKind.IGNORE: later("ignore rule"),
}
"""What each entry is."""


def rows_of(
    differences: Iterable[EntryDifference],
    about: tuple[EntryKind, str] | None = None,
    translate: Callable[[str], str] = str,
) -> list[Row]:
    """The rows of some differences.

    :param about: the entry that the reader is looking at: its rows do not name it.
    :param translate: gives what a value is called in the reader's language.
    """
    found: list[Row] = []
    for each in differences:
        if each.subject is EntryKind.SETTING:
            was, becomes = (_setting(each.name, value, translate) for value in (each.before, each.after))
            found.append((each.name, was, becomes))
            continue
        before, after = (_entry(each.subject, content, translate) for content in (each.before, each.after))
        spoken = partial(_spoken, translate=translate)
        named = (
            ""
            if about == (each.subject, each.name)
            else f"{translate(KINDS[each.subject])} {each.name}".rstrip() + ": "
        )
        found += [
            (named + _called(what, translate), spoken(old), spoken(new)) for what, old, new in compared(before, after)
        ]
        if each.secret:
            found.append((f"{named}secret", "•••", "•••"))
    return found


def compared(before: Any, after: Any) -> Iterator[Row]:
    """The values that differ between two entries, each JSON or ``None``."""
    old, new = dict(_flat(before, "")), dict(_flat(after, ""))
    for what in {**old, **new}:
        was, becomes = old.get(what) or None, new.get(what) or None
        if was != becomes:
            yield what, was, becomes


def _called(what: str, translate: Callable[[str], str]) -> str:
    """What a value is called: one of several that belong together has the name of what it is within."""
    within, _, rest = what.partition(" ")
    if within in _WITHIN:
        return ": ".join(map(translate, [_WITHIN[within], *([rest] if rest else [])]))
    return translate(what)


def _spoken(value: str | None, translate: Callable[[str], str]) -> str | None:
    """A value; a time as people write it, and in the reader's language what is a word of ours."""
    if value is None:
        return None
    if _TIME.fullmatch(value):
        return f"{value[:10]} {value[11:16]} UTC"
    return worded(value, translate) if value.isalpha() and value.islower() else value


def _entry(subject: EntryKind, content: Any, translate: Callable[[str], str]) -> Any:
    """The entry in what a difference holds."""
    if subject is EntryKind.PARTNER and isinstance(content, Mapping):
        return {
            **content["entry"],
            **{name: Level(content["entry"][name]).label for name in _LEVELS},
            "certificates": [_rule(each, content["notes"], translate) for each in content["entry"]["certificates"]],
        }
    if subject is EntryKind.CA and isinstance(content, Mapping):
        return ca_in_words(content)
    return content


def ca_in_words(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """A CA's entry, with its certificates in words instead of PEM."""
    held = read_certificates(content["certificates"].encode("ascii"), content["name"])
    return {**content, "certificates": [f"{subject_text(each)}, SHA-256 {certificate_pin(each)}" for each in held]}


def _setting(name: str, content: Any, translate: Callable[[str], str]) -> str | None:
    """A setting's value; where it is not set, its default."""
    if content is not None:
        return value_text(content["value"])
    try:
        return f"{value_text(settings.default_of(name))} ({translate(later('the default'))})"
    except NotFound:
        return None


def _rule(rule: Mapping[str, Any], notes: Iterable[Mapping[str, Any]], translate: Callable[[str], str]) -> str:
    """A rule for a certificate in words."""
    if "sha256" in rule:
        note = next((each for each in notes if each["sha256"] == rule["sha256"]), None)
        about = f", {note['subject']}, {translate(later('until'))} {note['not_after'][:10]}" if note else ""
        return f"{translate(_RULES[rule['by']])} {rule['sha256'][:_SHORT]}…{about}"
    held = rule.get("serial_number") or rule.get("san")
    return f"{translate(_RULES[rule['by']])} {held}, CA {rule['ca']}"


def _flat(content: Any, before: str) -> Iterator[tuple[str, str]]:
    match content:
        case None:
            return
        case Mapping():
            for key, value in content.items():
                yield from _flat(value, f"{before} {key.replace('_', ' ')}".strip())
        case list():
            yield before, "\n".join(each if isinstance(each, str) else _line(each) for each in content)
        case bool():
            yield before, "yes" if content else "no"
        case _:
            yield before, str(content)


def _line(value: Any) -> str:
    return ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, Mapping) else str(value)
