"""Fields of forms made of what policy declares: label, help, unit, default and range stand there, and nowhere else.

A form shows an entry's fields, and what was typed before, with the fault of each beside it; what is sent is read by the
same kinds that read documents. A list is a text with an entry in each line. Field names are the entry's keys, with a
prefix where several classes share a form.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from smartproxy.backend.page.sent_forms import SentForm
from smartproxy.backend.page.texts import later
from smartproxy.policy.schema import ListOf, Optional, SettingDeclaration, declarations
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import Flag, Member, ValueKind, Whole

Translate = Callable[[str], str]
YES, NO = later("yes"), later("no")
_ABBREVIATION = 2
_EXPLAINS_A_WORD = re.compile(r"\w+ = ")


@attrs.frozen(kw_only=True)
class FormField:
    """A field as a template shows it.

    :ivar control: ``text``, ``number``, ``check``, ``choice`` or ``lines``.
    :ivar choices: of a choice, pairs of value and word.
    :ivar unit: of a number.
    :ivar default: what counts where nothing is given, in words; empty where something has to be.
    """

    name: str
    label: str
    help: str
    control: str
    value: str
    choices: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    least: int | None = None
    most: int | None = None
    default: str = ""
    required: bool = False
    fault: str = ""


def fields_of(
    cls: type[Any],
    translate: Translate,
    *,
    entry: Any = None,
    typed: SentForm | None = None,
    faults: Mapping[str, str] | None = None,
    prefix: str = "",
    without: Collection[str] = (),
    known: Mapping[str, Sequence[str]] | None = None,
) -> list[FormField]:
    """The fields of a class that people may set, in their order.

    :param entry: what is shown, unless something was typed; the defaults without one.
    :param typed: what was typed.
    :param faults: what is wrong with a value, by its key.
    :param without: keys that are left out.
    :param known: names that a value can be, by its key: they are chosen instead of typed.
    """
    found = []
    for each in declarations(cls):
        if not each.people.help or each.key in without:
            continue
        value = getattr(entry, each.name) if entry is not None else each.default
        text = _shown(each.kind, None if value is attrs.NOTHING else value)
        name = prefix + each.key
        if typed is not None:
            text = ("on" if typed.checked(name) else "") if plain_kind(each.kind) == Flag() else typed.one(name)
        field = _field(each, name, text, translate, (faults or {}).get(each.key, ""))
        if known is not None and each.key in known:
            names = dict.fromkeys([*known[each.key], *([text] if text else [])])
            choices = (("", field.default), *((one, one) for one in names))
            field = attrs.evolve(field, control="choice", choices=choices)
        found.append(field)
    return found


def read_fields(
    cls: type[Any], form: SentForm, *, prefix: str = "", without: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, str]]:
    """What was typed: the values by the fields' names, and what is wrong with others, by their keys.

    A field that was left empty is its default, or ``None`` where that is allowed.
    """
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for each in declarations(cls):
        if not each.people.help or each.key in without:
            continue
        name = prefix + each.key
        try:
            said = _document(each.kind, form, name)
            if said in (None, [], "") and each.default is not attrs.NOTHING:
                values[each.name] = each.default
            else:
                values[each.name] = each.kind.read(said, each.key)
        except DocumentRefused as refused:
            faults[each.key] = "; ".join(dict.fromkeys(one.message for one in (refused, *refused.others)))
    return values, faults


def label_of(each: SettingDeclaration, translate: Translate) -> str:
    """A field's label."""
    return _capital(translate(each.title))


def value_words(each: SettingDeclaration, value: Any, translate: Translate) -> str:
    """A field's value for people."""
    if value is None:
        return translate(each.people.unset)
    kind = plain_kind(each.kind)
    if isinstance(kind, Member):
        return worded(kind.word(value), translate)
    if isinstance(kind, Flag):
        return translate(YES if value else NO)
    if isinstance(value, tuple):
        return "\n".join(map(str, value))
    return str(value)


def _field(each: SettingDeclaration, name: str, text: str, translate: Translate, fault: str) -> FormField:
    kind, optional = plain_kind(each.kind), isinstance(each.kind, Optional)
    has_default = each.default is not attrs.NOTHING
    default = value_words(each, each.default, translate) if has_default else ""
    made = FormField(
        name=name,
        label=label_of(each, translate),
        help=_capital(translate(each.people.help)) + ".",
        control="text",
        value=text,
        default=default.replace("\n", ", "),
        required=not has_default,
        fault=fault,
    )
    match kind:
        case Flag():
            return attrs.evolve(made, control="check", required=False)
        case Member():
            choices = [(str(one.value), worded(kind.word(one), translate)) for one in kind.members]
            choices = [("", default), *choices] if optional else choices
            return attrs.evolve(made, control="choice", choices=tuple(choices))
        case Whole():
            least, most = kind.limit.least, kind.limit.most
            unit = translate(kind.limit.counted) if kind.limit.counted else ""
            return attrs.evolve(made, control="number", unit=unit, least=least, most=most)
        case ListOf():
            return attrs.evolve(made, control="lines")
        case _:
            return made


def worded(word: str, translate: Translate) -> str:
    """A word of ours in the reader's language, with the one beside it that the command takes."""
    told = translate(word)
    return word if told == word else f"{told} ({word})"


def plain_kind(kind: ValueKind) -> ValueKind:
    """The kind of a value that is there."""
    return kind.within if isinstance(kind, Optional) else kind


def _shown(kind: ValueKind, value: Any) -> str:
    """A value as it is typed."""
    kind = plain_kind(kind)
    if value is None:
        return ""
    match kind:
        case Flag():
            return "on" if value else ""
        case Member():
            return str(value.value)
        case ListOf():
            return "\n".join(str(kind.item.write(one)) for one in value)
        case _:
            return str(kind.write(value))


def _document(kind: ValueKind, form: SentForm, name: str) -> object:
    """What was typed, as a document has it; what it is not stays a text, which the kind refuses."""
    optional, kind = isinstance(kind, Optional), plain_kind(kind)
    text = form.one(name)
    match kind:
        case Flag():
            return form.checked(name)
        case ListOf():
            return [single_document(kind.item, line) for line in form.lines(name)]
        case _ if not text and optional:
            return None
        case _:
            return single_document(kind, text)


def single_document(kind: ValueKind, text: str) -> object:
    """What was typed in one line, as a document has it; what it is not stays a text, which the kind refuses."""
    match kind:
        case Member():
            return next((one.value for one in kind.members if str(one.value) == text), text)
        case Whole() if text.lstrip("-").isdecimal() and text.isascii() and len(text) <= 19:
            return int(text)
        case _:
            return text


def _capital(text: str) -> str:
    if _EXPLAINS_A_WORD.match(text):
        return text
    return text.upper() if len(text) <= _ABBREVIATION else text[:1].upper() + text[1:]
