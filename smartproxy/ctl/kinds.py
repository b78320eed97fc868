"""The kinds of values in answers on the control socket, ready for the fields of the classes that declare these.

A daemon is believed; what is judged is that an answer is one of those that this version knows.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
from typing_extensions import override

from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind
from smartproxy.policy.strict_json import place
from smartproxy.policy.values import Flag, Instant, ValueKind, wrong

ENTRIES_MOST: Final = 1_000_000


@attrs.frozen
class Words(ValueKind):
    """Any text."""

    @override
    def read(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise wrong(value, where, "a text")
        return value

    @override
    def write(self, value: str) -> object:
        return str(value)


@attrs.frozen
class AnyNumber(ValueKind):
    """Any whole number; of parts, too, where they are told."""

    parts: bool = False

    @override
    def read(self, value: object, where: str) -> int | float:
        if isinstance(value, int | float if self.parts else int) and not isinstance(value, bool):
            return value
        raise wrong(value, where, "a number")

    @override
    def write(self, value: int | float) -> object:
        return value


@attrs.frozen
class ByName(ValueKind):
    """An object whose keys are names that somebody gave."""

    within: ValueKind

    @override
    def read(self, value: object, where: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise wrong(value, where, "an object")
        return {key: self.within.read(each, place(where, key)) for key, each in value.items()}

    @override
    def write(self, value: Mapping[str, Any]) -> object:
        return {key: self.within.write(each) for key, each in value.items()}


TEXT: Final = kind(Words())
NUMBER: Final = kind(AnyNumber())
FLAG: Final = kind(Flag())
TIME: Final = kind(Instant())
TEXT_OR_NONE: Final = kind(Optional(Words()))
NUMBER_OR_NONE: Final = kind(Optional(AnyNumber()))
PARTS_OR_NONE: Final = kind(Optional(AnyNumber(parts=True)))
TIME_OR_NONE: Final = kind(Optional(Instant()))
TEXTS: Final = kind(ListOf(item=Words(), most=ENTRIES_MOST))


def many(cls: type[Any]) -> dict[str, object]:
    """The kind of a list of these."""
    return kind(ListOf(item=ObjectOf(cls), most=ENTRIES_MOST))
