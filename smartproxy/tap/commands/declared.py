"""Arguments, tables and JSON of what the classes of policy declare: nothing about a setting is listed here.

A field's declaration (:func:`smartproxy.policy.schema.declarations`) says what its argument is called, what it is for,
which values it takes, whether it is a column, and what it is called. A field whose people's part has no help has no
argument of its own: names, switches with actions of their own (``enable``), certificates, which come from files, and
objects, which have an action of their own.
"""

from argparse import ArgumentParser, Namespace, _ArgumentGroup
from collections.abc import Mapping
from typing import Any

import attrs

from smartproxy.policy.schema import ListOf, ObjectOf, Optional, SettingDeclaration, declarations, write_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import Flag, Instant, Member, ValueKind, Whole
from smartproxy.tap.commands.arguments import whole
from smartproxy.tap.commands.console import CommandFailed, when

_YES, _NO = "yes", "no"


def add_arguments(parser: ArgumentParser | _ArgumentGroup, cls: type[Any], *, defaults: bool = True) -> None:
    """Declare the arguments of a class's fields; all are optional.

    :param defaults: whether help names the defaults: what is not given is the default, and not what was there.
    """
    for each in argued(cls):
        form, text = _form(each), each.people.help
        if form.get("action") == "append":
            text += "; may be repeated"
        if defaults and _has_default(each):
            text += f" [{default_word(each)}]"
        parser.add_argument(each.option, dest=each.name, help=text.replace("%", "%%"), **form)


def argued(cls: type[Any]) -> list[SettingDeclaration]:
    """The fields that have arguments."""
    return [each for each in declarations(cls) if each.people.help]


def given(arguments: Namespace, cls: type[Any]) -> dict[str, Any]:
    """The values of the fields whose arguments were given.

    :raises CommandFailed: when a value is not one that its field takes.
    """
    found = {}
    for each in argued(cls):
        said = getattr(arguments, each.name)
        if said is not None:
            try:
                found[each.name] = each.kind.read(_read(each.kind, said), each.option)
            except DocumentRefused as refused:
                raise CommandFailed(str(refused)) from refused
    return found


def default_word(each: SettingDeclaration) -> str:
    """A field's default, for people."""
    text = _shown(each, each.default)
    return ", ".join(text) if isinstance(text, list) else text


def heads(cls: type[Any]) -> list[str]:
    """The heads of the table that lists all entries."""
    return [each.title.upper() for each in declarations(cls) if each.people.listed]


def cells(entry: Any) -> list[object]:
    """An entry's cells of that table; of objects, how many there are."""
    found: list[object] = []
    for each in declarations(type(entry)):
        if each.people.listed:
            value = getattr(entry, each.name)
            text = _shown(each, value)
            counted = isinstance(value, tuple) and any(attrs.has(type(item)) for item in value)
            found.append(len(value) if counted else ", ".join(text) if isinstance(text, list) else text)
    return found


def pairs(entry: Any, **special: object) -> dict[str, object]:
    """An entry's fields and their values for people, one a line; secrets are left out.

    :param special: of fields that are shown in a way of their own, the values.
    """
    return {
        each.title: special[each.name] if each.name in special else _shown(each, getattr(entry, each.name))
        for each in declarations(type(entry))
        if not each.secret
    }


def document(entry: Any, **special: object) -> dict[str, object]:
    """An entry for scripts, as it stands in the configuration document; secrets are left out.

    :param special: what is shown in a way of its own.
    """
    secret = {each.key for each in declarations(type(entry)) if each.secret}
    return {key: value for key, value in write_object(entry).items() if key not in secret} | special


def changed(entry: Any) -> dict[str, object]:
    """What of an entry differs from the defaults, as it stands in the configuration document."""
    written = write_object(entry)
    return {
        each.key: written[each.key]
        for each in declarations(type(entry))
        if not _has_default(each) or getattr(entry, each.name) != each.default
    }


def changed_lines(entry: Any, *without: str) -> list[str]:
    """What of an entry differs from the defaults, for people, one a line.

    :param without: fields that are not wanted.
    """
    found = []
    for each in declarations(type(entry)):
        value = getattr(entry, each.name)
        if each.name not in without and value != each.default:
            text = _shown(each, value)
            found += [f"{each.title} {one}" for one in (text if isinstance(text, list) else [text])]
    return found


def _shown(each: SettingDeclaration, value: object) -> str | list[str]:
    return each.people.unset if value is None else _text(each.kind, value)


def _text(kind: ValueKind, value: Any) -> str | list[str]:
    """A value for people; a list is a text for each of its values."""
    match kind:
        case Optional():
            return _text(kind.within, value)
        case Flag():
            return _YES if value else _NO
        case Instant():
            return when(value)
        case Member():
            return kind.word(value)
        case ListOf():
            return [_line(_text(kind.item, item)) for item in value]
        case ObjectOf():
            return changed_lines(value)
        case _ if attrs.has(type(value)):
            return " ".join(str(part) for part in (getattr(value, "by", ""), *attrs.astuple(value)) if part)
        case _:
            return str(value)


def _line(text: str | list[str]) -> str:
    return text if isinstance(text, str) else ", ".join(text)


def _read(kind: ValueKind, said: Any) -> object:
    """What was said on a command line, as the configuration document has it."""
    match kind:
        case Optional():
            return _read(kind.within, said)
        case Flag():
            return said == _YES
        case Member():
            return _members(kind)[said]
        case ListOf():
            return [_read(kind.item, each) for each in said]
        case _:
            return said


def _members(kind: Member) -> Mapping[str, object]:
    """The values of an enumeration by what people call them, and by themselves."""
    words = {kind.word(member): member.value for member in kind.members}
    return words | {str(value): value for value in words.values()}


def _form(each: SettingDeclaration) -> dict[str, Any]:
    """How the argument parser reads a field."""
    kind = each.kind.within if isinstance(each.kind, Optional) else each.kind
    metavar = each.option.removeprefix("--").replace("-", "_").upper()
    match kind:
        case Flag():
            return {"choices": (_YES, _NO)}
        case Member():
            return {"choices": tuple(_members(kind))}
        case Whole():
            return {"type": whole, "metavar": "N"}
        case ListOf():
            return {"action": "append", "metavar": metavar}
        case _:
            return {"metavar": metavar}


def _has_default(each: SettingDeclaration) -> bool:
    return each.default is not attrs.NOTHING
