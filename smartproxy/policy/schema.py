"""Documents as classes: what a JSON object may hold, declared one field a line on the class that holds it.

Duty: a frozen attrs class whose fields carry a :class:`~smartproxy.policy.values.ValueKind` is read from plain JSON
values by :func:`read_object` and written back by :func:`write_object`; each value that does not fit is refused with its
place. Unknown keys are refused: a misspelled setting must not be silently without effect. Kinds that hold others
(lists, objects) are here, kinds of single values in :mod:`~smartproxy.policy.values`. Trusts nothing about the values.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import attrs
from typing_extensions import override

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.strict_json import FAULTS_MOST, WHOLE, DocumentRefused, place, together
from smartproxy.policy.values import ValueKind, Whole, wrong

_KIND = "smartproxy.kind"
_KEY = "smartproxy.key"
_REQUIRED = "smartproxy.required"
_PEOPLE = "smartproxy.people"

_T = TypeVar("_T", bound=attrs.AttrsInstance)


@attrs.frozen(kw_only=True)
class ForPeople:
    """How a field is told to people, and said by them on a command line.

    :ivar help: what it is, in a sentence without capital letter and full stop; empty: no argument of its own.
    :ivar title: what stands before its value; empty: its key.
    :ivar option: its argument; empty: made of its key.
    :ivar unset: what ``None`` is called.
    :ivar listed: whether it is a column of the table that lists all entries.
    """

    help: str = ""
    title: str = ""
    option: str = ""
    unset: str = "none"
    listed: bool = False


def kind(
    kind: ValueKind, *, key: str | None = None, required: bool = False, people: ForPeople | None = None
) -> dict[str, object]:
    """The attrs metadata that declares a field's kind.

    :param key: its key in documents, where that is not the field's name.
    :param required: whether a document has to say it although the class has a default.
    :param people: how it is told to people.
    """
    return {_KIND: kind, _KEY: key, _REQUIRED: required, _PEOPLE: people or ForPeople()}


@attrs.frozen(kw_only=True)
class SettingDeclaration:
    """Everything that is declared of one field of a class.

    :ivar name: the field's name.
    :ivar key: its key in documents.
    :ivar default: its default; :data:`attrs.NOTHING` if it has none.
    :ivar secret: whether it is never shown.
    :ivar masked: whether it is a secret by its nature, which is kept nowhere but in its entry.
    """

    name: str
    key: str
    kind: ValueKind
    default: object
    secret: bool
    masked: bool
    people: ForPeople

    @property
    def title(self) -> str:
        """What stands before its value."""
        return self.people.title or self.key.replace("_", " ")

    @property
    def option(self) -> str:
        """Its argument on a command line."""
        return self.people.option or f"--{self.key.replace('_', '-')}"


def declarations(cls: type[Any]) -> tuple[SettingDeclaration, ...]:
    """The declared fields of *cls*, in their order."""
    return tuple(
        SettingDeclaration(
            name=field.name,
            key=field.metadata[_KEY] or field.name,
            kind=field.metadata[_KIND],
            default=field.default,
            secret=field.repr is not True,
            masked=field.repr is masked,
            people=field.metadata[_PEOPLE],
        )
        for field in attrs.fields(cls)
        if _KIND in field.metadata
    )


def declared(cls: type[Any]) -> dict[str, ValueKind]:
    """The keys of the JSON object that *cls* describes, with their kinds."""
    return {key: field.metadata[_KIND] for key, field in _fields(cls).items()}


def _fields(cls: type[Any]) -> dict[str, "attrs.Attribute[Any]"]:
    """The attributes that are written in documents, by their keys there."""
    return {field.metadata[_KEY] or field.name: field for field in attrs.fields(cls) if _KIND in field.metadata}


def masked(value: object) -> str:
    """The ``repr`` of a secret field."""
    return "'***'"


def read_object(cls: type[_T], value: object, where: str = WHOLE) -> _T:
    """The instance of *cls* that the JSON object *value* describes.

    :raises DocumentRefused: for the first fault, with all others.
    """
    fields = _fields(cls)
    required = {key for key, each in fields.items() if each.default is attrs.NOTHING or each.metadata[_REQUIRED]}
    return cls(**_read_fields(fields, value, where, required))


def _read_fields(
    fields: Mapping[str, "attrs.Attribute[Any]"], value: object, where: str, required: Collection[str]
) -> dict[str, Any]:
    """The values of those fields that the JSON object *value* has, by the fields' names."""
    if not isinstance(value, dict):
        raise wrong(value, where, "an object")
    found = {}
    faults = []
    for key, field in fields.items():
        try:
            if key in value:
                found[field.name] = field.metadata[_KIND].read(value[key], place(where, key))
            elif key in required:
                raise DocumentRefused(where=place(where, key), cause=Cause.DOCUMENT_KEY_MISSING, message="is missing")
        except DocumentRefused as refused:
            faults.append(refused)
    # Last, so that a document of another version is told apart by its version.
    faults += [_unknown(place(where, key), fields) for key in value if key not in fields][:FAULTS_MOST]
    if faults:
        raise together(faults)
    return found


def write_object(instance: Any) -> dict[str, object]:
    """The JSON object from which :func:`read_object` makes an equal instance."""
    return {
        key: field.metadata[_KIND].write(getattr(instance, field.name))
        for key, field in _fields(type(instance)).items()
    }


def unique(keys: Iterable[tuple[str, Hashable]], what: str) -> None:
    """Refuse the second of two equal keys; each comes with its place."""
    first: dict[Hashable, str] = {}
    for where, key in keys:
        if key in first:
            raise DocumentRefused(
                where=where,
                cause=Cause.DOCUMENT_NOT_UNIQUE,
                message=f"{what} is already used at {first[key]}",
                also=first[key],
            )
        first[key] = where


def _unknown(where: str, known: Iterable[str]) -> DocumentRefused:
    return DocumentRefused(
        where=where, cause=Cause.DOCUMENT_KEY_UNKNOWN, message=f"no such key; known here: {', '.join(sorted(known))}"
    )


@attrs.frozen
class Optional(ValueKind):
    """``null`` for ``None``, or a value of the kind within."""

    within: ValueKind

    @override
    def read(self, value: object, where: str) -> Any:
        return None if value is None else self.within.read(value, where)

    @override
    def write(self, value: Any) -> object:
        return None if value is None else self.within.write(value)


@attrs.frozen(kw_only=True)
class ListOf(ValueKind):
    """A list of values of one kind, as a tuple.

    :ivar first: the number of the first entry in places.
    """

    item: ValueKind
    least: int = 0
    most: int = limits.DOCUMENT_ENTRIES_MOST
    first: int = 0

    @override
    def read(self, value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise wrong(value, where, "a list")
        if not self.least <= len(value) <= self.most:
            raise DocumentRefused(
                where=where,
                cause=Cause.DOCUMENT_SIZE,
                message=f"has {len(value)} entries; has to have between {self.least} and {self.most}",
            )
        entries, faults = [], []
        for index, item in enumerate(value, self.first):
            try:
                entries.append(self.item.read(item, f"{where}[{index}]"))
            except DocumentRefused as refused:
                faults.append(refused)
                if len(faults) == FAULTS_MOST:
                    break
        if faults:
            raise together(faults)
        return tuple(entries)

    @override
    def write(self, value: tuple[Any, ...]) -> object:
        return [self.item.write(item) for item in value]


@attrs.frozen
class Counts(ValueKind):
    """An object of numbers, each within the limit of its name."""

    limits: Mapping[str, limits.Limit]

    @override
    def read(self, value: object, where: str) -> dict[str, int]:
        if not isinstance(value, dict):
            raise wrong(value, where, "an object")
        for key in value:
            if key not in self.limits:
                raise _unknown(place(where, key), self.limits)
        return {key: Whole(self.limits[key]).read(number, place(where, key)) for key, number in value.items()}

    @override
    def write(self, value: Mapping[str, int]) -> object:
        return dict(value)


@attrs.frozen
class ObjectOf(ValueKind):
    """An object that an attrs class describes."""

    cls: type[Any]

    @override
    def read(self, value: object, where: str) -> Any:
        return read_object(self.cls, value, where)

    @override
    def write(self, value: Any) -> object:
        return write_object(value)


@attrs.frozen(kw_only=True)
class PartOf(ValueKind):
    """Some fields of an object that an attrs class describes: their values by the fields' names.

    What a change says of an entry: the fields that it does not say stay as they are.

    :ivar required: the keys that have to be there.
    :ivar without: the keys that are not taken.
    """

    cls: type[Any]
    required: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    @property
    def kinds(self) -> dict[str, ValueKind]:
        """The keys that are taken, with their kinds."""
        return {key: each.metadata[_KIND] for key, each in self._fields.items()}

    @property
    def _fields(self) -> dict[str, "attrs.Attribute[Any]"]:
        return {key: each for key, each in _fields(self.cls).items() if key not in self.without}

    @override
    def read(self, value: object, where: str) -> dict[str, Any]:
        return _read_fields(self._fields, value, where, self.required)

    @override
    def write(self, value: Mapping[str, Any]) -> object:
        return {
            key: each.metadata[_KIND].write(value[each.name])
            for key, each in self._fields.items()
            if each.name in value
        }


@attrs.frozen
class Tagged(ValueKind):
    """An object whose *key* says which of several classes describes the rest of it.

    Each class carries its word as a class variable of the key's name.
    """

    key: str
    classes: tuple[type[Any], ...]

    @property
    def _words(self) -> Mapping[object, type[Any]]:
        return {getattr(cls, self.key): cls for cls in self.classes}

    @override
    def read(self, value: object, where: str) -> Any:
        if not isinstance(value, dict):
            raise wrong(value, where, "an object")
        word = value.get(self.key)
        cls = self._words.get(word) if isinstance(word, str) else None
        if cls is None:
            words = ", ".join(str(known) for known in self._words)
            raise DocumentRefused(
                where=place(where, self.key), cause=Cause.DOCUMENT_VALUE, message=f"has to be one of {words}"
            )
        return read_object(cls, {key: inner for key, inner in value.items() if key != self.key}, where)

    @override
    def write(self, value: Any) -> object:
        return {self.key: getattr(value, self.key), **write_object(value)}
